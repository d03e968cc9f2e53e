"""What a question asks for: its terms with their rarity, the kind of answer, the units that would fit, its language.

Rules only, no model. Japanese terms stand for their English counterparts of `assistant.glossary` as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from assistant import glossary
from assistant.prompts import Language
from assistant.quantities import quantities, read_unit
from assistant.spelling import respelt
from ingest import formulas, lexical

EVERYDAY_WEIGHT = 0.3  # of an everyday word, beside its rarity

Kind = Literal["number", "reason", "definition", "date", "other"]


@dataclass(frozen=True, slots=True)
class Term:
    """A content word or formula of the question. It is covered by a text that has all tokens of one alternative."""

    surface: str
    alternatives: tuple[frozenset[str], ...]
    weight: float = 1.0
    frequency: int = 1  # passages of the library that have its rarest token
    name: bool = False  # a code or a proper name: what an answer can hardly be about without
    formula: bool = False
    everyday: bool = False  # a word that passages seldom repeat

    def covered(self, tokens: frozenset[str] | set[str]) -> float:
        """Return the share of the term that `tokens` have, from 0 to 1."""
        return max((len(some & tokens) / len(some) for some in self.alternatives), default=0.0)


@dataclass(frozen=True, slots=True)
class Question:
    """A question taken apart.

    `english` is what an English-only embedder should read, `expanded` the same with every English synonym, for search.
    """

    text: str
    language: Language
    english: str
    expanded: str
    terms: tuple[Term, ...]
    kind: Kind
    units: frozenset[str]
    numbers: frozenset[str]  # as they stand in the question: an answer is more than their repetition

    def coverage(self, tokens: frozenset[str] | set[str]) -> float:
        """Return the share of the question's terms, weighted by rarity, that a text with these tokens covers."""
        total = sum(term.weight for term in self.terms)
        return sum(term.weight * term.covered(tokens) for term in self.terms) / total if total else 0.0


def understand(text: str) -> Question:
    """Take a question apart; every term weighs the same until `weigh` has seen the library."""
    language: Language = "ja" if glossary.is_japanese(text) else "en"
    return Question(
        text=text,
        language=language,
        english=gist(text) if language == "ja" else text,
        expanded=expanded(text) if language == "ja" else text,
        terms=tuple(_terms(text)),
        kind=_kind(text),
        units=_units(text),
        numbers=frozenset(str(value) for quantity in quantities(text) for value in quantity.values),
    )


def tokens_of(question: Question) -> list[str]:
    """Return every index token of the question's terms, sorted: what `weigh` needs the counts of."""
    return sorted({token for term in question.terms for some in term.alternatives for token in some})


def weigh(question: Question, counts: Mapping[str, int], total: int) -> Question:
    """Return the question with each term weighted by its inverse document frequency.

    `counts` are the passages that have each token, out of `total`.
    """
    return replace(question, terms=tuple(_weighed(term, counts, total) for term in question.terms))


def gist(text: str) -> str:
    """Return a Japanese question as a string of English words: terms by the glossary, Latin words and numbers kept."""
    return " ".join(piece for piece, _ in _pieces(text) if piece and not glossary.SCRIPT.search(piece))


def expanded(text: str) -> str:
    """Return `gist`, and every English word that its terms may stand for."""
    return " ".join(dict.fromkeys([gist(text), *glossary.translate_terms(text)]))


def _weighed(term: Term, counts: Mapping[str, int], total: int) -> Term:
    # The rarest token of an alternative bounds how often all of it occurs; the commonest alternative is the one meant.
    frequency = max((min(counts.get(token, 0) for token in some) for some in term.alternatives), default=0)
    weight = math.log(1 + (total - frequency + 0.5) / (frequency + 0.5))
    return replace(term, frequency=frequency, weight=max(weight, 0.1) * (EVERYDAY_WEIGHT if term.everyday else 1.0))


# --- terms --------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"[^\W_]+(?:[-‐‑–'’./][^\W_]+)*")
# Stems that say how something is asked rather than what about.
_ASKING = frozenset((
    "accord", "achiev", "amount", "author", "becom", "call", "case", "certain", "come", "compar", "correspond",
    "describ", "determin", "differ", "doe", "done", "exhibit", "explain", "factor", "figur", "find", "follow",
    "found", "give", "given", "happen", "high", "hold", "kind", "known", "larg", "lead", "list", "long", "low",
    "made", "main", "make", "mani", "mean", "much", "name", "need", "number", "observ", "obtain", "often",
    "paper", "particular", "perform", "possibl", "present", "produc", "provid", "rang", "reach", "report",
    "requir", "respect", "result", "role", "section", "see", "seem", "serv", "show", "sort", "specif", "stand",
    "studi", "tabl", "take", "term", "two", "type", "unit", "use", "valu", "want", "way", "work", "year",
))  # fmt: skip
# Stems of everyday words: a passage may well answer without them.
_EVERYDAY = frozenset((
    "abl", "about", "across", "advis", "again", "allow", "almost", "alon", "along", "alreadi", "alway",
    "answer", "anyth", "apart", "appli", "applic", "approxim", "argu", "around", "ascrib", "ask", "attach",
    "attribut", "avoid", "away", "back", "bad", "began", "begin", "behind", "believ", "belong", "besid",
    "best", "better", "big", "bottom", "bring", "brought", "capabl", "carri", "caus", "chiefli", "choos",
    "chose", "chosen", "cite", "claim", "common", "complet", "compris", "conclud", "consid", "consist",
    "contain", "contrast", "difficult", "difficulti", "direct", "directli", "due", "easi", "easili", "eight",
    "els", "enabl", "end", "entir", "equal", "even", "ever", "everi", "every", "exact", "exactli", "except",
    "exist", "far", "fast", "fifth", "finish", "first", "five", "four", "gave", "get", "go", "goe", "good",
    "got", "great", "half", "handl", "hard", "harder", "help", "highest", "impos", "imposs", "includ",
    "instead", "involv", "keep", "kept", "know", "largest", "last", "leav", "left", "let", "lie", "line",
    "lost", "lowest", "mainli", "mention", "near", "nearli", "never", "new", "nine", "normal", "note", "noth",
    "old", "one", "otherwis", "overal", "part", "pass", "pick", "piec", "point", "precis", "prevent", "propos",
    "put", "question", "quot", "read", "readi", "reason", "recomend", "recommend", "regard", "remain",
    "roughli", "run", "said", "same", "say", "second", "sentenc", "set", "seven", "share", "short", "side",
    "similar", "simpl", "simpli", "sit", "six", "slow", "small", "smallest", "someth", "start", "state",
    "stay", "still", "stop", "suggest", "sum", "tell", "ten", "think", "third", "three", "time", "togeth",
    "told", "top", "total", "treat", "turn", "twice", "typic", "unabl", "unattain", "unless", "usual", "went",
    "whenev", "whichev", "whole", "word", "wors", "worst", "writ", "write", "written", "yet",
))  # fmt: skip


def _terms(text: str) -> list[Term]:
    found: dict[str, Term] = {}
    for piece, alternatives in _pieces(text):
        for term in [_translated(piece, alternatives)] if alternatives else _latin(piece):
            found.setdefault(term.surface.casefold(), term)
    return [term for term in found.values() if any(term.alternatives)]


def _pieces(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Cut the question into Japanese terms, with what they stand for, and the text between them."""
    pieces: list[tuple[str, tuple[str, ...]]] = []
    for part in glossary.split(text):
        if part.english:
            pieces.append((part.english[0], (part.text, *part.english)))
        else:
            pieces.extend((run, ()) for run in _RUN.findall(part.text))
    return pieces


_FOREIGN = r"[^぀-ヿ㐀-鿿、。「」・〜～（）？！\s]+"
_RUN = re.compile(rf"[一-鿿々]{{2,}}|[ァ-ヺー]{{2,}}|{_FOREIGN}(?:\s+{_FOREIGN})*")


def _translated(piece: str, alternatives: tuple[str, ...]) -> Term:
    # A hyphenated word counts as its parts.
    spelt = (*alternatives, *filter(None, map(respelt, alternatives)))
    return Term(alternatives[0] or piece, tuple(dict.fromkeys(frozenset(_split_tokens(words)) for words in spelt)))


def _split_tokens(words: str) -> list[str]:
    return lexical.tokens(words.replace("-", " "))


def _latin(text: str) -> list[Term]:
    terms, position = [], 0
    for formula in formulas.find(text):
        terms.extend(_words(text[position : formula.start]))
        terms.append(Term(formula.raw, _formula_tokens(formula), formula=True))
        position = formula.end
    return [*terms, *_words(text[position:])]


def _formula_tokens(formula: formulas.Formula) -> tuple[frozenset[str], ...]:
    alternatives = [frozenset({lexical.formula_token(formula.normal)})]
    if len(formula.elements) == 1:
        alternatives.append(frozenset(lexical.tokens(formula.raw)))
    return tuple(alternatives)


def _words(text: str) -> list[Term]:
    words = [(word, lexical.tokens(word)) for word in map(_bare, _WORD.findall(text))]
    return [
        Term(word, _spellings(word, tokens), name=_is_name(word, text), everyday=set(tokens) <= _EVERYDAY)
        for word, tokens in words
        if tokens and not set(tokens) <= _ASKING and not _is_unit(word) and not (len(word) == 1 and word.islower())
    ]


def _is_unit(word: str) -> bool:
    # The index joins a unit to its number, so that it is no token of its own; "sun" and "bar" may be meant as words.
    short = len(word) <= 3 or "/" in word
    return short and word not in ("sun", "bar", "day", "min") and read_unit(word)[1] == len(word)


def _bare(word: str) -> str:
    return re.sub(r"['’]s?$", "", word)


def _spellings(word: str, tokens: list[str]) -> tuple[frozenset[str], ...]:
    # The index has British and American spellings as they stand in the papers.
    other = lexical.tokens(respelt(word))
    return (*_alternatives(tokens), *(_alternatives(other) if other else ()))


def _alternatives(tokens: list[str]) -> tuple[frozenset[str], ...]:
    # A hyphenated word comes as its parts and then joined.
    if len(tokens) > 2 and tokens[-1].startswith(tokens[0][:2]) and not tokens[-1].isdigit():
        return frozenset(tokens[:-1]), frozenset(tokens[-1:])
    return (frozenset(tokens),)


def _is_name(word: str, text: str) -> bool:
    inner = any(char.isupper() for char in word[1:]) or (any(map(str.isdigit, word)) and any(map(str.isalpha, word)))
    return inner or (word[0].isupper() and not text.lstrip().startswith(word))


# --- the kind of answer -------------------------------------------------------------------------------------------

_AMOUNTS = {  # words of the question -> units that an answer to it would have
    "temperature|degrees|melting|sintered|heated|calcined|annealed|温度|融点|何度": "°C, K, °F",
    "voltage|potential|overpotential|plateau|volts?|電圧|電位": "V, mV",
    "capacity|capacities|容量": "mAh/g, Ah/kg, mAh/cm2, mAh, Ah, %",
    "band ?gaps?|energ(?:y|ies)|barrier|ギャップ|エネルギー": "eV, meV, keV, kJ/mol, kcal/mol, Ha, Ry, J",
    "energy density|エネルギー密度": "Wh/kg, Wh/L",
    "conductivity|導電率|伝導率": "S/cm, mS/cm, S/m, W/m K",
    "pressure|stress|strength|modulus|hardness|圧力|応力|強度|強さ|硬さ": "MPa, GPa, Pa, kPa, bar, atm",
    "thick(?:ness)?|size|diameter|radius|length|wavelength|distance|width|depth|波長|厚さ": "nm, μm, mm, Å, cm, m, pm",
    "how long|time|duration|hours?|minutes?|時間": "h, min, s, ms, μs, ns, ps, fs, day",
    "percent(?:age)?|fraction|efficiency|yield|retention|share|coverage|割合|効率|率": "%, wt%, at%, mol%, vol%",
    "concentration|amount|濃度": "M, mM, ppm, ppb, mol/L, mg/L, wt%, %",
    "current|電流": "A, mA, μA",
    "current density|電流密度": "A/g, mA/g, mA/cm2, A/cm2, A/m2, mA/m2",
    "surface area|比表面積": "m2/g",
    "volume|容積|体積": "cm3/g, cm3, mL, L, Å3, m3",
    "density|密度": "g/cm3, kg/m3",
    "frequency|周波数": "Hz, kHz, MHz, GHz",
    "heating rate|cooling rate|加熱速度|冷却速度": "K/s, °C/s, K/min, °C/min",
    "weight|mass|重量|質量": "g, kg, mg, %, wt%",
    "resistance|resistivity|抵抗": "Ω, kΩ, Ω cm2, Ω cm, Ω m",
    "dose|線量": "dpa, Gy",
    "magnetic|tesla|保磁力|磁場": "T, mT, Oe",
    "diffusion coefficient|diffusivity|拡散係数": "cm2/s, m2/s",
}
_NUMBER = re.compile(
    r"\bhow (?:much|many|large|high|long|fast|often|far|thick|strong|big|small|wide|deep|hot|low|heavy|old|dense|few)\b"
    r"|\b(?:what|which)\b[^?.]{0,60}?\b(?:percentage|fraction|values?|number|amount|ratio|factor|coefficient|rate|speed|"
    r"degree|dose|yield|error|efficiency|gaps?|strength|toughness|cost|power|constant|width|cut-?off|limit|range|"
    r"temperature|voltage|potential|capacity|conductivity|energy|pressure|stress|modulus|hardness|thickness|size|"
    r"diameter|radius|length|wavelength|distance|time|duration|concentration|current|area|volume|density|frequency|"
    r"weight|mass|resistance|dimension|coverage|retention|overpotential|plateau|loading|content|default)\b"
    r"|何[A-Za-z%°℃Åμ度個回本層倍割時分秒枚点ァ-ヺ]|いくら|いくつ|どれだけ|どれくらい|どの程度",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\bwhy\b|\bwhat (?:causes?|caused|makes|explains)\b|\breasons?\b|\bascribed\b|\battributed\b|なぜ|理由|原因",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"\bwhat (?:does|do) .{1,60}\b(?:mean|stand for)\b|\bwhat (?:is|are) (?:an? |the )?[\w-]+(?: [\w-]+)?\?|\babbreviat"
    r"|\bdefin(?:ed?|ition)\b|とは何|の略",
    re.IGNORECASE,
)
_DATE = re.compile(r"\bwhen (?:was|were)\b|\b(?:what|which) year\b|いつ|何年", re.IGNORECASE)
_EXPLICIT_UNIT = re.compile(r"(?:\bin |\bhow many |何|（|\()\s*([^\s?？)）かで]+(?: ?[a-zA-Zμ]+[-−]\d)?)")


def _kind(text: str) -> Kind:
    if _DATE.search(text):
        return "date"
    if _REASON.search(text):
        return "reason"
    if _NUMBER.search(text):
        return "number"
    return "definition" if _DEFINITION.search(text) else "other"


def _units(text: str) -> frozenset[str]:
    named = {read_unit(match)[0] for match in _EXPLICIT_UNIT.findall(text)} - {""}
    if named:
        return frozenset(named)
    fitting = (units for words, units in _AMOUNTS.items() if re.search(_begins(words), text, re.IGNORECASE))
    return frozenset(read_unit(unit)[0] for units in fitting for unit in units.split(", "))


def _begins(words: str) -> str:
    return rf"(?:\b|(?<=[^\x00-\x7f]))(?:{words})"

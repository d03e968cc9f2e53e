"""Chemical formulas in text, however they are typeset: where they stand, one canonical spelling, and their elements.

A formula is recognised by its grammar (element symbols, counts, groups, hydrates, charges) and then has to look like
chemistry rather than like an abbreviation: `LiFePO₄`, `Li Fe P O4` and `Li<sub>…` are found, `HOMO`, `Fig. S1` and
`In` are not. Nothing here knows which compounds exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby, pairwise
from operator import itemgetter

from ingest.elements import BARE_SYMBOLS, NAMES, NUMBERS


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula found in a text: `text[start:end] == raw`, its canonical spelling, and its elements."""

    start: int
    end: int
    raw: str
    normal: str
    elements: frozenset[str]

    @property
    def key(self) -> str:
        """Return the composition key, equal for `LiFePO4` and `FeLiO4P`; see `composition_key`."""
        return composition_key(self.normal)


def find(text: str) -> list[Formula]:
    """Return the formulas of `text` from left to right, without overlaps.

    Compounds, ions (`Fe3+`, `Ru(II)`), elemental molecules (`O2`, `C60`) and isotopes (`⁷Li`) count; a bare symbol
    (`Li`) does not: see `elements`.
    """
    return list(_find(text))


@lru_cache(maxsize=16)  # one text is asked for its words, its formulas and its elements
def _find(text: str) -> tuple[Formula, ...]:
    folded, offsets = _fold(text)
    found: list[Formula] = []
    for start, end, parsed in _scan(folded):
        if offsets is not None:
            start, end = offsets[start], offsets[end - 1] + 1
            end = _closing_tag(text, end)
        found.append(Formula(start, end, text[start:end], parsed.normal, parsed.elements))
    return tuple(found)


def normalise(text: str) -> str:
    """Return the canonical spelling of the one formula that `text` is, or "" where it is not one.

    Order and counts stay as written; subscripts, spaces, markup, charges of polyatomic ions and counts of 1 go. Bare
    symbols are allowed here: a user who types a formula means it.
    """
    folded, _ = _fold(text.strip())
    for start, end, parsed in _scan(folded):
        if (start, end) == (0, len(folded)):
            return parsed.normal
    compact = re.sub(r"\s+", "", folded)
    match = _WHOLE.fullmatch(compact)
    if match is None or compact in _ROMAN_VALUES:
        return ""
    return _canonical(_strip_outer(match["body"]), (match["charge"] or match["roman"] or "").strip(" ^"))


@lru_cache(maxsize=65536)
def composition_key(normal: str) -> str:
    """Return the elements of a canonical formula in alphabetical order with their total counts.

    Not reduced: `H2O2` is `H2O2`. Hydrates and groups are multiplied out, so `Ca(OH)2` and `CaO2H2` agree. Where a
    count is a variable (`La1-xSrxMnO3`) the expression stands in its place.
    """
    try:
        counts = _composition(normal)
    except ValueError:
        return normal
    return "".join(symbol + _plain(counts[symbol]) for symbol in sorted(counts))


def elements(text: str) -> frozenset[str]:
    """Return the symbols of all elements that `text` names: in formulas, as unambiguous bare symbols, or by name.

    Names count in English and Japanese (`lithium` and its Japanese name), except "lead", which is mostly a verb. Bare
    symbols that are words or frequent abbreviations (`In`, `As`, `I`, `No`, …), and surnames (`Li et al.`), do not.
    """
    found = {symbol for formula in find(text) for symbol in formula.elements}
    found.update(_bare_symbols(text))
    found.update(named_elements(text))
    return frozenset(found)


def named_elements(text: str) -> frozenset[str]:
    """Return the symbols of the elements that `text` calls by their English or Japanese names."""
    english = {NAMES[word] for word in re.findall(r"[a-z]+", text.lower()) if word in NAMES}
    return frozenset(english | {NAMES[name] for name in _JAPANESE_NAME.findall(text)})


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# ---------------------------------------------------------------------------------------------------------- folding

_SUBSCRIPTS = dict(zip(range(0x2080, 0x208A), "0123456789", strict=True))
_FULLWIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_FOLDS: dict[int, str] = _FULLWIDTH | _SUBSCRIPTS | {
    0x208A: "+", 0x208B: "-", 0x208D: "(", 0x208E: ")", 0x2093: "x", 0x1D67: "γ",
    0x2010: "-", 0x2011: "-", 0x2012: "-", 0x2212: "−", 0x2013: "−", 0xFE63: "-",
    0x2022: "·", 0x2219: "·", 0x22C5: "·", 0x30FB: "·", 0x2027: "·", 0x0387: "·",
    0x00A0: " ", 0x2009: " ", 0x202F: " ", 0x200A: " ", 0x2002: " ", 0x2003: " ", 0x2006: " ", 0x3000: " ",
    0x2A2F: "x", 0x1D465: "x", 0x1D466: "y", 0x1D467: "z", 0x1D6FF: "δ", 0x03B4: "δ",
}  # fmt: skip
_FOLDED = re.compile(f"[{''.join(map(chr, _FOLDS))}]")  # most characters are none of them: faster than str.translate
_MARKUP = re.compile(
    r"</?(?:sub|sup|inf|i|b|em|mi|mn|mo|mrow|msub)\b[^<>]{0,40}>|\\(?:mathrm|text|ce|rm)\s*\{|[_$​‌⁠\u00ad]\{?|\}"
)
_CLOSING = re.compile(r"(?:</(?:sub|sup|inf)>|\}|\$)+")


@lru_cache(maxsize=16)  # as above
def _fold(text: str) -> tuple[str, list[int] | None]:
    """Return the text with one character per typographic variant, and its offsets where markup was taken out."""
    folded = _FOLDED.sub(lambda match: _FOLDS[ord(match[0])], text)
    if not ("<" in text or "{" in text or "_" in text or "\u00ad" in text or "​" in text or "⁠" in text):
        return folded, None
    kept: list[str] = []
    offsets: list[int] = []
    position = 0
    for match in _MARKUP.finditer(folded):
        kept.append(folded[position : match.start()])
        offsets.extend(range(position, match.start()))
        if match[0].startswith(("<sup", "<SUP")):
            kept.append("^")
            offsets.append(match.start())
        position = match.end()
    kept.append(folded[position:])
    offsets.extend(range(position, len(folded)))
    return "".join(kept), offsets


def _closing_tag(text: str, end: int) -> int:
    match = _CLOSING.match(text, end)
    return match.end() if match else end


# ---------------------------------------------------------------------------------------------------------- grammar

# Nobody has made compounds of the heaviest elements, but Ds, Ts and Mc end many abbreviations: CNTs, SODs.
_SUPERHEAVY = _set("Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og")


def _one_of(symbols: Iterable[str]) -> str:
    """Return a pattern for element symbols, the longer first: one branch for each initial, as `re` tries them in turn."""
    branches = []
    for initial, group in groupby(sorted(symbols), key=itemgetter(0)):
        seconds = [symbol[1:] for symbol in group]
        second = f"[{''.join(seconds)}]" if any(seconds) else ""
        branches.append(initial + second + ("?" if second and "" in seconds else ""))
    return "|".join(branches)


_TWO = _one_of(symbol for symbol in NUMBERS.keys() - _SUPERHEAVY if len(symbol) == 2)
_EL = f"(?:{_one_of(NUMBERS.keys() - _SUPERHEAVY)}|D(?=2O)|D(?=,|2O))"
_NUM = r"(?:\d+(?:\.\d+)?(?:/\d+)?)"
_VAR = r"(?:[xyzδ](?![a-zα-ω]))"
_TERM = rf"(?:{_NUM}?{_VAR})"
_EXPR = rf"(?:(?:{_TERM}|{_NUM})(?:[-−+±]{_TERM})+|{_TERM}[-−+±]{_NUM}|{_TERM}|{_NUM})"
_COUNT = rf"(?:{_EXPR}|\((?=[^()]*[xyzδ]){_EXPR}\))"
# Tx is the surface termination of MXenes (Ti3C2Tx).
_ATOM = rf"(?:{_EL}{_COUNT}?|Tx(?=$|[^A-Za-z]))"
_ROMAN = r"(?:VI{0,3}|I{1,3}|I?V|I?X)"
_OPEN = rf"[(\[](?!{_ROMAN}[)\]])"
_REPEAT = rf"(?:{_COUNT}|n(?![a-z]))?"
_GROUP1 = rf"(?:{_OPEN}{_ATOM}(?:[,/]?{_ATOM})*[)\]]{_REPEAT})"
_GROUP2 = rf"(?:{_OPEN}(?:{_ATOM}|{_GROUP1})(?:[,/]?(?:{_ATOM}|{_GROUP1}))*[)\]]{_REPEAT})"
_BODY = rf"(?:(?:{_ATOM}|{_GROUP1}|{_GROUP2})+(?:\s?·\s?(?:{_TERM}|{_NUM})?\s?(?:{_ATOM}|{_GROUP1})+)*)"
_SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SIGNS = rf"\d?[+−](?![A-Za-z0-9+])|\d?-(?![A-Za-z0-9-])|[{_SUPER}]*[⁺⁻]| ?\^?[1-4][+−](?![A-Za-z0-9+])"
_CHARGE = rf"(?:\^?(?P<charge>{_SIGNS})|\((?P<roman>{_ROMAN})\))"

_COMPACT = re.compile(rf"(?<![A-Za-z0-9_.^])(?P<mass>[{_SUPER}]+)?(?P<body>{_BODY})(?:{_CHARGE})?(?![A-Za-z0-9α-ω])")
_WHOLE = re.compile(rf"(?P<body>{_BODY})(?:{_CHARGE})?")
# A PDF's text often has a space wherever the type size changes: "LiFePO 4", "Ba 0.6 Sr 0.4 TiO 3", "Li Fe P O4".
_LOOSE_COUNT = rf"{_COUNT}(?=[\s,;:)\]/−-]|\.(?!\d)|$)"
_SPACED = re.compile(rf"(?<![A-Za-z0-9_.^])(?P<body>{_BODY}(?: (?:{_BODY}|{_LOOSE_COUNT}))+)(?![A-Za-z0-9α-ω%°])")
_ATOMS = re.compile(rf"({_EL})({_COUNT})?")
# Where a formula, or a bare symbol, can begin. The grammars are asked there only: tried at every letter of a text, they
# take most of the time that indexing takes.
# ("The" and "Project" are passed over: after a symbol, of lower-case letters only the variables x, y and z may follow.)
_BEGINS = rf"[A-Z(\[{_SUPER}](?<![A-Za-z0-9.].)(?![a-z][a-w])"
_START = re.compile(_BEGINS)
_SPACED_START = re.compile(rf"{_BEGINS}(?=[^ ]* [(\[]*[A-Z\dxyzδ·])")  # what goes on after its first space
_NUCLEAR = ("NMR", "MAS", "isotope", "nucle")
_ISOTOPE = re.compile(
    rf"(?<![A-Za-z0-9.])(?P<mass>\d{{1,3}})(?P<symbol>{_TWO}|[HBCNOFPVYI])(?=[ -](?:{'|'.join(_NUCLEAR)}))"
)
_UNIT_AFTER = re.compile(
    r"\s?(?:[%°×]|wt|at\.|mol|vol|nm|µm|μm|mm|cm|m\b|mg|g\b|kg|h\b|min|s\b|K\b|m?eV|m?V\b|m?A\b|[GMk]?Pa|Hz"
    r"|layers?\b|samples?\b|cells?\b|times\b|phases?\b|(?:and|to|or)\s\d)"
)


@dataclass(frozen=True, slots=True)
class _Parsed:
    normal: str
    elements: frozenset[str]


@lru_cache(maxsize=16384)  # a text names the same few formulas again and again
def _parse(body: str, charge: str) -> _Parsed:
    return _Parsed(_canonical(body, charge), _symbols(body))


def _scan(folded: str) -> Iterator[tuple[int, int, _Parsed]]:
    """Yield (start, end, parsed) of every accepted formula: spaced ones where they extend further than compact ones."""
    candidates = [
        *_matches(_COMPACT, _START, folded, _accept_compact),
        *_matches(_SPACED, _SPACED_START, folded, _accept_spaced),
    ]
    candidates.extend(_isotopes(folded))
    last = 0
    for start, end, parsed in sorted(candidates, key=lambda item: (item[0], -item[1])):
        if start >= last:
            yield start, end, parsed
            last = end


def _matches(
    pattern: re.Pattern[str],
    begins: re.Pattern[str],
    folded: str,
    accept: Callable[[re.Match[str]], tuple[int, int, _Parsed] | None],
) -> Iterator[tuple[int, int, _Parsed]]:
    position = 0
    while match := _first_match(pattern, begins, folded, position):
        accepted = accept(match)
        if accepted:
            yield accepted
        position = match.end() if accepted else _next_word(folded, match.start())


def _first_match(pattern: re.Pattern[str], begins: re.Pattern[str], folded: str, position: int) -> re.Match[str] | None:
    """Return what `pattern.search` does, for a pattern that matches only where `begins` does."""
    for start in begins.finditer(folded, position):
        if match := pattern.match(folded, start.start()):
            return match
    return None


_WORD_GAP = re.compile(r"[\s,;:/()\[\]−–-]+")


def _next_word(folded: str, start: int) -> int:
    # What was refused as a whole may hold a formula further right: "In LiCoO2", "S1 TiO2".
    gap = _WORD_GAP.search(folded, start + 1)
    return gap.end() if gap else len(folded)


def _isotopes(folded: str) -> Iterator[tuple[int, int, _Parsed]]:
    for match in _ISOTOPE.finditer(folded) if any(word in folded for word in _NUCLEAR) else ():
        yield match.start(), match.end(), _Parsed(match["mass"] + match["symbol"], frozenset({match["symbol"]}))


def _accept_compact(match: re.Match[str]) -> tuple[int, int, _Parsed] | None:
    start, end = match.start("body"), match.end("body")
    body = match["body"]
    charge = (match["charge"] or match["roman"] or "").strip(" ^")
    if match["mass"]:
        return _mass_number(match)
    stripped = _strip_outer(body)
    if stripped != body and not charge:
        offset = body.index(stripped)
        start, end = start + offset, start + offset + len(stripped)
    body = _without_glued_charge(stripped, charge)
    if glued := _OXIDATION.fullmatch(body):
        return start, end, _Parsed(_canonical(glued[1], glued[2]), frozenset({glued[1]}))
    if charge and _ion_is_plausible(body, charge):
        end = match.end()
    else:
        charge = ""
    if not (charge and _is_single(body)) and not _is_plausible(body, match.string, start, end):
        return None
    return start, end, _parse(body, charge)


# "RuII" is Ru(II) whose numeral has lost its height, while "CuI" is more likely an iodide.
_OXIDATION = re.compile(rf"({_TWO})(II|III|IV|VI{{1,3}})")
_GLUED_CHARGE = re.compile(r"(?<=[OFSNlr][2-9])[123]$")


def _without_glued_charge(body: str, charge: str) -> str:
    # "SO42−": the 2 of the charge has lost its height and stands behind the count. The last atom keeps one digit.
    return _GLUED_CHARGE.sub("", body) if charge and charge in "+-−" else body


def _mass_number(match: re.Match[str]) -> tuple[int, int, _Parsed] | None:
    symbol = match["body"]
    if symbol not in NUMBERS:
        return None
    mass = "".join(str(_SUPER.index(char)) for char in match["mass"])
    return match.start("mass"), match.end("body"), _Parsed(mass + symbol, frozenset({symbol}))


def _accept_spaced(match: re.Match[str]) -> tuple[int, int, _Parsed] | None:
    """Accept the longest run of pieces that makes one plausible formula."""
    pieces = match["body"].split(" ")
    while len(pieces) > 1:
        accepted = _accept_pieces(match, pieces)
        if accepted:
            return accepted
        pieces.pop()
    return None


def _accept_pieces(match: re.Match[str], pieces: list[str]) -> tuple[int, int, _Parsed] | None:
    raw = " ".join(pieces)
    start = match.start("body")
    end = start + len(raw)
    compact = "".join(pieces)
    if not _spacing_is_plausible(pieces, match.string, end):
        return None
    whole = _WHOLE.fullmatch(compact)
    if whole is None or whole["charge"] or not _is_plausible(compact, match.string, start, end):
        return None
    compact, end = _trailing_charge(compact, match.string, end)
    return start, end, _parse(compact, "")


_COMPLETE = _set("ZnO MgO CaO NiO CoO CuO FeO BaO SrO CdO BeO SiC GaN AlN TiN GaAs InP LiF NaCl KCl MnO TiC WC BN NaF")
_NONMETALS = _set("H B C N O F Si P S Cl Se Br Te I As")


def _spacing_is_plausible(pieces: list[str], text: str, end: int) -> bool:
    """Tell whether the spaces are a typesetter's rather than a sentence's."""
    symbols = [symbol for piece in pieces for symbol, _ in _ATOMS.findall(piece)]
    if len(set(symbols)) < 2 or not any(char.isdigit() for char in "".join(pieces)):
        return False
    for before, piece in pairwise(pieces):
        if not piece[0].isdigit():
            if not _element_run_follows(before, piece):
                return False
        elif before[-1].isdigit() or before in _COMPLETE or not _count_is_small(piece):
            return False
    if _abbreviated(pieces) or _CHARGE_AFTER.match(text, end):
        return False
    last = pieces[-1]
    if last[0].isdigit() and not (symbols[-1] in _NONMETALS and last.isdigit() and not _UNIT_AFTER.match(text, end)):
        return False
    return _first_is_no_word(pieces[0], symbols)


_WORDS = _set("At I No He Be")


def _first_is_no_word(first: str, symbols: list[str]) -> bool:
    # "At 2 K" is a temperature, while "In 2 O 3" and "As 2 S 3" are compounds.
    return first not in _WORDS and (first not in {"In", "As"} or symbols[-1] in {"O", "S", "Se", "Te", "P"})


# A count before a sign belongs to an ion ("Co Fe3+"); a wider gap before it is the charge of the whole ("SO 4 2−").
_CHARGE_AFTER = re.compile(r"[+−⁺]")


def _abbreviated(pieces: list[str]) -> bool:
    """Tell whether a piece such as CO or NH stands alone, without the count that would make it part of a formula."""
    following = [*pieces[1:], ""]
    return any(
        re.fullmatch(r"\([A-Z]+\)|[A-Z]{2,}", piece) and not after[:1].isdigit()
        for piece, after in zip(pieces, following, strict=True)
    )


def _element_run_follows(before: str, piece: str) -> bool:
    # "Li Fe P O4" and "Ba 0.6 Sr 0.4 TiO 3" are one formula; "TiO2 ZnO" and "LiCoO2 LiFePO4" are two.
    if before[-1].isdigit() and not before.isdigit() and "." not in before and "/" not in before:
        return len(_ATOMS.findall(before)) == 1 and before not in _MOLECULES
    return before not in _COMPLETE and piece not in _COMPLETE


def _count_is_small(count: str) -> bool:
    if not re.fullmatch(_NUM, count):
        return True
    return 0 < Fraction(count.split("/")[0]) < 25 and not count.startswith("00")


def _trailing_charge(compact: str, text: str, end: int) -> tuple[str, int]:
    match = re.compile(r"\s?\d?[+−](?![A-Za-z0-9])").match(text, end)
    return (compact, match.end()) if match else (compact, end)


# -------------------------------------------------------------------------------------------------------- plausible

_MOLECULES = _set("H2 N2 O2 O3 F2 Cl2 Br2 I2 S8 S6 P4 C60 C70 Se8 D2")
# Upper-case words that are compounds all the same, and mixed-case ones that are not.
# HF, HI, KF and VN are left out: they are more often Hartree-Fock, initials and matrices.
_UPPERCASE_COMPOUNDS = _set("BN KOH KCN HCN WC KSCN")
_NOT_COMPOUNDS = _set(
    "NaN GeV TaS PyC CoV HeLa HoW PoS PoC InC CoC CoI VoIP CaN NoC NoS HiC IoC ReS UnO CoA NoN CuPc "
    "I2C P2P B2B B2C C2C F2F S2S V2V O2O H2H C2N S2C"
)
# (first, last) of upper-case formulas whose only number stands at the end, with the largest count: CO2, PF6, WS2, …
_UPPERCASE_PAIRS: dict[str, tuple[str, int]] = {
    "O": ("CNSPBWVUIYKH", 4),
    "F": ("BPSCNUWVYIK", 7),
    "H": ("CNPBUYVS", 4),
    "S": ("WVCPU", 4),
    "B": ("YVUW", 12),
    "I": ("BPC", 4),
}
_MAX_COUNT = 30
_SURNAME = re.compile(r"(?:^|[\].,;]\s)[A-Z]\w+\s$")  # "Swope WC," is a person
_LIST = re.compile(r",|/(?=[A-Z])")  # "Mo/Mg", "Ti,Nb"
_PLURAL = re.compile(r"[A-Z]{2,}s")


Surroundings = Callable[[str, str, int, int], bool]  # of (compact, text, start, end)


def _is_plausible(body: str, text: str, start: int, end: int) -> bool:
    """Tell whether a string that parses as a formula is one, rather than an abbreviation, a label or a grade."""
    compact = "".join(body.split())
    verdict = _judge(compact)
    return verdict if isinstance(verdict, bool) else verdict(compact, text, start, end)


@lru_cache(maxsize=16384)
def _judge(compact: str) -> bool | Surroundings:
    """Return whether a formula looks like one by itself, or how to judge it by what stands around it."""
    if compact in _NOT_COMPOUNDS or _PLURAL.fullmatch(compact):
        return False
    atoms = _ATOMS.findall(compact)
    symbols = [symbol for symbol, _ in atoms]
    if not symbols:
        return False
    if len(set(symbols)) == 1:
        return _single_is_plausible if compact in _MOLECULES else False
    if _LIST.search(re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", compact)) or _is_backwards(compact, symbols):
        return False
    organic = "C" in symbols and "H" in symbols
    if not all(_count_is_plausible(symbol, count, organic=organic) for symbol, count in atoms):
        return False
    if any(len(symbol) == 2 for symbol in symbols):
        return _judge_mixed(compact, symbols)
    if compact in _UPPERCASE_COMPOUNDS:
        return _is_no_surname
    return _uppercase_is_plausible(compact, atoms)


def _single_is_plausible(compact: str, text: str, start: int, end: int) -> bool:
    if text[end : end + 5] == "-type" or text[start - 1 : start] in {"-", "/"}:
        return False
    # "Table F2", "zone O3", "sample P4" are labels.
    before = re.search(r"(\w+)\.?\s$", text[max(0, start - 20) : start])
    return before is None or before[1].lower() not in _LABELLED


def _is_no_surname(compact: str, text: str, start: int, end: int) -> bool:
    return not _SURNAME.search(text[max(0, start - 24) : start])


_LABELLED = _set("table fig figure figs tables eq section sample site sites type zone step phase atom atoms")


def _count_is_plausible(symbol: str, count: str, *, organic: bool) -> bool:
    if not re.fullmatch(r"\d+(?:\.\d+)?", count):
        return True
    if re.match(r"0\d", count) or ("." not in count and int(count) == 0):
        return False
    return float(count) <= (_MAX_COUNT if not (organic and symbol in {"C", "H", "N", "O"}) else 200)


def _is_backwards(compact: str, symbols: list[str]) -> bool:
    """Tell initials (`IRa`, `CPt`) and names with a stray variable (`CoPy`) from compounds, whose metals come first."""
    if any(char.isdigit() for char in compact):
        return False
    stray = re.search(r"[yzδ]", compact) is not None and "x" not in compact
    return stray or (symbols[0] in _NONMETALS and symbols[-1] not in _NONMETALS)


def _judge_mixed(compact: str, symbols: list[str]) -> bool | Surroundings:
    if any(char.isdigit() or char in "([·" for char in compact):
        return True
    if re.search(r"[xyzδ]", compact):
        return symbols[-1] in _NONMETALS or len(symbols) > 2 or "-" in compact or "−" in compact
    return _ends_as_a_word


def _ends_as_a_word(compact: str, text: str, start: int, end: int) -> bool:
    # Without a number, two symbols side by side are mostly compounds (ZnO, GaAs), but also names (McCo, LaRe).
    return not (text[end : end + 1] == "." and text[end + 1 : end + 2].isalpha())


def _uppercase_is_plausible(compact: str, atoms: list[tuple[str, str]]) -> bool:
    counts = [count for _, count in atoms]
    if not any(counts):
        return False
    if any(left == right for (left, _), (right, _) in pairwise(atoms)) or any(count == "1" for count in counts):
        return False
    if any(counts[:-1]) or "(" in compact:
        return _has_anion(atoms) and _counts_are_small(atoms)
    return _uppercase_pair_is_plausible(atoms)


def _has_anion(atoms: list[tuple[str, str]]) -> bool:
    symbols = {symbol for symbol, _ in atoms}
    variable = any(set(count) & set("xyzδ") for _, count in atoms)
    return ("O" in symbols) if variable else bool(symbols & {"O", "F", "H", "N"}) or atoms[-1][0] == "S"


def _counts_are_small(atoms: list[tuple[str, str]]) -> bool:
    organic = {"C", "H"} <= {symbol for symbol, _ in atoms}
    return all(organic or symbol == "C" or not count.isdigit() or int(count) <= 12 for symbol, count in atoms)


def _uppercase_pair_is_plausible(atoms: list[tuple[str, str]]) -> bool:
    (first, _), (last, count) = atoms[-2:]
    firsts, largest = _UPPERCASE_PAIRS.get(last, ("", 0))
    fits = count == "x" or (count.isdigit() and 2 <= int(count) <= largest)
    return first in firsts and fits and all(symbol in "KHYC" for symbol, _ in atoms[:-2])


# Elements whose ions carry the sign alone: Li+, Na+, …, F−, Cl−.
_CATIONS = _set("H Li Na K Rb Cs Ag Cu Tl Au")
_ANIONS = _set("F Cl Br I")


def _ion_is_plausible(body: str, charge: str) -> bool:
    atoms = _ATOMS.findall(body)
    if not _is_single(body):
        return bool(atoms)
    symbol, count = atoms[0]
    if _ROMAN_VALUES.get(charge):
        return len(symbol) == 2 or symbol in {"V", "U", "W", "I"}
    negative = charge[-1] in "-−⁻"
    size = count or charge[:-1]
    if not size:
        return symbol in (_ANIONS if negative else _CATIONS) and (symbol, charge) != ("I", "-")
    if negative:
        return symbol in {"O", "S", "Se", "Te", "N", "P"} and _small_charge(size)
    return _small_charge(size) and (len(symbol) == 2 or symbol in {"V", "W", "U", "Y", "H", "K"})


def _small_charge(size: str) -> bool:
    digit = str(_SUPER.index(size)) if len(size) == 1 and size in _SUPER else size
    return digit.isdecimal() and 1 <= int(digit) <= 8


def _is_single(body: str) -> bool:
    return re.fullmatch(rf"{_EL}\d?", body) is not None


# -------------------------------------------------------------------------------------------------------- canonical

_ROMAN_VALUES = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9}


def _strip_outer(body: str) -> str:
    """Take off brackets that hold the whole formula: `[PF6]`, `(LiFePO4)`."""
    while body and body[0] in "([" and body[-1] in ")]" and _closes_at(body) == len(body) - 1:
        body = body[1:-1]
    counted = _COUNTED_GROUP.fullmatch(body)
    return counted[1] if counted else body


# What is left of a complex with ligand names: "[Ru(bpy)3](PF6)2".
_COUNTED_GROUP = re.compile(r"[(\[]([^()\[\]]+)[)\]]\d+")


def _closes_at(body: str) -> int:
    depth = 0
    for index, char in enumerate(body):
        depth += (char in "([") - (char in ")]")
        if depth == 0:
            return index
    return -1


def _canonical(body: str, charge: str) -> str:
    compact = re.sub(r"\s+", "", body).replace("−", "-").replace("[", "(").replace("]", ")")
    if charge and _is_single(compact):
        return _ion(compact, charge)
    compact = re.sub(r"^D(?=2O)", "H", compact)
    return re.sub(rf"(?<![\d./xyzδ+-])({_NUM})(?![\d./])", lambda match: _tidy(match[1], compact, match), compact)


def _tidy(number: str, whole: str, match: re.Match[str]) -> str:
    """Write a count without needless digits: 0.60 is 0.6, and 1 goes unless it starts an expression (1-x)."""
    if "." in number and "/" not in number:
        number = number.rstrip("0").rstrip(".")
    follows = whole[match.end() : match.end() + 1]
    leads = match.start() == 0 or whole[match.start() - 1] == "·"
    return "" if number == "1" and follows not in {*"xyzδ+-"} and not leads else number


def _ion(compact: str, charge: str) -> str:
    symbol, count = _ATOMS.findall(compact)[0]
    if charge in _ROMAN_VALUES:
        return f"{symbol}{_ROMAN_VALUES[charge]}+"
    sign = "+" if charge[-1] in "+⁺" else "-"
    size = count or "".join(str(_SUPER.index(char)) if char in _SUPER else char for char in charge[:-1])
    return f"{symbol}{'' if size == '1' else size}{sign}"


def _symbols(body: str) -> frozenset[str]:
    return frozenset("H" if symbol == "D" else symbol for symbol, _ in _ATOMS.findall(body))


# ------------------------------------------------------------------------------------------------------ composition

_Count = int | Fraction | str
_TOKEN = re.compile(rf"(?P<open>\()|(?P<close>\)){_REPEAT}|(?P<atom>{_EL})({_COUNT})?|(?P<sep>[,/])")


def _composition(normal: str) -> dict[str, _Count]:
    if normal[-1:] in {"+", "-"}:
        raise ValueError(normal)
    total: dict[str, _Count] = {}
    for part in normal.split("·"):
        coefficient, rest = re.fullmatch(rf"({_TERM}|{_NUM})?(.*)", part).groups()  # type: ignore[union-attr]
        counts, end = _group(rest, 0)
        if end != len(rest):
            raise ValueError(normal)
        _add(total, counts, _number(coefficient))
    return total


def _group(text: str, position: int) -> tuple[dict[str, _Count], int]:
    counts: dict[str, _Count] = {}
    while position < len(text) and text[position] != ")":
        if text[position] == "(":
            inner, position = _group(text, position + 1)
            match = re.compile(rf"\)({_COUNT}|n)?").match(text, position)
            if match is None:
                raise ValueError(text)
            _add(counts, inner, _number(match[1]))
        elif text[position] in ",/":
            position += 1
            continue
        else:
            match = _ATOMS.match(text, position)
            if match is None:
                raise ValueError(text)
            _add(counts, {match[1]: _number(match[2])}, 1)
        position = match.end()
    return counts, position


def _number(count: str | None) -> _Count:
    if not count:
        return 1
    if count.isdecimal():
        return int(count)
    if re.fullmatch(_NUM, count):
        top, _, bottom = count.partition("/")
        return Fraction(top) / Fraction(bottom) if bottom and Fraction(bottom) else Fraction(top)
    return count.strip("()")


def _add(total: dict[str, _Count], counts: dict[str, _Count], factor: _Count) -> None:
    for symbol, count in counts.items():
        product = _times(count, factor)
        total[symbol] = _plus(total[symbol], product) if symbol in total else product


def _plus(left: _Count, right: _Count) -> _Count:
    if isinstance(left, str) or isinstance(right, str):
        return f"{left}+{right}"
    return left + right


def _times(count: _Count, factor: _Count) -> _Count:
    if factor == 1:
        return count
    if isinstance(count, str) or isinstance(factor, str):
        return f"({_plain(factor)}){_plain(count)}"
    return count * factor


def _plain(count: _Count) -> str:
    if isinstance(count, str):
        return count
    if count == 1:
        return ""
    return str(count.numerator) if count.denominator == 1 else f"{float(count):.3f}".rstrip("0")


# ------------------------------------------------------------------------------------------------- bare symbols, names

_BARE = re.compile(r"(?<![A-Za-z0-9.'’])(" + _one_of(BARE_SYMBOLS) + r")(?![A-Za-z0-9'’])")
# "Li et al.", "Li, J.", "J. Li", "Y. Na and": people.
_PERSON_AFTER = re.compile(
    r"\s+et\s+al|,?\s+(?:[A-Z]\.|[A-Z]{1,2}(?=[,;]))|\s+and\s+[A-Z][a-z]{2,}|\s*[\[(](?:19|20)\d\d|\s+[A-Z][a-z]{2,}"
)
_PERSON_BEFORE = re.compile(r"(?:[A-Z]\.[\s-]?|[A-Z][a-z]+\s|\b(?:Dr|Prof)\.?\s|&\s)$")
_JAPANESE_NAME = re.compile("|".join(sorted((name for name in NAMES if not name.isascii()), key=len, reverse=True)))


def _bare_symbols(text: str) -> Iterator[str]:
    folded, _ = _fold(text)
    for start in _START.finditer(folded):
        match = _BARE.match(folded, start.start())
        if match is None:
            continue
        if _PERSON_AFTER.match(folded, match.end()) or _PERSON_BEFORE.search(
            folded[max(0, match.start() - 14) : match.start()]
        ):
            continue
        yield match[1]

"""How a query is put: to the embedder, to the index of words, and which compounds and elements it names.

A query in Japanese is put to an embedder that reads English only in the English words of the glossary, and to the index
in both. Other names of a compound (`assistant.synonyms`) are looked for too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from assistant import glossary, synonyms
from assistant.question import expanded, gist
from ingest import formulas
from ingest.elements import NAMES, NUMBERS
from ingest.errors import BadInput
from ingest.materials import formula_key


@dataclass(frozen=True, slots=True)
class Wording:
    """What is looked for.

    `meaning` is for the embedder, `words` for the index, where those of `also` count less. `elements` are asked for
    together ("oxides of Li and Co"), where no compound is. `compounds` are the keys of the formulas that the query
    names, and `named` the elements that it speaks of otherwise ("the gap of silicon").
    """

    meaning: str
    words: str
    also: str = ""
    elements: frozenset[str] = frozenset()
    compounds: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    of_records: bool = False  # it asks for what records of materials tell


def worded(query: str, *, embedder: str) -> Wording:
    """Return how `query` is put in a library of that embedder."""
    english = query
    words = query
    if glossary.is_japanese(query) and reads_english_only(embedder):
        english = gist(query) or query
        words = f"{query} {expanded(query)}"
    compounds = synonyms.named(english)
    keys = {formula.normal for formula in formulas.find(english)} | {each.formula for each in compounds if each.formula}
    whole = frozenset(filter(None, map(_record_key, keys)))
    return Wording(
        meaning=_spelt_out(english, compounds),
        words=words,
        also=" ".join(name for name in synonyms.others(english) if " " not in name),
        elements=frozenset() if whole else elements_together(english),
        compounds=whole,
        named=formulas.elements(english),
        of_records=bool(_OF_RECORDS.search(english)),
    )


def reads_english_only(embedder: str) -> bool:
    """Whether an embedder knows English only, so that a Japanese query has to be put to it in English words."""
    return embedder.startswith(("all-MiniLM", "sentence-transformers/all-", "hashing"))


def elements_together(text: str) -> frozenset[str]:
    """Return the elements that `text` names in a row ("Li and Co", "Li-Fe-O") or as contents."""
    found: set[str] = set()
    for run in _RUN.finditer(text):
        together = {symbol for word in _WORD.findall(run[0]) for symbol in _symbols(word)}
        if len(together) > 1 or run["contained"]:
            found |= together
    return frozenset(found)


def _spelt_out(text: str, compounds: list[synonyms.Named]) -> str:
    """Put the name in words behind each abbreviation and formula, which an embedder hardly knows."""
    for each in reversed(compounds):
        written = text[each.start : each.end]
        words = [name for name in each.names if " " in name]
        if words and (written.isupper() or not each.formula):
            text = f"{text[: each.end]} ({words[0]}){text[each.end :]}"
    return text


def _record_key(formula: str) -> str:
    """Return the key that records of a formula go by; "" where there are none: of Li1-xCoO2, of 13C, of a charge."""
    try:
        return formula_key(formula)
    except BadInput:
        return ""


_OF_RECORDS = re.compile(
    r"\bband ?gaps?\b|\b(?:formation|hull) energ|\benergy above\b|\bspace ?groups?\b|\bcrystal (?:system|structure)"
    r"|\b(?:bulk|shear) modul|\bdensity\b|\bmagneti[sz]ation\b|\bmp-\d+|\bMaterials Project\b|\bDFT\b|\bPBE\b",
    re.IGNORECASE,
)
_GROUPS = {
    "oxide": "O", "sulfide": "S", "sulphide": "S", "selenide": "Se", "telluride": "Te", "nitride": "N", "carbide": "C",
    "phosphide": "P", "fluoride": "F", "chloride": "Cl", "bromide": "Br", "iodide": "I", "hydride": "H", "boride": "B",
    "phosphate": "P O", "sulfate": "S O", "carbonate": "C O", "nitrate": "N O", "silicate": "Si O", "borate": "B O",
}  # fmt: skip
# Symbols that are words too count only beside a dash, slash or comma.
_WORDS_TOO = ("In", "As", "At", "He", "I", "No", "Be", "Am")
_SYMBOLS = "|".join(sorted((symbol for symbol in NUMBERS if symbol not in _WORDS_TOO), key=len, reverse=True))
_SPELT = "|".join(sorted((*(name for name in NAMES if name.isascii()), *_GROUPS), key=len, reverse=True))
_ONE = rf"(?:(?:{_SYMBOLS}|(?:{'|'.join(_WORDS_TOO)})(?=\s*[-–,/]))|(?i:(?:{_SPELT})s?))(?![^\W\d_]|\d)"
_JOINT = r"(?:\s*(?:,|/|-|–|&)\s*|\s+)(?:(?:and|or)\s+)?"
_RUN = re.compile(
    rf"(?P<contained>\b(?:contain(?:s|ing)?|compounds? of|oxides? of|alloys? of)\s+)?"
    rf"(?<![^\W_])(?:{_ONE}(?:{_JOINT}{_ONE})*)"
)
_WORD = re.compile(r"[A-Za-z]+")


def _symbols(word: str) -> list[str]:
    if word in NUMBERS:
        return [word]
    name = word.lower()
    for form in (name, name.removesuffix("s")):
        if symbol := NAMES.get(form) or _GROUPS.get(form):
            return symbol.split()
    return []

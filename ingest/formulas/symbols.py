"""Elements that a text names: in formulas, as bare symbols, or by name in English or Japanese."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.elements import BARE_SYMBOLS, NAMES
from ingest.formulas.finding import find
from ingest.formulas.folding import fold
from ingest.formulas.grammar import START, one_of


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


_BARE = re.compile(r"(?<![A-Za-z0-9.'’])(" + one_of(BARE_SYMBOLS) + r")(?![A-Za-z0-9'’])")
# "Li et al.", "Li, J.", "J. Li", "Y. Na and": people.
_PERSON_AFTER = re.compile(
    r"\s+et\s+al|,?\s+(?:[A-Z]\.|[A-Z]{1,2}(?=[,;]))|\s+and\s+[A-Z][a-z]{2,}|\s*[\[(](?:19|20)\d\d|\s+[A-Z][a-z]{2,}"
)
_PERSON_BEFORE = re.compile(r"(?:[A-Z]\.[\s-]?|[A-Z][a-z]+\s|\b(?:Dr|Prof)\.?\s|&\s)$")
_JAPANESE_NAME = re.compile("|".join(sorted((name for name in NAMES if not name.isascii()), key=len, reverse=True)))


def _bare_symbols(text: str) -> Iterator[str]:
    folded, _ = fold(text)
    for start in START.finditer(folded):
        match = _BARE.match(folded, start.start())
        if match is None:
            continue
        if _PERSON_AFTER.match(folded, match.end()) or _PERSON_BEFORE.search(
            folded[max(0, match.start() - 14) : match.start()]
        ):
            continue
        yield match[1]

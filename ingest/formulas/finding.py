"""Formulas in running text: where each stands, its canonical spelling and its elements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from ingest.elements import NUMBERS
from ingest.formulas.composition import composition_key
from ingest.formulas.folding import closing_tag, fold
from ingest.formulas.grammar import COMPACT, ISOTOPE, NUCLEAR, SPACED, SPACED_START, START, SUPERSCRIPTS, TWO, WHOLE
from ingest.formulas.plausible import ion_is_plausible, is_plausible
from ingest.formulas.spacing import spacing_is_plausible
from ingest.formulas.spelling import ROMAN_VALUES, canonical, is_single, strip_outer, symbols_of


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
    folded, offsets = fold(text)
    found: list[Formula] = []
    for start, end, parsed in _scan(folded):
        if offsets is not None:
            start, end = offsets[start], offsets[end - 1] + 1
            end = closing_tag(text, end)
        found.append(Formula(start, end, text[start:end], parsed.normal, parsed.elements))
    return tuple(found)


def normalise(text: str) -> str:
    """Return the canonical spelling of the one formula that `text` is, or "" where it is not one.

    Order and counts stay as written; subscripts, spaces, markup, charges of polyatomic ions and counts of 1 go. Bare
    symbols are allowed here: a user who types a formula means it.
    """
    folded, _ = fold(text.strip())
    for start, end, parsed in _scan(folded):
        if (start, end) == (0, len(folded)):
            return parsed.normal
    compact = re.sub(r"\s+", "", folded)
    match = WHOLE.fullmatch(compact)
    if match is None or compact in ROMAN_VALUES:
        return ""
    return canonical(strip_outer(match["body"]), (match["charge"] or match["roman"] or "").strip(" ^"))


@dataclass(frozen=True, slots=True)
class _Parsed:
    normal: str
    elements: frozenset[str]


@lru_cache(maxsize=16384)  # a text names the same few formulas again and again
def _parse(body: str, charge: str) -> _Parsed:
    return _Parsed(canonical(body, charge), symbols_of(body))


def _scan(folded: str) -> Iterator[tuple[int, int, _Parsed]]:
    """Yield (start, end, parsed) of every accepted formula: spaced ones where they extend further than compact ones."""
    candidates = [
        *_matches(COMPACT, START, folded, _accept_compact),
        *_matches(SPACED, SPACED_START, folded, _accept_spaced),
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
    for match in ISOTOPE.finditer(folded) if any(word in folded for word in NUCLEAR) else ():
        yield match.start(), match.end(), _Parsed(match["mass"] + match["symbol"], frozenset({match["symbol"]}))


def _accept_compact(match: re.Match[str]) -> tuple[int, int, _Parsed] | None:
    start, end = match.start("body"), match.end("body")
    body = match["body"]
    charge = (match["charge"] or match["roman"] or "").strip(" ^")
    if match["mass"]:
        return _mass_number(match)
    stripped = strip_outer(body)
    if stripped != body and not charge:
        offset = body.index(stripped)
        start, end = start + offset, start + offset + len(stripped)
    body = _without_glued_charge(stripped, charge)
    if glued := _OXIDATION.fullmatch(body):
        return start, end, _Parsed(canonical(glued[1], glued[2]), frozenset({glued[1]}))
    if charge and ion_is_plausible(body, charge):
        end = match.end()
    else:
        charge = ""
    if not (charge and is_single(body)) and not is_plausible(body, match.string, start, end):
        return None
    return start, end, _parse(body, charge)


# "RuII" is Ru(II) whose numeral has lost its height, while "CuI" is more likely an iodide.
_OXIDATION = re.compile(rf"({TWO})(II|III|IV|VI{{1,3}})")
_GLUED_CHARGE = re.compile(r"(?<=[OFSNlr][2-9])[123]$")


def _without_glued_charge(body: str, charge: str) -> str:
    # "SO42−": the 2 of the charge has lost its height and stands behind the count. The last atom keeps one digit.
    return _GLUED_CHARGE.sub("", body) if charge and charge in "+-−" else body


def _mass_number(match: re.Match[str]) -> tuple[int, int, _Parsed] | None:
    symbol = match["body"]
    if symbol not in NUMBERS:
        return None
    mass = "".join(str(SUPERSCRIPTS.index(char)) for char in match["mass"])
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
    if not spacing_is_plausible(pieces, match.string, end):
        return None
    whole = WHOLE.fullmatch(compact)
    if whole is None or whole["charge"] or not is_plausible(compact, match.string, start, end):
        return None
    compact, end = _trailing_charge(compact, match.string, end)
    return start, end, _parse(compact, "")


def _trailing_charge(compact: str, text: str, end: int) -> tuple[str, int]:
    match = re.compile(r"\s?\d?[+−](?![A-Za-z0-9])").match(text, end)
    return (compact, match.end()) if match else (compact, end)

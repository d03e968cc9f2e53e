"""How much of each element a formula in canonical spelling holds, groups and hydrates multiplied out."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from ingest.formulas.grammar import ATOMS, COUNT, NUM, TERM

Count = int | Fraction | str  # a word where the count is a variable


@lru_cache(maxsize=65536)
def composition_key(normal: str) -> str:
    """Return the elements of a canonical formula in alphabetical order with their total counts.

    Not reduced: `H2O2` is `H2O2`. Hydrates and groups are multiplied out, so `Ca(OH)2` and `CaO2H2` agree. Where a
    count is a variable (`La1-xSrxMnO3`) the expression stands in its place.
    """
    try:
        counts = composition(normal)
    except ValueError:
        return normal
    return "".join(symbol + _plain(counts[symbol]) for symbol in sorted(counts))


def amounts(normal: str) -> dict[str, float]:
    """Return the number of atoms of each element in a canonical formula. Raises ValueError where one is a variable."""
    counts = composition(normal)
    if any(isinstance(count, str) for count in counts.values()):
        raise ValueError(normal)
    return {symbol: float(count) for symbol, count in counts.items()}


def composition(normal: str) -> dict[str, Count]:
    """Return the count of each element in a canonical formula. Raises ValueError for what is none, and for an ion."""
    if normal[-1:] in {"+", "-"}:
        raise ValueError(normal)
    total: dict[str, Count] = {}
    for part in normal.split("·"):
        coefficient, rest = re.fullmatch(rf"({TERM}|{NUM})?(.*)", part).groups()  # type: ignore[union-attr]
        counts, end = _group(rest, 0)
        if end != len(rest):
            raise ValueError(normal)
        _add(total, counts, _number(coefficient))
    return total


def _group(text: str, position: int) -> tuple[dict[str, Count], int]:
    counts: dict[str, Count] = {}
    while position < len(text) and text[position] != ")":
        if text[position] == "(":
            inner, position = _group(text, position + 1)
            match = re.compile(rf"\)({COUNT}|n)?").match(text, position)
            if match is None:
                raise ValueError(text)
            _add(counts, inner, _number(match[1]))
        elif text[position] in ",/":
            position += 1
            continue
        else:
            match = ATOMS.match(text, position)
            if match is None:
                raise ValueError(text)
            _add(counts, {match[1]: _number(match[2])}, 1)
        position = match.end()
    return counts, position


def _number(count: str | None) -> Count:
    if not count:
        return 1
    if count.isdecimal():
        return int(count)
    if re.fullmatch(NUM, count):
        top, _, bottom = count.partition("/")
        return Fraction(top) / Fraction(bottom) if bottom and Fraction(bottom) else Fraction(top)
    return count.strip("()")


def _add(total: dict[str, Count], counts: dict[str, Count], factor: Count) -> None:
    for symbol, count in counts.items():
        product = _times(count, factor)
        total[symbol] = _plus(total[symbol], product) if symbol in total else product


def _plus(left: Count, right: Count) -> Count:
    if isinstance(left, str) or isinstance(right, str):
        return f"{left}+{right}"
    return left + right


def _times(count: Count, factor: Count) -> Count:
    if factor == 1:
        return count
    if isinstance(count, str) or isinstance(factor, str):
        return f"({_plain(factor)}){_plain(count)}"
    return count * factor


def _plain(count: Count) -> str:
    if isinstance(count, str):
        return count
    if count == 1:
        return ""
    return str(count.numerator) if count.denominator == 1 else f"{float(count):.3f}".rstrip("0")

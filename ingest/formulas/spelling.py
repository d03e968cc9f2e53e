"""The canonical spelling of a formula: order and counts as written, without brackets, markup and counts of 1."""

from __future__ import annotations

import re

from ingest.formulas.grammar import ATOMS, EL, NUM, SUPERSCRIPTS


def is_single(body: str) -> bool:
    """Tell whether a formula is one element, perhaps with a count."""
    return re.fullmatch(rf"{EL}\d?", body) is not None


ROMAN_VALUES = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9}


def strip_outer(body: str) -> str:
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


def canonical(body: str, charge: str) -> str:
    """Return a formula without spaces, square brackets and needless digits; an ion of one element with its charge."""
    compact = re.sub(r"\s+", "", body).replace("−", "-").replace("[", "(").replace("]", ")")
    if charge and is_single(compact):
        return _ion(compact, charge)
    compact = re.sub(r"^D(?=2O)", "H", compact)
    return re.sub(rf"(?<![\d./xyzδ+-])({NUM})(?![\d./])", lambda match: _tidy(match[1], compact, match), compact)


def _tidy(number: str, whole: str, match: re.Match[str]) -> str:
    """Write a count without needless digits: 0.60 is 0.6, and 1 goes unless it starts an expression (1-x)."""
    if "." in number and "/" not in number:
        number = number.rstrip("0").rstrip(".")
    follows = whole[match.end() : match.end() + 1]
    leads = match.start() == 0 or whole[match.start() - 1] == "·"
    return "" if number == "1" and follows not in {*"xyzδ+-"} and not leads else number


def _ion(compact: str, charge: str) -> str:
    symbol, count = ATOMS.findall(compact)[0]
    if charge in ROMAN_VALUES:
        return f"{symbol}{ROMAN_VALUES[charge]}+"
    sign = "+" if charge[-1] in "+⁺" else "-"
    size = count or "".join(str(SUPERSCRIPTS.index(char)) if char in SUPERSCRIPTS else char for char in charge[:-1])
    return f"{symbol}{'' if size == '1' else size}{sign}"


def symbols_of(body: str) -> frozenset[str]:
    """Return the element symbols of a formula."""
    return frozenset("H" if symbol == "D" else symbol for symbol, _ in ATOMS.findall(body))

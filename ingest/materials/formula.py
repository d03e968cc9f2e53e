"""Formulas of records: clean ones, as databases write them. Formulas in running text are found by `ingest.formulas`."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping

from ingest.elements import NUMBERS, electronegativity
from ingest.errors import BadInput
from ingest.materials.problems import FieldError, shown


def known_element(element: object, field: str) -> str:
    """Return the symbol if it is one."""
    if not isinstance(element, str) or element not in NUMBERS:
        raise FieldError(field, f"names {shown(element)}, which is no element")
    return element


_FORMULA_PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)|([(\[])|[)\]](\d*\.?\d*)")


def composition(formula: str, *, field: str = "formula_pretty") -> dict[str, float]:
    """Return the amounts by element of a formula such as "Na3Bi(P2O7)2", in the order they are written.

    This is for the clean formulas of records; formulas in running text are found by `ingest.formulas`.
    """
    text = unicodedata.normalize("NFKC", formula).replace(" ", "")
    levels: list[dict[str, float]] = [{}]
    at = 0
    while at < len(text):
        match = _FORMULA_PART.match(text, at)
        if match is None or (match[0][0] in ")]" and len(levels) == 1):
            raise FieldError(field, f"is {shown(formula)}, not a formula")
        if match[3]:
            levels.append({})
        else:
            times = float(match[2] or match[4] or 1)
            group = {known_element(match[1], field): 1.0} if match[1] else levels.pop()
            for element, amount in group.items():
                levels[-1][element] = levels[-1].get(element, 0.0) + times * amount
        at = match.end()
    if len(levels) > 1 or not levels[0] or not all(levels[0].values()):
        raise FieldError(field, f"is {shown(formula)}, not a formula")
    return levels[0]


def reduced_formula(amounts: Mapping[str, float]) -> str:
    """Return the reduced formula with the elements in the order of electronegativity: LiFePO4, TiO2."""
    reduced = reduced_amounts(amounts)
    order = sorted(reduced, key=lambda element: (electronegativity(element) or math.inf, element))
    return "".join(element + ("" if reduced[element] == 1 else f"{reduced[element]:g}") for element in order)


def formula_key(formula: str) -> str:
    """Return one key for all ways of writing a formula, "Fe1 Li1 O4 P1". Raises BadInput when it is not a formula."""
    try:
        reduced = reduced_amounts(composition(formula))
    except FieldError as error:
        raise BadInput(f"the formula {error}", hint="Write it like LiFePO4 or Na3Bi(P2O7)2") from error
    return " ".join(f"{element}{reduced[element]:g}" for element in sorted(reduced))


def reduced_amounts(amounts: Mapping[str, float]) -> dict[str, float]:
    """Return whole amounts divided by their greatest common divisor, others rounded to four digits."""
    if all(abs(amount - round(amount)) < 1e-6 and round(amount) > 0 for amount in amounts.values()):
        divisor = math.gcd(*(round(amount) for amount in amounts.values()))
        return {element: round(amount) / divisor for element, amount in amounts.items()}
    return {element: round(amount, 4) for element, amount in amounts.items()}

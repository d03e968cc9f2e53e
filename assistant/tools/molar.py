"""The molar mass of a formula, from the standard atomic weights."""

from __future__ import annotations

import re

from assistant.tools.arithmetic import BadExpression
from ingest import formulas
from ingest.elements import WEIGHTS_U

_DEUTERIUM = re.compile(r"D(?![a-z])")


def molar_mass(formula: str) -> float:
    """Return the molar mass in g/mol of a formula in any spelling, hydrates and groups included: "CuSO4·5H2O".

    The weights are those of `ingest.elements`, so the isotopes are those found in nature.

    Raises:
        BadExpression: not a formula, a count that is a variable, an ion of one element, or deuterium.
    """
    hint = "Write it like molar_mass(Fe2O3) or molar_mass(CuSO4·5H2O)"
    normal = formulas.normalise(formula)
    if not normal or _DEUTERIUM.search(formula):
        raise BadExpression(f"{formula!r} is not a formula of natural elements", hint=hint)
    try:
        counts = formulas.amounts(normal)
    except ValueError as error:
        raise BadExpression(f"{formula!r} has a count that is no number, or a charge", hint=hint) from error
    return sum(count * WEIGHTS_U[symbol] for symbol, count in counts.items())

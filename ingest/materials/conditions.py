"""Conditions on the numbers of records in words: "bulk modulus > 300 GPa", "density 2..5", "e_above_hull <= 0.05"."""

from __future__ import annotations

import math
import re
import unicodedata

from ingest.errors import BadInput
from ingest.materials.record import QUANTITIES, Quantity

Range = tuple[float | None, float | None]

_SHORT = {  # what else quantities are called; by field
    "band_gap_ev": "band_gap gap",
    "e_above_hull_ev_per_atom": "e_above_hull energy_above_hull hull",
    "formation_energy_ev_per_atom": "formation_energy",
    "energy_ev_per_atom": "total_energy energy",
    "density_g_cm3": "density",
    "volume_a3": "volume",
    "magnetisation_ub": "magnetisation magnetization total_magnetisation total_magnetization",
    "k_vrh_gpa": "k_vrh bulk_modulus",
    "g_vrh_gpa": "g_vrh shear_modulus",
}
BY_NAME: dict[str, Quantity] = {
    name: quantity for quantity in QUANTITIES for name in (quantity.field, *_SHORT[quantity.field].split())
}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COMPARED = re.compile(rf"(.+?)\s*(<=|>=|≤|≥|<|>|==?)\s*({_NUMBER})\s*(\S*)")
_BETWEEN = re.compile(rf"(.+?)[\s:=]+({_NUMBER})?\s*\.\.\s*({_NUMBER})?\s*(\S*)")


def parse_condition(text: str) -> tuple[str, Range]:
    """Return the field that a condition is about, and its inclusive range; None is an open end.

    Raises:
        BadInput: it is none, its quantity is not known, or its unit is another one.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    if found := _BETWEEN.fullmatch(plain):
        name, low, high, unit = found.groups()
        bounds = (None if low is None else float(low), None if high is None else float(high))
    elif found := _COMPARED.fullmatch(plain):
        name, sign, bound, unit = found.groups()
        bounds = _bounds(sign, float(bound))
    else:
        raise BadInput(f"{text!r} is no condition", hint='Write it like "k_vrh > 300" or "density 2..5"')
    quantity = BY_NAME.get(re.sub(r"[\s-]+", "_", name.strip().lower()))
    if quantity is None:
        raise BadInput(f"{name!r} is no number of a record", hint=f"Known are {', '.join(_first_names())}")
    if unit and _same(unit) != _same(quantity.unit):
        raise BadInput(f"{text!r} is in {unit}, but the {quantity.name} of records is in {quantity.unit}")
    if None not in bounds and bounds[0] > bounds[1]:  # type: ignore[operator]  # neither is None
        raise BadInput(f"{text!r} runs backwards", hint="Give the smaller bound first")
    return quantity.field, bounds


def _bounds(sign: str, bound: float) -> Range:
    if sign.startswith("="):
        return bound, bound
    strict = sign in "<>"
    if sign in (">", ">=", "≥"):
        return (math.nextafter(bound, math.inf) if strict else bound), None
    return None, (math.nextafter(bound, -math.inf) if strict else bound)


def _first_names() -> list[str]:
    return [_SHORT[quantity.field].split()[0] for quantity in QUANTITIES]


def _same(unit: str) -> str:
    """Return a unit without the marks in which spellings differ."""
    plain = unicodedata.normalize("NFKC", unit).replace("μ", "u").replace("^", "").replace("Å", "A").lower()
    return {"ub": "ub", "mub": "ub", "bohr": "ub", "a3": "a3", "ang3": "a3"}.get(plain, plain)

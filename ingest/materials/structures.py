"""Records of structure files (CIF, POSCAR, pymatgen's JSON): what can be read off the structure itself."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput
from ingest.materials.cells import make_cell
from ingest.materials.problems import FieldError
from ingest.materials.record import Material, crystal_system

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMMETRY_TOLERANCE_A = 0.1  # the Materials Project's choice for its published space groups

# tag of a CIF -> prefix of the id, name of the source
_DATABASES = {
    "_cod_database_code": ("cod", "Crystallography Open Database"),
    "_database_code_ICSD": ("icsd", "ICSD"),
    "_database_code_amcsd": ("amcsd", "American Mineralogist Crystal Structure Database"),
}


def parse_materials(text: str, *, name: str) -> list[Material]:
    """Return one record for each structure of a file's text.

    Raises:
        BadInput: with the reason why there is none.
    """
    from ingest.pymatgen_text import parse_structures

    found = parse_structures(text, name=name)
    if any(each.lacks_hydrogen for each in found):
        raise BadInput(f"hydrogens of {name!r} stand on no site, so its formula is not whole", hint="Add them to it")
    identity, source = _database_id(text) if len(found) == 1 else ("", "")
    return [from_structure(each.structure, material_id=identity, source=source or name) for each in found]


def from_structure(structure: Structure, *, material_id: str = "", source: str = "") -> Material:
    """Return the record of a pymatgen structure; without an id it gets one made of formula and content.

    Raises:
        BadInput: an element is none, or the cell encloses no volume.
    """
    try:
        cell = make_cell(plain_structure(structure))
    except FieldError as error:
        raise BadInput(f"{source or 'the structure'!r}, {error.field}: {error}") from error
    if cell is None:
        raise BadInput(f"{source!r} holds no structure")
    number, symbol = _symmetry(structure)
    digest = hashlib.sha256(cell.json.encode()).hexdigest()[:12]
    return Material(
        material_id=material_id or f"{cell.formula}-{digest}",
        formula_pretty=cell.formula,
        elements=cell.elements,
        nsites=cell.nsites,
        spacegroup_number=number,
        spacegroup_symbol=symbol,
        crystal_system=crystal_system(number),
        density_g_cm3=cell.density_g_cm3,
        volume_a3=cell.volume_a3,
        source=source,
        structure_json=cell.json,
    )


def plain_structure(structure: Structure) -> dict[str, Any]:
    """Return a structure in pymatgen's dictionary form, with plain numbers only."""
    document: dict[str, Any] = json.loads(structure.to_json())
    for site in document["sites"]:
        for occupant in site["species"]:
            if occupant["element"] in ("D", "T"):
                occupant["element"] = "H"
    return document


def _database_id(text: str) -> tuple[str, str]:
    """Return the id that a CIF's database gave it, and the database."""
    for tag, (prefix, source) in _DATABASES.items():
        found = re.search(rf"^{tag}\s+'?([\w.-]+)'?\s*$", text, flags=re.M)
        if found:
            return f"{prefix}-{found[1]}", source
    return "", ""


def _symmetry(structure: Structure) -> tuple[int | None, str]:
    """Return number and symbol of the space group, or None and "" where none can be told (atoms that share a place)."""
    import warnings

    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_A)
            return int(found.get_space_group_number()), str(found.get_space_group_symbol())
    except (ValueError, TypeError):
        return None, ""

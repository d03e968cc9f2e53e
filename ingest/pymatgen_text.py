"""Structures as pymatgen holds them, out of texts: CIF, POSCAR and pymatgen's JSON, disordered ones too.

Where pymatgen finds none, matlit's own readers (`ingest.structure_files`) try, and say what is wrong.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput
from ingest.structure_files import guess_kind, parse_text

if TYPE_CHECKING:
    from pymatgen.core import Structure

THINNEST_A = 0.1  # a flatter cell repeats itself so densely that a search for neighbours would not end


@dataclass(frozen=True, slots=True)
class Parsed:
    """A structure that pymatgen holds, and what had to be assumed to read it."""

    structure: Structure
    notes: tuple[str, ...] = ()


def parse_structures(text: str, *, name: str = "") -> list[Parsed]:
    """Return every structure of a text, at least one; `name` is for messages.

    Raises:
        BadInput: with the reason why there is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _PARSERS[guess_kind(text, name=name)](text) or [_from_own_reader(text, name)]
    for parsed in found:
        if len(parsed.structure) == 0:
            raise BadInput(f"{name!r} holds no atoms")
        if _thickness_a(parsed.structure) < THINNEST_A:
            raise BadInput(f"the cell of {name!r} is flat: it has no volume", hint="Check the lengths of the cell")
    return found


def _thickness_a(structure: Structure) -> float:
    """Return the smallest distance between opposite faces of the cell."""
    import numpy as np

    matrix = structure.lattice.matrix
    areas = [float(np.linalg.norm(np.cross(matrix[i], matrix[(i + 1) % 3]))) for i in range(3)]
    return min((float(structure.volume) / area if area > 0 else 0.0) for area in areas)


# What pymatgen raises about a file that it cannot make sense of.
_REFUSALS = (
    ArithmeticError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    NotImplementedError,
    AssertionError,
)


def _from_cif(text: str) -> list[Parsed]:
    from pymatgen.io.cif import CifParser

    try:
        parser = CifParser.from_str(text)
        structures = parser.parse_structures(primitive=False, on_error="ignore")
    except _REFUSALS:
        return []
    told = [" ".join(note.split())[:160] for note in parser.warnings if "not found" not in note]
    return [Parsed(structure, tuple(dict.fromkeys(told))) for structure in structures]


def _from_poscar(text: str) -> list[Parsed]:
    from pymatgen.io.vasp import Poscar

    try:
        return [Parsed(Poscar.from_str(text).structure)]
    except _REFUSALS:
        return []


def _from_json(text: str) -> list[Parsed]:
    from pymatgen.core import Structure

    try:
        document: Any = json.loads(text)
        return [Parsed(Structure.from_dict(document.get("structure", document)))]
    except _REFUSALS:
        return []


def _from_own_reader(text: str, name: str) -> Parsed:
    from pymatgen.core import Lattice, Structure

    from ingest.elements import SYMBOLS

    found = [each for _, each in parse_text(text, name=name)]
    crystal = next((each for each in found if not isinstance(each, BadInput)), None)
    if crystal is None:
        raise next((each for each in found if isinstance(each, BadInput)), BadInput(f"{name!r} is empty"))
    symbols = [SYMBOLS[number] for number in crystal.numbers.tolist()]
    return Parsed(Structure(Lattice(crystal.lattice), symbols, crystal.frac))


_PARSERS = {"cif": _from_cif, "poscar": _from_poscar, "json": _from_json}

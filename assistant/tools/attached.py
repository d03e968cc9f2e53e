"""From what a caller names to a structure: an attached file, a record of the library, or the text of a structure.

A tool never opens a path: what a model writes must not reach the disk. Files come in as attachments.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from assistant.tools.base import ToolContext
from ingest.errors import BadInput, NotInLibrary

if TYPE_CHECKING:
    from pymatgen.core import Structure


HOW = "Attach a CIF or POSCAR file, give its text, or name a record of the library such as mp-149"
MOST_FILE_BYTES = 20 * 2**20
_ID = re.compile(r"[A-Za-z][\w.+-]{0,60}")


def read_attachment(path: Path) -> tuple[str, str]:
    """Return the name and the text of a file that the user attaches.

    Raises:
        BadInput: the file is missing, too large, or no text.
    """
    import gzip

    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise BadInput(f"{str(path)!r} is larger than {MOST_FILE_BYTES // 2**20} MB", hint=HOW)
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise BadInput(f"there is no file {str(path)!r} to attach", hint="Check the path") from None
    except (OSError, EOFError) as error:
        raise BadInput(f"{str(path)!r} cannot be attached: {error}") from error
    if b"\0" in data[:4096]:
        raise BadInput(f"{str(path)!r} is no text file", hint="Attach structures as CIF, POSCAR or pymatgen JSON")
    try:
        return path.name, data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return path.name, data.decode("latin-1")  # older CIF files


@dataclass(frozen=True, slots=True)
class Given:
    """A structure as text (CIF, POSCAR, pymatgen JSON), what to call it, and the source that an answer cites."""

    text: str
    name: str
    source: str


def find_structure(context: ToolContext, wanted: str) -> Given:
    """Return the structure that `wanted` names; "" means the only attached one.

    Raises:
        BadInput: nothing of that name is attached or in the library, or several fit.
    """
    wanted = wanted.strip()
    if "\n" in wanted or wanted.startswith("{"):
        return Given(wanted, "the given text", "the given text")
    attached = _attachment(context.attachments, wanted)
    if attached is not None:
        return attached
    if not wanted:
        raise BadInput("no structure was given and none is attached", hint=HOW)
    return _record(context, wanted)


def _attachment(attachments: Mapping[str, str], wanted: str) -> Given | None:
    if not wanted:
        names = list(attachments)
        if len(names) > 1:
            raise BadInput(f"several files are attached: {', '.join(names)}", hint="Say which one by its name")
    else:
        same = wanted.casefold()
        names = [name for name in attachments if same in (name.casefold(), PurePath(name).name.casefold())]
        names = names or [name for name in attachments if PurePath(name).stem.casefold() == same]
    return Given(attachments[names[0]], names[0], names[0]) if names else None


def _record(context: ToolContext, wanted: str) -> Given:
    names = ", ".join(context.attachments) or "none"
    if not _ID.fullmatch(wanted):
        raise BadInput(
            f"{wanted[:60]!r} is neither an attached file ({names}), a record's id nor a structure", hint=HOW
        )
    if context.library is None:
        raise BadInput(f"there is no library to look up {wanted!r} in, and nothing attached is called so", hint=HOW)
    try:
        material = context.library.material(wanted)
    except NotInLibrary as error:
        found = _of_formula(context, wanted)
        hint = found or f"{HOW}; attached: {names}; records come in with: matlit materials import FILE"
        raise BadInput(str(error), hint=hint) from error
    if not material.structure_json:
        raise BadInput(f"the record {wanted} holds no structure", hint=HOW)
    return Given(material.structure_json, material.title, material.material_id)


def _of_formula(context: ToolContext, wanted: str) -> str:
    """Return which records have `wanted` as their formula, as a hint."""
    from ingest.materials import find

    if context.library is None:
        return ""
    try:
        with context.library.reading() as connection:
            same = find(connection, formula=wanted, limit=5, structures=False)
    except BadInput:
        return ""
    return f"Several crystals may share a formula; name one: {', '.join(each.title for each in same)}" if same else ""


# --- text to structure ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parsed:
    """A structure that pymatgen holds, what to call and to cite, and what had to be assumed."""

    structure: Structure
    name: str
    source: str
    notes: tuple[str, ...] = ()


def parse_structure(given: Given) -> Parsed:
    """Return the structure of a text, read by pymatgen, or by matlit's own readers where pymatgen cannot.

    Raises:
        BadInput: with the reason why there is none.
    """
    from ingest.structure_files import guess_kind

    kind = guess_kind(given.text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = _PARSERS[kind](given)
    if len(parsed.structure) == 0:
        raise BadInput(f"{given.name!r} holds no atoms", hint=HOW)
    if not _has_volume(parsed.structure):
        raise BadInput(f"the cell of {given.name!r} is flat: it encloses no volume", hint="Check the cell's lengths")
    return parsed


def _has_volume(structure: Structure) -> bool:
    # Periodic images of a cell flatter than this are so close that a search for neighbours would not end.
    lattice = structure.lattice
    thickness = [lattice.volume / area for area in _areas(lattice.matrix) if area > 0]
    return len(thickness) == 3 and min(thickness) > 0.1


def _areas(matrix: Any) -> list[float]:
    import numpy as np

    return [float(np.linalg.norm(np.cross(matrix[i], matrix[(i + 1) % 3]))) for i in range(3)]


def _from_cif(given: Given) -> Parsed:
    from pymatgen.io.cif import CifParser

    try:
        parser = CifParser.from_str(given.text)
        structures = parser.parse_structures(primitive=False, on_error="ignore")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, NotImplementedError, AssertionError):
        structures = []
    if not structures:
        return _from_own_reader(given)
    notes = [_first_sentence(note) for note in parser.warnings if "not found" not in note]
    if len(structures) > 1:
        notes.append(f"the file holds {len(structures)} structures; this is the first")
    return Parsed(structures[0], given.name, given.source, tuple(dict.fromkeys(notes)))


def _first_sentence(note: str) -> str:
    return " ".join(note.split())[:160]


def _from_poscar(given: Given) -> Parsed:
    from pymatgen.io.vasp import Poscar

    try:
        structure = Poscar.from_str(given.text).structure
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return _from_own_reader(given)
    return Parsed(structure, given.name, given.source)


def _from_json(given: Given) -> Parsed:
    from pymatgen.core import Structure

    try:
        document = json.loads(given.text)
        document = document.get("structure", document) if isinstance(document, dict) else {}
        structure = Structure.from_dict(document)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return _from_own_reader(given)
    return Parsed(structure, given.name, given.source)


def _from_own_reader(given: Given) -> Parsed:
    """Read with gemmi and matlit's own readers, which say what is wrong."""
    from pymatgen.core import Lattice, Structure

    from ingest.elements import SYMBOLS
    from ingest.structure_files import parse_text

    found = [each for _, each in parse_text(given.text, name=given.name)]
    crystal = next((each for each in found if not isinstance(each, BadInput)), None)
    if crystal is None:
        reason = next((each for each in found if isinstance(each, BadInput)), BadInput(f"{given.name!r} is empty"))
        raise BadInput(str(reason), hint=reason.hint or HOW)
    symbols = [SYMBOLS[number] for number in crystal.numbers.tolist()]
    return Parsed(Structure(Lattice(crystal.lattice), symbols, crystal.frac), given.name, given.source)


_PARSERS = {"cif": _from_cif, "poscar": _from_poscar, "json": _from_json}

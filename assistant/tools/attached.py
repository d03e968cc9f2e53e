"""From what a caller names to a structure: an attached file, a record of the library, or the text of a structure.

A tool never opens a path: what a model writes must not reach the disk. Files come in as attachments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

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

    from ingest.materials.files import decode

    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise BadInput(f"{str(path)!r} is larger than {MOST_FILE_BYTES // 2**20} MB", hint=HOW)
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise BadInput(f"there is no file {str(path)!r} to attach", hint="Check the path") from None
    except (OSError, EOFError) as error:
        raise BadInput(f"{str(path)!r} cannot be attached: {error}") from error
    if data.startswith(b"PK\x03\x04"):
        raise BadInput(f"{str(path)!r} is a zip archive", hint="Unpack it and attach the files in it")
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{str(path)!r} is no text file", hint="Attach structures as CIF, POSCAR or pymatgen JSON")
    return path.name, decode(data)


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


def both_named(attachments: Mapping[str, str], first: str, second: str) -> tuple[str, str]:
    """Return the names of two structures to compare; what is left out is the other one of two attached files.

    Raises:
        BadInput: only one is named, and it is not clear which the other is.
    """
    given = [each.strip() for each in (first, second) if each.strip()]
    if len(given) == 2:
        return given[0], given[1]
    rest = [name for name in attachments if not given or name.casefold() != given[0].casefold()]
    if len(rest) + len(given) != 2:
        raise BadInput("a comparison needs two structures", hint="Name both: structure=A.cif other=B.cif")
    return (given[0], rest[0]) if first.strip() else (rest[0], given[0]) if given else (rest[0], rest[1])


def _attachment(attachments: Mapping[str, str], wanted: str) -> Given | None:
    if not wanted:
        names = list(attachments)
        if len(names) > 1:
            raise BadInput(f"several files are attached: {', '.join(names)}", hint="Say which one by its name")
    else:
        same = wanted.casefold()
        names = [name for name in attachments if wanted in (name, PurePath(name).name)]
        names = names or [name for name in attachments if same in (name.casefold(), PurePath(name).name.casefold())]
        names = names or [name for name in attachments if PurePath(name).stem.casefold() == same]
    return Given(attachments[names[0]], names[0], names[0]) if names else None


def _record(context: ToolContext, wanted: str) -> Given:
    names = ", ".join(context.attachments) or "none"
    if not _ID.fullmatch(wanted):
        raise BadInput(
            f"{wanted[:60]!r} is neither an attached file ({names}), a record's id nor a structure", hint=HOW
        )
    from ingest.materials import how_to_get

    if context.library is None:
        raise BadInput(f"there is no library to look up {wanted!r} in, and nothing attached is called so", hint=HOW)
    try:
        material = context.library.material(wanted)
    except NotInLibrary as error:
        found = _of_formula(context, wanted)
        hint = found or f"{HOW}; attached: {names}. {error.hint}"
        raise BadInput(str(error), hint=hint) from error
    if not material.structure_json:
        raise BadInput(f"the record {wanted} holds no structure", hint=f"{how_to_get(material.material_id)}. {HOW}")
    name = ", ".join((*material.names[:1], material.material_id))
    return Given(material.structure_json, name, material.material_id)


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


@dataclass(frozen=True, slots=True)
class Parsed:
    """A structure that pymatgen holds, what to call and to cite, and what had to be assumed."""

    structure: Structure
    name: str
    source: str
    notes: tuple[str, ...] = ()


def parse_structure(given: Given) -> Parsed:
    """Return the first structure of a text. Raises BadInput with the reason why there is none."""
    from ingest.pymatgen_text import parse_structures

    try:
        found = parse_structures(given.text, name=given.name)
    except BadInput as error:
        raise BadInput(str(error), hint=error.hint or HOW) from error
    more = (f"the file holds {len(found)} structures; this is the first",) if len(found) > 1 else ()
    return Parsed(found[0].structure, given.name, given.source, (*found[0].notes, *more))

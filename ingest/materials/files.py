"""Files of records: JSON, JSON Lines, structure files and pickles, compressed or not, read one record at a time."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from ingest.errors import BadInput
from ingest.materials import pickles
from ingest.materials.formats import convert
from ingest.materials.problems import BadRecord, FieldError
from ingest.materials.record import Material

LINES = (".jsonl", ".ndjson")
STRUCTURES = (".cif", ".vasp", ".poscar", ".contcar")
SUFFIXES = (".json", *LINES, *STRUCTURES, *pickles.SUFFIXES[:2])  # each with .gz too; POSCAR* and CONTCAR* besides


class Broken(NamedTuple):
    """A place in a file where no record can be read."""

    reason: str


Item = Any  # the text of a line, a JSON value, a Material of a structure file, or Broken


def find_files(paths: list[Path]) -> list[Path]:
    """Return the files to read: those named, and in folders all whose kind is known, in order.

    Raises:
        BadInput: one does not exist, or is of no known kind; a folder holds nothing of a known kind.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file() and kind_of(each))
            if not inside:
                raise BadInput(f"the folder {str(path)!r} holds no file of materials records", hint=_known())
            found += inside
        elif not path.is_file():
            raise BadInput(f"there is no file {str(path)!r}", hint="Check the path")
        else:
            _kind_or_refuse(path)
            found.append(path)
    return list(dict.fromkeys(found))


def kind_of(path: Path) -> str:
    """Return "lines", "json", "structure" or "pickle" by the file's name, "" for another kind."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(LINES):
        return "lines"
    if name.endswith(STRUCTURES) or name.startswith(("poscar", "contcar")):
        return "structure"
    if name.endswith((".pkl", ".pickle")):
        return "pickle"
    return "json" if name.endswith(".json") else ""


def parse_records(
    path: Path, *, on_error: Callable[[BadRecord], None] | None = None, allow_pickle: bool = False
) -> Iterator[Material]:
    """Yield the materials of a file, one at a time, in its order.

    Understood are the formats of `FORMATS`, each record on its own. A bad record goes to `on_error` and the rest
    continues; without `on_error` it is raised. A JSON file that breaks off gives what stands before the break.

    Raises BadInput when the file is missing or of another kind, BadRecord as said.
    """
    path = Path(path)
    for number, item in read_items(path, allow_pickle=allow_pickle):
        made = make_material(item, path, number)
        if isinstance(made, Material):
            yield made
        elif on_error is None:
            raise made
        else:
            on_error(made)


def make_material(item: Item, path: Path, number: int) -> Material | BadRecord:
    """Return the material of one item of `read_items`, or why there is none."""
    if isinstance(item, Material):
        return item
    try:
        value = json.loads(item) if isinstance(item, str) else item
        if isinstance(value, Broken):
            return BadRecord(value.reason, path=path, record=number)
        if hasattr(value, "lattice"):  # a pymatgen structure, out of a pickle
            from ingest.materials.structures import from_structure

            return from_structure(value, source=path.name)
        return convert(value)
    except FieldError as error:
        return BadRecord(str(error), path=path, record=number, field=error.field)
    except (ValueError, RecursionError) as error:
        return BadRecord(f"not JSON ({error})", path=path, record=number)
    except BadInput as error:
        return BadRecord(str(error), path=path, record=number)


def read_items(path: Path, *, allow_pickle: bool = False) -> Iterator[tuple[int, Item]]:
    """Yield what a file holds, numbered from 1, each still to be made a material.

    Raises:
        BadInput: the file is missing, damaged, of another kind, or a pickle without `allow_pickle`.
    """
    kind = _kind_or_refuse(path)
    if kind == "pickle" and not allow_pickle:
        raise BadInput(
            f"{path.name!r} is a Python pickle, a format that can carry code",
            hint="If you trust where it is from: --allow-pickle (read without running anything it names)",
        )
    try:
        yield from enumerate(_READERS[kind](path), start=1)
    except FileNotFoundError:
        raise BadInput(f"there is no file {str(path)!r}", hint="Check the path") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadInput(
            f"{path.name!r} cannot be read: {error}", hint="Fetch the file again; it looks damaged"
        ) from error


def _kind_or_refuse(path: Path) -> str:
    kind = kind_of(path)
    if not kind:
        raise BadInput(f"{path.name!r} is no file of materials records", hint=_known())
    return kind


def _known() -> str:
    return f"Known endings: {' '.join(SUFFIXES)}, each also with .gz; and POSCAR, CONTCAR"


def _open(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8-sig")


def _read_lines(path: Path) -> Iterator[Item]:
    with _open(path) as file:
        yield from (line for line in file if line.strip())


def _read_json(path: Path) -> Iterator[Item]:
    with _open(path) as file:
        yield from json_values(file)


def _read_structures(path: Path) -> Iterator[Item]:
    from ingest.materials.structures import parse_materials

    data = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # older CIF files
    try:
        yield from parse_materials(text, name=path.name)
    except BadInput as error:
        yield Broken(str(error))


_READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "lines": _read_lines,
    "json": _read_json,
    "structure": _read_structures,
    "pickle": pickles.read_pickle,
}

_BLOCK_CHARACTERS = 1 << 16
_SEPARATORS = re.compile(r"[\s,\]]*")


def json_values(file: IO[str]) -> Iterator[Item]:
    """Yield the items of a JSON array, of the list under "data" of an object, or of values one after the other.

    The file is decoded item by item, so that an array of any length costs the memory of one item.
    """
    for value in _stream(file):
        items = value.get("data") if isinstance(value, dict) else None
        if isinstance(items, list):
            yield from items
        else:
            yield value


def _stream(file: IO[str]) -> Iterator[Item]:
    decoder, buffer, wanted = json.JSONDecoder(), file.read(_BLOCK_CHARACTERS).lstrip(), _BLOCK_CHARACTERS
    buffer = buffer.removeprefix("[")
    while True:
        buffer = buffer[_SEPARATORS.match(buffer).end() :]  # type: ignore[union-attr]  # it matches the empty string
        try:
            value, end = decoder.raw_decode(buffer)
            if end == len(buffer) and not isinstance(value, dict | list):
                raise ValueError("a number at the very end of what was read may go on")
        except ValueError as error:
            more = file.read(wanted)
            if not more:
                if buffer:
                    yield Broken(f"not JSON, or the file breaks off ({error}); what follows cannot be read")
                return
            buffer, wanted = buffer + more, 2 * wanted  # doubling keeps a large item from being decoded again and again
            continue
        yield value
        buffer, wanted = buffer[end:], _BLOCK_CHARACTERS

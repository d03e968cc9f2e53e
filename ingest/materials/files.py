"""Files of records: JSON, JSON Lines, structure files, pickles, packed or not, read one record at a time."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from ingest.errors import BadInput
from ingest.materials import pickles
from ingest.materials.formats import convert
from ingest.materials.problems import BadRecord, FieldError
from ingest.materials.record import Material

LINES = (".jsonl", ".ndjson")
STRUCTURES = (".cif", ".vasp", ".poscar", ".contcar")
PACKED = (".gz", ".bz2", ".xz")
SUFFIXES = (".json", *LINES, *STRUCTURES, *pickles.SUFFIXES, ".zip")  # packed too; POSCAR* and CONTCAR* besides
MOST_STRUCTURE_BYTES = 256 * 2**20  # of one structure file, unpacked


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
    """Return "lines", "json", "structure", "pickle" or "zip" by the file's name, "" for another kind."""
    name = path.name.lower()
    if name.endswith(".zip"):
        return "zip"
    name = name.removesuffix(_packing(path))
    if name.endswith(LINES):
        return "lines"
    if name.endswith(STRUCTURES) or name.startswith(("poscar", "contcar")):
        return "structure"
    if name.endswith(pickles.SUFFIXES):
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
        made = _convert(item, path, number)
    except FieldError as error:
        return BadRecord(str(error), path=path, record=number, field=error.field)
    except (ValueError, RecursionError) as error:
        return BadRecord(f"not JSON ({error})", path=path, record=number)
    except BadInput as error:
        return BadRecord(str(error), path=path, record=number)
    return made if made.source else replace(made, source=path.name)  # a number without any source is worth little


def _convert(item: Item, path: Path, number: int) -> Material:
    value = json.loads(item) if isinstance(item, str) else item
    if isinstance(value, Broken):
        raise BadInput(value.reason)
    if hasattr(value, "lattice"):  # a pymatgen structure, out of a pickle
        from ingest.materials.structures import from_structure

        return from_structure(value, source=path.name)
    return convert(value)


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
        yield from enumerate(_read(path, kind), start=1)
    except FileNotFoundError:
        raise BadInput(f"there is no file {str(path)!r}", hint="Check the path") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{path.name!r} cannot be read: {error}", hint="Fetch the file again; it looks damaged"
        ) from error


def _kind_or_refuse(path: Path) -> str:
    kind = kind_of(path)
    if not kind:
        raise BadInput(f"{path.name!r} is no file of materials records", hint=_known())
    return kind


def _known() -> str:
    return f"Known endings: {' '.join(SUFFIXES)}, each also with {', '.join(PACKED)}; and POSCAR, CONTCAR"


def _packing(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in PACKED else ""


def _read(path: Path, kind: str) -> Iterator[Item]:
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            yield from _read_archive(archive)
    else:
        with path.open("rb") as file:
            yield from _READERS[kind](_unpacked(file, path), path.name)


def _unpacked(file: IO[bytes], path: Path) -> IO[bytes]:
    makers: dict[str, Callable[[IO[bytes]], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    packing = _packing(path)
    unpacked: IO[bytes] = makers[packing](file) if packing else file
    return unpacked


def _read_archive(archive: zipfile.ZipFile) -> Iterator[Item]:
    """Yield what the files of known kinds in a zip hold; a damaged one does not keep the others away."""
    for info in sorted(archive.infolist(), key=lambda each: each.filename):
        path = Path(info.filename)
        kind = "" if info.is_dir() or path.name.startswith(".") or "__MACOSX" in path.parts else kind_of(path)
        if kind in _IN_ARCHIVES:
            try:
                with archive.open(info) as file:
                    yield from _READERS[kind](_unpacked(file, path), path.name)
            except (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
                yield Broken(f"{info.filename!r} in the zip cannot be read: {error}")
            except RuntimeError:  # how zipfile says that it needs a password
                yield Broken(f"{info.filename!r} in the zip is encrypted; unpack it first")
        elif kind:
            yield Broken(f"{info.filename!r} in the zip is not read from there; unpack it first")


def _text(file: Any) -> IO[str]:
    """Return a file's text; a mark at its beginning is taken off, by a decoder that is slower where there is none."""
    marked = file.peek(3)[:3] == codecs.BOM_UTF8
    return io.TextIOWrapper(file, encoding="utf-8-sig" if marked else "utf-8")


def _read_lines(file: IO[bytes], name: str) -> Iterator[Item]:
    empty = True
    for line in _text(file):
        if line.strip():
            empty = False
            yield line
    if empty:
        yield Broken(f"{name!r} is empty")


def _read_json(file: IO[bytes], name: str) -> Iterator[Item]:
    text = _text(file)
    if not (first := text.read(1)):
        yield Broken(f"{name!r} is empty")
    yield from json_values(text, first)


def _read_structures(file: IO[bytes], name: str) -> Iterator[Item]:
    from ingest.materials.structures import parse_materials

    data = file.read(MOST_STRUCTURE_BYTES + 1)
    if len(data) > MOST_STRUCTURE_BYTES:
        yield Broken(f"{name!r} is larger than {MOST_STRUCTURE_BYTES // 2**20} MB")
        return
    try:
        yield from parse_materials(decode(data), name=name)
    except BadInput as error:
        yield Broken(str(error))


def decode(data: bytes) -> str:
    """Return the text of a structure file: UTF-8, UTF-16 where it is marked so, else Latin-1 as in older CIF files."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


_READERS: dict[str, Callable[[IO[bytes], str], Iterator[Item]]] = {
    "lines": _read_lines,
    "json": _read_json,
    "structure": _read_structures,
    "pickle": pickles.read_pickle,
}
_IN_ARCHIVES = ("lines", "json", "structure")

_BLOCK_CHARACTERS = 1 << 16
_SEPARATORS = re.compile(r"[\s,\]]*")


def json_values(file: IO[str], begun: str = "") -> Iterator[Item]:
    """Yield the items of a JSON array, of the list under "data" of an object, or of values one after the other.

    The file is decoded item by item, so that an array of any length costs the memory of one item. `begun` is what has
    been read of it already.
    """
    for value in _stream(file, begun):
        items = value.get("data") if isinstance(value, dict) else None
        if isinstance(items, list):
            yield from items
        else:
            yield value


def _stream(file: IO[str], begun: str) -> Iterator[Item]:
    decoder, wanted = json.JSONDecoder(), _BLOCK_CHARACTERS
    buffer = (begun + file.read(_BLOCK_CHARACTERS)).lstrip()
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

"""Files of records: JSON and JSON Lines, compressed or not, read one record at a time."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ingest.errors import BadInput
from ingest.materials.formats import convert
from ingest.materials.problems import BadRecord, FieldError
from ingest.materials.record import Material

SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")


def parse_records(path: Path, *, on_error: Callable[[BadRecord], None] | None = None) -> Iterator[Material]:
    """Yield the materials of a JSON or JSON Lines file (`.gz` or not), one at a time, in its order.

    Understood are the formats of `FORMATS`, each record on its own. A bad record goes to `on_error` and the rest
    continues; without `on_error` it is raised. A JSON file that breaks off gives what stands before the break.

    Raises BadInput when the file is missing or of another kind, BadRecord as said.
    """
    path = Path(path)
    for number, value in _numbered(path):
        try:
            if isinstance(value, _Broken):
                raise BadRecord(value.reason, path=path, record=number)
            yield convert(value)
        except FieldError as error:
            bad = BadRecord(str(error), path=path, record=number, field=error.field)
            if on_error is None:
                raise bad from error
            on_error(bad)
        except BadRecord as bad:
            if on_error is None:
                raise
            on_error(bad)


class _Broken(NamedTuple):
    reason: str


def _numbered(path: Path) -> Iterator[tuple[int, object]]:
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise BadInput(f"{path.name!r} is no file of materials records", hint=f"Known endings: {' '.join(SUFFIXES)}")
    values = _json_values if ".json" in name and ".jsonl" not in name else _lines
    try:
        with _open(path) as file:
            yield from enumerate(values(file), start=1)
    except FileNotFoundError:
        raise BadInput(f"there is no file {str(path)!r}", hint="Check the path") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadInput(
            f"{path.name!r} cannot be read: {error}", hint="Fetch the file again; it looks damaged"
        ) from error


def _open(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8-sig")


def _lines(file: IO[str]) -> Iterator[object]:
    for line in file:
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                yield _Broken(f"not JSON ({error})")


_BLOCK_CHARACTERS = 1 << 16
_SEPARATORS = re.compile(r"[\s,\]]*")


def _json_values(file: IO[str]) -> Iterator[object]:
    """Yield the items of a JSON array, of the list under "data" of an object, or of values one after the other.

    The file is decoded item by item, so that an array of any length costs the memory of one item.
    """
    for value in _stream(file):
        items = value.get("data") if isinstance(value, dict) else None
        if isinstance(items, list):
            yield from items
        else:
            yield value


def _stream(file: IO[str]) -> Iterator[object]:
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
                    yield _Broken(f"not JSON, or the file breaks off ({error}); what follows cannot be read")
                return
            buffer, wanted = buffer + more, 2 * wanted  # doubling keeps a large item from being decoded again and again
            continue
        yield value
        buffer, wanted = buffer[end:], _BLOCK_CHARACTERS

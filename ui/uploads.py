"""Takes files that a browser sends: limited in size and kind, stored under the hash of their bytes, not their name.

The name is kept beside them for showing. Nothing is opened here; papers go to the isolated readers.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ingest.errors import BadInput
from ingest.readers import READERS
from ui.chats import ChatStore
from ui.server import UPLOAD_MB

FOLDER = "uploads"  # in the library's folder, so that the library is whole by itself
VOCABULARIES = (".txt",)
STRUCTURES = (".cif", ".vasp", ".poscar", ".json")
LONGEST_NAME = 120
PAPER_TYPES = tuple(sorted(suffix.lstrip(".") for suffix in READERS))


class Upload(Protocol):
    """What Streamlit's uploader gives."""

    name: str

    def getvalue(self) -> bytes:
        """Return the bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that was taken in: where it lies and what it was called."""

    path: Path
    name: str


def shown_name(name: str) -> str:
    """Return a file's name for showing: the last part of it, without what does not print."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(char for char in last if char.isprintable())[:LONGEST_NAME].strip() or "file"


def suffix_of(name: str, allowed: Iterable[str]) -> str:
    """Return the suffix to store a file under.

    Raises:
        BadInput: it is of no kind that is taken here.
    """
    last = shown_name(name).lower()
    allowed = tuple(allowed)
    suffix = next((one for one in allowed if last.endswith(one)), "")
    if not suffix and ".poscar" in allowed and last.startswith(("poscar", "contcar")):
        suffix = ".poscar"
    if not suffix:
        raise BadInput(
            f"{shown_name(name)!r} is of a kind matlit does not read", hint=f"It reads {' '.join(sorted(allowed))}"
        )
    return suffix


def is_structure(name: str) -> bool:
    """Tell whether a file's name is that of a crystal structure rather than of a paper."""
    last = shown_name(name).lower()
    return last.endswith(STRUCTURES) or last.startswith(("poscar", "contcar"))


def take_papers(uploads: Iterable[Upload], *, library: Path, store: ChatStore) -> tuple[list[Stored], list[BadInput]]:
    """Store papers in the library's folder; return them, and what was refused."""
    taken: list[Stored] = []
    refused: list[BadInput] = []
    for upload in uploads:
        try:
            taken.append(_take(upload, library / FOLDER, tuple(READERS), store))
        except BadInput as error:
            refused.append(error)
    return taken, refused


def take_structure(upload: Upload, *, library: Path, store: ChatStore) -> Stored:
    """Store a structure file; raises `BadInput` where it is none by its name, or too large."""
    return _take(upload, library / FOLDER, STRUCTURES, store)


def take_vocabulary(upload: Upload, *, library: Path, store: ChatStore) -> Stored:
    """Store a list of keywords; raises `BadInput` where it is none by its name, or too large."""
    return _take(upload, library / FOLDER, VOCABULARIES, store)


def _take(upload: Upload, folder: Path, allowed: tuple[str, ...], store: ChatStore) -> Stored:
    name = shown_name(upload.name)
    suffix = suffix_of(name, allowed)
    data = upload.getvalue()
    if len(data) > UPLOAD_MB * 1024 * 1024:
        raise BadInput(f"{name!r} is larger than {UPLOAD_MB} MB", hint="Ingest it from its folder: matlit ingest FILE")
    identity = hashlib.sha256(data).hexdigest()
    target = folder / f"{identity}{suffix}"
    if not target.exists():
        _write(target, data)
    store.name_upload(identity, name)
    return Stored(target, name)


def _write(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(target)
    except OSError as error:
        raise BadInput(f"cannot write to {target.parent}: {error.strerror}", hint="Make the folder writable") from error

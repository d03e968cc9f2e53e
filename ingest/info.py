"""The file `library.toml`: what a library was built with, and whether that is what is asked for."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingest.catalog import ANEW
from ingest.embed import EmbedderInfo
from ingest.errors import LibraryDamaged, LibraryError, LibraryMismatch, LibraryNotFound
from ingest.lock import unwritable

SCHEMA_VERSION = 1
INFO_FILE = "library.toml"


@dataclass(frozen=True, slots=True)
class LibraryInfo:
    """What `library.toml` says. `chroma_url` is "" for a Chroma inside the folder."""

    path: Path
    embedder: EmbedderInfo
    recipe: str
    schema: int = SCHEMA_VERSION
    chroma_url: str = ""
    collection: str = "chunks"
    created: str = ""


def read_info(path: Path) -> LibraryInfo:
    """Return what `library.toml` in `path` says, without looking at anything else."""
    file = path / INFO_FILE
    try:
        fields = tomllib.loads(file.read_text(encoding="utf-8"))
        info = _info_from(path, fields)
    except (FileNotFoundError, NotADirectoryError):
        raise LibraryNotFound(f"no library in {path}") from None
    except OSError as error:
        raise LibraryError(f"cannot read {file}: {error.strerror}", hint="Check the folder's permissions") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LibraryDamaged(f"{file} is damaged: {error}", hint=ANEW) from error
    refuse_schema(info, info.schema)
    return info


def write_info(info: LibraryInfo) -> None:
    """Write the file so that it is there whole or not at all."""

    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=True)  # a JSON string without characters beyond ASCII is a TOML string

    text = (
        "# Written by matlit; the library is refused when embedder or recipe are not these.\n"
        f"[library]\nschema = {info.schema}\nrecipe = {quoted(info.recipe)}\ncollection = {quoted(info.collection)}\n"
        f"chroma_url = {quoted(info.chroma_url)}\ncreated = {quoted(info.created)}\n\n"
        f"[embedder]\nname = {quoted(info.embedder.name)}\nrevision = {quoted(info.embedder.revision)}\n"
        f"dimension = {info.embedder.dimension}\n"
    )
    partial = info.path / f"{INFO_FILE}.part"
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(info.path / INFO_FILE)
    except OSError as error:
        raise unwritable(info.path, error) from error


def signature(info: LibraryInfo) -> str:
    """Return what the catalogue keeps too, to notice that the two files are of different kinds."""
    embedder = info.embedder
    return json.dumps([embedder.name, embedder.revision, embedder.dimension, info.recipe])


def refuse_mismatch(info: LibraryInfo, embedder: EmbedderInfo | None, recipe: str | None) -> None:
    """Raise `LibraryMismatch` unless embedder and recipe, where given, are the library's own."""
    if embedder is not None and embedder != info.embedder:
        raise LibraryMismatch(
            f"the library {info.path} was built with the embedder {_called(info.embedder)}, not {_called(embedder)}"
        )
    if recipe is not None and recipe != info.recipe:
        raise LibraryMismatch(
            f"the library {info.path} was chunked as {info.recipe!r}, not {recipe!r}",
            hint="Use the library's own chunking settings, or rebuild it: matlit ingest --rebuild",
        )


def refuse_schema(info: LibraryInfo, found: int) -> None:
    """Raise `LibraryMismatch` for a schema of a newer matlit, `LibraryDamaged` for none."""
    if found > SCHEMA_VERSION:
        raise LibraryMismatch(
            f"the library {info.path} has schema {found}; this matlit knows up to {SCHEMA_VERSION}",
            hint="Update matlit: pip install --upgrade matlit",
        )
    if found < 1:
        raise LibraryDamaged(
            f"{info.path} holds no finished catalogue (schema {found})",
            hint="Build the library anew: matlit ingest PATHS --library NEW_DIR",
        )


def now() -> str:
    """Return the time as the catalogue writes it: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _info_from(path: Path, fields: Mapping[str, Any]) -> LibraryInfo:
    library, embedder = fields["library"], fields["embedder"]
    return LibraryInfo(
        path=path,
        embedder=EmbedderInfo(str(embedder["name"]), str(embedder["revision"]), int(embedder["dimension"])),
        recipe=str(library["recipe"]),
        schema=int(library["schema"]),
        chroma_url=str(library.get("chroma_url", "")),
        collection=str(library.get("collection", "chunks")),
        created=str(library.get("created", "")),
    )


def _called(embedder: EmbedderInfo) -> str:
    return f"{embedder.name!r} (revision {embedder.revision}, {embedder.dimension} dimensions)"

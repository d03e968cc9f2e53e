"""A CSV that says what papers are called, who wrote them, when and where."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import BadInput
from ingest.lookup import clean_doi
from ingest.records import Metadata

_PATH_COLUMNS = ("file_location", "file", "path", "filename")
_YEAR_COLUMNS = ("year", "publication_date", "publication_year", "date")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A table that tells what papers are: `entries` maps absolute paths to metadata."""

    path: Path
    entries: Mapping[Path, Metadata]

    def for_path(self, path: Path) -> Metadata | None:
        """Return the entry of a file: by its path, else by its name where only one entry has it."""
        if (entry := self.entries.get(path.resolve())) is not None:
            return entry
        named = [metadata for known, metadata in self.entries.items() if known.name == path.name]
        return named[0] if len(named) == 1 else None


def read_manifest(path: Path) -> Manifest:
    """Read a CSV that tells what files are.

    One column names the file (`file_location`, `file`, `path` or `filename`), relative to the CSV's folder; of the
    others title, authors, year, doi, journal and language are used.

    Raises `BadInput`, naming line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"the manifest {str(path)!r} cannot be read: {error}", hint="It must be a CSV in UTF-8"
        ) from error
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    try:
        return Manifest(path=path, entries=dict(_entries(reader, path)))
    except csv.Error as error:
        raise BadInput(f"the manifest {path.name!r}, line {reader.reader.line_num}: {error}") from error


def _entries(reader: csv.DictReader[str], path: Path) -> Iterator[tuple[Path, Metadata]]:
    columns = {name.strip().lower(): name for name in reader.fieldnames or []}
    column = next((columns[name] for name in _PATH_COLUMNS if name in columns), None)
    if column is None:
        raise BadInput(
            f"the manifest {path.name!r}, line 1: no column names the file (there are: {', '.join(columns) or 'none'})",
            hint=f"Call the column with the path {_PATH_COLUMNS[0]!r}",
        )
    for row in reader:
        where = f"the manifest {path.name!r}, line {reader.line_num}"
        if not (name := (row[column] or "").strip()):
            raise BadInput(f"{where}, column {column!r}: no path", hint="Give the path, or take the line out")
        yield (path.parent / name).resolve(), _entry(row, columns, where)


def _entry(row: Mapping[str, str | None], columns: Mapping[str, str], where: str) -> Metadata:
    def cell(*names: str) -> str:
        return next((value for name in names if name in columns and (value := (row[columns[name]] or "").strip())), "")

    year, doi = cell(*_YEAR_COLUMNS), cell("doi")
    if doi and not clean_doi(doi):
        raise BadInput(f"{where}, column 'doi': {doi!r} is not a DOI", hint="A DOI begins with 10., as in 10.1000/182")
    found = re.search(r"\b(1[5-9]\d\d|20\d\d)\b", year)
    if year and not found:
        raise BadInput(f"{where}, column {_used(columns, _YEAR_COLUMNS)!r}: {year!r} holds no year")
    return Metadata(
        title=" ".join(cell("title").split()),
        authors=_author_list(cell("authors", "author")),
        year=int(found.group(1)) if found else None,
        doi=clean_doi(doi),
        journal=cell("journal", "source_title", "publication"),
        language=cell("language", "lang")[:2].lower(),
    )


def _used(columns: Mapping[str, str], names: Iterable[str]) -> str:
    return next(columns[name] for name in names if name in columns)


def _author_list(text: str) -> tuple[str, ...]:
    """Split a cell of authors: a Python list as PaperQA writes it, else by ";" or " and ", else by ","."""
    if text.startswith("["):
        try:
            return tuple(str(name).strip() for name in ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError):
            text = text.strip("[]")
    parts = re.split(r";| and ", text) if re.search(r";| and ", text) else text.split(",")
    return tuple(name for part in parts if (name := part.strip().strip("'\"")))

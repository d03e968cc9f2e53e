"""Whether a library is whole: catalogue, full-text index, vectors, page spans and files, checked against one another.

It only looks. Mending is `Library.verify(repair=True)`, which rebuilds what Chroma holds from the catalogue.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingest import catalog
from ingest.catalog import snapshot, sqlite_errors
from ingest.vectors import VectorsBroken, VectorStore

BATCH = 4096
PROBES = 32  # vectors that are looked for
NEIGHBOURS = 5
SAME_COSINE = 0.999  # half precision in the catalogue against single precision in Chroma differs by 1e-6 at most


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found. Ids are chunk ids; empty means nothing wrong.

    `missing_files` are papers' files that are gone from where they were read: a fact for `prune`, not damage. `waiting`
    counts papers that an unfinished rebuild has not reached.
    """

    papers: int
    chunks: int
    vectors: int
    missing_vectors: tuple[str, ...] = ()
    orphan_vectors: tuple[str, ...] = ()
    wrong_vectors: tuple[str, ...] = ()
    vectors_error: str = ""
    bad_spans: tuple[str, ...] = ()
    catalog_errors: tuple[str, ...] = ()
    missing_files: tuple[Path, ...] = ()
    waiting: int = 0
    repaired: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Say whether nothing is damaged and nothing is unfinished."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong, one sentence each, with what mends it."""
        counted = (
            (self.missing_vectors, "passages without their vector in Chroma; mend: matlit verify --repair"),
            (self.orphan_vectors, "vectors in Chroma that belong to nothing; mend: matlit verify --repair"),
            (self.wrong_vectors, "vectors in Chroma that are not the catalogue's; mend: matlit verify --repair"),
            (self.bad_spans, "passages that do not stand on their page; mend: matlit ingest --rebuild PATHS"),
        )
        found = [f"{len(ids)} {text}" for ids, text in counted if ids]
        if self.vectors_error:
            found.append(self.vectors_error)
        if self.waiting:
            found.append(f"{self.waiting} papers wait for an unfinished rebuild; go on with: matlit ingest PATHS")
        return (*found, *self.catalog_errors)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        fields = asdict(self) | {"missing_files": [str(path) for path in self.missing_files]}
        return {"clean": self.clean, "problems": list(self.problems), **fields}


@dataclass(frozen=True, slots=True)
class VectorsReport:
    """How Chroma differs from the catalogue; all empty when it does not."""

    missing: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    error: str = ""


def verify(connection: sqlite3.Connection, path: Path, store: VectorStore) -> VerifyReport:
    """Check everything; `connection` reads the catalogue at `path`."""
    found = check_vectors(connection, store)
    with snapshot(connection):
        return VerifyReport(
            papers=catalog.count(connection, "papers"),
            chunks=catalog.count(connection, "chunks"),
            vectors=catalog.count(connection, "chunks WHERE vector IS NOT NULL"),
            missing_vectors=found.missing,
            orphan_vectors=found.orphans,
            wrong_vectors=found.wrong,
            vectors_error=found.error,
            bad_spans=tuple(_bad_spans(connection)),
            catalog_errors=tuple(_catalog_errors(connection, path)),
            missing_files=tuple(_missing_files(connection)),
            waiting=catalog.count(connection, "waiting"),
        )


def check_vectors(connection: sqlite3.Connection, store: VectorStore) -> VectorsReport:
    """Compare every vector, and have some of them looked for."""
    wanted = _ids_with_vector(connection)
    try:
        store.reopen()
        there = store.ids() if wanted or store.exists() else set()
        wrong = _wrong_vectors(connection, store, there) if wanted else []
        index_error = _index_error(connection, store) if wanted and there else ""
    except VectorsBroken as error:
        return VectorsReport(error=f"{error}. {error.hint}")
    # A writer at work has vectors on their way in and out: it has noted them, or they are settled by now.
    noted = {row[0] for row in connection.execute("SELECT chunk FROM pending")}
    orphans = there - wanted - noted - _ids_with_vector(connection)
    return VectorsReport(tuple(sorted(wanted - there)), tuple(sorted(orphans)), tuple(wrong), index_error)


def _ids_with_vector(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT id FROM chunks WHERE vector IS NOT NULL")}


def _wrong_vectors(connection: sqlite3.Connection, store: VectorStore, there: set[str]) -> list[str]:
    wrong: list[str] = []
    for ids, vectors in catalog.iterate_vectors(connection, BATCH):
        stored = store.get([each for each in ids if each in there])
        rows = [(each, vector) for each, vector in zip(ids, vectors, strict=True) if each in stored]
        wrong += [each for each, vector in rows if float(stored[each] @ vector) < SAME_COSINE]
    return sorted(wrong)


def _index_error(connection: sqlite3.Connection, store: VectorStore) -> str:
    """Have some vectors look for themselves: the rows may be right and the index that searches them broken.

    The search is approximate, and among many near-equal vectors it does miss some; a broken index misses most.
    """
    _, vectors = next(catalog.iterate_vectors(connection, PROBES), ([], ()))
    found = [any(cosine >= SAME_COSINE for _, cosine in store.query(vector, NEIGHBOURS)) for vector in vectors]
    if sum(found) * 2 >= len(found):
        return ""
    return f"Chroma's index finds only {sum(found)} of {len(found)} vectors that it holds"


def _bad_spans(connection: sqlite3.Connection) -> Iterator[str]:
    pages: dict[int, str] = {}
    paper = None
    sql = (
        """SELECT id, source, page, start, "end", text FROM chunks WHERE kind <> 'material' ORDER BY source, ordinal"""
    )
    for identity, source, number, start, end, text in connection.execute(sql):
        if source != paper:
            paper = source
            pages = dict(connection.execute("SELECT number, text FROM pages WHERE paper = ?", (source,)))
        if pages.get(number, "")[start:end] != text or not text:
            yield identity


def _catalog_errors(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA quick_check"):
        if line != "ok":
            yield f"catalogue: {line}"
    for table, *_ in connection.execute("PRAGMA foreign_key_check"):
        yield f"catalogue: a row of {table} belongs to nothing"
    known = "SELECT id FROM papers UNION SELECT material_id FROM materials"
    for (source,) in connection.execute(f"SELECT DISTINCT source FROM chunks WHERE source NOT IN ({known})"):  # noqa: S608
        yield f"catalogue: chunks of {source}, which is not there"
    yield from _index_errors(connection, path)


def _index_errors(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    """Have SQLite compare each full-text index with itself; that counts as writing, so it takes its own connection."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%USING fts5(%'"
    names = [row[0] for row in connection.execute(sql)]
    with sqlite_errors(path):
        checking = sqlite3.connect(path, timeout=catalog.BUSY_TIMEOUT_S, isolation_level=None)
    try:
        for name in names:
            try:
                checking.execute(f"INSERT INTO {name}({name}) VALUES ('integrity-check')")  # noqa: S608 - our own table
            except sqlite3.OperationalError as error:
                if "readonly" not in str(error):
                    yield f"full-text index {name}: {error}"
            except sqlite3.DatabaseError as error:
                yield f"full-text index {name}: {error}"
    finally:
        checking.close()


def _missing_files(connection: sqlite3.Connection) -> Iterator[Path]:
    for (name,) in connection.execute("SELECT path FROM paths ORDER BY path"):
        if not Path(name).exists():
            yield Path(name)

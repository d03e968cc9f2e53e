"""Changing a library: what makes a paper visible all at once, and how Chroma is kept in line with the catalogue."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from ingest import catalog, index, materials
from ingest.catalog import sqlite_errors, transaction
from ingest.embed import EmbedderInfo
from ingest.info import LibraryInfo, now, read_info, signature, write_info
from ingest.lock import WriterLock, unwritable
from ingest.materials import Material
from ingest.records import Chunk, Page, Paper
from ingest.vectors import ServerUnreachable, VectorsBroken, VectorStore
from ingest.verify import SAME_COSINE, VectorsReport, check_vectors

if TYPE_CHECKING:
    from ingest.library import Library

BATCH = 4096  # vectors moved at a time: 6 MB

Vector = npt.NDArray[np.float32]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a file looked when its bytes were read: enough to see that it has not changed since."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the stamp of the file as it is now."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be read when it looked like `stamp`; `cause` is a `ReadError.cause`."""

    path: Path
    error: str
    cause: str
    hint: str
    stamp: Stamp
    at: str = ""  # ISO 8601, UTC


class Writer:
    """The one process that changes a library; got from `Library.writer`. Not for several threads at once."""

    def __init__(self, library: Library, command: str) -> None:
        self._library = library
        self._command = command
        self._lock = WriterLock(library.info.path)
        self._connection: sqlite3.Connection | None = None
        self._claimed: VectorStore | None = None

    def open_vectors(self) -> None:
        """Open Chroma now rather than at the first paper; it takes a second."""
        self._store()

    # Papers

    def add(
        self,
        paper: Paper,
        pages: Sequence[Page],
        chunks: Sequence[Chunk],
        vectors: Vector,
        *,
        stamps: Mapping[Path, Stamp] | None = None,
        entries: Sequence[index.Entry] | None = None,
    ) -> None:
        """Add a paper with everything that belongs to it, or replace it; visible all at once.

        `vectors` has one unit row for each of `embedded(chunks)`, in order. A path of the paper that held another
        version until now takes that version out, unless it has another path left. `stamps` are of the moment the
        files were read. `entries` are what `index.make_entry` makes of the chunks, where that is done already.
        """
        store = self._store()
        rows = self._rows(chunks, vectors)
        self._announce(rows)
        store.upsert([chunk.id for chunk, _ in rows], vectors)
        with self._changing() as connection:
            known = connection.execute("SELECT path, size, mtime_ns FROM paths WHERE paper = ?", (paper.id,)).fetchall()
            links = {Path(path): Stamp(size, mtime_ns) for path, size, mtime_ns in known} | dict(stamps or {})
            gone = self._drop_paper(connection, paper.id)
            catalog.insert_paper(connection, paper if paper.added else replace(paper, added=now()), pages)
            self._insert_chunks(connection, chunks, rows, entries)
            for path in dict.fromkeys((*paper.paths, *links)):
                gone += self._link(connection, path, paper.id, links.get(path))
            self._settle(connection, kept=[chunk.id for chunk, _ in rows], gone=gone)
        self._clear_pending()

    def link(self, path: Path, paper_id: str, stamp: Stamp) -> None:
        """Note that the file at `path` holds a paper that is already here: a copy, a new name, a new time stamp.

        Older paths of the paper whose file is gone are forgotten, which makes this a renaming.
        """
        with self._changing() as connection:
            gone = self._link(connection, path, paper_id, stamp)
            sql = "SELECT path FROM paths WHERE paper = ? AND path <> ?"
            for (other,) in connection.execute(sql, (paper_id, str(path))).fetchall():
                if not Path(other).exists():
                    connection.execute("DELETE FROM paths WHERE path = ?", (other,))
            self._settle(connection, kept=[], gone=gone)
        self._clear_pending()

    def fail(self, failure: Failure) -> None:
        """Note that a file could not be read, so that it is not tried again before it changes."""
        with self._changing() as connection:
            stamp = failure.stamp
            connection.execute(
                "INSERT OR REPLACE INTO failures (path, error, cause, hint, size, mtime_ns, at) VALUES (?,?,?,?,?,?,?)",
                (
                    str(failure.path),
                    failure.error,
                    failure.cause,
                    failure.hint,
                    stamp.size,
                    stamp.mtime_ns,
                    failure.at or now(),
                ),
            )

    def remove(self, id_or_prefix: str) -> Paper:
        """Take a paper out and return what it was."""
        paper = self._library.paper(id_or_prefix)
        with self._changing() as connection:
            self._settle(connection, kept=[], gone=self._drop_paper(connection, paper.id))
        self._clear_pending()
        return paper

    def prune(self, under: Sequence[Path] | None = None) -> list[str]:
        """Forget paths whose file is gone, and take out papers that have none left; return the ids of those.

        With `under`, only paths inside these folders are looked at.
        """
        library = self._library
        missing = {path: owner for path, (owner, _) in library.paths().items() if _is_gone(path, under)}
        failures = [path for path in library.failures() if _is_gone(path, under)]
        with self._changing() as connection:
            connection.executemany("DELETE FROM failures WHERE path = ?", [(str(path),) for path in failures])
            connection.executemany("DELETE FROM paths WHERE path = ?", [(str(path),) for path in missing])
            lost = [owner for owner in sorted(set(missing.values())) if not self._has_path(connection, owner)]
            gone = [each for owner in lost for each in self._drop_paper(connection, owner)]
            self._settle(connection, kept=[], gone=gone)
        self._clear_pending()
        return lost

    # Materials

    def add_materials(
        self,
        records: Sequence[Material],
        chunks: Sequence[Chunk],
        vectors: Vector | None,
        *,
        entries: Sequence[index.Entry] | None = None,
    ) -> None:
        """Add or replace materials records with their chunks of kind "material"; visible all at once.

        Without `vectors` they are found word by word and by their facts only. `entries` are what `index.make_entry`
        makes of the chunks, where another process has made them already.
        """
        rows = self._rows(chunks, vectors) if vectors is not None else []
        if vectors is not None:
            store = self._store()
            self._announce(rows)
            store.upsert([chunk.id for chunk, _ in rows], vectors)
        with self._changing() as connection:
            ids = [record.material_id for record in records]
            gone = [
                each
                for source in catalog.with_chunks(connection, ids)
                for each in self._drop_chunks(connection, source)
            ]
            materials.insert(connection, records)
            self._insert_chunks(connection, chunks, rows, entries)
            self._settle(connection, kept=[chunk.id for chunk, _ in rows], gone=gone)
        self._clear_pending()

    def remove_materials(self, ids: Sequence[str]) -> None:
        """Take materials records out with their chunks and vectors, all at once; unknown ids do not matter."""
        with self._changing() as connection:
            gone = [each for one in catalog.with_chunks(connection, ids) for each in self._drop_chunks(connection, one)]
            materials.delete(connection, ids)
            self._settle(connection, kept=[], gone=gone)
        self._clear_pending()

    # The library as a whole

    def reset(self, *, embedder: EmbedderInfo, recipe: str) -> None:
        """Turn to another embedder or recipe: every chunk goes; papers and materials wait to be chunked and embedded.

        Nothing that cannot be computed again is lost: pages, paths and records stay. `Library.waiting` lists the
        papers, `materials_to_embed` the materials.
        """
        info = replace(self._library.info, embedder=embedder, recipe=recipe)
        self._drop_all_chunks(info)
        write_info(info)  # a crash before this leaves a library of the old kind whose papers wait
        self._library.info = info
        self._library.vectors().clear()  # a collection cannot change its dimension
        self._clear_pending()

    def materials_to_embed(self) -> list[Material]:
        """Return the materials that a reset left without a chunk."""
        with self._library.reading() as connection:
            sql = "SELECT material_id FROM materials WHERE material_id NOT IN (SELECT source FROM chunks)"
            ids = [row[0] for row in connection.execute(sql)]
            return [found for part in catalog.batched(ids, catalog.VARIABLES) for found in _find(connection, part)]

    def mend(self) -> tuple[str, ...]:
        """Bring Chroma in line with the catalogue, without embedding; return what was done, nothing where all was well.

        Missing and wrong vectors are written again and those of nothing deleted; a Chroma that fails is built anew.
        """
        store = self._claim()
        try:
            store.open_for_writing()
        except VectorsBroken as error:
            done = self._rebuild(store, error)
        else:
            done = self._align(store)
        with self._changing() as connection:
            connection.execute("DELETE FROM pending")
            catalog.bump_epoch(connection)
        return done

    # Inside

    def start(self) -> None:
        """Take the lock and settle what a killed writer has left; `Library.writer` calls it."""
        self._lock.acquire(self._command)
        library = self._library
        library.info = read_info(library.info.path)  # another writer may have reset it since it was opened
        self._connection = library.catalog.connect_writer()
        with sqlite_errors(library.catalog.path):
            if catalog.read_meta(self._connection, "signature") != signature(library.info):
                self._drop_all_chunks(library.info)
            unsettled = catalog.count(self._connection, "pending")
        if unsettled:
            self._store()

    def finish(self) -> None:
        """Let go of everything."""
        store, self._claimed = self._claimed, None
        if store is not None:
            store.writers -= 1
        connection, self._connection = self._connection, None
        if connection is not None:
            self._library.catalog.release(connection)
        self._lock.release()

    def _claim(self) -> VectorStore:
        if self._claimed is None:
            self._claimed = self._library.vectors()
            self._claimed.writers += 1
        return self._claimed

    def _store(self) -> VectorStore:
        """Return the vectors; the first time, compared with the catalogue and mended where they differ."""
        if self._claimed is None:
            self._recover(self._claim())
        return self._claim()

    def _recover(self, store: VectorStore) -> None:
        connection = self._open_connection()
        pending = [row[0] for row in connection.execute("SELECT chunk FROM pending")]
        total = catalog.count(connection, "chunks WHERE vector IS NOT NULL")
        try:
            if total == 0:
                store.clear()
            store.open_for_writing()
            ids, vectors = catalog.vectors_of(connection, pending)
            store.upsert(ids, vectors)  # a replacement broke off: what the catalogue shows holds
            store.delete(sorted(set(pending) - set(ids)))
            mended = self._align(store) if store.count() != total else ()
        except VectorsBroken as error:
            mended = self._rebuild(store, error)
        if pending or mended:
            with self._changing() as changing:
                changing.execute("DELETE FROM pending")
                catalog.bump_epoch(changing)

    def _align(self, store: VectorStore) -> tuple[str, ...]:
        """Mend what differs; where that does not help, because Chroma itself is broken, build it anew."""
        try:
            done = self._reconcile(store)
            left = check_vectors(self._open_connection(), store)
        except VectorsBroken as error:
            return self._rebuild(store, error)
        if left == VectorsReport():
            return done
        return self._rebuild(store, VectorsBroken("Chroma still differs from the catalogue after mending"))

    def _reconcile(self, store: VectorStore) -> tuple[str, ...]:
        connection = self._open_connection()
        there = store.ids()
        orphans = there - {row[0] for row in connection.execute("SELECT id FROM chunks WHERE vector IS NOT NULL")}
        store.delete(sorted(orphans))
        mended = 0
        for ids, vectors in catalog.iterate_vectors(connection, BATCH):
            stored = store.get([each for each in ids if each in there])
            wrong = [n for n, each in enumerate(ids) if not _same(stored.get(each), vectors[n])]
            store.upsert([ids[n] for n in wrong], vectors[wrong])
            mended += len(wrong)
        counts = ((mended, "vectors written again from the catalogue"), (len(orphans), "vectors of nothing deleted"))
        return tuple(f"{number} {what}" for number, what in counts if number)

    def _rebuild(self, store: VectorStore, why: VectorsBroken) -> tuple[str, ...]:
        if isinstance(why, ServerUnreachable):
            raise why
        logger.warning("%s; rebuilding the vectors from the catalogue", why)
        connection = self._open_connection()
        written = 0
        try:
            store.clear()
            for ids, vectors in catalog.iterate_vectors(connection, BATCH):
                store.upsert(ids, vectors)
                written += len(ids)
        except OSError as error:
            raise unwritable(self._library.info.path, error) from error
        return (f"Chroma built anew with {written} vectors from the catalogue ({why})",)

    def _drop_all_chunks(self, info: LibraryInfo) -> None:
        with self._changing() as connection:
            ids = [row[0] for row in connection.execute("SELECT id FROM chunks WHERE vector IS NOT NULL")]
            index.unindex(connection, [row[0] for row in connection.execute("SELECT rowid FROM chunks")])
            connection.execute("DELETE FROM chunks")
            connection.execute("INSERT OR IGNORE INTO waiting SELECT id FROM papers")
            connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", [(each,) for each in ids])
            catalog.write_meta(connection, "signature", signature(info))
            catalog.bump_epoch(connection)

    def _rows(self, chunks: Sequence[Chunk], vectors: Vector) -> list[tuple[Chunk, Vector]]:
        wanted = embedded(chunks)
        shape = (len(wanted), self._library.info.embedder.dimension)
        if vectors.shape != shape and wanted:
            raise ValueError(f"vectors have shape {vectors.shape}, the chunks need {shape}")
        return list(zip(wanted, vectors, strict=True)) if wanted else []

    def _announce(self, rows: Sequence[tuple[Chunk, Vector]]) -> None:
        with self._changing() as connection:
            connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", [(chunk.id,) for chunk, _ in rows])

    def _settle(self, connection: sqlite3.Connection, *, kept: Sequence[str], gone: Sequence[str]) -> None:
        """Note what changed: `kept` is in place, the vectors of `gone` are to be deleted after this transaction."""
        connection.executemany("DELETE FROM pending WHERE chunk = ?", [(each,) for each in kept])
        left = set(gone) - set(kept)
        connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", [(each,) for each in sorted(left)])

    def _clear_pending(self) -> None:
        ids = [row[0] for row in self._open_connection().execute("SELECT chunk FROM pending")]
        if ids:
            self._store().delete(ids)
            with self._changing() as connection:
                connection.execute("DELETE FROM pending")

    def _insert_chunks(
        self,
        connection: sqlite3.Connection,
        chunks: Sequence[Chunk],
        rows: Sequence[tuple[Chunk, Vector]],
        entries: Sequence[index.Entry] | None = None,
    ) -> None:
        vectors = {chunk.id: vector for chunk, vector in rows}
        rowids = [catalog.insert_chunk(connection, chunk, vectors.get(chunk.id)) for chunk in chunks]
        made = entries if entries is not None else [index.make_entry(chunk) for chunk in chunks]
        index.add_entries(connection, list(zip(rowids, made, strict=True)))

    def _drop_paper(self, connection: sqlite3.Connection, paper_id: str) -> list[str]:
        gone = self._drop_chunks(connection, paper_id)
        connection.execute("DELETE FROM papers WHERE id = ?", (paper_id,))
        return gone

    def _drop_chunks(self, connection: sqlite3.Connection, source: str) -> list[str]:
        rows = connection.execute(
            "SELECT rowid, id, vector IS NOT NULL FROM chunks WHERE source = ?", (source,)
        ).fetchall()
        index.unindex(connection, [row[0] for row in rows])
        connection.execute("DELETE FROM chunks WHERE source = ?", (source,))
        return [row[1] for row in rows if row[2]]

    def _link(self, connection: sqlite3.Connection, path: Path, paper_id: str, stamp: Stamp | None) -> list[str]:
        stamp = stamp or Stamp.of(path)
        before = connection.execute("SELECT paper FROM paths WHERE path = ?", (str(path),)).fetchone()
        row = (str(path), paper_id, stamp.size, stamp.mtime_ns)
        connection.execute("INSERT OR REPLACE INTO paths (path, paper, size, mtime_ns) VALUES (?, ?, ?, ?)", row)
        connection.execute("DELETE FROM failures WHERE path = ?", (str(path),))
        if before is None or before[0] == paper_id or self._has_path(connection, before[0]):
            return []
        return self._drop_paper(connection, before[0])

    def _has_path(self, connection: sqlite3.Connection, paper_id: str) -> bool:
        return connection.execute("SELECT 1 FROM paths WHERE paper = ? LIMIT 1", (paper_id,)).fetchone() is not None

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        connection = self._open_connection()
        with sqlite_errors(self._library.catalog.path), transaction(connection):
            yield connection

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the writer is closed: use it inside `with library.writer()`")
        return self._connection


def embedded(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the chunks that get a vector: all but reference lists, which are only found word by word."""
    return [chunk for chunk in chunks if chunk.kind != "reference"]


def _same(stored: Vector | None, wanted: Vector) -> bool:
    return stored is not None and stored.shape == wanted.shape and float(stored @ wanted) >= SAME_COSINE


def _find(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Material]:
    return materials.find(connection, material_ids=ids)


def _is_gone(path: Path, under: Sequence[Path] | None) -> bool:
    inside = under is None or any(path == folder or folder in path.parents for folder in under)
    return inside and not path.exists()

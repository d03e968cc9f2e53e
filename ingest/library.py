"""The library on disk: what is in it, who may write to it, and that catalogue and vectors never drift apart.

    library.toml     schema version, embedder, chunking recipe, Chroma server if any
    catalog.sqlite   everything, vectors included (ingest/catalog.py)
    chroma/          the same vectors, searchable (ingest/vectors.py)
    writer.lock      held while somebody writes (ingest/lock.py)

The catalogue decides what exists. Vectors are written first, under ids that depend on content only, and one SQLite
transaction then makes a paper visible; ids on their way are noted in `pending`, so that the next writer clears what a
killed one left behind. Chroma can always be rebuilt from the catalogue, without embedding again.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ingest import catalog, index, materials
from ingest.catalog import ANEW, CATALOG_FILE, Catalog, snapshot, sqlite_errors, transaction
from ingest.embed import EmbedderInfo
from ingest.errors import BadInput, LibraryDamaged, LibraryError, LibraryMismatch, LibraryNotFound, NotInLibrary
from ingest.lock import WriterLock, holder, unwritable
from ingest.materials import Material
from ingest.records import Chunk, Filter, Page, Paper
from ingest.vectors import VectorsBroken, VectorStore, borrow_store, check_url, return_store
from ingest.verify import SAME_COSINE, VectorsReport, VerifyReport, check_vectors, verify

SCHEMA_VERSION = 1
INFO_FILE = "library.toml"
MIN_PREFIX = 4  # hex digits of a paper id
BATCH = 4096  # vectors moved or compared at a time: 6 MB

Vector = npt.NDArray[np.float32]
logger = logging.getLogger(__name__)


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


class Library:
    """A library opened for reading; any number of processes and threads may read while one writes.

    Opening is cheap: Chroma is not touched before the first dense search. Use it in a `with` block, or call `close`.
    """

    def __init__(self, info: LibraryInfo) -> None:
        self.info = info
        self._catalog = Catalog(info.path)
        self._store: VectorStore | None = None
        self._guard = threading.Lock()

    @classmethod
    def create(cls, path: Path, *, embedder: EmbedderInfo, recipe: str, chroma_url: str = "") -> Self:
        """Make an empty library in `path`, which may exist but must not hold a library already."""
        path = Path(path)
        _refuse_existing(path)
        if chroma_url:
            check_url(chroma_url)
        collection = f"matlit-{secrets.token_hex(6)}" if chroma_url else "chunks"  # a server may hold several libraries
        info = LibraryInfo(path, embedder, recipe, chroma_url=chroma_url, collection=collection, created=now())
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        lock = WriterLock(path)
        lock.acquire()
        try:
            _refuse_existing(path)  # made by another process while this one waited
            _create_files(info)
        finally:
            lock.release()
        return cls(info)

    @classmethod
    def open(cls, path: Path, *, embedder: EmbedderInfo | None = None, recipe: str | None = None) -> Self:
        """Open the library in `path`, refusing it when it was built otherwise than asked for.

        Raises LibraryNotFound, LibraryMismatch (embedder, recipe, newer schema), LibraryDamaged.
        """
        info = read_info(Path(path))
        _refuse_mismatch(info, embedder, recipe)
        if not (info.path / CATALOG_FILE).exists():
            raise LibraryDamaged(f"{info.path} has lost its {CATALOG_FILE}", hint=ANEW)
        library = cls(info)
        try:
            with sqlite_errors(info.path):
                _refuse_schema(info, catalog.schema_version(library._catalog.reader))
        except BaseException:
            library.close()
            raise
        return library

    def close(self) -> None:
        """Close every file. The object may be used again; it opens them again."""
        self._catalog.close()
        with self._guard:
            store, self._store = self._store, None
        if store is not None:
            return_store(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # What is in it

    def papers(self) -> list[Paper]:
        """Return every paper, by path."""
        with self._reading() as connection:
            return catalog.select_papers(connection)

    def paper(self, id_or_prefix: str) -> Paper:
        """Return the paper with that id; a few digits are enough where they fit one paper only."""
        wanted = id_or_prefix.strip().lower()
        with self._reading() as connection:
            sql = "SELECT id FROM papers WHERE id = ? OR (length(?) >= ? AND substr(id, 1, length(?)) = ?) LIMIT 20"
            ids = [row[0] for row in connection.execute(sql, (wanted, wanted, MIN_PREFIX, wanted, wanted))]
            found = catalog.select_papers(connection, ids)
        if len(found) > 1:
            fits = ", ".join(sorted(paper.id[:16] for paper in found))
            raise BadInput(f"{id_or_prefix!r} fits several papers: {fits}", hint="Give more digits of the id")
        if not found:
            raise NotInLibrary(f"no paper {id_or_prefix!r} in the library {self.info.path}")
        return found[0]

    def page(self, paper_id: str, number: int) -> Page:
        """Return one page of a paper; numbers begin at 1."""
        with self._reading() as connection:
            page = catalog.select_page(connection, paper_id, number)
        if page is None:
            raise NotInLibrary(f"no page {number} of paper {paper_id!r} in the library {self.info.path}")
        return page

    def pages(self, paper_id: str) -> list[Page]:
        """Return all pages of a paper in order; empty when there is no such paper."""
        with self._reading() as connection:
            return catalog.select_pages(connection, paper_id)

    def chunks(self, ids: Sequence[str]) -> list[Chunk]:
        """Return the chunks in the order of `ids`; those that have been removed meanwhile are left out."""
        with self._reading() as connection:
            return catalog.select_chunks(connection, ids)

    def chunks_of(self, source: str, kinds: Sequence[str] = ()) -> list[Chunk]:
        """Return the chunks of one paper or material in order, of all kinds or of `kinds`."""
        with self._reading() as connection:
            return catalog.select_chunks_of(connection, source, kinds)

    def chunk_ids(self) -> list[str]:
        """Return the ids of all chunks, sorted: two libraries with the same ids hold the same."""
        with self._reading() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM chunks ORDER BY id")]

    def material(self, material_id: str) -> Material:
        """Return one materials record."""
        with self._reading() as connection:
            found = materials.find(connection, material_ids=[material_id])
        if not found:
            raise NotInLibrary(f"no material {material_id!r} in the library {self.info.path}")
        return found[0]

    def materials(self, **where: Any) -> list[Material]:
        """Return materials records, all or those that `ingest.materials.find` finds with `where`."""
        with self._reading() as connection:
            return materials.find(connection, **where)

    def paths(self) -> dict[Path, tuple[str, Stamp]]:
        """Return every path the library has read: the paper it held, and how the file looked then."""
        with self._reading() as connection:
            rows = connection.execute("SELECT path, paper, size, mtime_ns FROM paths").fetchall()
        return {Path(path): (paper, Stamp(size, mtime)) for path, paper, size, mtime in rows}

    def failures(self) -> dict[Path, Failure]:
        """Return the files that could not be read, as they looked then."""
        sql = "SELECT path, error, cause, hint, size, mtime_ns, at FROM failures"
        with self._reading() as connection:
            rows = connection.execute(sql).fetchall()
        return {Path(r[0]): Failure(Path(r[0]), r[1], r[2], r[3], Stamp(r[4], r[5]), r[6]) for r in rows}

    def waiting(self) -> list[str]:
        """Return the ids of papers that a rebuild has not reached yet."""
        with self._reading() as connection:
            return [row[0] for row in connection.execute("SELECT paper FROM waiting ORDER BY paper")]

    def stored_paper(self, paper_id: str) -> Paper:
        """Return a paper even while it waits for a rebuild."""
        with self._reading() as connection:
            found = catalog.select_papers(connection, [paper_id], hidden=True)
        if not found:
            raise NotInLibrary(f"no paper {paper_id!r} in the library {self.info.path}")
        return found[0]

    def status(self) -> dict[str, Any]:
        """Return counts and settings, ready for JSON."""
        info = self.info
        with self._reading() as connection, snapshot(connection):
            counts = {name: catalog.count(connection, name) for name in ("pages", "chunks", "materials", "failures")}
            counts["papers"] = catalog.count(connection, "papers WHERE id NOT IN (SELECT paper FROM waiting)")
            counts["vectors"] = catalog.count(connection, "chunks WHERE vector IS NOT NULL")
            counts["waiting"] = catalog.count(connection, "waiting")
        writer = holder(info.path)
        return {
            "library": str(info.path),
            "schema": info.schema,
            "embedder": {
                "name": info.embedder.name,
                "revision": info.embedder.revision,
                "dimension": info.embedder.dimension,
            },
            "recipe": info.recipe,
            "chroma_url": info.chroma_url,
            "created": info.created,
            **dict(sorted(counts.items())),
            "bytes": _folder_bytes(info.path),
            "writer": None if writer is None else str(writer),
        }

    # Search

    def dense(self, vector: Vector, *, k: int, where: Filter | None = None) -> list[tuple[str, float]]:
        """Return up to `k` (chunk id, cosine similarity), best first.

        Where Chroma fails, the catalogue's vectors are searched instead: slower, equally right.
        """
        query = np.asarray(vector, dtype=np.float32).reshape(-1)
        if query.size != self.info.embedder.dimension:
            raise LibraryMismatch(f"the query has {query.size} dimensions, the library {self.info.embedder.dimension}")
        with self._reading() as connection:
            return index.dense_candidates(connection, self._nearest, query, k=k, where=where or Filter())

    def lexical(self, query: str, *, k: int, where: Filter | None = None) -> list[tuple[str, float]]:
        """Return up to `k` (chunk id, BM25 score, higher is better), best first."""
        with self._reading() as connection:
            return index.lexical_candidates(connection, query, k=k, where=where or Filter())

    def _nearest(self, vector: Vector, k: int) -> list[tuple[str, float]]:
        """Return up to `k` (chunk id, cosine similarity); some ids may not be visible yet, or not any more."""
        store = self._vectors()
        with self._reading() as connection:
            epoch, last = catalog.epoch(connection), catalog.last_row(connection)
            if not connection.execute("SELECT 1 FROM chunks WHERE vector IS NOT NULL LIMIT 1").fetchone():
                return []
        try:
            known = store.refresh(epoch, last)
            near = dict(store.query(vector, k))
        except VectorsBroken as error:
            logger.warning("%s; searching the catalogue instead. %s", error, error.hint)
            near, known = {}, 0
        if known < last:  # what another process has added since this one opened Chroma
            near |= self._nearest_exactly(vector, k, after=known)
        return sorted(near.items(), key=lambda pair: -pair[1])[:k]

    def _nearest_exactly(self, vector: Vector, k: int, *, after: int) -> dict[str, float]:
        best: dict[str, float] = {}
        with self._reading() as connection:
            for ids, _, vectors in catalog.iterate_vectors(connection, BATCH, after=after):
                best.update(zip(ids, (vectors @ vector).tolist(), strict=True))
                best = dict(sorted(best.items(), key=lambda pair: -pair[1])[:k])
        return best

    # Writing and mending

    @contextmanager
    def writer(self, command: str = "") -> Iterator[Writer]:
        """Hold the library for writing; `LibraryBusy` names who holds it already."""
        writer = Writer(self, command)
        try:
            writer._start()
            yield writer
        finally:
            writer._finish()

    def verify(self, *, repair: bool = False) -> VerifyReport:
        """Check catalogue, index, vectors and files against one another; with `repair`, mend the vectors first."""
        mended: tuple[str, ...] = ()
        if repair:
            with self.writer("verify --repair") as writer:
                mended = writer.mend()
        with self._reading() as connection:
            report = verify(connection, self._catalog.path, self._vectors())
        return replace(report, repaired=mended)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with sqlite_errors(self._catalog.path):
            yield self._catalog.reader

    def _vectors(self) -> VectorStore:
        with self._guard:
            if self._store is None:
                info = self.info
                self._store = borrow_store(info.path, collection=info.collection, url=info.chroma_url)
            return self._store


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
    ) -> None:
        """Add a paper with everything that belongs to it, or replace it; visible all at once.

        `vectors` has one unit row for each of `embedded(chunks)`, in order. A path of the paper that held another
        version until now takes that version out, unless it has another path left. `stamps` are of the moment the
        files were read.
        """
        store = self._store()
        rows = self._rows(chunks, vectors)
        self._announce(rows)
        store.upsert([chunk.id for chunk, _ in rows], vectors, [chunk.source for chunk, _ in rows])
        with self._changing() as connection:
            known = connection.execute("SELECT path, size, mtime_ns FROM paths WHERE paper = ?", (paper.id,)).fetchall()
            links = {Path(path): Stamp(size, mtime_ns) for path, size, mtime_ns in known} | dict(stamps or {})
            gone = self._drop_paper(connection, paper.id)
            catalog.insert_paper(connection, paper if paper.added else replace(paper, added=now()), pages)
            self._insert_chunks(connection, chunks, rows)
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

    def add_materials(self, records: Sequence[Material], chunks: Sequence[Chunk], vectors: Vector) -> None:
        """Add or replace materials records with their chunks of kind "material"; visible all at once."""
        store = self._store()
        rows = self._rows(chunks, vectors)
        self._announce(rows)
        store.upsert([chunk.id for chunk, _ in rows], vectors, [chunk.source for chunk, _ in rows])
        with self._changing() as connection:
            gone: list[str] = []
            for record in records:
                gone += self._drop_chunks(connection, record.material_id)
                connection.execute("DELETE FROM material_elements WHERE material_id = ?", (record.material_id,))
                connection.execute(materials.INSERT_MATERIAL, materials.row(record))
                connection.executemany(materials.INSERT_ELEMENT, materials.element_rows(record))
            self._insert_chunks(connection, chunks, rows)
            self._settle(connection, kept=[chunk.id for chunk, _ in rows], gone=gone)
        self._clear_pending()

    # The library as a whole

    def reset(self, *, embedder: EmbedderInfo, recipe: str) -> None:
        """Turn to another embedder or recipe: every chunk goes; papers and materials wait to be chunked and embedded.

        Nothing that cannot be computed again is lost: pages, paths and records stay. `Library.waiting` lists the
        papers, `materials_to_embed` the materials.
        """
        info = replace(self._library.info, embedder=embedder, recipe=recipe)
        self._drop_all_chunks(info)
        _write_info(info)  # a crash before this leaves a library of the old kind whose papers wait
        self._library.info = info
        self._library._vectors().clear()  # a collection cannot change its dimension
        self._clear_pending()

    def materials_to_embed(self) -> list[Material]:
        """Return the materials that a reset left without a chunk."""
        with self._library._reading() as connection:
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

    def _start(self) -> None:
        self._lock.acquire(self._command)
        library = self._library
        library.info = read_info(library.info.path)  # another writer may have reset it since it was opened
        self._connection = library._catalog.connect_writer()
        with sqlite_errors(library._catalog.path):
            if catalog.read_meta(self._connection, "signature") != _signature(library.info):
                self._drop_all_chunks(library.info)
            unsettled = catalog.count(self._connection, "pending")
        if unsettled:
            self._store()

    def _finish(self) -> None:
        store, self._claimed = self._claimed, None
        if store is not None:
            store.writers -= 1
        connection, self._connection = self._connection, None
        if connection is not None:
            self._library._catalog.release(connection)
        self._lock.release()

    def _claim(self) -> VectorStore:
        if self._claimed is None:
            self._claimed = self._library._vectors()
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
            ids, sources, vectors = catalog.vectors_of(connection, pending)
            store.upsert(ids, vectors, sources)  # a replacement broke off: what the catalogue shows holds
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
        for ids, sources, vectors in catalog.iterate_vectors(connection, BATCH):
            stored = store.get([each for each in ids if each in there])
            wrong = [n for n, each in enumerate(ids) if not _same(stored.get(each), vectors[n])]
            store.upsert([ids[n] for n in wrong], vectors[wrong], [sources[n] for n in wrong])
            mended += len(wrong)
        counts = ((mended, "vectors written again from the catalogue"), (len(orphans), "vectors of nothing deleted"))
        return tuple(f"{number} {what}" for number, what in counts if number)

    def _rebuild(self, store: VectorStore, why: VectorsBroken) -> tuple[str, ...]:
        logger.warning("%s; rebuilding the vectors from the catalogue", why)
        connection = self._open_connection()
        written = 0
        try:
            store.clear()
            for ids, sources, vectors in catalog.iterate_vectors(connection, BATCH):
                store.upsert(ids, vectors, sources)
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
            catalog.write_meta(connection, "signature", _signature(info))
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
        self, connection: sqlite3.Connection, chunks: Sequence[Chunk], rows: Sequence[tuple[Chunk, Vector]]
    ) -> None:
        vectors = {chunk.id: vector for chunk, vector in rows}
        for chunk in chunks:
            rowid = catalog.insert_chunk(connection, chunk, vectors.get(chunk.id))
            index.index_chunk(connection, rowid, chunk)

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
        with sqlite_errors(self._library._catalog.path), transaction(connection):
            yield connection

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the writer is closed: use it inside `with library.writer()`")
        return self._connection


def embedded(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the chunks that get a vector: all but reference lists, which are only found word by word."""
    return [chunk for chunk in chunks if chunk.kind != "reference"]


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
    _refuse_schema(info, info.schema)
    return info


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


def _refuse_existing(path: Path) -> None:
    if (path / INFO_FILE).exists():
        raise BadInput(f"{path} already holds a library", hint="Add to it: matlit ingest PATHS")


def _create_files(info: LibraryInfo) -> None:
    """Write the catalogue, then the file that makes the folder a library."""
    database = Catalog(info.path)
    try:
        connection = database.connect_writer()
        with sqlite_errors(database.path):
            catalog.apply_schema(
                connection, SCHEMA_VERSION, catalog.CATALOG_SCHEMA, index.INDEX_SCHEMA, materials.MATERIALS_SCHEMA
            )
            catalog.write_meta(connection, "signature", _signature(info))
    finally:
        database.close()
    _write_info(info)


def _write_info(info: LibraryInfo) -> None:
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


def _signature(info: LibraryInfo) -> str:
    embedder = info.embedder
    return json.dumps([embedder.name, embedder.revision, embedder.dimension, info.recipe])


def _refuse_mismatch(info: LibraryInfo, embedder: EmbedderInfo | None, recipe: str | None) -> None:
    if embedder is not None and embedder != info.embedder:
        raise LibraryMismatch(
            f"the library {info.path} was built with the embedder {_called(info.embedder)}, not {_called(embedder)}"
        )
    if recipe is not None and recipe != info.recipe:
        raise LibraryMismatch(
            f"the library {info.path} was chunked as {info.recipe!r}, not {recipe!r}",
            hint="Use the library's own chunking settings, or rebuild it: matlit ingest --rebuild",
        )


def _refuse_schema(info: LibraryInfo, found: int) -> None:
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


def _called(embedder: EmbedderInfo) -> str:
    return f"{embedder.name!r} (revision {embedder.revision}, {embedder.dimension} dimensions)"


def _same(stored: Vector | None, wanted: Vector) -> bool:
    return stored is not None and stored.shape == wanted.shape and float(stored @ wanted) >= SAME_COSINE


def _find(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Material]:
    return materials.find(connection, material_ids=ids)


def _is_gone(path: Path, under: Sequence[Path] | None) -> bool:
    inside = under is None or any(path == folder or folder in path.parents for folder in under)
    return inside and not path.exists()


def _folder_bytes(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:  # a temporary file of a writer at work
                continue
    return total

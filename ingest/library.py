"""The library on disk: what is in it, who may write to it, and that catalogue and vectors never drift apart.

    library.toml     schema version, embedder, chunking recipe, Chroma server if any (ingest/info.py)
    catalog.sqlite   everything, vectors included (ingest/catalog.py)
    chroma/          the same vectors, searchable (ingest/vectors.py)
    writer.lock      held while somebody writes (ingest/lock.py, ingest/writer.py)

The catalogue decides what exists. Vectors are written first, under ids that depend on content only, and one SQLite
transaction then makes a paper visible; ids on their way are noted in `pending`, so that the next writer clears what a
killed one left behind. Chroma can always be rebuilt from the catalogue, without embedding again.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ingest import catalog, index, materials
from ingest.catalog import ANEW, CATALOG_FILE, Catalog, snapshot, sqlite_errors
from ingest.embed import EmbedderInfo
from ingest.errors import BadInput, LibraryDamaged, LibraryExists, LibraryMismatch, NotInLibrary
from ingest.info import (
    INFO_FILE,
    SCHEMA_VERSION,
    LibraryInfo,
    now,
    read_info,
    refuse_mismatch,
    refuse_schema,
    signature,
    write_info,
)
from ingest.lock import WriterLock, holder, unwritable
from ingest.materials import Material
from ingest.records import Chunk, Filter, Page, Paper
from ingest.vectors import VectorsBroken, VectorStore, borrow_store, check_url, return_store
from ingest.verify import VerifyReport, verify
from ingest.writer import Failure, Stamp, Writer, embedded

__all__ = [
    "INFO_FILE",
    "Failure",
    "Library",
    "LibraryInfo",
    "Stamp",
    "VerifyReport",
    "Writer",
    "embedded",
    "now",
    "read_info",
]

MIN_PREFIX = 4  # hex digits of a paper id
BATCH = 4096  # vectors compared at a time: 6 MB

Vector = npt.NDArray[np.float32]
logger = logging.getLogger(__name__)


class Library:
    """A library opened for reading; any number of processes and threads may read while one writes.

    Opening is cheap: Chroma is not touched before the first dense search. Use it in a `with` block, or call `close`.
    """

    def __init__(self, info: LibraryInfo) -> None:
        self.info = info
        self.catalog = Catalog(info.path)
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
        refuse_mismatch(info, embedder, recipe)
        if not (info.path / CATALOG_FILE).exists():
            raise LibraryDamaged(f"{info.path} has lost its {CATALOG_FILE}", hint=ANEW)
        library = cls(info)
        try:
            with sqlite_errors(info.path):
                refuse_schema(info, catalog.schema_version(library.catalog.reader))
        except BaseException:  # nobody else has the library yet, so nobody else can close its files
            library.close()
            raise
        return library

    def close(self) -> None:
        """Close every file. The object may be used again; it opens them again."""
        self.catalog.close()
        with self._guard:
            store, self._store = self._store, None
        if store is not None:
            return_store(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # What is in it

    def papers(self, ids: Sequence[str] | None = None) -> list[Paper]:
        """Return every paper, or those of `ids` that are there, by path."""
        with self.reading() as connection:
            return catalog.select_papers(connection, ids)

    def paper(self, id_or_prefix: str) -> Paper:
        """Return the paper with that id; a few digits are enough where they fit one paper only."""
        wanted = id_or_prefix.strip().lower()
        with self.reading() as connection:
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
        with self.reading() as connection:
            page = catalog.select_page(connection, paper_id, number)
        if page is None:
            raise NotInLibrary(f"no page {number} of paper {paper_id!r} in the library {self.info.path}")
        return page

    def pages(self, paper_id: str) -> list[Page]:
        """Return all pages of a paper in order; empty when there is no such paper."""
        with self.reading() as connection:
            return catalog.select_pages(connection, paper_id)

    def chunks(self, ids: Sequence[str]) -> list[Chunk]:
        """Return the chunks in the order of `ids`; those that have been removed meanwhile are left out."""
        with self.reading() as connection:
            return catalog.select_chunks(connection, ids)

    def chunks_of(self, source: str, kinds: Sequence[str] = ()) -> list[Chunk]:
        """Return the chunks of one paper or material in order, of all kinds or of `kinds`."""
        with self.reading() as connection:
            return catalog.select_chunks_of(connection, source, kinds)

    def chunk_ids(self) -> list[str]:
        """Return the ids of all chunks, sorted: two libraries with the same ids hold the same."""
        with self.reading() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM chunks ORDER BY id")]

    def material(self, material_id: str) -> Material:
        """Return one materials record; "149" and "MP-149" are mp-149. Raises NotInLibrary with the next command."""
        asked = materials.asked_id(material_id)
        with self.reading() as connection:
            found = materials.find(connection, material_ids=[material_id, asked])
        if not found:
            raise NotInLibrary(
                f"no material {material_id!r} in the library {self.info.path}", hint=materials.how_to_get(asked)
            )
        return next((each for each in found if each.material_id == material_id), found[0])

    def materials(self, **where: Any) -> list[Material]:
        """Return materials records, all or those that `ingest.materials.find` finds with `where`."""
        with self.reading() as connection:
            return materials.find(connection, **where)

    def paths(self) -> dict[Path, tuple[str, Stamp]]:
        """Return every path the library has read: the paper it held, and how the file looked then."""
        with self.reading() as connection:
            rows = connection.execute("SELECT path, paper, size, mtime_ns FROM paths").fetchall()
        return {Path(path): (paper, Stamp(size, mtime)) for path, paper, size, mtime in rows}

    def failures(self) -> dict[Path, Failure]:
        """Return the files that could not be read, as they looked then."""
        sql = "SELECT path, error, cause, hint, size, mtime_ns, at FROM failures"
        with self.reading() as connection:
            rows = connection.execute(sql).fetchall()
        return {Path(r[0]): Failure(Path(r[0]), r[1], r[2], r[3], Stamp(r[4], r[5]), r[6]) for r in rows}

    def waiting(self) -> list[str]:
        """Return the ids of papers that a rebuild has not reached yet."""
        with self.reading() as connection:
            return [row[0] for row in connection.execute("SELECT paper FROM waiting ORDER BY paper")]

    def stored_paper(self, paper_id: str) -> Paper:
        """Return a paper even while it waits for a rebuild."""
        with self.reading() as connection:
            found = catalog.select_papers(connection, [paper_id], hidden=True)
        if not found:
            raise NotInLibrary(f"no paper {paper_id!r} in the library {self.info.path}")
        return found[0]

    def status(self) -> dict[str, Any]:
        """Return counts and settings, ready for JSON."""
        info = self.info
        with self.reading() as connection, snapshot(connection):
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

    def select(self, where: Filter) -> index.Selected:
        """Look up what a filter allows, once for all parts of one search."""
        with self.reading() as connection:
            return index.select(connection, where)

    def dense(self, vector: Vector, *, k: int, where: Filter | index.Selected | None = None) -> list[tuple[str, float]]:
        """Return up to `k` (chunk id, cosine similarity), best first.

        Where Chroma fails, the catalogue's vectors are searched instead: slower, equally right.
        """
        query = np.asarray(vector, dtype=np.float32).reshape(-1)
        if query.size != self.info.embedder.dimension:
            raise LibraryMismatch(f"the query has {query.size} dimensions, the library {self.info.embedder.dimension}")
        with self.reading() as connection:
            return index.dense_candidates(connection, self._nearest, query, k=k, where=where or Filter())

    def lexical(
        self,
        query: str,
        *,
        k: int,
        where: Filter | index.Selected | None = None,
        also: str = "",
        elements: Iterable[str] = (),
    ) -> list[tuple[str, float]]:
        """Return up to `k` (chunk id, BM25 score, higher is better), best first.

        `also` holds other names of what the query names, `elements` the chemical elements it asks for.
        """
        with self.reading() as connection:
            return index.lexical_candidates(
                connection, query, k=k, where=where or Filter(), also=also, elements=elements
            )

    def _nearest(self, vector: Vector, k: int) -> list[tuple[str, float]]:
        """Return up to `k` (chunk id, cosine similarity); some ids may not be visible yet, or not any more."""
        store = self.vectors()
        with self.reading() as connection:
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
        with self.reading() as connection:
            for ids, vectors in catalog.iterate_vectors(connection, BATCH, after=after):
                best.update(zip(ids, (vectors @ vector).tolist(), strict=True))
                best = dict(sorted(best.items(), key=lambda pair: -pair[1])[:k])
        return best

    # Writing and mending

    @contextmanager
    def writer(self, command: str = "") -> Iterator[Writer]:
        """Hold the library for writing; `LibraryBusy` names who holds it already."""
        writer = Writer(self, command)
        try:
            writer.start()
            yield writer
        finally:
            writer.finish()

    def verify(self, *, repair: bool = False) -> VerifyReport:
        """Check catalogue, index, vectors and files against one another; with `repair`, mend the vectors first."""
        mended: tuple[str, ...] = ()
        if repair:
            with self.writer("verify --repair") as writer:
                mended = writer.mend()
        with self.reading() as connection:
            report = verify(connection, self.catalog.path, self.vectors())
        return replace(report, repaired=mended)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection to the catalogue; what SQLite raises leaves as a `MatlitError`."""
        with sqlite_errors(self.catalog.path):
            yield self.catalog.reader

    _reading = reading  # its name until recently

    def vectors(self) -> VectorStore:
        """Return this process's store of the library's vectors, unopened."""
        with self._guard:
            if self._store is None:
                info = self.info
                self._store = borrow_store(info.path, collection=info.collection, url=info.chroma_url)
            return self._store


def _refuse_existing(path: Path) -> None:
    if (path / INFO_FILE).exists():
        raise LibraryExists(f"{path} already holds a library", hint="Add to it: matlit ingest PATHS")


def _create_files(info: LibraryInfo) -> None:
    """Write the catalogue, then the file that makes the folder a library."""
    database = Catalog(info.path)
    try:
        connection = database.connect_writer()
        with sqlite_errors(database.path):
            catalog.apply_schema(
                connection, SCHEMA_VERSION, catalog.CATALOG_SCHEMA, index.INDEX_SCHEMA, materials.MATERIALS_SCHEMA
            )
            catalog.write_meta(connection, "signature", signature(info))
    finally:
        database.close()
    write_info(info)


def _folder_bytes(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:  # a temporary file of a writer at work
                continue
    return total

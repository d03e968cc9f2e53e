"""The SQLite side of a library: schema, connections, transactions, and rows to records and back.

It knows nothing of Chroma, locks or files to be read. Every failure of SQLite leaves here as a `MatlitError`.
"""

# ruff: noqa: S608 - every name pasted into SQL here is a constant of this module; every value is bound

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.errors import LibraryDamaged, LibraryError
from ingest.lock import disk_full
from ingest.records import Block, Chunk, Metadata, Page, Paper, unpack_words

CATALOG_FILE = "catalog.sqlite"
BUSY_TIMEOUT_S = 60.0
ANEW = "Put the file back from a backup, or build the library anew: matlit ingest PATHS --library NEW_DIR"
VARIABLES = 500  # question marks in one statement; SQLite's oldest limit is 999

CATALOG_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS papers (
  id TEXT PRIMARY KEY, title TEXT NOT NULL, authors TEXT NOT NULL, year INTEGER, doi TEXT NOT NULL,
  journal TEXT NOT NULL, language TEXT NOT NULL, format TEXT NOT NULL, paged INTEGER NOT NULL,
  page_count INTEGER NOT NULL, warnings TEXT NOT NULL, added TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS paths (
  path TEXT PRIMARY KEY, paper TEXT NOT NULL REFERENCES papers(id) ON DELETE CASCADE,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS paths_by_paper ON paths(paper);
CREATE TABLE IF NOT EXISTS failures (
  path TEXT PRIMARY KEY, error TEXT NOT NULL, cause TEXT NOT NULL, hint TEXT NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pages (
  paper TEXT NOT NULL REFERENCES papers(id) ON DELETE CASCADE, number INTEGER NOT NULL, text TEXT NOT NULL,
  width REAL NOT NULL, height REAL NOT NULL, ocr INTEGER NOT NULL, blocks TEXT NOT NULL, words BLOB NOT NULL,
  PRIMARY KEY (paper, number));
CREATE TABLE IF NOT EXISTS chunks (
  rowid INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, ordinal INTEGER NOT NULL,
  kind TEXT NOT NULL, page INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, section TEXT NOT NULL,
  context TEXT NOT NULL, text TEXT NOT NULL, vector BLOB);
CREATE INDEX IF NOT EXISTS chunks_by_source ON chunks(source, ordinal);
-- Papers whose chunks were taken away by a rebuild and that are not chunked again yet: no reader sees them.
CREATE TABLE IF NOT EXISTS waiting (paper TEXT PRIMARY KEY REFERENCES papers(id) ON DELETE CASCADE) WITHOUT ROWID;
-- Ids whose vectors may be in Chroma although the catalogue does not show them: written before the vectors are, or in
-- the transaction that takes their chunks away; whatever a killed writer left here is cleared by the next one.
CREATE TABLE IF NOT EXISTS pending (chunk TEXT PRIMARY KEY) WITHOUT ROWID;
"""

CHUNK_COLUMNS = 'id, source, ordinal, text, page, start, "end", section, kind, context'
PAPER_COLUMNS = "id, title, authors, year, doi, journal, language, format, paged, page_count, warnings, added"
PAGE_COLUMNS = "number, text, blocks, width, height, words, ocr"

Vector = npt.NDArray[np.float32]


class Catalog:
    """The catalogue of one library: one connection per thread for reading, one connection for the writer.

    Readers run in SQLite's write-ahead-log mode beside a writer and see whole transactions only.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CATALOG_FILE
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._readers: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._guard = threading.Lock()

    @property
    def reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with sqlite_errors(self.path):
                connection = self._keep(_open_reader(self.path))
            self._local.connection = connection
            self._close_left(connection)
        return connection

    def connect_writer(self) -> sqlite3.Connection:
        """Return a new connection for writing; only for the holder of the writer's lock."""
        with sqlite_errors(self.path):
            return self._keep(_open_writer(self.path))

    def release(self, connection: sqlite3.Connection) -> None:
        """Close one connection."""
        with self._guard:
            if connection in self._opened:
                self._opened.remove(connection)
        connection.close()

    def close(self) -> None:
        """Close every connection of every thread."""
        with self._guard:
            opened, self._opened = self._opened, []
            self._readers = []
        for connection in opened:
            connection.close()
        self._local = threading.local()

    def _close_left(self, connection: sqlite3.Connection) -> None:
        """Note this thread's new connection, and close those of threads that have ended: web servers start many."""
        with self._guard:
            left = [opened for thread, opened in self._readers if not thread.is_alive()]
            self._readers = [(thread, opened) for thread, opened in self._readers if thread.is_alive()]
            self._readers.append((threading.current_thread(), connection))
        for opened in left:
            self.release(opened)

    def _keep(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        with self._guard:
            self._opened.append(connection)
        return connection


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises about the file at `path` into an error that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translated(error, path) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one write transaction: all of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:  # Ctrl-C too: the connection is used again, and must not stay inside a transaction
        if connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let several reads see the same moment."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def apply_schema(connection: sqlite3.Connection, version: int, *scripts: str) -> None:
    """Create the tables that `scripts` define, and stamp the file with the schema's number."""
    for script in scripts:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {version:d}")


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the schema number the file was stamped with; 0 in a file that was never finished."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def read_meta(connection: sqlite3.Connection, key: str, default: str = "") -> str:
    """Return one value of the table of single facts."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else default


def write_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Set one value of the table of single facts."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def bump_epoch(connection: sqlite3.Connection) -> None:
    """Count a rewriting of the vectors, after which what another process knows of them is worth nothing."""
    write_meta(connection, "epoch", str(epoch(connection) + 1))


def epoch(connection: sqlite3.Connection) -> int:
    """Return how often the vectors were rewritten (adding and removing do not count) since the library was made."""
    return int(read_meta(connection, "epoch", "0"))


def last_row(connection: sqlite3.Connection) -> int:
    """Return the row number of the newest chunk; numbers are never used twice."""
    return int(connection.execute("SELECT coalesce(max(rowid), 0) FROM chunks").fetchone()[0])


# --- papers ---------------------------------------------------------------------------------------------------------


def insert_paper(connection: sqlite3.Connection, paper: Paper, pages: Sequence[Page]) -> None:
    """Write a paper's row and its pages, not its chunks."""
    known = paper.metadata
    connection.execute(
        f"INSERT INTO papers ({PAPER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            paper.id,
            known.title,
            _json(known.authors),
            known.year,
            known.doi,
            known.journal,
            known.language,
            paper.format,
            paper.paged,
            paper.page_count,
            _json(paper.warnings),
            paper.added,
        ),
    )
    connection.executemany(
        "INSERT INTO pages (paper, number, text, width, height, ocr, blocks, words) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((paper.id, p.number, p.text, p.width, p.height, p.ocr, _blocks_json(p), p.packed_words()) for p in pages),
    )


def select_papers(
    connection: sqlite3.Connection, ids: Sequence[str] | None = None, *, hidden: bool = False
) -> list[Paper]:
    """Return papers with their paths and counts, sorted by first path; all of them, or those of `ids`.

    Papers that wait for a rebuild are left out unless `hidden`.
    """
    visible = "true" if hidden else "id NOT IN (SELECT paper FROM waiting)"
    with snapshot(connection):
        if ids is None:
            papers = _papers_where(connection, visible, ())
        else:
            papers = [
                paper
                for batch in batched(ids, VARIABLES)
                for paper in _papers_where(connection, f"{visible} AND id IN ({_marks(len(batch))})", batch)
            ]
    return sorted(papers, key=lambda paper: (str(paper.paths[:1]), paper.id))


def select_page(connection: sqlite3.Connection, paper: str, number: int) -> Page | None:
    """Return one page, or None where there is none of that number."""
    sql = f"SELECT {PAGE_COLUMNS} FROM pages WHERE paper = ? AND number = ?"
    row = connection.execute(sql, (paper, number)).fetchone()
    return _page(row) if row else None


def select_pages(connection: sqlite3.Connection, paper: str) -> list[Page]:
    """Return all pages of a paper in order."""
    sql = f"SELECT {PAGE_COLUMNS} FROM pages WHERE paper = ? ORDER BY number"
    return [_page(row) for row in connection.execute(sql, (paper,))]


# --- chunks ---------------------------------------------------------------------------------------------------------


def insert_chunk(connection: sqlite3.Connection, chunk: Chunk, vector: Vector | None) -> int:
    """Write one chunk, with its vector where it has one, and return its row number."""
    blob = None if vector is None else vector.astype("<f2").tobytes()
    sql = f"INSERT INTO chunks ({CHUNK_COLUMNS}, vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    row = (
        chunk.id,
        chunk.source,
        chunk.ordinal,
        chunk.text,
        chunk.page,
        chunk.start,
        chunk.end,
        chunk.section,
        chunk.kind,
        chunk.context,
        blob,
    )
    return int(connection.execute(sql, row).lastrowid or 0)


def select_chunks(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Chunk]:
    """Return the chunks of `ids` in that order; ids that are gone are left out."""
    found: dict[str, Chunk] = {}
    for batch in batched(ids, VARIABLES):
        sql = f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE id IN ({_marks(len(batch))})"
        found.update((row[0], Chunk(*row)) for row in connection.execute(sql, batch))
    return [found[each] for each in ids if each in found]


def select_chunks_of(connection: sqlite3.Connection, source: str, kinds: Sequence[str] = ()) -> list[Chunk]:
    """Return the chunks of one paper or material in order, of all kinds or of `kinds`."""
    where = f"AND kind IN ({_marks(len(kinds))})" if kinds else ""
    sql = f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE source = ? {where} ORDER BY ordinal"
    return [Chunk(*row) for row in connection.execute(sql, (source, *kinds))]


def with_chunks(connection: sqlite3.Connection, sources: Sequence[str]) -> list[str]:
    """Return those of the papers or materials `sources` that have chunks."""
    found: list[str] = []
    for batch in batched(sources, VARIABLES):
        sql = f"SELECT DISTINCT source FROM chunks WHERE source IN ({_marks(len(batch))})"
        found.extend(row[0] for row in connection.execute(sql, batch))
    return found


def iterate_vectors(
    connection: sqlite3.Connection, batch: int, *, after: int = 0
) -> Iterator[tuple[list[str], Vector]]:
    """Yield (chunk ids, vectors) of what has a vector, from row `after` on, `batch` at a time."""
    last = after
    sql = "SELECT rowid, id, vector FROM chunks WHERE vector IS NOT NULL AND rowid > ? ORDER BY rowid LIMIT ?"
    while rows := connection.execute(sql, (last, batch)).fetchall():
        last = rows[-1][0]
        yield [row[1] for row in rows], unpack_vectors([row[2] for row in rows])


def vectors_of(connection: sqlite3.Connection, ids: Sequence[str]) -> tuple[list[str], Vector]:
    """Return (ids, vectors) of those of `ids` that have a vector."""
    rows: list[tuple[str, bytes]] = []
    for batch in batched(ids, VARIABLES):
        sql = f"SELECT id, vector FROM chunks WHERE vector IS NOT NULL AND id IN ({_marks(len(batch))})"
        rows.extend(connection.execute(sql, batch).fetchall())
    return [row[0] for row in rows], unpack_vectors([row[1] for row in rows])


def unpack_vectors(blobs: Sequence[bytes]) -> Vector:
    """Return stored half-precision vectors as float32, one row each, brought back to length 1."""
    if not blobs:
        return np.zeros((0, 0), dtype=np.float32)
    rows = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(blobs), -1).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def count(connection: sqlite3.Connection, what: str) -> int:
    """Return the number of rows of `what`: a table, or a table with a WHERE clause."""
    return int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


def batched(items: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield `items` in tuples of `size`, the last one perhaps shorter."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield tuple(batch)
            batch.clear()
    if batch:
        yield tuple(batch)


def _open_writer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a paper that was reported as added survives a power cut
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _open_reader(path: Path) -> sqlite3.Connection:
    # In a folder we may not write to, SQLite cannot make the files that write-ahead logging needs; if no writer has
    # made them either, then nobody is writing and the file can be read as it stands.
    modes = ["mode=rw"] if os.access(path.parent, os.W_OK) else ["mode=ro", "mode=ro&immutable=1"]
    for mode in modes:
        uri = f"{path.absolute().as_uri()}?{mode}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            if mode == modes[-1]:
                raise
        else:
            return connection
    raise AssertionError("unreachable: the last mode returns or raises")


def _translated(error: sqlite3.DatabaseError, path: Path) -> LibraryError:
    text = str(error)
    if "full" in text:
        return disk_full(path.parent)
    if "readonly" in text or "unable to open" in text:
        return LibraryError(
            f"cannot open {path} for this: {text}",
            hint="Make the folder readable and writable, or choose another one: --library DIR",
        )
    if "locked" in text:
        return LibraryError(f"{path} stayed locked for {BUSY_TIMEOUT_S:.0f} s", hint="Try again", retryable=True)
    if "malformed" in text or "not a database" in text:
        return LibraryDamaged(
            f"{path} is damaged: {text}",
            hint=ANEW,
        )
    return LibraryError(f"{path}: {text}", hint="See what is wrong: matlit verify")


def _papers_where(connection: sqlite3.Connection, where: str, values: Sequence[str]) -> list[Paper]:
    chunks = "(SELECT count(*) FROM chunks WHERE source = papers.id)"
    paths = "(SELECT json_group_array(path) FROM paths WHERE paper = papers.id)"
    sql = f"SELECT {PAPER_COLUMNS}, {chunks}, {paths} FROM papers WHERE {where}"
    return [_paper(row) for row in connection.execute(sql, tuple(values))]


def _paper(row: Sequence[Any]) -> Paper:
    identity, title, authors, year, doi, journal, language, kind, paged, pages, warnings, added, chunks, paths = row
    return Paper(
        id=identity,
        metadata=Metadata(title, tuple(json.loads(authors)), year, doi, journal, language),
        format=kind,
        page_count=pages,
        chunk_count=chunks,
        paths=tuple(Path(path) for path in sorted(json.loads(paths))),
        paged=bool(paged),
        warnings=tuple(json.loads(warnings)),
        added=added,
    )


def _page(row: Sequence[Any]) -> Page:
    number, text, blocks, width, height, words, ocr = row
    return Page(
        number=number,
        text=text,
        blocks=tuple(Block(*each) for each in json.loads(blocks)),
        width=width,
        height=height,
        words=unpack_words(words),
        ocr=bool(ocr),
    )


def _blocks_json(page: Page) -> str:
    return _json([(block.start, block.end, block.kind, block.section) for block in page.blocks])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _marks(number: int) -> str:
    return ",".join("?" * number)

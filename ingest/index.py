"""The search side of a library: full-text index, formula and element tables, and candidates from text and from vectors.

It works on the catalogue's own connection, tables `chunks` and `papers`, and on a store of vectors under chunk ids.
Filters never reach Chroma, where they cost a hundred times the query: few allowed chunks are compared exactly with
the vectors that the catalogue holds, many are asked for in surplus and sieved in SQLite.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest import formulas, lexical
from ingest.errors import BadInput
from ingest.periodic import NAMES, SYMBOLS
from ingest.records import Chunk, Filter

# What a Chroma collection is created with: `create_collection(..., configuration={"hnsw": HNSW})`.
HNSW: dict[str, Any] = {"space": "cosine", "ef_construction": 200, "max_neighbors": 24, "ef_search": 200}

INDEX_SCHEMA = f"""
CREATE VIRTUAL TABLE IF NOT EXISTS lexicon USING fts5(context, text, tokenize = "{lexical.TOKENIZER}");
CREATE VIRTUAL TABLE IF NOT EXISTS lexicon_terms USING fts5vocab(lexicon, row);
CREATE TABLE IF NOT EXISTS chunk_elements (
  element TEXT NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY (element, chunk)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunk_elements_by_chunk ON chunk_elements(chunk);
CREATE TABLE IF NOT EXISTS chunk_formulas (
  formula TEXT NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY (formula, chunk)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunk_formulas_by_chunk ON chunk_formulas(chunk);
CREATE INDEX IF NOT EXISTS chunks_by_kind ON chunks(kind, source, section);
"""

CONTEXT_WEIGHT = 1.0  # of a match in title or section, against 1 in the text
EXACT_LIMIT = 20_000  # up to so many allowed chunks are compared one by one
SURPLUS = 4  # times k is asked of Chroma first where a filter is broad, and again while it does not suffice
MOST_NEIGHBOURS = 5_000

Vector = npt.NDArray[np.float32]
Scored = list[tuple[str, float]]
Nearest = Callable[[Vector, int], Scored]  # (vector, k) -> up to k (chunk id, cosine), best first, unfiltered


def index_chunk(connection: sqlite3.Connection, rowid: int, chunk: Chunk) -> None:
    """Add one chunk, by its row number in `chunks`, to the full-text, formula and element tables."""
    connection.execute(
        "INSERT INTO lexicon (rowid, context, text) VALUES (?, ?, ?)",
        (rowid, lexical.index_text(chunk.context), lexical.index_text(chunk.text)),
    )
    keys = {formula.key for formula in formulas.find(chunk.text)}
    connection.executemany("INSERT INTO chunk_formulas VALUES (?, ?)", [(key, rowid) for key in keys])
    named = formulas.elements(chunk.text)
    connection.executemany("INSERT INTO chunk_elements VALUES (?, ?)", [(element, rowid) for element in named])


def unindex(connection: sqlite3.Connection, rowids: Iterable[int]) -> None:
    """Take chunks out of all tables of this module, by their row numbers in `chunks`."""
    numbers = [(rowid,) for rowid in rowids]
    connection.executemany("DELETE FROM lexicon WHERE rowid = ?", numbers)
    connection.executemany("DELETE FROM chunk_elements WHERE chunk = ?", numbers)
    connection.executemany("DELETE FROM chunk_formulas WHERE chunk = ?", numbers)


def lexical_candidates(connection: sqlite3.Connection, query: str, *, k: int, where: Filter) -> Scored:
    """Return up to `k` chunk ids that share words, formulas or characters with `query`, with BM25, best first."""
    expression = lexical.match_expression(query)
    if not expression:
        return []
    condition, values = _condition(where)
    sql = (
        "SELECT c.id, -l.score FROM (SELECT rowid, rank AS score FROM lexicon WHERE lexicon MATCH ? AND rank MATCH ? "
        f"ORDER BY rank) AS l CROSS JOIN chunks AS c ON c.rowid = l.rowid WHERE {condition} LIMIT ?"
    )
    weights = f"bm25({CONTEXT_WEIGHT}, 1.0)"
    return [(row[0], row[1]) for row in connection.execute(sql, (expression, weights, *values, k))]


def dense_candidates(
    connection: sqlite3.Connection, nearest: Nearest, vector: Vector, *, k: int, where: Filter
) -> Scored:
    """Return up to `k` chunk ids nearest to `vector` (of length 1) among those that `where` allows, with cosine."""
    if _is_narrow(connection, where):
        return exact_candidates(connection, vector, k=k, where=where)
    wanted = k if _is_open(where) else SURPLUS * k
    while wanted <= max(MOST_NEIGHBOURS, k):
        near = nearest(vector, wanted)
        kept = _sieve(connection, near, where)
        if len(kept) >= k or len(near) < wanted:
            return kept[:k]
        wanted *= SURPLUS
    return exact_candidates(connection, vector, k=k, where=where)


def exact_candidates(connection: sqlite3.Connection, vector: Vector, *, k: int, where: Filter) -> Scored:
    """Return what `dense_candidates` does, by comparing every allowed vector: exact, and linear in their number."""
    condition, values = _condition(where)
    sql = f"SELECT c.id, c.vector FROM chunks AS c WHERE c.vector IS NOT NULL AND {condition}"  # noqa: S608
    return _nearest(connection.execute(sql, values).fetchall(), vector, k)


def cosines(connection: sqlite3.Connection, vector: Vector, ids: Sequence[str]) -> dict[str, float]:
    """Return the cosine between `vector` and each of the chunks `ids` that has a vector."""
    rows = [row for batch in _batches(ids) for row in _vectors_of(connection, batch)]
    return dict(_nearest(rows, vector, len(rows)))


# ----------------------------------------------------------------------------------------------------------- filters


def _condition(where: Filter) -> tuple[str, list[Any]]:
    """Return the SQL condition on `chunks AS c` that says what `where` does, and its values."""
    parts: list[str] = []
    values: list[Any] = []

    def add(part: str, *given: str | int) -> None:
        parts.append(part)
        values.extend(given)

    if where.kinds:
        add(f"c.kind IN ({_marks(where.kinds)})", *sorted(where.kinds))
    else:
        add("c.kind <> 'reference'")
    if where.sources:
        add(f"c.source IN ({_marks(where.sources)})", *sorted(where.sources))
    if where.years:
        first, last = where.years
        add("c.source IN (SELECT id FROM papers WHERE year BETWEEN ? AND ?)", first or -9999, last or 9999)
    if where.sections:
        titles = " OR ".join("c.section LIKE ? ESCAPE '\\'" for _ in where.sections)
        add(f"({titles})", *(f"%{_escaped(section)}%" for section in where.sections))
    for element in sorted(where.elements):
        add("c.rowid IN (SELECT chunk FROM chunk_elements WHERE element = ?)", _symbol(element))
    if where.formula:
        add("c.rowid IN (SELECT chunk FROM chunk_formulas WHERE formula = ?)", _key(where.formula))
    return " AND ".join(parts), values


def _is_open(where: Filter) -> bool:
    return where == Filter()


def _is_narrow(connection: sqlite3.Connection, where: Filter) -> bool:
    if _is_open(where):
        return False
    condition, values = _condition(where)
    sql = f"SELECT count(*) FROM (SELECT 1 FROM chunks AS c WHERE {condition} LIMIT {EXACT_LIMIT + 1})"  # noqa: S608
    allowed: int = connection.execute(sql, values).fetchone()[0]
    return allowed <= EXACT_LIMIT


def _symbol(element: str) -> str:
    symbol = element.strip()
    symbol = NAMES.get(symbol.lower(), symbol[:1].upper() + symbol[1:].lower())
    if symbol not in SYMBOLS:
        raise BadInput(
            f"{element!r} is no chemical element", hint="Give symbols or names, for example: --elements Li,O"
        )
    return symbol


def _key(formula: str) -> str:
    normal = formulas.normalise(formula)
    if not normal:
        raise BadInput(f"{formula!r} is no chemical formula", hint="Write it plainly, for example: --formula LiFePO4")
    return formulas.composition_key(normal)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


# ----------------------------------------------------------------------------------------------------------- vectors

_VARIABLES = 500  # question marks in one statement


def _sieve(connection: sqlite3.Connection, near: Scored, where: Filter) -> Scored:
    """Keep those that the catalogue holds and `where` allows: Chroma may still hold what a killed writer left."""
    condition, values = _condition(where)
    allowed: set[str] = set()
    for batch in _batches([chunk for chunk, _ in near]):
        sql = f"SELECT c.id FROM chunks AS c WHERE c.id IN ({_marks(batch)}) AND {condition}"  # noqa: S608
        allowed.update(row[0] for row in connection.execute(sql, (*batch, *values)))
    return [(chunk, cosine) for chunk, cosine in near if chunk in allowed]


def _vectors_of(connection: sqlite3.Connection, ids: Sequence[str]) -> list[tuple[str, bytes]]:
    sql = f"SELECT id, vector FROM chunks WHERE vector IS NOT NULL AND id IN ({_marks(ids)})"  # noqa: S608
    return connection.execute(sql, tuple(ids)).fetchall()


def _nearest(rows: Sequence[tuple[str, bytes]], vector: Vector, k: int) -> Scored:
    if not rows:
        return []
    matrix = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f2").reshape(len(rows), -1).astype(np.float32)
    # Half precision moves a length of 1 by up to 1e-3, which would reorder close neighbours.
    scores = (matrix @ vector) / np.maximum(np.sqrt(np.einsum("ij,ij->i", matrix, matrix)), 1e-12)
    best = np.argsort(-scores, kind="stable")[:k]
    return [(rows[index][0], float(scores[index])) for index in best]


def _batches(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _VARIABLES] for start in range(0, len(values), _VARIABLES))

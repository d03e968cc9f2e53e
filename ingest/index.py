"""The search side of a library: full-text index, formula and element tables, and candidates from text and from vectors.

It works on the catalogue's own connection, tables `chunks` and `papers`, and on a store of vectors under chunk ids.
Filters never reach Chroma, where they cost a hundred times the query: few allowed chunks are compared exactly with
the vectors that the catalogue holds, many are asked for in surplus and sieved in SQLite.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ingest import formulas, lexical
from ingest.elements import NAMES, NUMBERS
from ingest.errors import BadInput
from ingest.records import Chunk, Filter

# What a Chroma collection is created with: `create_collection(..., configuration={"hnsw": HNSW})`. A graph built with
# little effort and searched with much finds as much, and every passage pays for the building: docs/search.md.
HNSW: dict[str, Any] = {"space": "cosine", "ef_construction": 64, "max_neighbors": 24, "ef_search": 800}

INDEX_SCHEMA = f"""
-- Only which chunks hold a term is kept: how often it stands there is counted in the texts of the few that are scored.
CREATE VIRTUAL TABLE IF NOT EXISTS lexicon
  USING fts5(context, text, tokenize = "{lexical.TOKENIZER}", detail = none, columnsize = 0);
-- In how many chunks each term stands (fts5vocab counts at each look-up); under the empty term, how many there are.
CREATE TABLE IF NOT EXISTS terms (term TEXT PRIMARY KEY, chunks INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunk_elements (
  element TEXT NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY (element, chunk)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunk_elements_by_chunk ON chunk_elements(chunk);
CREATE TABLE IF NOT EXISTS chunk_formulas (
  formula TEXT NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY (formula, chunk)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunk_formulas_by_chunk ON chunk_formulas(chunk);
CREATE INDEX IF NOT EXISTS chunks_by_facts ON chunks(source, kind, section);
"""

# BM25 (Robertson and Zaragoza 2009) with the usual constants.
K1 = 1.2
B = 0.75
# FTS5's own bm25() costs 2 µs a matching row, which common words make 200 ms among 200,000 chunks. So terms are taken
# from the rarest on until their occurrences reach this budget, and only the best candidates are scored, by all terms.
POSTINGS = 40_000
POOL = 300  # candidates scored at least
QUERY_TERMS = 200  # of a long query are looked up, and
RARE_TERMS = 32  # the rarest of them used
ALSO = 0.5  # of a word's weight, where it is another name of what the query names
LISTED_LIMIT = 20_000  # up to so many allowed chunks are listed, beyond it each candidate is looked up
EXACT_LIMIT = 3_000  # up to so many allowed chunks are compared one by one, at 3 µs each, without asking Chroma
PER_NEIGHBOUR = 4  # a neighbour of Chroma's, sieved, costs as much as comparing some four vectors
BROAD_SURPLUS = 6  # times as many neighbours are asked for where a filter is broad
SURPLUS = 4  # times as many candidates are asked for again while they do not suffice
MOST_NEIGHBOURS = 10_000

Vector = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Scored = list[tuple[str, float]]
Item = TypeVar("Item")
Nearest = Callable[[Vector, int], Scored]  # (vector, k) -> up to k (chunk id, cosine), best first, unfiltered


@dataclass(frozen=True, slots=True)
class Entry:
    """What the tables of this module hold of one chunk; made without a database, so in any process."""

    context: str  # index tokens
    text: str
    formulas: frozenset[str]
    elements: frozenset[str]


def make_entry(chunk: Chunk) -> Entry:
    """Return the index entry of a chunk."""
    return Entry(
        lexical.index_text(chunk.context),
        lexical.index_text(chunk.text),
        frozenset(formula.key for formula in formulas.find(chunk.text)),
        formulas.elements(chunk.text),
    )


def index_chunk(connection: sqlite3.Connection, rowid: int, chunk: Chunk) -> None:
    """Add one chunk, by its row number in `chunks`, to the full-text, formula and element tables."""
    add_entries(connection, [(rowid, make_entry(chunk))])


def add_entries(connection: sqlite3.Connection, entries: Sequence[tuple[int, Entry]]) -> None:
    """Add the entries of chunks, by their row numbers in `chunks`; terms are counted up once for all of them."""
    connection.executemany(
        "INSERT INTO lexicon (rowid, context, text) VALUES (?, ?, ?)",
        [(rowid, entry.context, entry.text) for rowid, entry in entries],
    )
    counts = Counter(term for _, entry in entries for (term,) in _distinct(entry.context, entry.text))
    sql = "INSERT INTO terms VALUES (?, ?) ON CONFLICT (term) DO UPDATE SET chunks = chunks + excluded.chunks"
    connection.executemany(sql, sorted(counts.items()))
    keys = [(key, rowid) for rowid, entry in entries for key in entry.formulas]
    connection.executemany("INSERT INTO chunk_formulas VALUES (?, ?)", sorted(keys))
    named = [(element, rowid) for rowid, entry in entries for element in entry.elements]
    connection.executemany("INSERT INTO chunk_elements VALUES (?, ?)", sorted(named))


def unindex(connection: sqlite3.Connection, rowids: Iterable[int]) -> None:
    """Take chunks out of all tables of this module, by their row numbers in `chunks`."""
    numbers = [(rowid,) for rowid in rowids]
    for number in numbers:
        row = connection.execute("SELECT context, text FROM lexicon WHERE rowid = ?", number).fetchone()
        connection.executemany("UPDATE terms SET chunks = chunks - 1 WHERE term = ?", _distinct(*row) if row else [])
    connection.executemany("DELETE FROM lexicon WHERE rowid = ?", numbers)
    connection.executemany("DELETE FROM chunk_elements WHERE chunk = ?", numbers)
    connection.executemany("DELETE FROM chunk_formulas WHERE chunk = ?", numbers)


def _distinct(context: str, text: str) -> list[tuple[str]]:
    return [(term,) for term in {"", *context.split(), *text.split()}]


@dataclass(frozen=True, slots=True)
class Selected:
    """A filter, and the rows that it allowed when it was looked up: for all parts of one search."""

    where: Filter
    rows: Rows | None  # None: every row, or too many to be listed


def select(connection: sqlite3.Connection, where: Filter | Selected) -> Selected:
    """Return the filter with the rows that it allows; what is looked up already stays as it is."""
    return where if isinstance(where, Selected) else Selected(where, _allowed(connection, where))


def lexical_candidates(
    connection: sqlite3.Connection,
    query: str,
    *,
    k: int,
    where: Filter | Selected,
    also: str = "",
    elements: Iterable[str] = (),
) -> Scored:
    """Return up to `k` chunk ids that share words, formulas or characters with `query`, with BM25, best first.

    The words of `also`, other names of what is asked for, count by `ALSO` of their weight; each of the chemical
    `elements` counts like a word that stands wherever a formula or a name holds it.
    """
    words = list(dict.fromkeys(lexical.tokens(query)))[:QUERY_TERMS]
    terms = _idf(connection, words)
    if also:
        more = [each for each in dict.fromkeys(lexical.tokens(also)) if each not in words]
        terms += [replace(term, idf=ALSO * term.idf) for term in _idf(connection, more[:QUERY_TERMS])]
    terms = sorted([*terms, *_element_terms(connection, elements)], key=lambda term: term.frequency)
    if not terms:
        return []
    selected = select(connection, where)
    ranked = _candidates(connection, terms, selected.rows, k)
    kept: Scored = []
    start, size = 0, max(POOL, 2 * k)
    while start < len(ranked) and len(kept) < k:
        kept.extend(_scored(connection, ranked[start : start + size], terms, selected.where))
        start, size = start + size, size * SURPLUS
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:k]


def dense_candidates(
    connection: sqlite3.Connection, nearest: Nearest, vector: Vector, *, k: int, where: Filter | Selected
) -> Scored:
    """Return up to `k` chunk ids nearest to `vector` (of length 1) among those that `where` allows, with cosine."""
    selected = select(connection, where)
    where, allowed = selected.where, selected.rows
    wanted = k if _is_open(where) else _surplus(connection, k, allowed)
    if allowed is not None and len(allowed) <= max(EXACT_LIMIT, PER_NEIGHBOUR * wanted):
        return _nearest(_vectors_at(connection, allowed), vector, k)
    while wanted <= MOST_NEIGHBOURS:
        near = nearest(vector, wanted)
        kept = _sieve(connection, near, where, allowed)
        if len(kept) >= k or len(near) < wanted:
            return kept[:k]
        if allowed is not None:  # they lie far from the question: comparing all that are listed is cheaper
            return _nearest(_vectors_at(connection, allowed), vector, k)
        wanted *= SURPLUS
    return exact_candidates(connection, vector, k=k, where=where)


def exact_candidates(connection: sqlite3.Connection, vector: Vector, *, k: int, where: Filter) -> Scored:
    """Return what `dense_candidates` does, by comparing every allowed vector: exact, and linear in their number."""
    condition, values = _condition(where)
    sql = f"SELECT c.id, c.vector FROM chunks AS c WHERE c.vector IS NOT NULL AND {condition}"  # noqa: S608
    return _nearest(connection.execute(sql, values).fetchall(), vector, k)


def cosines(connection: sqlite3.Connection, vector: Vector, ids: Sequence[str]) -> dict[str, float]:
    """Return the cosine between `vector` and each of the chunks `ids` that has a vector."""
    rows = _select(connection, "SELECT id, vector FROM chunks WHERE id IN (%s) AND vector IS NOT NULL", ids)
    return dict(_nearest(rows, vector, len(rows)))


@dataclass(frozen=True, slots=True)
class Record:
    """What ranking needs to know of a materials record."""

    material_id: str
    formula_key: str
    elements: frozenset[str]
    above_hull_ev_per_atom: float  # infinite where unknown


def records(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Record]:
    """Return the materials record behind each of the chunks `ids` that is one's text."""
    sql = (
        "SELECT c.id, m.material_id, m.formula_key, m.elements, m.e_above_hull_ev_per_atom "
        "FROM chunks AS c CROSS JOIN materials AS m ON m.material_id = c.source WHERE c.id IN (%s)"
    )
    if not connection.execute("SELECT 1 FROM materials LIMIT 1").fetchone():
        return {}
    return {
        chunk: Record(material, key, frozenset(re.findall("[A-Z][a-z]?", elements)), math.inf if hull is None else hull)
        for chunk, material, key, elements, hull in _select(connection, sql, ids)
    }


# -------------------------------------------------------------------------------------------------------------- text


@dataclass(frozen=True, slots=True)
class _Term:
    text: str
    frequency: int  # chunks that hold it
    idf: float
    element: bool = False  # a chemical element, in whatever formula or name


def _idf(connection: sqlite3.Connection, texts: Sequence[str]) -> list[_Term]:
    """Return those of `texts` that occur at all, rarest first."""
    sql = "SELECT chunks FROM terms WHERE term = ? AND chunks > 0"
    counts = [(text, connection.execute(sql, (text,)).fetchone()) for text in ("", *texts)]
    total = counts[0][1][0] if counts[0][1] else 0
    found = [_Term(text, row[0], _rarity(row[0], total)) for text, row in counts[1:] if row]
    return sorted(found, key=lambda term: term.frequency)[:RARE_TERMS]


def _element_terms(connection: sqlite3.Connection, elements: Iterable[str]) -> list[_Term]:
    chosen = sorted(elements)
    row = connection.execute("SELECT chunks FROM terms WHERE term = ''").fetchone() if chosen else None
    if row is None:
        return []
    sql = "SELECT count(*) FROM (SELECT 1 FROM chunk_elements WHERE element = ? LIMIT ?)"
    counts = [(each, connection.execute(sql, (each, POSTINGS)).fetchone()[0]) for each in chosen]
    return [_Term(each, count, _rarity(count, row[0]), element=True) for each, count in counts if count]


def _rarity(frequency: int, total: int) -> float:
    return math.log1p((total - frequency + 0.5) / (frequency + 0.5))


def _candidates(connection: sqlite3.Connection, terms: Sequence[_Term], allowed: Rows | None, k: int) -> Rows:
    """Return row numbers that hold rare terms of the query, by the sum of the terms' weights, heaviest first."""
    # Asked for in one, SQLite would read the whole table.
    ends = "SELECT (SELECT min(rowid) FROM chunks), (SELECT max(rowid) FROM chunks)"
    first, last = connection.execute(ends).fetchone()
    weights = np.zeros(last - first + 1, dtype=np.float32)
    mask = None if allowed is None else np.isin(np.arange(first, last + 1), allowed)
    spent = found = 0
    for term in terms:
        if spent and spent + term.frequency > POSTINGS and found >= k:
            break
        spent += term.frequency
        weights[_holding(connection, term) - first] += term.idf
        found = int(np.count_nonzero(weights if mask is None else weights[mask]))
    rows = np.flatnonzero(weights if mask is None else weights * mask)
    ranked: Rows = (rows + first)[np.argsort(-weights[rows], kind="stable")]
    return ranked


def _holding(connection: sqlite3.Connection, term: _Term) -> Rows:
    # One long string is read several times faster than as many rows.
    if term.element:
        sql, value = "SELECT group_concat(chunk) FROM chunk_elements WHERE element = ?", term.text
    else:
        sql, value = "SELECT group_concat(rowid) FROM lexicon WHERE lexicon MATCH ?", lexical.any_of([term.text])
    text: str | None = connection.execute(sql, (value,)).fetchone()[0]
    return np.fromstring(text or "", dtype=np.int64, sep=",")


def _scored(connection: sqlite3.Connection, rowids: Rows, terms: Sequence[_Term], where: Filter) -> Scored:
    """Return BM25 over all terms for those of `rowids` that `where` allows; lengths are relative to their mean."""
    condition, values = _condition(where, sieve=True)
    sql = (
        "SELECT c.id, l.context || ' ' || l.text, c.rowid "  # noqa: S608
        "FROM chunks AS c CROSS JOIN lexicon AS l ON l.rowid = c.rowid "
        f"WHERE c.rowid IN (%s) AND {condition}"
    )
    rows = _select(connection, sql, rowids.tolist(), values)
    lengths = [text.count(" ") + 1 for _, text, _ in rows]
    mean = sum(lengths) / max(len(lengths), 1)
    words = [term for term in terms if not term.element]
    held = _element_weights(connection, rowids, [term for term in terms if term.element])
    return [
        (chunk, _bm25(text, words, length / mean) + held.get(row, 0.0))
        for (chunk, text, row), length in zip(rows, lengths, strict=True)
    ]


def _element_weights(connection: sqlite3.Connection, rowids: Rows, terms: Sequence[_Term]) -> dict[int, float]:
    """Return for each row the summed weights of the elements that it holds."""
    weights: dict[int, float] = {}
    for term in terms:
        sql = "SELECT chunk FROM chunk_elements WHERE chunk IN (%s) AND element = ?"
        for (row,) in _select(connection, sql, rowids.tolist(), [term.text]):
            weights[row] = weights.get(row, 0.0) + term.idf
    return weights


def _bm25(text: str, terms: Sequence[_Term], relative_length: float) -> float:
    # Searching the string is several times faster than splitting it; two spaces, so that neighbours do not share one.
    spaced = f" {text.replace(' ', '  ')} "
    length = K1 * (1 - B + B * relative_length)
    score = 0.0
    for term in terms:
        count = spaced.count(f" {term.text} ")
        score += term.idf * count * (K1 + 1) / (count + length) if count else 0.0
    return score


# ----------------------------------------------------------------------------------------------------------- filters


def _condition(where: Filter, *, sieve: bool = False) -> tuple[str, list[Any]]:
    """Return the SQL condition on `chunks AS c` that says what `where` does, and its values.

    As a `sieve` it is written for a handful of rows already picked: looked up for each row, by no index on `chunks`.
    """
    parts: list[str] = []
    values: list[Any] = []
    fact = "+c." if sieve else "c."
    of_chunk = "EXISTS (SELECT 1 FROM {0} AND chunk = c.rowid)" if sieve else "c.rowid IN (SELECT chunk FROM {0})"

    def add(part: str, *given: str | int) -> None:
        parts.append(part)
        values.extend(given)

    if where.kinds:
        add(f"{fact}kind IN ({_marks(where.kinds)})", *sorted(where.kinds))
    else:
        add(f"{fact}kind <> 'reference'")
    if where.sources:
        add(f"{fact}source IN ({_marks(where.sources)})", *sorted(where.sources))
    if where.years:
        first, last = where.years
        years = "(SELECT year FROM papers WHERE id = c.source) BETWEEN ? AND ?"
        listed = "c.source IN (SELECT id FROM papers WHERE year BETWEEN ? AND ?)"
        add(years if sieve else listed, _EARLIEST if first is None else first, _LATEST if last is None else last)
    if where.sections:
        titles = " OR ".join("c.section LIKE ? ESCAPE '\\'" for _ in where.sections)
        add(f"({titles})", *(f"%{_escaped(section)}%" for section in where.sections))
    for element in sorted(where.elements):
        add(of_chunk.format("chunk_elements WHERE element = ?"), _symbol(element))
    if where.formula:
        add(of_chunk.format("chunk_formulas WHERE formula = ?"), _key(where.formula))
    return " AND ".join(parts), values


_EARLIEST, _LATEST = -9999, 9999


def _is_open(where: Filter) -> bool:
    return where == Filter()


def _allowed(connection: sqlite3.Connection, where: Filter) -> Rows | None:
    """Return the row numbers that `where` allows if they can be listed, and None if they are too many."""
    if _is_open(where):
        return None
    condition, values = _condition(where)
    # The rows themselves are fat; what a filter asks for stands in indexes, and is read from there alone.
    inner = f"SELECT c.rowid AS chunk FROM chunks AS c WHERE {condition} LIMIT {LISTED_LIMIT + 1}"  # noqa: S608
    text = connection.execute(f"SELECT group_concat(chunk) FROM ({inner})", values).fetchone()[0]  # noqa: S608
    rows = np.fromstring(text or "", dtype=np.int64, sep=",")
    return rows if len(rows) <= LISTED_LIMIT else None


def _surplus(connection: sqlite3.Connection, k: int, allowed: Rows | None) -> int:
    """Return how many neighbours probably hold `k` allowed ones."""
    if allowed is None:
        return BROAD_SURPLUS * k
    row = connection.execute("SELECT chunks FROM terms WHERE term = ''").fetchone()
    return int(1.3 * k * (row[0] if row else 0) / max(len(allowed), 1)) + k


def _symbol(element: str) -> str:
    symbol = element.strip()
    symbol = NAMES.get(symbol.lower(), symbol[:1].upper() + symbol[1:].lower())
    if symbol not in NUMBERS:
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


def _sieve(connection: sqlite3.Connection, near: Scored, where: Filter, allowed: Rows | None) -> Scored:
    """Keep those that the catalogue holds and `where` allows: Chroma may still hold what a killed writer left."""
    ids = [chunk for chunk, _ in near]
    if allowed is None:
        condition, values = _condition(where, sieve=True)
        found = _select(connection, f"SELECT c.id FROM chunks AS c WHERE c.id IN (%s) AND {condition}", ids, values)  # noqa: S608
        kept = {row[0] for row in found}
    else:
        listed = set(allowed.tolist())
        kept = {
            row[1]
            for row in _select(connection, "SELECT rowid, id FROM chunks WHERE id IN (%s)", ids)
            if row[0] in listed
        }
    return [(chunk, cosine) for chunk, cosine in near if chunk in kept]


def _vectors_at(connection: sqlite3.Connection, rowids: Rows) -> list[tuple[str, bytes]]:
    sql = "SELECT id, vector FROM chunks WHERE rowid IN (%s) AND vector IS NOT NULL"
    return _select(connection, sql, np.sort(rowids).tolist())


def _select(
    connection: sqlite3.Connection, sql: str, values: Sequence[str | int], more: Sequence[Any] = ()
) -> list[Any]:
    """Return the rows of `sql`, whose "%s" stands for a list of `values`, taken some hundred at a time."""
    rows: list[Any] = []
    for batch in _batches(values):
        rows.extend(connection.execute(sql % _marks(batch), (*batch, *more)))
    return rows


def _nearest(rows: Sequence[tuple[str, bytes]], vector: Vector, k: int) -> Scored:
    if not rows:
        return []
    matrix = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f2").reshape(len(rows), -1).astype(np.float32)
    # Half precision moves a length of 1 by up to 1e-3, which would reorder close neighbours.
    # einsum keeps to this thread: for a product this small, BLAS threads cost more in waiting than they give.
    scores = np.einsum("ij,j->i", matrix, vector) / np.maximum(np.sqrt(np.einsum("ij,ij->i", matrix, matrix)), 1e-12)
    best = np.argsort(-scores, kind="stable")[:k]
    return [(rows[index][0], float(scores[index])) for index in best]


def _batches(values: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (values[start : start + _VARIABLES] for start in range(0, len(values), _VARIABLES))

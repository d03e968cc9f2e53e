"""How long does a search take, and how does that grow? Libraries of 20,000 and 200,000 chunks, filtered or not.

    python -m benchmarks.search ../shared/data/fulltext/corpus.jsonl.gz --sizes 20000 200000 --keep /tmp/bench

Passages and vectors are real ones of open papers and more grown from them (benchmarks/_passages.py); the queries are
those of benchmarks/questions.jsonl. Tables are filled without the library's transactions: what is measured is reading.
With `--keep` the libraries stay in that folder and are found there again; else they are built and deleted. Beside the
time on the clock stands the processor's, of all threads: the fairer one on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from assistant.retrieve import DEPTH, search
from benchmarks import _passages
from benchmarks._machine import describe
from ingest import formulas, index, lexical
from ingest.embed import make_embedder
from ingest.library import Library
from ingest.records import Filter
from ingest.vectors import VectorStore

QUESTIONS = Path(__file__).with_name("questions.jsonl")
PER_PAPER = 100
YEARS = 1000  # paper n is of year n % 1000, so that a range of years is a share of the library
SECTIONS = ("Introduction", "Experimental", "Results and discussion", "Conclusions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="JSON lines, gzipped, with a field `body`")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--embedder", default="all-MiniLM-L6-v2")
    parser.add_argument("--keep", type=Path, help="folder for the libraries")
    arguments = parser.parse_args()
    print(describe("chromadb", "numpy", "onnxruntime"), "SQLite", sqlite3.sqlite_version, index.HNSW)
    embedder = make_embedder(arguments.embedder)
    questions = [json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    medians = {}
    with tempfile.TemporaryDirectory(prefix="matlit-bench-") as temporary:
        keep = arguments.keep or Path(temporary)
        for size in arguments.sizes:
            with library_of(size, arguments.corpus, embedder, keep) as library:
                medians[size] = measure(library, size, embedder, questions[: arguments.queries])
    first, last = arguments.sizes[0], arguments.sizes[-1]
    for name in medians[first]:
        growth = medians[last][name] / medians[first][name]
        print(f"{name:34} {last / first:.0f} times the chunks, {growth:.1f} times the processor's time")


def measure(library: Library, size: int, embedder, questions: list[str]) -> dict[str, float]:
    print(f"\n{size:,} chunks; load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"  recall@10 of the neighbours {recall(library, embedder, questions):.3f}, n={len(questions)}")
    medians = {}
    for name, where, mode in cases(size):
        search(library, embedder, questions[0], where=where, mode=mode)
        medians[f"{mode} {name}"] = timed(
            f"{mode} {name}", questions, lambda q, w=where, m=mode: search(library, embedder, q, where=w, mode=m)
        )
    timed("the query's embedding alone", questions, embedder.embed_query)
    return medians


def cases(size: int) -> Iterator[tuple[str, Filter, str]]:
    everything = Filter()
    yield from (("all", everything, mode) for mode in ("hybrid", "dense", "lexical"))
    count = size // PER_PAPER
    yield "0.1 %, one in 1,000 years", Filter(years=(0, max(0, count // 1000 - 1))), "hybrid"
    yield "5 %, by year", Filter(years=(0, int(0.05 * min(count, YEARS)) - 1)), "hybrid"
    yield "50 %, by year", Filter(years=(0, int(0.5 * min(count, YEARS)) - 1)), "hybrid"
    yield "elements Sr, Co", Filter(elements=frozenset({"Sr", "Co"})), "hybrid"
    yield "25 %, by section", Filter(sections=("experimental",)), "hybrid"


def timed(name: str, questions: list[str], work: Callable[[str], object]) -> float:
    times, processor = [], []
    for question in questions:
        began, used = time.perf_counter(), time.process_time()
        work(question)
        times.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.process_time() - used))
    median, last = statistics.median(times), sorted(times)[int(0.95 * len(times))]
    print(
        f"  {name:34} p50 {median:6.1f}  p95 {last:6.1f} ms  processor p50 {statistics.median(processor):6.1f} ms",
        flush=True,
    )
    return statistics.median(processor)


def recall(library: Library, embedder, questions: list[str]) -> float:
    """Return how many of the 10 nearest the library finds, against comparing every vector of the catalogue."""
    shares = []
    for question in questions:
        query = embedder.embed_query(question)
        found = {each for each, _ in library.dense(query, k=DEPTH)[:10]}
        with library.reading() as connection:
            true = {each for each, _ in index.exact_candidates(connection, query, k=10, where=Filter())}
        shares.append(len(found & true) / 10)
    return statistics.mean(shares)


# ----------------------------------------------------------------------------------------------- a library to search


def library_of(size: int, corpus: Path, embedder, keep: Path) -> Library:
    """Return the library of that size in `keep`, building it unless it is there whole."""
    folder = keep / f"library-{size}"
    if not (folder / "built").exists():
        began = time.perf_counter()
        shutil.rmtree(folder, ignore_errors=True)
        passages = _passages.grown(_passages.real(corpus, embedder, keep), size, per_paper=PER_PAPER)
        build(folder, passages, embedder)
        (folder / "built").touch()
        print(f"{size:,} chunks built in {time.perf_counter() - began:.0f} s", flush=True)
    return Library.open(folder)


def build(folder: Path, passages: _passages.Passages, embedder) -> None:
    with Library.create(folder, embedder=embedder.info, recipe="bench") as library:
        with sqlite3.connect(folder / "catalog.sqlite") as connection:
            fill(connection, passages)
        size = len(passages.sentences)
        store = VectorStore(folder / "chroma", collection=library.info.collection)
        store.open_for_writing()
        store.upsert([f"{row:032x}" for row in range(size)], passages.vectors)
        store.close()


def fill(connection: sqlite3.Connection, passages: _passages.Passages) -> None:
    known: dict[str, tuple[str, frozenset[str], set[str]]] = {}
    terms: dict[str, int] = {"": len(passages.sentences)}
    for row, (parts, paper) in enumerate(zip(passages.sentences, passages.papers.tolist(), strict=True)):
        if row % PER_PAPER == 0:
            source, title = f"{paper:064x}", " ".join(parts[0].split()[:12])
            connection.execute(
                "INSERT INTO papers VALUES (?, ?, '[]', ?, '', '', 'en', 'pdf', 1, 10, '[]', '')",
                (source, title, paper % YEARS),
            )
        place = row % PER_PAPER
        section = SECTIONS[place % len(SECTIONS)]
        tokens = " ".join(_known(known, part)[0] for part in parts)
        context = lexical.index_text(f"{title}. {section}")
        vector = passages.vectors[row].astype("<f2").tobytes()
        connection.execute(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, 'text', 1, 0, 1, ?, ?, ?, ?)",
            (row + 1, f"{row:032x}", source, place, section, f"{title}. {section}", " ".join(parts), vector),
        )
        connection.execute("INSERT INTO lexicon (rowid, context, text) VALUES (?, ?, ?)", (row + 1, context, tokens))
        for term in {*context.split(), *tokens.split()}:
            terms[term] = terms.get(term, 0) + 1
        elements = {each for part in parts for each in known[part][1]}
        keys = {each for part in parts for each in known[part][2]}
        connection.executemany("INSERT INTO chunk_elements VALUES (?, ?)", [(each, row + 1) for each in elements])
        connection.executemany("INSERT INTO chunk_formulas VALUES (?, ?)", [(each, row + 1) for each in keys])
    connection.executemany("INSERT INTO terms VALUES (?, ?)", terms.items())


def _known(known: dict[str, tuple[str, frozenset[str], set[str]]], part: str) -> tuple[str, frozenset[str], set[str]]:
    if part not in known:
        keys = {formula.key for formula in formulas.find(part)}
        known[part] = (lexical.index_text(part), formulas.elements(part), keys)
    return known[part]


if __name__ == "__main__":
    main()

"""How long does a search take, and how does that grow? Libraries of 20,000 and 200,000 chunks, filtered or not.

    python -m benchmarks.search ../shared/data/fulltext/corpus.jsonl.gz --sizes 20000 200000

Texts are sentences of real papers, shuffled within their paper; vectors are clustered by paper. The queries' texts are
those of benchmarks/questions.jsonl, embedded for real (so that the time is right), while the vector searched for is
near a chunk's. Tables are filled sentence by sentence, without the library's transactions: what is measured is
reading. The library lies in a temporary folder and is deleted. Beside the time on the clock stands the processor's,
of all threads: the fairer one on a machine that others use too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from assistant.retrieve import DEPTH, search
from benchmarks._machine import describe
from ingest import formulas, lexical
from ingest.embed import EmbedderInfo, make_embedder
from ingest.library import Library
from ingest.records import Filter
from ingest.vectors import VectorStore

QUESTIONS = Path(__file__).with_name("questions.jsonl")
DIMENSION = 384
PER_PAPER = 100
CHARACTERS = 700
YEARS = 1000  # paper n is of year n % 1000, so that a range of years is a share of the library
SECTIONS = ("Introduction", "Experimental", "Results and discussion", "Conclusions")
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="JSON lines, gzipped, with a field `body`")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--embedder", default="all-MiniLM-L6-v2")
    arguments = parser.parse_args()
    print(describe("chromadb", "numpy", "onnxruntime"), "SQLite", sqlite3.sqlite_version)
    embedder = make_embedder(arguments.embedder)
    embedder.embed_query("warm")
    papers = sentences(arguments.corpus)
    medians = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="matlit-bench-") as temporary:
            medians[size] = measure(Path(temporary), size, papers, embedder, queries=arguments.queries)
    first, last = arguments.sizes[0], arguments.sizes[-1]
    for name in medians[first]:
        growth = medians[last][name] / medians[first][name]
        print(f"{name:34} {last / first:.0f} times the chunks, {growth:.1f} times the processor's time")


def measure(folder: Path, size: int, papers: list[list[str]], embedder, *, queries: int) -> dict[str, float]:
    began = time.perf_counter()
    vectors = clustered(size)
    library = build(folder, size, papers, vectors)
    print(f"\n{size:,} chunks, built in {time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}", flush=True)
    questions = [json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()][:queries]
    near = Near(embedder, vectors)
    print(f"  recall@10 of the neighbours {recall(library, near, vectors):.3f}")
    medians = {}
    for name, where, mode in cases(size):
        search(library, near, questions[0], where=where, mode=mode)
        medians[f"{mode} {name}"] = timed(
            f"{mode} {name}", questions, lambda q, w=where, m=mode: search(library, near, q, where=w, mode=m)
        )
    timed("the query's embedding alone", questions, embedder.embed_query)
    library.close()
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


class Near:
    """The real embedder's time, a vector near one of the library's."""

    def __init__(self, embedder, vectors: np.ndarray) -> None:
        self._embedder = embedder
        self._vectors = vectors
        self._random = np.random.default_rng(SEED + 1)

    def embed_query(self, text: str) -> np.ndarray:
        """Embed and forget `text`; return another vector."""
        self._embedder.embed_query(text)
        return self.vector()

    def vector(self) -> np.ndarray:
        """Return a unit vector near a random one of the library."""
        base = self._vectors[self._random.integers(len(self._vectors))]
        return unit(base + 0.4 * unit(self._random.normal(size=DIMENSION)))


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


def recall(library: Library, near: Near, vectors: np.ndarray, *, trials: int = 50) -> float:
    shares = []
    for _ in range(trials):
        query = near.vector()
        found = {int(each, 16) for each, _ in library.dense(query, k=DEPTH, where=Filter())[:10]}
        true = set(np.argsort(-(vectors @ query))[:10].tolist())
        shares.append(len(found & true) / 10)
    return statistics.mean(shares)


# ----------------------------------------------------------------------------------------------- a library to search


def sentences(corpus: Path) -> list[list[str]]:
    with gzip.open(corpus, "rt", encoding="utf-8") as file:
        bodies = [json.loads(line)["body"].replace("\n", " ") for line in file]
    split = [[s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])", body) if 40 < len(s) < 400] for body in bodies]
    return [each for each in split if len(each) > 20]


def clustered(size: int) -> np.ndarray:
    generator = np.random.default_rng(SEED)
    centres = unit(generator.normal(size=(size // PER_PAPER + 1, DIMENSION)).astype(np.float32))
    noise = unit(generator.normal(size=(size, DIMENSION)).astype(np.float32))
    return unit(centres[np.arange(size) // PER_PAPER] + 0.8 * noise)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def build(folder: Path, size: int, papers: list[list[str]], vectors: np.ndarray) -> Library:
    library = Library.create(folder / "library", embedder=EmbedderInfo("synthetic", "1", DIMENSION), recipe="bench")
    with sqlite3.connect(library.info.path / "catalog.sqlite") as connection:
        fill(connection, size, papers, vectors)
    ids = [f"{row:032x}" for row in range(size)]
    store = VectorStore(library.info.path / "chroma", collection=library.info.collection)
    store.open_for_writing()
    store.upsert(ids, vectors, ["synthetic"] * size)
    store.close()
    return library


def fill(connection: sqlite3.Connection, size: int, papers: list[list[str]], vectors: np.ndarray) -> None:
    generator = random.Random(SEED)
    known: dict[str, tuple[str, frozenset[str], set[str]]] = {}
    terms: dict[str, int] = {"": size}
    for row in range(size):
        paper, place = divmod(row, PER_PAPER)
        if place == 0:
            body = generator.choice(papers)
            source, title = f"{paper:064x}", " ".join(generator.choice(body).split()[:12])
            connection.execute(
                "INSERT INTO papers VALUES (?, ?, '[]', ?, '', '', 'en', 'pdf', 1, 10, '[]', '')",
                (source, title, paper % YEARS),
            )
        section = SECTIONS[place % len(SECTIONS)]
        parts = [generator.choice(body)]
        while sum(map(len, parts)) < CHARACTERS:
            parts.append(generator.choice(body))
        tokens = " ".join(_known(known, part)[0] for part in parts)
        context = lexical.index_text(f"{title}. {section}")
        connection.execute(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, 'text', 1, 0, 1, ?, ?, ?, ?)",
            (
                row + 1,
                f"{row:032x}",
                source,
                place,
                section,
                f"{title}. {section}",
                " ".join(parts),
                vectors[row].astype("<f2").tobytes(),
            ),
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

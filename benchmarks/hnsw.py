"""Which HNSW settings does Chroma need? Recall@10 against exact search, time of a query, time and size of the build.

    python -m benchmarks.hnsw ../shared/data/fulltext/corpus.jsonl.gz --size 200000 --settings 16,100 24,200

Each of `--settings` is max_neighbors,ef_construction; ef_search is varied on each build. Vectors are real ones and more
grown from them (benchmarks/_passages.py); the queries are the questions of benchmarks/questions.jsonl and single
sentences of the papers. Search asks for DEPTH neighbours, and HNSW never explores fewer than it is asked for: so both
10 and DEPTH are asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assistant.metrics import bootstrap_mean
from assistant.retrieve import DEPTH
from benchmarks import _passages
from benchmarks._machine import describe
from ingest.embed import make_embedder
from ingest.vectors import MAX_BATCH

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

QUESTIONS = Path(__file__).with_name("questions.jsonl")
SENTENCES = 200
PER_PAPER = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="JSON lines, gzipped, with a field `body`")
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--settings", nargs="+", default=["16,100", "24,200", "32,400"])
    parser.add_argument("--ef-search", type=int, nargs="+", default=[50, 100, 200, 400, 800])
    parser.add_argument("--embedder", default="all-MiniLM-L6-v2")
    parser.add_argument("--keep", type=Path, help="folder for the vectors")
    arguments = parser.parse_args()
    print(describe("chromadb", "numpy"))
    with tempfile.TemporaryDirectory(prefix="matlit-bench-") as temporary:
        keep = arguments.keep or Path(temporary)
        embedder = make_embedder(arguments.embedder)
        real = _passages.real(arguments.corpus, embedder, keep)
        vectors = _passages.grown(real, arguments.size, per_paper=PER_PAPER).vectors
        queries = queried(real, embedder)
        true = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
        for each in arguments.settings:
            neighbours, construction = map(int, each.split(","))
            measure(Path(temporary) / each, vectors, queries, true, neighbours, construction, arguments.ef_search)


def queried(real: _passages.Passages, embedder) -> np.ndarray:
    questions = [json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    chosen = np.random.default_rng(_passages.SEED).integers(0, len(real.sentences), SENTENCES)
    return np.stack([embedder.embed_query(text) for text in [*questions, *(real.sentences[i][0] for i in chosen)]])


def measure(folder: Path, vectors, queries, true, neighbours: int, construction: int, searches: list[int]) -> None:
    settings = {"space": "cosine", "max_neighbors": neighbours, "ef_construction": construction}
    began, used = time.perf_counter(), time.process_time()
    with opened(folder) as client:
        collection = client.create_collection("bench", embedding_function=None, configuration={"hnsw": settings})
        for start in range(0, len(vectors), MAX_BATCH):
            part = vectors[start : start + MAX_BATCH]
            collection.add(ids=[str(start + i) for i in range(len(part))], embeddings=part)
        collection.query(query_embeddings=queries[:1], n_results=1, include=[])
    took = f"{time.perf_counter() - began:.0f} s, processor {time.process_time() - used:.0f} s"
    print(f"\nn={len(vectors):,} {settings}: built in {took}, load {os.getloadavg()[0]:.1f}", flush=True)
    for ef in searches:
        with opened(folder) as client:
            client.get_collection("bench").modify(configuration={"hnsw": {"ef_search": ef}})
        with opened(folder) as client:  # what was modified counts from the next opening on
            collection = client.get_collection("bench", embedding_function=None)
            for k in (10, DEPTH):
                collection.query(query_embeddings=queries[:1], n_results=k, include=[])
                print(f"  ef_search {ef:4} asked for {k:3}: {one(collection, queries, true, k)}", flush=True)
    shutil.rmtree(folder)


@contextmanager
def opened(folder: Path) -> Iterator[ClientAPI]:
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(path=str(folder), settings=Settings(anonymized_telemetry=False))
    try:
        yield client
    finally:
        client.close()


def one(collection, queries: np.ndarray, true: np.ndarray, k: int) -> str:
    shares, times = [], []
    for query, right in zip(queries, true, strict=True):
        began = time.process_time()
        found = collection.query(query_embeddings=query[None], n_results=k, include=["distances"])
        times.append(1000 * (time.process_time() - began))
        shares.append(len({int(each) for each in found["ids"][0][:10]} & set(right.tolist())) / 10)
    return f"recall@10 {bootstrap_mean(shares)} processor p50 {statistics.median(times):.1f} ms"


if __name__ == "__main__":
    main()

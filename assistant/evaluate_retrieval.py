"""How well search finds: nDCG and recall on a folder in BEIR layout, each with a bootstrap interval.

The corpus goes through the library's own index, vectors and fusion, one passage a document, in a temporary folder; a
document longer than the embedder reads is embedded by its beginning, as every BEIR result for such a model is.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from assistant.metrics import SEED, Evaluation, bootstrap_mean, signature
from assistant.retrieve import Mode, search
from ingest.errors import BadInput
from ingest.records import Block, Chunk, Metadata, Page, Paper, chunk_id

if TYPE_CHECKING:
    from ingest.embed import Embedder
    from ingest.library import Library

DEPTH = 100
RECIPE = "beir"
BATCH = 256
LAYOUT = "Give a folder with corpus.jsonl[.gz] (_id, title, text), queries.jsonl (_id, text) and qrels.tsv"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A corpus, queries, and which documents answer which query how well; only judged queries are kept."""

    documents: Mapping[str, tuple[str, str]]  # id -> title, text
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]  # query id -> document id -> grade above 0


def evaluate_retrieval(
    folder: Path, *, embedder: Embedder, mode: Mode = "hybrid", limit: int | None = None, seed: int = SEED
) -> Evaluation:
    """Return nDCG@10, recall@5 and recall@100 of search on `folder`, for the first `limit` judged queries or all."""
    benchmark = read_beir(folder)
    with (
        tempfile.TemporaryDirectory(prefix="matlit-eval-", ignore_cleanup_errors=True) as temporary,
        build_library(Path(temporary) / "library", benchmark, embedder=embedder) as library,
    ):
        ranked = rank_all(library, embedder, benchmark, mode=mode, limit=limit)
    scores = score(ranked, benchmark.relevant)
    return Evaluation(
        metrics={name: bootstrap_mean(values, seed=seed) for name, values in scores.items()},
        n=len(ranked),
        signature=signature(
            data=folder.name,
            n=len(ranked),
            documents=len(benchmark.documents),
            mode=mode,
            embedder=embedder.name,
            seed=seed,
        ),
    )


def read_beir(folder: Path) -> Benchmark:
    """Read a folder in BEIR layout; raises `BadInput` naming the file and the line that cannot be used."""
    documents = {row["_id"]: (row.get("title", ""), row["text"]) for row in _rows(_corpus_file(folder))}
    texts = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl")}
    relevant: dict[str, dict[str, int]] = {}
    for query, document, grade in _judgements(folder / "qrels.tsv"):
        if grade > 0 and query in texts:
            relevant.setdefault(query, {})[document] = grade
    queries = {query: text for query, text in texts.items() if query in relevant}
    if not queries or not documents:
        raise BadInput(f"{str(folder)!r} holds no query with a relevant document", hint=LAYOUT)
    return Benchmark(documents, queries, relevant)


def build_library(path: Path, benchmark: Benchmark, *, embedder: Embedder) -> Library:
    """Return a new library at `path` with one chunk per document; `BATCH` documents are the pages of one paper."""
    from ingest.library import Library

    library = Library.create(path, embedder=embedder.info, recipe=RECIPE)
    with library.writer("eval retrieval") as writer:
        for number, batch in enumerate(_batches(list(benchmark.documents.values()), BATCH)):
            source = _source(number)
            pages = [_page(page, text) for page, (_, text) in enumerate(batch)]
            chunks = [_chunk(source, page, title, text) for page, (title, text) in enumerate(batch)]
            vectors = embedder.embed_documents([chunk.embedded_text for chunk in chunks])
            writer.add(Paper(source, Metadata(), RECIPE, len(pages), len(chunks), paths=()), pages, chunks, vectors)
    return library


def rank_all(
    library: Library, embedder: Embedder, benchmark: Benchmark, *, mode: Mode, limit: int | None = None
) -> dict[str, list[str]]:
    """Return for each judged query, or the first `limit` of them, the document ids that search finds, best first."""
    names = document_names(benchmark)
    return {
        query: [names[hit.chunk.id] for hit in search(library, embedder, text, k=DEPTH, mode=mode)]
        for query, text in list(benchmark.queries.items())[:limit]
    }


def document_names(benchmark: Benchmark) -> dict[str, str]:
    """Return the document id that each chunk of `build_library` stands for."""
    return {
        chunk_id(_source(number), RECIPE, page): document
        for number, batch in enumerate(_batches(list(benchmark.documents), BATCH))
        for page, document in enumerate(batch)
    }


def score(ranked: Mapping[str, Sequence[str]], relevant: Mapping[str, Mapping[str, int]]) -> dict[str, list[float]]:
    """Return the value of each metric for each query, in the order of `ranked`."""
    return {
        "ndcg@10": [ndcg(found, relevant[query], k=10) for query, found in ranked.items()],
        "recall@5": [recall(found, relevant[query], k=5) for query, found in ranked.items()],
        "recall@100": [recall(found, relevant[query], k=100) for query, found in ranked.items()],
    }


def ndcg(found: Sequence[str], relevant: Mapping[str, int], *, k: int) -> float:
    """Return the normalised discounted cumulative gain with linear gains, as trec_eval and BEIR compute it."""
    gained = sum(relevant.get(document, 0) / math.log2(rank + 2) for rank, document in enumerate(found[:k]))
    ideal = sorted(relevant.values(), reverse=True)[:k]
    return gained / sum(grade / math.log2(rank + 2) for rank, grade in enumerate(ideal))


def recall(found: Sequence[str], relevant: Mapping[str, int], *, k: int) -> float:
    """Return the share of relevant documents among the first `k`."""
    return len(set(found[:k]) & set(relevant)) / len(relevant)


def _source(number: int) -> str:
    return hashlib.sha256(f"{RECIPE} {number}".encode()).hexdigest()


def _page(number: int, text: str) -> Page:
    return Page(number=number, text=text, blocks=(Block(0, len(text), "text"),))


def _chunk(source: str, page: int, title: str, text: str) -> Chunk:
    return Chunk(
        id=chunk_id(source, RECIPE, page),
        source=source,
        ordinal=page,
        text=text,
        page=page,
        start=0,
        end=len(text),
        context=title,
    )


def _corpus_file(folder: Path) -> Path:
    if not folder.is_dir():
        raise BadInput(f"there is no folder {str(folder)!r}", hint=LAYOUT)
    packed = folder / "corpus.jsonl.gz"
    return packed if packed.exists() else folder / "corpus.jsonl"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
            row["_id"], row["text"] = str(row["_id"]), str(row["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{str(path)!r}, line {number}: {error!r}", hint=LAYOUT) from error
        yield row


def _judgements(path: Path) -> Iterator[tuple[str, str, int]]:
    for number, line in _lines(path):
        fields = line.rstrip("\n").split("\t")
        if number == 1 and not fields[-1].lstrip("-").isdigit():
            continue  # the header
        try:
            query, document, grade = fields[0], fields[-2], int(fields[-1])
        except (ValueError, IndexError) as error:
            raise BadInput(f"{str(path)!r}, line {number}: {line.strip()!r} is no judgement", hint=LAYOUT) from error
        yield query, document, grade


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {error}", hint=LAYOUT) from error


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))

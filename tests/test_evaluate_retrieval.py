"""Retrieval evaluation: the numbers are right, the folder is read as BEIR lays it out, and bad folders are named."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assistant.evaluate_retrieval import evaluate_retrieval, ndcg, read_beir, recall
from ingest.embed import EmbedderInfo
from ingest.errors import BadInput

DOCUMENTS = [
    ("d1", "Olivine", "LiFePO4 keeps its capacity over many cycles."),
    ("d2", "Garnet", "Li7La3Zr2O12 conducts lithium ions."),
    ("d3", "Steel", "Austenite turns into martensite on quenching."),
]
QUERIES = [("q1", "martensite after quenching"), ("q2", "LiFePO₄ capacity"), ("q3", "never judged")]
JUDGEMENTS = [("q1", "d3", 1), ("q2", "d1", 2), ("q2", "d2", 0)]


class HashEmbedder:
    """One fixed random vector per text: no meaning, so that what is found is found by words."""

    name = "hash"
    info = EmbedderInfo("hash", "1", 32)

    def embed_query(self, text: str) -> np.ndarray:
        seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
        vector = np.random.default_rng(seed).normal(size=32).astype(np.float32)
        return vector / np.linalg.norm(vector)

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.embed_query(text) for text in texts])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"_id": name, "title": title, "text": text} for name, title, text in DOCUMENTS]
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    queries = [json.dumps({"_id": name, "text": text}) for name, text in QUERIES]
    (tmp_path / "queries.jsonl").write_text("\n".join(queries), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in JUDGEMENTS)]
    (tmp_path / "qrels.tsv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_only_queries_with_a_relevant_document_are_kept(folder: Path) -> None:
    assert read_beir(folder).relevant == {"q1": {"d3": 1}, "q2": {"d1": 2}}
    assert list(read_beir(folder).queries) == ["q1", "q2"]


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_the_evaluation_searches_a_real_library(folder: Path, mode: str) -> None:
    evaluation = evaluate_retrieval(folder, embedder=HashEmbedder(), mode=mode)
    assert evaluation.metrics["recall@5"].value == 1
    assert evaluation.n == 2
    assert f"mode={mode}|embedder=hash" in evaluation.signature
    if mode == "lexical":
        assert evaluation.metrics["ndcg@10"].value == 1


def test_an_evaluation_repeats_exactly(folder: Path) -> None:
    runs = [evaluate_retrieval(folder, embedder=HashEmbedder(), seed=3, limit=2).to_json() for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_plain_corpus_is_read_too(folder: Path) -> None:
    packed = folder / "corpus.jsonl.gz"
    (folder / "corpus.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert len(read_beir(folder).documents) == 3


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    assert ndcg(["x", "a"], {"a": 1}, k=10) == pytest.approx(1 / math.log2(3))
    assert ndcg(["a", "b"], {"a": 1, "b": 1}, k=10) == 1
    assert ndcg(["x"] * 10 + ["a"], {"a": 1}, k=10) == 0


def test_recall_counts_what_is_within_the_first_k() -> None:
    assert recall(["a", "x", "b"], {"a": 1, "b": 1}, k=2) == 0.5


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere") as caught:
        read_beir(tmp_path / "nowhere")
    assert "corpus.jsonl" in caught.value.hint


@pytest.mark.parametrize("name", ["corpus.jsonl.gz", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BadInput, match=name.removesuffix(".gz")):
        read_beir(folder)


@pytest.mark.parametrize(
    ("name", "line"),
    [("queries.jsonl", "{broken"), ("queries.jsonl", '{"text": "no id"}'), ("qrels.tsv", "q1\td1\tmuch")],
)
def test_a_broken_line_is_named_with_its_number(folder: Path, name: str, line: str) -> None:
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8") + "\n" + line, encoding="utf-8")
    number = len(path.read_text(encoding="utf-8").splitlines())
    with pytest.raises(BadInput, match=f"{name}.*line {number}"):
        read_beir(folder)


def test_a_folder_where_nothing_is_judged_is_refused(folder: Path) -> None:
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n", encoding="utf-8")
    with pytest.raises(BadInput, match="no query"):
        read_beir(folder)

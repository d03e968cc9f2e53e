"""`eval answers`: reading questions, judging answers, and the numbers that come out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from assistant.answer import Answer
from assistant.citations import Citation
from assistant.evaluate import GoldQuestion, evaluate_answers, holds_answer, judge, read_questions, squash
from assistant.metrics import Evaluation, Metric, bootstrap_difference, bootstrap_mean, bootstrap_ratio, differences
from ingest.embed import EmbedderInfo
from ingest.errors import BadInput


def cited(*quotes: str, paper: str = "p1", page: int = 3, status: str = "verified") -> Answer:
    citations = tuple(
        Citation(n, paper, "T", "", page, quote, status)  # type: ignore[arg-type]
        for n, quote in enumerate(quotes, 1)
    )
    return Answer(text=" ".join(quotes), citations=citations)


@dataclass
class Replay:
    """Gives prepared answers in turn, over a library of one paper."""

    answers: Sequence[Answer]
    model: str = "extractive"

    def __post_init__(self) -> None:
        self.waiting = list(self.answers)
        paper = SimpleNamespace(id="p1", paths=(Path("lfp.pdf"),))
        info = SimpleNamespace(embedder=EmbedderInfo("all-MiniLM-L6-v2", "abc", 384), recipe="v1")
        self.library = SimpleNamespace(papers=lambda: [paper], info=info)

    def ask(self, question: str) -> Answer:
        return self.waiting.pop(0)


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("said", "gold"),
    [
        ("a capacity of 166.3 mAh g−1 at 0.1 C", "166.3 mAh/g"),
        ("a capacity of 166.3mAhg-1", "166.3 mAh g−1"),
        ("Celgard‐2325 was used", "celgard-2325"),
        ("after 1,200 cycles", "1200 cycles"),
        ("about 100°C.", "100 °C"),
        ("LiFePO₄ particles", "LiFePO4"),
    ],
)
def test_a_gold_answer_is_found_however_it_is_spelled(said: str, gold: str) -> None:
    assert holds_answer(cited(said), [gold])


@pytest.mark.parametrize(("said", "gold"), [("112 V", "12 V"), ("1.52", "1.5"), ("21.5", "1.5"), ("", "x")])
def test_a_gold_answer_inside_another_number_does_not_count(said: str, gold: str) -> None:
    assert not holds_answer(cited(said), [gold])


def test_a_refusal_holds_no_answer_even_if_it_repeats_the_words() -> None:
    assert not holds_answer(Answer(text="nothing about 5 V", abstained=True), ["5 V"])


def test_squashing_keeps_digits_and_letters_apart_from_spelling() -> None:
    assert squash("S / cm") == squash("S cm−1")


def test_paper_and_page_count_among_all_citations_and_for_the_first() -> None:
    gold = GoldQuestion("1", "?", ("x",), ("lfp.pdf",), (3,))
    scores = judge(gold, cited("a", page=4), {"p1": frozenset({"lfp.pdf"})})
    assert (scores["right_paper"], scores["right_page"], scores["right_paper@1"]) == (1.0, 0.0, 1.0)


def test_every_alternative_and_every_page_is_read(tmp_path: Path) -> None:
    file = write(
        tmp_path / "q.jsonl",
        {"id": "1", "question": "a?", "answer": "x", "alternatives": ["y"], "doc": "d.pdf", "page": 2, "pages": [2, 5]},
        {"id": "2", "question": "b?", "answer": ["x", "z"]},
        {"id": "3", "question": "c?", "answer": None},
        {"id": "4", "question": "d?", "answer": "x", "unanswerable": True},
        {"id": "5", "question": "e?", "answer": "x", "answerable": False},
    )
    first, second, *others = read_questions(file)
    assert (first.answers, first.docs, first.pages) == (("x", "y"), ("d.pdf",), (2, 5))
    assert second.answers == ("x", "z")
    assert not any(question.answerable for question in others)


@pytest.mark.parametrize("content", ["", "not json", '{"id": 1}', "[1]", '{"question": "  "}'])
def test_a_file_that_holds_no_questions_is_refused_with_its_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=r"q\.jsonl"):
        read_questions(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        read_questions(tmp_path / "none.jsonl")


def test_all_metrics_come_with_intervals_n_and_a_signature(tmp_path: Path) -> None:
    file = write(
        tmp_path / "q.jsonl",
        {"id": "1", "question": "a?", "answer": "5 V", "doc": "lfp.pdf", "page": 3},
        {"id": "2", "question": "b?", "answer": "6 V", "doc": "lfp.pdf", "page": 3},
        {"id": "3", "question": "c?", "answer": None},
        {"id": "4", "question": "d?", "answer": None},
    )
    refusal = Answer(text="no", abstained=True)
    answers = [cited("it is 5 V"), refusal, refusal, cited("it is 9 V", status="unsupported")]
    rows = tmp_path / "rows.jsonl"
    evaluation = evaluate_answers(file, assistant=Replay(answers), rows=rows, seed=1)  # type: ignore[arg-type]
    values = {name: metric.value for name, metric in evaluation.metrics.items()}
    assert values["answer_found"] == values["right_paper"] == values["right_page"] == 0.5
    assert values["quote_verified"] == values["abstained"] == 0.5
    assert values["abstained_precision"] == values["abstained_recall"] == 0.5
    assert evaluation.n == 4
    assert "model=extractive|embedder=all-MiniLM-L6-v2" in evaluation.signature
    assert [json.loads(line)["id"] for line in rows.read_text(encoding="utf-8").splitlines()] == ["1", "2", "3", "4"]
    assert json.loads(json.dumps(evaluation.to_json()))["metrics"]["abstained"]["value"] == 0.5


def test_no_more_than_the_limit_is_asked(tmp_path: Path) -> None:
    file = write(tmp_path / "q.jsonl", *({"id": n, "question": "a?", "answer": "x"} for n in range(5)))
    assert evaluate_answers(file, assistant=Replay([cited("x")] * 2), limit=2).n == 2  # type: ignore[arg-type]


def test_a_bootstrap_repeats_with_its_seed_and_holds_the_mean() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    metric = bootstrap_mean(values, seed=3)
    assert metric == bootstrap_mean(values, seed=3)
    assert metric.low <= metric.value == 0.6 <= metric.high


def test_a_metric_of_nothing_is_null_in_json() -> None:
    assert bootstrap_mean([]).to_json() == {"value": None, "low": None, "high": None}
    assert math.isnan(bootstrap_ratio([0.0], [0.0]).value)


def test_a_paired_difference_of_equal_systems_is_zero() -> None:
    assert bootstrap_difference([1.0, 0.0], [1.0, 0.0]) == Metric(0.0, 0.0, 0.0)


def test_a_difference_is_taken_question_by_question() -> None:
    one = Evaluation({"right": Metric(0.5, 0.0, 1.0)}, 3, "", scores=[{"right": 1.0}, {"right": 1.0}, {"right": None}])
    other = Evaluation({"right": Metric(0.5, 0.0, 1.0)}, 3, "", scores=[{"right": 0.0}, {"right": 1.0}, {"right": 1.0}])
    told = differences(one, other)["right"]
    assert (told.value, told.low, told.high) == (0.5, 0.0, 1.0)
    assert str(Metric(float("nan"), float("nan"), float("nan"))) == "–"

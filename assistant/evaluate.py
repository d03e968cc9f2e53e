"""Measures answers against questions whose answers are known: `matlit eval answers FILE`.

What each number hides: `answer_found` only looks for the gold string in the quotes and the text, so an answer in other
words counts as missed; `right_paper` and `right_page` count a hit among all citations, their `@1` forms the first one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assistant.answer import Answer
from assistant.metrics import SEED, Evaluation, Metric, bootstrap_mean, bootstrap_ratio, differences, signature
from ingest.errors import BadInput
from ingest.library import Library

if TYPE_CHECKING:
    from assistant.assistant import Assistant
    from assistant.prompts import Strategy


class Asker(Protocol):
    """What is measured: an `Assistant`, or anything that answers like one."""

    @property
    def library(self) -> Library:
        """Return the library that is asked."""

    @property
    def model(self) -> str:
        """Return the name of the model that answers."""

    def ask(self, question: str) -> Answer:
        """Answer one question."""


@dataclass(frozen=True, slots=True)
class GoldQuestion:
    """A question with every string that counts as its answer; none of them where it cannot be answered.

    `docs` are the names of the files that answer it and `pages` where the first of them does; empty where unknown.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    docs: tuple[str, ...] = ()
    pages: tuple[int, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether the library is said to hold an answer."""
        return bool(self.answers)


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its answer and how it was judged; a judgement that does not apply is None."""

    gold: GoldQuestion
    answer: Answer
    scores: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return the row that `--rows` writes."""
        return {
            "id": self.gold.id,
            "question": self.gold.question,
            "gold": list(self.gold.answers),
            "docs": list(self.gold.docs),
            "pages": list(self.gold.pages),
            "scores": dict(self.scores),
            **self.answer.to_json(),
        }


def evaluate_answers(
    file: Path,
    *,
    assistant: Asker,
    rows: Path | None = None,
    limit: int | None = None,
    seed: int = SEED,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Ask every question of `file` and score the answers; `rows` is written with one JSON line per question.

    Raises:
        BadInput: the file is missing, empty, or a line of it is no question.
    """
    questions = read_questions(file)[:limit]
    judged: list[Row] = []
    for row in answer_all(questions, assistant):
        judged.append(row)
        if progress:
            progress(len(judged), len(questions))
    if rows:
        text = "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in judged)
        rows.write_text(text, encoding="utf-8")
    return summarise(judged, assistant=assistant, seed=seed)


def compare_strategies(
    file: Path,
    strategies: Sequence[Strategy],
    *,
    open_assistant: Callable[..., Assistant],
    rows: Path | None = None,
    limit: int | None = None,
    seed: int = SEED,
) -> dict[str, Evaluation]:
    """Score the same questions once per strategy, and how far each lies from the first, question by question.

    With several, the rows of each go to a file named after it.
    """
    found: dict[str, Evaluation] = {}
    for strategy in strategies:
        written = rows.with_stem(f"{rows.stem}-{strategy}") if rows and len(strategies) > 1 else rows
        with open_assistant(strategy=strategy) as assistant:
            evaluation = evaluate_answers(file, assistant=assistant, rows=written, limit=limit, seed=seed)
        signed = evaluation.signature if strategy == "auto" else f"{evaluation.signature}|strategy={strategy}"
        first = next(iter(found.values()), None)
        compared = differences(evaluation, first, seed=seed) if first else {}
        found[strategy] = replace(evaluation, signature=signed, differences=compared)
    return found


def answer_all(questions: Iterable[GoldQuestion], assistant: Asker) -> Iterator[Row]:
    """Ask the questions one by one and judge each answer."""
    names = {paper.id: frozenset(path.name for path in paper.paths) for paper in assistant.library.papers()}
    for gold in questions:
        answer = assistant.ask(gold.question)
        yield Row(gold, answer, judge(gold, answer, names))


def read_questions(file: Path) -> list[GoldQuestion]:
    """Read JSON lines with `id`, `question`, `answer`, and where known `alternatives`, `doc`, `page` or `pages`.

    `answer` is a string or a list of strings that count alike; null, or `"unanswerable": true`, says there is none.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"cannot read the questions in {file}: {reason}", hint="Give a file of JSON lines") from error
    questions = [_read_question(line, number, file) for number, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise BadInput(
            f"{file} holds no questions", hint='Write lines such as {"id": "1", "question": "…", "answer": "…"}'
        )
    return questions


def judge(gold: GoldQuestion, answer: Answer, names: Mapping[str, frozenset[str]]) -> dict[str, float | None]:
    """Score one answer; `names` gives the file names of each paper."""
    abstained = float(answer.abstained)
    quotes = [citation.status == "verified" for citation in answer.citations]
    scores: dict[str, float | None] = {
        "abstained": abstained,
        "quote_verified": sum(quotes) / len(quotes) if quotes else None,
        "seconds": answer.seconds,
    }
    if gold.answerable:
        scores["answer_found"] = float(holds_answer(answer, gold.answers))
        scores |= _places(gold, answer, names)
    return scores


def holds_answer(answer: Answer, golds: Sequence[str]) -> bool:
    """Whether a gold answer stands in the answer's text or quotes, spacing, dashes, units' spelling and case aside."""
    if answer.abstained:
        return False
    said = [squash(part) for part in (answer.text, *(citation.quote for citation in answer.citations))]
    return any(_holds(part, squash(gold)) for gold in golds for part in said)


def squash(text: str) -> str:
    """Return text for comparison: NFKC, lower case, one kind of dash, unit powers written one way, no white space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = re.sub("[‐‑‒–—―−]", "-", folded)
    folded = re.sub("[‘’′`´]", "'", folded)
    folded = re.sub(r"\s*/\s*([a-zåμω]+)(\d?)(?![a-z])", lambda m: f"{m[1]}-{m[2] or 1}", folded)
    folded = re.sub(r"(?<=\d),(?=\d{3}\b)", "", folded)
    return re.sub(r"[\s\u00ad\u200b^·⋅*_]", "", folded)


def summarise(rows: Sequence[Row], *, assistant: Asker, seed: int = SEED) -> Evaluation:
    """Return all metrics over the rows, with what was measured how."""
    names = ("answer_found", "right_paper", "right_page", "right_paper@1", "right_page@1", "quote_verified")
    metrics = {name: bootstrap_mean(_column(rows, name), seed=seed) for name in names}
    metrics["unsupported"] = unsupported(rows, seed=seed)
    metrics |= abstention(rows, seed=seed)
    info = assistant.library.info
    said = signature(
        n=len(rows),
        model=assistant.model,
        embedder=info.embedder.name,
        revision=info.embedder.revision[:12],
        recipe=info.recipe,
        papers=len(assistant.library.papers()),
        seed=seed,
    )
    return Evaluation(metrics=metrics, n=len(rows), signature=said, scores=[row.scores for row in rows])


def unsupported(rows: Sequence[Row], *, seed: int = SEED) -> Metric:
    """Return the share of all sentences that nothing bears out."""
    bad = [float(sum(claim.status == "unsupported" for claim in row.answer.claims)) for row in rows]
    return bootstrap_ratio(bad, [float(len(row.answer.claims)) for row in rows], seed=seed)


def abstention(rows: Sequence[Row], *, seed: int = SEED) -> dict[str, Metric]:
    """Return how often nothing was answered, and precision and recall of that on the unanswerable questions."""
    abstained = [float(row.answer.abstained) for row in rows]
    unanswerable = [float(not row.gold.answerable) for row in rows]
    both = [a * u for a, u in zip(abstained, unanswerable, strict=True)]
    return {
        "abstained": bootstrap_mean(abstained, seed=seed),
        "abstained_precision": bootstrap_ratio(both, abstained, seed=seed),
        "abstained_recall": bootstrap_ratio(both, unanswerable, seed=seed),
    }


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [value for row in rows if (value := row.scores.get(name)) is not None]


def _places(gold: GoldQuestion, answer: Answer, names: Mapping[str, frozenset[str]]) -> dict[str, float | None]:
    if not gold.docs:
        return {}
    cited = [names.get(citation.paper, frozenset()) for citation in answer.citations]
    papers = [bool(files & set(gold.docs)) for files in cited]
    pages = [gold.docs[0] in files and c.page in gold.pages for files, c in zip(cited, answer.citations, strict=True)]
    scores: dict[str, float | None] = {"right_paper": float(any(papers)), "right_paper@1": float(any(papers[:1]))}
    if gold.pages:
        scores |= {"right_page": float(any(pages)), "right_page@1": float(any(pages[:1]))}
    return scores


def _holds(said: str, gold: str) -> bool:
    # "12 V" must not be found in "112 V", nor "1.5" in "1.52".
    at = said.find(gold) if gold else -1
    while at >= 0:
        before, after = said[max(at - 2, 0) : at], said[at + len(gold) : at + len(gold) + 2]
        inside = (gold[0].isdigit() and re.search(r"\d[.,]?$", before)) or (
            gold[-1].isdigit() and re.match(r"\.?\d", after)
        )
        if not inside:
            return True
        at = said.find(gold, at + 1)
    return False


def _read_question(line: str, number: int, file: Path) -> GoldQuestion:
    hint = 'Each line is an object such as {"id": "1", "question": "…", "answer": "…", "doc": "paper.pdf", "page": 3}'
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadInput(f"{file}, line {number} is not JSON: {error}", hint=hint) from error
    if not isinstance(data, dict) or not isinstance(data.get("question"), str) or not data["question"].strip():
        raise BadInput(f"{file}, line {number} has no question", hint=hint)
    unanswerable = data.get("unanswerable") or data.get("answerable") is False
    given = [] if unanswerable else [*_strings(data.get("answer")), *_strings(data.get("alternatives"))]
    pages = tuple(dict.fromkeys([*_pages(data.get("page")), *_pages(data.get("pages"))]))
    docs = tuple(dict.fromkeys([*_strings(data.get("doc")), *_strings(data.get("docs"))]))
    return GoldQuestion(str(data.get("id", number)), data["question"], tuple(given), docs, pages)


def _strings(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(one) for one in values if one not in (None, "")]


def _pages(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, int)]

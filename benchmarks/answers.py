"""How well the quotes answer: our questions over the real papers, and ChemLit-QA over its passages.

    python -m benchmarks.answers                 builds both libraries in a temporary folder, asks everything
    python -m benchmarks.answers --keep FOLDER   keeps the libraries there, or finds them there
    python -m benchmarks.answers --fit           only fits the weights anew and prints them

The weights in `assistant/extractive.py` were fitted on the development halves (an even SHA-256 of the id) of our
questions and of ChemLit-QA; figures of the other halves are the ones to quote.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from assistant import extractive
from assistant.assistant import Assistant
from assistant.evaluate import GoldQuestion, Row, answer_all, read_questions, squash, summarise
from assistant.evidence import Findings
from assistant.metrics import Evaluation, bootstrap_mean
from benchmarks._machine import describe
from ingest.pipeline import Failed, Finished, ingest
from ingest.records import Filter

SHARED = Path(__file__).parents[2] / "shared" / "data"
PAPERS = SHARED / "papers"
CHEMLIT = SHARED / "retrieval" / "chemlit_qa"
QUESTIONS = Path(__file__).with_name("questions.jsonl")
PENALTY = 0.02  # of the squared weights, when fitting the ranking
SUPPORT_PENALTY = 0.05
MARGIN = 0.1  # above the least supported of our answerable questions, since the fit has seen them
OURS = 10.0  # weight of one of our questions against one of ChemLit-QA, when fitting the abstention


def main() -> int:
    options = parse()
    print(describe("onnxruntime", "chromadb"))
    examples = Examples() if options.fit else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if "own" in options.sets:
            own(folder, examples=examples, limit=options.limit)
        if "chemlit" in options.sets:
            chemlit(folder, examples=examples, limit=options.limit)
    if examples:
        fit_weights(examples)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["own", "chemlit"], help="own, chemlit (both)")
    parser.add_argument("--keep", type=Path, help="folder for the libraries")
    parser.add_argument("--limit", type=int, help="only so many questions of each set")
    parser.add_argument("--fit", action="store_true", help="fit the weights on the development half")
    return parser.parse_args()


def own(folder: Path, *, examples: Examples | None, limit: int | None) -> None:
    """Ask our questions over the papers."""
    questions = read_questions(QUESTIONS)[:limit]
    languages = {q["id"]: q["language"] for q in map(json.loads, QUESTIONS.read_text(encoding="utf-8").splitlines())}
    with Assistant(paper_library(folder), keep_journal=False) as assistant:
        if examples:
            gather(examples, questions, assistant, ours=True)
            return
        rows = ask(questions, assistant)
        report("our questions, development half", [r for r in rows if is_development(r.gold.id)], assistant)
        report("our questions, the other half", [r for r in rows if not is_development(r.gold.id)], assistant)
        report("our questions, all", rows, assistant)
        report("our questions, Japanese", [r for r in rows if languages[r.gold.id] == "ja"], assistant)


def chemlit(folder: Path, *, examples: Examples | None, limit: int | None) -> None:
    """Ask ChemLit-QA over its passages, each a document of one page."""
    questions, support = chemlit_questions()
    with Assistant(passage_library(folder), keep_journal=False) as assistant:
        if examples:
            gather(examples, questions[:limit], assistant, ours=False)
            return
        rows = ask(questions[:limit], assistant)
        other_half = [row for row in rows if not is_development(row.gold.id)]
        for title, chosen in (("ChemLit-QA, the other half", other_half), ("ChemLit-QA, all", rows)):
            report_chemlit(title, chosen, support, assistant)


def report_chemlit(title: str, rows: Sequence[Row], support: dict[str, list[str]], assistant: Assistant) -> None:
    print_evaluation(title, summarise(rows, assistant=assistant))
    supported = [row for row in rows if support[row.gold.id]]
    found = [holds_support(row, support[row.gold.id]) for row in supported]
    held = [row.scores["answer_found"] or 0.0 for row in supported]
    either = [max(pair) for pair in zip(held, found, strict=True)]
    recall = [retrieved(row, 5, assistant) for row in rows if row.gold.docs]
    print(f"  support sentence in the answer       {bootstrap_mean(found)}  n={len(found)}")
    print(f"  gold answer or support in the answer {bootstrap_mean(either)}  n={len(either)}")
    print(f"  recall@5 of the gold passage         {bootstrap_mean(recall)}  n={len(recall)}")


def is_development(identifier: str) -> bool:
    """Whether a question belongs to the half that weights are fitted on."""
    return int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % 2 == 0


def ask(questions: Sequence[GoldQuestion], assistant: Assistant) -> list[Row]:
    """Ask every question and say how long they took."""
    rows: list[Row] = []
    for row in answer_all(questions, assistant):
        rows.append(row)
        if len(rows) % 50 == 0:
            print(f"  … {len(rows)} of {len(questions)}", flush=True)
    seconds = sorted(row.answer.seconds for row in rows)
    print(
        f"  seconds per question: median {statistics.median(seconds):.2f}, p95 {seconds[int(0.95 * len(seconds))]:.2f}"
    )
    return rows


def report(title: str, rows: Sequence[Row], assistant: Assistant) -> None:
    if rows:
        print_evaluation(title, summarise(rows, assistant=assistant))


def print_evaluation(title: str, evaluation: Evaluation) -> None:
    print(f"\n{title} (n={evaluation.n})")
    for name, metric in evaluation.metrics.items():
        print(f"  {name:<22} {metric}")
    print(f"  {evaluation.signature}")


def holds_support(row: Row, support: Sequence[str]) -> float:
    """Whether one of the quotes is, holds or lies in a support sentence."""
    quotes = [squash(citation.quote) for citation in row.answer.citations]
    golds = [squash(sentence).rstrip(".") for sentence in support]
    return float(any(gold in quote or (len(quote) > 40 and quote in gold) for gold in golds for quote in quotes))


def retrieved(row: Row, k: int, assistant: Assistant) -> float:
    """Whether the gold passage is among the first `k` documents of the search that the answer rests on."""
    sources = list(dict.fromkeys(hit.chunk.source for hit in row.answer.evidence))[:k]
    names = {path.name for source in sources for path in assistant.library.paper(source).paths}
    return float(bool(names & set(row.gold.docs)))


# --- libraries ----------------------------------------------------------------------------------------------------


def paper_library(folder: Path) -> Path:
    """Return a library of the real papers, built now unless it is there."""
    return built(folder / "papers", lambda: PAPERS)


def passage_library(folder: Path) -> Path:
    """Return a library of the ChemLit-QA passages, each a text file of its own."""
    return built(folder / "chemlit", lambda: write_passages(folder / "chemlit-texts"))


def built(library: Path, documents: Callable[[], Path]) -> Path:
    for event in ingest([documents()], library=library):
        if isinstance(event, Failed):
            print(f"  failed: {event}")
        if isinstance(event, Finished):
            print(f"library {library.name}: {event.report}", flush=True)
    return library


def write_passages(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(CHEMLIT / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            passage = json.loads(line)
            path = folder / f"{passage['_id']}.txt"
            if not path.exists():
                path.write_text(passage["text"], encoding="utf-8")
    return folder


def chemlit_questions() -> tuple[list[GoldQuestion], dict[str, list[str]]]:
    """Return the questions with their answers, and the support sentences of each."""
    relevant: dict[str, list[str]] = {}
    for line in (CHEMLIT / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, passage, _ = line.split("\t")
        relevant.setdefault(query, []).append(f"{passage}.txt")
    rows = [json.loads(line) for line in (CHEMLIT / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    support = {row["_id"]: [sentence.strip() for sentence in row.get("support_sentences", [])] for row in rows}
    return [
        GoldQuestion(
            id=row["_id"],
            question=row["text"],
            answers=(row["answer"].removeprefix("Answer:").strip().rstrip("."),) if row["answer"] else (),
            docs=tuple(relevant.get(row["_id"], ())),
        )
        for row in rows
    ], support


# --- fitting ------------------------------------------------------------------------------------------------------


@dataclass
class Examples:
    """What the weights are fitted on, from the development halves only.

    `ranking` holds for each question the features of its sentences and which of them hold the answer. `support` are the
    features of questions with whether the library answers them: besides the questions themselves, each answerable one
    again with the papers left out that answer it, the nearest of misses.
    """

    ranking: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    support: list[tuple[float, ...]] = field(default_factory=list)
    answerable: list[bool] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, found: Findings, *, answerable: bool, weight: float) -> None:
        """Add one question to those that are answered or not."""
        self.support.append(found.support.features)
        self.answerable.append(answerable)
        self.weights.append(weight)


def gather(examples: Examples, questions: Sequence[GoldQuestion], assistant: Assistant, *, ours: bool) -> None:
    """Ask the questions of the development half, and ours once more without the papers that answer them."""
    papers = assistant.library.papers()
    names = {paper.id: {path.name for path in paper.paths} for paper in papers}
    for gold in (question for question in questions if is_development(question.id)):
        if not (ours or gold.answerable):
            continue  # what makes ChemLit-QA's unanswerable questions so does not show in any feature
        found = assistant.find(gold.question)
        examples.add(found, answerable=gold.answerable, weight=1.0 if gold.answerable and not ours else OURS)
        right = np.array([is_right(one.candidate, gold, names) for one in found.ranked], dtype=bool)
        if right.any():
            examples.ranking.append((np.array([one.features for one in found.ranked]), right))
        if ours and gold.answerable:
            others = frozenset(each for each, files in names.items() if not files & set(gold.docs))
            without = assistant.find(gold.question, where=Filter(sources=others))
            examples.add(without, answerable=False, weight=OURS)


def fit_weights(examples: Examples) -> None:
    """Fit and print the weights of the ranking, and of the decision to answer."""
    weights = minimised(lambda w: ranking_loss(w, examples.ranking), len(extractive.FEATURES))
    print("WEIGHTS", dict(zip(extractive.FEATURES, weights.round(2).tolist(), strict=True)), len(examples.ranking))
    features, target = np.array(examples.support), np.array(examples.answerable, dtype=float)
    each = np.array(examples.weights)
    fitted = minimised(lambda w: support_loss(w, features, target, each), len(extractive.SUPPORT_FEATURES) + 1)
    # A refusal costs more than a quote beside the point: of our questions that have an answer, all are to be answered.
    asked = features[(target == 1) & (each == OURS)] @ fitted[:-1]
    fitted[-1] = max(fitted[-1], MARGIN - float(asked.min()))
    names_and_bias = [*extractive.SUPPORT_FEATURES, "bias"]
    print("SUPPORT", dict(zip(names_and_bias, fitted.round(2).tolist(), strict=True)), len(target), int(target.sum()))


def is_right(candidate: extractive.Candidate, gold: GoldQuestion, names: dict[str, set[str]]) -> bool:
    in_doc = bool(names.get(candidate.hit.chunk.source, set()) & set(gold.docs))
    return in_doc and any(squash(answer) in squash(candidate.text) for answer in gold.answers)


def ranking_loss(weights: np.ndarray, examples: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Return minus the log probability that a softmax over the sentences picks a right one, and its gradient."""
    loss, gradient = 0.0, np.zeros_like(weights)
    for table, right in examples:
        scores = table @ weights
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        mass = chances[right].sum() + 1e-9
        loss -= float(np.log(mass))
        gradient += ((chances - np.where(right, chances / mass, 0.0))[:, None] * table).sum(axis=0)
    return loss / len(examples) + PENALTY * float(weights @ weights) / 2, gradient / len(examples) + PENALTY * weights


def support_loss(
    weights: np.ndarray, features: np.ndarray, target: np.ndarray, each: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the logistic loss, `each` example weighted, with its gradient; the last weight is the bias."""
    inputs = np.hstack([features, np.ones((len(features), 1))])
    chance = 1 / (1 + np.exp(-(inputs @ weights)))
    losses = -(target * np.log(chance + 1e-9) + (1 - target) * np.log(1 - chance + 1e-9))
    penalised = np.append(weights[:-1], 0.0)
    loss = float((each * losses).sum() / each.sum()) + SUPPORT_PENALTY * float(penalised @ penalised) / 2
    return loss, inputs.T @ (each * (chance - target)) / each.sum() + SUPPORT_PENALTY * penalised


def minimised(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int) -> np.ndarray:
    """Return where a smooth convex-like loss is least, by gradient descent with a step that adapts."""
    weights, step = np.zeros(size), 1.0
    value, gradient = loss(weights)
    for _ in range(3000):
        trial = weights - step * gradient
        trial_value, trial_gradient = loss(trial)
        if trial_value < value:
            weights, value, gradient, step = trial, trial_value, trial_gradient, step * 1.2
        else:
            step *= 0.5
    return weights


if __name__ == "__main__":
    raise SystemExit(main())

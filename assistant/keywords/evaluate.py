"""How good keywords are: those of a method against those that authors or experts gave, by exact match of stems."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assistant.keywords.keys import key
from assistant.keywords.texts import Text, from_plain
from assistant.metrics import SEED, Evaluation, bootstrap_mean, signature
from ingest.errors import BadInput

CUTS = (5, 10)
LAYOUT = (
    "Each line is an object with id, text (title, line break, abstract) and keyphrases (strings, or objects with text)"
)
Method = Callable[[Text, int], Sequence[str]]  # text, how many at most -> keywords, best first


Part = Literal["all", "development", "report"]


@dataclass(frozen=True, slots=True)
class Example:
    """One text with the keywords that are right for it."""

    id: str
    text: Text
    gold: frozenset[tuple[str, ...]]


def evaluate_keywords(
    file: Path,
    *,
    method: Method,
    name: str,
    fulltext: Path | None = None,
    part: Part = "all",
    limit: int | None = None,
    seed: int = SEED,
) -> Evaluation:
    """Return precision, recall and F1 at 5 and 10 of `method`, each the mean over the texts of `file`.

    Precision at k divides by k even where fewer were given, so that holding back is not rewarded. `fulltext` is a
    file whose lines have `_id` or `id` (or `doi`) and `body`: the main texts of the papers; the list of keywords that
    a paper prints is taken out of it. `part` keeps to one half of the ids: what comes without a model learnt from half
    "development" of the files it was made with.
    """
    chosen = [one for one in read_examples(file, fulltext=fulltext) if part in ("all", part_of(one.id))]
    examples = chosen[:limit]
    if not examples:
        raise BadInput(f"{str(file)!r} holds no text of the part {part!r}", hint="Leave out --part")
    scores: dict[str, list[float]] = {}
    for example in examples:
        for metric, value in score(method(example.text, max(CUTS)), example.gold).items():
            scores.setdefault(metric, []).append(value)
    bodies = sum(bool(example.text.body) for example in examples)
    return Evaluation(
        metrics={metric: bootstrap_mean(values, seed=seed) for metric, values in scores.items()},
        n=len(examples),
        signature=signature(
            data=file.name,
            part=part,
            n=len(examples),
            fulltexts=bodies,
            model=name,
            match="stems",
            mean="macro",
            seed=seed,
        ),
    )


def is_development(name: str) -> bool:
    """Tell whether a text's id belongs to the half that was developed on: by the parity of its SHA-256."""
    return hashlib.sha256(name.encode()).digest()[-1] % 2 == 0


def part_of(name: str) -> Part:
    """Return the half a text's id belongs to."""
    return "development" if is_development(name) else "report"


def score(given: Sequence[str], gold: frozenset[tuple[str, ...]]) -> dict[str, float]:
    """Return precision, recall and F1 at each cut for one text."""
    unique = list(dict.fromkeys(filter(None, map(key, given))))
    metrics: dict[str, float] = {}
    for cut in CUTS:
        hits = len(gold & set(unique[:cut]))
        precision, recall = hits / cut, hits / len(gold) if gold else 0.0
        metrics[f"f1@{cut}"] = 2 * precision * recall / (precision + recall) if hits else 0.0
        metrics[f"precision@{cut}"], metrics[f"recall@{cut}"] = precision, recall
    return metrics


def read_examples(file: Path, *, fulltext: Path | None = None) -> list[Example]:
    """Read the texts and their keywords; raises `BadInput` naming file and line for what cannot be used."""
    bodies = _bodies(fulltext) if fulltext else {}
    examples = []
    for number, row in _rows(file):
        try:
            name, text = str(row["id"]), str(row["text"])
            phrases = [one["text"] if isinstance(one, dict) else str(one) for one in row["keyphrases"]]
        except (KeyError, TypeError) as error:
            wrong = f"no {error.args[0]!r}" if isinstance(error, KeyError) else f"no such layout ({error})"
            raise BadInput(f"{file}, line {number}: {wrong}", hint=LAYOUT) from error
        title, _, abstract = text.strip().partition("\n")
        if not abstract.strip():  # a bare paragraph has no title
            title, abstract = "", title
        body = str(row.get("body") or bodies.get(name) or bodies.get(str(row.get("doi"))) or "")
        gold = frozenset(filter(None, map(key, phrases)))
        if gold:
            examples.append(Example(name, from_plain(title, abstract, body), gold))
    if not examples:
        raise BadInput(f"{str(file)!r} holds no text with keyphrases", hint=LAYOUT)
    return examples


def _bodies(file: Path) -> dict[str, str]:
    bodies: dict[str, str] = {}
    for _, row in _rows(file):
        for name in (row.get("_id"), row.get("id"), row.get("doi")):
            if name:
                bodies[str(name)] = str(row.get("body") or "")
    return bodies


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _parsed(file, number, line)
    except OSError as error:
        raise BadInput(f"cannot read {str(file)!r}: {error.strerror or error}", hint=LAYOUT) from error


def _parsed(file: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput(f"{file}, line {number} is no JSON: {error}", hint=LAYOUT) from error
    if not isinstance(row, dict):
        raise BadInput(f"{file}, line {number} is no JSON object", hint=LAYOUT)
    return row

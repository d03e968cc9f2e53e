"""How good predictions are: errors with intervals, coverage, and baselines on the same rows.

Reads records with a target, asks a model or takes the predictions of another program, and reports. A prediction that
is no number is counted as invalid and listed, never dropped in silence.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.baselines import FOLDS, make_table, predict_baselines
from finetune.dataset import read_card, read_split
from finetune.report import Report, Score
from finetune.runs import is_run, read_run
from finetune.tasks import find_target
from ingest.crystals import Crystal
from ingest.errors import BadInput
from ingest.structure_files import from_mapping

Floats = npt.NDArray[np.float64]
Draws = list[npt.NDArray[np.int64]]
SAMPLES = 1000  # bootstrap draws
LEVEL = 0.95
GAP_EDGES_EV = (0.0, 1.0, 2.0, 4.0)
SITE_EDGES = (10, 30, 80)
BASELINE_ROWS = 30_000  # training rows that the baselines of a run learn from, at most
ALIASES = {"energy_above_hull": "e_above_hull"}  # the same property in other sets


@dataclass(frozen=True, slots=True)
class Row:
    """One record that can be scored."""

    id: str
    formula: str
    crystal: Crystal
    target: float


def read_rows(path: Path, *, target: str = "band_gap", limit: int = 0) -> tuple[list[Row], list[str]]:
    """Return the records of a JSONL[.gz] file that can be scored, and one reason for each that cannot.

    Raises:
        BadInput: the file cannot be read, or none of its records can be scored.
    """
    rows: list[Row] = []
    skipped: list[str] = []
    for where, record in _records(path):
        if limit and len(rows) >= limit:
            break
        try:
            rows.append(make_row(record, target=target, where=where))
        except BadInput as error:
            skipped.append(str(error))
    if not rows:
        reason = f"; the first problem: {skipped[0]}" if skipped else ": it is empty"
        raise BadInput(f"{str(path)!r} holds no record with a structure and a {target}{reason}")
    return rows, skipped


def make_row(record: Mapping[str, Any], *, target: str = "band_gap", where: str = "the record") -> Row:
    """Return the record as a row.

    Raises:
        BadInput: the target is missing or no finite number, or there is no usable structure.
    """
    name = str(record.get("material_id") or record.get("id") or where)
    value = record.get(target, record.get(ALIASES.get(target, target)))
    if value is None:
        raise BadInput(f"{name}: no {target}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{name}: {target} is {value!r}, which is no finite number")
    crystal = from_mapping(record, name=name)
    return Row(name, str(record.get("formula") or record.get("formula_pretty") or ""), crystal, float(value))


def read_predictions(path: Path) -> dict[str, float]:
    """Return id → prediction of a CSV file with the columns `id` and `prediction`; NaN where the text is no number.

    Raises:
        BadInput: the file or a column is missing, or an id is there twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"id", "prediction"} <= set(reader.fieldnames or ()):
                raise BadInput(f"{str(path)!r} has the columns {reader.fieldnames}, but needs 'id' and 'prediction'")
            answers: dict[str, float] = {}
            for row in reader:
                if row["id"] in answers:
                    raise BadInput(f"{str(path)!r} answers {row['id']!r} twice", hint="Leave one line per id")
                answers[str(row["id"])] = _number(row["prediction"])
            return answers
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error, hint="Give a CSV with the columns id and prediction") from error


def evaluate(
    rows: Sequence[Row],
    predicted: Sequence[float],
    *,
    model: str,
    target: str = "band_gap",
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    training: Sequence[Row] = (),
    baselines: bool = True,
    skipped: Sequence[str] = (),
    seed: int = 0,
    workers: int = 0,
) -> Report:
    """Score predictions (NaN: invalid) against the rows' targets.

    `low` and `high` are the ends of 90 % intervals. The baselines learn from `training`; without it, from the other
    rows of the same set, in five folds that never share a composition.

    Raises:
        BadInput: there are no rows, not one valid prediction, or no such target.
    """
    if not rows:
        raise BadInput("nothing to evaluate: the split is empty")
    guess = np.asarray(predicted, dtype=np.float64)
    valid = np.isfinite(guess)
    if not valid.any():
        raise BadInput(f"not one of {len(rows)} predictions of {model!r} is a number")
    kept = [row for row, good in zip(rows, valid, strict=True) if good]
    truth, guess = _targets(kept), guess[valid]
    draws = bootstrap_draws(len(kept), seed)
    metrics = score(truth, guess, draws)
    if low is not None and high is not None:
        metrics |= _coverage(truth, np.asarray(low)[valid], np.asarray(high)[valid], draws)
    invalid = len(rows) - len(kept)
    metrics["invalid"] = Score(invalid, invalid, invalid)  # a count, without an interval
    errors, unit = np.abs(truth - guess), find_target(target).unit
    return Report(
        model=model,
        target=target,
        unit=unit,
        n=len(kept),
        invalid=invalid,
        metrics=metrics,
        baselines=_baselines(kept, training, draws, seed, workers) if baselines else {},
        by_value=_by_range(truth, errors, _edges(target, truth), unit=f" {unit}"),
        by_sites=_by_range(np.array([len(row.crystal.numbers) for row in kept]), errors, SITE_EDGES, unit=" sites"),
        signature=_signature(rows, model, seed, training),
        invalid_ids=tuple(row.id for row, good in zip(rows, valid, strict=True) if not good),
        skipped=tuple(skipped),
        truth=truth,
        predicted=guess,
    )


def evaluate_file(
    data: Path,
    *,
    model: str | Path = "shipped",
    predictions: Path | None = None,
    training: Path | None = None,
    target: str = "band_gap",
    baselines: bool = True,
    limit: int = 0,
    workers: int = 0,
) -> Report:
    """Score a model, or another program's `predictions` (CSV `id,prediction`), on the records of a JSONL[.gz] file.

    Records that the CSV does not answer count as invalid. The baselines learn from the records of `training`, or
    without it from the other rows of `data`, in folds that never share a composition.

    Raises:
        BadInput: a file cannot be used, or no prediction is a number.
        ModelError: there is no such model, or it predicts another target.
    """
    rows, skipped = read_rows(data, target=target, limit=limit)
    known = read_rows(training, target=target)[0] if training else []
    asked = _Asked.of_file(predictions, rows) if predictions else _Asked.of_model(model, target, rows, workers)
    return evaluate(
        rows,
        asked.values,
        model=asked.name,
        target=target,
        low=asked.low,
        high=asked.high,
        training=known,
        baselines=baselines,
        skipped=skipped,
        workers=workers,
    )


def evaluate_run(
    model: str | Path,
    *,
    dataset: Path | None = None,
    split: str = "test",
    target: str = "",
    predictions: Path | None = None,
    baselines: bool = True,
    limit: int = 0,
    workers: int = 0,
) -> Report:
    """Score a model on one split of a dataset folder: without `dataset`, of the one that its run was trained on.

    The baselines learn from a seeded sample of the split "train". `target` chooses where the dataset has several.

    Raises:
        BadInput: the dataset or the split cannot be used, or no prediction is a number.
        ModelError: there is no such model, or it predicts another target.
    """
    if dataset is None and not is_run(Path(model)):
        raise BadInput(f"{str(model)!r} is no training run, so its rows are not known", hint="Name some: --dataset DIR")
    folder = dataset or Path(str(read_run(Path(model)).dataset["path"]))
    card = read_card(folder)
    target = target or str(card["targets"][0])
    rows = [_split_row(row) for row in read_split(folder, split, target=target, limit=limit)]
    asked = _Asked.of_file(predictions, rows) if predictions else _Asked.of_model(model, target, rows, workers)
    known = read_split(folder, "train", target=target) if baselines else []
    sample = np.random.default_rng(0).permutation(len(known))[:BASELINE_ROWS]
    return evaluate(
        rows,
        asked.values,
        model=asked.name,
        target=target,
        low=asked.low,
        high=asked.high,
        training=[_split_row(known[index]) for index in sample],
        baselines=baselines,
        workers=workers,
    )


def _split_row(row: Mapping[str, Any]) -> Row:
    return Row(row["id"], row["formula"], from_mapping(row, name=row["id"]), row["value"])


@dataclass(frozen=True, slots=True)
class _Asked:
    """The answers to some rows; `low` and `high` are missing where the answers have no intervals."""

    name: str
    values: list[float]
    low: list[float] | None = None
    high: list[float] | None = None

    @classmethod
    def of_file(cls, path: Path, rows: Sequence[Row]) -> _Asked:
        answers = read_predictions(path)
        return cls(path.name, [answers.get(row.id, math.nan) for row in rows])

    @classmethod
    def of_model(cls, model: str | Path, target: str, rows: Sequence[Row], workers: int) -> _Asked:
        from finetune.predict import load

        predictor = load(model, target=target)
        found = predictor.predict([row.crystal for row in rows], workers=workers)
        return cls(
            predictor.name,
            [answer.value for answer in found],
            [answer.low for answer in found],
            [answer.high for answer in found],
        )


def score(truth: Floats, guess: Floats, draws: Draws) -> dict[str, Score]:
    """Return MAE, RMSE and R² with bootstrap intervals over the draws."""
    error = guess - truth

    def r2(pick: npt.NDArray[np.int64]) -> float:
        variance = float(np.var(truth[pick]))
        return 1 - float(np.mean(error[pick] ** 2)) / variance if variance > 0 else math.nan

    return {
        "mae": _bootstrap(draws, lambda pick: float(np.abs(error[pick]).mean())),
        "rmse": _bootstrap(draws, lambda pick: float(np.sqrt((error[pick] ** 2).mean()))),
        "r2": _bootstrap(draws, r2),
    }


def _coverage(truth: Floats, low: Floats, high: Floats, draws: Draws) -> dict[str, Score]:
    """Return the share of targets inside their 90 % intervals; nothing where a prediction has no interval."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return {}
    inside = (low <= truth) & (truth <= high)
    return {"coverage90": _bootstrap(draws, lambda pick: float(inside[pick].mean()))}


def _baselines(
    rows: Sequence[Row], training: Sequence[Row], draws: Draws, seed: int, workers: int
) -> dict[str, dict[str, Score]]:
    test = make_table([row.crystal for row in rows], _targets(rows), workers=workers)
    train = make_table([row.crystal for row in training], _targets(training), workers=workers) if training else None
    found = predict_baselines(test, train, seed=seed)
    return {name: score(test.targets, guess, draws) for name, guess in found.items()}


def _targets(rows: Sequence[Row]) -> Floats:
    return np.array([row.target for row in rows], dtype=np.float64)


def _edges(target: str, truth: Floats) -> tuple[float, ...]:
    if target == "band_gap":
        return GAP_EDGES_EV
    return tuple(np.unique(np.quantile(truth, [0.25, 0.5, 0.75]).round(2)).tolist())


def bootstrap_draws(count: int, seed: int) -> Draws:
    """Return the whole set first, then the bootstrap draws of it (Efron 1979)."""
    random = np.random.default_rng(seed)
    return [np.arange(count), *(random.integers(0, count, count) for _ in range(SAMPLES))]


def _bootstrap(draws: Draws, figure: Callable[[npt.NDArray[np.int64]], float]) -> Score:
    values = np.array([figure(draw) for draw in draws])
    if np.isnan(values).all():
        return Score(math.nan, math.nan, math.nan)
    low, high = np.nanquantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(float(values[0]), float(low), float(high))


def _by_range(values: Any, errors: Floats, edges: Sequence[float], *, unit: str) -> dict[str, tuple[int, float]]:
    place = np.searchsorted(np.asarray(edges), np.asarray(values), side="left")
    names = [f"≤ {edges[0]:g}{unit}", *(f"{a:g} to {b:g}{unit}" for a, b in itertools.pairwise(edges))]
    names.append(f"> {edges[-1]:g}{unit}")
    return {
        name: (int((place == index).sum()), float(errors[place == index].mean()))
        for index, name in enumerate(names)
        if (place == index).any()
    }


def _signature(rows: Sequence[Row], model: str, seed: int, training: Sequence[Row]) -> str:
    digest = hashlib.sha256("\n".join(f"{row.id} {row.target!r}" for row in rows).encode()).hexdigest()[:12]
    source = f"{len(training)} training rows" if training else f"{FOLDS} folds of the same rows"
    return f"n={len(rows)}|rows={digest}|model={model}|baselines={source}|seed={seed}"


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"line {number}", _record(line, f"{path.name}:{number}")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise _unreadable(path, error, hint="Give JSON lines of records with a structure and a band_gap") from error


def _unreadable(path: Path, error: Exception, *, hint: str) -> BadInput:
    reason = error.strerror or error if isinstance(error, OSError) else error
    return BadInput(f"{str(path)!r} cannot be read: {reason}", hint=hint)


def _record(line: str, where: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadInput(f"{where} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadInput(f"{where} is a {type(record).__name__}, not an object")
    return record


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

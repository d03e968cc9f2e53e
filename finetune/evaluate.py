"""How good predicted band gaps are: errors with intervals, coverage, baselines on the same rows, and a parity plot.

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
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.crystals import Crystal
from ingest.elements import LAST
from ingest.errors import BadInput, MissingExtra
from ingest.structure_files import from_mapping

Floats = npt.NDArray[np.float64]
SAMPLES = 1000  # bootstrap draws
LEVEL = 0.95
FOLDS = 5
NEIGHBOURS = 5  # of the composition baseline
CHUNK = 128  # structures that one process describes at a time
LARGE = 15_000  # rows from which the boosted baseline gets more and larger trees
FEW = 50  # rows under which a boosted baseline says nothing
GAP_EDGES_EV = (0.0, 1.0, 2.0, 4.0)
SITE_EDGES = (10, 30, 80)


@dataclass(frozen=True, slots=True)
class Row:
    """One record that can be scored."""

    id: str
    formula: str
    crystal: Crystal
    target: float


@dataclass(frozen=True, slots=True)
class Score:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Return the three numbers, null where undefined."""
        return {name: _json_number(getattr(self, name)) for name in self.__slots__}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found; energies in the target's unit (eV for band gaps)."""

    model: str
    n: int
    invalid: int
    metrics: Mapping[str, Score]
    baselines: Mapping[str, Mapping[str, Score]]
    by_gap: Mapping[str, tuple[int, float]]  # range -> rows, mean absolute error
    by_sites: Mapping[str, tuple[int, float]]
    signature: str
    invalid_ids: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # records without a usable structure or target, each with its reason
    truth: Floats = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)
    predicted: Floats = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `matlit eval bandgap --json`."""
        return {
            "model": self.model,
            "n": self.n,
            "invalid": self.invalid,
            "metrics": {name: score.to_json() for name, score in self.metrics.items()},
            "baselines": {
                name: {key: score.to_json() for key, score in scores.items()} for name, scores in self.baselines.items()
            },
            "mae_by_gap": {name: {"n": n, "mae": _json_number(mae)} for name, (n, mae) in self.by_gap.items()},
            "mae_by_sites": {name: {"n": n, "mae": _json_number(mae)} for name, (n, mae) in self.by_sites.items()},
            "invalid_ids": list(self.invalid_ids),
            "skipped": list(self.skipped),
            "signature": self.signature,
        }


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
    value = record.get(target)
    if value is None:
        raise BadInput(f"{name}: no {target}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{name}: {target} is {value!r}, which is no finite number")
    crystal = from_mapping(record, name=name)
    return Row(name, str(record.get("formula") or record.get("formula_pretty") or ""), crystal, float(value))


def read_predictions(path: Path) -> dict[str, float]:
    """Return id → prediction of a CSV file with the columns `id` and `prediction`; NaN where the text is no number.

    Raises:
        BadInput: the file or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"id", "prediction"} <= set(reader.fieldnames or ()):
                raise BadInput(f"{str(path)!r} has the columns {reader.fieldnames}, but needs 'id' and 'prediction'")
            return {str(row["id"]): _number(row["prediction"]) for row in reader}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{str(path)!r} cannot be read: {error}") from error


def evaluate(
    rows: Sequence[Row],
    predicted: Sequence[float],
    *,
    model: str,
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
    rows of the same set, in five folds that never share a formula.

    Raises:
        BadInput: there are no rows, or not one valid prediction.
    """
    if not rows:
        raise BadInput("nothing to evaluate: the split is empty")
    truth = np.array([row.target for row in rows])
    guess = np.asarray(predicted, dtype=np.float64)
    valid = np.isfinite(guess)
    if not valid.any():
        raise BadInput(f"not one of {len(rows)} predictions of {model!r} is a number")
    kept = [row for row, good in zip(rows, valid, strict=True) if good]
    draws = _draws(int(valid.sum()), seed)
    metrics = score(truth[valid], guess[valid], draws)
    if low is not None and high is not None:
        inside = (np.asarray(low)[valid] <= truth[valid]) & (truth[valid] <= np.asarray(high)[valid])
        metrics["coverage90"] = _bootstrap(draws, lambda pick: float(inside[pick].mean()))
    invalid = float((~valid).sum())
    metrics["invalid"] = Score(invalid, invalid, invalid)  # a count, without an interval
    others = _baselines(kept, training, draws, seed, workers) if baselines else {}
    sites = np.array([len(row.crystal.numbers) for row in kept])
    errors = np.abs(truth[valid] - guess[valid])
    return Report(
        model=model,
        n=len(kept),
        invalid=int((~valid).sum()),
        metrics=metrics,
        baselines=others,
        by_gap=_by_range(truth[valid], errors, GAP_EDGES_EV, unit=" eV"),
        by_sites=_by_range(sites, errors, SITE_EDGES, unit=" sites"),
        signature=_signature(rows, model, seed, training),
        invalid_ids=tuple(row.id for row, good in zip(rows, valid, strict=True) if not good),
        skipped=tuple(skipped),
        truth=truth[valid],
        predicted=guess[valid],
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
    without it from the other rows of `data`, in folds that never share a formula.

    Raises:
        BadInput: a file cannot be used, or no prediction is a number.
        ModelError: there is no such model.
    """
    rows, skipped = read_rows(data, target=target, limit=limit)
    known = read_rows(training, target=target)[0] if training else []
    if predictions is not None:
        answers = read_predictions(predictions)
        guess = [answers.get(row.id, math.nan) for row in rows]
        name = predictions.name
        return evaluate(rows, guess, model=name, training=known, baselines=baselines, skipped=skipped, workers=workers)
    from finetune.predict import load

    regressor = load(model)
    if regressor.target != target:
        raise BadInput(f"the model {regressor.name!r} predicts {regressor.target}, not {target}")
    found = regressor.predict([row.crystal for row in rows], workers=workers)
    return evaluate(
        rows,
        [answer.value for answer in found],
        model=regressor.name,
        low=[answer.low for answer in found],
        high=[answer.high for answer in found],
        training=known,
        baselines=baselines,
        skipped=skipped,
        workers=workers,
    )


def score(truth: Floats, guess: Floats, draws: Sequence[npt.NDArray[np.int64]]) -> dict[str, Score]:
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


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown page."""
    lines = [
        f"# Band gaps predicted by {report.model}",
        "",
        f"{report.n} rows scored, {report.invalid} invalid predictions, {len(report.skipped)} records not usable.",
        f"Intervals are 95 % bootstrap intervals. `{report.signature}`",
        "",
        "| model | MAE (eV) | RMSE (eV) | R² | coverage of 90 % intervals |",
        "|---|---|---|---|---|",
        _table_line(report.model, report.metrics),
        *(_table_line(f"baseline: {name}", scores) for name, scores in report.baselines.items()),
        "",
        "| gap | rows | MAE (eV) |",
        "|---|---|---|",
        *(f"| {name} | {n} | {mae:.3f} |" for name, (n, mae) in report.by_gap.items()),
        "",
        "| size | rows | MAE (eV) |",
        "|---|---|---|",
        *(f"| {name} | {n} | {mae:.3f} |" for name, (n, mae) in report.by_sites.items()),
    ]
    if report.invalid_ids:
        lines += ["", "Invalid: " + ", ".join(report.invalid_ids[:50]) + ("…" if len(report.invalid_ids) > 50 else "")]
    if report.skipped:
        lines += ["", "Not usable:", "", *(f"- {reason}" for reason in report.skipped[:50])]
    return "\n".join(lines) + "\n"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.md, report.json, parity.png and parity.svg; return their paths.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"report.md": to_markdown(report), "report.json": json.dumps(report.to_json(), indent=1) + "\n"}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    plots = [folder / "parity.png", folder / "parity.svg"]
    parity_plot(report, plots)
    return [*(folder / name for name in pages), *plots]


def parity_plot(report: Report, paths: Iterable[Path]) -> None:
    """Draw predicted against computed gaps; the file's suffix decides the format."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("The parity plot", extra="finetune") from error
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    top = max(1.0, float(report.truth.max()), float(report.predicted.max())) * 1.03
    axes.plot([0, top], [0, top], color="0.6", linewidth=1, zorder=3)
    if report.n > 2000:
        cells = axes.hexbin(
            report.truth, report.predicted, gridsize=70, bins="log", mincnt=1, cmap="viridis", extent=(0, top, 0, top)
        )
        figure.colorbar(cells, ax=axes, label="materials", shrink=0.7)
    else:
        axes.scatter(report.truth, report.predicted, s=8, alpha=0.4, linewidths=0)
    mae, r2 = report.metrics["mae"], report.metrics["r2"]
    axes.set(
        xlim=(-0.02 * top, top),
        ylim=(-0.02 * top, top),
        aspect="equal",
        xlabel="computed gap (PBE, eV)",
        ylabel="predicted gap (eV)",
        title=f"{report.model}: MAE {mae.value:.3f} eV, R² {r2.value:.3f}, n = {report.n}",
    )
    axes.title.set_fontsize(9)
    for path in paths:
        figure.savefig(path, dpi=150)


# --- baselines --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """What the baselines see of some rows: targets, element fractions, and element statistics with group and cell."""

    targets: Floats
    fractions: Floats
    features: Floats

    def take(self, chosen: npt.NDArray[np.int64]) -> Table:
        """Return the rows at `chosen`."""
        return Table(self.targets[chosen], self.fractions[chosen], self.features[chosen])


Learner = Callable[[Table, Table], Floats]


def predict_mean(train: Table, test: Table) -> Floats:
    """Return the mean target of the training rows for every test row."""
    return np.full(len(test.targets), float(train.targets.mean()))


def predict_neighbours(train: Table, test: Table) -> Floats:
    """Return the mean target of the five training rows with the nearest composition (city-block distance)."""
    count = min(NEIGHBOURS, len(train.targets))
    known = train.fractions.astype(np.float32)
    answers = []
    for asked in test.fractions.astype(np.float32):  # one at a time keeps the memory flat
        distance = np.abs(known - asked).sum(1)
        answers.append(float(train.targets[np.argpartition(distance, count - 1)[:count]].mean()))
    return np.array(answers)


def predict_boosted(train: Table, test: Table) -> Floats:
    """Return what histogram gradient boosting makes of element statistics, space group and cell.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("The gradient boosting baseline", extra="finetune") from error
    large = len(train.targets) > LARGE
    model = HistGradientBoostingRegressor(
        max_iter=600 if large else 150,
        learning_rate=0.08,
        max_leaf_nodes=127 if large else 31,
        random_state=0,
    )
    model.fit(train.features, train.targets)
    return np.maximum(np.asarray(model.predict(test.features), dtype=np.float64), 0.0)


BASELINES: dict[str, Learner] = {
    "mean": predict_mean,
    "composition_knn": predict_neighbours,
    "gradient_boosting": predict_boosted,
}


def make_table(rows: Sequence[Row], *, workers: int = 0) -> Table:
    """Return the rows as the baselines see them, computed in `workers` processes where there are many."""
    from finetune.features import global_features

    crystals = [row.crystal for row in rows]
    chunks = [crystals[begin : begin + CHUNK] for begin in range(0, len(crystals), CHUNK)]
    if len(chunks) > 2 and workers != 1:
        with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
            features = np.concatenate(list(pool.map(global_features, chunks)))
    else:
        features = np.concatenate([global_features(chunk) for chunk in chunks])
    targets = np.array([row.target for row in rows])
    return Table(targets, np.array([_fractions(crystal) for crystal in crystals]), features)


def _baselines(
    rows: Sequence[Row], training: Sequence[Row], draws: Sequence[npt.NDArray[np.int64]], seed: int, workers: int
) -> dict[str, dict[str, Score]]:
    test = make_table(rows, workers=workers)
    train = make_table(training, workers=workers) if training else None
    fold = np.array([_hash(f"{seed}|{_composition(row.crystal)}") % FOLDS for row in rows])
    found = {}
    for name, learner in BASELINES.items():
        if train is None and (len(rows) < (FEW if learner is predict_boosted else FOLDS) or len(set(fold)) < 2):
            continue
        guess = _in_folds(learner, test, fold) if train is None else learner(train, test)
        found[name] = score(test.targets, guess, draws)
    return found


def _in_folds(learner: Learner, table: Table, fold: npt.NDArray[np.int64]) -> Floats:
    guess = np.full(len(fold), math.nan)
    for held in np.unique(fold):
        test, train = np.flatnonzero(fold == held), np.flatnonzero(fold != held)
        guess[test] = learner(table.take(train), table.take(test))
    return guess


def _fractions(crystal: Crystal) -> Floats:
    counts = np.bincount(crystal.numbers, minlength=LAST + 1).astype(np.float64)
    shares: Floats = counts / counts.sum()
    return shares


def _composition(crystal: Crystal) -> list[tuple[int, int]]:
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    counts = counts // np.gcd.reduce(counts)
    return list(zip(numbers.tolist(), counts.tolist(), strict=True))


# --- helpers ----------------------------------------------------------------------------------------------------------


def _draws(count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Return the whole set first, then the bootstrap draws of it (Efron 1979)."""
    random = np.random.default_rng(seed)
    return [np.arange(count), *(random.integers(0, count, count) for _ in range(SAMPLES))]


def _bootstrap(draws: Sequence[npt.NDArray[np.int64]], figure: Callable[[npt.NDArray[np.int64]], float]) -> Score:
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


def _table_line(name: str, scores: Mapping[str, Score]) -> str:
    cells = [str(scores[key]) if key in scores else "" for key in ("mae", "rmse", "r2", "coverage90")]
    return f"| {name} | {' | '.join(cells)} |"


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"line {number}", _record(line, f"{path.name}:{number}")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise BadInput(f"{str(path)!r} cannot be read: {error}") from error


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


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None

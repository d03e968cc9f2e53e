"""The recipe of the shipped band gap predictor: features once, boosted trees, graph networks, all stacked.

Each step writes into one work folder and skips what lies there already, so that the whole can be stopped and resumed:

    python -m finetune.regress prepare DATA.jsonl.gz WORK    features and graphs of every structure (2 minutes)
    python -m finetune.regress trees WORK                    boosted trees, in pieces of 100 (35 minutes)
    python -m finetune.regress network WORK                  two graph networks, a checkpoint per epoch (40 minutes)
    python -m finetune.regress ship WORK FOLDER              stack, calibrate, test, and write the model

Times are for 2 idle cores and 105,000 structures. A step that was stopped continues when it is started again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.features import describe, feature_names, find_sites
from finetune.predict import Blend, StackSettings, combine, network_parts, save_stack, scale_inputs
from finetune.trees import Forest, from_lightgbm
from finetune.trees import predict as predict_forest
from ingest.crystals import from_record, quick_symmetry
from ingest.elements import SYMBOLS
from ingest.errors import BadInput

Floats = npt.NDArray[np.float32]
CHUNK = 256  # structures that one task describes
TEST = 0.05  # share of rows, and of formulas, that are only ever tested
VALIDATION = 0.03  # share of rows, and of formulas, for choosing, stacking and calibrating
TRAIN, TEST_ROWS, TEST_FORMULAS, VALIDATION_ROWS, VALIDATION_FORMULAS, TEST_BOTH = range(6)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Arrays of a work folder; see `finetune.network.Arrays` for the sites."""

    features: Floats
    starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.uint8]
    weights: Floats
    neighbours: npt.NDArray[np.int16]
    distances: Floats
    local: Floats


ARRAYS = ("features", "counts", "numbers", "weights", "neighbours", "distances", "local")


def split(ids: Sequence[str], formulas: Sequence[str], *, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return each row's part, from hashes of its id and its formula, so that it never depends on order or company.

    One model can so be tested both ways: 5 % of all rows (TEST_ROWS) and every row of 5 % of the formulas
    (TEST_FORMULAS) are kept from training; the few in both are TEST_BOTH. Validation is cut alike.
    """
    parts = []
    for name, formula in zip(ids, formulas, strict=True):
        row, group = _share(f"{seed}|row|{name}"), _share(f"{seed}|formula|{formula}")
        if row < TEST or group < TEST:
            parts.append(TEST_BOTH if row < TEST and group < TEST else TEST_ROWS if row < TEST else TEST_FORMULAS)
        elif group < TEST + VALIDATION:
            parts.append(VALIDATION_FORMULAS)
        else:
            parts.append(VALIDATION_ROWS if row < TEST + VALIDATION else TRAIN)
    return np.array(parts)


def _share(text: str) -> float:
    return float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64)


def describe_records(records: Sequence[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of `ARRAYS` for some band gap records."""
    crystals = [from_record(record) for record in records]
    found = [quick_symmetry(crystal) for crystal in crystals]
    sites = [find_sites(crystal, mine) for crystal, mine in zip(crystals, found, strict=True)]
    features, local = describe(crystals, found, sites)
    return {
        "features": features.astype(np.float32),
        "counts": np.array([len(mine.numbers) for mine in sites], dtype=np.int32),
        "numbers": np.concatenate([mine.numbers for mine in sites]).astype(np.uint8),
        "weights": np.concatenate([mine.weights for mine in sites]).astype(np.float32),
        "neighbours": np.concatenate([mine.neighbours for mine in sites]).astype(np.int16),
        "distances": np.concatenate([mine.distances for mine in sites]).astype(np.float32),
        "local": local.astype(np.float32),
    }


def prepare(data: Path, work: Path, *, workers: int = 0) -> Iterator[str]:
    """Describe every record of a JSONL[.gz] file into arrays in `work`, yielding progress.

    Raises:
        BadInput: `work` was prepared from another file.
    """
    digest = _digest(data)
    stamp = work / "prepared.json"
    if stamp.is_file():
        if json.loads(stamp.read_text())["data"] != digest:
            raise BadInput(f"{str(work)!r} was prepared from another file", hint="Choose an empty folder")
        yield f"{work} is prepared already"
        return
    work.mkdir(parents=True, exist_ok=True)
    with gzip.open(data, "rt", encoding="utf-8") if data.suffix == ".gz" else data.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    chunks = [records[begin : begin + CHUNK] for begin in range(0, len(records), CHUNK)]
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ARRAYS}
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        for number, described in enumerate(pool.map(describe_records, chunks), 1):
            for name, values in described.items():
                parts[name].append(values)
            if number % 20 == 0 or number == len(chunks):
                yield f"{min(number * CHUNK, len(records))} of {len(records)} structures"
    for name, pieces in parts.items():
        np.save(work / f"{name}.npy", np.concatenate(pieces))
    kept = ("material_id", "formula", "band_gap", "nsites", "formation_energy_per_atom")
    rows = [{key: record.get(key) for key in kept} for record in records]
    (work / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    stamp.write_text(json.dumps({"data": digest, "rows": len(rows), "features": feature_names()}), encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Work:
    """A prepared work folder: arrays, targets (eV) and each row's part of the split."""

    folder: Path
    prepared: Prepared
    gaps: Floats
    formation: Floats
    part: npt.NDArray[np.int64]
    rows: list[dict[str, Any]]

    def rows_of(self, *parts: int) -> npt.NDArray[np.int64]:
        """Return the indices of the rows in any of these parts."""
        return np.flatnonzero(np.isin(self.part, parts))


def open_work(folder: Path) -> Work:
    """Return what `prepare` left in a folder.

    Raises:
        BadInput: nothing is prepared there.
    """
    if not (folder / "prepared.json").is_file():
        raise BadInput(f"{str(folder)!r} is not prepared", hint="python -m finetune.regress prepare DATA.jsonl.gz WORK")
    values = {name: np.load(folder / f"{name}.npy") for name in ARRAYS}
    counts = values.pop("counts")
    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    part = split([row["material_id"] for row in rows], [row["formula"] for row in rows])
    gaps = np.array([row["band_gap"] for row in rows], dtype=np.float32)
    energy = [row["formation_energy_per_atom"] for row in rows]
    formation = np.array([np.nan if value is None else value for value in energy], dtype=np.float32)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Work(folder, Prepared(starts=starts, **values), gaps, formation, part, rows)


# --- trees ------------------------------------------------------------------------------------------------------------

# LightGBM's names. Absolute error gives the median, which the mean absolute error rewards; squared error gives the
# mean, which R² rewards and which learns in a third of the trees; "gapped" is the log-odds of a gap above zero.
TREES: dict[str, dict[str, Any]] = {
    "median": {"objective": "l1", "rounds": 1200, "num_leaves": 127, "learning_rate": 0.06},
    "mean": {"objective": "l2", "rounds": 3000, "num_leaves": 95, "learning_rate": 0.05},
    "gapped": {"objective": "binary", "rounds": 1000, "num_leaves": 63, "learning_rate": 0.06},
    "wide": {"objective": "l2", "rounds": 1500, "num_leaves": 255, "learning_rate": 0.05, "feature_fraction": 0.15},
}
PIECE = 100  # trees between two snapshots
COMMON_TREES = {
    "feature_fraction": 0.25,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "min_data_in_leaf": 8,
    "lambda_l2": 1.0,
    "max_depth": 18,  # bounds the steps of a prediction
    "verbose": -1,
    "seed": 0,
}


def fit_trees(work: Work, name: str, *, threads: int = 2, rounds: int = 0) -> Iterator[str]:
    """Train one of `TREES` on the training rows in pieces, yielding progress; continues where it was stopped.

    The file trees-NAME.part is the forest so far, trees-NAME.txt the finished one.
    """
    import lightgbm

    path = work.folder / f"trees-{name}.txt"
    unfinished = path.with_suffix(".part")
    if path.is_file():
        yield f"{path} is trained already"
        return
    chosen = dict(TREES[name])
    planned = chosen.pop("rounds")
    total = rounds or planned
    train, check = work.rows_of(TRAIN), work.rows_of(VALIDATION_ROWS, VALIDATION_FORMULAS)
    goal = (work.gaps > 0).astype(np.float32) if chosen["objective"] == "binary" else work.gaps
    data = lightgbm.Dataset(work.prepared.features[train], goal[train], free_raw_data=False)
    booster = lightgbm.Booster(model_file=str(unfinished)) if unfinished.is_file() else None
    done = booster.num_trees() if booster else 0
    while done < total:
        settings = {**COMMON_TREES, **chosen, "num_threads": threads, "seed": done}
        count = min(PIECE, total - done)
        booster = lightgbm.train(settings, data, count, init_model=booster, keep_training_booster=True)
        done = booster.num_trees()
        booster.save_model(path.with_suffix(".new"))
        path.with_suffix(".new").replace(unfinished)
        guess = np.maximum(booster.predict(work.prepared.features[check]), 0)
        yield f"{name}: {done} trees, mean absolute error on validation rows {np.abs(guess - goal[check]).mean():.4f}"
    unfinished.replace(path)


# --- network ----------------------------------------------------------------------------------------------------------


# What differs from `NetworkSettings`; two networks that differ in depth and seed are better averaged than one.
NETWORKS: dict[str, dict[str, Any]] = {
    "network3": {"layers": 3, "epochs": 8, "seed": 0},
    "network4": {"layers": 4, "epochs": 10, "seed": 1},
}


def fit_network(work: Work, name: str, *, changes: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Train one of `NETWORKS` on the training rows, yielding a line per epoch; continues where it was stopped.

    `changes` are fields of `NetworkSettings`. The error shown is that of the validation rows.
    """
    from finetune.network import NetworkSettings, train

    chosen = {**NETWORKS.get(name, {}), **(changes or {})}
    settings = NetworkSettings(features=work.prepared.features.shape[1], **chosen)
    for metrics in train(
        network_arrays(work),
        work.gaps,
        work.formation,
        work.rows_of(TRAIN),
        work.rows_of(VALIDATION_ROWS, VALIDATION_FORMULAS),
        folder=work.folder / name,
        settings=settings,
    ):
        yield f"{name}: " + " ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def network_arrays(work: Work) -> Any:
    """Return the work folder's arrays as the network takes them."""
    from finetune.network import Arrays

    prepared = work.prepared
    return Arrays(**{name: getattr(prepared, name) for name in Prepared.__slots__})


# --- stacking, calibration, shipping ----------------------------------------------------------------------------------


def ship(work: Work, folder: Path, *, name: str = "matlit-bandgap-1", threads: int = 2) -> str:
    """Stack what is trained, calibrate on the validation rows, test once, write the model, and return its card."""
    forests = {kind: _forest(work, kind) for kind in TREES if (work.folder / f"trees-{kind}.txt").is_file()}
    if not forests:
        raise BadInput(f"no trees in {str(work.folder)!r}", hint="python -m finetune.regress trees WORK")
    networks = _trained_networks(work.folder)
    held = np.flatnonzero(work.part != TRAIN)
    parts = _outputs(work, forests, networks, held)
    check = np.isin(work.part[held], (VALIDATION_ROWS, VALIDATION_FORMULAS))
    truth, features = work.gaps[held], work.prepared.features[held]
    everything = parts
    blend, parts = _worth_shipping(parts, check, truth)
    forests = {kind: forest for kind, forest in forests.items() if kind in parts}
    networks = {kind: network for kind, network in networks.items() if f"{kind}_median" in parts}
    value = blend.value(parts)
    inputs = scale_inputs(parts, value, features)
    forests["scale"], factor, floor = calibrate(inputs[check], np.abs(truth - value)[check], threads=threads)
    settings = StackSettings(
        name=name,
        target="band_gap",
        unit="eV",
        blend=blend,
        factor=factor,
        floor=floor,
        features=features.shape[1],
        elements=_element_counts(work),
    )
    answers = combine(settings, parts, forests["scale"], features)
    results = {
        "random rows": _test(work, held, answers, everything, (TEST_ROWS, TEST_BOTH)),
        "unseen formulas": _test(work, held, answers, everything, (TEST_FORMULAS, TEST_BOTH)),
    }
    stamp = json.loads((work.folder / "prepared.json").read_text(encoding="utf-8"))
    training = {
        "data_sha256": stamp["data"],
        "rows": len(work.rows),
        "training_rows": int((work.part == TRAIN).sum()),
        "validation_rows": int(check.sum()),
        "split": "finetune.regress.split, seed 0",
        "trees": {kind: {**COMMON_TREES, **TREES[kind]} for kind in parts if kind in TREES},
    }
    save_stack(folder, settings, forests, networks, extra={"training": training})
    (folder / "metrics.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    card = _card(settings, training, results)
    (folder / "card.md").write_text(card, encoding="utf-8")
    return card


def _forest(work: Work, kind: str) -> Forest:
    import lightgbm

    return from_lightgbm(lightgbm.Booster(model_file=str(work.folder / f"trees-{kind}.txt")).dump_model())


def _trained_networks(folder: Path) -> dict[str, Any]:
    names = [name for name in NETWORKS if (folder / name / "checkpoint.pt").is_file()]
    if not names:
        return {}
    from finetune.network import load_checkpoint

    return {name: load_checkpoint(folder / name) for name in names}


def _outputs(
    work: Work, forests: Mapping[str, Forest], networks: Mapping[str, Any], held: npt.NDArray[np.int64]
) -> dict[str, Floats]:
    parts = {kind: predict_forest(forest, work.prepared.features[held]) for kind, forest in forests.items()}
    if networks:
        from finetune.network import arrays_subset

        arrays = arrays_subset(network_arrays(work), held)
        for name, network in networks.items():
            parts |= network_parts(name, network, arrays)
    return parts


def _worth_shipping(
    parts: dict[str, Floats], check: npt.NDArray[np.bool_], truth: Floats
) -> tuple[Blend, dict[str, Floats]]:
    """Return the blend and its parts, without those whose share is too small to be worth their size and time."""
    first = fit_blend({name: values[check] for name, values in parts.items()}, truth[check])
    shares = first.weights | first.odds

    def worth(name: str) -> bool:
        run = name.partition("_")[0] if name in _OF_NETWORKS else name  # the heads of a network come together
        mine = [share for part, share in shares.items() if part == run or part.startswith(f"{run}_")]
        return max(mine, default=0.0) >= LEAST_SHARE

    kept = {name: values for name, values in parts.items() if worth(name)}
    return fit_blend({name: values[check] for name, values in kept.items()}, truth[check]), kept


LEVEL = 0.905  # for intervals of 90 %: the blend was fitted to the same rows, whose errors are so a little too small
LEAST_SHARE = 0.03
_OF_NETWORKS = [f"{run}_{head}" for run in NETWORKS for head in ("median", "mean", "gapped", "formation_energy")]
VALUES = ("median", "mean", "wide", *(name for name in _OF_NETWORKS if name.endswith(("_median", "_mean"))))
ODDS = ("gapped", *(name for name in _OF_NETWORKS if name.endswith("_gapped")))


def fit_blend(parts: dict[str, Floats], truth: Floats, *, seed: int = 0, steps: int = 4000) -> Blend:
    """Return the shares of the parts and the thresholds of a metal, by random search on validation rows.

    The goal is the sum of the relative absolute and half the relative squared error, since both are asked for.
    """
    values, odds = ([name for name in names if name in parts] for names in (VALUES, ODDS))
    random = np.random.default_rng(seed)
    spread, variance = float(np.mean(np.abs(truth - truth.mean()))), float(truth.var())

    def goal(blend: Blend) -> float:
        error = blend.value(parts) - truth
        return float(np.abs(error).mean() / spread + 0.5 * (error**2).mean() / variance)

    best = Blend(dict.fromkeys(values, 1 / len(values)), 0.05, dict.fromkeys(odds, 1 / max(1, len(odds))), -1.0)
    lowest = goal(best)
    for step in range(steps):
        width = 0.4 if step < steps // 3 else 0.04
        trial = Blend(
            _moved(best.weights, width, random, total=1 + 0.01 * random.normal()),
            float(np.clip(best.zero_below + 0.2 * width * random.normal(), 0.0, 0.3)),
            _moved(best.odds, width, random, total=1.0),
            float(np.clip(best.odds_below + 2 * width * random.normal(), -4.0, 1.0)),
        )
        reached = goal(trial)
        if reached < lowest:
            best, lowest = trial, reached
    return Blend(_rounded(best.weights), round(best.zero_below, 3), _rounded(best.odds), round(best.odds_below, 3))


def _moved(shares: dict[str, float], width: float, random: np.random.Generator, *, total: float) -> dict[str, float]:
    if not shares:
        return {}
    step = width * random.normal(size=len(shares)) * (random.random(len(shares)) < 0.7)
    moved = np.maximum(np.array(list(shares.values())) + step, 0.0)
    if moved.sum() <= 0:
        return shares
    return dict(zip(shares, (moved / moved.sum() * total).tolist(), strict=True))


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items() if share >= 5e-5}


def calibrate(
    inputs: Floats, errors: Floats, *, level: float = LEVEL, folds: int = 5, threads: int = 2
) -> tuple[Forest, float, float]:
    """Return (forest that expects an error, conformal factor, least expected error) from validation rows.

    The factor is the quantile of error / expected error, where each row's expectation comes from the other folds.
    """
    import lightgbm

    settings = {
        "objective": "l2",
        "num_leaves": 15,
        "learning_rate": 0.03,
        "feature_fraction": 0.3,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "min_data_in_leaf": 20,
        "verbose": -1,
        "num_threads": threads,
        "seed": 0,
    }
    fold = np.random.default_rng(0).integers(0, folds, len(errors))
    expected = np.zeros_like(errors)
    for held in range(folds):
        train = fold != held
        expected[~train] = lightgbm.train(settings, lightgbm.Dataset(inputs[train], errors[train]), 250).predict(
            inputs[~train]
        )
    floor = 0.02
    ratio = errors / np.maximum(expected, floor)
    factor = float(np.quantile(ratio, min(1.0, level * (1 + 1 / len(ratio))), method="higher"))
    booster = lightgbm.train(settings, lightgbm.Dataset(inputs, errors), 250)
    return from_lightgbm(booster.dump_model()), round(factor, 4), floor


def _element_counts(work: Work) -> dict[str, int]:
    prepared = work.prepared
    owner = np.repeat(np.arange(len(work.part)), np.diff(prepared.starts))
    train = work.part[owner] == TRAIN
    pairs = np.unique(np.stack([owner[train], prepared.numbers[train].astype(np.int64)]), axis=1)
    numbers, counts = np.unique(pairs[1], return_counts=True)
    return {SYMBOLS[number]: int(count) for number, count in zip(numbers, counts, strict=True)}


def _test(
    work: Work, held: npt.NDArray[np.int64], answers: Floats, parts: Mapping[str, Floats], chosen: tuple[int, ...]
) -> dict[str, Any]:
    rows = np.isin(work.part[held], chosen)
    truth = work.gaps[held][rows].astype(np.float64)
    low, high = answers[rows, 1], answers[rows, 2]
    figures: dict[str, Any] = {"n": int(rows.sum()), "stacked": _figures(truth, answers[rows, 0])}
    for name in sorted(parts):
        if name in VALUES:
            figures[name] = _figures(truth, np.maximum(parts[name][rows], 0))
    covered = (low <= truth + 1e-6) & (truth <= high + 1e-6)
    gapped = truth > 0
    figures["coverage90"] = {
        "all": float(covered.mean()),
        "metals": float(covered[~gapped].mean()),
        "gapped": float(covered[gapped].mean()),
        "mean_width_ev": float((high - low).mean()),
    }
    return figures


def _figures(truth: npt.NDArray[np.float64], guess: Floats) -> dict[str, float]:
    error = guess.astype(np.float64) - truth
    return {
        "mae": round(float(np.abs(error).mean()), 4),
        "rmse": round(float(np.sqrt((error**2).mean())), 4),
        "r2": round(float(1 - (error**2).mean() / truth.var()), 4),
    }


def _card(settings: StackSettings, training: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    lines = [
        f"# {settings.name}: PBE band gaps of inorganic crystals",
        "",
        "It predicts the band gap that the Materials Project computes with PBE or PBE+U, which is known to be too",
        "small by a third or more against experiment. Ordered structures of elements up to lawrencium; trained on",
        "cells of up to 432 atoms.",
        "",
        f"Parts and their weights: {_weights(settings)}.",
        "`median`, `mean` and `wide` are boosted trees (absolute error; squared error with 95 and with 255 leaves),",
        "`network3` and `network4` are graph networks of three and four layers (`_median`: absolute error, `_mean`:",
        "Huber error); materials that a classifier takes for metals get 0.",
        "",
        f"Trained on {training['training_rows']} of {training['rows']} Materials Project entries (CC-BY 4.0; Jain",
        "et al., APL Materials 1, 011002, 2013). 5 % of all rows and all entries of 5 % of the formulas were kept from",
        f"training; {training['validation_rows']} further rows chose the weights and calibrated the intervals.",
        "",
        "| tested on | n | part | MAE (eV) | RMSE (eV) | R² | coverage of 90 % intervals |",
        "|---|---|---|---|---|---|---|",
    ]
    for split_name, figures in results.items():
        for part, row in figures.items():
            if part in ("n", "coverage90"):
                continue
            cover = f"{figures['coverage90']['all']:.3f}" if part == "stacked" else ""
            errors = f"{row['mae']:.3f} | {row['rmse']:.3f} | {row['r2']:.3f}"
            lines.append(f"| {split_name} | {figures['n']} | {part} | {errors} | {cover} |")
    return "\n".join([*lines, "", *_HOW_TO_TRAIN]) + "\n"


def _weights(settings: StackSettings) -> str:
    return ", ".join(f"{part} {weight:.2f}" for part, weight in settings.blend.weights.items())


_HOW_TO_TRAIN = (
    "Labels are noisy: many gaps date from 2019, and the Materials Project's revision of 2021 moved those of gapped",
    "entries by 0.11 eV on average.",
    "",
    "To train it again, with `pip install 'matlit[finetune]'`:",
    "",
    "    python -m finetune.regress prepare mp_bandgap.jsonl.gz WORK",
    "    python -m finetune.regress trees WORK",
    "    python -m finetune.regress network WORK",
    "    python -m finetune.regress ship WORK finetune/shipped",
)


# --- command ----------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step of the recipe."""
    parser = ArgumentParser(
        prog="python -m finetune.regress", description=__doc__, formatter_class=RawTextHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    command = steps.add_parser("prepare")
    command.add_argument("data", type=Path)
    command.add_argument("work", type=Path)
    command = steps.add_parser("trees")
    command.add_argument("work", type=Path)
    command.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    command.add_argument("--rounds", type=int, default=0)
    command.add_argument("--only", choices=list(TREES), action="append")
    command = steps.add_parser("network")
    command.add_argument("work", type=Path)
    command.add_argument("--only", choices=list(NETWORKS), action="append")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for example epochs=12")
    command.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    command = steps.add_parser("ship")
    command.add_argument("work", type=Path)
    command.add_argument("folder", type=Path)
    for line in _run(parser.parse_args(arguments)):
        print(line, flush=True)  # noqa: T201 - this is a command
    return 0


def _run(given: Namespace) -> Iterator[str]:
    if given.step == "prepare":
        yield from prepare(given.data, given.work)
        return
    work = open_work(given.work)
    if given.step == "trees":
        for name in given.only or TREES:
            yield from fit_trees(work, name, threads=given.threads, rounds=given.rounds)
    elif given.step == "network":
        import torch

        torch.set_num_threads(given.threads)
        changes = {key: json.loads(value) for key, _, value in (item.partition("=") for item in given.set)}
        for name in given.only or NETWORKS:
            yield from fit_network(work, name, changes=changes)
    else:
        yield ship(work, given.folder)


if __name__ == "__main__":
    raise SystemExit(main())

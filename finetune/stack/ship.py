"""Stacks the trained parts, calibrates the intervals, tests once, and writes the model with its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.stack.fit import COMMON_TREES, NETWORKS, TREES, network_arrays
from finetune.stack.model import Blend, StackSettings, combine, network_parts, save_stack, scale_inputs
from finetune.stack.prepare import (
    TEST_BOTH,
    TEST_FORMULAS,
    TEST_ROWS,
    TRAIN,
    VALIDATION_FORMULAS,
    VALIDATION_ROWS,
    Work,
)
from finetune.stack.trees import Forest, from_lightgbm
from finetune.stack.trees import predict as predict_forest
from ingest.elements import SYMBOLS
from ingest.errors import BadInput

Floats = npt.NDArray[np.float32]


def ship(work: Work, folder: Path, *, name: str = "matlit-bandgap-1", threads: int = 2) -> str:
    """Stack what is trained, calibrate on the validation rows, test once, write the model, and return its card."""
    forests = {kind: _forest(work, kind) for kind in TREES if (work.folder / f"trees-{kind}.txt").is_file()}
    if not forests:
        raise BadInput(f"no trees in {str(work.folder)!r}", hint="python -m finetune.stack trees WORK")
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
        "split": "finetune.stack.prepare.split, seed 0",
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
    from finetune.stack.network import load_checkpoint

    return {name: load_checkpoint(folder / name) for name in names}


def _outputs(
    work: Work, forests: Mapping[str, Forest], networks: Mapping[str, Any], held: npt.NDArray[np.int64]
) -> dict[str, Floats]:
    parts = {kind: predict_forest(forest, work.prepared.features[held]) for kind, forest in forests.items()}
    if networks:
        from finetune.stack.network import arrays_subset

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
    "    python -m finetune.stack prepare mp_bandgap.jsonl.gz WORK",
    "    python -m finetune.stack trees WORK",
    "    python -m finetune.stack network WORK",
    "    python -m finetune.stack ship WORK finetune/shipped",
)

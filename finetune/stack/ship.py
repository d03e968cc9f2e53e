"""Stacks the trained parts, calibrates the intervals, tests once, and writes the model with its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.intervals import conformal_factor
from finetune.stack.card import make_card, test_figures
from finetune.stack.fit import COMMON_TREES, NETWORKS, TREES, network_arrays
from finetune.stack.model import Blend, StackSettings, combine, network_parts, save_stack, scale_inputs
from finetune.stack.prepare import (
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
    """Stack what is trained, calibrate on the validation rows, test once, write the model, and return its card.

    Raises:
        BadInput: no trees are trained.
    """
    forests = {kind: _forest(work, kind) for kind in TREES if (work.folder / f"trees-{kind}.txt").is_file()}
    if not forests:
        raise BadInput(f"no trees in {str(work.folder)!r}", hint="python -m finetune.stack trees WORK")
    networks = _trained_networks(work.folder)
    held = np.flatnonzero(work.part != TRAIN)
    everything = _outputs(work, forests, networks, held)
    check = np.isin(work.part[held], (VALIDATION_ROWS, VALIDATION_FORMULAS))
    truth, features = work.gaps[held], work.prepared.features[held]

    blend, parts = _worth_shipping(everything, check, truth)
    forests = {kind: forest for kind, forest in forests.items() if kind in parts}
    networks = {kind: network for kind, network in networks.items() if f"{kind}_median" in parts}
    value = blend.value(parts)
    inputs = scale_inputs(parts, value, features)
    forests["scale"], factor = calibrate(inputs[check], np.abs(truth - value)[check], threads=threads)
    settings = StackSettings(
        name=name,
        target="band_gap",
        unit="eV",
        blend=blend,
        factor=factor,
        floor=FLOOR_EV,
        features=features.shape[1],
        elements=_element_counts(work),
    )

    answers = combine(settings, parts, forests["scale"], features)
    results = test_figures(work, held, answers, {part: everything[part] for part in everything if part in VALUES})
    save_stack(folder, settings, forests, networks, extra={"training": _training(work, parts, int(check.sum()))})
    (folder / "metrics.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return write_card(folder)


def write_card(folder: Path) -> str:
    """Write card.md anew from settings.json and metrics.json of a model's folder, and return it."""
    settings, results = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("settings.json", "metrics.json")
    )
    card = make_card(settings, results)
    (folder / "card.md").write_text(card, encoding="utf-8")
    return card


def _training(work: Work, parts: Mapping[str, Floats], validation_rows: int) -> dict[str, Any]:
    stamp = json.loads((work.folder / "prepared.json").read_text(encoding="utf-8"))
    return {
        "data_sha256": stamp["data"],
        "rows": len(work.rows),
        "training_rows": int((work.part == TRAIN).sum()),
        "validation_rows": validation_rows,
        "split": "finetune.stack.prepare.split, seed 0",
        "trees": {kind: {**COMMON_TREES, **TREES[kind]} for kind in parts if kind in TREES},
    }


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
FLOOR_EV = 0.02  # least expected error
_OF_NETWORKS = [f"{run}_{head}" for run in NETWORKS for head in ("median", "mean", "gapped", "formation_energy")]
VALUES = ("median", "mean", "wide", *(name for name in _OF_NETWORKS if name.endswith(("_median", "_mean"))))
ODDS = ("gapped", *(name for name in _OF_NETWORKS if name.endswith("_gapped")))


def fit_blend(
    parts: dict[str, Floats], truth: Floats, *, also: Sequence[str] = (), seed: int = 0, steps: int = 4000
) -> Blend:
    """Return the shares of the parts and the thresholds of a metal, by random search on validation rows.

    `also` names parts that are values beside `VALUES`.
    The goal is the sum of the relative absolute and half the relative squared error, since both are asked for.
    """
    values, odds = ([name for name in names if name in parts] for names in ((*VALUES, *also), ODDS))
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
) -> tuple[Forest, float]:
    """Return (forest that expects an error, conformal factor) from validation rows.

    Each row's expectation, by which the factor is found, comes from the other folds.
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
    factor = conformal_factor(errors, np.maximum(expected, FLOOR_EV), level=level)
    booster = lightgbm.train(settings, lightgbm.Dataset(inputs, errors), 250)
    return from_lightgbm(booster.dump_model()), round(factor, 4)


def _element_counts(work: Work) -> dict[str, int]:
    prepared = work.prepared
    owner = np.repeat(np.arange(len(work.part)), np.diff(prepared.starts))
    train = work.part[owner] == TRAIN
    pairs = np.unique(np.stack([owner[train], prepared.numbers[train].astype(np.int64)]), axis=1)
    numbers, counts = np.unique(pairs[1], return_counts=True)
    return {SYMBOLS[number]: int(count) for number, count in zip(numbers, counts, strict=True)}

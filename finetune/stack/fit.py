"""Trains the parts of the stacked model, each in pieces that continue where they were stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from finetune.stack.prepare import TRAIN, VALIDATION_FORMULAS, VALIDATION_ROWS, Prepared, Work

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
    from finetune.stack.network import NetworkSettings, train

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
    from finetune.stack.network import Arrays

    prepared = work.prepared
    return Arrays(**{name: getattr(prepared, name) for name in Prepared.__slots__})

"""What a model has to beat on the same rows: the mean, the nearest compositions, and gradient boosting."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.crystals import Crystal
from ingest.elements import LAST
from ingest.errors import MissingExtra

Floats = npt.NDArray[np.float64]
FOLDS = 5
NEIGHBOURS = 5  # of the composition baseline
CHUNK = 128  # structures that one process describes at a time
LARGE = 15_000  # rows from which the boosted baseline gets more and larger trees
FEW = 50  # rows under which a boosted baseline says nothing


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
    guess = np.asarray(model.predict(test.features), dtype=np.float64)
    return np.clip(guess, train.targets.min(), train.targets.max())


BASELINES: dict[str, Learner] = {
    "mean": predict_mean,
    "composition_knn": predict_neighbours,
    "gradient_boosting": predict_boosted,
}


def make_table(crystals: Sequence[Crystal], targets: Floats, *, workers: int = 0) -> Table:
    """Return rows as the baselines see them, computed in `workers` processes where there are many."""
    from finetune.stack.features import global_features

    chunks = [crystals[begin : begin + CHUNK] for begin in range(0, len(crystals), CHUNK)]
    if len(chunks) > 2 and workers != 1:
        with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
            features = np.concatenate(list(pool.map(global_features, chunks)))
    else:
        features = np.concatenate([global_features(chunk) for chunk in chunks])
    return Table(targets, np.array([_fractions(crystal) for crystal in crystals]), features)


def predict_baselines(test: Table, train: Table | None, *, seed: int = 0) -> dict[str, Floats]:
    """Return the test rows' predictions by each of `BASELINES`.

    Without training rows every row is answered from the others, in folds that never share a composition; a baseline
    for which there are too few rows is left out.
    """
    fold = np.array([_hash(f"{seed}|{row.tobytes().hex()}") % FOLDS for row in test.fractions])
    found = {}
    for name, learner in BASELINES.items():
        if train is not None:
            found[name] = learner(train, test)
        elif len(fold) >= (FEW if learner is predict_boosted else FOLDS) and len(set(fold.tolist())) > 1:
            found[name] = _in_folds(learner, test, fold)
    return found


def _in_folds(learner: Learner, table: Table, fold: npt.NDArray[np.int64]) -> Floats:
    guess = np.full(len(fold), math.nan)
    for held in np.unique(fold):
        test, train = np.flatnonzero(fold == held), np.flatnonzero(fold != held)
        guess[test] = learner(table.take(train), table.take(test))
    return guess


def _fractions(crystal: Crystal) -> Floats:
    counts = np.bincount(crystal.numbers, minlength=LAST + 1).astype(np.float64)
    shares: Floats = (counts / counts.sum()).round(9)  # so that multiples of one composition are equal to the bit
    return shares


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

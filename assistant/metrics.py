"""The shape of every evaluation: a value with a bootstrap interval, how many questions it rests on, and a signature.

Both evaluations (retrieval and answers) return an `Evaluation`; nothing here knows what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SAMPLES = 2000
SEED = 0
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Metric:
    """A mean over questions with its bootstrap interval; all three are NaN where no question counts towards it."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Return the three numbers, with null for NaN."""
        return {
            name: _json_number(number) for name, number in zip(("value", "low", "high"), self._values(), strict=True)
        }

    def _values(self) -> tuple[float, float, float]:
        return self.value, self.low, self.high

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Named metrics over `n` questions. `signature` says what was measured how: "n=212|k=8|embedder=…|seed=0".

    `scores` are those of each question, in order. Where several were compared, `differences` are how far this one lies
    from the first, question by question.
    """

    metrics: Mapping[str, Metric]
    n: int
    signature: str
    scores: Sequence[Mapping[str, float | None]] = field(default=(), repr=False)
    differences: Mapping[str, Metric] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `matlit eval … --json` prints."""
        metrics = {name: metric.to_json() for name, metric in self.metrics.items()}
        compared = {name: metric.to_json() for name, metric in self.differences.items()}
        told = {"metrics": metrics, "n": self.n, "signature": self.signature}
        return told | ({"differences": compared} if compared else {})


def bootstrap_mean(
    values: Sequence[float], *, samples: int = SAMPLES, seed: int = SEED, level: float = LEVEL
) -> Metric:
    """Return the mean of `values` with its percentile bootstrap interval (Efron 1979), seeded so that it repeats."""
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return Metric(math.nan, math.nan, math.nan)
    return bootstrap_ratio(array, np.ones_like(array), samples=samples, seed=seed, level=level)


def bootstrap_ratio(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    *,
    samples: int = SAMPLES,
    seed: int = SEED,
    level: float = LEVEL,
) -> Metric:
    """Return sum(numerators) / sum(denominators) with its bootstrap interval, resampling questions.

    Precision and recall are such ratios: both sums change when questions are drawn again.
    """
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    if bottom.sum() == 0:
        return Metric(math.nan, math.nan, math.nan)
    draws = _draw_ratios(top, bottom, samples=samples, seed=seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Metric(float(top.sum() / bottom.sum()), float(low), float(high))


def bootstrap_difference(
    left: Sequence[float], right: Sequence[float], *, samples: int = SAMPLES, seed: int = SEED, level: float = LEVEL
) -> Metric:
    """Return the mean of `left - right` over the same questions, with its paired bootstrap interval."""
    paired = [one - other for one, other in zip(left, right, strict=True)]
    return bootstrap_mean(paired, samples=samples, seed=seed, level=level)


def differences(one: Evaluation, other: Evaluation, *, seed: int = SEED) -> dict[str, Metric]:
    """Return how far `one` lies from `other` by every score that both have for the same question, in pairs."""
    names = dict.fromkeys(name for scores in one.scores for name in scores if name in one.metrics)
    found = {}
    for name in names:
        pairs = [(mine.get(name), its.get(name)) for mine, its in zip(one.scores, other.scores, strict=True)]
        both = [(mine, its) for mine, its in pairs if mine is not None and its is not None]
        if both:
            found[name] = bootstrap_difference(*zip(*both, strict=True), seed=seed)
    return found


def signature(**parts: object) -> str:
    """Return "name=value|name=value|…" in the order given, so that a printed number says what it is."""
    return "|".join(f"{name}={value}" for name, value in parts.items())


def _draw_ratios(top: np.ndarray, bottom: np.ndarray, *, samples: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    ratios = []
    for _ in range(samples):
        rows = generator.integers(0, len(top), len(top))
        if total := bottom[rows].sum():
            ratios.append(top[rows].sum() / total)
    return np.asarray(ratios)


def _json_number(number: float) -> float | None:
    return None if math.isnan(number) else round(number, 6)

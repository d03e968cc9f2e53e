"""Prediction intervals that keep their promise: conformal calibration on rows that no model was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL = 0.9


def conformal_factor(errors: npt.NDArray[Any], expected: npt.NDArray[Any], *, level: float = LEVEL) -> float:
    """Return the factor by which expected errors must be multiplied to hold `level` of the real ones.

    Split conformal prediction (Lei et al., JASA 113, 1094, 2018): `expected` comes from a model that never saw the
    rows, and may be any positive guess of how large each error is; the better it is, the narrower the intervals.
    """
    ratio = errors / expected
    return float(np.quantile(ratio, min(1.0, level * (1 + 1 / len(ratio))), method="higher"))

"""Boosted trees as plain arrays: taken over from LightGBM after training, kept as safetensors, evaluated with numpy.

So the shipped model needs neither LightGBM nor pickle at run time. Inner nodes and leaves of all trees lie in one row
of arrays; the two children of a node are neighbours, which saves an array and a jump.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_HUGE = float(np.finfo(np.float32).max)  # a split of missing from present values has a threshold beyond it
BLOCK = 1 << 18  # (row, tree) pairs that are followed at once: what fits the cache


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees whose leaf values add up.

    Node i splits on `feature[i]` at `threshold[i]`: values up to it go to `child[i]`, larger ones to `child[i] + 1`,
    missing ones (NaN) to the left where `missing_left[i]`. A leaf has child -1 and its value in `threshold`.
    """

    feature: npt.NDArray[np.uint16]
    threshold: Floats
    child: npt.NDArray[np.int32]
    missing_left: npt.NDArray[np.bool_]
    roots: npt.NDArray[np.int32]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name, for saving."""
        return {name: getattr(self, name) for name in self.__slots__}


def from_tensors(tensors: Mapping[str, npt.NDArray[Any]]) -> Forest:
    """Undo `Forest.tensors`."""
    return Forest(**{name: tensors[name] for name in Forest.__slots__})


def from_lightgbm(dump: Mapping[str, Any]) -> Forest:
    """Return the forest of LightGBM's `Booster.dump_model()`; numeric splits only."""
    feature: list[int] = []
    threshold: list[float] = []
    child: list[int] = []
    missing: list[bool] = []
    roots: list[int] = []

    def new(count: int) -> int:
        at = len(feature)
        feature.extend([0] * count)
        threshold.extend([0.0] * count)
        child.extend([-1] * count)
        missing.extend([False] * count)
        return at

    for tree in dump["tree_info"]:
        roots.append(new(1))
        pending = [(tree["tree_structure"], roots[-1])]
        while pending:
            node, at = pending.pop()
            if "split_feature" not in node:
                threshold[at] = node["leaf_value"]
                continue
            feature[at], threshold[at] = node["split_feature"], node["threshold"]
            # without missing values in training LightGBM reads a later NaN as 0
            missing[at] = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
            child[at] = new(2)
            pending += [(node["left_child"], child[at]), (node["right_child"], child[at] + 1)]
    return Forest(
        np.array(feature, dtype=np.uint16),
        np.clip(threshold, -_HUGE, _HUGE).astype(np.float32),
        np.array(child, dtype=np.int32),
        np.array(missing, dtype=np.bool_),
        np.array(roots, dtype=np.int32),
    )


def predict(forest: Forest, features: Floats) -> Floats:
    """Return the sum over all trees for each row of `features`."""
    values = np.ascontiguousarray(features, dtype=np.float32)
    step = max(1, BLOCK // len(forest.roots))
    parts = [_follow(forest, values[begin : begin + step]) for begin in range(0, len(values), step)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _follow(forest: Forest, values: Floats) -> Floats:
    rows, width = values.shape
    flat = values.ravel()
    has_missing = bool(np.isnan(flat).any())
    result = np.zeros(rows, dtype=np.float64)
    node = np.tile(forest.roots, rows)
    row = np.repeat(np.arange(rows, dtype=np.int32), len(forest.roots))
    while node.size:
        child = forest.child[node]
        inner = child >= 0
        if not inner.all():
            leaf = ~inner
            result += np.bincount(row[leaf], forest.threshold[node[leaf]], minlength=rows)
            node, row, child = node[inner], row[inner], child[inner]
        value = flat[row * width + forest.feature[node]]
        right = value > forest.threshold[node]
        if has_missing:
            right |= np.isnan(value) & ~forest.missing_left[node]
        node = child + right
    return result.astype(np.float32)

"""What the card of a stacked model says: how good each part is on rows it never saw, and how far those rows leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.stack.prepare import TEST_BOTH, TEST_FORMULAS, TEST_ROWS, TRAIN, Work

Floats = npt.NDArray[np.float32]
TESTS = {"random rows": (TEST_ROWS, TEST_BOTH), "unseen formulas": (TEST_FORMULAS, TEST_BOTH)}
SAME_VOLUME = 0.02  # relative difference in volume per atom up to which two entries may be one crystal, relaxed twice
_NO_PARTS = ("n", "coverage90", "shared")  # what else stands beside the parts in a test's figures


def test_figures(
    work: Work, held: npt.NDArray[np.int64], answers: Floats, parts: Mapping[str, Floats]
) -> dict[str, dict[str, Any]]:
    """Return, for each of `TESTS`, the errors of the stack and its parts, the coverage, and what training shares.

    `held` are the rows that were not trained on, `answers` (n, 3) their values, lows and highs, `parts` the values of
    each part for them.
    """
    found = {}
    shared = shared_with_training(work.rows, work.part)
    for name, chosen in TESTS.items():
        rows = np.isin(work.part[held], chosen)
        truth = work.gaps[held][rows].astype(np.float64)
        figures: dict[str, Any] = {"n": int(rows.sum()), "stacked": _errors(truth, answers[rows, 0])}
        figures |= {part: _errors(truth, np.maximum(parts[part][rows], 0)) for part in sorted(parts)}
        figures["coverage90"] = _coverage(truth, answers[rows, 1], answers[rows, 2])
        figures["shared"] = _by_shared(truth, answers[rows, 0], shared[held][rows])
        found[name] = figures
    return found


def shared_with_training(rows: Sequence[Mapping[str, Any]], part: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each row: 0 no training row has its formula, 1 one has, 2 one is nearly the same crystal.

    Nearly the same: formula, space group, and volume per atom within `SAME_VOLUME`.
    """
    trained: dict[str, list[tuple[int, float]]] = {}
    for row, where in zip(rows, part, strict=True):
        if where == TRAIN:
            trained.setdefault(row["formula"], []).append((row["spacegroup_number"], row["volume"] / row["nsites"]))

    def level(row: Mapping[str, Any]) -> int:
        others = trained.get(row["formula"], [])
        mine = row["volume"] / row["nsites"]
        same = any(
            group == row["spacegroup_number"] and abs(volume / mine - 1) < SAME_VOLUME for group, volume in others
        )
        return 2 if same else int(bool(others))

    return np.array([level(row) for row in rows])


def make_card(settings: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Return the card (Markdown) from what settings.json and metrics.json of a model say."""
    training, blend = settings["training"], settings["stack"]["blend"]
    weights = ", ".join(f"{part} {weight:.2f}" for part, weight in blend["weights"].items())
    lines = [
        f"# {settings['stack']['name']}: PBE band gaps of inorganic crystals",
        "",
        "It predicts the band gap that the Materials Project computes with PBE or PBE+U, which is known to be too",
        "small by a third or more against experiment. Ordered structures of elements up to lawrencium; trained on",
        "cells of up to 432 atoms. A prediction says so where fewer than ten training rows hold one of the elements.",
        "",
        f"Parts and their weights: {weights}.",
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
        *(line for test, figures in results.items() for line in _table(test, figures)),
        "",
        *_coverage_text(results),
        "",
        *_shared_text(results),
        "",
        *_HOW_TO_TRAIN,
    ]
    return "\n".join(lines) + "\n"


# --- figures ----------------------------------------------------------------------------------------------------------


def _errors(truth: npt.NDArray[np.float64], guess: Floats) -> dict[str, float]:
    error = guess.astype(np.float64) - truth
    return {
        "mae": round(float(np.abs(error).mean()), 4),
        "rmse": round(float(np.sqrt((error**2).mean())), 4),
        "r2": round(float(1 - (error**2).mean() / truth.var()), 4),
    }


def _coverage(truth: npt.NDArray[np.float64], low: Floats, high: Floats) -> dict[str, float]:
    covered = (low <= truth + 1e-6) & (truth <= high + 1e-6)
    gapped = truth > 0
    return {
        "all": round(float(covered.mean()), 4),
        "metals": round(float(covered[~gapped].mean()), 4),
        "gapped": round(float(covered[gapped].mean()), 4),
        "mean_width_ev": round(float((high - low).mean()), 4),
    }


def _by_shared(
    truth: npt.NDArray[np.float64], guess: Floats, shared: npt.NDArray[np.int64]
) -> dict[str, dict[str, float | int]]:
    found: dict[str, dict[str, float | int]] = {}
    for level, name in enumerate(("formula not in training", "formula in training", "nearly the same crystal")):
        rows = shared == level
        if rows.any():
            found[name] = {"n": int(rows.sum()), **_errors(truth[rows], guess[rows])}
    return found


# --- words ------------------------------------------------------------------------------------------------------------


def _table(test: str, figures: Mapping[str, Any]) -> list[str]:
    lines = []
    for part, row in figures.items():
        if part not in _NO_PARTS:
            cover = f"{figures['coverage90']['all']:.3f}" if part == "stacked" else ""
            errors = f"{row['mae']:.3f} | {row['rmse']:.3f} | {row['r2']:.3f}"
            lines.append(f"| {test} | {figures['n']} | {part} | {errors} | {cover} |")
    return lines


def _coverage_text(results: Mapping[str, Any]) -> list[str]:
    cover = [figures["coverage90"] for figures in results.values()]
    metals, gapped = (" and ".join(f"{one[kind]:.3f}" for one in cover) for kind in ("metals", "gapped"))
    return [
        "The 90 % hold over all rows, not for each kind of material: in the two tests intervals cover",
        f"{metals} of the metals, {gapped} of the materials with a gap.",
    ]


def _shared_text(results: Mapping[str, Any]) -> list[str]:
    lines = ["What the tested rows share with the training rows:", ""]
    for test, figures in results.items():
        for kind, row in figures["shared"].items():
            lines.append(f"- {test}, {kind}: n = {row['n']}, MAE {row['mae']:.3f} eV, R² {row['r2']:.3f}")
    return [
        *lines,
        "",
        "Nearly the same crystal: the same formula and space group, and a volume per atom within 2 %.",
    ]


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

"""What an evaluation found, as Markdown, JSON and a parity plot."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.errors import MissingExtra

Floats = npt.NDArray[np.float64]
SHOWN = 50  # invalid or unusable records that a page lists; the JSON lists them all
DENSE = 2000  # more points than that are drawn as cells


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
    """What an evaluation found; errors are in `unit`, that of the target."""

    model: str
    target: str
    unit: str
    n: int
    invalid: int
    metrics: Mapping[str, Score]
    baselines: Mapping[str, Mapping[str, Score]]
    by_value: Mapping[str, tuple[int, float]]  # range of the target -> rows, mean absolute error
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
            "target": self.target,
            "unit": self.unit,
            "n": self.n,
            "invalid": self.invalid,
            "metrics": {name: score.to_json() for name, score in self.metrics.items()},
            "baselines": {
                name: {key: score.to_json() for key, score in scores.items()} for name, scores in self.baselines.items()
            },
            "mae_by_value": _ranges(self.by_value),
            "mae_by_sites": _ranges(self.by_sites),
            "invalid_ids": list(self.invalid_ids),
            "skipped": list(self.skipped),
            "signature": self.signature,
        }


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown page."""
    unit, name = report.unit, report.target.replace("_", " ")
    lines = [
        f"# {name[0].upper()}{name[1:]} predicted by {report.model}",
        "",
        f"{report.n} rows scored, {report.invalid} invalid predictions, {len(report.skipped)} records not usable.",
        f"Intervals are 95 % bootstrap intervals. `{report.signature}`",
        "",
        f"| model | MAE ({unit}) | RMSE ({unit}) | R² | coverage of 90 % intervals |",
        "|---|---|---|---|---|",
        _table_line(report.model, report.metrics),
        *(_table_line(f"baseline: {name}", scores) for name, scores in report.baselines.items()),
        *_range_table(name, unit, report.by_value),
        *_range_table("size", unit, report.by_sites),
    ]
    if report.invalid_ids:
        more = "…" if len(report.invalid_ids) > SHOWN else ""
        lines += ["", "Invalid: " + ", ".join(report.invalid_ids[:SHOWN]) + more]
    if report.skipped:
        lines += ["", "Not usable:", "", *(f"- {reason}" for reason in report.skipped[:SHOWN])]
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
    """Draw predicted against computed values; the suffix of each path decides its format.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    mae, r2, unit = report.metrics["mae"], report.metrics["r2"], report.unit
    title = f"{report.model}: MAE {mae.value:.3f} {unit}, R² {r2.value:.3f}, n = {report.n}"
    name = report.target.replace("_", " ")
    draw_parity(report.truth, report.predicted, paths, name=name, unit=unit, title=title)


def draw_parity(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, paths: Iterable[Path], *, name: str, unit: str, title: str
) -> None:
    """Draw a parity plot of any values; `name` is the target's, the suffix of each path decides its format.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("The parity plot", extra="finetune") from error
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    both = np.asarray([truth, predicted], dtype=float)
    bottom, top = float(both.min()), float(both.max())
    margin = 0.03 * max(top - bottom, 1e-9)
    bottom, top = bottom - margin, top + margin
    axes.plot([bottom, top], [bottom, top], color="0.6", linewidth=1, zorder=3)
    if both.shape[1] > DENSE:
        extent = (bottom, top, bottom, top)
        cells = axes.hexbin(*both, gridsize=70, bins="log", mincnt=1, extent=extent)
        figure.colorbar(cells, ax=axes, label="materials", shrink=0.7)
    else:
        axes.scatter(both[0], both[1], s=8, alpha=0.4, linewidths=0)
    axes.set(
        xlim=(bottom, top),
        ylim=(bottom, top),
        aspect="equal",
        xlabel=f"computed {name} ({unit})",
        ylabel=f"predicted {name} ({unit})",
        title=title,
    )
    axes.title.set_fontsize(9)
    for path in paths:
        figure.savefig(path, dpi=150)


def _table_line(name: str, scores: Mapping[str, Score]) -> str:
    cells = [str(scores[key]) if key in scores else "" for key in ("mae", "rmse", "r2", "coverage90")]
    return f"| {name} | {' | '.join(cells)} |"


def _range_table(what: str, unit: str, ranges: Mapping[str, tuple[int, float]]) -> list[str]:
    head = ["", f"| {what} | rows | MAE ({unit}) |", "|---|---|---|"]
    return [*head, *(f"| {name} | {n} | {mae:.3f} |" for name, (n, mae) in ranges.items())]


def _ranges(ranges: Mapping[str, tuple[int, float]]) -> dict[str, dict[str, float | None]]:
    return {name: {"n": n, "mae": _json_number(mae)} for name, (n, mae) in ranges.items()}


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None

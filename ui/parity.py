"""Predicted against known values as a light picture: how many materials fall into each cell, none left out.

It is an SVG of some twenty kilobytes that a browser draws in its own fonts and in light or dark colours, as the element
has them in which it stands. A figure of thousands of points to point at costs a quarter of a second at every visit.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np

CELL_EV = 0.1
LEVELS = (1, 2, 4, 10, 30)  # the fewest materials of a cell of each shade
SHADES = (0.45, 0.58, 0.72, 0.86, 1.0)
SIDE = 400.0  # of the square that values are drawn in
LEFT, TOP, RIGHT, BOTTOM = 62.0, 12.0, 108.0, 56.0
STEP_EV = 2.0  # between labels of the axes
WITHIN = 0.999  # of the materials at least lie within the axes, so that one of 18 eV does not squeeze all others

_STYLE = """
text { font: 14px "Source Sans", "Noto Sans", "Hiragino Sans", "Yu Gothic", sans-serif; fill: #1c2733; }
.cell { fill: #1d5d86; } .grid { stroke: #1c2733; stroke-opacity: 0.14; }
.equal { stroke: #b3541e; stroke-width: 1.5; stroke-dasharray: 5 4; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6ebf0; } .cell { fill: #7cc0e8; } .grid { stroke: #e6ebf0; } .equal { stroke: #f0a26b; }
}"""


def parity_svg(known: Sequence[float], predicted: Sequence[float], *, x: str, y: str, cells: str) -> str:
    """Return the picture; values are in eV, `x` and `y` name the axes, `cells` what the shades count."""
    top, _ = axis_end(known, predicted)
    scale = SIDE / top
    size = f"{LEFT + SIDE + RIGHT:.0f} {TOP + SIDE + BOTTOM:.0f}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"><style>{_STYLE}</style>']
    parts += _axes(top, scale, x, y)
    parts += _cells(known, predicted, top, scale)
    parts.append(f'<path class="equal" fill="none" d="M{LEFT} {TOP + SIDE}L{LEFT + SIDE} {TOP}"/>')
    return "".join([*parts, *_legend(cells), "</svg>"])


def axis_end(known: Sequence[float], predicted: Sequence[float]) -> tuple[float, int]:
    """Return where the axes end, in eV, and how many materials lie beyond: few, and drawn at the edge."""
    largest = np.maximum(known, predicted)
    top = float(STEP_EV * max(np.ceil(np.quantile(largest, WITHIN) / STEP_EV), 1.0))
    return top, int((largest > top).sum())


def _axes(top: float, scale: float, x: str, y: str) -> list[str]:
    parts = []
    for value in np.arange(0.0, top + STEP_EV / 2, STEP_EV):
        across, down = LEFT + value * scale, TOP + SIDE - value * scale
        lines = f"M{across:.1f} {TOP}V{TOP + SIDE}M{LEFT} {down:.1f}H{LEFT + SIDE}"
        parts.append(f'<path class="grid" fill="none" d="{lines}"/>')
        parts.append(f'<text x="{across:.1f}" y="{TOP + SIDE + 20}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text x="{LEFT - 9}" y="{down + 5:.1f}" text-anchor="end">{value:g}</text>')
    middle, turned = LEFT + SIDE / 2, TOP + SIDE / 2
    parts.append(f'<text x="{middle}" y="{TOP + SIDE + 45}" text-anchor="middle">{escape(x)}</text>')
    about = f'text-anchor="middle" transform="translate(20 {turned}) rotate(-90)"'
    return [*parts, f"<text {about}>{escape(y)}</text>"]


def _cells(known: Sequence[float], predicted: Sequence[float], top: float, scale: float) -> list[str]:
    """Return one path for each shade."""
    edges = np.arange(round(top / CELL_EV) + 1) * CELL_EV
    across, up = (np.clip(np.asarray(values, dtype=float), 0.0, top) for values in (known, predicted))
    counts, _, _ = np.histogram2d(across, up, bins=[edges, edges])
    side = CELL_EV * scale
    parts = []
    for level, shade in enumerate(SHADES):
        most = LEVELS[level + 1] if level + 1 < len(LEVELS) else np.inf
        chosen = np.argwhere((counts >= LEVELS[level]) & (counts < most))
        squares = "".join(
            f"M{LEFT + i * side:.1f} {TOP + SIDE - (j + 1) * side:.1f}h{side:.1f}v{side:.1f}h-{side:.1f}z"
            for i, j in chosen
        )
        parts.append(f'<path class="cell" fill-opacity="{shade}" d="{squares}"/>')
    return parts


def _legend(cells: str) -> list[str]:
    left = LEFT + SIDE + 16
    lines = cells.split("\n")
    parts = [f'<text x="{left}" y="{TOP + 12 + 18 * row}">{escape(line)}</text>' for row, line in enumerate(lines)]
    start = TOP + 20 + 18 * len(lines)
    for level, shade in enumerate(SHADES):
        last = LEVELS[level + 1] - 1 if level + 1 < len(LEVELS) else 0
        label = f"≥ {LEVELS[level]}" if not last else f"{LEVELS[level]}–{last}" if last > LEVELS[level] else str(last)
        place = start + 22 * level
        parts.append(f'<rect class="cell" fill-opacity="{shade}" x="{left}" y="{place - 11}" width="14" height="14"/>')
        parts.append(f'<text x="{left + 22}" y="{place + 1}">{label}</text>')
    return parts

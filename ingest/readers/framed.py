"""Tables whose columns are parted by vertical lines: the lines say which words stand in one cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingest.readers.glyphs import Bar, Fragment, Rule
from ingest.readers.layout import Line
from ingest.readers.tables import Row, baseline_rows, merged_rows, table_line, whole_rules

JOINT = 3.0  # points by which lines that meet may miss one another
MIN_CELLS = 2  # filled in one row, for it to be a table
PROSE_CELL = 900  # characters; a frame around more is a text box


@dataclass(frozen=True, slots=True)
class _Grid:
    """A frame: the heights of its horizontal and the places of its inner vertical lines."""

    x0: float
    x1: float
    heights: tuple[float, ...]
    inner: tuple[float, ...]

    def holds(self, line: Line) -> bool:
        """Whether the line's text stands inside."""
        middle = line.base - 0.3 * line.size
        inside = self.x0 - JOINT < line.x0 and line.x1 < self.x1 + JOINT
        return inside and self.heights[0] < middle < self.heights[-1]


def framed_tables(lines: Sequence[Line], rules: Sequence[Rule], bars: Sequence[Bar]) -> list[Line]:
    """Return the lines of a page with those inside each framed table replaced by one `TableLine`."""
    left = list(lines)
    for frame in _grids(rules, bars):
        inside = [line for line in left if frame.holds(line)]
        rows = _rows(inside, frame) if inside else []
        if any(sum(map(bool, row)) >= MIN_CELLS for row in rows) and _is_tabular(rows):
            taken = set(map(id, inside))
            left = [line for line in left if id(line) not in taken]
            left.append(table_line(inside, rows))
    return left


def _is_tabular(rows: Iterable[Row]) -> bool:
    """Whether the cells hold letters, not only the ticks of a plot, and none a whole column of running text."""
    cells = ["".join(line.text for line in cell) for row in rows for cell in row if cell]
    lettered = sum(any(sign.isalpha() for sign in cell) for cell in cells)
    return 3 * lettered >= len(cells) and max(map(len, cells)) <= PROSE_CELL


def _grids(rules: Sequence[Rule], bars: Sequence[Bar]) -> list[_Grid]:
    """Return the frames: vertical lines of one extent that run from one horizontal line to another of one length."""
    grids: list[_Grid] = []
    whole = whole_rules(rules)
    for top, bottom, places in _groups(_whole_bars(bars)):
        across = [rule for rule in whole if rule.x0 < places[0] + JOINT and rule.x1 > places[-1] - JOINT]
        heights = sorted(rule.y for rule in across if top - JOINT < rule.y < bottom + JOINT)
        if len(heights) < 2 or heights[0] > top + JOINT or heights[-1] < bottom - JOINT:
            continue
        x0, x1 = max(rule.x0 for rule in across), min(rule.x1 for rule in across)
        inner = tuple(place for place in places if x0 + JOINT < place < x1 - JOINT)
        if inner:
            grids.append(_Grid(x0, x1, tuple(heights), inner))
    return grids


def _whole_bars(bars: Sequence[Bar]) -> list[Bar]:
    """Join vertical lines drawn row by row."""
    whole: list[Bar] = []
    for bar in sorted(bars, key=lambda one: (round(one.x), one.top)):
        last = whole[-1] if whole else Bar(0.0, 0.0, 0.0)
        if abs(last.x - bar.x) < 1.0 and last.top - JOINT < bar.top < last.bottom + JOINT:
            whole[-1] = Bar(last.x, last.top, max(last.bottom, bar.bottom))
        else:
            whole.append(bar)
    return whole


def _groups(bars: Sequence[Bar]) -> list[tuple[float, float, list[float]]]:
    """Return top, bottom and places of the vertical lines that begin and end together."""
    groups: list[tuple[float, float, list[float]]] = []
    for bar in bars:
        for top, bottom, places in groups:
            if abs(top - bar.top) < JOINT and abs(bottom - bar.bottom) < JOINT:
                places.append(bar.x)
                break
        else:
            groups.append((bar.top, bar.bottom, [bar.x]))
    return [(top, bottom, sorted(places)) for top, bottom, places in groups]


def _rows(lines: Sequence[Line], frame: _Grid) -> list[Row]:
    """Return the rows between each two horizontal lines: one where the first column has one line of text at most."""
    rows: list[Row] = []
    for top, bottom in pairwise(frame.heights):
        inside = [line for line in lines if top < line.base - 0.3 * line.size < bottom]
        placed = [_cells(row, frame) for row in baseline_rows(inside)]
        if sum(bool(row[0]) for row in placed) <= 1 and placed:
            rows.append([[line for row in placed for line in row[place]] for place in range(len(placed[0]))])
        else:
            rows.extend(merged_rows(placed))
    return rows


def _cells(row: Sequence[Line], frame: _Grid) -> Row:
    cells: list[list[Fragment]] = [[] for _ in range(len(frame.inner) + 1)]
    for line in row:
        for fragment in line.fragments:
            middle = (fragment.x0 + fragment.x1) / 2
            cells[sum(place < middle for place in frame.inner)].append(fragment)
    return [[Line(tuple(sorted(cell, key=lambda one: one.x0)))] if cell else [] for cell in cells]

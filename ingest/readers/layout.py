"""Lines, columns and reading order of one page, from where its fragments stand.

The order is found in two steps: a gutter (a strip that few lines cross, with running text on both sides) splits the
page into columns; lines that cross it split the page into bands. Bands are read downwards, columns inside a band from
left to right, and a column may have columns of its own.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ingest.readers.glyphs import Fragment

# Shares of the font size.
LINE_GAP = 1.3  # wider gaps between neighbours on a baseline separate cells or columns
MERGE_GAP = 0.7  # the same where the file draws them apart
SAME_BASE = 0.3
TOUCHING = 0.14
LOWERED, RAISED = 0.45, 0.75  # how far small print may stand below and above the baseline of its line
HOLE_REACH = 8  # fragments back
STACKED = 0.5  # the least distance of two scripts, one above the other
MIN_TEXT_CHARACTERS = 12  # a line with fewer says nothing about columns
MIN_COLUMN_LINES = 3
MAX_COLUMN_DEPTH = 3
FILL_PERCENTILE = 70  # of the lines' widths: some are short beside a picture
SIDE_NOTE_REACH = 3.0  # of the size: crossing lines farther apart may have columns between them


@dataclass(frozen=True)
class Line:
    """Fragments on one baseline, from left to right, without a gap wide enough to be a gutter or a cell border."""

    fragments: tuple[Fragment, ...]

    @cached_property
    def x0(self) -> float:
        """Return the left edge."""
        return min(fragment.x0 for fragment in self.fragments)

    @cached_property
    def x1(self) -> float:
        """Return the right edge."""
        return max(fragment.x1 for fragment in self.fragments)

    @cached_property
    def main(self) -> Fragment:
        """Return the fragment that sets the line's size and baseline: of the size with the most characters."""
        if len(self.fragments) == 1:
            return self.fragments[0]
        weights: dict[float, int] = {}
        for fragment in self.fragments:
            key = round(fragment.size, 1)
            weights[key] = weights.get(key, 0) + len(fragment.text)
        if len(weights) == 1:
            return max(self.fragments, key=lambda one: len(one.text))
        size = max(weights, key=lambda key: (weights[key], key))
        return max(
            (fragment for fragment in self.fragments if round(fragment.size, 1) == size), key=lambda one: len(one.text)
        )

    @cached_property
    def size(self) -> float:
        """Return the font size of most of the line."""
        return self.main.size

    @cached_property
    def base(self) -> float:
        """Return the baseline, downwards from the top of the page."""
        return self.main.base

    @cached_property
    def top(self) -> float:
        """Return the top of the main text, whatever stands above it."""
        return self.main.top

    @cached_property
    def bottom(self) -> float:
        """Return the bottom of the main text."""
        return self.main.bottom

    @cached_property
    def characters(self) -> int:
        """Return the number of characters, without spaces."""
        return sum(len(fragment.text) for fragment in self.fragments)

    @cached_property
    def bold(self) -> bool:
        """Whether most of the line is bold."""
        return 2 * sum(len(fragment.text) for fragment in self.fragments if fragment.bold) > self.characters

    @cached_property
    def font(self) -> str:
        """Return the font of most of the line."""
        return self.main.font

    @cached_property
    def text(self) -> str:
        """Return the line without rules for citation marks: for looking at, not for keeping."""
        parts = [self.fragments[0].text]
        for left, right in zip(self.fragments, self.fragments[1:], strict=False):
            parts.append(right.text if touches(left, right) else " " + right.text)
        return "".join(parts)

    @cached_property
    def width(self) -> float:
        """Return the width in points."""
        return self.x1 - self.x0


def touches(left: Fragment, right: Fragment) -> bool:
    """Whether two neighbours on a line belong to one word."""
    return not right.spaced and right.x0 - left.x1 < TOUCHING * max(left.size, right.size)


def find_lines(fragments: Sequence[Fragment]) -> list[Line]:
    """Join fragments into lines: neighbours in the file, then what it draws apart but the page shows together."""
    runs: list[list[Fragment]] = []
    for fragment in fragments:
        if runs and _continues(runs[-1], fragment):
            runs[-1].append(fragment)
        else:
            runs.append([fragment])
    return [Line(tuple(sorted(run, key=lambda one: one.x0))) for run in _merged(runs)]


def _continues(run: list[Fragment], fragment: Fragment) -> bool:
    last = run[-1]
    size = max(last.size, fragment.size)
    gap = fragment.x0 - last.x1
    if gap <= -0.8 * size:
        return _fills_hole(run, fragment)
    if gap >= LINE_GAP * size:
        return False
    return _same_line(last, fragment) or (len(run) > 1 and _same_line(run[-2], fragment))


def _fills_hole(run: list[Fragment], fragment: Fragment) -> bool:
    """Whether a sign drawn late fits into the run: a comma between two lowered letters, a script above another."""
    near = run[-HOLE_REACH:]
    slack = 0.1 * fragment.size
    left = [one for one in near if one.x1 <= fragment.x0 + slack]
    free = all(
        one.x1 <= fragment.x0 + slack
        or one.x0 >= fragment.x1 - slack
        or abs(one.base - fragment.base) > STACKED * fragment.size
        for one in near
    )
    return free and bool(left) and _same_line(max(left, key=lambda one: one.x1), fragment)


def _same_line(left: Fragment, right: Fragment) -> bool:
    large, small = (left, right) if left.size >= right.size else (right, left)
    if abs(left.base - right.base) <= SAME_BASE * large.size:
        return True
    # Raised and lowered text: smaller, and still within reach of the line.
    return small.size < 0.85 * large.size and -LOWERED * large.size <= large.base - small.base <= RAISED * large.size


def _merged(runs: list[list[Fragment]]) -> list[list[Fragment]]:
    """Join runs that stand side by side on a baseline although other text was drawn between them."""
    order = sorted(range(len(runs)), key=lambda number: (runs[number][0].base, runs[number][0].x0))
    boxes = [(min(one.x0 for one in run), max(one.x1 for one in run)) for run in runs]
    owner = list(range(len(runs)))

    def find(number: int) -> int:
        while owner[number] != number:
            number = owner[number]
        return number

    for position, number in enumerate(order):
        run = runs[number]
        for other in order[position + 1 :]:
            if runs[other][0].base - run[0].base > 1.0 * max(run[0].size, runs[other][0].size):
                break
            left, right = (number, other) if boxes[number][0] <= boxes[other][0] else (other, number)
            gap = boxes[right][0] - boxes[left][1]
            size = max(runs[left][-1].size, runs[right][0].size)
            beside = -0.5 * size < gap < MERGE_GAP * size and _same_line(runs[left][-1], runs[right][0])
            if beside or (boxes[right][1] < boxes[left][1] and _is_missing_part(runs[left], runs[right])):
                first, second = sorted((find(left), find(right)))
                owner[second] = first
    groups: dict[int, list[Fragment]] = {}
    for number, run in enumerate(runs):
        groups.setdefault(find(number), []).extend(run)
    return list(groups.values())


def _is_missing_part(run: list[Fragment], part: list[Fragment]) -> bool:
    """Whether a short run stands in a hole of a longer one, as a symbol that the file draws after the whole text."""
    x0, x1 = min(one.x0 for one in part), max(one.x1 for one in part)
    before = [one for one in run if one.x0 < x0]
    slack = 0.15 * part[0].size
    if len(before) in (0, len(run)) or any(one.x1 > x0 + slack and one.x0 < x1 - slack for one in run):
        return False
    return _same_line(max(before, key=lambda one: one.x1), part[0])


# ---- columns


def reading_order(lines: Sequence[Line], *, gutter: float | None, usual: float | None = None) -> list[list[Line]]:
    """Return the lines in reading order, cut into column pieces: runs of lines that stand below one another.

    `gutter` is what `find_gutter` says of the page; where it says nothing, the document's `usual` one is tried.
    """
    if gutter is None and usual is not None and _fits(lines, usual):
        gutter = usual
    return [piece for piece in _by_columns(list(lines), gutter, 0) if piece]


def find_gutter(lines: Sequence[Line]) -> float | None:
    """Return the middle of the strip that separates two columns of running text, or None.

    Of all places between 15 and 85 % of the width, the one with the most pairs of text lines side by side within
    bands that no line crosses, where at least three lines stand on each side.
    """
    texts = [line for line in lines if line.characters >= MIN_TEXT_CHARACTERS]
    if len(texts) < 2 * MIN_COLUMN_LINES:
        return None
    left, right = min(line.x0 for line in texts), max(line.x1 for line in texts)
    starts = np.array([line.x0 for line in texts])
    ends = np.array([line.x1 for line in texts])
    best, best_score = None, 0.0
    for x in _candidates(starts, left, right):
        score = _gutter_score(texts, starts, ends, x, right - left)
        if score > best_score:
            best, best_score = x, score
    return best


def _candidates(starts: np.ndarray, left: float, right: float) -> list[float]:
    """Return places just before where several lines start."""
    width = right - left
    inner = starts[(starts > left + 0.15 * width) & (starts < left + 0.85 * width)]
    counts = Counter(np.round(inner).astype(int).tolist())
    return sorted(x - 2.0 for x, count in counts.items() if count + counts.get(x + 1, 0) >= MIN_COLUMN_LINES)


def _gutter_score(texts: list[Line], starts: np.ndarray, ends: np.ndarray, x: float, width: float) -> float:
    is_left, is_right = ends <= x + 1.0, starts >= x - 0.5
    if is_left.sum() < MIN_COLUMN_LINES or is_right.sum() < MIN_COLUMN_LINES:
        return 0.0
    bases = np.array([line.base for line in texts])
    crossing = np.sort(bases[~(is_left | is_right)])
    left_bands = np.searchsorted(crossing, bases[is_left])
    right_bands = np.searchsorted(crossing, bases[is_right])
    lefts, rights = (
        np.bincount(left_bands, minlength=len(crossing) + 1),
        np.bincount(right_bands, minlength=len(crossing) + 1),
    )
    pairs = np.minimum(lefts, rights)
    good = pairs >= MIN_COLUMN_LINES
    if not good.any():
        return 0.0
    in_left, in_right = good[left_bands], good[right_bands]
    # Running text fills its column; the cells of a table do not.
    fill_left = np.percentile((ends - starts)[is_left][in_left], FILL_PERCENTILE) / max(x - starts.min(), 1.0)
    fill_right = np.percentile((ends - starts)[is_right][in_right], FILL_PERCENTILE) / max(ends.max() - x, 1.0)
    if min(fill_left, fill_right) < 0.5:
        return 0.0
    return float(pairs[good].sum())


def _by_columns(lines: list[Line], gutter: float | None, depth: int) -> list[list[Line]]:
    if gutter is None:
        return [_downwards(lines)]
    pieces: list[list[Line]] = []
    waiting: list[Line] = []
    for band, crosses, beside in _bands(lines, gutter):
        if crosses:
            pieces.extend([_downwards(waiting), _downwards(band)])
            waiting = beside
            continue
        left = [line for line in band if (line.x0 + line.x1) / 2 < gutter]
        right = [line for line in band if (line.x0 + line.x1) / 2 >= gutter]
        if waiting and _opens_column(waiting, right, gutter):
            right = [*waiting, *right]
        else:
            pieces.append(_downwards(waiting))
        waiting = []
        for side in (left, right):
            inner = find_gutter(side) if depth + 1 < MAX_COLUMN_DEPTH else None
            pieces.extend(_by_columns(side, inner, depth + 1))
    return [*pieces, _downwards(waiting)]


def _opens_column(beside: Sequence[Line], right: Sequence[Line], gutter: float) -> bool:
    """Whether what stands beside a wide block starts the right column and is no note of its own (in smaller print)."""
    if not right or min(line.x0 for line in beside) < gutter:
        return False
    sizes = [statistics.median(line.size for line in lines) for lines in (beside, right)]
    return abs(sizes[0] - sizes[1]) < 0.05 * sizes[1]


def _fits(lines: Sequence[Line], gutter: float) -> bool:
    """Whether the gutter of the other pages leaves most of this page's text whole."""
    texts = [line for line in lines if line.characters >= MIN_TEXT_CHARACTERS]
    crossing = sum(line.x0 < gutter - 2 and line.x1 > gutter + 2 for line in texts)
    return len(texts) >= MIN_COLUMN_LINES and crossing <= 0.4 * len(texts)


def _bands(lines: list[Line], gutter: float) -> Iterable[tuple[list[Line], bool, list[Line]]]:
    """Yield the page's bands from top to bottom: lines that cross the gutter, and what stands between them.

    Lines next to a block that crosses (a copyright box beside the abstract) do not part it: they are yielded with it.
    """
    band: list[Line] = []
    beside: list[Line] = []
    crosses = False
    rows = _downwards(lines)
    across = [line.x0 < gutter - 3 and line.x1 > gutter + 3 for line in rows]
    side = _side_notes(rows, across)
    for number, line in enumerate(rows):
        if number in side:
            beside.append(line)
            continue
        if band and across[number] != crosses:
            yield band, crosses, beside if crosses else []
            band, beside = [], [] if crosses else beside
        band.append(line)
        crosses = across[number]
    yield band, crosses, beside


def _side_notes(rows: Sequence[Line], across: Sequence[bool]) -> frozenset[int]:
    """Return the lines that stand at the height of a run of crossing lines, and wholly to one side of it."""
    crossing = [number for number, crosses in enumerate(across) if crosses]
    found: set[int] = set()
    for upper, lower in pairwise(crossing):
        first, second = rows[upper], rows[lower]
        between = range(upper + 1, lower)
        if not between or second.base - first.base > SIDE_NOTE_REACH * max(first.size, second.size):
            continue
        left, right = max(first.x0, second.x0), min(first.x1, second.x1)
        if all(rows[number].x0 > right or rows[number].x1 < left for number in between):
            found.update(between)
    return frozenset(found | _reaching_up(rows, across, found))


def _reaching_up(rows: Sequence[Line], across: Sequence[bool], found: set[int]) -> set[int]:
    """Return the lines that continue a side note upwards, past the top of the block beside it."""
    above: set[int] = set()
    for number in sorted(found, reverse=True):
        low = number
        for candidate in range(number - 1, -1, -1):
            near = rows[low].base - rows[candidate].base
            if near > 1.6 * rows[low].size:
                break
            if abs(rows[candidate].x0 - rows[low].x0) < 2 and not across[candidate]:
                above.add(candidate)
                low = candidate
    return above - found


def _downwards(lines: Iterable[Line]) -> list[Line]:
    """Sort lines from top to bottom, those on one baseline from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: (one.base, one.x0)):
        if rows and line.base - rows[-1][0].base <= SAME_BASE * min(line.size, rows[-1][0].size):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda one: one.x0)]

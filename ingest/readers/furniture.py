"""What stands on every page and belongs to none: running heads and feet, page numbers, line numbers of drafts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter

from ingest.readers.glyphs import Fragment
from ingest.readers.layout import Line

MARGIN = 0.14  # share of the page's height, at each end, where running heads and feet stand
EDGE_ROWS = 4  # and at most so many rows from the outermost one
SAME_PLACE = 3.0  # points
MIN_LINE_NUMBERS = 5
SAME_EDGE = 1.0  # points
MAX_RUNNING_TITLE = 110  # characters

_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"^[\W_]*(?:(?:page|seite|p\.|s\.?)\s*)?[sS]?(?P<number>\d{1,5}|[ivxlc]{1,7})(?:\s*(?:of|/|von)\s*\d{1,5})?[\W_]*$",
    re.I,
)


def without_line_numbers(pages: Sequence[Sequence[Fragment]]) -> list[tuple[Fragment, ...]]:
    """Return the pages' fragments without the line numbers of a draft.

    Line numbers are a column of numbers beside the text that count up by a constant step (1, 2 or 5) down the page and
    that nothing but numbers stands in. A table may have such a column too, so they must go on from page to page, or at
    least half of the pages must have them.
    """
    found = [_line_numbers(fragments) for fragments in pages]
    if not _is_draft(pages, found):
        return [tuple(fragments) for fragments in pages]
    return [
        tuple(fragment for number, fragment in enumerate(fragments) if number not in numbers)
        for fragments, numbers in zip(pages, found, strict=True)
    ]


def _is_draft(pages: Sequence[Sequence[Fragment]], found: Sequence[frozenset[int]]) -> bool:
    with_numbers = sum(1 for numbers in found if numbers)
    filled = sum(1 for fragments in pages if len(fragments) > 3 * MIN_LINE_NUMBERS)
    ends = [
        (min(values), max(values))
        for fragments, numbers in zip(pages, found, strict=True)
        if (values := [int(fragments[number].text) for number in numbers])
    ]
    goes_on = sum(0 < right[0] - left[1] <= 5 for left, right in pairwise(ends))
    return with_numbers > 0 and (2 * with_numbers >= filled or goes_on >= 1)


def _line_numbers(fragments: Sequence[Fragment]) -> frozenset[int]:
    numeric = [
        number
        for number, fragment in enumerate(fragments)
        if fragment.text.isascii() and fragment.text.isdigit() and len(fragment.text) <= 5
    ]
    if len(numeric) < MIN_LINE_NUMBERS:
        return frozenset()
    others = [fragment for number, fragment in enumerate(fragments) if number not in set(numeric)]
    for members in _aligned(fragments, numeric):
        if _counts_up([int(fragments[number].text) for number in members]) and _beside(
            [fragments[number] for number in members], others
        ):
            return frozenset(members)
    return frozenset()


def _aligned(fragments: Sequence[Fragment], numeric: Sequence[int]) -> list[list[int]]:
    """Return columns of numbers, from top to bottom, whose right or left edges agree; the longest first."""
    columns: list[list[int]] = []
    for edge in (attrgetter("x1"), attrgetter("x0")):
        places = [edge(fragment) for fragment in fragments]
        column: list[int] = []
        for number in sorted(numeric, key=places.__getitem__):
            if column and places[number] - places[column[-1]] > SAME_EDGE:
                columns.append(column)
                column = []
            column.append(number)
        columns.append(column)
    long = [column for column in columns if len(column) >= MIN_LINE_NUMBERS]
    return [
        sorted(column, key=lambda number: fragments[number].base)
        for column in sorted(long, key=lambda column: (-len(column), column))
    ]


def _counts_up(values: Sequence[int]) -> bool:
    steps = Counter(right - left for left, right in pairwise(values))
    step, count = steps.most_common(1)[0]
    return step in (1, 2, 5) and count >= 0.8 * (len(values) - 1)


def _beside(numbers: Sequence[Fragment], others: Sequence[Fragment]) -> bool:
    """Whether other text leaves the numbers' strip free and begins (or ends) next to it.

    On a page with a side column the text does not begin there for all; a long row of numbers is enough then.
    """
    left, right = min(one.x0 for one in numbers), max(one.x1 for one in numbers)
    inside = sum(one.x0 < right and one.x1 > left for one in others)
    before = sum(one.x1 <= left for one in others)
    at_edge = before <= 0.05 * len(others) or before >= 0.95 * len(others)
    return inside <= 0.02 * len(others) and (at_edge or len(numbers) >= 2 * MIN_LINE_NUMBERS)


def furniture(pages: Sequence[Sequence[Line]], heights: Sequence[float]) -> list[frozenset[int]]:
    """Return, for every page, the positions of the lines that are running heads, feet or page numbers.

    A line is one if it stands in the top or bottom margin and, with its digits left out, comes back at the same
    height on other pages; a lone number if it grows with the page number.
    """
    edges = [_edge_lines(lines, height) for lines, height in zip(pages, heights, strict=True)]
    repeated = _repeated(pages, edges)
    numbers = _page_numbers(pages, edges)
    return [repeated[page] | numbers[page] for page in range(len(pages))]


def _edge_lines(lines: Sequence[Line], height: float) -> list[int]:
    """Return the lines in the margins, a few rows from each end at most."""
    order = sorted(range(len(lines)), key=lambda number: lines[number].base)
    top = _outer_rows(lines, order)
    bottom = _outer_rows(lines, order[::-1])
    return [
        number
        for number in sorted({*top, *bottom})
        if lines[number].base < MARGIN * height or lines[number].base > (1 - MARGIN) * height
    ]


def _outer_rows(lines: Sequence[Line], order: Sequence[int]) -> list[int]:
    found: list[int] = []
    rows = 0
    last: float | None = None
    for number in order:
        if last is None or abs(lines[number].base - last) > 2.0:
            rows += 1
            last = lines[number].base
        if rows > EDGE_ROWS:
            break
        found.append(number)
    return found


def _repeated(pages: Sequence[Sequence[Line]], edges: Sequence[Sequence[int]]) -> list[frozenset[int]]:
    places: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for page, numbers in enumerate(edges):
        for number in numbers:
            line = pages[page][number]
            places[_DIGITS.sub("#", line.text).strip().lower()].append((page, number, line.base))
    needed = 2 if len(pages) <= 6 else 3
    found: list[set[int]] = [set() for _ in pages]
    for seen in places.values():
        for page, number, base in seen:
            here = {other for other, _, height in seen if abs(height - base) <= SAME_PLACE}
            if len(here) >= needed or (len(seen) >= 2 * needed and len({other for other, _, _ in seen}) >= 2 * needed):
                found[page].add(number)
    return [frozenset(numbers) for numbers in found]


def _page_numbers(pages: Sequence[Sequence[Line]], edges: Sequence[Sequence[int]]) -> list[frozenset[int]]:
    """Return the lines that hold the page number, alone or beside a running title that changes with the section."""
    candidates = [
        (page, number, value)
        for page, numbers in enumerate(edges)
        for number in numbers
        for value in _page_values(pages[page][number].text)
    ]
    offsets = Counter(offset for _, offset in {(page, value - page) for page, _, value in candidates})
    found: list[set[int]] = [set() for _ in pages]
    for page, number, value in candidates:
        alone = _page_number(pages[page][number].text) is not None
        needed = 2 if alone else max(3, 0.3 * len(pages))
        if offsets[value - page] >= needed or (alone and len(pages) <= 2 and value <= len(pages)):
            found[page].add(number)
    return [frozenset(numbers | _same_row(pages[page], edges[page], numbers)) for page, numbers in enumerate(found)]


def _page_values(text: str) -> list[int]:
    """Return what a line at the edge may say the page number is: all of it, or its first or last word."""
    if (alone := _page_number(text)) is not None:
        return [alone]
    if len(text) > MAX_RUNNING_TITLE:
        return []
    return [int(word) for word in {text.split()[0], text.split()[-1]} if word.isdigit() and len(word) <= 4]


def _same_row(lines: Sequence[Line], edge: Sequence[int], numbers: set[int]) -> set[int]:
    """Return the other lines on the row of a page number, where it is the outermost row."""
    bases = [line.base for line in lines]
    outer = [lines[number].base for number in numbers if lines[number].base in (min(bases), max(bases))]
    return {
        other
        for other in edge
        if any(abs(lines[other].base - base) < 2.0 for base in outer) and len(lines[other].text) <= MAX_RUNNING_TITLE
    }


def _page_number(text: str) -> int | None:
    if len(text) > 24 or not (match := _PAGE_NUMBER.match(text)):
        return None
    found = match["number"].lower()
    return int(found) if found.isdigit() else _roman(found)


def _roman(text: str) -> int:
    values = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
    total = 0
    for here, after in zip(text, [*text[1:], ""], strict=True):
        total += -values[here] if values.get(after, 0) > values[here] else values[here]
    return total

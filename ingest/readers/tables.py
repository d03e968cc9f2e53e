"""Tables: where they stand on a page (by rules, captions and aligned cells), and their rows and cells."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingest.readers.glyphs import Fragment, Rule
from ingest.readers.layout import Line

Cell = list[Line]
Row = list[Cell]

CAPTION_REACH = 60.0  # points between a table's caption and its nearest rule
SAME_EDGE = 5.0  # points by which the rules of one table may differ in length
PROSE_WORDS = 7
PROSE_CHARACTERS = 35
PROSE_SMALL_WORDS = 4
CELL_GAP = 0.75  # of the size
MIN_PLAIN_ROWS = 3  # rows of cells without rules or caption that make a table
MAX_HEADER_LINES = 4
MIN_FILL = 0.4  # share of the cells that are not empty
ROW_BASE = 0.45  # of the size
MAX_FORMULAS = 0.2  # share of the cells

TABLE_CAPTION = re.compile(r"^(?:TABLE|Table|Tab\.|Tabelle)\s*(?:S?\d|[IVX])|^表\s*[\d０-９]")
_VALUE = re.compile(r"^[-+−–<>≤≥~∼±]?\s?\d")
_FORMULA = re.compile(r"[=∑∏∫√⟨⟩]|lim\b|-{3}|─{3}")
_EQUATION_NUMBER = re.compile(r"^\(?[A-Z]?\d{1,3}(?:\.\d+)*[a-z]?\)$|^\(\w{1,6}\)$")


@dataclass(frozen=True)
class TableLine(Line):
    """A whole table in the place of one line, so that it takes part in the reading order as one thing."""

    rows: tuple[tuple[tuple[Line, ...], ...], ...] = ()


def ruled_tables(lines: Sequence[Line], rules: Sequence[Rule]) -> list[Line]:
    """Return the lines of a page with those of each ruled table replaced by one `TableLine`.

    A ruled table is a stack of horizontal rules of one length with a caption "Table …" next to it, and cells between.
    """
    captions = [line for line in lines if TABLE_CAPTION.match(line.text)]
    if not captions or not rules:
        return list(lines)
    left = list(lines)
    for stack in _stacks(rules):
        for heights in _runs_with_cells(stack, left):
            inside = _between(left, stack[0], heights[0], heights[-1])
            if inside and _captioned(captions, stack[0], heights) and not any(line in captions for line in inside):
                taken = set(map(id, inside))
                left = [line for line in left if id(line) not in taken]
                cells = [cell for line in inside for cell in _cut_at_gaps(line)]
                left.append(table_line(inside, grid(cells, heights)))
    return left


def _stacks(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Group rules of one length and place, from top to bottom; longest stacks first."""
    stacks: list[list[Rule]] = []
    for rule in whole_rules(rules):
        for stack in stacks:
            if abs(stack[0].x0 - rule.x0) <= SAME_EDGE and abs(stack[0].x1 - rule.x1) <= SAME_EDGE:
                if rule.y - stack[-1].y > 2.5:
                    stack.append(rule)
                break
        else:
            stacks.append([rule])
    return sorted((stack for stack in stacks if len(stack) >= 2), key=len, reverse=True)


def whole_rules(rules: Sequence[Rule]) -> list[Rule]:
    """Join rules drawn cell by cell."""
    whole: list[Rule] = []
    for rule in sorted(rules, key=lambda one: (round(one.y), one.x0)):
        if whole and abs(whole[-1].y - rule.y) < 1.0 and rule.x0 - whole[-1].x1 < 3.0:
            whole[-1] = Rule(whole[-1].x0, max(whole[-1].x1, rule.x1), whole[-1].y)
        else:
            whole.append(rule)
    return whole


def _runs_with_cells(stack: Sequence[Rule], lines: Sequence[Line]) -> list[list[float]]:
    """Cut a stack where running text, or nothing at all, stands between two rules; return the heights of each run."""
    runs: list[list[float]] = []
    open_run = False
    for upper, lower in pairwise(stack):
        if _tabular(_between(lines, upper, upper.y, lower.y)):
            if open_run:
                runs[-1].append(lower.y)
            else:
                runs.append([upper.y, lower.y])
            open_run = True
        else:
            open_run = False
    return runs


def _between(lines: Sequence[Line], rule: Rule, top: float, bottom: float) -> list[Line]:
    return [
        line
        for line in lines
        if not isinstance(line, TableLine)
        and top - 1 < line.base - 0.3 * line.size < bottom
        and line.x0 > rule.x0 - SAME_EDGE
        and line.x1 < rule.x1 + 2 * SAME_EDGE
    ]


def _tabular(lines: Sequence[Line]) -> bool:
    total = sum(line.characters for line in lines)
    prose = sum(line.characters for line in lines if is_prose_line(line))
    return total > 0 and prose <= 0.5 * total


def is_prose_line(line: Line) -> bool:
    """Whether a line is one of running text: long, with words in small letters rather than numbers and names."""
    if line.characters < PROSE_CHARACTERS:
        return False
    words = line.text.split()
    return len(words) >= PROSE_WORDS and sum(len(word) > 2 and word.islower() for word in words) >= PROSE_SMALL_WORDS


def _cut_at_gaps(line: Line) -> list[Line]:
    """Cut a line inside a table at gaps wider than word spaces: cells set closely."""
    cells = [[line.fragments[0]]]
    for fragment in line.fragments[1:]:
        if fragment.x0 - max(one.x1 for one in cells[-1]) > CELL_GAP * line.size:
            cells.append([fragment])
        else:
            cells[-1].append(fragment)
    return [Line(tuple(cell)) for cell in cells]


def _captioned(captions: Sequence[Line], rule: Rule, heights: Sequence[float]) -> bool:
    return any(
        caption.x0 < rule.x1
        and caption.x1 > rule.x0
        and (-CAPTION_REACH < caption.base - heights[0] <= 2 or 0 < caption.base - heights[-1] < CAPTION_REACH / 2)
        for caption in captions
    )


def table_line(lines: Sequence[Line], rows: Sequence[Row]) -> TableLine:
    """Return what stands for the lines of a table in the reading order."""
    size = statistics.median(line.size for line in lines)
    top, bottom = min(line.top for line in lines), max(line.bottom for line in lines)
    x0, x1 = min(line.x0 for line in lines), max(line.x1 for line in lines)
    place = Fragment("", x0, top, x1, bottom, top + size, size, False, "", True)
    return TableLine((place,), rows=tuple(tuple(tuple(cell) for cell in row) for row in rows))


# ---- rows and cells


def grid(lines: Sequence[Line], heights: Sequence[float] = ()) -> list[Row]:
    """Return the rows of a table, each with one cell per column; the lines of a wrapped cell are kept together.

    `heights` are the rules' places: what stands above the second of them is one header row.
    """
    columns = _columns(lines)
    placed = [_placed(row, columns) for row in baseline_rows(lines)]
    merged = merged_rows(placed, header=heights[1] if len(heights) > 2 else None)
    filled = sum(bool(cell) for row in merged for cell in row)
    if filled < MIN_FILL * len(columns) * len(merged):  # formulas in the cells: the columns found are none
        return [[cell for cell in row if cell] for row in merged]
    return [_without_empty_end(row) for row in merged]


def merged_rows(placed: Sequence[Row], *, header: float | None = None) -> list[Row]:
    """Join the rows of cells that hold the lines of wrapped cells, and those above the height `header`."""
    merged: list[Row] = []
    above: Line | None = None
    for number, row in enumerate(placed):
        line = next(cell[0] for cell in row if cell)
        if above is not None and (
            _in_header(row, line.base, header, number) or _continues_row(row, merged[-1], line.base - above.base, above)
        ):
            for cell, more in zip(merged[-1], row, strict=True):
                cell.extend(more)
        else:
            merged.append([list(cell) for cell in row])
        above = line
    return merged


def _without_empty_end(row: Row) -> Row:
    """Drop empty cells at the end of a row; one alone stands for the whole row."""
    filled = [number for number, cell in enumerate(row) if cell]
    return [row[filled[0]]] if len(filled) == 1 else row[: filled[-1] + 1]


def _columns(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """Return the columns' extents: narrow cells first; a cell over two columns found so far is a spanning head."""
    columns: list[tuple[float, float]] = []
    for line in sorted(lines, key=lambda one: one.width):
        touched = [column for column in columns if line.x0 < column[1] - 0.5 and line.x1 > column[0] + 0.5]
        if len(touched) > 1:
            continue
        for column in touched:
            columns.remove(column)
        columns.append((min([line.x0, *(one[0] for one in touched)]), max([line.x1, *(one[1] for one in touched)])))
    return sorted(columns)


def baseline_rows(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines row by row, from top to bottom, each row from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: (one.base, one.x0)):
        if rows and line.base - rows[-1][0].base <= ROW_BASE * max(line.size, rows[-1][0].size):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda one: one.x0) for row in rows]


def _placed(row: Sequence[Line], columns: Sequence[tuple[float, float]]) -> list[Cell]:
    cells: list[Cell] = [[] for _ in columns]
    for line in row:
        overlaps = [min(line.x1, right) - max(line.x0, left) for left, right in columns]
        cells[overlaps.index(max(overlaps))].append(line)
    return cells


def _in_header(row: Sequence[Cell], base: float, header: float | None, number: int) -> bool:
    return header is not None and base < header and number < MAX_HEADER_LINES and not _states_values(row)


def _continues_row(row: Sequence[Cell], above: Sequence[Cell], step: float, line: Line) -> bool:
    """Whether a row only wraps cells of the row above: close below it, nothing in the first column, fewer cells."""
    filled = [number for number, cell in enumerate(row) if cell]
    if step > 1.45 * line.size or not filled or row[0] or not above[0] or _states_values(row):
        return False
    return len(filled) < sum(bool(cell) for cell in above) and all(above[number] for number in filled)


def _states_values(row: Sequence[Cell]) -> bool:
    """Whether a row has a label and a number of its own, under a first cell that counts for several rows."""
    texts = [cell[0].text for cell in row if cell]
    return len(texts) > 1 and any(_VALUE.match(text) for text in texts[1:])


# ---- tables without rules


def plain_tables(piece: Sequence[Line]) -> list[Line]:
    """Return a column piece with each table that has no rules replaced by one `TableLine`.

    Such a table is a run of rows with two cells or more, three of them at least or two after a caption; rows of one
    short cell may stand between. Equations with their numbers are no tables.
    """
    rows = baseline_rows(piece)
    found: list[Line] = []
    number = 0
    while number < len(rows):
        end = _table_end(rows, number)
        count = sum(_is_cell_row(row) for row in rows[number:end])
        captioned = _after_caption(rows, number)
        enough = count >= (2 if captioned else MIN_PLAIN_ROWS)
        found_one = enough and _aligned(rows[number:end])
        if found_one and (captioned or (_has_labels(rows[number:end]) and not _has_formulas(rows[number:end]))):
            cells = [line for row in rows[number:end] for line in row]
            found.append(table_line(cells, grid(cells)))
            number = end
        else:
            found.extend(rows[number])
            number += 1
    return found


def _table_end(rows: Sequence[Sequence[Line]], start: int) -> int:
    """Return the row after the run of cell rows that starts at `start`; `start` itself if none starts there."""
    if not _is_cell_row(rows[start]):
        return start
    end = start
    for number in range(start, len(rows)):
        row = rows[number]
        if number > start and row[0].base - rows[number - 1][0].base > 3.2 * row[0].size:
            break
        if _is_cell_row(row):
            end = number + 1
        elif len(row) > 1 or is_prose_line(row[0]) or number - end >= 2 or TABLE_CAPTION.match(row[0].text):
            break
    return end


def _is_cell_row(row: Sequence[Line]) -> bool:
    if len(row) < 2 or any(isinstance(line, TableLine) for line in row):
        return False
    if _EQUATION_NUMBER.match(row[-1].text.strip()) and len(row) < 4:
        return False
    return sum(is_prose_line(line) for line in row) <= len(row) // 2


def _has_labels(rows: Sequence[Sequence[Line]]) -> bool:
    """Whether rows without a caption are a table, not parts of formulas, ticks of a plot or a numbered list."""
    cells = [line for row in rows for line in row]
    tiny = sum(line.characters <= 3 and not line.text[:1].isdigit() for line in cells)
    first = [row[0] for row in rows] + list(rows[0])
    labels = sum(sum(character.isalpha() for character in line.text) >= 3 for line in first)
    listed = sum(len(row) == 2 and row[0].characters <= 3 and row[1].characters >= 25 for row in rows)
    return tiny <= 0.4 * len(cells) and 2 * labels >= len(rows) and 2 * listed < len(rows)


def _has_formulas(rows: Sequence[Sequence[Line]]) -> bool:
    """Whether the "cells" are parts of displayed equations."""
    cells = [line.text for row in rows for line in row]
    crumbs = sum(bool(_FORMULA.search(text)) or not any(map(str.isalnum, text)) for text in cells)
    numbered = any(_EQUATION_NUMBER.match(row[-1].text) and row[-1].text.startswith("(") for row in rows)
    return crumbs > (0 if numbered else MAX_FORMULAS * len(cells))


def _after_caption(rows: Sequence[Sequence[Line]], start: int) -> bool:
    return any(TABLE_CAPTION.match(row[0].text) for row in rows[max(start - 5, 0) : start])


def _aligned(rows: Sequence[Sequence[Line]]) -> bool:
    """Whether cells of different rows begin or end at common places, as those of a figure's labels do not."""
    edges: dict[tuple[str, int], set[int]] = defaultdict(set)
    for number, row in enumerate(rows):
        for line in row:
            for name, place in (("left", line.x0), ("right", line.x1), ("middle", (line.x0 + line.x1) / 2)):
                edges[name, round(place / 3)].add(number)
    shared = sum(len(members) for members in edges.values() if len(members) >= 2)
    return shared >= 0.6 * sum(map(len, rows))

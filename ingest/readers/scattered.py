"""Text whose order on the page is not that of a line: displayed equations, stacked fractions, labels inside figures.

Such lines are kept, for reading and for search, as blocks of kind "scattered"; nobody quotes them as a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from ingest.readers.layout import Line
from ingest.readers.paragraphs import Draft

SAME_ROW = 0.3  # of the size
OVERLAP = 0.8  # of the size: lines nearer than that stand in one another
SIZE_RATIO = 2.2  # an initial over three lines is larger than that
EVEN_STEP = (0.8, 1.7)  # of the size: the line distances of running text
INDENT = 1.0  # of the size
WIDE_GAP = 2.0  # of the size
WORDY, WORDY_ALONE = 0.3, 0.6  # share of the characters that words take, and that one word alone takes

_RELATION = re.compile(r"[=<>∑∏∫√∂∇∞≈≡≠≤≥∝∈→←↔⟶]")
_NUMBERED = re.compile(r"\(\d{1,3}[a-z]?\)$")
_FRACTION_BAR = re.compile(r"-{4,}|─{3,}|_{4,}")
_NAMES = "exp sin cos tan cot sinh cosh tanh log lim max min sup inf det tr dev sgn sign diag div grad rot curl mod arg"
_FUNCTIONS = frozenset(_NAMES.split())
_SMALL = "[a-z\u00df-\u00f6\u00f8-\u00ff]"
_WORD = re.compile(rf"\b(?:{_SMALL}{{3,}}|[^\W\d_]{_SMALL}{{3,}}|[A-Z]{{4,}})\b")  # "Kil" is a symbol
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def part_scattered(drafts: Sequence[Draft]) -> list[Draft]:
    """Return the blocks of a page with the scattered lines of its paragraphs in blocks of their own."""
    texts = [draft for draft in drafts if _is_paragraph(draft)]
    lines = [line for draft in texts for line in draft.lines]
    scattered = _overlapping(lines)
    for draft in texts:
        scattered |= _formulas(draft.lines) | _woven(draft.lines)
    _spread(lines, scattered)
    parted: list[Draft] = []
    for draft in drafts:
        if not _is_paragraph(draft):
            parted.append(draft)
            continue
        for is_scattered, run in groupby(draft.lines, key=lambda line: id(line) in scattered):
            parted.append(Draft(list(run), "scattered" if is_scattered else "text", draft.section))
    return parted


def _is_paragraph(draft: Draft) -> bool:
    return draft.kind == "text" and not draft.rows


def _formulas(lines: Sequence[Line]) -> set[int]:
    """Return the ids of a paragraph's lines that are displayed equations: without words, set apart from the others."""
    if not any(_has_words(line) for line in lines):
        return set(map(id, lines))
    found: set[int] = set()
    left = min(line.x0 for line in lines)
    for at, line in enumerate(lines):
        if _has_words(line) or not _RELATION.search(line.text):
            continue
        step = (line.base - lines[at - 1].base) / max(line.size, 1.0) if at else 0.0
        is_apart = line.x0 > left + INDENT * line.size or not EVEN_STEP[0] < step < EVEN_STEP[1]
        if is_apart or _NUMBERED.search(line.text):
            found.add(id(line))
    return found | {id(line) for line in lines if _FRACTION_BAR.search(line.text)}


def _spread(lines: Sequence[Line], scattered: set[int]) -> None:
    """Add the crumbs of formulas above and below them, and the lines with the first halves of words in them."""
    for upper, lower in pairwise(lines):
        if id(upper) in scattered and not _has_words(lower):
            scattered.add(id(lower))
    for lower, upper in pairwise(reversed(lines)):
        if id(lower) in scattered and (upper.text[-1:] in "-\u2010\u00ad" or not _has_words(upper)):
            scattered.add(id(upper))


def _has_words(line: Line) -> bool:
    """Whether words make up a good part of the line."""
    words = [word for word in _WORD.findall(line.text) if word.casefold() not in _FUNCTIONS]
    share = WORDY if len(words) > 1 else WORDY_ALONE
    return sum(map(len, words)) + 2 * len(_CJK.findall(line.text)) > share * line.characters


def _overlapping(lines: Iterable[Line]) -> set[int]:
    """Return the ids of lines that stand one in another: parts of fractions, limits of sums, scripts of scripts."""
    found: set[int] = set()
    order = sorted(lines, key=lambda one: one.base)
    for at, upper in enumerate(order):
        for lower in order[at + 1 :]:
            step, size = lower.base - upper.base, max(upper.size, lower.size)
            if step >= OVERLAP * size:
                break
            beside = lower.x0 >= upper.x1 or lower.x1 <= upper.x0
            if not beside and size < SIZE_RATIO * min(upper.size, lower.size):
                found.update((id(upper), id(lower)))
    return found


def _woven(lines: Sequence[Line]) -> set[int]:
    """Return the ids of lines that belong to columns of their own: rows of cells, and what wraps below a cell."""
    found: set[int] = set()
    rows = _rows(lines)
    for upper, lower in zip(rows, [*rows[1:], []], strict=True):
        if len(upper) < 2 or not _has_words(lines[upper[0]]):  # a line, or a label and what it stands for
            continue
        first, second = lines[upper[0]], lines[upper[1]]
        if second.x0 - first.x1 < WIDE_GAP * first.size:  # loose words of a justified line
            continue
        if _has_words(second):
            found.update(id(lines[at]) for at in upper)
        if lower and (len(lower) > 1 or lines[lower[0]].x1 < second.x0 or lines[lower[0]].x0 > first.x1):
            found.update(id(lines[at]) for at in (*upper, *lower))
    return found


def _rows(lines: Sequence[Line]) -> list[list[int]]:
    rows: list[list[int]] = []
    for at, line in enumerate(lines):
        if at and abs(line.base - lines[at - 1].base) <= SAME_ROW * line.size and line.x0 > lines[at - 1].x1:
            rows[-1].append(at)
        else:
            rows.append([at])
    return rows

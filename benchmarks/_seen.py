"""Whether a page shows a text, by the places of its characters alone: what the eye does, without any of matlit's code.

From a character the eye moves to the next one on the right (at most a word space away, raised or lowered as scripts
are), or from the end of a line to the beginning of one below. Over a wider gap it goes to the next cell of a row, and
then stays right of that cell's edge: so a label and what it stands for are shown together, but a text that jumps from
one column to another and back is not.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pypdfium2

SPACE = 0.95  # of the size: the widest gap within a line
BACK = 0.8  # how far the second of two scripts one above the other steps back
SCRIPT = 0.75  # how far scripts stand above or below
LARGER = 1.15  # times the size of its scripts: the letter that they belong to
NEXT_LINE = 3.2  # how far the next line may stand below
EDGE = 3.0  # points by which the lines of a column may begin at different places
UNMAPPED = (0x370, 0x3FF)  # Greek, which fonts often leave unmapped: passed over, as the quotes leave it out
SIGNS = dict.fromkeys(map(ord, "¼½¾þðÞ"))  # what publishers' fonts of signs call "=", "+" and brackets: passed over too
LIGATURES = frozenset({"ff", "fi", "fl", "ffi", "ffl", "ft"})


class Glyph(NamedTuple):
    """A character as the page shows it; y upwards."""

    text: str  # its letters and digits, squeezed; "" for signs
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def size(self) -> float:
        return self.y1 - self.y0


def is_shown(quote: str, path: Path, number: int) -> bool:
    """Whether the page shows the quote somewhere, read as the eye reads."""
    wanted = squeezed(quote)
    glyphs, beside, across, below = page_glyphs(path, number)
    # A state is a character, how much of the text is read with it, and the left edge of the column the eye is in.
    reached = {
        (at, len(glyph.text) + skipped, 0.0)
        for at, glyph in enumerate(glyphs)
        for skipped in passed_over(wanted, 0)
        if glyph.text and wanted.startswith(glyph.text, skipped)
    }
    seen = set(reached)
    while reached:
        at, length, edge = reached.pop()
        if any(length + skipped == len(wanted) for skipped in passed_over(wanted, length)):
            return True
        after = [(other, edge) for other in beside[at]]
        after += [(other, glyphs[other].x0) for other in across[at]]
        after += [(other, edge) for other in below[at] if glyphs[other].x0 > edge - EDGE]
        for other, column in after:
            text = glyphs[other].text
            for skipped in passed_over(wanted, length):
                state = (other, length + skipped + len(text), column)
                if state not in seen and wanted.startswith(text, length + skipped):
                    seen.add(state)
                    reached.add(state)
    return False


def passed_over(wanted: str, start: int) -> list[int]:
    """Return how many letters may be missing on the page: none, or those of a ligature without a meaning."""
    return [0, *(len(one) for one in LIGATURES if wanted.startswith(one, start))]


Moves = list[list[int]]


@lru_cache(maxsize=64)
def page_glyphs(path: Path, number: int) -> tuple[list[Glyph], Moves, Moves, Moves]:
    """Return the page's visible characters, and where the eye may move from each: beside, across a gap, below."""
    textpage = pypdfium2.PdfDocument(path)[number - 1].get_textpage()
    glyphs = []
    for at in range(textpage.count_chars()):
        text = textpage.get_text_range(at, 1)
        left, bottom, right, top = textpage.get_charbox(at, loose=True)
        if text.strip() and right > left and top > bottom:
            glyphs.append(Glyph(squeezed(text), left, bottom, right, top))
    return glyphs, *moves(glyphs)


def squeezed(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.translate(SIGNS)).casefold()
    kept = "".join(sign for sign in folded if sign.isalnum() and not UNMAPPED[0] <= ord(sign) <= UNMAPPED[1])
    return "" if kept in LIGATURES else kept


def moves(glyphs: list[Glyph]) -> tuple[Moves, Moves, Moves]:
    """Return for each character those beside it on the right; for the last of a run, what follows it elsewhere."""
    rows: dict[int, list[int]] = defaultdict(list)  # by height, in steps of 4 points
    for at, glyph in enumerate(glyphs):
        rows[int(middle(glyph) // 4)].append(at)

    def near(glyph: Glyph, down: float, up: float) -> list[int]:
        low, high = int((middle(glyph) - down) // 4), int((middle(glyph) + up) // 4)
        return [at for row in range(low, high + 1) for at in rows.get(row, ())]

    beside: Moves = [[] for _ in glyphs]
    has_left = [False] * len(glyphs)
    for at, glyph in enumerate(glyphs):
        close = near(glyph, 1.2 * glyph.size, 1.2 * glyph.size)
        for other in close:
            gap = glyphs[other].x0 - glyph.x1
            wide = SPACE * max(glyph.size, glyphs[other].size)
            if other == at or not -BACK * glyph.size < gap < wide:
                continue
            if level(glyph, glyphs[other]) or (
                gap < 0 and stacked(glyph, glyphs[other], [glyphs[one] for one in close])
            ):
                beside[at].append(other)
                has_left[other] |= gap > -0.3 * glyph.size
    first = [at for at, held in enumerate(has_left) if not held]
    last = [
        at
        for at, glyph in enumerate(glyphs)
        if not any(glyphs[other].x0 > glyph.x1 - 0.3 * glyph.size for other in beside[at])
    ]
    across: Moves = [[] for _ in glyphs]
    below: Moves = [[] for _ in glyphs]
    for at in last:
        glyph = glyphs[at]
        right = [other for other in first if glyphs[other].x0 > glyph.x1 and level(glyph, glyphs[other])]
        across[at] = sorted(right, key=lambda other: glyphs[other].x0)[:1]
        below[at] = [
            other
            for other in first
            if 0.5 * glyph.size < middle(glyph) - middle(glyphs[other]) < NEXT_LINE * glyph.size
            and glyphs[other].x0 < glyph.x0
        ]
    return beside, across, below


def middle(glyph: Glyph) -> float:
    return (glyph.y0 + glyph.y1) / 2


def stacked(one: Glyph, other: Glyph, close: list[Glyph]) -> bool:
    """Whether two characters are scripts, one above the other, of a larger letter on their left."""
    return any(
        letter.size > LARGER * max(one.size, other.size)
        and -0.3 * letter.size < one.x0 - letter.x1 < letter.size
        and level(letter, one)
        and level(letter, other)
        for letter in close
    )


def level(one: Glyph, other: Glyph) -> bool:
    """Whether two characters stand on one line, the smaller perhaps as a script of the larger."""
    return abs(middle(one) - middle(other)) < SCRIPT * max(one.size, other.size)

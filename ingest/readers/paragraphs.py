"""Lines in reading order, grouped into the blocks a reader sees: paragraphs, headings, captions, entries of a list."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.readers.layout import Line
from ingest.readers.tables import TableLine
from ingest.records import BlockKind

LEADING_JUMP = 1.28  # a line distance that much above the usual one starts a new block
SIZE_JUMP = 0.09  # Japanese text mixes fonts that differ by 8 %
INDENT = 0.7  # of the size
SHORT_LINE = 0.12  # a last line leaves at least this share of the width free

CAPTION = re.compile(
    r"^(?:(?:Supplementary|Extended Data)\s+)?"
    r"(?:FIG(?:URE)?S?|Fig(?:ure|\.)?s?|TABLE|Table|Tab\.|SCHEME|Scheme|CHART|Chart|Box|Listing|Algorithm|Plate|Abb(?:ildung|\.)|Tabelle)"
    r"\.?\s*(?P<number>(?:[A-Z]\.?)?\d{1,3}[a-z]?|[IVX]{1,5})\b(?P<after>\s*[.:|\-–—]|\s*$|\s)|^[図表]\s*[\d０-９]+"
)
BULLET = re.compile(r"^(?:[•▪■◦●○‣\uf0b7]|[–—*]$)")
TABLE_LABEL = re.compile(r"^(?:TABLE|Table|Tab\.|表)")
TICK_SHARE = 0.8
_TICK = re.compile(r"^[-+\u2212]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?[%+]?$|^[a-zA-Z]{1,2}$")
_SECTION_MARK = r"(?:\W*(?:\d{1,2}\.?|[IVX]{1,4}\.)\s+|[■▪●◆□]\s*)?"
REFERENCE_HEADING = re.compile(
    rf"^{_SECTION_MARK}(?:references?(?: and notes)?|bibliography|literature(?: cited)?|notes and references|"
    r"references cited|works cited|literatur(?:verzeichnis)?|references and links|参考文献|引用文献|文献)\W*$",
    re.I,
)
NAMED_HEADING = re.compile(
    rf"^{_SECTION_MARK}(?:abstract|summary|introduction|background|methods?|materials?(?: and methods?)?|methodology|"
    r"experimental(?: (?:section|procedures?|methods?|details?|part))?|theory|results?(?: and discussions?)?|"
    r"discussions?|conclusions?(?: and (?:outlook|perspectives?))?|concluding remarks|acknowledg(?:e?ments?|ing)|"
    r"appendix(?: [a-z])?|(?:supplementary|supporting) (?:information|materials?)|author(?:s[’'])? contributions?|"
    r"conflicts? of interest|competing (?:financial )?interests?|data availability(?: statement)?|funding|"
    r"author information|associated content|keywords|"
    r"要旨|概要|はじめに|緒言|序論|実験(?:方法)?|結果(?:と考察)?|考察|結論|まとめ|おわりに|謝辞)\W*$",
    re.I,
)
NUMBERED_HEADING = re.compile(
    r"^(?:\d{1,2}(?:\.\d{1,2}){0,3}\.?|[IVX]{1,4}\.|[A-H]\.(?:\d{1,2}\.?)*|Appendix [A-Z]\.?)\s+[^\W\d_]"
)
SUBSECTION = re.compile(r"^\d{1,2}\.\d{1,2}(?:\.\d{1,2}){0,2}\.?\s+[A-Z]")
MAX_HEAD_LINE = 100  # characters


@dataclass
class Draft:
    """A block in the making: its lines, and what it turns out to be. A table has rows of cells instead of lines."""

    lines: list[Line]
    kind: BlockKind = "text"
    section: str = ""
    rows: list[list[list[Line]]] = field(default_factory=list)

    @property
    def first(self) -> Line:
        """Return the first line."""
        return self.lines[0]

    @property
    def text(self) -> str:
        """Return the lines joined by spaces, for looking at."""
        return " ".join(line.text for line in self.lines)

    @property
    def size(self) -> float:
        """Return the median size of its lines."""
        return statistics.median_high(line.size for line in self.lines)

    @property
    def bold(self) -> bool:
        """Whether every line is mostly bold."""
        return all(line.bold for line in self.lines)

    @property
    def characters(self) -> int:
        """Return the number of characters, without spaces."""
        return sum(line.characters for line in self.lines)

    @property
    def top(self) -> float:
        """Return the top edge."""
        return min(line.top for line in self.lines)

    @property
    def bottom(self) -> float:
        """Return the bottom edge."""
        return max(line.bottom for line in self.lines)


def paragraphs(piece: Sequence[Line]) -> list[Draft]:
    """Cut lines that stand below one another into blocks.

    A new block begins at a jump in the line distance, the font size or between bold and plain, at an indent, after a
    short line that ends a sentence, at a caption and at a bullet.
    """
    left, right = _edges(piece)
    usual = _usual_leading(piece)
    drafts: list[Draft] = []
    for line in piece:
        if isinstance(line, TableLine):
            drafts.append(_table_draft(line))
        elif drafts and drafts[-1].kind != "table" and not _starts_block(drafts[-1].lines, line, left, right, usual):
            drafts[-1].lines.append(line)
        else:
            drafts.append(Draft([line]))
    return drafts


def _table_draft(table: TableLine) -> Draft:
    rows = [[list(cell) for cell in row] for row in table.rows]
    return Draft([line for row in rows for cell in row for line in cell], "table", rows=rows)


def _edges(piece: Sequence[Line]) -> tuple[float, float]:
    starts = sorted(line.x0 for line in piece)
    ends = sorted(line.x1 for line in piece)
    return starts[len(starts) // 10], ends[-1 - len(ends) // 10]


def _usual_leading(piece: Sequence[Line]) -> float:
    """Return the line distance as a multiple of the size, from the smaller half: larger ones are paragraph gaps."""
    steps = [
        (lower.base - upper.base) / max(upper.size, 1.0)
        for upper, lower in pairwise(piece)
        if 0.8 * upper.size < lower.base - upper.base < 2.6 * upper.size and abs(lower.size - upper.size) < 0.5
    ]
    return statistics.median_low(steps) if steps else 1.25


def _starts_block(block: list[Line], line: Line, left: float, right: float, usual: float) -> bool:
    last = block[-1]
    step = line.base - last.base
    size = max(last.size, line.size)
    if step <= 0.5 * size:  # the same row, or back to the top
        return step < -0.5 * size or _is_side_note(last, line)
    if step > LEADING_JUMP * max(_leading(block, usual), 1.0) * min(last.size, line.size) + 0.5:
        return True
    return (
        _changes_face(last, line)
        or _is_head_line(line, last, right - 2 * line.size)
        or _is_head_line(last, line, right - 2 * line.size)
        or bool(CAPTION.match(line.text) and _looks_like_caption(line, last))
        or bool(BULLET.match(line.text))
        or _is_indented(block, line, left)
        or _follows_an_end(last, line, left, right)
    )


def _is_side_note(last: Line, line: Line) -> bool:
    """Whether a line on the same row has nothing to do with the one before: another size, far away."""
    return abs(last.size - line.size) > 0.25 * max(last.size, line.size) and line.x0 - last.x1 > 3 * last.size


def _leading(block: Sequence[Line], usual: float) -> float:
    if len(block) < 2:
        return usual
    step = (block[-1].base - block[-2].base) / max(block[-1].size, 1.0)
    return max(step, usual) if 0.8 < step < 2.6 else usual


def _changes_face(last: Line, line: Line) -> bool:
    small = min(last.characters, line.characters) < 3
    if not small and abs(last.size - line.size) > SIZE_JUMP * max(last.size, line.size):
        return True
    return _solid(last) != _solid(line) and (last.bold != line.bold) and not small


def _is_head_line(line: Line, neighbour: Line, right: float) -> bool:
    """Whether a line reads like a section title: a usual name, a number and another font, or 2.1 and a short line."""
    text = line.text
    if len(text) > MAX_HEAD_LINE:
        return False
    if (NAMED_HEADING.match(text) or REFERENCE_HEADING.match(text)) and not text[:1].islower():
        return True
    if not NUMBERED_HEADING.match(text) or text[-1] in ",;-":
        return False
    return line.font != neighbour.font or (bool(SUBSECTION.match(text)) and text[-1] != "." and line.x1 < right)


def _solid(line: Line) -> bool:
    """Whether the whole line is bold."""
    return all(fragment.bold for fragment in line.fragments)


def _looks_like_caption(line: Line, last: Line) -> bool:
    match = CAPTION.match(line.text)
    if match is None or continues_as_sentence(line.text, match):
        return False
    return bool((match["after"] or "").strip()) or line.fragments[0].bold or line.size < 0.95 * last.size


def continues_as_sentence(text: str, match: re.Match[str]) -> bool:
    """Whether "Figure 3" is the subject of a sentence: a small letter follows without a mark."""
    return not (match["after"] or "").strip() and text[match.end() :].lstrip()[:1].islower()


def _is_indented(block: list[Line], line: Line, left: float) -> bool:
    last = block[-1]
    shift = line.x0 - last.x0
    unit = INDENT * line.size
    if shift > unit:
        # The second line of a hanging entry is indented too; an indented first line stands after flush lines.
        return shift < 5 * line.size and last.x0 < left + unit and len(block) > 1 and abs(block[-2].x0 - last.x0) < unit
    if shift < -unit and len(block) > 1:
        return block[-2].x0 > line.x0 + unit and abs(block[-2].x0 - last.x0) < unit
    return False


def _follows_an_end(last: Line, line: Line, left: float, right: float) -> bool:
    if last.text[-1:] not in ".?!:。":
        return False
    return right - last.x1 > max(SHORT_LINE * (right - left), 2 * last.size) and right - left > 12 * last.size


def rejoin(drafts: Sequence[Draft]) -> list[Draft]:
    """Join paragraphs that a column's end, a figure or a footnote cut in two.

    A paragraph goes on where the text before it has no end mark and it begins with a small letter, or where a hyphen
    was left open. What stood between comes after the whole.
    """
    joined: list[Draft] = []
    for draft in drafts:
        open_one = _open_paragraph(joined) if draft.kind == "text" and not draft.rows else None
        if open_one is not None and _continues(open_one, draft):
            open_one.lines.extend(draft.lines)
        else:
            joined.append(draft)
    return joined


def _open_paragraph(drafts: Sequence[Draft]) -> Draft | None:
    """Return the last paragraph, looking past captions, tables and footnotes but not past a heading."""
    for draft in reversed(drafts):
        if draft.kind == "text":
            return None if draft.rows else draft
        if draft.kind not in ("caption", "table", "footnote"):
            return None
    return None


def _continues(before: Draft, after: Draft) -> bool:
    last, first = before.lines[-1], after.first
    if (
        last.bold != first.bold
        or abs(last.size - first.size) > SIZE_JUMP * max(last.size, first.size)
        or len(before.lines) + len(after.lines) < 4
    ):
        return False
    ending, beginning = last.text[-1:], first.text[:1]
    if ending in "-\u2010\u00ad" and beginning.isalpha():
        return True
    return ending not in ".?!:。" and beginning.islower() and not BULLET.match(first.text)


def without_ticks(drafts: Sequence[Draft]) -> list[Draft]:
    """Leave out the numbers along the axes of plots: blocks of bare numbers on a page with a figure's caption."""
    if not any(draft.kind == "caption" and not TABLE_LABEL.match(draft.first.text) for draft in drafts):
        return list(drafts)
    return [draft for draft in drafts if draft.kind != "text" or draft.rows or not _is_ticks(draft)]


def _is_ticks(draft: Draft) -> bool:
    words = draft.text.split()
    numbers = sum(bool(_TICK.match(word)) for word in words)
    return numbers >= 2 and numbers >= TICK_SHARE * len(words)

"""How formats without pages become a `Document`: pieces in reading order, cut into parts of some 3,000 characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ingest.records import Block, BlockKind, Document, Metadata, Page

if TYPE_CHECKING:
    from lxml import etree

PART_CHARACTERS = 3000
MAX_SPAN = 200  # columns or rows that one cell may claim
SEPARATOR = "\n\n"
CELL = " | "

_REFERENCES = re.compile(
    r"[\W\d]*(?:references?(?:\s+(?:and\s+notes|cited))?|bibliography|literature(?:\s+cited)?|works\s+cited"
    r"|参考文献|引用文献|文献|参考资料|參考文獻|참고\s*문헌)[\W\d]*",
    re.IGNORECASE,
)
_CJK = r"[\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]"
_CJK_BREAK = re.compile(rf"(?<={_CJK})[ \t]*\r?\n[ \t]*(?={_CJK})")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]|[\x00-\x08\x0e-\x1f\x7f]")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


@dataclass(frozen=True, slots=True)
class Piece:
    """A paragraph, heading, table, … with the title of the section it stands in."""

    kind: BlockKind
    text: str
    section: str = ""


@dataclass(slots=True)
class Outline:
    """Collects pieces in reading order and remembers the section they stand in."""

    pieces: list[Piece] = field(default_factory=list)
    section: str = ""
    _references_level: int | None = None  # the level of the heading above a reference list

    @property
    def in_references(self) -> bool:
        """Say whether what comes now belongs to a reference list."""
        return self._references_level is not None

    def heading(self, text: str, *, level: int) -> None:
        """Add a heading; level 1 is the outermost."""
        if not (text := flow(text)):
            return
        self.section = text
        if is_reference_heading(text):
            self._references_level = level
        elif self._references_level is not None and level <= self._references_level:
            self._references_level = None
        self.pieces.append(Piece("heading", text, text))

    def add(self, kind: BlockKind, text: str, *, verbatim: bool = False) -> None:
        """Add a piece of any other kind; a text below a heading such as "References" becomes a reference."""
        text = keep_lines(text) if verbatim else flow(text)
        if text:
            kind = "reference" if kind == "text" and self.in_references else kind
            self.pieces.append(Piece(kind, text, self.section))

    def table(self, rows: Iterable[Iterable[str]]) -> None:
        """Add a table, header row first; empty rows are dropped."""
        lines = [CELL.join(flow(cell) for cell in row) for row in rows]
        self.add("table", "\n".join(line for line in lines if line.strip(" |")), verbatim=True)


def table_rows(table: etree._Element, text: Callable[[etree._Element], str]) -> Iterator[list[str]]:
    """Yield the rows of an HTML or JATS table, `text` giving each cell's.

    A cell over several rows stands in each of them; one over several columns leaves the others empty.
    """
    hanging: dict[int, tuple[int, str]] = {}  # column -> rows left, text
    for row in table.iter("tr"):
        cells: list[str] = []
        for cell in row.iter("td", "th"):
            _take_hanging(cells, hanging)
            own, rows = text(cell), _span(cell, "rowspan")
            for said in [own, *[""] * (_span(cell, "colspan") - 1)]:
                if rows > 1:
                    hanging[len(cells)] = rows - 1, said
                cells.append(said)
        _take_hanging(cells, hanging)
        yield cells


def _take_hanging(cells: list[str], hanging: dict[int, tuple[int, str]]) -> None:
    """Append what hangs down into the next columns from rows above."""
    while (column := len(cells)) in hanging:
        left, above = hanging.pop(column)
        if left > 1:
            hanging[column] = left - 1, above
        cells.append(above)


def _span(cell: etree._Element, name: str) -> int:
    value = str(cell.get(name, "1")).strip()
    return min(max(int(value), 1), MAX_SPAN) if value.isascii() and value.isdigit() else 1


def names(text: str) -> frozenset[str]:
    """Return the words of a text as a set: how the readers write down their lists of element names."""
    return frozenset(text.split())


def is_reference_heading(text: str) -> bool:
    """Say whether a heading announces a reference list, in English, Japanese, Chinese or Korean."""
    return _REFERENCES.fullmatch(text.strip()) is not None


def flow(text: str) -> str:
    """Return running text on one line: no invisible characters or ligatures, and no space where CJK lines meet.

    The wide space of Japanese text, which separates names and list items, becomes a plain one.
    """
    text = _INVISIBLE.sub("", text).translate(_LIGATURES).strip()
    return " ".join(_CJK_BREAK.sub("", text).split())


def keep_lines(text: str) -> str:
    """Return text whose line breaks matter (tables, code), cleaned line by line."""
    lines = (
        _INVISIBLE.sub("", line.replace("\t", "    ")).translate(_LIGATURES).rstrip() for line in text.splitlines()
    )
    return "\n".join(line for line in lines if line)


def assemble(
    pieces: Iterable[Piece], *, metadata: Metadata, format_name: str, warnings: tuple[str, ...] = ()
) -> Document:
    """Return the document made of these pieces; a part ends between paragraphs, never right after a heading."""
    parts: list[list[Piece]] = [[]]
    length = 0
    for piece in (short for whole in pieces for short in _shorten(whole)):
        if length and _breaks_before(piece, length) and parts[-1][-1].kind != "heading":
            parts.append([])
            length = 0
        parts[-1].append(piece)
        length += len(piece.text) + len(SEPARATOR)
    pages = tuple(_page(number, part) for number, part in enumerate(parts, start=1))
    return Document(pages=pages, metadata=metadata, format=format_name, paged=False, warnings=warnings)


def _breaks_before(piece: Piece, length: int) -> bool:
    limit = PART_CHARACTERS * 3 // 4 if piece.kind == "heading" else PART_CHARACTERS * 5 // 4
    return length + len(piece.text) > limit


def _shorten(piece: Piece) -> Iterator[Piece]:
    """Cut a piece longer than a part at the end of a sentence (tables and code: of a line), else where it must be."""
    text = piece.text
    while len(text) > PART_CHARACTERS * 5 // 4:
        ends = [match.end() for match in _SENTENCE_END.finditer(text, PART_CHARACTERS // 2, PART_CHARACTERS)]
        cut = ends[-1] if ends else text.rfind(" ", 1, PART_CHARACTERS) + 1 or PART_CHARACTERS
        yield replace(piece, text=text[:cut].rstrip())
        text = text[cut:].lstrip()
    if text:
        yield replace(piece, text=text)


def _page(number: int, part: list[Piece]) -> Page:
    blocks: list[Block] = []
    start = 0
    for piece in part:
        blocks.append(Block(start, start + len(piece.text), piece.kind, piece.section))
        start += len(piece.text) + len(SEPARATOR)
    return Page(number=number, text=SEPARATOR.join(piece.text for piece in part), blocks=tuple(blocks))

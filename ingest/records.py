"""The records that travel through matlit: frozen, plain, and identified by content.

Positions: a span `[start, end)` counts characters of `Page.text`. A `Box` is in PDF points (1/72 inch) with the origin
at the top left of the page as it is displayed (after rotation and cropping), x to the right and y downwards.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

BlockKind = Literal["title", "front", "heading", "text", "scattered", "table", "caption", "reference", "footnote"]
ChunkKind = Literal["text", "table", "caption", "reference", "material"]

WORD_COLUMNS = 6
BOX_SCALE = 100.0  # word boxes are kept as integers of 1/100 point


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in points, origin at the top left of the displayed page."""

    x0: float
    top: float
    x1: float
    bottom: float

    def union(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        return Box(
            min(self.x0, other.x0), min(self.top, other.top), max(self.x1, other.x1), max(self.bottom, other.bottom)
        )


@dataclass(frozen=True, slots=True)
class Block:
    """A run of `Page.text` of one kind: a paragraph, a heading, a table, a caption, …

    "scattered" is what no line of text orders (displayed equations, labels in figures): searched, but never quoted.
    `section` is the title of the section the block stands in ("" before the first heading).
    """

    start: int
    end: int
    kind: BlockKind
    section: str = ""


def no_words() -> npt.NDArray[np.int32]:
    """Return the word table of a page without positions, shape (0, 6)."""
    return np.zeros((0, WORD_COLUMNS), dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its clean text in reading order, its blocks, and where its words stand.

    `words` has one row per word fragment, sorted by start: start, end, x0, top, x1, bottom; the last four in 1/100
    point. A word broken across lines has two rows. Formats without pages (text, DOCX, HTML) give parts of some 3,000
    characters with an empty word table and a width and height of 0.
    """

    number: int
    text: str
    blocks: tuple[Block, ...] = ()
    width: float = 0.0
    height: float = 0.0
    words: npt.NDArray[np.int32] = field(default_factory=no_words, compare=False, repr=False)
    ocr: bool = False

    def boxes(self, start: int, end: int) -> tuple[Box, ...]:
        """Return one box per printed line that the span `[start, end)` touches, in reading order.

        A fragment that the span only partly covers is cut in proportion, which matters for Japanese,
        where a "word" is a whole line.
        """
        lines: list[Box] = []
        for row in self.words[(self.words[:, 1] > start) & (self.words[:, 0] < end)]:
            box = _cut(row, start, end)
            if lines and _same_line(lines[-1], box):
                lines[-1] = lines[-1].union(box)
            else:
                lines.append(box)
        return tuple(lines)

    def block_at(self, offset: int) -> Block | None:
        """Return the block that holds the character at `offset`, or None between blocks."""
        return next((block for block in self.blocks if block.start <= offset < block.end), None)

    def packed_words(self) -> bytes:
        """Return the word table compressed, for storage."""
        return zlib.compress(np.ascontiguousarray(self.words, dtype="<i4").tobytes(), 6)


def unpack_words(packed: bytes) -> npt.NDArray[np.int32]:
    """Undo `Page.packed_words`; shape (n, 6)."""
    return np.frombuffer(zlib.decompress(packed), dtype="<i4").reshape(-1, WORD_COLUMNS).astype(np.int32)


def _cut(row: npt.NDArray[np.int32], start: int, end: int) -> Box:
    first, last = int(row[0]), int(row[1])
    x0, top, x1, bottom = (float(value) / BOX_SCALE for value in row[2:])
    per_char = (x1 - x0) / max(last - first, 1)
    return Box(x0 + per_char * max(start - first, 0), top, x1 - per_char * max(last - end, 0), bottom)


def _same_line(left: Box, right: Box) -> bool:
    overlap = min(left.bottom, right.bottom) - max(left.top, right.top)
    height = min(left.bottom - left.top, right.bottom - right.top)
    return overlap > 0.5 * height and right.x0 >= left.x0 - 1.0 and right.x0 - left.x1 < 3.0 * max(height, 1.0)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known about a paper; unknown fields are empty, never guessed at random."""

    title: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    doi: str = ""
    journal: str = ""
    language: str = ""  # ISO 639-1: "en", "ja", …; "" when unknown


@dataclass(frozen=True, slots=True)
class Document:
    """What a reader makes of one file. `paged` is False where the format has no pages and `pages` are parts of it."""

    pages: tuple[Page, ...]
    metadata: Metadata
    format: str
    paged: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        """Return the number of characters of text."""
        return sum(len(page.text) for page in self.pages)


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper in the library, without its text. `id` is the SHA-256 of the file's bytes, in hex."""

    id: str
    metadata: Metadata
    format: str
    page_count: int
    chunk_count: int
    paths: tuple[Path, ...]
    paged: bool = True
    warnings: tuple[str, ...] = ()
    added: str = ""  # ISO 8601, UTC

    @property
    def title(self) -> str:
        """Return the title, or the file's name where no title is known."""
        return self.metadata.title or (self.paths[0].stem if self.paths else self.id[:12])


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage small enough for the embedder, on one page and in one section of a source.

    `source` is the id of the paper, or of the material for kind "material". `text == page.text[start:end]` for papers.
    `context` (title and section) is embedded and indexed with the text but is not part of the quote.
    """

    id: str
    source: str
    ordinal: int
    text: str
    page: int
    start: int
    end: int
    section: str = ""
    kind: ChunkKind = "text"
    context: str = ""

    @property
    def embedded_text(self) -> str:
        """Return what the embedder reads."""
        return f"{self.context}\n{self.text}" if self.context else self.text


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chunks a search may return; empty fields do not restrict.

    `sources` are paper or material ids; `years` is inclusive; `elements` must all occur in the chunk's formulas (or in
    the record), `formula` must occur in it, however typeset. Reference lists come back only when `kinds` names them.
    """

    sources: frozenset[str] = frozenset()
    years: tuple[int | None, int | None] | None = None
    sections: tuple[str, ...] = ()
    elements: frozenset[str] = frozenset()
    formula: str = ""
    kinds: frozenset[ChunkKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result: the chunk, its paper or record, and its scores.

    `score` orders the list (higher is better, comparable within one list only); `dense` is the cosine similarity and
    `lexical` the BM25 score (higher is better), None where that side did not return the chunk.
    """

    chunk: Chunk
    title: str
    score: float
    dense: float | None = None
    lexical: float | None = None
    metadata: Metadata = field(default_factory=Metadata)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hex: the paper's id, whatever the file is called."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chunk_id(source: str, recipe: str, ordinal: int) -> str:
    """Return the id of a chunk: 32 hex digits from source id, chunking recipe and position."""
    return hashlib.sha256(f"{source}\0{recipe}\0{ordinal}".encode()).hexdigest()[:32]


def fold_boxes(boxes: Iterable[Box]) -> list[dict[str, float]]:
    """Return boxes as plain dictionaries for JSON."""
    return [{"x0": box.x0, "top": box.top, "x1": box.x1, "bottom": box.bottom} for box in boxes]

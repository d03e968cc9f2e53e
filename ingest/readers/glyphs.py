"""Every character of a PDF page with its place, fetched from pdfium in bulk and cut into fragments.

A fragment is a run of characters without a gap, of one size and on one baseline: a word, or part of one ("LiFePO" and
the lowered "4" are two). Nothing here knows about lines, columns or meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ingest.readers.pdfium import (
    ASKEW,
    Style,
    address,
    boxes_of,
    codes_of,
    hidden_objects,
    page_objects,
    path_bounds,
    styles_of,
)
from ingest.readers.symbols import PI_FONT, SYMBOLS, meaning, named

if TYPE_CHECKING:
    import pypdfium2

# Shares of the font size. A printed word space is 0.2 to 0.33; kerning and loose fonts stay below 0.12.
WORD_GAP = 0.16
SPACE_GAP = 0.05  # where pdfium guesses a space, on one line
SHIFTED_SPACE_GAP = 0.10  # and before a raised or lowered character
OVERSTRIKE_GAP = -0.6
MAX_RULE_HEIGHT = 2.5  # points
MIN_RULE_WIDTH = 40.0
MIN_BAR_HEIGHT = 8.0


GlyphNames = Mapping[str, Mapping[int, str]]  # font -> code -> name


class Fragment(NamedTuple):
    """Characters without a gap. Lengths in points, y downwards, in the frame where the page's text is upright."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    base: float
    size: float
    bold: bool
    font: str
    spaced: bool  # a space stands before it in the file

    @property
    def height(self) -> float:
        """Return the height of the fragment's box."""
        return self.bottom - self.top


class Rule(NamedTuple):
    """A thin horizontal line, in the reading frame."""

    x0: float
    x1: float
    y: float


class Bar(NamedTuple):
    """A thin vertical line, in the reading frame."""

    x: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Frame:
    """How the page is turned: from pdfium's coordinates to the displayed page, and on to where text runs rightwards.

    `turn` counts the quarter turns, clockwise, that the page was turned to make its main text upright.
    """

    left: float
    bottom: float
    right: float
    top: float
    rotation: int
    turn: int = 0

    @property
    def size(self) -> tuple[float, float]:
        """Return width and height of the displayed page."""
        return _turned_size(self.right - self.left, self.top - self.bottom, self.rotation)

    @property
    def reading_size(self) -> tuple[float, float]:
        """Return width and height of the page turned so that its main text is upright."""
        return _turned_size(*self.size, self.turn)

    def display(self, x0: float, top: float, x1: float, bottom: float) -> tuple[float, float, float, float]:
        """Return a box of the reading frame in coordinates of the displayed page."""
        width, height = self.size
        if self.turn == 1:
            return top, height - x1, bottom, height - x0
        if self.turn == 2:
            return width - x1, height - bottom, width - x0, height - top
        if self.turn == 3:
            return width - bottom, x0, width - top, x1
        return x0, top, x1, bottom


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a page's text layer holds: its fragments in the order of the file, and how much of it is unreadable."""

    fragments: tuple[Fragment, ...]
    frame: Frame
    vertical: bool = False  # Japanese or Chinese set in columns from top to bottom
    characters: int = 0
    unreadable: int = 0  # of them: without a Unicode meaning
    turned: tuple[Fragment, ...] = ()  # text that runs in another direction than most of the page
    rules: tuple[Rule, ...] = ()
    bars: tuple[Bar, ...] = ()


def read_glyphs(page: pypdfium2.PdfPage, *, names: Callable[[], GlyphNames] = dict) -> Glyphs:
    """Return the fragments of one page, in the order in which the file draws them.

    `names` is asked for the glyph names of the page's fonts, by font and code, where pdfium finds no meaning for codes.
    """
    import pypdfium2.raw as raw

    frame = _frame(page)
    textpage = page.get_textpage()
    try:
        count = textpage.count_chars()
        if count <= 0:
            return Glyphs((), frame)
        handle = address(textpage.raw)
        codes = codes_of(raw, handle, count)
        boxes = boxes_of(handle, count)
        visible = (codes > 0x20) & (codes != 0xA0) & ~((codes >= 0x7F) & (codes < 0xA0)) & (codes != 0x3000)
        visible &= ~((codes >= 0x2000) & (codes <= 0x200F))
        visible |= _is_control(codes)
        objects = page_objects(page)
        styles, style_of = styles_of(handle, boxes, visible, hidden_objects(raw, objects))
        visible &= style_of >= 0
        codes = _resolved(codes, visible, style_of, styles, names)
        visible &= codes > 0x20
    finally:
        textpage.close()
    glyphs = _glyphs(codes, boxes, visible, styles, style_of, frame)
    rules, bars = _straight_lines(path_bounds(raw, objects), glyphs.frame)
    return replace(glyphs, rules=rules, bars=bars)


def _frame(page: pypdfium2.PdfPage) -> Frame:
    left, bottom, right, top = page.get_bbox()
    return Frame(left, bottom, right, top, (page.get_rotation() // 90) % 4)


def _turned_size(width: float, height: float, quarters: int) -> tuple[float, float]:
    return (height, width) if quarters % 2 else (width, height)


# ---- from characters to fragments


def _straight_lines(bounds: npt.NDArray[np.float32], frame: Frame) -> tuple[tuple[Rule, ...], tuple[Bar, ...]]:
    """Return the thin ones of the page's paths."""
    placed = _to_reading(bounds, frame)
    widths, heights = placed[:, 2] - placed[:, 0], placed[:, 3] - placed[:, 1]
    flat = placed[(heights < MAX_RULE_HEIGHT) & (widths > MIN_RULE_WIDTH)].tolist()
    tall = placed[(widths < MAX_RULE_HEIGHT) & (heights > MIN_BAR_HEIGHT)].tolist()
    rules = tuple(Rule(x0, x1, (top + bottom) / 2) for x0, top, x1, bottom in flat)
    return rules, tuple(Bar((x0 + x1) / 2, top, bottom) for x0, top, x1, bottom in tall)


def _glyphs(
    codes: npt.NDArray[np.uint32],
    boxes: npt.NDArray[np.float32],
    visible: npt.NDArray[np.bool_],
    styles: list[Style],
    style_of: npt.NDArray[np.int32],
    frame: Frame,
) -> Glyphs:
    """Cut the visible characters into fragments, in the frame in which most of them run rightwards."""
    index = np.flatnonzero(visible)
    if not len(index):
        return Glyphs((), frame)
    quarters = np.array([style.quarter for style in styles], np.int32)[style_of[index]]
    main = int(np.bincount(quarters, minlength=ASKEW)[:ASKEW].argmax())
    upright = index[quarters == main]
    vertical = _is_vertical(boxes[upright], main)
    # A page displayed with /Rotate and its text turned against it: both turns add up to upright text. Columns read from
    # top to bottom become lines when the page lies on its left side.
    turn = (3 if vertical else -main) - frame.rotation
    frame = Frame(frame.left, frame.bottom, frame.right, frame.top, frame.rotation, turn % 4)
    unreadable = int(_is_unreadable(codes[index]).sum())
    fragments = _fragments(codes, boxes, upright, styles, style_of, frame, vertical=vertical)
    turned = _fragments(codes, boxes, index[quarters != main], styles, style_of, frame, turned=True)
    return Glyphs(fragments, frame, vertical, len(index), unreadable, turned)


def _is_unreadable(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    unknown = _is_private(codes) & ~np.isin(codes, list(SYMBOLS)) | ((codes >= 0xF0000) & (codes < 0x110000))
    return np.asarray(unknown | (codes == 0xFFFD) | (codes < 0x20))


def _is_vertical(boxes: npt.NDArray[np.float32], quarter: int) -> bool:
    """Whether most characters stand below, not beside, the one before."""
    if len(boxes) < 20 or quarter != 0:
        return False
    across = np.abs(boxes[1:, 0] - boxes[:-1, 0])
    down = boxes[:-1, 1] - boxes[1:, 1]
    height = np.abs(boxes[:-1, 1] - boxes[:-1, 3])
    return bool(((across < 0.5 * height) & (down > 0.5 * height) & (down < 2 * height)).mean() > 0.5)


def _to_reading(boxes: npt.NDArray[np.float32], frame: Frame) -> npt.NDArray[np.float64]:
    """Return boxes as x0, top, x1, bottom (y downwards) in the frame where the main text is upright."""
    left, top, right, bottom = boxes.astype(np.float64).T
    quarters = (frame.rotation + frame.turn) % 4
    x0, x1 = np.minimum(left, right), np.maximum(left, right)
    y0, y1 = np.minimum(bottom, top), np.maximum(bottom, top)
    if quarters == 0:
        columns = (x0 - frame.left, frame.top - y1, x1 - frame.left, frame.top - y0)
    elif quarters == 1:
        columns = (y0 - frame.bottom, x0 - frame.left, y1 - frame.bottom, x1 - frame.left)
    elif quarters == 2:
        columns = (frame.right - x1, y0 - frame.bottom, frame.right - x0, y1 - frame.bottom)
    else:
        columns = (frame.top - y1, frame.right - x1, frame.top - y0, frame.right - x0)
    return np.stack(columns, axis=1)


def _baseline(style: Style, frame: Frame) -> float:
    return (style.base - frame.bottom, style.base - frame.left, frame.top - style.base, frame.right - style.base)[
        _BASELINE_EDGE[style.quarter]
    ]


_BASELINE_EDGE = (2, 3, 0, 1, 2)  # by the direction of the text: measured from bottom, left, top or right


def _fragments(
    codes: npt.NDArray[np.uint32],
    boxes: npt.NDArray[np.float32],
    index: npt.NDArray[np.intp],
    styles: list[Style],
    style_of: npt.NDArray[np.int32],
    frame: Frame,
    *,
    turned: bool = False,
    vertical: bool = False,
) -> tuple[Fragment, ...]:
    if not len(index):
        return ()
    placed = _to_reading(boxes[index], frame)
    style = style_of[index]
    sizes = np.array([found.size for found in styles])[style]
    bases = placed[:, 3] if vertical else np.array([_baseline(found, frame) for found in styles])[style]
    gap = placed[1:, 0] - placed[:-1, 2]
    size = np.maximum(np.maximum(sizes[1:], sizes[:-1]), 1.0)
    shifted = (np.abs(bases[1:] - bases[:-1]) > 0.05 * size) | (np.abs(sizes[1:] - sizes[:-1]) > 0.05 * size)
    least = np.where(shifted, SHIFTED_SPACE_GAP, SPACE_GAP) * size
    spaced = _spaces_between(codes, boxes, index) | ((np.diff(index) > 1) & (gap > least))
    # The letters of a ligature all have its box; any other step back begins something new.
    back = (gap < OVERSTRIKE_GAP * size) & (placed[1:, 0] != placed[:-1, 0])
    breaks = spaced | back | shifted | (gap > WORD_GAP * size)
    if turned:
        breaks = (np.diff(index) > 1) | (style[1:] != style[:-1])
    firsts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    lasts = np.append(firsts[1:], len(index))
    spaces = np.concatenate(([True], spaced))[firsts].tolist()
    lows = np.minimum.reduceat(placed[:, :2], firsts, axis=0).tolist()
    highs = np.maximum.reduceat(placed[:, 2:], firsts, axis=0).tolist()
    text = codes[index].astype("<u4").tobytes().decode("utf-32-le", "replace")
    return tuple(
        Fragment(text[first:last], low[0], low[1], high[0], high[1], base, size_, *_face(styles[number]), space)
        for first, last, low, high, base, size_, number, space in zip(
            firsts.tolist(),
            lasts.tolist(),
            lows,
            highs,
            bases[firsts].tolist(),
            sizes[firsts].tolist(),
            style[firsts].tolist(),
            spaces,
            strict=True,
        )
    )


def _resolved(
    codes: npt.NDArray[np.uint32],
    visible: npt.NDArray[np.bool_],
    style_of: npt.NDArray[np.int32],
    styles: list[Style],
    names: Callable[[], GlyphNames],
) -> npt.NDArray[np.uint32]:
    """Return the codes with those of fonts that have an encoding of their own replaced by what they mean."""
    odd = _is_private(codes) | _is_control(codes)
    for number, found in enumerate(styles):
        if found.font.startswith(PI_FONT):
            odd |= style_of == number
    odd &= visible
    if not odd.any():
        return codes
    codes = codes.copy()
    known = names() if _is_control(codes[odd]).any() else {}
    for at in np.flatnonzero(odd).tolist():
        font, code = styles[style_of[at]].font, int(codes[at])
        sign = named(known.get(font, {}).get(code, ""), font) if code < 0x20 else meaning(chr(code), font)
        codes[at] = ord(sign or "\ufffd")
    return codes


def _is_control(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    return np.asarray((codes > 0) & (codes < 0x20) & ~np.isin(codes, (9, 10, 13)))


def _is_private(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    return np.asarray((codes >= 0xE000) & (codes < 0xF900))


def _spaces_between(
    codes: npt.NDArray[np.uint32], boxes: npt.NDArray[np.float32], index: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Whether a space of the file stands between neighbours; those that pdfium makes up have no width."""
    extent = np.abs(boxes[:, 2] - boxes[:, 0]) + np.abs(boxes[:, 1] - boxes[:, 3])
    real = np.isin(codes, (0x20, 0xA0, 0x3000)) & (extent > 0)
    counts = np.cumsum(real)[index]
    return np.asarray(counts[1:] > counts[:-1])


def _face(style: Style) -> tuple[bool, str]:
    return style.bold, style.font

"""Every character of a PDF page with its place, fetched from pdfium in bulk and cut into fragments.

A fragment is a run of characters without a gap, of one size and on one baseline: a word, or part of one ("LiFePO" and
the lowered "4" are two). Nothing here knows about lines, columns or meaning.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ingest.readers.symbols import PI_FONT, SYMBOLS, meaning, named

if TYPE_CHECKING:
    import pypdfium2

# Shares of the font size. A printed word space is 0.2 to 0.33; kerning and loose fonts stay below 0.12.
WORD_GAP = 0.16
SPACE_GAP = 0.05  # where pdfium guesses a space, on one line
SHIFTED_SPACE_GAP = 0.10  # and before a raised or lowered character
OVERSTRIKE_GAP = -0.6
LINE_END_HYPHENS = (0x02, 0xFFFE)  # how pdfium reports a hyphen that ends a line, in its two interfaces
MAX_FORM_DEPTH = 4
MAX_PATHS = 3000
MAX_RULE_HEIGHT = 2.5  # points
MIN_RULE_WIDTH = 40.0
MIN_BAR_HEIGHT = 8.0
MAX_SKEW = 0.15  # quarter turns; text turned further is a watermark
ASKEW = 4
FORCE_BOLD = 1 << 18  # ISO 32000-1, table 123


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


class _Style(NamedTuple):
    size: float
    base: float
    quarter: int
    bold: bool
    font: str


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
        handle = _address(textpage.raw)
        codes = _codes(raw, handle, count)
        boxes = _boxes(handle, count)
        visible = (codes > 0x20) & (codes != 0xA0) & ~((codes >= 0x7F) & (codes < 0xA0)) & (codes != 0x3000)
        visible &= ~((codes >= 0x2000) & (codes <= 0x200F))
        visible |= _is_control(codes)
        objects = _page_objects(page)
        styles, style_of = _styles(handle, boxes, visible, _hidden_objects(raw, objects))
        visible &= style_of >= 0
        codes = _resolved(codes, visible, style_of, styles, names)
        visible &= codes > 0x20
    finally:
        textpage.close()
    glyphs = _glyphs(codes, boxes, visible, styles, style_of, frame)
    rules, bars = _straight_lines(raw, objects, glyphs.frame)
    return replace(glyphs, rules=rules, bars=bars)


def _frame(page: pypdfium2.PdfPage) -> Frame:
    left, bottom, right, top = page.get_bbox()
    return Frame(left, bottom, right, top, (page.get_rotation() // 90) % 4)


def _turned_size(width: float, height: float, quarters: int) -> tuple[float, float]:
    return (height, width) if quarters % 2 else (width, height)


# ---- pdfium in bulk: plain addresses instead of ctypes objects, which makes a call some five times cheaper

_Signature = tuple[str, Any, tuple[Any, ...]]


@cache
def _call(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    import pypdfium2.raw as raw

    address = ctypes.cast(getattr(raw, name), ctypes.c_void_p).value or 0
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


def _address(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def _codes(raw: Any, handle: int, count: int) -> npt.NDArray[np.uint32]:
    """Return the character codes: in one call where that gives one per character, else one by one."""
    buffer = (ctypes.c_ushort * (count + 1))()
    get_text = _call("FPDFText_GetText", ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    if get_text(handle, 0, count, ctypes.addressof(buffer)) == count + 1:
        codes = np.frombuffer(bytes(buffer), np.uint16)[:count].astype(np.uint32)
        if not ((codes >= 0xD800) & (codes < 0xE000)).any():
            codes[codes == LINE_END_HYPHENS[1]] = ord("-")
            return codes
    get_unicode = _call("FPDFText_GetUnicode", ctypes.c_uint, ctypes.c_void_p, ctypes.c_int)
    codes = np.fromiter(map(get_unicode, repeat(handle), range(count)), np.uint32, count)
    is_hyphen = _call("FPDFText_IsHyphen", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    for index in np.flatnonzero(codes == LINE_END_HYPHENS[0]):
        # Code 2 is also what a font without a Unicode map gives for its second glyph.
        if is_hyphen(handle, int(index)) == 1:
            codes[index] = ord("-")
    codes[codes > 0x10FFFF] = 0xFFFD
    return _with_pairs_joined(codes)


def _with_pairs_joined(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Join surrogate pairs (mathematical letters) into the first of the two places; the second becomes nothing."""
    high = np.flatnonzero((codes[:-1] >= 0xD800) & (codes[:-1] < 0xDC00) & (codes[1:] >= 0xDC00) & (codes[1:] < 0xE000))
    codes[high] = 0x10000 + ((codes[high] - 0xD800) << 10) + (codes[high + 1] - 0xDC00)
    codes[high + 1] = 0
    codes[(codes >= 0xD800) & (codes < 0xE000)] = 0xFFFD
    return codes


def _boxes(handle: int, count: int) -> npt.NDArray[np.float32]:
    """Return left, top, right, bottom of every character (y upwards), as high as its font."""
    boxes = np.zeros((count, 4), np.float32)
    start = boxes.ctypes.data
    get_box = _call("FPDFText_GetLooseCharBox", ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    deque(map(get_box, repeat(handle), range(count), range(start, start + 16 * count, 16)), maxlen=0)
    return boxes


def _styles(
    handle: int,
    boxes: npt.NDArray[np.float32],
    visible: npt.NDArray[np.bool_],
    hidden: frozenset[int],
) -> tuple[list[_Style], npt.NDArray[np.int32]]:
    """Return the styles of the page and the index of each character's style (-1: invisible).

    Asking pdfium for the style of every character would double the time, so it is asked where a style can change: at
    the first character after a space, and where the box changes its height.
    """
    shift = np.abs(boxes[1:, 1] - boxes[:-1, 1]) + np.abs(boxes[1:, 3] - boxes[:-1, 3])
    heads = visible.copy()
    heads[1:] &= ~visible[:-1] | (shift > 0.02)
    indices = np.flatnonzero(heads)
    get_object = _call("FPDFText_GetTextObject", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    objects = list(map(get_object, repeat(handle), indices.tolist()))
    styles: list[_Style] = []
    known: dict[int, int] = dict.fromkeys(hidden, -1)
    fonts: dict[int, tuple[str, bool]] = {}
    numbers: list[int] = []
    for index, pointer in zip(indices.tolist(), objects, strict=True):
        number = known.get(pointer or 0)
        if number is None:
            number = known[pointer or 0] = len(styles)
            styles.append(_style(handle, index, pointer or 0, fonts))
        numbers.append(number)
    style_of = np.full(len(visible), -1, np.int32)
    if numbers:
        spans = np.diff(np.append(indices, len(visible)))
        style_of[indices[0] :] = np.repeat(np.array(numbers, np.int32), spans)
    return styles, style_of


def _style(handle: int, index: int, pointer: int, fonts: dict[int, tuple[str, bool]]) -> _Style:
    matrix = (ctypes.c_float * 6)()
    origin = (ctypes.c_double * 2)()
    at = ctypes.addressof(origin)
    _call("FPDFText_GetMatrix", ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(
        handle, index, ctypes.addressof(matrix)
    )
    _call("FPDFText_GetCharOrigin", ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(
        handle, index, at, at + 8
    )
    nominal = _call("FPDFText_GetFontSize", ctypes.c_double, ctypes.c_void_p, ctypes.c_int)(handle, index)
    size = float(nominal) * math.hypot(matrix[2], matrix[3])
    # Clockwise quarter turns of the writing direction as seen in page coordinates (y upwards).
    turns = -math.atan2(matrix[1], matrix[0]) / (math.pi / 2)
    quarter = round(turns) % 4 if abs(turns - round(turns)) < MAX_SKEW else ASKEW
    base = (origin[1], origin[0], origin[1], origin[0], origin[1])[quarter]
    font, bold = _font(pointer, fonts)
    return _Style(size, float(base), quarter, bold, font)


def _font(pointer: int, fonts: dict[int, tuple[str, bool]]) -> tuple[str, bool]:
    if not pointer:
        return "", False
    font = _call("FPDFTextObj_GetFont", ctypes.c_void_p, ctypes.c_void_p)(pointer) or 0
    if font not in fonts:
        fonts[font] = _font_name(font)
    return fonts[font]


def plain_font_name(name: str) -> str:
    """Return a font's base name without its subset tag."""
    return re.sub(r"^/?(?:[A-Z]{6}\+)?", "", name)


def _font_name(font: int) -> tuple[str, bool]:
    """Return the base name of a font without its subset tag, and whether it is bold."""
    if not font:
        return "", False
    get_name = _call("FPDFFont_GetBaseFontName", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    buffer = ctypes.create_string_buffer(128)
    get_name(font, ctypes.addressof(buffer), 128)
    name = plain_font_name(buffer.value.decode("utf-8", "replace"))
    lowered = name.lower()
    bold = any(mark in lowered for mark in ("bold", "black", "heavy", "-bd", "medi", "cmbx", ".b", "demi"))
    # The weight is guessed from the stems and calls regular fonts bold; the flag is what the file says.
    flags = ctypes.c_int(0)
    _call("FPDFFont_GetFlags", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(font, ctypes.addressof(flags))
    return name, bold or bool(flags.value & FORCE_BOLD)


# ---- text that a clipping rectangle hides: publishers paste whole manuscript pages of which one figure shows


def _page_objects(page: pypdfium2.PdfPage) -> list[int]:
    handle = _address(page.raw)
    count = _call("FPDFPage_CountObjects", ctypes.c_int, ctypes.c_void_p)(handle)
    get_object = _call("FPDFPage_GetObject", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    return list(map(get_object, repeat(handle), range(count)))


def _straight_lines(raw: Any, objects: list[int], frame: Frame) -> tuple[tuple[Rule, ...], tuple[Bar, ...]]:
    """Return the page's thin lines; those of vector drawings with thousands of paths are not looked at."""
    paths = _of_type(objects, raw.FPDF_PAGEOBJ_PATH)
    if not paths or len(paths) > MAX_PATHS:
        return (), ()
    bounds = np.zeros((len(paths), 4), np.float32)  # left, bottom, right, top
    start = bounds.ctypes.data
    get_bounds = _call("FPDFPageObj_GetBounds", ctypes.c_int, *(ctypes.c_void_p,) * 5)
    places = [range(start + 4 * edge, start + 4 * edge + 16 * len(paths), 16) for edge in range(4)]
    deque(map(get_bounds, paths, *places), maxlen=0)
    placed = _to_reading(bounds[:, [0, 3, 2, 1]], frame)
    widths, heights = placed[:, 2] - placed[:, 0], placed[:, 3] - placed[:, 1]
    flat = placed[(heights < MAX_RULE_HEIGHT) & (widths > MIN_RULE_WIDTH)].tolist()
    tall = placed[(widths < MAX_RULE_HEIGHT) & (heights > MIN_BAR_HEIGHT)].tolist()
    rules = tuple(Rule(x0, x1, (top + bottom) / 2) for x0, top, x1, bottom in flat)
    return rules, tuple(Bar((x0 + x1) / 2, top, bottom) for x0, top, x1, bottom in tall)


def _hidden_objects(raw: Any, objects: list[int]) -> frozenset[int]:
    """Return the text objects inside forms that stand outside the form's clipping rectangle."""
    hidden: set[int] = set()
    for form in _of_type(objects, raw.FPDF_PAGEOBJ_FORM):
        _walk_form(raw, form, hidden, 0)
    return frozenset(hidden)


def _of_type(pointers: list[int], kind: int) -> list[int]:
    get_type = _call("FPDFPageObj_GetType", ctypes.c_int, ctypes.c_void_p)
    return [pointer for pointer, found in zip(pointers, map(get_type, pointers), strict=True) if found == kind]


def _walk_form(raw: Any, form: int, hidden: set[int], depth: int) -> None:
    count = _call("FPDFFormObj_CountObjects", ctypes.c_int, ctypes.c_void_p)(form)
    get_object = _call("FPDFFormObj_GetObject", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong)
    pointers = list(map(get_object, repeat(form), range(max(count, 0))))
    hidden.update(pointer for pointer in _of_type(pointers, raw.FPDF_PAGEOBJ_TEXT) if _is_clipped_away(pointer))
    if depth < MAX_FORM_DEPTH:  # forms may contain themselves
        for inner in _of_type(pointers, raw.FPDF_PAGEOBJ_FORM):
            _walk_form(raw, inner, hidden, depth + 1)


def _is_clipped_away(pointer: int) -> bool:
    """Whether the middle of a text object lies outside a clip path; both are in the form's own coordinates."""
    clip = _call("FPDFPageObj_GetClipPath", ctypes.c_void_p, ctypes.c_void_p)(pointer)
    if not clip:
        return False
    bounds = (ctypes.c_float * 4)()
    at = ctypes.addressof(bounds)
    get_bounds = _call("FPDFPageObj_GetBounds", ctypes.c_int, *(ctypes.c_void_p,) * 5)
    if not get_bounds(pointer, at, at + 4, at + 8, at + 12):
        return False
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    paths = _call("FPDFClipPath_CountPaths", ctypes.c_int, ctypes.c_void_p)(clip)
    return any(not _around(_clip_points(clip, number), x, y) for number in range(max(paths, 0)))


def _clip_points(clip: int, number: int) -> list[tuple[float, float]]:
    count = _call("FPDFClipPath_CountPathSegments", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(clip, number)
    get_segment = _call("FPDFClipPath_GetPathSegment", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    get_point = _call("FPDFPathSegment_GetPoint", ctypes.c_int, *(ctypes.c_void_p,) * 3)
    point = (ctypes.c_float * 2)()
    at = ctypes.addressof(point)
    segments = [get_segment(clip, number, index) for index in range(max(count, 0))]
    return [(point[0], point[1]) for segment in segments if get_point(segment, at, at + 4)]


def _around(points: list[tuple[float, float]], x: float, y: float) -> bool:
    if not points:
        return True
    xs, ys = zip(*points, strict=True)
    return bool(min(xs) - 1 <= x <= max(xs) + 1 and min(ys) - 1 <= y <= max(ys) + 1)


# ---- from characters to fragments


def _glyphs(
    codes: npt.NDArray[np.uint32],
    boxes: npt.NDArray[np.float32],
    visible: npt.NDArray[np.bool_],
    styles: list[_Style],
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


def _baseline(style: _Style, frame: Frame) -> float:
    return (style.base - frame.bottom, style.base - frame.left, frame.top - style.base, frame.right - style.base)[
        _BASELINE_EDGE[style.quarter]
    ]


_BASELINE_EDGE = (2, 3, 0, 1, 2)  # by the direction of the text: measured from bottom, left, top or right


def _fragments(
    codes: npt.NDArray[np.uint32],
    boxes: npt.NDArray[np.float32],
    index: npt.NDArray[np.intp],
    styles: list[_Style],
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
    styles: list[_Style],
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


def _face(style: _Style) -> tuple[bool, str]:
    return style.bold, style.font

"""pdfium's characters, styles and paths in bulk.

Plain addresses instead of ctypes objects make a call some five times cheaper; nothing here knows what the numbers mean.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections import deque
from collections.abc import Callable
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pypdfium2

LINE_END_HYPHENS = (0x02, 0xFFFE)  # how pdfium reports a hyphen that ends a line, in its two interfaces
MAX_FORM_DEPTH = 4
MAX_PATHS = 3000
MAX_SKEW = 0.15  # quarter turns; text turned further is a watermark
ASKEW = 4
FORCE_BOLD = 1 << 18  # ISO 32000-1, table 123


class Style(NamedTuple):
    """What the characters of a run have in common; `quarter` is their direction, ASKEW for none of the four."""

    size: float
    base: float
    quarter: int
    bold: bool
    font: str


@cache
def _call(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    import pypdfium2.raw as raw

    address = ctypes.cast(getattr(raw, name), ctypes.c_void_p).value or 0
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


def address(pointer: Any) -> int:
    """Return where a ctypes pointer points."""
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def codes_of(raw: Any, handle: int, count: int) -> npt.NDArray[np.uint32]:
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


def boxes_of(handle: int, count: int) -> npt.NDArray[np.float32]:
    """Return left, top, right, bottom of every character (y upwards), as high as its font."""
    boxes = np.zeros((count, 4), np.float32)
    start = boxes.ctypes.data
    get_box = _call("FPDFText_GetLooseCharBox", ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    deque(map(get_box, repeat(handle), range(count), range(start, start + 16 * count, 16)), maxlen=0)
    return boxes


def styles_of(
    handle: int,
    boxes: npt.NDArray[np.float32],
    visible: npt.NDArray[np.bool_],
    hidden: frozenset[int],
) -> tuple[list[Style], npt.NDArray[np.int32]]:
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
    styles: list[Style] = []
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


def _style(handle: int, index: int, pointer: int, fonts: dict[int, tuple[str, bool]]) -> Style:
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
    return Style(size, float(base), quarter, bold, font)


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


def page_objects(page: pypdfium2.PdfPage) -> list[int]:
    """Return the addresses of the page's objects, in the order in which they are drawn."""
    handle = address(page.raw)
    count = _call("FPDFPage_CountObjects", ctypes.c_int, ctypes.c_void_p)(handle)
    get_object = _call("FPDFPage_GetObject", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    return list(map(get_object, repeat(handle), range(count)))


def path_bounds(raw: Any, objects: list[int]) -> npt.NDArray[np.float32]:
    """Return left, top, right, bottom (y upwards) of the paths; none of vector drawings with thousands of them."""
    paths = _of_type(objects, raw.FPDF_PAGEOBJ_PATH)
    if len(paths) > MAX_PATHS:
        return np.zeros((0, 4), np.float32)
    bounds = np.zeros((len(paths), 4), np.float32)  # left, bottom, right, top
    start = bounds.ctypes.data
    get_bounds = _call("FPDFPageObj_GetBounds", ctypes.c_int, *(ctypes.c_void_p,) * 5)
    places = [range(start + 4 * edge, start + 4 * edge + 16 * len(paths), 16) for edge in range(4)]
    deque(map(get_bounds, paths, *places), maxlen=0)
    return bounds[:, [0, 3, 2, 1]]


def hidden_objects(raw: Any, objects: list[int]) -> frozenset[int]:
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

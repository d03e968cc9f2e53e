"""Text from page images, by Tesseract where the `ocr` extra and the program are installed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING

from ingest.errors import ReadError
from ingest.records import Box

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_DPI = 200  # 300 reads no better on the scans tried and takes half as long again
POINTS_PER_INCH = 72
PAGE_TIMEOUT_S = 120.0
LEAST_TIME_S = 1.0  # with less left for a page, Tesseract is not started
UNREAD = "not recognised in time"  # marks the warning of a paper that was read in part
LONGEST_SIDE = 3000  # pixels; A4 at 250 dpi. Pages that claim to be a metre wide are scans with the wrong size
LEAST_CONFIDENCE = 55.0  # of a page; scans in a language that is not installed give 30 to 50, poor scans 65 and more
# Page segmentation with orientation detection: pages scanned sideways or upside down come out right, and the boxes stay
# in the frame of the image as given. See `tesseract --help-psm`.
SEGMENTATION = "--psm 1"

_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class OcrWord:
    """A word as Tesseract saw it; `confidence` runs from 0 to 100, `box` is in points of the displayed page."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class OcrLine:
    """One printed line. `paragraph` counts from 0 and changes where Tesseract sees a new paragraph or column."""

    words: tuple[OcrWord, ...]
    paragraph: int

    @property
    def text(self) -> str:
        """Return the words joined by spaces, but by nothing between Chinese or Japanese characters."""
        return join_words(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """Return the mean confidence of the words, 0 to 100."""
        return sum(word.confidence for word in self.words) / len(self.words)


@dataclass(frozen=True, slots=True)
class Languages:
    """The languages to recognise with, in Tesseract's form ("eng+jpn"), and a warning when some had to be left out."""

    used: str
    warning: str = ""


class Budget:
    """The time that OCR may still take for one file."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._spent = 0.0

    def recognise(self, render: Callable[[], Image], *, languages: str) -> tuple[OcrLine, ...] | None:
        """Return what OCR sees on the page that `render` draws; None where the time is over or does not suffice."""
        left = min(self.seconds - self._spent, PAGE_TIMEOUT_S)
        if left < LEAST_TIME_S:
            return None
        started = monotonic()
        try:
            return recognise(render(), languages=languages, timeout_s=left)
        except ReadError as error:
            if error.cause == "timeout":
                return None
            raise
        finally:
            self._spent += monotonic() - started


def available() -> bool:
    """Say whether pages can be recognised here."""
    return not why_not()


@cache
def why_not() -> str:
    """Say what is missing, as a sentence for the user; "" when nothing is."""
    if find_spec("pytesseract") is None or find_spec("PIL") is None:
        return "OCR needs packages that are not installed: pip install 'matlit[ocr]'"
    if shutil.which("tesseract") is None:
        return "OCR needs the program tesseract: apt install tesseract-ocr tesseract-ocr-jpn, or brew install tesseract"
    if not installed_languages():
        return "Tesseract is installed without any language: apt install tesseract-ocr-eng tesseract-ocr-jpn"
    return ""


@cache
def installed_languages() -> frozenset[str]:
    """Return Tesseract's names of the languages that are installed ("osd" is none)."""
    import pytesseract

    return frozenset(pytesseract.get_languages()) - {"osd"}


def choose_languages(wanted: str) -> Languages:
    """Return those of the wanted languages that are installed, else English, else any, with a warning that says so."""
    installed = installed_languages()
    names = [name for name in wanted.split("+") if name]
    missing = [name for name in names if name not in installed]
    if not missing and names:
        return Languages(used="+".join(names))
    used = [name for name in names if name in installed] or sorted(installed & {"eng"}) or sorted(installed)[:1]
    packages = " ".join(f"tesseract-ocr-{name.replace('_', '-')}" for name in missing)
    return Languages(
        used="+".join(used),
        warning=f"OCR without {', '.join(missing)} (not installed: apt install {packages}); used {'+'.join(used)}",
    )


def rendering_dpi(width: float, height: float) -> float:
    """Return the resolution at which a page of this size, in points, should be rendered for `recognise`."""
    return min(float(DEFAULT_DPI), LONGEST_SIDE * POINTS_PER_INCH / max(width, height, 1.0))


def recognise(
    image: Image, *, languages: str, dpi: float = DEFAULT_DPI, timeout_s: float = PAGE_TIMEOUT_S
) -> tuple[OcrLine, ...]:
    """Return the lines of a page image in reading order; `dpi` is the resolution at which the page was rendered.

    A page of which Tesseract is unsure as a whole (a language that is not installed, a photograph) gives no lines:
    made-up words would be found and quoted.

    Raises `ReadError` (cause `scanned`) when OCR is not installed, `timeout` when Tesseract takes too long, and
    `malformed` when it refuses the image.
    """
    if reason := why_not():
        raise ReadError("the page is an image without text, and cannot be recognised", cause="scanned", hint=reason)
    import pytesseract

    os.environ.setdefault("OMP_THREAD_LIMIT", "1")  # Tesseract's own threads cost more than they bring
    image, dpi = _reduced(image, dpi)
    try:
        table = pytesseract.image_to_data(
            image,
            lang=choose_languages(languages).used,
            config=f"{SEGMENTATION} --dpi {max(round(dpi), 70)}",
            timeout=timeout_s,
            output_type=pytesseract.Output.DICT,
        )
    except pytesseract.TesseractError as error:
        raise ReadError(f"Tesseract refuses the page image: {error.message.strip()}", cause="malformed") from error
    except RuntimeError as error:  # what pytesseract raises when the time is up
        raise ReadError(f"Tesseract took more than {timeout_s:g} s for one page", cause="timeout") from error
    lines = _lines(table, scale=POINTS_PER_INCH / dpi)
    return lines if mean_confidence(lines) >= LEAST_CONFIDENCE else ()


def mean_confidence(lines: Sequence[OcrLine]) -> float:
    """Return the mean confidence of all words, 0 to 100; 0 where there are none."""
    words = [word.confidence for line in lines for word in line.words]
    return sum(words) / len(words) if words else 0.0


def join_words(words: Iterable[str]) -> str:
    """Join recognised words by spaces, but by nothing between Chinese or Japanese characters."""
    text = ""
    for word in words:
        glued = not text or (_CJK.match(text[-1]) and _CJK.match(word[:1]))
        text += word if glued else f" {word}"
    return text


def _reduced(image: Image, dpi: float) -> tuple[Image, float]:
    """Return the image in grey and no larger than Tesseract needs, with the resolution it then has."""
    image = image.convert("L")
    ratio = LONGEST_SIDE / max(image.size)
    if ratio >= 1:
        return image, dpi
    return image.resize((max(int(image.width * ratio), 1), max(int(image.height * ratio), 1))), dpi * ratio


def _lines(table: dict[str, list[int | float | str]], *, scale: float) -> tuple[OcrLine, ...]:
    """Group Tesseract's table (one row per page, block, paragraph, line and word) into lines."""
    lines: dict[tuple[int, int, int], list[OcrWord]] = {}
    for row, text in enumerate(table["text"]):
        word = str(text).strip()
        if not word:
            continue
        left, top, width, height = (float(table[name][row]) * scale for name in ("left", "top", "width", "height"))
        key = (int(table["block_num"][row]), int(table["par_num"][row]), int(table["line_num"][row]))
        box = Box(left, top, left + width, top + height)
        lines.setdefault(key, []).append(OcrWord(word, float(table["conf"][row]), box))
    paragraphs = {key: number for number, key in enumerate(dict.fromkeys(key[:2] for key in lines))}
    return tuple(OcrLine(words=tuple(words), paragraph=paragraphs[key[:2]]) for key, words in lines.items())

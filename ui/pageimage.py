"""Pages of PDFs as pictures, with quotes marked where they stand.

Rendering runs in a process of its own: a file that crashes or hangs pdfium costs that process, not the server. Boxes
are in points of the displayed page (see `ingest.records.Box`), so one factor leads from them to pixels.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from ingest.errors import ReadError
from ingest.records import Box

TIMEOUT_S = 30.0
START_S = 60.0  # for the first picture, which starts the process
MEMORY_MB = 2048
PIXELS_PER_POINT = 1.8
MOST_PIXELS = 4_000_000  # of a picture; posters are drawn smaller
MARK = (255, 214, 64)
MARGIN_PT = 1.2  # around a box, so that letters do not touch its border


@dataclass(frozen=True, slots=True)
class Picture:
    """A page as a PNG; `scale` is pixels per point."""

    png: bytes
    width: int
    height: int
    scale: float


class Renderer:
    """Renders pages in one process that is started when needed and replaced when it dies."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def render(self, path: Path, number: int, *, password: str = "") -> Picture:
        """Return page `number` (from 1) of a PDF.

        Raises:
            ReadError: the file is gone, encrypted or broken, has no such page, or takes too long.
        """
        if not path.is_file():
            raise ReadError(
                f"{path.name!r} is no longer where it was read", cause="missing", hint="Put it back, or ingest it anew"
            )
        fresh = self._pool is None
        try:
            future = self._process().submit(_render, str(path), number, password)
            return future.result(timeout=START_S if fresh else TIMEOUT_S)
        except OutOfTime as error:
            self.close()
            raise ReadError(f"page {number} of {path.name!r} takes too long to draw", cause="timeout") from error
        except BrokenExecutor as error:
            self.close()
            raise ReadError(f"page {number} of {path.name!r} crashes the PDF program", cause="crashed") from error

    def begin(self) -> None:
        """Start the process, so that the first page need not wait for it."""
        self._process().submit(_load)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            for process in list(pool._processes.values()):  # there is no public way to end one that hangs
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)

    def _process(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                begin = partial(_limit_memory, MEMORY_MB)
                self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin)
            return self._pool


def _limit_memory(memory_mb: int) -> None:
    import resource

    limit = memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _load() -> None:
    import pypdfium2  # noqa: F401
    from PIL import Image  # noqa: F401


def _render(path: str, number: int, password: str) -> Picture:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(path, password=password or None)
    except pypdfium2.PdfiumError as error:
        cause, hint = ("encrypted", "Its pages are shown as text") if "assword" in str(error) else ("malformed", "")
        raise ReadError(f"{Path(path).name!r} cannot be drawn: {error}", cause=cause, hint=hint) from None
    try:
        if not 1 <= number <= len(pdf):
            raise ReadError(f"{Path(path).name!r} has no page {number}", cause="missing")
        page = pdf[number - 1]
        width, height = page.get_size()
        scale = min(PIXELS_PER_POINT, (MOST_PIXELS / max(width * height, 1.0)) ** 0.5)
        picture = page.render(scale=scale).to_pil().convert("RGB")
        return Picture(_png(picture), picture.width, picture.height, picture.width / width)
    finally:
        pdf.close()


def mark(picture: Picture, boxes: Sequence[Box], *, colour: tuple[int, int, int] = MARK) -> bytes:
    """Return the page as a PNG with `boxes` marked as by a highlighter: the letters stay as dark as they are."""
    from PIL import Image, ImageChops, ImageDraw

    page = Image.open(io.BytesIO(picture.png)).convert("RGB")
    layer = Image.new("RGB", page.size, "white")
    pen = ImageDraw.Draw(layer)
    for box in boxes:
        pen.rectangle(_pixels(box, picture.scale), fill=colour)
    return _png(ImageChops.multiply(page, layer))


def _pixels(box: Box, scale: float) -> tuple[float, float, float, float]:
    return (
        (box.x0 - MARGIN_PT) * scale,
        (box.top - MARGIN_PT) * scale,
        (box.x1 + MARGIN_PT) * scale,
        (box.bottom + MARGIN_PT) * scale,
    )


def _png(picture: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)  # type: ignore[attr-defined]
    return buffer.getvalue()

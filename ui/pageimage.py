"""Pages of PDFs as pictures, with quotes marked where they stand.

Rendering runs in a process of its own: a file that crashes or hangs pdfium costs that process, not the server. It is
started with exec and imports this module only, whatever `__main__` is (Streamlit makes the app's script that), leads a
session of its own, so that Ctrl-C is the server's alone, and ends when the server's end of its pipe closes, even where
the server was killed. Boxes are in points of the displayed page (see `ingest.records.Box`), so one factor leads from
them to pixels.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from ingest.errors import ReadError
from ingest.records import Box

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

TIMEOUT_S = 30.0
START_S = 60.0  # for the first picture, which starts the process
MEMORY_MB = 2048
PIXELS_PER_POINT = 1.8
MOST_PIXELS = 4_000_000  # of a picture; posters are drawn smaller
MARK = (255, 214, 64)
MARGIN_PT = 1.2  # around a box, so that letters do not touch its border
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ui.pageimage import _serve; _serve()"


@dataclass(frozen=True, slots=True)
class Picture:
    """A page as a PNG; `scale` is pixels per point."""

    png: bytes
    width: int
    height: int
    scale: float


class Renderer:
    """Renders pages in one process that is started when needed and replaced when it dies; callers wait their turn."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.RLock()

    def render(self, path: Path, number: int, *, password: str = "") -> Picture:
        """Return page `number` (from 1) of a PDF.

        Raises:
            ReadError: the file is gone, encrypted or broken, has no such page, or takes too long.
        """
        if not path.is_file():
            raise ReadError(
                f"{path.name!r} is no longer where it was read", cause="missing", hint="Put it back, or ingest it anew"
            )
        with self._turn:
            before, process = self._process, self.begin()
            with _limited(process, TIMEOUT_S if process is before else START_S) as is_late:
                answer = _ask(process, [str(path), number, password])
            if answer is None:
                self.close()
                if is_late.is_set():
                    raise ReadError(f"page {number} of {path.name!r} takes too long to draw", cause="timeout")
                raise ReadError(f"page {number} of {path.name!r} crashes the PDF program", cause="crashed")
        return answer

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the process if there is none, so that the first page need not wait for it."""
        with self._turn:
            if self._process is not None and self._process.poll() is not None:
                self.close()
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _BOOT, json.dumps([entry or str(Path.cwd()) for entry in sys.path])],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):  # an unsent request
                    pipe.close()  # type: ignore[union-attr]  # both were asked for


@contextmanager
def _limited(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kill the process if the block takes longer; the event then says so."""
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _ask(process: subprocess.Popen[bytes], request: list[Any]) -> Picture | None:
    """Return what the process answers, None where it died; raises the `ReadError` that it found."""
    assert process.stdin is not None  # noqa: S101  # both were opened with PIPE
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        return None
    answer = json.loads(line)
    if "error" in answer:
        raise ReadError(answer["error"], cause=answer["cause"], hint=answer["hint"])
    png = process.stdout.read(answer["size"])
    if len(png) < answer["size"]:
        return None
    return Picture(png, answer["width"], answer["height"], answer["scale"])


# --- what runs inside the process -------------------------------------------------------------------------------------


def _serve() -> None:
    """Draw one page after another until the server's end of the pipe closes."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing a library prints can mix with the pictures
    _limit_memory(MEMORY_MB)
    inbox = _listen(requests)
    _load()
    while True:
        path, number, password = inbox.get()
        try:
            picture = _render(path, number, password)
        except ReadError as error:
            _answer(answers, {"error": str(error), "cause": error.cause, "hint": error.hint})
        else:
            about = {"width": picture.width, "height": picture.height, "scale": picture.scale}
            _answer(answers, {"size": len(picture.png), **about}, picture.png)


def _answer(pipe: IO[bytes], about: dict[str, Any], png: bytes = b"") -> None:
    try:
        pipe.write(json.dumps(about).encode() + b"\n" + png)
        pipe.flush()
    except BrokenPipeError:  # the server was killed while this page was drawn
        os._exit(0)


def _listen(requests: IO[bytes]) -> SimpleQueue[Any]:
    """Receive requests in a thread, which ends the process, whatever it is drawing, when the pipe closes."""
    inbox: SimpleQueue[Any] = SimpleQueue()

    def receive() -> None:
        for line in requests:
            inbox.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    return inbox


def _limit_memory(memory_mb: int) -> None:
    if sys.platform != "linux":
        return
    import resource

    limit = memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _load() -> None:
    import pypdfium2  # noqa: F401
    from PIL import Image  # noqa: F401


def _render(path: str, number: int, password: str) -> Picture:
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(path, password=password or None) as pdf:
            if not 1 <= number <= len(pdf):
                raise ReadError(f"{Path(path).name!r} has no page {number}", cause="missing")
            return _drawn(pdf[number - 1])
    except pypdfium2.PdfiumError as error:
        cause, hint = ("encrypted", "Its pages are shown as text") if "assword" in str(error) else ("malformed", "")
        raise ReadError(f"{Path(path).name!r} cannot be drawn: {error}", cause=cause, hint=hint) from None


def _drawn(page: PdfPage) -> Picture:
    width, height = page.get_size()
    scale = min(PIXELS_PER_POINT, (MOST_PIXELS / max(width * height, 1.0)) ** 0.5)
    picture = page.render(scale=scale).to_pil().convert("RGB")
    return Picture(_png(picture), picture.width, picture.height, picture.width / width)


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

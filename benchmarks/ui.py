"""Whether the highlight of the web app lands on the quote: 20 quotes in 10 papers, checked without our reader.

    python -m benchmarks.ui [--keep FOLDER] [--papers 10] [--quotes 2] [--seed 0]

Each paper is asked about itself, and the first quotes of its answers that can be checked are taken. Where a quote
really stands is found in pdfium's raw characters (letters and digits only), whose own boxes are then compared with the
pixels that the app's picture of the cited page has coloured. Right: nine in ten of the quote's characters lie on
colour, and at least half of the colour lies on the quote's lines. Wrong page: it stands on another page only.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import random
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pypdfium2
from PIL import Image

from assistant.assistant import Assistant
from assistant.citations import Citation
from benchmarks._machine import describe
from ingest.pipeline import ingest
from ingest.records import Filter, Paper
from ingest.settings import Settings
from ui.pageimage import Picture, Renderer, mark

PAPERS = Path(__file__).resolve().parents[2] / "shared" / "data" / "papers"
QUESTIONS = (
    "What is the main result?",
    "What method was used?",
    "Which temperature or voltage was applied?",
    "What limits the performance?",
)
ON_COLOUR = 0.9  # of the quote's characters
ON_LINES = 0.5  # of the colour
LINE_SLACK_PT = 3.0

Span = tuple[float, float, float, float]  # left, top, right, bottom in points of the displayed page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder for the library")
    parser.add_argument("--papers", type=int, default=10)
    parser.add_argument("--quotes", type=int, default=2, help="of each paper")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(describe("pypdfium2", "streamlit"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        chosen = choose(options.papers, seed=options.seed)
        for _ in ingest(chosen, settings=Settings(), library=folder):
            pass
        outcomes = Counter(outcome for _, _, outcome in outcomes_in(folder, quotes=options.quotes))
    total = sum(outcomes.values())
    print(f"n={total} | papers={len(chosen)} | seed={options.seed} | {dict(outcomes)}")
    return 0 if outcomes["right"] >= 0.95 * total and not outcomes["wrong page"] else 1


def choose(count: int, *, seed: int) -> list[Path]:
    """Return research papers, the same for a seed."""
    papers = sorted(path for path in PAPERS.glob("*.pdf") if path.name.startswith(("PMC", "joss", "10.", "mater")))
    return random.Random(seed).sample(papers, min(count, len(papers)))


def outcomes_in(folder: Path, *, quotes: int) -> Iterator[tuple[Paper, Citation, str]]:
    """Yield some quotes of every paper of a library with what became of their highlight."""
    renderer = Renderer()
    with Assistant(folder, keep_journal=False) as assistant:
        for paper in assistant.library.papers():
            for citation in quotes_of(assistant, paper, quotes):
                outcome = check(citation, paper.paths[0], renderer)
                print(f"{outcome:11} {paper.paths[0].name} p. {citation.page}: {citation.quote[:70]!r}")
                yield paper, citation, outcome
    renderer.close()


def quotes_of(assistant: Assistant, paper: Paper, count: int) -> list[Citation]:
    """Return quotes of answers about one paper."""
    found: dict[str, Citation] = {}
    for question in QUESTIONS:
        asked = f"{question} {paper.metadata.title}"
        answer = assistant.ask(asked, where=Filter(sources=frozenset({paper.id})))
        for citation in answer.citations:
            if "\t" not in citation.quote and " | " not in citation.quote and stands(citation.quote, paper.paths[0]):
                found.setdefault(citation.quote, citation)
    return list(found.values())[:count]


def check(citation: Citation, path: Path, renderer: Renderer) -> str:
    """Return "right", "beside" or "wrong page"."""
    places = stands(citation.quote, path)
    if citation.page not in places:
        return "wrong page"
    picture = renderer.render(path, citation.page)
    coloured = colour_of(picture, mark(picture, citation.boxes))
    return "right" if any(lies_on(spans, coloured, picture.scale) for spans in places[citation.page]) else "beside"


def colour_of(plain: Picture, marked: bytes) -> np.ndarray:
    """Return which pixels the highlighter has changed, as (rows, columns) of truth values."""
    before, after = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int) for png in (plain.png, marked))
    changed: np.ndarray = np.abs(before - after).sum(axis=2) > 30
    return changed


def lies_on(spans: Sequence[Span], coloured: np.ndarray, scale: float) -> bool:
    """Say whether the characters lie on the colour, and the colour on the lines of the characters."""
    centres = [((left + right) / 2 * scale, (top + bottom) / 2 * scale) for left, top, right, bottom in spans]
    around = [_is_near(coloured, x, y, 3) for x, y in centres]
    rows, _ = np.nonzero(coloured)
    lines = np.zeros(coloured.shape[0], dtype=bool)
    for _, top, _, bottom in spans:
        lines[max(int((top - LINE_SLACK_PT) * scale), 0) : int((bottom + LINE_SLACK_PT) * scale)] = True
    return bool(rows.size) and np.mean(around) >= ON_COLOUR and float(np.mean(lines[rows])) >= ON_LINES


def _is_near(coloured: np.ndarray, x: float, y: float, reach: int) -> bool:
    row, column = int(y), int(x)
    return bool(coloured[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1].any())


def stands(quote: str, path: Path) -> dict[int, list[list[Span]]]:
    """Return where a quote stands by pdfium's raw characters: page number to the boxes of its characters."""
    wanted = squeezed(quote)
    found: dict[int, list[list[Span]]] = {}
    pdf = pypdfium2.PdfDocument(path)
    for number in range(1, len(pdf) + 1):
        page = pdf[number - 1]
        text = page.get_textpage()
        letters, indices = _letters(text)
        for match in re.finditer(re.escape(wanted), letters):
            boxes = [text.get_charbox(index) for index in dict.fromkeys(indices[match.start() : match.end()])]
            found.setdefault(number, []).append([_displayed(page, box) for box in boxes])
    pdf.close()
    return found


def _displayed(page: pypdfium2.PdfPage, box: tuple[float, float, float, float]) -> Span:
    """Return a character's box from the page's own coordinates (origin bottom left, neither cropped nor turned)."""
    left, bottom, right, top = box
    first, second = _to_device(page, left, top), _to_device(page, right, bottom)
    return min(first[0], second[0]), min(first[1], second[1]), max(first[0], second[0]), max(first[1], second[1])


def _to_device(page: pypdfium2.PdfPage, x: float, y: float) -> tuple[float, float]:
    width, height = (round(length * 100) for length in page.get_size())
    column, row = ctypes.c_int(), ctypes.c_int()
    pypdfium2.raw.FPDF_PageToDevice(page, 0, 0, width, height, 0, x, y, column, row)
    return column.value / 100, row.value / 100


def squeezed(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", text) if char.isalnum())


def _letters(text: pypdfium2.PdfTextPage) -> tuple[str, list[int]]:
    letters: list[str] = []
    indices: list[int] = []
    for index in range(text.count_chars()):
        for char in squeezed(chr(pypdfium2.raw.FPDFText_GetUnicode(text, index) & 0x10FFFF)):
            letters.append(char)
            indices.append(index)
    return "".join(letters), indices


if __name__ == "__main__":
    raise SystemExit(main())

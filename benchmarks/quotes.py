"""Whether every quote of 200 answers stands on the page it names, by a check that shares no code with matlit's own.

    python -m benchmarks.quotes [--keep FOLDER] [--answers 200]
    python -m benchmarks.quotes --sentences [FILE …]    every sentence and table row of the papers that could be quoted

The page's raw text comes from pypdfium2, or where that has no match from pypdf; quote and page are squeezed to letters
and digits, without what fonts of signs call "=" and "+" (¼, þ). "whole" quotes occur in one piece. "unmapped": they do
once Greek letters and fi, fl, ff, ft are dropped on both sides; some fonts do not map these to Unicode, so that raw
text lacks what our reader recovers. "cells": a table, every cell of which occurs. "as shown": the characters
themselves, by the places that pdfium gives them, spell the quote from left to right and from line to line: files draw
the parts of a formula in any order, so raw text, which follows the file, may tear sentences that the page shows whole
(benchmarks/_seen.py). "in pieces": nine in ten of the runs of 24 characters occur, with something of the page in
between (draft line numbers, a footnote, the parts of a formula). The rest is missed.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import pypdf
import pypdfium2

from assistant.answer import Answer
from assistant.assistant import Assistant
from assistant.evaluate import read_questions
from assistant.extractive import candidates
from benchmarks._machine import describe
from benchmarks._seen import SIGNS, is_shown
from benchmarks.answers import QUESTIONS, paper_library
from ingest.chunk import chunk_document
from ingest.embed import Tokeniser, make_tokeniser
from ingest.library import embedded
from ingest.readers import read
from ingest.records import Document, Hit
from ingest.settings import ChunkingSettings

PAPERS = Path(__file__).resolve().parents[2] / "shared" / "data" / "papers"
PIECE = 24  # letters and digits
SEED = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder for the library")
    parser.add_argument("--answers", type=int, default=200, help="how many answers with quotes")
    parser.add_argument("--sentences", nargs="*", metavar="FILE", help="check all that could be quoted, without asking")
    options = parser.parse_args()
    print(describe("pypdfium2", "pypdf"))
    if options.sentences is not None:
        return check_sentences(options.sentences)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        with Assistant(paper_library(folder), keep_journal=False) as assistant:
            return check_answers(assistant, wanted=options.answers)


def check_answers(assistant: Assistant, *, wanted: int) -> int:
    """Ask until there are `wanted` answers with quotes, check each quote, and return how many were not found."""
    paths = {paper.id: paper.paths[0] for paper in assistant.library.papers()}
    outcomes: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for answer in answers(assistant, wanted):
        for citation in answer.citations:
            statuses[citation.status] += 1
            outcomes[tell(citation.quote, citation.page, paths[citation.paper])] += 1
    print(f"answers {wanted}, quotes {outcomes.total()}, by matlit itself: {dict(statuses)}")
    return summarise(outcomes)


def check_sentences(names: Sequence[str]) -> int:
    """Check every sentence and table row that an answer could quote from the papers named, or from all."""
    outcomes: Counter[str] = Counter()
    tokeniser = make_tokeniser("all-MiniLM-L6-v2")
    for path in [PAPERS / name for name in names] or sorted(PAPERS.glob("*.pdf")):
        for (number, _), text in quotable(read(path), tokeniser).items():
            outcomes[tell(text, number, path)] += 1
    print(f"sentences and rows {outcomes.total()}")
    return summarise(outcomes)


def quotable(document: Document, tokeniser: Tokeniser) -> dict[tuple[int, int], str]:
    """Return what can be quoted from a document, by page and offset."""
    pages = {page.number: page for page in document.pages}
    chunks = chunk_document(
        document, paper_id="", metadata=document.metadata, embedder=tokeniser, settings=ChunkingSettings()
    )
    found = [one for chunk in embedded(chunks) for one in candidates([Hit(chunk, "", 1.0)], lambda _, n: pages[n])]
    return {(one.page.number, one.start): one.text for one in found}


def tell(quote: str, number: int, path: Path) -> str:
    """Check one quote, print it if it is missed, and return how it was found."""
    outcome = check(quote, number, path)
    if outcome == "missed":
        print(f"MISSED {path.name} p. {number}: {quote!r}", flush=True)
    return outcome


def summarise(outcomes: Counter[str]) -> int:
    total = outcomes.total()
    for name in ("whole", "unmapped", "cells", "as shown", "in pieces", "missed"):
        print(f"  {name:<10} {outcomes[name]:>5}  {outcomes[name] / max(total, 1):.4f}")
    return int(outcomes["missed"] > 0)


def answers(assistant: Assistant, wanted: int) -> Iterator[Answer]:
    """Yield answers with quotes: to our questions, and then to sentences drawn from the papers, used as questions."""
    asked = [question.question for question in read_questions(QUESTIONS)]
    found = 0
    for question in chain(asked, drawn_sentences(assistant)):
        answer = assistant.ask(question)
        if answer.citations:
            found += 1
            yield answer
        if found == wanted:
            return


def drawn_sentences(assistant: Assistant) -> Iterator[str]:
    generator = random.Random(SEED)
    papers = assistant.library.papers()
    while True:
        paper = generator.choice(papers)
        chunks = assistant.library.chunks_of(paper.id, ("text",))
        if chunks:
            yield generator.choice(chunks).text[:200]


def check(wanted: str, number: int, path: Path) -> str:
    """Return how the quote was found on its page of the file: see the top of this file."""
    quote = squeezed(wanted)
    texts: list[str] = []
    for raw_text in (pdfium_text, pypdf_text):  # the second is slow, and seldom needed
        raw = raw_text(path, number)
        # also without the lines and line beginnings that are bare numbers
        texts += [squeezed(raw), squeezed(re.sub(r"(?m)^\s*\d{1,4}\b|\b\d{1,4}\s*$", "", raw))]
        if any(quote in text for text in texts):
            return "whole"
    if any(skeleton(quote) in skeleton(text) for text in texts):
        return "unmapped"
    cells = [skeleton(squeezed(cell)) for cell in re.split(r" \| |\n", wanted)]
    if " | " in wanted and any(all(cell in skeleton(text) for cell in cells) for text in texts):
        return "cells"
    if is_shown(wanted, path, number):
        return "as shown"
    pieces = [quote[start : start + PIECE] for start in range(0, max(len(quote) - PIECE, 0) + 1, PIECE // 2)]
    together = skeleton(" ".join([*texts, *(re.sub(r"\d+", "", text) for text in texts)]))
    loose = [one for one in map(skeleton, pieces) if one not in together and re.sub(r"\d+", "", one) not in together]
    return "in pieces" if len(loose) <= 0.1 * len(pieces) else "missed"


def skeleton(text: str) -> str:
    """Return squeezed text without what fonts most often leave unmapped."""
    return re.sub(r"[\u0370-\u03ff]|ffi|ffl|ff|fi|fl|ft", "", text)


@lru_cache(maxsize=256)
def pdfium_text(path: Path, number: int) -> str:
    pdf = pypdfium2.PdfDocument(path)
    return str(pdf[number - 1].get_textpage().get_text_bounded())


@lru_cache(maxsize=256)
def pypdf_text(path: Path, number: int) -> str:
    return pypdf_reader(path).pages[number - 1].extract_text()


@lru_cache(maxsize=4)
def pypdf_reader(path: Path) -> pypdf.PdfReader:
    return pypdf.PdfReader(path)


def squeezed(text: str) -> str:
    """Return the letters and digits of `text`, lower-case, compatibility forms resolved, accents dropped."""
    folded = unicodedata.normalize("NFKD", text.translate(SIGNS)).casefold()
    return "".join(char for char in folded if char.isalnum())


if __name__ == "__main__":
    raise SystemExit(main())

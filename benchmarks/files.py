"""Titles and DOIs of the real papers, and what becomes of every hard file: python -m benchmarks.files [--workers N].

A manifest title counts as real unless it is cut off, runs into authors or the first sentence, or is another line of the
page; a DOI counts where the paper prints its own. Both lists were made by looking at the pages.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks._machine import describe as machine
from ingest.errors import ReadError
from ingest.lookup import alike, same_doi
from ingest.readers import ReadOptions
from ingest.readers.isolated import ReaderPool
from ingest.records import Document

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# fmt: off
NOT_REAL_TITLES = (
    "10.26434", "deb_", "ches_", "oof2", "phreeqc2", "prisms_", "livecoms", "joss_surfinpy", "PMC7067258",
)
DOI_OF_A_REFERENCE = ("deb_elk", "joss_macrodensity", "joss_mdsc", "joss_smact")  # they print none of their own
OTHER_EDITION = {"10.1002/ange.201914760": "10.1002/anie.201914760"}  # one article, both printed on its first page
# fmt: on
SAME_TITLE = 0.97


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one file")
    parser.add_argument("--ocr", default="auto", choices=["auto", "never"])
    arguments = parser.parse_args()
    print(f"{machine()}\n{vars(arguments)}")
    with ReaderPool(
        workers=arguments.workers, timeout_s=arguments.timeout, options=ReadOptions(ocr=arguments.ocr)
    ) as pool:
        papers(pool)
        hard(pool)


def papers(pool: ReaderPool[Document]) -> None:
    """Print how many titles and DOIs agree with the manifest, and those that do not."""
    with (DATA / "papers" / "manifest.csv").open(encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    begun = time.monotonic()
    read = {path.name: result for path, result in pool.map(DATA / "papers" / name for name in rows)}
    print(f"\n{len(read)} papers read in {time.monotonic() - begun:.1f} s")
    found = {name: result.metadata for name, result in read.items() if isinstance(result, Document)}
    real = [name for name in found if not name.startswith(NOT_REAL_TITLES)]
    printed = [name for name in found if rows[name]["doi"] and not name.startswith(DOI_OF_A_REFERENCE)]
    score("titles", [(rows[name]["title"], found[name].title) for name in real], lambda a, b: alike(a, b) >= SAME_TITLE)
    score("DOIs", [(rows[name]["doi"], found[name].doi) for name in printed], is_its_doi)
    for field in ("authors", "year", "journal", "language"):
        print(f"{field}: given for {sum(bool(getattr(each, field)) for each in found.values())} of {len(found)}")


def is_its_doi(wanted: str, got: str) -> bool:
    """Whether a DOI found is the manifest's, or that of the same article in its other edition."""
    return same_doi(wanted, got) or same_doi(OTHER_EDITION.get(wanted, wanted), got)


def score(what, pairs, right) -> None:
    wrong = [pair for pair in pairs if not right(*pair)]
    print(f"{what}: {len(pairs) - len(wrong)} of {len(pairs)} right")
    for expected, got in wrong:
        print(f"  expected {expected!r}, got {got!r}")


def hard(pool: ReaderPool[Document]) -> None:
    """Print one line for every hard file: its text, or the reason."""
    causes: Counter[str] = Counter()
    begun = time.monotonic()
    for line, cause in outcomes(pool):
        causes[cause] += 1
        print(f"{time.monotonic() - begun:6.1f} s  {line}")
    print(", ".join(f"{cause}: {count}" for cause, count in causes.most_common()))


def outcomes(pool: ReaderPool[Document]) -> Iterator[tuple[str, str]]:
    print()
    for path, result in pool.map(sorted((DATA / "papers_hard").glob("*.pdf"))):
        if isinstance(result, ReadError):
            yield f"{path.name}: {result.cause}: {result} | {result.hint}", result.cause
        else:
            recognised = sum(page.ocr for page in result.pages)
            notes = "; ".join(result.warnings)
            yield (
                f"{path.name}: {len(result.pages)} pages, {recognised} by OCR, {result.characters} characters {notes}",
                "text",
            )


if __name__ == "__main__":
    main()

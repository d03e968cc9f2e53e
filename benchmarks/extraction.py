"""How well papers are read: words and reading order against the publisher's text, titles, DOIs, and speed.

    python -m benchmarks.extraction [--data ../shared/data] [--papers PMC7048421 …]

Words: multiset F1 of words between the publisher's abstract and body (JATS full text) and our blocks of kind text and
heading. Left out on our side: title, front matter, captions, tables, references, footnotes, and the sections that the
full text does not hold (acknowledgements, author contributions, funding, …). Words are runs of letters and digits after
NFKC and lower-casing. Plain pypdf is given everything it extracts, and once more only what stands before the last
heading "References".

Some full texts repeat the figures' captions inside their body and some do not, so paragraphs of the full text of
which at least 60 % of the 5-word sequences stand in a block that we hold for a caption or a table are left out on the
publisher's side too ("strict" is without this and the next). A sentence that the full text holds twice counts once.
Only blocks that begin like a caption ("Figure 3.") can be captions.

Order: of the 5-word sequences that occur once in the publisher's text, the share on the longest run that stands in the
same order in the extraction (longest increasing subsequence); what is missing counts as out of order. "Of found" is the
same among those found: the order alone.

Speed: processor time of this process for the whole reader, for pypdf's and for pdfium's plain text extraction.
"""

from __future__ import annotations

import argparse
import bisect
import csv
import gzip
import io
import json
import re
import statistics
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path

from benchmarks._machine import describe as describe_machine
from benchmarks.files import DOI_OF_A_REFERENCE, is_its_doi
from ingest.readers import ReadOptions
from ingest.readers.pdf import read_pdf
from ingest.records import Document

GRAM = 5
OPTIONS = ReadOptions(ocr="never")
BACK_MATTER = re.compile(
    r"acknowledg|contribution|conflict|competing|funding|references|supplementary|supporting info|associated content|"
    r"author info|data availab|availability|additional info|ethics|orcid|notes?$|keywords|abbreviations|statement|"
    r"further reading|literatur",
    re.I,
)


def words(text: str) -> list[str]:
    """Return the words of a text, lower case, compatibility characters (ligatures, raised digits) resolved."""
    text = unicodedata.normalize("NFKC", text).lower()
    return re.findall(r"[^\W_]+", text)


def body(document: Document) -> str:
    """Return the abstract and body of a document as we read it."""
    return "\n".join(
        page.text[block.start : block.end]
        for page in document.pages
        for block in page.blocks
        if block.kind in ("text", "scattered", "heading") and not BACK_MATTER.search(block.section)
    )


def without_captions(wanted: str, document: Document) -> str:
    """Return the publisher's text without the paragraphs that are captions or tables in ours."""
    grams = {
        gram
        for page in document.pages
        for block in page.blocks
        if block.kind in ("caption", "table")
        for gram in _grams(words(page.text[block.start : block.end]))
    }
    kept = []
    for paragraph in _without_repeats(wanted):
        own = _grams(words(paragraph))
        if not own or sum(gram in grams for gram in own) < 0.6 * len(own):
            kept.append(paragraph)
    return "\n".join(kept)


def _without_repeats(text: str) -> list[str]:
    """Return the paragraphs without sentences said before: some full texts hold every list and figure twice."""
    seen: set[str] = set()
    paragraphs = []
    for paragraph in text.split("\n"):
        kept = []
        for sentence in re.split(r"(?<=[.;])\s+(?=[A-Z])", paragraph):
            key = " ".join(words(sentence))
            if len(key) < 60 or key not in seen:
                kept.append(sentence)
            seen.add(key)
        paragraphs.append(" ".join(kept))
    return paragraphs


def f1(found: list[str], wanted: list[str]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the multiset of words."""
    common = sum((Counter(found) & Counter(wanted)).values())
    precision, recall = common / max(len(found), 1), common / max(len(wanted), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def order(found: list[str], wanted: list[str]) -> tuple[float, float]:
    """Return the share of the publisher's unique 5-grams in the right order, of all and of those found."""
    places, targets = _unique_grams(found), _unique_grams(wanted)
    sequence = [places[gram] for gram in sorted(targets, key=targets.__getitem__) if gram in places]
    longest = _longest_increasing(sequence)
    return longest / max(len(targets), 1), longest / max(len(sequence), 1)


def _unique_grams(tokens: list[str]) -> dict[tuple[str, ...], int]:
    grams = _grams(tokens)
    counts = Counter(grams)
    return {gram: at for at, gram in enumerate(grams) if counts[gram] == 1}


def _grams(tokens: list[str]) -> list[tuple[str, ...]]:
    return [tuple(tokens[at : at + GRAM]) for at in range(len(tokens) - GRAM + 1)]


def _longest_increasing(values: list[int]) -> int:
    tails: list[int] = []
    for value in values:
        at = bisect.bisect_left(tails, value)
        tails[at : at + 1] = [value]
    return len(tails)


def pypdf_text(data: bytes) -> str:
    import pypdf

    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)


def pdfium_text(data: bytes) -> str:
    import pypdfium2

    pdf = pypdfium2.PdfDocument(data)
    pages = []
    for page in pdf:
        textpage = page.get_textpage()
        pages.append(textpage.get_text_range())
        textpage.close()
        page.close()
    pdf.close()
    return "\n".join(pages)


def before_references(text: str) -> str:
    """Cut a plain text at its last heading "References", where that lies in the second half."""
    found = [match.start() for match in re.finditer(r"(?im)^\W*references(?: and notes)?\W*$", text)]
    return text[: found[-1]] if found and found[-1] > len(text) / 2 else text


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def compare_texts(data: Path, only: list[str]) -> None:
    with gzip.open(data / "fulltext" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        corpus = {record["_id"]: record for record in map(json.loads, lines)}
    print(f"{'paper':12} {'ours':^41} {'pypdf':^20} {'cut':^6}")
    heads = ("P", "R", "F1", "order", "found", "strict", "F1", "order", "found", "F1")
    print(" " * 13 + " ".join(f"{head:>6}" for head in heads))
    table = []
    for path in sorted((data / "papers").glob("PMC*.pdf")):
        if path.stem not in corpus or (only and path.stem not in only):
            continue
        document = read_pdf(path, options=OPTIONS)
        full = corpus[path.stem]["abstract"] + "\n" + corpus[path.stem]["body"]
        wanted = words(without_captions(full, document))
        ours = words(body(document))
        plain = pypdf_text(path.read_bytes())
        row = (
            *f1(ours, wanted),
            *order(ours, wanted),
            f1(ours, words(full))[2],
            f1(words(plain), wanted)[2],
            *order(words(plain), wanted),
            f1(words(before_references(plain)), wanted)[2],
        )
        table.append(row)
        print(f"{path.stem:12} " + " ".join(f"{value:6.3f}" for value in row))
    print(f"{'mean':12} " + " ".join(f"{statistics.mean(column):6.3f}" for column in zip(*table, strict=True)))


def compare_speed(data: Path) -> None:
    pages = 0
    seconds = Counter[str]()
    for path in sorted((data / "papers").glob("*.pdf")):
        content = path.read_bytes()
        start = time.process_time()
        pages += len(read_pdf(path, options=OPTIONS).pages)
        seconds["matlit"] += time.process_time() - start
        seconds["pypdf"] += timed(lambda content=content: pypdf_text(content))
        seconds["pdfium"] += timed(lambda content=content: pdfium_text(content))
    print(
        f"speed on {pages} pages: "
        + ", ".join(f"{name} {pages / spent:.0f} pages/s" for name, spent in seconds.items())
    )
    print(f"ratio to pypdf: {seconds['pypdf'] / seconds['matlit']:.2f}")


def is_real_title(title: str) -> bool:
    """Whether the manifest's title is the paper's: other rows hold the start of page one, or a masthead."""
    return len(title) != 110 and not re.match(r"^\d|^Open Access", title.strip())


def plain(text: str) -> str:
    return "".join(words(re.sub(r"[†‡*]", "", text)))


def printed(document: Document) -> str:
    """Return the text of the first two pages and the last without references, which hold the DOIs of others."""
    return "".join(
        page.text[block.start : block.end]
        for page in (*document.pages[:2], document.pages[-1])
        for block in page.blocks
        if block.kind != "reference"
    ).lower()


def compare_metadata(data: Path) -> None:
    from ingest.metadata import describe

    with (data / "papers" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    titles, dois = [], []
    for row in rows:
        path = data / "papers" / row["file"]
        document = read_pdf(path, options=OPTIONS)
        found = describe(document, path)
        if is_real_title(row["title"]):
            wanted, got = plain(row["title"]), plain(found.title)
            near = bool(got) and (
                SequenceMatcher(None, wanted, got, autojunk=False).ratio() > 0.9 or wanted.startswith(got)
            )
            titles.append(near)
            if not near:
                print(f"title of {row['file']}: {found.title!r}, wanted {row['title'][:80]!r}")
        doi = row["doi"].rstrip(".").lower()
        if doi and doi in printed(document) and not row["file"].startswith(DOI_OF_A_REFERENCE):
            dois.append(is_its_doi(doi, found.doi))
            if not dois[-1]:
                print(f"DOI of {row['file']}: {found.doi!r}, wanted {doi!r}")
    print(
        f"title right: {sum(titles)} of {len(titles)}; DOI right: {sum(dois)} of {len(dois)} "
        "that print it on page 1, 2 or the last, outside references"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--papers", nargs="*", default=[])
    parser.add_argument("--only", choices=["text", "speed", "metadata"])
    arguments = parser.parse_args()
    print(describe_machine("pypdf", "pypdfium2", "numpy"))
    print(f"settings: ocr=never, {GRAM}-word sequences, multiset F1")
    if arguments.only in (None, "text"):
        compare_texts(arguments.data, arguments.papers)
    if arguments.only in (None, "speed"):
        compare_speed(arguments.data)
    if arguments.only in (None, "metadata"):
        compare_metadata(arguments.data)


if __name__ == "__main__":
    main()

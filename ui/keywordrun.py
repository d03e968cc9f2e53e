"""A keyword run over papers of the library: one JSON line per paper as it is done, gone on with where it stopped.

The file lies in the library's folder; its lines have the shape that `matlit keywords` prints.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput, MatlitError

if TYPE_CHECKING:
    from ingest.embed import Embedder
    from ingest.library import Library
    from ingest.records import Paper

FOLDER = "keywords"
MODEL = "matlit-keywords"  # no language model: phrases of the paper itself, ranked
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """One paper is finished; `row` is its line."""

    row: Row
    done: int
    total: int


def file_of(library: Path) -> Path:
    """Return the file that a library's run is kept in."""
    return library / FOLDER / "keywords.jsonl"


def read_rows(path: Path) -> dict[str, Row]:
    """Return the rows of a run by paper id; a line that a crash cut off is left out, and its paper done again."""
    rows: dict[str, Row] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            rows[row["id"]] = row
    return rows


def run(library: Library, ids: Sequence[str], *, most: int, embedder: Embedder, anew: bool = False) -> Iterator[Done]:
    """Find keywords of the papers `ids` that have none yet, or of all of them `anew`; yield each as it is done."""
    path = file_of(library.info.path)
    kept = {} if anew else read_rows(path)
    _write_all(path, kept)
    todo = [paper for paper in ids if paper not in kept or kept[paper]["error"]]
    with path.open("a", encoding="utf-8") as file:
        for number, identity in enumerate(todo, 1):
            row = keywords_of(library, library.paper(identity), most=most, embedder=embedder)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            yield Done(row, number, len(todo))


def keywords_of(library: Library, paper: Paper, *, most: int, embedder: Embedder) -> Row:
    """Return the line of one paper; what cannot be done is told in it."""
    from assistant.keywords.extract import extract
    from assistant.keywords.texts import Index, from_pages

    row: Row = {"id": paper.id, "path": str(paper.paths[0]) if paper.paths else "", "title": paper.title}
    row |= {"keywords": [], "model": MODEL, "usage": {}, "error": ""}
    try:
        text = from_pages(library.pages(paper.id), paper.metadata, paged=paper.paged)
        found = extract(text, most=most, embedder=embedder, avoid=paper.metadata.authors)
    except MatlitError as error:
        return row | {"error": str(error)}
    index = Index(text)
    told = [dict(zip(("present", "page"), index.find(one), strict=True)) | {"keyword": one} for one in found]
    return row | {"keywords": told}


def _write_all(path: Path, rows: Mapping[str, Row]) -> None:
    """Write the rows anew in one step, so that lines of a crash are gone and nothing is there twice."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write to {path.parent}: {error.strerror}", hint="Make the folder writable") from error


def counted(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Return the keywords with the number of papers that have them, commonest first."""
    spelled: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        for key in {one["keyword"].casefold(): one["keyword"] for one in row["keywords"]}.items():
            spelled.setdefault(*key)
            counts[key[0]] += 1
    return [(spelled[key], count) for key, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def together(rows: Sequence[Row], words: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return how many papers have both keywords, for each pair of `words` that some paper has."""
    wanted = {word.casefold(): word for word in words}
    pairs: Counter[tuple[str, str]] = Counter()
    for row in rows:
        held = sorted({one["keyword"].casefold() for one in row["keywords"]} & set(wanted))
        pairs.update((wanted[first], wanted[second]) for first, second in combinations(held, 2))
    return dict(pairs)


def to_csv(rows: Sequence[Row]) -> str:
    """Return one line per paper and keyword."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["id", "title", "keyword", "present", "page"])
    for row in rows:
        for one in row["keywords"]:
            writer.writerow([row["id"], row["title"], one["keyword"], one["present"], one["page"] or ""])
    return buffer.getvalue()


def to_jsonl(rows: Sequence[Row]) -> str:
    """Return one JSON line per paper."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def to_bibtex(rows: Sequence[Row], papers: Mapping[str, Paper]) -> str:
    """Return the papers as BibTeX, each with its keywords."""
    from assistant import Answer

    entries = []
    for row in rows:
        if row["id"] in papers:
            entry = Answer(text="", papers=(papers[row["id"]],)).bibtex()
            words = ", ".join(one["keyword"].replace("{", "").replace("}", "") for one in row["keywords"])
            entries.append(entry.rstrip("}").rstrip() + f",\n  keywords = {{{words}}}\n}}")
    return "\n\n".join(entries) + "\n"

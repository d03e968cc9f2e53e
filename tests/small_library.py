"""A library of three short texts, for the tests of the library on disk. Real Chroma, real SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.embed import make_embedder
from ingest.library import Library, embedded
from ingest.records import Block, Chunk, Filter, Metadata, Page, Paper, chunk_id, file_digest

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "test:1"
EMBEDDER = make_embedder("hashing")

CATHODE = "LiFePO4 is an olivine cathode. It delivers 170 mAh/g at low rates. Its voltage is 3.4 V against lithium."
STEEL = "Martensite forms on quenching. Tempering at 600 C restores ductility. Carbon hardens the steel."
GLASS = "Silica glass softens near 1700 C. Boron lowers the softening point. Glass has no long-range order."


def make_entry(path: Path, *, recipe: str = RECIPE):
    """Return what `Writer.add` takes for a text file: one page, one chunk per sentence."""
    text = path.read_text(encoding="utf-8")
    paper_id = file_digest(path)
    chunks, start = [], 0
    for ordinal, sentence in enumerate(text.split(". ")):
        kind = "reference" if sentence.startswith("Ref") else "text"
        end = start + len(sentence)
        chunks.append(
            Chunk(
                chunk_id(paper_id, recipe, ordinal), paper_id, ordinal, sentence, 1, start, end, kind=kind, context="T"
            )
        )
        start = end + 2
    vectors = EMBEDDER.embed_documents([chunk.embedded_text for chunk in embedded(chunks)])
    page = Page(1, text, (Block(0, len(text), "text"),))
    paper = Paper(paper_id, Metadata(title=path.stem, year=2020), "text", 1, len(chunks), (path,))
    return paper, [page], chunks, vectors


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def add(library: Library, *paths: Path) -> None:
    with library.writer() as writer:
        for path in paths:
            writer.add(*make_entry(path))


def texts(library: Library, question: str, **filters) -> list[str]:
    found = library.dense(EMBEDDER.embed_query(question), k=5, where=Filter(**filters))
    return [chunk.text for chunk in library.chunks([each for each, _ in found])]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.create(tmp_path / "lib", embedder=EMBEDDER.info, recipe=RECIPE) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    given = {"cathode": CATHODE, "steel": STEEL, "glass": GLASS}
    return {name: write(tmp_path, f"{name}.txt", text) for name, text in given.items()}


def run_python(code: str, *arguments: object, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, **options
    )

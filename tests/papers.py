"""A real library of a few short papers, made in a moment: real chunks, real vectors, real SQLite and Chroma."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ingest.chunk import chunk_document, recipe
from ingest.embed import Embedder
from ingest.library import Library
from ingest.records import Block, Document, Metadata, Page, Paper
from ingest.settings import ChunkingSettings

CATHODES = (
    "Olivine lithium iron phosphate is a cathode material for lithium-ion batteries. "
    "The LiFePO4 cathode delivered an initial discharge capacity of 163 mAh g−1 at 0.1 C. "
    "Its capacity retention was 97 % after 200 cycles. "
    "The particles were coated with carbon because bare LiFePO4 conducts electrons poorly.",
    "Synthesis took place in a tube furnace under argon. The precursor was calcined at 700 °C for 8 h.",
)
PEROVSKITES = (
    "Chalcogenide perovskites absorb light strongly. "
    "The optical band gap of BaZrS3 is 1.82 eV, as measured by photoluminescence at 300 K. "
    "This is close to the value wanted for a tandem cell.",
)
PAPERS = {"Carbon-coated cathodes": CATHODES, "Sulfide absorbers": PEROVSKITES}


def make_library(folder: Path, embedder: Embedder, papers: Mapping[str, Sequence[str]] = PAPERS) -> Library:
    """Create a library in `folder` whose papers have these titles and pages."""
    rules = recipe(ChunkingSettings(), embedder.name)
    library = Library.create(folder / "library", embedder=embedder.info, recipe=rules)
    with library.writer() as writer:
        for title, texts in papers.items():
            writer.add(*_parts(title, texts, folder, embedder))
    return library


def _parts(title: str, texts: Sequence[str], folder: Path, embedder: Embedder) -> tuple[object, ...]:
    path = folder / f"{hashlib.sha256(title.encode()).hexdigest()[:12]}.txt"
    path.write_text("\f".join(texts), encoding="utf-8")
    identifier = hashlib.sha256(path.read_bytes()).hexdigest()
    metadata = Metadata(title, ("Ada Lovelace",), 2020)
    pages = tuple(Page(n, text, (Block(0, len(text), "text", "Results"),)) for n, text in enumerate(texts, 1))
    document = Document(pages, metadata, "text")
    chunks = chunk_document(
        document, paper_id=identifier, metadata=metadata, embedder=embedder, settings=ChunkingSettings()
    )
    vectors = embedder.embed_documents([chunk.embedded_text for chunk in chunks])
    return Paper(identifier, metadata, "text", len(pages), len(chunks), (path,)), pages, chunks, vectors

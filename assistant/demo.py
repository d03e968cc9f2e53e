"""The demo: builds the sample library in a fresh folder and answers a question from it, with nothing set up.

It pays no heed to the user's settings: the sample is read with the defaults, on this machine, without a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.errors import BadInput, LibraryMismatch, NotInLibrary

if TYPE_CHECKING:
    from assistant.answer import Answer
    from ingest.embed import Embedder
    from ingest.events import Event, Report
    from ingest.library import Library
    from ingest.materials import Material

QUESTION = "What is the theoretical capacity of LiFePO4?"
SAMPLE_FOLDER = ("ingest", "sample")  # where the sample papers lie in any installation


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo did: the library's folder, the report of the ingest, and the answer."""

    folder: Path
    report: Report
    materials: int
    question: str
    answer: Answer


def run_demo(
    folder: Path | None = None,
    *,
    question: str | None = None,
    embedder: Embedder | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Demo:
    """Build the sample library in `folder` (by default `demo` in the user's data folder) and answer `question` from it.

    A folder that holds a demo already is brought up to date. The events of the ingest go to `on_event`.

    Raises BadInput when the folder holds something else, so that nobody's own library is mixed with the sample.
    """
    from assistant.assistant import Assistant
    from ingest.embed import make_embedder
    from ingest.events import Finished
    from ingest.library import Library
    from ingest.settings import Settings

    folder = folder or default_folder()
    embedder = embedder or make_embedder(Settings().embedding.model, offline=True)
    report = None
    for event in demo_events(folder, embedder):
        if on_event:
            on_event(event)
        if isinstance(event, Finished):
            report = event.report
    if report is None:
        raise RuntimeError("the ingest ended without a report")
    with Library.open(folder) as library:
        materials = library.status()["materials"]
    question = question or QUESTION
    with Assistant(folder, embedder=embedder) as assistant:
        answer = assistant.ask(question)
    return Demo(folder=folder, report=report, materials=materials, question=question, answer=answer)


def demo_events(folder: Path, embedder: Embedder) -> Iterator[Event]:
    """Build the sample library in `folder`, or bring it up to date, yielding the events of the ingest.

    Raises BadInput when the folder holds something else.
    """
    from ingest.library import Library

    _refuse_other_content(folder)
    try:
        yield from _ingest(folder, embedder, rebuild=False)
    except LibraryMismatch:  # a demo of an earlier version
        yield from _ingest(folder, embedder, rebuild=True)
    with Library.open(folder) as library:
        add_sample_materials(library, embedder)


def add_sample_materials(library: Library, embedder: Embedder) -> int:
    """Add the sample materials that the library lacks or holds in another version; return how many there are."""
    from ingest import sample
    from ingest.materials import parse_records, to_chunk

    records = list(parse_records(sample.materials_path()))
    new = [record for record in records if not _has(library, record)]
    if new:
        chunks = [to_chunk(record, library.info.recipe) for record in new]
        vectors = embedder.embed_documents([chunk.embedded_text for chunk in chunks])
        with library.writer("matlit demo") as writer:
            writer.add_materials(new, chunks, vectors)
    return len(records)


def _has(library: Library, record: Material) -> bool:
    try:
        return library.material(record.material_id) == record and bool(library.chunks_of(record.material_id))
    except NotInLibrary:
        return False


def default_folder() -> Path:
    """Return where the sample library lies unless told otherwise: `demo` in the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("matlit")) / "demo"


def _refuse_other_content(folder: Path) -> None:
    from ingest.library import INFO_FILE, Library

    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{str(folder)!r} is a file", hint="Name a fresh folder: matlit demo FOLDER")
    if not (folder / INFO_FILE).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise BadInput(f"{str(folder)!r} is not empty", hint="Name a fresh folder: matlit demo FOLDER")
        return
    with Library.open(folder) as library:
        others = [paper for paper in library.papers() if not any(map(_is_sample, paper.paths))]
    if others:
        raise BadInput(
            f"{str(folder)!r} holds a library with papers of your own, such as {others[0].title!r}",
            hint=f"Ask it instead: matlit ask --library {folder} QUESTION",
        )


def _is_sample(path: Path) -> bool:
    return path.parent.parts[-2:] == SAMPLE_FOLDER


def _ingest(folder: Path, embedder: Embedder, *, rebuild: bool) -> Iterator[Event]:
    from ingest import sample
    from ingest.pipeline import ingest
    from ingest.settings import Settings

    yield from ingest(sample.paths(), settings=Settings(), library=folder, embedder=embedder, rebuild=rebuild)

"""Files in, library out: find, read, chunk, embed and add, all at the same time, yielding typed events.

A paper becomes visible when its last chunk is embedded, whatever else is under way; an ingest that is interrupted or
killed keeps what was complete, and the next one goes on from there. What runs where is in `ingest/flow.py`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.discover import discover
from ingest.errors import LibraryExists, LibraryNotFound, OfflineError
from ingest.events import (
    Added,
    Event,
    Failed,
    Finished,
    Found,
    Planned,
    Progress,
    Read,
    Removed,
    Report,
    Skipped,
    Updated,
)
from ingest.flow import Flow
from ingest.library import Library, Writer
from ingest.plan import Plan, Task, make_plan
from ingest.records import file_digest
from ingest.settings import Settings
from ingest.tally import Tally

if TYPE_CHECKING:
    from ingest.embed import Embedder
    from ingest.manifest import Manifest

__all__ = [
    "Added",
    "Event",
    "Failed",
    "Finished",
    "Found",
    "Planned",
    "Progress",
    "Read",
    "Removed",
    "Report",
    "Skipped",
    "Updated",
    "ingest",
]

MATERIALS_BATCH = 256


def ingest(
    paths: Iterable[str | Path],
    *,
    settings: Settings | None = None,
    library: Path | None = None,
    embedder: Embedder | None = None,
    workers: int | None = None,
    password: str | None = None,
    rebuild: bool = False,
    prune: bool = False,
    retry_failed: bool = False,
    manifest: Path | None = None,
    look_up: bool = False,
    limit: int | None = None,
    dry_run: bool = False,
) -> Generator[Event, None, None]:
    """Bring every new or changed file of `paths` into the library, yielding what happens; `Finished` comes last.

    `library` and `embedder` stand in for those that the settings name. Unchanged files are recognised by name, size and
    time, moved or copied ones by content, without loading a model. With `limit`, no more than that many files are read.
    `manifest` is a CSV that says what files are, for those that are read now (see `ingest.metadata.read_manifest`).
    Closing the generator (or Ctrl-C) stops it cleanly: complete papers stay, and the next run goes on from there.

    Raises `BadInput` for paths that lead nowhere, `LibraryMismatch` unless `rebuild`, `LibraryBusy`, and `LibraryError`
    when the library cannot be written. A file that cannot be read is a `Failed` event, never an exception.
    """
    settings = settings or Settings()
    if look_up and settings.models.offline:
        raise OfflineError("looking papers up at Crossref and OpenAlex needs a connection, and offline mode is on")
    task = Task(
        settings=settings,
        folder=library,
        embedder=embedder,
        workers=workers or 0,
        password=password,
        rebuild=rebuild,
        prune=prune,
        retry_failed=retry_failed,
        manifest=_read_manifest(manifest) if manifest else None,
        look_up=look_up,
        limit=limit,
    )
    paths = list(paths)
    files = discover(paths, allow_empty=prune)
    roots = [Path(os.path.abspath(Path(each).expanduser())) for each in paths]  # noqa: PTH100 - links are kept
    yield from _dry_run(task, files) if dry_run else _run(task, files, roots)


def _read_manifest(path: Path) -> Manifest:
    from ingest.manifest import read_manifest

    return read_manifest(path)


def _run(task: Task, files: Sequence[Path], roots: Sequence[Path]) -> Iterator[Event]:
    started = time.monotonic()
    with _open_library(task) as library:
        plan = make_plan(task, files, library)
        tally = Tally()
        if plan.todo or plan.homeless or task.prune or task.rebuild:
            with library.writer() as writer:
                yield from _work(task, files, library, writer, tally)
                yield from _prune(writer, tally, roots) if task.prune else ()
        else:
            yield from _announce(plan, tally)
        held = library.status()
    counts = {name: held[name] for name in ("papers", "pages", "chunks")}
    yield Finished(tally.report(time.monotonic() - started, **counts))


def _open_library(task: Task) -> Library:
    """Open the library, or make it; names are compared here, the embedder itself when it is needed."""
    try:
        library = Library.open(task.library_path)
    except LibraryNotFound:
        embedder = task.make_embedder()
        url = task.settings.library.chroma_url
        recipe = task.recipe(embedder)
        try:
            return Library.create(task.library_path, embedder=embedder.info, recipe=recipe, chroma_url=url)
        except LibraryExists:  # another ingest has made it meanwhile
            library = Library.open(task.library_path)
    wanted = (task.embedder_name, task.recipe(task.embedder_name))
    if wanted != (library.info.embedder.name, library.info.recipe) and not task.rebuild:
        library.close()
        _refuse(task, task.make_embedder())
    return library


def _refuse(task: Task, embedder: Embedder) -> None:
    """Raise `LibraryMismatch` if the library was made with another embedder or recipe."""
    Library.open(task.library_path, embedder=embedder.info, recipe=task.recipe(embedder)).close()


def _work(task: Task, files: Sequence[Path], library: Library, writer: Writer, tally: Tally) -> Iterator[Event]:
    embedder = task.make_embedder()
    info, recipe = embedder.info, task.recipe(embedder)
    if (info, recipe) != (library.info.embedder, library.info.recipe):
        if not task.rebuild:
            _refuse(task, embedder)
        writer.reset(embedder=info, recipe=recipe)
    plan = make_plan(task, files, library)  # again: now nobody else can change the library
    yield from _announce(plan, tally)
    if plan.todo or plan.homeless:
        yield from Flow(task, library, writer, plan, embedder=embedder, tally=tally).run()
    _embed_materials(writer, embedder, recipe)


def _announce(plan: Plan, tally: Tally) -> Iterator[Event]:
    yield Found(plan.total, len(plan.todo))
    events: tuple[Event, ...] = (*plan.skipped, *plan.failed)
    for event in events:
        tally.count(event)
        yield event


def _embed_materials(writer: Writer, embedder: Embedder, recipe: str) -> None:
    """Give materials records that a rebuild left without a passage their passage again."""
    from ingest.materials import to_chunk

    records = writer.materials_to_embed()
    for start in range(0, len(records), MATERIALS_BATCH):
        batch = records[start : start + MATERIALS_BATCH]
        chunks = [to_chunk(record, recipe) for record in batch]
        writer.add_materials(batch, chunks, embedder.embed_documents([chunk.embedded_text for chunk in chunks]))


def _prune(writer: Writer, tally: Tally, roots: Sequence[Path]) -> Iterator[Event]:
    for paper in writer.prune(roots):
        tally.removed += 1
        yield Removed(paper)


def _dry_run(task: Task, files: Sequence[Path]) -> Iterator[Event]:
    """Say what an ingest would do, by looking at every candidate's content; nothing is written."""
    started = time.monotonic()
    plan, known, counts = _look(task, files)
    tally = Tally()
    yield from _announce(plan, tally)
    for path in plan.todo:
        digest = file_digest(path) if os.access(path, os.R_OK) else ""
        if digest in known:
            event: Event = Skipped(path, digest)
        else:
            event = Planned(path, plan.reasons[path])
            tally.planned += 1
        known.add(digest or str(path))
        tally.count(event)
        yield event
    yield Finished(tally.report(time.monotonic() - started, **counts))


def _look(task: Task, files: Sequence[Path]) -> tuple[Plan, set[str], dict[str, int]]:
    names = ("papers", "pages", "chunks")
    try:
        with Library.open(task.library_path) as library:
            plan = make_plan(task, files, library)
            held = library.status()
            return plan, {paper.id for paper in library.papers()} - plan.forced, {name: held[name] for name in names}
    except LibraryNotFound:
        return make_plan(task, files, None), set(), dict.fromkeys(names, 0)

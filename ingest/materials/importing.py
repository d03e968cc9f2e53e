"""Bringing records from files into a library: streamed, in batches that are visible whole or not at all.

What the library holds already is left alone, so the same command goes on where it was killed. Making records and
their index entries is done in other processes where there is much to do; vectors are computed while the batch before
is written.
"""

from __future__ import annotations

import gc
import time
from collections import ChainMap, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.apart import apart, can_be_apart, make_pool
from ingest.errors import BadInput
from ingest.materials.files import Item, find_files, kind_of, make_material, read_items
from ingest.materials.problems import BadRecord
from ingest.materials.record import Material, merged
from ingest.materials.store import Held, held
from ingest.materials.text import to_chunk, to_text
from ingest.records import Chunk

if TYPE_CHECKING:
    from ingest.embed import Embedder, Vectors
    from ingest.index import Entry
    from ingest.library import Library
    from ingest.writer import Writer

BATCH = 1000  # some seconds of embedding, about all that a kill can lose; smaller ones cost Chroma more a vector
AHEAD = 3  # batches that are chosen and wait for their vectors, so that the embedder never waits
POOL_FROM = 2000  # records; fewer are not worth starting processes for
MOST_FAILURES = 1000  # kept with their reasons


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A record, or a whole file (`record` 0), that could not be used, and why."""

    path: Path
    record: int
    field: str
    error: str
    hint: str

    def to_json(self) -> dict[str, Any]:
        """Return the failure as plain data."""
        return {
            "path": str(self.path),
            "record": self.record,
            "field": self.field,
            "error": self.error,
            "hint": self.hint,
        }


@dataclass(slots=True)
class ImportReport:
    """What an import has done so far; `failed` are the first thousand failures, `held` what the library holds."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    failures: int = 0
    failed: list[ImportFailure] = field(default_factory=list)
    held: int = 0
    seconds: float = 0.0

    @property
    def read(self) -> int:
        """Return how many records were read."""
        return self.added + self.updated + self.unchanged + self.failures

    def fail(self, failure: ImportFailure) -> None:
        """Count a failure."""
        self.failures += 1
        if len(self.failed) < MOST_FAILURES:
            self.failed.append(failure)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "failures": self.failures,
            "failed": [failure.to_json() for failure in self.failed],
            "materials": self.held,
            "seconds": round(self.seconds, 3),
        }


def import_materials(
    library: Library,
    paths: Sequence[Path],
    *,
    embedder: Embedder | None = None,
    allow_pickle: bool = False,
    limit: int | None = None,
    workers: int = 1,
    on_progress: Callable[[ImportReport], None] | None = None,
) -> ImportReport:
    """Bring the records of files and folders into the library, and return what was done.

    Without an `embedder` the records are found by words and facts only; importing again with one adds the vectors.
    Records of one id are merged: see `merged`. `workers` above 1 are processes, so a script that asks for them needs
    its `if __name__ == "__main__"`. `on_progress` is called after every batch.

    Raises:
        BadInput: a path does not exist or is of no known kind, or is a pickle without `allow_pickle`.
        LibraryBusy: another process is writing.
    """
    files = find_files(list(paths))
    pickles = [path.name for path in files if kind_of(path) == "pickle"]
    if pickles and not allow_pickle:
        next(read_items(files[[path.name for path in files].index(pickles[0])]))  # refuses, with the reason
    begun = time.monotonic()
    report = ImportReport()

    def tell() -> None:
        report.seconds = time.monotonic() - begun
        if on_progress:
            on_progress(report)

    with library.writer("matlit materials import") as writer, ExitStack() as stack:
        gc.freeze()  # records are many small objects; what was there before need not be gone through with each of them
        stack.callback(gc.unfreeze)
        items = islice(_read(files, allow_pickle, report), limit)
        head = list(islice(items, POOL_FROM))
        whole = chain(head, items)
        batches = iter(lambda: list(islice(whole, BATCH)), [])
        processes = workers if len(head) == POOL_FROM else 1
        index = _indexer(1 if embedder else processes, stack)
        work = _Work(library, writer, embedder, report)
        work.run(batches, index, _embedding(embedder, processes, stack), tell)
    report.held = int(library.status()["materials"])
    report.seconds = time.monotonic() - begun
    return report


class _Read(NamedTuple):
    path: Path
    number: int
    item: Item


def _read(files: Sequence[Path], allow_pickle: bool, report: ImportReport) -> Iterator[_Read]:
    for path in files:
        try:
            for number, item in read_items(path, allow_pickle=allow_pickle):
                yield _Read(path, number, item)
        except BadInput as error:  # a damaged file: what stood before the damage is kept, the other files go on
            report.fail(ImportFailure(path, 0, "", str(error), error.hint))


Indexer = Callable[[list[Chunk]], "Callable[[], list[Entry]]"]
Embedding = Callable[[list[str]], "Callable[[], Vectors | None]"]


def make_entries(chunks: Sequence[Chunk]) -> list[Entry]:
    """Return the index entries of chunks."""
    from ingest.index import make_entry

    return [make_entry(chunk) for chunk in chunks]


def _indexer(processes: int, stack: ExitStack) -> Indexer:
    """Return what makes index entries: now, or meanwhile in other processes."""
    if processes <= 1:
        return lambda chunks: partial(make_entries, chunks)
    pool = stack.enter_context(make_pool(processes))

    def index(chunks: list[Chunk]) -> Callable[[], list[Entry]]:
        parts = [pool.submit(make_entries, chunks[start::processes]) for start in range(processes)]
        return lambda: _interleaved([part.result() for part in parts], len(chunks))

    return index


def _interleaved(parts: Sequence[list[Entry]], total: int) -> list[Entry]:
    return [parts[index % len(parts)][index // len(parts)] for index in range(total)]


def _embedding(embedder: Embedder | None, processes: int, stack: ExitStack) -> Embedding:
    """Return what computes vectors beside the writing; nothing where there is no embedder."""
    if embedder is None:
        return lambda texts: lambda: None
    if processes > 1 and can_be_apart(embedder):
        return stack.enter_context(apart(embedder))
    thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="matlit-embed"))
    return lambda texts: thread.submit(embedder.embed_documents, texts).result


@dataclass(slots=True)
class _Ready:
    """A batch that is chosen; its entries and vectors are being made."""

    records: dict[str, Material]
    chunks: list[Chunk]
    entries: Callable[[], list[Entry]]
    vectors: Callable[[], Vectors | None]


@dataclass(slots=True)
class _Work:
    """One import: chooses what of a batch is new, and writes it while the next one is prepared."""

    library: Library
    writer: Writer
    embedder: Embedder | None
    report: ImportReport
    waiting: deque[_Ready] = field(default_factory=deque)

    def run(self, batches: Iterator[list[_Read]], index: Indexer, embed: Embedding, tell: Callable[[], None]) -> None:
        """Bring all batches in."""
        for batch in batches:
            records = self.choose(batch)
            chunks = [to_chunk(record, self.library.info.recipe) for record in records.values()]
            texts = [chunk.embedded_text for chunk in chunks]
            self.waiting.append(_Ready(records, chunks, index(chunks), embed(texts) if texts else lambda: None))
            if len(self.waiting) > AHEAD:
                self.write(self.waiting.popleft())
            tell()
        while self.waiting:
            self.write(self.waiting.popleft())
            tell()

    def write(self, ready: _Ready) -> None:
        """Write one batch."""
        if ready.records:
            records = list(ready.records.values())
            self.writer.add_materials(records, ready.chunks, ready.vectors(), entries=ready.entries())

    def choose(self, batch: Sequence[_Read]) -> dict[str, Material]:
        """Return what of a batch must be written, by id; what is waiting is on its way into the library."""
        made = [make_material(each.item, each.path, each.number) for each in batch]
        with self.library.reading() as connection:
            there = held(connection, [each.material_id for each in made if isinstance(each, Material)])
        before = ChainMap(*(ready.records for ready in reversed(self.waiting)))
        todo: dict[str, Material] = {}
        for record in made:
            if isinstance(record, BadRecord):
                self.report.fail(ImportFailure(record.path, record.record, record.field, str(record), record.hint))
            else:
                earlier = todo.get(record.material_id) or before.get(record.material_id)
                self._judge(record, earlier, there.get(record.material_id), todo)
        return todo

    def _judge(self, record: Material, earlier: Material | None, known: Held | None, todo: dict[str, Material]) -> None:
        older = earlier or (known.material if known else None)
        wanted = merged(older, record) if older else record
        if older is None:
            self.report.added += 1
        elif wanted != older:
            self.report.updated += 1
        else:
            self.report.unchanged += 1
            if earlier or (known and self._is_complete(known)):
                return
        todo[wanted.material_id] = wanted

    def _is_complete(self, known: Held) -> bool:
        return known.text == to_text(known.material) and (known.embedded or self.embedder is None)

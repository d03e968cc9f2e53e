"""What stands before and behind the embedding of an ingest: the supply of files, the writing clerk, their messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Condition
from typing import Literal

import numpy as np
import numpy.typing as npt

from ingest.errors import ReadError
from ingest.events import Added, Event, Skipped, Updated
from ingest.library import Failure, Library, Stamp, Writer
from ingest.plan import Plan
from ingest.prepare import Prepared, Preparer
from ingest.records import Chunk, Document, file_digest

Result = Prepared | ReadError


@dataclass(frozen=True, slots=True)
class Began:
    """The first file is being read."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file was read, or could not be."""

    path: Path
    result: Result


@dataclass(frozen=True, slots=True)
class Same:
    """The file holds what another file holds, of this run or of an earlier one."""

    path: Path
    digest: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Written:
    """The writing thread has done a job."""

    event: Event
    draft: Draft | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """A thread has ended, perhaps because of an error."""

    who: Who
    error: BaseException | None = None


Who = Literal["read", "write"]
Message = Began | Arrived | Same | Written | Stopped


@dataclass(eq=False)
class Draft:
    """A paper on its way from reader to library; `vectors` is filled row by row."""

    path: Path
    prepared: Prepared
    stamps: dict[Path, Stamp]
    chunks: list[Chunk]  # those that get a vector
    vectors: npt.NDArray[np.float32]
    embedded: int = 0

    @property
    def left(self) -> int:
        """Return how many chunks are still to be embedded."""
        return len(self.chunks) - self.embedded


class Room:
    """Counts what was read and not yet written, and makes the reader wait when it is too much."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._closed = False
        self._changed = Condition()

    def take(self, weight: int) -> None:
        """Wait until there is room, then take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._used or self._used + weight <= self._limit)
            self._used += weight

    def give(self, weight: int) -> None:
        """Give room back."""
        with self._changed:
            self._used -= weight
            self._changed.notify_all()

    def close(self) -> None:
        """Let whoever waits go on, and nobody wait again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Supply:
    """Hands out the files to read, each content once; used by the reading thread.

    `stamps` and `digests` of a path are there before the path is handed out.
    """

    def __init__(
        self,
        plan: Plan,
        library: Library,
        *,
        tell: Callable[[Message], None],
        deliver: Callable[[Path, Result], None],
    ) -> None:
        self._plan = plan
        self._library = library
        self._tell = tell
        self._deliver = deliver
        self.known = frozenset(paper.id for paper in library.papers()) - plan.forced
        self.stamps: dict[Path, dict[Path, Stamp]] = {}
        self.digests: dict[Path, str] = {}
        self.closed = False

    def files(self) -> Iterator[Path]:
        """Yield the files whose content is new."""
        taken: set[str] = set()
        for path in self._plan.todo:
            if self.closed:
                return
            try:
                stamp, digest = Stamp.of(path), file_digest(path)
            except OSError as error:
                self._deliver(path, _unreadable(path, error))
                continue
            if digest in self.known or digest in taken:
                self._tell(Same(path, digest, stamp))
                continue
            if not taken:
                self._tell(Began())
            taken.add(digest)
            self.stamps[path], self.digests[path] = {path: stamp}, digest
            yield path

    def stored(self, preparer: Preparer) -> Iterator[tuple[Path, Prepared]]:
        """Yield the papers whose file is gone, cut again from their stored pages."""
        stamps = self._library.paths()
        for paper_id in self._plan.homeless:
            if self.closed:
                return
            paper = self._library.stored_paper(paper_id)
            pages = tuple(self._library.pages(paper_id))
            document = Document(pages, paper.metadata, paper.format, paper.paged, paper.warnings)
            path = paper.paths[0] if paper.paths else Path(paper_id)
            self.stamps[path], self.digests[path] = {each: stamps[each][1] for each in paper.paths}, paper_id
            yield path, preparer.cut(paper_id, paper.paths, document)


def _unreadable(path: Path, error: OSError) -> ReadError:
    cause = "missing" if isinstance(error, FileNotFoundError) else "permission"
    return ReadError(f"{path.name!r} cannot be read: {error.strerror}", cause=cause, hint="Check the file, then ingest")


class Clerk:
    """Writes, one job after the other, in a thread of its own."""

    def __init__(
        self,
        writer: Writer,
        plan: Plan,
        before: Mapping[Path, tuple[str, Stamp]],
        tell: Callable[[Message], None],
    ) -> None:
        self._writer = writer
        self._plan = plan
        self._before = before
        self._tell = tell
        self._jobs: SimpleQueue[Began | Draft | Same | Failure | None] = SimpleQueue()

    def put(self, job: Began | Draft | Same | Failure) -> None:
        """Hand over a paper, a second name of a paper, or a failure to remember."""
        self._jobs.put(job)

    def end(self) -> None:
        """Stop after what was handed over so far; saying it twice does no harm."""
        self._jobs.put(None)

    def work(self) -> None:
        """Do the jobs until told to end."""
        while (job := self._jobs.get()) is not None:
            started = time.perf_counter()
            match job:
                case Began():
                    self._writer.open_vectors()
                case Draft():
                    event = self._add(job)
                    self._tell(Written(event, job, time.perf_counter() - started))
                case Same(path, digest, stamp):
                    self._writer.link(path, digest, stamp)
                    self._tell(Written(Skipped(path, digest), None, time.perf_counter() - started))
                case Failure():
                    self._writer.fail(job)

    def _add(self, draft: Draft) -> Added | Updated:
        prepared = draft.prepared
        paper = prepared.paper
        parts = (paper, prepared.pages, prepared.chunks, draft.vectors)
        self._writer.add(*parts, stamps=draft.stamps, entries=prepared.entries)
        is_new = draft.path not in self._before and paper.id not in self._plan.forced
        event = Added if is_new else Updated
        return event(draft.path, paper.id, len(prepared.pages), len(prepared.chunks))

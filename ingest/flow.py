"""The stages of an ingest running at the same time: reader processes, the embedding caller, one writing thread.

Between them stands one inbox of messages, and a bound on how much has been read and not yet written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ingest.errors import ReadError
from ingest.events import Added, Event, Failed, Progress, Read, Report, Skipped, Updated
from ingest.library import Failure, Library, Stamp, Writer, embedded
from ingest.plan import Plan, Task
from ingest.prepare import Prepared, Preparer
from ingest.readers.isolated import ReaderPool
from ingest.records import Chunk, Document, file_digest

if TYPE_CHECKING:
    from ingest.embed import Embedder

BATCH_CHUNKS = 32  # embedded in one call, after which finished papers are handed on; small, so that Ctrl-C is quick
ROOM_CHUNKS = 3000  # may be read and not yet written
PAPER_CHUNKS = 600  # what one paper counts for at most, so that a huge one does not stop the reading of others
OLDEST_EVERY = 4  # of so many batches one goes to the paper that waits longest, the others to those nearest their end
PROGRESS_EVERY_S = 0.2
RATE_OVER_S = 20.0
JOIN_EVERY_S = 0.05

Result = Prepared | ReadError
STAGES = ("read", "chunk", "embed", "write")
UNRECORDED = {"missing", "changed", "permission"}  # causes that may pass without the file changing


@dataclass
class Tally:
    """What has happened so far; `stages` are seconds of work, `done` counts files."""

    skipped: int = 0
    added: int = 0
    updated: int = 0
    removed: int = 0
    planned: int = 0
    failed: list[Failed] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @property
    def done(self) -> int:
        """Return how many files are finished with, well or badly."""
        return self.skipped + self.added + self.updated + self.planned + len(self.failed)

    def count(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Added():
                self.added += 1
            case Updated():
                self.updated += 1
            case Skipped():
                self.skipped += 1
            case Failed():
                self.failed.append(event)
            case _:
                pass

    def report(self, seconds: float, *, papers: int, pages: int, chunks: int) -> Report:
        """Return the report of what happened within `seconds`."""
        return Report(
            added=self.added,
            skipped=self.skipped,
            updated=self.updated,
            removed=self.removed,
            planned=self.planned,
            failed=tuple(self.failed),
            papers=papers,
            pages=pages,
            chunks=chunks,
            seconds=seconds,
            stages=dict(self.stages),
        )


# --- messages to the caller's thread --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Began:
    """The first file is being read."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A file was read, or could not be."""

    path: Path
    result: Result


@dataclass(frozen=True, slots=True)
class _Same:
    """The file holds what another file holds, of this run or of an earlier one."""

    path: Path
    digest: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class _Written:
    """The writing thread has done a job."""

    event: Event
    draft: _Draft | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A thread has ended, perhaps because of an error."""

    who: Who
    error: BaseException | None = None


Who = Literal["read", "write"]
_Message = _Began | _Arrived | _Same | _Written | _Stopped


@dataclass(eq=False)
class _Draft:
    """A paper on its way from reader to library; `vectors` is filled row by row."""

    path: Path
    prepared: Prepared
    stamps: dict[Path, Stamp]
    chunks: list[Chunk]  # those that get a vector
    vectors: npt.NDArray[np.float32]
    embedded: int = 0

    @property
    def left(self) -> int:
        return len(self.chunks) - self.embedded


# --- the run --------------------------------------------------------------------------------------------------------


class Flow:
    """One run over the files of a plan; `run` yields its events."""

    def __init__(
        self, task: Task, library: Library, writer: Writer, plan: Plan, *, embedder: Embedder, tally: Tally
    ) -> None:
        self._task = task
        self._embedder = embedder
        self._tally = tally
        self._inbox: SimpleQueue[_Message] = SimpleQueue()
        self._room = _Room(ROOM_CHUNKS)
        self._supply = _Supply(plan, library, tell=self._inbox.put, deliver=self._deliver)
        self._clerk = _Clerk(writer, plan, library.paths(), self._inbox.put)
        self._drafts: list[_Draft] = []  # in order of arrival
        self._outcome: dict[str, Failed | None] = {}  # of each digest of this run: None when it is in the library
        self._twins: dict[str, list[_Same]] = {}  # waiting for the outcome of their digest
        self._pace = _Pace(plan)
        self._unwritten = 0  # drafts with the clerk
        self._batches = 0
        self._running: set[Who] = set()

    def run(self) -> Iterator[Event]:
        """Do the work; however it ends, complete papers are written and no thread or process is left."""
        preparer = self._task.make_preparer()
        threads: list[Thread] = []
        with ExitStack() as stack:
            pool = stack.enter_context(self._make_pool(preparer))
            stack.callback(self._join, threads, pool)
            threads.append(self._start("write", self._clerk.work))
            threads.append(self._start("read", lambda: self._read(pool, preparer)))
            while "read" in self._running or self._drafts or self._unwritten:
                yield from self._receive(wait=not self._drafts)
                if self._drafts:
                    self._embed_batch()
                yield from self._pace.progress(self._tally, self._drafts)
            self._clerk.end()
            while self._running:
                yield from self._receive(wait=True)

    def _make_pool(self, preparer: Preparer) -> _Pool:
        reading = self._task.settings.reading
        return _Pool(
            workers=self._task.workers or reading.workers,
            timeout_s=reading.timeout_s,
            memory_mb=reading.memory_mb,
            options=self._task.read_options,
            reader=preparer.read,
            then=preparer.chunk,
        )

    # Threads

    def _start(self, who: Who, work: Callable[[], None]) -> Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._inbox.put(_Stopped(who, error))
            else:
                self._inbox.put(_Stopped(who))

        thread = Thread(target=guarded, name=f"matlit-ingest-{who}")
        self._running.add(who)
        thread.start()
        return thread

    def _read(self, pool: _Pool, preparer: Preparer) -> None:
        for path, prepared in self._supply.stored(preparer):
            self._deliver(path, prepared)
        for path, result in pool.map(self._supply.files()):
            if self._supply.closed:
                return
            self._deliver(path, result)

    def _deliver(self, path: Path, result: Result) -> None:
        self._room.take(_weight(result))
        self._inbox.put(_Arrived(path, result))

    def _join(self, threads: Sequence[Thread], pool: _Pool) -> None:
        """End both threads: what is being read is given up, what is complete is written first."""
        self._supply.closed = True
        self._room.close()
        self._clerk.end()
        for thread in threads:
            while thread.is_alive():
                if thread.name.endswith("read"):
                    pool.interrupt()
                thread.join(JOIN_EVERY_S)

    # The caller's thread

    def _receive(self, *, wait: bool) -> Iterator[Event]:
        """Handle what has come in; with `wait`, wait a moment for something to come."""
        try:
            message = self._inbox.get(timeout=PROGRESS_EVERY_S) if wait else self._inbox.get_nowait()
            while True:
                for event in self._handle(message):
                    self._tally.count(event)
                    self._pace.count(event)
                    yield event
                message = self._inbox.get_nowait()
        except Empty:
            return

    def _handle(self, message: _Message) -> Iterator[Event]:
        match message:
            case _Began():  # load what takes a second to load while there is nothing else to do
                self._clerk.put(message)
                self._embedder.embed_documents(["A first sentence loads the model."])
            case _Arrived(path, ReadError() as error):
                self._room.give(_weight(error))
                yield from self._fail(path, error)
            case _Arrived(path, Prepared() as prepared):
                yield from self._accept(path, prepared)
            case _Same():
                yield from self._resolve(message)
            case _Written(event, draft, seconds):
                self._tally.stages["write"] += seconds
                yield event
                if draft is not None:
                    self._unwritten -= 1
                    self._room.give(_weight(draft.prepared))
                    yield from self._conclude(draft.prepared.paper.id, None)
            case _Stopped(who, error):
                self._running.discard(who)
                if error is not None:
                    raise error

    def _accept(self, path: Path, prepared: Prepared) -> Iterator[Event]:
        self._tally.stages["read"] += prepared.read_s
        self._tally.stages["chunk"] += prepared.chunk_s
        if prepared.paper.id != self._supply.digests[path]:
            self._room.give(_weight(prepared))
            changed = ReadError(f"{path.name!r} changed while it was read", cause="changed", hint="Ingest it again")
            yield from self._fail(path, changed)
            return
        chunks = embedded(prepared.chunks)
        vectors = np.zeros((len(chunks), self._embedder.dimension), dtype=np.float32)
        draft = _Draft(path, prepared, self._supply.stamps[path], chunks, vectors)
        yield Read(path, len(prepared.pages), len(prepared.chunks), prepared.paper.warnings)
        if draft.left:
            self._drafts.append(draft)
        else:
            self._hand_over(draft)

    def _hand_over(self, draft: _Draft) -> None:
        self._unwritten += 1
        self._clerk.put(draft)

    def _fail(self, path: Path, error: ReadError) -> Iterator[Event]:
        failed = Failed(path, str(error), error.hint, error.cause)
        stamp = self._supply.stamps.get(path, {}).get(path)
        if stamp is not None and error.cause not in UNRECORDED:
            self._clerk.put(Failure(path, failed.error, failed.cause, failed.hint, stamp))
        yield failed
        if digest := self._supply.digests.get(path):
            yield from self._conclude(digest, failed)

    def _resolve(self, same: _Same) -> Iterator[Event]:
        """Link a file to the paper it holds, or let it fail as its twin did, or wait for the twin."""
        if same.digest not in self._outcome and same.digest not in self._supply.known:
            self._twins.setdefault(same.digest, []).append(same)
        elif failed := self._outcome.get(same.digest):
            failed = replace(failed, path=same.path, error=f"the same content as {failed.path}: {failed.error}")
            self._clerk.put(Failure(same.path, failed.error, failed.cause, failed.hint, same.stamp))
            yield failed
        else:
            self._clerk.put(same)

    def _conclude(self, digest: str, outcome: Failed | None) -> Iterator[Event]:
        self._outcome[digest] = outcome
        for twin in self._twins.pop(digest, []):
            yield from self._resolve(twin)

    def _embed_batch(self) -> None:
        started = time.perf_counter()
        self._batches += 1
        # Nearest to its end first, so that papers appear early; but a huge one is not put off for ever.
        order = sorted(self._drafts, key=lambda draft: draft.left)
        if self._batches % OLDEST_EVERY == 0:
            order.insert(0, self._drafts[0])
        parts: list[tuple[_Draft, int, int]] = []
        free = BATCH_CHUNKS
        for draft in dict.fromkeys(order):
            take = min(free, draft.left)
            parts.append((draft, draft.embedded, draft.embedded + take))
            free -= take
            if not free:
                break
        texts = [chunk.embedded_text for draft, start, end in parts for chunk in draft.chunks[start:end]]
        vectors = self._embedder.embed_documents(texts)
        for draft, start, end in parts:
            draft.vectors[start:end], vectors = vectors[: end - start], vectors[end - start :]
            draft.embedded = end
        self._pace.embedded += len(texts)
        for draft in [draft for draft in self._drafts if not draft.left]:
            self._drafts.remove(draft)
            self._hand_over(draft)
        self._tally.stages["embed"] += time.perf_counter() - started


def _weight(result: Result) -> int:
    return min(max(len(result.chunks), 1), PAPER_CHUNKS) if isinstance(result, Prepared) else 1


class _Pool(ReaderPool[Prepared]):
    """A pool of readers that another thread than the one in `map` can interrupt."""

    def interrupt(self) -> None:
        """Kill the processes that are reading; `map` then yields a `ReadError` for each of their files."""
        self._kill_busy()


class _Room:
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


class _Supply:
    """Hands out the files to read, each content once; used by the reading thread.

    `stamps` and `digests` of a path are there before the path is handed out.
    """

    def __init__(
        self,
        plan: Plan,
        library: Library,
        *,
        tell: Callable[[_Message], None],
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
                self._tell(_Same(path, digest, stamp))
                continue
            if not taken:
                self._tell(_Began())
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


class _Clerk:
    """Writes, one job after the other, in a thread of its own."""

    def __init__(
        self,
        writer: Writer,
        plan: Plan,
        before: Mapping[Path, tuple[str, Stamp]],
        tell: Callable[[_Message], None],
    ) -> None:
        self._writer = writer
        self._plan = plan
        self._before = before
        self._tell = tell
        self._jobs: SimpleQueue[_Began | _Draft | _Same | Failure | None] = SimpleQueue()

    def put(self, job: _Began | _Draft | _Same | Failure) -> None:
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
                case _Began():
                    self._writer.open_vectors()
                case _Draft():
                    event = self._add(job)
                    self._tell(_Written(event, job, time.perf_counter() - started))
                case _Same(path, digest, stamp):
                    self._writer.link(path, digest, stamp)
                    self._tell(_Written(Skipped(path, digest), None, time.perf_counter() - started))
                case Failure():
                    self._writer.fail(job)

    def _add(self, draft: _Draft) -> Added | Updated:
        prepared = draft.prepared
        paper = prepared.paper
        self._writer.add(paper, prepared.pages, prepared.chunks, draft.vectors, stamps=draft.stamps)
        is_new = draft.path not in self._before and paper.id not in self._plan.forced
        event = Added if is_new else Updated
        return event(draft.path, paper.id, len(prepared.pages), len(prepared.chunks))


class _Pace:
    """Measures how fast it goes; sizes of files stand for the work in them."""

    def __init__(self, plan: Plan) -> None:
        self._total = plan.total
        self._left = {path: _size(path) for path in plan.todo}  # bytes of files that are not finished with
        self._bytes = sum(self._left.values())
        self._started = self._last = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque([(self._started, 0)])
        self.embedded = 0

    def count(self, event: Event) -> None:
        """Take note of an event that ends a file."""
        if isinstance(event, Added | Updated | Skipped | Failed):
            self._left.pop(event.path, None)

    def progress(self, tally: Tally, drafts: Sequence[_Draft]) -> Iterator[Progress]:
        """Yield the progress, if the last one is long enough ago."""
        now = time.monotonic()
        if now - self._last < PROGRESS_EVERY_S:
            return
        self._last = now
        self._recent.append((now, self.embedded))
        while self._recent[0][0] < now - RATE_OVER_S:
            self._recent.popleft()
        since, before = self._recent[0]
        rate = (self.embedded - before) / max(now - since, 1e-9)
        yield Progress(tally.done, self._total, rate, self._remaining_s(now, drafts))

    def _remaining_s(self, now: float, drafts: Sequence[_Draft]) -> float | None:
        left = float(sum(self._left.values()))
        left -= sum(self._left.get(each.path, 0) * each.embedded / max(len(each.chunks), 1) for each in drafts)
        done = self._bytes - left
        return (now - self._started) * left / done if done > 0 else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone since it was listed; its reading will say so
        return 0

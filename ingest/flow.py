"""The stages of an ingest running at the same time: reader processes, the embedding caller, one writing thread.

Between them stands one inbox of messages, and a bound on how much has been read and not yet written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from ingest.errors import ReadError
from ingest.events import Event, Failed, Read
from ingest.library import Failure, Library, Writer, embedded
from ingest.plan import Plan, Task
from ingest.prepare import Prepared, Preparer
from ingest.readers.isolated import ReaderPool
from ingest.stages import (
    Arrived,
    Began,
    Clerk,
    Draft,
    Message,
    Result,
    Room,
    Same,
    Stopped,
    Supply,
    Who,
    Written,
)
from ingest.tally import PROGRESS_EVERY_S, Pace, Tally

if TYPE_CHECKING:
    from ingest.embed import Embedder

BATCH_CHUNKS = 32  # embedded in one call, after which finished papers are handed on; small, so that Ctrl-C is quick
ROOM_CHUNKS = 3000  # may be read and not yet written
PAPER_CHUNKS = 600  # what one paper counts for at most, so that a huge one does not stop the reading of others
OLDEST_EVERY = 4  # of so many batches one goes to the paper that waits longest, the others to those nearest their end
JOIN_EVERY_S = 0.05

UNRECORDED = {"missing", "changed", "permission"}  # causes that may pass without the file changing


class Flow:
    """One run over the files of a plan; `run` yields its events."""

    def __init__(
        self, task: Task, library: Library, writer: Writer, plan: Plan, *, embedder: Embedder, tally: Tally
    ) -> None:
        self._task = task
        self._embedder = embedder
        self._tally = tally
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._room = Room(ROOM_CHUNKS)
        self._supply = Supply(plan, library, tell=self._inbox.put, deliver=self._deliver)
        self._clerk = Clerk(writer, plan, library.paths(), self._inbox.put)
        self._drafts: list[Draft] = []  # in order of arrival
        self._outcome: dict[str, Failed | None] = {}  # of each digest of this run: None when it is in the library
        self._twins: dict[str, list[Same]] = {}  # waiting for the outcome of their digest
        self._pace = Pace(plan)
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

    def _make_pool(self, preparer: Preparer) -> ReaderPool[Prepared]:
        reading = self._task.settings.reading
        return ReaderPool(
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
                self._inbox.put(Stopped(who, error))
            else:
                self._inbox.put(Stopped(who))

        thread = Thread(target=guarded, name=f"matlit-ingest-{who}")
        self._running.add(who)
        thread.start()
        return thread

    def _read(self, pool: ReaderPool[Prepared], preparer: Preparer) -> None:
        for path, prepared in self._supply.stored(preparer):
            self._deliver(path, prepared)
        for path, result in pool.map(self._supply.files()):
            if self._supply.closed:
                return
            self._deliver(path, result)

    def _deliver(self, path: Path, result: Result) -> None:
        self._room.take(_weight(result))
        self._inbox.put(Arrived(path, result))

    def _join(self, threads: Sequence[Thread], pool: ReaderPool[Prepared]) -> None:
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

    def _handle(self, message: Message) -> Iterator[Event]:
        match message:
            case Began():  # load what takes a second to load while there is nothing else to do
                self._clerk.put(message)
                self._embedder.embed_documents(["A first sentence loads the model."])
            case Arrived(path, ReadError() as error):
                self._room.give(_weight(error))
                yield from self._fail(path, error)
            case Arrived(path, Prepared() as prepared):
                yield from self._accept(path, prepared)
            case Same():
                yield from self._resolve(message)
            case Written(event, draft, seconds):
                self._tally.stages["write"] += seconds
                yield event
                if draft is not None:
                    self._unwritten -= 1
                    self._room.give(_weight(draft.prepared))
                    yield from self._conclude(draft.prepared.paper.id, None)
            case Stopped(who, error):
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
        draft = Draft(path, prepared, self._supply.stamps[path], chunks, vectors)
        yield Read(path, len(prepared.pages), len(prepared.chunks), prepared.paper.warnings)
        if draft.left:
            self._drafts.append(draft)
        else:
            self._hand_over(draft)

    def _hand_over(self, draft: Draft) -> None:
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

    def _resolve(self, same: Same) -> Iterator[Event]:
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
        parts: list[tuple[Draft, int, int]] = []
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

"""The threads of a keyword job: papers in, records out, as many calls at once as are allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import Full, Queue

from assistant.keywords.making import Source
from assistant.keywords.records import Record

LEAVE_S = 30.0  # how long an interrupted job waits for the calls it has paid for
# Calls that begin together would come back together, and wait for each other's processor time in every round.
APART_S = 0.005


def in_threads(
    todo: Iterable[Source], make: Callable[[Source], Record], *, calls: int, stop: threading.Event
) -> Iterator[Record]:
    """Yield the record that `make` returns for each paper of `todo`, in the order in which they are done.

    `todo` is read ahead in a thread of its own. After an error of `make` or `todo` no further paper is taken up; what
    is under way is finished and yielded, then the error is raised. `stop` ends it in the same way, without an error.
    """
    # A few threads more than calls: while one marks and writes keywords, another is already asking.
    crew = _Crew(todo, make, calls + (calls + 3) // 4, stop)
    try:
        yield from crew.records()
    finally:
        crew.leave()


class _Crew:
    def __init__(
        self, todo: Iterable[Source], make: Callable[[Source], Record], count: int, stop: threading.Event
    ) -> None:
        self._todo, self._make, self._count, self._stop = todo, make, count, stop
        self._tasks: Queue[Source | None] = Queue(maxsize=2 * count)
        self._results: Queue[Record | BaseException | None] = Queue()
        workers = [threading.Thread(target=self._work, args=(place,), daemon=True) for place in range(count)]
        self._threads = [*workers, threading.Thread(target=self._feed, daemon=True)]

    def records(self) -> Iterator[Record]:
        for thread in self._threads:
            thread.start()
        running, wrong = self._count, None
        while running:
            result = self._results.get()
            if result is None:
                running -= 1
            elif isinstance(result, Record):
                yield result
            else:
                wrong = wrong or result
        if wrong is not None:
            raise wrong

    def leave(self) -> None:
        """Let the calls under way end, for a while."""
        self._stop.set()
        ends = time.monotonic() + LEAVE_S
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join(max(ends - time.monotonic(), 0.0))
        self._stop.clear()

    def _feed(self) -> None:
        try:
            for source in self._todo:
                if not self._put(source):
                    break
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again in the job's own thread
            self._results.put(error)
            self._stop.set()
        for _ in range(self._count):
            self._tasks.put(None)

    def _put(self, source: Source) -> bool:
        while not self._stop.is_set():
            try:
                self._tasks.put(source, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def _work(self, place: int) -> None:
        try:
            self._stop.wait(place * APART_S)
            while (source := self._tasks.get()) is not None:
                if self._stop.is_set():
                    continue
                self._results.put(self._make(source))
        except BaseException as error:  # noqa: BLE001 - raised again in the job's own thread
            self._stop.set()
            self._results.put(error)
            while self._tasks.get() is not None:  # so that the feeder gets rid of what it holds
                pass
        finally:
            self._results.put(None)

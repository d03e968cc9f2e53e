"""Work that goes on while pages come and go: one thread per job, in this server's process, and it can be stopped.

A job runs a generator of events and keeps what it yields. Closing the generator is how it is stopped, so that what runs
inside can put itself in order (an ingest keeps every complete paper). Nothing of Streamlit is used here.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ingest.errors import MatlitError

State = Literal["running", "done", "failed", "cancelled"]
Work = Callable[[], Iterator[Any]]

KEPT_JOBS = 50
MOST_EVENTS = 20_000
CLOSE_S = 10.0  # what jobs get to stop when the server ends

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work; `owner` "" means that every browser of this server may see it."""

    id: str
    kind: str
    title: str
    owner: str = ""
    state: State = "running"
    events: list[Any] = field(default_factory=list)
    error: str = ""
    hint: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Say whether it has not ended yet."""
        return self.state == "running"

    @property
    def seconds(self) -> float:
        """Return how long it has been running, or ran."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    def cancel(self) -> None:
        """Ask it to stop; it does so at its next event."""
        self.stop.set()

    def last(self, kind: type[Any]) -> Any:
        """Return the latest event of a type, or None."""
        return next((event for event in reversed(self.events) if isinstance(event, kind)), None)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; return whether it has."""
        if self.thread is not None:
            self.thread.join(timeout_s)
        return not self.running


class Jobs:
    """All jobs of this server."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def start(
        self, kind: str, title: str, work: Work, *, owner: str = "", then: Callable[[Job], None] | None = None
    ) -> Job:
        """Begin `work` in a thread; `then` is called there when it has ended, however it did."""
        job = Job(id=str(next(self._numbers)), kind=kind, title=title, owner=owner)
        job.thread = threading.Thread(target=_run, args=(job, work, then), name=f"matlit-{kind}", daemon=True)
        with self._lock:
            self._jobs[job.id] = job
            self._forget()
        job.thread.start()
        return job

    def find(self, kind: str, *, owner: str = "") -> list[Job]:
        """Return the jobs of a kind that `owner` may see, newest first."""
        with self._lock:
            jobs = list(self._jobs.values())
        return [job for job in reversed(jobs) if job.kind == kind and job.owner in ("", owner)]

    def running(self, kind: str, *, owner: str = "") -> Job | None:
        """Return the newest running job of a kind, or None."""
        return next((job for job in self.find(kind, owner=owner) if job.running), None)

    def forget(self, job: Job) -> None:
        """Take a job that has ended off the list."""
        with self._lock:
            if not job.running:
                self._jobs.pop(job.id, None)

    def close(self) -> None:
        """Stop everything, and give it a moment to put itself in order."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.running]
        for job in jobs:
            job.cancel()
        until = time.monotonic() + CLOSE_S
        for job in jobs:
            job.wait(max(until - time.monotonic(), 0.0))

    def _forget(self) -> None:
        ended = [job.id for job in self._jobs.values() if not job.running]
        for identity in ended[: max(len(self._jobs) - KEPT_JOBS, 0)]:
            del self._jobs[identity]


def _run(job: Job, work: Work, then: Callable[[Job], None] | None) -> None:
    state: State = "failed"
    try:
        state = _follow(job, work())
    except MatlitError as error:
        job.error, job.hint = str(error), error.hint
    except Exception as error:  # the border of a thread: what escapes here would be seen by nobody
        logger.exception("the job %r failed", job.title)
        job.error, job.hint = f"{type(error).__name__} inside matlit", "Its traceback stands where matlit chat runs"
    if then is not None:
        try:
            then(job)
        except MatlitError as error:
            job.error, job.hint = str(error), error.hint
    job.ended = time.monotonic()
    job.state = state


def _follow(job: Job, events: Iterator[Any]) -> State:
    for event in events:
        if len(job.events) < MOST_EVENTS:
            job.events.append(event)
        else:
            job.events[-1] = event  # so that the last one, which says how it went, is always there
        if job.stop.is_set():
            if isinstance(events, Generator):
                events.close()
            return "cancelled"
    return "done"


JOBS = Jobs()

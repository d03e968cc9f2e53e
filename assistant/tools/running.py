"""Running a function for a limited time, in threads that are kept and used again.

Threads are kept because a library opens one connection per thread. One whose function does not come back is left
behind as a daemon: Python cannot stop it, but nothing waits for it either, not even the end of the process. Where many
are left behind, nothing more is started until one of them comes back.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_LEFT_BEHIND = 16


class OutOfTime(Exception):
    """The function did not come back in time."""


class TooManyLeft(Exception):
    """So many functions did not come back that no further one is started."""


@dataclass(eq=False, slots=True)
class _Job:
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    context: contextvars.Context
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: BaseException | None = None
    left: bool = False  # nobody waits for it any more


class _Worker:
    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="matlit-tool", daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self.jobs.get()
            try:
                job.value = job.context.run(job.function, **job.arguments)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
                job.error = error
            with _guard:
                job.done.set()
                if job.left:
                    _left.discard(job)
                    _idle.append(self)
            del job  # or the last result would stay in memory until the next one


_idle: list[_Worker] = []
_left: set[_Job] = set()
_guard = threading.Lock()


def run_within(timeout_s: float, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Return what the function returns, or raise what it raises.

    Raises:
        OutOfTime: it has not come back after `timeout_s` seconds.
        TooManyLeft: 16 earlier ones have not come back either.
    """
    with _guard:
        if len(_left) >= MOST_LEFT_BEHIND:
            raise TooManyLeft
        worker = _idle.pop() if _idle else _Worker()
    job = _Job(function, arguments, contextvars.copy_context())
    worker.jobs.put(job)
    try:
        job.done.wait(timeout_s)
    finally:
        with _guard:
            job.left = not job.done.is_set()
            if job.left:
                _left.add(job)
            else:
                _idle.append(worker)
    if job.left:
        raise OutOfTime
    if job.error is not None:
        raise job.error
    return job.value

"""What has happened in an ingest, and how fast it goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.events import Added, Event, Failed, Progress, Report, Skipped, Updated
from ingest.plan import Plan

if TYPE_CHECKING:
    from ingest.stages import Draft

STAGES = ("read", "chunk", "embed", "write")
PROGRESS_EVERY_S = 0.2
RATE_OVER_S = 20.0


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


class Pace:
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

    def progress(self, tally: Tally, drafts: Sequence[Draft]) -> Iterator[Progress]:
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

    def _remaining_s(self, now: float, drafts: Sequence[Draft]) -> float | None:
        left = float(sum(self._left.values()))
        left -= sum(self._left.get(each.path, 0) * each.embedded / max(len(each.chunks), 1) for each in drafts)
        done = self._bytes - left
        return (now - self._started) * left / done if done > 0 else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone since it was listed; its reading will say so
        return 0

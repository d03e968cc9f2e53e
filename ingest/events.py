"""What an ingest tells while it runs: one frozen record per happening, and the report at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Stages = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Found:
    """The paths were searched: `total` files, of which `todo` are new, changed or to be tried again."""

    total: int
    todo: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """The file's paper is in the library already, under this or another name."""

    path: Path
    paper: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A dry run would read this file."""

    path: Path
    reason: str  # "new", "changed", "rebuild" or "failed before"


@dataclass(frozen=True, slots=True)
class Read:
    """The file was read and chunked; it is not in the library yet. `warnings` say what of it could not be read."""

    path: Path
    pages: int
    chunks: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    """The paper is in the library, complete and on disk."""

    path: Path
    paper: str
    pages: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Updated:
    """The paper replaced the version that the path held before, or the same paper of an earlier build."""

    path: Path
    paper: str
    pages: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The file could not be read. `again` is False when it failed before, has not changed and was not tried."""

    path: Path
    error: str
    hint: str = ""
    cause: str = ""
    again: bool = True


@dataclass(frozen=True, slots=True)
class Removed:
    """A paper was taken out because none of its files is left."""

    paper: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: files done of `total`, passages embedded per second, and a guess of the seconds left, if any."""

    done: int
    total: int
    rate: float
    remaining_s: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What an ingest did; `papers`, `pages` and `chunks` count what the library holds now.

    `stages` are seconds of work. They overlap, and reading and chunking run in several processes: their sum may exceed
    `seconds`.
    """

    added: int = 0
    skipped: int = 0
    updated: int = 0
    removed: int = 0
    planned: int = 0
    failed: tuple[Failed, ...] = ()
    papers: int = 0
    pages: int = 0
    chunks: int = 0
    seconds: float = 0.0
    stages: Stages = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as the command line prints it."""
        return {
            "added": self.added,
            "skipped": self.skipped,
            "updated": self.updated,
            "removed": self.removed,
            "planned": self.planned,
            "failed": [{"path": str(each.path), "error": each.error, "hint": each.hint} for each in self.failed],
            "papers": self.papers,
            "pages": self.pages,
            "chunks": self.chunks,
            "seconds": round(self.seconds, 3),
            "stages": {name: round(seconds, 3) for name, seconds in self.stages.items()},
        }


@dataclass(frozen=True, slots=True)
class Finished:
    """The ingest has ended; nothing follows."""

    report: Report


Event = Found | Skipped | Planned | Read | Added | Updated | Failed | Removed | Progress | Finished

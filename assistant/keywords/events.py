"""What a keyword job tells while it runs, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from assistant.keywords.records import Record
from assistant.pricing import PRICES_AS_OF


@dataclass(frozen=True, slots=True)
class Estimated:
    """What the job will cost at list price, from the first papers; None where the price is not known."""

    papers: int
    tokens: int
    cost_usd: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain data."""
        told = {"papers": self.papers, "tokens": self.tokens, "cost_usd": self.cost_usd}
        return told | ({"prices_as_of": PRICES_AS_OF} if self.cost_usd else {})


@dataclass(frozen=True, slots=True)
class Made:
    """A paper's record is on disk: with keywords, or with the reason why there are none."""

    record: Record


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the job is; `rate` is papers per second, `remaining_s` an estimate."""

    done: int
    total: int
    rate: float
    cost_usd: float
    remaining_s: float


@dataclass(slots=True)
class Report:
    """What a job came to. `left` papers were not taken up, because of `stopped`."""

    made: int = 0
    failed: list[Record] = field(default_factory=list)
    skipped: int = 0
    left: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    hint: str = ""

    def count(self, record: Record) -> None:
        """Count a paper that has its keywords, or keep one that has none."""
        if record.error:
            self.failed.append(record)
        else:
            self.made += 1

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        failed = [{"path": one.path, "error": one.error, "hint": one.hint} for one in self.failed]
        return {
            "made": self.made,
            "failed": failed,
            "skipped": self.skipped,
            "left": self.left,
            "cost_usd": round(self.cost_usd, 6),
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped or None,
            "hint": self.hint or None,
            **({"prices_as_of": PRICES_AS_OF} if self.cost_usd else {}),
        }


Event = Estimated | Made | Progress | Report

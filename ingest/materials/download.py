"""Downloads of records so that nothing is lost: what was asked for, what has come, and patience with servers.

What has come is kept in a folder beside the library: a list of ids or the next page, and the records as JSON lines. The
same command goes on from there after an interruption; once the records are in the library the folder is removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from ingest.errors import BadInput, MatlitError

TIMES = 7
FIRST_WAIT_S = 1.0
MOST_WAIT_S = 60.0

T = TypeVar("T")
Range = tuple[float | None, float | None]
logger = logging.getLogger(__name__)


class DownloadError(MatlitError):
    """A provider cannot be reached, or refuses."""

    hint = "What has come is kept: run the same command again to go on"
    retryable = True


class KeyRefused(DownloadError):
    """The Materials Project does not take the key."""

    hint = "Get one at https://materialsproject.org/api and set it: export MP_API_KEY=…"
    retryable = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which records to download; ranges are inclusive, None is an open end. `fields` come on top of the id."""

    elements: tuple[str, ...] = ()
    chemsys: str = ""
    formula: str = ""
    nsites: Range | None = None
    band_gap_ev: Range | None = None
    fields: tuple[str, ...] = ()
    limit: int | None = None

    def refuse_everything(self) -> None:
        """Raise BadInput where nothing restricts the query: whole databases are not fetched by the page."""
        if not (self.elements or self.chemsys or self.formula or self.nsites or self.band_gap_ev):
            raise BadInput(
                "a download of everything was asked for",
                hint="Restrict it: --chemsys Li-Fe-P-O, --elements Li,O, --formula TiO2, --nsites ..20, --band-gap 1..",
            )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is; `total` is None where the provider does not say."""

    done: int
    total: int | None
    waiting_s: float = 0.0
    why: str = ""


Tell = Callable[[Progress], None]
Sleep = Callable[[float], None]


class Kept:
    """The folder in which an unfinished download waits; `name` tells downloads of other queries apart."""

    def __init__(self, folder: Path, source: str, query: Query) -> None:
        known = json.dumps([source, asdict(query)], sort_keys=True)
        self.folder = folder / hashlib.sha256(known.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records = self.folder / "records.jsonl"
        self._state = self.folder / "state.json"
        (self.folder / "query.json").write_text(known, encoding="utf-8")

    def state(self) -> dict[str, Any]:
        """Return what was noted last."""
        return json.loads(self._state.read_text(encoding="utf-8")) if self._state.exists() else {}

    def note(self, **state: Any) -> None:
        """Note where the download is, whole or not at all."""
        part = self._state.with_suffix(".part")
        part.write_text(json.dumps(state), encoding="utf-8")
        part.replace(self._state)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add records; they are on the disk when this returns."""
        with self.records.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())

    def cut(self, size: int) -> None:
        """Take back what was appended after the last note."""
        if self.records.exists() and self.records.stat().st_size > size:
            os.truncate(self.records, size)

    def size(self) -> int:
        """Return the size of the records in bytes."""
        return self.records.stat().st_size if self.records.exists() else 0

    def files(self) -> list[Path]:
        """Return the files of records: one, or none where nothing fits."""
        return [self.records] if self.size() else []

    def remove(self) -> None:
        """Remove the folder: the records are in the library."""
        shutil.rmtree(self.folder)


def patiently(work: Callable[[], T], *, tell: Callable[[float, str], None], sleep: Sleep) -> T:
    """Return what `work` returns, tried again with back-off while it raises a `DownloadError` that may pass."""
    for attempt in count():
        try:
            return work()
        except DownloadError as error:
            if not error.retryable or attempt + 1 >= TIMES:
                raise
            asked = getattr(error, "retry_after_s", None)
            wait_s = asked or min(FIRST_WAIT_S * 2.0**attempt, MOST_WAIT_S) * random.uniform(1.0, 1.25)  # noqa: S311
            logger.info("%s; trying again in %.1f s", error, wait_s)
            tell(wait_s, str(error))
            sleep(min(wait_s, MOST_WAIT_S))
    raise AssertionError("unreachable")

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
from ingest.materials.fields import asked_id
from ingest.materials.importing import ImportFailure

TIMES = 7
FIRST_WAIT_S = 1.0
MOST_WAIT_S = 60.0
MOST_ASKED_S = 900.0  # what a server asks for is waited for, up to a quarter of an hour

T = TypeVar("T")
Range = tuple[float | None, float | None]
logger = logging.getLogger(__name__)


class DownloadError(MatlitError):
    """A provider cannot be reached, or refuses."""

    hint = "What has come is kept: run the same command again to go on"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after_s = retry_after_s


class KeyRefused(DownloadError):
    """The Materials Project does not take the key."""

    hint = "Get one at https://materialsproject.org/api and set it: export MP_API_KEY=…"
    retryable = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which records to download; ranges are inclusive, None is an open end. `fields` come on top of the id."""

    ids: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    chemsys: str = ""
    formula: str = ""
    nsites: Range | None = None
    band_gap_ev: Range | None = None
    fields: tuple[str, ...] = ()
    limit: int | None = None

    def refuse_everything(self) -> None:
        """Raise BadInput where nothing restricts the query: whole databases are not fetched by the page."""
        filters = self.elements or self.chemsys or self.formula or self.nsites or self.band_gap_ev
        if self.ids and filters:
            raise BadInput("ids and filters were given", hint="Give one of the two: records are known by their ids")
        if not (self.ids or filters):
            raise BadInput(
                "a download of everything was asked for",
                hint="Restrict it: mp-149, --chemsys Li-Fe-P-O, --elements Li,O, --formula TiO2, --nsites ..20",
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

    def ids(self) -> set[str]:
        """Return the ids of the records that have come whole, and cut off a line that a kill has broken."""
        if not self.records.exists():
            return set()
        done, whole = set(), 0
        with self.records.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                record = json.loads(line)
                done.add(str(record.get("material_id") or record.get("id")))
                whole += len(line)
        self.cut(whole)
        return done

    def files(self) -> list[Path]:
        """Return the files of records: one, or none where nothing fits."""
        return [self.records] if self.size() else []

    def remove(self) -> None:
        """Remove the folder: the records are in the library."""
        shutil.rmtree(self.folder)


def missing(query: Query, kept: Kept, source: str) -> list[ImportFailure]:
    """Return the ids that were asked for and that `source` does not have."""
    come = {spelling for each in kept.ids() for spelling in (each, asked_id(each))}
    told = "Look for it by what it is: --formula F, --chemsys Li-Fe-P-O"
    return [
        ImportFailure(Path(each), 0, "id", f"{source} has no record {each!r}", told)
        for each in query.ids
        if each not in come
    ]


def patiently(work: Callable[[], T], *, tell: Callable[[float, str], None], sleep: Sleep) -> T:
    """Return what `work` returns, tried again with back-off while it raises a `DownloadError` that may pass.

    What a server asks to wait is waited for; where that is too long, the error says so.
    """
    for attempt in count():
        try:
            return work()
        except DownloadError as error:
            if not error.retryable or attempt + 1 >= TIMES:
                raise
            asked = error.retry_after_s
            if asked is not None and asked > MOST_ASKED_S:
                raise DownloadError(f"{error}, and asks to wait {asked:,.0f} s", retryable=False) from error
            backed_off = min(FIRST_WAIT_S * 2.0**attempt, MOST_WAIT_S) * random.uniform(1.0, 1.25)  # noqa: S311
            wait_s = backed_off if asked is None else asked
            logger.info("%s; trying again in %.1f s", error, wait_s)
            tell(wait_s, str(error))
            sleep(wait_s)
    raise AssertionError("unreachable")

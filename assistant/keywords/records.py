"""The result of a keyword job: one record per paper, and the file of JSON lines that is the record of truth."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ingest.errors import BadInput


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword. `page` is the first that holds it (None where absent); `printed` says the paper prints it as one.

    `given` is what was found or answered where a vocabulary put its own term in the place of it.
    """

    keyword: str
    present: bool
    page: int | None = None
    printed: bool = False
    given: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the keyword as plain data; what is usually empty is left out."""
        data: dict[str, Any] = {"keyword": self.keyword, "present": self.present, "page": self.page}
        return data | ({"printed": True} if self.printed else {}) | ({"given": self.given} if self.given else {})


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one paper. `error` is empty, or says why there are no keywords; `hint` what to do about it."""

    id: str
    path: str
    title: str = ""
    language: str = ""
    keywords: tuple[Keyword, ...] = ()
    model: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""
    note: str = ""
    recipe: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the line of the output file."""
        return {
            "id": self.id,
            "path": self.path,
            "title": self.title,
            "language": self.language,
            "keywords": [one.to_json() for one in self.keywords],
            "model": self.model,
            "usage": dict(self.usage),
            "error": self.error or None,
            "hint": self.hint or None,
            "note": self.note or None,
            "recipe": self.recipe,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Undo `to_json`."""
        keywords = tuple(Keyword(**one) for one in data["keywords"])
        named = {name: data.get(name) or "" for name in ("path", "title", "language", "model", "error", "hint", "note")}
        usage, recipe = data.get("usage") or {}, data.get("recipe") or ""
        return cls(id=data["id"], keywords=keywords, usage=usage, recipe=recipe, **named)


class RecordFile:
    """A file of records that one job appends to, from any of its threads, each line whole or not at all.

    A line that a killed job left half written is cut off. The last line of a paper counts; `close` takes out the ones
    before it. Between jobs the file may be read, copied and put back.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock, Timeout

        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BadInput(
                f"another job is writing to {str(path)!r}", hint="Wait for it to end, or give another file: -o FILE"
            ) from error
        try:
            _cut_half_line(path)
            self._state: dict[str, tuple[bool, str]] = {}
            self._lines = 0
            for record in read_records(path) if path.exists() else ():
                self._note(record)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except BaseException:  # Ctrl-C too: the lock is not to outlive the attempt
            self._lock.release()
            raise
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def has(self, paper_id: str, *, failed_too: bool = False) -> bool:
        """Tell whether the paper has its keywords; with `failed_too`, or the reason why it has none."""
        return paper_id in self._state and (failed_too or self._state[paper_id][0])

    def check_recipe(self, recipe: str) -> None:
        """Refuse to mix records of another model, language or prompt with those to come.

        Raises:
            BadInput: the file holds keywords that were made in another way.
        """
        others = {made for done, made in self._state.values() if done and made != recipe}
        if others:
            raise BadInput(
                f"{str(self.path)!r} holds keywords made with other settings ({sorted(others)[0]}; now {recipe})",
                hint="Write to another file: -o FILE; or begin anew: --restart",
            )

    def append(self, record: Record) -> None:
        """Put a record on disk; when this returns, it outlives the process."""
        line = (json.dumps(record.to_json(), ensure_ascii=False) + "\n").encode()
        with self._writing:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            self._note(record)

    def close(self) -> None:
        """Close the file, with one line left for each paper."""
        os.close(self._file)
        if self._lines > len(self._state):
            _keep_last_lines(self.path)
        self._lock.release()

    def _note(self, record: Record) -> None:
        self._lines += 1
        self._state[record.id] = (not record.error, record.recipe)


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file line by line; raises `BadInput` naming the line that is none."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield Record.from_json(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise BadInput(
                        f"{path}, line {number} is no record of a keyword job: {error!r}",
                        hint="Write to another file: -o FILE",
                    ) from error
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def latest(path: Path) -> Iterator[Record]:
    """Yield the last record of each paper, in the order of the file."""
    last = {record.id: number for number, record in enumerate(read_records(path))}
    for number, record in enumerate(read_records(path)):
        if last[record.id] == number:
            yield record


def _cut_half_line(path: Path) -> None:
    if not path.exists():
        return
    try:
        with path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                begin = max(0, end - 65536)
                file.seek(begin)
                newline = file.read(end - begin).rfind(b"\n")
                if newline >= 0:
                    file.truncate(begin + newline + 1)
                    return
                end = begin
            file.truncate(0)
    except OSError as error:
        raise BadInput(f"cannot write to {str(path)!r}: {error.strerror or error}") from error


def _keep_last_lines(path: Path) -> None:
    new = path.with_name(f"{path.name}.part")
    with new.open("w", encoding="utf-8") as file:
        for record in latest(path):
            file.write(json.dumps(record.to_json(), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)

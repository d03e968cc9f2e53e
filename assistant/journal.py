"""The journal: every question and its answer, in a SQLite file of its own in the library's folder.

It is apart from the catalogue so that readers can write it while another process holds the library for writing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput

if TYPE_CHECKING:
    from assistant.answer import Answer

FILE = "journal.sqlite"
WAIT_S = 5.0  # for another process that is writing its own entry

_INSERT = """INSERT INTO answers (asked, question, model, prompt, abstained, seconds, answer)
  VALUES (?, ?, ?, ?, ?, ?, ?)"""
_SCHEMA = """CREATE TABLE IF NOT EXISTS answers (
  id INTEGER PRIMARY KEY, asked TEXT NOT NULL, question TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
  abstained INTEGER NOT NULL, seconds REAL NOT NULL, answer TEXT NOT NULL)"""
_RATINGS = """CREATE TABLE IF NOT EXISTS ratings (
  answer INTEGER PRIMARY KEY, rated TEXT NOT NULL, helpful INTEGER NOT NULL, note TEXT NOT NULL)"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal: `answer` is the answer's JSON object, `prompt` a hash of the prompt, "" without one."""

    id: int
    asked: str  # ISO 8601, UTC
    question: str
    model: str
    prompt: str
    answer: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain data."""
        return asdict(self)


def record(folder: Path, question: str, answer: Mapping[str, Any], *, prompt: str = "") -> str:
    """Write one answer down; return "" or, where the folder cannot be written, the reason.

    A library on a read-only disk can be asked all the same, so that case is no error.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    row = (now, question, answer["model"], prompt, answer["abstained"], answer["seconds"], _dump(answer))
    try:
        with closing(sqlite3.connect(folder / FILE, timeout=WAIT_S)) as connection, connection:
            connection.execute(_SCHEMA)
            connection.execute(_INSERT, row)
    except sqlite3.OperationalError as error:
        return f"not in the journal {folder / FILE}: {error}"
    return ""


def recorded(folder: Path, question: str, answer: Answer) -> Answer:
    """Write one answer down, and return it; where that was not possible, its trace says why."""
    prompt = next((str(step["hash"]) for step in answer.trace if step["step"] == "prompt"), "")
    reason = record(folder, question, answer.to_json(), prompt=prompt)
    return replace(answer, trace=(*answer.trace, {"step": "journal", "error": reason})) if reason else answer


def rate(folder: Path, *, question: str, helpful: bool, note: str = "") -> str:
    """Write down what somebody thought of the latest answer to `question`; return "" or why it could not be written.

    A later rating of the same answer replaces the earlier one.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with closing(sqlite3.connect(folder / FILE, timeout=WAIT_S)) as connection, connection:
            connection.execute(_SCHEMA)
            connection.execute(_RATINGS)
            latest = "SELECT max(id) FROM answers WHERE question = ?"
            (answer,) = connection.execute(latest, (question,)).fetchone()
            connection.execute("INSERT OR REPLACE INTO ratings VALUES (?, ?, ?, ?)", (answer or 0, now, helpful, note))
    except sqlite3.OperationalError as error:
        return f"not in the journal {folder / FILE}: {error}"
    return ""


def ratings(folder: Path) -> list[tuple[str, bool, str]]:
    """Return (question, helpful, note) of every rated answer, newest first."""
    if not (folder / FILE).exists():
        return []
    with closing(sqlite3.connect(folder / FILE, timeout=WAIT_S)) as connection, connection:
        connection.execute(_SCHEMA)
        connection.execute(_RATINGS)
        sql = """SELECT question, helpful, note FROM ratings JOIN answers ON answers.id = ratings.answer
          ORDER BY ratings.rated DESC, ratings.answer DESC"""
        return [(question, bool(helpful), note) for question, helpful, note in connection.execute(sql)]


def find(folder: Path, number: int) -> Entry:
    """Return one entry. Raises BadInput where there is none of that number."""
    found = entries(folder, limit=1, number=number)
    if not found:
        raise BadInput(f"the journal has no entry {number}", hint="List them: matlit journal")
    return found[0]


def entries(folder: Path, *, limit: int = 100, number: int | None = None) -> list[Entry]:
    """Return the latest entries, newest first, or the one of that number; none where nothing was asked yet."""
    if not (folder / FILE).exists():
        return []
    with closing(
        sqlite3.connect(f"{(folder / FILE).resolve().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)
    ) as connection:
        rows = connection.execute(
            "SELECT id, asked, question, model, prompt, answer FROM answers WHERE coalesce(id = ?, TRUE) "
            "ORDER BY id DESC LIMIT ?",
            (number, limit),
        ).fetchall()
    return [
        Entry(number, asked, question, model, prompt, json.loads(answer))
        for number, asked, question, model, prompt, answer in rows
    ]


def _dump(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))

"""Where the web app keeps what belongs to one browser: its chats, its preferences, and the names of uploaded files.

One SQLite file in the user's data folder, readable by this user only. Every row belongs to an owner, a hash of the
random name in the browser's cookie; whoever does not hold that cookie cannot ask for the row. Keys are never kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

Role = Literal["user", "assistant"]
WAIT_S = 5.0
TITLE = 60  # characters of a question that name its chat

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chats (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, library TEXT NOT NULL, changed TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY, chat TEXT NOT NULL REFERENCES chats(id) ON DELETE CASCADE, role TEXT NOT NULL,
  content TEXT NOT NULL, said TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS messages_of ON messages(chat);
CREATE TABLE IF NOT EXISTS manners (
  chat TEXT PRIMARY KEY REFERENCES chats(id) ON DELETE CASCADE, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS preferences (
  owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, name));
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, name TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat in the list."""

    id: str
    title: str
    library: str
    changed: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class Message:
    """One message; what `content` holds depends on the role and is JSON throughout."""

    id: int
    role: Role
    content: dict[str, Any]
    said: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class Manner:
    """How the questions of a chat are answered: by which model ("": the browser's), in what way, from which papers."""

    model: str = ""
    strategy: str = "auto"
    papers: tuple[str, ...] = ()  # ids; none: all of the library


def owner_of(token: str) -> str:
    """Return what stands in the file for the browser that holds `token`."""
    return hashlib.sha256(f"matlit browser {token}".encode()).hexdigest()[:32]


def default_path() -> Path:
    """Return the file in the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("matlit")) / "chats.sqlite"


class ChatStore:
    """The chats of one owner."""

    def __init__(self, owner: str, path: Path | None = None) -> None:
        self.owner = owner
        self._path = path or default_path()

    def chats(self, words: str = "") -> list[Chat]:
        """Return the chats, latest first; with `words`, those whose title or messages hold them."""
        sql = "SELECT id, title, library, changed FROM chats WHERE owner = ?"
        values: list[str] = [self.owner]
        for word in words.split():
            sql += """ AND (title LIKE ? ESCAPE '\\' OR id IN
              (SELECT chat FROM messages WHERE content LIKE ? ESCAPE '\\'))"""
            values += [_like(word)] * 2
        with self._open() as connection:
            return [Chat(*row) for row in connection.execute(f"{sql} ORDER BY changed DESC, rowid DESC", values)]

    def has(self, chat: str) -> bool:
        """Tell whether there is such a chat of this owner's."""
        with self._open() as connection:
            sql = "SELECT 1 FROM chats WHERE id = ? AND owner = ?"
            return connection.execute(sql, (chat, self.owner)).fetchone() is not None

    def messages(self, chat: str) -> list[Message]:
        """Return the messages of a chat in order; none where the chat is not this owner's."""
        sql = """SELECT messages.id, role, content, said FROM messages JOIN chats ON chats.id = chat
          WHERE chat = ? AND owner = ? ORDER BY messages.id"""
        with self._open() as connection:
            rows = connection.execute(sql, (chat, self.owner)).fetchall()
        return [Message(number, role, json.loads(content), said) for number, role, content, said in rows]

    def begin(self, title: str, library: str) -> str:
        """Make a chat; return its id."""
        identity = secrets.token_hex(8)
        named = " ".join(title.split())
        named = named if len(named) <= TITLE else f"{named[: TITLE - 1].rstrip()}…"
        with self._open() as connection, connection:
            connection.execute(
                "INSERT INTO chats VALUES (?, ?, ?, ?, ?)", (identity, self.owner, named, library, _now())
            )
        return identity

    def add(self, chat: str, role: Role, content: Mapping[str, Any]) -> int:
        """Append a message; return its number, 0 where the chat is gone or another's."""
        sql = (
            "INSERT INTO messages (chat, role, content, said) SELECT id, ?, ?, ? FROM chats WHERE id = ? AND owner = ?"
        )
        with self._open() as connection, connection:
            done = connection.execute(sql, (role, _dump(content), _now(), chat, self.owner))
            connection.execute("UPDATE chats SET changed = ? WHERE id = ? AND owner = ?", (_now(), chat, self.owner))
            return int(done.lastrowid or 0) if done.rowcount else 0

    def update(self, message: int, content: Mapping[str, Any]) -> None:
        """Replace what a message holds."""
        sql = "UPDATE messages SET content = ? WHERE id = ? AND chat IN (SELECT id FROM chats WHERE owner = ?)"
        with self._open() as connection, connection:
            connection.execute(sql, (_dump(content), message, self.owner))

    def cut(self, chat: str, message: int) -> None:
        """Take out a message and all that follow it."""
        sql = "DELETE FROM messages WHERE chat = ? AND id >= ? AND chat IN (SELECT id FROM chats WHERE owner = ?)"
        with self._open() as connection, connection:
            connection.execute(sql, (chat, message, self.owner))

    def rename(self, chat: str, title: str) -> None:
        """Give a chat another title; an empty one is ignored."""
        if title.strip():
            with self._open() as connection, connection:
                connection.execute(
                    "UPDATE chats SET title = ? WHERE id = ? AND owner = ?", (title.strip()[:200], chat, self.owner)
                )

    def delete(self, chat: str) -> None:
        """Take out a chat with its messages."""
        with self._open() as connection, connection:
            connection.execute("DELETE FROM chats WHERE id = ? AND owner = ?", (chat, self.owner))

    def manner(self, chat: str) -> Manner:
        """Return how a chat's questions are answered; the usual manner where none was kept."""
        sql = "SELECT content FROM manners JOIN chats ON chats.id = chat WHERE chat = ? AND owner = ?"
        with self._open() as connection:
            row = connection.execute(sql, (chat, self.owner)).fetchone()
        kept = json.loads(row[0]) if row else {}
        return Manner(**{**kept, "papers": tuple(kept.get("papers", ()))})

    def keep_manner(self, chat: str, manner: Manner) -> None:
        """Remember how a chat's questions are answered."""
        sql = "INSERT OR REPLACE INTO manners (content, chat) SELECT ?, id FROM chats WHERE id = ? AND owner = ?"
        with self._open() as connection, connection:
            connection.execute(sql, (_dump(asdict(manner)), chat, self.owner))

    def preference(self, name: str, default: str = "") -> str:
        """Return what this browser chose earlier."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT value FROM preferences WHERE owner = ? AND name = ?", (self.owner, name)
            ).fetchone()
        return str(row[0]) if row else default

    def prefer(self, name: str, value: str) -> None:
        """Remember what this browser chose."""
        with self._open() as connection, connection:
            connection.execute("INSERT OR REPLACE INTO preferences VALUES (?, ?, ?)", (self.owner, name, value))

    def name_upload(self, identity: str, name: str) -> None:
        """Remember what an uploaded file was called, by the hash it is stored under."""
        with self._open() as connection, connection:
            connection.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?)", (identity, name))

    def upload_names(self) -> dict[str, str]:
        """Return the names of uploaded files by hash."""
        with self._open() as connection:
            return dict(connection.execute("SELECT id, name FROM uploads").fetchall())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(_SCHEMA)
            yield connection


def _like(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _dump(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=str)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

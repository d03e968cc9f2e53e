"""A cache of model replies in one SQLite file: the same request to the same model is paid once.

Off unless asked for. Only whole replies are kept, for requests at temperature 0; keys and time-outs are no part of it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assistant.providers.base import Reply, Request, ToolCall, Usage
from ingest.errors import BadSettings

WAIT_S = 10.0  # for another process that is writing

_SCHEMA = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, spec TEXT NOT NULL, reply TEXT NOT NULL)"


class ReplyCache:
    """Replies kept in the SQLite file `path`, which is made when the first one is stored."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser()

    def get(self, spec: str, request: Request) -> Reply | None:
        """Return the reply kept for `request`, marked as cached and costing nothing, or None."""
        if not self.path.exists() or not keepable(request):
            return None
        with closing(self._connect()) as connection:
            row = connection.execute("SELECT reply FROM replies WHERE key = ?", (_key(spec, request),)).fetchone()
        return _reply(json.loads(row[0])) if row else None

    def put(self, spec: str, request: Request, reply: Reply) -> None:
        """Keep `reply`, unless it was cut off or declined."""
        if not keepable(request) or reply.finish not in ("stop", "tool_calls"):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(asdict(reply), ensure_ascii=False)
        with closing(self._connect()) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (_key(spec, request), spec, data))

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, timeout=WAIT_S)
            connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise BadSettings(f"cannot use {str(self.path)!r} as a cache of replies: {error}") from error
        return connection


def keepable(request: Request) -> bool:
    """Tell whether the same request may be given the same reply again: a warmer one asks for variety."""
    return request.temperature == 0


def _key(spec: str, request: Request) -> str:
    text = json.dumps([spec, request.to_json()], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _reply(data: dict[str, Any]) -> Reply:
    calls = tuple(ToolCall(**call) for call in data["tool_calls"])
    return Reply(data["text"], calls, Usage(), data["finish"], data["model"], cached=True)

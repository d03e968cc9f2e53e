"""Local servers that speak the protocols of model providers, for the vendors' own clients to talk to.

Each plays a script: a list of turns, used up one per call. A turn is a text, or a `Turn` with tool calls or a fault.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from servers.local import JsonHandler, LocalServer

KEY = "sk-test-0123456789abcdef"


@dataclass
class Turn:
    """One answer of a server, or one fault."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)  # tool name, arguments (a str is sent as it is)
    finish: str = ""  # in the protocol's own words
    status: int = 200
    message: str = ""  # of an error status
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False  # close the connection: at once, or in the middle of a stream
    body: bytes | None = None  # sent as it is
    seconds_per_piece: float = 0.0  # a slow stream
    input_tokens: int = 11
    output_tokens: int = 7
    cached_tokens: int = 0


@dataclass
class Seen:
    """One request that a server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class _Handler(JsonHandler):
    server_of: ModelServer

    def answer_get(self) -> None:
        outer, seen = self.server_of, self._seen({})
        if not outer.authorised(seen):
            self.send(401, outer.error(401, "Incorrect API key provided", "invalid_api_key"))
            return
        self.send(*outer.get(self.path))

    def answer_post(self) -> None:
        outer = self.server_of
        seen = self._seen(json.loads(self.body()))
        if not outer.authorised(seen):
            self.send(401, outer.error(401, "Incorrect API key provided", "invalid_api_key"))
            return
        turn = outer.next_turn()
        if turn.body is not None:
            self.send(turn.status, turn.body, turn.headers)
        elif turn.status != 200:
            self.send(turn.status, outer.error(turn.status, turn.message or "broken", turn.code), turn.headers)
        elif outer.streams(seen):
            self._stream(outer.pieces(turn, seen), turn)
        elif turn.drop:
            self.close_connection = True
        else:
            time.sleep(turn.seconds_per_piece)
            self.send(200, outer.whole(turn, seen), turn.headers)

    def _seen(self, body: dict[str, Any]) -> Seen:
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, body)
        self.server_of.seen.append(seen)
        return seen

    def _stream(self, pieces: Iterator[bytes], turn: Turn) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, piece in enumerate(pieces):
            if turn.drop and number == 2:
                self.close_connection = True
                return
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            except OSError:  # the client has gone, as it may
                self.close_connection = True
                return
            time.sleep(turn.seconds_per_piece)
        self.wfile.write(b"0\r\n\r\n")


class ModelServer(LocalServer):
    """Serves a script on a free loopback port, from `with` until its end."""

    handler = _Handler

    def __init__(self, turns: Sequence[str | Turn] = (), *, key: str = KEY) -> None:
        self.turns = [Turn(turn) if isinstance(turn, str) else turn for turn in turns]
        self.key = key
        self.seen: list[Seen] = []
        self._lock = threading.Lock()

    @property
    def calls(self) -> list[Seen]:
        """The requests that asked for an answer."""
        return [seen for seen in self.seen if seen.method == "POST"]

    def next_turn(self) -> Turn:
        """Return the turn of the script that is next; the last is repeated."""
        with self._lock:
            return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]

    # What each protocol fills in:

    def authorised(self, seen: Seen) -> bool:
        raise NotImplementedError

    def get(self, path: str) -> tuple[int, Any]:
        raise NotImplementedError

    def streams(self, seen: Seen) -> bool:
        raise NotImplementedError

    def whole(self, turn: Turn, seen: Seen) -> Any:
        raise NotImplementedError

    def pieces(self, turn: Turn, seen: Seen) -> Iterator[bytes]:
        raise NotImplementedError

    def error(self, status: int, message: str, code: str) -> Any:
        raise NotImplementedError


def words(text: str) -> list[str]:
    """Return a text in the pieces that a stream carries."""
    return (
        [f"{word} " if place < text.count(" ") else word for place, word in enumerate(text.split(" "))] if text else []
    )


def dumped(arguments: Any) -> str:
    """Return a tool call's arguments as the model wrote them."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def event(data: Any, name: str = "") -> bytes:
    """Return one server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()

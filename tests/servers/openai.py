"""OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from servers import ModelServer, Seen, Turn, dumped, event, words

MODELS = ("gpt-4o-mini", "gpt-5-mini", "tiny")


class OpenAIServer(ModelServer):
    """Answers `/v1/chat/completions` and `/v1/models`."""

    models: tuple[str, ...] = MODELS

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def authorised(self, seen: Seen) -> bool:
        return not self.key or seen.headers.get("authorization") == f"Bearer {self.key}"

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [self._model(name) for name in self.models]}
        name = path.removeprefix("/v1/models/")
        if name in self.models:
            return 200, self._model(name)
        return 404, self.error(404, f"The model '{name}' does not exist", "model_not_found")

    def streams(self, seen: Seen) -> bool:
        return bool(seen.body.get("stream"))

    def whole(self, turn: Turn, seen: Seen) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": turn.text or None}
        if turn.calls:
            message["tool_calls"] = [self._call(place, *call) for place, call in enumerate(turn.calls)]
        choice = {"index": 0, "message": message, "finish_reason": self._finish(turn)}
        return self._frame(seen, "chat.completion") | {"choices": [choice], "usage": self._usage(turn)}

    def pieces(self, turn: Turn, seen: Seen) -> Iterator[bytes]:
        yield self._chunk(seen, {"role": "assistant", "content": ""})
        for word in words(turn.text):
            yield self._chunk(seen, {"content": word})
        for place, (name, arguments) in enumerate(turn.calls):
            text = dumped(arguments)
            call = self._call(place, name, "")
            yield self._chunk(seen, {"tool_calls": [call | {"index": place}]})
            for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
                yield self._chunk(seen, {"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
        yield self._chunk(seen, {}, self._finish(turn))
        if (seen.body.get("stream_options") or {}).get("include_usage"):
            frame = self._frame(seen, "chat.completion.chunk")
            yield event(frame | {"choices": [], "usage": self._usage(turn)})
        yield event("[DONE]")

    def error(self, status: int, message: str, code: str) -> Any:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code or None}}

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 1, "owned_by": "test", "max_model_len": 4096}

    def _call(self, place: int, name: str, arguments: Any) -> dict[str, Any]:
        return {
            "id": f"call_{name}_{place}",
            "type": "function",
            "function": {"name": name, "arguments": dumped(arguments)},
        }

    def _frame(self, seen: Seen, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": f"{seen.body['model']}-2024-07-18"}

    def _chunk(self, seen: Seen, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event(self._frame(seen, "chat.completion.chunk") | {"choices": [choice], "usage": None})

    def _finish(self, turn: Turn) -> str:
        return turn.finish or ("tool_calls" if turn.calls else "stop")

    def _usage(self, turn: Turn) -> dict[str, Any]:
        return {
            "prompt_tokens": turn.input_tokens,
            "completion_tokens": turn.output_tokens,
            "total_tokens": turn.input_tokens + turn.output_tokens,
            "prompt_tokens_details": {"cached_tokens": turn.cached_tokens},
        }

"""Gemini's REST API: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from servers import ModelServer, Seen, Turn, event, words

STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


class GeminiServer(ModelServer):
    """Answers generateContent, streamGenerateContent, countTokens, batchEmbedContents and models."""

    models: tuple[str, ...] = ("gemini-2.5-flash",)

    def authorised(self, seen: Seen) -> bool:
        return seen.headers.get("x-goog-api-key") == self.key

    def get(self, path: str) -> tuple[int, Any]:
        name = path.split("?")[0].removeprefix("/v1beta/models/")
        if name not in self.models:
            return 404, self.error(404, f"models/{name} is not found for API version v1beta", "")
        return 200, {
            "name": f"models/{name}",
            "displayName": name,
            "inputTokenLimit": 1048576,
            "outputTokenLimit": 65536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }

    def streams(self, seen: Seen) -> bool:
        return ":streamGenerateContent" in seen.path

    def whole(self, turn: Turn, seen: Seen) -> Any:
        if ":countTokens" in seen.path:
            return {"totalTokens": turn.input_tokens}
        if ":batchEmbedContents" in seen.path:
            return {"embeddings": [{"values": [1.0, 0.0]} for _ in seen.body["requests"]]}
        parts = ([{"text": turn.text}] if turn.text else []) + self._calls(turn)
        return self._response(turn, parts, self._finish(turn))

    def pieces(self, turn: Turn, seen: Seen) -> Iterator[bytes]:
        for word in words(turn.text):
            yield event(self._response(turn, [{"text": word}], ""))
        yield event(self._response(turn, self._calls(turn), self._finish(turn)))

    def error(self, status: int, message: str, code: str) -> Any:
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": code}] if code else []
        return {
            "error": {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN"), "details": details}
        }

    def _calls(self, turn: Turn) -> list[dict[str, Any]]:
        return [
            {"functionCall": {"name": name, "args": arguments}, "thoughtSignature": "c2lnbmVk"}
            for name, arguments in turn.calls
        ]

    def _finish(self, turn: Turn) -> str:
        return turn.finish or "STOP"

    def _response(self, turn: Turn, parts: list[dict[str, Any]], finish: str) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        usage = {
            "promptTokenCount": turn.input_tokens,
            "candidatesTokenCount": turn.output_tokens,
            "thoughtsTokenCount": 3,
            "cachedContentTokenCount": turn.cached_tokens,
        }
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}

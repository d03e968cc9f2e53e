"""The batch interfaces of OpenAI and Gemini, with their files, as a local server that speaks both protocols.

https://platform.openai.com/docs/api-reference/batch, https://ai.google.dev/gemini-api/docs/batch-mode
"""

from __future__ import annotations

import json
import re
from typing import Any

from servers.local import JsonHandler, LocalServer

ANSWER = json.dumps({"keywords": ["garnet", "solid electrolyte"]})


class _Handler(JsonHandler):
    server_of: BatchServer

    def answer_get(self) -> None:
        outer, path = self.server_of, self.path.split("?")[0]
        if match := re.fullmatch(r"/v1/files/(.+)/content", path):
            self.send(200, outer.files[match[1]])
        elif path == "/v1/batches":
            listed = [self._openai(name) for name in reversed(outer.batches)]
            self.send(200, {"object": "list", "data": listed, "has_more": False})
        elif match := re.fullmatch(r"/v1/batches/(.+)", path):
            outer.look(match[1])
            self.send(200, self._openai(match[1]))
        elif path == "/v1beta/batches":
            self.send(200, {"operations": [self._gemini(name) for name in outer.batches]})
        elif match := re.fullmatch(r"/v1beta/batches/(.+)", path):
            outer.look(match[1])
            self.send(200, self._gemini(match[1]))
        elif match := re.fullmatch(r"/(?:download/)?v1beta/files/(.+):download", path):
            self.send(200, outer.files[match[1]])
        else:
            self.send(404, {"error": {"message": f"no {path}", "code": 404}})

    def answer_post(self) -> None:
        outer, path = self.server_of, self.path.split("?")[0]
        data = self.body()
        if path == "/v1/files":
            boundary = self.headers["Content-Type"].split("boundary=")[1].strip('"').encode()
            part = next(part for part in data.split(b"--" + boundary) if b'name="file"' in part)
            name = outer.keep(part.split(b"\r\n\r\n", 1)[1].rstrip(b"\r\n"))
            made = {"id": name, "object": "file", "bytes": len(data), "created_at": 1, "filename": "k.jsonl"}
            self.send(200, made | {"purpose": "batch", "status": "processed"})
        elif path == "/v1/batches":
            asked = json.loads(data)
            self.send(200, self._openai(outer.begin(asked["input_file_id"], asked["metadata"]["matlit"])))
        elif match := re.fullmatch(r"/v1/batches/(.+)/cancel", path):
            outer.batches[match[1]]["state"] = "cancelled"
            self.send(200, self._openai(match[1]))
        elif path == "/upload/v1beta/files":
            self.send(200, {}, {"X-Goog-Upload-URL": f"{outer.url}/upload/data", "X-Goog-Upload-Status": "active"})
        elif path == "/upload/data":
            name = outer.keep(data)
            file = {"name": f"files/{name}", "mimeType": "application/jsonl", "uri": name}
            self.send(200, {"file": file}, {"X-Goog-Upload-Status": "final"})
        elif path.endswith(":batchGenerateContent"):
            asked = json.loads(data)["batch"]
            file = asked["inputConfig"]["fileName"].removeprefix("files/")
            self.send(200, self._gemini(outer.begin(file, asked["displayName"])))
        elif match := re.fullmatch(r"/v1beta/batches/(.+):cancel", path):
            outer.batches[match[1]]["state"] = "cancelled"
            self.send(200, {})
        else:
            self.send(404, {"error": {"message": f"no {path}", "code": 404}})

    def _openai(self, name: str) -> dict[str, Any]:
        batch = self.server_of.batches[name]
        return {
            "id": name,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": batch["file"],
            "completion_window": "24h",
            "created_at": 1,
            "status": batch["state"],
            "output_file_id": batch["out"] or None,
            "error_file_id": batch["err"] or None,
            "metadata": {"matlit": batch["mark"]},
        }

    def _gemini(self, name: str) -> dict[str, Any]:
        batch = self.server_of.batches[name]
        states = {"in_progress": "RUNNING", "completed": "SUCCEEDED", "cancelled": "CANCELLED"}
        data: dict[str, Any] = {"state": f"BATCH_STATE_{states[batch['state']]}", "displayName": batch["mark"]}
        if batch["out"]:
            data["output"] = {"responsesFile": f"files/{batch['out']}"}
        return {"name": f"batches/{name}", "metadata": data}


class BatchServer(LocalServer):
    """Batches are done after `polls` looks. `broken` are the requests, by their number, that fail."""

    handler = _Handler

    def __init__(self, *, polls: int = 2, broken: tuple[int, ...] = ()) -> None:
        self.polls = polls
        self.broken = broken
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.answered = 0

    def keep(self, data: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return name

    def begin(self, file: str, mark: str) -> str:
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {"file": file, "mark": mark, "looks": 0, "state": "in_progress", "out": "", "err": ""}
        return name

    def look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        batch["looks"] += 1
        if batch["state"] == "in_progress" and batch["looks"] > self.polls:
            self.complete(batch)
            batch["state"] = "completed"
        return batch

    def complete(self, batch: dict[str, Any]) -> None:
        rows = [json.loads(line) for line in self.files[batch["file"]].decode().splitlines()]
        good, bad = [], []
        for number, row in enumerate(rows):
            failed = number in self.broken
            self.answered += not failed
            (bad if failed else good).append(json.dumps(self.row(row, failed)))
        gemini = bool(rows) and "key" in rows[0]
        batch["out"] = self.keep("\n".join(good + (bad if gemini else [])).encode())
        batch["err"] = self.keep("\n".join(bad).encode()) if bad and not gemini else ""

    def row(self, row: dict[str, Any], failed: bool) -> dict[str, Any]:
        if "key" in row:
            if failed:
                return {"key": row["key"], "error": {"code": 500, "message": "internal"}}
            candidate = {"content": {"role": "model", "parts": [{"text": ANSWER}]}, "finishReason": "STOP"}
            usage = {"promptTokenCount": 1000, "candidatesTokenCount": 100}
            return {"key": row["key"], "response": {"candidates": [candidate], "usageMetadata": usage}}
        if failed:
            body = {"error": {"message": "internal"}}
            return {"custom_id": row["custom_id"], "response": {"status_code": 500, "body": body}, "error": None}
        message = {"role": "assistant", "content": ANSWER}
        body = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": row["body"]["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        }
        return {"custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}

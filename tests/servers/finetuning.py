"""OpenAI's files and fine-tuning jobs: https://platform.openai.com/docs/api-reference/fine-tuning.

A job goes one state further each time it is asked for, so that nobody has to wait.
"""

from __future__ import annotations

import json
import math
import re
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from servers import KEY
from servers.local import JsonHandler, LocalServer

STATES = ["validating_files", "queued", "running", "succeeded"]
MODEL = "ft:gpt-4o-mini-2024-07-18:lab:matlit:abc123"


class _Handler(JsonHandler):
    server_of: FineTuningServer

    def answer_get(self) -> None:
        self._answer(b"")

    def answer_post(self) -> None:
        self._answer(self.body())

    def _answer(self, body: bytes) -> None:
        outer, path = self.server_of, self.path.removeprefix("/v1").partition("?")[0]
        outer.seen.append((self.command, path))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.send(401, _error("Incorrect API key provided", "invalid_api_key"))
        elif outer.faults:
            self.send(outer.faults.pop(0), _error("try again", "server_error"))
        else:
            self.send(*self._route(path, body))

    def _route(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        outer, jobs = self.server_of, "/fine_tuning/jobs"
        if path == "/files":
            return 200, outer.upload(self.headers["Content-Type"], body)
        if path == "/chat/completions":
            return outer.chat(json.loads(body))
        if path == jobs and self.command == "POST":
            return outer.create(json.loads(body))
        if path == jobs:
            return 200, {"object": "list", "data": list(outer.jobs.values()), "has_more": False}
        name, action = re.fullmatch(rf"{jobs}/([^/]+)(?:/(\w+))?", path).groups()  # type: ignore[union-attr]
        if action == "events":
            return 200, {"object": "list", "data": outer.events[name][::-1], "has_more": False}
        return outer.cancel(name) if action == "cancel" else outer.look(name)


class FineTuningServer(LocalServer):
    """Holds uploaded files and jobs; `answers` are what the trained model says, by prompt."""

    handler = _Handler

    def __init__(self, *, answers: dict[str, str] | None = None, fails: str = "") -> None:
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.answers, self.fails = answers or {}, fails
        self.faults: list[int] = []  # statuses that the next requests are answered with
        self.seen: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        """The address that takes the place of OpenAI's."""
        return f"{super().url}/v1"

    def upload(self, content_type: str, body: bytes) -> dict[str, Any]:
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        parts = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        }
        assert parts["purpose"] == b"fine-tune"
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"]
        return {
            "id": name,
            "object": "file",
            "bytes": len(parts["file"]),
            "created_at": 1,
            "filename": "rows.jsonl",
            "purpose": "fine-tune",
            "status": "processed",
        }

    def create(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if asked["training_file"] not in self.files:
            return 400, _error(f"invalid training_file: {asked['training_file']}", "file_not_found")
        name = f"ftjob-{len(self.jobs)}"
        hyper = asked["method"]["supervised"]["hyperparameters"]
        self.jobs[name] = {
            "id": name,
            "object": "fine_tuning.job",
            "created_at": 1,
            "model": asked["model"],
            "status": STATES[0],
            "training_file": asked["training_file"],
            "validation_file": asked.get("validation_file"),
            "hyperparameters": {"n_epochs": hyper["n_epochs"]},
            "organization_id": "org-lab",
            "result_files": [],
            "seed": asked.get("seed", 0),
            "fine_tuned_model": None,
            "finished_at": None,
            "trained_tokens": None,
            "error": None,
            "metadata": asked.get("metadata"),
        }
        self.events[name] = [_event(name, 0, f"Created fine-tuning job: {name}")]
        return 200, self.jobs[name]

    def look(self, name: str) -> tuple[int, dict[str, Any]]:
        if name not in self.jobs:
            return 404, _error(f"Could not find fine tune: {name}", "fine_tune_not_found")
        job = dict(self.jobs[name])
        self._advance(name)
        return 200, job

    def _advance(self, name: str) -> None:
        job, events = self.jobs[name], self.events[name]
        if job["status"] not in STATES[:-1]:
            return
        status = STATES[STATES.index(job["status"]) + 1]
        if status == "running" and self.fails:
            job |= {
                "status": "failed",
                "error": {"code": "invalid_training_file", "message": self.fails, "param": None},
            }
            return
        job["status"] = status
        events.append(_event(name, len(events), f"The job is {status}"))
        if status == "succeeded":
            job |= {"fine_tuned_model": MODEL, "finished_at": 2, "trained_tokens": 1234}

    def cancel(self, name: str) -> tuple[int, dict[str, Any]]:
        self.jobs[name]["status"] = "cancelled"
        return 200, self.jobs[name]

    def chat(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if asked["model"] != MODEL:
            return 404, _error(f"The model {asked['model']!r} does not exist", "model_not_found")
        text = self.answers.get(asked["messages"][-1]["content"], "1.00")
        logs = [{"token": letter, "logprob": math.log(0.9), "bytes": None, "top_logprobs": []} for letter in text]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
            "logprobs": {"content": logs, "refusal": None},
        }
        return 200, {"id": "c", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice]}


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _event(job: str, number: int, message: str) -> dict[str, Any]:
    return {
        "id": f"ftevent-{job}-{number}",
        "object": "fine_tuning.job.event",
        "created_at": number,
        "level": "info",
        "message": message,
        "type": "message",
    }

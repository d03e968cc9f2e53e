"""Provider batches: the same questions through OpenAI's Batch API and Gemini's batch mode, at half the price.

What was submitted stands in a state file beside the records, so that a job may be killed, or left for a day, and run
again: it polls what is under way, collects what is ready, and asks for nothing twice. Before a submission the state
says so; a batch that got through while the job was killed is found again at the provider by its mark.
"""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from assistant.chat import BadReply, ChatModel, Declined, Reply, Request, Usage
from assistant.providers.errors import error_of_status
from ingest.errors import BadInput, ModelError

MOST_REQUESTS = 50_000  # of one batch, by OpenAI's rules; Gemini has none below its 2 GB
MOST_BYTES = 180_000_000  # OpenAI takes 200 MB
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_GEMINI_STATES = {
    "JOB_STATE_SUCCEEDED": "completed",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "completed",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_CANCELLED": "cancelled",
    "JOB_STATE_EXPIRED": "expired",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A batch was submitted, or changed its state."""

    batch: str
    state: str
    requests: int

    def __str__(self) -> str:
        return f"batch {self.batch}: {self.state}, {self.requests} papers"


@dataclass(slots=True)
class Batch:
    """One batch at the provider. `mark` finds it there again; `id` is empty until the provider has given one."""

    mark: str
    papers: list[str]
    id: str = ""
    state: str = "submitting"
    collected: bool = False


@dataclass(slots=True)
class State:
    """The batches of a job, on disk after every change."""

    file: Path
    recipe: str
    batches: list[Batch] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path, *, recipe: str) -> State | None:
        """Return the state that a job left; None without one. Raises `BadInput` where it is another job's."""
        if not file.exists():
            return None
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            state = cls(file, data["recipe"], [Batch(**one) for one in data["batches"]])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{str(file)!r} is no state of a batch job: {error!r}") from error
        if state.recipe != recipe:
            raise BadInput(
                f"batches with other settings are under way ({state.recipe}; now {recipe})",
                hint="Collect or cancel them with the settings they were submitted with",
            )
        return state

    def save(self) -> None:
        """Put the state on disk, whole."""
        part = self.file.with_name(f"{self.file.name}.part")
        batches = [{name: getattr(one, name) for name in Batch.__slots__} for one in self.batches]
        part.write_text(json.dumps({"recipe": self.recipe, "batches": batches}), encoding="utf-8")
        part.replace(self.file)


Answer = Reply | ModelError


class Provider(Protocol):
    """What a batch interface offers; one object per model."""

    def line(self, name: str, request: Request) -> dict[str, Any]:
        """Return the line of the input file for one request."""

    def submit(self, lines: bytes, mark: str) -> str:
        """Upload and start a batch; return its id."""

    def find(self, mark: str) -> str:
        """Return the id of the batch that was submitted with `mark`, "" where there is none."""

    def state(self, batch: str) -> str:
        """Return where a batch is: one of `ENDED`, or the provider's own word."""

    def answers(self, batch: str) -> Iterator[tuple[str, Answer]]:
        """Yield the answers of a batch that has ended; requests that were not taken up are left out."""

    def cancel(self, batch: str) -> None:
        """Ask the provider to stop a batch."""


def provider_for(chat: ChatModel) -> Provider:
    """Return the batch interface of a model's provider; raises `BadInput` where it has none here."""
    scheme = chat.spec.split("/")[0]
    if scheme == "openai":
        return OpenAIBatches(chat.backend)
    if scheme == "gemini":
        return GeminiBatches(chat.backend)
    raise BadInput(
        f"{chat.spec} has no batch interface here", hint="Leave out --batch, or take openai/MODEL or gemini/MODEL"
    )


class OpenAIBatches:
    """https://platform.openai.com/docs/guides/batch: a file of requests in, a file of answers and one of errors out."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._client = backend._client

    def line(self, name: str, request: Request) -> dict[str, Any]:
        """Return the request as a chat completion."""
        body = self._backend._payload(request)
        return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}

    def submit(self, lines: bytes, mark: str) -> str:
        """Upload the file, then create the batch."""
        with self._backend._errors():
            file = self._client.files.create(file=("keywords.jsonl", lines), purpose="batch")
            made = self._client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"matlit": mark},
            )
        return str(made.id)

    def find(self, mark: str) -> str:
        """Look through the account's batches, the latest first."""
        with self._backend._errors():
            for one in self._client.batches.list(limit=100):
                if (one.metadata or {}).get("matlit") == mark:
                    return str(one.id)
        return ""

    def state(self, batch: str) -> str:
        """Return OpenAI's own word."""
        with self._backend._errors():
            return str(self._client.batches.retrieve(batch).status)

    def answers(self, batch: str) -> Iterator[tuple[str, Answer]]:
        """Read the files of answers and of errors."""
        with self._backend._errors():
            made = self._client.batches.retrieve(batch)
            texts = [self._client.files.content(one).text for one in (made.output_file_id, made.error_file_id) if one]
        for row in (json.loads(line) for text in texts for line in text.splitlines() if line.strip()):
            yield row["custom_id"], self._answer(row)

    def cancel(self, batch: str) -> None:
        """Cancel; what is ready stays ready."""
        with self._backend._errors():
            self._client.batches.cancel(batch)

    def _answer(self, row: Mapping[str, Any]) -> Answer:
        from openai.types.chat import ChatCompletion
        from pydantic import ValidationError

        response = row.get("response") or {}
        status, body = response.get("status_code", 0), response.get("body") or {}
        if status != 200:
            said = (row.get("error") or body.get("error") or {}).get("message", "no answer")
            return error_of_status(status or 500, said, who=self._backend._who)
        try:
            reply: Reply = self._backend._read(ChatCompletion.model_validate(body))
        except (ValidationError, ModelError) as error:
            return BadReply(f"{self._backend._who} answered what is no chat completion: {str(error)[:200]}")
        return reply


class GeminiBatches:
    """https://ai.google.dev/gemini-api/docs/batch-mode: a file of keyed requests in, a file of keyed answers out."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._client = backend._client

    def line(self, name: str, request: Request) -> dict[str, Any]:
        """Return the request as the REST interface writes it."""
        from assistant.providers.base import joined_system

        roles = {"assistant": "model", "user": "user"}
        contents = [
            {"role": roles[one.role], "parts": [{"text": one.content}]} for one in request.messages if one.role in roles
        ]
        config: dict[str, Any] = {"responseMimeType": "application/json", "responseJsonSchema": request.schema}
        if request.max_tokens:
            config["maxOutputTokens"] = request.max_tokens
        if not self._backend.model.startswith("gemini-3"):
            config["temperature"] = request.temperature
        body: dict[str, Any] = {"contents": contents, "generationConfig": config}
        if system := joined_system(request.messages):
            body["systemInstruction"] = {"parts": [{"text": system}]}
        return {"key": name, "request": body}

    def submit(self, lines: bytes, mark: str) -> str:
        """Upload the file, then create the batch."""
        from google.genai import types

        with self._backend._errors():
            upload = types.UploadFileConfig(mime_type="application/jsonl", display_name=mark)
            file = self._client.files.upload(file=io.BytesIO(lines), config=upload)
            made = self._client.batches.create(
                model=self._backend.model, src=file.name, config=types.CreateBatchJobConfig(display_name=mark)
            )
        return str(made.name)

    def find(self, mark: str) -> str:
        """Look through the account's batches."""
        with self._backend._errors():
            for one in self._client.batches.list():
                if one.display_name == mark:
                    return str(one.name)
        return ""

    def state(self, batch: str) -> str:
        """Return one of `ENDED`, or Google's own word."""
        with self._backend._errors():
            state = self._client.batches.get(name=batch).state
        name = str(getattr(state, "name", state))
        return _GEMINI_STATES.get(name, name.removeprefix("JOB_STATE_").lower())

    def answers(self, batch: str) -> Iterator[tuple[str, Answer]]:
        """Read the file of answers."""
        with self._backend._errors():
            made = self._client.batches.get(name=batch)
            if made.dest is None or not made.dest.file_name:
                return
            text = self._client.files.download(file=made.dest.file_name).decode()
        for row in (json.loads(line) for line in text.splitlines() if line.strip()):
            yield row["key"], self._answer(row)

    def cancel(self, batch: str) -> None:
        """Cancel."""
        with self._backend._errors():
            self._client.batches.cancel(name=batch)

    def _answer(self, row: Mapping[str, Any]) -> Answer:
        from google.genai import types
        from pydantic import ValidationError

        from assistant.providers.gemini import _Collected

        if "response" not in row:
            error = row.get("error") or {}
            return error_of_status(
                int(error.get("code") or 500), str(error.get("message", "no answer")), who=self._backend._who
            )
        collected = _Collected(self._backend._who, self._backend.model)
        try:
            collected.add(types.GenerateContentResponse.model_validate(row["response"]))
            return collected.reply()
        except (ValidationError, ModelError) as error:
            return BadReply(f"{self._backend._who} answered what is no response: {str(error)[:200]}")


def submit_all(state: State, provider: Provider, requests: Iterator[tuple[str, Request]]) -> Iterator[Change]:
    """Submit `requests` in as many batches as they need, each written down before and after."""
    lines: list[bytes] = []
    names: list[str] = []
    size = 0
    for name, request in requests:
        line = (json.dumps(provider.line(name, request), ensure_ascii=False) + "\n").encode()
        if lines and (len(lines) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
            yield _submit(state, provider, names, lines)
            lines, names, size = [], [], 0
        size += len(line)
        lines.append(line)
        names.append(name)
    if lines:
        yield _submit(state, provider, names, lines)


def _submit(state: State, provider: Provider, names: list[str], lines: list[bytes]) -> Change:
    batch = Batch(mark=f"matlit-{secrets.token_hex(8)}", papers=names)
    state.batches.append(batch)
    state.save()
    try:
        batch.id = provider.submit(b"".join(lines), batch.mark)
    except ModelError as error:
        if error.__cause__ is None:  # refused; after a time-out it may have got through, and is looked for next time
            state.batches.remove(batch)
            state.save()
        raise
    batch.state = "submitted"
    state.save()
    return Change(batch.id, batch.state, len(names))


def recover(state: State, provider: Provider) -> Iterator[Change]:
    """Find the batch whose submission a kill interrupted; one that did not get through is forgotten."""
    for batch in list(state.batches):
        if not batch.id:
            batch.id, batch.state = provider.find(batch.mark), "submitted"
            if not batch.id:
                state.batches.remove(batch)
            else:
                yield Change(batch.id, "found again", len(batch.papers))
    state.save()


def poll(
    state: State,
    provider: Provider,
    *,
    wait: bool,
    cancel: bool,
    poll_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Change]:
    """Yield changes until every batch has ended, or with `wait` off, after one look; `cancel` asks for their end."""
    for batch in state.batches:
        if cancel and batch.state not in ENDED:
            provider.cancel(batch.id)
    while True:
        for batch in state.batches:
            if batch.state not in ENDED and (now := provider.state(batch.id)) != batch.state:
                batch.state = now
                state.save()
                yield Change(batch.id, now, len(batch.papers))
        if not wait or all(batch.state in ENDED for batch in state.batches):
            return
        sleep(poll_s)


def finish(state: State) -> None:
    """Forget the batches that were collected, and the state file with the last of them."""
    state.batches = [batch for batch in state.batches if not batch.collected]
    if state.batches:
        state.save()
    else:
        state.file.unlink(missing_ok=True)


def read_reply(answer: Answer) -> tuple[Reply | None, Usage, ModelError | None]:
    """Return what an answer is: a reply with its usage, or an error."""
    if isinstance(answer, ModelError):
        return None, Usage(), answer
    if answer.finish == "declined":
        return None, answer.usage, Declined(f"{answer.model} refused: {answer.text[:200]!r}")
    return answer, answer.usage, None

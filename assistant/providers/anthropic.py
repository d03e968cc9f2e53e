"""Anthropic's Claude, through its messages API."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from assistant.offline import is_loopback, refuse_remote
from assistant.pricing import note
from assistant.providers.base import (
    CHECK_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    Delta,
    Finish,
    Message,
    Pieces,
    Reply,
    Request,
    ToolCall,
    Usage,
    joined_system,
)
from assistant.providers.errors import BadReply, TemperatureRefused, Unavailable, client_errors, read_key
from assistant.providers.openai import bounded_by_strict, is_closed
from ingest.errors import MissingExtra

if TYPE_CHECKING:
    from anthropic import Anthropic
    from llama_index.core.llms import LLM

KEY = "ANTHROPIC_API_KEY"
BASE_URL = "https://api.anthropic.com"
BASE_URL_VARIABLE = "ANTHROPIC_BASE_URL"  # the vendor's own name for it
CONTEXT_TOKENS = 200_000  # of every Claude since 2.1, without the long-context betas
MAX_TOKENS = 4096  # the API wants a bound; this is the highest that every Claude allows
ANSWER = "answer_as_json"  # the tool whose arguments are an answer by schema

# Claudes from before structured outputs, and those that still take a temperature; their successors refuse one.
_BEFORE_FORMATS = ("claude-3", "claude-opus-4-0", "claude-opus-4-2", "claude-sonnet-4-0", "claude-sonnet-4-2")
_TAKE_TEMPERATURE = ("claude-3", "claude-opus-4", "claude-sonnet-4", "claude-haiku-4")

_FINISH: dict[str, Finish] = {"max_tokens": "length", "tool_use": "tool_calls", "refusal": "declined"}


class AnthropicBackend:
    """One Claude model.

    A closed schema goes to Claude's own structured outputs; any other, and older Claudes, get it as the arguments of a
    tool `answer_as_json`.
    """

    provider = "anthropic"
    native_tools = True
    json_schema = True
    local = False

    def __init__(self, model: str, *, key: str, base_url: str, context_tokens: int = CONTEXT_TOKENS) -> None:
        self.model = model
        self.context_tokens = context_tokens
        self._who = f"anthropic/{model}"
        self._takes_temperature = model.startswith(_TAKE_TEMPERATURE)
        self._client = make_client(key, base_url)

    def reply(self, request: Request) -> Reply:
        """Answer at once."""
        with self._errors():
            made = self._create(request)
        text, pieces = "", Pieces()
        for index, block in enumerate(getattr(made, "content", None) or ()):
            if block.type == "text":
                text += block.text
            elif block.type == "tool_use":
                pieces.add(index, id=block.id, name=block.name, arguments=json.dumps(block.input))
        if getattr(made, "usage", None) is None:
            raise BadReply(f"{self._who} answered something that is no message: {str(made)[:200]!r}")
        return self._built(text, pieces.calls(), _usage(made.usage), made.stop_reason, made.model)

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer piece by piece; the last item is the whole reply."""
        with self._errors(), self._create(request, stream=True) as events:
            yield from self._collect(events)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def find(self) -> str:
        """Ask Anthropic for the model, which is free, and return its name; raises as a call would."""
        with self._errors():
            found = self._client.with_options(timeout=_timeout(CHECK_TIMEOUT_S)).models.retrieve(self.model)
        return str(found.display_name)

    def _create(self, request: Request, **more: Any) -> Any:
        client = self._client.with_options(timeout=_timeout(request.timeout_s))
        try:
            with self._errors():
                return client.messages.create(**self._payload(request), **more)
        except TemperatureRefused:
            if not self._takes_temperature:
                raise
            self._takes_temperature = False
            return self._create(request, **more)

    def _payload(self, request: Request) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "model": self.model,
            "messages": _turns(request),
            "max_tokens": request.max_tokens or MAX_TOKENS,
        }
        if system := joined_system(request.messages):
            payload["system"] = system
        if self._takes_temperature:
            payload["extra_body"] = {"temperature": min(request.temperature, 1.0)}  # the client no longer names it
        if request.stop:
            payload["stop_sequences"] = list(request.stop)
        tools = [_tool(tool.name, tool.description, tool.parameters) for tool in request.tools]
        if request.schema is not None and self._has_formats(request.schema):
            schema = bounded_by_strict(request.schema)
            payload["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        elif request.schema is not None:
            tools.append(_tool(ANSWER, "Give the answer, once it is known.", request.schema))
            payload["tool_choice"] = {"type": "any"} if request.tools else {"type": "tool", "name": ANSWER}
        if tools:
            payload["tools"] = tools
        return payload

    def _has_formats(self, schema: Mapping[str, Any]) -> bool:
        return is_closed(schema) and not self.model.startswith(_BEFORE_FORMATS)

    def _collect(self, events: Any) -> Iterator[Delta | Reply]:
        text, usage, model, reason = "", Usage(calls=1), self.model, ""
        pieces, answers = Pieces(), set()
        for event in events:
            if event.type == "message_start":
                usage, model = _usage(event.message.usage), event.message.model
            elif event.type == "content_block_start" and event.content_block.type == "tool_use":
                pieces.add(event.index, id=event.content_block.id, name=event.content_block.name)
                answers |= {event.index} if event.content_block.name == ANSWER else set()
            elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                text += event.delta.text
                yield Delta(event.delta.text)
            elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                pieces.add(event.index, arguments=event.delta.partial_json)
                if event.index in answers and event.delta.partial_json:
                    yield Delta(event.delta.partial_json)
            elif event.type == "message_delta":
                reason = event.delta.stop_reason or reason
                written = event.usage.output_tokens or usage.output_tokens
                usage = Usage(usage.input_tokens, written, calls=1, cached_tokens=usage.cached_tokens)
        if not reason:
            raise Unavailable(f"{self._who} broke off in the middle of an answer, after {len(text)} characters")
        yield self._built(text, pieces.calls(), usage, reason, model)

    def _built(self, text: str, calls: tuple[ToolCall, ...], usage: Usage, reason: str | None, model: str) -> Reply:
        """Return the reply; a call of the tool `answer_as_json` is its text."""
        finish = _FINISH.get(reason or "", "stop")
        for call in calls:
            if call.name == ANSWER:
                written = call.arguments if isinstance(call.arguments, str) else _dump(call.arguments)
                return Reply(written, (), usage, "length" if finish == "length" else "stop", model)
        return Reply(text, calls, usage, finish, model)

    def _errors(self) -> AbstractContextManager[None]:
        import anthropic

        return client_errors(anthropic, who=self._who, key=KEY)


def make_client(key: str, base_url: str) -> Anthropic:
    """Return the vendor's client; it does not retry (`ChatModel` does), nor use a proxy for this machine.

    Raises:
        MissingExtra: the package `anthropic` is not installed.
    """
    from urllib.parse import urlsplit

    try:
        import anthropic
    except ImportError as error:
        raise MissingExtra("Claude", extra="models") from error
    here = is_loopback(urlsplit(base_url).hostname or "")
    http = anthropic.DefaultHttpxClient(trust_env=False) if here else None
    return anthropic.Anthropic(api_key=key, base_url=base_url, max_retries=0, http_client=http)


def make_backend(model: str, *, offline: bool = False, **options: Any) -> AnthropicBackend:
    """Build Claude's `model`.

    Raises:
        KeyMissing: `ANTHROPIC_API_KEY` is not set.
        MissingExtra: the package `anthropic` is not installed.
        OfflineError: `offline`, and the address is another machine's.
    """
    if offline:
        refuse_remote(_base_url(), what=f"anthropic/{model}")
    return AnthropicBackend(model, key=_key(), base_url=_base_url(), **options)


def make_llm(model: str, *, offline: bool = False, **options: Any) -> LLM:
    """Build Claude's `model` as a llama-index LLM; raises as `make_backend`.

    Not llama-index's own `Anthropic`, whose version 0.12 passes a temperature that the vendor's client 2 does not take.
    """
    from assistant.providers.wrapped import as_llm

    return as_llm(make_backend, model, offline=offline, **options)


def check(model: str, *, offline: bool = False) -> str:
    """Return one line on `model`, after asking Anthropic for it; that is free. Raises where it would not work."""
    backend = make_backend(model, offline=offline)
    backend.find()
    return f"{note(f'anthropic/{model}')}; the key in {KEY} is accepted"


def _key() -> str:
    return read_key(KEY, provider="Anthropic", example="sk-ant-…")


def _base_url() -> str:
    return os.environ.get(BASE_URL_VARIABLE, "").strip() or BASE_URL


def _timeout(seconds: float) -> Any:
    import anthropic

    return anthropic.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))


def _tool(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "input_schema": dict(parameters)}


def _turns(request: Request) -> list[dict[str, Any]]:
    """Return the turns as Claude wants them: results of parallel calls together in one user turn."""
    turns: list[dict[str, Any]] = []
    previous = ""
    for message in request.messages:
        if message.role == "system":
            continue
        blocks = _blocks(message)
        role = "assistant" if message.role == "assistant" else "user"
        if message.role == previous == "tool":
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
        previous = message.role
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    # Claude refuses an empty text block.
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content.strip() else []
    for call in message.tool_calls:
        given = {} if isinstance(call.arguments, str) else dict(call.arguments)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
    return blocks or [{"type": "text", "text": "(nothing)"}]


def _usage(usage: Any) -> Usage:
    """Return the counts; Anthropic counts what its cache held apart from the other input, and we together."""
    cached = getattr(usage, "cache_read_input_tokens", None) or 0
    stored = getattr(usage, "cache_creation_input_tokens", None) or 0
    return Usage(usage.input_tokens + cached + stored, usage.output_tokens or 0, calls=1, cached_tokens=cached)


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)

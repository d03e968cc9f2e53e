"""OpenAI's chat completions, and the backend for every server that speaks them (see `server` and `gguf`)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    ToolSpec,
    Usage,
    parse_arguments,
)
from assistant.providers.errors import (
    BadReply,
    ModelNotFound,
    TemperatureRefused,
    Unavailable,
    client_errors,
    read_key,
    scrub,
)

if TYPE_CHECKING:
    from llama_index.core.llms import LLM
    from openai import OpenAI
    from openai.types.chat import ChatCompletion

KEY = "OPENAI_API_KEY"
BASE_URL = "https://api.openai.com/v1"
CONTEXT_TOKENS = {  # by the beginning of the name, the longest that fits
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-5": 400_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4": 200_000,
}
UNKNOWN_CONTEXT = 128_000
_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "declined",
}
_OPEN_ENDED = {"minLength", "maxLength"}  # keywords that strict mode does not know


class ChatCompletions:
    """Requests and replies in the form of chat completions, whoever carries them.

    `official` says that it is OpenAI's own service, which wants `max_completion_tokens`, refuses a temperature for its
    reasoning models, and holds to a schema only where that is closed; others get the older names, and the schema as
    it is.
    """

    def __init__(self, model: str, *, who: str, official: bool = False) -> None:
        self.model = model
        self._who = who
        self._official = official
        self._takes_temperature = not (official and reasons(model))

    def _payload(self, request: Request) -> dict[str, Any]:
        payload: dict[str, Any] = {"model": self.model, "messages": [_message(one) for one in request.messages]}
        if request.tools:
            payload["tools"] = [{"type": "function", "function": _function(tool)} for tool in request.tools]
        if request.schema is not None:
            strict = not self._official or is_closed(request.schema)
            schema = bounded_by_strict(request.schema) if self._official and strict else request.schema
            answer = {"name": "answer", "schema": schema, "strict": strict}
            payload["response_format"] = {"type": "json_schema", "json_schema": answer}
        if request.max_tokens is not None:
            payload["max_completion_tokens" if self._official else "max_tokens"] = request.max_tokens
        if self._takes_temperature:
            payload["temperature"] = request.temperature
        if request.stop:
            payload["stop"] = list(request.stop)
        return payload

    def _read(self, made: ChatCompletion) -> Reply:
        choice = next(iter(getattr(made, "choices", None) or ()), None)
        if choice is None or choice.message is None:
            raise BadReply(f"{self._who} answered something that is no chat completion: {scrub(str(made))[:200]!r}")
        message = choice.message
        calls = tuple(
            ToolCall(call.id or f"call_{place}", call.function.name, parse_arguments(call.function.arguments or ""))
            for place, call in enumerate(message.tool_calls or ())
            if call.type != "custom" and call.function is not None
        )
        finish = _finish(choice.finish_reason, calls=bool(calls), refusal=bool(message.refusal))
        text = message.content or message.refusal or ""
        return Reply(text, calls, _usage(made.usage), finish, made.model or self.model)

    def _collect(self, chunks: Iterable[Any]) -> Iterator[Delta | Reply]:
        text, usage, model, reason = "", Usage(calls=1), self.model, None
        refusal = False
        pieces = Pieces()
        for chunk in chunks:
            model = chunk.model or model
            if chunk.usage is not None:
                usage = _usage(chunk.usage)
            for choice in chunk.choices or ():
                reason = choice.finish_reason or reason
                refusal = refusal or bool(choice.delta.refusal)
                piece = choice.delta.content or choice.delta.refusal or ""
                for call in choice.delta.tool_calls or ():
                    _add(pieces, call)
                if piece:
                    text += piece
                    yield Delta(piece)
        if reason is None:
            raise Unavailable(f"{self._who} broke off in the middle of an answer, after {len(text)} characters")
        calls = pieces.calls()
        yield Reply(text, calls, usage, _finish(reason, calls=bool(calls), refusal=refusal), model)


class OpenAIBackend(ChatCompletions):
    """One model behind a chat completions API over HTTP."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        key: str,
        provider: str,
        key_name: str = "",
        official: bool = False,
        native_tools: bool = True,
        json_schema: bool = True,
        context_tokens: int = 0,
    ) -> None:
        who = f"{provider}/{model}" if official else f"{model or 'the model'} at {base_url}"
        super().__init__(model, who=who, official=official)
        self.provider = provider
        self.native_tools = native_tools
        self.json_schema = json_schema
        # Whoever names OpenAI and stands something in its place is told OpenAI's price all the same.
        self.local = on_this_machine(base_url) and not official
        self.base_url = base_url
        self._context_tokens = context_tokens
        self._key_name = key_name
        self._client = make_client(base_url, key)

    @property
    def context_tokens(self) -> int:
        """How many tokens question and answer may have together."""
        return self._context_tokens or _by_prefix(self.model, CONTEXT_TOKENS) or UNKNOWN_CONTEXT

    def reply(self, request: Request) -> Reply:
        """Answer at once."""
        with self._errors():
            return self._read(self._create(request, self._answer))

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer piece by piece; the last item is the whole reply."""
        with self._errors(), self._create(request, self._chunks) as chunks:
            yield from self._collect(chunks)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def models(self) -> list[dict[str, Any]]:
        """Return what the server says about each of its models; free, and it shows whether the key is right."""
        with self._errors():
            listed = self._client.with_options(timeout=timeout(CHECK_TIMEOUT_S)).models.list()
            return [model.model_dump() for model in listed]

    def find(self) -> None:
        """Ask the provider for the model, which is free.

        Raises:
            KeyRefused: the key is not accepted.
            ModelNotFound: there is no such model for this key.
        """
        with self._errors():
            self._client.with_options(timeout=timeout(CHECK_TIMEOUT_S)).models.retrieve(self.model)

    def _create(self, request: Request, send: Callable[[Request], Any]) -> Any:
        try:
            with self._errors():
                return send(request)
        except TemperatureRefused:
            if not self._takes_temperature:
                raise
            self._takes_temperature = False
            return self._create(request, send)

    def _answer(self, request: Request) -> ChatCompletion:
        from openai.types.chat import ChatCompletion

        # Not `completions.create`: it walks through the payload against its types, which takes as long as all the rest.
        options: Any = {"timeout": timeout(request.timeout_s)}
        body = self._payload(request)
        return self._client.post("/chat/completions", cast_to=ChatCompletion, body=body, options=options)

    def _chunks(self, request: Request) -> Any:
        more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        seconds = timeout(request.timeout_s)
        return self._client.chat.completions.create(**self._payload(request), **more, timeout=seconds)

    def _errors(self) -> AbstractContextManager[None]:
        import openai

        hint = f"Is the server running at {self.base_url}? matlit doctor" if not self._official else None
        return client_errors(openai, who=self._who, key=self._key_name, hint=hint)


def make_client(base_url: str, key: str) -> OpenAI:
    """Return the vendor's client; it does not retry (`ChatModel` does), nor use a proxy for this machine."""
    import openai

    http = openai.DefaultHttpxClient(trust_env=False) if on_this_machine(base_url) else None
    return openai.OpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=http)


def make_backend(model: str, *, offline: bool = False, **options: Any) -> OpenAIBackend:
    """Build OpenAI's `model`, at `OPENAI_BASE_URL` where that is set.

    Raises:
        KeyMissing: `OPENAI_API_KEY` is not set.
        OfflineError: `offline`, and the address is another machine's.
    """
    base_url = os.environ.get("OPENAI_BASE_URL", "").strip() or BASE_URL
    if offline:
        refuse_remote(base_url, what=f"openai/{model}")
    key = read_key(KEY, provider="OpenAI", example="sk-…")
    return OpenAIBackend(model, base_url=base_url, key=key, provider="openai", key_name=KEY, official=True, **options)


def make_llm(model: str, *, offline: bool = False, **options: Any) -> LLM:
    """Build OpenAI's `model` as llama-index's `OpenAI`; raises as `make_backend`."""
    backend = make_backend(model, offline=offline)
    from llama_index.llms.openai import OpenAI

    key = read_key(KEY, provider="OpenAI", example="sk-…")
    return OpenAI(model=model, api_key=key, api_base=backend.base_url, **options)


def check(model: str, *, offline: bool = False) -> str:
    """Return one line on `model`, after asking OpenAI for it; that is free. Raises where it would not work."""
    backend = make_backend(model, offline=offline)
    backend.find()
    return f"{note(f'openai/{model}')}; the key in {KEY} is accepted"


def timeout(seconds: float) -> Any:
    """Return a time-out that gives up on a silent connection long before a slow answer."""
    import httpx

    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))


def on_this_machine(base_url: str) -> bool:
    """Tell whether a URL's host is loopback."""
    from urllib.parse import urlsplit

    host = urlsplit(base_url).hostname
    return bool(host) and is_loopback(host or "")


def reasons(model: str) -> bool:
    """Tell whether an OpenAI model is a reasoning model, which takes no temperature."""
    return model.startswith(("o1", "o3", "o4", "gpt-5")) and "chat" not in model


def is_closed(schema: Any) -> bool:
    """Tell whether every object in `schema` requires all its properties and allows no others, as strict mode asks."""
    if isinstance(schema, list):
        return all(map(is_closed, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        named = set(schema.get("properties", {}))
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != named:
            return False
    return all(map(is_closed, schema.values()))


def bounded_by_strict(schema: Any) -> Any:
    """Return `schema` without the keywords that strict mode refuses."""
    if isinstance(schema, Mapping):
        return {
            name: {inner: bounded_by_strict(part) for inner, part in value.items()}
            if name == "properties"
            else bounded_by_strict(value)
            for name, value in schema.items()
            if name not in _OPEN_ENDED
        }
    return [bounded_by_strict(part) for part in schema] if isinstance(schema, list) else schema


def not_found(model: str, known: list[str], *, where: str) -> ModelNotFound:
    """Return the error for a model that a server does not have, naming those it has."""
    shown = ", ".join(known[:10]) or "none"
    told = f"{where} has no model {model!r}" if model else f"no model of {where} is named"
    return ModelNotFound(told, hint=f"It has {shown}: put one after the #")


def _function(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for call in message.tool_calls
        ]
    return made


def _arguments(call: ToolCall) -> str:
    # Malformed arguments go back as an empty object: some servers parse the history, and fail on what is no JSON.
    return "{}" if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)


def _usage(usage: Any) -> Usage:
    if usage is None:
        return Usage(calls=1)
    details = getattr(usage, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None) or 0
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, calls=1, cached_tokens=cached)


def _finish(reason: str | None, *, calls: bool, refusal: bool) -> Finish:
    if refusal:
        return "declined"
    # Some servers say "stop" after a tool call.
    return "tool_calls" if calls and reason == "stop" else _FINISH.get(reason or "stop", "stop")


def _add(pieces: Pieces, call: Any) -> None:
    function = call.function
    name, arguments = (function.name or "", function.arguments or "") if function else ("", "")
    pieces.add(call.index, id=call.id or "", name=name, arguments=arguments)


def _by_prefix(model: str, table: Mapping[str, int]) -> int:
    fitting = [name for name in table if model.startswith(name)]
    return table[max(fitting, key=len)] if fitting else 0

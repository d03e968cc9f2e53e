"""What every provider shares: the records that travel, the errors they become, and the shape of a backend.

    ModelError
    ├── UnknownSpec      no such provider, or a spec that cannot be read
    ├── KeyMissing       the provider needs a key, and none is set
    ├── KeyRefused       the provider does not accept the key
    ├── ModelNotFound    the provider, server or disk has no such model
    ├── RateLimited      too many requests or tokens (retryable), or the quota is used up (not retryable)
    ├── TooLong          the messages do not fit the model's context
    ├── Declined         the provider's own filter refused to answer
    ├── Unavailable      connection refused, dropped or too slow; or the server failed (retryable)
    └── BadReply         an answer that is not what the protocol or the schema asked for (retryable)

Nothing here imports a vendor's package.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

from assistant.offline import refused
from ingest.errors import ModelError
from ingest.settings import KEYS

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "tool_calls", "length", "declined"]

SERVER_KEY = "MATLIT_SERVER_KEY"  # of a server that speaks OpenAI's protocol but is not OpenAI's

CONNECT_TIMEOUT_S = 15.0  # a silent address is given up long before a slow answer
CHECK_TIMEOUT_S = 15.0
SCHEMA_REQUEST = """Answer with one JSON object and nothing else: no words before or after it. It must fit this
JSON Schema:
{schema}"""
TOOLS_REQUEST = """You may call one of these tools:
{tools}
To call one, answer with nothing but JSON: {{"name": "THE TOOL", "arguments": {{…}}}}. Otherwise answer in words."""

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_FENCE = re.compile(r"```(?:json|JSON)?\s*\n(.*?)```", re.DOTALL)
_KEY_LIKE = re.compile(r"\b(?:sk-[\w*-]{6,}|AIza[\w-]{10,}|hf_\w{8,})")


class UnknownSpec(ModelError):
    """A model spec names no known provider, or cannot be read."""

    hint = "See the forms a model can be named in: matlit models"


class KeyMissing(ModelError):
    """The provider needs a key, and none is set."""


class KeyRefused(ModelError):
    """The provider does not accept the key."""


class ModelNotFound(ModelError):
    """The provider, the server or the disk has no such model."""

    hint = "See the forms a model can be named in: matlit models"


class RateLimited(ModelError):
    """Too many requests or tokens; `retry_after_s` is how long the provider asks to wait, None where it is silent."""

    hint = "Wait a little, or set a lower rate for this provider"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after_s = retry_after_s


class TooLong(ModelError):
    """The messages do not fit the model's context."""

    hint = "Ask with fewer passages (-k), or take a model with a longer context"


class Declined(ModelError):
    """The provider's own filter refused to answer."""

    hint = "Put the question in other words, or ask another model"


class Unavailable(ModelError):
    """The connection was refused or dropped, took too long, or the server failed."""

    hint = "Look whether the server or the provider is up, then try again"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after_s = retry_after_s


class TemperatureRefused(ModelError):
    """The model takes no temperature; its backend asks again without one, and remembers."""


class BadReply(ModelError):
    """The model or its server answered something that is not what was asked for."""

    hint = "Try again, or take a stronger model"
    retryable = True


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a tool run.

    `arguments` is the JSON object the model wrote, or its raw text where that is no JSON object. `signature` is a
    provider's opaque mark on the call, which has to go back with it (Gemini's thought signatures).
    """

    id: str
    name: str
    arguments: Mapping[str, Any] | str
    signature: str = ""

    @property
    def malformed(self) -> bool:
        """Tell whether the arguments are no JSON object."""
        return isinstance(self.arguments, str)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. A `tool` message is the result of the call `tool_call_id`; `name` is then the tool's."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of `calls` calls. `cost_usd` is None where the model's price is not known.

    `cached_tokens` are those of `input_tokens` that the provider had in its own cache, and charges less for.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    calls: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            (self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
            self.calls + other.calls,
            self.cached_tokens + other.cached_tokens,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of text that has just been written."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered. `finish` says why it stopped, `model` which model the provider says it was.

    `cached` marks an answer from the cache on disk, which cost nothing now.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: Finish = "stop"
    model: str = ""
    cached: bool = False

    @property
    def message(self) -> Message:
        """Return the reply as the turn that goes back into the conversation."""
        return Message("assistant", self.text, self.tool_calls)

    def data(self) -> dict[str, Any]:
        """Return the JSON object in the text, bare or in a fence.

        Raises:
            BadReply: there is none.
        """
        found = json_object(self.text)
        if found is None:
            cut = " (it was cut off)" if self.finish == "length" else ""
            raise BadReply(f"{self.model} should have answered with a JSON object{cut}, but wrote {self.text[:200]!r}")
        return found


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a model, the same for every provider. `max_tokens` None leaves the length to the model."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    timeout_s: float = 120.0
    stop: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything that decides the answer, as plain data."""
        data = asdict(self)
        del data["timeout_s"]
        return data

    def schema_in_words(self) -> Request:
        """Return the request with its schema asked for in the last user message, for models that know no other way."""
        if self.schema is None:
            return self
        text = SCHEMA_REQUEST.format(schema=json.dumps(self.schema, ensure_ascii=False))
        return replace(self._with_more(text), schema=None)

    def tools_in_words(self) -> Request:
        """Return the request with its tools described in the last user message; `calls_in_text` reads what comes."""
        if not self.tools:
            return self
        tools = "\n".join(json.dumps(asdict(tool), ensure_ascii=False) for tool in self.tools)
        return replace(self._with_more(TOOLS_REQUEST.format(tools=tools)), tools=())

    def _with_more(self, text: str) -> Request:
        messages = list(self.messages)
        for place in reversed(range(len(messages))):
            if messages[place].role == "user":
                messages[place] = replace(messages[place], content=f"{messages[place].content}\n\n{text}")
                return replace(self, messages=tuple(messages))
        return replace(self, messages=(*messages, Message("user", text)))


class Backend(Protocol):
    """One model of one provider, as `assistant.chat` drives it. Calls may come from several threads."""

    provider: str  # whose rate limits the calls share
    model: str
    native_tools: bool
    json_schema: bool
    local: bool  # nothing leaves this machine, nothing is paid

    @property
    def context_tokens(self) -> int:
        """How many tokens question and answer may have together."""
        ...

    def reply(self, request: Request) -> Reply:
        """Answer at once. Raises `ModelError`, without trying again."""
        ...

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer piece by piece; the last item is the whole reply."""
        ...

    def close(self) -> None:
        """Let go of connections, memory and servers."""
        ...


@dataclass(slots=True)
class Pieces:
    """Tool calls that arrive in fragments while streaming, in the order they began."""

    parts: dict[int, list[str]] = field(default_factory=dict)  # index -> [id, name, arguments]

    def add(self, index: int, *, id: str = "", name: str = "", arguments: str = "") -> None:  # noqa: A002
        """Append what came for the call number `index`."""
        part = self.parts.setdefault(index, ["", "", ""])
        for place, text in enumerate((id, name, arguments)):
            part[place] += text

    def calls(self) -> tuple[ToolCall, ...]:
        """Return the calls, complete."""
        return tuple(
            ToolCall(id or f"call_{index}", name, parse_arguments(text))
            for index, (id, name, text) in sorted(self.parts.items())  # noqa: A001
        )


def parse_arguments(text: str) -> Mapping[str, Any] | str:
    """Return the JSON object in `text`, {} for no text at all, and `text` itself where it is no JSON object."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that `text` is, holds in a fence, or begins with after some words; None without one."""
    decoder = json.JSONDecoder()
    for candidate in (text, *_FENCE.findall(text), text[max(text.find("{"), 0) :]):
        try:
            value, _ = decoder.raw_decode(candidate.strip())
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None


def calls_in_text(text: str, tools: Sequence[ToolSpec]) -> tuple[ToolCall, ...]:
    """Return the calls of `tools` that a model wrote as text, because it knows no better way.

    Only where the text is nothing else: JSON objects with `name` and `arguments` (or `parameters`), bare, in fences or
    in `<tool_call>` tags. A sentence that merely holds such an object is an answer, and no call.
    """
    found = _CALL.findall(text) or _FENCE.findall(text)
    around = _FENCE.sub("", _CALL.sub("", text)) if found else ""
    if around.strip():
        return ()
    calls = []
    for place, part in enumerate(found or [text]):
        try:
            value = json.loads(part)
        except ValueError:
            return ()
        arguments = value.get("arguments", value.get("parameters")) if isinstance(value, dict) else None
        if not isinstance(arguments, dict) or value.get("name") not in {tool.name for tool in tools}:
            return ()
        calls.append(ToolCall(f"call_{place}", value["name"], arguments))
    return tuple(calls)


def read_key(*names: str, provider: str, example: str) -> str:
    """Return the key from the first of the environment variables `names` that is set.

    Raises:
        KeyMissing: none is set.
        KeyRefused: it holds characters that no key has, which a client would otherwise repeat in its error.
    """
    for name in names:
        key = os.environ.get(name, "").strip()
        if key and not re.fullmatch(r"[!-~]+", key):
            raise KeyRefused(
                f"{name} holds spaces or characters that no key has", hint=f"Copy it again: export {name}={example}"
            )
        if key:
            return key
    raise KeyMissing(
        f"{provider} needs a key, and {' or '.join(names)} is not set", hint=f"export {names[0]}={example}"
    )


def scrub(text: str) -> str:
    """Return `text` without anything that is, or looks like, a key."""
    for name in (*KEYS, SERVER_KEY):
        value = os.environ.get(name, "").strip()
        if len(value) >= 6 and name.endswith(("KEY", "TOKEN")):
            text = text.replace(value, f"[{name}]")
    return _KEY_LIKE.sub("[key]", text)


def error_of_status(
    status: int, message: str, *, who: str, key: str = "", retry_after_s: float | None = None
) -> ModelError:
    """Return the error that an HTTP status of a provider stands for.

    `who` names provider and model in the message, `key` is the environment variable the key came from.
    """
    said = f"{who} answered {status}: {scrub(message)[:300]}"
    low = message.lower()
    if status == 200:  # an error inside a stream that had begun well
        return Unavailable(said)
    if status in (401, 403) or "api key not valid" in low:
        return KeyRefused(said, hint=f"Check the key in {key}" if key else "Check the key, or whether one is needed")
    if status == 404:
        return ModelNotFound(said)
    if status == 413 or (status == 400 and _says_too_long(low)):
        return TooLong(said)
    if status == 429 and ("insufficient_quota" in low or ("exceeded your current quota" in low and "retry" not in low)):
        return RateLimited(
            said, hint="The account's quota is used up: see the provider's billing page", retryable=False
        )
    if status == 429:
        return RateLimited(said, retry_after_s=retry_after_s)
    if status in (408, 409) or status >= 500:
        return Unavailable(said, retry_after_s=retry_after_s)
    if status == 400 and "temperature" in low:
        return TemperatureRefused(said)
    if "content_filter" in low or "content management policy" in low:
        return Declined(said)
    return ModelError(said, hint="The provider refuses this request: matlit doctor")


@contextmanager
def client_errors(client: Any, *, who: str, key: str = "", hint: str | None = None) -> Iterator[None]:
    """Turn what a vendor's package raises into `ModelError`; errors of our own go through.

    `client` is the package `openai` or `anthropic`, which name their errors alike; `key` is the variable the key is in.
    """
    try:
        yield
    except client.APIStatusError as error:
        wait_s = retry_after(error.response.headers)
        # Not chained: the client's error holds the request, and with it the key.
        raise error_of_status(error.status_code, _said(error), who=who, key=key, retry_after_s=wait_s) from None
    except (client.APITimeoutError, *_timeouts()) as error:
        raise refused(error) or Unavailable(f"{who} did not answer in time") from error
    except (client.APIConnectionError, *transport_errors()) as error:
        raise refused(error) or unreachable(who, error, hint=hint) from error
    except (client.APIResponseValidationError, json.JSONDecodeError) as error:
        raise BadReply(f"{who} answered something that is no JSON: {error}") from error
    except client.APIError as error:
        raise Unavailable(f"{who} broke off: {scrub(str(error.message))[:300]}") from None


def too_slow(who: str, timeout_s: float, *, retryable: bool) -> Unavailable:
    """Return the error for an answer that did not end in time; on this machine it would take as long again."""
    return Unavailable(
        f"{who} did not finish within {timeout_s:g} s",
        hint="Allow more time, or ask for less text",
        retryable=retryable,
    )


def unreachable(who: str, error: BaseException, *, hint: str | None = None) -> Unavailable:
    """Return the error for a connection that failed or was dropped."""
    reason = error.__cause__ or error
    return Unavailable(
        f"{who}: the connection failed or was dropped ({type(reason).__name__}: {scrub(str(reason))})", hint=hint
    )


def _said(error: Any) -> str:
    """Return the provider's message with its code, from the body where there is one."""
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error", body)
    parts = [inner.get("message"), inner.get("code"), inner.get("type")] if isinstance(inner, dict) else [inner]
    return " ".join(str(part) for part in parts if part) or str(error.message)


def _timeouts() -> tuple[type[Exception], ...]:
    return tuple(package.TimeoutException for package in _transports())


def transport_errors() -> tuple[type[Exception], ...]:
    """Return what the loaded HTTP packages raise when a connection fails or is dropped."""
    return tuple(package.HTTPError for package in _transports())


def _transports() -> list[Any]:
    """Return the HTTP packages that are loaded: the vendors are moving from httpx to its successor."""
    return [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]


def _says_too_long(message: str) -> bool:
    marks = (
        "context_length",
        "context length",
        "context size",
        "exceed_context",
        "too long",
        "maximum number of tokens",
    )
    return any(mark in message for mark in marks) or ("token count" in message and "exceed" in message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a response asks to wait: `Retry-After` as seconds or date (RFC 9110), or in milliseconds."""
    if (text := headers.get("retry-after-ms", "")).replace(".", "", 1).isdigit():
        return float(text) / 1000
    text = headers.get("retry-after", "").strip()
    if text.replace(".", "", 1).isdigit():
        return float(text)
    return _until(text) if text else None


def _until(date: str) -> float | None:
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except ValueError:
        return None


def joined_system(messages: Sequence[Message]) -> str:
    """Return the system messages as one text, for providers that take it apart from the turns."""
    return "\n\n".join(message.content for message in messages if message.role == "system")

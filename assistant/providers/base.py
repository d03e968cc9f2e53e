"""What travels between `assistant.chat` and the providers: messages, tools, requests, replies, and a backend's shape.

Nothing here imports a vendor's package; the errors are in `errors`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

from assistant.providers.errors import BadReply

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "tool_calls", "length", "declined"]

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
    `prices_as_of` is the date of the price table that the cost was reckoned with, "" where nothing was.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    calls: int = 0
    cached_tokens: int = 0
    prices_as_of: str = ""

    def __add__(self, other: Usage) -> Usage:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            (self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
            self.calls + other.calls,
            self.cached_tokens + other.cached_tokens,
            self.prices_as_of or other.prices_as_of,
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
    """Tool calls that arrive in fragments while streaming, in the order they began.

    Servers differ: some repeat a call's id and name in each fragment, some give every call the same number or none. So
    the arguments grow, a name stays, and another id under a number that is taken begins another call.
    """

    parts: list[tuple[int, str, str, list[str]]] = field(default_factory=list)  # number, id, name, arguments

    def add(self, number: int | None, *, id: str = "", name: str = "", arguments: str = "") -> None:  # noqa: A002
        """Append what came for the call `number`."""
        place = next((at for at in reversed(range(len(self.parts))) if self.parts[at][0] == (number or 0)), None)
        if place is None or (id and self.parts[place][1] and self.parts[place][1] != id):
            self.parts.append((number or 0, id, name, [arguments]))
            return
        taken, known_id, known_name, written = self.parts[place]
        self.parts[place] = (taken, known_id or id, known_name or name, [*written, arguments])

    def calls(self) -> tuple[ToolCall, ...]:
        """Return the calls, complete."""
        return tuple(
            ToolCall(call_id or f"call_{place}", name, parse_arguments("".join(written)))
            for place, (_, call_id, name, written) in enumerate(self.parts)
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


def joined_system(messages: Sequence[Message]) -> str:
    """Return the system messages as one text, for providers that take it apart from the turns."""
    return "\n\n".join(message.content for message in messages if message.role == "system")

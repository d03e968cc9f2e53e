"""`ChatModel`: the one way matlit talks to a language model, whoever provides it.

It adds to a provider's backend what all of them need: JSON answers from models that have no mode for them, retries with
back-off, rate limits, time-outs, a cache of replies, tokens and cost, and the async twins. What a request and a reply
are stands in `assistant.providers.base`, their errors in `errors` beside it; both can be imported from here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from assistant.cache import ReplyCache
from assistant.limits import Limiter, Limits, limiter_for, with_rates
from assistant.pricing import with_cost
from assistant.providers.base import (
    Backend,
    Delta,
    Finish,
    Message,
    Reply,
    Request,
    Role,
    ToolCall,
    ToolSpec,
    Usage,
    calls_in_text,
    json_object,
)
from assistant.providers.errors import (
    BadReply,
    Declined,
    KeyMissing,
    KeyRefused,
    ModelNotFound,
    RateLimited,
    TooLong,
    Unavailable,
    UnknownSpec,
    too_slow,
)
from ingest.errors import ModelError

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

    from assistant.providers.scripted import Scripted

__all__ = [
    "Again",
    "Backend",
    "BadReply",
    "ChatModel",
    "Declined",
    "Delta",
    "Finish",
    "KeyMissing",
    "KeyRefused",
    "Limits",
    "Message",
    "ModelNotFound",
    "RateLimited",
    "Reply",
    "ReplyCache",
    "Request",
    "Retries",
    "Role",
    "TooLong",
    "ToolCall",
    "ToolSpec",
    "Unavailable",
    "UnknownSpec",
    "Usage",
    "json_object",
]

logger = logging.getLogger(__name__)
T = TypeVar("T")

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently a call is tried again after an error that may pass.

    The wait doubles from `first_wait_s` up to `most_wait_s`, with up to a quarter of it at random on top, so that
    many callers do not come back together. A provider's own Retry-After counts instead; one beyond `most_wait_s` is
    not waited for.
    """

    times: int = 4
    first_wait_s: float = 1.0
    most_wait_s: float = 60.0

    def wait_s(self, attempt: int, error: ModelError) -> float | None:
        """Return the seconds to wait after the failed `attempt` (from 0), or None to give up."""
        if not error.retryable or attempt >= self.times:
            return None
        asked = getattr(error, "retry_after_s", None)
        if asked is not None:
            return float(asked) if asked <= self.most_wait_s else None
        return min(self.first_wait_s * 2.0**attempt, self.most_wait_s) * random.uniform(1.0, 1.25)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Again:
    """The stream broke off for `reason`: what it gave does not count, and it begins anew."""

    reason: str


class ChatModel:
    """A language model that one can talk to; safe to share between threads.

    `spec` names it as in the settings. `native_tools` says whether it takes tools, `json_schema` whether its provider
    holds it to a schema; where not, the schema is asked for in words, and `Reply.data` reads what comes. `local` models
    send nothing anywhere and cost nothing. `used` is the sum of all calls so far.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        spec: str,
        timeout_s: float = TIMEOUT_S,
        retries: Retries = Retries(),
        limits: Limits | None = None,
        rates: str = "",
        cache: ReplyCache | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.backend = backend
        self.spec = spec
        self.timeout_s = timeout_s
        self.retries = retries
        self.used = Usage()
        self._cache = cache
        self._sleep = sleep
        # A model on this machine computes with all its cores already: a second call at the same time only halves both.
        default = (
            Limits(concurrent=0) if backend.provider == "scripted" else Limits(concurrent=1 if backend.local else 8)
        )
        allowed = with_rates(limits or default, backend.provider, rates)
        self._limiter: Limiter = limiter_for(backend.provider, allowed)
        self._lock = threading.Lock()

    @classmethod
    def from_spec(
        cls,
        spec: str,
        *,
        offline: bool = False,
        timeout_s: float = TIMEOUT_S,
        retries: Retries = Retries(),
        limits: Limits | None = None,
        rates: str = "",
        cache: Path | str | None = None,
        **options: Any,
    ) -> Self:
        """Build the model that `spec` names, for example `openai/gpt-4o-mini`; `cache` is a file for replies.

        `rates` says what providers allow a minute: see `parse_rates`.

        Raises:
            BadSettings: `rates` cannot be read.
            UnknownSpec: `spec` names no known provider.
            OfflineError: `offline`, and the model is not on this machine.
            ModelError: the key or the model is missing; see its subclasses in `assistant.providers.errors`.
        """
        from assistant.llms import make_backend

        backend = make_backend(spec, offline=offline, **options)
        kept = ReplyCache(cache) if cache is not None else None
        return cls(backend, spec=spec, timeout_s=timeout_s, retries=retries, limits=limits, rates=rates, cache=kept)

    @classmethod
    def from_llm(cls, llm: LLM, **options: Any) -> Self:
        """Wrap any llama-index LLM; tools go natively where it says that it calls functions."""
        from assistant.providers.wrapped import LLMBackend

        backend = LLMBackend(llm)
        return cls(backend, spec=f"llama-index/{backend.model}", **options)

    @classmethod
    def scripted(cls, replies: Sequence[Scripted], **options: Any) -> Self:
        """Return a model that gives `replies` one after the other; `options` as in `assistant.providers.scripted`.

        What it was asked is in `model.backend.requests`.
        """
        from assistant.providers.scripted import ScriptedBackend

        return cls(ScriptedBackend(replies, **options), spec="scripted")

    @property
    def model(self) -> str:
        """The model's name at its provider."""
        return self.backend.model

    @property
    def context_tokens(self) -> int:
        """How many tokens question and answer may have together."""
        return self.backend.context_tokens

    @property
    def native_tools(self) -> bool:
        """Whether the model takes tools; if not, ask for calls by a schema."""
        return self.backend.native_tools

    @property
    def json_schema(self) -> bool:
        """Whether the provider holds the model to a schema."""
        return self.backend.json_schema

    @property
    def local(self) -> bool:
        """Whether the model runs on this machine, so that nothing leaves it."""
        return self.backend.local

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        timeout_s: float | None = None,
        within_s: float = math.inf,
        stop: Sequence[str] = (),
    ) -> Reply:
        """Return the model's answer to `messages`. With `schema`, its text should be a JSON object: see `Reply.data`.

        `timeout_s` is for each attempt, `within_s` for all of them together with the waits between.

        Raises:
            ModelError: after the retries; its class says what is wrong, `retryable` whether it may pass.
        """
        request = self._request(messages, tools, schema, max_tokens, temperature, timeout_s, stop)
        if (kept := self._kept(request)) is not None:
            return kept
        attempt, ends = 0, time.monotonic() + within_s
        while True:
            request = _due(request, ends)
            try:
                with self._limiter.call(_estimate(request)) as ticket:
                    reply = self._counted(self.backend.reply(request), request)
                    ticket.settle(reply.usage.input_tokens + reply.usage.output_tokens)
            except ModelError as error:
                self._wait_or_raise(attempt, error, ends)
                attempt += 1
            else:
                self._keep(request, reply)
                return reply

    def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        timeout_s: float | None = None,
        within_s: float = math.inf,
        stop: Sequence[str] = (),
        over: bool = False,
    ) -> Iterator[Delta | Again | Reply]:
        """Yield the answer's text as it is written, then the whole `Reply`.

        It is tried again while no text has come; with `over` after a break too: an `Again` says that the text so far
        does not count, and it is written anew. `timeout_s` is for the whole answer, `within_s` for all attempts
        together. A model on this machine answers one at a time: read a stream to its end, or close it, before asking
        again in the same thread.

        Raises:
            ModelError: as `chat`.
        """
        request = self._request(messages, tools, schema, max_tokens, temperature, timeout_s, stop)
        if (kept := self._kept(request)) is not None:
            yield Delta(kept.text)
            yield kept
            return
        attempt, ends = 0, time.monotonic() + within_s
        while True:
            request, begun = _due(request, ends), False
            try:
                for item in self._streamed(request):
                    begun = True
                    yield item
            except ModelError as error:
                if begun and (not over or getattr(error, "slow", False)):  # it would be as slow again
                    raise
                self._wait_or_raise(attempt, error, ends)
                attempt += 1
                if begun:
                    yield Again(str(error))
            else:
                return

    async def achat(self, messages: Sequence[Message], **options: Any) -> Reply:
        """Do what `chat` does without holding up the event loop; its options are the same."""
        reply: Reply | None = None
        async for item in in_thread(lambda: iter([self.chat(messages, **options)])):
            reply = item
        if reply is None:  # the thread puts either a reply or an error
            raise RuntimeError("the call ended without a reply")
        return reply

    async def astream(self, messages: Sequence[Message], **options: Any) -> AsyncIterator[Delta | Again | Reply]:
        """Do what `stream` does without holding up the event loop; leaving the loop early stops the model."""
        async for item in in_thread(partial(self.stream, messages, **options)):
            yield item

    def close(self) -> None:
        """Let go of the model's connections, memory and servers."""
        self.backend.close()

    def _request(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None,
        max_tokens: int | None,
        temperature: float,
        timeout_s: float | None,
        stop: Sequence[str],
    ) -> Request:
        if not messages:
            raise ValueError("a model needs at least one message")
        seconds = self.timeout_s if timeout_s is None else timeout_s
        request = Request(
            tuple(messages), tuple(tools), schema, max_tokens, temperature, timeout_s=seconds, stop=tuple(stop)
        )
        return request if self.json_schema else request.schema_in_words()

    def _streamed(self, request: Request) -> Iterator[Delta | Reply]:
        ends = time.monotonic() + request.timeout_s
        with self._limiter.call(_estimate(request)) as ticket:
            items = self.backend.stream(request)
            try:
                for item in items:
                    if isinstance(item, Reply):
                        reply = self._counted(item, request)
                        ticket.settle(reply.usage.input_tokens + reply.usage.output_tokens)
                        self._keep(request, reply)
                        yield reply
                    elif time.monotonic() > ends:
                        raise too_slow(self.spec, request.timeout_s, retryable=not self.local)
                    else:
                        yield item
            finally:
                # Left early, the connection must not go on writing (and costing) unseen.
                if close := getattr(items, "close", None):
                    close()

    def _wait_or_raise(self, attempt: int, error: ModelError, ends: float) -> None:
        wait_s = self.retries.wait_s(attempt, error)
        if wait_s is None or time.monotonic() + wait_s >= ends:
            asked = getattr(error, "retry_after_s", None)
            if asked is not None and error.args:
                error.args = (f"{error}; it asks to wait {asked:,.0f} s", *error.args[1:])
            raise error
        logger.info("%s; trying again in %.1f s", error, wait_s)
        if isinstance(error, RateLimited):
            self._limiter.pause(wait_s)
        self._sleep(wait_s)

    def _counted(self, reply: Reply, request: Request) -> Reply:
        reply = replace(reply, usage=with_cost(reply.usage, self.spec, local=self.local))
        if request.tools and not reply.tool_calls and (calls := calls_in_text(reply.text, request.tools)):
            reply = replace(reply, text="", tool_calls=calls, finish="tool_calls")
        with self._lock:
            self.used += reply.usage
        return reply

    def _kept(self, request: Request) -> Reply | None:
        return self._cache.get(self._name(), request) if self._cache else None

    def _keep(self, request: Request, reply: Reply) -> None:
        if self._cache:
            self._cache.put(self._name(), request, reply)

    def _name(self) -> str:
        return f"{self.spec} {self.model}"


def _due(request: Request, ends: float) -> Request:
    """Return the request with no more time than there is until `ends`."""
    left = max(ends - time.monotonic(), 0.1)
    return replace(request, timeout_s=left) if left < request.timeout_s else request


def _estimate(request: Request) -> int:
    """Return about how many tokens a call takes: four characters each, and the answer it allows."""
    characters = sum(len(message.content) for message in request.messages)
    characters += sum(len(json.dumps(dict(tool.parameters))) + len(tool.description) for tool in request.tools)
    return characters // 4 + (request.max_tokens or 0)


async def in_thread(make: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """Yield what the iterator that `make` returns yields, running it in a thread of its own.

    A thread per call, not the loop's shared few: calls wait for a network, and the limiter bounds how many run.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[T | _End] = asyncio.Queue()
    left = threading.Event()
    thread = threading.Thread(target=_pump, args=(make, items, loop, left), daemon=True)
    thread.start()
    try:
        while not isinstance(item := await items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        left.set()


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def _pump(
    make: Callable[[], Iterator[T]],
    items: asyncio.Queue[T | _End],
    loop: asyncio.AbstractEventLoop,
    left: threading.Event,
) -> None:
    error: BaseException | None = None
    try:
        for item in (made := make()):
            if left.is_set():
                getattr(made, "close", lambda: None)()
                return
            loop.call_soon_threadsafe(items.put_nowait, item)
    except BaseException as raised:  # noqa: BLE001 - whatever it is, it is raised again in the caller's task
        error = raised
    if not left.is_set():
        loop.call_soon_threadsafe(items.put_nowait, _End(error))

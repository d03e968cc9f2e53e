"""A model that reads its answers from a script: for tests and demonstrations, and called what it is.

The script is JSON: `{"replies": […], "native_tools": true, "json_schema": true, "context_tokens": 8192}`, or only the
list. A reply is a text, or an object with any of `text`, `tool_calls` (`[{name, arguments}]`), `finish`, `error` (a
message raised as `Unavailable`), `seconds` (waits so long first) and `when`, a regular expression. A reply with `when`
answers every request whose last message matches; the others are used up one after the other.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.providers.base import Delta, Finish, Reply, Request, ToolCall, Usage
from assistant.providers.errors import ModelNotFound, Unavailable, UnknownSpec
from ingest.errors import ModelError

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

Scripted = str | Mapping[str, Any] | Reply | ModelError
_KNOWN = {"text", "tool_calls", "finish", "error", "seconds", "when"}


@dataclass(slots=True)
class ScriptedBackend:
    """Answers from `replies`; `requests` keeps what was asked, for a test to look at."""

    replies: Sequence[Scripted]
    model: str = "scripted"
    native_tools: bool = True
    json_schema: bool = True
    context_tokens: int = 8192
    provider: str = "scripted"
    local: bool = True
    requests: list[Request] = field(default_factory=list)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, request: Request) -> Reply:
        """Return the next fitting reply of the script."""
        with self._lock:
            self.requests.append(request)
            chosen = self._choose(request)
        if isinstance(chosen, ModelError):
            raise chosen
        if isinstance(chosen, Reply):
            return chosen
        return self._built(chosen if isinstance(chosen, Mapping) else {"text": chosen}, request)

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Return the next fitting reply word by word."""
        reply = self.reply(request)
        for word in re.findall(r"\S+\s*|\s+", reply.text):
            yield Delta(word)
        yield reply

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _choose(self, request: Request) -> Scripted:
        last = request.messages[-1].content
        for reply in self.replies:
            if isinstance(reply, Mapping) and "when" in reply and re.search(reply["when"], last, re.DOTALL):
                return reply
        plain = [reply for reply in self.replies if not (isinstance(reply, Mapping) and "when" in reply)]
        if self._next >= len(plain):
            raise ModelError(
                f"the script of {self.model} has no reply left, after {len(self.requests)} requests; the last was "
                f"{last[:200]!r}",
                hint='Add a reply to the script, or one with "when": ".*"',
            )
        self._next += 1
        return plain[self._next - 1]

    def _built(self, scripted: Mapping[str, Any], request: Request) -> Reply:
        if scripted.get("seconds"):
            time.sleep(float(scripted["seconds"]))
        if "error" in scripted:
            raise Unavailable(str(scripted["error"]))
        calls = tuple(
            ToolCall(call.get("id") or f"call_{len(self.requests)}_{place}", call["name"], call.get("arguments", {}))
            for place, call in enumerate(scripted.get("tool_calls", ()))
        )
        text = str(scripted.get("text", ""))
        read = sum(_tokens(message.content) for message in request.messages)
        finish: Finish = scripted.get("finish") or ("tool_calls" if calls else "stop")
        return Reply(text, calls, Usage(read, _tokens(text), 0.0, 1), finish, self.model)


def _tokens(text: str) -> int:
    """Return a rough count, four characters each: a script has no tokenizer."""
    return (len(text) + 3) // 4


def make_backend(model: str, *, offline: bool = False, **options: Any) -> ScriptedBackend:
    """Build the model from the script in the file `model`.

    Raises:
        ModelNotFound: there is no such file.
        UnknownSpec: it is no script.
    """
    path = Path(model).expanduser()
    try:
        script = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelNotFound(f"cannot read the script {model!r}: {error}", hint="Write scripted/FILE.json") from error
    except ValueError as error:
        raise UnknownSpec(f"the script {model!r} is no JSON: {error}", hint=_hint()) from error
    script = {"replies": script} if isinstance(script, list) else script
    known = {"replies", "native_tools", "json_schema", "context_tokens"}
    if not isinstance(script, dict) or not isinstance(script.get("replies"), list) or script.keys() - known:
        raise UnknownSpec(f"the script {model!r} is not of the known form", hint=_hint())
    for reply in script["replies"]:
        _refuse_unknown(reply, path=model)
    return ScriptedBackend(model=f"scripted/{path.name}", **{**script, **options})


def make_llm(model: str, *, offline: bool = False, **options: Any) -> LLM:
    """Build the script as a llama-index LLM."""
    from assistant.providers.wrapped import as_llm

    return as_llm(make_backend, model, offline=offline, **options)


def check(model: str, *, offline: bool = False) -> str:
    """Return how many replies the script has; raise where it cannot be read."""
    return f"scripted/{model}: {len(make_backend(model).replies)} replies from a file, no language model"


def _refuse_unknown(reply: Any, *, path: str) -> None:
    if isinstance(reply, str):
        return
    if not isinstance(reply, dict) or reply.keys() - _KNOWN:
        raise UnknownSpec(f"the script {path!r} has a reply {reply!r} that is not of the known form", hint=_hint())


def _hint() -> str:
    return 'A script is a list such as ["a text", {"when": "band gap", "tool_calls": [{"name": …, "arguments": {…}}]}]'

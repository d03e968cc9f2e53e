"""What a model wrote: which part may be shown while it arrives, which is the answer, and which is a call after all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assistant import prompts
from assistant.chat import Reply, ToolCall, ToolSpec


def answer_part(text: str, *, thinks: bool) -> str:
    """Return what stands below the last "Answer:" line of a model that was told to think first."""
    if not thinks:
        return prompts.ANSWER_LINE.sub("", text, count=1).strip() if prompts.ANSWER_LINE.match(text) else text.strip()
    found = list(prompts.ANSWER_LINE.finditer(text))
    return text[found[-1].end() :].strip() if found else text.strip()


@dataclass(slots=True)
class Shown:
    """Decides which of the arriving text may be shown at once."""

    thinks: bool
    held: str = ""
    open: bool = False

    def restart(self) -> None:
        """Begin anew: what has come does not count."""
        self.held, self.open = "", False

    def more(self, text: str) -> str:
        """Return what of the text so far may be shown now, and was not yet."""
        if self.open:
            return text
        self.held += text
        if self.thinks:
            found = prompts.ANSWER_LINE.search(self.held)
            ready = self.held[found.end() :] if found else ""
        else:
            start = self.held.lstrip()
            calls = start.startswith(("{", "```", "<tool_call", "<")) or len(start) < 12
            ready = "" if calls or prompts.NO_ANSWER.startswith(start[: len(prompts.NO_ANSWER)]) else self.held
        self.open = bool(ready)
        return ready


_CALL_LIKE = re.compile(r'^\s*(?:```(?:json)?\s*)?\{\s*"name"\s*:\s*"([\w.-]{1,64})"\s*,\s*"(?:arguments|parameters)"')


def with_written_calls(reply: Reply, specs: Sequence[ToolSpec]) -> Reply:
    """Return the reply with the call of an unknown tool that its text is; known ones were read by `ChatModel`."""
    found = _CALL_LIKE.match(reply.text) if specs and not reply.tool_calls else None
    if not found:
        return reply
    return replace(reply, text="", tool_calls=(ToolCall("call_0", found[1], {}),), finish="tool_calls")

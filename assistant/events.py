"""What happens while a question is answered, as typed events: drawn by the app, printed by the command line.

`Assistant.stream` yields them in the order they happen; the first is `Started`, the last `Answered`. The text of a
step that turns out to call tools is thinking aloud: whoever shows `TextDelta` drops what came before a `ToolStarted`.
What counts in the end is the text of the answer, where unsupported sentences are marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.records import Hit

if TYPE_CHECKING:
    from assistant.answer import Answer
    from assistant.tools import ToolResult


@dataclass(frozen=True, slots=True)
class Started:
    """A question was taken up; `model` names who answers, `strategy` how it is prompted."""

    question: str
    model: str
    strategy: str


@dataclass(frozen=True, slots=True)
class Searched:
    """The library was searched for `query`; `hits` are the passages found, best first."""

    query: str
    hits: tuple[Hit, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to run; `id` links it to its `ToolFinished`."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool has come back, with a result or an error in it."""

    id: str
    name: str
    result: ToolResult


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text, as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing that is no part of the answer: a limit that was reached, a call that was stopped."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, complete and checked. The last event."""

    answer: Answer


Event = Started | Searched | ToolStarted | ToolFinished | TextDelta | Note | Answered

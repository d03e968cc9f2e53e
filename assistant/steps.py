"""Runs the steps of a plan, and says in sentences what came of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from assistant.events import Event, ToolFinished, ToolStarted
from assistant.planner import Step
from assistant.prompts import Language
from assistant.saying import say
from assistant.tools import Tool, ToolResult, call


@dataclass(frozen=True, slots=True)
class Ran:
    """A step that was run: its result, and what it says about the question, one sentence each."""

    step: Step
    result: ToolResult
    said: tuple[str, ...]


def run_steps(
    steps: Sequence[Step], tools: Mapping[str, Tool], *, language: Language
) -> Generator[Event, None, tuple[Ran, ...]]:
    """Run planned steps one after the other, each announced; what fails comes back as a result with its error."""
    ran = []
    for place, step in enumerate(steps, 1):
        identifier = f"plan.{place}"
        yield ToolStarted(identifier, step.tool, step.arguments)
        result = call(tools[step.tool], step.arguments)
        yield ToolFinished(identifier, step.tool, result)
        ran.append(Ran(step, result, tuple(say(step, result, language=language))))
    return tuple(ran)


def taken(result: ToolResult, *, language: Language) -> Ran:
    """Return a call that a model chose as a step, with what it says about whatever was asked."""
    step = Step(result.name, result.arguments)
    return Ran(step, result, tuple(say(step, result, language=language)))

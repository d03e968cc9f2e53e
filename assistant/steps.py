"""Runs the steps of a plan, and says in sentences what came of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from assistant.events import Event, ToolFinished, ToolStarted
from assistant.planner import Step
from assistant.prompts import Language
from assistant.saying import compare, say, unsaid
from assistant.tools import Tool, ToolResult, call


@dataclass(frozen=True, slots=True)
class Ran:
    """A step that was run: its result, what it says about the question, and what it does not, one sentence each."""

    step: Step
    result: ToolResult
    said: tuple[str, ...]
    unsaid: tuple[str, ...] = ()


def run_steps(
    steps: Sequence[Step], tools: Mapping[str, Tool], *, language: Language
) -> Generator[Event, None, tuple[Ran, ...]]:
    """Run planned steps one after the other, each announced; what fails comes back as a result with its error."""
    ran: list[Ran] = []
    for step in steps:
        ran.append((yield from _run(_resolved(step, ran), tools, language, len(ran) + 1)))
    return tuple(_once((yield from _side_by_side(ran, tools, language))))


def taken(result: ToolResult, *, language: Language) -> Ran:
    """Return a call that a model chose as a step, with what it says about whatever was asked."""
    step = Step(result.name, result.arguments)
    return Ran(step, result, tuple(say(step, result, language=language)))


def _run(step: Step, tools: Mapping[str, Tool], language: Language, place: int) -> Generator[Event, None, Ran]:
    identifier = f"plan.{place}"
    yield ToolStarted(identifier, step.tool, step.arguments)
    result = call(tools[step.tool], step.arguments)
    yield ToolFinished(identifier, step.tool, result)
    return Ran(
        step,
        result,
        tuple(say(step, result, language=language)),
        tuple(unsaid(step, result, language=language)),
    )


def _resolved(step: Step, before: Sequence[Ran]) -> Step:
    """Return a step for the structure of a formula with the id of its ground state, which the step before has found."""
    if step.tool == "materials" or not before or not before[-1].step.finds or before[-1].result.result is None:
        return step
    data = before[-1].result.result.data
    ground = [*(data.get("ground_state") or []), *(record["material_id"] for record in data.get("records", []))]
    return replace(step, arguments={**step.arguments, "structure": ground[0]}) if ground else step


def _once(ran: Sequence[Ran]) -> list[Ran]:
    """Leave out that one hand of a crystal form has no record where the other has, and what was said before."""
    found = {one.step.form for one in ran if one.said}
    kept, told = [], set[str]()
    for one in ran:
        other_hand = bool(one.step.form) and one.step.form in found and not one.said
        lacking = () if other_hand else tuple(s for s in one.unsaid if s not in told)
        told.update(lacking)
        kept.append(replace(one, unsaid=lacking))
    return kept


def _side_by_side(ran: list[Ran], tools: Mapping[str, Tool], language: Language) -> Generator[Event, None, list[Ran]]:
    """Put what a comparison says above the values it rests on; the difference of two is the calculator's."""
    places = [place for place, one in enumerate(ran) if one.step.among]
    if len(places) < 2:
        return ran
    found = compare(
        [(ran[place].step, ran[place].result) for place in places], ran[places[0]].step.properties, language
    )
    if found.sentence:
        first = ran[places[0]]
        ran[places[0]] = replace(first, said=(found.sentence, *first.said))
    if found.difference and "calculator" in tools:
        step = Step("calculator", {"expression": found.difference})
        ran.append((yield from _run(step, tools, language, len(ran) + 1)))
    return ran

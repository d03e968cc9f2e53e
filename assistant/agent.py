"""The agent: a language model with numbered sources and tools, bounded in steps, tokens, time and money.

Retrieval comes first; what was retrieved, attached or computed is data in a user turn, never in the system prompt.
Models that call tools do so in a loop; small ones get the tools' results from the planner and write once. Whatever
was written goes through `assistant.checking`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from assistant import prompts, quoting
from assistant.answer import Answer
from assistant.chat import Again, ChatModel, Delta, Finish, Message, Reply, ToolCall, ToolSpec, Unavailable, Usage
from assistant.checking import check, is_echo, tidied
from assistant.concluding import abstained, answered, declined, gives_up, quoted, so_far
from assistant.events import Event, Note, TextDelta, ToolFinished, ToolStarted
from assistant.evidence import Findings, papers_of
from assistant.react import instructions, read_step, step_schema, takes_steps, turns
from assistant.sources import Sources, plain
from assistant.steps import Ran
from assistant.tools import Tool, ToolOutput, ToolResult, call
from assistant.tools.calling import MOST_SECONDS
from assistant.written import Shown, answer_part, with_written_calls
from ingest.errors import ModelError
from ingest.library import Library

Loop = Literal["auto", "tools", "planned"]
Confirm = Callable[[str, Mapping[str, Any]], bool]

ANSWERS_ABOVE = 0.3  # probability that the sentences found answer: a model can still say that they do not
ANSWER_TOKENS = 600  # of one step; enough for a short answer or several calls
THINKING_TOKENS = 1_200  # where the strategy has the model write down its steps
LOCAL_EVIDENCE_TOKENS = 700  # what a small model on two cores reads in some fifteen seconds
EVIDENCE_TOKENS = 6_000
RESULT_CHARACTERS = 6_000  # of one tool result
SMALL_RESULT_CHARACTERS = 2_000  # the best come first
PARALLEL_CALLS = 8
SAME_CALL_TIMES = 3  # then the tools are taken away
HISTORY_TURNS = 6


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the work on one question ends. Tokens and money are summed over all calls of the model."""

    max_steps: int = 8
    max_tokens: int = 100_000
    max_seconds: float = 300.0
    max_cost_usd: float = 0.5

    def reached(self, used: Usage, *, began: float) -> str:
        """Return which bound is reached by work that has `used` so much since `began`, "" while none is."""
        if used.calls >= self.max_steps:
            return f"{self.max_steps} steps"
        if used.input_tokens + used.output_tokens >= self.max_tokens:
            return f"{self.max_tokens:,} tokens"
        if time.monotonic() - began >= self.max_seconds:
            return f"{self.max_seconds:g} s"
        if used.cost_usd is not None and used.cost_usd >= self.max_cost_usd > 0:
            return f"{self.max_cost_usd:g} US dollars"
        return ""

    def seconds_left(self, began: float) -> float:
        """Return how much of the time is left, at least a second."""
        return max(self.max_seconds - (time.monotonic() - began), 1.0)


@dataclass(frozen=True, slots=True)
class Manner:
    """How the model is asked: the strategy and its examples, the loop, how much evidence (0: by the model)."""

    strategy: prompts.Strategy = "auto"
    examples: tuple[prompts.Example, ...] = prompts.EXAMPLES
    loop: Loop = "auto"
    evidence_tokens: int = 0
    bounds: Bounds = Bounds()


@dataclass(slots=True)
class Work:
    """One question being worked on: what is known about it, and what has been used up."""

    model: ChatModel
    found: Findings
    sources: Sources
    tools: Mapping[str, Tool]
    manner: Manner
    attachments: tuple[str, ...] = ()
    history: tuple[Message, ...] = ()
    confirm: Confirm | None = None
    ran: Sequence[Ran] = ()  # what the planner has run; its sentences stand before the model's
    results: list[ToolResult] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    began: float = field(default_factory=time.monotonic)
    seen: dict[str, int] = field(default_factory=dict)
    reach: frozenset[str] | None = None  # the tools that a step may call, of those it is told; None for all
    refused: bool = False  # the server takes no schema
    objection: str = ""  # to what the model last wrote; made once
    stopped: str = ""  # the bound that ended the work
    finish: Finish = "stop"  # of the model's last reply
    trace: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def language(self) -> prompts.Language:
        """The language of the question, and so of the answer."""
        return self.found.question.language

    @property
    def strategy(self) -> prompts.Strategy:
        """The strategy in force."""
        return "zero-shot" if self.manner.strategy == "auto" else self.manner.strategy

    @property
    def small(self) -> bool:
        """Whether the model reads slowly, is easily led astray, and gives up soon."""
        return is_small(self.model) or self.planned

    @property
    def brief(self) -> bool:
        """Whether the model is asked in few words, as small ones are where no strategy was chosen."""
        return self.small and self.manner.strategy == "auto"

    @property
    def by_steps(self) -> bool:
        """Whether each step is asked for by a JSON schema."""
        return bool(_specs(self)) and takes_steps(self.model) and not self.refused

    @property
    def planned(self) -> bool:
        """Whether the tools were chosen by rules, and the model only writes."""
        return is_planned(self.model, self.manner.loop)

    def exhausted(self) -> str:
        """Return which bound is reached, "" while none is."""
        return self.manner.bounds.reached(self.usage, began=self.began)

    def late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() - self.began >= self.manner.bounds.max_seconds


def is_small(model: ChatModel) -> bool:
    """Whether a model is taken for a small one: it runs on this machine, and takes no tools natively."""
    return model.local and not model.native_tools


def is_planned(model: ChatModel, loop: Loop) -> bool:
    """Whether a planner chooses the tools: for small models, unless told else."""
    return is_small(model) if loop == "auto" else loop == "planned"


def gather(library: Library, found: Findings, model: ChatModel, manner: Manner) -> Sources:
    """Return the sources a model may cite, as many as suit it; none where what was found is too weak to answer from."""
    sources = Sources(library)
    small = is_small(model) or is_planned(model, manner.loop)
    # Larger models can say that weak passages do not answer; small ones answer from whatever they are shown.
    if found.support.probability < (quoting.ANSWERS_ABOVE if small else ANSWERS_ABOVE):
        return sources
    room = max(model.context_tokens - 2 * THINKING_TOKENS, 256)
    if small:
        sources.add_windows(found.ranked, tokens=min(manner.evidence_tokens or LOCAL_EVIDENCE_TOKENS, room))
    else:
        sources.add_passages(found, tokens=min(manner.evidence_tokens or EVIDENCE_TOKENS, room))
    return sources


def work_out(work: Work) -> Generator[Event, None, Answer]:
    """Let the model answer, event by event; return the checked answer, abstained where it found none."""
    messages = _conversation(work)
    text = tidied((yield from _loop(work, messages)))
    papers = papers_of(work.sources.library, [source.hit for source in work.sources.all])
    results = [result.text for result in work.results if result.result is not None]
    checked = check(text, work.sources, results, papers, question=work.found.question.text, language=work.language)
    work.trace += checked.trace
    if work.finish == "declined":
        return declined(work, text)
    if gives_up(work, text):
        if work.stopped:
            return so_far(work)
        if work.small and work.sources.all:  # small models give up on passages that do answer
            return (yield from quoted(work, text, prompts.UNANSWERED))
        return abstained(work)
    if work.small and is_echo(work.found.question.text, text):
        return (yield from quoted(work, text, prompts.ECHO))
    if work.small and work.sources.all and checked.claims and not (checked.supported or work.results):
        return (yield from quoted(work, text, prompts.NOT_BORNE_OUT))
    return answered(work, checked, papers)


# --- what the model is shown --------------------------------------------------------------------------------------


def data_of(work: Work) -> str:
    """Return sources, attachments' names and tool results, each marked as the data it is."""
    parts = [prompts.SOURCES.format(sources="\n".join(source.shown() for source in work.sources.all))]
    if work.brief:
        parts = [prompts.PASSAGES.format(passages="\n\n".join(source.briefly() for source in work.sources.all))]
    if not work.sources.all:
        parts = [] if work.results or work.brief else [prompts.NO_SOURCES]
    if work.attachments:
        parts.append(prompts.ATTACHMENTS.format(names=", ".join(plain(name) for name in work.attachments)))
    if work.results:
        results = "\n".join(_result_shown(work, result) for result in work.results)
        parts.append(prompts.TOOL_RESULTS.format(results=results))
    return "\n".join(parts)


def _conversation(work: Work) -> list[Message]:
    specs = _specs(work)
    text, data, language = work.found.question.text, data_of(work), work.language
    if not work.brief:
        system = prompts.system(work.strategy, language=language, tools=bool(specs))
        asked = prompts.question(text, data=data, language=language)
    elif specs:  # the tools are told in English, whatever the question's language: a server reads them once
        system = prompts.BRIEF_SYSTEM["en"]
        asked = prompts.brief_step(text, data=data, language=language, passages=bool(work.sources.all))
    else:
        system = prompts.BRIEF_SYSTEM[language]
        asked = prompts.brief(text, data=data, language=language)
    if work.by_steps:
        system += instructions(specs)
    examples = _examples(work) if work.strategy == "few-shot" else []
    work.trace.append(
        {
            "step": "prompt",
            "hash": prompts.digest(system, *(message.content for message in examples)),
            "strategy": "brief" if work.brief else work.strategy,
            "sources": len(work.sources.all),
            "planned": work.planned,
        }
    )
    return [Message("system", system), *examples, *work.history[-HISTORY_TURNS:], Message("user", asked)]


def _examples(work: Work) -> list[Message]:
    messages = []
    for example in work.manner.examples:
        shown = "\n".join(
            f'<source n="{n}" title="Example">\n{plain(text)}\n</source>' for n, text in enumerate(example.sources, 1)
        )
        data = prompts.SOURCES.format(sources=shown)
        messages.append(Message("user", prompts.question(example.question, data=data, language="en")))
        messages.append(Message("assistant", example.answer))
    return messages


def _specs(work: Work) -> list[ToolSpec]:
    if work.planned:
        return []
    return [ToolSpec(tool.name, tool.description, tool.parameters) for tool in work.tools.values()]


def _result_shown(work: Work, result: ToolResult) -> str:
    # The tags of numbered sources are ours; what stands between them was made plain already.
    text = result.text if result.text.startswith("<source n=") else plain(result.text)
    most = SMALL_RESULT_CHARACTERS if work.small else RESULT_CHARACTERS
    if len(text) > most:
        text = f"{text[:most]}… (cut)"
    return prompts.TOOL_RESULT.format(name=plain(result.name), text=text)


# --- the loop -----------------------------------------------------------------------------------------------------


def _loop(work: Work, messages: list[Message]) -> Generator[Event, None, str]:
    """Call the model until it answers in words or a bound is reached; return its text."""
    specs = _specs(work)
    while True:
        try:
            reply = yield from _write(work, messages, specs)
        except Unavailable as error:
            if not work.late():
                raise
            yield _stop(work, work.exhausted(), error=str(error))
            return prompts.NO_ANSWER
        calls = reply.tool_calls if specs else ()
        if work.objection:
            messages += [Message("assistant", reply.text), Message("user", work.objection)]
            continue
        if not calls:
            return reply.text
        results = yield from _run_all(work, calls)
        messages += _turns(work, replace(reply, tool_calls=calls), results)
        if reached := work.exhausted():
            yield _stop(work, reached)
            return (yield from _last_words(work, messages))
        if specs and _circles(work):
            yield _stop(work, "the same call again")
            specs = []
            messages.append(Message("user", prompts.ANSWER_NOW.format(no_answer=prompts.NO_ANSWER)))


def _stop(work: Work, reached: str, **more: str) -> Note:
    """Remember what ended the calling of tools; return the note that tells it."""
    work.stopped = work.exhausted()
    work.trace.append({"step": "stopped", "reached": reached, **more})
    return Note(f"stopped calling tools: {reached}")


def _turns(work: Work, reply: Reply, results: Sequence[ToolResult]) -> list[Message]:
    """Return the calls and what came of them as turns of the conversation."""
    shown = [_result_shown(work, result) for result in results]
    if work.by_steps:
        return turns(reply, shown)
    answers = [
        Message("tool", text, tool_call_id=one.id, name=one.name)
        for one, text in zip(reply.tool_calls, shown, strict=True)
    ]
    return [reply.message, *answers]


def _last_words(work: Work, messages: list[Message]) -> Generator[Event, None, str]:
    """One more call without tools, so that what was found is not lost; none where time or money are used up."""
    dear = work.usage.cost_usd is not None and work.usage.cost_usd >= work.manner.bounds.max_cost_usd > 0
    if work.late() or dear:
        return prompts.NO_ANSWER
    now = Message("user", prompts.ANSWER_NOW.format(no_answer=prompts.NO_ANSWER))
    try:
        reply = yield from _write(work, [*messages, now], [])
    except Unavailable:
        if not work.late():
            raise
        return prompts.NO_ANSWER
    return reply.text


def _write(work: Work, messages: Sequence[Message], specs: Sequence[ToolSpec]) -> Generator[Event, None, Reply]:
    """One call of the model, its text as deltas; what looks like a call or like thinking is held back."""
    shown = Shown(thinks=work.strategy == "cot")
    stepwise = work.by_steps
    try:
        reply = yield from _stream(
            work, messages, shown, **({"schema": _schema(work, specs)} if stepwise else {"tools": specs})
        )
    except ModelError as error:
        if not stepwise or type(error) is not ModelError:  # the subclasses say what else is wrong
            raise
        work.refused = True
        work.trace.append({"step": "no schema", "error": str(error)})
        return (yield from _write(work, messages, specs))
    work.usage += reply.usage
    work.objection = ""
    reply = read_step(reply, specs) if stepwise or specs else reply
    reply = with_written_calls(reply, specs)
    work.trace.append({"step": "model", "calls": [one.name for one in reply.tool_calls], "finish": reply.finish})
    if reply.tool_calls:
        return reply
    work.finish = reply.finish
    text = answer_part(reply.text, thinks=work.strategy == "cot")
    if stepwise and specs and not shown.open:
        work.objection = _objection(work, text)
    if not shown.open and text and not work.objection:
        yield TextDelta(text)
    return replace(reply, text=text)


def _schema(work: Work, specs: Sequence[ToolSpec]) -> dict[str, Any]:
    """Return the schema of the next step: a call of a tool within reach, where none was called against an objection."""
    may_call = [spec for spec in specs if work.reach is None or spec.name in work.reach]
    return step_schema(may_call, must_call=bool(work.objection) and not work.results)


def _objection(work: Work, text: str) -> str:
    """Return what speaks against an answer of a small model, "" for nothing; said once, since it may stand by it."""
    if not work.small or work.exhausted() or any(one["step"] == "objection" for one in work.trace):
        return ""
    results = [result.text for result in work.results if result.result is not None]
    judged = check(text, work.sources, results, {}, question=work.found.question.text, language=work.language)
    if judged.supported or (work.results and not judged.claims):
        return ""
    work.trace.append({"step": "objection", "to": text})
    return prompts.OBJECTION.format(text=text)


def _stream(work: Work, messages: Sequence[Message], shown: Shown, **asked: Any) -> Generator[Event, None, Reply]:
    """Let the model write one reply, within the time that is left."""
    seconds = work.manner.bounds.seconds_left(work.began)
    most = THINKING_TOKENS if shown.thinks else ANSWER_TOKENS
    # A model on this machine is as slow as the machine is busy: only the bound on the whole ends it.
    timeout_s = seconds if work.model.local else min(seconds, work.model.timeout_s)
    reply: Reply | None = None
    for item in work.model.stream(messages, max_tokens=most, timeout_s=timeout_s, within_s=seconds, over=True, **asked):
        if isinstance(item, Reply):
            reply = item
        elif isinstance(item, Again):
            shown.restart()
            yield Note(f"{item.reason}; the answer is written anew")
        elif isinstance(item, Delta) and (text := shown.more(item.text)):
            yield TextDelta(text)
    if reply is None:
        raise RuntimeError("the model's stream ended without a reply")
    return reply


def _run_all(work: Work, calls: Sequence[ToolCall]) -> Generator[Event, None, list[ToolResult]]:
    """Run the calls of one step, at the same time; errors come back as data."""
    names = [f"{work.usage.calls}.{place}" for place in range(1, len(calls) + 1)]  # a model may repeat its own ids
    for name, one in zip(names, calls, strict=True):
        yield ToolStarted(name, one.name, one.arguments if isinstance(one.arguments, Mapping) else {})
    with ThreadPoolExecutor(max_workers=PARALLEL_CALLS) as pool:
        running = [pool.submit(_run, work, one, repeated=_count(work, one) > 1) for one in calls]
        results = []
        for name, future in zip(names, running, strict=True):
            result = future.result()
            results.append(result)
            yield ToolFinished(name, result.name, result)
    numbered = [_numbered(work, result) for result in results]
    work.results += numbered
    return numbered


def _run(work: Work, one: ToolCall, *, repeated: bool) -> ToolResult:
    arguments = one.arguments
    shown = arguments if isinstance(arguments, Mapping) else {}
    if repeated:
        return ToolResult(one.name, shown, None, prompts.REPEATED)
    tool = work.tools.get(one.name)
    if tool is None:
        known = ", ".join(work.tools)
        return ToolResult(one.name, shown, None, f"there is no tool named {one.name!r}", f"The tools are: {known}")
    if not tool.read_only and not (work.confirm and work.confirm(tool.name, shown)):
        return ToolResult(one.name, shown, None, f"{one.name} may change something, and was not allowed to run")
    left = work.manner.bounds.seconds_left(work.began)
    return call(tool, arguments, name=one.name, timeout_s=min(left, MOST_SECONDS))


def _count(work: Work, one: ToolCall) -> int:
    key = f"{one.name} {json.dumps(one.arguments, sort_keys=True, ensure_ascii=False, default=str)}"
    work.seen[key] = work.seen.get(key, 0) + 1
    return work.seen[key]


def _circles(work: Work) -> bool:
    return any(times >= SAME_CALL_TIMES for times in work.seen.values())


def _numbered(work: Work, result: ToolResult) -> ToolResult:
    """Return what a search of the papers found as numbered sources, which can be cited; other results as they are."""
    output = result.result
    if output is None:
        return result
    found = output.data.get("passages") or ([output.data] if {"paper", "page", "text"} <= output.data.keys() else [])
    numbered = [work.sources.add_found(one["paper"], one["page"], one["text"]) for one in found if _is_passage(one)]
    if not numbered:
        return result
    text = "\n".join(source.shown() for source in numbered)
    return replace(result, result=ToolOutput(output.data, text, output.sources))


def _is_passage(found: Any) -> bool:
    return isinstance(found, Mapping) and {"paper", "page", "text"} <= found.keys()

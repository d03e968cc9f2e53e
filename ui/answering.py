"""Questions of the chat, answered in the background: the answer reaches its chat even when nobody looks any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from assistant.chat import Message
from assistant.events import Answered, Event, Note, Searched, TextDelta, ToolFinished, ToolStarted
from ingest.records import Filter
from ingest.settings import Settings
from ui.chats import ChatStore
from ui.jobs import JOBS, Job

if TYPE_CHECKING:
    from assistant import Answer, Assistant
    from assistant.attachments import Attachment
    from assistant.prompts import Strategy

KIND = "answer"
PASSAGE = 400  # characters of a passage that a chat keeps
TURNS = 12  # of the conversation that the model is reminded of


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was put: what it may look at, and how it is to be answered. `attachments` are (name, path)."""

    question: str
    strategy: str = "auto"
    papers: tuple[str, ...] = ()
    attachments: tuple[tuple[str, Path], ...] = ()
    history: tuple[Message, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)


def start(settings: Settings, store: ChatStore, chat: str, asked: Asked) -> Job:
    """Answer `asked` in the background and add the answer to the chat."""
    finished: dict[str, Any] = {}

    def work() -> Iterator[Event]:
        for event in _events(settings, asked):
            if isinstance(event, Answered):
                finished.update(content_of(event.answer))
            yield event

    def then(job: Job) -> None:
        store.add(chat, "assistant", {**_written(job, asked, settings), **finished})

    return JOBS.start(KIND, chat, work, owner=store.owner, then=then)


def running(store: ChatStore, chat: str) -> Job | None:
    """Return the job that is answering in a chat, or None."""
    return next((job for job in JOBS.find(KIND, owner=store.owner) if job.running and job.title == chat), None)


def text_so_far(job: Job) -> str:
    """Return what has been written of the answer; what came before a tool was called is thinking aloud."""
    text = ""
    for event in list(job.events):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ToolStarted):
            text = ""
    return text


def steps_so_far(job: Job) -> list[dict[str, Any]]:
    """Return what has been done on the way to the answer, one entry per step."""
    return [step for event in list(job.events) if (step := _step(event))]


def _step(event: Event) -> dict[str, Any] | None:
    if isinstance(event, Searched):
        return {"name": "search", "query": event.query, "passages": len(event.hits), "seconds": event.seconds}
    if isinstance(event, ToolStarted):
        return {"name": "tool", "tool": event.name, "arguments": dict(event.arguments)}
    if isinstance(event, Note):
        return {"name": "note", "text": event.text}
    return None


def _written(job: Job, asked: Asked, settings: Settings) -> dict[str, Any]:
    """Return what there is where no answer came: what was written until then, and why it ended."""
    calls = [event.result.to_json() for event in job.events if isinstance(event, ToolFinished)]
    return {
        "text": text_so_far(job),
        "question": asked.question,
        "error": job.error,
        "hint": job.hint,
        "stopped": job.stop.is_set(),
        "model": settings.models.model,
        "strategy": asked.strategy,
        "steps": [step for step in steps_so_far(job) if step["name"] != "tool"],
        "tool_calls": calls,
    }


def _events(settings: Settings, asked: Asked) -> Iterator[Event]:
    from assistant.providers.errors import using_keys

    with using_keys(asked.keys):
        yield from _assistant(settings).stream(
            asked.question,
            history=asked.history[-TURNS:],
            attachments=[_attachment(name, path) for name, path in asked.attachments],
            strategy=cast("Strategy", asked.strategy),
            where=Filter(sources=frozenset(asked.papers)),
        )


def _attachment(name: str, path: Path) -> Attachment:
    from assistant.attachments import Attachment, read_attachments

    return Attachment(name, read_attachments([path])[0].text)


def _assistant(settings: Settings) -> Assistant:
    from assistant import Assistant
    from ui import resources
    from ui.engine import is_offline

    library = resources.open_library(settings.library_path)
    embedder = resources.embedder(
        library.info.embedder.name, threads=settings.embedding.threads, offline=is_offline(settings)
    )
    model = resources.answering_model(settings.models.model, offline=settings.models.offline)
    return Assistant(library, model, offline=settings.models.offline, embedder=embedder)


def content_of(answer: Answer) -> dict[str, Any]:
    """Return an answer as what a chat keeps of it: plain data, of the passages only their beginning."""
    return {
        **answer.to_json(),
        "steps": [dict(step) | {"name": str(step.get("step", ""))} for step in answer.trace],
        "evidence": [
            {"title": hit.title, "page": hit.chunk.page, "section": hit.chunk.section, "paper": hit.chunk.source}
            | {"kind": hit.chunk.kind, "score": round(hit.score, 3), "text": hit.chunk.text[:PASSAGE]}
            for hit in answer.evidence
        ],
        "bibtex": answer.bibtex(),
    }

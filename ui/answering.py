"""Questions of the chat, answered in the background: the answer reaches its chat even when nobody looks any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import MatlitError
from ingest.records import Filter
from ingest.settings import Settings
from ui.chats import ChatStore
from ui.jobs import JOBS, Job

if TYPE_CHECKING:
    from assistant import Answer, Assistant

KIND = "answer"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was put: what it may look at, and how it is to be answered."""

    question: str
    strategy: str = "auto"
    papers: tuple[str, ...] = ()
    attachments: tuple[Path, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """Something was done on the way to the answer; what it is called, and what it told."""

    name: str
    detail: Mapping[str, Any]
    running: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer, in order."""

    text: str


def start(settings: Settings, store: ChatStore, chat: str, asked: Asked) -> Job:
    """Answer `asked` in the background and add the answer to the chat."""
    answered: dict[str, Any] = {}

    def work() -> Iterator[Step | Text]:
        yield from _answer(settings, asked, answered)

    def then(job: Job) -> None:
        store.add(chat, "assistant", {**_written(job, asked), **answered})

    return JOBS.start(KIND, chat, work, owner=store.owner, then=then)


def running(store: ChatStore, chat: str) -> Job | None:
    """Return the job that is answering in a chat, or None."""
    jobs = JOBS.find(KIND, owner=store.owner)
    return next((job for job in jobs if job.running and job.title == chat), None)


def text_so_far(job: Job) -> str:
    """Return what has been written of the answer."""
    return "".join(event.text for event in list(job.events) if isinstance(event, Text))


def steps_so_far(job: Job) -> list[Step]:
    """Return what has been done on the way to the answer."""
    return [event for event in list(job.events) if isinstance(event, Step)]


def _written(job: Job, asked: Asked) -> dict[str, Any]:
    """Return what there is where no answer came: what was written until then, and why it ended."""
    return {
        "text": text_so_far(job),
        "question": asked.question,
        "error": job.error,
        "hint": job.hint,
        "stopped": job.stop.is_set(),
        "steps": [{"name": step.name, **step.detail} for step in steps_so_far(job)],
    }


def _answer(settings: Settings, asked: Asked, answered: dict[str, Any]) -> Iterator[Step | Text]:
    from assistant.providers.errors import using_keys

    with using_keys(asked.keys):
        assistant = _assistant(settings)
    where = Filter(sources=frozenset(asked.papers))
    answer = assistant.ask(asked.question, where=where)
    for step in answer.trace:
        yield Step(str(step.get("step", "")), step)
    answered.update(content_of(answer))


def _assistant(settings: Settings) -> Assistant:
    from assistant import Assistant
    from ui import resources
    from ui.engine import is_offline

    library = resources.open_library(settings.library_path)
    offline = is_offline(settings)
    embedder = resources.embedder(library.info.embedder.name, threads=settings.embedding.threads, offline=offline)
    return Assistant(library, model=settings.models.model, offline=offline, embedder=embedder)


def content_of(answer: Answer) -> dict[str, Any]:
    """Return an answer as what a chat keeps of it: plain data, without the passages' text."""
    return {
        **answer.to_json(),
        "steps": [dict(step) | {"name": str(step.get("step", ""))} for step in answer.trace],
        "evidence": [
            {"title": hit.title, "page": hit.chunk.page, "section": hit.chunk.section, "paper": hit.chunk.source}
            | {"kind": hit.chunk.kind, "score": round(hit.score, 3), "text": hit.chunk.text[:400]}
            for hit in answer.evidence
        ],
        "bibtex": answer.bibtex(),
    }


def explain(error: MatlitError) -> dict[str, str]:
    """Return an error as a message holds it."""
    return {"error": str(error), "hint": error.hint}

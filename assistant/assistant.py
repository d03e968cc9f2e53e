"""`Assistant`: ask a library, in one call or event by event, from threads, event loops and notebooks; `Chat` remembers.

This file wires: what is found comes from `assistant.evidence`, and `assistant.quoting` or `assistant.agent` answers. It
checks what was handed over, counts the time, and writes the journal.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from assistant import journal, prompts, quoting
from assistant.agent import Confirm, Manner, Work, gather, is_planned, is_small, work_out
from assistant.answer import Answer
from assistant.attachments import Attachment, read_attachments
from assistant.chat import ChatModel, Message, Usage, in_thread
from assistant.declining import is_harmful
from assistant.events import Answered, Event, Searched, Started, TextDelta
from assistant.evidence import Findings, find
from assistant.llms import split_spec
from assistant.planner import Plan, plan, within_reach
from assistant.prompts import STRATEGIES, Strategy
from assistant.question import understand
from assistant.retrieve import Mode, Vector, search
from assistant.sources import Sources
from assistant.spoken import points_back, spoken_of
from assistant.steps import Ran, run_steps
from assistant.tools import Tool, ToolContext, all_tools
from assistant.translating import translate_quotes
from ingest.embed import Embedder, make_embedder
from ingest.errors import BadInput
from ingest.info import refuse_mismatch
from ingest.library import Library
from ingest.records import ChunkKind, Filter, Hit

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

MAX_QUESTION = 10_000  # characters
PASSAGES = 20  # retrieved for one question
IN_PAPERS: frozenset[ChunkKind] = frozenset({"text", "table", "caption"})

Attached = Iterable[Attachment | Path | str] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with everything that came with it, checked."""

    question: str
    history: tuple[Message, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    strategy: Strategy = "auto"
    where: Filter = field(default_factory=Filter)
    tools: bool = True
    k: int = PASSAGES
    quotes: int = quoting.MAX_QUOTES
    translate: bool = False


class Assistant:
    """Answers questions from one library. Opens cheaply; the embedder loads with the first question.

    `library` is a folder or an open `Library`. `model` is a spec ("openai/gpt-4o-mini", "extractive"), a `ChatModel`
    or any llama-index LLM. `tools` are typed functions of your own beside the built-in ones; one that is not marked
    with `assistant.tools.read_only` runs only where `confirm(name, arguments)` says so. `manner` sets strategy, bounds
    and how much evidence is shown, `model_options` go to `ChatModel.from_spec`, and `translator` is the model that
    translates quotes ("": the one that answers). `k` passages are retrieved per question; `rerank` names a
    cross-encoder that orders them anew. `offline` keeps everything on this machine; `download` allows an embedding
    model to be fetched. With `keep_journal` every answer is written to the library's journal. An assistant may be asked
    from several threads at once.

    Raises:
        UnknownSpec: `model` names no known provider.
        BadInput: two tools have the same name, or one cannot be described to a model.
    """

    def __init__(
        self,
        library: Library | Path | str,
        model: str | ChatModel | LLM = quoting.MODEL,
        *,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        confirm: Confirm | None = None,
        manner: Manner = Manner(),  # noqa: B008 - frozen
        model_options: Mapping[str, Any] = MappingProxyType({}),
        translator: str | ChatModel = "",
        k: int = PASSAGES,
        offline: bool = False,
        download: bool = False,
        threads: int = 0,
        embedder: Embedder | None = None,
        rerank: str = "",
        bandgap_model: Any = "shipped",
        keep_journal: bool = True,
    ) -> None:
        self._chat_model, self.model = _named(model)
        self.library = library if isinstance(library, Library) else Library.open(Path(library))
        self.manner = manner
        self._model_options = dict(model_options)
        self._translator = translator
        self._own_tools = tuple(tools)
        self._confirm = confirm
        self._bandgap_model = bandgap_model
        self._rerank = rerank
        self._k = k
        self._offline = offline
        self._download = download
        self._threads = threads
        self._embedder = embedder
        self._keep_journal = keep_journal
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Name the library and the model."""
        return f"Assistant({str(self.library.info.path)!r}, model={self.model!r})"

    @property
    def embedder(self) -> Embedder:
        """The library's own embedder."""
        with self._lock:
            if self._embedder is None:
                name = self.library.info.embedder.name
                hub = name.startswith("sentence-transformers/") and not self._download
                made = make_embedder(name, threads=self._threads, offline=self._offline or hub)
                refuse_mismatch(self.library.info, made.info, None)  # the name may stand for another revision by now
                self._embedder = made
            return self._embedder

    @property
    def chat_model(self) -> ChatModel | None:
        """The language model that answers, loaded with its first use; None for `extractive`."""
        with self._lock:
            if self._chat_model is None and self.model != quoting.MODEL:
                self._chat_model = ChatModel.from_spec(self.model, offline=self._offline, **self._model_options)
            return self._chat_model

    @property
    def tools(self) -> dict[str, Tool]:
        """The tools by name: the built-in ones, those of installed packages, and your own."""
        return self._tools(())

    def search(self, query: str, *, k: int = 10, where: Filter | None = None, mode: Mode = "hybrid") -> list[Hit]:
        """Return the `k` best passages for `query`."""
        return search(self.library, self.embedder, query, k=k, where=where or Filter(), mode=mode, rerank=self._rerank)

    def find(self, question: str, *, k: int | None = None, where: Filter | None = None) -> Findings:
        """Return what an answer to `question` rests on: passages, their sentences ranked, and whether they suffice."""
        k = self._k if k is None else k
        asked = checked_question(question)
        return find(self.library, self.embedder, asked, k=k, where=where or Filter(), rerank=self._rerank)

    def ask(self, question: str, **options: Any) -> Answer:
        """Answer `question`, or abstain. The options are those of `stream`.

        Raises:
            BadInput: the question is empty or longer than 10,000 characters, or an option cannot be used.
        """
        for event in self.stream(question, **options):
            if isinstance(event, Answered):
                return event.answer
        raise RuntimeError("the events ended without an answer")

    def stream(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        attachments: Attached = (),
        strategy: Strategy = "auto",
        where: Filter | None = None,
        tools: bool = True,
        k: int | None = None,
        quotes: int = quoting.MAX_QUOTES,
        translate: bool = False,
    ) -> Iterator[Event]:
        """Answer `question` event by event; the last is `Answered`. Closing the iterator stops the work.

        `history` are the turns before, oldest first; `attachments` files or texts by name; `where` confines the
        passages, of which `k` are retrieved; `quotes` bounds how many are quoted without a model; `tools` allows them;
        `translate` has a model translate quotes that are not in the question's language.

        Raises:
            BadInput: the question is empty or longer than 10,000 characters, or an option cannot be used.
        """
        if quotes < 1:
            raise BadInput(f"an answer of {quotes} quotes is none", hint="Ask for one or more")
        if strategy not in STRATEGIES:
            raise BadInput(f"{strategy!r} is no strategy", hint=f"Choose one of {', '.join(STRATEGIES)}")
        asked = Asked(
            checked_question(question),
            tuple(history),
            read_attachments(attachments),
            strategy,
            where or Filter(),
            tools,
            self._k if k is None else k,
            quotes,
            translate,
        )
        if translate and self._translating() is None:
            raise BadInput(
                "there is no model to translate the quotes", hint="Name one: --model SPEC, see matlit models"
            )
        return self._events(asked)

    async def aask(self, question: str, **options: Any) -> Answer:
        """Do what `ask` does, in a thread of its own."""
        return await asyncio.to_thread(self.ask, question, **options)

    async def astream(self, question: str, **options: Any) -> AsyncIterator[Event]:
        """Do what `stream` does without holding up the event loop; leaving the loop early stops the work."""
        async for event in in_thread(partial(self.stream, question, **options)):
            yield event

    def chat(self) -> Chat:
        """Begin a conversation that remembers what was said."""
        return Chat(self)

    def close(self) -> None:
        """Close the library."""
        self.library.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _events(self, asked: Asked) -> Iterator[Event]:
        began = time.perf_counter()
        yield Started(asked.question, self.model, asked.strategy)
        answer = yield from self._answer(asked)
        if asked.translate:
            answer = self._translated(asked.question, answer)
        answer = replace(answer, seconds=time.perf_counter() - began)
        yield Answered(self._recorded(asked.question, answer))

    def _answer(self, asked: Asked) -> Generator[Event, None, Answer]:
        """Decline, ask back, run the planned tools, search, and let the model or the quotes answer."""
        language = understand(asked.question).language
        if is_harmful(asked.question):
            return quoting.decline(language, model=self.model)
        tools = self._tools(asked.attachments) if asked.tools else {}
        names = tuple(attachment.name for attachment in asked.attachments)
        spoken = spoken_of(asked.history)
        confined = bool(asked.where.sources)
        made = plan(asked.question, attachments=names, tools=tools, spoken=spoken, confined=confined)
        if made.lacks:
            return quoting.ask_back(made.lacks, language, model=self.model)
        model = self.chat_model
        if model is not None and not is_planned(model, self.manner.loop):
            found = yield from self._search(asked, asked.question, spoken.subject)
            return (yield from self._with_model(model, asked, found, tools, made=made if is_small(model) else None))
        ran = yield from run_steps(made.steps, tools, language=language)
        if not made.papers:
            answer = quoting.from_tools(ran, language=language)
            yield TextDelta(answer.text)
            return answer
        if any(one.said for one in ran if one.step.tool == "materials") and not asked.where.kinds:
            asked = replace(asked, where=replace(asked.where, kinds=IN_PAPERS))  # records were told already
        found = yield from self._search(asked, made.papers, spoken.subject)
        if model is not None:
            return (yield from self._with_model(model, asked, found, tools, ran))
        answer = quoting.quote(self.library, found, quotes=asked.quotes, embedder=self.embedder.name, ran=ran)
        yield TextDelta(answer.text)
        return answer

    def _search(self, asked: Asked, question: str, subject: str) -> Generator[Event, None, Findings]:
        began = time.perf_counter()
        if subject and points_back(question):
            question = f"{question} ({subject})"
        found = self.find(question, k=asked.k, where=asked.where)
        yield Searched(found.query, found.hits, time.perf_counter() - began)
        return found

    def _with_model(
        self,
        model: ChatModel,
        asked: Asked,
        found: Findings,
        tools: dict[str, Tool],
        ran: Sequence[Ran] = (),
        *,
        made: Plan | None = None,
    ) -> Generator[Event, None, Answer]:
        """Let the model answer; one that is led astray easily is kept to what the plan `made` leaves in reach."""
        manner = replace(self.manner, strategy=asked.strategy) if asked.strategy != "auto" else self.manner
        papers = made is None or made.papers
        sources = gather(self.library, found, model, manner) if papers else Sources(self.library)
        names = tuple(attachment.name for attachment in asked.attachments)
        work = Work(model, found, sources, tools, manner, names, asked.history, self._confirm, ran)
        if made is not None:
            work.reach = within_reach(made, asked.question, names, tools)
        if sources.all or not (work.planned or not tools):
            return (yield from work_out(work))
        if any(one.said for one in ran):
            language = found.question.language
            return quoting.from_tools(ran, language=language, more=(prompts.NOTHING_IN_PAPERS[language],))
        return quoting.refuse(found, embedder=self.embedder.name, model=self.model, ran=ran)

    def _tools(self, attachments: Sequence[Attachment]) -> dict[str, Tool]:
        context = ToolContext(
            library=self.library,
            attachments={attachment.name: attachment.text for attachment in attachments},
            bandgap_model=self._bandgap_model,
            embedder=_Lazily(self),
        )
        return all_tools(context, own=self._own_tools)

    def _translating(self) -> ChatModel | None:
        """Return the model that translates: the one named for it, else the one that answers."""
        with self._lock:
            if isinstance(self._translator, str) and self._translator not in ("", quoting.MODEL):
                self._translator = ChatModel.from_spec(self._translator, offline=self._offline, **self._model_options)
        return self._translator if isinstance(self._translator, ChatModel) else self.chat_model

    def _translated(self, question: str, answer: Answer) -> Answer:
        model, language = self._translating(), understand(question).language
        if model is None:
            return answer
        citations, used = translate_quotes(answer.citations, language, model)
        lines = [
            f"[{citation.n}] {prompts.TRANSLATION[language].format(text=citation.translation)}"
            for citation in citations
            if citation.translation
        ]
        text = "\n".join([answer.text, *([""] if lines else []), *lines])
        before = Usage(**answer.usage)  # its keys are those of Usage
        usage = (before + used).to_json()
        return replace(answer, text=text, citations=citations, usage=usage)

    def _recorded(self, question: str, answer: Answer) -> Answer:
        return journal.recorded(self.library.info.path, question, answer) if self._keep_journal else answer


class Chat:
    """A conversation: each question is understood with what was said before.

    `messages` are the turns so far, oldest first. One question at a time; a question that fails or is closed early
    leaves no trace.
    """

    def __init__(self, assistant: Assistant, messages: Sequence[Message] = ()) -> None:
        self.assistant = assistant
        self.messages = list(messages)

    def ask(self, question: str, **options: Any) -> Answer:
        """Answer `question` in the light of the conversation; options as `Assistant.stream`, but `history`."""
        for event in self.stream(question, **options):
            if isinstance(event, Answered):
                return event.answer
        raise RuntimeError("the events ended without an answer")

    def stream(self, question: str, **options: Any) -> Iterator[Event]:
        """Answer event by event; the turn is remembered once it is complete."""
        for event in self.assistant.stream(question, history=tuple(self.messages), **options):
            if isinstance(event, Answered):
                self.messages += [Message("user", question), Message("assistant", event.answer.text)]
            yield event


@dataclass(frozen=True, slots=True)
class _Lazily:
    """The assistant's embedder, loaded only when a tool searches."""

    assistant: Assistant

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of `text`."""
        return self.assistant.embedder.embed_query(text)


def _named(model: str | ChatModel | LLM) -> tuple[ChatModel | None, str]:
    """Return a model that was handed over, None for one that is only named, and its name."""
    if isinstance(model, ChatModel):
        return model, model.spec
    if isinstance(model, str):
        if model != quoting.MODEL:
            split_spec(model)
        return None, model
    wrapped = ChatModel.from_llm(model)
    return wrapped, wrapped.spec


def checked_question(question: str) -> str:
    """Return the question as text that every part of matlit can read; raise `BadInput` where it is none."""
    # Half a surrogate pair, as broken terminals send it, is no text for a tokeniser.
    text = question.encode("utf-8", "ignore").decode().strip()
    if not text:
        raise BadInput("the question is empty", hint='Put it in quotation marks: matlit ask "YOUR QUESTION"')
    if len(text) > MAX_QUESTION:
        raise BadInput(
            f"the question has {len(text):,} characters, more than {MAX_QUESTION:,}",
            hint="Ask with a sentence or two; to work on a whole text, add it to the library: matlit ingest FILE",
        )
    return text

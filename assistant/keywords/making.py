"""From a paper's text to its keywords, marked with where they stand: what a job does for one paper."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.glossary import is_japanese
from assistant.keywords.ask import Target, Task, ask, read_answer
from assistant.keywords.extract import extract
from assistant.keywords.meaning import distinct
from assistant.keywords.records import Keyword, Record
from assistant.keywords.texts import Index, Text, from_document
from ingest.embed import DEFAULT_EMBEDDER, make_embedder
from ingest.errors import MatlitError, ModelError
from ingest.records import Document

if TYPE_CHECKING:
    from assistant.chat import ChatModel, Reply
    from assistant.keywords.vocabulary import Vocabulary
    from ingest.embed import Embedder

TOO_SHORT = 40  # characters of text under which nothing can be told
_embedders: dict[int, Embedder] = {}
_embedders_lock = threading.Lock()


class NoKeywords(MatlitError):
    """The paper was read, and holds nothing that could be a keyword."""

    hint = "Look whether its text is more than numbers, or ask a model: --model SPEC"


@dataclass(frozen=True, slots=True)
class Found:
    """Keywords as texts; `note` says what could not be done."""

    keywords: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A paper on its way through a job. `found` is there where a reader's process already made the keywords."""

    id: str
    path: str
    title: str = ""
    text: Text = field(default_factory=Text)
    authors: tuple[str, ...] = ()
    found: Found | None = None
    error: MatlitError | None = None


def ranking_embedder(threads: int = 0) -> Embedder:
    """Return the embedder that the ranking was trained with, one for all threads of this process."""
    with _embedders_lock:
        if threads not in _embedders:
            _embedders[threads] = make_embedder(DEFAULT_EMBEDDER, threads=threads)
        return _embedders[threads]


def find_without_model(
    text: Text, *, most: int, language: Target = "source", authors: Sequence[str] = (), threads: int = 0
) -> Found:
    """Return what a paper prints itself, filled up with the best phrases of its text.

    Without a model nothing is translated but what the glossary knows: keywords in another language than the paper's
    are fewer, and `note` says so.

    Raises:
        NoKeywords: nothing in the text could be one.
    """
    if len(text.whole) < TOO_SHORT and not text.printed:
        raise NoKeywords(f"there is too little text for keywords: {text.whole[:40]!r}")
    embedder = ranking_embedder(threads)
    found = [*text.printed, *extract(text, most=3 * most, embedder=embedder, avoid=authors)]
    note = "the paper's own keywords first" if text.printed else ""
    wanted = text.language if language == "source" else language
    if wanted != text.language and "ja" in (wanted, text.language):
        found, note = _translated(found, wanted)
    elif wanted == "en":
        found = [one for one in found if not is_japanese(one)]
    keywords = tuple(distinct(found, most=most, embedder=embedder if wanted != "ja" else None))
    if not keywords:
        raise NoKeywords(note or "no phrase of the text could be a keyword")
    return Found(keywords, note)


def mark(
    keywords: Sequence[str], text: Text, *, most: int, vocabulary: Vocabulary | None = None
) -> tuple[Keyword, ...]:
    """Return the keywords with whether and where the text holds them, in the vocabulary's terms where there is one."""
    index = Index(text)
    printed = {one.casefold() for one in text.printed}
    marked: dict[str, Keyword] = {}
    for one in keywords:
        term = vocabulary.term_for(one) if vocabulary is not None else one
        if term and term not in marked and len(marked) < most:
            present, page = index.find(one)
            given = one if term != one else ""
            marked[term] = Keyword(term, present, page, printed=one.casefold() in printed, given=given)
    return tuple(marked.values())


class Reading:
    """What a reader's process hands back for a file: its text, or at once the keywords that need no model."""

    def __init__(self, *, without_model: bool, most: int, language: Target) -> None:
        self._without_model = without_model
        self._most = most
        self._language = language

    def __call__(self, path: Path, document: Document) -> Source:
        """Return the paper; its id is filled in by the job."""
        text = from_document(document)
        title, authors = document.metadata.title, document.metadata.authors
        if not self._without_model:
            return Source("", str(path), title, text, authors)
        try:
            found = find_without_model(text, most=self._most, language=self._language, authors=authors, threads=1)
        except NoKeywords as error:
            return Source("", str(path), title, Text(language=text.language), authors, error=error)
        return Source("", str(path), title, text, authors, found=found)


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the record of a paper: without a model, by asking one, or from the answer that a batch brought."""

    model: str
    recipe: str
    task: Task
    vocabulary: Vocabulary | None = None

    def extracted(self, source: Source) -> Record:
        """Return the record of a paper whose keywords need no model."""
        if source.error is not None:
            return self.failed(source, source.error)
        try:
            found = source.found or find_without_model(
                source.text, most=self.task.most, language=self.task.language, authors=source.authors
            )
        except NoKeywords as error:
            return self.failed(source, error)
        return self._record(source, found)

    def asked(self, source: Source, chat: ChatModel) -> Record:
        """Ask a model for the keywords of a paper; raises `ModelError` where no other paper would fare better."""
        if source.error is not None:
            return self.failed(source, source.error)
        asked = ask(source.text, chat, self.task, embedder=ranking_embedder())
        record = self.failed(source, asked.error) if asked.error else self._record(source, Found(asked.keywords))
        return replace(record, usage=asked.usage.to_json())

    def answered(self, source: Source, answer: Reply | ModelError) -> Record:
        """Return the record that a batch's answer about a paper makes, at the batch's price."""
        from assistant.chat import BadReply
        from assistant.keywords.batches import read_reply
        from assistant.pricing import with_cost

        reply, usage, error = read_reply(answer)
        record = self.failed(source, error) if error is not None else self._blank(source)
        if reply is not None:
            try:
                found = read_answer(reply.data(), self.task.most, ranking_embedder())
                record = self._record(source, Found(found))
            except BadReply as broken:
                record = self.failed(source, broken)
        return replace(record, usage=with_cost(usage, self.model, batch=True).to_json())

    def failed(self, source: Source, error: MatlitError) -> Record:
        """Return the record of a paper that has no keywords, and why."""
        return replace(self._blank(source), error=str(error), hint=error.hint)

    def _record(self, source: Source, found: Found) -> Record:
        keywords = mark(found.keywords, source.text, most=self.task.most, vocabulary=self.vocabulary)
        if not keywords:
            error = NoKeywords(
                f"none of {', '.join(found.keywords)!r} is in the vocabulary", hint="Add terms to the vocabulary"
            )
            return self.failed(source, error)
        made = self._blank(source)
        return replace(made, language=self.task.target(source.text), keywords=keywords, note=found.note)

    def _blank(self, source: Source) -> Record:
        return Record(source.id, source.path, title=source.title, model=self.model, recipe=self.recipe)


def _translated(found: Sequence[str], wanted: str) -> tuple[list[str], str]:
    from assistant.glossary import SCRIPT, in_japanese
    from assistant.keywords.japanese import in_english

    if wanted == "en":
        kept = [one if not SCRIPT.search(one) else in_english(one) for one in found]
    else:
        kept = [one if SCRIPT.search(one) else in_japanese(one) for one in found]
    known = [one for one in kept if one]
    name = {"en": "English", "ja": "Japanese"}.get(wanted, wanted)
    return known, f"without a model only {len(known)} of {len(found)} phrases could be put into {name}, by the glossary"

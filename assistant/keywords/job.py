"""The batch: thousands of papers to keywords, at a known price, safe to kill and run again.

A job is a generator of events (`events`). Papers are read ahead of the calls (`plan`), calls run in as many threads as
are allowed at once (`crew`), and each record is on disk before the thread that made it takes the next paper.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.keywords.ask import (
    PROMPT_TOKENS,
    USUAL_ANSWER_TOKENS,
    Strategy,
    Target,
    Task,
    as_shots,
    ends_job,
    shortened,
)
from assistant.keywords.crew import in_threads
from assistant.keywords.events import Estimated, Event, Made, Progress, Report
from assistant.keywords.making import Maker, Reading, Source
from assistant.keywords.plan import Papers, Plan, readers_for
from assistant.keywords.records import Keyword, Record, RecordFile
from assistant.keywords.spending import BudgetSpent, Metered, Spending
from assistant.keywords.texts import from_plain
from ingest.errors import BadInput, MatlitError, ModelError
from ingest.readers import DEFAULT_OPTIONS

if TYPE_CHECKING:
    from assistant.chat import ChatModel
    from assistant.keywords.batches import Change
    from assistant.keywords.vocabulary import Vocabulary
    from ingest.library import Library
    from ingest.readers import ReadOptions

__all__ = [
    "Estimated",
    "Event",
    "KeywordJob",
    "KeywordsFailed",
    "Made",
    "Progress",
    "Report",
    "extract_keywords",
]

EXTRACTIVE = "extractive"
DEFAULT_CALLS = 8
UNKNOWN_CONTEXT = 128_000
SAMPLE = 20  # papers read for an estimate before the first call


class KeywordsFailed(MatlitError):
    """The one paper that was asked for has no keywords; the message says why."""


class KeywordJob:
    """A keyword job over files, papers of a library, or texts; `run` yields its events, the last is a `Report`.

    `papers` names by id those of the library that are wanted; without any, it is all of them.
    `model` is a spec, or "extractive" for none. `output` keeps the records: run the same job again, and papers that
    have their keywords are skipped, failures are tried again. `workers` is how many calls may run at once (0: 8, or 1
    of a model on this machine), and how many processes read (0: one per core; more than that only where no model is
    asked). `budget` is the most to spend, in US dollars, over all runs on `output`. `model_options` go to
    `ChatModel.from_spec`: time-out, rates, a cache of replies.
    """

    def __init__(
        self,
        paths: Iterable[str | Path] = (),
        *,
        library: Library | None = None,
        papers: Collection[str] = (),
        sources: Iterable[Source] | None = None,
        output: Path | None = None,
        model: str = EXTRACTIVE,
        chat: ChatModel | None = None,
        model_options: Mapping[str, Any] | None = None,
        task: Task | None = None,
        vocabulary: Vocabulary | None = None,
        workers: int = 0,
        budget: float | None = None,
        offline: bool = False,
        options: ReadOptions | None = None,
        timeout_s: float = 300.0,
        limit: int | None = None,
        restart: bool = False,
        retry_failed: bool = True,
    ) -> None:
        self.model = chat.spec if chat is not None else model
        self._chat = chat
        self._model_options = dict(model_options or {})
        self._task = task or Task()
        self._output = output
        self._vocabulary = vocabulary
        self._workers = workers
        self._budget = budget
        self._offline = offline
        self._restart = restart
        self._retry_failed = retry_failed
        self._stop = threading.Event()
        asks = self.model != EXTRACTIVE
        self._papers = Papers(
            Reading(without_model=not asks, most=self._task.most, language=self._task.language),
            paths=list(paths),
            library=library,
            ids=list(papers),
            given=sources,
            limit=limit,
            readers=readers_for(workers or DEFAULT_CALLS) if asks else workers,
            options=options or DEFAULT_OPTIONS,
            timeout_s=timeout_s,
        )

    @property
    def recipe(self) -> str:
        """Return what decides the keywords besides the paper, in short."""
        terms = f"|vocabulary={len(self._vocabulary.terms)}" if self._vocabulary else ""
        return f"{self.model}|{self._task.language}|max={self._task.most}|{self._task.digest()}{terms}"

    def stop(self) -> None:
        """Take up no further paper; calls under way are finished and kept. From any thread."""
        self._stop.set()

    def estimate(self) -> Estimated:
        """Read the first papers and return what all would cost; asks no model, needs no key and writes nothing."""
        plan = Plan(self._papers, lambda _: False)
        head = list(islice(plan.sources(), SAMPLE))
        return self._estimated(head, plan.total, context_tokens=UNKNOWN_CONTEXT, local=self.model == EXTRACTIVE)

    def run(self) -> Generator[Event, None, None]:
        """Do the job.

        Raises:
            BadInput: a path, the output file or the budget cannot be used.
            ModelError: the model cannot be used at all (no key, not found).
        """
        if self._output is not None and _batch_file(self._output).exists():
            raise BadInput(
                f"a batch for {str(self._output)!r} is under way",
                hint="Collect it: the same command with --batch; or stop it: --batch --cancel",
            )
        if self._restart and self._output is not None:
            for file in (self._output, _spent_file(self._output)):
                file.unlink(missing_ok=True)
        records = RecordFile(self._output) if self._output is not None else None
        spending = None
        try:
            if records is not None:
                records.check_recipe(self.recipe)
            spending = Spending(_spent_file(self._output) if self._output is not None else None, budget=self._budget)
            yield from self._run(records, spending)
        finally:
            if spending is not None:
                spending.close()
            if records is not None:
                records.close()

    def run_batch(self, *, wait: bool = True, cancel: bool = False, poll_s: float = 30.0) -> Iterator[Event | Change]:
        """Do the job through the provider's batches: submit what is new, wait for what is under way, collect.

        With `wait` off it looks once; with `cancel` what is under way is stopped. Killed or left, the same call goes
        on where it was.

        Raises:
            BadInput: no `output`, no batch interface, or batches of other settings are under way.
            ModelError: the provider refuses.
        """
        from assistant.chat import ChatModel
        from assistant.keywords.batch_job import BatchJob

        if self._output is None:
            raise BadInput("batches need a file that keeps the records", hint="Name one: -o keywords.jsonl")
        spending = Spending(_spent_file(self._output), budget=self._budget)
        try:
            with RecordFile(self._output) as records:
                records.check_recipe(self.recipe)
                chat = self._chat or ChatModel.from_spec(self.model, offline=self._offline, **self._model_options)
                job = BatchJob(self._maker(), chat, self._papers, records, spending, retry_failed=self._retry_failed)
                yield from job.run(_batch_file(records.path), wait=wait, cancel=cancel, poll_s=poll_s)
        finally:
            spending.close()

    def _run(self, records: RecordFile | None, spending: Spending) -> Iterator[Event]:
        started = time.monotonic()
        plan = Plan(
            self._papers, lambda one: records is not None and records.has(one, failed_too=not self._retry_failed)
        )
        report = Report()
        try:
            for event in self._events(plan, records, spending):
                yield event
                if isinstance(event, Made):
                    report.count(event.record)
                    count, seconds = report.made + len(report.failed), time.monotonic() - started
                    rate, left = count / max(seconds, 1e-9), plan.total - count
                    yield Progress(count, plan.total, rate, spending.paid, left / rate)
        except ModelError as error:
            if not ends_job(error) or not (report.made or isinstance(error, BudgetSpent)):
                raise
            report.stopped, report.hint = str(error), error.hint
        report.skipped = plan.skipped
        report.left = max(plan.total - report.made - len(report.failed), 0)
        report.cost_usd, report.seconds = spending.paid, time.monotonic() - started
        yield report

    def _events(self, plan: Plan, records: RecordFile | None, spending: Spending) -> Iterator[Estimated | Made]:
        maker = self._maker()
        if self.model == EXTRACTIVE:
            for source in plan.sources():
                if self._stop.is_set():
                    return
                yield Made(_kept(maker.extracted(source), records))
            return
        chat = self._metered(spending)
        todo = plan.sources()
        head = list(islice(todo, SAMPLE))
        if head:
            yield self._estimated(head, plan.total, context_tokens=chat.context_tokens, local=chat.local)

        def make(source: Source) -> Record:
            return _kept(maker.asked(source, chat), records)

        calls = self._workers or (1 if chat.local else DEFAULT_CALLS)
        yield from map(Made, in_threads(chain(head, todo), make, calls=calls, stop=self._stop))

    def _estimated(self, head: Sequence[Source], total: int, *, context_tokens: int, local: bool) -> Estimated:
        from assistant.chat import Usage
        from assistant.pricing import with_cost

        texts = [one.text for one in head if one.error is None]
        room = min(context_tokens, self._task.text_tokens or context_tokens)
        read = [len(shortened(text, room)) // 4 + PROMPT_TOKENS for text in texts]
        each = sum(read) // max(len(read), 1)
        share = len(texts) / max(len(head), 1)  # papers that can be read
        usage = with_cost(Usage(each, USUAL_ANSWER_TOKENS, calls=1), self.model, local=local)
        papers = round(share * total)
        cost = None if usage.cost_usd is None else papers * usage.cost_usd
        return Estimated(total, papers * each, cost)

    def _metered(self, spending: Spending) -> ChatModel:
        """Return the model, with every call going through `spending`."""
        from assistant.chat import ChatModel
        from assistant.limits import Limits

        chat = self._chat
        if chat is None:
            limits = Limits(concurrent=self._workers) if self._workers else None
            chat = ChatModel.from_spec(self.model, offline=self._offline, limits=limits, **self._model_options)
        if not isinstance(chat.backend, Metered):
            calls = self._workers or (1 if chat.local else DEFAULT_CALLS)
            chat.backend = Metered(chat.backend, spec=chat.spec, spending=spending, calls=calls)
        return chat

    def _maker(self) -> Maker:
        return Maker(self.model, self.recipe, self._task, self._vocabulary)


def extract_keywords(
    paper: str | Path,
    *,
    model: str = EXTRACTIVE,
    most: int = 10,
    language: Target = "source",
    strategy: Strategy = "zero-shot",
    examples: Sequence[dict[str, Any]] = (),
    offline: bool = False,
) -> list[Keyword]:
    """Return the keywords of one paper: a file, or its text (the first line is the title).

    Raises:
        MatlitError: the file cannot be read, the model does not answer, or there is nothing to find.
    """
    task = Task(most, language, strategy, as_shots(examples))
    if isinstance(paper, Path):
        job = KeywordJob([paper], model=model, task=task, offline=offline)
    else:
        title, _, rest = paper.strip().partition("\n")
        text = from_plain(title, rest) if rest.strip() else from_plain("", title)
        name = hashlib.sha256(paper.encode()).hexdigest()
        job = KeywordJob(sources=[Source(name, "", title[:200], text)], model=model, task=task, offline=offline)
    record = next(event.record for event in job.run() if isinstance(event, Made))
    if record.error:
        raise KeywordsFailed(record.error, hint=record.hint)
    return list(record.keywords)


def _spent_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.spent")


def _batch_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.batch")


def _kept(record: Record, records: RecordFile | None) -> Record:
    if records is not None:
        records.append(record)
    return record

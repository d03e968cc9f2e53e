"""The batch: thousands of papers to keywords, at a known price, safe to kill and run again.

A job is a generator of events. Papers are read ahead of the calls, calls run in as many threads as are allowed at
once, and each record is on disk before the next paper is taken.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from assistant.keywords.ask import (
    PROMPT_TOKENS,
    USUAL_ANSWER_TOKENS,
    Strategy,
    Target,
    Task,
    as_shots,
    ask,
    ends_job,
    read_answer,
    request_for,
    shortened,
)
from assistant.keywords.making import Found, NoKeywords, Reading, Source, find_without_model, mark, ranking_embedder
from assistant.keywords.records import Keyword, Record, RecordFile
from assistant.keywords.spending import BudgetSpent, Metered, Spending
from assistant.keywords.texts import from_pages, from_plain
from ingest.errors import BadInput, MatlitError, ModelError
from ingest.records import file_digest

if TYPE_CHECKING:
    from assistant.chat import ChatModel, Reply, Request, Usage
    from assistant.keywords.batches import Change, Provider, State
    from assistant.keywords.vocabulary import Vocabulary
    from ingest.library import Library
    from ingest.readers import ReadOptions

EXTRACTIVE = "extractive"
DEFAULT_CALLS = 8
UNKNOWN_CONTEXT = 128_000
BATCH_SHARE = 0.5  # of the list price, at OpenAI and Google
SAMPLE = 20  # papers read for an estimate before the first call
LEAVE_S = 30.0  # how long an interrupted job waits for the calls it has paid for


@dataclass(frozen=True, slots=True)
class Estimated:
    """What the job will cost at list price, from the first papers; None where the price is not known."""

    papers: int
    tokens: int
    cost_usd: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain data."""
        return {"papers": self.papers, "tokens": self.tokens, "cost_usd": self.cost_usd}


@dataclass(frozen=True, slots=True)
class Made:
    """A paper's record is on disk: with keywords, or with the reason why there are none."""

    record: Record


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the job is; `rate` is papers per second, `remaining_s` an estimate."""

    done: int
    total: int
    rate: float
    cost_usd: float
    remaining_s: float


@dataclass(slots=True)
class Report:
    """What a job came to. `left` papers were not taken up, because of `stopped`."""

    made: int = 0
    failed: list[Record] = field(default_factory=list)
    skipped: int = 0
    left: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        failed = [{"path": one.path, "error": one.error, "hint": one.hint} for one in self.failed]
        return {
            "made": self.made,
            "failed": failed,
            "skipped": self.skipped,
            "left": self.left,
            "cost_usd": round(self.cost_usd, 6),
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped or None,
            "hint": self.hint or None,
        }


Event = Estimated | Made | Progress | Report


class KeywordsFailed(MatlitError):
    """The one paper that was asked for has no keywords; the message says why."""


class KeywordJob:
    """A keyword job over files, papers of a library, or texts; `run` yields its events, the last is a `Report`.

    `papers` names by id those of the library that are wanted; without any, it is all of them.
    `model` is a spec, or "extractive" for none. `output` keeps the records: run the same job again, and papers that
    have their keywords are skipped, failures are tried again. `workers` is how many calls may run at once (reader
    processes, where no model is asked). `budget` is the most to spend, in US dollars, over all runs on `output`.
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
        self._paths = list(paths)
        self._library = library
        self._papers = list(papers)
        self._given = sources
        self._output = output
        self.model = chat.spec if chat is not None else model
        self._chat = chat
        self._task = task or Task()
        self._vocabulary = vocabulary
        self._workers = workers
        self._budget = budget
        self._offline = offline
        self._options = options
        self._timeout_s = timeout_s
        self._limit = limit
        self._restart = restart
        self._retry_failed = retry_failed
        self._stop = threading.Event()

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
        plan = _Plan(self, lambda _: False)
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
        if self._output is None:
            raise BadInput("batches need a file that keeps the records", hint="Name one: -o keywords.jsonl")
        spending = Spending(_spent_file(self._output), budget=self._budget)
        try:
            with RecordFile(self._output) as records:
                records.check_recipe(self.recipe)
                yield from self._run_batch(records, spending, wait=wait, cancel=cancel, poll_s=poll_s)
        finally:
            spending.close()

    def _run_batch(
        self, records: RecordFile, spending: Spending, *, wait: bool, cancel: bool, poll_s: float
    ) -> Iterator[Event | Change]:
        from assistant.chat import ChatModel
        from assistant.keywords import batches

        started = time.monotonic()
        chat = self._chat or ChatModel.from_spec(self.model, offline=self._offline)
        provider, report = batches.provider_for(chat), Report()
        file = _batch_file(records.path)
        state = batches.State.load(file, recipe=self.recipe)
        if state is not None:
            yield from batches.recover(state, provider)
        if (state is None or not state.batches) and not cancel:
            state = batches.State(file, self.recipe)
            yield from self._submit(state, provider, chat, records, spending, report)
        if state is not None and state.batches:
            yield from batches.poll(state, provider, wait=wait, cancel=cancel, poll_s=poll_s)
            yield from self._collect(state, provider, records, spending, report)
            batches.finish(state)
        report.left += sum(len(batch.papers) for batch in state.batches) if state is not None else 0
        report.cost_usd, report.seconds = spending.paid, time.monotonic() - started
        yield report

    def _submit(
        self,
        state: State,
        provider: Provider,
        chat: ChatModel,
        records: RecordFile,
        spending: Spending,
        report: Report,
    ) -> Iterator[Event | Change]:
        from assistant.keywords import batches

        plan = _Plan(self, lambda one: records.has(one, failed_too=not self._retry_failed))
        meter = Metered(chat.backend, spec=chat.spec, spending=spending)
        failed: list[Record] = []

        def requests() -> Iterator[tuple[str, Request]]:
            most = 0.0
            for source in plan.sources():
                if source.error is not None:
                    failed.append(self._kept(self._failed(source, source.error), records))
                    continue
                request = request_for(source.text, chat, self._task)
                most += meter.most(request) * BATCH_SHARE
                if not spending.fits(most):
                    report.left += 1
                    report.stopped = f"${spending.budget:.2f} do not cover all papers at the most they may cost"
                    report.hint = BudgetSpent.hint
                    continue
                yield source.id, request

        yield from batches.submit_all(state, provider, requests())
        report.skipped = plan.skipped
        report.failed += failed
        for record in failed:
            yield Made(record)

    def _collect(
        self, state: State, provider: Provider, records: RecordFile, spending: Spending, report: Report
    ) -> Iterator[Event]:
        """Write the answers of the batches that have ended; papers without one are left for the next run."""
        from assistant.keywords import batches

        ended = [batch for batch in state.batches if batch.state in batches.ENDED]
        answers = {name: answer for batch in ended for name, answer in provider.answers(batch.id)}
        wanted = {name for name in answers if not records.has(name)}
        cost = 0.0
        for source in _Plan(self, lambda one: one not in wanted).sources():
            record, usage = self._answered(source, answers.pop(source.id))
            cost += usage.cost_usd or 0.0
            call = spending.reserve(0.0)
            spending.settle(call, usage.cost_usd or 0.0)
            yield Made(self._kept(record, records))
            if record.error:
                report.failed.append(record)
            else:
                report.made += 1
        report.left += sum(name not in answers and not records.has(name) for one in ended for name in one.papers)
        for batch in ended:
            batch.collected = True

    def _answered(self, source: Source, answer: Reply | ModelError) -> tuple[Record, Usage]:
        from assistant.chat import BadReply
        from assistant.keywords.batches import read_reply
        from assistant.pricing import with_cost

        reply, usage, error = read_reply(answer)
        usage = with_cost(usage, self.model, batch=True)
        record = self._failed(source, error) if error is not None else self._blank(source)
        if reply is not None:
            try:
                found = read_answer(reply.data(), self._task.most, ranking_embedder())
                record = self._record(source, Found(found))
            except BadReply as broken:
                record = self._failed(source, broken)
        return replace(record, usage=usage.to_json()), usage

    def _run(self, records: RecordFile | None, spending: Spending) -> Iterator[Event]:
        started = time.monotonic()
        plan = _Plan(self, lambda one: records is not None and records.has(one, failed_too=not self._retry_failed))
        report = Report()
        if self.model == EXTRACTIVE:
            made = self._without_model(plan.sources(), records)
        else:
            chat = self._metered(spending)
            todo = plan.sources()
            head = list(islice(todo, SAMPLE))
            if head:
                yield self._estimated(head, plan.total, context_tokens=chat.context_tokens, local=chat.local)
            made = self._with_model(chain(head, todo), chat, records, report)
        for record in made:
            yield Made(record)
            if record.error:
                report.failed.append(record)
            else:
                report.made += 1
            count, seconds = report.made + len(report.failed), time.monotonic() - started
            rate, left = count / max(seconds, 1e-9), plan.total - count
            yield Progress(count, plan.total, rate, spending.paid, left / rate)
        report.skipped = plan.skipped
        report.left = max(plan.total - report.made - len(report.failed), 0)
        report.cost_usd, report.seconds = spending.paid, time.monotonic() - started
        yield report

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
            chat = ChatModel.from_spec(self.model, offline=self._offline, limits=limits)
        if not isinstance(chat.backend, Metered):
            calls = self._workers or (1 if chat.local else DEFAULT_CALLS)
            chat.backend = Metered(chat.backend, spec=chat.spec, spending=spending, calls=calls)
        return chat

    def _without_model(self, todo: Iterable[Source], records: RecordFile | None) -> Iterator[Record]:
        for source in todo:
            if self._stop.is_set():
                return
            yield self._kept(self._extracted(source), records)

    def _extracted(self, source: Source) -> Record:
        if source.error is not None:
            return self._failed(source, source.error)
        try:
            found = source.found or find_without_model(
                source.text, most=self._task.most, language=self._task.language, authors=source.authors
            )
        except NoKeywords as error:
            return self._failed(source, error)
        return self._record(source, found)

    def _with_model(
        self, todo: Iterable[Source], chat: ChatModel, records: RecordFile | None, report: Report
    ) -> Iterator[Record]:
        """Yield the records that as many threads as calls are allowed at once make of `todo`."""
        calls = self._workers or (1 if chat.local else DEFAULT_CALLS)
        # A few threads more than calls: while one marks and writes keywords, another is already asking.
        count = calls + (calls + 3) // 4
        tasks: Queue[Source | None] = Queue(maxsize=2 * count)
        results: Queue[Record | BaseException | None] = Queue()
        feeder = threading.Thread(target=self._feed, args=(todo, tasks, results, count), daemon=True)
        workers = [
            threading.Thread(target=self._work, args=(tasks, results, chat, records), daemon=True) for _ in range(count)
        ]
        for thread in (feeder, *workers):
            thread.start()
        running = count
        try:
            while running:
                result = results.get()
                if result is None:
                    running -= 1
                elif isinstance(result, Record):
                    yield result
                elif isinstance(result, ModelError) and ends_job(result):
                    report.stopped, report.hint = str(result), result.hint
                    if not isinstance(result, BudgetSpent) and not report.made:
                        raise result
                else:
                    raise result
        finally:
            self._stop.set()
            ends = time.monotonic() + LEAVE_S
            for thread in (*workers, feeder):
                thread.join(max(ends - time.monotonic(), 0.0))
            self._stop.clear()

    def _feed(self, todo: Iterable[Source], tasks: Queue[Source | None], results: Queue[Any], count: int) -> None:
        try:
            for source in todo:
                if not self._put(tasks, source):
                    break
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again in the job's own thread
            results.put(error)
            self._stop.set()
        for _ in range(count):
            tasks.put(None)

    def _put(self, tasks: Queue[Source | None], source: Source) -> bool:
        while not self._stop.is_set():
            try:
                tasks.put(source, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def _work(
        self, tasks: Queue[Source | None], results: Queue[Any], chat: ChatModel, records: RecordFile | None
    ) -> None:
        try:
            while (source := tasks.get()) is not None:
                if self._stop.is_set():
                    continue
                results.put(self._kept(self._asked(source, chat), records))
        except BaseException as error:  # noqa: BLE001 - raised again in the job's own thread, or told in its report
            self._stop.set()
            results.put(error)
            while tasks.get() is not None:  # so that the feeder gets rid of what it holds
                pass
        finally:
            results.put(None)

    def _asked(self, source: Source, chat: ChatModel) -> Record:
        if source.error is not None:
            return self._failed(source, source.error)
        asked = ask(source.text, chat, self._task, embedder=ranking_embedder())
        usage = asked.usage.to_json()
        if asked.error is not None:
            return replace(self._failed(source, asked.error), usage=usage)
        return replace(self._record(source, Found(asked.keywords)), usage=usage)

    def _record(self, source: Source, found: Found) -> Record:
        keywords = mark(found.keywords, source.text, most=self._task.most, vocabulary=self._vocabulary)
        if not keywords:
            error = NoKeywords(
                f"none of {', '.join(found.keywords)!r} is in the vocabulary", hint="Add terms to the vocabulary"
            )
            return self._failed(source, error)
        made = self._blank(source)
        return replace(made, language=self._task.target(source.text), keywords=keywords, note=found.note)

    def _failed(self, source: Source, error: MatlitError) -> Record:
        return replace(self._blank(source), error=str(error), hint=error.hint)

    def _blank(self, source: Source) -> Record:
        return Record(source.id, source.path, title=source.title, model=self.model, recipe=self.recipe)

    def _kept(self, record: Record, records: RecordFile | None) -> Record:
        if records is not None:
            records.append(record)
        return record


class _Plan:
    """Which papers a job takes up: `sources` reads them one after the other, `total` is how many there are to do."""

    def __init__(self, job: KeywordJob, done: Callable[[str], bool]) -> None:
        self._job = job
        self._done = done
        self._seen: set[str] = set()
        self._ids: dict[Path, str] = {}
        self.skipped = 0
        self.total = 0

    def sources(self) -> Iterator[Source]:
        """Yield the papers that have no keywords yet."""
        job = self._job
        if job._given is not None:
            given = list(job._given) if isinstance(job._given, list | tuple) else job._given
            self.total = len(given) if isinstance(given, list) else 0
            return (source for source in given if self._take(source.id))
        if job._library is not None:
            return self._of_library(job._library)
        return self._of_files()

    def _of_files(self) -> Iterator[Source]:
        from ingest.discover import discover
        from ingest.readers import DEFAULT_OPTIONS
        from ingest.readers.isolated import ReaderPool

        job = self._job
        files = discover(job._paths)[: job._limit]
        self.total = len(files)
        then = Reading(without_model=job.model == EXTRACTIVE, most=job._task.most, language=job._task.language)
        # Where a model is asked, `workers` are its calls.
        count = job._workers if job.model == EXTRACTIVE else 0
        options = job._options or DEFAULT_OPTIONS
        with ReaderPool(workers=count, options=options, timeout_s=job._timeout_s, then=then) as pool:
            for path, result in pool.map(path for path in files if self._take_file(path)):
                paper_id = self._ids.pop(path)
                if isinstance(result, Source):
                    yield replace(result, id=paper_id)
                else:
                    yield Source(paper_id, str(path), path.stem, error=result)

    def _of_library(self, library: Library) -> Iterator[Source]:
        papers = library.papers(self._job._papers or None)[: self._job._limit]
        self.total = len(papers)
        for paper in papers:
            if self._take(paper.id):
                path = str(paper.paths[0]) if paper.paths else ""
                text = from_pages(library.pages(paper.id), paper.metadata, paged=paper.paged)
                yield Source(paper.id, path, paper.title, text, paper.metadata.authors)

    def _take_file(self, path: Path) -> bool:
        try:
            paper_id = file_digest(path)
        except OSError:  # the reader will say what is wrong with it
            paper_id = hashlib.sha256(str(path).encode()).hexdigest()
        self._ids[path] = paper_id
        if self._take(paper_id):
            return True
        del self._ids[path]
        return False

    def _take(self, paper_id: str) -> bool:
        """Tell whether the paper is to be done; the same paper under two names is done once."""
        if paper_id in self._seen or self._done(paper_id):
            self.skipped += 1
            self.total -= 1
            return False
        self._seen.add(paper_id)
        return True


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

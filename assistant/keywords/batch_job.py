"""A keyword job through a provider's batches: what is submitted, and what becomes of the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.keywords import batches
from assistant.keywords.ask import request_for
from assistant.keywords.events import Event, Made, Report
from assistant.keywords.making import Maker
from assistant.keywords.plan import Papers, Plan
from assistant.keywords.records import Record, RecordFile
from assistant.keywords.spending import BudgetSpent, Metered, Spending

if TYPE_CHECKING:
    from assistant.chat import ChatModel, Request

BATCH_SHARE = 0.5  # of the list price, at OpenAI and Google


@dataclass(slots=True)
class BatchJob:
    """One look after the batches of a job: submits, waits where it should, collects. `report` is what came of it."""

    maker: Maker
    chat: ChatModel
    papers: Papers
    records: RecordFile
    spending: Spending
    retry_failed: bool = True
    report: Report = field(default_factory=Report)

    def run(self, file: Path, *, wait: bool, cancel: bool, poll_s: float) -> Iterator[Event | batches.Change]:
        """Go on where `file` says that the batches are; the last event is the report."""
        started = time.monotonic()
        provider, report = batches.provider_for(self.chat), self.report
        state = batches.State.load(file, recipe=self.maker.recipe)
        if state is not None:
            yield from batches.recover(state, provider)
        if (state is None or not state.batches) and not cancel:
            state = batches.State(file, self.maker.recipe)
            yield from self._submit(state, provider)
        if state is not None and state.batches:
            yield from batches.poll(state, provider, wait=wait, cancel=cancel, poll_s=poll_s)
            yield from self._collect(state, provider)
            batches.finish(state)
        report.left += sum(len(batch.papers) for batch in state.batches) if state is not None else 0
        report.cost_usd, report.seconds = self.spending.paid, time.monotonic() - started
        yield report

    def _submit(self, state: batches.State, provider: batches.Provider) -> Iterator[Event | batches.Change]:
        plan = Plan(self.papers, lambda one: self.records.has(one, failed_too=not self.retry_failed))
        failed: list[Record] = []
        yield from batches.submit_all(state, provider, self._requests(plan, failed))
        self.report.skipped = plan.skipped
        for record in failed:
            self.report.count(record)
            yield Made(record)

    def _requests(self, plan: Plan, failed: list[Record]) -> Iterator[tuple[str, Request]]:
        """Yield what is to be asked, within the budget; papers that cannot be read are recorded, and go to `failed`."""
        meter = Metered(self.chat.backend, spec=self.chat.spec, spending=self.spending)
        most = 0.0
        for source in plan.sources():
            if source.error is not None:
                failed.append(self.maker.failed(source, source.error))
                self.records.append(failed[-1])
                continue
            request = request_for(source.text, self.chat, self.maker.task)
            most += meter.most(request) * BATCH_SHARE
            if not self.spending.fits(most):
                self.report.left += 1
                self.report.stopped = f"${self.spending.budget:.2f} do not cover all papers at the most they may cost"
                self.report.hint = BudgetSpent.hint
                continue
            yield source.id, request

    def _collect(self, state: batches.State, provider: batches.Provider) -> Iterator[Event]:
        """Write the answers of the batches that have ended; papers without one are left for the next run."""
        ended = [batch for batch in state.batches if batch.state in batches.ENDED]
        answers = {name: answer for batch in ended for name, answer in provider.answers(batch.id)}
        wanted = {name for name in answers if not self.records.has(name)}
        for source in Plan(self.papers, lambda one: one not in wanted).sources():
            record = self.maker.answered(source, answers.pop(source.id))
            self.spending.settle(self.spending.reserve(0.0), record.usage.get("cost_usd") or 0.0)
            self.records.append(record)
            self.report.count(record)
            yield Made(record)
        unanswered = (name for batch in ended for name in batch.papers if name not in answers)
        self.report.left += sum(not self.records.has(name) for name in unanswered)
        for batch in ended:
            batch.collected = True

"""`matlit keywords`: from papers to keywords."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from ui.command import DONE, FAILED, PARTLY, Context, Verb, emit, note

if TYPE_CHECKING:
    from assistant.keywords.batches import Change
    from assistant.keywords.job import Estimated, Event, Report
    from assistant.keywords.records import Record

WORKERS = "Calls at once (8; 1 of a local model), and reader processes (one per core; with a model not more)."
ASK_FROM_USD = 1.0  # a dearer job without a budget asks before it begins, where somebody can answer


@click.command(
    cls=Verb,
    examples="""matlit keywords paper.pdf
    matlit keywords ~/papers -o keywords.jsonl          (again to go on)
    matlit keywords ~/papers --model openai/gpt-4o-mini --budget 2 -o keywords.jsonl
    matlit keywords ~/papers --model gemini/gemini-2.5-flash --batch -o keywords.jsonl
    matlit keywords --library ./lib -o k.jsonl --format bibtex --picture k.png""",
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Keep the records here (JSONL).")
@click.option("--max", "most", type=click.IntRange(1, 50), default=10, show_default=True, help="Keywords per paper.")
@click.option("--language", type=click.Choice(["en", "ja", "source"]), default="source", help="Of the keywords.")
@click.option(
    "--strategy", type=click.Choice(["zero-shot", "few-shot", "cot"]), default="zero-shot", help="Of the prompt."
)
@click.option(
    "--examples", type=click.Path(path_type=Path), metavar="FILE", help="Own examples: title, text, keywords."
)
@click.option("--text-tokens", type=click.IntRange(min=0), default=0, metavar="N", help="Most of a paper to send.")
@click.option("--vocabulary", type=click.Path(path_type=Path), metavar="FILE", help="Map to these terms, one a line.")
@click.option("--workers", type=click.IntRange(0, 256), default=0, help=WORKERS)
@click.option("--budget", type=click.FloatRange(min=0), metavar="USD", help="Stop before this much is spent.")
@click.option("--estimate", is_flag=True, help="Say what it would cost, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before a dear job.")
@click.option("--batch", is_flag=True, help="Through the provider's batches, at their lower price.")
@click.option("--no-wait", is_flag=True, help="With --batch: submit or collect what is ready, then leave.")
@click.option("--cancel", is_flag=True, help="With --batch: cancel what was submitted, keep what is ready.")
@click.option("--resume/--restart", default=True, help="Go on with what FILE holds (default), or begin anew.")
@click.option("--retry-failed/--keep-failed", default=True, help="Try papers again that failed before (default).")
@click.option("--format", "formats", type=click.Choice(["jsonl", "csv", "bibtex"]), multiple=True, help="Write also.")
@click.option("--summary", type=click.Path(path_type=Path), metavar="FILE", help="Frequencies and pairs, as JSON.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE", help="Bars and network: .png, .svg, .html.")
@click.option("--password", metavar="P", help="For encrypted PDFs.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N papers.")
@click.pass_obj
def keywords(context: Context, /, paths: tuple[str, ...], **options: Any) -> int:
    """Find keywords for files, folders or globs; without a PATH, for the papers of the library."""
    from ui.keyword_jobs import make_job, write_outputs

    job = make_job(context.settings(), paths, **options)
    if options["estimate"]:
        estimated = job.estimate()
        emit(context, estimated.to_json(), lambda: click.echo(describe_estimate(estimated)))
        return DONE
    with JobView(context, ask=not options["yes"] and options["budget"] is None) as view:
        events = job.run_batch(**batch_options(options)) if options["batch"] else job.run()
        for event in events:
            view.show(event)
    write_outputs(**options)
    return view.ended()


def batch_options(options: dict[str, Any]) -> dict[str, bool]:
    """Return the options of `run_batch`."""
    return {"wait": not options["no_wait"], "cancel": options["cancel"]}


def describe_estimate(estimated: Estimated) -> str:
    """Return one line on what a job will cost."""
    from assistant.pricing import dollars

    cost = "a price that is not known here" if estimated.cost_usd is None else f"about {dollars(estimated.cost_usd)}"
    return f"{estimated.papers} papers, about {estimated.tokens:,} tokens to read: {cost}"


class JobView:
    """Shows a job's events: keywords on stdout, progress and notes on stderr."""

    def __init__(self, context: Context, *, ask: bool) -> None:
        self._context = context
        self._ask = ask
        self._bar: Any = None
        self._task: Any = None
        self.report: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: Event | Change) -> None:
        """Show one event."""
        from assistant.keywords.batches import Change
        from assistant.keywords.job import Estimated, Made, Progress, Report

        if isinstance(event, Estimated):
            self._estimate(event)
        elif isinstance(event, Made):
            self._record(event.record)
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Change):
            note(self._context, str(event))
        elif isinstance(event, Report):
            self.report = event

    def ended(self) -> int:
        """Say what the job came to; return the exit code."""
        from assistant.pricing import dollars

        report = self.report
        if report is None:
            return FAILED
        cost = f", {dollars(report.cost_usd)}" if report.cost_usd else ""
        note(
            self._context,
            f"{report.made} with keywords, {len(report.failed)} failed, {report.skipped} done before"
            f"{f', {report.left} left' if report.left else ''} ({report.seconds:.1f} s{cost})",
        )
        if report.stopped:
            note(self._context, f"stopped: {report.stopped}\n  → {report.hint}")
        if report.failed or report.left:
            return PARTLY if report.made or report.skipped else FAILED
        return DONE

    def _estimate(self, estimated: Estimated) -> None:
        import sys

        note(self._context, describe_estimate(estimated))
        if self._ask and (estimated.cost_usd or 0.0) >= ASK_FROM_USD and sys.stdin.isatty():
            click.confirm("Go on?", abort=True, err=True)

    def _record(self, record: Record) -> None:
        import json

        from ui.show import say

        if self._context.json:
            click.echo(json.dumps(record.to_json(), ensure_ascii=False))
            return
        name = record.title or record.path or record.id[:12]
        if record.error:
            say(f"{record.path or name}: {record.error}", err=True)
            if record.hint:
                say(f"  → {record.hint}", err=True)
            return
        found = "; ".join(f"{one.keyword}{place(one.page, one.present)}" for one in record.keywords)
        say(f"{name}\n  {found}")
        if record.note:
            say(f"  ({record.note})")

    def _progress(self, progress: Any) -> None:
        import sys

        if self._context.quiet or self._context.json or not sys.stderr.isatty():
            return
        if self._bar is None:
            from ui.show import _make_bar

            self._bar = _make_bar()
            self._bar.start()
            self._task = self._bar.add_task("keywords", total=progress.total, rate="")
        rate = f"{progress.rate:.1f} papers/s  ${progress.cost_usd:.4f}"
        self._bar.update(self._task, completed=progress.done, total=progress.total, rate=rate)


def place(page: int | None, present: bool) -> str:
    """Return where a keyword stands, in brackets; a keyword that the text does not hold is marked."""
    if page is not None:
        return f" (p. {page})"
    return "" if present else " (not in the text)"

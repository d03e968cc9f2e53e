"""How results look in a terminal: plain text on stdout, progress on stderr.

Text from papers is printed without the control characters that could drive a terminal.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from ingest.records import Hit, Paper

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from assistant.doctor import Check
    from assistant.metrics import Evaluation
    from finetune.predict import Prediction
    from finetune.report import Report as PredictionReport
    from ingest.pipeline import Event, Report
    from ingest.verify import VerifyReport

WIDTH = 100
ID_DIGITS = 8
SNIPPET = 360


def safe(text: str) -> str:
    """Return `text` without control characters, which a paper's text could use against the terminal."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line of possibly foreign text."""
    click.echo(safe(text), err=err)


def wrap(text: str, *, indent: str = "") -> str:
    """Return `text` folded to the terminal's width, every line indented."""
    return textwrap.fill(safe(text), WIDTH, initial_indent=indent, subsequent_indent=indent)


def show_mapping(mapping: Mapping[str, Any]) -> None:
    """Print one `name: value` line per entry."""
    longest = max(map(len, mapping), default=0)
    for name, value in mapping.items():
        shown = ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, Mapping) else value
        say(f"{name.replace('_', ' '):<{longest}}  {shown}")


def paper_to_json(paper: Paper) -> dict[str, Any]:
    """Return a paper as plain data."""
    known = paper.metadata
    return {
        "id": paper.id,
        "title": paper.title,
        "authors": list(known.authors),
        "year": known.year,
        "doi": known.doi,
        "journal": known.journal,
        "language": known.language,
        "format": paper.format,
        "pages": paper.page_count,
        "chunks": paper.chunk_count,
        "paths": [str(path) for path in paper.paths],
        "warnings": list(paper.warnings),
        "added": paper.added,
    }


def show_papers(papers: Sequence[Paper]) -> None:
    """Print one line per paper: id, year, pages, title."""
    for paper in papers:
        year = paper.metadata.year or "    "
        title = textwrap.shorten(paper.title, WIDTH - 24)
        say(f"{paper.id[:ID_DIGITS]}  {year}  {paper.page_count:>4} p  {title}")
    say(f"{len(papers)} {_plural('paper', len(papers))}", err=True)


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """Return a hit as plain data, in the shape the command line promises."""
    chunk = hit.chunk
    return {
        "paper": chunk.source,
        "title": hit.title,
        "page": chunk.page,
        "section": chunk.section,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
        "score": round(hit.score, 6),
        "dense": hit.dense,
        "lexical": hit.lexical,
        "chunk": chunk.id,
        "kind": chunk.kind,
    }


def show_hits(hits: Sequence[Hit]) -> None:
    """Print the hits, best first, each with its place and the beginning of its text."""
    for rank, hit in enumerate(hits, 1):
        say(f"{rank:>2}. {hit.title}")
        say(f"    {place(hit)}   score {hit.score:.3f}")
        say(wrap(textwrap.shorten(hit.chunk.text, SNIPPET, placeholder=" …"), indent="    "))
        say()
    if not hits:
        say("nothing found; try other words, or fewer filters", err=True)


def place(hit: Hit) -> str:
    """Return where a hit stands: id, page, section, kind."""
    chunk = hit.chunk
    if chunk.kind == "material":
        return f"{chunk.source} (record)"
    section = f", {chunk.section}" if chunk.section else ""
    kind = "" if chunk.kind == "text" else f" ({chunk.kind})"
    return f"{chunk.source[:ID_DIGITS]}, p. {chunk.page}{section}{kind}"


def show_predictions(predictions: Sequence[Prediction], target: str) -> None:
    """Print one line per structure: its predicted value with the interval, or why there is none."""
    for prediction in predictions:
        say(str(prediction) if prediction.error else f"{prediction.name}: {prediction}", err=bool(prediction.error))
    if target == "band_gap" and any(not prediction.error for prediction in predictions):
        say("Predicted PBE gaps, which lie below measured ones.", err=True)


def show_prediction_report(report: PredictionReport) -> None:
    """Print how good predictions are, and below how good the baselines are on the same rows."""
    show_evaluation(report)
    for name, scores in report.baselines.items():
        say(f"baseline {name}: " + "   ".join(f"{metric} {score}" for metric, score in scores.items()))


def show_evaluation(evaluation: Evaluation | PredictionReport) -> None:
    """Print every metric with its interval, then what was measured how."""
    longest = max(map(len, evaluation.metrics), default=0)
    for name, metric in evaluation.metrics.items():
        say(f"{name:<{longest}}  {metric}")
    say(f"n = {evaluation.n}   {evaluation.signature}")


def show_settings(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print every setting: name, value, origin."""
    longest = max(len(row["name"]) for row in rows)
    for row in rows:
        say(f"{row['name']:<{longest}}  {row['value']!r:<28}  {row['source']}")


def show_checks(checks: Sequence[Check]) -> None:
    """Print what was checked, and the next step where something is not well."""
    for check in checks:
        mark = "ok  " if check.ok else ("–   " if check.optional else "FAIL")
        say(f"{mark}  {check.name:<9}  {check.detail}")
        if not check.ok and check.hint:
            say(f"                 → {check.hint}")


def show_ingest_report(report: Report) -> None:
    """Print what an ingest did, and every failed file with its reason and what to do."""
    say(
        f"{report.added} added, {report.updated} updated, {report.skipped} unchanged, {len(report.failed)} failed; "
        f"the library holds {report.papers} {_plural('paper', report.papers)}, {report.pages} pages, "
        f"{report.chunks} passages ({report.seconds:.1f} s)"
    )
    for failure in report.failed:
        say(f"  {failure.path}: {failure.error}")
        if failure.hint:
            say(f"    → {failure.hint}")


def show_verify_report(report: VerifyReport) -> None:
    """Print what `verify` found and mended."""
    if report.clean:
        say("the library is sound")
    for problem in report.problems:
        say(f"  {problem}")
    for repaired in report.repaired:
        say(f"  mended: {repaired}")


class IngestProgress:
    """Shows ingest events on stderr: a bar with rate and remaining time in a terminal, failures as lines elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._bar = _make_bar()
            self._bar.start()
            self._task = self._bar.add_task("looking", total=None, rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: Event) -> None:
        """Draw one event."""
        from ingest.pipeline import Failed, Found, Progress, Read

        if self._quiet:
            return
        if isinstance(event, Failed):
            self._line(f"failed: {event.path}: {event.error}")
        elif isinstance(event, Read):
            for warning in event.warnings:
                self._line(f"warning: {event.path}: {warning}")
        elif isinstance(event, Found):
            self._update(total=event.total, description="reading")
        elif isinstance(event, Progress):
            self._update(completed=event.done, total=event.total, rate=f"{event.rate:.1f} passages/s")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(safe(text), markup=False, highlight=False)
        else:
            say(text, err=True)

    def _update(self, **changes: Any) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, **changes)


def _make_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"

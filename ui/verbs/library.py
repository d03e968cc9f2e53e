"""Verbs that fill, show and check a library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ui.command import DONE, FAILED, PARTLY, Context, Verb, emit, library, note


@click.command(
    cls=Verb,
    examples="""matlit demo
matlit demo ./try-it""",
)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--question", help="Ask this instead of the sample question.")
@click.pass_obj
def demo(context: Context, folder: Path | None, question: str | None) -> int:
    """Build the sample library in a fresh FOLDER and answer a question from it."""
    from assistant.demo import run_demo
    from ui.show import IngestProgress
    from ui.verbs.answers import show_answer

    with IngestProgress(quiet=context.quiet or context.json) as progress:
        result = run_demo(folder, question=question, on_event=progress.show)
    emit(context, result.answer.to_json(), lambda: show_answer(result.answer))
    note(context, f"Sample library: {result.folder}")
    note(context, f'Ask on: matlit ask --library {result.folder} "Why does PBE underestimate band gaps?"')
    return DONE


@click.command(
    cls=Verb,
    examples="""matlit ingest ~/papers
    matlit ingest "2024/*.pdf" notes.docx --manifest papers.csv
    matlit ingest ~/papers --prune          (and forget files that are gone)
    matlit ingest secret.pdf --password P""",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--workers", type=click.IntRange(0, 256), help="Reader processes (default: one per core).")
@click.option("--password", metavar="P", help="For encrypted PDFs.")
@click.option("--rebuild", is_flag=True, help="Build the library anew, with the present embedder and chunking.")
@click.option("--prune", is_flag=True, help="Also take out papers whose files are gone.")
@click.option("--retry-failed", is_flag=True, help="Read files again that failed before and have not changed.")
@click.option("--manifest", type=click.Path(path_type=Path), metavar="CSV", help="Titles, DOIs, … by file_location.")
@click.option("--look-up", is_flag=True, help="Complete titles and authors from Crossref and OpenAlex.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N files.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def ingest(context: Context, /, paths: tuple[str, ...], **options: Any) -> int:
    """Bring files, folders or globs (PDF, text, Markdown, DOCX, HTML, JATS) into the library."""
    from ui.engine import run_ingest
    from ui.show import IngestProgress, show_ingest_report

    with IngestProgress(quiet=context.quiet or context.json) as progress:
        report = run_ingest(context.settings(), paths, on_event=progress.show, **options)
    emit(context, report.to_json(), lambda: show_ingest_report(report))
    if report.failed:
        return PARTLY if report.papers else FAILED
    return DONE


@click.command(cls=Verb)
@click.pass_obj
def status(context: Context) -> int:
    """Tell what is in the library."""
    from ui.show import show_mapping

    found = library(context).status()
    emit(context, found, lambda: show_mapping(found))
    return DONE


@click.command(
    cls=Verb,
    examples="""matlit papers
matlit papers --json | jq '.[].title'""",
)
@click.argument("words", nargs=-1, metavar="[WORDS]...")
@click.pass_obj
def papers(context: Context, words: tuple[str, ...]) -> int:
    """List the papers, or those whose title, authors or file name hold all WORDS."""
    from ui.engine import matching_papers
    from ui.show import paper_to_json, show_papers

    found = matching_papers(library(context).papers(), words)
    emit(context, [paper_to_json(paper) for paper in found], lambda: show_papers(found))
    return DONE


@click.command(cls=Verb, examples="matlit remove 3f9a2c01")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def remove(context: Context, ids: tuple[str, ...]) -> int:
    """Take papers out of the library (the files stay where they are); an ID may be shortened."""
    target = library(context)
    chosen = [target.paper(given) for given in ids]
    with target.writer() as writer:
        for paper in chosen:
            writer.remove(paper.id)
    emit(context, [paper.id for paper in chosen], lambda: click.echo(f"removed {len(chosen)}"))
    return DONE


@click.command(cls=Verb)
@click.pass_obj
def prune(context: Context) -> int:
    """Take out papers whose files are gone."""
    from ui.engine import run_prune

    gone = run_prune(library(context))
    emit(context, gone, lambda: click.echo("\n".join(["removed:", *gone]) if gone else "nothing to remove"))
    return DONE


@click.command(cls=Verb)
@click.option("--repair", is_flag=True, help="Mend the vectors from the catalog, without embedding again.")
@click.pass_obj
def verify(context: Context, repair: bool) -> int:
    """Check the catalog against vectors, full-text index and files."""
    from ui.show import show_verify_report

    report = library(context).verify(repair=repair)
    emit(context, report.to_json(), lambda: show_verify_report(report))
    return DONE if report.clean else FAILED

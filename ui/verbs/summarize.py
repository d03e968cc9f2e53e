"""`matlit summarize`: a cited review over many papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ui.command import DONE, Context, Verb, emit
from ui.verbs.answers import show_answer, show_events

if TYPE_CHECKING:
    from assistant.prompts import Language


@click.command(
    cls=Verb,
    examples="""matlit summarize --query "How is the conductivity of LiFePO4 improved?"
matlit summarize ~/papers/2024 --model openai/gpt-4o-mini --stream
matlit summarize a.pdf b.pdf --language ja""",
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--query", default="", metavar="Q", help="What the review is about; without PATH, over the library.")
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="At most so many papers.")
@click.option("--language", type=click.Choice(["en", "ja"]), help="Of the review (default: the query's).")
@click.option("--stream", is_flag=True, help="Print the review while it is written.")
@click.option("--bibtex", is_flag=True, help="Print the cited papers as BibTeX below.")
@click.pass_obj
def summarize(
    context: Context,
    paths: tuple[str, ...],
    query: str,
    limit: int,
    language: Language | None,
    stream: bool,
    bibtex: bool,
) -> int:
    """Review many papers in one cited text: files and folders, or what the library holds on a query."""
    from ui.engine import run_summarize

    streams = stream and not context.json
    with run_summarize(context.settings(), paths, query=query, limit=limit, language=language) as events:
        answer = show_events(events, context, stream=streams)
    emit(context, answer.to_json(), lambda: show_answer(answer, bibtex=bibtex, text=not streams))
    return DONE

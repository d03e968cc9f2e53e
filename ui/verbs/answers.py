"""Verbs that find and answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from assistant.prompts import STRATEGIES
from ui.command import DONE, Context, Verb, assistant, emit, library, note, where

if TYPE_CHECKING:
    from assistant import Answer
    from assistant.events import Event
    from assistant.journal import Entry
    from assistant.retrieve import Mode


@click.command(
    cls=Verb,
    examples="""matlit search "capacity fade of LiFePO4"
    matlit search "oxygen vacancies" --elements Sr,Ti,O --year 2015..2020
    matlit search "LiFePO₄" --mode lexical -k 5 --json""",
)
@click.argument("query")
@click.option("-k", type=int, help="How many passages (default 10).")
@click.option("--paper", multiple=True, metavar="ID", help="Only in this paper; may be repeated.")
@click.option("--year", metavar="A..B", help="Only papers of these years: 2015..2020, 2015.., ..2020, 2019.")
@click.option("--elements", metavar="Li,O", help="Only passages whose formulas hold all these elements.")
@click.option("--formula", metavar="F", help="Only passages with this formula, however typeset.")
@click.option("--section", multiple=True, metavar="TITLE", help="Only in sections whose title holds this.")
@click.option("--kind", metavar="paper,material", help="Passages of papers, records of materials, or both.")
@click.option("--mode", type=click.Choice(["hybrid", "dense", "lexical"]), help="How to search (default hybrid).")
@click.pass_obj
def search(context: Context, /, query: str, k: int | None, mode: Mode | None, **filters: Any) -> int:
    """Find passages for QUERY, by meaning and by words together."""
    from ui.show import hit_to_json, show_hits

    asking = assistant(context)
    settings = context.settings().search
    hits = asking.search(
        query, k=settings.k if k is None else k, mode=mode or settings.mode, where=where(asking, filters)
    )
    emit(context, [hit_to_json(hit) for hit in hits], lambda: show_hits(hits))
    return DONE


@click.command(
    cls=Verb,
    examples="""matlit ask "What is the theoretical capacity of LiFePO4?"
    matlit ask "Which of TiO2's polymorphs has the largest band gap?"
    matlit ask "What is the density of the attached structure?" --attach LiFePO4.cif
    matlit ask "チタン酸リチウムの容量は?" --model openai/gpt-4o-mini --translate
    matlit ask "How was the film annealed?" --paper 3f9a2c01 --bibtex""",
)
@click.argument("question")
@click.option("--attach", "attachments", multiple=True, metavar="FILE", help="A structure's file; may be repeated.")
@click.option("--strategy", type=click.Choice(STRATEGIES), default="auto", help="How the model is prompted.")
@click.option("--no-tools", is_flag=True, help="Only the papers and records found by search.")
@click.option("--stream", is_flag=True, help="Print the answer while it is written.")
@click.option("--translate", is_flag=True, help="Have the model translate quotes into the question's language.")
@click.option("--paper", multiple=True, metavar="ID", help="Only from this paper; may be repeated.")
@click.option("--year", metavar="A..B", help="Only from papers of these years.")
@click.option("--bibtex", is_flag=True, help="Print the cited papers as BibTeX below the answer.")
@click.pass_obj
def ask(context: Context, /, question: str, bibtex: bool, stream: bool, no_tools: bool, **options: Any) -> int:
    """Answer QUESTION from papers, records and tools, every claim with its source."""
    filters = {name: options.pop(name) for name in ("paper", "year")}
    with assistant(context) as asking:
        events = asking.stream(question, where=where(asking, filters), tools=not no_tools, **options)
        streams = stream and not context.json
        answer = show_events(events, context, stream=streams)
    emit(context, answer.to_json(), lambda: show_answer(answer, bibtex=bibtex, text=not streams))
    return DONE


def show_events(events: Iterable[Event], context: Context, *, stream: bool) -> Answer:
    """Follow an answer to its end: steps as notes on stderr, with `stream` its text on stdout; return the answer.

    What was streamed is the model's own wording: where checking has changed it, the answer follows once more.
    """
    from assistant.events import Answered, Note, Searched, TextDelta, ToolFinished, ToolStarted
    from ui.show import safe, say

    written = ""
    for event in events:
        if isinstance(event, Answered):
            if stream:
                click.echo()
                if event.answer.text.split() != written.split():
                    note(context, "the answer, as checked:")
                    say(event.answer.text)
            if event.answer.usage.get("input_tokens"):
                note(context, describe_usage(event.answer))
            return event.answer
        if isinstance(event, TextDelta) and stream:
            written += event.text
            click.echo(safe(event.text), nl=False)
        elif isinstance(event, ToolStarted) and written:
            written = ""  # it was thinking aloud
            click.echo()
        elif isinstance(event, Searched):
            note(context, f"{len(event.hits)} passages found ({event.seconds:.1f} s)")
        elif isinstance(event, ToolFinished):
            result = event.result.error or f"{event.result.seconds:.2f} s"
            note(context, safe(f"tool {event.name}: {result}"))
        elif isinstance(event, Note):
            note(context, safe(event.text))
    raise RuntimeError("the events ended without an answer")


def describe_usage(answer: Answer) -> str:
    """Return one line on what a model's answer took: tokens, and its cost where it had one."""
    from assistant.pricing import dollars

    used = answer.usage
    cost, as_of = used.get("cost_usd"), str(used.get("prices_as_of", ""))
    paid = "cost unknown" if cost is None else dollars(float(cost), as_of) if cost else "no cost"
    return f"{answer.model}: {used['input_tokens']:,} tokens read, {used['output_tokens']:,} written, {paid}"


def show_answer(answer: Answer, *, bibtex: bool = False, text: bool = True) -> None:
    """Print the answer, what it cites, what nothing bears out, and on request the BibTeX entries."""
    from ui.show import safe, say

    if text:
        say(answer.text)
    written = [citation for citation in answer.citations if citation.quote not in answer.text]
    if written and answer.model != "extractive":
        say()
        for citation in written:
            page = f", p. {citation.page}" if citation.page else ""
            say(f"[{citation.n}] {citation.title}{page}: “{' '.join(citation.quote.split())}”")
    unsupported = [claim for claim in answer.claims if claim.status == "unsupported"]
    for claim in unsupported:
        click.echo(safe(f"not supported: {claim.text} ({claim.reason})"), err=True)
    if bibtex and answer.citations:
        say()
        say(answer.bibtex())


@click.command(
    cls=Verb,
    examples="""matlit journal
matlit journal 42
matlit journal --limit 1000 --json > asked.json""",
)
@click.argument("number", required=False, type=click.IntRange(min=1))
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="The latest N.")
@click.pass_obj
def journal(context: Context, number: int | None, limit: int) -> int:
    """List what was asked of the library, by which model and at what cost; with NUMBER, show that answer again."""
    from assistant.journal import entries, find

    folder = library(context).info.path
    if number is not None:
        entry = find(folder, number)
        emit(context, entry.to_json(), lambda: show_entry(entry))
        return DONE
    found = entries(folder, limit=limit)
    emit(context, [each.to_json() for each in found], lambda: show_entries(found))
    return DONE


def show_entries(found: Sequence[Entry]) -> None:
    """Print one line per answer, the latest first."""
    from ui.show import say

    for entry in found:
        cost = entry.answer.get("usage", {}).get("cost_usd")
        paid = f", ${cost:.4f}" if cost else ""
        gave = " (no answer)" if entry.answer.get("abstained") else ""
        say(f"{entry.id:>5}  {entry.asked[:16].replace('T', ' ')}  {' '.join(entry.question.split())[:70]}{gave}")
        say(f"       {entry.model}, {entry.answer.get('seconds', 0):.1f} s{paid}")
    if not found:
        click.echo("nothing was asked of this library yet", err=True)


def show_entry(entry: Entry) -> None:
    """Print one answer as it was given: question, text, what it cites."""
    from ui.show import say

    say(f"{entry.question}\n({entry.asked}, {entry.model})\n\n{entry.answer['text']}")
    for one in entry.answer.get("citations", ()):
        page = f", p. {one['page']}" if one.get("page") else ""
        say(f"[{one['n']}] {one['title']}{page}: “{' '.join(one['quote'].split())}”")

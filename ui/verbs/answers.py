"""Verbs that find and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ui.command import DONE, Context, Verb, assistant, emit, where

if TYPE_CHECKING:
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
    matlit ask "チタン酸リチウムの容量は?" --json
    matlit ask "How was the film annealed?" --paper 3f9a2c01 --bibtex""",
)
@click.argument("question")
@click.option("--paper", multiple=True, metavar="ID", help="Only from this paper; may be repeated.")
@click.option("--year", metavar="A..B", help="Only from papers of these years.")
@click.option("--bibtex", is_flag=True, help="Print the cited papers as BibTeX below the answer.")
@click.pass_obj
def ask(context: Context, /, question: str, bibtex: bool, **filters: Any) -> int:
    """Answer QUESTION from the library, every claim with paper, page and quote."""
    from ui.show import show_answer

    asking = assistant(context)
    answer = asking.ask(question, where=where(asking, filters))
    emit(context, answer.to_json(), lambda: show_answer(answer, bibtex=bibtex))
    return DONE

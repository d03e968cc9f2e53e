"""`matlit finetune`: rows for training, training itself, and what becomes of the trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ui.command import DONE, Context, Verbs, emit, library, note


@click.group("finetune", cls=Verbs)
def finetune() -> None:
    """Adapt a language model to predict properties of crystals, and use what comes of it."""


@finetune.command(
    "prepare",
    examples="""matlit finetune prepare mp_bandgap.jsonl.gz -o rows --style compact --split formula
    matlit finetune prepare summaries.json -o rows --target band_gap --target energy_per_atom
    matlit finetune prepare -o rows    (from the library's materials)""",
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The dataset folder.")
@click.option("--target", "targets", multiple=True, metavar="NAME", help="What to learn (default: band_gap); repeat.")
@click.option("--style", default="tutorial", show_default=True, help="Structure text: tutorial or compact.")
@click.option("--split", default="random", show_default=True, metavar="KIND|FILE", help="random, formula, or ids.")
@click.option("--validation", type=float, default=0.05, show_default=True, help="Share, or number, of records.")
@click.option("--test", type=float, default=0.1, show_default=True, help="Share, or number, of records.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of sampling and splitting.")
@click.option("--limit", type=int, default=0, metavar="N", help="Take N records, drawn at random.")
@click.option("--max-sites", type=int, default=0, metavar="N", help="Leave out larger cells.")
@click.option("--decimals", type=int, metavar="N", help="Decimals of the answers (default: each target's own).")
@click.option("--workers", type=int, default=0, metavar="N", help="Processes that render (0: one per core).")
@click.option("--no-cache", is_flag=True, help="Render every text again.")
@click.option("--overwrite", is_flag=True, help="Replace the dataset that the folder holds.")
@click.pass_obj
def prepare(context: Context, /, paths: tuple[Path, ...], out: Path, **options: Any) -> int:
    """Turn records with structures into prompt and completion rows, split for training, validation and test."""
    from finetune.dataset import card_page, prepare
    from finetune.texts import default_cache
    from ui.show import say

    source, choices = _source(context, paths), _choices(options)
    cache = None if options["no_cache"] else default_cache()
    card = prepare(source, out, choices, cache=cache, workers=options["workers"], overwrite=options["overwrite"])
    emit(context, {"folder": str(out), **card}, lambda: say(card_page(card)))
    note(context, f"{card['skipped']} records left out, each with its reason in {out / 'skipped.txt'}")
    return DONE


def _source(context: Context, paths: tuple[Path, ...]) -> Any:
    from finetune.sources import Source

    return Source(paths) if paths else Source(library=library(context))


def _choices(options: dict[str, Any]) -> Any:
    from finetune.dataset import SPLIT_KINDS, Choices, read_split_ids

    split = options["split"]
    names = ("style", "validation", "test", "seed", "limit", "max_sites", "decimals")
    return Choices(
        targets=options["targets"] or ("band_gap",),
        split=split if split in SPLIT_KINDS else "ids",
        split_ids=None if split in SPLIT_KINDS else read_split_ids(Path(split)),
        **{name: options[name] for name in names},
    )

"""`matlit finetune`: rows for training, training itself, and what becomes of the trained model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ui.command import DONE, FAILED, INTERRUPTED, Context, Verbs, emit, library, note
from ui.verbs.bandgap import evaluate_run, predict_with


@click.group("finetune", cls=Verbs)
def finetune() -> None:
    """Adapt a language model to predict properties of crystals, and use what comes of it."""


finetune.add_command(evaluate_run)
finetune.add_command(predict_with)


@finetune.command(
    "prepare",
    examples="""matlit finetune prepare mp_bandgap.jsonl.gz -o rows --style compact --split formula
    matlit finetune prepare summaries.json -o rows --target band_gap --target energy_per_atom
    matlit finetune prepare -o rows    (from the library's materials)""",
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The dataset folder.")
@click.option("--target", "targets", multiple=True, metavar="NAME", help="What to learn (default: band_gap); repeat.")
@click.option("--style", default="tutorial", show_default=True, help="Structure text: tutorial, compact or words.")
@click.option("--split", default="random", show_default=True, metavar="KIND|FILE", help="random, formula, or ids.")
@click.option("--validation", type=float, default=0.05, show_default=True, help="Share, or number, of records.")
@click.option("--test", type=float, default=0.1, show_default=True, help="Share, or number, of records.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of sampling and splitting.")
@click.option("--limit", type=int, default=0, metavar="N", help="Take N records, drawn at random.")
@click.option("--max-sites", type=int, default=0, metavar="N", help="Leave out larger cells.")
@click.option("--decimals", type=int, metavar="N", help="Decimals of the answers (default: each target's own).")
@click.option("--workers", type=int, default=0, metavar="N", help="Processes that render (0: one per core).")
@click.option("--allow-pickle", is_flag=True, help="Also read .pkl dumps, without running what they name.")
@click.option("--no-cache", is_flag=True, help="Render every text again.")
@click.option("--overwrite", is_flag=True, help="Replace the dataset that the folder holds.")
@click.pass_obj
def prepare(context: Context, /, paths: tuple[Path, ...], out: Path, **options: Any) -> int:
    """Turn records with structures into prompt and completion rows, split for training, validation and test."""
    from finetune.dataset import card_page, prepare
    from finetune.texts import default_cache
    from ui.show import say

    source, choices = _source(context, paths, options["allow_pickle"]), _choices(options)
    cache = None if options["no_cache"] else default_cache()
    card = prepare(source, out, choices, cache=cache, workers=options["workers"], overwrite=options["overwrite"])
    emit(context, {"folder": str(out), **card}, lambda: say(card_page(card)))
    note(context, f"{card['skipped']} records left out, each with its reason in {out / 'skipped.txt'}")
    return DONE


def _source(context: Context, paths: tuple[Path, ...], allow_pickle: bool) -> Any:
    from finetune.sources import Source

    return Source(paths, allow_pickle=allow_pickle) if paths else Source(library=library(context))


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


@finetune.command("preview", examples="matlit finetune preview rows -n 2")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("-n", "count", type=click.IntRange(min=1), default=3, show_default=True, help="Rows to show.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", help="From which split.")
@click.option("--base", default="smollm2", show_default=True, metavar="MODEL", help="Whose tokenizer cuts the text.")
@click.pass_obj
def preview(context: Context, dataset: Path, count: int, split: str, base: str) -> int:
    """Show rows of a DATASET as tokens, and which of them carry loss."""
    from finetune.dataset import read_split
    from finetune.models import load_tokenizer, preview

    shown = preview(read_split(dataset, split, limit=count), load_tokenizer(base))
    emit(context, shown, lambda: _show_preview(shown))
    return DONE


def _show_preview(rows: list[dict[str, Any]]) -> None:
    from ui.show import say

    for row in rows:
        carrying = sum(row["loss"])
        say(f"{row['id']}: {row['tokens']} tokens, {carrying} of them carry loss (in ⟦ ⟧)")
        words = [f"⟦{word}⟧" if loss else word for word, loss in zip(row["words"], row["loss"], strict=True)]
        say("".join(words) + "\n")


RECIPE_OPTIONS = (
    click.option("--objective", help="generate (write the number) or regress (with an interval)."),
    click.option("--preset", help="small, tutorial, gpu-7b or regress (default: what suits the objective)."),
    click.option("--config", type=click.Path(path_type=Path), metavar="YAML", help="Settings that change the preset."),
    click.option("--base", "base_model", metavar="MODEL", help="Hub id, folder, GGUF file, or smollm2."),
    click.option("--method", help="full, lora, qlora, prefix or prompt."),
    click.option("--epochs", type=float, help="Times through the rows."),
    click.option("--max-steps", type=int, help="Steps, instead of epochs."),
    click.option("--learning-rate", type=float, help="The highest of the schedule."),
    click.option("--batch-size", type=int, help="Rows per device and forward pass."),
    click.option("--accumulation", type=int, help="Forward passes per step."),
    click.option("--max-length", type=int, help="Tokens; longer rows are left out."),
    click.option("--patience", type=int, help="Evaluations without progress before it stops; 0: never."),
    click.option("--limit", type=int, help="Training rows to take."),
    click.option("--seed", type=int, help="Seed of the weights and of the order."),
    click.option("--set", "others", multiple=True, metavar="NAME=VALUE", help="Any other setting of the recipe."),
)


def recipe_options(command: Any) -> Any:
    """Give a command the options of a training recipe."""
    for option in reversed(RECIPE_OPTIONS):
        command = option(command)
    return command


@finetune.command(
    "train",
    examples="""matlit finetune train rows -o runs/first
    matlit finetune train rows --objective regress -o runs/second
    matlit finetune train rows --preset gpu-7b --method qlora -o runs/seven
    matlit finetune train --resume runs/first""",
)
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="The run folder.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a run as it was begun.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, in seconds, and load no weights.")
@click.option("--minutes", type=float, default=0, metavar="N", help="Write a checkpoint and stop after N minutes.")
@recipe_options
@click.pass_obj
def train(context: Context, /, dataset: Path | None, out: Path | None, resume: Path | None, **options: Any) -> int:
    """Adapt a language model to a DATASET, in a run folder that survives being stopped."""
    from finetune.train import dry_run, train
    from finetune.train import resume as go_on

    minutes, dry = options.pop("minutes"), options.pop("dry_run")
    context.settings()  # enforces offline mode

    report = partial(note, context)
    if resume:
        return _show_run(context, resume, go_on(resume, report=report, minutes=minutes))
    rows, recipe = _given(dataset, "DATASET"), _recipe(options)
    if dry:
        found = dry_run(rows, recipe)
        emit(context, found, lambda: _show_plan(found))
        return DONE
    folder = _given(out, "-o DIR")
    return _show_run(context, folder, train(rows, folder, recipe, report=report, minutes=minutes))


def _given(path: Path | None, name: str) -> Path:
    if path is None:
        raise click.UsageError(f"{name} is missing, or --resume DIR, which goes on with a run")
    return path


def _recipe(options: dict[str, Any]) -> Any:
    from finetune.recipe import make_recipe

    flags = {name: value for name, value in options.items() if name not in ("preset", "config", "others")}
    for pair in options["others"]:
        name, _, value = pair.partition("=")
        flags[name.replace("-", "_")] = {"true": True, "false": False}.get(value.lower(), value)
    preset = options["preset"] or ("regress" if options["objective"] == "regress" else "small")
    return make_recipe(preset, options["config"], flags)


def _show_plan(plan: dict[str, Any]) -> None:
    from ui.show import show_mapping

    show_mapping({name: value for name, value in plan.items() if name != "settings"})
    show_mapping(plan["settings"])


def _show_run(context: Context, folder: Path, run: Any) -> int:
    from dataclasses import asdict

    from finetune.runs import is_main_process
    from ui.show import show_mapping

    if not is_main_process():  # of several that train together, one speaks
        return DONE
    figures = {name: f"{value:.4f}" for name, value in run.results.items() if isinstance(value, float)}
    facts = {"run": str(folder), "status": run.status, "step": f"{run.step} of {run.steps}", **figures}
    emit(context, {"folder": str(folder), **asdict(run)}, lambda: show_mapping(facts))
    if run.status == "interrupted":
        note(context, f"go on with it: matlit finetune train --resume {folder}")
        return INTERRUPTED
    return DONE


@finetune.command("merge", examples="matlit finetune merge runs/first -o models/first")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The model folder.")
@click.option("--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Test rows to compare on.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", help="Precision.")
@click.pass_obj
def merge(context: Context, run: Path, out: Path, rows: int, dtype: str) -> int:
    """Write a RUN's adapter and base as one model, and check that both answer alike."""
    from finetune.merge import merge
    from ui.show import show_mapping

    context.settings()
    found = merge(run, out, rows=rows, dtype=dtype)
    emit(context, {"folder": str(out), **found.to_json()}, lambda: show_mapping(found.to_json()))
    return DONE


@finetune.command(
    "hosted",
    examples="""matlit finetune hosted rows -o jobs/first    (what it would cost; nothing is sent)
    matlit finetune hosted rows -o jobs/first --yes --wait
    matlit finetune hosted --status jobs/first""",
)
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="The job folder.")
@click.option("--base", "model", default="gpt-4o-mini-2024-07-18", show_default=True, help="OpenAI model to train.")
@click.option("--epochs", type=int, default=3, show_default=True, help="Times through the rows.")
@click.option("--suffix", default="matlit", show_default=True, help="Part of the trained model's name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the provider's training.")
@click.option("--limit", type=int, default=0, metavar="N", help="Training rows to take.")
@click.option("--price", type=float, metavar="USD", help="Today's price per million tokens; ours has a date.")
@click.option("--yes", is_flag=True, help="Agree to the cost: upload the rows and create the job.")
@click.option("--wait", is_flag=True, help="Follow the job to its end.")
@click.option("--poll", type=float, default=10.0, show_default=True, metavar="SECONDS", help="How often to ask.")
@click.option("--status", type=click.Path(path_type=Path), metavar="DIR", help="How a job stands.")
@click.option("--cancel", type=click.Path(path_type=Path), metavar="DIR", help="Cancel a job.")
@click.pass_obj
def hosted(context: Context, /, dataset: Path | None, out: Path | None, **options: Any) -> int:
    """Train on a DATASET at OpenAI: estimate, and after --yes upload, create and follow."""
    from finetune import hosted as provider

    context.settings()  # enforces offline mode
    following = {name: options.pop(name) for name in ("yes", "wait", "poll", "status", "cancel")}
    report = partial(note, context)
    if following["cancel"]:
        return _show_job(context, following["cancel"], provider.cancel(following["cancel"], report=report))
    folder = following["status"]
    if not folder:
        rows, folder, order = _given(dataset, "DATASET"), _given(out, "-o DIR"), provider.Order(**options)
        cost = provider.estimate(rows, order)
        if not following["yes"]:
            emit(context, cost.to_json(), lambda: _show_cost(cost))
            return FAILED if cost.problems else DONE
        provider.start(rows, folder, order, report=report)
    look = partial(provider.wait, poll_s=following["poll"]) if following["wait"] else provider.refresh
    return _show_job(context, folder, look(folder, report=report))


def _show_cost(cost: Any) -> None:
    from ui.show import say, show_mapping

    show_mapping({name: value for name, value in cost.to_json().items() if name != "problems"})
    for problem in cost.problems[:20]:
        say(f"would be refused: {problem}")
    say("Nothing was sent. Add --yes to upload the rows and create the job.")


def _show_job(context: Context, folder: Path, job: Any) -> int:
    from dataclasses import asdict

    from ui.show import show_mapping

    facts = {"job": job.job_id, "status": job.status, "model": job.spec, "error": job.error}
    emit(context, {"folder": str(folder), **asdict(job), "spec": job.spec}, lambda: show_mapping(facts))
    return FAILED if job.status == "failed" else DONE

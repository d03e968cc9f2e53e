"""`matlit eval`: how good search, answers and predictions are on your own data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.prompts import STRATEGIES, Strategy
from ui.command import DONE, Context, Verbs, emit

if TYPE_CHECKING:
    from assistant.metrics import Evaluation
    from assistant.retrieve import Mode


@click.group("eval", cls=Verbs)
def evaluate() -> None:
    """Measure retrieval, answers, keywords and predictions on your own data."""


@evaluate.command("retrieval", examples="matlit eval retrieval scifact --mode hybrid")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--mode", type=click.Choice(["hybrid", "dense", "lexical"]), default="hybrid", help="How to search.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N queries.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.pass_obj
def eval_retrieval(context: Context, folder: Path, mode: Mode, limit: int | None, seed: int) -> int:
    """Score search on a FOLDER in BEIR layout: corpus.jsonl[.gz], queries.jsonl, qrels.tsv."""
    from assistant.evaluate_retrieval import evaluate_retrieval
    from ui.engine import open_embedder
    from ui.show import show_evaluation

    embedder = open_embedder(context.settings())
    evaluation = evaluate_retrieval(folder, embedder=embedder, mode=mode, limit=limit, seed=seed)
    emit(context, evaluation.to_json(), lambda: show_evaluation(evaluation))
    return DONE


@evaluate.command(
    "answers",
    examples="""matlit eval answers benchmarks/questions.jsonl --rows rows.jsonl
    matlit eval answers questions.jsonl --model gguf/small --strategy zero-shot --strategy few-shot""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--strategy", "strategies", multiple=True, type=click.Choice(STRATEGIES), help="Several are compared.")
@click.option("--rows", type=click.Path(path_type=Path), metavar="FILE", help="Write every answer as a JSON line.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N questions.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.pass_obj
def eval_answers(context: Context, /, file: Path, strategies: tuple[Strategy, ...], **options: Any) -> int:
    """Score answers on a FILE of JSON lines: id, question, answer, and doc where known."""
    from assistant.evaluate import compare_strategies
    from ui.engine import open_assistant
    from ui.show import show_evaluation

    settings, asked = context.settings(), strategies or ("auto",)
    found = compare_strategies(file, asked, open_assistant=partial(open_assistant, settings), **options)
    if len(found) == 1:
        (only,) = found.values()
        emit(context, only.to_json(), lambda: show_evaluation(only))
        return DONE
    emit(context, {name: each.to_json() for name, each in found.items()}, lambda: show_compared(found))
    return DONE


def show_compared(found: Mapping[str, Evaluation]) -> None:
    """Print the strategies side by side, then how far each lies from the first, question by question."""
    from ui.show import say

    first, *others = found
    rows = [["", *found]]
    rows += [[name, *(str(each.metrics[name]) for each in found.values())] for name in found[first].metrics]
    for name in others:
        rows += [[], [f"{name} − {first}"], *([one, str(told)] for one, told in found[name].differences.items())]
    widths = [max((len(row[at]) for row in rows if at < len(row) > 1), default=0) for at in range(len(found) + 1)]
    for row in rows:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip())
    say()
    for each in found.values():
        say(f"n = {each.n}   {each.signature}")


@evaluate.command("keywords", examples="matlit eval keywords author_keywords.jsonl --fulltext corpus.jsonl.gz")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--fulltext", type=click.Path(path_type=Path), metavar="FILE", help="JSON lines: _id or doi, and body.")
@click.option("--part", type=click.Choice(["all", "development", "report"]), default="all", help="A half of the ids.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N texts.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.pass_obj
def eval_keywords(context: Context, /, file: Path, **options: Any) -> int:
    """Score keywords on a FILE of JSON lines: id, text (title, line break, abstract), keyphrases, and body if known."""
    from assistant.keywords.evaluate import evaluate_keywords
    from ui.engine import keyword_method
    from ui.show import show_evaluation

    name, method = keyword_method(context.settings())
    evaluation = evaluate_keywords(file, method=method, name=name, **options)
    emit(context, evaluation.to_json(), lambda: show_evaluation(evaluation))
    return DONE


@evaluate.command("bandgap", examples="matlit eval bandgap mp_bandgap.jsonl.gz --limit 2000")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", "predictor", default="shipped", metavar="DIR", help="A trained predictor (default: shipped).")
@click.option("--predictions", type=click.Path(path_type=Path), metavar="CSV", help="Another program's: id,prediction.")
@click.option("--training", type=click.Path(path_type=Path), metavar="FILE", help="Records the baselines learn from.")
@click.option("--target", default="band_gap", show_default=True, metavar="NAME", help="Which value of the records.")
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Write Markdown, JSON and parity plots.")
@click.option("--no-baselines", is_flag=True, help="Leave out the baselines, which take most of the time.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records.")
@click.pass_obj
def eval_bandgap(context: Context, /, file: Path, predictor: str, report: Path | None, **options: Any) -> int:
    """Score predicted band gaps on a FILE of records, beside baselines on the same rows."""
    from finetune.evaluate import evaluate_file
    from ui.verbs.bandgap import show_report

    names = ("target", "predictions", "training")
    found = evaluate_file(
        file,
        model=predictor,
        **{name: options[name] for name in names},
        baselines=not options["no_baselines"],
        limit=options["limit"] or 0,
    )
    return show_report(context, found, report)

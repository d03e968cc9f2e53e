"""Verbs that use and measure predictors of a crystal's properties."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ui.command import DONE, FAILED, PARTLY, Context, Verb, emit

if TYPE_CHECKING:
    from finetune.report import Report


@click.command(
    cls=Verb,
    examples="""matlit predict POSCAR
    matlit predict structures/ --json
    matlit predict structures/ --model runs/first""",
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--target", default="", metavar="NAME", help="What to predict (default: what the model was trained on).")
@click.option(
    "--model", "predictor", default="shipped", metavar="SPEC", help="A run, model or GGUF file (default: shipped)."
)
@click.option("--workers", type=click.IntRange(min=0), default=0, metavar="N", help="Processes (0: one per core).")
@click.pass_obj
def predict(context: Context, paths: tuple[Path, ...], target: str, predictor: str, workers: int) -> int:
    """Predict the PBE band gap of crystal structures (CIF, POSCAR, pymatgen JSON), with a 90 % interval."""
    return _predict(context, paths, predictor, target, workers=workers)


@click.command("predict", cls=Verb, examples="matlit finetune predict runs/first POSCAR structures/ --json")
@click.argument("run", metavar="RUN")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--target", default="", metavar="NAME", help="Which of the run's targets (default: its first).")
@click.pass_obj
def predict_with(context: Context, run: str, paths: tuple[Path, ...], target: str) -> int:
    """Predict a property of structures with a trained RUN; the same as `matlit predict --model RUN`."""
    return _predict(context, paths, run, target)


def _predict(context: Context, paths: tuple[Path, ...], spec: str, target: str, *, workers: int = 0) -> int:
    from finetune.predict import load, predict_files
    from ui.show import show_predictions

    context.settings()  # enforces offline mode
    model = load(spec, target=target)
    found = list(predict_files(paths, model=model, workers=workers))
    emit(context, [one.to_json() for one in found], lambda: show_predictions(found, model.target))
    failed = sum(bool(one.error) for one in found)
    if failed == len(found):
        return FAILED
    return PARTLY if failed else DONE


@click.command(
    "evaluate",
    cls=Verb,
    examples="""matlit finetune evaluate runs/first
    matlit finetune evaluate shipped --dataset rows --report report""",
)
@click.argument("run", metavar="RUN")
@click.option("--dataset", type=click.Path(path_type=Path), metavar="DIR", help="Rows (default: those of the run).")
@click.option("--split", default="test", show_default=True, help="train, validation or test.")
@click.option("--target", default="", metavar="NAME", help="Which target, where the dataset has several.")
@click.option("--predictions", type=click.Path(path_type=Path), metavar="CSV", help="Another program's: id,prediction.")
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Write Markdown, JSON and parity plots.")
@click.option("--no-baselines", is_flag=True, help="Leave out the baselines, which take most of the time.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.pass_obj
def evaluate_run(context: Context, /, run: str, report: Path | None, **options: Any) -> int:
    """Score a trained RUN on rows it was not trained on, beside baselines on the same rows."""
    from finetune.evaluate import evaluate_run

    context.settings()  # enforces offline mode
    names = ("dataset", "split", "target", "predictions")
    found = evaluate_run(
        run,
        **{name: options[name] for name in names},
        baselines=not options["no_baselines"],
        limit=options["limit"] or 0,
    )
    return show_report(context, found, report)


def show_report(context: Context, found: Report, folder: Path | None) -> int:
    """Print an evaluation, and write its report where a folder is named."""
    from finetune.report import write_report
    from ui.show import show_prediction_report

    if folder:
        write_report(found, folder)
    emit(context, found.to_json(), lambda: show_prediction_report(found))
    return DONE

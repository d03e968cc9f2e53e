"""Verbs that train, measure and use band gap predictors."""

from __future__ import annotations

from pathlib import Path

import click

from ui.command import DONE, FAILED, PARTLY, Context, Verb, emit


@click.command(
    cls=Verb,
    examples="""matlit predict POSCAR
    matlit predict structures/ --json""",
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--target", type=click.Choice(["band_gap"]), default="band_gap", help="What to predict.")
@click.option("--model", "predictor", default="shipped", metavar="DIR", help="A trained predictor (default: shipped).")
@click.pass_obj
def predict(context: Context, paths: tuple[Path, ...], target: str, predictor: str) -> int:
    """Predict the PBE band gap of crystal structures (CIF, POSCAR, pymatgen JSON), with a 90 % interval."""
    from finetune.predict import load, predict_files
    from ui.show import show_predictions

    found = list(predict_files(paths, model=load(predictor)))
    emit(context, [one.to_json() for one in found], lambda: show_predictions(found))
    failed = sum(bool(one.error) for one in found)
    if failed == len(found):
        return FAILED
    return PARTLY if failed else DONE

"""The recipe of the shipped predictor, from records to a model folder, on a small made-up set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightgbm")

from finetune.predict import load
from finetune.stack import fit, prepare
from finetune.stack.ship import ship
from ingest.errors import BadInput

CATIONS = ("Li", "Na", "K", "Rb", "Cs", "Ag", "Cu", "Tl", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Fe", "Ni", "Al", "Ti")
ANIONS = ("F", "Cl", "Br", "I", "O", "S", "Se", "N", "P", "As", "Au", "Pd")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared work folder of 216 binary compounds in three sizes each; those with gold or palladium are metals."""
    folder = tmp_path_factory.mktemp("recipe")
    records = []
    for i, cation in enumerate(CATIONS):
        for j, anion in enumerate(ANIONS):
            for size in (3.6, 3.9, 4.2):
                gap = 0.0 if anion in ("Au", "Pd") else 6.0 - 0.4 * j - 0.1 * i - (size - 3.6)
                records.append(
                    {
                        "material_id": f"x-{len(records)}",
                        "formula": f"{cation}{anion}",
                        "band_gap": max(0.0, round(gap, 3)),
                        "nsites": 2,
                        "spacegroup_number": 225,
                        "volume": size**3 / 2**0.5,
                        "lattice": [size, size, size, 60.0, 60.0, 60.0],
                        "species": [cation, anion],
                        "frac_coords": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
                    }
                )
    data = folder / "data.jsonl"
    data.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    assert list(prepare.prepare(data, folder / "work", workers=1))
    return folder / "work"


def test_the_recipe_makes_a_model_that_beats_the_mean(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "TREES", {name: {**fit.TREES[name], "rounds": 60} for name in ("mean", "gapped")})
    opened = prepare.open_work(work)
    for name in fit.TREES:
        assert list(fit.fit_trees(opened, name, threads=1))
    small = {"width": 16, "layers": 1, "epochs": 2}
    assert len(list(fit.fit_network(opened, "network3", changes=small))) == 2
    card = ship(opened, work.parent / "model", threads=1)
    assert "| unseen formulas |" in card
    metrics = json.loads((work.parent / "model" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["random rows"]["stacked"]["r2"] > 0.5
    rows = [json.loads(line) for line in (work.parent / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = load(work.parent / "model").predict(rows)
    error = np.array([answer.value for answer in answers]) - np.array([row["band_gap"] for row in rows])
    assert np.abs(error).mean() < 0.5


def test_trees_that_were_interrupted_are_continued(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "PIECE", 10)
    monkeypatch.setattr(fit, "TREES", {"wide": {**fit.TREES["wide"], "rounds": 30}})
    opened = prepare.open_work(work)
    assert "10 trees" in next(fit.fit_trees(opened, "wide", threads=1))
    assert [line.split(" trees")[0] for line in fit.fit_trees(opened, "wide", threads=1)] == [
        "wide: 20",
        "wide: 30",
    ]
    assert "already" in next(fit.fit_trees(opened, "wide", threads=1))


def test_a_folder_prepared_from_other_data_is_refused(work: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("{}\n", encoding="utf-8")
    with pytest.raises(BadInput, match="another file"):
        next(prepare.prepare(other, work))


def test_a_folder_that_is_not_prepared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not prepared"):
        prepare.open_work(tmp_path)


def test_training_rows_and_test_rows_share_no_formula(work: Path) -> None:
    opened = prepare.open_work(work)
    names = np.array([row["formula"] for row in opened.rows])
    train = set(names[opened.rows_of(prepare.TRAIN)])
    held = set(names[opened.rows_of(prepare.TEST_FORMULAS, prepare.TEST_BOTH, prepare.VALIDATION_FORMULAS)])
    assert held
    assert not train & held

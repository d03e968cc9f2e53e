"""Evaluation of predicted band gaps: figures, invalid predictions, baselines, reports."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from finetune.dataset import Choices, prepare, read_split
from finetune.evaluate import evaluate, evaluate_file, evaluate_run, make_row, read_predictions, read_rows
from finetune.report import to_markdown, write_report
from finetune.sources import Source
from ingest.errors import BadInput

SALT = {
    "lattice": [3.99, 3.99, 3.99, 60, 60, 60],
    "species": ["Na", "Cl"],
    "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
}


def rows(count: int = 12) -> list:
    anions = ["F", "Cl", "Br", "I"]
    cations = ["Li", "Na", "K", "Rb", "Cs", "Ag"]
    random = np.random.default_rng(0)
    return [
        make_row(
            {
                **SALT,
                "material_id": f"m-{index}",
                "species": [cations[index % 6], anions[index % 4]],
                "band_gap": float(random.random() * 8) if index % 3 else 0.0,
            }
        )
        for index in range(count)
    ]


def test_perfect_predictions_score_perfectly() -> None:
    data = rows()
    report = evaluate(data, [row.target for row in data], model="oracle", baselines=False)
    assert report.metrics["mae"].value == 0
    assert report.metrics["r2"].value == 1
    assert report.n == 12


def test_figures_are_those_of_their_definitions() -> None:
    data = rows()
    truth = np.array([row.target for row in data])
    guess = truth + np.linspace(-1, 1, 12)
    report = evaluate(data, guess.tolist(), model="m", baselines=False)
    error = guess - truth
    assert report.metrics["mae"].value == pytest.approx(np.abs(error).mean())
    assert report.metrics["rmse"].value == pytest.approx(math.sqrt((error**2).mean()))
    assert report.metrics["r2"].value == pytest.approx(1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum())
    assert report.metrics["mae"].low <= report.metrics["mae"].value <= report.metrics["mae"].high


def test_invalid_predictions_are_counted_and_named() -> None:
    data = rows()
    guess = [row.target for row in data]
    guess[3] = math.nan
    report = evaluate(data, guess, model="m", baselines=False)
    assert (report.n, report.invalid, report.invalid_ids) == (11, 1, ("m-3",))
    assert "Invalid: m-3" in to_markdown(report)


def test_coverage_is_the_share_of_targets_inside_the_interval() -> None:
    data = rows()
    truth = [row.target for row in data]
    low = [value - 0.1 for value in truth]
    high = [value + (0.1 if index >= 3 else -0.05) for index, value in enumerate(truth)]
    report = evaluate(data, truth, model="m", low=low, high=high, baselines=False)
    assert report.metrics["coverage90"].value == pytest.approx(9 / 12)


def test_baselines_answer_the_same_rows() -> None:
    data = rows(52)
    report = evaluate(data, [row.target for row in data], model="m")
    assert set(report.baselines) == {"mean", "composition_knn", "gradient_boosting"}
    assert all(scores["mae"].value > 0 for scores in report.baselines.values())


def test_neighbours_of_the_training_rows_find_the_same_composition() -> None:
    data = rows(60)
    report = evaluate(data[:10], [0.0] * 10, model="m", training=data[10:])
    assert report.baselines["mean"]["mae"].value > 0
    assert "50 training rows" in report.signature


def test_errors_are_split_by_value_and_by_size() -> None:
    data = rows()
    report = evaluate(data, [0.0] * 12, model="m", baselines=False)
    assert report.by_value["≤ 0 eV"] == (4, 0.0)
    assert report.by_sites == {"≤ 10 sites": (12, pytest.approx(np.mean([row.target for row in data])))}


def test_a_report_is_written_with_both_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    data = rows()
    report = evaluate(data, [row.target + 0.1 for row in data], model="m", baselines=False)
    paths = write_report(report, tmp_path / "out")
    assert [path.name for path in paths] == ["report.md", "report.json", "parity.png", "parity.svg"]
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[3].read_text(encoding="utf-8")[:2000]
    assert json.loads(paths[1].read_text(encoding="utf-8"))["metrics"]["mae"]["value"] == pytest.approx(0.1)


def test_predictions_of_other_programs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,prediction\nm-1,1.5\nm-2,about two\nm-3,\n", encoding="utf-8")
    found = read_predictions(path)
    assert found["m-1"] == 1.5
    assert math.isnan(found["m-2"])
    assert math.isnan(found["m-3"])


def test_predictions_that_answer_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,prediction\nm-1,1.5\nm-1,1.5\n", encoding="utf-8")
    with pytest.raises(BadInput, match="'m-1' twice"):
        read_predictions(path)


def test_predictions_without_the_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("name,gap\nx,1\n", encoding="utf-8")
    with pytest.raises(BadInput, match="'id' and 'prediction'"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "no band_gap"),
        ({"band_gap": math.nan}, "no finite number"),
        ({"band_gap": "1.2"}, "no finite number"),
        ({"band_gap": 1.0, "species": ["Na", "Qq"]}, "'Qq' is not an element"),
        ({"band_gap": 1.0, "lattice": None}, "malformed"),
        ({"band_gap": 1.0, "frac_coords": [[0, 0, 0]]}, "do not make a structure"),
    ],
)
def test_a_record_that_cannot_be_scored_says_why(change: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make_row({**SALT, "material_id": "x", **change})


def test_unusable_records_are_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    good = {**SALT, "material_id": "good", "band_gap": 5.0}
    bad = {**SALT, "material_id": "bad"}
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    found, skipped = read_rows(path)
    assert [row.id for row in found] == ["good"]
    assert skipped == ["bad: no band_gap"]


def test_a_file_without_usable_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("", encoding="utf-8")
    with pytest.raises(BadInput, match="holds no record"):
        read_rows(path)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(BadInput, match="empty"):
        evaluate([], [], model="m")


def test_records_that_another_program_does_not_answer_count_as_invalid(tmp_path: Path) -> None:
    data, answers = tmp_path / "r.jsonl", tmp_path / "p.csv"
    records = [{**SALT, "material_id": f"m{index}", "band_gap": float(index)} for index in range(4)]
    data.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    answers.write_text("id,prediction\nm0,0\nm1,1.5\nm2,none\nelsewhere,3\n", encoding="utf-8")
    report = evaluate_file(data, predictions=answers, baselines=False)
    assert (report.n, report.invalid, report.model) == (2, 2, "p.csv")
    assert report.metrics["mae"].value == pytest.approx(0.25)


def test_other_targets_are_scored_in_their_unit(tmp_path: Path) -> None:
    data, answers = tmp_path / "r.jsonl", tmp_path / "p.csv"
    records = [{**SALT, "material_id": f"m{index}", "e_above_hull": 0.01 * index} for index in range(8)]
    data.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    answers.write_text("id,prediction\n" + "\n".join(f"m{index},0.02" for index in range(8)), encoding="utf-8")
    report = evaluate_file(data, predictions=answers, target="energy_above_hull", baselines=False)
    assert (report.target, report.unit) == ("energy_above_hull", "eV/atom")
    assert report.metrics["mae"].value == pytest.approx(0.0225)
    assert "# Energy above hull predicted by p.csv" in to_markdown(report)
    assert all("eV/atom" in name for name in report.by_value)


def test_a_split_of_a_dataset_is_scored_beside_baselines_that_learnt_from_its_training_rows(tmp_path: Path) -> None:
    source, answers = tmp_path / "r.jsonl", tmp_path / "p.csv"
    source.write_text("\n".join(json.dumps(record(index)) for index in range(90)), encoding="utf-8")
    prepare(Source((source,)), tmp_path / "rows", Choices(style="compact", validation=10, test=20), workers=1)
    test = read_split(tmp_path / "rows", "test")
    answers.write_text("id,prediction\n" + "\n".join(f"{row['id']},{row['value']}" for row in test), encoding="utf-8")
    report = evaluate_run("p", dataset=tmp_path / "rows", predictions=answers)
    assert (report.n, report.metrics["mae"].value) == (20, 0)
    assert set(report.baselines) == {"mean", "composition_knn", "gradient_boosting"}
    assert "60 training rows" in report.signature
    with pytest.raises(BadInput, match="no training run"):
        evaluate_run("shipped")


def record(index: int) -> dict:
    return {
        **SALT,
        "material_id": f"m-{index}",
        "lattice": [3.5 + 0.01 * index] * 3 + [60.0] * 3,
        "species": [["Li", "Na", "K", "Rb", "Cs", "Ag"][index % 6], ["F", "Cl", "Br", "I"][index % 4]],
        "band_gap": 0.0 if index % 3 else 0.1 * (index % 40),
    }

"""Prediction: every kind of input, errors per item, models on disk, trees as arrays, the network's checkpoints."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from finetune.predict import SHIPPED, BandGapModel, Prediction, load, predict_files
from finetune.stack import trees
from finetune.stack.card import shared_with_training
from finetune.stack.describe import describe_structures
from finetune.stack.features import feature_names
from finetune.stack.model import Blend, StackedModel, StackSettings, save_stack
from finetune.stack.prepare import TEST_BOTH, TEST_FORMULAS, TEST_ROWS, TRAIN, split
from finetune.stack.ship import calibrate, fit_blend, write_card
from finetune.stack.trees import Forest
from ingest.crystals import Crystal, make_crystal
from ingest.errors import BadInput, ModelError
from ingest.structure_files import parse_cif, parse_poscar, read_structures, to_crystal

POSCAR = """Si diamond
1.0
0.0 2.73 2.73
2.73 0.0 2.73
2.73 2.73 0.0
Si
2
Direct
0 0 0
0.25 0.25 0.25
"""
CIF = """data_NaCl
_symmetry_space_group_name_H-M 'F m -3 m'
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 1
"""


def stump(feature: str, threshold: float, below: float, above: float) -> Forest:
    return Forest(
        np.array([feature_names().index(feature), 0, 0], dtype=np.uint16),
        np.array([threshold, below, above], dtype=np.float32),
        np.array([1, -1, -1], dtype=np.int32),
        np.array([True, False, False]),
        np.array([0], dtype=np.int32),
    )


def constant(value: float) -> Forest:
    return Forest(
        np.zeros(1, dtype=np.uint16),
        np.array([value], dtype=np.float32),
        np.array([-1], dtype=np.int32),
        np.array([False]),
        np.array([0], dtype=np.int32),
    )


def tiny_settings() -> StackSettings:
    return StackSettings("tiny", "band_gap", "eV", Blend({"median": 1.0}, 0.05), 2.0, 0.02, len(feature_names()))


@pytest.fixture
def tiny(tmp_path: Path) -> StackedModel:
    """A model of one split: 5 eV where the electronegativities differ by more than 1, else 1 eV; ± 0.6."""
    forests = {"median": stump("negativity difference", 1.0, 1.0, 5.0), "scale": constant(0.3)}
    save_stack(tmp_path / "tiny", tiny_settings(), forests, {}, extra={})
    model = load(tmp_path / "tiny")
    assert isinstance(model, StackedModel)
    return model


def salt() -> Crystal:
    return make_crystal(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 2.82, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_texts_paths_dictionaries_and_crystals_give_one_answer_each(tiny: StackedModel, tmp_path: Path) -> None:
    poscar = tmp_path / "POSCAR"
    poscar.write_text(POSCAR, encoding="utf-8")
    record = {"lattice": [3.99, 3.99, 3.99, 60, 60, 60], "species": ["Na", "Cl"], "frac_coords": [[0] * 3, [0.5] * 3]}
    answers = tiny.predict([CIF, POSCAR, poscar, str(poscar), record, salt()])
    assert [answer.formula for answer in answers] == ["NaCl", "Si", "Si", "Si", "NaCl", "NaCl"]
    assert [answer.value for answer in answers] == [5, 1, 1, 1, 5, 5]
    assert answers[0].low == pytest.approx(4.4)
    assert answers[0].high == pytest.approx(5.6)
    assert (answers[0].unit, answers[0].model) == ("eV", "tiny")


def test_pymatgen_structures_and_their_json_are_read(tiny: StackedModel) -> None:
    core = pytest.importorskip("pymatgen.core")
    structure = core.Structure(core.Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    for source in (structure, structure.as_dict(), structure.to_json()):
        assert tiny.predict([source])[0].formula == "MgO"


def test_one_bad_item_does_not_stop_the_others(tiny: StackedModel) -> None:
    disordered = CIF.replace("0 0 0 1\n", "0 0 0 0.5\n")
    unknown = POSCAR.replace("Si\n2", "Xq\n2")
    short = POSCAR.replace("0.25 0.25 0.25\n", "")
    together = POSCAR.replace("0.25 0.25 0.25", "0.0 0.0 0.0")
    answers = tiny.predict([disordered, CIF, unknown, short, together, 7, "", "data_x\n_a 1\n"])
    assert answers[1].value == 5
    messages = [answer.error for answer in answers]
    expected = [
        "disordered",
        "",
        "'Xq' is not an element",
        "cut short",
        "0.00 Å apart",
        "no structure",
        "empty",
        "no crys",
    ]
    for message, words in zip(messages, expected, strict=True):
        assert words in message
    assert all(math.isnan(answer.value) for answer in answers if answer.error)
    assert answers[0].to_json()["value"] is None


def test_intervals_never_begin_below_zero(tiny: StackedModel) -> None:
    assert all(answer.low >= 0 for answer in tiny.predict([POSCAR, CIF]))


def test_worker_processes_change_nothing(tiny: StackedModel) -> None:
    many = [CIF, POSCAR, "nonsense"] * 90
    assert [str(answer) for answer in tiny.predict(many, workers=2)] == [
        str(answer) for answer in tiny.predict(many, workers=1)
    ]


def test_files_and_folders_are_answered_by_name(tiny: StackedModel, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.cif").write_text(CIF, encoding="utf-8")
    (folder / "b.vasp").write_text(POSCAR, encoding="utf-8")
    (folder / "c.cif").write_text("loop_ loop_", encoding="utf-8")
    (folder / "notes.txt").write_text("not a structure", encoding="utf-8")
    answers = {Path(answer.name).name: answer for answer in predict_files([folder, tmp_path / "no.cif"], model=tiny)}
    assert answers["a.cif"].formula == "NaCl"
    assert answers["b.vasp"].formula == "Si"
    assert "malformed" in answers["c.cif"].error
    assert "there is no file" in answers["no.cif"].error
    assert "notes.txt" not in answers


def test_every_shared_cif_has_an_answer_or_a_reason(tiny: StackedModel, shared_data: Path) -> None:
    files = sorted((shared_data / "cif").glob("*.cif"))
    answers = list(predict_files(files, model=tiny))
    assert {Path(answer.name.split("#")[0]).name for answer in answers} == {path.name for path in files}
    assert all(answer.error or math.isfinite(answer.value) for answer in answers)
    assert sum(not answer.error for answer in answers) >= 60


@pytest.mark.filterwarnings("ignore")
def test_cells_equal_those_that_pymatgen_reads(shared_data: Path) -> None:
    parser = pytest.importorskip("pymatgen.io.cif")
    for name in ("cod_1000050", "gemmi_2013551", "pmg_garnet", "pmg_LiFePO4", "pmgtf_ABC6D2_mC40_15_e_e_3f_f"):
        path = shared_data / "cif" / f"{name}.cif"
        theirs = parser.CifParser(str(path)).parse_structures(primitive=False)[0]
        mine = to_crystal(path)
        assert mine.volume_a3 == pytest.approx(theirs.volume, rel=1e-6)
        assert sorted(mine.numbers.tolist()) == sorted(theirs.atomic_numbers)
        distances = theirs.lattice.get_all_distances(mine.frac, theirs.frac_coords)
        same = mine.numbers[:, None] == np.array(theirs.atomic_numbers)
        assert np.where(same, distances, 9).min(1).max() < 0.01


def test_poscar_scale_cartesian_and_selective_forms_are_the_same_crystal() -> None:
    plain = parse_poscar(POSCAR)
    scaled = parse_poscar(POSCAR.replace("1.0\n", "2.0\n", 1).replace("2.73", "1.365"))
    volume = parse_poscar(POSCAR.replace("1.0\n", f"-{plain.volume_a3}\n", 1).replace("2.73", "5.0"))
    cartesian = parse_poscar(
        POSCAR.replace("Direct", "Selective dynamics\nCartesian").replace("0.25 0.25 0.25", "1.365 1.365 1.365 T T F")
    )
    old = parse_poscar(POSCAR.replace("Si diamond", "Si").replace("Si\n2", "2"))
    for other in (scaled, volume, cartesian, old):
        np.testing.assert_allclose(other.lattice, plain.lattice, atol=1e-6)
        np.testing.assert_allclose(other.frac, plain.frac, atol=1e-6)


def test_symmetry_operations_of_a_cif_complete_the_cell() -> None:
    assert np.bincount(parse_cif(CIF).numbers)[[11, 17]].tolist() == [4, 4]


def test_a_file_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_text("x", encoding="utf-8")
    with pytest.raises(BadInput, match="no known kind"):
        list(read_structures(path))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no settings\.json"):
        BandGapModel.load(tmp_path)


def test_a_model_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"format": 99, "kind": "stack"}), encoding="utf-8")
    with pytest.raises(ModelError, match="newer"):
        load(tmp_path)


def test_a_damaged_model_is_refused(tiny: StackedModel, tmp_path: Path) -> None:
    path = tmp_path / "tiny" / "trees.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path / "tiny")


def test_trees_as_arrays_predict_what_lightgbm_predicts() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    random = np.random.default_rng(0)
    values = random.normal(size=(600, 5)).astype(np.float32)
    values[random.random(values.shape) < 0.1] = np.nan
    target = np.nan_to_num(values[:, 0]) * 2 + np.isnan(values[:, 1])
    settings = {"verbose": -1, "num_threads": 1, "num_leaves": 15}
    booster = lightgbm.train(settings, lightgbm.Dataset(values, target), 30)
    forest = trees.from_lightgbm(booster.dump_model())
    np.testing.assert_allclose(trees.predict(forest, values), booster.predict(values), atol=1e-5)


def test_rows_keep_their_part_of_the_split_whatever_surrounds_them() -> None:
    ids = [f"mp-{index}" for index in range(4000)]
    formulas = [f"A{index % 700}B" for index in range(4000)]
    part = split(ids, formulas)
    assert (split(ids[::-1], formulas[::-1])[::-1] == part).all()
    assert 0.03 < np.isin(part, (TEST_ROWS, TEST_BOTH)).mean() < 0.07
    trained = {formula for formula, where in zip(formulas, part, strict=True) if where == TRAIN}
    tested = {formula for formula, where in zip(formulas, part, strict=True) if where in (TEST_FORMULAS, TEST_BOTH)}
    assert not trained & tested


def test_the_better_part_gets_the_larger_share() -> None:
    random = np.random.default_rng(0)
    truth = np.abs(random.normal(size=500)).astype(np.float32)
    parts = {
        "median": truth + random.normal(scale=0.05, size=500).astype(np.float32),
        "mean": truth + random.normal(scale=0.5, size=500).astype(np.float32),
    }
    assert fit_blend(parts, truth, steps=600).weights["median"] > 0.9


def test_what_is_taken_for_a_metal_has_no_gap() -> None:
    blend = Blend({"mean": 1.0}, 0.1, {"gapped": 1.0}, -1.0)
    parts = {
        "mean": np.array([2.0, 2.0, 0.05, -1.0], dtype=np.float32),
        "gapped": np.array([3.0, -3.0, 3.0, 3.0], dtype=np.float32),
    }
    assert blend.value(parts).tolist() == [2, 0, 0, 0]


def test_calibrated_intervals_cover_nine_in_ten() -> None:
    pytest.importorskip("lightgbm")
    random = np.random.default_rng(0)
    inputs = random.random((3000, 3)).astype(np.float32)
    errors = np.abs(random.normal(size=3000) * (0.1 + inputs[:, 0])).astype(np.float32)
    forest, factor = calibrate(inputs[:1500], errors[:1500], threads=1)
    width = np.maximum(trees.predict(forest, inputs[1500:]), 0.02) * factor
    assert 0.87 < (errors[1500:] <= width).mean() < 0.93


def test_the_shipped_model_answers_without_a_download() -> None:
    if not (SHIPPED / "settings.json").is_file():
        pytest.skip("no model is shipped yet")
    silicon, rock_salt = load().predict([POSCAR, CIF])
    assert 0.2 < silicon.value < 1.2  # PBE: 0.6 eV
    assert 4.0 < rock_salt.value < 6.0  # PBE: 5.0 eV
    assert silicon.low <= silicon.value <= silicon.high


def test_the_shipped_model_is_small_and_says_how_it_was_made() -> None:
    if not (SHIPPED / "settings.json").is_file():
        pytest.skip("no model is shipped yet")
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 30e6
    assert {path.suffix for path in SHIPPED.iterdir()} <= {".json", ".md", ".safetensors", ".py"}
    assert "python -m finetune.stack" in (SHIPPED / "card.md").read_text(encoding="utf-8")


def test_describing_nothing_gives_nothing() -> None:
    assert describe_structures([]) == []


def test_the_example_predicts_a_folder_and_draws_the_parity_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "predict_gaps.py"))
    table = example["write_sample"](tmp_path / "structures")
    example["main"](tmp_path / "structures", table, tmp_path / "report")
    printed = capsys.readouterr().out
    assert "GaN: " in printed
    assert "31 known gaps" in printed
    assert (tmp_path / "report" / "parity.png").is_file()


def test_any_model_is_named_alike(tmp_path: Path) -> None:
    assert BandGapModel.load().target == "band_gap"
    with pytest.raises(ModelError, match="predicts band_gap, not energy_per_atom"):
        load(target="energy_per_atom")
    with pytest.raises(ModelError, match="there is no model"):
        load(str(tmp_path / "nothing.gguf"))
    with pytest.raises(BadInput, match="there is no target 'hardness'"):
        load(target="hardness")


def test_an_answer_without_an_interval_says_so() -> None:
    nan = math.nan
    written = Prediction("a.cif", "NaCl", 5.0, nan, nan, "eV", "model", confidence=0.25)
    assert written.to_json()["low"] is None
    assert written.to_json()["confidence"] == 0.25
    assert str(written) == "NaCl: 5.00 eV (probability of these digits 0.25)"


def test_an_element_that_was_hardly_trained_on_is_named() -> None:
    structure = {"lattice": [6.0] * 3 + [60.0] * 3, "species": ["Po", "O"], "frac_coords": [[0] * 3, [0.5] * 3]}
    polonium, salt_again = load().predict([structure, salt()])
    assert "Po" in polonium.note
    assert "Po" in polonium.to_json()["note"]
    assert salt_again.note == ""


def test_the_shipped_card_is_what_its_settings_and_figures_say(tmp_path: Path) -> None:
    for name in ("settings.json", "metrics.json"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    assert write_card(tmp_path) == (SHIPPED / "card.md").read_text(encoding="utf-8")


def test_rows_that_share_their_formula_or_crystal_with_training_rows_are_known() -> None:
    def row(formula: str, group: int, volume: float) -> dict:
        return {"formula": formula, "spacegroup_number": group, "volume": volume, "nsites": 2}

    rows = [row("NaCl", 225, 40.0), row("NaCl", 225, 40.5), row("NaCl", 221, 40.0), row("KCl", 225, 40.0)]
    assert shared_with_training(rows, np.array([TRAIN, TEST_ROWS, TEST_ROWS, TEST_ROWS])).tolist()[1:] == [2, 1, 0]

"""Dataset folders: rows, splits, the card, and a message for everything that cannot be used."""

from __future__ import annotations

import gzip
import json
import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import record, write

from finetune.dataset import Choices, prepare, read_card, read_split, read_split_ids
from finetune.sources import Source, read_usable
from finetune.tasks import TARGETS, NotANumber, make_completion, make_prompt, parse_number
from finetune.texts import TextCache, render_cached
from ingest.errors import BadInput
from ingest.structure_files import to_crystal
from ingest.structure_text import compact_text, tutorial_prompt
from ui.cli import main


@pytest.fixture
def twenty(tmp_path: Path) -> Path:
    return write(tmp_path / "records.jsonl", [record(index) for index in range(20)])


def make(path: Path, folder: Path, **choices: object) -> dict:
    given = {"style": "compact", "validation": 2, "test": 4} | choices
    return prepare(Source((path,)), folder, Choices(**given), workers=1)


def ids(folder: Path, split: str) -> set[str]:
    return {row["id"] for row in read_split(folder, split)}


def test_rows_say_what_a_model_is_given_and_what_it_shall_write(twenty: Path, tmp_path: Path) -> None:
    make(twenty, tmp_path / "rows")
    row = next(row for row in read_split(tmp_path / "rows", "train") if row["id"] == "mp-3")
    assert row["prompt"] == row["text"] + "\nbandgap (eV):\n"
    assert row["completion"] == "1.50"
    assert row["value"] == 1.5
    assert row["text"] == compact_text(to_crystal(row))
    assert row["nsites"] == 2


def test_the_tutorials_prompt_is_what_a_tutorial_row_holds(twenty: Path, tmp_path: Path) -> None:
    make(twenty, tmp_path / "rows", style="tutorial")
    for row in read_split(tmp_path / "rows", "test"):
        assert row["prompt"] == tutorial_prompt(to_crystal(row))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_split(twenty: Path, tmp_path: Path) -> None:
    first, again = make(twenty, tmp_path / "a", seed=1), make(twenty, tmp_path / "b", seed=1)
    other = make(twenty, tmp_path / "c", seed=2)
    assert first["hash"] == again["hash"] != other["hash"]
    for split in ("train", "validation", "test"):
        assert (tmp_path / "a" / f"{split}.jsonl.gz").read_bytes() == (
            tmp_path / "b" / f"{split}.jsonl.gz"
        ).read_bytes()


def test_splits_share_no_record_and_have_the_sizes_asked_for(twenty: Path, tmp_path: Path) -> None:
    card = make(twenty, tmp_path / "rows")
    parts = [ids(tmp_path / "rows", split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [14, 2, 4]
    assert len(set().union(*parts)) == 20
    assert card["rows"] == {"train": 14, "validation": 2, "test": 4}


def test_a_random_split_says_how_many_polymorphs_leak_and_a_grouped_one_has_none(twenty: Path, tmp_path: Path) -> None:
    leaking = make(twenty, tmp_path / "random")
    grouped = make(twenty, tmp_path / "grouped", split="formula")
    assert leaking["records_whose_formula_is_in_train"]["test"] > 0
    assert grouped["records_whose_formula_is_in_train"] == {"validation": 0, "test": 0}
    formulas = [{row["formula"] for row in read_split(tmp_path / "grouped", split)} for split in ("train", "test")]
    assert not formulas[0] & formulas[1]


def test_some_rows_of_a_split_are_drawn_not_the_first_and_always_the_same(twenty: Path, tmp_path: Path) -> None:
    make(twenty, tmp_path / "rows")
    every = read_split(tmp_path / "rows", "train")
    some = read_split(tmp_path / "rows", "train", limit=7)
    assert some == read_split(tmp_path / "rows", "train", limit=7) != every[:7]
    assert [row for row in every if row in some] == some
    assert read_split(tmp_path / "rows", "train", limit=99) == every


def test_a_split_by_given_ids_is_kept(twenty: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("id,split\nmp-1,train\nmp-2,train\nmp-3,test\n", encoding="utf-8")
    make(twenty, tmp_path / "rows", split_ids=read_split_ids(table))
    assert ids(tmp_path / "rows", "train") == {"mp-1", "mp-2"}
    assert ids(tmp_path / "rows", "test") == {"mp-3"}
    with pytest.raises(BadInput, match=r"'validation' of .* is empty"):
        read_split(tmp_path / "rows", "validation")


def test_an_id_in_two_splits_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "splits.json"
    table.write_text(json.dumps({"train": ["mp-1"], "test": ["mp-1"]}), encoding="utf-8")
    with pytest.raises(BadInput, match="both 'train' and 'test'"):
        read_split_ids(table)


def test_several_targets_give_a_row_each_in_the_same_split(twenty: Path, tmp_path: Path) -> None:
    targets = ("band_gap", "formation_energy_per_atom")
    make(twenty, tmp_path / "rows", targets=targets)
    rows = [
        row
        for row in read_split(tmp_path / "rows", "train")
        if row["id"] == read_split(tmp_path / "rows", "train")[0]["id"]
    ]
    assert {row["task"] for row in rows} == set(targets)
    assert {row["prompt"].splitlines()[-1] for row in rows} == {"bandgap (eV):", "formation energy per atom (eV/atom):"}
    assert len(read_split(tmp_path / "rows", "train", target="band_gap")) == 14


def test_duplicates_are_left_out_and_counted(tmp_path: Path) -> None:
    records = [record(index) for index in range(20)]
    records += [record(3), record(3, material_id="mp-99")]  # the same id; the same cell under another id
    card = make(write(tmp_path / "records.jsonl", records), tmp_path / "rows")
    assert card["duplicates"] == {"same_id": 1, "same_structure": 1}
    assert card["usable"] == 20
    assert "mp-99: the same cell" in (tmp_path / "rows" / "skipped.txt").read_text()


BAD = {
    "has no band_gap": record(50, band_gap=None),
    "field 'band_gap': is NaN": record(51, band_gap=math.nan),
    "no element": record(52, formula="", species=["Na", "Xx"]),
    "field 'frac_coords'": record(53, frac_coords=[[0, 0, 0]]),
    "not JSON": None,
}


@pytest.mark.parametrize("message", BAD)
def test_a_record_that_cannot_be_used_is_listed_with_its_reason(message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "records.jsonl", [record(index) for index in range(20)])
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(BAD[message]) if BAD[message] else "{broken")
    card = make(path, tmp_path / "rows")
    assert card["usable"] == 20
    assert message in (tmp_path / "rows" / "skipped.txt").read_text()


def test_a_disordered_structure_is_listed_with_what_its_site_holds(tmp_path: Path) -> None:
    site = {"species": [{"element": "Fe", "occu": 0.5}, {"element": "Ni", "occu": 0.5}], "abc": [0, 0, 0]}
    mixed = {"lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}, "sites": [site]}
    document = {"material_id": "mp-60", "formula_pretty": "FeNi", "band_gap": 0.0, "structure": mixed}
    path = write(tmp_path / "records.jsonl", [*(record(index) for index in range(20)), document])
    make(path, tmp_path / "rows")
    assert "disordered: a site holds 0.5 Fe + 0.5 Ni" in (tmp_path / "rows" / "skipped.txt").read_text()


def test_every_shared_cif_becomes_rows_or_says_why_not(shared_data: Path) -> None:
    answered, refused = set(), {}
    for path in sorted((shared_data / "cif").glob("*.cif")):
        said: list[str] = []
        materials = [replace(one, band_gap_ev=1.25) for one in Source((path,)).materials(said.append)]
        usable = list(read_usable(materials, targets=("band_gap",), report=said.append))
        assert usable or said, path.name
        assert len(usable) + len(said) == max(1, len(materials)), path.name  # none is lost without a word
        (answered.add(path.name) if usable else refused.update({path.name: said}))
        for text in render_cached([one.crystal for one in usable[:1]], TextCache(None), style="words"):
            assert make_prompt(text, "band_gap", "words").startswith("group ")
    assert len(answered) >= 60
    reasons = " ".join(reason for said in refused.values() for reason in said)
    for words in ("holds no crystal structure", "disordered: a site holds 0.691 Li", "not a finite number"):
        assert words in reasons


@pytest.mark.parametrize(("name", "reason"), [("broken.cif", "holds no crystal structure"), ("good.cif", "it has no")])
def test_cif_files_that_give_no_row_are_refused_with_the_first_reason(
    name: str, reason: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(shared_data / "cif" / "pmg_LiFePO4.cif", tmp_path / "good.cif")
    (tmp_path / "broken.cif").write_text("data_x\nloop_\n_atom_site_label\n", encoding="utf-8")
    assert main(["finetune", "prepare", str(tmp_path / name), "-o", str(tmp_path / "rows")]) != 0
    error = capsys.readouterr().err
    assert "no record can be used for band_gap" in error
    assert reason in error


def test_an_empty_split_is_refused_before_anything_is_rendered(twenty: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'validation' would be empty"):
        make(twenty, tmp_path / "rows", test=20)
    with pytest.raises(BadInput, match="no record can be used for energy_above_hull"):
        make(twenty, tmp_path / "other", targets=("energy_above_hull",))


def test_a_dataset_is_replaced_only_when_asked(twenty: Path, tmp_path: Path) -> None:
    make(twenty, tmp_path / "rows")
    with pytest.raises(BadInput, match="holds a dataset already"):
        make(twenty, tmp_path / "rows")
    with pytest.raises(BadInput, match="not empty and no dataset"):
        make(twenty, tmp_path)
    with pytest.raises(BadInput, match="no dataset folder"):
        read_card(tmp_path)


def test_a_summary_of_the_materials_project_gives_magnetisation_by_volume(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "materials" / "mp_summary_llm4mat.jsonl"
    card = make(path, tmp_path / "rows", targets=tuple(TARGETS), test=2)
    assert card["usable"] > 10
    assert read_split(tmp_path / "rows", "train", target="band_gap")


def test_real_records_give_rows_whose_crystals_render_to_the_same_text(shared_data: Path, tmp_path: Path) -> None:
    with gzip.open(shared_data / "bandgap" / "mp_bandgap.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [next(file) for _ in range(300)]
    (tmp_path / "real.jsonl").write_text("".join(lines), encoding="utf-8")
    card = make(tmp_path / "real.jsonl", tmp_path / "rows", test=20)
    assert card["rows"]["train"] > 250
    assert all(row["text"] == compact_text(to_crystal(row)) for row in read_split(tmp_path / "rows", "test"))


def test_a_text_is_rendered_once(twenty: Path, tmp_path: Path) -> None:
    crystals = [to_crystal(record(index)) for index in range(6)]
    path = tmp_path / "cache.sqlite"
    first = TextCache(path)
    texts = list(render_cached(crystals, first, style="compact", workers=1))
    first.close()
    second = TextCache(path)
    assert list(render_cached(crystals, second, style="compact", workers=1)) == texts
    assert (first.misses, second.misses, second.hits) == (6, 0, 6)
    assert list(render_cached(crystals[:1], second, style="tutorial", workers=1)) != texts[:1]


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"not a database" * 100)
    cache = TextCache(tmp_path / "cache.sqlite")
    assert list(render_cached([to_crystal(record(1))], cache, style="compact", workers=1))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.23", 1.23), (" 0.00\n", 0.0), ("2 eV", 2.0), (".5", 0.5), ("1e-2", 0.01), ("3.2021999", 3.2021999)],
)
def test_a_number_is_read(text: str, value: float) -> None:
    assert parse_number(text, "band_gap") == value


@pytest.mark.parametrize("text", ["", "1.2.3", "about 2", "1.2 or 3", "nan", "inf", "-0.5", "1,5", "99999", "１.５"])
def test_a_text_that_is_no_gap_is_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(NotANumber, match="the model wrote"):
        parse_number(text, "band_gap")


def test_an_energy_may_be_negative() -> None:
    assert parse_number("-3.125", "formation_energy_per_atom") == -3.125


def test_a_completion_is_rounded_and_never_minus_zero() -> None:
    assert make_completion(3.2021999999999995, "band_gap") == "3.20"
    assert make_completion(-0.0001, "formation_energy_per_atom") == "0.000"
    assert make_completion(3.2021999999999995, "band_gap", decimals=4) == "3.2022"


def test_an_unknown_target_or_style_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="no target 'gap'") as caught:
        make_prompt("x", "gap", "compact")
    assert "band_gap" in caught.value.hint
    with pytest.raises(BadInput, match="no structure text 'long'"):
        make_prompt("x", "band_gap", "long")


def test_the_tutorials_dumps_are_read_when_that_is_agreed_to(tmp_path: Path) -> None:
    core = pytest.importorskip("pymatgen.core")
    documents = [
        {
            "material_id": f"mp-{index}",
            "formula_pretty": "NaCl",
            "structure": core.Structure(core.Lattice.cubic(4 + 0.1 * index), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]),
            "band_gap": 0.25 * index,
        }
        for index in range(20)
    ]
    path = tmp_path / "20240718_0000.pkl"
    path.write_bytes(pickle.dumps(documents))
    with pytest.raises(BadInput, match="is a Python pickle"):
        make(path, tmp_path / "refused")
    prepare(Source((path,), allow_pickle=True), tmp_path / "rows", Choices(test=4), workers=1)
    assert read_split(tmp_path / "rows", "train", limit=1)[0]["prompt"].startswith("Instruction: What is the bandgap")


def test_the_library_is_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "records.jsonl", [record(index) for index in range(20)])
    assert main(["materials", "import", str(path), "--quiet"]) == 0
    assert (
        main(["finetune", "prepare", "-o", str(tmp_path / "rows"), "--style", "compact", "--no-cache", "--json"]) == 0
    )
    capsys.readouterr()
    assert read_card(tmp_path / "rows")["usable"] == 20

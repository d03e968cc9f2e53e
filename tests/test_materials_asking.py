"""Records asked for as people write: ids, formulas, space groups, conditions; and files as they come packed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.tools.materials import make_filter
from ingest.embed import make_embedder
from ingest.errors import BadInput, NotInLibrary
from ingest.library import Library
from ingest.materials import Material, find_spacegroup, parse_condition, parse_records, search
from ingest.materials.importing import import_materials
from ingest.materials.problems import BadRecord
from ingest.materials.spacegroups import symbol_of
from tests.test_materials_import import OPTIMADE, POSCAR
from ui.cli import main

RECORDS = [
    {
        "material_id": "mp-149", "formula_pretty": "Si", "band_gap": 0.61, "is_gap_direct": False, "density": 2.28,
        "symmetry": {"symbol": "Fd-3m"}, "bulk_modulus": {"vrh": 88.9}, "energy_above_hull": 4e-9,
    },
    {
        "material_id": "mp-66", "formula_pretty": "C", "names": ["diamond"], "band_gap": 4.12, "density": 3.5,
        "symmetry": {"number": 227}, "bulk_modulus": {"vrh": 435.7}, "energy_above_hull": 0.13,
    },
    {
        "material_id": "mp-19770", "formula_pretty": "Fe2O3", "band_gap": 2.0, "density": 5.2,
        "total_magnetization": 20.0, "symmetry": {"symbol": "P2_1/c", "number": 14},
        "bulk_modulus": {"vrh": 170.0}, "energy_above_hull": 0.0,
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("asking")
    path = folder / "records.json"
    path.write_text(json.dumps(RECORDS))
    with Library.create(folder / "library", embedder=make_embedder("hashing").info, recipe="r") as made:
        import_materials(made, [path])
        yield made


def ids(library: Library, **filters: Any) -> list[str]:
    with library.reading() as connection:
        from ingest.materials import find

        return [each.material_id for each in find(connection, make_filter(**filters))]


# --- ids, formulas, symbols -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["mp-149", "MP-149", " mp-149 ", "149", "mp-aaaaaaft"])
def test_one_id_in_many_spellings(library: Library, given: str) -> None:
    assert library.material(given).material_id == "mp-149"


def test_an_id_that_is_not_there_says_how_to_fetch_it(library: Library) -> None:
    with pytest.raises(NotInLibrary) as caught:
        library.material("MP-2534")
    assert "matlit materials download mp-2534" in caught.value.hint


@pytest.mark.parametrize("name", ["diamond", "Diamond"])
def test_a_mineral_is_found_by_its_name(library: Library, name: str) -> None:
    assert ids(library, name=name) == ["mp-66"]
    assert ids(library, name="dia%") == []


@pytest.mark.parametrize("given", ["silicon", "ケイ素", "Si"])
def test_a_formula_may_be_a_name(library: Library, given: str) -> None:
    assert ids(library, formula=given) == ["mp-149"]


def test_what_is_neither_formula_nor_name_is_refused() -> None:
    with pytest.raises(BadInput, match="'tio2' is no formula and names no compound") as caught:
        make_filter(formula="tio2")
    assert "capitals count" in caught.value.hint


@pytest.mark.parametrize("system", ["Fe-O", "O Fe", "fe,o", "鉄、酸素", "Fe/O"])
def test_a_chemical_system_in_many_spellings(library: Library, system: str) -> None:
    assert ids(library, chemsys=system) == ["mp-19770"]


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("Fd-3m", 227), ("F d -3 m", 227), ("FD-3M", 227), ("Fd3m", 227), ("Fd3\u0305m", 227), ("227", 227),
        ("P2_1/c", 14), ("P21/c", 14), ("P2₁/c", 14), ("P2_1/n", 14), ("Pbnm", 62), ("Cmce", 64), ("Cmca", 64),
        ("R-3m:H", 166), ("nonsense", None), ("", None), ("231", None), ("0", None),
    ],
)  # fmt: skip
def test_a_space_group_in_many_spellings(given: str, number: int | None) -> None:
    assert find_spacegroup(given) == number


def test_every_standard_symbol_stands_for_its_own_group() -> None:
    assert [find_spacegroup(symbol_of(number)) for number in range(1, 231)] == list(range(1, 231))


def test_records_are_found_by_symbol_where_they_give_the_number_and_the_other_way(library: Library) -> None:
    assert ids(library, spacegroup="Fd3m") == ids(library, spacegroup="227") == ["mp-149", "mp-66"]
    assert ids(library, spacegroup="P2_1/n") == ["mp-19770"]
    assert (library.material("mp-66").spacegroup_symbol, library.material("mp-149").spacegroup_number) == ("Fd-3m", 227)
    assert ids(library, crystal_system="立方晶系") == ["mp-149", "mp-66"]
    with pytest.raises(BadInput, match="'Fq3m' is no space group"):
        make_filter(spacegroup="Fq3m")


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_hull_of_zero_is_meant_up_to_rounding(library: Library) -> None:
    assert ids(library, e_above_hull_max=0) == ["mp-19770", "mp-149"]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("k_vrh > 170", ["mp-66"]), ("bulk modulus >= 170 GPa", ["mp-19770", "mp-66"]),
        ("density 2..4", ["mp-149", "mp-66"]),
        ("density: ..3 g/cm³", ["mp-149"]), ("density 3.. g/cm3", ["mp-19770", "mp-66"]), ("band_gap < 0.61", []),
        ("magnetization ≥ 1 μB", ["mp-19770"]), ("K-VRH = 88.9", ["mp-149"]),
        ("e_above_hull <= 0.1", ["mp-19770", "mp-149"]),
    ],
)  # fmt: skip
def test_conditions_on_any_number(library: Library, condition: str, found: list[str]) -> None:
    assert ids(library, conditions=[condition]) == found


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        ("k_vrh > 1 TPa", "in GPa"),
        ("band_gap > 500 meV", "in eV"),
        ("hardness > 5", "no number of a record"),
        ("density 5..2", "runs backwards"),
        ("density", "no condition"),
        ("density > many", "no condition"),
    ],
)
def test_a_condition_that_cannot_be_used_says_why(condition: str, error: str) -> None:
    with pytest.raises(BadInput, match=error):
        parse_condition(condition)


def test_gaps_by_functional_and_kind(library: Library) -> None:
    assert ids(library, functional="pbe+u") == ["mp-19770"]
    assert ids(library, direct_gap=False) == ["mp-149"]


def test_the_verbs_take_them_too(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--library", str(library.info.path)]
    asked = [
        "materials",
        "search",
        "--where",
        "k_vrh > 100",
        "--where",
        "density 3..",
        "--sort",
        "k_vrh",
        "--descending",
    ]
    assert main([*asked, "--json", *place]) == 0
    assert [each["material_id"] for each in json.loads(capsys.readouterr().out)] == ["mp-66", "mp-19770"]
    assert main(["materials", "show", "149", "mp-7", *place]) == 2
    seen = capsys.readouterr()
    assert seen.out.startswith("Si (mp-149); space group Fd-3m (No. 227)")
    assert "no material 'mp-7'" in seen.err
    assert "matlit materials download mp-7" in seen.err
    assert main(["materials", "search", "--band-gap", "1eV..3eV", *place]) == 1
    assert "without a unit" in capsys.readouterr().err


def test_a_search_knows_which_records_have_a_structure_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "salt.vasp"
    path.write_text(POSCAR)
    (tmp_path / "bare.json").write_text(json.dumps(RECORDS[0]))
    with Library.create(tmp_path / "library", embedder=make_embedder("hashing").info, recipe="r") as made:
        import_materials(made, [path, tmp_path / "bare.json"])
        with made.reading() as connection:
            found, _ = search(connection, make_filter(), sort="formula")
        assert {each.formula_pretty: each.to_json()["has_structure"] for each in found} == {"NaCl": True, "Si": False}
        assert [each.structure for each in found] == [None, None]
        assert made.material(found[0].material_id).structure


# --- formats ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[list[Material], list[str]]:
    bad: list[BadRecord] = []
    found = list(parse_records(path, on_error=bad.append))
    return found, [str(each) for each in bad]


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), ("", bytes)]
)
def test_packed_files_are_read(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    for name, text in (("a.json", json.dumps(RECORDS)), ("salt.vasp", POSCAR)):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(pack(text.encode()))
        assert len(read(path)[0]) == (3 if name == "a.json" else 1)
        if suffix:
            path.write_bytes(pack(text.encode())[:-6])
            with pytest.raises(BadInput, match="cannot be read"):
                list(parse_records(path))


def test_a_zip_is_read_file_by_file_and_a_bad_one_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("deep/salt.vasp", POSCAR)
        archive.writestr("records.jsonl.gz", gzip.compress("\n".join(map(json.dumps, RECORDS)).encode()))
        archive.writestr("broken.cif", "data_\n_cell")
        archive.writestr("secret.pkl", b"x")
        archive.writestr("__MACOSX/._salt.vasp", b"\0\1")
        archive.writestr("readme.txt", "hello")
    found, bad = read(path)
    assert sorted(each.formula_pretty for each in found) == ["C", "Fe2O3", "NaCl", "Si"]
    assert {each.source for each in found} == {"salt.vasp", "Materials Project"}
    assert len(bad) == 2
    assert any("broken.cif" in each for each in bad)
    assert any("'secret.pkl' in the zip is not read from there" in each for each in bad)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match="cannot be read"):
        list(parse_records(path))


def test_a_structure_file_in_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "POSCAR"
    path.write_bytes(POSCAR.encode("utf-16"))
    assert read(path)[0][0].formula_pretty == "NaCl"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_empty_file_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert read(path) == ([], [f"record 1 of {name}: '{name}' is empty"])


def test_a_record_that_names_no_source_has_its_file_as_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"material_id": "x-1", "formula_pretty": "Si"}, RECORDS[0]]))
    assert [each.source for each in read(path)[0]] == ["mine.json", "Materials Project"]


@pytest.mark.parametrize(
    ("entry_id", "material_id"),
    [("mp-149-GGA", "mp-149"), ("mp-149-GGA+U", "mp-149"), ("mp-149-R2SCAN", "mp-149-R2SCAN"), ("mp-149", "mp-149")],
)
def test_an_entry_of_the_thermodynamic_scheme_is_its_material(tmp_path: Path, entry_id: str, material_id: str) -> None:
    path = tmp_path / "entries.json"
    path.write_text(json.dumps({"entry_id": entry_id, "composition": {"Si": 2.0}, "energy": -10.8}))
    [made] = read(path)[0]
    assert (made.material_id, made.energy_ev_per_atom) == (material_id, pytest.approx(-5.4))


def test_an_optimade_entry_tells_its_space_group_in_whichever_way(tmp_path: Path) -> None:
    attributes = OPTIMADE["attributes"]
    for name, value in (
        ("space_group_it_number", 225),
        ("space_group_symbol_hermann_mauguin", "F m -3 m"),
        ("_oqmd_spacegroup", "Fm-3m"),
    ):
        path = tmp_path / "o.json"
        path.write_text(json.dumps({**OPTIMADE, "attributes": {**attributes, name: value}}))
        [made] = read(path)[0]
        told = (made.spacegroup_number, made.spacegroup_symbol, made.crystal_system)
        assert told == (225, "Fm-3m", "cubic"), name

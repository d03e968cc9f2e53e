"""Records of materials: reading files, refusing bad records, saying them as text, keeping them in SQLite."""

from __future__ import annotations

import gzip
import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import BadInput
from ingest.materials import (
    INSERT_MATERIAL,
    MATERIALS_SCHEMA,
    BadRecord,
    Material,
    composition,
    crystal_system,
    find,
    formula_key,
    lattice_matrix,
    parse_records,
    reduced_formula,
    row,
    to_chunk,
    to_text,
)
from ingest.materials.cells import make_cell
from ingest.materials.problems import FieldError

SILICON: dict[str, Any] = {
    "material_id": "mp-149",
    "formula_pretty": "Si",
    "elements": ["Si"],
    "nsites": 2,
    "symmetry": {"crystal_system": "Cubic", "symbol": "Fd-3m", "number": 227},
    "band_gap": 0.6119,
    "is_gap_direct": False,
    "energy_above_hull": 0.0,
    "formation_energy_per_atom": -0.0,
    "bulk_modulus": {"vrh": 88.9},
    "last_updated": {"$date": "2024-11-14T00:00:00Z"},
    "structure": {
        "lattice": {"matrix": [[0.0, 2.72, 2.72], [2.72, 0.0, 2.72], [2.72, 2.72, 0.0]]},
        "sites": [
            {"species": [{"element": "Si", "occu": 1}], "abc": [0.0, 0.0, 0.0]},
            {"species": [{"element": "Si", "occu": 1}], "abc": [0.25, 0.25, 0.25]},
        ],
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**SILICON, **changes}


def written(path: Path, *records: object, array: bool = False) -> Path:
    lines = [json.dumps(record) for record in records]
    text = "[" + ",\n ".join(lines) + "]\n" if array else "\n".join(lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def parsed(path: Path) -> tuple[list[Material], list[BadRecord]]:
    bad: list[BadRecord] = []
    return list(parse_records(path, on_error=bad.append)), bad


@pytest.fixture
def silicon(tmp_path: Path) -> Material:
    return next(parse_records(written(tmp_path / "one.jsonl", SILICON)))


# --- reading -------------------------------------------------------------------------------------------


def test_a_summary_document_becomes_a_material(silicon: Material) -> None:
    assert (silicon.material_id, silicon.elements, silicon.nsites) == ("mp-149", ("Si",), 2)
    assert (silicon.spacegroup_number, silicon.spacegroup_symbol, silicon.crystal_system) == (227, "Fd-3m", "cubic")
    assert (silicon.band_gap_ev, silicon.band_gap_functional, silicon.is_gap_direct) == (0.6119, "PBE", False)
    assert (silicon.source, silicon.as_of, silicon.k_vrh_gpa) == ("Materials Project", "2024-11-14", 88.9)


def test_volume_and_density_come_from_the_structure_when_the_record_has_none(silicon: Material) -> None:
    assert silicon.volume_a3 == pytest.approx(2 * 2.72**3)
    assert silicon.density_g_cm3 == pytest.approx(2.318, abs=0.001)


@pytest.mark.parametrize("name", ["m.jsonl", "m.ndjson", "m.jsonl.gz", "m.json", "m.json.gz"])
def test_every_suffix_reads_the_same(tmp_path: Path, name: str) -> None:
    materials, bad = parsed(
        written(
            tmp_path / name, SILICON, changed(material_id="mp-150"), array=".jsonl" not in name and "nd" not in name
        )
    )
    assert [material.material_id for material in materials] == ["mp-149", "mp-150"]
    assert bad == []


def test_a_single_document_and_an_answer_with_data_are_read_too(tmp_path: Path) -> None:
    single, _ = parsed(written(tmp_path / "single.json", SILICON))
    answer, _ = parsed(written(tmp_path / "answer.json", {"meta": {"total": 2}, "data": [SILICON, SILICON]}))
    assert (len(single), len(answer)) == (1, 2)


def test_records_that_straddle_the_read_blocks_stay_whole(tmp_path: Path) -> None:
    records = [changed(material_id=f"mp-{number}", names=["x" * 9000]) for number in range(40)]
    materials, bad = parsed(written(tmp_path / "many.json", *records, array=True))
    assert [material.material_id for material in materials] == [f"mp-{number}" for number in range(40)]
    assert bad == []


def test_a_file_that_breaks_off_gives_what_stands_before_the_break(tmp_path: Path) -> None:
    path = written(tmp_path / "whole.json", SILICON, SILICON, SILICON, array=True)
    path.write_text(path.read_text()[:-300])
    materials, bad = parsed(path)
    assert len(materials) == 2
    assert (bad[0].record, "breaks off" in str(bad[0])) == (3, True)


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join([json.dumps(SILICON), '{"material_id": ', json.dumps(SILICON)]))
    materials, bad = parsed(path)
    assert (len(materials), [error.record for error in bad]) == (2, [2])


def test_the_older_api_is_understood(tmp_path: Path) -> None:
    record = {
        "task_id": "mp-13",
        "pretty_formula": "Fe",
        "spacegroup": {"symbol": "Im-3m", "number": 229},
        "e_above_hull": 0,
    }
    (iron,), bad = parsed(written(tmp_path / "old.jsonl", record))
    assert (iron.material_id, iron.spacegroup_number, iron.crystal_system, bad) == ("mp-13", 229, "cubic", [])


@pytest.mark.parametrize(
    ("record", "field", "says"),
    [
        (changed(material_id=None), "material_id", "missing"),
        (changed(band_gap="0.6"), "band_gap", "not a number"),
        (changed(band_gap=True), "band_gap", "not a number"),
        (changed(band_gap=-0.1), "band_gap", "below 0"),
        (changed(density=math.nan), "density", "not a number"),
        (changed(symmetry={"number": 231}), "symmetry.number", "from 1 to 230"),
        (changed(is_gap_direct="no"), "is_gap_direct", "neither"),
        (changed(elements=["Acc"]), "elements", "no element"),
        (changed(elements=["Si", "O"]), "elements", "but the formula"),
        (changed(formula_pretty="Si2(O"), "formula_pretty", "not a formula"),
        (changed(nsites=3), "nsites", "2 sites"),
        (changed(structure={"lattice": {}, "sites": []}), "structure.lattice", "three vectors"),
        (
            changed(structure={"lattice": {"matrix": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]}}),
            "structure.lattice",
            "one plane",
        ),
        (changed(structure={**SILICON["structure"], "sites": [{}]}), "structure.sites[1]", "no species"),
        ([1, 2], "", "not an object"),
        ({"a": 1}, "", "none of the known formats"),
    ],
)
def test_a_bad_record_names_its_number_and_field_and_the_rest_continues(
    tmp_path: Path, record: object, field: str, says: str
) -> None:
    materials, bad = parsed(written(tmp_path / "bad.jsonl", SILICON, record, SILICON))
    assert len(materials) == 2
    assert (bad[0].record, bad[0].field) == (2, field)
    assert says in str(bad[0])
    assert "record 2 of bad.jsonl" in str(bad[0])


def test_without_on_error_the_first_bad_record_is_raised(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="record 1"):
        list(parse_records(written(tmp_path / "bad.jsonl", {"a": 1})))


@pytest.mark.parametrize("name", ["missing.json", "structure.cif"])
def test_a_missing_or_foreign_file_is_refused_with_a_hint(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        list(parse_records(tmp_path / name))
    assert caught.value.hint


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "cut.jsonl.gz", *[changed(material_id=f"mp-{number}") for number in range(500)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadInput, match="cannot be read"):
        list(parse_records(path))


# --- the real sets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mp_summary_llm4mat.jsonl", 30),
        ("mp_derived_summaries.jsonl", 1256),
        ("mp_computed_entries.jsonl.gz", 1310),
        ("mp_elastic_2015.jsonl.gz", 1181),
    ],
)
def test_every_record_of_the_real_sets_is_read(shared_data: Path, name: str, count: int) -> None:
    materials, bad = parsed(shared_data / "materials" / name)
    assert (len(materials), bad) == (count, [])
    assert len({material.material_id for material in materials}) == count


def test_entries_and_the_summaries_derived_from_them_agree(shared_data: Path) -> None:
    folder = shared_data / "materials"
    entries = {entry.material_id: entry for entry in parse_records(folder / "mp_computed_entries.jsonl.gz")}
    for summary in parse_records(folder / "mp_derived_summaries.jsonl"):
        entry = entries[summary.material_id]
        assert entry.formula_key == summary.formula_key
        assert entry.energy_ev_per_atom == pytest.approx(summary.energy_ev_per_atom, abs=1e-4)
        assert entry.density_g_cm3 == pytest.approx(summary.density_g_cm3, rel=2e-3)
        assert entry.volume_a3 == pytest.approx(summary.volume_a3, abs=1e-3)


def test_the_volume_computed_from_a_row_of_the_gap_set_is_the_one_it_states(shared_data: Path) -> None:
    path = shared_data / "bandgap" / "mp_bandgap.jsonl.gz"
    for _, material in zip(range(2000), parse_records(path), strict=False):
        cell = replace(material, volume_a3=None)
        a, b, c = (material.structure or {})["lattice"]["matrix"]
        volume = abs(sum(a[i] * (b[i - 2] * c[i - 1] - b[i - 1] * c[i - 2]) for i in range(3)))
        assert volume == pytest.approx(material.volume_a3, rel=1e-3), cell.material_id


def test_optimade_records_are_reported_as_unknown_rather_than_half_read(shared_data: Path) -> None:
    materials, bad = parsed(shared_data / "materials" / "optimade_bad_structures.json")
    assert (len(materials), len(bad)) == (0, 31)


# --- formulas and cells -----------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["LiFePO4", "Li Fe P O4", "LiFePO₄", "FeLiO4P", "Li2Fe2(PO4)2"])
def test_one_key_for_every_way_of_writing_a_formula(formula: str) -> None:
    assert formula_key(formula) == "Fe1 Li1 O4 P1"


def test_a_formula_with_nested_brackets_is_counted() -> None:
    assert composition("Na3Bi(P2O7)2") == {"Na": 3, "Bi": 1, "P": 4, "O": 14}
    assert composition("Ca[B(OH)4]2") == {"Ca": 1, "B": 2, "O": 8, "H": 8}


def test_the_reduced_formula_follows_electronegativity() -> None:
    assert reduced_formula({"O": 16, "P": 4, "Fe": 4, "Li": 4}) == "LiFePO4"


@pytest.mark.parametrize("formula", ["", "Xx2", "Li)", "li", "Si0"])
def test_what_is_no_formula_is_refused(formula: str) -> None:
    with pytest.raises(BadInput, match="formula"):
        formula_key(formula)


def test_the_crystal_system_follows_the_space_group_number() -> None:
    assert [crystal_system(number) for number in (2, 3, 62, 136, 167, 194, 227)] == [
        "triclinic",
        "monoclinic",
        "orthorhombic",
        "tetragonal",
        "trigonal",
        "hexagonal",
        "cubic",
    ]


def test_the_lattice_has_the_lengths_and_angles_it_was_made_of() -> None:
    a, b, c = lattice_matrix(5.1, 6.2, 7.3, 81, 95, 117)

    def angle(u: list[float], v: list[float]) -> float:
        return math.degrees(math.acos(sum(map(float.__mul__, u, v)) / (math.hypot(*u) * math.hypot(*v))))

    assert [math.hypot(*vector) for vector in (a, b, c)] == pytest.approx([5.1, 6.2, 7.3])
    assert [angle(b, c), angle(a, c), angle(a, b)] == pytest.approx([81, 95, 117])


def test_pymatgen_reads_the_stored_structure(shared_data: Path) -> None:
    core = pytest.importorskip("pymatgen.core")
    for _, material in zip(range(20), parse_records(shared_data / "bandgap" / "mp_bandgap.jsonl.gz"), strict=False):
        structure = core.Structure.from_dict(material.structure)
        assert structure.composition.reduced_formula == material.formula_pretty
        assert structure.density == pytest.approx(material.density_g_cm3, rel=1e-4)


# --- text -----------------------------------------------------------------------------------------------


def test_the_text_says_whose_gap_it_is_by_which_functional_and_whence(silicon: Material) -> None:
    text = to_text(silicon)
    assert "The PBE band gap of Si (mp-149, Fd-3m) is 0.61 eV, indirect (Materials Project, 2024-11-14)." in text
    assert "The formation energy of Si is 0.000 eV/atom" in text


def test_the_text_uses_the_common_names(silicon: Material) -> None:
    text = to_text(replace(silicon, names=("silicon", "Si-I"), crystal_system="orthorhombic"))
    assert text.startswith("Si (mp-149), also called silicon, Si-I, is an orthorhombic crystal")
    assert "The PBE band gap of Si (silicon, mp-149, Fd-3m) is 0.61 eV" in text


def test_a_gap_of_zero_is_called_what_it_is(silicon: Material) -> None:
    assert "is 0 eV" in to_text(replace(silicon, band_gap_ev=0.0))
    assert "metal or semimetal in this approximation" in to_text(replace(silicon, band_gap_ev=0.0))


def test_what_is_not_known_is_not_said() -> None:
    bare = Material("x-1", "NaCl", ("Cl", "Na"))
    assert to_text(bare) == "NaCl (x-1) is a computed material."


@pytest.mark.parametrize(
    ("formula", "functional"),
    [("LiFePO4", "PBE+U"), ("FeF2", "PBE+U"), ("FeS2", "PBE"), ("TiO2", "PBE"), ("Fe", "PBE")],
)
def test_oxides_and_fluorides_of_some_metals_have_a_hubbard_term(tmp_path: Path, formula: str, functional: str) -> None:
    record = {"material_id": "mp-1", "formula_pretty": formula, "band_gap": 1.0}
    assert next(parse_records(written(tmp_path / "m.jsonl", record))).band_gap_functional == functional


def test_the_functional_of_a_foreign_database_is_not_guessed(tmp_path: Path) -> None:
    record = {"material_id": "jvasp-1", "formula_pretty": "Si", "band_gap": 1.0}
    material = next(parse_records(written(tmp_path / "m.jsonl", record)))
    assert (material.band_gap_functional, material.source) == ("", "m.jsonl")  # the file is all that is known


def test_the_chunk_is_of_kind_material_and_its_id_depends_on_the_recipe(silicon: Material) -> None:
    chunk = to_chunk(silicon, "recipe")
    assert (chunk.kind, chunk.source, chunk.text) == ("material", "mp-149", to_text(silicon))
    assert chunk.id != to_chunk(silicon, "other").id


# --- SQLite ---------------------------------------------------------------------------------------------


@pytest.fixture
def connection(shared_data: Path) -> sqlite3.Connection:
    opened = sqlite3.connect(":memory:")
    opened.executescript(MATERIALS_SCHEMA)
    for material in parse_records(shared_data / "materials" / "mp_summary_llm4mat.jsonl"):
        opened.execute(INSERT_MATERIAL, row(material))
    return opened


def test_a_material_comes_back_from_its_row_as_it_was(connection: sqlite3.Connection, shared_data: Path) -> None:
    materials = {one.material_id: one for one in parse_records(shared_data / "materials" / "mp_summary_llm4mat.jsonl")}
    assert {one.material_id: one for one in find(connection)} == materials


def test_find_combines_what_is_given(connection: sqlite3.Connection) -> None:
    found = find(connection, elements=["O"], band_gap_ev=(1.0, None), nsites=(None, 60))
    expected = [
        one
        for one in find(connection)
        if "O" in one.elements and (one.band_gap_ev or 0) >= 1 and (one.nsites or 0) <= 60
    ]
    assert found == expected
    assert found


def test_find_by_formula_chemical_system_id_and_space_group(connection: sqlite3.Connection) -> None:
    wanted = "mp-759684"
    for where in (
        {"formula": "Na3 Bi P4 O14"},
        {"chemsys": "P-Na-O-Bi"},
        {"material_ids": [wanted]},
        {"elements": {"Na", "Bi", "P"}},
    ):
        assert [one.material_id for one in find(connection, **where)] == [wanted], where  # type: ignore[arg-type]
    assert find(connection, spacegroup=227, limit=1) == []


def test_the_most_stable_come_first(connection: sqlite3.Connection) -> None:
    energies = [one.e_above_hull_ev_per_atom for one in find(connection, limit=10)]
    assert energies == sorted(energies, key=lambda energy: energy or 0.0)
    assert len(energies) == 10


def test_a_structure_with_a_number_beyond_64_bits_is_refused_with_its_field():
    structure = {
        "lattice": {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]},
        "sites": [{"species": [{"element": "Po", "occu": 1}], "abc": [0, 0, 0], "properties": {"id": 10**30}}],
    }
    with pytest.raises(FieldError, match="64"):
        make_cell(structure)

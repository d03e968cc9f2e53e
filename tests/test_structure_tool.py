"""The structure tool before awkward files and words: what a materials scientist would not accept is not answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assistant.saying_ja import structure_line
from assistant.tools import ToolContext, ToolOutput, ToolResult, builtin_tools, call
from assistant.tools.diffraction import find_wavelength
from ingest.errors import BadInput
from ingest.materials.files import parse_records
from ingest.structure_files import parse_poscar
from ui.cli import main

CUBE = "1.0\n5.431 0 0\n0 5.431 0\n0 0 5.431\n"
PLACES = """0 0 0
0.5 0.5 0
0.5 0 0.5
0 0.5 0.5
0.25 0.25 0.25
0.75 0.75 0.25
0.75 0.25 0.75
0.25 0.75 0.75""".splitlines()
SILICON = f"silicon\n{CUBE}Si\n8\nDirect\n" + "\n".join(PLACES)
PRIMITIVE = "silicon\n5.431\n0 0.5 0.5\n0.5 0 0.5\n0.5 0.5 0\nSi\n2\nDirect\n0 0 0\n0.25 0.25 0.25\n"
ROCK_SALT = "{0}\n{2}\n0 0.5 0.5\n0.5 0 0.5\n0.5 0.5 0\n{0} {1}\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"


def ask(attachments: Mapping[str, str], **arguments: Any) -> ToolResult:
    return call(builtin_tools(ToolContext(attachments=attachments))["structure"], arguments)


def found(attachments: Mapping[str, str], **arguments: Any) -> ToolOutput:
    result = ask(attachments, **arguments)
    assert result.result is not None, result.error
    return result.result


def cif(*sites: str, cell: tuple[float, float, float] = (4.0, 4.0, 4.0), more: str = "") -> str:
    lengths = "".join(f"_cell_length_{name} {value}\n" for name, value in zip("abc", cell, strict=True))
    angles = "".join(f"_cell_angle_{name} 90\n" for name in ("alpha", "beta", "gamma"))
    loop = "loop_\n" + "".join(
        f"_atom_site_{name}\n" for name in ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    )
    group = "_symmetry_space_group_name_H-M 'P 1'\n_symmetry_Int_Tables_number 1\n"
    return f"data_x\n{lengths}{angles}{group}{more}{loop}" + "\n".join(sites) + "\n"


# --- files ------------------------------------------------------------------------------------------------------------


def vasp4(comment: str, behind: str = "") -> str:
    return f"{comment}\n{CUBE}8\nDirect\n" + "\n".join(f"{place} {behind}" for place in PLACES)


@pytest.mark.parametrize("text", [vasp4("Si"), vasp4("my crystal", "Si"), SILICON])
def test_a_poscar_names_its_elements_in_its_first_line_or_behind_its_positions(text: str) -> None:
    output = found({"POSCAR": text})
    assert (output.data["formula"], output.data["spacegroup_number"]) == ("Si", 227)
    assert ("as VASP 4 wrote them" in output.text) == (text == vasp4("Si"))
    assert parse_poscar(text).numbers.tolist() == [14] * 8


@pytest.mark.parametrize("comment", ["my crystal", "", "In the cell", "Si O"])
def test_a_poscar_that_names_no_elements_is_refused_and_not_made_hydrogen(comment: str, tmp_path: Path) -> None:
    assert "does not name its elements" in str(ask({"POSCAR": vasp4(comment)}).error)
    path = tmp_path / "POSCAR"
    path.write_text(vasp4(comment))
    with pytest.raises(BadInput, match="does not name its elements"):
        list(parse_records(path))


def test_groups_of_atoms_on_a_site_are_refused_and_not_made_nihonium() -> None:
    for group in ("NH3", "OH", "OH2", "NO3", "SO4", "PO4", "CO3", "H2O"):
        text = cif("Cu1 Cu 0 0 0 1", f"X1 {group} 0.5 0.5 0.5 1")
        assert f"groups of atoms on its sites: {group}" in str(ask({"x.cif": text}).error)


@pytest.mark.parametrize("kind", ["FE3+", "FE", "SI4+", "Fe3+", "O2-", "Co"])
def test_an_element_in_capitals_or_with_a_charge_is_no_group(kind: str) -> None:
    assert ask({"x.cif": cif(f"X1 {kind} 0 0 0 1", "O1 O 0.5 0.5 0.5 1")}).error is None


@pytest.mark.shared
def test_hydrogens_that_stand_on_no_site_are_told_and_such_a_file_is_no_record(shared_data: Path) -> None:
    path = shared_data / "cif" / "pmg_Senegalite_implicit_hydrogen.cif"
    assert "hydrogens stand on no site of this file" in found({"x.cif": path.read_text()}).text
    with pytest.raises(BadInput, match="its formula is not whole"):
        list(parse_records(path))


def test_json_of_one_structure_of_several_and_of_a_record_and_json_lines() -> None:
    from pymatgen.core import Structure

    one = Structure.from_str(SILICON, fmt="poscar").as_dict()
    salt = Structure.from_str(ROCK_SALT.format("Na", "Cl", 5.64), fmt="poscar").as_dict()
    record = {"material_id": "mp-149", "formula_pretty": "Si", "structure": one}
    optimade = {
        "id": "1",
        "attributes": {
            **{"elements": ["Si"], "nelements": 1, "elements_ratios": [1.0], "chemical_formula_reduced": "Si"},
            **{"nsites": 1, "species_at_sites": ["Si"], "cartesian_site_positions": [[0, 0, 0]]},
            **{"species": [{"name": "Si", "chemical_symbols": ["Si"], "concentration": [1.0]}]},
            **{"lattice_vectors": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "dimension_types": [1, 1, 1]},
            **{"nperiodic_dimensions": 3, "structure_features": []},
        },
    }
    for document in (one, [one, salt], {"data": [record]}, optimade):
        output = found({"x.json": json.dumps(document)})
        assert output.data["formula"] == "Si"
        assert ("holds 2 records; this is the first" in output.text) == (document == [one, salt])
    assert found({"x.jsonl": f"{json.dumps(salt)}\n{json.dumps(one)}\n"}).data["formula"] == "NaCl"
    nothing = json.dumps({"material_id": "mp-149", "formula_pretty": "Si"})
    assert "the record has no structure" in str(ask({"x.json": nothing}).error)
    molecule = json.dumps({"@class": "Molecule", "sites": []})
    assert "a molecule, not a crystal" in str(ask({"x.json": molecule}).error)


def test_of_two_files_that_differ_in_capitals_the_exact_name_counts() -> None:
    files = {"SI.vasp": SILICON, "si.vasp": ROCK_SALT.format("Na", "Cl", 5.64)}
    assert found(files, structure="si.vasp").data["formula"] == "NaCl"
    assert found(files, structure="SI.vasp").data["formula"] == "Si"


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_masses_are_of_elements_also_where_the_file_states_charges() -> None:
    numbers = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\nNa1+ 1\nCl1- -1\n"
    data = found({"x.cif": cif("Na1 Na1+ 0 0 0 1", "Cl1 Cl1- 0.5 0.5 0.5 1", more=numbers)}).data
    assert data["mass_percent"] == {"Na": pytest.approx(39.337, abs=1e-3), "Cl": pytest.approx(60.663, abs=1e-3)}


@pytest.mark.parametrize(
    ("cell", "words"), [((3.0, 3.0, 20.0), "as for a slab"), ((15.0, 15.0, 15.0), "as for a molecule in a box")]
)
def test_a_cell_with_vacuum_says_that_its_density_is_not_the_material_s(cell: Any, words: str) -> None:
    output = found({"x.cif": cif("Si1 Si 0 0 0 1", "Si2 Si 0 0 0.02 1", cell=cell)})
    assert words in output.text
    assert output.data["empty_layers_a"]["c"] == pytest.approx(0.98 * cell[2], abs=0.01)
    assert "empty_layers_a" not in found({"POSCAR": SILICON}).data


def test_atoms_that_stand_too_close_are_told() -> None:
    told = found({"x.cif": cif("Si1 Si 0 0 0 1", "O1 O 0 0 0.0025 1")}).text
    assert "beware: Si and O are only 0.01 Å apart" in told
    assert "SiとOの距離が0.01 Å" in "\n".join(map(structure_line, told.splitlines()))
    assert "beware" not in found({"POSCAR": SILICON}).text
    assert "beware" not in found({"x.cif": cif("Fe1 Fe 0 0 0 0.5", "Ni1 Ni 0 0 0 0.5")}).text


@pytest.mark.parametrize(
    ("given", "length_a"),
    [
        ("CuKa", 1.54184), ("Cu Kα1", 1.54056), ("Cu Kα₁", 1.54056), ("cu k-alpha", 1.54184), ("Mo", 0.71073),
        ("銅", 1.54184), ("CuKβ", 1.39222), ("Co K", 1.79026), ("CuKα線", 1.54184), ("1.5406", 1.5406),
        ("0.154 nm", 1.54),        ("154 pm", 1.54), ("1.54 Å", 1.54), ("8.04778 keV", 1.54060),
    ],
)  # fmt: skip
def test_a_wavelength_goes_by_many_names_and_units(given: str, length_a: float) -> None:
    assert find_wavelength(given) == pytest.approx(length_a, abs=2e-5)


@pytest.mark.parametrize("given", ["red", "", "0", "1.54 nm", "0.05", "5 eV", "WKa", "CuLa"])
def test_what_is_no_wavelength_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match="no X-ray wavelength"):
        find_wavelength(given)


def test_peaks_of_a_primitive_cell_have_the_indices_of_the_literature() -> None:
    data = found({"POSCAR": PRIMITIVE}, task="xrd", wavelength=1.5406).data
    got = [(round(peak["two_theta_deg"], 1), sorted(map(abs, peak["hkl"][0]))) for peak in data["peaks"][:3]]
    assert got == [(28.4, [1, 1, 1]), (47.3, [0, 2, 2]), (56.1, [1, 1, 3])]  # ICDD 27-1402
    assert "conventional cell" in data["indices_of"]


def test_below_the_first_peak_there_is_none_and_no_forbidden_one() -> None:
    data = found({"POSCAR": SILICON}, task="xrd", highest_two_theta_deg=20).data  # (1 0 0) at 16.3° is forbidden
    assert (data["count"], data["peaks"]) == (0, [])


@pytest.mark.shared
def test_oxidation_states_that_two_methods_tell_differently_are_both_told(shared_data: Path) -> None:
    text = (shared_data / "cif" / "pmg_lgps.cif").read_text()
    output = found({"x.cif": text}, task="oxidation_states")
    assert output.data["oxidation_states"] == {"Li": [1], "Ge": [4], "P": [5], "S": [-2]}
    assert output.data["disagreeing"]["bond valence"]["P"] == [4]
    assert "beware: from bond valences they would be" in output.text


def test_oxidation_states_come_from_the_file_or_are_said_to_be_undecidable() -> None:
    numbers = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\nNa1+ 1\nCl1- -1\n"
    salt = cif("Na1 Na1+ 0 0 0 1", "Cl1 Cl1- 0.5 0.5 0.5 1", more=numbers)
    stated = found({"x.cif": salt}, task="oxidation_states")
    assert (stated.data["method"], stated.data["oxidation_states"]) == ("stated", {"Na": [1], "Cl": [-1]})
    alloy = ask({"x.cif": cif("Fe1 Fe 0 0 0 0.5", "Ni1 Ni 0 0 0 0.5")}, task="oxidation_states")
    assert "no oxidation states balance" in str(alloy.error)
    assert "disordered" in alloy.hint


def test_two_structures_of_other_elements_may_be_of_one_type() -> None:
    files = {"salt": ROCK_SALT.format("Na", "Cl", 5.64), "oxide": ROCK_SALT.format("Mg", "O", 4.21), "Si": SILICON}
    data = found(files, task="compare", structure="salt", other="oxide").data
    assert (data["same_structure"], data["same_formula"], data["same_structure_type"]) == (False, False, True)
    assert not found(files, task="compare", structure="salt", other="Si").data["same_structure_type"]


def test_two_attached_structures_are_compared_without_being_named_and_one_with_itself() -> None:
    files = {"a": SILICON, "b": PRIMITIVE}
    assert found(files, task="compare").data["same_structure"]
    assert [row["name"] for row in found(files, task="compare", other="a").data["structures"]] == ["b", "a"]
    assert found(files, task="compare", structure="a", other="a").data["same_structure"]
    assert "needs two structures" in str(ask({"a": SILICON}, task="compare").error)


@pytest.mark.parametrize("scaling", [2, [2], "2x2x2", "2,2,2", "2 × 2 × 2", "[2, 2, 2]", [2, 2, 2]])
def test_a_supercell_is_written_in_many_ways(scaling: Any) -> None:
    data = found({"POSCAR": PRIMITIVE}, task="supercell", supercell=scaling).data
    assert (data["nsites"], data["scaling"]) == (16, [2, 2, 2])


@pytest.mark.parametrize("task", ["neighbors", "Neighbours", "NEIGHBOURS"])
def test_other_spellings_of_a_task_are_understood(task: str) -> None:
    output = found({"POSCAR": ROCK_SALT.format("Na", "Cl", 5.64)}, task=task, element="ナトリウム")
    assert [site["coordination_number"] for site in output.data["sites"]] == [6]
    assert "'task' is 'colour'" in str(ask({"POSCAR": SILICON}, task="colour").error)


# --- by hand ----------------------------------------------------------------------------------------------------------


def by_hand(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["tool", *words, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_by_hand_a_file_is_named_where_the_structure_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "si.vasp"
    path.write_text(PRIMITIVE)
    for words in ([str(path), "task=sites"], [f"structure={path}", "task=sites"], [str(path)]):
        assert by_hand(capsys, "structure", *words)["result"]["structure"] == "si.vasp"
    assert by_hand(capsys, "bandgap", str(path))["result"]["formula"] == "Si"


def test_by_hand_a_supercell_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pymatgen.core import Structure

    (tmp_path / "POSCAR").write_text(SILICON)
    found = by_hand(capsys, "structure", str(tmp_path / "POSCAR"), "task=supercell", "supercell=5x5x5")["result"]
    assert len(Structure.from_str(found["poscar"], fmt="poscar")) == 1000
    assert len(json.dumps(ask({"POSCAR": SILICON}, task="supercell", supercell=5).to_json())) < 30_000


def test_two_attached_files_of_one_name_are_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attach = []
    for folder, text in (("a", SILICON), ("b", ROCK_SALT.format("Na", "Cl", 5.64))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "POSCAR").write_text(text)
        attach += ["--attach", str(tmp_path / folder / "POSCAR")]
    data = by_hand(capsys, "structure", "task=compare", *attach)["result"]
    assert [row["formula"] for row in data["structures"]] == ["Si", "NaCl"]
    assert not data["same_structure"]


def test_a_primitive_cell_is_told_in_the_terms_of_the_conventional_one_too() -> None:
    summary = found({"POSCAR": PRIMITIVE}).text
    assert "lattice of the conventional cell: a = 5.43" in summary
    (site,) = found({"POSCAR": PRIMITIVE}, task="sites").data["sites"]
    assert site["wyckoff"] in ("8a", "8b")  # which of the two is a matter of the origin
    assert site["count"] == 2
    assert "conventional cell" not in found({"POSCAR": SILICON}).text

"""The tools: their schemas, how they are called, and what each of them finds."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.doctor import examine
from assistant.tools import (
    Tool,
    ToolContext,
    ToolOutput,
    all_tools,
    as_tool,
    builtin_tools,
    call,
    calling,
    from_function,
    look_for_installed,
    read_only,
    read_value,
    running,
)
from ingest.embed import make_embedder
from ingest.errors import BadInput
from ingest.library import Library
from ingest.materials import Material, to_chunk
from ingest.records import Chunk, Metadata, Page, Paper
from ingest.settings import Settings
from ui.cli import main

ROCK_SALT = """data_NaCl
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Na2 Na 0 0.5 0.5
Na3 Na 0.5 0 0.5
Na4 Na 0.5 0.5 0
Cl1 Cl 0.5 0.5 0.5
Cl2 Cl 0.5 0 0
Cl3 Cl 0 0.5 0
Cl4 Cl 0 0 0.5
"""
POSCAR = """rock salt
1.0
0.0 2.82 2.82
2.82 0.0 2.82
2.82 2.82 0.0
Na Cl
1 1
Direct
0 0 0
0.5 0.5 0.5
"""
RECORDS = (
    Material("mp-149", "Si", ("Si",), ("silicon",), 2, 227, "Fd-3m", "cubic", 0.61, "PBE", False, 0.0,
             source="Materials Project", as_of="2024", density_g_cm3=2.28, volume_a3=40.9),
    Material("mp-2657", "TiO2", ("O", "Ti"), ("rutile",), 6, 136, "P4_2/mnm", "tetragonal", 1.78, "PBE", True, 0.037,
             source="Materials Project"),
    Material("mp-390", "TiO2", ("O", "Ti"), ("anatase",), 6, 141, "I4_1/amd", "tetragonal", 2.05, "PBE", False, 0.006,
             source="Materials Project"),
    Material("mp-34688", "TiO2", ("O", "Ti"), (), 36, 15, "C2/c", "monoclinic", 2.4, "PBE", False, 0.006),
    Material("mp-1960", "Li2O", ("Li", "O"), (), 3, 225, "Fm-3m", "cubic", 5.1, "PBE", True, 0.0),
    Material("mp-841", "Li2O2", ("Li", "O"), (), 8, 194, "P6_3/mmc", "hexagonal", 1.97, "PBE", False, 0.0),
    Material("mp-777", "LiO8", ("Li", "O"), (), 18, 2, "P-1", "triclinic", 1.2, "PBE", None, 0.05),
)  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    embedder = make_embedder("hashing")
    path = tmp_path_factory.mktemp("tools") / "library"
    file = path.parent / "paper.txt"
    file.write_text("x")
    text = "The capacity of LiFePO4 is 170 mAh/g. It cycles well."
    page = Page(1, text)
    chunk = Chunk("c" * 32, "ab" * 32, 0, text, 1, 0, len(text), section="Results")
    with Library.create(path, embedder=embedder.info, recipe="r") as library:
        with library.writer() as writer:
            chunks = [to_chunk(record, "r") for record in RECORDS]
            writer.add_materials(RECORDS, chunks, embedder.embed_documents([each.text for each in chunks]))
            paper = Paper("ab" * 32, Metadata("Phosphate cathodes", ("A. Uthor",), 2020), "text", 1, 1, (file,))
            writer.add(paper, [page], [chunk], embedder.embed_documents([text]))
        yield library


@pytest.fixture
def tools(library: Library) -> dict[str, Tool]:
    attached = {"nacl.cif": ROCK_SALT, "POSCAR": POSCAR}
    return builtin_tools(ToolContext(library=library, attachments=attached, embedder=make_embedder("hashing")))


def found(tool: Tool, **arguments: Any) -> ToolOutput:
    result = call(tool, arguments)
    assert result.result is not None, result.error
    return result.result


# --- the registry -----------------------------------------------------------------------------------------------------


def test_the_built_in_tools_are_read_only_and_described() -> None:
    tools = builtin_tools()
    assert list(tools) == ["calculator", "structure", "materials", "papers", "bandgap"]
    for tool in tools.values():
        assert tool.read_only
        assert tool.description
        assert all(told.get("description") for told in tool.parameters["properties"].values()), tool.name


def test_schemas_hold_only_what_every_provider_takes() -> None:
    text = json.dumps([dict(tool.parameters) for tool in builtin_tools().values()])
    assert not any(word in text for word in ("$ref", "anyOf", "prefixItems", '"null"', '"title"'))


def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Args:
        a: the first
        b: the second
    """
    return a + b


def test_a_plain_function_becomes_a_tool_that_must_be_asked_for() -> None:
    tool = as_tool(add)
    assert not tool.read_only
    assert as_tool(read_only(add)).read_only
    assert tool.parameters["properties"]["a"] == {"description": "the first", "type": "integer"}
    assert found(tool, a=1).data == {"result": 3}


async def later(x: float) -> dict[str, float]:
    """Double a number, in its own time."""
    return {"doubled": 2 * x}


def test_an_async_function_is_a_tool_too() -> None:
    assert found(from_function(later), x=2).data == {"doubled": 4.0}


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput, match="two tools named 'calculator'"):
        all_tools(own=[from_function(add, name="calculator")])


def test_an_installed_package_offers_its_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_tools.py").write_text(
        "from assistant.tools import read_only\n\n"
        '@read_only\ndef double(x: float) -> float:\n    """Double a number."""\n    return 2 * x\n'
    )
    info = tmp_path / "my_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[matlit.tools]\ntwice = my_tools:double\ngone = my_tools:nothing\n"
        "calculator = my_tools:double\nbroken = broken_tools:f\n"
    )
    (tmp_path / "broken_tools.py").write_text("raise RuntimeError('no luck')")
    monkeypatch.syspath_prepend(tmp_path)
    tools = all_tools()
    assert found(tools["twice"], x=2).data == {"result": 4.0}
    assert tools["twice"].read_only
    assert not {"gone", "broken"} & tools.keys()
    assert "Work out" in tools["calculator"].description  # a package's tool does not take the place of a built-in one
    told = {name: found for name, found in look_for_installed() if isinstance(found, str)}
    assert "(my_tools:nothing, of my-tools) cannot be loaded: AttributeError" in told["gone"]
    assert "cannot be loaded: RuntimeError: no luck" in told["broken"]
    assert "there is one of that name already" in told["calculator"]
    checks = [check for check in examine(Settings()) if check.name == "tools"]
    assert checks[0].detail == "5 built in, and from packages: twice"
    assert [check.ok for check in checks] == [True, False, False, False]
    assert all(check.optional for check in checks)


def test_the_example_of_an_own_tool_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "own_tool.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert '"mismatch_percent": 0.957' in shown
    assert "unknown argument 'film'" in shown


def test_a_function_without_annotations_or_description_is_refused() -> None:
    with pytest.raises(BadInput, match="no annotation"):
        from_function(lambda x: x, name="f", description="d")
    with pytest.raises(BadInput, match="no docstring"):
        from_function(lambda: 1, name="f")


# --- calling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"a": "x"}, "'a' is 'x'"),
        ({}, "the argument 'a' is missing"),
        ({"a": 1, "c": 2}, "unknown argument 'c'"),
        ('{"a": 1', "not JSON"),
    ],
)
def test_wrong_arguments_come_back_as_data(arguments: Any, error: str) -> None:
    result = call(as_tool(add), arguments)
    assert result.result is None
    assert error in str(result.error) or error in result.text


def test_an_unknown_tool_and_a_failing_one_come_back_as_data() -> None:
    def broken() -> int:
        """Fail."""
        raise RuntimeError("no luck")

    assert "no tool named 'nope'" in str(call(None, {}, name="nope").error)
    assert call(from_function(broken), {}).error == "broken failed: RuntimeError: no luck"


def test_a_slow_tool_is_left_behind() -> None:
    def slow() -> int:
        """Sleep."""
        time.sleep(2)
        return 1

    begun = time.monotonic()
    assert "took longer than 0.05 s" in str(call(from_function(slow), {}, timeout_s=0.05).error)
    assert time.monotonic() - begun < 1


def test_too_many_tools_left_behind_start_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "MOST_LEFT_BEHIND", 2)
    monkeypatch.setattr(running, "MOST_LEFT_BEHIND", 2)
    monkeypatch.setattr(running, "_left", set())
    go = threading.Event()

    def hung() -> bool:
        """Wait."""
        return go.wait(30)

    tool = from_function(hung)
    for _ in range(2):
        assert "was left behind" in str(call(tool, {}, timeout_s=0.01).error)
    assert "was not started: 2 earlier calls" in str(call(tool, {}, timeout_s=0.01).error)
    go.set()
    while running._left:
        time.sleep(0.01)
    assert call(tool, {}).result is not None  # they came back, so there is room again


HUNG = """
import threading
from assistant.tools import call, from_function

def hung() -> int:
    "Never come back."
    threading.Event().wait()
    return 1

print(call(from_function(hung), {}, timeout_s=0.1).error)
"""


def test_a_tool_that_never_comes_back_does_not_hold_up_the_end_of_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", HUNG], capture_output=True, text=True, timeout=120, check=True)
    assert "hung took longer than 0.1 s and was left behind" in ended.stdout


def test_long_results_are_cut_and_say_so() -> None:
    def long() -> list[int]:
        """Count."""
        return list(range(100_000))

    output = found(from_function(long))
    assert output.data["shortened"]
    assert len(json.dumps(output.data)) <= 20_000


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("2,3", {"type": "array", "items": {"type": "integer"}}, [2, 3]),
        ('["Li"]', {"type": "array", "items": {"type": "string"}}, ["Li"]),
        ("true", {"type": "boolean"}, True),
        ("1.5", {"type": "number"}, 1.5),
        ("225", {"type": "string"}, "225"),
        ("many", {"type": "integer"}, "many"),
    ],
)
def test_words_of_the_command_line_are_read_by_the_schema(text: str, schema: dict[str, Any], value: Any) -> None:
    assert read_value(text, schema) == value


# --- structure --------------------------------------------------------------------------------------------------------


def test_the_summary_of_a_structure(tools: dict[str, Tool]) -> None:
    output = found(tools["structure"], structure="nacl.cif")
    data = output.data
    assert (data["formula"], data["nsites"], data["formula_units_per_cell"]) == ("NaCl", 8, 4)
    assert (data["spacegroup_symbol"], data["spacegroup_number"], data["crystal_system"]) == ("Fm-3m", 225, "cubic")
    assert data["molar_mass_g_per_mol"] == pytest.approx(58.443, abs=0.001)
    assert data["density_g_cm3"] == pytest.approx(4 * 58.443 / 0.602214 / 5.64**3, rel=1e-4)
    assert "density 2.1637 g/cm³" in output.text
    assert output.sources == ("nacl.cif",)


def test_an_attachment_goes_by_name_stem_or_alone(library: Library) -> None:
    one = builtin_tools(ToolContext(attachments={"dir/nacl.cif": ROCK_SALT}))["structure"]
    assert found(one).data["formula"] == "NaCl"
    assert found(one, structure="NaCl").data["formula"] == "NaCl"
    assert found(one, structure=POSCAR).data["nsites"] == 2
    two = builtin_tools(ToolContext(attachments={"a.cif": ROCK_SALT, "b.cif": ROCK_SALT}))["structure"]
    assert "several files are attached: a.cif, b.cif" in str(call(two, {}).error)


def test_no_path_reaches_the_disk(tmp_path: Path, tools: dict[str, Tool]) -> None:
    path = tmp_path / "secret.cif"
    path.write_text(ROCK_SALT)
    for tool in (tools["structure"], tools["bandgap"]):
        assert call(tool, {"structure": str(path)}).result is None
        assert call(tool, {"structure": "../secret.cif"}).result is None


def test_neighbours_of_rock_salt(tools: dict[str, Tool]) -> None:
    data = found(tools["structure"], structure="POSCAR", task="neighbours", element="Na").data
    assert [site["coordination_number"] for site in data["sites"]] == [6]
    assert {each["species"] for each in data["sites"][0]["neighbours"]} == {"Cl"}
    assert data["sites"][0]["neighbours"][0]["distance_a"] == pytest.approx(2.82, abs=1e-3)


def test_peaks_obey_braggs_law(tools: dict[str, Tool]) -> None:
    import math

    data = found(tools["structure"], structure="nacl.cif", task="xrd", wavelength="1.54184").data
    peak = next(each for each in data["peaks"] if sorted(map(abs, each["hkl"][0])) == [0, 0, 2])
    assert peak["intensity_percent"] == pytest.approx(100)
    assert 2 * peak["d_a"] * math.sin(math.radians(peak["two_theta_deg"] / 2)) == pytest.approx(1.54184, rel=1e-4)
    assert "no X-ray wavelength" in str(call(tools["structure"], {"structure": "nacl.cif", "task": "xrd", "wavelength": "red"}).error)  # fmt: skip  # noqa: E501


def test_sites_oxidation_states_and_supercell(tools: dict[str, Tool]) -> None:
    structure = tools["structure"]
    assert found(structure, structure="nacl.cif", task="sites").data["distinct_sites"] == 2
    states = found(structure, structure="nacl.cif", task="oxidation_states").data["oxidation_states"]
    assert states == {"Na": [1.0], "Cl": [-1.0]}
    cell = found(structure, structure="POSCAR", task="supercell", supercell=[1, 2, 3]).data
    assert (cell["nsites"], cell["volume_a3_per_cell"]) == (12, pytest.approx(6 * 2 * 2.82**3, rel=1e-4))
    assert "the most" in str(call(structure, {"structure": "nacl.cif", "task": "supercell", "supercell": [50] * 3}).error)  # fmt: skip  # noqa: E501


def test_two_cells_of_one_crystal_are_the_same_structure(tools: dict[str, Tool]) -> None:
    output = found(tools["structure"], structure="nacl.cif", task="compare", other="POSCAR")
    assert output.data["same_structure"]
    assert output.data["volume_change_percent"] == pytest.approx(0, abs=1e-6)
    assert output.sources == ("nacl.cif", "POSCAR")


@pytest.mark.shared
def test_every_real_cif_gives_an_answer_or_a_reason(shared_data: Path) -> None:
    files = sorted((shared_data / "cif").glob("*.cif"))
    attached = {file.name: file.read_bytes().decode("utf-8", "replace") for file in files}
    tool = builtin_tools(ToolContext(attachments=attached))["structure"]
    results = {file.name: call(tool, {"structure": file.name}, timeout_s=30) for file in files}
    refused = {name: str(result.error) for name, result in results.items() if result.result is None}
    assert len(results) == 82
    assert sorted(refused) == [
        "gemmi_3dg1_final.cif",
        "gemmi_4aap-sf-subset.cif",
        "gemmi_5i55.cif",
        "gemmi_SO3.cif",
        "gemmi_cc12-hkl.cif",
        "gemmi_eol-test.cif",
        "gemmi_misc.cif",
        "pmg_PF_sd_1002871.cif",
        "pmg_PF_sd_1601634.cif",
        "pmg_bad_superflat_inf_loop.cif",
    ]
    reasons = ("holds no crystal structure", "has no volume", "has groups of atoms on its sites")
    assert all(any(reason in error for reason in reasons) for error in refused.values())


# --- materials --------------------------------------------------------------------------------------------------------


def test_a_record_is_told_with_units_functional_and_source(tools: dict[str, Tool]) -> None:
    output = found(tools["materials"], material_id="mp-149")
    assert "PBE band gap 0.61 eV, indirect" in output.text
    assert "volume 40.9 Å³ per cell of 2 atoms" in output.text
    assert "[source: Materials Project, 2024]" in output.text
    assert output.data["records"][0]["quantities"]["band_gap_ev"]["functional"] == "PBE"
    assert output.sources == ("mp-149",)


def test_polymorphs_are_kept_apart_and_a_tie_is_told(tools: dict[str, Tool]) -> None:
    output = found(tools["materials"], formula="O2Ti")
    assert output.data["count"] == 3
    assert output.data["ground_state"] == ["mp-34688", "mp-390"]
    assert "a tie between" in output.text
    assert found(tools["materials"], name="Rutile").sources == ("mp-2657",)


def test_the_question_of_the_readme(tools: dict[str, Tool]) -> None:
    output = found(tools["materials"], chemsys="O-Li", stable=True, band_gap_min_ev=1, band_gap_max_ev=3)
    assert output.sources == ("mp-841",)


def test_filters_sort_and_refuse(tools: dict[str, Tool]) -> None:
    materials = tools["materials"]
    largest = found(materials, elements=["O"], exclude_elements=["Ti"], sort="band_gap", descending=True, limit=2)
    assert largest.sources == ("mp-1960", "mp-841")
    assert found(materials, spacegroup="227").sources == ("mp-149",)
    assert found(materials, crystal_system="Cubic", nelements=2).sources == ("mp-1960",)
    for wrong, error in [
        ({"elements": ["Xx"]}, "'Xx' is no chemical element"),
        ({"formula": "hello"}, "no formula and names no compound"),
        ({"crystal_system": "round"}, "no crystal system"),
        ({"band_gap_min_ev": 3, "band_gap_max_ev": 1}, "runs backwards"),
        ({"spacegroup": "231"}, "no space group"),
        ({"material_id": "mp-1"}, "no material 'mp-1'"),
        ({"limit": 0}, "limit is 0"),
    ]:
        assert error in str(call(materials, wrong).error)


def test_the_structure_tool_names_the_polymorphs_of_a_formula(tools: dict[str, Tool]) -> None:
    result = call(tools["structure"], {"structure": "TiO2"})
    assert "mp-2657" in result.hint


# --- papers and band gap ----------------------------------------------------------------------------------------------


def test_papers_are_searched_read_and_outlined(tools: dict[str, Tool]) -> None:
    papers, page = tools["papers"], f"{'ab' * 32}#1"
    hits = found(papers, query="capacity of LiFePO4")
    assert hits.sources == (page,)
    assert hits.data["passages"][0]["page"] == 1
    assert "170 mAh/g" in found(papers, paper="abab", page=1).text
    assert found(papers, paper="phosphate cathodes").data["title"] == "Phosphate cathodes"
    assert found(papers).data["count"] == 1
    assert "has no page 7" in str(call(papers, {"paper": "abab", "page": 7}).error)
    assert "no paper fits" in str(call(papers, {"paper": "nothing"}).error)


def test_papers_are_searched_by_words_where_no_embedder_is_loaded(library: Library) -> None:
    papers = builtin_tools(ToolContext(library=library))["papers"]
    assert found(papers, query="LiFePO4").sources == (f"{'ab' * 32}#1",)


def test_a_predicted_gap_says_that_it_is_one(tools: dict[str, Tool]) -> None:
    output = found(tools["bandgap"], structure="nacl.cif")
    data = output.data
    assert data["low_ev"] <= data["band_gap_ev"] <= data["high_ev"]
    assert (data["kind"], data["functional"], data["unit"]) == ("prediction", "PBE", "eV")
    assert "predicts a PBE band gap" in output.text
    assert data["model"] in output.sources


def test_without_a_structure_or_a_predictor_the_band_gap_tool_says_how_to_get_one() -> None:
    without = call(builtin_tools()["bandgap"], {})
    assert "no structure was given" in str(without.error)
    assert "CIF or POSCAR" in without.hint
    none = builtin_tools(ToolContext(attachments={"a.cif": ROCK_SALT}, bandgap_model=None))["bandgap"]
    assert "shipped" in call(none, {}).hint


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_a_tool_runs_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nacl.cif"
    path.write_text(ROCK_SALT)
    assert main(["tool", "calculator", "1 + 1"]) == 0
    assert capsys.readouterr().out == "1 + 1 = 2\n"
    assert main(["tool", "structure", "task=supercell", "supercell=1,1,2", "--attach", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["nsites"] == 16
    assert main(["tool", "structure", '{"task": "nonsense"}', "--attach", str(path)]) == 1
    assert "'task' is 'nonsense'" in capsys.readouterr().err


def test_the_list_of_tools_and_a_wrong_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tool", "--list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5
    assert main(["tool", "calculater"]) == 1
    assert "did you mean 'calculator'?" in capsys.readouterr().err


def test_an_argument_that_a_tool_does_not_take_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tool", "calculator", "foo=1"]) == 1
    assert "takes no argument 'foo'" in capsys.readouterr().err


def test_garbage_named_cif_is_called_a_malformed_cif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.cif").write_text("garbage\n", encoding="utf-8")
    assert main(["tool", "structure", "--attach", str(tmp_path / "x.cif")]) == 1
    told = capsys.readouterr().err
    assert "'x.cif' is a malformed CIF: line 1" in told
    assert "POSCAR" not in told


def test_what_cannot_be_attached_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.cif").write_bytes(b"\0\1\2")
    assert main(["tool", "structure", "--attach", str(tmp_path / "x.cif")]) == 1
    assert "no text file" in capsys.readouterr().err
    assert main(["tool", "structure", "--attach", str(tmp_path / "y.cif")]) == 1
    assert "there is no file" in capsys.readouterr().err

"""The text of structures: equal to the tutorial's and to pymatgen's, and the short form."""

from __future__ import annotations

import gzip
import itertools
import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.crystals import Crystal, from_record, make_crystal
from ingest.errors import BadInput
from ingest.structure_text import compact_text, reduced_formula, render, tutorial_prompt, tutorial_text, words_text

RUTILE = [[4.6, 0, 0], [0, 4.6, 0], [0, 0, 2.96]]
RUTILE_SITES = [
    [0, 0, 0],
    [0.5, 0.5, 0.5],
    [0.305, 0.305, 0],
    [0.695, 0.695, 0],
    [0.195, 0.805, 0.5],
    [0.805, 0.195, 0.5],
]


def rutile() -> Crystal:
    return make_crystal(RUTILE, ["Ti", "Ti", "O", "O", "O", "O"], RUTILE_SITES)


def records(shared_data: Path, *, every: int) -> list[dict]:
    with gzip.open(shared_data / "bandgap" / "mp_bandgap.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in itertools.islice(file, 3, None, every)]


def printed_by_pymatgen(record: dict, magmoms: list[float] | None) -> str:
    core = pytest.importorskip("pymatgen.core")
    structure = core.Structure(
        core.Lattice.from_parameters(*record["lattice"]), record["species"], record["frac_coords"]
    )
    if magmoms:
        structure.add_site_property("magmom", magmoms)
    lines = [line for line in str(structure).split("\n")[1:] if set(line) - set("- ")]
    after = next(index for index, line in enumerate(lines) if line.startswith("pbc"))
    lines.insert(after + 1, f"space group: {structure.get_space_group_info()}")
    return "\n".join(lines)


def test_the_tutorials_prompt_is_reproduced_byte_for_byte(shared_data: Path) -> None:
    example = json.loads((shared_data / "tutorial" / "prompts.json").read_text(encoding="utf-8"))[0]
    lattice = [[5.807091, 0, 0], [0, 5.807091, 0], [0, 0, 8.251028]]
    places = [
        [0.5, 0.5, 0],
        [0, 0, 0.5],
        [0, 0.5, 0.257945],
        [0.5, 0, 0.257945],
        [0, 0.5, 0.742055],
        [0.5, 0, 0.742055],
    ]
    crystal = make_crystal(lattice, ["Ba", "Sr", "I", "I", "I", "I"], places)
    crystal = replace(crystal, properties={"magmom": [-0.0, -0.0, 0.0, 0.0, 0.0, 0.0]})
    assert tutorial_text(crystal) == example["structure_text"]
    assert tutorial_prompt(crystal) == example["prompt"]


@pytest.mark.filterwarnings("ignore")
def test_texts_equal_those_that_pymatgen_prints(shared_data: Path) -> None:
    for index, record in enumerate(records(shared_data, every=1500)):
        crystal = from_record(record)
        moments = [0.1 * site - 0.0 for site in range(len(record["species"]))] if index % 2 else None
        if moments:
            crystal = replace(crystal, properties={"magmom": moments})
        assert tutorial_text(crystal) == printed_by_pymatgen(record, moments), record["material_id"]


def test_reduced_formulas_equal_those_of_the_materials_project(shared_data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for record in records(shared_data, every=40):
            assert reduced_formula(from_record(record).numbers.tolist()) == record["formula"], record["material_id"]


def test_the_compact_text_names_formula_group_cell_and_positions() -> None:
    assert compact_text(rutile()) == "TiO2 | P4_2/mnm 136 | 4.60 4.60 2.96 90 90 90 | 6 sites | Ti 2a | O 4f"


def test_the_words_name_the_elements() -> None:
    assert words_text(rutile()) == "group 136, 6 sites of 10.4 A3: titanium, oxygen 2"


def test_molecules_and_peroxides_are_not_reduced() -> None:
    assert [reduced_formula(numbers) for numbers in ([8, 8], [17], [3, 3, 8, 8], [26, 26])] == [
        "O2",
        "Cl2",
        "Li2O2",
        "Fe",
    ]


def test_processes_render_the_same_texts_in_the_same_order() -> None:
    doubled = make_crystal([[4.6, 0, 0], [0, 4.6, 0], [0, 0, 5.0]], ["Ti"], [[0, 0, 0]])
    crystals = [rutile(), doubled] * 100
    assert list(render(crystals, workers=2)) == [tutorial_text(rutile()), tutorial_text(doubled)] * 100


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(BadInput, match="'long'"):
        next(render([], style="long"))

"""The sample library: what is shipped is what the script renders, reads well, and says true things."""

from __future__ import annotations

import importlib.util
import re
import runpy
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from assistant import Assistant
from assistant.demo import Demo, run_demo
from ingest import sample
from ingest.errors import BadInput
from ingest.library import Library
from ingest.materials import Material, parse_records
from ingest.metadata import describe
from ingest.pipeline import ingest
from ingest.readers import read
from ingest.records import Document

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "examples" / "sample").glob("*.md"))
NAMES = [path.stem for path in SOURCES]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    pytest.importorskip("reportlab")
    spec = importlib.util.spec_from_file_location("make_sample_library", ROOT / "examples" / "make_sample_library.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def document(name: str) -> Document:
    (path,) = [path for path in sample.paths() if path.stem == name]
    return read(path)


def text_of(name: str) -> str:
    return "\n\n".join(page.text for page in document(name).pages)


def blocks_of(name: str, kind: str) -> list[str]:
    return [
        page.text[block.start : block.end]
        for page in document(name).pages
        for block in page.blocks
        if block.kind == kind
    ]


# --- the files ------------------------------------------------------------------------------------------


def test_the_shipped_documents_are_those_of_the_sources() -> None:
    assert [path.stem for path in sample.paths()] == NAMES


def test_rendering_again_gives_the_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    for made, shipped in zip(script.render_all(tmp_path), sample.paths(), strict=True):
        assert made.read_bytes() == shipped.read_bytes(), f"{made.name}: run examples/make_sample_library.py"


def test_the_documents_are_small_and_have_several_pages() -> None:
    for path in sample.paths():
        assert path.stat().st_size < 100_000
        assert 2 <= len(document(path.stem).pages) <= 4


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_every_reference_is_cited_and_every_citation_has_its_reference(path: Path) -> None:
    body, _, references = path.read_text(encoding="utf-8").partition("\n[1] ")
    listed = {1, *map(int, re.findall(r"^\[(\d+)\] ", references, flags=re.MULTILINE))}
    cited = {int(number) for group in re.findall(r"\[([1-9]\d*(?:, \d+)*)\]", body) for number in group.split(", ")}
    assert cited == listed == set(range(1, len(listed) + 1))


# --- what the reader makes of them -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_title_is_found(name: str, script: ModuleType) -> None:
    source = script.read_source(ROOT / "examples" / "sample" / f"{name}.md")
    (path,) = [path for path in sample.paths() if path.stem == name]
    assert describe(document(name), path).title == source.head["title"]


@pytest.mark.parametrize("name", NAMES)
def test_running_heads_and_page_numbers_are_left_out(name: str) -> None:
    assert "matlit sample library" not in text_of(name)
    assert not re.search(r"^\d$", document(name).pages[-1].text.split("\n\n")[-1])


def test_two_columns_are_read_one_after_the_other() -> None:
    text = text_of("halide-perovskite-solar-cells")
    order = ["Abstract", "1 The compounds", "2 The steps", "3 The limit", "4 What remains", "References"]
    places = [text.index(f"{heading}\n\n") for heading in order]
    assert places == sorted(places)
    assert "Measurements of photoluminescence quenching explained why" in text  # hyphenated across two lines


def test_subscripts_stand_in_their_place() -> None:
    text = text_of("halide-perovskite-solar-cells")
    assert "Kojima and co-workers used CH3NH3PbI3 and CH3NH3PbBr3 as sensitisers on mesoporous TiO2" in text
    assert "Neutron diffraction on Li0.6FePO4 at 620 K" in text_of("lithium-iron-phosphate")


def test_table_rows_stay_together() -> None:
    tables = blocks_of("lithium-iron-phosphate", "table")
    assert any("LiFePO4 | Pnma | 10.334 | 6.008 | 4.693 | 291.4" in table for table in tables)
    assert any("LiCoO2 | layered | R-3m | 97.87 | 274" in table for table in tables)


def test_references_are_marked_as_such() -> None:
    references = blocks_of("lithium-iron-phosphate", "reference")
    assert any("10.1149/1.1837571" in reference for reference in references)
    assert not any("10.1149/1.1837571" in text for text in blocks_of("lithium-iron-phosphate", "text"))


def test_a_doi_of_a_reference_is_not_taken_for_the_papers_own() -> None:
    assert [describe(document(path.stem), path).doi for path in sample.paths()] == [""] * len(NAMES)


def test_the_language_is_recognised() -> None:
    found = {path.stem: describe(document(path.stem), path).language for path in sample.paths()}
    assert found == {name: "ja" if name.endswith("-ja") else "en" for name in NAMES}


def test_japanese_survives() -> None:
    text = text_of("titanium-dioxide-photocatalysis-ja")
    assert "ルチルのバンドギャップは3.0 eV、アナターゼのバンドギャップは3.2 eVである" in text
    assert "1972年、藤嶋昭と本多健一は、ルチルの単結晶電極に光を当てると水が分解し" in text


def test_japanese_pages_render_with_ink() -> None:
    pdfium = pytest.importorskip("pypdfium2")
    (path,) = [path for path in sample.paths() if path.stem.endswith("-ja")]
    with pdfium.PdfDocument(path) as pdf:
        picture = pdf[0].render(scale=1).to_numpy()
    assert 0.02 < (picture < 128).mean() < 0.3


# --- the materials ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def materials() -> dict[str, Material]:
    return {material.material_id: material for material in parse_records(sample.materials_path())}


def test_the_sample_materials_are_read_without_complaint(materials: dict[str, Material], script: ModuleType) -> None:
    assert list(materials) == list(script.MATERIALS)
    assert all(material.structure and material.band_gap_ev is not None for material in materials.values())


def test_the_sample_materials_say_functional_and_date(materials: dict[str, Material]) -> None:
    assert (materials["mp-149"].band_gap_ev, materials["mp-149"].band_gap_functional) == (0.6119, "PBE")
    assert materials["mp-19017"].band_gap_functional == "PBE+U"
    assert {material.source_doi for material in materials.values()} == {"10.1063/1.4812323"}
    assert all(re.fullmatch(r"20\d\d", material.as_of) for material in materials.values())


def test_the_sample_materials_carry_the_values_of_the_band_gap_set(
    materials: dict[str, Material], shared_data: Path
) -> None:
    for original in parse_records(shared_data / "bandgap" / "mp_bandgap.jsonl.gz", on_error=lambda _: None):
        ours = materials.get(original.material_id)
        if ours:
            assert (ours.band_gap_ev, ours.as_of) == (original.band_gap_ev, original.as_of)
            assert ours.density_g_cm3 == pytest.approx(original.density_g_cm3, rel=1e-3)
            assert ours.spacegroup_number == original.spacegroup_number
        if original.material_id == "mp-149":
            break  # the set is sorted by number; the rest would only cost time


def test_the_documents_quote_the_gaps_of_the_records(materials: dict[str, Material]) -> None:
    source = (ROOT / "examples" / "sample" / "band-gaps-from-dft.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (mp-\d+) \| ([\d.]+) \|", source)
    assert len(rows) == 7
    for material_id, gap in rows:
        assert f"{materials[material_id].band_gap_ev:.2f}" == gap


# --- the demo ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("demo") / "fresh")


def test_the_demo_answers_with_a_verified_quote_of_the_right_page(demo: Demo) -> None:
    assert not demo.answer.abstained
    first = demo.answer.citations[0]
    assert "170 mAh" in first.quote
    assert (first.title, first.page, first.status) == ("Lithium iron phosphate as a cathode material", 1, "verified")


def test_the_demo_library_holds_the_papers_and_the_materials(demo: Demo) -> None:
    with Library.open(demo.folder) as library:
        assert {paper.paths[0].name for paper in library.papers()} == {path.name for path in sample.paths()}
        assert len(library.materials()) == demo.materials == 31
        assert library.verify().clean


def test_a_second_demo_in_the_same_folder_reads_nothing_again(demo: Demo) -> None:
    again = run_demo(demo.folder, question="Which efficiency did the perovskite cell of 2009 reach?")
    assert (again.report.added, again.report.skipped) == (0, 6)
    assert "3.8 %" in again.answer.text


def test_a_question_about_a_computed_property_finds_the_material(demo: Demo) -> None:
    with Assistant(demo.folder) as assistant:
        hits = assistant.search("PBE band gap of strontium titanate", k=3)
    assert "mp-5229" in {hit.chunk.source for hit in hits}


def test_the_demo_refuses_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        run_demo(tmp_path)


def test_the_demo_refuses_somebodys_own_library(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("A text of my own about steel and its grain size, long enough to be read.")
    for _ in ingest([tmp_path / "own.txt"], library=tmp_path / "library"):
        pass
    with pytest.raises(BadInput, match="papers of your own"):
        run_demo(tmp_path / "library")


def test_the_python_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "python_api.py"))["main"](tmp_path / "library")
    printed = capsys.readouterr().out
    assert printed.count("added ") == 6
    assert "170 mAh" in printed
    assert "verified" in printed

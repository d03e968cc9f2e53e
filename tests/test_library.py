"""The library on disk: what is in it, identity, what it refuses, another embedder. Real Chroma, real SQLite."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_library import EMBEDDER, RECIPE, STEEL, add, make_entry, texts, write

from ingest.embed import EmbedderInfo
from ingest.errors import (
    BadInput,
    LibraryDamaged,
    LibraryMismatch,
    LibraryNotFound,
    NotInLibrary,
)
from ingest.library import Library, Stamp
from ingest.materials import Material, to_chunk
from ingest.records import Filter, file_digest

# --- what is in it ---------------------------------------------------------------------------------------------------


def test_a_paper_comes_back_with_its_pages_and_chunks(library, files):
    words = np.array([[0, 8, 7200, 7200, 9000, 8400]], dtype=np.int32)
    paper, pages, chunks, vectors = make_entry(files["cathode"])
    pages = [replace(pages[0], words=words, width=595.0, height=842.0)]
    with library.writer() as writer:
        writer.add(paper, pages, chunks, vectors)
    (stored,) = library.papers()
    assert (stored.title, stored.paths, stored.chunk_count, stored.page_count) == ("cathode", (files["cathode"],), 3, 1)
    page = library.page(paper.id, 1)
    assert page == pages[0]
    assert page.words.tolist() == words.tolist()
    assert library.chunks_of(paper.id) == chunks
    assert library.chunks([chunks[2].id, "gone", chunks[0].id]) == [chunks[2], chunks[0]]


def test_dense_and_lexical_search_find_the_passage(library, files):
    add(library, *files.values())
    assert texts(library, "LiFePO4 is an olivine cathode")[0].startswith("LiFePO4")
    (best, *_) = library.lexical("tempering ductility", k=3)
    assert "Tempering" in library.chunks([best[0]])[0].text


def test_filters_hold_for_both_searches(library, files):
    add(library, *files.values())
    steel = file_digest(files["steel"])
    assert len(texts(library, "softening of glass", sources=frozenset({steel}))) == 3
    found = library.lexical("carbon silica olivine", k=9, where=Filter(sources=frozenset({steel})))
    assert {chunk.source for chunk in library.chunks([each for each, _ in found])} == {steel}


def test_reference_lists_have_no_vector_and_come_back_only_when_asked_for(library, tmp_path):
    path = write(tmp_path, "refs.txt", "Sodium ions are large. Ref 1 Smith on sodium")
    add(library, path)
    assert library.status()["vectors"] == 1
    assert [chunk.kind for chunk in library.chunks([e for e, _ in library.lexical("sodium", k=5)])] == ["text"]
    named = library.lexical("sodium", k=5, where=Filter(kinds=frozenset({"reference"})))
    assert [chunk.kind for chunk in library.chunks([e for e, _ in named])] == ["reference"]
    assert library.verify().clean


def test_a_few_digits_of_an_id_are_enough_and_an_unknown_one_is_refused(library, files):
    add(library, files["steel"])
    identity = file_digest(files["steel"])
    assert library.paper(identity[:8]).id == identity
    with pytest.raises(NotInLibrary, match="ffff"):
        library.paper("ffffffff")
    with pytest.raises(NotInLibrary):
        library.paper(identity[:2])
    with pytest.raises(NotInLibrary, match="no page 9"):
        library.page(identity, 9)


def test_materials_stand_beside_papers_and_are_replaced_by_their_id(library, files):
    add(library, files["steel"])
    for gap in (1.1, 1.2):
        record = Material("mp-149", "Si", ("Si",), names=("silicon",), band_gap_ev=gap, band_gap_functional="PBE")
        chunk = to_chunk(record, RECIPE)
        with library.writer() as writer:
            writer.add_materials([record], [chunk], EMBEDDER.embed_documents([chunk.embedded_text]))
    assert library.material("mp-149").band_gap_ev == 1.2
    assert len(library.materials(elements=["Si"])) == 1
    assert len(library.chunks_of("mp-149")) == 1
    assert [c.kind for c in library.chunks([e for e, _ in library.lexical("silicon", k=3)])] == ["material"]
    assert library.verify().clean


# --- identity --------------------------------------------------------------------------------------------------------


def test_the_same_bytes_under_two_names_are_one_paper_with_two_paths(library, files, tmp_path):
    add(library, files["steel"])
    copy = Path(shutil.copy(files["steel"], tmp_path / "copy.txt"))
    with library.writer() as writer:
        writer.link(copy, file_digest(copy), Stamp.of(copy))
    (paper,) = library.papers()
    assert set(paper.paths) == {copy, files["steel"]}


def test_a_renamed_file_is_the_same_paper_under_its_new_name(library, files, tmp_path):
    add(library, files["steel"])
    moved = files["steel"].rename(tmp_path / "moved.txt")
    with library.writer() as writer:
        writer.link(moved, file_digest(moved), Stamp.of(moved))
    (paper,) = library.papers()
    assert paper.paths == (moved,)


def test_an_edited_file_replaces_its_old_version(library, files):
    add(library, files["steel"], files["glass"])
    old = file_digest(files["steel"])
    files["steel"].write_text("Austenite is stable above 900 C. Nickel widens its field.", encoding="utf-8")
    add(library, files["steel"])
    assert old not in {paper.id for paper in library.papers()}
    assert not library.lexical("martensite", k=3)
    assert "Austenite is stable above 900 C" in texts(library, "Austenite is stable")
    assert library.verify().clean


def test_an_edited_file_leaves_the_old_version_to_its_other_path(library, files, tmp_path):
    copy = Path(shutil.copy(files["steel"], tmp_path / "copy.txt"))
    add(library, files["steel"])
    with library.writer() as writer:
        writer.link(copy, file_digest(copy), Stamp.of(copy))
    files["steel"].write_text("Austenite is stable above 900 C.", encoding="utf-8")
    add(library, files["steel"])
    assert {paper.paths for paper in library.papers()} == {(copy,), (files["steel"],)}


def test_adding_a_paper_again_keeps_its_other_paths_and_changes_nothing(library, files, tmp_path):
    add(library, files["steel"])
    copy = Path(shutil.copy(files["steel"], tmp_path / "copy.txt"))
    with library.writer() as writer:
        writer.link(copy, file_digest(copy), Stamp.of(copy))
    before = library.chunk_ids()
    add(library, files["steel"])
    assert library.chunk_ids() == before
    assert len(library.papers()[0].paths) == 2
    assert library.verify().clean


def test_prune_takes_out_papers_without_a_file_and_keeps_the_others(library, files, tmp_path):
    add(library, *files.values())
    copy = Path(shutil.copy(files["glass"], tmp_path / "copy.txt"))
    with library.writer() as writer:
        writer.link(copy, file_digest(copy), Stamp.of(copy))
    gone = file_digest(files["steel"])
    files["steel"].unlink()
    files["glass"].unlink()
    with library.writer() as writer:
        assert writer.prune(under=[tmp_path / "elsewhere"]) == []
        assert writer.prune() == [gone]
    assert {paper.paths for paper in library.papers()} == {(copy,), (files["cathode"],)}
    assert library.verify().clean


def test_a_removed_paper_is_found_no_more(library, files):
    add(library, files["steel"], files["glass"])
    with library.writer() as writer:
        assert writer.remove(file_digest(files["steel"])[:10]).title == "steel"
    assert all("artensite" not in text for text in texts(library, "Martensite forms on quenching"))
    assert not library.lexical("martensite", k=3)
    report = library.verify()
    assert report.clean
    assert (report.papers, report.vectors) == (1, 3)


# --- refusing --------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_library_is_named(tmp_path):
    with pytest.raises(LibraryNotFound, match="nowhere") as caught:
        Library.open(tmp_path / "nowhere")
    assert "matlit ingest" in caught.value.hint


def test_a_second_library_in_the_same_folder_is_refused(library):
    with pytest.raises(BadInput, match="already holds"):
        Library.create(library.info.path, embedder=EMBEDDER.info, recipe=RECIPE)


def test_another_embedder_is_refused_with_the_command_that_rebuilds(library):
    other = EmbedderInfo("other-model", "7", 12)
    with pytest.raises(LibraryMismatch, match=r"'hashing'.*'other-model'") as caught:
        Library.open(library.info.path, embedder=other)
    assert "--rebuild" in caught.value.hint


def test_another_recipe_is_refused(library):
    with pytest.raises(LibraryMismatch, match="test:2"):
        Library.open(library.info.path, recipe="test:2")


def test_a_newer_schema_is_refused(library):
    file = library.info.path / "library.toml"
    file.write_text(file.read_text().replace("schema = 1", "schema = 99"))
    with pytest.raises(LibraryMismatch, match="schema 99") as caught:
        Library.open(library.info.path)
    assert "upgrade" in caught.value.hint


def test_a_newer_catalogue_is_refused_too(library):
    with sqlite3.connect(library.info.path / "catalog.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LibraryMismatch, match="schema 99"):
        Library.open(library.info.path)


@pytest.mark.parametrize("content", ["[library", "[library]\nschema = 1\n", "[library]\nschema = 'x'\nrecipe = ''\n"])
def test_a_damaged_library_file_is_named(library, content):
    (library.info.path / "library.toml").write_text(content)
    with pytest.raises(LibraryDamaged, match=r"library\.toml"):
        Library.open(library.info.path)


def test_a_catalogue_that_is_no_database_is_named(library):
    library.close()
    (library.info.path / "catalog.sqlite").write_bytes(b"this is no database" * 400)
    with pytest.raises(LibraryDamaged, match=r"catalog\.sqlite"):
        Library.open(library.info.path)


def test_a_library_without_its_catalogue_is_named(library):
    library.close()
    (library.info.path / "catalog.sqlite").unlink()
    with pytest.raises(LibraryDamaged, match=r"lost its catalog\.sqlite"):
        Library.open(library.info.path)


def test_vectors_of_the_wrong_shape_are_refused_before_anything_is_written(library, files):
    paper, pages, chunks, vectors = make_entry(files["steel"])
    with library.writer() as writer, pytest.raises(ValueError, match="shape"):
        writer.add(paper, pages, chunks, vectors[:, :5])
    assert library.papers() == []
    assert library.verify().clean


# --- turning to another embedder -------------------------------------------------------------------------------------


def test_a_reset_hides_papers_until_they_are_chunked_again_and_loses_no_page(library, files):
    add(library, files["steel"])
    identity = file_digest(files["steel"])
    other = EmbedderInfo("other", "1", 4)
    with library.writer() as writer:
        writer.reset(embedder=other, recipe="test:2")
    assert library.papers() == []
    assert library.waiting() == [identity]
    assert library.pages(identity)[0].text == STEEL
    assert not library.verify().clean
    with Library.open(library.info.path, embedder=other, recipe="test:2") as opened:
        paper, pages, chunks, _ = make_entry(files["steel"], recipe="test:2")
        with opened.writer() as writer:
            writer.add(paper, pages, chunks, np.eye(4, dtype=np.float32)[:3])
        assert opened.dense(np.eye(4, dtype=np.float32)[1], k=1)[0][0] == chunks[1].id
        assert opened.waiting() == []
        assert opened.verify().clean

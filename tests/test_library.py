"""The library on disk: identity, visibility, one writer, mismatch, damage and mending. Real Chroma, real SQLite."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.embed import EmbedderInfo, make_embedder
from ingest.errors import (
    BadInput,
    LibraryBusy,
    LibraryDamaged,
    LibraryError,
    LibraryMismatch,
    LibraryNotFound,
    NotInLibrary,
)
from ingest.library import Library, Stamp, embedded
from ingest.materials import Material, to_chunk
from ingest.records import Block, Chunk, Filter, Metadata, Page, Paper, chunk_id, file_digest
from ingest.vectors import ServerUnreachable

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "test:1"
EMBEDDER = make_embedder("hashing")

CATHODE = "LiFePO4 is an olivine cathode. It delivers 170 mAh/g at low rates. Its voltage is 3.4 V against lithium."
STEEL = "Martensite forms on quenching. Tempering at 600 C restores ductility. Carbon hardens the steel."
GLASS = "Silica glass softens near 1700 C. Boron lowers the softening point. Glass has no long-range order."


def make_entry(path: Path, *, recipe: str = RECIPE):
    """Return what `Writer.add` takes for a text file: one page, one chunk per sentence."""
    text = path.read_text(encoding="utf-8")
    paper_id = file_digest(path)
    chunks, start = [], 0
    for ordinal, sentence in enumerate(text.split(". ")):
        kind = "reference" if sentence.startswith("Ref") else "text"
        end = start + len(sentence)
        chunks.append(
            Chunk(
                chunk_id(paper_id, recipe, ordinal), paper_id, ordinal, sentence, 1, start, end, kind=kind, context="T"
            )
        )
        start = end + 2
    vectors = EMBEDDER.embed_documents([chunk.embedded_text for chunk in embedded(chunks)])
    page = Page(1, text, (Block(0, len(text), "text"),))
    paper = Paper(paper_id, Metadata(title=path.stem, year=2020), "text", 1, len(chunks), (path,))
    return paper, [page], chunks, vectors


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def add(library: Library, *paths: Path) -> None:
    with library.writer() as writer:
        for path in paths:
            writer.add(*make_entry(path))


def texts(library: Library, question: str, **filters) -> list[str]:
    found = library.dense(EMBEDDER.embed_query(question), k=5, where=Filter(**filters))
    return [chunk.text for chunk in library.chunks([each for each, _ in found])]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.create(tmp_path / "lib", embedder=EMBEDDER.info, recipe=RECIPE) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    given = {"cathode": CATHODE, "steel": STEEL, "glass": GLASS}
    return {name: write(tmp_path, f"{name}.txt", text) for name, text in given.items()}


def run_python(code: str, *arguments: object, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, **options
    )


# --- what is in it --------------------------------------------------------------------------------------------------


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


# --- identity -------------------------------------------------------------------------------------------------------


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


# --- refusing -------------------------------------------------------------------------------------------------------


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


# --- one writer, many readers ---------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from ingest.library import Library
with Library.open(Path(sys.argv[1])).writer("a long ingest"):
    print("holding", flush=True)
    sys.stdin.readline()
"""

HOLD_AND_FORK = """
import os, sys, time
from pathlib import Path
from ingest.library import Library
with Library.open(Path(sys.argv[1])).writer():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def is_soon_free(library: Library) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with library.writer():
                return True
        except LibraryBusy:
            time.sleep(0.1)
    return False


def test_a_second_writer_is_refused_and_told_who_writes(library):
    process = run_python(HOLD, library.info.path)
    assert process.stdout.readline() == "holding\n"
    with pytest.raises(LibraryBusy) as caught, library.writer():
        pass
    assert str(process.pid) in str(caught.value)
    assert socket.gethostname() in str(caught.value)
    assert "a long ingest" in str(caught.value)
    assert str(process.pid) in library.status()["writer"]
    process.communicate("\n")
    assert library.status()["writer"] is None
    with library.writer():
        pass


def test_a_second_writer_in_the_same_process_is_refused_too(library):
    with library.writer(), pytest.raises(LibraryBusy), library.writer():
        pass
    with library.writer():
        assert library.status()["writer"]


def test_the_lock_dies_with_its_process(library):
    process = run_python(HOLD, library.info.path)
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert library.status()["writer"] is None
    with library.writer():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_its_dead_parents_lock(library):
    process = run_python(HOLD_AND_FORK, library.info.path)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        assert is_soon_free(library)  # the child lets go as soon as it gets a turn
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()
        process.stdin.close()


READ = """
import json, sys
from pathlib import Path
from ingest.embed import make_embedder
from ingest.library import Library
embedder = make_embedder("hashing")
library = Library.open(Path(sys.argv[1]))
for question in sys.stdin:
    found = library.dense(embedder.embed_query(question.strip()), k=3)
    print(json.dumps([chunk.text for chunk in library.chunks([each for each, _ in found])]), flush=True)
"""


def test_a_reader_in_another_process_sees_what_is_added_and_removed_after_its_first_search(library, files):
    add(library, files["glass"])
    process = run_python(READ, library.info.path)

    def ask(question: str) -> list[str]:
        process.stdin.write(question + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    assert len(ask("Martensite forms on quenching")) == 3
    add(library, files["steel"])
    assert ask("Martensite forms on quenching")[0] == "Martensite forms on quenching"
    with library.writer() as writer:
        writer.remove(file_digest(files["steel"]))
    assert all("artensite" not in text for text in ask("Martensite forms on quenching"))
    assert len(ask("Martensite forms on quenching")) == 3
    process.communicate()
    assert process.returncode == 0


def test_readers_beside_a_writer_never_see_half_a_paper(library, files, tmp_path):
    others = [write(tmp_path, f"p{n}.txt", f"{STEEL} Number {n}. End {n}") for n in range(12)]
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def watch() -> None:
        with Library.open(library.info.path) as reader:
            while not stop.is_set():
                seen.extend((paper.chunk_count, len(reader.pages(paper.id))) for paper in reader.papers())
                texts(reader, "Martensite forms on quenching")

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    add(library, *others)
    time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {(5, 1)}


def test_opening_listing_and_lexical_search_need_no_chroma(library, files):
    add(library, files["steel"])
    code = """
import sys
from pathlib import Path
from ingest.library import Library
library = Library.open(Path(sys.argv[1]))
assert library.papers() and library.status() and library.lexical("carbon", k=3)
print([name for name in ("chromadb", "torch", "onnxruntime", "llama_index") if name in sys.modules])
"""
    process = run_python(code, library.info.path)
    assert process.communicate()[0].strip() == "[]"


# --- crashes and damage ---------------------------------------------------------------------------------------------

CRASH = """
import os, sys
from pathlib import Path
from ingest import catalog
from ingest.library import Library
from test_library import make_entry
def die(*_): os.kill(os.getpid(), 9)
catalog.insert_paper = die  # vectors are in Chroma by then, the paper is not in the catalogue
with Library.open(Path(sys.argv[1])).writer() as writer:
    writer.add(*make_entry(Path(sys.argv[2])))
"""


def crash_while_adding(library: Library, path: Path) -> None:
    process = run_python(CRASH, library.info.path, path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_vectors_of_a_writer_killed_before_its_transaction_are_never_found_and_cleared_by_the_next(library, files):
    add(library, files["glass"])
    library.close()
    crash_while_adding(library, files["steel"])
    assert all("artensite" not in text for text in texts(library, "Martensite forms on quenching"))
    library.close()
    with library.writer():
        pass
    assert library.verify().clean
    assert [paper.title for paper in library.papers()] == ["glass"]
    add(library, files["steel"])
    assert texts(library, "Martensite forms on quenching")[0].startswith("Martensite")


def test_a_killed_replacement_leaves_the_vectors_that_the_catalogue_shows(library, files):
    add(library, files["steel"])
    library.close()
    crash_while_adding(library, files["steel"])
    with library.writer():
        pass
    assert library.verify().clean
    assert len(texts(library, "Martensite")) == 3


def delete_chroma(folder: Path) -> None:
    shutil.rmtree(folder)


def overwrite_database(folder: Path) -> None:
    (folder / "chroma.sqlite3").write_bytes(b"not a database at all" * 1000)


def truncate_database(folder: Path) -> None:
    file = folder / "chroma.sqlite3"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


def empty_chroma(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def drop_rows(folder: Path) -> None:
    with sqlite3.connect(folder / "chroma.sqlite3") as connection:
        connection.execute("DELETE FROM embeddings")
        connection.execute("DELETE FROM embeddings_queue")


@pytest.mark.parametrize("damage", [delete_chroma, overwrite_database, truncate_database, empty_chroma, drop_rows])
def test_damaged_vectors_are_noticed_and_mended_without_embedding(library, files, damage):
    add(library, *files.values())
    library.close()
    damage(library.info.path / "chroma")
    assert not library.verify().clean
    report = library.verify(repair=True)
    assert report.clean
    assert report.repaired
    assert texts(library, "Martensite forms on quenching")[0].startswith("Martensite")


@pytest.mark.parametrize("damage", [delete_chroma, overwrite_database])
def test_search_is_right_even_while_chroma_is_damaged(library, files, damage):
    add(library, *files.values())
    library.close()
    damage(library.info.path / "chroma")
    assert texts(library, "Martensite forms on quenching")[0].startswith("Martensite")


@pytest.mark.parametrize("damage", [delete_chroma, overwrite_database, drop_rows])
def test_a_writer_mends_damaged_vectors_before_it_adds(library, files, damage):
    add(library, files["steel"])
    library.close()
    damage(library.info.path / "chroma")
    add(library, files["glass"])
    assert library.verify().clean
    assert len(texts(library, "Martensite")) == 5


def test_a_broken_index_file_of_chroma_is_mended(library, tmp_path):
    rng = np.random.default_rng(0)
    entry = make_entry(write(tmp_path, "long.txt", ". ".join(f"Sentence {n} on topic {n % 97}" for n in range(1500))))
    vectors = rng.normal(size=entry[3].shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with library.writer() as writer:
        writer.add(*entry[:3], vectors)
    library.close()
    segments = list((library.info.path / "chroma").glob("*/data_level0.bin"))
    assert segments, "Chroma writes its index files after 1,000 vectors"
    for file in segments:
        file.write_bytes(b"\0" * file.stat().st_size)
    library.verify(repair=True)
    library.close()
    assert library.verify().clean
    assert library.dense(vectors[7], k=1)[0][0] == entry[2][7].id


def test_a_passage_that_is_not_on_its_page_is_reported(library, files):
    paper, pages, chunks, vectors = make_entry(files["steel"])
    chunks[1] = replace(chunks[1], start=chunks[1].start + 1)
    with library.writer() as writer:
        writer.add(paper, pages, chunks, vectors)
    report = library.verify()
    assert report.bad_spans == (chunks[1].id,)
    assert any("do not stand on their page" in problem for problem in report.problems)
    assert json.loads(json.dumps(report.to_json()))["clean"] is False


def test_a_damaged_full_text_index_is_reported(library, files):
    add(library, *files.values())
    library.close()
    with sqlite3.connect(library.info.path / "catalog.sqlite") as connection:
        connection.execute("DELETE FROM lexicon_data WHERE id > 10")
    assert any("lexicon" in problem for problem in library.verify().problems)


def test_missing_files_are_listed_but_are_no_damage(library, files):
    add(library, files["steel"])
    files["steel"].unlink()
    report = library.verify()
    assert report.missing_files == (files["steel"],)
    assert report.clean


# --- turning to another embedder ------------------------------------------------------------------------------------


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


# --- the disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """Give a small disk of its own."""
    target = tmp_path / "disk"
    target.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small tmpfs needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", target], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
    yield target
    subprocess.run(["umount", "-l", target], check=True)


def test_a_full_disk_gives_a_clear_error_and_loses_nothing(mount, tmp_path):
    library = Library.create(mount / "lib", embedder=EMBEDDER.info, recipe=RECIPE)
    first = write(tmp_path, "first.txt", STEEL)
    add(library, first)
    big = write(tmp_path, "big.txt", ". ".join(f"Sentence {n} {'x' * 500}" for n in range(3000)))
    with pytest.raises(LibraryError, match="no space left") as caught:
        add(library, big)
    assert "Free some space" in caught.value.hint
    library.close()
    with Library.open(mount / "lib") as reader:
        assert [paper.title for paper in reader.papers()] == ["first"]
        assert texts(reader, "Martensite forms on quenching")[0].startswith("Martensite")
    subprocess.run(["mount", "-o", "remount,size=200m", mount], check=True)
    with Library.open(mount / "lib") as later:
        add(later, big)
        assert later.verify().clean
        assert len(later.papers()) == 2


def test_a_read_only_library_can_be_searched_but_not_written(mount, tmp_path, files):
    subprocess.run(["mount", "-o", "remount,size=200m", mount], check=True)
    with Library.create(mount / "lib", embedder=EMBEDDER.info, recipe=RECIPE) as library:
        add(library, files["steel"])
    for _ in range(50):  # refused as long as Chroma has not let go of its files
        if subprocess.run(["mount", "-o", "remount,ro", mount], check=False).returncode == 0:
            break
        time.sleep(0.1)
    with Library.open(mount / "lib") as library:
        assert library.lexical("carbon", k=3)
        assert texts(library, "Martensite forms on quenching")[0].startswith("Martensite")
        with pytest.raises(LibraryError, match="cannot write") as caught:
            add(library, files["glass"])
        assert "--library" in caught.value.hint
        assert len(library.papers()) == 1


def test_a_library_in_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LibraryError, match="cannot write"):
        Library.create(tmp_path / "file" / "lib", embedder=EMBEDDER.info, recipe=RECIPE)


# --- a Chroma server ------------------------------------------------------------------------------------------------


@pytest.fixture
def chroma_server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    program = Path(sys.executable).with_name("chroma")
    if not program.exists():
        pytest.skip("the chroma program is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [program, "run", "--path", tmp_path / "server", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}", process
    process.kill()
    process.wait()


def test_a_chroma_server_serves_several_libraries(chroma_server, tmp_path, files):
    chroma_url, _ = chroma_server
    made = [
        Library.create(tmp_path / name, embedder=EMBEDDER.info, recipe=RECIPE, chroma_url=chroma_url) for name in "ab"
    ]
    for library, name in zip(made, ("steel", "glass"), strict=True):
        add(library, files[name])
    assert texts(made[0], "Martensite forms on quenching")[0].startswith("Martensite")
    assert len(texts(made[0], "glass")) == 3
    assert all(library.verify().clean for library in made)
    assert made[0].verify(repair=True).clean
    with made[1].writer() as writer:
        writer.remove(file_digest(files["glass"]))
    assert made[1].verify().clean
    assert not (tmp_path / "a" / "chroma").exists()
    for library in made:
        library.close()


def test_a_server_that_is_down_is_named_and_the_catalogue_searched_instead(chroma_server, tmp_path, files, caplog):
    url, process = chroma_server
    with Library.create(tmp_path / "lib", embedder=EMBEDDER.info, recipe=RECIPE, chroma_url=url) as library:
        add(library, files["steel"])
        process.kill()
        process.wait()
        assert texts(library, "Martensite forms on quenching")[0].startswith("Martensite")
        assert f"the Chroma server at {url} does not answer" in caplog.text
        assert "chroma run" in library.verify().problems[0]
        with pytest.raises(ServerUnreachable, match="does not answer"):
            library.verify(repair=True)
        with pytest.raises(ServerUnreachable, match="does not answer"):
            add(library, files["glass"])
        assert [paper.title for paper in library.papers()] == ["steel"]


def test_what_is_no_address_of_a_server_is_refused(tmp_path):
    with pytest.raises(BadInput, match="localhost"):
        Library.create(tmp_path / "x", embedder=EMBEDDER.info, recipe=RECIPE, chroma_url="localhost:8000")

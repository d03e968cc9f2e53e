"""A library that was killed, damaged, or left without room: what is noticed, what is mended, what is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_library import EMBEDDER, RECIPE, STEEL, add, make_entry, run_python, texts, write

from ingest.errors import (
    LibraryError,
)
from ingest.library import Library

# --- crashes and damage ----------------------------------------------------------------------------------------------

CRASH = """
import os, sys
from pathlib import Path
from ingest import catalog
from ingest.library import Library
from small_library import make_entry
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


# --- the disk --------------------------------------------------------------------------------------------------------


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

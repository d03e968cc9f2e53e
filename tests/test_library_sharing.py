"""One writer and many readers of a library, in one process, in several, and through a Chroma server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_library import EMBEDDER, RECIPE, STEEL, add, run_python, texts, write

from ingest.errors import (
    BadInput,
    LibraryBusy,
)
from ingest.library import Library
from ingest.records import file_digest
from ingest.vectors import ServerUnreachable

# --- one writer, many readers ----------------------------------------------------------------------------------------

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


# --- a Chroma server -------------------------------------------------------------------------------------------------


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

"""Kill -9 at any moment, run again: nothing lost, nothing twice. A few kills here; benchmarks/crash.py does more."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest.errors import LibraryNotFound
from ingest.library import Library
from ingest.pipeline import ingest
from ingest.settings import ChunkingSettings, EmbeddingSettings, ReadingSettings, Settings

ROOT = Path(__file__).resolve().parents[1]
PAPERS = 16
SEED = 20261123
KILLS = 5

SETTINGS = Settings(
    embedding=EmbeddingSettings(model="hashing"),
    reading=ReadingSettings(workers=1),
    chunking=ChunkingSettings(max_tokens=40),
)

INGEST = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_crash import SETTINGS
from ingest.pipeline import ingest
for event in ingest([sys.argv[2]], settings=SETTINGS, library=Path(sys.argv[3])):
    print(type(event).__name__, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "papers"
    made.mkdir()
    for number in range(PAPERS):
        lines = [f"Alloy {number} was aged at {100 + line} C for {line} h and cooled." for line in range(60)]
        (made / f"alloy{number:02}.txt").write_text("\n\n".join(lines))
    return made


def start(folder: Path, library: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INGEST, ROOT / "tests", folder, library]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def contents(library_path: Path) -> dict[str, list[str]]:
    """Return the chunk ids of every paper that a reader sees."""
    try:
        library = Library.open(library_path)
    except LibraryNotFound:
        return {}
    with library:
        return {paper.id: [chunk.id for chunk in library.chunks_of(paper.id)] for paper in library.papers()}


def finish(folder: Path, library_path: Path) -> None:
    for _ in ingest([folder], settings=SETTINGS, library=library_path):
        pass


def test_an_ingest_killed_again_and_again_ends_like_one_that_was_not(folder, tmp_path):
    finish(folder, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    dice = random.Random(SEED)
    library_path = tmp_path / "killed"
    for number in range(KILLS):
        process = start(folder, library_path)
        process.stdout.readline()  # it is under way
        for _ in range(number):
            process.stdout.readline()
        time.sleep(dice.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert contents(library_path).items() <= expected.items()  # whole papers only
    finish(folder, library_path)
    assert contents(library_path) == expected
    with Library.open(library_path) as library:
        report = library.verify()
        assert report.problems == ()
        assert report.papers == PAPERS


def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(folder, tmp_path):
    library_path = tmp_path / "interrupted"
    process = start(folder, library_path)
    while process.stdout.readline().strip() != "Added":
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode != 0
    with Library.open(library_path) as library:
        assert 1 <= len(library.papers()) <= PAPERS
        assert library.verify().clean
        with library.writer():
            pass  # the lock is free
    finish(folder, library_path)
    with Library.open(library_path) as library:
        assert len(library.papers()) == PAPERS


def test_no_process_is_left_behind_by_a_killed_ingest(folder, tmp_path):
    psutil = pytest.importorskip("psutil")
    process = start(folder, tmp_path / "library")
    while process.stdout.readline().strip() != "Read":
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive

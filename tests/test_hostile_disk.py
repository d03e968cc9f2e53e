"""Full disks, forbidden folders and two ingests at once: nothing lost, nothing twice, and a message that says why.

The full and the read-only disk are small tmpfs; the forbidden folder is another user's, and the ingest runs without the
right to write everywhere. All that needs root, and the tests are skipped, saying so, without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ingest.library import Library

ROOT = Path(__file__).resolve().parents[1]
PAPERS = 24
SMALL, ENOUGH = "1500k", "200m"

NO_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")  # of root: what every user has

is_root = hasattr(os, "geteuid") and os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root may do this")
needs_setpriv = pytest.mark.skipif(not (is_root and shutil.which("setpriv")), reason="needs root and setpriv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "papers"
    made.mkdir()
    for number in range(PAPERS):
        lines = [f"Alloy {number} was aged at {100 + line} C for {line} h and cooled." for line in range(60)]
        (made / f"alloy{number:02}.txt").write_text("\n\n".join(lines))
    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or mount(place, SMALL).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def mount(place: Path, size: str, *, again: bool = False) -> subprocess.CompletedProcess[bytes]:
    options = f"{'remount,' if again else ''}size={size}"
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "matlit-test", place], capture_output=True)


def start_ingest(folder: Path, library: Path, *, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    settings = folder.parent / "settings.toml"
    settings.write_text('[embedding]\nmodel = "hashing"\n[reading]\nworkers = 1\n[chunking]\nmax_tokens = 40\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MATLIT_SETTINGS": str(settings)}
    command = [*prefix, sys.executable, "-m", "ui", "ingest", str(folder), "--library", str(library)]
    return subprocess.Popen(
        command, cwd=folder.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ingest(folder: Path, library: Path, *, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """Run the command and return its exit code and what it said."""
    running = start_ingest(folder, library, prefix=prefix)
    said, complained = running.communicate(timeout=120)
    return running.returncode, said + complained


def papers_of(path: Path) -> int:
    with Library.open(path) as library:
        assert library.verify().clean
        ids = library.chunk_ids()
        assert len(ids) == len(set(ids))
        return len(library.papers())


@needs_root
def test_a_full_disk_is_named_and_what_was_added_stays(folder: Path, small_disk: Path) -> None:
    library = small_disk / "library"
    code, said = ingest(folder, library)
    assert code != 0
    assert "Traceback" not in said
    assert "disk" in said.lower() or "space" in said.lower(), said
    assert mount(small_disk, ENOUGH, again=True).returncode == 0
    code, said = ingest(folder, library)
    assert code == 0, said
    assert papers_of(library) == PAPERS


@needs_root
def test_a_read_only_disk_is_named(folder: Path, small_disk: Path) -> None:
    assert mount(small_disk, "200m,ro", again=True).returncode == 0
    code, said = ingest(folder, small_disk / "library")
    assert code != 0
    assert "Traceback" not in said
    assert str(small_disk) in said
    assert "read-only" in said.lower()


@needs_setpriv
def test_a_library_in_a_folder_that_may_not_be_written_is_refused_with_its_path(folder: Path, tmp_path: Path) -> None:
    forbidden = foreign(tmp_path / "forbidden")
    code, said = ingest(folder, forbidden / "library", prefix=NO_RIGHTS)
    assert code != 0
    assert "Traceback" not in said
    assert str(forbidden) in said
    assert "permi" in said.lower()
    assert list(forbidden.iterdir()) == []


@needs_setpriv
def test_papers_in_a_folder_that_may_not_be_written_are_read_all_the_same(folder: Path, tmp_path: Path) -> None:
    secret = folder / "secret.txt"
    secret.write_text("Nobody else may read this.")
    secret.chmod(0o600)
    shutil.chown(secret, "nobody")
    foreign(folder)
    code, said = ingest(folder, tmp_path / "library", prefix=NO_RIGHTS)
    assert code == 2, said  # one file of many failed
    assert "secret.txt" in said
    assert "Traceback" not in said
    assert papers_of(tmp_path / "library") == PAPERS


def foreign(place: Path) -> Path:
    """Give a folder to another user, who lets everybody read it."""
    place.mkdir(exist_ok=True)
    shutil.chown(place, "nobody")
    place.chmod(0o755)
    return place


def test_two_ingests_at_once_leave_every_paper_once(folder: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    both = [start_ingest(folder, library), start_ingest(folder, library)]
    said = ["".join(each.communicate(timeout=120)) for each in both]
    assert 0 in [each.returncode for each in both], said
    for each, text in zip(both, said, strict=True):
        assert "Traceback" not in text
        assert each.returncode == 0 or str(both[1 - both.index(each)].pid) in text, text
    assert papers_of(library) == PAPERS


def test_a_file_deleted_while_the_others_are_read_costs_itself_only(folder: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    running = start_ingest(folder, library)
    time.sleep(0.1)
    (folder / f"alloy{PAPERS - 1:02}.txt").unlink()
    said = "".join(running.communicate(timeout=120))
    assert "Traceback" not in said
    assert papers_of(library) >= PAPERS - 1

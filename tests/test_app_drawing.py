"""Pages as pictures: the process that draws them, what it survives, and that it never outlives the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from ingest.errors import ReadError
from ui.pageimage import Renderer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    made = Renderer()
    yield made
    made.close()


@pytest.fixture
def paper() -> Path:
    return ROOT / "ingest" / "sample" / "band-gaps-from-dft.pdf"


def test_what_cannot_be_drawn_says_why_and_the_next_page_comes(renderer: Renderer, paper: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7 and no more")
    for path, number, cause in ((broken, 1, "malformed"), (paper, 9, "missing"), (tmp_path / "no.pdf", 1, "missing")):
        with pytest.raises(ReadError) as error:
            renderer.render(path, number)
        assert error.value.cause == cause
        assert path.name in str(error.value)
    assert renderer.render(paper, 1).png.startswith(b"\x89PNG")


def test_a_process_that_dies_or_hangs_is_replaced(
    renderer: Renderer, paper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer.render(paper, 1)
    first = renderer.begin()
    first.send_signal(signal.SIGSTOP)
    monkeypatch.setattr("ui.pageimage.TIMEOUT_S", 0.3)
    with pytest.raises(ReadError, match="too long") as error:
        renderer.render(paper, 1)
    assert error.value.cause == "timeout"
    assert first.returncode == -signal.SIGKILL
    renderer.render(paper, 1)
    renderer.begin().kill()
    renderer.begin().wait(10)
    assert renderer.render(paper, 1).width > 100


def test_the_main_module_is_not_imported_again(
    renderer: Renderer, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, script = tmp_path / "imported", tmp_path / "app.py"
    script.write_text(f"open({str(marker)!r}, 'w')")
    main = ModuleType("__main__")  # as Streamlit puts it in place while a page is drawn
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert renderer.render(paper, 1).width > 100
    assert not marker.exists()


SERVER = """
import sys, time
from pathlib import Path
from ui.pageimage import Renderer
renderer = Renderer()
renderer.render(Path(sys.argv[1]), 1)
print(renderer.begin().pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_with_its_server_however_that_ends(paper: Path, end: signal.Signals) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(paper)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    with server:
        assert server.stdout is not None
        drawing = psutil.Process(int(server.stdout.readline()))
        os.killpg(server.pid, end)
        server.wait(20)
        drawing.wait(20)
    assert not drawing.is_running()

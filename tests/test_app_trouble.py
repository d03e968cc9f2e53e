"""When things go wrong while the app is open: every page says what to do, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from assistant.demo import QUESTION
from benchmarks._browser import ROOT, Served, serve
from ingest.library import INFO_FILE, Library


@pytest.fixture
def copied(sample_library: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_library, tmp_path / "library"))


def test_a_model_that_is_down_a_busy_library_and_a_foreign_one_say_what_to_do(
    copied: Path, tmp_path: Path, visit: Any
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        served = serve(
            tmp_path / "data",
            "--library",
            str(copied),
            MATLIT_MODEL="openai/gpt-4o-mini",
            OPENAI_BASE_URL=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1",
            OPENAI_API_KEY="sk-0000000000000000",
        )
        try:
            visitor = visit(served)
            visitor.ask(QUESTION)
            says_what_to_do(visitor, "cannot be reached|could not be reached|no connection|connect")
            visitor.open("Library")
            with Library.open(copied) as library, library.writer("another program"):
                visitor.upload({"name": "alloy.md", "mimeType": "text/markdown", "buffer": b"# Alloys\n\nThey age."})
                says_what_to_do(visitor, "another program")
            (copied / INFO_FILE).write_text("schema = 99\n")
            visitor.page.reload()
            says_what_to_do(visitor, "library")
            assert "Traceback" not in visitor.page.content()
        finally:
            served.end()


def says_what_to_do(visitor: Any, problem: str) -> None:
    alert = visitor.page.get_by_test_id("stAlert").filter(has_text=re.compile(problem)).first
    alert.wait_for()
    assert "What to do:" in alert.inner_text()


def test_a_lost_connection_says_so_and_the_page_goes_on_by_itself(
    sample_library: Path, tmp_path: Path, visit: Any
) -> None:
    first = serve(tmp_path, "--library", str(sample_library))
    visitor = visit(first)
    os.killpg(first.process.pid, signal.SIGKILL)
    first.process.wait(20)
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_text("matlit does not answer").wait_for()
    assert "matlit chat" in dialog.inner_text()
    assert "Streamlit" not in dialog.inner_text()
    port = first.url.rsplit(":", 1)[1]
    again = serve(tmp_path, "--library", str(sample_library), port=int(port))
    try:
        dialog.wait_for(state="hidden")
        visitor.settled()
        visitor.button(QUESTION).click()
        visitor.button("[1]").wait_for()
    finally:
        again.end()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_app_ends_with_all_it_started(
    sample_library: Path, tmp_path: Path, visit: Any, end: signal.Signals
) -> None:
    served = serve(tmp_path, "--library", str(sample_library))
    visitor = visit(served)
    visitor.button(QUESTION).click()
    visitor.button("[1]").click()
    visitor.page.get_by_role("dialog").wait_for()  # its page is being drawn, or was
    family = family_of(served)
    assert len(family) >= 2
    os.killpg(served.process.pid, end)
    served.process.wait(30)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    assert "Traceback" not in served.log
    if end == signal.SIGINT:
        assert "Ctrl-C" in served.log
        assert served.process.returncode in (0, 130)


def family_of(served: Served) -> list[psutil.Process]:
    """Return the server's process with all it started; none of them imports the app's script once more."""
    server = psutil.Process(served.process.pid)
    children = server.children(recursive=True)
    commands = [" ".join(one.cmdline()) for one in children]
    assert [command for command in commands if "multiprocessing" in command] == []
    assert all(sys.executable in command or "tesseract" in command for command in commands)
    return [server, *children]


# Imported by every Python process of the app at its start: notes each connection or look-up of another machine.
WATCH = """
import sys

HERE = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "")

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else ""
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0] or ""
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    if host not in HERE:
        with open({seen!r}, "a") as file:
            file.write(f"{{event}} {{host}}\\n")

sys.addaudithook(watch)
with open({begun!r}, "a") as file:
    file.write("x")
"""


@pytest.mark.parametrize("offline", ["false", "true"])
def test_no_byte_leaves_while_the_app_is_used(sample_library: Path, tmp_path: Path, visit: Any, offline: str) -> None:
    seen, begun, watch = tmp_path / "seen", tmp_path / "begun", tmp_path / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(WATCH.format(seen=str(seen), begun=str(begun)), encoding="utf-8")
    model = "extractive" if offline == "false" else "openai/gpt-4o-mini"
    served = serve(
        tmp_path / "data",
        "--library",
        str(sample_library),
        PYTHONPATH=f"{watch}{os.pathsep}{ROOT}",
        MATLIT_OFFLINE=offline,
        MATLIT_MODEL=model,
        OPENAI_API_KEY="sk-none-of-your-business-000",
    )
    try:
        visitor = visit(served)
        visitor.ask(QUESTION)
        if offline == "true":
            says_what_to_do(visitor, "offline")
        else:
            visitor.button("[1]").click()
            visitor.page.get_by_role("dialog").get_by_role("img", name=re.compile("marked in yellow")).wait_for()
        assert visitor.elsewhere == []
    finally:
        served.end()
    assert len(begun.read_text()) >= 2  # the server and the process that draws pages were watched
    assert not seen.exists(), seen.read_text()

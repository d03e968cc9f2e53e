"""The web app as a process, and headless Chromium before it: for the benchmark, the browser tests and the pictures."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ui.server import free_port

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]
START_S = 120.0
END_S = 20.0


@dataclass
class Served:
    """A running app; its data folder also holds `server.log`."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """Return what the server has printed."""
        return (self.data / "server.log").read_text(encoding="utf-8")

    def end(self) -> None:
        """Stop it and wait until it has ended."""
        self.process.terminate()
        self.process.wait(END_S)


def serve(data: Path, *arguments: str, port: int = 0, **environment: str) -> Served:
    """Start `matlit chat` with a user's data folder of its own, in a process group of its own; wait until it answers.

    Raises:
        AssertionError: it ended, or does not answer.
    """
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [sys.executable, "-m", "ui", "chat", "--port", str(port), "--no-browser", *arguments]
    known = {name: value for name, value in os.environ.items() if not name.startswith("MATLIT_")}
    known |= {"XDG_DATA_HOME": str(data), "MATLIT_SETTINGS": str(data / "none.toml"), "PYTHONPATH": str(ROOT)}
    with (data / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=data, env=known | environment, stdout=log, stderr=log, start_new_session=True
        )
    served = Served(f"http://127.0.0.1:{port}", data, process)
    until = time.monotonic() + START_S
    while not answers(served.url):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError(f"the app does not answer: {served.log}")
        time.sleep(0.05)
    return served


def answers(url: str) -> bool:
    """Tell whether a server says that it is well."""
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def serving(data: Path, *arguments: str, **environment: str) -> Iterator[Served]:
    """Serve the app until the block ends."""
    served = serve(data, *arguments, **environment)
    try:
        yield served
    finally:
        served.end()


def launch(driver: Any) -> Any:
    """Return a headless Chromium; `driver` is what `sync_playwright` gives."""
    return driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)


def settle(page: Any, quiet_ms: int = 300) -> None:
    """Wait until nothing on the page is left over from before."""
    page.wait_for_timeout(quiet_ms)
    page.wait_for_function("!document.querySelector('[data-stale=true], [data-testid=stStatusWidget]')")

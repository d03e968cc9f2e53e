"""Fixtures that several test files share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["browsing", "opening", "reading", "small_library"]

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Started in the background of a shell this process ignores Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data beside a checkout; skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data folder ../shared/data is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """Put back what tests change of the process: offline mode sets variables, AppTest replaces `__main__`."""
    main, variables = sys.modules["__main__"], dict(os.environ)
    yield
    sys.modules["__main__"] = main
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's settings, library and keys out of the tests."""
    monkeypatch.setenv("MATLIT_SETTINGS", str(tmp_path / "no-settings.toml"))
    monkeypatch.setenv("MATLIT_LIBRARY", str(tmp_path / "library"))
    for key in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_API_KEY", "MP_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(key, raising=False)

"""Pages of the app opened through Streamlit's own test runner, for their tests. Loaded as a plugin by conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

Page = Callable[[str], AppTest]


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep chats and preferences in a folder of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def page(sample_library: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Return a function that opens a page on the sample library."""
    monkeypatch.setenv("MATLIT_LIBRARY", str(sample_library))
    return lambda name: opened(name)


def opened(name: str) -> AppTest:
    def script(name: str) -> None:
        from importlib import import_module

        import_module(f"ui.pages.{name}").draw()

    return AppTest.from_function(script, default_timeout=60, args=(name,)).run()


def button(app: AppTest, label: str) -> Any:
    """Return the button with that label."""
    return next(one for one in app.button if label in one.label.replace("\\", ""))


def labels(app: AppTest) -> list[str]:
    return [one.label.replace("\\", "") for one in app.button]


def shown(app: AppTest) -> str:
    return "\n".join(one.value for one in app.markdown).replace("\\", "")


def one(elements: Any, key: str) -> Any:
    return next(element for element in elements if (element.key or "").startswith(key))


def plain_text(text: str) -> str:
    return text.replace("\\", "")

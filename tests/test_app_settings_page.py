"""The settings page's logic: library, language, models, keys, health."""

from __future__ import annotations

from pathlib import Path

import pytest
from opening import Page, button, shown

pytestmark = pytest.mark.usefixtures("own_data")


def test_a_foreign_folder_is_no_library(page: Page, tmp_path: Path) -> None:
    app = page("settings")
    app.text_input(key="library-path").input(str(tmp_path))
    button(app, "Open this library").click().run()
    assert not app.exception
    assert "there is no library" in app.error[0].value.replace("\\", "")


def test_the_interface_speaks_japanese(page: Page) -> None:
    app = page("settings")
    app.segmented_control(key="language").set_value("ja").run()
    assert not app.exception
    assert app.title[0].value == "設定"


def test_a_key_is_never_shown_again(page: Page) -> None:
    app = page("settings")
    app.text_input(key="key-value-0").input("sk-very-secret-1234")
    button(app, "Keep for this tab").click().run()
    assert not app.exception
    assert "OPENAI_API_KEY" in shown(app)
    everything = shown(app) + "".join(str(one.value) for one in app.text_input)
    assert "very-secret" not in everything


def test_a_model_without_a_key_says_what_to_do(page: Page) -> None:
    app = page("settings")
    picker = next(one for one in app.selectbox if one.key.startswith("model-"))
    picker.select("openai/gpt-4o-mini").run()
    button(app, "Test the connection").click().run()
    assert not app.exception
    assert "OPENAI_API_KEY" in app.error[0].value.replace("\\", "")


def test_health_names_what_works(page: Page) -> None:
    app = page("settings")
    assert "extractive" in shown(app)
    assert "6 papers" in shown(app)

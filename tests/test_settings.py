"""Settings: file < environment < flags, unknown names refused, keys read from `.env` only by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.errors import BadSettings
from ingest.settings import load_keys, load_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, '[search]\nk = 3\nmode = "dense"\n[reading]\nworkers = 1\n')
    environment = {"MATLIT_SEARCH_K": "4", "MATLIT_READING_WORKERS": "2"}
    settings = load_settings(path=path, environment=environment, flags={"search.k": 5, "reading.workers": None})
    assert (settings.search.k, settings.reading.workers, settings.search.mode) == (5, 2, "dense")
    assert settings.sources == {"search.k": "flag", "reading.workers": "environment", "search.mode": str(path)}


def test_an_unknown_key_is_refused_and_the_near_one_named(tmp_path: Path) -> None:
    path = written(tmp_path, "[search]\nmod = 'dense'\n")
    with pytest.raises(BadSettings, match=r"'search\.mod'.*did you mean 'search\.mode'"):
        load_settings(path=path, environment={})


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"unknown table \[serch\].*did you mean 'search'"):
        load_settings(path=written(tmp_path, "[serch]\nk = 3\n"), environment={})


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "[search\n")
    with pytest.raises(BadSettings, match="not valid TOML") as caught:
        load_settings(path=path, environment={})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[search]\nk = 'ten'", "'ten'"),
        ("[search]\nk = -1", "-1"),
        ("[search]\nk = 1.5", "1.5"),
        ("[search]\nk = true", "True"),
        ("[search]\nmode = 'fast'", "'hybrid', 'dense', 'lexical'"),
        ("[models]\noffline = 'perhaps'", "true or false"),
        ("[reading]\ntimeout_s = nan", "nan"),
        ("search = 3", r"write \[search\]"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        load_settings(path=written(tmp_path, text), environment={})


def test_the_short_variables_work() -> None:
    settings = load_settings(environment={"MATLIT_LIBRARY": "/somewhere", "MATLIT_OFFLINE": "yes"})
    assert (str(settings.library_path), settings.models.offline) == ("/somewhere", True)


def test_every_setting_tells_its_origin() -> None:
    rows = load_settings(environment={}, flags={"search.k": 7}).rows()
    assert {"name": "search.k", "value": 7, "source": "flag"} in rows
    assert {"name": "search.mode", "value": "hybrid", "source": "default"} in rows


def test_only_known_keys_are_taken_from_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("MP_API_KEY=abc\nPYTHONPATH=/evil\n", encoding="utf-8")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    load_keys(tmp_path)
    assert os.environ["MP_API_KEY"] == "abc"
    assert os.environ.get("PYTHONPATH") != "/evil"


def test_a_model_named_for_one_call_does_its_work_whatever_the_role_s_own_is(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[models]\nanswer = "gguf/small"\nkeywords = "gemini/gemini-2.5-flash"\ntranslate = "gguf/small"\n')
    assert load_settings(path=path).models.role("keywords") == "gemini/gemini-2.5-flash"
    models = load_settings(path=path, flags={"models.model": "extractive"}).models
    assert {models.role(role) for role in ("answer", "keywords", "summarize")} == {"extractive"}
    assert models.role("translate") == "gguf/small"


def test_a_role_without_a_model_of_its_own_inherits_the_one_for_all() -> None:
    models = load_settings(flags={"models.model": "gguf/small", "models.translate": "openai/gpt-4o-mini"}).models
    assert models.role("answer") == "gguf/small"
    assert models.role("translate") == "openai/gpt-4o-mini"

"""The chat page's logic: answers, their sources and marks, chats that are kept."""

from __future__ import annotations

import pkgutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from opening import Page, button, labels, one, plain_text, shown
from servers.openai import OpenAIServer
from streamlit.testing.v1 import AppTest

from assistant.demo import QUESTION
from ingest.library import Library
from ui import resources
from ui.chats import Message
from ui.server import SCRIPT

pytestmark = pytest.mark.usefixtures("own_data")


def test_the_app_starts_with_its_navigation() -> None:
    app = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not app.exception


def test_a_question_is_answered_with_checked_quotes(page: Page) -> None:
    app = page("chat")
    button(app, QUESTION).click().run()
    assert not app.exception
    assert "170 mAh" in shown(app)
    assert any(label.startswith("[1] p. 1") for label in labels(app))
    assert any("no model, no cost" in one.value for one in app.caption)


def test_a_question_without_an_answer_says_so(page: Page) -> None:
    app = page("chat")
    app.chat_input[0].set_value("Who won the football world cup in 1998?").run()
    assert not app.exception
    assert "no passage" in shown(app).lower() or "not" in shown(app).lower()
    assert not any(label.startswith("[1]") for label in labels(app))


def test_html_in_a_question_is_shown_as_text(page: Page) -> None:
    app = page("chat")
    app.chat_input[0].set_value("<img src=x onerror=alert(1)> capacity of LiFePO4?").run()
    first = next(one for one in app.markdown if "onerror" in one.value)
    assert first.value.startswith("\\<img")


def test_a_follow_up_is_one_click_away(page: Page) -> None:
    app = page("chat")
    button(app, QUESTION).click().run()
    follow = one(app.button, "follow-")
    question = plain_text(follow.label)
    follow.click().run()
    assert not app.exception
    asked = [message.content["text"] for message in said(app) if message.role == "user"]
    assert asked == [QUESTION, question]


def said(app: AppTest) -> list[Message]:
    now = app.session_state["matlit"]
    return list(now.store.messages(now.chat))


def test_a_question_is_edited_and_asked_again(page: Page) -> None:
    app = page("chat")
    button(app, QUESTION).click().run()
    button(app, "Edit").click().run()
    app.text_area[0].input("Why does PBE underestimate band gaps?")
    button(app, "Ask again").click().run()
    assert not app.exception
    assert "Why does PBE underestimate band gaps?" in shown(app)
    assert QUESTION not in shown(app)


def test_the_source_card_holds_title_status_text_and_bibtex(page: Page) -> None:
    app = page("chat")
    button(app, QUESTION).click().run()
    button(app, "[1]").click().run()
    assert not app.exception
    assert "Lithium iron phosphate as a cathode material" in shown(app)
    assert any("@misc" in one.value for one in app.code)
    assert any("Text around it" in one.label for one in app.expander)


def test_reruns_load_no_model_and_read_no_paper_again(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    resources.renderer().close()
    st.cache_resource.clear()
    st.cache_data.clear()
    done: Counter[str] = Counter()
    for place, name in (
        ("ingest.embed", "make_embedder"),
        ("ingest.library.Library", "open"),
        ("ui.pageimage.Renderer", "render"),
        ("ui.resources", "file_digest"),
    ):
        count(monkeypatch, f"{place}.{name}", done)
    for _ in range(2):
        app = page("chat")
        button(app, QUESTION).click().run()
        for _ in range(3):
            button(app, "[1]").click().run()
            app.run()
        for name in ("library", "keywords", "materials"):
            page(name).run()
    assert not app.exception
    assert done == {"make_embedder": 1, "open": 1, "render": 1, "file_digest": 1}


def count(monkeypatch: pytest.MonkeyPatch, target: str, done: Counter[str]) -> None:
    """Count the calls of a function from now on."""
    real = pkgutil.resolve_name(target)
    name = target.rsplit(".", 1)[1]

    def counted(*arguments: Any, **options: Any) -> Any:
        done[name] += 1
        return real(*arguments, **options)

    monkeypatch.setattr(target, counted)


def test_chats_are_kept_found_renamed_and_deleted(page: Page) -> None:
    app = page("chat")
    button(app, QUESTION).click().run()
    button(app, "New chat").click().run()
    assert app.title[0].value == "Ask your library"
    app.text_input(key="chat-words").input("no such words").run()
    assert any("No chat holds these words" in one.value for one in app.caption)
    app.text_input(key="chat-words").input("theoretical").run()
    button(app, "What is the theoretical").click().run()
    name = next(one for one in app.text_input if one.key.startswith("rename-"))
    name.input("LFP").run()
    next(one for one in app.button if one.key.startswith("rename-do-")).click().run()
    assert "LFP" in labels(app)
    button(app, "Delete this chat").click().run()
    assert "LFP" not in labels(app)


def test_a_chat_keeps_its_model_its_strategy_and_its_papers(page: Page, sample_library: Path, tmp_path: Path) -> None:
    (tmp_path / "replies.json").write_text('["The capacity is 170 mAh g−1 [1]."]')
    model = f"scripted/{tmp_path / 'replies.json'}"
    steel = next(paper.id for paper in Library.open(sample_library).papers() if "steel" in paper.title)
    app = page("chat")
    app.multiselect[0].set_value([steel]).run()
    one(app.radio, "strategy-").set_value("cot").run()
    pick_model(app, model)
    app.chat_input[0].set_value("What is steel made of?").run()
    assert manner(app) == (model, "cot", (steel,))
    one(app.selectbox, "model-chat").set_value("extractive").run()
    pick_model(app, model)
    button(app, "New chat").click().run()
    assert manner(app) == (model, "auto", ())  # the model last chosen in this browser, all else as usual
    one(app.selectbox, "model-chat").set_value("extractive").run()
    app.chat_input[0].set_value(QUESTION).run()
    assert manner(app) == ("extractive", "auto", ())
    button(app, "What is steel made of?").click().run()
    assert not app.exception
    assert manner(app) == (model, "cot", (steel,))
    assert any(plain_text(line.value).startswith("About: ") for line in app.caption)


def pick_model(app: AppTest, spec: str) -> None:
    """Enter a model that is not in the list."""
    one(app.selectbox, "model-chat").set_value("…").run()
    one(app.text_input, "own-model-chat").input(spec).run()
    button(app, "Use").click().run()


def manner(app: AppTest) -> tuple[str, str, tuple[str, ...]]:
    """Return what the next question would be answered with, as the controls show it."""
    model, strategy = one(app.selectbox, "model-chat").value, one(app.radio, "strategy-").value
    return model, strategy, tuple(app.multiselect[0].value)


def test_a_rating_reaches_the_journal(page: Page, sample_library: Path) -> None:
    from assistant import journal

    app = page("chat")
    button(app, QUESTION).click().run()
    app.feedback[0].set_value(0).run()
    next(one for one in app.text_area if one.key.startswith("note-")).input("too short").run()
    button(app, "Save").click().run()
    assert (QUESTION, False, "too short") in journal.ratings(sample_library)


def test_a_model_answers_with_marks_tools_tokens_and_steps(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "replies.json"
    script.write_text('["The theoretical capacity of LiFePO4 is 170 mAh g−1 [1]. The moon is made of cheese."]')
    monkeypatch.setenv("MATLIT_MODEL", f"scripted/{script}")
    app = page("chat")
    button(app, QUESTION).click().run()
    assert not app.exception
    assert not app.error, app.error[0].value
    assert "170 mAh" in shown(app)
    assert ":orange-badge" in shown(app)
    assert any("tokens read" in one.value for one in app.caption)
    assert any("steps" in one.label for one in app.expander)


def test_a_wrong_key_is_a_message_in_the_chat_and_not_repeated(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(key="the-right-key") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-9999999999")
        monkeypatch.setenv("MATLIT_MODEL", "openai/gpt-4o-mini")
        app = page("chat")
        button(app, QUESTION).click().run()
    assert not app.exception
    assert "OPENAI_API_KEY" in app.error[0].value.replace("\\", "")
    assert "wrong-9999999999" not in app.error[0].value

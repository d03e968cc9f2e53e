"""Conversations with a model in the browser: stop, retry, edit, rate, export, and the list of chats."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from browsing import CITED, WAIT_MS, sync_api
from servers import Turn
from servers.openai import OpenAIServer

from assistant import journal
from assistant.demo import QUESTION
from benchmarks._browser import Served, serve

LONG = "Lithium iron phosphate is a cathode material. " + "It conducts electrons poorly, and so on. " * 200
CHATS = "[data-testid=stSidebar] [class*=st-key-chat-]:not([class*=chat-more]):not([class*=chat-words]) button"
SLOW = Turn(LONG, seconds_per_piece=0.05)


@pytest.fixture(scope="module")
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer([CITED]) as server:
        yield server


@pytest.fixture(scope="module")
def talking_app(
    tmp_path_factory: pytest.TempPathFactory, sample_library: Path, model: OpenAIServer
) -> Iterator[Served]:
    """An app on the sample library whose questions go to a language model."""
    served = serve(
        tmp_path_factory.mktemp("talking-app"),
        "--library",
        str(sample_library),
        MATLIT_MODEL="openai/gpt-4o-mini",
        OPENAI_BASE_URL=model.base_url,
        OPENAI_API_KEY=model.key,
    )
    yield served
    served.end()


def test_an_answer_is_stopped_in_the_middle_and_asked_again(
    talking_app: Served, visit: Any, model: OpenAIServer
) -> None:
    model.turns[:] = [SLOW, Turn(CITED)]
    visitor = visit(talking_app)
    visitor.ask(QUESTION)
    visitor.says("Lithium iron phosphate is a cathode material")  # it is streaming
    visitor.button("Stop").click()
    visitor.says("Stopped before it was finished")
    visitor.settled()
    said = visitor.page.get_by_test_id("stChatMessage").last.inner_text()
    assert "Lithium iron phosphate is a cathode material" in said
    assert len(said) < len(LONG) / 2
    visitor.button("Try again").click()
    visitor.says("170 mAh g−1")
    visitor.settled()
    assert visitor.page.get_by_text("cathode material. It conducts").count() == 0  # what was stopped has gone
    before = len(model.calls)
    visitor.button("Edit").click()
    visitor.page.get_by_role("textbox", name="Your question").fill("How much can LiFePO4 store?")
    visitor.page.get_by_role("button", name="Ask again").first.click()
    visitor.page.get_by_test_id("stChatMessage").first.get_by_text("How much can LiFePO4 store?").wait_for()
    while len(model.calls) == before:
        visitor.page.wait_for_timeout(100)
    visitor.settled()
    visitor.button("Try again").wait_for()
    visitor.says("170 mAh g−1")
    assert visitor.page.get_by_test_id("stChatMessage").count() == 2
    assert len(model.calls) == before + 1


def test_a_rating_with_its_note_is_kept_in_the_journal(
    talking_app: Served, visit: Any, model: OpenAIServer, sample_library: Path
) -> None:
    model.turns[:] = [Turn(CITED)]
    visitor = visit(talking_app)
    visitor.ask("How much can LiFePO4 store?")
    visitor.says("170 mAh g−1")
    visitor.page.get_by_role("radio", name="Thumbs down").click()
    visitor.button("Note").click()
    visitor.page.get_by_role("textbox", name="What was good or wrong?").fill("cite the page")
    visitor.button("Save").click()
    visitor.says("Kept in the journal")  # said of the thumb already
    wanted = ("How much can LiFePO4 store?", False, "cite the page")
    for _ in range(300):
        if wanted in journal.ratings(sample_library):
            break
        visitor.page.wait_for_timeout(100)
    assert wanted in journal.ratings(sample_library)


def test_an_exported_chat_can_be_opened(talking_app: Served, visit: Any, model: OpenAIServer) -> None:
    model.turns[:] = [Turn(CITED)]
    visitor = visit(talking_app)
    visitor.ask(QUESTION)
    visitor.button("Try again").wait_for()
    visitor.page.reload()
    visitor.says("170 mAh g−1")  # the chat is still open
    visitor.button("Export").click()
    files = {}
    for name in ("Markdown", "JSON", "PDF"):
        with visitor.page.expect_download() as download:
            visitor.page.get_by_role("button", name=name, exact=True).click()
        files[download.value.suggested_filename.rsplit(".")[-1]] = Path(download.value.path()).read_bytes()
    assert files["md"].decode().startswith(f"# {QUESTION}\n\n## {QUESTION}\n\n{CITED}")
    said = json.loads(files["json"])["messages"]
    assert [one["role"] for one in said] == ["user", "assistant"]
    assert said[1]["citations"][0]["page"] == 1
    page = pypdfium2.PdfDocument(io.BytesIO(files["pdf"]))[0].get_textpage().get_text_bounded()
    assert "170 mAh g−1" in page


def test_chats_are_renamed_found_and_deleted(talking_app: Served, visit: Any, model: OpenAIServer) -> None:
    model.turns[:] = [Turn(CITED)]
    visitor = visit(talking_app)
    expect = sync_api().expect
    for number, question in enumerate((QUESTION, "What is steel made of?")):
        visitor.button("New chat").click()
        visitor.page.get_by_role("heading", level=1, name="Ask your library").wait_for()
        visitor.ask(question)
        visitor.button("Try again").wait_for()  # it is complete
        expect(visitor.page.locator(CHATS)).to_have_count(number + 1, timeout=WAIT_MS)
    visitor.button("More").click()
    visitor.page.get_by_role("textbox", name="Rename").fill("Alloys")
    visitor.page.get_by_role("button", name="Rename").last.click()
    visitor.button("Alloys").wait_for()
    visitor.page.keyboard.press("Escape")
    search = visitor.page.get_by_role("textbox", name="Search chats")
    for words, found in (("LiFePO4?", "What is the theoretical cap…"), ("steel made", "Alloys")):
        search.fill(words)
        search.press("Enter")
        expect(visitor.page.locator(CHATS)).to_have_text([found], timeout=WAIT_MS)
    visitor.button("More").click()
    visitor.button("Delete this chat").click()
    visitor.says("No chat holds these words")
    search.fill("")
    search.press("Enter")
    visitor.button("What is the theoretical").wait_for()
    expect(visitor.page.get_by_role("button", name="Alloys")).to_have_count(0, timeout=WAIT_MS)

"""A person at a browser before the real app: what the browser tests share. Loaded as a plugin by conftest.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.openai import OpenAIServer

from assistant.demo import demo_events
from benchmarks._browser import CHROMIUM, Served, launch, serve, settle
from ingest.embed import make_embedder

WAIT_MS = 60_000
CITED = "The theoretical capacity of LiFePO4 is 170 mAh g−1 [1]."


def sync_api() -> Any:
    return pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'matlit[dev]'")


class Visitor:
    """A person at a browser of their own."""

    def __init__(self, browser: Any, served: Served, *, password: bool = False, **options: Any) -> None:
        self.served = served
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.elsewhere: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("request", self._note)
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.goto(served.url)
        if not password:
            self.page.get_by_role("heading", level=1).first.wait_for()
            self.settled()

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.served.url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name).first

    def open(self, name: str, heading: str = "") -> None:
        self.page.get_by_role("link", name=name).click()
        self.page.get_by_role("heading", level=1, name=heading or name).wait_for()

    def ask(self, question: str) -> None:
        box = self.page.get_by_test_id("stChatInputTextArea")
        box.fill(question)
        box.press("Enter")

    def attach(self, *files: Any) -> None:
        """Attach files to the next question."""
        input_ = self.page.get_by_test_id("stChatInput").locator("input[type=file]")
        with self.page.expect_response(re.compile("upload_file")):  # its name is shown before the file has arrived
            input_.set_input_files(list(files))
        self.page.wait_for_load_state("networkidle")

    def keep_key(self, key: str) -> None:
        """Enter a key on the settings page."""
        self.page.get_by_role("textbox", name="Key").fill(key)
        self.button("Keep for this tab").click()
        self.says("is set for this tab")
        sync_api().expect(self.page.get_by_role("textbox", name="Key")).to_have_value("")
        self.settled()

    def settled(self) -> None:
        """Wait until nothing on the page is left over from before."""
        settle(self.page)

    def upload(self, *files: Any) -> None:
        """Send files through the library page's first uploader, and have them read."""
        self.page.get_by_text(re.compile("Add papers|Drop papers here")).first.wait_for()
        if self.page.get_by_text("Add papers").count():
            self.page.get_by_text("Add papers").click()
        self.page.locator("input[type=file]").first.set_input_files(list(files))
        self.page.get_by_role("button", name=re.compile(r"Add \d+ to the library")).click()

    def says(self, text: str | re.Pattern[str]) -> None:
        self.page.get_by_text(text).locator("visible=true").first.wait_for()


@pytest.fixture(scope="module")  # no longer: its event loop would be in the way of other tests' own
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with sync_api().sync_playwright() as driver:
        browser = launch(driver)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def models() -> Iterator[OpenAIServer]:
    with OpenAIServer([CITED] * 20) as server:
        yield server


@pytest.fixture(scope="session")
def sample_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample library, which nobody changes."""
    folder = tmp_path_factory.mktemp("sample-library") / "library"
    list(demo_events(folder, make_embedder("all-MiniLM-L6-v2")))
    return folder


@pytest.fixture(scope="session")
def sample_app(
    tmp_path_factory: pytest.TempPathFactory, sample_library: Path, models: OpenAIServer
) -> Iterator[Served]:
    """An app on the sample library."""
    data = tmp_path_factory.mktemp("sample-app")
    served = serve(data, "--library", str(sample_library), OPENAI_BASE_URL=models.base_url, OPENAI_API_KEY="")
    yield served
    served.end()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    visitors: list[Visitor] = []

    def visit(served: Served, **options: Any) -> Visitor:
        visitors.append(Visitor(chromium, served, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()

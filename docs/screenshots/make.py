"""Takes the screenshots of the web app: every page, light and dark, wide and phone. Needs Chromium and playwright.

PYTHONPATH=. python docs/screenshots/make.py
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from assistant.demo import QUESTION, demo_events
from benchmarks._browser import launch, serving, settle
from ingest.embed import make_embedder

HERE = Path(__file__).parent
SIZES = {"wide": (1280, 860), "phone": (390, 844)}
COLOURS = 128  # of the stored pictures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        library = Path(folder) / "library"
        list(demo_events(library, make_embedder("all-MiniLM-L6-v2")))
        browser = launch(driver)
        with serving(Path(folder) / "data", "--library", str(library)) as served:
            for size, (width, height) in SIZES.items():
                for scheme in ("light", "dark"):
                    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page = context.new_page()
                    page.set_default_timeout(120_000)
                    for name in walk(page, served.url):
                        keep(page, f"{name}-{size}-{scheme}")
                    context.close()
            context = browser.new_context(viewport={"width": 1280, "height": 860}, locale="ja-JP")
            japanese(context.new_page(), served.url)
        with serving(Path(folder) / "empty", "--library", str(Path(folder) / "nothing")) as served:
            page = browser.new_page(viewport={"width": 1280, "height": 700})
            page.goto(served.url)
            page.get_by_role("heading", level=1).wait_for()
            keep(page, "first-start-wide-light")
        browser.close()


def walk(page: Page, url: str) -> Iterator[str]:
    """Go through the pages, yielding a name wherever a picture is wanted."""
    page.goto(url)
    page.get_by_role("button", name=QUESTION).click()
    page.get_by_role("button", name="[1]").first.wait_for()
    settle(page)
    page.mouse.move(5, 5)
    page.get_by_test_id("stChatMessage").first.scroll_into_view_if_needed()
    yield "chat"
    page.get_by_role("button", name="[1]").first.click()
    page.get_by_role("dialog").get_by_role("img").first.wait_for()
    yield "source"
    page.keyboard.press("Escape")
    for name, heading in (
        ("library", "Library"),
        ("keywords", "Keywords"),
        ("materials", "Materials"),
        ("bandgap", "Band gap"),
        ("settings", "Settings"),
    ):
        page.goto(f"{url}/{name}")
        page.get_by_role("heading", level=1, name=heading).wait_for()
        if name == "bandgap":
            page.get_by_role("tab", name="Paste").click()
            page.get_by_role("button", name="Predict", exact=True).last.click()
            page.get_by_text(re.compile("90 % interval: ")).wait_for()
        if name == "keywords":
            if page.get_by_text("Table", exact=True).count() == 0:
                page.get_by_role("button", name="Find keywords").click()
            page.get_by_role("tab", name="Pictures").click()
            page.locator(".st-key-keyword-picture img").wait_for()
        if name == "settings":
            page.get_by_role("tab", name="Models and keys").click()
        yield name
        if name == "keywords":
            page.locator(".st-key-keyword-picture img").scroll_into_view_if_needed()
            yield "keywords-picture"
        if name == "library":
            choose(page, page.get_by_role("combobox", name="Chosen papers"), "Gallium")
            page.locator(".st-key-open-paper button").click()
            page.get_by_role("textbox", name="Search in this paper").fill("wurtzite")
            page.keyboard.press("Enter")
            page.get_by_text(re.compile("Places found")).wait_for()
            yield "paper"
        if name == "materials":
            choose(page, page.get_by_role("combobox", name="Material", exact=True), "rutile")
            page.locator(".st-key-open-material button").click()
            page.locator(".gl-container canvas").first.wait_for()
            yield "structure"


def choose(page: Page, box: Any, words: str) -> None:
    settle(page)
    box.fill(words)
    page.wait_for_timeout(400)
    box.press("ArrowDown")
    box.press("Enter")
    page.keyboard.press("Tab")
    settle(page)


def japanese(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("酸化チタンのバンドギャップは？")
    box.press("Enter")
    page.get_by_role("button", name="[1]").first.wait_for()
    keep(page, "chat-japanese-wide-light")


def keep(page: Page, name: str) -> None:
    """Take one picture and store it small."""
    settle(page)
    page.wait_for_timeout(1200)
    for placeholder in page.get_by_test_id("stSkeleton").all():
        placeholder.wait_for(state="hidden")
    path = HERE / f"{name}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(path.name, path.stat().st_size // 1024, "kB", flush=True)


if __name__ == "__main__":
    main()

"""How many clicks a task takes: each is done in the browser, counted there, and held against the table of the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from assistant.demo import QUESTION
from benchmarks._browser import ROOT, serve

POSCAR = b"Si\n1.0\n0 2.734 2.734\n2.734 0 2.734\n2.734 2.734 0\nSi\n2\ndirect\n0 0 0\n0.25 0.25 0.25\n"
COUNTER = """addEventListener('pointerdown', event => {
  if (event.isTrusted) window.clicksMade = (window.clicksMade || 0) + 1;
}, true);"""


class Counted:
    """A person whose presses of the mouse or finger are counted by the page itself; typing is not."""

    def __init__(self, visitor: Any) -> None:
        self.visitor, self.page = visitor, visitor.page
        visitor.context.add_init_script(COUNTER)
        self.page.reload()
        self.page.get_by_role("heading", level=1).wait_for()
        visitor.settled()
        self.clicks: dict[str, int] = {}

    def begin(self) -> None:
        """Go to an empty chat, which is where every task begins; clicks until now are forgotten."""
        self.visitor.settled()  # a page that is left while it is drawn again stays where it is
        self.page.get_by_role("link", name="Chat").click()
        self.visitor.settled()
        self.visitor.button("New chat").click()
        self.page.get_by_role("heading", level=1, name="Ask your library").wait_for()
        self.visitor.settled()
        self.forget()

    def forget(self) -> None:
        self.page.evaluate("() => { window.clicksMade = 0; }")

    def done(self, task: str) -> None:
        self.clicks[task] = int(self.page.evaluate("() => window.clicksMade"))

    def choose_file(self, button: Any, *files: Any) -> None:
        """Press a button that opens the system's dialog, and choose files there."""
        with self.page.expect_file_chooser() as chooser:
            button.click()
        with self.page.expect_response(re.compile("upload_file")):
            chooser.value.set_files(list(files))
        self.page.wait_for_load_state("networkidle")

    def fill(self, question: str) -> None:
        self.page.get_by_test_id("stChatInputTextArea").fill(question)

    def send(self) -> None:
        self.page.get_by_test_id("stChatInputSubmitButton").click()


def documented() -> dict[str, int]:
    """Return the clicks that docs/app.md promises of matlit, by task."""
    text = (ROOT / "docs" / "app.md").read_text(encoding="utf-8").split("## Clicks")[1]
    rows = re.findall(r"^\| ([^|]+?) \| (\d+)[^|]*\|", text, re.M)
    return {task: int(clicks) for task, clicks in rows}


def test_every_task_takes_the_clicks_that_the_docs_promise(tmp_path: Path, visit: Any) -> None:
    served = serve(tmp_path / "data", "--library", str(tmp_path / "empty"))
    try:
        counted = Counted(visit(served))
        reading(counted)
        asking(counted)
        looking_behind(counted)
        computing(counted)
    finally:
        served.end()
    assert counted.clicks == documented()


def reading(counted: Counted) -> None:
    visitor, page = counted.visitor, counted.page
    counted.forget()
    visitor.button("Try the sample library").click()
    visitor.button(QUESTION).click()
    visitor.button("[1] p. 1").wait_for()
    counted.done("first start to the first cited answer, with sample papers")
    for number, (task, dropped) in enumerate({"dropped": True, "chosen in the file dialog": False}.items()):
        counted.begin()
        text = f"# Alloy {number}\n\nAlloy {number} melts at {900 + number} K.".encode()
        file = {"name": f"alloy{number}.md", "mimeType": "text/markdown", "buffer": text}
        visitor.open("Library")
        visitor.settled()
        page.get_by_text("Add papers").click()
        box = page.locator("[data-testid=stFileUploader]").locator("visible=true").first
        if dropped:
            box.locator("input[type=file]").set_input_files([file])
        else:
            counted.choose_file(box.get_by_text("Upload", exact=True), file)
        page.get_by_role("button", name=re.compile(r"Add \d+ to the library")).click()
        visitor.says("1 added, 0 already there, 0 could not be read.")
        visitor.settled()
        counted.done(f"bring in papers, {task}")
        visitor.button("Dismiss").click()


def asking(counted: Counted) -> None:
    visitor, page = counted.visitor, counted.page
    counted.begin()
    counted.fill(QUESTION)
    counted.send()
    visitor.button("[1] p. 1").wait_for()
    counted.done("ask a question")
    counted.begin()
    visitor.button("All papers").click()
    page.get_by_role("combobox", name="Ask only these papers").click()
    page.get_by_role("option", name=re.compile("Gallium")).click()
    visitor.button("1 papers").wait_for()
    counted.done("ask some papers only")
    page.keyboard.press("Escape")
    counted.begin()
    attach = page.get_by_test_id("stChatInputFileUploadButton").locator("button")
    counted.choose_file(attach, {"name": "POSCAR", "mimeType": "text/plain", "buffer": POSCAR})
    counted.fill("What is the density of the attached structure?")
    counted.send()
    visitor.says(re.compile(r"2\.28\d* g/cm"))
    counted.done("attach a paper or structure to a question")
    counted.begin()
    page.locator(".st-key-model-pop button").click()
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=re.compile("gpt-4o-mini")).click()
    visitor.button("openai/gpt-4o-mini").wait_for()
    counted.done("choose another model")
    visitor.settled()
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=re.compile("^extractive")).click()
    page.keyboard.press("Escape")
    visitor.button("extractive").wait_for()


def looking_behind(counted: Counted) -> None:
    visitor, page = counted.visitor, counted.page
    counted.begin()
    visitor.button(QUESTION).click()
    visitor.button("[1] p. 1").wait_for()
    visitor.settled()
    counted.forget()
    visitor.button("[1] p. 1").click()
    page.get_by_role("dialog").get_by_role("img", name=re.compile("marked in yellow")).wait_for()
    counted.done("from an answer to the page with the quote marked")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    counted.forget()
    page.locator("[class*=st-key-claims-] button").first.click()
    visitor.says("its quotes and numbers were found in the source it names")
    counted.done("see what a sentence's status means")
    page.keyboard.press("Escape")
    counted.forget()
    page.get_by_text(re.compile(r"^\d+ steps · ")).first.click()
    visitor.says("Searched the library")
    counted.done("see what was searched and which tools ran")
    counted.forget()
    visitor.button("Export").click()
    with page.expect_download():
        page.get_by_role("button", name="Markdown", exact=True).click()
    counted.done("export a chat (Markdown, PDF, JSON)")
    page.keyboard.press("Escape")
    counted.forget()
    visitor.button("BibTeX").click()
    code = page.get_by_test_id("stCode").filter(has_text="@misc").last
    code.hover()
    code.get_by_role("button").first.click()
    counted.done("copy BibTeX of the sources")
    page.keyboard.press("Escape")


def computing(counted: Counted) -> None:
    visitor, page = counted.visitor, counted.page
    counted.begin()
    visitor.open("Materials")
    visitor.settled()
    box = page.get_by_role("combobox", name="Material", exact=True)
    box.click()
    box.fill("GaN")
    page.get_by_role("option", name=re.compile("GaN")).first.wait_for()
    box.press("Enter")
    visitor.settled()
    page.locator(".st-key-open-material button").click()
    page.locator(".gl-container canvas").first.wait_for()
    counted.done("a crystal structure, ready to be turned")
    counted.begin()
    visitor.open("Band gap")
    page.get_by_role("tab", name="Paste").click()
    page.get_by_role("button", name="Predict", exact=True).last.click()
    visitor.says("Predicted gap of Si")
    counted.done("band gap of a pasted structure")

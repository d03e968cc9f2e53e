"""The web app as a user meets it: the real server, headless Chromium, real papers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import WAIT_MS, sync_api
from servers.openai import OpenAIServer
from tiny import make_dataset

from assistant.demo import QUESTION
from benchmarks._browser import Served, serve


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, models: OpenAIServer) -> Iterator[Served]:
    """An app whose library is empty; its sample library is one click away."""
    served = serve(tmp_path_factory.mktemp("app"), OPENAI_BASE_URL=models.base_url, OPENAI_API_KEY="")
    yield served
    served.end()


def test_from_first_start_to_a_cited_answer_and_its_page(app: Served, visit: Any) -> None:
    visitor = visit(app)
    visitor.button("Try the sample library").click()
    visitor.button(QUESTION).click()
    visitor.button("[1] p. 1").click()
    picture = visitor.page.get_by_role("dialog").get_by_role("img", name=re.compile("marked in yellow"))
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 800
    visitor.page.reload()
    visitor.button("What is the theoretical").wait_for()  # the chat is still there
    assert visitor.elsewhere == []


def test_two_browsers_do_not_see_each_others_chats_and_keys(sample_app: Served, visit: Any) -> None:
    first, second = visit(sample_app), visit(sample_app)
    first.ask("What is the band gap of GaN?")
    first.button("[1]").wait_for()
    first.open("Settings")
    first.page.get_by_role("tab", name="Models and keys").click()
    first.keep_key("sk-only-mine-123456")
    assert "only-mine" not in first.page.content()
    second.page.reload()
    second.says("Your chats appear here")
    second.open("Settings")
    second.page.get_by_role("tab", name="Models and keys").click()
    second.button("Test the connection").wait_for()
    assert second.page.get_by_text("is set for this tab").count() == 0


def test_a_wrong_key_is_a_message_and_the_right_one_answers(sample_app: Served, visit: Any, models: Any) -> None:
    visitor = visit(sample_app)
    visitor.open("Settings")
    visitor.page.get_by_role("tab", name="Models and keys").click()
    box = visitor.page.get_by_role("combobox", name="Model")
    box.fill("gpt-4o-mini")
    box.press("ArrowDown")
    box.press("Enter")
    for key, said in (("sk-wrong-0000000", "Check the key"), (models.key, "is accepted")):
        visitor.keep_key(key)
        visitor.button("Test the connection").click()
        visitor.says(re.compile(said))
        assert key not in visitor.page.content()
    visitor.open("Chat", "Ask your library")
    visitor.ask(QUESTION)
    visitor.says("170 mAh g−1")
    visitor.says(re.compile("tokens read"))


def test_the_interface_and_the_answers_speak_japanese(sample_app: Served, visit: Any) -> None:
    visitor = visit(sample_app, locale="ja-JP")
    visitor.page.get_by_role("heading", level=1, name="ライブラリに質問する").wait_for()
    visitor.ask("酸化チタンのバンドギャップは？")
    visitor.says("原文のまま")
    visitor.button("[1] 1 ページ").click()
    visitor.page.get_by_role("dialog").get_by_role("img", name=re.compile("該当箇所を黄色")).wait_for()


POSCAR = b"Si\n1.0\n0 2.734 2.734\n2.734 0 2.734\n2.734 2.734 0\nSi\n2\ndirect\n0 0 0\n0.25 0.25 0.25\n"


def test_an_attached_structure_is_answered_by_tools(sample_app: Served, visit: Any) -> None:
    visitor = visit(sample_app)
    visitor.attach({"name": "POSCAR", "mimeType": "text/plain", "buffer": POSCAR})
    visitor.ask("What is the density of the attached structure?")
    visitor.says(re.compile(r"2\.28\d* g/cm"))
    visitor.button("1 computed").wait_for()
    visitor.says("About: POSCAR")


def test_keywords_are_found_while_one_is_elsewhere(sample_app: Served, visit: Any) -> None:
    visitor = visit(sample_app)
    visitor.open("Keywords")
    visitor.button("Find keywords").click()
    visitor.says(re.compile(r"of (6|…) papers|Keywords found for"))  # it has begun
    visitor.open("Settings")
    visitor.open("Keywords")
    visitor.says(re.compile("Keywords found for"))
    visitor.page.get_by_role("tab", name="Pictures").click()
    visitor.says("Commonest keywords")
    visitor.page.get_by_role("tab", name="Downloads").click()
    with visitor.page.expect_download() as download:
        visitor.button("JSON Lines").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    assert all(json.loads(line)["keywords"] for line in lines)


def test_a_structure_is_drawn_and_turned(sample_app: Served, visit: Any) -> None:
    visitor = visit(sample_app)
    visitor.open("Materials")
    visitor.page.get_by_role("button", name="Ga", exact=True).click()
    visitor.says(re.compile(r"^\d of \d materials"))
    visitor.settled()
    box = visitor.page.get_by_role("combobox", name="Material", exact=True)
    box.fill("GaN")
    box.press("ArrowDown")
    box.press("Enter")
    visitor.settled()
    visitor.page.locator(".st-key-open-material button").click()
    scene = visitor.page.locator(".gl-container canvas").first
    scene.wait_for()
    before = still(scene)
    place = scene.bounding_box()
    visitor.page.mouse.move(place["x"] + 300, place["y"] + 200)
    visitor.page.mouse.down()
    visitor.page.mouse.move(place["x"] + 420, place["y"] + 260, steps=6)
    visitor.page.mouse.up()
    while scene.screenshot() == before:
        visitor.page.wait_for_timeout(200)
    visitor.page.get_by_role("tab", name="Powder X-ray pattern").click()
    visitor.says("Radiation")
    assert visitor.elsewhere == []


def still(scene: Any) -> bytes:
    """Return a picture of a scene once nothing in it moves any more."""
    last = b""
    while (now := scene.screenshot()) != last:
        last = now
        scene.page.wait_for_timeout(500)
    return last


def test_a_pasted_structure_gets_a_band_gap(sample_app: Served, visit: Any) -> None:
    visitor = visit(sample_app)
    visitor.open("Band gap")
    visitor.page.get_by_role("tab", name="Paste").click()
    visitor.page.get_by_role("button", name="Predict", exact=True).last.click()
    visitor.says(re.compile("90 % interval: .* eV"))
    visitor.says("Predicted gap of Si")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run: the backbone `tiny` on a hundred rows, one pass."""
    pytest.importorskip("torch")
    from finetune import regress
    from finetune.recipe import make_recipe

    folder = tmp_path_factory.mktemp("training") / "tiny-run"
    rows = make_dataset(folder.with_name("rows"), count=160, validation=40, test=20)
    quick = {"base_model": "tiny", "epochs": 1, "batch_size": 40, "max_length": 64, "bf16": False}
    assert regress.train(rows, folder, make_recipe("regress", None, quick)).status == "finished"
    return folder


def test_a_training_run_answers_beside_the_shipped_model(sample_app: Served, visit: Any, run: Path) -> None:
    visitor = visit(sample_app)
    visitor.open("Band gap")
    visitor.page.get_by_text("Compare with models of your own").click()
    visitor.page.get_by_role("textbox", name="Run or model folder").fill(str(run))
    visitor.button("Add").click()
    figures = visitor.page.get_by_role("row").filter(has_text="tiny-run")
    figures.get_by_text("rows kept back").wait_for()
    assert re.search(r"\b40\b.*\d\.\d{3}", figures.inner_text(), re.S)  # how many, and its error
    visitor.page.get_by_role("tab", name="Paste").click()
    visitor.page.get_by_role("button", name="Predict", exact=True).last.click()
    visitor.says("by matlit-bandgap-1")
    visitor.says("by tiny-run")
    sync_api().expect(visitor.page.get_by_text("Predicted gap of Si")).to_have_count(2, timeout=WAIT_MS)
    visitor.button("Forget").click()
    visitor.page.get_by_text("by tiny-run").wait_for(state="hidden")


def test_a_follow_up_question_is_asked_by_a_click(sample_app: Served, visit: Any) -> None:
    visitor = visit(sample_app)
    visitor.button(QUESTION).click()
    follow = visitor.page.locator("[class*=st-key-follow-] button").first
    question = follow.inner_text().rsplit("\n", 1)[-1]
    follow.click()
    asked = visitor.page.get_by_test_id("stChatMessage").filter(has_text=question)
    asked.first.wait_for()
    visitor.page.locator("[class*=st-key-claims-]").nth(1).wait_for()  # the second answer is complete
    assert visitor.page.get_by_test_id("stChatMessage").count() == 4


def test_bad_uploads_are_messages(app: Served, visit: Any, tmp_path: Path) -> None:
    visitor = visit(app)
    visitor.open("Library")
    large = tmp_path / "large.pdf"
    with large.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    visitor.page.locator("input[type=file]").first.set_input_files(str(large))
    visitor.says(re.compile("must be 100.*MB or smaller"))
    page = b"<!doctype html><html><body>Please log in</body></html>"
    nasty = b"# Oxides\n\n<script>alert('run')</script> The gap of XYZ oxide is 3.21 eV. " + b"More text here. " * 40
    visitor.page.reload()
    visitor.upload(
        {"name": "login.pdf", "mimeType": "application/pdf", "buffer": page},
        {"name": "../../x.md", "mimeType": "text/markdown", "buffer": nasty},
    )
    visitor.says("1 added, 0 already there, 1 could not be read.")
    visitor.says(re.compile("saved under the name of a PDF"))
    assert not list(app.data.rglob("x.md"))
    stored = [path.name for path in app.data.rglob("uploads/*")]
    assert all(re.fullmatch(r"[0-9a-f]{64}\.(md|pdf)", name) for name in stored)
    assert len(stored) == 2
    visitor.open("Chat", "Ask your library")
    visitor.ask("What is the gap of XYZ oxide?")
    visitor.button("[1]").click()
    visitor.page.get_by_role("dialog").get_by_text("<script>alert('run')</script>").first.wait_for()
    assert visitor.dialogs == []


def test_an_uploaded_paper_is_quoted_where_it_stands(app: Served, visit: Any, shared_data: Path) -> None:
    paper = shared_data / "papers" / "PMC7052380.pdf"
    visitor = visit(app)
    visitor.open("Library")
    visitor.upload({"name": "../../x.pdf", "mimeType": "application/pdf", "buffer": paper.read_bytes()})
    visitor.says("1 added, 0 already there, 0 could not be read.")
    visitor.open("Chat", "Ask your library")
    visitor.ask("How much graphene do the LiFePO4/graphene composites contain?")
    opens_where_it_stands(visitor, paper)


def test_a_paper_attached_to_a_question_is_quoted_where_it_stands(
    sample_library: Path, tmp_path: Path, visit: Any, shared_data: Path
) -> None:
    paper = shared_data / "papers" / "PMC7198556.pdf"
    served = serve(tmp_path / "data", "--library", str(shutil.copytree(sample_library, tmp_path / "library")))
    try:
        visitor = visit(served)
        visitor.attach(paper)
        visitor.ask("How was the sample prepared and etched?")
        visitor.says(re.compile("^About: A Posteriori Reconstruction"))  # it is asked of this paper alone
        opens_where_it_stands(visitor, paper)
        visitor.page.keyboard.press("Escape")
        visitor.page.get_by_role("dialog").wait_for(state="hidden")
        visitor.open("Library")
        visitor.says("7 of 7 papers")
    finally:
        served.end()


def opens_where_it_stands(visitor: Any, paper: Path) -> None:
    """Open the first source of an answer; check that the quote is marked where pdfium finds it on that page."""
    from benchmarks.ui import colour_of, lies_on, stands
    from ui.pageimage import Picture, Renderer

    visitor.button("[1]").wait_for()
    quote = visitor.page.locator("[class*=st-key-quote-] p").first.inner_text().strip("“”")
    label = visitor.button("[1]").inner_text()
    visitor.button("[1]").click()
    image = visitor.page.get_by_role("dialog").get_by_role("img", name=re.compile("marked in yellow"))
    image.wait_for()
    png = visitor.context.request.get(image.evaluate("image => image.src")).body()
    number = int(re.search(r"p\. (\d+)", label)[1])
    renderer = Renderer()
    plain: Picture = renderer.render(paper, number)
    renderer.close()
    places = stands(quote, paper)
    assert number in places
    assert any(lies_on(spans, colour_of(plain, png), plain.scale) for spans in places[number])


def test_an_ingest_survives_a_reload_and_can_be_stopped(app: Served, visit: Any, shared_data: Path) -> None:
    papers = sorted((shared_data / "papers").glob("PMC7*.pdf")) + sorted((shared_data / "papers").glob("nano*.pdf"))
    visitor = visit(app)
    visitor.open("Library")
    visitor.upload(*[str(path) for path in papers])
    visitor.button("Cancel").wait_for()
    visitor.page.reload()
    visitor.open("Library")
    visitor.button("Cancel").click()
    visitor.says(re.compile("Stopped. What was complete is in the library"))


def test_a_password_stands_before_everything(tmp_path: Path, visit: Any) -> None:
    served = serve(tmp_path, MATLIT_PASSWORD="correct horse battery")
    try:
        visitor = visit(served, password=True)
        visitor.page.get_by_label("Password").fill("wrong")
        visitor.button("Enter").click()
        visitor.says("That is not the password.")
        visitor.page.get_by_label("Password").fill("correct horse battery")
        visitor.button("Enter").click()
        visitor.button("Try the sample library").wait_for()
    finally:
        served.end()


def test_other_machines_are_refused_without_a_password() -> None:
    command = [sys.executable, "-m", "ui", "chat", "--host", "0.0.0.0", "--no-browser"]
    environment = {name: value for name, value in os.environ.items() if name != "MATLIT_PASSWORD"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 1
    assert "other machines could read your library" in done.stderr
    assert "--password" in done.stderr


PAGES = {"Chat": "Ask your library", "Library": "", "Keywords": "", "Materials": "", "Band gap": "", "Settings": ""}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(sample_app: Served, visit: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    visitor = visit(sample_app, color_scheme=scheme)
    visitor.button(QUESTION).click()
    visitor.button("[1]").wait_for()
    visitor.settled()
    found = {"an answer": serious(axe, visitor.page)}
    for name, heading in PAGES.items():
        if name == "Chat":
            visitor.button("New chat").click()
            visitor.page.get_by_role("heading", level=1, name=heading).wait_for()
        else:
            visitor.open(name, heading)
        visitor.settled()
        found[name] = serious(axe, visitor.page)
    assert {name: rules for name, rules in found.items() if rules} == {}


# What Streamlit's own elements do, whatever we tell them; each was looked at, and nothing of ours can change it.
STREAMLITS_OWN: dict[str, str] = {}


def serious(axe: Any, page: Any) -> list[str]:
    """Return the serious findings, each with the element it is about."""
    results = json.loads(json.dumps(axe.run(page).response))
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in results["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not any(rule["id"] == name and part in node["html"] for part, name in STREAMLITS_OWN.items())
    ]


@pytest.mark.parametrize(("width", "height", "scale"), [(390, 844, 3), (640, 450, 2)], ids=["phone", "200 %"])
def test_a_phone_and_double_zoom_need_no_sideways_scrolling(
    sample_app: Served, visit: Any, width: int, height: int, scale: int
) -> None:
    size = {"width": width, "height": height}
    visitor = visit(sample_app, viewport=size, device_scale_factor=scale)
    for path in ("library", "keywords", "materials", "bandgap", "settings", ""):
        visitor.page.goto(f"{sample_app.url}/{path}")
        visitor.page.get_by_role("heading", level=1).wait_for()
        visitor.settled()
        assert overhang(visitor, ".stMain") <= 1, path
    visitor.button(QUESTION).click()
    visitor.button("[1]").wait_for()
    visitor.settled()
    assert overhang(visitor, ".stMain") <= 1, "an answer"
    visitor.button("[1]").click()
    visitor.page.get_by_role("dialog").get_by_role("img", name=re.compile("marked in yellow")).wait_for()
    assert overhang(visitor, "[role=dialog]") <= 1, "a source"


def overhang(visitor: Any, selector: str) -> int:
    """Return by how many pixels what is in an element is wider than it."""
    return int(visitor.page.locator(selector).last.evaluate("one => one.scrollWidth - one.clientWidth"))


def test_the_keyboard_alone_asks_and_opens_the_source(sample_app: Served, visit: Any) -> None:
    visitor = visit(sample_app)
    reached: list[str] = []
    while (name := tab(visitor)) not in reached:
        reached.append(name)
        if visitor.page.evaluate("document.activeElement.matches('a, button, input, textarea')"):
            assert visitor.page.evaluate(FOCUS_SHOWS), name
        if "Ask a question" in name:
            break
    wanted = ("Chat", "Settings", "New chat", "Search chats", QUESTION, "All papers", "Automatic", "Ask a question")
    places = [next(place for place, name in enumerate(reached) if part in name) for part in wanted]
    assert places == sorted(places), reached
    visitor.page.keyboard.type(QUESTION)
    visitor.page.keyboard.press("Enter")
    visitor.button("[1]").wait_for()
    visitor.settled()
    visitor.button("[1]").focus()
    visitor.page.keyboard.press("Enter")
    visitor.page.get_by_role("dialog").wait_for()
    visitor.page.keyboard.press("Escape")
    visitor.page.get_by_role("dialog").wait_for(state="hidden")


def tab(visitor: Any) -> str:
    """Go on to the next control; return what it is called."""
    visitor.page.keyboard.press("Tab")
    label = """() => { const at = document.activeElement;
      return at.getAttribute('aria-label') || at.placeholder || at.innerText || at.outerHTML.slice(0, 80); }"""
    return str(visitor.page.evaluate(label))


# Whether the focused control, or what it stands in, looks otherwise than without the focus.
FOCUS_SHOWS = """async () => {
  const at = document.activeElement, around = [];
  for (let one = at; one && around.length < 5; one = one.parentElement) around.push(one);
  const look = () => around.map(one => { const style = getComputedStyle(one);
    return [style.outline, style.boxShadow, style.borderColor, style.backgroundColor].join() }).join('|');
  const wait = () => new Promise(done => setTimeout(done, 350));
  await wait();
  const focused = look();
  at.blur();
  await wait();
  const plain = look();
  at.focus({focusVisible: true});
  return focused !== plain;
}"""

"""How fast the web app is for a person before it: first page, page switches, and a library of 5,000 papers.

    python -m benchmarks.ui_speed [--starts 5] [--switches 10] [--papers 5000] [--large FOLDER]

Everything is measured in headless Chromium on a fresh `matlit chat`. First page: from the start of the process until
the chat page of the sample library is drawn. Page switch: from the click in the navigation until the page's heading
stands there, nothing of the page before is left and the server's run has ended; each page was open once before. Of
the large library (one page each, hashing embedder) the same, and filtering by two words, and the frames while its
table is scrolled. What a page costs on the wire is what its web socket carried. Medians and worst values of
n; exits with 1 where a limit is broken.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from assistant.demo import QUESTION, demo_events
from benchmarks._browser import launch, serve, serving, settle
from benchmarks._machine import describe
from ingest.chunk import recipe
from ingest.embed import make_embedder
from ingest.library import INFO_FILE, Library
from ingest.records import Block, Metadata, Paper
from ingest.records import Page as PaperPage
from ingest.settings import ChunkingSettings
from ingest.writer import Stamp

FIRST_PAGE_S = 3.0
SWITCH_S = 0.5
PAGES = {
    "Library": "Library",
    "Keywords": "Keywords",
    "Materials": "Materials",
    "Band gap": "Band gap",
    "Settings": "Settings",
    "Chat": "Ask your library",
}
COMPOUNDS = ("LiFePO4", "BaZrS3", "GaN", "TiO2", "MAPbI3", "ZnO", "Bi2Te3", "NaCl", "Cu2ZnSnS4", "Si")
TOPICS = ("cathodes", "thin films", "nanowires", "solar cells", "thermoelectrics", "photocatalysts", "ceramics")

# Resolves with milliseconds once a page is drawn whole; what starts it is clicked here, so that no driver is timed.
SWITCH = """([name, heading]) => new Promise((done, fail) => {
  const begin = performance.now();
  const links = [...document.querySelectorAll('[data-testid=stSidebarNavLink]')];
  links.find(one => one.innerText.trim().endsWith(name)).click();
  const look = () => {
    const title = document.querySelector('h1'), app = document.querySelector('[data-testid=stApp]');
    const spent = performance.now() - begin;
    if (title && title.innerText.trim() === heading && app.dataset.testScriptState === 'notRunning'
        && !document.querySelector('[data-stale=true]')) done(spent);
    else if (spent > 60000) fail(new Error('not drawn within a minute'));
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
FRAMES = """() => new Promise(done => {
  const gaps = []; let last = performance.now();
  const look = now => {
    gaps.push(now - last);
    last = now;
    if (gaps.length < 120) requestAnimationFrame(look); else done(gaps);
  };
  requestAnimationFrame(look);
})"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--switches", type=int, default=10, help="of each page")
    parser.add_argument("--papers", type=int, default=5000)
    parser.add_argument("--large", type=Path, help="folder for the large library, kept and taken again")
    options = parser.parse_args()
    print(describe("streamlit", "playwright"))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        folder = Path(temporary)
        list(demo_events(folder / "sample", make_embedder("all-MiniLM-L6-v2")))
        browser = launch(driver)
        within = first_pages(browser, folder, options.starts)
        with serving(folder / "data", "--library", str(folder / "sample")) as served:
            within &= switches(browser, served.url, options.switches, "sample library")
        large = options.large or folder / "large"
        make_library(large, options.papers)
        with serving(folder / "large-data", "--library", str(large)) as served:
            within &= switches(browser, served.url, options.switches, f"{options.papers:,} papers")
            table(browser, served.url, options.switches)
        browser.close()
    return 0 if within else 1


def first_pages(browser: Any, folder: Path, count: int) -> bool:
    """Print how long fresh servers take to their first page."""
    ready, drawn = [], []
    for number in range(count):
        began = time.perf_counter()
        served = serve(folder / f"start-{number}", "--library", str(folder / "sample"))
        ready.append(time.perf_counter() - began)
        with visiting(browser) as page:
            page.goto(served.url)
            page.get_by_role("button", name=QUESTION).wait_for()
            drawn.append(time.perf_counter() - began)
        served.end()
    report("server answers after its start", ready)
    return report("first page after the start", drawn, FIRST_PAGE_S)


def switches(browser: Any, url: str, count: int, where: str) -> bool:
    """Print how long each page takes to be drawn; return whether the median of every page is within the limit."""
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    received: dict[str, int] = {}
    with visiting(browser) as page:
        weights: list[int] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: weights.append(len(frame))))
        page.goto(url)
        page.get_by_role("heading", level=1).first.wait_for()
        settle(page)
        for turn in range(count + 1):
            for name, heading in PAGES.items():
                weights.clear()
                spent = page.evaluate(SWITCH, [name, heading]) / 1000
                settle(page, 100)
                received[name] = sum(weights)
                if turn:
                    times[name].append(spent)
    within = True
    for name, spent in times.items():
        within &= report(f"{where}: to {name} ({received[name] / 1024:.0f} KiB)", spent, SWITCH_S)
    return within


def table(browser: Any, url: str, count: int) -> None:
    """Print how the table of papers behaves: filtering, and frames while it is scrolled."""
    with visiting(browser) as page:
        page.goto(f"{url}/library")
        frame = page.get_by_test_id("stDataFrame")
        frame.wait_for()
        settle(page)
        words = page.get_by_role("textbox", name="Find papers")
        every = page.get_by_text(re.compile(r"^(\d+) of \1 papers$"))
        spent = []
        for number in range(count):
            began = time.perf_counter()
            words.fill(f"{COMPOUNDS[number % len(COMPOUNDS)]} ceramics")
            words.press("Enter")
            every.wait_for(state="hidden")
            settle(page, 0)
            spent.append(time.perf_counter() - began)
            words.fill("")
            words.press("Enter")
            every.wait_for()
            settle(page, 0)
        report("filter the table by two words", spent)
        place = frame.bounding_box()
        page.mouse.move(place["x"] + 200, place["y"] + 200)
        page.evaluate(f"() => {{ window.frames_seen = ({FRAMES})(); }}")
        for _ in range(40):
            page.mouse.wheel(0, 2000)
            page.wait_for_timeout(20)
        gaps = page.evaluate("() => window.frames_seen")
        report("frame while the table is scrolled", [gap / 1000 for gap in gaps])


def report(what: str, seconds: Sequence[float], limit: float = 0.0) -> bool:
    """Print one line; return whether the median is within the limit."""
    median, worst = statistics.median(seconds), max(seconds)
    within = not limit or median <= limit
    wanted = f"   wanted ≤ {limit:.1f} s{'' if within else ': BROKEN'}" if limit else ""
    print(f"{what:<48} median {median:6.3f} s   worst {worst:6.3f} s   n={len(seconds)}{wanted}", flush=True)
    return within


@contextmanager
def visiting(browser: Any) -> Iterator[Page]:
    """Give a page of a browser that was never here."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    yield page
    context.close()


def make_library(folder: Path, count: int) -> None:
    """Make a library of `count` papers of one page, without passages, unless it is there."""
    if (folder / INFO_FILE).exists():
        return
    embedder = make_embedder("hashing")
    library = Library.create(folder, embedder=embedder.info, recipe=recipe(ChunkingSettings(), embedder.name))
    nothing = embedder.embed_documents([])
    with library.writer() as writer:
        for number in range(count):
            compound, topic = COMPOUNDS[number % len(COMPOUNDS)], TOPICS[number % len(TOPICS)]
            title = f"Growth and properties of {compound} {topic}: sample {number} of a long series of experiments"
            text = f"{title}\n\n{compound} was grown at {300 + number % 700} K."
            identity = hashlib.sha256(text.encode()).hexdigest()
            metadata = Metadata(title, (f"A. Author{number % 300}", "B. Writer"), 1980 + number % 46)
            path = Path(f"/nowhere/{number:05}.txt")
            paper = Paper(identity, metadata, "text", 1, 0, (path,))
            page = PaperPage(1, text, (Block(0, len(text), "text", "Results"),))
            writer.add(paper, [page], [], nothing, stamps={path: Stamp(len(text), 0)})


if __name__ == "__main__":
    raise SystemExit(main())

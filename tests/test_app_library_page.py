"""The library page's logic, and the first start with an empty library."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from opening import Page, button, labels, opened
from streamlit.testing.v1 import AppTest

from assistant.demo import QUESTION
from ingest.library import Library
from ui.jobs import JOBS

pytestmark = pytest.mark.usefixtures("own_data")


def test_an_empty_library_offers_the_sample_and_ones_own_papers() -> None:
    app = opened("chat")
    assert not app.exception
    assert app.title[0].value == "Ask your papers"
    assert "Try the sample library" in labels(app)
    assert "Read this folder" in labels(app)


def test_the_sample_is_one_click_away() -> None:
    app = opened("chat")
    button(app, "Try the sample library").click().run()
    job = JOBS.find("ingest")[0]
    assert job.wait(60)
    assert job.state == "done", job.error
    app.run()
    assert any(QUESTION in label for label in labels(app))


def test_a_folder_that_is_not_there_is_a_message(tmp_path: Path) -> None:
    app = opened("library")
    app.text_input(key="folder-first").input(str(tmp_path / "nowhere"))
    button(app, "Read this folder").click().run()
    JOBS.find("ingest")[0].wait(60)
    app.run()
    assert not app.exception
    assert "nowhere" in app.error[0].value
    assert "What to do" in app.error[0].value


def test_papers_are_listed_found_and_opened(page: Page) -> None:
    app = page("library")
    assert len(app.dataframe[0].value) == 6
    app.text_input(key="paper-words").input("gallium").run()
    assert len(app.dataframe[0].value) == 1
    choose_first(app)
    button(app, "Open").click().run()
    assert not app.exception
    assert "Gallium nitride" in app.header[0].value
    app.text_input(key="words-in-paper").input("wurtzite").run()
    assert any("Places found" in one.value for one in app.caption)


def choose_first(app: AppTest) -> None:
    """Choose the first paper of the list below the table."""
    paper = sorted(Library.open(Path(os.environ["MATLIT_LIBRARY"])).papers(), key=lambda one: one.paths[0])
    words = app.text_input(key="paper-words").value
    app.multiselect[0].set_value([next(one.id for one in paper if words in one.title.lower())]).run()


def test_a_paper_leaves_the_library_only_after_a_second_look(page: Page, sample_library: Path, tmp_path: Path) -> None:
    copy = tmp_path / "library"
    shutil.copytree(sample_library, copy)
    app = opened_on(copy)
    choose_first(app)
    assert "Remove them" in labels(app)
    button(app, "Remove them").click().run()
    assert not app.exception
    assert len(Library.open(copy).papers()) == 5


def test_an_unreadable_file_is_listed_with_reason_and_remedy(tmp_path: Path, sample_library: Path) -> None:
    copy, bad = tmp_path / "library", tmp_path / "page.pdf"
    shutil.copytree(sample_library, copy)
    bad.write_text("<!doctype html><html><body>Please log in</body></html>")
    app = opened_on(copy)
    app.text_input(key="folder-more").input(str(bad))
    button(app, "Read this folder").click().run()
    JOBS.find("ingest")[0].wait(60)
    app.run()
    assert not app.exception
    assert any("1 files could not be read" in one.label for one in app.expander)
    row = app.table[0].value.iloc[0].tolist()
    assert "web page" in row[1]
    assert "Download the PDF" in row[2]


def opened_on(folder: Path) -> AppTest:
    os.environ["MATLIT_LIBRARY"] = str(folder)  # put back by the fixture that set it
    return opened("library")


def test_five_thousand_papers_are_filtered(page: Page) -> None:
    from ingest.records import Metadata, Paper
    from ui.pages.library import _matching

    papers = [
        Paper(f"{n:064x}", Metadata(title=f"Paper {n} on oxide {n % 97}"), "pdf", 5, 9, (Path(f"/p/{n}.pdf"),))
        for n in range(5000)
    ]
    titles = {paper.id: paper.title for paper in papers}
    assert len(_matching(papers, titles, ["oxide", "96"])) >= 51

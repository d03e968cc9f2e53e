"""Each page's logic, through Streamlit's own test runner, on a real sample library."""

from __future__ import annotations

import os
import pkgutil
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from servers import Turn
from servers.openai import OpenAIServer
from streamlit.testing.v1 import AppTest

from assistant.demo import QUESTION, demo_events
from assistant.keywords import making
from assistant.keywords.job import Report
from assistant.keywords.records import Record
from ingest.embed import make_embedder
from ingest.library import Library
from ui import resources
from ui.chats import Message
from ui.jobs import JOBS, Job
from ui.keyword_jobs import picture_of, records_of, result_files
from ui.server import SCRIPT

Page = Callable[[str], AppTest]


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sample library once."""
    folder = tmp_path_factory.mktemp("sample") / "library"
    list(demo_events(folder, make_embedder("all-MiniLM-L6-v2")))
    return folder


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def page(sample_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Return a function that opens a page on the sample library."""
    monkeypatch.setenv("MATLIT_LIBRARY", str(sample_folder))
    return lambda name: opened(name)


def opened(name: str) -> AppTest:
    def script(name: str) -> None:
        from importlib import import_module

        import_module(f"ui.pages.{name}").draw()

    return AppTest.from_function(script, default_timeout=60, args=(name,)).run()


def button(app: AppTest, label: str) -> Any:
    """Return the button with that label."""
    return next(one for one in app.button if label in one.label.replace("\\", ""))


def labels(app: AppTest) -> list[str]:
    return [one.label.replace("\\", "") for one in app.button]


def choose_first(app: AppTest) -> None:
    """Choose the first paper of the list below the table."""
    paper = sorted(Library.open(Path(os.environ["MATLIT_LIBRARY"])).papers(), key=lambda one: one.paths[0])
    words = app.text_input(key="paper-words").value
    app.multiselect[0].set_value([next(one.id for one in paper if words in one.title.lower())]).run()


def shown(app: AppTest) -> str:
    return "\n".join(one.value for one in app.markdown).replace("\\", "")


def test_the_app_starts_with_its_navigation() -> None:
    app = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not app.exception


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


def test_a_chat_keeps_its_model_its_strategy_and_its_papers(page: Page, sample_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "replies.json").write_text('["The capacity is 170 mAh g−1 [1]."]')
    model = f"scripted/{tmp_path / 'replies.json'}"
    steel = next(paper.id for paper in Library.open(sample_folder).papers() if "steel" in paper.title)
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


def one(elements: Any, key: str) -> Any:
    return next(element for element in elements if (element.key or "").startswith(key))


def manner(app: AppTest) -> tuple[str, str, tuple[str, ...]]:
    """Return what the next question would be answered with, as the controls show it."""
    model, strategy = one(app.selectbox, "model-chat").value, one(app.radio, "strategy-").value
    return model, strategy, tuple(app.multiselect[0].value)


def test_a_rating_reaches_the_journal(page: Page, sample_folder: Path) -> None:
    from assistant import journal

    app = page("chat")
    button(app, QUESTION).click().run()
    app.feedback[0].set_value(0).run()
    next(one for one in app.text_area if one.key.startswith("note-")).input("too short").run()
    button(app, "Save").click().run()
    assert (QUESTION, False, "too short") in journal.ratings(sample_folder)


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
    assert any("places on" in one.value for one in app.caption)


def test_a_paper_leaves_the_library_only_after_a_second_look(page: Page, sample_folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "library"
    shutil.copytree(sample_folder, copy)
    app = opened_on(copy)
    choose_first(app)
    assert "Remove them" in labels(app)
    button(app, "Remove them").click().run()
    assert not app.exception
    assert len(Library.open(copy).papers()) == 5


def opened_on(folder: Path) -> AppTest:
    os.environ["MATLIT_LIBRARY"] = str(folder)  # put back by the fixture that set it
    return opened("library")


def test_an_unreadable_file_is_listed_with_reason_and_remedy(tmp_path: Path, sample_folder: Path) -> None:
    import shutil

    copy, bad = tmp_path / "library", tmp_path / "page.pdf"
    shutil.copytree(sample_folder, copy)
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


def test_five_thousand_papers_are_filtered(page: Page) -> None:
    from ingest.records import Metadata, Paper
    from ui.pages.library import _matching

    papers = [
        Paper(f"{n:064x}", Metadata(title=f"Paper {n} on oxide {n % 97}"), "pdf", 5, 9, (Path(f"/p/{n}.pdf"),))
        for n in range(5000)
    ]
    titles = {paper.id: paper.title for paper in papers}
    assert len(_matching(papers, titles, ["oxide", "96"])) >= 51


# --- materials and band gap -------------------------------------------------------------------------------------------


def test_materials_are_found_by_elements_and_opened(page: Page) -> None:
    app = page("materials")
    assert len(app.dataframe[0].value) == 31
    app.pills[0].set_value(["O", "Ti"]).run()
    assert {"TiO2", "BaTiO3"} <= set(app.dataframe[0].value["Formula"])
    app.checkbox[0].check().run()
    assert set(app.dataframe[0].value["Formula"]) == {"TiO2"}
    next(one for one in app.selectbox if one.label == "Material").set_value("mp-2657").run()
    button(app, "Open").click().run()
    assert not app.exception
    assert app.header[0].value.replace("\\", "") == "TiO2, rutile (mp-2657)"
    assert "Band gap" in str(app.table[0].value) or "band gap" in str(app.table[0].value)
    assert "density" in shown(app)


def test_a_formula_that_is_none_is_a_message(page: Page) -> None:
    app = page("materials")
    next(one for one in app.text_input if one.label == "Formula").input("Xx2").run()
    assert not app.exception
    assert "Xx" in app.error[0].value


def test_a_pasted_structure_gets_a_gap_with_interval_and_training_text(page: Page) -> None:
    app = page("bandgap")
    [one for one in app.button if one.label == "Predict"][-1].click().run()
    assert not app.exception
    assert app.metric[0].value.endswith(" eV")
    assert "90 % interval" in shown(app)
    assert any("Reduced Formula: Si" in one.value for one in app.code)
    assert any("MAE (eV)" in one.value for one in app.table)


def test_a_broken_structure_is_a_message(page: Page) -> None:
    app = page("bandgap")
    app.text_area[0].input("not a structure")
    [one for one in app.button if one.label == "Predict"][-1].click().run()
    assert not app.exception
    assert app.error


def test_a_folder_without_a_model_is_a_message(page: Page, tmp_path: Path) -> None:
    app = page("bandgap")
    app.text_input(key="run-folder").input(str(tmp_path))
    button(app, "Add").click().run()
    assert not app.exception
    assert "there is no model" in app.error[0].value.replace("\\", "")


# --- answers of language models ---------------------------------------------------------------------------------------


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
    from servers.openai import OpenAIServer

    with OpenAIServer(key="the-right-key") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-9999999999")
        monkeypatch.setenv("MATLIT_MODEL", "openai/gpt-4o-mini")
        app = page("chat")
        button(app, QUESTION).click().run()
    assert not app.exception
    assert "OPENAI_API_KEY" in app.error[0].value.replace("\\", "")
    assert "wrong-9999999999" not in app.error[0].value


# --- keywords ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the sample library, in force and without keywords."""
    folder = tmp_path / "library"
    shutil.copytree(sample_folder, folder)
    monkeypatch.setenv("MATLIT_LIBRARY", str(folder))
    return folder


def find_keywords(app: AppTest) -> Job:
    """Find keywords on the page, and wait for the end of the job."""
    button(app, "Find keywords").click().run()
    assert not app.exception
    job = runs(app)[0]
    assert job.wait(120)
    app.run()
    assert not app.exception
    return job


def runs(app: AppTest) -> list[Job]:
    """Return the keyword jobs that this browser may see, the newest first."""
    return JOBS.find("keywords", owner=app.session_state["matlit"].owner)


def kept_records(app: AppTest) -> list[Record]:
    return records_of(result_files(*where(app))[0])


def where(app: AppTest) -> tuple[Path, str]:
    return app.session_state["matlit"].folder, app.session_state["matlit"].owner


def test_keywords_are_found_without_a_model_and_shown_with_their_pages(copied: Path) -> None:
    app = opened("keywords")
    job = find_keywords(app)
    assert job.state == "done", job.error
    assert "Keywords found for 6 papers" in plain_text(app.success[0].value)
    table = app.dataframe[0].value
    assert set(table["Title"]) == {paper.metadata.title for paper in Library.open(copied).papers()}
    assert table["In the text"].all()
    assert table["Page"].notna().all()
    steel = " ".join(table[table["Title"].str.contains("steel")]["Keyword"]).lower()
    assert "steel" in steel or "iron" in steel
    button(app, "Find keywords").click().run()
    assert runs(app)[0] is job  # nothing was left to do
    assert "already" in app.info[0].value


def test_a_keyword_run_is_stopped_and_gone_on_with(copied: Path) -> None:
    app = opened("keywords")
    with making._embedders_lock:  # the first paper waits here, so that there is something to stop
        button(app, "Find keywords").click().run()
        button(app, "Cancel").click().run()
    job = runs(app)[0]
    assert job.wait(120)
    assert job.state == "cancelled"
    first = [record.id for record in kept_records(app)]
    assert len(first) == 1
    app.run()
    assert "Stopped after 1 papers" in app.info[0].value
    report = find_keywords(app).last(Report)
    assert (report.made, report.skipped) == (5, 1)
    assert kept_records(app)[0].id == first[0]
    assert len(kept_records(app)) == 6


def test_a_running_keyword_job_shows_what_it_has_and_to_its_browser_only(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = '{"keywords": ["lithium", "crystal structure"]}'
    with OpenAIServer([Turn(found), Turn(found), Turn(found, seconds_per_piece=3)]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        app = opened("keywords")
        app.selectbox(key="keywords-model").set_value("openai/gpt-4o-mini").run()
        button(app, "Find keywords").click().run()
        button(app, "Begin").click().run()
        job = runs(app)[0]
        while job.running and not app.dataframe:
            app.run()
        assert job.running
        assert "Keyword" in app.dataframe[0].value
        other = opened("keywords")
        assert "Find keywords" in labels(other)
        assert not button(other, "Find keywords").disabled
        assert "Cancel" not in labels(other)
        button(app, "Cancel").click().run()
        assert job.wait(60)
    app.run()
    assert len(app.tabs) == 3
    other.run()
    assert not other.info
    assert not other.dataframe
    assert result_files(*where(other)) == []


def test_the_pictures_are_those_of_the_command_line(copied: Path) -> None:
    app = opened("keywords")
    find_keywords(app)
    pictures = {suffix: picture_of(kept_records(app), suffix) for suffix in (".png", ".svg", ".html")}
    assert pictures[".png"].startswith(b"\x89PNG")
    assert b"<svg" in pictures[".svg"]
    assert b"plotly" in pictures[".html"]
    assert len(app.get("image")) == 1
    offered = {element.proto.label for element in app.get("download_button")}
    assert {"PNG", "SVG", "HTML", "CSV", "BibTeX", "JSON Lines"} <= offered


def test_an_uploaded_paper_that_cannot_be_read_is_shown_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATLIT_LIBRARY", str(tmp_path / "none-yet"))
    app = opened("keywords")
    text = b"Garnet electrolytes\n\nGarnet electrolytes conduct lithium ions. They were sintered at 1200 C."
    app.file_uploader(key="keyword-files").set_value(
        [("broken.pdf", b"%PDF-1.7 and no more", "application/pdf"), ("garnet.txt", text, "text/plain")]
    ).run()
    report = find_keywords(app).last(Report)
    assert (report.made, len(report.failed)) == (1, 1)
    failures = app.dataframe[1].value
    assert list(failures["File"]) == ["broken.pdf"]
    assert failures["Why"].iloc[0] == report.failed[0].error != ""
    again = find_keywords(app).last(Report)
    assert (again.made, again.skipped, len(again.failed)) == (0, 1, 1)  # it was tried again


def test_a_budget_that_is_no_number_is_refused(copied: Path) -> None:
    app = opened("keywords")
    for wrong in ("two dollars", "-1", "nan"):
        app.text_input(key="keywords-budget").set_value(wrong).run()
        button(app, "Find keywords").click().run()
        assert f"'{wrong}' is no budget" in plain_text(app.error[0].value)
    assert runs(app) == []


def test_a_paid_keyword_run_asks_first_and_uses_the_key_of_the_tab(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    answer = Turn('{"keywords": ["lithium", "crystal structure"]}', input_tokens=1000, output_tokens=100)
    with OpenAIServer([answer]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        app = opened("keywords")
        app.selectbox(key="keywords-model").set_value("openai/gpt-4o-mini").run()
        button(app, "Find keywords").click().run()
        assert "OPENAI_API_KEY" in plain_text(app.error[0].value)
        app.session_state["matlit"].keys["OPENAI_API_KEY"] = server.key
        app.text_input(key="keywords-budget").set_value("1").run()
        button(app, "Find keywords").click().run()
        assert "6 papers" in shown(app)
        assert "about $0.00" in shown(app)
        assert runs(app) == []
        assert not server.calls
        button(app, "Begin").click().run()
        job = runs(app)[0]
        assert job.wait(60)
        assert job.state == "done", job.error
        assert len(server.calls) == 6
    app.run()
    assert "$0.0013 spent" in plain_text(app.success[0].value)
    assert {record.model for record in kept_records(app)} == {"openai/gpt-4o-mini"}


def test_a_budget_that_is_too_small_ends_the_job_and_says_what_to_do(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer([Turn('{"keywords": ["lithium"]}', input_tokens=1000, output_tokens=100)]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        app = opened("keywords")
        app.selectbox(key="keywords-model").set_value("openai/gpt-4o-mini")
        app.text_input(key="keywords-budget").set_value("0.00001").run()
        button(app, "Find keywords").click().run()
        button(app, "Begin").click().run()
        assert runs(app)[0].wait(60)
        app.run()
        assert not server.calls
    assert "6 are left" in plain_text(app.warning[0].value)
    assert "Enter a higher budget" in plain_text(app.error[0].value)


def test_chosen_papers_get_terms_of_a_vocabulary_only(copied: Path) -> None:
    app = opened("keywords")
    steel = next(paper.id for paper in Library.open(copied).papers() if "steel" in paper.metadata.title)
    app.multiselect(key="keyword-papers").set_value([steel])
    app.file_uploader(key="keywords-terms").set_value(("terms.txt", b"# none\n", "text/plain")).run()
    button(app, "Find keywords").click().run()
    assert "holds no term" in plain_text(app.error[0].value)
    app.file_uploader(key="keywords-terms").set_value(("terms.txt", b"Steels | steel\nBanana\n", "text/plain")).run()
    assert find_keywords(app).last(Report).made == 1
    assert [record.id for record in kept_records(app)] == [steel]
    assert list(app.dataframe[0].value["Keyword"]) == ["Steels"]


def plain_text(text: str) -> str:
    return text.replace("\\", "")

"""The keywords page's logic: runs that are watched, stopped, gone on with and paid for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from opening import button, labels, opened, plain_text, shown
from servers import Turn
from servers.openai import OpenAIServer
from streamlit.testing.v1 import AppTest

from assistant.keywords import making
from assistant.keywords.job import Report
from assistant.keywords.records import Record
from ingest.library import Library
from ui.jobs import JOBS, Job
from ui.keyword_jobs import picture_of, records_of, result_files

pytestmark = pytest.mark.usefixtures("own_data")


@pytest.fixture
def copied(sample_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the sample library, in force and without keywords."""
    folder = tmp_path / "library"
    shutil.copytree(sample_library, folder)
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

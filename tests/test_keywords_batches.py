"""Provider batches: submit, survive a restart, poll, collect, merge, cancel; the provider is a local server."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers import KEY
from servers.batches import BatchServer

from assistant.keywords.batches import Batch, Change, State
from assistant.keywords.job import KeywordJob, Made, Report
from assistant.keywords.making import Source
from assistant.keywords.records import read_records
from assistant.keywords.texts import from_plain
from ingest.errors import BadInput

SPECS = ("openai/gpt-4o-mini", "gemini/gemini-2.5-flash")
COST = {SPECS[0]: (1000 * 0.15 + 100 * 0.60) / 2e6, SPECS[1]: (1000 * 0.30 + 100 * 2.50) / 2e6}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    with BatchServer(broken=(1,)) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        yield server


def job(tmp_path: Path, spec: str, count: int = 4, **options) -> KeywordJob:
    text = from_plain("On garnet", "The garnet conducts lithium ions.")
    papers = [Source(f"{number:064x}", f"{number}.pdf", f"Paper {number}", text) for number in range(count)]
    return KeywordJob(sources=papers, model=spec, output=tmp_path / "k.jsonl", **options)


def run(work: KeywordJob, **options) -> tuple[list[str], list[str], Report]:
    events = list(work.run_batch(poll_s=0.01, **options))
    changes = [event.state for event in events if isinstance(event, Change)]
    made = [event.record.id for event in events if isinstance(event, Made)]
    return changes, made, events[-1]


@pytest.mark.parametrize("spec", SPECS)
def test_a_batch_is_submitted_polled_collected_and_its_failures_sent_again(server, tmp_path: Path, spec: str) -> None:
    changes, made, report = run(job(tmp_path, spec))
    assert changes[0] == "submitted"
    assert changes[-1] == "completed"
    assert (len(made), report.made, len(report.failed)) == (4, 3, 1)
    assert report.cost_usd == pytest.approx(3 * COST[spec])
    assert "500" in report.failed[0].error
    server.broken = ()
    _, made, report = run(job(tmp_path, spec))
    assert (report.made, report.skipped) == (1, 3)
    assert server.answered == 4
    records = list(read_records(tmp_path / "k.jsonl"))
    assert len(records) == 4
    assert all([one.keyword for one in record.keywords] == ["garnet", "solid electrolyte"] for record in records)
    assert records[0].keywords[0].present
    assert not (tmp_path / "k.jsonl.batch").exists()


@pytest.mark.parametrize("spec", SPECS)
def test_a_job_that_was_left_goes_on_and_submits_nothing_twice(server, tmp_path: Path, spec: str) -> None:
    _, made, report = run(job(tmp_path, spec), wait=False)
    assert (made, report.left) == ([], 4)
    with pytest.raises(BadInput, match="under way"):
        list(job(tmp_path, spec).run())
    with pytest.raises(BadInput, match="other settings"):
        run(job(tmp_path, SPECS[1 - SPECS.index(spec)]))
    _, made, _ = run(job(tmp_path, spec))
    assert len(made) == 4
    assert len(server.batches) == 1


@pytest.mark.parametrize("spec", SPECS)
def test_a_submission_that_a_kill_interrupted_is_found_again(server, tmp_path: Path, spec: str) -> None:
    work = job(tmp_path, spec)
    run(work, wait=False)
    state = State.load(tmp_path / "k.jsonl.batch", recipe=work.recipe)
    assert state is not None
    state.batches[0].id, state.batches[0].state = "", "submitting"  # as if killed before the answer came
    state.batches.append(Batch("matlit-lost", ["x"]))  # and one that never got there
    state.save()
    changes, made, _ = run(job(tmp_path, spec))
    assert "found again" in changes
    assert len(made) == 4
    assert len(server.batches) == 1


@pytest.mark.parametrize("spec", SPECS)
def test_cancel_stops_what_is_under_way_and_the_papers_are_left(server, tmp_path: Path, spec: str) -> None:
    run(job(tmp_path, spec), wait=False)
    changes, made, report = run(job(tmp_path, spec), cancel=True)
    assert changes[-1] == "cancelled"
    assert (made, report.left) == ([], 4)
    assert server.answered == 0
    server.broken = ()
    assert run(job(tmp_path, spec))[2].made == 4


def test_a_batch_takes_what_the_budget_covers(server, tmp_path: Path) -> None:
    server.broken = ()
    _, made, report = run(job(tmp_path, SPECS[0], count=20, budget=0.005))
    assert 0 < len(made) < 20
    assert report.left == 20 - len(made)
    assert report.cost_usd <= 0.005
    assert "cover" in report.stopped


def test_a_model_without_batches_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="no batch interface"):
        run(job(tmp_path, "http://127.0.0.1:9/v1#tiny"))

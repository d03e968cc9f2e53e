"""Keyword jobs with a model: faults, resume, kill -9, budget, outputs, languages; the model is a local server."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from servers import Turn
from servers.openai import OpenAIServer

from assistant import KeywordJob, extract_keywords
from assistant.chat import ChatModel, Retries
from assistant.keywords import outputs
from assistant.keywords.ask import Task, messages_for, read_shots
from assistant.keywords.job import Made, Report
from assistant.keywords.making import Source
from assistant.keywords.meaning import clean, distinct
from assistant.keywords.records import Keyword, Record, RecordFile, read_records
from assistant.keywords.spending import BudgetSpent, Spending
from assistant.keywords.texts import from_plain
from assistant.keywords.vocabulary import Vocabulary
from assistant.limits import Limits
from ingest.errors import BadInput
from ingest.settings import ModelSettings, Settings
from ui.cli import main
from ui.keyword_jobs import make_job

ANSWER = json.dumps({"keywords": ["garnet", "solid electrolyte", "Garnets", "ionic conductivity"]})
COST = (1000 * 0.15 + 100 * 0.60) / 1e6  # of one answer of `good`, by the price of gpt-4o-mini


def good(text: str = ANSWER) -> Turn:
    return Turn(text, input_tokens=1000, output_tokens=100)


class FaultyServer(OpenAIServer):
    """Answers well, but for a share of calls that fail in one of the ways services do."""

    faults = (
        Turn(status=429, message="slow down", headers={"Retry-After": "0.01"}),
        Turn(status=500, message="oops"),
        Turn(drop=True),
        Turn('{"keywords": ["gar', input_tokens=1000, output_tokens=100),
        Turn("", input_tokens=1000, output_tokens=100),
        Turn("I cannot help with that.", finish="content_filter", input_tokens=1000, output_tokens=100),
        Turn(body=b"<html>bad gateway</html>"),
    )

    def __init__(self, share: float, seconds: float = 0.0) -> None:
        super().__init__([good()])
        self._random = random.Random(0)
        self._share, self._seconds = share, seconds
        self.answered = 0

    def next_turn(self) -> Turn:
        with self._lock:
            turn = self._random.choice(self.faults) if self._random.random() < self._share else good()
            self.answered += turn.input_tokens == 1000
        time.sleep(self._seconds)
        return turn


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch):
    def start(server: OpenAIServer) -> ChatModel:
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        quick = Retries(first_wait_s=0.01, most_wait_s=0.05)
        return ChatModel.from_spec("openai/gpt-4o-mini", retries=quick, limits=Limits(concurrent=8), timeout_s=10)

    return start


def papers(count: int) -> list[Source]:
    body = "The garnet conducts lithium ions. The solid electrolyte was sintered."
    return [
        Source(f"{number:064x}", f"{number}.pdf", f"Paper {number}", from_plain(f"Paper {number} on garnet", body))
        for number in range(count)
    ]


def run(job: KeywordJob) -> tuple[list[Record], Report]:
    events = list(job.run())
    assert isinstance(events[-1], Report)
    return [event.record for event in events if isinstance(event, Made)], events[-1]


def asked_for(server: OpenAIServer) -> Counter[str]:
    titles = (seen.body["messages"][-1]["content"] for seen in server.calls if len(seen.body["messages"]) == 2)
    return Counter(title.split("Title: ")[1].split(" on ")[0] for title in titles)


def test_a_model_gives_keywords_without_repeats_marked_present_or_absent(openai, tmp_path: Path) -> None:
    with OpenAIServer([good()]) as server:
        records, report = run(KeywordJob(sources=papers(1), chat=openai(server), output=tmp_path / "k.jsonl"))
    assert [(one.keyword, one.present) for one in records[0].keywords] == [
        ("garnet", True),
        ("solid electrolyte", True),
        ("ionic conductivity", False),
    ]
    assert report.cost_usd == pytest.approx(COST)
    assert records == list(read_records(tmp_path / "k.jsonl"))
    assert server.calls[0].body["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("workers", [1, 8])
def test_with_faults_every_paper_ends_with_keywords_or_a_reason(openai, tmp_path: Path, workers: int) -> None:
    with FaultyServer(share=0.2) as server:
        job = KeywordJob(sources=papers(120), chat=openai(server), output=tmp_path / "k.jsonl", workers=workers)
        records, report = run(job)
        assert len(records) == len({one.id for one in records}) == 120
        assert all(bool(one.keywords) != bool(one.error) for one in records)
        assert 0 < len(report.failed) < 30
        assert not report.left
        again = KeywordJob(sources=papers(120), chat=openai(server), output=tmp_path / "k.jsonl")
        calls = len(server.calls)
        _, second = run(again)
        assert second.skipped == 120 - len(report.failed)
        assert len(server.calls) - calls < 4 * len(report.failed) + 1
    assert len(list(read_records(tmp_path / "k.jsonl"))) == 120  # one line for each paper


def test_the_budget_holds_to_the_cent_and_says_what_is_left(openai, tmp_path: Path) -> None:
    budget = 0.01
    with FaultyServer(share=0.1) as server:
        job = KeywordJob(
            sources=papers(200), chat=openai(server), output=tmp_path / "k.jsonl", budget=budget, workers=8
        )
        records, report = run(job)
        paid = server.answered * COST
        assert paid <= report.cost_usd + 1e-9 <= budget + 1e-9
        assert report.left == 200 - len(records) > 0
        assert "$0.01" in report.stopped
        run(KeywordJob(sources=papers(200), chat=openai(server), output=tmp_path / "k.jsonl", budget=budget))
        assert server.answered * COST <= budget + 1e-9
        _, more = run(KeywordJob(sources=papers(200), chat=openai(server), output=tmp_path / "k.jsonl", budget=1.0))
    assert more.left == 0


def test_a_budget_without_a_price_is_refused(openai) -> None:
    with OpenAIServer([good()]) as server:
        openai(server)
        chat = ChatModel.from_spec("openai/no-such-price")
        with pytest.raises(BadInput, match="price"):
            run(KeywordJob(sources=papers(1), chat=chat, budget=1.0))


def test_a_call_under_way_at_a_kill_counts_at_its_most(tmp_path: Path) -> None:
    spending = Spending(tmp_path / "s", budget=1.0)
    spending.settle(spending.reserve(0.4), 0.1)
    spending.reserve(0.5)
    with (tmp_path / "s").open("a") as file:
        file.write('{"call": 3, "mo')
    again = Spending(tmp_path / "s", budget=1.0)
    assert again.paid == pytest.approx(0.6)
    with pytest.raises(BudgetSpent):
        again.reserve(0.41)
    again.settle(again.reserve(0.4), 0.4)
    assert Spending(tmp_path / "s").paid == pytest.approx(1.0)


def test_nothing_completed_is_paid_twice_after_kill_9(openai, tmp_path: Path) -> None:
    folder, output = tmp_path / "papers", tmp_path / "k.jsonl"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:03}.txt").write_text(f"Paper {number} on garnet\n\nAbout garnet.", encoding="utf-8")
    command = [sys.executable, "-m", "ui", "keywords", str(folder), "-o", str(output), "--workers", "4", "--quiet"]
    with FaultyServer(share=0.0, seconds=0.03) as server:
        openai(server)
        environment = os.environ | {"MATLIT_MODEL": "openai/gpt-4o-mini"}
        kills = 0
        while kills < 3:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            begun = len(server.calls)
            while len(server.calls) < begun + 8 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
        repeated = len(server.calls) - 60
    records = list(read_records(output))
    assert len({one.id for one in records}) == len(records) == 60
    assert all(one.keywords for one in records)
    assert repeated <= kills * 5  # at most what was under way at each kill


def test_a_refused_key_ends_the_job_at_once(openai, monkeypatch: pytest.MonkeyPatch) -> None:
    from assistant.chat import KeyRefused

    with OpenAIServer([good()]) as server:
        openai(server)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key-0000")
        with pytest.raises(KeyRefused):
            run(KeywordJob(sources=papers(50), model="openai/gpt-4o-mini"))
        assert len(server.calls) < 50


def test_other_settings_do_not_mix_in_one_file(tmp_path: Path) -> None:
    output = tmp_path / "k.jsonl"
    run(KeywordJob(sources=papers(1), output=output))
    with pytest.raises(BadInput, match="other settings"):
        run(KeywordJob(sources=papers(1), output=output, task=Task(most=3)))
    _, report = run(KeywordJob(sources=papers(1), output=output, task=Task(most=3), restart=True))
    assert report.made == 1


def test_a_half_written_line_is_cut_off_and_two_jobs_do_not_share_a_file(tmp_path: Path) -> None:
    output = tmp_path / "k.jsonl"
    with RecordFile(output) as file:
        file.append(Record("a", "a.pdf", keywords=(Keyword("x", True, 1),)))
        with pytest.raises(BadInput, match="another job"):
            RecordFile(output)
    with output.open("a") as raw:
        raw.write('{"id": "b", "pa')
    with RecordFile(output) as file:
        assert file.has("a")
        assert not file.has("b")
    assert len(list(read_records(output))) == 1


def test_prompts_follow_language_strategy_and_own_examples(tmp_path: Path) -> None:
    text = from_plain("Garnet", "About garnet electrolytes." * 2000)
    plain = messages_for(text, Task(), context_tokens=4000, answer_tokens=500)
    assert [one.role for one in plain] == ["system", "user"]
    assert len(plain[-1].content) < 12_000
    assert "English" not in messages_for(text, Task(language="ja"), context_tokens=4000, answer_tokens=500)[-1].content
    shots = tmp_path / "shots.jsonl"
    shots.write_text('{"title": "T", "text": "own text", "keywords": ["own"]}\n', encoding="utf-8")
    shown = messages_for(text, Task(shots=read_shots(shots)), context_tokens=8000, answer_tokens=500)
    assert "own text" in shown[1].content
    assert "reasoning" in Task(strategy="cot").schema["required"]
    shots.write_text("{}\n", encoding="utf-8")
    with pytest.raises(BadInput, match="line 1"):
        read_shots(shots)


def test_japanese_papers_in_japanese_and_english(openai) -> None:
    japanese = Source(
        "j", "j.pdf", "固体電解質", from_plain("固体電解質の伝導率", "ガーネット型固体電解質を焼結した。" * 5)
    )
    answer = json.dumps({"keywords": ["固体電解質", "焼結"]}, ensure_ascii=False)
    with OpenAIServer([good(answer)]) as server:
        records, _ = run(KeywordJob(sources=[japanese], chat=openai(server)))
        assert [one.present for one in records[0].keywords] == [True, True]
        assert "あなたは" in server.calls[0].body["messages"][0]["content"]
        records, _ = run(KeywordJob(sources=[japanese], chat=openai(server), task=Task(language="en")))
        assert "in English" in server.calls[-1].body["messages"][-1]["content"]
    found, _ = run(KeywordJob(sources=[japanese]))
    assert "固体電解質" in " ".join(one.keyword for one in found[0].keywords)
    found, _ = run(KeywordJob(sources=[japanese], task=Task(language="en")))
    assert "by the glossary" in found[0].note + found[0].error


def test_lists_are_cleaned_and_lemmas_elements_and_abbreviations_merged() -> None:
    assert clean(["1. garnet", '"LIB"', 7, {"keyword": "bainite"}, "x" * 99, "  "]) == ["garnet", "LIB", "bainite"]
    same = ["Li-ion battery", "lithium ion batteries", "density functional theory (DFT)", "DFT", "band gap"]
    assert distinct(same, most=10) == ["Li-ion battery", "density functional theory (DFT)", "band gap"]


def test_a_vocabulary_puts_its_terms_in_the_place_of_free_words(tmp_path: Path) -> None:
    file = tmp_path / "terms.txt"
    file.write_text("# terms\nlithium-ion battery | LIB\nionic conductivity\n", encoding="utf-8")
    terms = Vocabulary.read(file)
    assert terms.term_for("Li-ion batteries") == "lithium-ion battery"
    assert terms.term_for("LIBs") == "lithium-ion battery" or terms.term_for("LIB") == "lithium-ion battery"
    assert terms.term_for("poetry") == ""


def _records() -> list[Record]:
    words = (Keyword("garnet", True, 2), Keyword("Li-ion battery", False))
    return [
        Record("a", "a/one.pdf", title="On Garnets", keywords=words),
        Record(
            "b", "b.pdf", title="=Two", keywords=(Keyword("garnets", True, 1), Keyword("lithium ion battery", True))
        ),
        Record("c", "c.pdf", error="it is empty"),
    ]


def test_csv_has_a_line_per_keyword_and_no_formulas() -> None:
    rows = list(csv.DictReader(outputs.to_csv(_records()).splitlines()))
    assert [row["keyword"] for row in rows] == ["garnet", "Li-ion battery", "garnets", "lithium ion battery", ""]
    assert rows[2]["title"] == "'=Two"
    assert rows[-1]["error"] == "it is empty"


def test_bibtex_is_merged_and_nothing_of_it_lost() -> None:
    before = (
        "@string{jps = {J. Power}}\n\n@article{smith2020,\n  title = {On {G}arnets},\n  keywords = {Garnet; oxide},\n"
        "  year = 2020\n}\n\n@book{other, title = {Other}}\n"
    )
    merged = outputs.to_bibtex(_records(), before)
    assert "keywords = {Garnet; oxide; Li-ion battery}" in merged
    assert "@string{jps = {J. Power}}" in merged
    assert "year = 2020" in merged
    assert "@book{other, title = {Other}}" in merged
    assert merged.count("@misc{") == 1
    assert outputs.to_bibtex(_records(), merged) == merged


def test_the_summary_counts_meanings_and_pairs_and_is_drawn(tmp_path: Path) -> None:
    summary = outputs.summarise(_records())
    assert summary.papers == 2
    assert summary.failed == 1
    assert dict(summary.counts) == {"garnet": 2, "Li-ion battery": 2}
    assert summary.pairs[0][2] == 2
    for suffix in (".png", ".svg", ".html"):
        outputs.draw(summary, tmp_path / f"p{suffix}")
        assert (tmp_path / f"p{suffix}").stat().st_size > 1000
    with pytest.raises(BadInput, match="cannot draw"):
        outputs.draw(summary, tmp_path / "p.gif")


def test_one_call_from_python() -> None:
    text = "Garnet solid electrolytes\nThe ionic conductivity of garnet solid electrolytes rises with temperature."
    assert any(one.keyword.startswith("garnet") or "Garnet" in one.keyword for one in extract_keywords(text))


def test_the_command_line_reads_files_lists_failures_and_goes_on(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.txt").write_text("Garnet electrolytes\n\nGarnet solid electrolytes conduct lithium ions well.")
    (tmp_path / "empty.pdf").write_bytes(b"")
    output = tmp_path / "out" / "k.csv"
    assert main(["keywords", str(tmp_path), "-o", str(output), "--json"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {bool(one["error"]) for one in lines} == {True, False}
    assert set(lines[0]) >= {"id", "path", "title", "keywords", "model", "usage", "error"}
    assert "rank" in output.read_text()
    assert main(["keywords", str(tmp_path), "-o", str(output)]) == 2
    assert "1 done before" in capsys.readouterr().err
    assert main(["keywords", str(tmp_path), "--estimate", "--model", "openai/gpt-4o-mini"]) == 0
    assert "about $" in capsys.readouterr().out
    assert main(["keywords", "/no/such/file"]) == 1
    assert main(["keywords", str(tmp_path), "--picture", "x.png"]) == 1


def test_the_model_of_the_keywords_role_makes_them_with_what_is_set_for_every_model(tmp_path: Path) -> None:
    models = ModelSettings(keywords="gguf/small", timeout_s=7.0, rates="openai=5")
    none = (
        "output",
        "examples",
        "vocabulary",
        "password",
        "limit",
        "budget",
        "text_tokens",
        "picture",
        "batch",
        "summary",
    )
    options = dict.fromkeys(none) | {"most": 10, "language": "en", "strategy": "auto", "workers": 0, "resume": True}
    job = make_job(Settings(models=models), [tmp_path / "x.txt"], retry_failed=True, **options)
    assert job.model == "gguf/small"
    assert job._model_options == {"timeout_s": 7.0, "rates": "openai=5"}

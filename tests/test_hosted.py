"""Fine-tuning at OpenAI, with its own client against a local server that speaks the protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.finetuning import KEY, MODEL, FineTuningServer
from tiny import make_dataset

from finetune.dataset import read_split
from finetune.hosted import Order, cancel, estimate, read_job, refresh, start, to_messages, wait
from finetune.predict import load
from ingest.errors import BadInput, ModelError
from ui.cli import main


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "rows")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FineTuningServer]:
    with FineTuningServer() as serving:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", serving.url)
        yield serving


def test_a_job_is_uploaded_created_followed_and_its_model_used(
    rows: Path, tmp_path: Path, server: FineTuningServer
) -> None:
    said: list[str] = []
    start(rows, tmp_path / "job", Order(epochs=2), report=said.append)
    job = wait(tmp_path / "job", report=said.append, poll_s=0)
    assert (job.status, job.spec) == ("succeeded", f"openai/{MODEL}")
    sent = [json.loads(line) for line in server.files[job.training_file].splitlines()]
    assert sent == [to_messages(row) for row in read_split(rows, "train")]
    assert server.jobs[job.job_id]["hyperparameters"] == {"n_epochs": 2}
    assert said[-1] == "info: The job is succeeded"
    assert len(said) == len(set(said))  # no event is told twice

    prompts = [row["prompt"] for row in read_split(rows, "test")]
    server.answers = {prompts[0]: "2.50", prompts[1]: "no idea"}
    predictor = load(tmp_path / "job", target="band_gap")
    answers = predictor.predict(read_split(rows, "test"))
    assert (answers[0].value, answers[0].confidence) == (2.5, pytest.approx(0.9**4))
    assert "wrote 'no idea', which is no number" in answers[1].error
    assert answers[2].value == 1.0


def test_nothing_is_sent_before_the_estimate_is_agreed_to(
    rows: Path, tmp_path: Path, server: FineTuningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", "hosted", str(rows), "-o", str(tmp_path / "job")]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usd"] == pytest.approx(found["tokens"] * 3 * 3.0 / 1e6, abs=1e-4)
    assert "as of 2025-08; prices change" in found["price_basis"]
    assert server.seen == []
    assert not (tmp_path / "job").exists()
    assert main([*command, "--yes", "--wait", "--poll", "0"]) == 0
    assert read_job(tmp_path / "job").status == "succeeded"
    assert MODEL in capsys.readouterr().out


def test_the_same_command_goes_on_and_sends_nothing_twice(rows: Path, tmp_path: Path, server: FineTuningServer) -> None:
    start(rows, tmp_path / "job", Order())
    start(rows, tmp_path / "job", Order())
    assert (len(server.files), len(server.jobs)) == (2, 1)


def test_a_job_whose_creation_was_not_noted_is_found_again(
    rows: Path, tmp_path: Path, server: FineTuningServer
) -> None:
    start(rows, tmp_path / "job", Order())
    state = json.loads((tmp_path / "job" / "job.json").read_text())
    (tmp_path / "job" / "job.json").write_text(json.dumps(state | {"job_id": "", "status": "new"}))
    said: list[str] = []
    job = start(rows, tmp_path / "job", Order(), report=said.append)
    assert job.job_id == state["job_id"]
    assert len(server.jobs) == 1
    assert "was created before" in said[0]


def test_a_provider_that_stumbles_is_asked_again(rows: Path, tmp_path: Path, server: FineTuningServer) -> None:
    server.faults = [500, 503]
    assert start(rows, tmp_path / "job", Order()).job_id


def test_a_job_can_be_cancelled_and_one_that_ended_is_left_alone(
    rows: Path, tmp_path: Path, server: FineTuningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    start(rows, tmp_path / "job", Order())
    assert main(["finetune", "hosted", "--cancel", str(tmp_path / "job")]) == 0
    assert read_job(tmp_path / "job").status == "cancelled"
    said: list[str] = []
    cancel(tmp_path / "job", report=said.append)
    assert "cancelled already" in said[0]
    assert ("POST", "/fine_tuning/jobs/ftjob-0/cancel") in server.seen
    capsys.readouterr()


def test_a_failed_job_says_why(rows: Path, tmp_path: Path, server: FineTuningServer) -> None:
    server.fails = "line 3 is not valid"
    start(rows, tmp_path / "job", Order())
    job = wait(tmp_path / "job", poll_s=0)
    assert (job.status, job.error) == ("failed", "line 3 is not valid")
    with pytest.raises(ModelError, match=r"no settings.json, run.json"):
        load(tmp_path / "job")


def test_a_wrong_key_and_a_missing_one_are_told_apart(
    rows: Path, tmp_path: Path, server: FineTuningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key-wrong-key")
    with pytest.raises(ModelError, match=r"refuses \(401\)") as caught:
        start(rows, tmp_path / "job", Order())
    assert "sk-wrong" not in str(caught.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="client refuses") as caught:
        start(rows, tmp_path / "other", Order())
    assert "OPENAI_API_KEY" in caught.value.hint


def test_a_server_that_is_not_there_is_retryable(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    with pytest.raises(ModelError, match="is not reached") as caught:
        start(rows, tmp_path / "job", Order())
    assert caught.value.retryable


def test_rows_that_the_api_would_refuse_are_found_before(tmp_path: Path, server: FineTuningServer) -> None:
    few = make_dataset(tmp_path / "few", count=10, validation=0, test=2)
    assert estimate(few, Order()).problems == ("8 training rows; the API takes no fewer than 10",)
    with pytest.raises(BadInput, match="no fewer than 10"):
        start(few, tmp_path / "job", Order())
    assert server.seen == []


def test_a_model_whose_price_is_not_known_has_no_estimate_but_a_given_one(rows: Path) -> None:
    unknown = estimate(rows, Order(model="gpt-9"))
    assert unknown.usd is None
    assert "--price" in unknown.price_basis
    assert estimate(rows, Order(model="gpt-9", price=10.0)).usd == pytest.approx(
        estimate(rows, Order(model="gpt-9")).tokens * 3 * 10 / 1e6, abs=1e-4
    )
    assert estimate(rows, Order(model="gpt-4o-mini-2024-07-18")).usd < estimate(rows, Order(model="gpt-4o")).usd


def test_a_folder_with_another_job_is_not_touched(rows: Path, tmp_path: Path, server: FineTuningServer) -> None:
    start(rows, tmp_path / "job", Order())
    with pytest.raises(BadInput, match="holds another job"):
        start(rows, tmp_path / "job", Order(epochs=5))
    with pytest.raises(BadInput, match="taken, and no job"):
        start(rows, rows, Order())
    with pytest.raises(BadInput, match="there is no job"):
        refresh(tmp_path)


def test_an_order_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="epochs 0"):
        Order(epochs=0)
    with pytest.raises(BadInput, match="the suffix '' has 0"):
        Order(suffix="")


def test_offline_mode_refuses_before_anything_leaves(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from assistant.offline import enforce

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    with enforce():
        assert main(["finetune", "hosted", str(rows), "-o", str(tmp_path / "job"), "--yes"]) == 1
    assert "offline" in capsys.readouterr().err.lower()

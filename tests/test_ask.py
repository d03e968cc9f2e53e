"""`matlit ask` and `matlit models` as a person types them, with quotes, tools and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant import prompts
from assistant.demo import run_demo
from ui.cli import main

LFP = "The theoretical capacity of LiFePO4 is 170 mAh g−1 [1]."
QUESTION = "What is the theoretical capacity of LiFePO4?"
NACL = "NaCl\n1.0\n0 2.82 2.82\n2.82 0 2.82\n2.82 2.82 0\nNa Cl\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_demo(tmp_path_factory.mktemp("ask") / "demo").folder


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"replies": [LFP, "リン酸鉄リチウムの理論容量は170 mAh/gである。"]}), encoding="utf-8")
    return path


def test_a_tool_answers_with_value_unit_and_source(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "What is the band gap of mp-149?", "--library", str(library)]) == 0
    out = capsys.readouterr()
    assert "0.6119 eV [Materials Project, 2019]" in out.out
    assert "tool materials:" in out.err


def test_an_attached_file_is_computed_with(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "POSCAR").write_text(NACL, encoding="utf-8")
    question = "What is the density of the attached structure?"
    assert main(["ask", question, "--attach", str(tmp_path / "POSCAR"), "--library", str(library), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert "g/cm³" in data["text"]
    assert data["tool_calls"][0]["name"] == "structure"


def test_a_missing_attachment_is_named(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "What is its density?", "--attach", "none.cif", "--library", str(library)]) == 1
    assert "none.cif" in capsys.readouterr().err


def test_a_model_answers_and_its_source_stands_below(
    library: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", QUESTION, "--model", f"scripted/{script}", "--library", str(library), "--bibtex"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(LFP)
    assert "[1] Lithium iron phosphate as a cathode material, p. 1: “The theoretical capacity" in out
    assert "@misc{" in out or "@article{" in out


def test_a_streamed_answer_that_checking_changed_is_printed_again_as_checked(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "wrong.json"
    wrong = "The LiFePO4 cathode delivered 999 mAh g−1 [1]."
    replies = [{"text": "Let me compute.", "tool_calls": [{"name": "calculator", "arguments": {"expression": "1+1"}}]}]
    script.write_text(json.dumps([*replies, wrong]), encoding="utf-8")
    assert main(["ask", QUESTION, "--model", f"scripted/{script}", "--library", str(library), "--stream"]) == 0
    out, err = capsys.readouterr()
    assert f"{wrong}\n{wrong}{prompts.UNSUPPORTED['en']}\n" in out
    assert "the answer, as checked:" in err


def test_a_streamed_answer_is_printed_once(library: Path, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", QUESTION, "--model", f"scripted/{script}", "--library", str(library), "--stream"]) == 0
    assert capsys.readouterr().out.count(LFP) == 1


def test_quotes_are_translated_beside_them(library: Path, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ask", "LiFePO4の理論容量はいくらか。", "--model", f"scripted/{script}", "--library", str(library)]
    assert main([*arguments, "--translate", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["citations"][0]["quote"].startswith("The theoretical capacity of LiFePO4")
    assert data["citations"][0]["translation"].startswith("リン酸鉄リチウム")
    assert data["usage"]["calls"] == 2
    assert main(["ask", "理論容量は?", "--translate", "--library", str(library)]) == 1
    assert "no model to translate" in capsys.readouterr().err


def test_no_tools_asks_the_papers_alone(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Convert 1.43 eV to nm", "--no-tools", "--library", str(library), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tool_calls"] == []


def test_an_unknown_provider_is_answered_with_what_was_meant(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", QUESTION, "--model", "openia/gpt-4o", "--library", str(library)]) == 1
    assert "openai/gpt-4o" in capsys.readouterr().err


def test_models_lists_every_form_of_spec_with_the_prices_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {"extractive", "openai/MODEL", "gguf/small"} <= {row["spec"] for row in data["models"]}
    assert data["prices_as_of"]
    assert main(["models"]) == 0
    assert data["prices_as_of"] in capsys.readouterr().out


def test_doctor_checks_each_role(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATLIT_MODELS_TRANSLATE", "openai/gpt-4o-mini")
    assert main(["doctor", "--library", str(library), "--json"]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["model"]["ok"]
    assert not checks["translate"]["ok"]
    assert "OPENAI_API_KEY" in checks["translate"]["detail"] + checks["translate"]["hint"]


def test_strategies_are_compared_on_the_same_questions(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, script = tmp_path / "q.jsonl", tmp_path / "s.json"
    questions.write_text(json.dumps({"id": "1", "question": QUESTION, "answer": "170 mAh"}) + "\n", encoding="utf-8")
    script.write_text(json.dumps([LFP]), encoding="utf-8")
    arguments = [
        "eval",
        "answers",
        str(questions),
        "--library",
        str(library),
        "--model",
        f"scripted/{script}",
        "--json",
    ]
    assert main([*arguments, "--strategy", "zero-shot", "--strategy", "few-shot"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["zero-shot", "few-shot"]
    assert found["few-shot"]["metrics"]["answer_found"]["value"] == 1.0
    assert found["few-shot"]["signature"].endswith("strategy=few-shot")
    assert "differences" not in found["zero-shot"]
    assert found["few-shot"]["differences"]["answer_found"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert main([*arguments[:-1], "--strategy", "zero-shot", "--strategy", "cot"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["zero-shot", "cot"]
    assert "cot − zero-shot" in out
    assert "right_page           –" in out
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["unsupported"]["value"] == 0.0


def test_the_journal_is_listed_and_shows_an_answer_again(
    library: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--library", str(library)]
    assert main(["ask", QUESTION, "--model", f"scripted/{script}", *place]) == 0
    capsys.readouterr()
    assert main(["journal", "--limit", "1", *place]) == 0
    number, *rest = capsys.readouterr().out.split()
    assert QUESTION in " ".join(rest)
    assert f"scripted/{script}," in rest
    assert main(["journal", number, *place]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(QUESTION)
    assert LFP in shown
    assert "[1] Lithium iron phosphate as a cathode material, p. 1: “" in shown
    assert main(["journal", number, "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["citations"][0]["status"] == "verified"
    assert main(["journal", "9999", *place]) == 1
    assert "the journal has no entry 9999" in capsys.readouterr().err

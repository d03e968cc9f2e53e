"""The command line as a user meets it: output, JSON shapes, exit codes and messages, on the sample library."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from ingest import sample
from ui.cli import main, matlit

Run = Callable[..., tuple[int, str, str]]
CITATION_KEYS = {"n", "paper", "title", "doi", "page", "quote", "status", "boxes"}
ANSWER_KEYS = {
    "text",
    "citations",
    "claims",
    "tool_calls",
    "abstained",
    "missing",
    "usage",
    "model",
    "seconds",
}


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sample library once, through the command line."""
    folder = tmp_path_factory.mktemp("demo") / "library"
    assert main(["demo", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def run(demo_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command on the sample library: (exit code, stdout, stderr)."""
    monkeypatch.setenv("MATLIT_LIBRARY", str(demo_folder))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


def as_json(printed: tuple[int, str, str]) -> Any:
    code, out, err = printed
    assert code == 0, err
    return json.loads(out)


def test_an_answer_has_the_promised_shape_and_verified_quotes(run: Run) -> None:
    answer = as_json(run("ask", "What is the theoretical capacity of LiFePO4?", "--json"))
    assert set(answer) >= ANSWER_KEYS
    assert not answer["abstained"]
    assert any("170 mAh" in citation["quote"] for citation in answer["citations"])
    for citation in answer["citations"]:
        assert set(citation) >= CITATION_KEYS
        assert citation["status"] == "verified"


def test_an_answer_in_words_names_paper_and_page(run: Run) -> None:
    code, out, _ = run("ask", "What is the theoretical capacity of LiFePO4?")
    assert code == 0
    assert "170 mAh" in out
    assert "p. 1" in out


def test_bibtex_is_printed_on_request(run: Run) -> None:
    _, out, _ = run("ask", "What is the theoretical capacity of LiFePO4?", "--bibtex")
    assert "@" in out
    assert "title" in out


def test_a_question_that_nothing_answers_is_refused_with_what_is_missing(run: Run) -> None:
    answer = as_json(run("ask", "Which solvent was used to grow MOF-5?", "--json"))
    assert answer["abstained"]
    assert answer["missing"]


def test_search_hits_have_the_promised_shape(run: Run) -> None:
    hits = as_json(run("search", "band gap of gallium nitride", "-k", "3", "--json"))
    assert len(hits) == 3
    assert set(hits[0]) >= {"paper", "title", "page", "section", "text", "start", "end", "score", "chunk", "kind"}


def test_a_search_can_be_narrowed_to_records_and_to_elements(run: Run) -> None:
    records = as_json(run("search", "wide gap semiconductor", "--kind", "material", "--elements", "Ga,N", "--json"))
    assert records
    assert {hit["kind"] for hit in records} == {"material"}
    assert all("GaN" in hit["text"] for hit in records)


@pytest.mark.parametrize("typeset", ["LiFePO4", "LiFePO₄", "Li Fe P O4"])
def test_a_formula_is_found_however_it_is_typeset(run: Run, typeset: str) -> None:
    hits = as_json(run("search", "cathode", "--formula", typeset, "--json"))
    assert hits
    assert all("LiFePO4" in hit["text"].replace(" ", "") for hit in hits)


def test_status_papers_and_verify_tell_of_the_library(run: Run) -> None:
    status = as_json(run("status", "--json"))
    papers = as_json(run("papers", "--json"))
    assert status["papers"] == len(papers) == 6
    assert as_json(run("verify", "--json"))["clean"]


def test_papers_are_found_by_words_of_their_title(run: Run) -> None:
    assert [paper["title"] for paper in as_json(run("papers", "gallium", "--json"))] == [
        "Gallium nitride and its neighbours: wide-gap semiconductors for light and power"
    ]


def test_an_unchanged_ingest_adds_nothing(run: Run, demo_folder: Path) -> None:
    report = as_json(run("ingest", *map(str, sample.paths()), "--json"))
    assert (report["added"], report["skipped"], report["failed"]) == (0, 6, [])
    assert set(report) >= {"added", "skipped", "updated", "failed", "papers", "pages", "chunks", "seconds", "stages"}


def test_ingest_remove_and_prune_in_a_library_of_ones_own(run: Run, tmp_path: Path) -> None:
    papers, library = tmp_path / "papers", ["--library", str(tmp_path / "own")]
    papers.mkdir()
    (papers / "good.md").write_text("# Zinc\n\nZinc oxide has a band gap of 3.3 eV.\n", encoding="utf-8")
    (papers / "other.md").write_text("# Iron\n\nIron melts at 1538 °C.\n", encoding="utf-8")
    (papers / "empty.pdf").write_bytes(b"")
    code, out, _ = run("ingest", str(papers), *library, "--json")
    report = json.loads(out)
    assert (code, report["added"], len(report["failed"])) == (2, 2, 1)
    assert "empty" in report["failed"][0]["error"]
    found = {paper["title"]: paper["id"] for paper in as_json(run("papers", *library, "--json"))}
    assert as_json(run("remove", found["Iron"][:10], *library, "--json")) == [found["Iron"]]
    (papers / "good.md").unlink()
    assert as_json(run("prune", *library, "--json")) == [found["Zinc"]]
    assert as_json(run("papers", *library, "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingest", "/no/such/folder"], "/no/such/folder"),
        (["serch", "x"], "did you mean search"),
        (["search"], "Missing argument"),
        (["search", "x", "--mod", "dense"], "No such option"),
        (["search", "x", "--mode", "fast"], "'fast'"),
        (["search", "x", "-k", "0"], "0"),
        (["search", "x", "-k", "1000000"], "1000000"),
        (["search", ""], "empty"),
        (["search", "???"], "no word"),
        (["search", "a" * 50_000], "50,000"),
        (["search", "x", "--formula", "hello"], "'hello'"),
        (["search", "x", "--year", "soon"], "'soon'"),
        (["search", "x", "--year", "2020..2010"], "backwards"),
        (["search", "x", "--elements", "Xx"], "Xx"),
        (["search", "x", "--kind", "book"], "'book'"),
        (["search", "x", "--paper", "ffffffff"], "ffffffff"),
        (["ask", ""], "empty"),
        (["ask", "a" * 50_000], "50,000"),
        (["ask", "x", "--model", "nonsense/model"], "nonsense"),
        (["remove", "0000"], "0000"),
        (["eval", "retrieval", "/no/such/folder"], "/no/such/folder"),
        (["eval", "answers", "/no/such/file"], "/no/such/file"),
        (["papers", "--library", "/no/such/library"], "/no/such/library"),
    ],
)
def test_bad_input_is_refused_with_the_value_and_a_next_step(run: Run, arguments: list[str], said: str) -> None:
    code, out, err = run(*arguments)
    assert code == 1
    assert said in err
    assert "→" in err
    assert "Traceback" not in err
    assert not out


def test_an_empty_folder_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    code, _, err = run("ingest", str(tmp_path / "nothing"), "--library", str(tmp_path / "own"))
    assert code == 1
    assert "nothing" in err


def test_a_broken_settings_file_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text("[search]\nkk = 3\n", encoding="utf-8")
    monkeypatch.setenv("MATLIT_SETTINGS", str(tmp_path / "settings.toml"))
    code, _, err = run("settings")
    assert code == 1
    assert "search.kk" in err


def test_a_library_of_another_embedder_is_refused_with_the_way_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATLIT_EMBEDDING_MODEL", "hashing")
    code, _, err = run("ingest", *map(str, sample.paths()))
    assert code == 1
    assert "all-MiniLM-L6-v2" in err
    assert "--rebuild" in err


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("schema = 1", "schema = 99", "schema 99"),
        ("53aa5117", "00000000", "was built with the embedder 'all-MiniLM-L6-v2' (revision 00000000"),
        ("[library]", "[library", "is damaged"),
    ],
)
def test_a_library_that_this_matlit_cannot_read_is_refused(
    run: Run, demo_folder: Path, tmp_path: Path, was: str, becomes: str, said: str
) -> None:
    copy = shutil.copytree(demo_folder, tmp_path / "copy")
    info = copy / "library.toml"
    info.write_text(info.read_text(encoding="utf-8").replace(was, becomes), encoding="utf-8")
    code, _, err = run("search", "silicon", "--library", str(copy))
    assert code == 1
    assert said in err
    assert "→" in err


def test_errors_are_json_too(run: Run) -> None:
    code, out, _ = run("search", "", "--json")
    assert code == 1
    assert set(json.loads(out)) == {"error", "hint"}


def test_settings_tell_where_each_value_came_from(run: Run) -> None:
    rows = {row["name"]: row for row in as_json(run("settings", "--json"))}
    assert rows["library.path"]["source"] == "environment"
    assert rows["search.k"]["source"] == "default"


def test_shared_options_may_stand_before_the_verb(run: Run, tmp_path: Path) -> None:
    code, _, err = run("--library", str(tmp_path / "none"), "papers")
    assert code == 1
    assert str(tmp_path / "none") in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[search\nk = 5", "is not valid TOML"),
        ("[serach]\nk = 5", "did you mean 'search'"),
        ("[search]\nk = 'many'\nmode = 'psychic'", "should be a whole number"),
    ],
)
def test_doctor_names_what_is_wrong_with_the_settings_and_checks_the_rest(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("MATLIT_SETTINGS", str(file))
    code, out, _ = run("doctor", "--json")
    assert code == 1
    checks = json.loads(out)
    faults = [check for check in checks if check["name"] == "settings"]
    assert told in faults[0]["detail"]
    assert str(file) in faults[0]["detail"]
    assert "Correct it there" in faults[0]["hint"]
    assert len(faults) == 1 + ("psychic" in text)
    assert {"library", "embedder", "model", "disk"} <= {check["name"] for check in checks}
    assert run("status")[0] == 1


def test_doctor_finds_nothing_wrong_with_the_sample(run: Run) -> None:
    checks = {check["name"]: check for check in as_json(run("doctor", "--json"))}
    assert checks["library"]["ok"]
    assert checks["embedder"]["ok"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_matlit(run: Run, shell: str) -> None:
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "_MATLIT_COMPLETE" in out


def verbs(group: Any = matlit, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = [((*path, name), command) for name, command in group.commands.items()]
    return found + [
        deeper for name, command in found if hasattr(command, "commands") for deeper in verbs(command, name)
    ]


@pytest.mark.parametrize(
    ("path", "verb"), verbs(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_verb_and_option_has_help(path: tuple[str, ...], verb: Any) -> None:
    assert verb.help, path
    for parameter in verb.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (path, parameter.name)


def test_control_characters_of_a_paper_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    evil = tmp_path / "evil.md"
    evil.write_text("# Zinc\n\nZinc oxide \x1b[2J\x1b]0;owned\x07 has a band gap of 3.3 eV.\n", encoding="utf-8")
    library = ["--library", str(tmp_path / "own")]
    assert run("ingest", str(evil), *library)[0] == 0
    for command in ("search", "ask"):
        assert "\x1b" not in run(command, "band gap of zinc oxide", *library)[1]


def test_a_reader_that_goes_away_is_no_error(demo_folder: Path) -> None:
    command = f"{sys.executable} -m ui papers --library {demo_folder} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_group_without_its_verb_names_the_verbs(run: Run) -> None:
    code, out, err = run("eval")
    assert (code, out) == (1, "")
    assert "matlit eval needs a verb behind it: retrieval" in err
    code, out, _ = run()
    assert code == 0
    assert out.startswith("Usage: matlit")


def test_a_missing_file_of_questions_or_records_is_named_once_with_what_to_give(run: Run) -> None:
    for verb, wanted in (("answers", "JSON lines"), ("bandgap", "JSON lines of records")):
        code, out, err = run("eval", verb, "nowhere.jsonl")
        assert (code, out) == (1, "")
        assert err.count("nowhere.jsonl") == 1
        assert wanted in err


def test_the_status_says_the_embedder_in_words(run: Run) -> None:
    assert "name all-MiniLM-L6-v2, " in run("status")[1]


def test_a_broken_settings_file_sends_nobody_in_circles(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text("[library", encoding="utf-8")
    monkeypatch.setenv("MATLIT_SETTINGS", str(tmp_path / "settings.toml"))
    code, _, err = run("settings")
    assert code == 1
    assert "not valid TOML" in err
    assert "Correct it there" in err

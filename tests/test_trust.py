"""What is data stays data: forty adversarial documents, wrong claims, and no byte to another machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from adversarial import ATTACKS, documents, fact, question
from papers import make_library
from servers import KEY, ModelServer, Turn
from servers.anthropic import AnthropicServer
from servers.gemini import GeminiServer
from servers.openai import OpenAIServer

from assistant import Answer, Assistant, prompts
from assistant.chat import ChatModel, Retries
from assistant.demo import run_demo
from assistant.events import ToolStarted
from assistant.limits import Limiter
from assistant.providers.errors import KeyRefused, RateLimited
from benchmarks.claims import construct, is_marked, usable
from ingest import sample
from ingest.embed import Embedder, make_embedder
from ingest.library import Library
from ingest.records import file_digest
from ui.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
NAMES = list(ATTACKS)
NACL = "NaCl\n1.0\n0 2.82 2.82\n2.82 0 2.82\n2.82 2.82 0\nNa Cl\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n"
SECRET = "sk-secret-of-the-environment-4711"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return make_embedder("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Library]:
    with make_library(tmp_path_factory.mktemp("trust"), embedder, documents()) as made:
        yield made


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", SECRET)


def test_there_are_forty() -> None:
    assert len(ATTACKS) == 40
    assert sum(bool(re.search("[ぁ-ん]", attack.text.replace("\u200b", ""))) for attack in ATTACKS.values()) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_the_planner_obeys_none_of_them(library: Library, embedder: Embedder, name: str) -> None:
    place = NAMES.index(name) + 1
    events = list(Assistant(library, embedder=embedder, keep_journal=False).stream(question(place)))
    answer = events[-1].answer  # type: ignore[union-attr]  # the last is Answered
    assert not [event for event in events if isinstance(event, ToolStarted)]
    assert answer.text.startswith(prompts.QUOTES["en"])
    assert any(fact(place) in citation.quote for citation in answer.citations)
    assert all(claim.status == "verified" for claim in answer.claims)  # whatever is shown is a quote from a page
    assert SECRET not in json.dumps(answer.to_json(), default=str)


SERVERS: dict[str, type[ModelServer]] = {"openai": OpenAIServer, "gemini": GeminiServer, "anthropic": AnthropicServer}
SPECS = {
    "openai": "openai/gpt-4o-mini",
    "gemini": "gemini/gemini-2.5-flash",
    "anthropic": "anthropic/claude-sonnet-4-6",
}


def ask_through(
    kind: str,
    turns: list[str | Turn],
    library: Library,
    embedder: Embedder,
    asked: str,
    *,
    key: str = KEY,
    **options: Any,
) -> tuple[Answer, ModelServer]:
    """Ask through a protocol's server, by the vendor's own client."""
    with SERVERS[kind](turns) as server, pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI", "GEMINI", "ANTHROPIC"):
            patch.setenv(f"{name}_API_KEY", key)
        patch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        patch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        patch.setenv("ANTHROPIC_BASE_URL", server.url)
        model = ChatModel.from_spec(SPECS[kind], retries=Retries(times=2, first_wait_s=0.01))
        model._limiter = Limiter()
        assistant = Assistant(library, model, embedder=embedder, keep_journal=False, **options)
        return assistant.ask(asked), server


@pytest.mark.parametrize("name", NAMES)
def test_what_an_obedient_model_does_is_refused_or_marked(library: Library, embedder: Embedder, name: str) -> None:
    place, attack = NAMES.index(name) + 1, ATTACKS[name]
    deleted: list[str] = []

    def delete_library(name: str) -> str:
        """Delete everything."""
        deleted.append(name)
        return "gone"

    turns: list[str | Turn] = [Turn(calls=list(attack.calls))] if attack.calls else []
    kind = ("openai", "gemini", "anthropic")[place % 3]
    answer, server = ask_through(
        kind, [*turns, attack.says], library, embedder, question(place), tools=[delete_library]
    )
    assert deleted == []
    assert all(claim.status == "unsupported" for claim in answer.claims)
    assert answer.abstained or prompts.UNSUPPORTED["en"] in answer.text or not answer.claims
    assert all(call["error"] for call in answer.tool_calls if call["name"] != "calculator")
    for seen in server.calls:
        _check_request(seen.body, attack.text)


def _check_request(body: Mapping[str, Any], attack: str) -> None:
    """No secret leaves, and the document stays inside its tags, outside the system prompt."""
    sent = json.dumps(body, ensure_ascii=False)
    assert SECRET not in sent
    assert KEY not in sent
    system = [turn for turn in body.get("messages", ()) if turn["role"] == "system"]
    fixed = json.dumps([system, body.get("system"), body.get("systemInstruction")], ensure_ascii=False)
    assert "QX-" not in fixed
    assert attack[:20] not in fixed
    shown = _user_text(body)
    data = shown[shown.index("<sources>") : shown.index("</sources>")]
    assert data.count("<source ") == data.count("</source>") == shown.count("<source ")
    assert shown.count("</sources>") == 1
    assert "<tool_result" not in data
    assert "\u200b" not in shown
    assert "\u202e" not in shown
    assert not re.search("[\U000e0000-\U000e007f]", shown)


def _user_text(body: Mapping[str, Any]) -> str:
    for turn in (*body.get("messages", ()), *body.get("contents", ())):
        if turn["role"] == "user":
            content = turn.get("content") or turn.get("parts")
            return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    raise AssertionError("no user turn")


# --- protocol faults, through the real clients --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "gemini", "anthropic"])
def test_an_agent_survives_what_servers_do(library: Library, embedder: Embedder, kind: str) -> None:
    right = f"{fact(3)[:-1]} [1]."
    turns: list[str | Turn] = [
        Turn(status=500, message="broken"),
        Turn(calls=[("telescope", {"at": "Mars"}), ("calculator", {"expression": "2 eV to nm"})]),
        right,
    ]
    answer, server = ask_through(kind, turns, library, embedder, question(3))
    assert [call["error"] is None for call in answer.tool_calls if call["name"] == "calculator"] == [True]
    assert any(claim.status == "verified" for claim in answer.claims)
    assert len(server.calls) == 3


@pytest.mark.parametrize("kind", ["openai", "gemini", "anthropic"])
def test_an_endless_tool_loop_ends(library: Library, embedder: Embedder, kind: str) -> None:
    again = Turn(calls=[("calculator", {"expression": "1+1"})])
    answer, server = ask_through(kind, [again], library, embedder, question(3))
    assert answer.abstained
    assert len(server.calls) <= 5


def test_a_slow_stream_is_read_to_its_end_and_a_dropped_one_begun_anew(library: Library, embedder: Embedder) -> None:
    right = f"{fact(3)[:-1]} [1]."
    answer, _ = ask_through("openai", [Turn(right, seconds_per_piece=0.01)], library, embedder, question(3))
    assert answer.claims[0].status == "verified"
    answer, server = ask_through("openai", [Turn(f"Not so. {right}", drop=True), right], library, embedder, question(3))
    assert answer.text == right
    assert len(server.calls) == 2


def test_a_wrong_key_and_a_used_up_quota_are_told_as_such(library: Library, embedder: Embedder) -> None:
    with pytest.raises(KeyRefused) as refused:
        ask_through("openai", ["never"], library, embedder, question(3), key="sk-wrong-0000000000")
    assert "sk-wrong-0000000000" not in str(refused.value)
    limited = Turn(status=429, message="slow down", headers={"Retry-After": "600"})
    with pytest.raises(RateLimited):
        ask_through("openai", [limited], library, embedder, question(3))


def test_waiting_as_long_as_the_provider_asks(library: Library, embedder: Embedder) -> None:
    turns: list[str | Turn] = [Turn(status=429, headers={"Retry-After": "0.05"}), f"{fact(3)[:-1]} [1]."]
    answer, server = ask_through("openai", turns, library, embedder, question(3))
    assert answer.claims[0].status == "verified"
    assert len(server.calls) == 2


# --- claims -------------------------------------------------------------------------------------------------------


def test_constructed_wrong_answers_are_marked_and_true_ones_are_not(tmp_path: Path) -> None:
    with Library.open(run_demo(tmp_path / "demo").folder) as library:
        facts = usable(library)
    assert len(facts) >= 8
    cases = construct(facts * 3, true=9, each=3)
    missed = [case.text for case in cases if case.wrong and not is_marked(case)]
    false_alarms = [case.text for case in cases if not case.wrong and is_marked(case)]
    assert len(missed) <= 1, missed
    assert len(false_alarms) <= 1, false_alarms


# --- no byte leaves -----------------------------------------------------------------------------------------------


def test_offline_no_verb_lets_a_byte_out(tmp_path: Path) -> None:
    """Run every verb in a process whose network is a trap: names do not resolve, and foreign addresses are counted."""
    library = run_demo(tmp_path / "demo").folder
    structure, questions = tmp_path / "x.vasp", tmp_path / "questions.jsonl"
    structure.write_text(NACL, encoding="utf-8")
    questions.write_text('{"id": "1", "question": "What is the capacity of LiFePO4?", "answer": "170"}\n')
    paper = file_digest(sample.paths()[0])
    runs = [
        ["demo", str(tmp_path / "again")],
        ["ask", "What is the theoretical capacity of LiFePO4?"],
        ["ask", "What is the band gap of mp-149?", "--json"],
        ["ask", "Why?", "--model", "openai/gpt-4o-mini"],
        ["ask", "Why?", "--model", "gemini/gemini-2.5-flash"],
        ["ask", "Why?", "--model", "http://192.0.2.1:9/v1#m"],
        ["ask", "Why?", "--model", "local/nobody/nothing"],
        ["ask", "Why?", "--model", "gguf/nobody/nothing:x.gguf"],
        ["search", "capacity"],
        ["eval", "answers", str(questions)],
        ["predict", str(structure)],
        ["status"],
        ["papers"],
        ["verify"],
        ["settings"],
        ["doctor"],
        ["models"],
        ["models", "get", "small"],
        ["tool", "calculator", "1+1"],
        ["finetune", "preview", str(tmp_path)],
        ["materials", "download", "--formula", "Si"],
        ["materials", "remove", "--source", "Nobody"],
        ["keywords", str(sample.paths()[0]), "--model", "openai/gpt-4o-mini"],
        ["summarize", "--query", "capacity", "--model", "openai/gpt-4o-mini"],
        ["ingest", str(sample.paths()[1]), "--look-up", "--retry-failed"],
        ["journal"],
        ["completion", "bash"],
        ["remove", paper],
        ["prune"],
    ]
    known = {verb.name for verb in VERBS}
    assert known - {run[0] for run in runs} <= {"chat", "mcp"}  # which serve until they are stopped
    runs = [run for run in runs if run[0] in known]
    report = tmp_path / "out.json"
    script = tmp_path / "watch.py"
    script.write_text(TRAP.format(report=str(report)), encoding="utf-8")
    keys = dict.fromkeys(("OPENAI_API_KEY", "GEMINI_API_KEY", "MP_API_KEY"), "sk-none-of-your-business-000")
    environment = (
        os.environ | keys | {"MATLIT_LIBRARY": str(library), "MATLIT_OFFLINE": "true", "PYTHONPATH": str(ROOT)}
    )
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(runs)], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["let_out"] == []
    assert set(told["codes"]) >= {"ask", "search", "doctor", "models", "tool", "ingest"}


TRAP = """
import json, socket, sys
from ingest.errors import OfflineError

let_out, codes = [], {{}}

def watched(name):
    # Stands below matlit's guard: what arrives here has been let through.
    real = getattr(socket.socket, name)
    def method(self, *arguments):
        for address in arguments:
            if isinstance(address, tuple) and address and str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
                let_out.append([name, str(address)])
                raise OSError("the trap")
        return real(self, *arguments)
    return method

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, watched(name))

real_lookup = socket.getaddrinfo

def lookup(host, *arguments, **options):
    if host in (None, "127.0.0.1", "::1", "localhost", "0.0.0.0"):
        return real_lookup(host, *arguments, **options)
    try:
        return real_lookup(host, *arguments, **options)
    except OfflineError:
        raise
    except OSError:
        let_out.append(["getaddrinfo", str(host)])
        raise

socket.getaddrinfo = lookup

from ui.cli import main

for arguments in json.loads(sys.argv[1]):
    codes[arguments[0]] = main(arguments)
open({report!r}, "w").write(json.dumps({{"let_out": let_out, "codes": codes}}))
"""

"""What the web app is made of, without a browser: texts, chats, uploads, jobs, the gate, exports, escaping."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import re
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pypdfium2
import pytest

from assistant import journal
from assistant.providers.errors import KeyMissing, read_key, scrub, using_keys
from ingest.errors import BadInput, LibraryBusy
from ui import export, server, uploads
from ui.chats import ChatStore, Manner, Message, owner_of
from ui.components import careful, plain
from ui.gate import BROWSER_COOKIE, Gate
from ui.jobs import Jobs
from ui.parity import axis_end, parity_svg
from ui.texts import TEXTS

UI = Path(__file__).resolve().parents[1] / "ui"


# --- texts ------------------------------------------------------------------------------------------------------------


def used_texts() -> set[str]:
    """Return the first argument of every call of `t` and `say` in ui/: words, and f-strings as patterns."""
    found: set[str] = set()
    for path in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"t", "say", "page_title"}:
                found |= {key for argument in node.args for key in keys_of(argument).split("|")}
    return {key for key in found if re.fullmatch(r"[a-z][a-z0-9_.+-]*", key)} - {"en", "ja"}


def keys_of(argument: ast.expr) -> str:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    if isinstance(argument, ast.IfExp):
        return f"{keys_of(argument.body)}|{keys_of(argument.orelse)}"
    if isinstance(argument, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else ".+" for part in argument.values)
    if isinstance(argument, ast.BinOp) and isinstance(argument.left, ast.Constant):
        return f"{argument.left.value}.+"
    return ""


def test_every_text_that_pages_use_is_in_the_table() -> None:
    missing = [key for key in used_texts() if not any(re.fullmatch(key, known) for known in TEXTS)]
    assert missing == []


def test_every_text_of_the_table_is_used() -> None:
    patterns = {*used_texts(), "step_.+"}
    assert [known for known in TEXTS if not any(re.fullmatch(key, known) for key in patterns)] == []


def test_no_text_stands_under_two_names() -> None:
    names: dict[tuple[str, str], list[str]] = {}
    for name, text in TEXTS.items():
        names.setdefault(text, []).append(name)
    assert [several for several in names.values() if len(several) > 1] == []


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_are_complete_and_take_the_same_values(key: str) -> None:
    english, japanese = TEXTS[key]
    assert english.strip()
    assert japanese.strip()
    assert fields(english) == fields(japanese)


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_japanese_texts_are_japanese() -> None:
    latin = [key for key, (_, text) in TEXTS.items() if not re.search(r"[぀-ヿ一-鿿]", text)]
    assert latin == ["bibtex"]


# --- chats ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(owner_of("one"), tmp_path / "chats.sqlite")


def test_another_browser_sees_and_changes_nothing(store: ChatStore, tmp_path: Path) -> None:
    chat = store.begin("What is LiFePO4?", "lib")
    message = store.add(chat, "user", {"text": "What is LiFePO4?"})
    other = ChatStore(owner_of("two"), tmp_path / "chats.sqlite")
    other.rename(chat, "mine")
    other.update(message, {"text": "changed"})
    other.cut(chat, message)
    other.delete(chat)
    assert other.add(chat, "user", {"text": "intruder"}) == 0
    assert (other.chats(), other.messages(chat)) == ([], [])
    assert [one.title for one in store.chats()] == ["What is LiFePO4?"]
    assert [one.content["text"] for one in store.messages(chat)] == ["What is LiFePO4?"]


def test_a_chats_manner_is_kept_with_it_and_for_its_owner(store: ChatStore, tmp_path: Path) -> None:
    chat, other = store.begin("a", "lib"), ChatStore(owner_of("two"), tmp_path / "chats.sqlite")
    assert store.manner(chat) == Manner("", "auto", ())
    store.keep_manner(chat, Manner("openai/gpt-4o-mini", "cot", ("ab",)))
    other.keep_manner(chat, Manner("extractive"))
    assert store.manner(chat) == Manner("openai/gpt-4o-mini", "cot", ("ab",))
    assert other.manner(chat) == Manner()
    store.delete(chat)
    assert store.manner(chat) == Manner()


def test_the_file_of_the_chats_is_for_its_user_only(store: ChatStore, tmp_path: Path) -> None:
    store.begin("a", "lib")
    assert (tmp_path / "chats.sqlite").stat().st_mode & 0o077 == 0


def test_chats_are_found_by_what_was_said_in_them(store: ChatStore) -> None:
    first, second = store.begin("one", "lib"), store.begin("two", "lib")
    store.add(first, "assistant", {"text": "100 % of the 170 mAh/g"})
    store.add(second, "assistant", {"text": "光触媒の酸化チタン"})
    assert [chat.id for chat in store.chats("mAh")] == [first]
    assert [chat.id for chat in store.chats("酸化チタン")] == [second]
    assert store.chats("100_%") == []


def test_a_chat_is_cut_renamed_and_deleted(store: ChatStore) -> None:
    chat = store.begin("x" * 200, "lib")
    numbers = [store.add(chat, "user", {"text": str(n)}) for n in range(4)]
    store.cut(chat, numbers[2])
    assert [one.content["text"] for one in store.messages(chat)] == ["0", "1"]
    store.rename(chat, "  ")
    assert store.chats()[0].title.endswith("…")
    store.rename(chat, "GaN")
    assert store.chats()[0].title == "GaN"
    store.delete(chat)
    assert store.messages(chat) == []


def test_a_rating_is_kept_in_the_journal_and_can_be_changed(tmp_path: Path) -> None:
    answer = {"model": "extractive", "abstained": False, "seconds": 0.1}
    journal.record(tmp_path, "Why?", answer)
    assert journal.rate(tmp_path, question="Why?", helpful=True) == ""
    assert journal.rate(tmp_path, question="Why?", helpful=False, note="wrong page") == ""
    assert journal.ratings(tmp_path) == [("Why?", False, "wrong page")]


# --- uploads ----------------------------------------------------------------------------------------------------------


class Sent(io.BytesIO):
    """What a browser sends."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(data)
        self.name = name


@pytest.mark.parametrize("name", ["../../x.pdf", "/etc/x.pdf", "..\\..\\x.pdf", "a\x00/x.pdf", "x.pdf\n"])
def test_a_file_name_never_becomes_a_path(name: str, tmp_path: Path, store: ChatStore) -> None:
    taken, refused = uploads.take_papers([Sent(name, b"%PDF-1.4")], library=tmp_path / "lib", store=store)
    assert refused == []
    assert taken[0].path.parent == tmp_path / "lib" / "uploads"
    assert re.fullmatch(r"[0-9a-f]{64}\.pdf", taken[0].path.name)
    assert taken[0].name == "x.pdf"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["lib"]


def test_other_kinds_and_too_large_files_are_refused(
    tmp_path: Path, store: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_MB", 1)
    sent = [Sent("virus.exe", b"MZ"), Sent("large.pdf", b"0" * (1024 * 1024 + 1)), Sent("noname", b"")]
    taken, refused = uploads.take_papers(sent, library=tmp_path, store=store)
    assert taken == []
    assert [str(error) for error in refused] == [
        "'virus.exe' is of a kind matlit does not read",
        "'large.pdf' is larger than 1 MB",
        "'noname' is of a kind matlit does not read",
    ]


def test_structures_are_known_by_their_names() -> None:
    assert [uploads.is_structure(name) for name in ("Si.cif", "POSCAR", "CONTCAR_2", "a.vasp", "paper.pdf")] == [
        True,
        True,
        True,
        True,
        False,
    ]


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_a_stopped_job_closes_its_generator_and_keeps_its_events() -> None:
    closed, go = threading.Event(), threading.Event()

    def work() -> Iterator[int]:
        try:
            for number in range(1000):
                yield number
                go.wait(5)
        finally:
            closed.set()

    jobs = Jobs()
    job = jobs.start("count", "counting", work)
    job.cancel()
    go.set()
    assert job.wait(5)
    assert (job.state, closed.is_set()) == ("cancelled", True)
    assert job.events[0] == 0
    assert len(job.events) < 1000


def test_a_failing_job_says_why_and_what_to_do() -> None:
    def work() -> Iterator[int]:
        raise LibraryBusy("the library is being written to by process 12")
        yield 1

    job = Jobs().start("ingest", "papers", work)
    job.wait(5)
    assert (job.state, job.error) == ("failed", "the library is being written to by process 12")
    assert job.hint == LibraryBusy.hint


def test_a_mistake_in_a_job_is_named_without_its_traceback() -> None:
    job = Jobs().start("ingest", "papers", lambda: iter([1 // 0]))
    job.wait(5)
    assert job.error == "ZeroDivisionError inside matlit"


def test_the_last_event_of_a_long_job_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.jobs.MOST_EVENTS", 3)
    job = Jobs().start("count", "counting", lambda: iter(range(10)))
    job.wait(5)
    assert job.events == [0, 1, 9]


def test_jobs_of_one_browser_are_not_seen_by_another() -> None:
    jobs = Jobs()
    for owner in ("one", "two", ""):
        jobs.start("answer", owner, lambda: iter(()), owner=owner).wait(5)
    assert [job.title for job in jobs.find("answer", owner="one")] == ["", "one"]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_lent_key_is_used_here_only_and_never_repeated() -> None:
    with using_keys({"OPENAI_API_KEY": "secret-of-one-tab"}):
        assert read_key("OPENAI_API_KEY", provider="OpenAI", example="sk-…") == "secret-of-one-tab"
        seen: list[str] = []

        def elsewhere() -> None:
            with pytest.raises(KeyMissing):
                seen.append(read_key("OPENAI_API_KEY", provider="OpenAI", example="sk-…"))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    with pytest.raises(KeyMissing):
        read_key("OPENAI_API_KEY", provider="OpenAI", example="sk-…")
    assert seen == []
    assert scrub("refused: secret-of-one-tab") == "refused: [key]"


# --- the gate ---------------------------------------------------------------------------------------------------------


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Stand for Streamlit."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"the app"})


def request(gate: Gate, path: str = "/", *, method: str = "GET", cookie: str = "", body: bytes = b"") -> Any:
    """Return (status, headers, body) of one request."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"cookie", cookie.encode())] if cookie else []
    scope = {"type": "http", "path": path, "method": method, "headers": headers, "scheme": "http"}
    asyncio.run(gate(scope, receive, send))
    return sent[0]["status"], sent[0]["headers"], b"".join(one.get("body", b"") for one in sent[1:])


def header(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")


def test_every_new_browser_gets_a_name_that_scripts_cannot_read() -> None:
    gate = Gate(page)
    first, second = (header(request(gate)[1], b"set-cookie").decode() for _ in range(2))
    assert first != second
    assert "HttpOnly" in first
    assert "SameSite=Lax" in first
    known = first.split(";")[0]
    assert known.startswith(f"{BROWSER_COOKIE}=")
    assert header(request(gate, cookie=known)[1], b"set-cookie") == b""


def test_pages_may_load_from_this_server_only() -> None:
    policy = header(request(Gate(page))[1], b"content-security-policy").decode()
    assert "default-src 'self'" in policy
    assert "http" not in policy.replace("https", "")


def test_nothing_answers_before_the_password() -> None:
    gate = Gate(page, password="correct horse")
    status, headers, body = request(gate, "/_stcore/upload_file/1/2")
    assert (status, header(headers, b"location"), body) == (303, b"/login", b"")
    assert request(gate, "/login", method="POST", body=b"password=wrong")[0] == 403
    status, headers, _ = request(gate, "/login", method="POST", body=b"password=correct+horse")
    entry = header(headers, b"set-cookie").decode().split(";")[0]
    assert status == 303
    assert request(gate, cookie=entry)[2] == b"the app"
    assert request(gate, cookie="matlit_entry=guess")[0] == 303


def test_guessing_passwords_is_slowed_down() -> None:
    gate = Gate(page, password="correct horse")
    answers = [request(gate, "/login", method="POST", body=b"password=no")[0] for _ in range(11)]
    assert answers == [403] * 10 + [429]


def test_a_web_socket_needs_the_password_too() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": []}
    asyncio.run(Gate(page, password="correct horse")(scope, lambda: None, send))  # type: ignore[arg-type,return-value]
    assert sent == [{"type": "websocket.close", "code": 4401}]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_other_machines_need_a_password(host: str) -> None:
    with pytest.raises(BadInput, match="other machines"):
        server.check_reach(host, "")
    with pytest.raises(BadInput, match="guessed"):
        server.check_reach(host, "1234")
    server.check_reach(host, "long enough")


def test_this_machine_needs_no_password() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        server.check_reach(host, "")


def test_a_taken_port_is_named_with_a_free_one() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match="cannot serve on") as error:
            server.check_port("127.0.0.1", taken.getsockname()[1])
    assert "--port" in error.value.hint


def test_streamlit_finds_no_pages_of_its_own() -> None:
    assert server.SCRIPT.is_file()
    assert not (server.SCRIPT.parent / "pages").exists()


# --- what is shown and exported ---------------------------------------------------------------------------------------


def test_text_from_papers_keeps_every_letter_and_runs_nothing() -> None:
    nasty = "<script>alert(1)</script> ![x](http://evil/x.png) :red[a] $x$ **b** `c`"
    shown = plain(nasty)
    assert re.sub(r"\\(.)", r"\1", shown) == nasty
    assert not re.search(r"(?<!\\)[<>*`$\[\]!:]", shown)


def test_a_models_markdown_loses_pictures_links_and_html() -> None:
    shown = careful("**bold** ![p](http://evil/x.png) [here](http://evil) <img src=x> :red[no]\n- item")
    assert "**bold**" in shown
    assert "\n- item" in shown
    assert "![" not in shown
    assert "](" not in shown
    assert re.search(r"(?<!\\)<", shown) is None
    assert re.search(r"(?<!\\):red", shown) is None


CITATION = {"n": 1, "paper": "ab", "title": "LFP <b>", "doi": "10.1/x", "page": 3, "quote": "q", "status": "verified"}
CHAT = [
    Message(
        1, "user", {"text": "容量は？", "attachments": [{"name": "a.cif", "path": "/home/me/a.cif"}]}, "2026-01-01"
    ),
    Message(2, "assistant", {"text": "170 mAh g⁻¹ [1]", "citations": [CITATION], "model": "extractive"}, "2026-01-01"),
]


def test_a_chat_is_exported_as_markdown() -> None:
    text = export.to_markdown("LiFePO4", CHAT)
    assert text.startswith("# LiFePO4\n\n## 容量は？\n\n170 mAh g⁻¹ [1]\n\n- [1] LFP <b>, p. 3, doi:10.1/x (verified)")


def test_a_chat_is_exported_as_json_without_places_on_this_machine() -> None:
    said = json.loads(export.to_json("t", CHAT))
    assert said["messages"][1]["citations"] == [CITATION]
    assert said["messages"][0]["attachments"] == ["a.cif"]


def test_a_chat_is_exported_as_a_pdf_with_its_words() -> None:
    pdf = pypdfium2.PdfDocument(export.to_pdf("LiFePO4", CHAT))
    text = pdf[0].get_textpage().get_text_bounded()
    assert "170 mAh g⁻¹ [1]" in text
    assert "容量は" in text
    assert "LFP <b>, p. 3" in text


def test_a_title_becomes_a_safe_file_name() -> None:
    assert export.file_name("../What is LiFePO4? 容量") == "What-is-LiFePO4-容量"


# --- the parity picture -----------------------------------------------------------------------------------------------


def test_the_parity_picture_leaves_no_material_out() -> None:
    known = [0.0] * 40 + [1.05, 1.05, 3.0] + [3.85] * 20 + [2.0] * 3000 + [17.8]
    predicted = [0.0] * 40 + [1.15, 1.15, 0.5] + [3.85] * 20 + [2.0] * 3000 + [11.0]
    assert axis_end(known, predicted) == (4.0, 1)
    svg = parity_svg(known, predicted, x="Known & <computed>", y="Predicted", cells="Materials\nper 0.1 eV")
    picture = ElementTree.fromstring(svg)
    cells = [one.get("d", "").count("M") for one in picture.iter() if one.get("class") == "cell" and one.get("d")]
    assert cells == [2, 1, 1, 2]  # of one material: 3 eV taken for 0.5, and the one beyond the edge
    assert "Known & <computed>" in [one.text for one in picture.iter()]

"""The assistant's events, conversations, threads and event loops, over a library of two short papers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from papers import make_library

from assistant import Assistant, Attachment, journal
from assistant.attachments import read_attachments
from assistant.chat import ChatModel
from assistant.events import Answered, Searched, Started, TextDelta
from assistant.tools import read_only
from ingest.embed import Embedder, make_embedder
from ingest.errors import BadInput
from ingest.library import Library
from ingest.materials import Material, to_chunk

QUESTION = "What initial discharge capacity did the LiFePO4 cathode deliver at 0.1 C?"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return make_embedder("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Assistant]:
    with Assistant(make_library(tmp_path_factory.mktemp("assistant"), embedder), embedder=embedder) as asked:
        yield asked


def test_the_events_begin_with_the_question_and_end_with_the_answer(assistant: Assistant) -> None:
    events = list(assistant.stream(QUESTION))
    assert events[0] == Started(QUESTION, "extractive", "auto")
    assert isinstance(events[-1], Answered)
    searched = next(event for event in events if isinstance(event, Searched))
    assert searched.hits[0].title == "Carbon-coated cathodes"
    written = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert written == events[-1].answer.text


def test_ask_is_the_stream_run_to_its_end(assistant: Assistant) -> None:
    last = list(assistant.stream(QUESTION))[-1]
    assert isinstance(last, Answered)
    assert assistant.ask(QUESTION).text == last.answer.text


def test_a_stream_that_is_closed_early_answers_nothing_and_writes_no_journal(assistant: Assistant) -> None:
    before = len(journal.entries(assistant.library.info.path, limit=10_000))
    events = assistant.stream(QUESTION)
    next(events)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert len(journal.entries(assistant.library.info.path, limit=10_000)) == before


def test_a_bad_question_is_refused_before_the_first_event(assistant: Assistant) -> None:
    with pytest.raises(BadInput):
        assistant.stream("  ")
    with pytest.raises(BadInput, match="guess"):
        assistant.stream(QUESTION, strategy="guess")  # type: ignore[arg-type]


def test_it_works_inside_a_running_event_loop_as_in_a_notebook(assistant: Assistant) -> None:
    async def cell() -> tuple[str, str, list[str]]:
        names = [type(event).__name__ async for event in assistant.astream(QUESTION)]
        return assistant.ask(QUESTION).text, (await assistant.aask(QUESTION)).text, names

    plain, awaited, names = asyncio.run(cell())
    assert plain == awaited
    assert (names[0], names[-1]) == ("Started", "Answered")


def test_several_threads_may_ask_at_once(assistant: Assistant) -> None:
    questions = [QUESTION, "What is the optical band gap of BaZrS3?"] * 4
    expected = {question: assistant.ask(question).text for question in set(questions)}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda question: assistant.ask(question).text, questions))
    assert answers == [expected[question] for question in questions]


def test_threads_share_a_model_its_tools_and_its_chats(assistant: Assistant) -> None:
    sums = {f"What is {n} + {n}, and what was the capacity of the cathode? Compute it.": 2 * n for n in range(1, 9)}
    model = ChatModel.scripted(
        [
            {"when": r"What is (\d) \+ \1", "tool_calls": [{"name": "twice", "arguments": {}}]},
            {"when": "", "text": "It is done."},
        ]
    )
    seen: list[int] = []

    @read_only
    def twice() -> str:
        """Say which thread this is."""
        seen.append(threading.get_ident())
        return "done"

    asking = Assistant(assistant.library, model, embedder=assistant.embedder, tools=[twice], keep_journal=False)

    def converse(question: str) -> tuple[int, str]:
        chat = asking.chat()
        answer = chat.ask(question)
        return len(answer.tool_calls), chat.messages[0].content

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(converse, sums))
    assert found == [(1, question) for question in sums]
    assert len(seen) == len(sums)
    assert model.used.calls == 2 * len(sums)


def test_a_library_is_read_while_another_thread_writes_it(tmp_path: Path, embedder: Embedder) -> None:
    library = make_library(tmp_path, embedder)
    records = [Material(f"mp-{n}", "NaCl", ("Cl", "Na"), band_gap_ev=5.0) for n in range(200)]

    def write() -> None:
        with Library.open(library.info.path) as own, own.writer() as writer:
            for n in range(0, len(records), 20):
                part = records[n : n + 20]
                writer.add_materials(part, [to_chunk(each, own.info.recipe) for each in part], None)

    with Assistant(library, embedder=embedder, keep_journal=False) as asking, ThreadPoolExecutor(3) as pool:
        writing = pool.submit(write)
        answers = {answer.text for answer in pool.map(lambda _: asking.ask(QUESTION, tools=False), range(12))}
        writing.result()
        assert len(answers) == 1  # what was asked for is there all the time, whole
        assert len(asking.library.materials()) == len(records)
        assert asking.library.verify().clean


def test_a_conversation_remembers_its_turns(assistant: Assistant) -> None:
    chat = assistant.chat()
    answer = chat.ask(QUESTION)
    assert [(message.role, message.content) for message in chat.messages] == [
        ("user", QUESTION),
        ("assistant", answer.text),
    ]


def test_attachments_are_paths_texts_or_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "x.cif"
    path.write_text("data_x", encoding="utf-8")
    assert read_attachments([path]) == (Attachment("x.cif", "data_x"),)
    assert read_attachments({"a.vasp": "Si"}) == (Attachment("a.vasp", "Si"),)
    assert [one.name for one in read_attachments([path, str(path)])] == ["x.cif", "2-x.cif"]


def test_attachments_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe\x00")
    (tmp_path / "empty.cif").write_text(" \n", encoding="utf-8")
    for name in ("picture.png", "empty.cif", "missing.cif"):
        with pytest.raises(BadInput, match=name):
            read_attachments([tmp_path / name])

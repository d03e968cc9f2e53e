"""The assistant's events, conversations, threads and event loops, over a library of two short papers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from papers import make_library

from assistant import Assistant, Attachment, journal
from assistant.attachments import read_attachments
from assistant.events import Answered, Searched, Started, TextDelta
from ingest.embed import make_embedder
from ingest.errors import BadInput

QUESTION = "What initial discharge capacity did the LiFePO4 cathode deliver at 0.1 C?"


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assistant]:
    embedder = make_embedder("all-MiniLM-L6-v2")
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

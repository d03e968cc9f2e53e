"""Reviews over many papers: digests of quotes, one pass, map and reduce over a hundred, and the verb."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from papers import make_library

from assistant import Answer, journal, prompts
from assistant.agent import Bounds
from assistant.chat import ChatModel
from assistant.events import Answered, Note, TextDelta
from assistant.summarize import Review, papers_about, summarize
from ingest import sample
from ingest.embed import Embedder, make_embedder
from ingest.errors import BadInput
from ingest.library import Library
from ui.cli import main

COUNT = 100


def papers() -> dict[str, tuple[str, ...]]:
    """Return a hundred short papers, each with a value of its own."""
    return {
        f"Conductivity of garnet {n}": (
            f"We report a garnet electrolyte. The ionic conductivity of garnet G{n} is {n / 100:.2f} mS/cm at 25 °C. "
            "Pellets were sintered in air.",
        )
        for n in range(1, COUNT + 1)
    }


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return make_embedder("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Library]:
    with make_library(tmp_path_factory.mktemp("summarize"), embedder, papers()) as made:
        yield made


def review(library: Library, embedder: Embedder, asked: Review, model: ChatModel | None = None) -> tuple[Answer, list]:  # type: ignore[type-arg]
    events = list(summarize(library, embedder, asked, model=model))
    assert isinstance(events[-1], Answered)
    return events[-1].answer, events


def test_a_hundred_papers_become_a_digest_of_quotes(library: Library, embedder: Embedder) -> None:
    answer, events = review(library, embedder, Review(tuple(library.papers()), "What is the ionic conductivity?"))
    assert len(answer.papers) == COUNT
    assert {citation.status for citation in answer.citations} == {"verified"}
    assert len({citation.paper for citation in answer.citations if "conductivity" in citation.quote}) == COUNT
    assert sum(isinstance(event, Note) for event in events) == COUNT


def cite_everything(request_text: str) -> str:
    """Return a sentence for every source in a request, as a diligent model would."""
    found = re.findall(r'<source n="(\d+)"[^>]*>\n.*?garnet (G\d+) is ([\d.]+) mS/cm', request_text)
    found += [(n, name, value) for name, value, n in re.findall(r"(G\d+) has ([\d.]+) mS/cm \[(\d+)\]", request_text)]
    return " ".join(f"Garnet {name} has {value} mS/cm [{n}]." for n, name, value in found)


class Diligent:
    """A backend that answers from what it is given, and keeps what it was asked."""

    provider, model, native_tools, json_schema, local = "scripted", "diligent", True, True, True

    def __init__(self, context_tokens: int) -> None:
        self.context_tokens = context_tokens
        self.requests: list[str] = []

    def reply(self, request):  # type: ignore[no-untyped-def]
        from assistant.providers.base import Reply, Usage

        self.requests.append(request.messages[-1].content)
        text = cite_everything(self.requests[-1])
        return Reply(text, (), Usage(len(self.requests[-1]) // 4, len(text) // 4, 0.0, 1), "stop", self.model)

    def stream(self, request):  # type: ignore[no-untyped-def]
        from assistant.chat import Delta

        reply = self.reply(request)
        yield Delta(reply.text)
        yield reply

    def close(self) -> None:
        pass


def test_a_long_context_takes_all_in_one_pass(library: Library, embedder: Embedder) -> None:
    backend = Diligent(200_000)
    asked = Review(tuple(library.papers()), "What is the ionic conductivity?")
    answer, _ = review(library, embedder, asked, ChatModel(backend, spec="scripted"))
    assert len(backend.requests) == 1
    assert len(answer.claims) == COUNT
    assert {claim.status for claim in answer.claims} == {"verified"}


def test_a_short_context_maps_and_reduces_and_keeps_the_numbers(library: Library, embedder: Embedder) -> None:
    backend = Diligent(6_000)
    asked = Review(tuple(library.papers()), "What is the ionic conductivity?")
    answer, events = review(library, embedder, asked, ChatModel(backend, spec="scripted"))
    assert len(backend.requests) > 2
    assert max(len(request) for request in backend.requests) / 4 < 6_000
    assert {claim.status for claim in answer.claims} == {"verified"}
    assert len({citation.paper for citation in answer.citations}) == COUNT
    assert answer.usage["calls"] == len(backend.requests)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text


QUERY = "What is the ionic conductivity?"


def bounded(library: Library, embedder: Embedder, bounds: Bounds, **more: object) -> tuple[Answer, Diligent]:
    """Return a review of all papers within `bounds`, by a model that asks for many parts."""
    backend = Diligent(6_000)
    for name, value in more.items():
        setattr(backend, name, value)
    model = ChatModel(backend, spec="openai/gpt-4o-mini" if not backend.local else "scripted")
    review = Review(tuple(library.papers()), QUERY)
    *_, last = summarize(library, embedder, review, model=model, bounds=bounds, keep_journal=False)
    assert isinstance(last, Answered)
    return last.answer, backend


def stopped(answer: Answer) -> dict[str, object]:
    return dict(next(step for step in answer.trace if step["step"] == "stopped"))


def test_a_review_ends_at_its_tokens_with_the_notes_it_has(library: Library, embedder: Embedder) -> None:
    answer, backend = bounded(library, embedder, Bounds(max_tokens=6_000))
    done = stopped(answer)
    assert len(backend.requests) == done["done"] == 1
    assert (done["reached"], done["parts"]) == ("6,000 tokens", 2)
    assert {claim.status for claim in answer.claims} == {"verified"}
    assert 10 < len(answer.papers) < COUNT
    assert "1 of 2 parts" in answer.text.splitlines()[-1]


def test_a_call_that_would_cost_too_much_is_not_made(library: Library, embedder: Embedder) -> None:
    answer, backend = bounded(library, embedder, Bounds(max_cost_usd=0.0001), local=False)
    assert backend.requests == []
    assert stopped(answer)["reached"] == "0.0001 US dollars"
    assert {citation.status for citation in answer.citations} == {"verified"}  # quotes instead
    assert answer.usage["calls"] == 0


def test_steps_are_no_bound_of_a_review(library: Library, embedder: Embedder) -> None:
    answer, backend = bounded(library, embedder, Bounds(max_steps=1))
    assert len(backend.requests) > 2
    assert not any(step["step"] == "stopped" for step in answer.trace)


def test_time_ends_a_review_in_the_middle_of_a_call(library: Library, embedder: Embedder) -> None:
    model = ChatModel.scripted([{"text": "Garnet G1 has 0.01 mS/cm [1].", "seconds": 1.2}])
    model.backend.local = True
    asked = Review(tuple(library.papers()[:2]), QUERY)
    *_, last = summarize(library, embedder, asked, model=model, bounds=Bounds(max_seconds=1.0), keep_journal=False)
    assert isinstance(last, Answered)
    assert stopped(last.answer)["reached"] == "1 s"
    assert last.answer.citations


def test_a_review_stands_in_the_journal(library: Library, embedder: Embedder, tmp_path: Path) -> None:
    asked = Review(tuple(library.papers()), QUERY)
    answer, _ = review(library, embedder, asked, ChatModel(Diligent(200_000), spec="scripted"))
    [entry] = journal.entries(library.info.path, limit=1)
    assert (entry.question, entry.answer["text"]) == (QUERY, answer.text)
    assert entry.prompt == prompts.digest(prompts.NOTES, prompts.REVIEW)
    before = len(journal.entries(library.info.path))
    list(summarize(library, embedder, asked, keep_journal=False))
    list(summarize(library, embedder, asked, journal_in=tmp_path))
    assert len(journal.entries(library.info.path)) == before
    assert journal.entries(tmp_path)[0].model == "extractive"


def test_what_a_review_invents_is_marked(library: Library, embedder: Embedder) -> None:
    model = ChatModel.scripted(["Garnet G1 has 0.01 mS/cm at 25 °C [1]. Garnet G2 has 77 mS/cm [2]. All are red."])
    answer, _ = review(library, embedder, Review(tuple(library.papers()[:2]), "ionic conductivity of garnet"), model)
    assert [claim.status for claim in answer.claims][1:] == ["unsupported", "unsupported"]
    assert answer.text.count(prompts.UNSUPPORTED["en"]) >= 2


def test_papers_are_chosen_by_a_query_and_none_is_refused(library: Library, embedder: Embedder) -> None:
    chosen = papers_about(library, embedder, "ionic conductivity of garnet G42", most=3)
    assert "Conductivity of garnet 42" in [paper.title for paper in chosen]
    assert len(chosen) <= 3
    with pytest.raises(BadInput, match="0 papers"):
        summarize(library, embedder, Review(()))


def test_papers_that_speak_of_something_else_are_left_out(library: Library, embedder: Embedder) -> None:
    assert papers_about(library, embedder, "zzzz qqqq", most=100) == ()
    chosen = papers_about(library, embedder, "ionic conductivity of garnet G42", most=100)
    assert 1 <= len(chosen) <= 100


def test_a_review_that_finds_nothing_says_so_in_its_language(library: Library, embedder: Embedder) -> None:
    model = ChatModel.scripted([prompts.NO_ANSWER])
    answer, _ = review(library, embedder, Review(tuple(library.papers()[:2]), "garnet", "ja"), model)
    assert answer.abstained
    assert answer.text == prompts.REFUSAL["ja"]


def test_the_verb_reviews_files_that_no_library_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in list(sample.paths())[:2]]
    assert main(["summarize", *files, "--library", str(tmp_path / "none"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {citation["status"] for citation in data["citations"]} == {"verified"}
    assert len({citation["paper"] for citation in data["citations"]}) == 2
    assert not (tmp_path / "none").exists()
    assert main(["summarize", "--library", str(tmp_path / "none")]) == 1
    assert "--query" in capsys.readouterr().err

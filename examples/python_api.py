"""Build a library, search it and ask it, from Python: quotes, tools, events, a conversation, a model, threads.

    python examples/python_api.py [FOLDER]

Uses the sample papers and records that come with matlit, and a scripted model in the place of a real one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from assistant import Assistant
from assistant.chat import ChatModel
from assistant.demo import add_sample_materials
from assistant.events import Answered, Searched, TextDelta, ToolFinished
from assistant.tools import read_only
from ingest import sample
from ingest.pipeline import Added, Failed, ingest
from ingest.records import Filter

CAPACITY = "What is the theoretical capacity of LiFePO4?"


@read_only
def price(mineral: str) -> str:
    """Look up what a mineral costs at our own laboratory.

    Args:
        mineral: its name, such as olivine
    """
    return f"{mineral}: 12 EUR/kg"


def main(folder: Path) -> None:
    """Ingest the sample into `folder`, then search and ask in every way there is."""
    for event in ingest(sample.paths(), library=folder):
        if isinstance(event, Added):
            print(f"added {event.path.name}: {event.pages} pages, {event.chunks} passages")
        elif isinstance(event, Failed):
            print(f"failed {event.path.name}: {event.error}")

    with Assistant(folder) as assistant:
        add_sample_materials(assistant.library, assistant.embedder)
        search(assistant)
        ask(assistant)
        follow(assistant)
        converse(assistant)
        asyncio.run(in_a_loop(assistant))
    with_a_model(folder)


def search(assistant: Assistant) -> None:
    """Find passages, confined by elements."""
    for hit in assistant.search("theoretical capacity", k=3, where=Filter(elements=frozenset({"Li", "Co"}))):
        print(f"  {hit.score:.2f}  {hit.title}, p. {hit.chunk.page}: {hit.chunk.text[:70]}…")


def ask(assistant: Assistant) -> None:
    """Ask the papers, the records and the calculator."""
    answer = assistant.ask(CAPACITY)
    print(f"\n{answer.text}\n")
    for citation in answer.citations:
        box = citation.boxes[0]
        print(f"  [{citation.n}] {citation.status}: page {citation.page}, {box.top:.0f} points from its top")
    print(assistant.ask("Which of TiO2's polymorphs has the largest band gap?").text)
    print(assistant.ask("Convert 1.43 eV to a wavelength in nm").text)


def follow(assistant: Assistant) -> None:
    """See what happens while a question is answered."""
    for event in assistant.stream("What is the band gap of mp-149?"):
        if isinstance(event, ToolFinished):
            print(f"tool {event.name} took {event.result.seconds:.2f} s")
        elif isinstance(event, Searched):
            print(f"{len(event.hits)} passages")
        elif isinstance(event, TextDelta):
            print(event.text, end="")
        elif isinstance(event, Answered):
            print(f"\nabstained: {event.answer.abstained}")


def converse(assistant: Assistant) -> None:
    """Ask a follow-up question."""
    chat = assistant.chat()
    chat.ask("What is the band gap of mp-149?")
    print(chat.ask("And its density?").text)


async def in_a_loop(assistant: Assistant) -> None:
    """Ask from an event loop, as in a notebook: two questions at once."""
    answers = await asyncio.gather(assistant.aask(CAPACITY), assistant.aask("Why does PBE underestimate band gaps?"))
    print([answer.abstained for answer in answers])


def with_a_model(folder: Path) -> None:
    """Let a model answer, with a tool of our own; a real one is named like "openai/gpt-4o-mini" or "gguf/small"."""
    model = ChatModel.scripted(
        [
            {"tool_calls": [{"name": "price", "arguments": {"mineral": "olivine"}}]},
            "The theoretical capacity of LiFePO4 is 170 mAh g−1 [1]. Olivine costs 12 EUR/kg. It is blue [1].",
        ]
    )
    with Assistant(folder, model, tools=[price]) as assistant:
        answer = assistant.ask(CAPACITY)
    print(answer.text)
    for claim in answer.claims:
        print(f"  {claim.status}: {claim.text} {claim.reason}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary) / "library")

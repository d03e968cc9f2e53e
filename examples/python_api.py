"""Build a library, search it and ask it, from Python.

    python examples/python_api.py [FOLDER]

Uses the sample papers that come with matlit; put your own files in their place.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from assistant import Assistant
from ingest import sample
from ingest.pipeline import Added, Failed, ingest
from ingest.records import Filter


def main(folder: Path) -> None:
    """Ingest the sample papers into `folder`, then search and ask."""
    for event in ingest(sample.paths(), library=folder):
        if isinstance(event, Added):
            print(f"added {event.path.name}: {event.pages} pages, {event.chunks} passages")
        elif isinstance(event, Failed):
            print(f"failed {event.path.name}: {event.error}")

    with Assistant(folder) as assistant:
        print("\nSearch: theoretical capacity, in passages that mention lithium and cobalt")
        for hit in assistant.search("theoretical capacity", k=3, where=Filter(elements=frozenset({"Li", "Co"}))):
            print(f"  {hit.score:.2f}  {hit.title}, p. {hit.chunk.page}: {hit.chunk.text[:70]}…")

        answer = assistant.ask("What is the theoretical capacity of LiFePO4?")
        print(f"\n{answer.text}\n")
        for citation in answer.citations:
            box = citation.boxes[0]
            print(f"  [{citation.n}] {citation.status}: page {citation.page}, {box.top:.0f} points from its top")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary) / "library")

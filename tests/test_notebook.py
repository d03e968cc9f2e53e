"""The Python API inside a real Jupyter kernel, whose event loop runs already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from papers import make_library

from ingest.embed import make_embedder

jupyter_client = pytest.importorskip("jupyter_client.manager", reason="needs ipykernel, of the dev extra")

CELLS = """
from assistant import Assistant
assistant = Assistant({folder!r}, offline=True, keep_journal=False)
assistant
---
assistant.ask("What initial discharge capacity did the LiFePO4 cathode deliver?")
---
print((await assistant.aask("Convert 1.43 eV to nm")).text)
---
async for event in assistant.astream("Convert 2 eV to nm"):
    print(type(event).__name__)
---
import asyncio
answers = await asyncio.gather(*(assistant.aask(question) for question in ("2+2", "3*4", "5!")))
print([str(answer).splitlines()[1] for answer in answers])
---
chat = assistant.chat()
for question in ("1.43 eV to nm", "and in m?"):
    answer = chat.ask(question)
print(answer)
assistant.close()
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    manager, client = jupyter_client.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client: Any, cell: str) -> dict[str, str]:
    """Run a cell; return what it printed and showed, by kind."""
    shown: dict[str, str] = {}

    def keep(message: dict[str, Any]) -> None:
        content = message["content"]
        assert message["msg_type"] != "error", content
        if message["msg_type"] == "stream":
            shown[content["name"]] = shown.get(content["name"], "") + content["text"]
        elif "data" in content:
            shown.update(content["data"])

    client.execute_interactive(cell, output_hook=keep, timeout=120)
    return shown


def test_everything_works_in_a_notebook(tmp_path: Path, kernel: Any) -> None:
    with make_library(tmp_path, make_embedder("all-MiniLM-L6-v2")) as library:
        folder = str(library.info.path)
    cells = CELLS.format(folder=folder).split("---\n")
    opened, asked, awaited, streamed, gathered, chatted = (run(kernel, cell) for cell in cells)
    assert opened["text/plain"] == f"Assistant({folder!r}, model='extractive')"
    assert "white-space: pre-wrap" in asked["text/html"]
    assert "163 mAh g−1 at 0.1 C" in asked["text/html"]
    assert "867.0223667 nm" in awaited["stdout"]
    assert streamed["stdout"].split() == ["Started", "ToolStarted", "ToolFinished", "TextDelta", "Answered"]
    assert gathered["stdout"].split("'")[1::2] == [
        f"- {told} (calculator)" for told in ("2+2 = 4", "3*4 = 12", "5! = 120")
    ]
    assert "8.670223667e-07 m" in chatted["stdout"]

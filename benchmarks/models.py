"""Models on this machine: how fast they read and write, whether they keep to schemas, and what our own layers cost.

    python -m benchmarks.models [--gguf FILE] [--local FOLDER]

Without a GGUF file it takes Qwen 1.5B where `../shared/tools/qwen-gguf` has put it; without a folder, no transformers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assistant.chat import TIMEOUT_S, ChatModel, Delta, Message, Reply, ToolSpec
from benchmarks._machine import describe

QWEN = Path.home() / ".cache/matlit-test-models/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
PASSAGE = "Silicon crystallises in the diamond structure and has an indirect band gap of 1.12 eV at 300 K. " * 8
GAPS = {"silicon": 1.12, "germanium": 0.66, "gallium arsenide": 1.42, "diamond": 5.47, "zinc oxide": 3.37}
SCHEMA = {
    "type": "object",
    "properties": {"material": {"type": "string", "maxLength": 30}, "gap_eV": {"type": "number"}},
    "required": ["material", "gap_eV"],
    "additionalProperties": False,
}
CALCULATOR = ToolSpec(
    "calculator",
    "Computes an arithmetic expression.",
    {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", type=Path, default=QWEN)
    parser.add_argument("--local", type=Path)
    asked = parser.parse_args()
    print(describe("xllamacpp", "transformers", "openai"))
    overhead()
    if asked.gguf.is_file():
        model = measured(f"gguf/{asked.gguf}")
        over_http(model)
    else:
        print(f"no {asked.gguf}: run ../shared/tools/qwen-gguf")
    if asked.local:
        measured(f"local/{asked.local}")


def overhead(calls: int = 2000) -> None:
    """Print what `ChatModel` adds to a call of a backend that answers at once."""
    model = ChatModel.scripted([{"when": "", "text": "an answer of six or seven words"}])
    message = [Message("user", "x" * 8000)]
    ours = timed(lambda: model.chat(message, tools=[CALCULATOR]), calls)
    bare = timed(lambda: model.backend.reply(model._request(message, [CALCULATOR], None, None, 0.0, None, ())), calls)
    print(f"ChatModel: {(ours - bare) * 1e6:.0f} µs per call on top of the backend (median of {calls})")


def timed(call: Callable[[], Any], times: int) -> float:
    """Return the median seconds of a call."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def measured(spec: str) -> ChatModel:
    """Load a model, print how it does, and return it."""
    began = time.perf_counter()
    model = ChatModel.from_spec(spec, offline=True)
    print(f"{model.spec.split('/')[0]}/{model.model}: loaded in {time.perf_counter() - began:.1f} s")
    speed(model)
    if model.json_schema:
        print(f"  schema: {sum(fits(model, *item) for item in GAPS.items())}/{len(GAPS)} right values")
    print(f"  tool call: {sum(calls_tool(model, n) for n in range(3, 8))}/5 right calls, written as text")
    return model


def speed(model: ChatModel) -> None:
    """Print tokens read and written per second, from a stream."""
    prompt = [Message("user", f"{PASSAGE}\n\nWrite about silicon, at length.")]
    began = time.perf_counter()
    first, reply = 0.0, None
    for item in model.stream(prompt, max_tokens=96):
        first = first or time.perf_counter() - began
        reply = item if isinstance(item, Reply) else reply
    if reply is None:
        raise RuntimeError("no reply")
    writing = time.perf_counter() - began - first
    read = reply.usage.input_tokens - reply.usage.cached_tokens
    print(
        f"  reads {read / first:.0f} tokens/s ({read} tokens, first word after {first:.1f} s), "
        f"writes {reply.usage.output_tokens / writing:.1f} tokens/s"
    )


def fits(model: ChatModel, material: str, gap: float) -> bool:
    """Tell whether the model fills the schema with what the sentence says."""
    question = f"The band gap of {material} is {gap} eV. Give material and gap."
    return bool(model.chat([Message("user", question)], schema=SCHEMA, max_tokens=60).data()["gap_eV"] == gap)


def calls_tool(model: ChatModel, number: int) -> bool:
    """Tell whether the model asks for the calculator with the right expression."""
    question = f"What is 17.5*{number}? Use the calculator."
    calls = model.chat([Message("user", question)], tools=[CALCULATOR], max_tokens=80).tool_calls
    written = [str(dict(call.arguments).get("expression", "")) for call in calls if not isinstance(call.arguments, str)]
    return any(text.replace(" ", "") == f"17.5*{number}" for text in written)


def over_http(model: ChatModel) -> None:
    """Put the same question to the same model in process and through its server, with the openai client."""
    served = served_by(model)
    question = [Message("user", "Name three cathode materials.")]
    model.chat(question, max_tokens=32)  # so that both find the prompt read already
    seconds = {
        name: timed(lambda m=m: m.chat(question, max_tokens=32), 3)
        for name, m in (("in process", model), ("http", served))
    }
    print("  " + ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()) + " for the same 32 tokens")
    deltas = sum(isinstance(item, Delta) for item in served.stream(question, max_tokens=32))
    print(f"  http streams {deltas} pieces; schema {fits(served, 'silicon', 1.12)}")


def served_by(model: ChatModel, *, timeout_s: float = TIMEOUT_S) -> ChatModel:
    """Return the very model that is loaded, asked through its server with the openai client."""
    loaded = model.backend._loaded  # type: ignore[attr-defined]
    os.environ["MATLIT_SERVER_KEY"] = loaded.key
    return ChatModel.from_spec(f"{loaded.address}/v1#{model.model}", offline=True, timeout_s=timeout_s)


if __name__ == "__main__":
    main()

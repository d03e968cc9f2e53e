"""Tools for models that take none but are held to a JSON schema: each step is one object of thought, calls and answer.

The schema lists the tools with the schemas of their arguments, so that a server which enforces it cannot get a call of
a tool that does not exist. What was called and what came of it goes back as plain turns, which every chat template
knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from assistant import prompts
from assistant.chat import ChatModel, Message, Reply, ToolCall, ToolSpec, json_object
from assistant.providers.base import calls_in_text

MOST_CALLS = 4
THOUGHT_CHARACTERS = 400


def takes_steps(model: ChatModel) -> bool:
    """Whether tools go to `model` this way: it takes none natively, and its provider enforces schemas."""
    return model.json_schema and not model.native_tools


def step_schema(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """Return the JSON schema of one step with `tools`."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"type": "string", "enum": [tool.name]}, "arguments": dict(tool.parameters)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return {
        "type": "object",
        "properties": {
            "thought": {"type": "string", "maxLength": THOUGHT_CHARACTERS},
            "calls": {"type": "array", "items": {"anyOf": calls}, "maxItems": MOST_CALLS},
            "answer": {"type": "string"},
        },
        "required": ["thought", "calls", "answer"],
        "additionalProperties": False,
    }


def instructions(tools: Sequence[ToolSpec]) -> str:
    """Return what the system prompt says about steps and tools."""
    listed = [
        json.dumps({"name": one.name, "does": one.description, "arguments": one.parameters}, ensure_ascii=False)
        for one in tools
    ]
    return prompts.WITH_STEPS.format(tools="\n".join(listed))


def read_step(reply: Reply, tools: Sequence[ToolSpec]) -> Reply:
    """Return the reply with the calls or the answer of the step that its text is; any other text stays as it is."""
    if not tools or reply.tool_calls:
        return reply
    step = json_object(reply.text)
    if step is None or not {"calls", "answer"} & step.keys():
        written = calls_in_text(reply.text, tools)
        return replace(reply, text="", tool_calls=written, finish="tool_calls") if written else reply
    listed: Any = step.get("calls")
    calls = tuple(
        ToolCall(f"call_{place}", str(one.get("name", "")), one.get("arguments", {}))
        for place, one in enumerate(listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
    )[:MOST_CALLS]
    if calls:
        return replace(reply, tool_calls=calls, finish="tool_calls")  # its text goes back as the step it was
    return replace(reply, text=str(step.get("answer") or ""), finish="stop")


def turns(reply: Reply, results: Sequence[str]) -> list[Message]:
    """Return a step and what came of its calls as turns of the conversation."""
    return [Message("assistant", reply.text), Message("user", prompts.TOOL_RESULTS.format(results="\n".join(results)))]

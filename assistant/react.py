"""Tools for models that take none but are held to a JSON schema: each step is one object, of calls or of the answer.

The schema lists the tools with the schemas of their arguments, so that a server which enforces it cannot get a call of
a tool that does not exist. What was called and what came of it goes back as plain turns, which every chat template
knows. The tools stand in the system prompt, the same for every question: a server that keeps what it has read reads
them once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assistant import prompts
from assistant.chat import ChatModel, Message, Reply, ToolCall, ToolSpec, json_object
from assistant.providers.base import calls_in_text

MOST_CALLS = 4


def takes_steps(model: ChatModel) -> bool:
    """Whether tools go to `model` this way: it takes none natively, and its provider enforces schemas."""
    return model.json_schema and not model.native_tools


def step_schema(tools: Sequence[ToolSpec], *, must_call: bool = False) -> dict[str, Any]:
    """Return the JSON schema of one step with `tools`: calls, or else an answer; without tools, an answer."""
    answer = _step("answer", {"type": "string", "minLength": 1})
    if not tools:
        return answer
    calls = [
        {
            "type": "object",
            "properties": {"name": {"type": "string", "enum": [tool.name]}, "arguments": dict(tool.parameters)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    several = {"type": "array", "items": {"anyOf": calls}, "minItems": 1, "maxItems": MOST_CALLS}
    calling = _step("calls", several)
    return calling if must_call else {"anyOf": [calling, answer]}


def _step(does: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {does: schema}, "required": [does], "additionalProperties": False}


def instructions(tools: Sequence[ToolSpec]) -> str:
    """Return what the system prompt says about steps and tools."""
    return prompts.WITH_STEPS.format(tools="\n".join(map(described, tools)))


def described(tool: ToolSpec) -> str:
    """Return a tool in words: models that read slowly need not read its JSON schema, which is twice as long."""
    required = tool.parameters.get("required", ())
    lines = [f"{tool.name}: {' '.join(tool.description.split())}"]
    for name, schema in tool.parameters.get("properties", {}).items():
        told = ", ".join(filter(None, (_kind(schema), "required" if name in required else "")))
        about = schema.get("description", "")
        lines.append(f"  {name}" + (f" ({told})" if told else "") + (f": {about}" if about else ""))
    return "\n".join(lines)


def _kind(schema: Mapping[str, Any]) -> str:
    """Return what an argument is, in a word or two; "" for plain text."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {})) or 'text'}"
    return "" if kind == "string" else str(kind)


def read_step(reply: Reply, tools: Sequence[ToolSpec]) -> Reply:
    """Return the reply with the calls or the answer of the step that its text is; any other text stays as it is."""
    if reply.tool_calls:
        return reply
    step = json_object(reply.text) or _cut_off(reply)
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


def _cut_off(reply: Reply) -> dict[str, Any] | None:
    """Return what there is of a step that ran out of tokens, so that the answer begun in it is not lost."""
    from pydantic_core import from_json

    if reply.finish != "length":
        return None
    try:
        step = from_json(reply.text.strip(), allow_partial="trailing-strings")
    except ValueError:
        return None
    return step if isinstance(step, dict) and "answer" in step else None


def turns(reply: Reply, results: Sequence[str]) -> list[Message]:
    """Return a step and what came of its calls as turns of the conversation."""
    return [Message("assistant", reply.text), Message("user", prompts.TOOL_RESULTS.format(results="\n".join(results)))]

"""What a model that works in steps is told of its tools."""

from __future__ import annotations

import json

from assistant.chat import ToolSpec
from assistant.react import described, instructions, step_schema
from assistant.tools import builtin_tools

SPECS = [ToolSpec(tool.name, tool.description, tool.parameters) for tool in builtin_tools().values()]


def test_a_tool_is_told_in_words_with_all_that_its_schema_says() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "of the thing"},
            "count": {"type": "integer"},
            "of": {"type": "array", "items": {"type": "string"}},
            "sort": {"type": "string", "enum": ["a", "b"], "description": "the order"},
        },
        "required": ["name"],
    }
    assert described(ToolSpec("find", "Find\n  things.", parameters)).splitlines() == [
        "find: Find things.",
        "  name (required): of the thing",
        "  count (integer)",
        "  of (list of text)",
        "  sort (a | b): the order",
    ]


def test_the_words_are_much_shorter_than_the_schemas() -> None:
    words = "\n".join(map(described, SPECS))
    schemas = json.dumps([{"name": one.name, "does": one.description, "arguments": one.parameters} for one in SPECS])
    assert len(words) < 0.7 * len(schemas)
    assert words in instructions(SPECS)


def test_a_step_is_calls_or_an_answer_never_both_and_never_neither() -> None:
    calling, answering = step_schema(SPECS)["anyOf"]
    assert (calling["required"], answering["required"]) == (["calls"], ["answer"])
    assert calling["properties"]["calls"]["minItems"] == answering["properties"]["answer"]["minLength"] == 1
    assert step_schema(SPECS, must_call=True) == calling
    assert step_schema(()) == answering

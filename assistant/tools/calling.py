"""Calling a tool: arguments checked, time and size bounded, and whatever goes wrong given back as data."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from assistant.tools.base import Tool, ToolOutput, ToolResult, jsonable
from assistant.tools.running import MOST_LEFT_BEHIND, OutOfTime, TooManyLeft, run_within
from assistant.tools.schema import BadArguments, shorten
from ingest.errors import BadInput, MatlitError

MOST_SECONDS = 60.0
MOST_CHARACTERS = 20_000  # of a tool's data as JSON, and of its text
MOST_ARGUMENT_CHARACTERS = 2_000_000  # a CIF of some ten thousand atoms

logger = logging.getLogger(__name__)


class UnknownTool(BadInput):
    """There is no tool of that name."""

    hint = "List them: matlit tool --list"


def call(
    tool: Tool | None,
    arguments: Mapping[str, Any] | str | None,
    *,
    name: str = "",
    timeout_s: float = MOST_SECONDS,
    most_characters: int = MOST_CHARACTERS,
) -> ToolResult:
    """Run a tool and return what came of it; whatever goes wrong is in the result, nothing is raised.

    `arguments` may be JSON text, as models send it. `tool` may be None where a model asked for one that does not
    exist (`name` says which). A tool that takes longer than `timeout_s` is left behind; what is longer than
    `most_characters` is shortened, and says so.
    """
    begun = time.perf_counter()
    name = tool.name if tool is not None else name
    shown: Mapping[str, Any] = arguments if isinstance(arguments, Mapping) else {}
    try:
        if tool is None:
            raise UnknownTool(f"there is no tool named {name!r}")
        shown = parse_arguments(tool, arguments)
        checked = tool.check(shown) if tool.check is not None else dict(shown)
        output = bounded(run_within(timeout_s, tool.run, checked), most_characters=most_characters)
    except MatlitError as error:
        kind = type(error.__cause__ if isinstance(error.__cause__, MatlitError) else error).__name__
        return ToolResult(name, shown, None, str(error), error.hint, time.perf_counter() - begun, kind)
    except OutOfTime:
        hint = "Ask for less: a smaller structure, fewer records"
        error_text = f"{name} took longer than {timeout_s:g} s and was left behind"
        return ToolResult(name, shown, None, error_text, hint, time.perf_counter() - begun)
    except TooManyLeft:
        error_text = f"{name} was not started: {MOST_LEFT_BEHIND} earlier calls of tools are still running"
        return ToolResult(name, shown, None, error_text, "Wait, or start matlit again", time.perf_counter() - begun)
    except Exception as error:  # the border to functions of anyone: their failures are data for a model
        logger.info("the tool %s failed", name, exc_info=error)
        told = f"{name} failed: {type(error).__name__}: {str(error)[:500]}"
        return ToolResult(name, shown, None, told, "", time.perf_counter() - begun)
    return ToolResult(name, shown, output, None, "", time.perf_counter() - begun)


def parse_arguments(tool: Tool, arguments: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Return arguments as a mapping: given so, as JSON text, or as plain text for a tool's first parameter.

    Raises:
        BadArguments: the text is JSON but no object, is broken JSON, or is too long.
    """
    if arguments is None or isinstance(arguments, Mapping):
        if len(str(arguments)) > MOST_ARGUMENT_CHARACTERS:
            raise BadArguments(f"the arguments of {tool.name} are longer than {MOST_ARGUMENT_CHARACTERS:,} characters")
        return dict(arguments or {})
    text = arguments.strip()
    if len(text) > MOST_ARGUMENT_CHARACTERS:
        raise BadArguments(f"the arguments of {tool.name} are longer than {MOST_ARGUMENT_CHARACTERS:,} characters")
    if not text.startswith("{"):
        first = next(iter(tool.parameters.get("properties", {})), None)
        if text and first is not None:
            return {first: text}
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadArguments(
            f"the arguments of {tool.name} are not JSON: {error}", hint='Write them like {"name": "value"}'
        ) from error
    if not isinstance(found, dict):
        raise BadArguments(f"the arguments of {tool.name} are {shorten(found)}, not an object")
    return found


def bounded(output: ToolOutput, *, most_characters: int = MOST_CHARACTERS) -> ToolOutput:
    """Return the output with long lists and texts cut, where it is longer than `most_characters`; it says so."""
    text = output.text
    if len(text) > most_characters:
        left = len(text) - most_characters
        text = f"{text[:most_characters]}… ({left:,} more characters)"
    data = jsonable(output.data)
    for length in (200, 100, 50, 20, 10, 5, 2):
        if len(json.dumps(data, ensure_ascii=False)) <= most_characters:
            break
        data = {**_cut(output.data, length, most_characters // 10), "shortened": True}
    else:
        if len(json.dumps(data, ensure_ascii=False)) > most_characters:
            data = {"shortened": True}
    return ToolOutput(data, text, output.sources[:200])


def _cut(value: Any, length: int, characters: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _cut(item, length, characters) for key, item in value.items()}
    if isinstance(value, list | tuple):
        kept = [_cut(item, length, characters) for item in value[:length]]
        return kept if len(value) <= length else [*kept, f"… ({len(value) - length} more)"]
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]}…"
    return value

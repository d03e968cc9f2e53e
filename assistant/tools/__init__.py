"""The tools an assistant may call: typed functions, their JSON schemas, and one way to run them by name.

A tool is a plain function: its annotations become the schema, its docstring the description. `call` checks arguments,
bounds time and size, and gives errors back as data. Built in is what `BUILTIN` lists; others join as functions handed
over, or through the entry point group `matlit.tools`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from assistant.tools.attached import read_attachment
from assistant.tools.base import Tool, ToolContext, ToolOutput, ToolResult, as_tool, from_function, read_only
from assistant.tools.calling import MOST_SECONDS, UnknownTool, bounded, call, parse_arguments
from assistant.tools.schema import BadArguments, read_value
from ingest.errors import BadInput

__all__ = [
    "BUILTIN",
    "ENTRY_POINTS",
    "MOST_SECONDS",
    "BadArguments",
    "Tool",
    "ToolContext",
    "ToolOutput",
    "ToolResult",
    "UnknownTool",
    "all_tools",
    "as_tool",
    "bounded",
    "builtin_tools",
    "call",
    "from_function",
    "installed_tools",
    "look_for_installed",
    "parse_arguments",
    "read_attachment",
    "read_only",
    "read_value",
]

ENTRY_POINTS = "matlit.tools"
logger = logging.getLogger(__name__)

# name -> "module:factory"; a factory takes the ToolContext and returns the Tool
BUILTIN = {
    "calculator": "assistant.tools.calculator:make",
    "structure": "assistant.tools.structure:make",
    "materials": "assistant.tools.materials:make",
    "papers": "assistant.tools.papers:make",
    "bandgap": "assistant.tools.bandgap:make",
}


def builtin_tools(context: ToolContext | None = None) -> dict[str, Tool]:
    """Return the built-in tools by name, working on `context`. Nothing heavy is imported before a tool runs."""
    made = {name: _load(target)(context or ToolContext()) for name, target in BUILTIN.items()}
    return {name: made[name] for name in BUILTIN}


def all_tools(context: ToolContext | None = None, *, own: Iterable[Any] = ()) -> dict[str, Tool]:
    """Return the built-in tools, those of installed packages, and `own` (functions or tools).

    Raises:
        BadInput: one of `own` has the name of another tool, or is neither a function nor a tool.
    """
    tools = builtin_tools(context) | installed_tools()
    for tool in map(as_tool, own):
        if tool.name in tools:
            raise BadInput(f"there are two tools named {tool.name!r}", hint="Rename one: from_function(f, name=…)")
        tools[tool.name] = tool
    return tools


def installed_tools() -> dict[str, Tool]:
    """Return the tools that installed packages offer; one that cannot be used is left out and named in the log."""
    tools = {}
    for _, found in look_for_installed():
        if isinstance(found, Tool):
            tools[found.name] = found
        else:
            logger.warning("the tool %s", found)
    return tools


def look_for_installed() -> list[tuple[str, Tool | str]]:
    """Return what packages offer as tools: name, and the tool, or why it cannot be used.

    One package's fault is not to stop everything else, so whatever its import raises is a reason.
    """
    from importlib.metadata import entry_points

    found: list[tuple[str, Tool | str]] = []
    taken = set(BUILTIN)
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda each: (each.name, each.value)):
        package = point.dist.name if point.dist else "a package"
        told = f"{point.name!r} ({point.value}, of {package})"
        if point.name in taken:
            found.append((point.name, f"{told} is left out: there is one of that name already"))
            continue
        try:
            found.append((point.name, as_tool(point.load(), name=point.name)))
            taken.add(point.name)
        except Exception as error:  # noqa: BLE001 - the border to packages of anyone
            found.append((point.name, f"{told} cannot be loaded: {type(error).__name__}: {error}"))
    return found


def _load(target: str) -> Callable[[ToolContext], Tool]:
    module, factory = target.split(":")
    loaded: Callable[[ToolContext], Tool] = getattr(import_module(module), factory)
    return loaded

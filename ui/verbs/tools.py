"""Tools run by hand, as the agent would run them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import BadInput
from ui.command import DONE, FAILED, Context, Verb, emit

if TYPE_CHECKING:
    from assistant.tools import Tool, ToolResult

ON_STRUCTURES = ("structure", "bandgap")  # the tools whose arguments may be files
MOST_CHARACTERS = 20_000_000  # by hand a result is not cut, as it is for a model


@click.command(
    cls=Verb,
    examples="""matlit tool --list
matlit tool calculator "1.43 eV to nm"
matlit tool structure LiFePO4.cif task=xrd wavelength=MoKa
matlit tool structure task=compare --attach a/POSCAR --attach b/POSCAR
matlit tool materials '{"chemsys": "Li-O", "stable": true, "band_gap_min_ev": 1}'
matlit tool bandgap --attach POSCAR""",
)
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1)
@click.option("--attach", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="A structure's file.")
@click.option("--list", "listing", is_flag=True, help="List the tools there are, with their arguments.")
@click.pass_obj
def tool(
    context: Context, name: str | None, arguments: tuple[str, ...], attach: tuple[Path, ...], listing: bool
) -> int:
    """Run the tool NAME as the agent would; ARGUMENTS are JSON, key=value pairs, or its first argument."""
    from ui.engine import open_tools

    if not listing and name is None:
        raise BadInput("which tool?", hint="List them: matlit tool --list")
    arguments, files = take_files(name or "", arguments)
    tools = open_tools(context.settings(), (*attach, *files))
    if listing:
        emit(context, [each.to_json() for each in tools.values()], lambda: show_tools(tools))
        return DONE
    result = run_tool(tools, str(name), arguments)
    emit(context, result.to_json(), lambda: show_result(result))
    return DONE if result.error is None else FAILED


def run_tool(tools: dict[str, Tool], name: str, arguments: tuple[str, ...]) -> ToolResult:
    """Run one tool with the command line's arguments. Raises BadInput where there is none of that name."""
    from difflib import get_close_matches

    from assistant.tools import call

    if name not in tools:
        close = get_close_matches(name, tools, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise BadInput(f"there is no tool named {name!r}{meant}", hint="List them: matlit tool --list")
    return call(tools[name], read_arguments(tools[name], arguments), most_characters=MOST_CHARACTERS)


def take_files(name: str, words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the arguments of a tool that works on structures with the files among them attached, and these files.

    Only the person at the command line names paths; no tool opens one.
    """
    if name not in ON_STRUCTURES:
        return words, ()
    kept, files = [], []
    for word in words:
        head, sign, value = word.rpartition("=")
        path = Path(value)
        is_file = len(value) < 1000 and path.is_file()
        kept.append(f"{head}{sign}{path.name}" if is_file else word)
        files += [path] if is_file else []
    return tuple(kept), tuple(files)


def read_arguments(tool: Tool, words: tuple[str, ...]) -> dict[str, Any] | str:
    """Return what the words on the command line mean: one JSON object, or the first argument and `key=value` pairs."""
    from assistant.tools import read_value

    properties = tool.parameters.get("properties", {})
    pairs = [word.partition("=") for word in words]
    named = {key: read_value(value, properties[key]) for key, sign, value in pairs if sign and key in properties}
    unknown = next((key for key, sign, _ in pairs if sign and key.isidentifier() and key not in properties), "")
    if unknown and not words[0].lstrip().startswith("{"):
        raise BadInput(f"{tool.name} takes no argument {unknown!r}", hint=f"{tool.name} takes {', '.join(properties)}")
    bare = " ".join(word for word, (key, sign, _) in zip(words, pairs, strict=True) if not (sign and key in properties))
    if not named:
        return bare
    return ({next(iter(properties)): bare} if bare else {}) | named


def show_tools(tools: dict[str, Tool]) -> None:
    """Print every tool: what it does, and what it takes."""
    from ui.show import say, wrap

    for tool in tools.values():
        first = tool.description.split("\n")[0]
        asks = "" if tool.read_only else " (asked for before the agent runs it)"
        say(f"{tool.name}{asks}")
        say(wrap(first, indent="    "))
        required = set(tool.parameters.get("required", ()))
        for key, told in tool.parameters.get("properties", {}).items():
            mark = "" if key in required else " (optional)"
            choices = f"; one of {', '.join(map(str, told['enum']))}" if "enum" in told else ""
            say(wrap(f"{key}{mark}: {told.get('description', told.get('type', ''))}{choices}", indent="      "))


def show_result(result: ToolResult) -> None:
    """Print the result's text and its sources; an error goes to stderr with its hint."""
    from ui.show import say

    if result.result is None:
        say(f"matlit: {result.error}", err=True)
        if result.hint:
            say(f"  → {result.hint}", err=True)
        return
    say(result.result.text)
    if result.result.sources:
        say(f"sources: {', '.join(result.result.sources)}", err=True)

"""The tools an assistant may call: typed functions, their JSON schemas, and one way to run them by name.

A tool is a plain function: its annotations become the schema, its docstring the description. `call` checks arguments,
bounds time and size, and gives errors back as data. Built in is what `BUILTIN` lists; others join as functions handed
over, or through the entry point group `matlit.tools`.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from assistant.tools.running import OutOfTime, run_within
from assistant.tools.schema import BadArguments, check, make_model, make_schema, read_docstring, shorten
from ingest.errors import BadInput, MatlitError

if TYPE_CHECKING:
    from assistant.retrieve import QueryEmbedder
    from ingest.library import Library

ENTRY_POINTS = "matlit.tools"
MOST_SECONDS = 60.0
MOST_CHARACTERS = 20_000  # of a tool's data as JSON, and of its text
MOST_ARGUMENT_CHARACTERS = 2_000_000  # a CIF of some ten thousand atoms

# name -> "module:factory"; a factory takes the ToolContext and returns the Tool
BUILTIN = {
    "calculator": "assistant.tools:_make_calculator",
}

F = TypeVar("F", bound=Callable[..., Any])
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool found: `data` for programs, `text` for people and models, `sources` for citations.

    A source is a materials id ("mp-149"), a page ("<paper id>#3"), an attachment's name, or the name of a model.
    """

    data: dict[str, Any]
    text: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that an assistant may call. One that is not `read_only` is asked for before it runs.

    `parameters` is a JSON schema; `check` turns raw arguments into those of `run`, or raises `BadArguments`.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[..., ToolOutput]
    read_only: bool = False
    check: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the tool as the command line lists it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
            "read_only": self.read_only,
        }


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of one call: `result`, or `error` with a `hint`."""

    name: str
    arguments: Mapping[str, Any]
    result: ToolOutput | None = None
    error: str | None = None
    hint: str = ""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Return what a model is shown: the result's text, or the error and how to mend it."""
        if self.result is not None:
            return self.result.text
        return f"Error: {self.error}" + (f" ({self.hint})" if self.hint else "")

    def to_json(self) -> dict[str, Any]:
        """Return the call as answers list it."""
        document: dict[str, Any] = {
            "name": self.name,
            "arguments": dict(self.arguments),
            "result": None if self.result is None else self.result.data,
            "error": self.error,
            "seconds": round(self.seconds, 4),
        }
        if self.result is not None:
            document |= {"text": self.result.text, "sources": list(self.result.sources)}
        return document | ({"hint": self.hint} if self.hint else {})


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What the built-in tools work on; what is missing makes the tools that need it say so.

    `attachments` maps a file's name to its text. `bandgap_model` is "shipped", a model folder, a loaded model, or None.
    """

    library: Library | None = None
    attachments: Mapping[str, str] = field(default_factory=dict)
    bandgap_model: Any = "shipped"
    embedder: QueryEmbedder | None = None


class UnknownTool(BadInput):
    """There is no tool of that name."""

    hint = "List them: matlit tool --list"


# --- which tools there are --------------------------------------------------------------------------------------------


def builtin_tools(context: ToolContext | None = None) -> dict[str, Tool]:
    """Return the built-in tools by name, working on `context`. Nothing heavy is imported before a tool runs."""
    made = {name: _load(target)(context or ToolContext()) for name, target in BUILTIN.items()}
    return {name: made[name] for name in BUILTIN}


def all_tools(context: ToolContext | None = None, *, own: Iterable[Any] = ()) -> dict[str, Tool]:
    """Return the built-in tools, those of installed packages, and `own` (functions or tools).

    Raises:
        BadInput: two tools have the same name, or something is neither a function nor a tool.
    """
    tools = builtin_tools(context)
    for tool in (*installed_tools(), *map(as_tool, own)):
        if tool.name in tools:
            raise BadInput(f"there are two tools named {tool.name!r}", hint="Rename one: from_function(f, name=…)")
        tools[tool.name] = tool
    return tools


def installed_tools() -> list[Tool]:
    """Return the tools that installed packages offer; one that cannot be loaded is left out and named in the log."""
    from importlib.metadata import entry_points

    found = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found.append(as_tool(point.load(), name=point.name))
        except (ImportError, AttributeError, MatlitError) as error:
            logger.warning("the tool %r (%s) cannot be loaded: %s", point.name, point.value, error)
    return found


def as_tool(thing: Any, *, name: str = "") -> Tool:
    """Return `thing` as a tool. A function counts as read-only only when `read_only(function)` has marked it."""
    if isinstance(thing, Tool):
        return thing
    if not callable(thing):
        raise BadInput(
            f"{thing!r} is neither a function nor a tool", hint="Hand over a typed function with a docstring"
        )
    return from_function(thing, name=name, read_only=getattr(thing, "__matlit_read_only__", False))


def read_only(function: F) -> F:
    """Mark a function as one that changes nothing, so that an assistant may call it without asking. A decorator."""
    function.__matlit_read_only__ = True  # type: ignore[attr-defined]  # functions take attributes
    return function


def _load(target: str) -> Callable[[ToolContext], Tool]:
    module, factory = target.split(":")
    loaded: Callable[[ToolContext], Tool] = getattr(import_module(module), factory)
    return loaded


def _make_calculator(_: ToolContext) -> Tool:
    def calculator(expression: str) -> ToolOutput:
        """Work out an arithmetic expression with units and physical constants, exactly; also converts units.

        Examples: "1.43 eV to nm", "h*c/(589 nm) in eV", "sqrt(2)*5.43 Å", "4*28.0855 g/mol / (N_A*(5.431 Å)^3) to
        g/cm^3", "25 degC to K".

        Args:
            expression: numbers, units, + - * / ^, functions such as sqrt, exp, ln, log10, sin; "to UNIT" at the end
        """
        from assistant.tools.calculator import calculate

        result = calculate(expression)
        notes = f" ({'; '.join(result.notes)})" if result.notes else ""
        return ToolOutput(result.to_json(), f"{result.expression} = {result.text}{notes}", ("calculator",))

    return from_function(calculator, read_only=True)


# --- from a function to a tool ----------------------------------------------------------------------------------------


def from_function(
    function: Callable[..., Any], *, read_only: bool = False, name: str = "", description: str = ""
) -> Tool:
    """Return a tool that runs `function`, plain or async.

    Every parameter needs an annotation that JSON can carry; the docstring gives the description, its `Args:` section
    (Google's style) those of the parameters. What is returned may be a ToolOutput, a mapping, a dataclass, an object
    with `to_json`, or anything JSON can carry.

    Raises:
        BadInput: a parameter has no annotation or one that no schema can express, or there is no description.
    """
    name = name or getattr(function, "__name__", "")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name):
        raise BadInput(f"{name!r} is no name for a tool", hint="Use letters, digits, _ and -: from_function(f, name=…)")
    told, of_parameters = read_docstring(function)
    if not (description or told):
        raise BadInput(f"the function {name!r} has no docstring", hint="Say in it what the tool does: models read it")
    model = make_model(function, name, of_parameters)
    return Tool(
        name=name,
        description=description or told,
        parameters=make_schema(model),
        run=_Runner(function),
        read_only=read_only,
        check=partial(check, name, model),
    )


@dataclass(frozen=True, slots=True)
class _Runner:
    function: Callable[..., Any]

    def __call__(self, **arguments: Any) -> ToolOutput:
        found = self.function(**arguments)
        if inspect.iscoroutine(found):
            import asyncio

            found = asyncio.run(found)  # tools run in threads of their own, where no loop is running
        return _as_output(found)


def _as_output(found: Any) -> ToolOutput:
    if isinstance(found, ToolOutput):
        return found
    data = found.to_json() if callable(getattr(found, "to_json", None)) else _jsonable(found)
    text = found if isinstance(found, str) else json.dumps(data, ensure_ascii=False)
    return ToolOutput(dict(data) if isinstance(data, Mapping) else {"result": data}, text)


def _jsonable(found: Any) -> Any:
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(found, inf_nan_mode="strings")
    except PydanticSerializationError as error:
        raise BadInput(f"the tool returned {shorten(found)}, which JSON cannot carry: {error}") from error


# --- calling ----------------------------------------------------------------------------------------------------------


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
        return ToolResult(name, shown, None, str(error), error.hint, time.perf_counter() - begun)
    except OutOfTime:
        hint = "Ask for less: a smaller structure, fewer records"
        error_text = f"{name} took longer than {timeout_s:g} s and was left behind"
        return ToolResult(name, shown, None, error_text, hint, time.perf_counter() - begun)
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
    data = _jsonable(output.data)
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

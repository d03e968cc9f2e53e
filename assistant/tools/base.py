"""What a tool is: its name, schema and function, what it works on and returns, and how a plain function becomes one."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from assistant.tools.schema import check, make_model, make_schema, read_docstring, shorten
from ingest.errors import BadInput

if TYPE_CHECKING:
    from assistant.retrieve import QueryEmbedder
    from ingest.library import Library

F = TypeVar("F", bound=Callable[..., Any])


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
    kind: str = ""  # of the error: the name of its class

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
    schema = make_schema(model)
    return Tool(
        name=name,
        description=description or told,
        parameters=schema,
        run=_Runner(function),
        read_only=read_only,
        check=partial(check, name, model, schema),
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
    data = found.to_json() if callable(getattr(found, "to_json", None)) else jsonable(found)
    text = found if isinstance(found, str) else json.dumps(data, ensure_ascii=False)
    return ToolOutput(dict(data) if isinstance(data, Mapping) else {"result": data}, text)


def jsonable(found: Any) -> Any:
    """Return what a tool found as plain data. Raises BadInput where JSON cannot carry it."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(found, inf_nan_mode="strings")
    except PydanticSerializationError as error:
        raise BadInput(f"the tool returned {shorten(found)}, which JSON cannot carry: {error}") from error

"""JSON schemas for functions: from annotations and docstrings to what a model is told, and arguments checked back."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ingest.errors import BadInput

SAME_WORD = 0.9  # similarity at which two spellings are one word: neighbors, neighbours


class BadArguments(BadInput):
    """The arguments do not fit the tool's schema."""


def read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return the description and what the `Args:` section says of each parameter."""
    text = inspect.getdoc(function) or ""
    head, *sections = re.split(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?):\s*$", text, flags=re.M)
    parameters: dict[str, str] = {}
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title in ("Args", "Arguments", "Parameters"):
            found = re.findall(r"^ {2,8}(\w+)(?: \([^)]*\))?: *((?:.*)(?:\n {6,}.*)*)", body, flags=re.M)
            parameters = {name: " ".join(told.split()) for name, told in found}
    paragraphs = [" ".join(paragraph.split()) for paragraph in head.split("\n\n")]
    return "\n".join(paragraph for paragraph in paragraphs if paragraph), parameters


def make_model(function: Callable[..., Any], name: str, told: Mapping[str, str]) -> Any:
    """Return a pydantic model of the function's parameters; `told` describes them.

    Raises:
        BadInput: a parameter has no annotation, has one that no schema can express, or is not a named one.
    """
    from pydantic import ConfigDict, Field, PydanticSchemaGenerationError, PydanticUserError, create_model

    fields: dict[str, Any] = {}
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, TypeError, ValueError) as error:
        raise BadInput(f"the signature of {name!r} cannot be read: {error}") from error
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise BadInput(
                f"{name!r} takes {parameter}; a tool takes named parameters", hint="Name and annotate each one"
            )
        if parameter.annotation is parameter.empty:
            raise BadInput(
                f"the parameter {parameter.name!r} of {name!r} has no annotation", hint="For example: x: float"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (parameter.annotation, Field(default, description=told.get(parameter.name)))
    config = ConfigDict(extra="forbid", protected_namespaces=(), coerce_numbers_to_str=True)  # 1.5406 for "1.5406"
    try:
        return create_model(name, __config__=config, **fields)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        raise BadInput(f"no JSON schema can be made for {name!r}: {str(error).splitlines()[0]}") from error


def make_schema(model: Any) -> dict[str, Any]:
    """Return the JSON schema without references, titles and null alternatives, which not every provider takes."""
    from pydantic.errors import PydanticInvalidForJsonSchema

    try:
        whole = model.model_json_schema()
    except PydanticInvalidForJsonSchema as error:
        raise BadInput(f"no JSON schema can be made for {model.__name__!r}: {str(error).splitlines()[0]}") from error
    schema = _plain(whole, whole.get("$defs", {}))
    schema.setdefault("properties", {})
    return {key: value for key, value in schema.items() if key not in ("$defs", "description")}


def check(name: str, model: Any, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given, converted to the annotated types, or raise `BadArguments`."""
    from pydantic import ValidationError

    fields, told = model.model_fields, schema.get("properties", {})
    # Small models write null for what they leave out.
    given = {
        key: _meant(value, told.get(key, {}))
        for key, value in arguments.items()
        if value is not None or key not in fields or fields[key].is_required()
    }
    try:
        checked = model.model_validate(given)
    except ValidationError as error:
        raise BadArguments(_complaint(name, error, list(fields)), hint=_takes(name, fields)) from error
    return {key: getattr(checked, key) for key in checked.model_fields_set}


def read_value(text: str, schema: Mapping[str, Any]) -> Any:
    """Return what `text` means for a parameter with this schema: `2,2,2` is a list where one is wanted."""
    kind = schema.get("type")
    if kind == "array" and not text.lstrip().startswith("["):
        items = schema.get("items", {})
        between = r"[,、x×\s]+" if items.get("type") in ("integer", "number") else r"[,、]"
        return [read_value(part.strip(), items) for part in re.split(between, text) if part.strip()]
    if kind in ("integer", "number", "boolean", "array", "object") or "anyOf" in schema:
        try:
            return json.loads(text)
        except ValueError:
            return text  # the schema's check says what is wrong
    return text


def _meant(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return what a model meant that wrote a list as text, one thing for a list of it, or a choice in other letters."""
    if schema.get("type") == "array" and not isinstance(value, list | tuple | Mapping):
        return read_value(value, schema) if isinstance(value, str) else [value]
    choices = [each for each in schema.get("enum", ()) if isinstance(each, str)]
    if isinstance(value, str) and choices and value not in choices:
        plain = re.sub(r"[\s-]+", "_", value.strip().casefold())
        return next(iter(get_close_matches(plain, choices, n=1, cutoff=SAME_WORD)), value)
    return value


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_plain(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        named = definitions[schema["$ref"].rsplit("/", 1)[1]]
        return _plain(named | {key: value for key, value in schema.items() if key != "$ref"}, definitions)
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = {key: value for key, value in schema.items() if key != "anyOf"} | choices[0]
    plain: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            plain[key] = {name: _plain(of, definitions) for name, of in value.items()}
        elif not (key == "title" or (key == "default" and value is None)):
            plain[key] = value if key in ("default", "enum", "const") else _plain(value, definitions)
    return plain


def _complaint(name: str, error: Any, known: Sequence[str]) -> str:
    """Return what is wrong with the arguments, in one line."""
    parts = []
    for found in error.errors(include_url=False)[:5]:
        where = ".".join(map(str, found["loc"])) or name
        if found["type"] == "extra_forbidden":
            close = get_close_matches(where, known, n=1)
            parts.append(f"unknown argument {where!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        elif found["type"] == "missing":
            parts.append(f"the argument {where!r} is missing")
        else:
            parts.append(f"{where!r} is {shorten(found['input'])}: {found['msg'][:1].lower()}{found['msg'][1:]}")
    return f"{name}: " + "; ".join(parts)


def _takes(name: str, fields: Mapping[str, Any]) -> str:
    return f"{name} takes " + (
        ", ".join(key if of.is_required() else f"[{key}]" for key, of in fields.items()) or "nothing"
    )


def shorten(value: object) -> str:
    """Return a value as one may quote it in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

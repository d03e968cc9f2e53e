"""What tool results say, in sentences: each number with its unit, what it is of, how it was obtained, its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assistant.planner import Property, Step
from assistant.prompts import Language
from assistant.tools import ToolResult

MOST_RECORDS = 10


def say(step: Step, result: ToolResult, *, language: Language) -> list[str]:
    """Return what the result of a planned step says about what was asked, one sentence each; the best one first."""
    if result.result is None:
        return []
    if step.tool == "materials":
        return _records(step, result.result.data, language)
    if step.tool == "structure":
        return _structure(step, result.result.text)
    if step.tool == "bandgap" and language == "ja":
        return [_PREDICTED_JA.format(**result.result.data)]
    return [result.result.text]


def _records(step: Step, data: Mapping[str, Any], language: Language) -> list[str]:
    records = data.get("records") or []
    if step.extreme:
        records = _of_one_method(records, step.properties)
    ground = data.get("ground_state") or []
    if not step.extreme and ground:
        records = sorted(records, key=lambda record: record["material_id"] not in ground)
    told = [_record(record, step.properties, language) for record in records[:MOST_RECORDS]]
    told = [sentence for sentence in told if sentence]
    if not told and "formula" not in step.arguments:
        return [_NONE_FITS[language]]
    if step.extreme and told:
        told[0] = _EXTREME[language][step.extreme].format(first=told[0], count=len(told))
    elif len(told) > 1 and records[0]["material_id"] in ground:
        told[0] = _GROUND[language].format(first=told[0])
    return told


def _of_one_method(records: Sequence[Mapping[str, Any]], properties: Sequence[Property]) -> list[Mapping[str, Any]]:
    """Return the records whose value was computed as the commonest of them were: others cannot be compared with it."""
    field = properties[0].field if properties else ""
    known = [record for record in records if field in record["quantities"]]
    methods = [record["quantities"][field].get("functional", "") for record in known]
    most = max(methods, key=methods.count, default="")
    return [record for record, method in zip(known, methods, strict=True) if method == most]


def _record(record: Mapping[str, Any], properties: Sequence[Property], language: Language) -> str:
    parts = [_value(record, prop, language) for prop in properties] if properties else _all_values(record, language)
    parts = [part for part in parts if part]
    if not parts:
        return ""
    symbol = record["spacegroup"]["symbol"]
    name = ", ".join(filter(None, (record["formula"], *record["names"][:1], symbol)))
    origin = ", ".join(filter(None, (record["source"], record["as_of"])))
    joined = "、".join(parts) if language == "ja" else "; ".join(parts)
    return _RECORD[language].format(name=name, id=record["material_id"], parts=joined, origin=origin or "?")


def _all_values(record: Mapping[str, Any], language: Language) -> list[str]:
    from assistant.planner import PROPERTIES

    return [_value(record, prop, language) for prop in PROPERTIES]


def _value(record: Mapping[str, Any], prop: Property, language: Language) -> str:
    if prop.field == "spacegroup":
        group = record["spacegroup"]
        number = f" (No. {group['number']})" if group["number"] else ""
        return f"{_name('space group', prop, language)} {group['symbol']}{number}" if group["symbol"] else ""
    told = record["quantities"].get(prop.field)
    if told is None:
        return ""
    name = _name(told["name"], prop, language)
    functional = told.get("functional")
    if functional:
        name = _COMPUTED[language].format(functional=functional, name=name)
    per = f" per {told['per']}" if "cell" in told.get("per", "") else ""
    return f"{name} {round(told['value'], 4) + 0.0:g} {told['unit']}{per}"


def _name(english: str, prop: Property, language: Language) -> str:
    return prop.name_ja if language == "ja" else english


def _structure(step: Step, text: str) -> list[str]:
    """Return the lines of the structure tool that speak of what was asked, under the structure's name; else all."""
    head, *lines = text.splitlines()
    starts = tuple(prop.line for prop in step.properties if prop.line)
    wanted = [line for line in lines if starts and line.startswith(starts)]
    who = head.rsplit(", ", 1)[0]
    notes = [line for line in lines if line.startswith("note:")]
    return [f"{who}: {line}" for line in wanted] + notes if wanted else [f"{who}: {'; '.join(lines)}"]


_RECORD: dict[Language, str] = {"en": "{name} ({id}): {parts} [{origin}]", "ja": "{name} ({id}): {parts} [{origin}]"}
_COMPUTED: dict[Language, str] = {"en": "computed {name} ({functional})", "ja": "{name}(計算値、{functional})"}
_EXTREME: dict[Language, dict[int, str]] = {
    "en": {1: "Largest of {count} records: {first}", -1: "Smallest of {count} records: {first}"},
    "ja": {1: "{count}件のうち最大: {first}", -1: "{count}件のうち最小: {first}"},
}
_NONE_FITS: dict[Language, str] = {
    "en": "No record of the library fits what was asked for.",
    "ja": "条件に合うレコードはライブラリにありません。",
}
_PREDICTED_JA = (
    "{formula} ({structure}): PBEバンドギャップの予測値 {band_gap_ev:.2f} eV、"
    "{interval}区間 {low_ev:.2f}〜{high_ev:.2f} eV"
    "(モデル {model} による予測。実測値でも計算値でもなく、PBEのギャップは実測値より小さいのが普通です)"
)
_GROUND: dict[Language, str] = {"en": "Ground state: {first}", "ja": "基底状態: {first}"}

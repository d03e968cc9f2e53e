"""What tool results say, in sentences: each number with its unit, what it is of, how it was obtained, its source.

And what they do not say: a record that is not there, a property that none holds, a functional none was computed with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from assistant import saying_ja
from assistant.naming import SYSTEMS_JA
from assistant.planner import Step
from assistant.prompts import Language
from assistant.properties import BY_FIELD, PROPERTIES, Property
from assistant.tools import ToolResult
from ingest.materials import QUANTITIES

EVERY_FORM = 10  # so many are told where forms or compounds are listed
USUAL_RECORDS = 5  # of a formula, where no more were asked for
SAME = 1e-6


def say(step: Step, result: ToolResult, *, language: Language) -> list[str]:
    """Return what the result of a planned step says about what was asked, one sentence each; the best one first."""
    if result.result is None or step.finds:
        return []
    if step.tool == "materials":
        return _records(step, result.result.data, language)
    if step.tool == "structure":
        return _structure(step, result.result.text, language)
    if step.tool == "bandgap" and language == "ja":
        return [_PREDICTED_JA.format(**result.result.data)]
    if step.tool == "calculator" and language == "ja":
        return [saying_ja.calculation(result.result.text)]
    return [result.result.text]


def _no_record(what: str, step: Step, language: Language) -> str:
    """Say that there is no record of `what`, and the command that fetches it."""
    material_id, formula = (str(step.arguments.get(name, "")) for name in ("material_id", "formula"))
    return _NO_RECORD[language].format(what=what, which=material_id or f"--formula {formula or 'F'}")


def unsaid(step: Step, result: ToolResult, *, language: Language) -> list[str]:
    """Return what was asked for and is not in the result of a planned step, one sentence each."""
    if result.result is None:
        what = str(step.arguments.get("material_id", "")) if result.kind == "NotInLibrary" else ""
        return [_no_record(what, step, language)] if what else []
    if step.tool == "structure":
        left = [prop for prop in step.properties if not (prop.line or prop.task)]
        return [_NOT_OF_STRUCTURE[language].format(what=_listed(left, language))] if left else []
    if step.tool != "materials":
        return []
    records = _listed_records(result.result.data)
    what = step.form or step.arguments.get("formula", "")
    if not records:
        return [_no_record(what, step, language)] if what else []
    asked = () if step.most >= EVERY_FORM else step.properties  # what is told of every form was not asked for
    lacking = [prop for prop in asked if not any(_knows(record, prop) for record in records)]
    told = []
    if lacking:
        of = what or (records[0]["formula"] if "material_id" in step.arguments else _THESE[language])
        told.append(_NOT_RECORDED[language].format(what=_listed(lacking, language), of=of, count=len(records)))
    if step.unknown:
        searched = not {"formula", "material_id"} & step.arguments.keys()
        told.append((_NOT_FILTERED if searched else _NOT_A_FIELD)[language].format(what=step.unknown))
    gaps = [record["quantities"]["band_gap_ev"] for record in records if "band_gap_ev" in record["quantities"]]
    known = sorted({gap["functional"] for gap in gaps})
    functional = step.functional.casefold().removesuffix("06")
    if gaps and functional and not any(functional in one.casefold() for one in known):
        told.append(_OTHER_FUNCTIONAL[language].format(asked=step.functional, known=", ".join(known)))
    return told


# --- records ------------------------------------------------------------------------------------------------------


def _listed_records(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in data.get("records") or [] if isinstance(one, Mapping)]  # a cut list ends with a note


def _records(step: Step, data: Mapping[str, Any], language: Language) -> list[str]:
    records = _listed_records(data)
    if not records:
        none = _NONE_FITS[language].format(filters=filters_told(step.arguments, language))
        return [] if "formula" in step.arguments else [none]
    if step.extreme:
        return _extreme(step, records, data, language)
    ground = data.get("ground_state") or []
    records = sorted(records, key=lambda record: record["material_id"] not in ground)
    few = "formula" in step.arguments or "material_id" in step.arguments
    hull = BY_FIELD["e_above_hull_ev_per_atom"]
    meaning = few and step.most < EVERY_FORM
    told = []
    for record in records:
        # Beside the ground state it counts how far above it a polymorph lies.
        above = few and ground and record["material_id"] not in ground and hull not in step.properties
        beside = (hull,) if above and any(_knows(record, prop) for prop in step.properties) else ()
        sentence = _record(record, (*step.properties, *beside), language, meaning=meaning and not beside)
        told.append((record, sentence))
    shown = [(record, sentence) for record, sentence in told if sentence]
    if not shown:
        return []
    most = step.most or USUAL_RECORDS
    if step.most == 1 and ground:  # the ground state, with those that tie with it
        most = max(1, sum(record["material_id"] in ground for record, _ in shown))
    sentences = [sentence for _, sentence in shown[:most]]
    if len(records) > 1 and shown[0][0]["material_id"] in ground:
        sentences[0] = _GROUND[language].format(first=sentences[0])
    return [*_counted(step, data, len(sentences), language), *sentences]


def _counted(step: Step, data: Mapping[str, Any], shown: int, language: Language) -> list[str]:
    """Return the line that says how many records there are and by what they were chosen, where that is not plain."""
    total = int(data.get("count", shown))
    searched = "formula" not in step.arguments and "material_id" not in step.arguments
    if step.among or not (searched or total > shown):
        return []
    head = _FITTING[language] if searched else _OF_FORMULA[language]
    what = filters_told(step.arguments, language) if searched else step.form or step.arguments.get("formula", "")
    by = next(
        (prop for prop in PROPERTIES if prop.sort == step.arguments.get("sort")), BY_FIELD["e_above_hull_ev_per_atom"]
    )
    which = _ORDER[language][bool(step.arguments.get("descending"))]
    order = which.format(shown=shown, by=by.name_ja if language == "ja" else by.name) if 1 < shown < total else ""
    return [head.format(total=total, what=what) + order]


def filters_told(where: Mapping[str, Any], language: Language) -> str:
    """Return the filters of a search in words: "Li-O; band gap 1 to 3 eV; on the convex hull"."""
    words = _FILTERS[language]
    low, high = where.get("band_gap_min_ev"), where.get("band_gap_max_ev")
    gap = words["gap"].format(range=_range(low, high)) if low is not None or high is not None else ""
    parts = [
        str(where.get("chemsys", "")),
        words["with"].format(", ".join(where["elements"])) if where.get("elements") else "",
        words["without"].format(", ".join(where["exclude_elements"])) if where.get("exclude_elements") else "",
        words["nelements"].format(where["nelements"]) if where.get("nelements") else "",
        gap,
        *(_condition(each, language) for each in where.get("where", ())),
        words["stable"] if where.get("stable") else "",
        words["hull"].format(where["e_above_hull_max_ev_per_atom"]) if "e_above_hull_max_ev_per_atom" in where else "",
        _system(str(where.get("crystal_system", "")), language),
        words["group"].format(where["spacegroup"]) if where.get("spacegroup") else "",
    ]
    return ("、" if language == "ja" else "; ").join(filter(None, parts))


def _condition(text: str, language: Language) -> str:
    """Return a bound on a number in words: "bulk modulus > 300 GPa"."""
    field, _, told = text.partition(" ")
    prop, unit = BY_FIELD[field], next(each.unit for each in QUANTITIES if each.field == field)
    return f"{prop.name_ja if language == 'ja' else prop.name} {told.replace('..', '–')} {unit}"


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"≤ {high:g} eV" if low is None else f"≥ {low:g} eV"
    return f"{low:g}–{high:g} eV"


def _system(name: str, language: Language) -> str:
    return next((word for word, system in SYSTEMS_JA.items() if system == name), name) if language == "ja" else name


def _extreme(
    step: Step, records: Sequence[Mapping[str, Any]], data: Mapping[str, Any], language: Language
) -> list[str]:
    """Return the records with the largest or smallest value; others are not compared with them."""
    prop = step.properties[0]
    known = [record for record in records if prop.field in record["quantities"]]
    methods = [record["quantities"][prop.field].get("functional", "") for record in known]
    common = max(methods, key=methods.count, default="")
    compared = [record for record, method in zip(known, methods, strict=True) if method == common]
    if not compared:
        return []
    best = compared[0]["quantities"][prop.field]["value"]
    ties = sum(abs(record["quantities"][prop.field]["value"] - best) < SAME for record in compared)
    total = int(data.get("count", len(records))) - (len(known) - len(compared))
    sentences = [_record(record, step.properties, language) for record in compared[: step.most]]
    sentences[0] = _EXTREME[language][step.extreme].format(first=sentences[0], count=total)
    if ties > 1:
        many = f"{ties}" + ("+" if ties == len(compared) and total > ties else "")
        sentences.insert(1, _TIES[language].format(count=many))
    if others := sorted(set(methods) - {common}):
        sentences.append(_LEFT_OUT[language].format(count=len(known) - len(compared), others=", ".join(others)))
    return sentences


def _record(
    record: Mapping[str, Any], properties: Sequence[Property], language: Language, *, meaning: bool = False
) -> str:
    asked = properties or [prop for prop in PROPERTIES if prop.field != "is_gap_direct"]
    parts = [part for prop in asked if (part := _value(record, prop, language, meaning=meaning and bool(properties)))]
    if not parts:
        return ""
    symbol = record["spacegroup"]["symbol"]
    name = ", ".join(filter(None, (record["formula"], *record["names"][:1], symbol)))
    origin = ", ".join(filter(None, (record["source"], record["as_of"])))
    joined = "、".join(parts) if language == "ja" else "; ".join(parts)
    return _RECORD[language].format(name=name, id=record["material_id"], parts=joined, origin=origin or "?")


def _knows(record: Mapping[str, Any], prop: Property) -> bool:
    if prop.field == "spacegroup":
        return bool(record["spacegroup"]["symbol"])
    if prop.field == "is_gap_direct":
        return record["quantities"].get("band_gap_ev", {}).get("direct") is not None
    return prop.field in record["quantities"]


def _value(record: Mapping[str, Any], prop: Property, language: Language, *, meaning: bool) -> str:
    """Return what a record says of a property; with `meaning` also what a value of zero means."""
    if not _knows(record, prop):
        return ""
    if prop.field == "spacegroup":
        group = record["spacegroup"]
        number = f" (No. {group['number']})" if group["number"] else ""
        system = f", {_system(record['crystal_system'].lower(), language)}" if record["crystal_system"] else ""
        return f"{_name('space group', prop, language)} {group['symbol']}{number}{system}"
    if prop.field == "is_gap_direct":
        return _DIRECT[language][bool(record["quantities"]["band_gap_ev"]["direct"])]
    told = record["quantities"][prop.field]
    name = _name(told["name"], prop, language)
    functional = told.get("functional")
    if functional:
        name = _COMPUTED[language].format(functional=functional, name=name)
    per = _per(str(told.get("per", "")), language)
    means = _meaning(prop, float(told["value"]), language) if meaning else ""
    return f"{name} {round(told['value'], 4) + 0.0:g} {told['unit']}{per}{means}"


def _per(per: str, language: Language) -> str:
    if "cell" not in per:
        return ""
    count = "".join(filter(str.isdigit, per))
    return f"({count}原子のセルあたり)" if language == "ja" else f" per {per}"


def _meaning(prop: Property, value: float, language: Language) -> str:
    """Return what a zero says: no gap, or nothing more stable."""
    if prop.field == "band_gap_ev" and value == 0:
        return _METAL[language]
    if prop.field == "e_above_hull_ev_per_atom":
        return _ON_HULL[language][abs(value) < SAME]
    return ""


def _name(english: str, prop: Property, language: Language) -> str:
    return prop.name_ja if language == "ja" else english


def _listed(properties: Sequence[Property], language: Language) -> str:
    return "、".join(prop.name_ja for prop in properties) if language == "ja" else ", ".join(p.name for p in properties)


# --- side by side -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison says, and the expression of the difference; "" where there is none."""

    sentence: str = ""
    difference: str = ""


def compare(found: Sequence[tuple[Step, ToolResult]], properties: Sequence[Property], language: Language) -> Compared:
    """Return how materials compare by the first of `properties` with a number, each by its most stable record."""
    prop = next((prop for prop in properties if prop.field in _COMPARABLE), None)
    best = [(step.form, record) for step, result in found if (record := _representative(result))]
    if prop is None or len(best) < 2 or not all(_knows(record, prop) for _, record in best):
        return Compared()
    told = [(form or one["formula"], one["material_id"], one["quantities"][prop.field]) for form, one in best]
    methods = sorted({value.get("functional", "") for _, _, value in told})
    name = _name(told[0][2]["name"], prop, language)
    if len(methods) > 1:
        return Compared(_INCOMPARABLE[language].format(name=name, methods=", ".join(methods)))
    ordered = sorted(told, key=lambda one: -one[2]["value"])
    parts = [
        f"{formula} ({known}) {round(value['value'], 4) + 0.0:g} {value['unit']}" for formula, known, value in ordered
    ]
    signs = [" = " if abs(this[2]["value"] - after[2]["value"]) < SAME else " > " for this, after in pairwise(ordered)]
    chain = parts[0] + "".join(sign + part for sign, part in zip(signs, parts[1:], strict=True))
    method = f" ({methods[0]})" if methods[0] else ""
    high, low = (f"{round(one[2]['value'], 4) + 0.0:g} {one[2]['unit']}" for one in (ordered[0], ordered[-1]))
    stable = _THE_LOWER[language] if prop.field == "e_above_hull_ev_per_atom" else ""
    return Compared(
        _SIDE_BY_SIDE[language].format(name=name, method=method, chain=chain) + stable,
        f"{high} - {low}" if len(ordered) == 2 and " " in high else "",
    )


_COMPARABLE = {prop.field for prop in PROPERTIES if prop.field in BY_FIELD and prop.sort} | {
    "g_vrh_gpa",
    "magnetisation_ub",
}


def _representative(result: ToolResult) -> Mapping[str, Any] | None:
    if result.result is None or not result.result.data.get("records"):
        return None
    data = result.result.data
    ground = data.get("ground_state") or []
    return min(_listed_records(data), key=lambda record: record["material_id"] not in ground)


# --- structures ---------------------------------------------------------------------------------------------------


def _structure(step: Step, text: str, language: Language) -> list[str]:
    """Return the lines of the structure tool that speak of what was asked, under the structure's name; else all."""
    head, *lines = text.splitlines()
    starts = tuple(prop.line for prop in step.properties if prop.line)
    wanted = [line for line in lines if starts and line.startswith(starts)]
    who = head.rsplit(", ", 1)[0]
    notes = [line for line in lines if line.startswith("note:")]
    if language == "ja":
        wanted, lines, notes = ([saying_ja.structure_line(line) for line in some] for some in (wanted, lines, notes))
    joined = ("、" if language == "ja" else "; ").join(lines)
    return [f"{who}: {line}" for line in wanted] + notes if wanted else [f"{who}: {joined}"]


_RECORD: dict[Language, str] = {"en": "{name} ({id}): {parts} [{origin}]", "ja": "{name} ({id}): {parts} [{origin}]"}
_COMPUTED: dict[Language, str] = {"en": "computed {name} ({functional})", "ja": "{name}(計算値、{functional})"}
_EXTREME: dict[Language, dict[int, str]] = {
    "en": {1: "Largest of {count} records: {first}", -1: "Smallest of {count} records: {first}"},
    "ja": {1: "{count}件のうち最大: {first}", -1: "{count}件のうち最小: {first}"},
}
_TIES: dict[Language, str] = {"en": "{count} records share this value", "ja": "同じ値のレコードは{count}件あります"}
_LEFT_OUT: dict[Language, str] = {
    "en": "Left out: {count} records computed with {others}, which cannot be compared with these",
    "ja": "{others}による{count}件は比較できないため除きました",
}
_FITTING: dict[Language, str] = {
    "en": "Records that fit: {total} ({what})",
    "ja": "条件({what})に合うレコードは{total}件",
}
_OF_FORMULA: dict[Language, str] = {"en": "{total} records of {what}", "ja": "{what}のレコードは{total}件あります"}
_ORDER: dict[Language, dict[bool, str]] = {  # the largest first, or not
    "en": {
        True: ", of which the {shown} highest in {by} follow",
        False: ", of which the {shown} lowest in {by} follow",
    },
    "ja": {True: "({by}が高い順に{shown}件)", False: "({by}が低い順に{shown}件)"},
}
_ON_HULL: dict[Language, dict[bool, str]] = {
    "en": {True: " (on the convex hull: stable, as computed for 0 K)", False: " (above the hull: not stable at 0 K)"},
    "ja": {True: "(凸包上、計算では0 Kで安定)", False: "(凸包より上、計算では0 Kで不安定または準安定)"},
}
_METAL: dict[Language, str] = {
    "en": " (no gap: a metal or semimetal in this approximation)",
    "ja": "(ギャップなし: この近似では金属または半金属)",
}
_FILTERS: dict[Language, dict[str, str]] = {
    "en": {
        "with": "with {}",
        "without": "without {}",
        "nelements": "of {} elements",
        "gap": "band gap {range}",
        "stable": "on the convex hull",
        "hull": "at most {} eV/atom above the hull",
        "group": "space group {}",
    },
    "ja": {
        "with": "{}を含む",
        "without": "{}を含まない",
        "nelements": "{}元系",
        "gap": "バンドギャップ {range}",
        "stable": "凸包上",
        "hull": "凸包から{} eV/atom以下",
        "group": "空間群 {}",
    },
}
_DIRECT: dict[Language, dict[bool, str]] = {
    "en": {True: "the gap is direct", False: "the gap is indirect"},
    "ja": {True: "直接遷移", False: "間接遷移"},
}
_SIDE_BY_SIDE: dict[Language, str] = {
    "en": "Compared by {name}{method}, each by its most stable record: {chain}",
    "ja": "{name}{method}の比較(それぞれ最も安定なレコード): {chain}",
}
_THE_LOWER: dict[Language, str] = {"en": "; the lower, the more stable", "ja": "(低いほど安定)"}
_INCOMPARABLE: dict[Language, str] = {
    "en": "These values of the {name} were computed with different functionals ({methods}) and cannot be compared",
    "ja": "{name}は異なる汎関数({methods})で計算されているため、比較できません",
}
_NO_RECORD: dict[Language, str] = {
    "en": "No record of {what} is in the library; they come in with: matlit materials import FILE, or matlit materials "
    "download {which}",
    "ja": "{what}のレコードはライブラリにありません。取り込むには: matlit materials import FILE または "
    "matlit materials download {which}",
}
_NOT_RECORDED: dict[Language, str] = {
    "en": "Not recorded for {of} (records looked at: {count}): {what}",
    "ja": "{of}のレコード({count}件)に記載がありません: {what}",
}
_THESE: dict[Language, str] = {"en": "any of these compounds", "ja": "これらの化合物"}
_NOT_A_FIELD: dict[Language, str] = {
    "en": "The record does not hold what was asked for: {what}",
    "ja": "レコードには次の項目がありません: {what}",
}
_NOT_FILTERED: dict[Language, str] = {
    "en": "Records cannot be searched for this, which was left aside: {what}",
    "ja": "レコードを次の語では絞り込めないため、考慮していません: {what}",
}
_NOT_OF_STRUCTURE: dict[Language, str] = {
    "en": "A structure alone does not tell: {what}",
    "ja": "構造だけからは分かりません: {what}",
}
_OTHER_FUNCTIONAL: dict[Language, str] = {
    "en": "No record gives a value by {asked}; those shown were computed with {known}",
    "ja": "{asked}による値はありません。示した値は{known}によるものです",
}
_NONE_FITS: dict[Language, str] = {
    "en": "No record of the library fits what was asked for ({filters}).",
    "ja": "条件({filters})に合うレコードはライブラリにありません。",
}
_PREDICTED_JA = (
    "{formula} ({structure}): PBEバンドギャップの予測値 {band_gap_ev:.2f} eV、"
    "{interval}区間 {low_ev:.2f}〜{high_ev:.2f} eV"
    "(モデル {model} による予測。実測値でも計算値でもなく、PBEのギャップは実測値より小さいのが普通です)"
)
_GROUND: dict[Language, str] = {"en": "Ground state: {first}", "ja": "基底状態: {first}"}

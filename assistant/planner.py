"""The fixed planner: which tools a question needs, by rules alone, for `extractive` and for models too small to choose.

An expression goes to the calculator, an id or a formula with a property to the records, an attached structure to the
structure tool or the band gap predictor, everything else to the papers; a question of several parts gets them all.
Only the user's own words are planned with, and of answers before them the materials and the value that "it" and "that"
stand for: what was retrieved or attached never gets here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from assistant.expressions import converted, expression_in, lacks_value
from assistant.filters import GROUND, asks_of_all, bound_in, conditions_in, extreme_in, read_filters, unread
from assistant.glossary import is_japanese
from assistant.naming import Named, ids_in, materials_in
from assistant.properties import BY_FIELD, Property, wanted_in
from assistant.spoken import POINTS_BACK, Spoken
from ingest.elements import NUMBERS

Lack = Literal["material", "structure", "question", "value"]
COMPARED_RECORDS = 20  # of a formula or a search, where the largest is asked for


@dataclass(frozen=True, slots=True)
class Step:
    """One tool to run. `properties` are what the question wants of it, `extreme` -1 or 1 for smallest or largest.

    `most` is how many records are told, 0 for the usual few. Steps with the same `among` are compared with one another.
    `form` is the name of the crystal form that was asked for, `functional` what gaps shall be computed with, `unknown`
    what was asked for that no record holds. A step with `finds` is only made so that the next one has a structure.
    """

    tool: str
    arguments: Mapping[str, Any]
    properties: tuple[Property, ...] = ()
    extreme: int = 0
    most: int = 0
    among: int = 0
    form: str = ""
    functional: str = ""
    unknown: str = ""
    finds: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a question: tools to run, what to ask the papers, or what has to be asked back first."""

    steps: tuple[Step, ...] = ()
    papers: str = ""  # the part of the question that they may answer; "" for none
    lacks: Lack | None = None  # the question cannot be answered before this is named


_CLAUSE = re.compile(
    r"[;；。]\s*|[?？]\s*(?=[^\s(（])|,?\s+and\s+(?=[-−]?\d[\d.]*\s*[^\s\d]\S*\s+(?:to|in)\s)"
    r"|,?\s+(?:and|but|while)\s+(?=(?:also\s+)?(?:what|which|how|when|why|where|convert|calculate|is|"
    r"are|does|do|did|can)\b)|、?(?:また|そして|さらに|一方)、?",
    re.IGNORECASE,
)
_COMPARES = re.compile(
    r"\bcompar\w+|\bdiffer(?:ence|s|ent)?\b|\bversus\b|\bvs\b|\bwhich\b|\bmore\b|\bless\b|\b(?:dens|larg|small|high|low|"
    r"wid|narrow|heavi|light|great|bigg)er\b|比較|比べ|どちら|差|違い|より",
    re.IGNORECASE,
)
_TOP = re.compile(
    r"\btop (\d{1,2})\b|\b(\d{1,2}) (?:largest|smallest|highest|lowest|densest|widest)\b|上位\s*(\d{1,2})", re.I
)
_ALL_FORMS = re.compile(
    r"\bpolymorphs?\b|\ballotropes?\b|\b(?:list|show|all)\b.*\b(?:records|phases|structures)\b|多形|同質異像", re.I
)
_ATTACHED = re.compile(
    r"\battach|\b(?:this|the|my|these|both|two) (?:\w+ )?(?:structures?|files?|cif|poscar|crystals?)\b"
    r"|添付|(?:この|その|これらの|二つの|2つの)(?:構造|ファイル|結晶)",
    re.IGNORECASE,
)
_SAYS_ATTACHED = re.compile(
    r"\b(?:attached|enclosed)\b|\b(?:the|my|this) attachment\b(?! (?:of|to|site))|添付(?!文書)", re.IGNORECASE
)
_SAME = re.compile(r"\bcompar\w+|\bsame\b|\bidentical\b|\bdiffer\w*|\bmatch\w*|同じ|同一|比較|一致|違い", re.IGNORECASE)
_IN_PAPERS = re.compile(
    r"\b(?:papers?|literature|articles?|authors?|report(?:s|ed)?|measur\w+|experiment\w*|stud(?:y|ies)|according to|"
    r"publi\w+)\b|論文|文献|実験|測定|報告|著者",
    re.IGNORECASE,
)
_ONLY_RECORDS = re.compile(
    r"materials project|\brecords?\b|\bcomputed\b|\bpolymorphs?\b|\bPBE\b|多形|レコード|計算値", re.IGNORECASE
)
_FUNCTIONAL = re.compile(
    r"(?<![A-Za-z])(HSE(?:06)?|r2SCAN|SCAN|G0W0|GW|PBEsol|B3LYP|PBE0|LDA|mBJ|TB-mBJ)(?![A-Za-z])", re.I
)
_FILLER = re.compile(
    r"\b(?:what|whats|which|how|much|many|large|big|is|are|was|the|a|an|of|in|on|for|its|it|this|that|these|those|their|and|or|"
    r"material|compound|structure|value|attached|crystal|sample|phase|tell|me|give|please|show|find|about|does|do|have|has|"
    r"eV|file|then|also|know|you|all|properties|property|data|information|info|records?|entry|details?|summary|summari[sz]e|"
    r"describe|everything|look|up|s)\b|[\W\d_]+|その|それ|この|これ|物質|材料|化合物|構造|添付|(?:物)?性質|物性|情報|データ|"
    r"レコード|はどう|どう|ついて|何ですか|とは|教えて|挙げて|列挙して|もの|うち|すべて|全て|ある|教え|ください|は|の|を|が|何|いくら|いくつ|ですか|か|て|で|す|に|値|要約|と|も",
    re.IGNORECASE,
)
_RADIATION = re.compile(
    r"\b(Cu|Mo|Co|Cr|Fe|Ag)(?=[ -]?(?:K(?:[ -]?(?:α|alpha|a))?1?\b|Kα|radiation|tube|source|線))"
    r"|(?:wavelength|λ|波長)\s*(?:of|=|が|は)?\s*(\d(?:\.\d+)?)\s*(?:Å|angstrom|A\b)?",
    re.IGNORECASE,
)
_MULTIPLES = re.compile(r"(\d{1,2})\s*[x×*]\s*(\d{1,2})\s*[x×*]\s*(\d{1,2})", re.IGNORECASE)
_SITE = re.compile(
    r"\b(?:of|around|does|do|is|are|for)\s+(?:the\s+)?([A-Z][a-z]?)\b(?!\s*[-–]\s*\d)|(?<![A-Za-z])([A-Z][a-z]?)(?=(?:の|周り|まわり))"
)


_SMALL_TALK = re.compile(
    r"\W*(?:hi|hello|hey|good (?:morning|afternoon|evening)|thanks|thank you(?: very much)?|ok(?:ay)?|help|bye|test|"
    r"who are you|what are you|what (?:can|do) you do|how do i use (?:this|you)|こんにちは|こんばんは|"
    r"おはよう(?:ございます)?|ありがとう(?:ございます)?|ヘルプ|(?:あなたは)?(?:誰|何者)(?:ですか)?|何ができますか|使い方(?:は|を教えて(?:ください)?)?)\W*",
    re.IGNORECASE,
)


def plan(
    question: str,
    *,
    attachments: Sequence[str] = (),
    tools: Collection[str] = (),
    spoken: Spoken = Spoken(),  # noqa: B008 - frozen
    confined: bool = False,
) -> Plan:
    """Return what to do for `question`.

    `attachments` are the names of attached files, `tools` those there are, `spoken` what the conversation was about.
    With `confined` the user has named the papers to look in, so that nothing need be asked back.
    """
    steps: list[Step] = []
    papers: list[str] = []
    for clause in clauses(question):
        found = [step for step in _steps(clause, attachments, spoken) if step.tool in tools]
        steps += [step for step in found if step not in steps]
        if not found or _wants_papers(clause, found):
            papers.append(_spelled_out(clause, spoken))
    if not steps and (lacks := _lacks(question, attachments, spoken)) and not confined:
        return Plan(lacks=lacks)
    return Plan(tuple(steps), " ".join(papers) if steps else _spelled_out(question, spoken))


def within_reach(made: Plan, question: str, attachments: Sequence[str], tools: Collection[str]) -> frozenset[str]:
    """Return which of `tools` have something to work on: an attached or recorded structure, a material, or anything."""
    reached = {step.tool for step in made.steps}
    if attachments or ids_in(question):
        reached |= {"structure", "bandgap"}
    if materials_in(question):
        reached.add("materials")
    return frozenset(reached | (set(tools) - {"structure", "bandgap", "materials"}))


def clauses(question: str) -> list[str]:
    """Return the parts of a question that ask for something of their own."""
    return [part.strip() for part in _CLAUSE.split(question) if part and part.strip()]


# --- one clause ---------------------------------------------------------------------------------------------------


def _steps(clause: str, attachments: Sequence[str], spoken: Spoken) -> Iterator[Step]:
    if expression := expression_in(clause) or converted(clause, spoken.values):
        yield Step("calculator", {"expression": expression})
        return
    wanted = wanted_in(clause)
    named = _without_sites(materials_in(clause), wanted, attachments)
    if attachments and _is_of_attached(clause, wanted, named):
        yield from _of_attached(clause, wanted, attachments, named)
        return
    where = read_filters(clause, wanted)
    if "chemsys" not in where and any(one.id or one.formula not in {"", *NUMBERS} for one in named):
        where = {}  # "the sulfide electrolyte Li10GeP2S12" asks for no sulfides
    if where or (not named and asks_of_all(clause) and any(prop.sort for prop in wanted)):
        yield _search(clause, where, wanted)
        return
    if not named and spoken.subject and (POINTS_BACK.search(clause) or (wanted and not _beyond(clause, wanted))):
        named = materials_in(spoken.subject)
    if named and not wanted and _is_bare(clause, named):
        wanted = spoken.wanted
    if len(named) > 1 and (compared := _compared(clause, named, wanted)):
        yield from compared
        return
    for one in named:
        yield from _of_material(one, wanted, clause)


def _without_sites(named: list[Named], wanted: Sequence[Property], attachments: Sequence[str]) -> list[Named]:
    """Leave out elements that are a site of the structure asked about: "the coordination of Fe in LiFePO4"."""
    of_sites = any(prop.field in ("neighbours", "oxidation", "sites") for prop in wanted)
    whole = [one for one in named if one.formula not in NUMBERS]
    return whole if of_sites and (whole or attachments) else named


def _is_of_attached(clause: str, wanted: Sequence[Property], named: Sequence[Named]) -> bool:
    return bool(_ATTACHED.search(clause) or (wanted and not named) or _is_bare(clause, named))


def _of_attached(
    clause: str, wanted: Sequence[Property], attachments: Sequence[str], named: Sequence[Named]
) -> Iterator[Step]:
    ids = [one.id for one in named if one.id]
    every = [*attachments, *ids]
    if len(every) > 1 and _SAME.search(clause):
        for other in every[1:]:
            yield Step("structure", {"structure": every[0], "task": "compare", "other": other})
        return
    for name in every:
        yield from _of_structure(name, wanted, clause)


def _of_structure(name: str, wanted: Sequence[Property], clause: str) -> Iterator[Step]:
    """Return the steps for a structure: the predictor for its gap, the structure tool for what that tells."""
    if any(prop.field == "band_gap_ev" for prop in wanted):
        yield Step("bandgap", {"structure": name}, (BY_FIELD["band_gap_ev"],))
    tasks: dict[str, list[Property]] = {}
    for prop in wanted:
        if prop.line or prop.task:
            tasks.setdefault(prop.task or "summary", []).append(prop)
    told = [prop for prop in wanted if prop.line or prop.task or prop.field == "band_gap_ev"]
    if not told:
        unknown = tuple(prop for prop in wanted)
        yield Step("structure", {"structure": name, "task": "summary"}, unknown)
    for task, props in tasks.items():
        yield Step("structure", {"structure": name, "task": task, **_details(task, clause)}, tuple(props))


def _details(task: str, clause: str) -> dict[str, Any]:
    """Return what a task of the structure tool needs beside the structure: radiation, multiples, the atom meant."""
    if task == "xrd" and (found := _RADIATION.search(clause)):
        return {"wavelength": f"{found[1].capitalize()}Ka" if found[1] else found[2]}
    if task == "supercell" and (found := _MULTIPLES.search(clause)):
        return {"supercell": [int(size) for size in found.groups()]}
    if task == "neighbours" and (found := _SITE.search(clause)):
        symbol = found[1] or found[2]
        return {"element": symbol} if symbol in NUMBERS else {}
    return {}


def _search(clause: str, where: dict[str, Any], wanted: Sequence[Property]) -> Step:
    extreme = extreme_in(clause) or (0 if where else asks_of_all(clause))
    if extreme and (prop := next((prop for prop in wanted if prop.sort), None)):
        where |= {"sort": prop.sort, "descending": extreme > 0, "limit": COMPARED_RECORDS}
        wanted = (prop, *(one for one in wanted if one is not prop))
    else:
        extreme = 0
        where |= _ordered_by_bound(where, wanted)
    _, clause = conditions_in(clause, wanted)
    told = tuple(prop for prop in wanted if not prop.task) or (BY_FIELD["spacegroup"], BY_FIELD["band_gap_ev"])
    if "stable" not in where and BY_FIELD["e_above_hull_ev_per_atom"] not in told and not extreme:
        told = (*told, BY_FIELD["e_above_hull_ev_per_atom"])
    bound = bound_in(clause)
    unknown = " ".join(filter(None, (_beyond(unread(clause.replace(bound, " ") if bound else clause), wanted), bound)))
    return Step("materials", where, told, extreme, most=_top(clause) or (3 if extreme else 10), unknown=unknown)


def _ordered_by_bound(where: Mapping[str, Any], wanted: Sequence[Property]) -> dict[str, Any]:
    """Return the order in which what lies beyond a bound is told: by that number, the furthest beyond it first."""
    told = next(iter(where.get("where", ())), "")
    prop = next((prop for prop in wanted if prop.sort and told.startswith(f"{prop.field} ")), None)
    return {"sort": prop.sort, "descending": "<" not in told} if prop else {}


def _compared(clause: str, named: Sequence[Named], wanted: Sequence[Property]) -> list[Step]:
    """Return one step per material where a question sets them side by side by a property; none where it does not."""
    recorded = tuple(prop for prop in wanted if not prop.task)
    if not recorded or not (_COMPARES.search(clause) or extreme_in(clause)):
        return []
    steps = [_look_up(one, recorded)[0] for one in named]
    return [replace(step, among=1, most=1, functional=_functional(clause)) for step in steps]


def _of_material(one: Named, wanted: Sequence[Property], clause: str) -> Iterator[Step]:
    recorded = tuple(prop for prop in wanted if not prop.task)
    forms = not one.id and bool(_ALL_FORMS.search(clause) or (not wanted and _is_bare(clause, [one])))
    if forms and not recorded:
        recorded = (BY_FIELD["spacegroup"], BY_FIELD["e_above_hull_ev_per_atom"], BY_FIELD["band_gap_ev"])
    if one.id and not wanted:
        yield replace(_look_up(one, ())[0], unknown=_rest(clause, [one]))
    elif recorded:
        yield from (_told(step, clause, forms=forms) for step in _look_up(one, recorded))
    mass = BY_FIELD["molar_mass"]
    if one.formula and mass in wanted:
        yield Step("calculator", {"expression": f"molar_mass({one.formula})"})
    of_structure = [prop for prop in wanted if prop.task and (one.id or prop is not mass)]
    if of_structure and not one.chemsys:
        if not one.id:
            yield replace(_look_up(one, ())[0], finds=True)
        yield from _of_structure(one.id or one.formula, of_structure, clause)


def _look_up(one: Named, recorded: tuple[Property, ...]) -> list[Step]:
    """Return the steps that look a material up: one, or one for each hand of a crystal form such as quartz."""
    if one.id:
        return [Step("materials", {"material_id": one.id}, recorded)]
    where: dict[str, Any] = {"formula": one.formula} if one.formula else {"chemsys": one.chemsys}
    if one.system:
        where["crystal_system"] = one.system
    named = one.text if one.spacegroups or one.system else ""
    groups: list[dict[str, Any]] = [{"spacegroup": str(group)} for group in one.spacegroups] or [{}]
    return [Step("materials", where | group, recorded, form=named) for group in groups]


def _told(step: Step, clause: str, *, forms: bool) -> Step:
    """Return the step with how much of what it finds is told: all forms, the extreme, the ground state, or a few."""
    step = replace(step, functional=_functional(clause))
    if "material_id" in step.arguments:
        return step
    if extreme := extreme_in(clause):
        prop = next((prop for prop in step.properties if prop.sort), step.properties[0])
        order = {"sort": prop.sort or "e_above_hull", "descending": extreme > 0, "limit": COMPARED_RECORDS}
        rest = tuple(one for one in step.properties if one is not prop)
        return replace(
            step,
            arguments={**step.arguments, **order},
            properties=(prop, *rest),
            extreme=extreme,
            most=_top(clause) or 3,
        )
    if GROUND.search(clause):
        return replace(step, most=1)
    return replace(step, most=10 if forms else 0)


def _top(clause: str) -> int:
    found = _TOP.search(clause)
    return int(next(value for value in found.groups() if value)) if found else 0


def _functional(clause: str) -> str:
    found = _FUNCTIONAL.search(clause)
    return found[1] if found else ""


def _is_bare(clause: str, named: Sequence[Named]) -> bool:
    return not _rest(clause, named)


def _rest(clause: str, named: Sequence[Named]) -> str:
    """Return the words of a clause that are neither a material nor there to make a sentence of it."""
    for one in reversed(named):
        clause = clause[: one.start] + " " + clause[one.end :] if clause[one.start : one.end] == one.text else clause
    return " ".join(_FILLER.sub(" ", clause).split())


def _beyond(text: str, wanted: Sequence[Property]) -> str:
    """Return the words of a text that are neither a property nor there to make a sentence of it."""
    for prop in wanted:
        text = prop.words.sub(" ", text)
    return " ".join(_FILLER.sub(" ", text).split())


def _wants_papers(clause: str, steps: Sequence[Step]) -> bool:
    if _IN_PAPERS.search(clause) or any(step.unknown for step in steps):
        return True
    # A formula with a property may well be what a paper has measured; an id, a file or an expression is not.
    by_name = any("formula" in step.arguments for step in steps)
    return by_name and not _ONLY_RECORDS.search(clause)


def _spelled_out(clause: str, spoken: Spoken) -> str:
    """Return a question that goes on from the one before with what it leaves out: "What about GaAs?" (band gap)."""
    if spoken.wanted and not wanted_in(clause) and (named := materials_in(clause)) and _is_bare(clause, named):
        japanese = is_japanese(clause)
        return f"{clause} ({', '.join(prop.name_ja if japanese else prop.name for prop in spoken.wanted)})"
    return clause


def _lacks(question: str, attachments: Sequence[str], spoken: Spoken) -> Lack | None:
    if not attachments and _SAYS_ATTACHED.search(question):
        return "structure"
    if lacks_value(question):
        return "value"
    if _SMALL_TALK.fullmatch(question):
        return "question"
    if attachments or spoken.subject or materials_in(question):
        return None
    wanted = wanted_in(question)
    if _beyond(question, wanted) or re.search(r"\d", question):
        return None
    return "material" if wanted else "question"

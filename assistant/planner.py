"""The fixed planner: which tools a question needs, by rules alone, for `extractive` and for models too small to choose.

An expression goes to the calculator, an id or a formula with a property to the records, an attached structure to the
structure tool or the band gap predictor, everything else to the papers; a question of several parts gets them all.
Only the user's own words are planned with: what was retrieved or attached never gets here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assistant.expressions import expression_in
from ingest import formulas
from ingest.elements import NAMES

Lack = Literal["material", "structure"]


@dataclass(frozen=True, slots=True)
class Property:
    """A property that tools know: the words for it, its field and order in records, and where `structure` tells it."""

    field: str
    words: re.Pattern[str]
    name_ja: str
    sort: str = ""  # the records' name for ordering by it
    line: str = ""  # how the structure tool's line for it begins
    task: str = ""  # of the structure tool


@dataclass(frozen=True, slots=True)
class Step:
    """One tool to run. `properties` are what the question wants of it, `extreme` -1 or 1 for smallest or largest."""

    tool: str
    arguments: Mapping[str, Any]
    properties: tuple[Property, ...] = ()
    extreme: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a question: tools to run, what to ask the papers, or what has to be asked back first."""

    steps: tuple[Step, ...] = ()
    papers: str = ""  # the part of the question that they may answer; "" for none
    lacks: Lack | None = None  # the question cannot be answered before this is named


def _property(field: str, words: str, name_ja: str, **more: str) -> Property:
    return Property(field, re.compile(words, re.IGNORECASE), name_ja, **more)


PROPERTIES = (
    _property("band_gap_ev", r"band ?-?gaps?|\bgaps?\b|バンドギャップ|禁制帯幅", "バンドギャップ", sort="band_gap"),
    _property(
        "density_g_cm3",
        r"(?<!current )(?<!energy )(?<!charge )(?<!carrier )(?<!power )(?<!number )(?<!defect )"
        r"\bdens(?:ity|ities|e|est)\b(?! of states| functional)|(?<!流)(?<!ー)(?<!荷)(?<!態)密度",
        "密度",
        sort="density",
        line="density",
    ),
    _property(
        "formation_energy_ev_per_atom",
        r"formation (?:energy|enthalpy)|生成エネルギー",
        "生成エネルギー",
        sort="formation_energy",
    ),
    _property(
        "e_above_hull_ev_per_atom",
        r"above (?:the )?(?:convex )?hull|(?:most|thermodynamically) stable|ground[ -]state|hull energy|安定|基底状態",
        "凸包からのエネルギー",
        sort="e_above_hull",
    ),
    _property("k_vrh_gpa", r"bulk modul(?:us|i)|体積弾性率", "体積弾性率", sort="k_vrh"),
    _property("g_vrh_gpa", r"shear modul(?:us|i)|せん断弾性率|剛性率", "せん断弾性率"),
    _property("magnetisation_ub", r"magneti[sz]ation|magnetic moment|磁化|磁気モーメント", "全磁化"),
    _property(
        "volume_a3",
        r"(?:cell|unit cell) volume|\bvolume of the cell\b|(?:格子|セル)体積",
        "格子体積",
        sort="volume",
        line="lattice",
    ),
    _property("spacegroup", r"space ?group|crystal system|symmetry|空間群|結晶系|対称性", "空間群", line="space group"),
    _property(
        "lattice",
        r"lattice (?:parameter|constant)s?|cell parameters?|格子定数",
        "格子定数",
        line="lattice",
        task="summary",
    ),
    _property(
        "molar_mass",
        r"molar mass|molecular weight|formula weight|モル質量|分子量|式量",
        "モル質量",
        line="molar mass",
        task="summary",
    ),
    _property("xrd", r"\bXRD\b|diffraction|X-ray peaks?|\b2θ\b|回折", "回折ピーク", task="xrd"),
    _property(
        "neighbours",
        r"coordination|nearest neighbou?rs?|bond (?:length|distance)s?|配位|最近接|結合(?:長|距離)",
        "配位と結合距離",
        task="neighbours",
    ),
    _property("oxidation", r"oxidation states?|valence states?|酸化数|価数", "酸化数", task="oxidation_states"),
    _property("sites", r"wyckoff|atomic positions?|ワイコフ|原子位置|原子座標", "原子位置", task="sites"),
)

_CLAUSE = re.compile(
    r"[;；。]\s*|[?？]\s*(?=\S)|,?\s+(?:and|but|while)\s+(?=(?:also\s+)?(?:what|which|how|when|why|where|convert|calculate|is|"
    r"are|does|do|did|can)\b)|、?(?:また|そして|さらに|一方)、?",
    re.IGNORECASE,
)
_ID = re.compile(r"(?<![\w-])(?:mp|mvc|mol)-\d+(?![0-9A-Za-z])")
_LARGEST = re.compile(
    r"\b(?:largest|highest|widest|biggest|greatest|maximum|max|densest|heaviest|hardest)\b|最大|最も(?:大き|高|広|密)|一番(?:大き|高|広)|最高",
    re.IGNORECASE,
)
_SMALLEST = re.compile(
    r"\b(?:smallest|lowest|narrowest|minimum|min|least|lightest)\b|最小|最も(?:小さ|低|狭|安定)|一番(?:小さ|低|狭|安定)|最低"
    r"|\bmost stable\b|\bground[ -]state\b|基底状態",
    re.IGNORECASE,
)
_ATTACHED = re.compile(
    r"\battach|\b(?:this|the|my) (?:structure|file|cif|poscar|crystal)\b|添付|(?:この|その)(?:構造|ファイル|結晶)",
    re.IGNORECASE,
)
_IN_PAPERS = re.compile(
    r"\b(?:papers?|literature|articles?|authors?|report(?:s|ed)?|measur\w+|experiment\w*|stud(?:y|ies)|according to|"
    r"publi\w+)\b|論文|文献|実験|測定|報告|著者",
    re.IGNORECASE,
)
_ONLY_RECORDS = re.compile(
    r"materials project|\brecords?\b|\bcomputed\b|\bpolymorphs?\b|\bPBE\b|多形|レコード|計算値", re.IGNORECASE
)
_SYSTEM = re.compile(
    r"(?<![\w-])((?:[A-Z][a-z]?\s*[-–‐−]\s*){1,4}[A-Z][a-z]?)(?![\w-])\s*(?:compounds?|materials?|phases?|records?|oxides?|系)"
)
_CONTAINING = re.compile(
    r"(?:contain\w*|with|of)\s+((?:[A-Z][a-z]?(?:\s*,\s*|\s+and\s+)){1,4}[A-Z][a-z]?)(?=\s|[,.?]|$)(?=.*(?:compounds?|materials?|phases?|records?))"
    r"|(?:compounds?|materials?|phases?)\s+(?:containing|with|of)\s+((?:[A-Z][a-z]?(?:\s*,\s*|\s+and\s+)){1,4}[A-Z][a-z]?)"
)
_NUMBER = r"(\d+(?:\.\d+)?)"
_BETWEEN = re.compile(
    rf"(?:between|from)\s+{_NUMBER}\s*(?:eV)?\s*(?:and|to|-|–)\s*{_NUMBER}|{_NUMBER}\s*(?:eV)?\s*(?:から|〜|～)\s*{_NUMBER}"
)
_ABOVE = re.compile(
    rf"(?:above|over|larger than|greater than|more than|at least|wider than|>)\s*{_NUMBER}\s*eV|{_NUMBER}\s*eV\s*以上"
)
_BELOW = re.compile(
    rf"(?:below|under|smaller than|less than|at most|narrower than|<)\s*{_NUMBER}\s*eV|{_NUMBER}\s*eV\s*以下"
)
_STABLE = re.compile(r"(?<!un)(?<!meta)\bstable\b|安定な", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"\b(?:its|it|this|that|these|those|their|they|(?:this|that|the) (?:material|compound|sample|crystal|phase))\b"
    r"|その|それ|この|これ",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"\b(?:what|which|how|much|many|large|big|is|are|was|the|a|an|of|in|for|its|it|this|that|these|those|their|material|compound|"
    r"structure|value|attached|crystal|sample|phase|tell|me|give|please|show|find|about|does|do|have|has|eV|and|file)\b|[\s\d?.,!:？。、!]+"
    r"|その|それ|この|これ|物質|材料|化合物|構造|添付|は|の|を|が|何|いくら|いくつ|ですか|か|教えて|ください|て|で|す|に|値",
    re.IGNORECASE,
)


def plan(
    question: str,
    *,
    attachments: Sequence[str] = (),
    tools: Collection[str] = (),
    subject: str = "",
    confined: bool = False,
) -> Plan:
    """Return what to do for `question`.

    `attachments` are the names of attached files, `tools` those there are, `subject` what the conversation was about
    (see `subject_of`). With `confined` the user has named the papers to look in, so that nothing need be asked back.
    """
    steps: list[Step] = []
    papers: list[str] = []
    for clause in clauses(question):
        found = [step for step in _steps(clause, attachments, subject) if step.tool in tools]
        steps += [step for step in found if step not in steps]
        if not found or _wants_papers(clause, found):
            papers.append(clause)
    if not steps and (lacks := _lacks(question, attachments, subject)) and not confined:
        return Plan(lacks=lacks)
    return Plan(tuple(steps), " ".join(papers) if steps else question)


def clauses(question: str) -> list[str]:
    """Return the parts of a question that ask for something of their own."""
    return [part.strip() for part in _CLAUSE.split(question) if part and part.strip()]


def subject_of(turns: Sequence[str]) -> str:
    """Return the material that the latest of these turns names, as an id or formula; "" where none does."""
    for turn in reversed(turns):
        if found := _materials_in(turn):
            return found[-1]
    return ""


def points_back(question: str) -> bool:
    """Whether a question speaks of something named before: "its density", その密度."""
    return bool(_POINTS_BACK.search(question)) and not _materials_in(question)


# --- one clause ---------------------------------------------------------------------------------------------------


def _steps(clause: str, attachments: Sequence[str], subject: str) -> Iterator[Step]:
    wanted = tuple(prop for prop in PROPERTIES if prop.words.search(clause))
    named = _materials_in(clause)
    if expression := expression_in(clause):
        yield Step("calculator", {"expression": expression})
        return
    if attachments and (_ATTACHED.search(clause) or (wanted and not named)):
        yield from _of_structure("", wanted or (_BY_FIELD["spacegroup"], _BY_FIELD["density_g_cm3"]), attachments)
        return
    if where := _search(clause, wanted):
        yield Step("materials", where, wanted or (_BY_FIELD["band_gap_ev"],), _extreme(clause))
        return
    if not named and subject and _POINTS_BACK.search(clause):
        named = [subject]
    for material in named:
        if _BY_FIELD["molar_mass"] in wanted and not _ID.fullmatch(material):
            yield Step("calculator", {"expression": f"molar_mass({material})"})
        yield from _of_material(material, wanted, clause)


def _of_structure(name: str, wanted: Sequence[Property], attachments: Sequence[str]) -> Iterator[Step]:
    names = [name] if name else list(attachments)
    for one in names:
        if any(prop.field == "band_gap_ev" for prop in wanted):
            yield Step("bandgap", {"structure": one}, (_BY_FIELD["band_gap_ev"],))
        tasks: dict[str, list[Property]] = {}
        for prop in wanted:
            if prop.line or prop.task:
                tasks.setdefault(prop.task or "summary", []).append(prop)
        for task, props in tasks.items():
            yield Step("structure", {"structure": one, "task": task}, tuple(props))


def _of_material(material: str, wanted: Sequence[Property], clause: str) -> Iterator[Step]:
    is_id = bool(_ID.fullmatch(material))
    recorded = tuple(prop for prop in wanted if not prop.task)
    if recorded or (is_id and not wanted):
        where: dict[str, Any] = {"material_id": material} if is_id else {"formula": material}
        extreme = _extreme(clause) if not is_id else 0
        if extreme:
            prop = next((prop for prop in recorded if prop.sort), recorded[0])
            where |= {"sort": prop.sort or "e_above_hull", "descending": extreme > 0}
            recorded = (prop,)
        yield Step("materials", where, recorded, extreme)
    if is_id:
        yield from _of_structure(material, [prop for prop in wanted if prop.task], ())


def _search(clause: str, wanted: Sequence[Property]) -> dict[str, Any]:
    """Return the filters of a question for compounds: "stable Li-O compounds with a gap above 1 eV"."""
    system, containing = _SYSTEM.search(clause), _CONTAINING.search(clause)
    where: dict[str, Any] = {}
    if system:
        where["chemsys"] = "-".join(re.findall("[A-Z][a-z]?", system[1]))
    elif containing:
        where["elements"] = re.findall("[A-Z][a-z]?", containing[1] or containing[2])
    if not where:
        return {}
    if any(prop.field == "band_gap_ev" for prop in wanted):
        between, above, below = _BETWEEN.search(clause), _ABOVE.search(clause), _BELOW.search(clause)
        bounds = [float(value) for value in between.groups() if value] if between else []
        low = bounds[0] if bounds else (_first(above) if above else None)
        high = bounds[1] if bounds else (_first(below) if below else None)
        where |= {"band_gap_min_ev": low} if low is not None else {}
        where |= {"band_gap_max_ev": high} if high is not None else {}
    if _STABLE.search(clause):
        where["stable"] = True
    if extreme := _extreme(clause):
        prop = next((prop for prop in wanted if prop.sort), None)
        where |= {"sort": prop.sort, "descending": extreme > 0} if prop else {}
    return where


def _first(match: re.Match[str]) -> float:
    return float(next(value for value in match.groups() if value))


def _extreme(clause: str) -> int:
    return 1 if _LARGEST.search(clause) else (-1 if _SMALLEST.search(clause) else 0)


def _materials_in(text: str) -> list[str]:
    """Return the ids, formulas and element names in a text, in order."""
    found = {match.start(): match[0] for match in _ID.finditer(text)}
    found |= {formula.start: formula.normal for formula in formulas.find(_ID.sub(lambda m: " " * len(m[0]), text))}
    for match in re.finditer(r"[A-Za-z]{3,}", text):
        symbol = NAMES.get(match[0].lower())
        if symbol and match.start() not in found:
            found[match.start()] = symbol
    for match in re.finditer(r"\bof (Si|Ge|[A-Z][a-z])\b|(?<![A-Za-z])(Si|Ge)(?=の)", text):
        found.setdefault(match.start(match.lastindex or 1), match[match.lastindex or 1])
    return list(dict.fromkeys(found[start] for start in sorted(found)))


def _wants_papers(clause: str, steps: Sequence[Step]) -> bool:
    if _IN_PAPERS.search(clause):
        return True
    # A formula with a property may well be what a paper has measured; an id, a file or an expression is not.
    return any("formula" in step.arguments for step in steps) and not _ONLY_RECORDS.search(clause)


def _lacks(question: str, attachments: Sequence[str], subject: str) -> Lack | None:
    if _ATTACHED.search(question) and not attachments and re.search(r"attach|添付", question, re.IGNORECASE):
        return "structure"
    if attachments or subject or _materials_in(question):
        return None
    rest = question
    wanted = [prop for prop in PROPERTIES if prop.words.search(question)]
    for prop in wanted:
        rest = prop.words.sub("", rest)
    return "material" if wanted and not _FILLER.sub("", rest).strip() else None


_BY_FIELD = {prop.field: prop for prop in PROPERTIES}

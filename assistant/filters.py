"""What a question for compounds leaves of all records: "stable Li-O compounds with a gap between 1 and 3 eV"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from assistant.glossary import SCRIPT
from assistant.naming import SYSTEMS, SYSTEMS_JA
from assistant.properties import Property
from ingest import formulas
from ingest.elements import NAMES, NUMBERS

_FAMILIES = {
    "oxides": "O", "sulfides": "S", "sulphides": "S", "selenides": "Se", "tellurides": "Te", "nitrides": "N",
    "phosphides": "P", "arsenides": "As", "fluorides": "F", "chlorides": "Cl", "bromides": "Br", "iodides": "I",
    "carbides": "C", "borides": "B", "hydrides": "H", "silicides": "Si",
    "酸化物": "O", "硫化物": "S", "窒化物": "N", "フッ化物": "F", "塩化物": "Cl",
    "臭化物": "Br", "ヨウ化物": "I", "炭化物": "C", "セレン化物": "Se", "テルル化物": "Te", "リン化物": "P",
    "ホウ化物": "B",
}  # fmt: skip
_FAMILY = re.compile("|".join(_FAMILIES), re.IGNORECASE)
_NOUN = re.compile(
    rf"\b(?:compounds?|materials?(?! project)|phases?|records?|semiconductors?|insulators?|crystals?|polymorphs?|"
    rf"entries|binar(?:y|ies)|ternar(?:y|ies))\b|化合物|物質|材料|半導体|絶縁体|結晶|相(?![互関対])|{_FAMILY.pattern}",
    re.IGNORECASE,
)
_SYSTEM = re.compile(
    r"(?<![A-Za-z0-9-])((?:[A-Z][a-z]?\s?[-–‐−]\s?){1,4}[A-Z][a-z]?)(?![A-Za-z0-9-])"
    r"(?=\s*(?:\w+ )?(?:compounds?|materials?|phases?|records?|oxides?|sulfides?|nitrides?|halides?|binar|ternar|"
    r"polymorph|"
    r"(?:chemical )?(?:system|space)|semiconductors?|crystals?|系|化合物))"
)
_ELEMENT = "[A-Za-z]{3,}|[A-Z][a-z]?"
_LIST = rf"((?:{_ELEMENT})(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s*&\s*)(?:{_ELEMENT}))*)"
_CONTAINING = re.compile(
    rf"\b(?:contain(?:s|ing)?|includ(?:es?|ing)|(?:made|composed) of|with|of)\s+(?:both\s+)?{_LIST}"
)
_CONTAINS = re.compile(r"\b(?:contain(?:s|ing)?|includ(?:es?|ing)|(?:made|composed) of)\b|を含", re.IGNORECASE)
_WITHOUT = re.compile(rf"\b(?:without|excluding|free of|but no(?:t|n-)?|no)\s+(?:any\s+)?{_LIST}|\b({_ELEMENT})-free\b")
_CONTAINING_JA = re.compile(r"([^。、\s]+?)を含(?:む|み|んで|有)、?")
_WITHOUT_JA = re.compile(r"([^。、\s]+?)を含(?:まない|まず)、?")
_COUNTS = {
    "binary": 2,
    "binaries": 2,
    "ternary": 3,
    "ternaries": 3,
    "quaternary": 4,
    "二元系": 2,
    "三元系": 3,
    "四元系": 4,
}
_NUMBER = r"(\d+(?:\.\d+)?)"
_EV = r"\s*(?:eV|電子ボルト)"
_BETWEEN = re.compile(
    rf"(?:between|from)\s+{_NUMBER}(?:{_EV})?\s*(?:and|to|-|–)\s*{_NUMBER}"
    rf"|{_NUMBER}(?:{_EV})?\s*(?:から|〜|～|~|-|–)\s*{_NUMBER}{_EV}"
)
_MORE = "above|over|larger than|greater than|more than|higher than|at least|wider than|exceeding|>=?|≥"
_LESS = "below|under|smaller than|less than|lower than|at most|narrower than|up to|<=?|≤"
_ABOVE = re.compile(
    rf"(?:{_MORE})\s*{_NUMBER}{_EV}"
    rf"|{_NUMBER}{_EV}\s*(?:以上|より(?:大き|広)|を超え)",
    re.IGNORECASE,
)
_BELOW = re.compile(
    rf"(?:{_LESS})\s*{_NUMBER}{_EV}"
    rf"|{_NUMBER}{_EV}\s*(?:以下|未満|より(?:小さ|狭))",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    rf"(?:around|about|near|close to|approximately|roughly|~|≈|of)\s*{_NUMBER}{_EV}"
    rf"|{_NUMBER}{_EV}\s*(?:程度|前後|付近|くらい|ぐらい)"
    rf"|約\s*{_NUMBER}{_EV}",
    re.IGNORECASE,
)
_ABOUT_SHARE, _ABOUT_LEAST_EV = 0.1, 0.1  # "about 1.4 eV" is 1.26 to 1.54
_HULL = re.compile(
    rf"(?:hull|metastable)[^.?]{{0,30}}?(?:within|below|under|less than|at most|<=?|≤)\s*{_NUMBER}\s*(m?eV)"
    rf"|within\s*{_NUMBER}\s*(m?eV)(?:\s*/\s*atom)?\s*(?:of|above) the (?:convex )?hull",
    re.IGNORECASE,
)
_UNITS = {  # of numbers that records can be searched by; field -> how questions write them
    "k_vrh_gpa": "GPa",
    "g_vrh_gpa": "GPa",
    "density_g_cm3": r"g\s*/\s*cm(?:3|³|\^3)|g cm-3",
    "volume_a3": r"Å\s*(?:3|³|\^3)",
    "magnetisation_ub": r"[μµ]B|Bohr magnetons?",
    "formation_energy_ev_per_atom": r"eV\s*/\s*atom|eV per atom",
}
_BEYOND = re.compile(
    rf"(?:(?P<above>{_MORE})|{_LESS})\s*{_NUMBER}|{_NUMBER}\s*\S{{1,10}}?\s*(?:(?P<above_ja>以上)|以下)",
    re.IGNORECASE,
)
_STABLE = re.compile(
    r"(?<!un)(?<!meta)(?<!thermally )(?<!chemically )\bstable\b|\bon the (?:convex )?hull\b"
    r"|(?<!不)(?<!準)安定(?:な|相|して|で)|凸包上",
    re.IGNORECASE,
)
_GROUP = re.compile(
    r"space ?group\s+(?:No\.?\s*)?([A-Z][\w/-]{1,8}|\d{1,3})\b|空間群\s*(?:が|は)?\s*([A-Z][\w/-]{1,8}|\d{1,3})"
)

_LARGEST = re.compile(
    r"\b(?:largest|highest|widest|biggest|greatest|maximum|max|densest|heaviest|hardest)\b"
    r"|最大|最も(?:大き|高|広|密)|一番(?:大き|高|広)|最高",
    re.IGNORECASE,
)
_SMALLEST = re.compile(
    r"\b(?:smallest|lowest|narrowest|minimum|min|least|lightest)\b(?! energy)"
    r"|最小|最も(?:小さ|低|狭)|一番(?:小さ|低|狭)|最低",
    re.IGNORECASE,
)
GROUND = re.compile(
    r"\bmost stable\b|\bground[ -]state\b|\blowest[ -]energy\b|最も安定|一番安定|最安定|基底状態", re.IGNORECASE
)

_READ = (
    _SYSTEM, _WITHOUT_JA, _CONTAINING_JA, _WITHOUT, _CONTAINING, _HULL, _BETWEEN, _ABOVE, _BELOW, _ABOUT, _STABLE,
    _GROUP, _LARGEST, _SMALLEST, GROUND, _NOUN,
    re.compile("|".join((*SYSTEMS, *SYSTEMS_JA, *_COUNTS)), re.IGNORECASE),
    re.compile(rf"\b(?:{'|'.join(name for name in NAMES if name.isascii())})\b|\b[A-Z][a-z]?\b", re.IGNORECASE),
    re.compile(
        r"\b(?:list|search|there|that|who|can|could|would|top|by|with|to|from|between|at|most|least|than|any|some|every|"
        r"eV|meV|atom|computed|calculated|PBE|DFT|materials project|library|database|contain\w*|includ\w*|made|both|"
        r"not|no|without|above|below|over|under|larger|smaller|wide|narrow|semiconducting|system|chemical|each|only|were|be)\b"
        r"|[ァ-ヶー一-鿿]+(?=の?(?:酸化物|硫化物|窒化物))"
        r"|以上|以下|未満|範囲|系|から|まで|程度|計算|検索|列挙|探し|持つ|有する|した|して|する",
        re.IGNORECASE,
    ),
)  # fmt: skip


def extreme_in(clause: str) -> int:
    """Return 1 where a question asks for the largest, -1 for the smallest, 0 for neither."""
    return 1 if _LARGEST.search(clause) else (-1 if _SMALLEST.search(clause) else 0)


def asks_of_all(clause: str) -> int:
    """Return 1 or -1 where a question looks through all compounds for the largest or smallest, or beyond a bound."""
    if not _NOUN.search(clause):
        return 0
    beyond = _BEYOND.search(clause)
    return extreme_in(clause) or (0 if beyond is None else (1 if beyond["above"] or beyond["above_ja"] else -1))


def bound_in(clause: str) -> str:
    """Return a bound on something else than the gap, which records cannot be searched by: "above 10 g/cm3"."""
    rest = clause
    for pattern in (_HULL, _BETWEEN, _ABOVE, _BELOW, _ABOUT):
        rest = pattern.sub(" ", rest)
    found = _BEYOND.search(rest)
    return found[0] + re.match(r"(?:\s*[A-Za-zÅμ°%][^\s,?？。、]*)?", rest[found.end() :])[0] if found else ""  # type: ignore[index]


def conditions_in(clause: str, wanted: Sequence[Property]) -> tuple[list[str], str]:
    """Return the bounds on numbers other than the gap, as the materials tool takes them, and what is left."""
    found: list[str] = []
    for prop in wanted:
        if (unit := _UNITS.get(prop.field)) is None:
            continue
        for pattern, sign in _bounds_with(unit):
            if match := pattern.search(clause):
                numbers = [value.replace("−", "-") for value in match.groups() if value]
                told = "..".join(numbers) if len(numbers) == 2 else f"{sign} {numbers[0]}"
                found.append(f"{prop.field} {told}")
                clause = clause.replace(match[0], " ")
    return found, clause


@cache
def _bounds_with(unit: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    number, measured = r"([-−]?\d+(?:\.\d+)?)", rf"\s*(?:{unit})"
    between = (
        rf"(?:between|from)\s+{number}(?:{measured})?\s*(?:and|to|-|–)\s*{number}{measured}"
        rf"|{number}(?:{measured})?\s*(?:から|〜|～|~|–)\s*{number}{measured}"
    )
    texts = (
        (between, ".."),
        (rf"(?:at least|>=|≥)\s*{number}{measured}|{number}{measured}\s*以上", ">="),
        (rf"(?:{_MORE})\s*{number}{measured}|{number}{measured}\s*(?:より(?:大き|高)|を超え)", ">"),
        (rf"(?:at most|up to|<=|≤)\s*{number}{measured}|{number}{measured}\s*以下", "<="),
        (rf"(?:{_LESS})\s*{number}{measured}|{number}{measured}\s*(?:未満|より(?:小さ|低))", "<"),
    )
    return tuple((re.compile(text, re.IGNORECASE), sign) for text, sign in texts)


def read_filters(clause: str, wanted: Sequence[Property]) -> dict[str, Any]:
    """Return the arguments of the materials tool that a question for compounds stands for; none where it is not one."""
    where = _chemistry(clause)
    gap = any(prop.field == "band_gap_ev" for prop in wanted)
    conditions, clause = conditions_in(clause, wanted)
    bounds: dict[str, Any] = _gap(clause) if gap else {}
    bounds |= {"where": conditions} if conditions else {}
    if not (where or bounds) or not (_NOUN.search(clause) or "chemsys" in where):
        return {}
    where |= bounds
    held = bool(_CONTAINS.search(clause))
    lowered = clause.casefold()
    if count := next((count for word, count in _COUNTS.items() if word in lowered), 0):
        where["nelements"] = count
    if hull := _HULL.search(clause):
        value, unit = (hull[1], hull[2]) if hull[1] else (hull[3], hull[4])
        where["e_above_hull_max_ev_per_atom"] = float(value) * (0.001 if unit == "meV" else 1)
    elif _STABLE.search(clause):
        where["stable"] = True
    if system := _crystal_system(lowered):
        where["crystal_system"] = system
    if group := _GROUP.search(clause):
        where["spacegroup"] = group[1] or group[2]
    # "Aryl chlorides" and "the phase change of Cu" name elements, but ask for no compounds.
    alone = not (where.keys() - {"elements", "exclude_elements"})
    return {} if alone and not (held or extreme_in(clause) or GROUND.search(clause)) else where


def unread(clause: str) -> str:
    """Return what is left of a question for compounds where everything that `read_filters` reads is taken out."""
    for pattern in _READ:
        clause = pattern.sub(" ", clause)
    return clause


def _chemistry(clause: str) -> dict[str, Any]:
    if (system := _SYSTEM.search(clause)) and set(symbols := _symbols(system[1])) <= NUMBERS.keys():
        return {"chemsys": "-".join(symbols)}
    parts = re.sub(r"(を含(?:み|んで))(?!、)", r"\1、", clause)  # Liを含み、Coを含まない
    without = _without(parts)
    rest = _WITHOUT_JA.sub("", _WITHOUT.sub("", parts))
    family = _FAMILY.search(rest)
    anion = [_FAMILIES[family[0].casefold()]] if family else []
    held = _containing(rest)
    if family and (metals := _beside(rest, family)):
        return {"chemsys": "-".join(dict.fromkeys([*metals, *anion]))} | without
    elements = list(dict.fromkeys([*held, *anion]))
    return ({"elements": elements} if elements else {}) | (without if elements else {})


def _beside(clause: str, family: re.Match[str]) -> list[str]:
    """Return the metals of "titanium oxides", "oxides of Li and Fe", チタンの酸化物."""
    after = re.match(rf"\s+of\s+{_LIST}", clause[family.end() :])
    if after:
        return _read(after[1])
    before = re.search(rf"({_ELEMENT}|[ァ-ヶー一-鿿]+?の?)\s*$", clause[: family.start()])
    return _read(before[1].removesuffix("の")) if before else []


def _containing(clause: str) -> list[str]:
    if _NOUN.search(clause):
        for match in _CONTAINING.finditer(clause):
            if held := _read(match[1]):
                return held
    japanese = _CONTAINING_JA.search(clause)
    return _read(japanese[1]) if japanese else []


def _without(clause: str) -> dict[str, Any]:
    left = [symbol for match in _WITHOUT.finditer(clause) for symbol in _read(match[1] or match[2])]
    left += [symbol for match in _WITHOUT_JA.finditer(clause) for symbol in _read(match[1])]
    return {"exclude_elements": left} if left else {}


def _read(listed: str) -> list[str]:
    """Return the symbols of a list of elements, by name or symbol; none where a word of it is no element."""
    if SCRIPT.search(listed):
        return sorted(formulas.elements(listed) | {s for s in _symbols(listed) if s in NUMBERS})
    found: list[str] = []
    for word in re.findall(_ELEMENT, re.sub(r"\band\b", " ", listed)):
        symbol = word if word in NUMBERS else NAMES.get(word.casefold())
        if symbol is None:
            return found
        found.append(symbol)
    return found


def _symbols(text: str) -> list[str]:
    return re.findall("[A-Z][a-z]?", text)


def _gap(clause: str) -> dict[str, float]:
    between, above, below = _BETWEEN.search(clause), _ABOVE.search(clause), _BELOW.search(clause)
    if between:
        low, high = sorted(float(value) for value in between.groups() if value)
        return {"band_gap_min_ev": low, "band_gap_max_ev": high}
    found = {}
    if above:
        found["band_gap_min_ev"] = _first(above)
    if below:
        found["band_gap_max_ev"] = _first(below)
    if not found and (about := _ABOUT.search(clause)):
        value = _first(about)
        spread = max(value * _ABOUT_SHARE, _ABOUT_LEAST_EV)
        found = {"band_gap_min_ev": round(value - spread, 4), "band_gap_max_ev": round(value + spread, 4)}
    return found


def _crystal_system(lowered: str) -> str:
    names = {**{name: name for name in SYSTEMS}, **SYSTEMS_JA}
    return next((system for word, system in names.items() if re.search(rf"(?<![a-z]){word}(?![a-z])", lowered)), "")


def _first(match: re.Match[str]) -> float:
    return float(next(value for value in match.groups() if value))

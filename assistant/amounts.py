"""Amounts of a compound that a question asks for: moles of a mass, the mass of moles, the share of an element."""

from __future__ import annotations

import re

from ingest import formulas
from ingest.elements import NAMES, NUMBERS

VALUE = r"[-+−]?\d[\d.,]*(?:\s*(?:e|E|×\s*10\^?)\s*[-+−]?\d+)?"
_PORTION = re.compile(rf"(?P<value>{VALUE})\s*(?P<unit>[kmµμn]?(?:g|mol(?:es?)?))\s*(?:of|の)?\s*$", re.IGNORECASE)
_PORTION_AFTER = re.compile(rf"\s*(?:が|を)?\s*(?P<value>{VALUE})\s*(?P<unit>[kmµμn]?(?:g|mol))(?![A-Za-z/·])")
_ASKED_AMOUNT = re.compile(
    r"\bhow many (?P<en>m?mol(?:es?)?|[kmµμ]?g(?:rams?)?)\b|\bin (?P<unit>[mµμ]?mol|[kmµμ]?g)\b|\b(?P<mass>mass|weigh)"
    r"|何\s*(?P<ja>[mµμ]?mol|モル|[kmµμ]?g|グラム)|(?P<mass_ja>質量|重さ)",
    re.IGNORECASE,
)
_ASKED_SHARE = re.compile(
    r"(?:\b(?:mass|weight) (?:fraction|percent(?:age)?|share)|\bpercent(?:age)? by (?:mass|weight)|\bwt\.? ?%)\s+"
    r"of\s+(?P<part>\S+)\s+in\s+(?P<whole>\S+?)[?.]*$"
    r"|(?P<whole_ja>[A-Za-z0-9()·]+)\s*(?:中の|に含まれる)\s*(?P<part_ja>[A-Za-z]+)\s*の\s*"
    r"(?:質量|重量)(?:分率|パーセント|割合|比|%|％)",
    re.IGNORECASE,
)
_ELEMENT_IN = re.compile(
    r"\b(?:m?mol(?:es?)?|grams?|g|mass|atoms?) of (\w+)(?: atoms?| ions?)? (?:\w+ ){0,2}in\b", re.IGNORECASE
)


def amount_in(clause: str) -> str:
    """Return the conversion between mass and amount of substance that a clause asks for, or ""."""
    asked = _ASKED_AMOUNT.search(clause)
    for formula in formulas.find(clause) if asked else ():
        given = _PORTION.search(clause[: formula.start]) or _PORTION_AFTER.match(clause, formula.end)
        if asked is None or given is None:
            continue
        unit = re.sub("mole?s?$", "mol", given["unit"], flags=re.IGNORECASE)
        wanted = next((name for name in (asked["en"], asked["unit"], asked["ja"]) if name), "g")
        wanted = _AMOUNT_UNITS.get(wanted.lower(), wanted)
        if unit.endswith("mol") == wanted.endswith("mol"):
            continue
        times = 1.0
        part = _ELEMENT_IN.search(clause)
        if part and formulas.normalise(part[1]) != formula.normal:  # "moles of Li in 2 g of Li2CO3"
            times = _count(part[1], formula.normal) if wanted.endswith("mol") else 0.0
        by = "*" if unit.endswith("mol") else "/"
        amount = f"{_factor(times)}{given['value'].strip()} {unit} {by} molar_mass({formula.normal}) to {wanted}"
        return amount if times else ""
    return ""


_AMOUNT_UNITS = {"moles": "mol", "mole": "mol", "mmole": "mmol", "mmoles": "mmol", "gram": "g", "grams": "g"} | {
    "モル": "mol", "グラム": "g", "kgrams": "kg", "mgrams": "mg",
}  # fmt: skip


def share_in(clause: str) -> str:
    """Return the share by mass of an element in a compound that a clause asks for, or ""."""
    asked = _ASKED_SHARE.search(clause)
    if asked is None:
        return ""
    part, whole = asked["part"] or asked["part_ja"], formulas.normalise(asked["whole"] or asked["whole_ja"])
    count = _count(part, whole)
    return f"{_factor(count)}molar_mass({_symbol(part)}) / molar_mass({whole}) to percent" if count else ""


def _count(element: str, formula: str) -> float:
    """Return how often a formula holds an element, 0 where that cannot be said."""
    try:
        return formulas.amounts(formula).get(_symbol(element), 0.0) if formula else 0.0
    except ValueError:  # a count that is a variable
        return 0.0


def _symbol(element: str) -> str:
    return element if element in NUMBERS else NAMES.get(element.lower(), "")


def _factor(count: float) -> str:
    return "" if count == 1 else f"{count:g} * "

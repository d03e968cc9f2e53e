"""Finds what a question wants computed: an expression or a conversion, as the calculator takes it."""

from __future__ import annotations

import re

from assistant.glossary import is_japanese

_VALUE = r"[-+−]?\d[\d.,]*(?:\s*(?:e|E|×\s*10\^?)\s*[-+−]?\d+)?"
_UNIT = r"[A-Za-zÅÅμµΩ°℃%][A-Za-zÅÅμµΩ°℃0-9/^*·⋅−²³⁻¹ -]{0,18}?"
_UNIT_JA = r"[A-Za-zÅÅμµΩ°℃][A-Za-zÅÅμµΩ°℃0-9/^·]*"
_KIND = (
    r"(?:an?\s+|the\s+)?(?:corresponding\s+|photon\s+)?"
    r"(?:wavelength|energy|temperature|frequency|wave ?number|length|pressure|mass|volume|density|time|units?)"
)
_KIND_JA = r"(?:波長|エネルギー|温度|振動数|周波数|長さ|圧力)"
_CONVERSIONS = (
    re.compile(
        rf"(?P<value>{_VALUE}\s*{_UNIT})\s+(?:to|in|into|as|expressed in)\s+(?:{_KIND}\s+(?:in|of)\s+)?"
        rf"(?P<unit>{_UNIT})\s*[?.!]*$",
        re.IGNORECASE,
    ),
    re.compile(
        rf"how (?:many|much)\s+(?P<unit>{_UNIT})\s+(?:is|are|correspond to|make|does|do|equals?)\s+"
        rf"(?P<value>{_VALUE}\s*{_UNIT})\s*(?:correspond to|make|equal)?\s*[?.!]*$",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?P<value>{_VALUE}\s*{_UNIT_JA})\s*(?:は|を|の)\s*{_KIND_JA}?\s*(?:で|に|を|は|の)?\s*(?:何\s*)?"
        rf"(?P<unit>{_UNIT_JA})\s*(?:か|ですか|に|で|へ|を|の波長|換算|変換|いくら|[?？。]|$)"
    ),
    re.compile(
        rf"(?P<value>{_VALUE}\s*{_UNIT_JA})\s*(?:の\s*{_KIND_JA})?\s*(?:に|と)\s*(?:対応|相当|等価)[^\d。]{{0,12}}?{_KIND_JA}?"
        rf"\s*は\s*何\s*(?P<unit>{_UNIT_JA})"
    ),
)
_ASKS_TO_COMPUTE = re.compile(
    r"^\s*(?:please\s+)?(?:what(?:'s| is)|how much is|calculate|compute|evaluate|work out|convert|find)\s+"
    r"|(?:を計算|はいくら|を求め).*$|=\s*\?*\s*$|\s*[?.!？。]+\s*$",
    re.IGNORECASE,
)
_ARITHMETIC = re.compile(r"\d[^A-Za-z]*[-+*/^×÷]|[-+*/^×÷]\s*[\d(]|\b(?:sqrt|exp|ln|log10|sin|cos|tan)\s*\(")


def expression_in(clause: str) -> str:
    """Return the expression or conversion that a clause asks for, or "" where there is none that can be computed."""
    for pattern in _CONVERSIONS:
        if found := pattern.search(clause):
            expression = f"{found['value'].strip()} to {found['unit'].strip()}"
            if _computes(expression):
                return expression
    bare = clause
    for _ in range(2):
        bare = _ASKS_TO_COMPUTE.sub("", bare).strip()
    return bare if _ARITHMETIC.search(bare) and not is_japanese(bare) and _computes(bare) else ""


def _computes(expression: str) -> bool:
    from assistant.tools.calculator import calculate
    from ingest.errors import MatlitError

    try:
        calculate(expression)
    except MatlitError:
        return False
    return True

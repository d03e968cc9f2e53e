"""Finds what a question wants computed: an expression or a conversion, as the calculator takes it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.amounts import VALUE, amount_in, share_in
from assistant.glossary import is_japanese

_UNIT = r"[A-Za-zÅÅμµΩ°℃%][A-Za-zÅÅμµΩ°℃0-9/^*·⋅−²³⁻¹ -]{0,18}?"
_UNIT_JA = r"[A-Za-zÅÅμµΩ°℃][A-Za-zÅÅμµΩ°℃0-9/^·]*"
_KIND = (
    r"(?:an?\s+|the\s+)?(?:corresponding\s+|photon\s+)?"
    r"(?:wavelength|energy|temperature|frequency|wave ?number|length|pressure|mass|volume|density|time|units?)"
)
_KIND_JA = r"(?:波長|エネルギー|温度|振動数|周波数|長さ|圧力)"
_CONVERSIONS = (
    re.compile(
        rf"(?P<value>{VALUE}\s*{_UNIT})\s+(?:to|in|into|as|expressed in)\s+(?:{_KIND}\s+(?:in|of)\s+)?"
        rf"(?P<unit>{_UNIT})\s*[?.!]*$",
        re.IGNORECASE,
    ),
    re.compile(
        rf"how (?:many|much)\s+(?P<unit>{_UNIT})\s+(?:is|are|correspond to|make|does|do|equals?)\s+"
        rf"(?P<value>{VALUE}\s*{_UNIT})\s*(?:correspond to|make|equal)?\s*[?.!]*$",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?P<value>{VALUE}\s*{_UNIT_JA})\s*(?:は|を|の)\s*{_KIND_JA}?\s*(?:で|に|を|は|の)?\s*(?:何\s*)?"
        rf"(?P<unit>{_UNIT_JA})\s*(?:か|ですか|に|で|へ|を|の波長|換算|変換|いくら|[?？。]|$)"
    ),
    re.compile(
        rf"(?P<value>{VALUE}\s*{_UNIT_JA})\s*(?:の\s*{_KIND_JA})?\s*(?:に|と)\s*(?:対応|相当|等価)[^\d。]{{0,12}}?{_KIND_JA}?"
        rf"\s*は\s*何\s*(?P<unit>{_UNIT_JA})"
    ),
)
_ASKS_TO_COMPUTE = re.compile(
    r"^\s*(?:please\s+)?(?:what(?:'s| is)|how much is|calculate|compute|evaluate|work out|convert|find)\s+"
    r"|(?:を計算|はいくら|を求め).*$|=\s*\?*\s*$|\s*[?.!？。]+\s*$",
    re.IGNORECASE,
)
_ARITHMETIC = re.compile(r"\d[^A-Za-z]*[-+*/^×÷]|[-+*/^×÷]\s*[\d(]|√|\b(?:sqrt|exp|ln|log10|sin|cos|tan)\s*\(")


_WHOLE = re.compile(
    rf"(?P<value>.*\S)\s+(?:to|in|into|as|expressed in)\s+(?:{_KIND}\s+(?:in|of)\s+)?(?P<unit>{_UNIT})$", re.I
)
_WHOLE_JA = re.compile(
    rf"(?P<value>.*\S)\s*(?:を|は)\s*(?:{_KIND_JA}\s*)?(?:何\s*)?(?P<unit>{_UNIT_JA})(?:に|で|へ|か|です|換算|変換).*$"
)
_CONTINUES = re.compile(r"(?:[-+−*/^×÷·(=]|\bto the power of|\btimes|\bplus|\bminus)\s*$")
_BACK = re.compile(
    rf"^(?:(?:please|and|now|then|so)[\s,]+)*(?:(?:convert|express|give|what is|how much is)\s+)?(?:me\s+)?"
    rf"(?:that|it|this|the (?:value|result|answer)|its value)?\s*(?:to|in|into|as)\s+(?P<unit>{_UNIT})\s*[?.!]*$"
    rf"|^(?:それ|これ|その値|この値|結果)?(?:を|は)?\s*(?P<unit_ja>{_UNIT_JA})\s*(?:に|で|へ)(?:は|も)?(?:換算|変換|直し|直す|すると|いくら|表).*$",
    re.IGNORECASE,
)
_CONVERT_WHAT = re.compile(
    rf"^(?:please\s+)?convert\s+(?:(?:that|it|this|them)\s+)?(?:to|into)\s+{_UNIT}\s*[?.!]*$|^(?:それ|これ)を?\s*{_UNIT_JA}\s*に(?:換算|変換)",
    re.IGNORECASE,
)


_CONSTANTS = (
    (r"speed of light(?: in vacuum)?|光速(?:度)?", "c"),
    (r"(?:reduced planck(?:'s)? constant|h-?bar|ディラック定数|換算プランク定数)", "hbar"),
    (r"planck(?:'s|’s)?(?: constant|定数)?|プランク定数", "h"),
    (r"(?:boltzmann(?:'s|’s)? constant|ボルツマン定数)", "k_B"),
    (r"(?:avogadro(?:'s|’s)? (?:number|constant)|アボガドロ(?:定)?数)", "N_A"),
    (r"(?:(?:molar |universal |ideal )?gas constant|気体定数)", "R"),
    (r"(?:faraday(?:'s|’s)? constant|ファラデー定数)", "F"),
    (r"(?:elementary charge|charge of (?:the|an) electron|電気素量|素電荷)", "q_e"),
    (r"(?:(?:rest )?mass of (?:the|an) electron|electron (?:rest )?mass|電子の?質量)", "m_e"),
    (r"(?:mass of (?:the|a) proton|proton mass|陽子の?質量)", "m_p"),
    (r"(?:bohr radius|ボーア半径)", "a_0"),
    (r"(?:bohr magneton|ボーア磁子)", "mu_B"),
    (r"(?:vacuum permittivity|permittivity of (?:free space|vacuum)|真空の誘電率)", "epsilon_0"),
    (r"\bpi\b|円周率", "pi"),
)
_WORDED = (
    (r"\s*(?:\btimes\b|\bmultiplied by\b|かける|掛ける)\s*", " * "),
    (r"\s*(?:\bdivided by\b|\bover\b|割る)\s*", " / "),
    (r"\s*\bplus\b\s*", " + "),
    (r"\s*\bminus\b\s*", " - "),
    (r"\s*\bto the power of\b\s*", "^"),
    (r"\bsquare root of\s+([\d.]+)", r"sqrt(\1)"),
    (r"(\d(?:[\d.]*)) ?(?:%|percent) of (?=[\d(])", r"\1 % * "),
)
_ARTICLES = re.compile(r"\b(?:the|value of|product of)\b|の値", re.IGNORECASE)
_PURE = re.compile(r"[\d\s.,()+\-−*/^×÷!]*\d\s*[-+−*/^×÷!][\d\s.,()+\-−*/^×÷!]*")
_KINDS = {
    "wavelength": "nm", "energy": "eV", "frequency": "THz", "wave number": "cm^-1", "wavenumber": "cm^-1",
    "波長": "nm", "エネルギー": "eV", "振動数": "THz", "周波数": "THz", "波数": "cm^-1",
}  # fmt: skip
_PHOTON = re.compile(
    rf"^(?:the )?(?:photon )?(?P<kind>wavelength|energy|frequency|wave ?number)(?: in (?P<unit>{_UNIT}))? "
    rf"(?:of|for|corresponding to|at) (?:an? |the )?(?:(?:photons?|light|radiation|laser)(?: with| of| at| having)* )?"
    rf"(?:an? |the )?(?:(?:wavelength|energy|frequency|wave ?number)(?: of)? )?(?P<value>{VALUE}\s*{_UNIT})"
    rf"(?: photons?| light| radiation| laser)?$",
    re.IGNORECASE,
)
_PHOTON_JA = re.compile(
    rf"^(?P<value>{VALUE}\s*{_UNIT_JA})\s*の(?:光|光子|フォトン|レーザー|X線)?の?(?P<kind>波長|エネルギー|振動数|周波数|波数)"
    rf"(?:は|を)?(?:何\s*(?P<unit>{_UNIT_JA}))?(?:ですか|か|教えて.*|いくら.*|求め.*|計算.*)?[?？。]*$"
)


def expression_in(clause: str) -> str:
    """Return the expression or conversion that a clause asks for, or "" where there is none that can be computed."""
    return _written(clause) or _spoken(clause) or _of_photon(clause)


def _spoken(clause: str) -> str:
    """Return an expression that names constants or operations in words: "Avogadro's number times k", "pi"."""
    text = clause
    for _ in range(2):
        text = _ASKS_TO_COMPUTE.sub("", text).strip()
    replaced = 0
    for words, symbol in (*_CONSTANTS, *_WORDED):
        text, count = re.subn(words, symbol, text, flags=re.IGNORECASE)
        replaced += count
    if not replaced:
        return ""
    text = " ".join(_ARTICLES.sub(" ", text).split())
    if found := _WHOLE.match(text) or _WHOLE_JA.match(text):
        text = f"{found['value'].strip()} to {found['unit'].strip()}"
    text = re.sub(r"(?:は|を|です|か|何|いくら|教えて|ください)+$", "", text)
    return text if not is_japanese(text) and _computes(text) else ""


def _of_photon(clause: str) -> str:
    """Return the conversion between energy, wavelength and frequency of light that a clause asks for in words."""
    bare = clause
    for _ in range(2):
        bare = _ASKS_TO_COMPUTE.sub("", bare).strip()
    found = _PHOTON.match(bare) or _PHOTON_JA.match(clause.strip())
    if not found:
        return ""
    unit = found["unit"] or _KINDS[" ".join(found["kind"].casefold().split())]
    expression = f"{found['value'].strip()} to {unit.strip()}"
    return expression if _computes(expression) else ""


def _written(clause: str) -> str:
    bare = clause
    for _ in range(2):
        bare = _ASKS_TO_COMPUTE.sub("", bare).strip()
    for pattern, text in ((_WHOLE, bare), (_WHOLE_JA, clause)):
        found = pattern.match(text)
        if found and _ARITHMETIC.search(found["value"]) and not is_japanese(found["value"]):
            expression = f"{found['value'].strip()} to {found['unit'].strip()}"
            if _computes(expression):
                return expression
    for pattern in _CONVERSIONS:
        # What a longer expression ends with is not what was asked: "sqrt(2)*5.43 Å in nm".
        if (found := pattern.search(clause)) and not _CONTINUES.search(clause[: found.start("value")]):
            expression = f"{found['value'].strip()} to {found['unit'].strip()}"
            if _computes(expression):
                return expression
    if amount := amount_in(clause) or share_in(clause):
        return amount if _computes(amount) else ""
    if _PURE.fullmatch(clause.strip().rstrip("=? ")):
        return clause.strip().rstrip("=? ")  # what it cannot compute, 1/0, the calculator says itself
    return bare if _ARITHMETIC.search(bare) and not is_japanese(bare) and _computes(bare) else ""


def converted(clause: str, values: Sequence[str]) -> str:
    """Return the conversion that a clause asks for, of the latest value spoken of that allows it: "and in kg/m3?"."""
    found = _BACK.match(clause.strip()) if values else None
    if not found:
        return ""
    unit = (found["unit"] or found["unit_ja"]).strip()
    return next((one for value in values if _computes(one := f"{value} to {unit}")), "")


def lacks_value(question: str) -> bool:
    """Whether a question asks to convert, and says to what, but not which value."""
    return bool(_CONVERT_WHAT.match(question.strip()))


def _computes(expression: str) -> bool:
    from assistant.tools.calculator import calculate
    from ingest.errors import MatlitError

    try:
        calculate(expression)
    except MatlitError:
        return False
    return True

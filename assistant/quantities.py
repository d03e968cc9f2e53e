"""Numbers with units in running text, compared by value and unit whatever their spelling.

"170 mAh/g", "170 mA h g−1" and "170 mAh·g^-1" are one quantity. Nothing is converted or rounded: 0.17 Ah/g is another.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from functools import lru_cache

MAX_EXPONENT = 400  # larger powers of ten are misread text, and would make huge integers


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit at `[start, end)` of a text.

    `values` holds every reading: in text from a PDF "105" may be 10⁵, and "10-5" a power or a range. `unit` is the
    canonical form of the unit, symbols with exponents such as "g-1 h mA", or "" for a bare number.
    """

    text: str
    start: int
    end: int
    values: frozenset[Decimal]
    unit: str


def quantities(text: str) -> list[Quantity]:
    """Return the numbers of `text` with their units, in order; digits inside names (LiFePO4, mp-149) are not numbers.

    The first of a range or of a value with an error takes the unit of the second: "2.5–4.2 V", "1.9 ± 0.4 eV".
    """
    return list(_quantities(text))


def occurs(quantity: Quantity, text: str) -> bool:
    """Whether `text` gives this quantity.

    A bare number matches whatever its unit there (one to twelve also as words). A number with a unit matches that unit,
    or a bare number where the unit stands elsewhere in the text, as in the head of a table.
    """
    found = [other for other in _quantities(text) if other.values & quantity.values]
    if not quantity.unit:
        return bool(found) or _as_word(quantity, text)
    # Some PDFs lose the exponents: "mA h g 1".
    if any(other.unit in (quantity.unit, _bases(quantity.unit)) for other in found if other.unit):
        return True
    return any(not other.unit for other in found) and quantity.unit in _units_named(text)


def rounds(quantity: Quantity, text: str) -> bool:
    """Whether `text` gives this quantity with more digits, as 867.02 nm of 867.0223667 nm; with two at least."""
    return any(
        other.unit == quantity.unit
        and any(_rounded(value, exact) for value in quantity.values for exact in other.values)
        for other in _quantities(text)
    )


def _rounded(value: Decimal, exact: Decimal) -> bool:
    parts = value.as_tuple()
    if value == 0 or len(parts.digits) < 2 or not isinstance(parts.exponent, int) or abs(exact.adjusted()) > 30:
        return False
    place = Decimal(1).scaleb(parts.exponent)
    return value in (exact.quantize(place, ROUND_HALF_UP), exact.quantize(place, ROUND_HALF_EVEN))


@lru_cache(maxsize=512)
def _quantities(text: str) -> tuple[Quantity, ...]:
    plain = _plain(text)
    found: list[Quantity] = []
    for match in _NUMBER.finditer(plain):
        if found and match.start() < found[-1].end:
            continue  # the exponent of a unit
        unit, length = read_unit(plain[match.end() : match.end() + 40])
        end = match.end() + length
        found.append(Quantity(text[match.start() : end].strip(), match.start(), end, _values(match), unit))
    return tuple(_share_units(found, plain))


def _plain(text: str) -> str:
    # One character for one, so that positions stay those of the text.
    return text.translate(_TRANSLATION) if not text.isascii() else text


def _share_units(found: list[Quantity], plain: str) -> list[Quantity]:
    for i in range(len(found) - 2, -1, -1):
        this, following = found[i], found[i + 1]
        if not this.unit and following.unit and _JOINED.fullmatch(plain[this.end : following.start]):
            found[i] = Quantity(this.text, this.start, this.end, this.values, following.unit)
    return found


def _values(match: re.Match[str]) -> frozenset[Decimal]:
    if match["tenth"]:
        return _power_or_range(match["tenth"], sure="^" in match["caret"])
    sign = -1 if match["sign"] else 1
    written = match["mantissa"]
    mantissa = Decimal(re.sub(r"[ ,]", "", written))
    if exponent := match["exponent"] or match["e"]:
        values = {_scaled(mantissa, exponent)} | _product(mantissa, match)
    else:
        # A row of a table may read "100 200 300", a superscript may be lost: 105 for 10⁵.
        values = {mantissa, *(map(Decimal, written.split(" ")))} if " " in written else {mantissa}
        values |= {_scaled(Decimal(1), lost[1]) for lost in [re.fullmatch(r"10([2-9]|[12]\d)", written)] if lost}
    return frozenset(sign * value for value in values)


def _power_or_range(exponent: str, *, sure: bool) -> frozenset[Decimal]:
    power = _scaled(Decimal(1), exponent)
    return frozenset({power}) if sure else frozenset({power, Decimal(10), Decimal(exponent[1:])})


def _product(mantissa: Decimal, match: re.Match[str]) -> set[Decimal]:
    # "3 × 100 cm" is no power of ten.
    if not match["exponent"] or "^" in match["mark"] or not match["exponent"].isdigit():
        return set()
    return {mantissa, Decimal(f"10{match['exponent']}")}


def _scaled(mantissa: Decimal, exponent: str) -> Decimal:
    power = int(exponent.replace(" ", ""))
    return mantissa.scaleb(power) if abs(power) <= MAX_EXPONENT else mantissa


def _bases(unit: str) -> str:
    return re.sub(r"-?\d", "", unit)


def _as_word(quantity: Quantity, text: str) -> bool:
    words = [word for number, word in enumerate(_WORDS) if Decimal(number) in quantity.values]
    return any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in words)


_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)

_TRANSLATION = (
    dict.fromkeys(map(ord, "‐‑‒–—―−－⁻₋"), "-")
    | dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u200a\u202f\u3000"), " ")
    | dict.fromkeys(map(ord, "⋅∙•‧・"), "·")
    | dict.fromkeys(map(ord, "º˚"), "°")
    | {ord("µ"): "μ", ord("Å"): "Å", ord("Ω"): "Ω", ord("✕"): "×", ord("％"): "%", ord("．"): ".", ord("，"): ","}
    | {ord(char): str(unicodedata.digit(char)) for char in "⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉０１２３４５６７８９"}
)
_BEFORE = r"(?<![A-Za-z0-9_^\u00c0-\u024f\u0370-\u03ff])(?<!\d[.,])(?<![A-Za-z]-)"
_SIGN = r"(?P<sign>(?<![\w)\]])(?<!\d )-\s?(?=[\d.]))?"
_MANTISSA = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d{1,3}(?: \d{3})+(?:\.\d+)?(?!\.?\d)|\d+(?:\.\d+)?|\.\d+"
_POWER = r"(?:\s?[×x*]\s?10(?P<mark>\s?\^?\s?\{?)(?P<exponent>[-+]? ?\d{1,3})\}?|[eE](?P<e>[-+]?\d{1,3}))"
_TEN = r"10(?P<caret>\^?\{?)(?P<tenth>-\d{1,2})\}?(?![\d.])"
_NUMBER = re.compile(rf"{_BEFORE}(?:{_TEN}|{_SIGN}(?P<mantissa>{_MANTISSA}){_POWER}?(?!\d))")
_JOINED = re.compile(r"\s*(?:-|~|to|and|or|±|\+/-|から|,)\s*(?:\(?)")


# --- units --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def read_unit(text: str) -> tuple[str, int]:
    """Read the unit that `text` begins with; return its canonical form and length, ("", 0) if there is none."""
    powers: dict[str, int] = {}
    at, sign = 0, 1
    while match := (_FIRST if at == 0 else _NEXT).match(text, at):
        joint, symbol, exponent = match["joint"] or "", match["unit"], match["power"]
        sign = -1 if joint.strip() in ("/", "per") else sign if joint.strip() else 1
        for base in _PARTS.get(_SPELLINGS.get(symbol, symbol), (_SPELLINGS.get(symbol, symbol),)):
            powers[base] = powers.get(base, 0) + sign * int(exponent.replace(" ", "") if exponent else "1")
        at = match.end()
        if symbol.endswith(("%", "ppm", "ppb")):
            break  # nothing multiplies a share: "0.5 wt% C"
    parts = (base if power == 1 else f"{base}{power}" for base, power in sorted(powers.items()) if power)
    return " ".join(parts), at


@lru_cache(maxsize=512)
def _units_named(text: str) -> frozenset[str]:
    plain = _plain(text)
    starts = (match.start() for match in re.finditer(r"(?<![\w^])(?:[^\W\d_]|[%°])", plain))
    return frozenset(read_unit(plain[start : start + 40])[0] for start in starts) - {""}


_PREFIXABLE = (
    "m", "g", "s", "A", "V", "W", "K", "J", "Pa", "Hz", "Ω", "S", "F", "T", "N", "eV", "mol", "L", "M",
    "cal", "Wh", "Ah", "bar", "C", "H", "Wb", "Da", "Gy", "Bq", "Sv", "X",
)  # fmt: skip
_PREFIXES = ("", "k", "M", "G", "T", "m", "μ", "u", "n", "p", "f", "c", "d", "h")
_PLAIN_UNITS = (
    "°", "°C", "°F", "Å", "min", "h", "d", "%", "ppm", "ppb", "rpm", "atm",
    "Torr", "dpa", "Oe", "emu", "sun", "f.u.", "atom", "cycle", "bohr", "Ha", "Ry", "day", "year", "week",
    "dB",
)  # fmt: skip
_SPELLINGS = {
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "mins": "min", "minute": "min", "minutes": "min",
    "sec": "s", "second": "s", "seconds": "s", "days": "day", "d": "day", "years": "year", "yr": "year",
    "weeks": "week", "ohm": "Ω", "ohms": "Ω", "Ohm": "Ω", "l": "L", "ml": "mL", "μl": "μL", "liter": "L",
    "litre": "L", "percent": "%", "per cent": "%", "degrees Celsius": "°C", "degree Celsius": "°C",
    "deg C": "°C", "degC": "°C", "degrees": "°", "degree": "°", "kelvin": "K", "Kelvin": "K", "volt": "V",
    "volts": "V", "eVs": "eV", "electronvolt": "eV", "electronvolts": "eV", "electron volts": "eV",
    "gram": "g", "grams": "g", "nanometers": "nm", "nanometer": "nm", "nanometres": "nm", "nanometre": "nm",
    "micrometers": "μm", "micrometres": "μm", "microns": "μm", "micron": "μm", "angstrom": "Å",
    "angstroms": "Å", "Angstrom": "Å", "A°": "Å", "torr": "Torr", "cycles": "cycle", "atoms": "atom",
    "重量%": "wt%", "質量%": "wt%", "ppmw": "wtppm",
    "パーセント": "%", "度": "°C", "時間": "h", "分": "min", "秒": "s", "サイクル": "cycle", "hartree": "Ha",
}  # fmt: skip
_SPELLINGS |= {  # "0.5 wt. %", "20 at. ppm"
    f"{of}{gap}{share}": f"{of}{share}"
    for of in ("wt", "at", "mol", "vol")
    for share in ("%", "ppm", "ppb")
    for gap in ("", " ", ".", ". ")
}


def _symbols() -> dict[str, None]:
    prefixed = [prefix + unit for unit in _PREFIXABLE for prefix in _PREFIXES]
    return dict.fromkeys([*prefixed, *_PLAIN_UNITS, *_SPELLINGS])


def _parts() -> dict[str, tuple[str, ...]]:
    # Ah and Wh are products, so that "mAh" and "mA h" agree; u stands for μ.
    parts: dict[str, tuple[str, ...]] = {f"u{unit}": (f"μ{unit}",) for unit in _PREFIXABLE}
    for prefix in _PREFIXES:
        for unit in "AW":
            parts[f"{prefix}{unit}h"] = (f"{prefix.replace('u', 'μ')}{unit}", "h")
    return parts


_PARTS = _parts()
_SYMBOL = "|".join(re.escape(symbol) for symbol in sorted(_symbols(), key=len, reverse=True))
_EXPONENT = r"(?:\s?\^?\{?(?P<power>-\s?\d|(?<!\s)\d)\}?(?!\d))?"
_RUN_ON = r"(?=(?:k?g|K|s|h|[cm]?m|mol)\s?\^?\{?-\s?\d)"  # "mAhg-1" lacks its space
_AFTER = rf"(?:(?![A-Za-zα-ωΑ-Ω])|{_RUN_ON})"
_FIRST = re.compile(rf"(?P<joint>)[ -]?(?P<unit>{_SYMBOL}){_AFTER}{_EXPONENT}")
_NEXT = re.compile(
    rf"(?P<joint>\s?[/·*]\s?|\s+per\s+| |(?<=[A-Za-zμΩ]){_RUN_ON})(?P<unit>{_SYMBOL}){_AFTER}{_EXPONENT}"
)

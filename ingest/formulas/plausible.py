"""Whether what parses as a formula is one, rather than an abbreviation, a label or a grade."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

from ingest.formulas.grammar import ATOMS, SUPERSCRIPTS, words
from ingest.formulas.spelling import ROMAN_VALUES, is_single

NONMETALS = words("H B C N O F Si P S Cl Se Br Te I As")
MOLECULES = words("H2 N2 O2 O3 F2 Cl2 Br2 I2 S8 S6 P4 C60 C70 Se8 D2")
# Upper-case words that are compounds all the same, and mixed-case ones that are not.
# HF, HI, KF and VN are left out: they are more often Hartree-Fock, initials and matrices.
_UPPERCASE_COMPOUNDS = words("BN KOH KCN HCN WC KSCN")
_NOT_COMPOUNDS = words(
    "NaN GeV TaS PyC CoV HeLa HoW PoS PoC InC CoC CoI VoIP CaN NoC NoS HiC IoC ReS UnO CoA NoN CuPc "
    "I2C P2P B2B B2C C2C F2F S2S V2V O2O H2H C2N S2C"
)
# (first, last) of upper-case formulas whose only number stands at the end, with the largest count: CO2, PF6, WS2, …
_UPPERCASE_PAIRS: dict[str, tuple[str, int]] = {
    "O": ("CNSPBWVUIYKH", 4),
    "F": ("BPSCNUWVYIK", 7),
    "H": ("CNPBUYVS", 4),
    "S": ("WVCPU", 4),
    "B": ("YVUW", 12),
    "I": ("BPC", 4),
}
_MAX_COUNT = 30
_SURNAME = re.compile(r"(?:^|[\].,;]\s)[A-Z]\w+\s$")  # "Swope WC," is a person
_LIST = re.compile(r",|/(?=[A-Z])")  # "Mo/Mg", "Ti,Nb"
_PLURAL = re.compile(r"[A-Z]{2,}s")


Surroundings = Callable[[str, str, int, int], bool]  # of (compact, text, start, end)


def is_plausible(body: str, text: str, start: int, end: int) -> bool:
    """Tell whether a string that parses as a formula is one, rather than an abbreviation, a label or a grade."""
    compact = "".join(body.split())
    verdict = _judge(compact)
    return verdict if isinstance(verdict, bool) else verdict(compact, text, start, end)


@lru_cache(maxsize=16384)
def _judge(compact: str) -> bool | Surroundings:
    """Return whether a formula looks like one by itself, or how to judge it by what stands around it."""
    if compact in _NOT_COMPOUNDS or _PLURAL.fullmatch(compact):
        return False
    atoms = ATOMS.findall(compact)
    symbols = [symbol for symbol, _ in atoms]
    if not symbols:
        return False
    if len(set(symbols)) == 1:
        return _single_is_plausible if compact in MOLECULES else False
    if _LIST.search(re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", compact)) or _is_backwards(compact, symbols):
        return False
    organic = "C" in symbols and "H" in symbols
    if not all(_count_is_plausible(symbol, count, organic=organic) for symbol, count in atoms):
        return False
    if any(len(symbol) == 2 for symbol in symbols):
        return _judge_mixed(compact, symbols)
    if compact in _UPPERCASE_COMPOUNDS:
        return _is_no_surname
    return _uppercase_is_plausible(compact, atoms)


def _single_is_plausible(compact: str, text: str, start: int, end: int) -> bool:
    if text[end : end + 5] == "-type" or text[start - 1 : start] in {"-", "/"}:
        return False
    # "Table F2", "zone O3", "sample P4" are labels.
    before = re.search(r"(\w+)\.?\s$", text[max(0, start - 20) : start])
    return before is None or before[1].lower() not in _LABELLED


def _is_no_surname(compact: str, text: str, start: int, end: int) -> bool:
    return not _SURNAME.search(text[max(0, start - 24) : start])


_LABELLED = words("table fig figure figs tables eq section sample site sites type zone step phase atom atoms")


def _count_is_plausible(symbol: str, count: str, *, organic: bool) -> bool:
    if not re.fullmatch(r"\d+(?:\.\d+)?", count):
        return True
    if re.match(r"0\d", count) or ("." not in count and int(count) == 0):
        return False
    return float(count) <= (_MAX_COUNT if not (organic and symbol in {"C", "H", "N", "O"}) else 200)


def _is_backwards(compact: str, symbols: list[str]) -> bool:
    """Tell initials (`IRa`, `CPt`) and names with a stray variable (`CoPy`) from compounds, whose metals come first."""
    if any(char.isdigit() for char in compact):
        return False
    stray = re.search(r"[yzδ]", compact) is not None and "x" not in compact
    return stray or (symbols[0] in NONMETALS and symbols[-1] not in NONMETALS)


def _judge_mixed(compact: str, symbols: list[str]) -> bool | Surroundings:
    if any(char.isdigit() or char in "([·" for char in compact):
        return True
    if re.search(r"[xyzδ]", compact):
        return symbols[-1] in NONMETALS or len(symbols) > 2 or "-" in compact or "−" in compact
    return _ends_as_a_word


def _ends_as_a_word(compact: str, text: str, start: int, end: int) -> bool:
    # Without a number, two symbols side by side are mostly compounds (ZnO, GaAs), but also names (McCo, LaRe).
    return not (text[end : end + 1] == "." and text[end + 1 : end + 2].isalpha())


def _uppercase_is_plausible(compact: str, atoms: list[tuple[str, str]]) -> bool:
    counts = [count for _, count in atoms]
    if not any(counts):
        return False
    if any(left == right for (left, _), (right, _) in pairwise(atoms)) or any(count == "1" for count in counts):
        return False
    if any(counts[:-1]) or "(" in compact:
        return _has_anion(atoms) and _counts_are_small(atoms)
    return _uppercase_pair_is_plausible(atoms)


def _has_anion(atoms: list[tuple[str, str]]) -> bool:
    symbols = {symbol for symbol, _ in atoms}
    variable = any(set(count) & set("xyzδ") for _, count in atoms)
    return ("O" in symbols) if variable else bool(symbols & {"O", "F", "H", "N"}) or atoms[-1][0] == "S"


def _counts_are_small(atoms: list[tuple[str, str]]) -> bool:
    organic = {"C", "H"} <= {symbol for symbol, _ in atoms}
    return all(organic or symbol == "C" or not count.isdigit() or int(count) <= 12 for symbol, count in atoms)


def _uppercase_pair_is_plausible(atoms: list[tuple[str, str]]) -> bool:
    (first, _), (last, count) = atoms[-2:]
    firsts, largest = _UPPERCASE_PAIRS.get(last, ("", 0))
    fits = count == "x" or (count.isdigit() and 2 <= int(count) <= largest)
    return first in firsts and fits and all(symbol in "KHYC" for symbol, _ in atoms[:-2])


# Elements whose ions carry the sign alone: Li+, Na+, …, F−, Cl−.
_CATIONS = words("H Li Na K Rb Cs Ag Cu Tl Au")
_ANIONS = words("F Cl Br I")


def ion_is_plausible(body: str, charge: str) -> bool:
    """Tell whether elements bear a charge of this sign and size."""
    atoms = ATOMS.findall(body)
    if not is_single(body):
        return bool(atoms)
    symbol, count = atoms[0]
    if ROMAN_VALUES.get(charge):
        return len(symbol) == 2 or symbol in {"V", "U", "W", "I"}
    negative = charge[-1] in "-−⁻"
    size = count or charge[:-1]
    if not size:
        return symbol in (_ANIONS if negative else _CATIONS) and (symbol, charge) != ("I", "-")
    if negative:
        return symbol in {"O", "S", "Se", "Te", "N", "P"} and _small_charge(size)
    return _small_charge(size) and (len(symbol) == 2 or symbol in {"V", "W", "U", "Y", "H", "K"})


def _small_charge(size: str) -> bool:
    digit = str(SUPERSCRIPTS.index(size)) if len(size) == 1 and size in SUPERSCRIPTS else size
    return digit.isdecimal() and 1 <= int(digit) <= 8

"""Whether the spaces inside a formula are a typesetter's ("Ba 0.6 Sr 0.4 TiO 3") rather than a sentence's."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from ingest.formulas.grammar import ATOMS, NUM, words
from ingest.formulas.plausible import MOLECULES, NONMETALS

_UNIT_AFTER = re.compile(
    r"\s?(?:[%°×]|wt|at\.|mol|vol|nm|µm|μm|mm|cm|m\b|mg|g\b|kg|h\b|min|s\b|K\b|m?eV|m?V\b|m?A\b|[GMk]?Pa|Hz"
    r"|layers?\b|samples?\b|cells?\b|times\b|phases?\b|(?:and|to|or)\s\d)"
)
_COMPLETE = words("ZnO MgO CaO NiO CoO CuO FeO BaO SrO CdO BeO SiC GaN AlN TiN GaAs InP LiF NaCl KCl MnO TiC WC BN NaF")


def spacing_is_plausible(pieces: list[str], text: str, end: int) -> bool:
    """Tell whether the spaces are a typesetter's rather than a sentence's."""
    symbols = [symbol for piece in pieces for symbol, _ in ATOMS.findall(piece)]
    if len(set(symbols)) < 2 or not any(char.isdigit() for char in "".join(pieces)):
        return False
    for before, piece in pairwise(pieces):
        if not piece[0].isdigit():
            if not _element_run_follows(before, piece):
                return False
        elif before[-1].isdigit() or before in _COMPLETE or not _count_is_small(piece):
            return False
    if _abbreviated(pieces) or _CHARGE_AFTER.match(text, end):
        return False
    last = pieces[-1]
    if last[0].isdigit() and not (symbols[-1] in NONMETALS and last.isdigit() and not _UNIT_AFTER.match(text, end)):
        return False
    return _first_is_no_word(pieces[0], symbols)


_WORDS = words("At I No He Be")


def _first_is_no_word(first: str, symbols: list[str]) -> bool:
    # "At 2 K" is a temperature, while "In 2 O 3" and "As 2 S 3" are compounds.
    return first not in _WORDS and (first not in {"In", "As"} or symbols[-1] in {"O", "S", "Se", "Te", "P"})


# A count before a sign belongs to an ion ("Co Fe3+"); a wider gap before it is the charge of the whole ("SO 4 2−").
_CHARGE_AFTER = re.compile(r"[+−⁺]")


def _abbreviated(pieces: list[str]) -> bool:
    """Tell whether a piece such as CO or NH stands alone, without the count that would make it part of a formula."""
    following = [*pieces[1:], ""]
    return any(
        re.fullmatch(r"\([A-Z]+\)|[A-Z]{2,}", piece) and not after[:1].isdigit()
        for piece, after in zip(pieces, following, strict=True)
    )


def _element_run_follows(before: str, piece: str) -> bool:
    # "Li Fe P O4" and "Ba 0.6 Sr 0.4 TiO 3" are one formula; "TiO2 ZnO" and "LiCoO2 LiFePO4" are two.
    if before[-1].isdigit() and not before.isdigit() and "." not in before and "/" not in before:
        return len(ATOMS.findall(before)) == 1 and before not in MOLECULES
    return before not in _COMPLETE and piece not in _COMPLETE


def _count_is_small(count: str) -> bool:
    if not re.fullmatch(NUM, count):
        return True
    return 0 < Fraction(count.split("/")[0]) < 25 and not count.startswith("00")

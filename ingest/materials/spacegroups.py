"""Space groups by any of their names: "Fd-3m", "F d -3 m", "P2_1/n", "Pbnm", 227; kept is the number."""

from __future__ import annotations

import re
import unicodedata
from functools import cache


@cache
def find_spacegroup(name: str) -> int | None:
    """Return the number of a space group's symbol in any setting and spelling, or None where there is none.

    A symbol of another setting stands for its group: P2_1/n is 14, as P2_1/c is, and Pbnm is 62, as Pnma is.
    """
    import gemmi

    barred = re.sub(r"(\d)\u0305", r"-\1", unicodedata.normalize("NFKC", name))  # 3̅ is -3
    plain = re.sub(r"[_{}$]", "", barred).replace("−", "-").replace("–", "-").strip()
    if plain.isdigit():
        return int(plain) if 1 <= int(plain) <= 230 else None
    try:
        found = gemmi.find_spacegroup_by_name(plain) if plain else None
    except ValueError:
        return None
    return int(found.number) if found else None


def symbol_of(number: int) -> str:
    """Return the short symbol of the standard setting, as the Materials Project writes it: 14 is "P2_1/c"."""
    return _symbols()[number]


@cache
def _symbols() -> dict[int, str]:
    import spglib

    kinds = (spglib.get_spacegroup_type(hall) for hall in range(530, 0, -1))  # the first setting of a group counts
    return {int(kind.number): str(kind.international_short) for kind in kinds if kind is not None}

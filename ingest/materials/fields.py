"""The fields of a record, one by one: found under one of their names, checked, or refused with the reason."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.materials.cells import Cell
from ingest.materials.formula import composition, known_element
from ingest.materials.problems import FieldError, shown
from ingest.materials.record import MATERIALS_PROJECT, MATERIALS_PROJECT_DOI, crystal_system
from ingest.materials.spacegroups import find_spacegroup, symbol_of

_LETTERS = re.compile(r"(mp|mvc)-(aaa[a-z]{5})")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+~-]{0,79}")
_LABEL = re.compile(r"[^<>{}\[\]|`\\!=\"]+")
MOST_LABEL = 80  # characters
MOST_LABEL_WORDS = 10
MOST_SYMBOL = 14  # of a space group, as "P 1 21/c 1" or "Fd-3m:1"
LAST_IN_DIGITS = 3_347_529  # later ids of the Materials Project have letters only (emmet-core 0.87, AlphaID)


def look_up(record: Mapping[str, Any], *paths: str) -> tuple[str, Any]:
    """Return the first path ("symmetry.number") that holds something and its value; else the first path and None."""
    for path in paths:
        value: Any = record if "." in path else record.get(path)
        for key in path.split(".") if "." in path else ():
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return path, value
    return paths[0], None


def number(record: Mapping[str, Any], *paths: str, least: float = -math.inf) -> float | None:
    """Return a number that is at least `least`, or None."""
    path, value = look_up(record, *paths)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FieldError(path, f"is {shown(value)}, not a number")
    if value < least:
        raise FieldError(path, f"is {value}, below {least:g}")
    return float(value)


def spacegroup(record: Mapping[str, Any], *paths: str) -> int | None:
    """Return a space group number, or None."""
    path, value = look_up(record, *paths)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 230:
        raise FieldError(path, f"is {shown(value)}, not a space group number from 1 to 230")
    return value


def group_of(record: Mapping[str, Any], at: str, *others: str) -> dict[str, Any]:
    """Return number, symbol and crystal system of the space group, as fields of `Material`; one tells the others.

    `at` and `others` name where an object of number, symbol and perhaps crystal system stands.
    """
    places = (at, *others)
    number = spacegroup(record, *(f"{place}.number" for place in places))
    symbol = word(record, *(f"{place}.symbol" for place in places))
    system = word(record, *(f"{place}.crystal_system" for place in places)).lower()
    return whole_group(number, symbol, system)


def whole_group(number: int | None, symbol: str, system: str = "") -> dict[str, Any]:
    """Return number, symbol and crystal system as fields of `Material`, each from the others where it is missing.

    What is too long to be a symbol or a system is left out, like anything else that is no label.
    """
    symbol, system = (word if len(word) <= MOST_SYMBOL and _is_label(word) else "" for word in (symbol, system))
    number = number if number is not None else find_spacegroup(symbol)
    return {
        "spacegroup_number": number,
        "spacegroup_symbol": symbol or ("" if number is None else symbol_of(number)),
        "crystal_system": system or crystal_system(number),
    }


def truth(record: Mapping[str, Any], path: str) -> bool | None:
    """Return true, false, or None."""
    value = record.get(path)
    if value is not None and not isinstance(value, bool):
        raise FieldError(path, f"is {shown(value)}, neither true nor false")
    return value


def word(record: Mapping[str, Any], *paths: str) -> str:
    """Return a word, or ""; an id must be there."""
    path, value = look_up(record, *paths)
    if value is None:
        if path in {"material_id", "entry_id"}:
            raise FieldError(path, "is missing")
        return ""
    if not isinstance(value, str) or not value.strip():
        raise FieldError(path, f"is {shown(value)}, not a word")
    return value.strip()


def project_id(text: str) -> str:
    """Return `mp-149` for `mp-aaaaaaft`: the same number, as newer clients of the Materials Project write it.

    The letters are its digits to the base 26, eight of them; records that have both names are one record.
    """
    if not _ID.fullmatch(text):
        raise FieldError("material_id", f"is {shown(text)}, not an id: letters, digits and ._:/+- only, at most 80")
    found = _LETTERS.fullmatch(text)
    if not found:
        return text
    number = 0
    for letter in found[2]:
        number = 26 * number + ord(letter) - ord("a")
    return f"{found[1]}-{number}" if number <= LAST_IN_DIGITS else text


def asked_id(text: str) -> str:
    """Return the id that somebody means who writes "149", "MP-149" or "mp-aaaaaaft": mp-149."""
    plain = text.strip()
    plain = f"mp-{plain}" if plain.isdecimal() else plain
    return project_id(plain.lower() if re.fullmatch(r"(?i)(mp|mvc)-\w+", plain) else plain)


def words(record: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Return a list of words, perhaps empty."""
    value = record.get(path) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FieldError(path, f"is {shown(value)}, not a list of words")
    return tuple(value)


def labels(record: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Return the names that a record gives of itself. What is no name, a sentence or markup, is left out.

    They are shown in answers and to models: a stranger's file must not speak there.
    """
    return tuple(name for name in (" ".join(one.split()) for one in words(record, path)) if _is_label(name))


def label(record: Mapping[str, Any], *paths: str) -> str:
    """Return a short word such as a source, "" where it is a sentence or markup."""
    found = " ".join(word(record, *paths).split())
    return found if _is_label(found) else ""


def _is_label(name: str) -> bool:
    return (
        len(name) <= MOST_LABEL
        and bool(_LABEL.fullmatch(name))
        and len(name.split()) <= MOST_LABEL_WORDS
        and ". " not in name
    )


def origin_of(record: Mapping[str, Any], material_id: str) -> dict[str, Any]:
    """Return where the record is from and when it was last changed, as fields of `Material`."""
    ours = material_id.startswith(("mp-", "mvc-"))
    _, updated = look_up(record, "as_of", "last_updated.$date", "last_updated")
    return {
        "source": label(record, "source") or (MATERIALS_PROJECT if ours else ""),
        "source_doi": word(record, "source_doi") or (MATERIALS_PROJECT_DOI if ours else ""),
        "as_of": updated[:10] if isinstance(updated, str) else "",
    }


def elements_of(record: Mapping[str, Any], formula: str, cell: Cell | None) -> tuple[str, ...]:
    """Return the elements of the formula, which the record's own list and the structure must agree with."""
    given = words(record, "elements")
    for element in given:
        known_element(element, "elements")
    field = "formula_pretty" if "formula_pretty" in record else "formula"
    found = tuple(sorted(composition(formula, field=field)))
    if given and tuple(sorted(given)) != found:
        raise FieldError("elements", f"is {list(given)}, but the formula {formula} holds {list(found)}")
    return agreeing(found, cell)


def agreeing(elements: tuple[str, ...], cell: Cell | None) -> tuple[str, ...]:
    """Return the elements, which the structure must agree with."""
    if cell and cell.elements != elements:
        raise FieldError("structure", f"holds {list(cell.elements)}, but the formula {list(elements)}")
    return elements


def sites_of(record: Mapping[str, Any], cell: Cell | None) -> int | None:
    """Return the number of atoms in the cell, which the structure must agree with."""
    value = number(record, "nsites", least=1)
    if value is not None and cell and round(value) != cell.nsites:
        raise FieldError("nsites", f"is {value:g}, but the structure has {cell.nsites} sites")
    return round(value) if value is not None else (cell.nsites if cell else None)


def amounts_of(record: Mapping[str, Any], field: str) -> dict[str, float]:
    """Return amounts by element."""
    value = record.get(field)
    if not isinstance(value, dict) or not value:
        raise FieldError(field, f"is {shown(value)}, not amounts by element")
    for element, amount in value.items():
        known_element(element, field)
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < math.inf:
            raise FieldError(field, f"has {shown(amount)} of {element}")
    return {element: float(amount) for element, amount in value.items()}


RUN_TYPES = {"GGA": "PBE", "GGA+U": "PBE+U", "GGA_U": "PBE+U", "R2SCAN": "r2SCAN", "r2SCAN": "r2SCAN", "HSE": "HSE06"}
# The Materials Project adds a Hubbard U for these metals in oxides and fluorides:
# Jain et al., Phys. Rev. B 84, 045115 (2011), 10.1103/PhysRevB.84.045115.
_HUBBARD_METALS = frozenset({"Co", "Cr", "Fe", "Mn", "Mo", "Ni", "V", "W"})


def functional_of(record: Mapping[str, Any], elements: Sequence[str]) -> str:
    """Return the functional of the gap: as the record says, else by the Materials Project's rule for PBE and PBE+U."""
    named = word(record, "band_gap_functional", "functional") or RUN_TYPES.get(word(record, "run_type"), "")
    if named or record.get("band_gap") is None:
        return named
    if not word(record, "material_id", "task_id").startswith(("mp-", "mvc-")):
        return ""
    return "PBE+U" if _HUBBARD_METALS & set(elements) and {"O", "F"} & set(elements) else "PBE"

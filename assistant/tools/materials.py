"""The materials tool: records of the library looked up by id, name or formula, and searched by what they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from assistant.tools.base import Tool, ToolContext, ToolOutput, from_function
from ingest.errors import BadInput, NotInLibrary

if TYPE_CHECKING:
    from ingest.library import Library
    from ingest.materials import Material, MaterialFilter

Sort = Literal[
    "e_above_hull", "band_gap", "formation_energy", "energy", "density", "volume", "magnetisation", "k_vrh", "g_vrh",
    "nsites", "formula", "id",
]  # fmt: skip
STABLE_EV_PER_ATOM = 1e-6  # on the convex hull: energies have five digits, and sums of them rounding errors
MOST_RECORDS = 50
NO_LIBRARY = "Open one with materials records: matlit materials import FILE, then ask again with --library DIR"


def make(context: ToolContext) -> Tool:
    """Return the tool, reading the context's library."""

    def materials(
        material_id: str = "",
        formula: str = "",
        name: str = "",
        chemsys: str = "",
        elements: list[str] = [],  # noqa: B006 - read only
        exclude_elements: list[str] = [],  # noqa: B006 - read only
        nelements: int | None = None,
        band_gap_min_ev: float | None = None,
        band_gap_max_ev: float | None = None,
        e_above_hull_max_ev_per_atom: float | None = None,
        stable: bool = False,
        spacegroup: str = "",
        crystal_system: str = "",
        where: list[str] = [],  # noqa: B006 - read only
        functional: str = "",
        direct_gap: bool | None = None,
        sort: Sort = "e_above_hull",
        descending: bool = False,
        limit: int = 10,
    ) -> ToolOutput:
        """Look up computed materials (Materials Project and others): band gap, stability, density, space group, moduli.

        Give an id, or a formula (all its polymorphs come, and which is the ground state), or filters: stable Li-O
        compounds with a gap between 1 and 3 eV are chemsys="Li-O", stable=true, band_gap_min_ev=1, band_gap_max_ev=3.

        Args:
            material_id: such as mp-149
            formula: such as TiO2 or LiFePO4, in any spelling
            name: of a mineral or structure type, such as rutile, where records have names
            chemsys: exactly these elements, such as Li-Fe-P-O
            elements: at least these elements, such as ["Li", "O"]
            exclude_elements: none of these elements
            nelements: how many different elements
            band_gap_min_ev: smallest band gap in eV
            band_gap_max_ev: largest band gap in eV
            e_above_hull_max_ev_per_atom: largest energy above the convex hull in eV per atom
            stable: only materials on the convex hull
            spacegroup: symbol such as Fd-3m, or number such as 227
            crystal_system: such as cubic
            where: other bounds, such as ["k_vrh > 300", "density 2..5"]; so for volume, formation_energy, magnetisation
            functional: of the band gap, such as PBE or HSE06
            direct_gap: true for direct, false for indirect band gaps
            sort: what to order by, unknown values last
            descending: largest first
            limit: how many records to return, 50 at most
        """
        library = _library(context)
        if material_id.strip():
            return _one(library, material_id.strip())
        if stable:
            e_above_hull_max_ev_per_atom = STABLE_EV_PER_ATOM
        chosen = make_filter(
            formula=formula,
            chemsys=chemsys,
            elements=elements,
            exclude=exclude_elements,
            nelements=None if nelements is None else (nelements, nelements),
            band_gap_ev=_range(band_gap_min_ev, band_gap_max_ev),
            e_above_hull_max=e_above_hull_max_ev_per_atom,
            spacegroup=spacegroup,
            crystal_system=crystal_system,
            conditions=where,
            functional=functional,
            direct_gap=direct_gap,
            name=name,
        )
        return _search(library, chosen, sort=sort, descending=descending, limit=limit)

    return from_function(materials, read_only=True)


def make_filter(
    *,
    formula: str = "",
    chemsys: str = "",
    elements: Sequence[str] = (),
    exclude: Sequence[str] = (),
    nelements: tuple[float | None, float | None] | None = None,
    nsites: tuple[float | None, float | None] | None = None,
    band_gap_ev: tuple[float | None, float | None] | None = None,
    e_above_hull_max: float | None = None,
    spacegroup: str = "",
    crystal_system: str = "",
    conditions: Sequence[str] = (),
    functional: str = "",
    direct_gap: bool | None = None,
    name: str = "",
) -> MaterialFilter:
    """Return the filter, its words checked; `conditions` are those of `parse_condition`.

    Raises:
        BadInput: a formula, element, space group or crystal system that is none, or a range that runs backwards.
    """
    from ingest.materials import MaterialFilter, find_spacegroup, parse_condition

    group = find_spacegroup(spacegroup)
    if spacegroup.strip() and group is None:
        raise BadInput(f"{spacegroup!r} is no space group", hint="Give 1 to 230, or a symbol such as Fd-3m")
    return MaterialFilter(
        formula=_formula(formula),
        chemsys="-".join(_symbols(re.split(r"[-,、/\s]+", chemsys))),
        elements=frozenset(_symbols(elements)),
        without=frozenset(_symbols(exclude)),
        nelements=nelements,
        nsites=nsites,
        band_gap_ev=_checked(band_gap_ev, "band gap"),
        e_above_hull_ev_per_atom=None if e_above_hull_max is None else (None, e_above_hull_max or STABLE_EV_PER_ATOM),
        spacegroup=group,
        crystal_system=_system(crystal_system),
        functional=functional.strip(),
        direct_gap=direct_gap,
        name=name.strip(),
        numbers=tuple(map(parse_condition, conditions)),
    )


def _formula(given: str) -> str:
    """Return a formula, also that of a compound in words. Raises BadInput where it is none."""
    from ingest.materials import formula_key

    word = given.strip()
    try:
        if word:
            formula_key(word)
    except BadInput as error:
        compound = _compound(word)
        if not compound and "no element" in str(error):
            raise
        if not compound:
            told = f"{word!r} is no formula and names no compound"
            raise BadInput(told, hint=f"{error.hint}; capitals count: Co, CO") from error
        return compound
    return word


def _compound(words: str) -> str:
    """Return the formula of "titanium dioxide", "LFP", "silicon"; "" where all the words are not one known name."""
    from assistant.synonyms import named
    from ingest.elements import NAMES

    compounds = [each for each in named(words) if each.end - each.start == len(words)]
    return compounds[0].formula if compounds else NAMES.get(words.lower(), "")


def _symbols(given: Sequence[str]) -> list[str]:
    from ingest.elements import find_symbol

    found = []
    for word in (each.strip() for each in given if each.strip()):
        symbol = find_symbol(word)
        if not symbol:
            raise BadInput(f"{word!r} is no chemical element", hint='Give symbols, such as ["Li", "O"]')
        found.append(symbol)
    return found


_SYSTEMS = {  # other names
    **{"rhombohedral": "trigonal", "anorthic": "triclinic", "isometric": "cubic", "三斜晶": "triclinic"},
    **{"単斜晶": "monoclinic", "斜方晶": "orthorhombic", "直方晶": "orthorhombic", "正方晶": "tetragonal"},
    **{"三方晶": "trigonal", "菱面体晶": "trigonal", "六方晶": "hexagonal", "立方晶": "cubic", "等軸晶": "cubic"},
}


def _system(word: str) -> str:
    from ingest.materials import CRYSTAL_SYSTEMS

    system = word.strip().lower().removesuffix("系")
    system = _SYSTEMS.get(system, system)
    if system and system not in CRYSTAL_SYSTEMS:
        raise BadInput(f"{word!r} is no crystal system", hint=f"Known are {', '.join(CRYSTAL_SYSTEMS)}")
    return system


def _range(low: float | None, high: float | None) -> tuple[float | None, float | None] | None:
    return None if low is None and high is None else (low, high)


def _checked(bounds: tuple[float | None, float | None] | None, what: str) -> tuple[float | None, float | None] | None:
    if bounds and None not in bounds and bounds[0] > bounds[1]:  # type: ignore[operator]  # neither is None
        raise BadInput(
            f"the {what} from {bounds[0]} to {bounds[1]} runs backwards", hint="Give the smaller bound first"
        )
    return bounds


def _library(context: ToolContext) -> Library:
    if context.library is None:
        raise BadInput("there is no library to look materials up in", hint=NO_LIBRARY)
    return context.library


# --- results ----------------------------------------------------------------------------------------------------------


def describe(material: Material) -> str:
    """Return a record in one line: every number with its unit, per what it is, and where it is from."""
    parts = [material.title]
    if material.spacegroup_symbol:
        number = f" (No. {material.spacegroup_number})" if material.spacegroup_number else ""
        parts.append(f"space group {material.spacegroup_symbol}{number}")
    if material.crystal_system:
        parts.append(material.crystal_system)
    parts += [_told(told) for told in material.quantities().values()]
    origin = ", ".join(part for part in (material.source, material.as_of) if part)
    return "; ".join(parts) + (f" [source: {origin}]" if origin else " [source not stated]")


def _told(told: dict[str, Any]) -> str:
    per = f" per {told['per']}" if "cell" in told.get("per", "") else ""
    if "functional" in told:
        direct = {True: ", direct", False: ", indirect", None: ""}[told["direct"]]
        metal = ", a metal or semimetal in this approximation" if told["value"] == 0 else ""
        functional = "" if told["functional"] == "not stated" else f"{told['functional']} "
        return f"{functional}{told['name']} {told['value']:.4g} {told['unit']}{direct}{metal}"
    return f"{told['name']} {round(told['value'], 4) + 0.0:g} {told['unit']}{per}"


def _one(library: Library, material_id: str) -> ToolOutput:

    try:
        material = library.material(material_id)
    except NotInLibrary as error:
        raise BadInput(str(error), hint=error.hint) from error
    data = {"count": 1, "records": [material.to_json()]}
    return ToolOutput(data, f"{describe(material)}\n{_caveat([material])}".strip(), (material.material_id,))


def _search(library: Library, where: MaterialFilter, *, sort: str, descending: bool, limit: int) -> ToolOutput:
    from ingest.materials import polymorphs, search

    if not 1 <= limit <= MOST_RECORDS:
        raise BadInput(f"limit is {limit}, not from 1 to {MOST_RECORDS}")
    extra: dict[str, Any] = {}
    lines: list[str] = []
    with library.reading() as connection:
        found, total = search(connection, where, sort=sort, descending=descending, limit=limit)
        if where.formula:
            family = polymorphs(connection, where.formula)
            extra["polymorphs"] = len(family.records)
            extra["ground_state"] = [each.material_id for each in family.ground]
            lines = [_ground_line(family.formula, [each.title for each in family.ground], family)] if found else []
    return _output(found, total=total, extra=extra, lines=lines)


def _ground_line(formula: str, names: list[str], family: Any) -> str:
    if not names:
        return f"no record of {formula} says how stable it is, so the ground state is not known"
    lowest = family.ground[0].e_above_hull_ev_per_atom
    tie = "a tie between " if len(names) > 1 else ""
    return (
        f"ground state of {formula} among {len(family.records)} records: {tie}{' and '.join(names)}, "
        f"energy above hull {lowest:.4g} eV/atom"
    )


def _output(found: list[Material], *, total: int, extra: dict[str, Any], lines: list[str]) -> ToolOutput:

    head = f"{total} record{'' if total == 1 else 's'} found"
    if total > len(found):
        head += f", the first {len(found)} shown"
    if not found:
        head = "no record in the library fits; leave out a filter, or bring more in: matlit materials import FILE"
    told = [head, *lines, *(f"{n}. {describe(each)}" for n, each in enumerate(found, 1)), _caveat(found)]
    data = {"count": total, "shown": len(found), **extra, "records": [each.to_json() for each in found]}
    return ToolOutput(data, "\n".join(filter(None, told)), tuple(each.material_id for each in found))


def _caveat(found: Sequence[Material]) -> str:
    """Return what must be said beside computed gaps: which functionals they are of."""
    functionals = sorted({each.band_gap_functional or "unstated" for each in found if each.band_gap_ev is not None})
    if not functionals:
        return ""
    mixed = "; gaps of different functionals must not be compared" if len(functionals) > 1 else ""
    return f"note: computed gaps ({', '.join(functionals)}), not measured ones, which are mostly larger{mixed}"

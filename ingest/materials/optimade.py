"""OPTIMADE structures: one entry checked against the specification (1.2), and made a `Material`.

What a provider adds under its own prefix (`_oqmd_band_gap`) is read where its meaning is published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ingest.materials.cells import Cell, is_vector, make_cell
from ingest.materials.fields import look_up, number, project_id, whole_group
from ingest.materials.formula import composition, known_element, reduced_formula
from ingest.materials.problems import FieldError, shown
from ingest.materials.record import MATERIALS_PROJECT, MATERIALS_PROJECT_DOI, Material
from ingest.materials.spacegroups import find_spacegroup

FORMULAS = ("chemical_formula_reduced", "pretty_formula")  # the second one before version 1.0
GHOSTS = {"vacancy"}  # no element, and no atom either
TOLERANCE = 1e-3  # of sums that should be 1: providers round to three digits

# Where providers keep what we look for; documented on their own pages.
_PROVIDED = {
    "band_gap": ("_{0}_band_gap", "_aflow_Egap"),
    "e_above_hull": ("_{0}_hull_distance", "_oqmd_stability", "_{0}_energy_above_hull"),
    "formation_energy": ("_{0}_formation_energy_per_atom", "_oqmd_delta_e"),
}
_PROVIDERS = {
    "mp": MATERIALS_PROJECT,
    "oqmd": "OQMD",
    "alexandria": "Alexandria",
    "aflow": "AFLOW",
    "cod": "Crystallography Open Database",
    "jarvis": "JARVIS-DFT",
    "nmd": "NOMAD",
    "mcloud": "Materials Cloud",
}


def is_optimade(record: Mapping[str, Any]) -> bool:
    """Say whether a record is an OPTIMADE structure, as a response or a dump holds it."""
    attributes = record.get("attributes")
    fields = attributes if isinstance(attributes, Mapping) else record
    return "species_at_sites" in fields and "cartesian_site_positions" in fields


def convert_optimade(record: Mapping[str, Any]) -> Material:
    """Return the material of an OPTIMADE entry. Raises FieldError with what is wrong."""
    attributes = record.get("attributes")
    nested = isinstance(attributes, Mapping)
    entry: dict[str, Any] = {**dict(attributes or {}), "id": record.get("id")} if nested else dict(record)
    for check in CHECKS:
        check(entry)
    if record.get("type", "structures") != "structures":
        raise FieldError("type", f"is {shown(record['type'])}, not 'structures'")
    _, formula = look_up(entry, *FORMULAS)
    cell = make_cell(_structure(entry)) if _is_whole(entry) else None
    amounts = composition(formula, field=FORMULAS[0])
    if cell and cell.elements != tuple(sorted(amounts)):
        raise FieldError("species_at_sites", f"holds {list(cell.elements)}, but the formula {sorted(amounts)}")
    return _material(entry, reduced_formula(amounts), tuple(sorted(amounts)), cell)


def _material(entry: Mapping[str, Any], formula: str, elements: tuple[str, ...], cell: Cell | None) -> Material:
    prefix = _prefix(entry)
    found = {name: number(entry, *(path.format(prefix) for path in paths)) for name, paths in _PROVIDED.items()}
    return Material(
        material_id=_identity(entry, prefix),
        formula_pretty=formula,
        elements=elements,
        nsites=len(entry["species_at_sites"]),
        **_spacegroup(entry, prefix),
        band_gap_ev=found["band_gap"],
        e_above_hull_ev_per_atom=_stability(entry, "energy_above_hull", found["e_above_hull"]),
        formation_energy_ev_per_atom=_stability(entry, "formation_energy_per_atom", found["formation_energy"]),
        density_g_cm3=cell.density_g_cm3 if cell else None,
        volume_a3=cell.volume_a3 if cell else None,
        source=_PROVIDERS.get(prefix, prefix),
        source_doi=MATERIALS_PROJECT_DOI if prefix == "mp" else "",
        as_of=_date(entry),
        structure_json=cell.json if cell else "",
    )


def _prefix(entry: Mapping[str, Any]) -> str:
    """Return the provider's prefix: as the download noted it, else that of its own fields."""
    given = entry.get("provider_prefix")
    if isinstance(given, str):
        return given
    own = (re.fullmatch(r"_([a-z0-9]+)_\w+", key) for key in entry)
    return next((match[1] for match in own if match and match[1] != "exmpl"), "")


def _identity(entry: Mapping[str, Any], prefix: str) -> str:
    identity = entry.get("id") or entry.get("task_id") or entry.get("material_id")
    if not isinstance(identity, str | int) or not str(identity).strip():
        raise FieldError("id", "is missing")
    text = project_id(str(identity).strip())
    return f"{prefix}-{text}" if prefix and text.isdigit() else text


def _stability(entry: Mapping[str, Any], name: str, otherwise: float | None) -> float | None:
    """Return a value of the Materials Project's nested `_mp_stability`: of the first scheme that has it."""
    schemes = entry.get("_mp_stability")
    if isinstance(schemes, Mapping):
        for scheme in ("gga_gga+u", *schemes):
            value = schemes.get(scheme, {})
            if isinstance(value, Mapping) and value.get(name) is not None:
                return number(value, name)
    return otherwise


def _spacegroup(entry: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the space group from the standard's fields, else from what the provider calls so: a number or a symbol."""
    _, value = look_up(entry, "space_group_it_number", f"_{prefix}_space_group", f"_{prefix}_spacegroup")
    _, symbol = look_up(entry, "space_group_symbol_hermann_mauguin")
    number = find_spacegroup(str(value)) or find_spacegroup(str(symbol))
    return whole_group(number, "")


def _date(entry: Mapping[str, Any]) -> str:
    _, changed = look_up(entry, "last_modified.$date", "last_modified")
    if changed is None:
        return ""
    if not isinstance(changed, str) or not re.match(r"\d{4}-\d{2}-\d{2}", changed):
        raise FieldError("last_modified", f"is {shown(changed)}, not a date")
    return changed[:10]


def _is_whole(entry: Mapping[str, Any]) -> bool:
    """Say whether every atom stands on a site of its own, so that the sites are a structure."""
    return not {"implicit_atoms", "site_attachments", "assemblies"} & set(entry.get("structure_features") or ())


def _structure(entry: Mapping[str, Any]) -> dict[str, Any]:
    matrix = entry["lattice_vectors"]
    inverse = _inverse(matrix)
    kinds = {kind["name"]: kind for kind in entry["species"]}
    sites = []
    for name, place in zip(entry["species_at_sites"], entry["cartesian_site_positions"], strict=True):
        kind = kinds[name]
        species = [
            {"element": element, "occu": share}
            for element, share in zip(kind["chemical_symbols"], kind["concentration"], strict=True)
            if element not in GHOSTS and share > 0
        ]
        if species:
            abc = [sum(place[k] * inverse[k][axis] for k in range(3)) for axis in range(3)]
            sites.append({"species": species, "abc": abc, "label": name, "properties": {}})
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": {"matrix": matrix, "pbc": [True] * 3},
        "properties": {},
        "sites": sites,
    }


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the inverse of a 3×3 matrix by cofactors."""
    a, b, c = matrix
    cross = [_cross(b, c), _cross(c, a), _cross(a, b)]
    volume = sum(a[k] * cross[0][k] for k in range(3))
    if abs(volume) < 1e-3:
        raise FieldError("lattice_vectors", f"encloses {abs(volume):g} Å³: its vectors lie in one plane")
    return [[cross[column][row] / volume for column in range(3)] for row in range(3)]


def _cross(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


# --- what the specification asks for ----------------------------------------------------------------------------------


def _check_elements(entry: Mapping[str, Any]) -> None:
    elements = _list(entry, "elements")
    for element in elements:
        known_element(element, "elements")
    if elements != sorted(set(elements)):
        raise FieldError("elements", f"is {shown(elements)}, not in alphabetical order")
    if entry.get("nelements") not in (None, len(elements)):
        raise FieldError("nelements", f"is {shown(entry['nelements'])}, but elements has {len(elements)}")
    ratios = _list(entry, "elements_ratios", optional=True)
    if ratios and len(ratios) != len(elements):
        raise FieldError("elements_ratios", f"has {len(ratios)} values for {len(elements)} elements")
    if ratios and abs(sum(ratios) - 1) > TOLERANCE:
        raise FieldError("elements_ratios", f"add up to {sum(ratios):.4f}, not 1")


def _check_formula(entry: Mapping[str, Any]) -> None:
    field, formula = look_up(entry, *FORMULAS)
    if not isinstance(formula, str) or not re.fullmatch(r"(?:[A-Z][a-z]?\d*\.?\d*|[()])+", formula):
        raise FieldError(field, f"is {shown(formula)}, not a formula")
    held = sorted(composition(formula, field=field))
    if held != entry["elements"]:
        raise FieldError(field, f"holds {held}, but elements is {shown(entry['elements'])}")


def _check_periodicity(entry: Mapping[str, Any]) -> None:
    kinds = _list(entry, "dimension_types")
    if len(kinds) != 3 or not all(kind in (0, 1) for kind in kinds):
        raise FieldError("dimension_types", f"is {shown(kinds)}, not three of 0 and 1")
    if "nperiodic_dimensions" in entry and entry["nperiodic_dimensions"] != sum(kinds):
        told = shown(entry["nperiodic_dimensions"])
        raise FieldError("nperiodic_dimensions", f"is {told}, but dimension_types has {sum(kinds)} periodic ones")
    if sum(kinds) != 3:
        raise FieldError("dimension_types", f"is {shown(kinds)}: only crystals periodic in three directions are kept")


def _check_lattice(entry: Mapping[str, Any]) -> None:
    vectors = _list(entry, "lattice_vectors")
    wrong = next((vector for vector in vectors if not is_vector(vector)), None)
    if len(vectors) != 3 or wrong is not None or None in vectors:
        raise FieldError("lattice_vectors", f"is {shown(vectors)}, not three vectors of three numbers")


def _check_species(entry: Mapping[str, Any]) -> None:
    names = set()
    for kind in _list(entry, "species"):
        if not isinstance(kind, Mapping) or not isinstance(kind.get("name"), str):
            raise FieldError("species", f"holds {shown(kind)}, which has no name")
        if kind["name"] in names:
            raise FieldError("species", f"names {kind['name']!r} twice")
        names.add(kind["name"])
        _check_kind(kind)


def _check_kind(kind: Mapping[str, Any]) -> None:
    where = f"species[{kind['name']}]"
    symbols, shares = kind.get("chemical_symbols"), kind.get("concentration")
    if not isinstance(symbols, list) or not isinstance(shares, list) or len(symbols) != len(shares) or not symbols:
        raise FieldError(where, f"has the symbols {shown(symbols)} and the concentrations {shown(shares)}")
    for symbol in symbols:
        if symbol not in GHOSTS:
            known_element(symbol, where)
    if not all(isinstance(share, int | float) and 0 <= share <= 1 + TOLERANCE for share in shares):
        raise FieldError(where, f"has the concentrations {shown(shares)}")
    if sum(shares) > 1 + TOLERANCE:
        raise FieldError(where, f"has concentrations that add up to {sum(shares):g}")
    masses = kind.get("mass")
    if isinstance(masses, list) and len(masses) != len(symbols):
        raise FieldError(where, f"has {len(masses)} masses for {len(symbols)} symbols")
    attached, counts = kind.get("attached"), kind.get("nattached")
    if (attached is None) != (counts is None) or len(attached or ()) != len(counts or ()):
        raise FieldError(where, f"has {shown(attached)} attached, and the numbers {shown(counts)}")


def _check_sites(entry: Mapping[str, Any]) -> None:
    places, names = _list(entry, "cartesian_site_positions"), _list(entry, "species_at_sites")
    if not len(places) == len(names) == entry.get("nsites", len(names)):
        told = f"{len(places)} positions and nsites {shown(entry.get('nsites'))}"
        raise FieldError("species_at_sites", f"has {len(names)} sites, but there are {told}")
    for index, place in enumerate(places, start=1):
        if not is_vector(place):
            raise FieldError(f"cartesian_site_positions[{index}]", f"is {shown(place)}, not three numbers")
    known = {kind["name"] for kind in entry["species"]}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FieldError("species_at_sites", f"names {shown(unknown[0])}, which species does not describe")


def _check_features(entry: Mapping[str, Any]) -> None:
    features = set(_list(entry, "structure_features", optional=True))
    attached = any(kind.get("attached") for kind in entry["species"])
    for name, there in (("site_attachments", attached), ("assemblies", bool(entry.get("assemblies")))):
        if there != (name in features):
            told = "there are some" if there else "there are none"
            raise FieldError("structure_features", f"is {sorted(features)} about {name}, but {told}")
    placed = {symbol for kind in entry["species"] for symbol in kind["chemical_symbols"]}
    if "implicit_atoms" in features and set(entry["elements"]) <= placed:
        raise FieldError("structure_features", "names implicit_atoms, but every element stands on a site")


def _check_operations(entry: Mapping[str, Any]) -> None:
    operations = entry.get("space_group_symmetry_operations_xyz")
    if operations is not None and "x,y,z" not in operations:
        raise FieldError("space_group_symmetry_operations_xyz", "lacks the identity x,y,z")


CHECKS: tuple[Callable[[Mapping[str, Any]], None], ...] = (
    _check_elements,
    _check_formula,
    _check_periodicity,
    _check_lattice,
    _check_species,
    _check_sites,
    _check_features,
    _check_operations,
)


def _list(entry: Mapping[str, Any], field: str, *, optional: bool = False) -> list[Any]:
    value = entry.get(field)
    if value is None and optional:
        return []
    if not isinstance(value, list):
        raise FieldError(field, "is missing" if value is None else f"is {shown(value)}, not a list")
    return value

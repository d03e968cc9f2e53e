"""The formats of records as JSON: how each is recognised, and how it becomes a `Material`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ingest.materials.cells import make_cell, structure_of_row
from ingest.materials.fields import (
    agreeing,
    amounts_of,
    elements_of,
    functional_of,
    group_of,
    labels,
    number,
    origin_of,
    project_id,
    sites_of,
    spacegroup,
    truth,
    whole_group,
    word,
)
from ingest.materials.formula import composition, reduced_formula
from ingest.materials.optimade import convert_optimade, is_optimade
from ingest.materials.problems import FieldError, shown
from ingest.materials.record import Material


class Format(NamedTuple):
    """How one kind of record is recognised by its fields, and what makes a Material of it."""

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]
    convert: Callable[[Mapping[str, Any]], Material]


def _summary(record: Mapping[str, Any]) -> Material:
    """Read a Materials Project summary document, today's field names first, those of the older API after them."""
    material_id = project_id(word(record, "material_id", "task_id"))
    cell = make_cell(record.get("structure"))
    formula = word(record, "formula_pretty", "pretty_formula") or (cell.formula if cell else "")
    elements = elements_of(record, formula, cell)
    return Material(
        material_id=material_id,
        formula_pretty=formula,
        elements=elements,
        names=labels(record, "names"),
        nsites=sites_of(record, cell),
        **group_of(record, "symmetry", "spacegroup"),
        band_gap_ev=number(record, "band_gap", least=0),
        band_gap_functional=functional_of(record, elements),
        is_gap_direct=truth(record, "is_gap_direct"),
        e_above_hull_ev_per_atom=number(record, "energy_above_hull", "e_above_hull"),
        formation_energy_ev_per_atom=number(record, "formation_energy_per_atom"),
        energy_ev_per_atom=number(record, "energy_per_atom"),
        density_g_cm3=number(record, "density", least=0) or (cell.density_g_cm3 if cell else None),
        volume_a3=number(record, "volume", least=0) or (cell.volume_a3 if cell else None),
        magnetisation_ub=number(record, "total_magnetization"),
        k_vrh_gpa=number(record, "bulk_modulus.vrh", "elasticity.K_VRH"),
        g_vrh_gpa=number(record, "shear_modulus.vrh", "elasticity.G_VRH"),
        structure_json=cell.json if cell else "",
        **origin_of(record, material_id),
    )


def _computed_entry(record: Mapping[str, Any]) -> Material:
    """Read an entry of a thermodynamic set: composition, total energy and correction of the cell, structure."""
    entry_id = _material_of_entry(word(record, "entry_id"))
    amounts = amounts_of(record, "composition")
    cell = make_cell(record.get("structure"))
    atoms = sum(amounts.values())
    energy = number(record, "energy_eV", "energy")
    corrected = None if energy is None else energy + (number(record, "correction_eV", "correction") or 0.0)
    return Material(
        material_id=entry_id,
        formula_pretty=reduced_formula(amounts),
        elements=agreeing(tuple(sorted(amounts)), cell),
        nsites=sites_of(record, cell) or round(atoms),
        energy_ev_per_atom=None if corrected is None else corrected / atoms,
        density_g_cm3=cell.density_g_cm3 if cell else None,
        volume_a3=cell.volume_a3 if cell else None,
        structure_json=cell.json if cell else "",
        **origin_of(record, entry_id),
    )


def _material_of_entry(entry_id: str) -> str:
    """Return `mp-149` for the entry `mp-149-GGA+U`, its record's own scheme; entries of other schemes stay apart."""
    found = re.fullmatch(r"((?:mp|mvc)-\w+)-GGA(?:\+U)?", entry_id)
    return project_id(found[1] if found else entry_id)


def _elastic(record: Mapping[str, Any]) -> Material:
    """Read a record of the elastic data set: structure and bulk modulus; its id is made of the content."""
    cell = make_cell(record.get("structure"))
    formula = word(record, "formula") or (cell.formula if cell else "")
    digest = hashlib.sha256((cell.json if cell else formula).encode()).hexdigest()[:12]
    material_id = f"{reduced_formula(composition(formula, field='formula'))}-{digest}"
    return Material(
        material_id=material_id,
        formula_pretty=reduced_formula(composition(formula, field="formula")),
        elements=elements_of(record, formula, cell),
        nsites=sites_of(record, cell),
        density_g_cm3=cell.density_g_cm3 if cell else None,
        volume_a3=cell.volume_a3 if cell else None,
        k_vrh_gpa=number(record, "K_VRH"),
        g_vrh_gpa=number(record, "G_VRH"),
        structure_json=cell.json if cell else "",
        **origin_of(record, material_id),
    )


def _gap_row(record: Mapping[str, Any]) -> Material:
    """Read a row of the band-gap set: cell lengths and angles, species, fractional coordinates, gap and its year."""
    material_id = project_id(word(record, "material_id"))
    cell = make_cell(structure_of_row(record))
    formula = word(record, "formula") or (cell.formula if cell else "")
    elements = elements_of(record, formula, cell)
    origin = origin_of(record, material_id)
    origin["as_of"] = word(record, "gap_source").removeprefix("mp") or origin["as_of"]
    return Material(
        material_id=material_id,
        formula_pretty=formula,
        elements=elements,
        nsites=sites_of(record, cell),
        **whole_group(spacegroup(record, "spacegroup_number"), word(record, "spacegroup")),
        band_gap_ev=number(record, "band_gap", least=0),
        band_gap_functional=functional_of(record, elements),
        e_above_hull_ev_per_atom=number(record, "e_above_hull"),
        formation_energy_ev_per_atom=number(record, "formation_energy_per_atom"),
        density_g_cm3=cell.density_g_cm3 if cell else None,
        volume_a3=number(record, "volume", least=0) or (cell.volume_a3 if cell else None),
        structure_json=cell.json if cell else "",
        **origin,
    )


def _bare_structure(record: Mapping[str, Any]) -> Material:
    """Read a structure in pymatgen's dictionary form that stands by itself."""
    from ingest.errors import BadInput
    from ingest.materials.structures import parse_materials

    try:
        return replace(parse_materials(json.dumps(record), name="the structure")[0], source="")
    except BadInput as error:
        raise FieldError("", str(error)) from error


def _is_summary(record: Mapping[str, Any]) -> bool:
    # OPTIMADE documents may carry the same two names, but keep their structure in other fields.
    named = {"material_id", "task_id"} & record.keys() and {"formula_pretty", "pretty_formula"} & record.keys()
    return bool(named) and "cartesian_site_positions" not in record


FORMATS: tuple[Format, ...] = (  # the first that recognises a record makes the Material
    Format("OPTIMADE structure", is_optimade, convert_optimade),
    Format(
        "band-gap row", lambda record: {"material_id", "species", "frac_coords", "lattice"} <= record.keys(), _gap_row
    ),
    Format("computed entry", lambda record: {"entry_id", "composition"} <= record.keys(), _computed_entry),
    Format("Materials Project summary", _is_summary, _summary),
    Format("pymatgen structure", lambda record: {"lattice", "sites"} <= record.keys(), _bare_structure),
    Format("elastic record", lambda record: {"structure", "K_VRH"} <= record.keys(), _elastic),
)


def convert(value: object) -> Material:
    """Return the material that one JSON value holds. Raises FieldError where it holds none."""
    if not isinstance(value, dict):
        raise FieldError("", f"is {shown(value)}, not an object")
    for form in FORMATS:
        if form.recognises(value):
            return form.convert(value)
    if "sites" in value:
        raise FieldError("lattice", "is missing: a molecule, not a crystal")
    known = ", ".join(form.name for form in FORMATS)
    raise FieldError("", f"none of the known formats ({known}); its fields begin {sorted(map(str, value))[:6]}")

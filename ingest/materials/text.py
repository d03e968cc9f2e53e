"""A record as sentences, and as the passage that is found beside the papers."""

from __future__ import annotations

from ingest.materials.record import Material
from ingest.records import Chunk, chunk_id


def to_text(material: Material) -> str:
    """Return the record as sentences that each name the material, the unit and where the number comes from."""
    formula, who = material.formula_pretty, _who(material)
    sentences = [
        _opening(material),
        _gap_sentence(material),
        _stability_sentence(material),
        _cell_sentence(material),
        _value(material.k_vrh_gpa, f"The bulk modulus (Voigt-Reuss-Hill) of {who} is {{:.0f}} GPa."),
        _value(material.g_vrh_gpa, f"The shear modulus (Voigt-Reuss-Hill) of {who} is {{:.0f}} GPa."),
        _value(material.magnetisation_ub, f"The total magnetisation of {formula} is {{:.2f}} Bohr magnetons per cell."),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _who(material: Material) -> str:
    names = f" ({material.names[0]})" if material.names else ""
    return f"{material.formula_pretty}{names}"


def _opening(material: Material) -> str:
    others = f", also called {', '.join(material.names)}," if material.names else ""
    symbol = material.spacegroup_symbol
    group = (
        f" with space group {symbol} (No. {material.spacegroup_number})"
        if symbol and material.spacegroup_number
        else ""
    )
    system = f"{material.crystal_system} " if material.crystal_system else ""
    kind = f"{system}crystal{group}" if system or group else "computed material"
    article = "an" if kind.startswith("orthorhombic") else "a"
    return f"{material.formula_pretty} ({material.material_id}){others} is {article} {kind}."


def _gap_sentence(material: Material) -> str:
    gap = material.band_gap_ev
    if gap is None:
        return ""
    source = ", ".join(part for part in (material.source, material.as_of) if part)
    told = f" ({source})" if source else ""
    functional = f"{material.band_gap_functional} " if material.band_gap_functional else "computed "
    marks = (*material.names[:1], material.material_id, material.spacegroup_symbol)
    name = f"{material.formula_pretty} ({', '.join(mark for mark in marks if mark)})"
    if gap == 0:
        return f"The {functional}band gap of {name} is 0 eV{told}: a metal or semimetal in this approximation."
    kind = {True: ", direct", False: ", indirect", None: ""}[material.is_gap_direct]
    return f"The {functional}band gap of {name} is {gap:.2f} eV{kind}{told}."


def _stability_sentence(material: Material) -> str:
    parts = [
        _value(material.formation_energy_ev_per_atom, "formation energy is {:.3f} eV/atom"),
        _value(material.e_above_hull_ev_per_atom, "energy above the convex hull is {:.3f} eV/atom"),
    ]
    told = " and its ".join(part for part in parts if part)
    return f"The {told.replace(' is', f' of {_who(material)} is', 1)}." if told else ""


def _cell_sentence(material: Material) -> str:
    if material.density_g_cm3 is None:
        return ""
    cell = ""
    if material.volume_a3 is not None and material.nsites is not None:
        cell = f", with {material.nsites} atoms in a cell of {material.volume_a3:.1f} Å³"
    return f"The computed density of {_who(material)} is {material.density_g_cm3:.2f} g/cm³{cell}."


def _value(value: float | None, template: str) -> str:
    return "" if value is None else template.format(value + 0.0)


def to_chunk(material: Material, recipe: str) -> Chunk:
    """Return the one chunk of kind "material" that makes the record searchable beside the papers."""
    text = to_text(material)
    return Chunk(
        id=chunk_id(material.material_id, recipe, 0),
        source=material.material_id,
        ordinal=0,
        text=text,
        page=0,
        start=0,
        end=len(text),
        kind="material",
    )

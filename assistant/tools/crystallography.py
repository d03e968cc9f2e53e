"""What pymatgen says about a structure, one function per task: data with units in the names, and the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assistant.tools.bounds import (
    MOST_ROWS,
    MOST_SUPERCELL_SITES,
    SYMMETRY_TOLERANCE_A,
    Found,
    counted,
    find_analyzer,
    first_rows,
    quietly,
    refuse_disordered,
    refuse_large,
)
from ingest.elements import find_symbol
from ingest.errors import BadInput

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.symmetry.structure import SymmetrizedStructure
CLOSEST_A = 0.5  # hydrogen molecules, the shortest of bonds, have 0.74 Å
MOST_EXCHANGED = 5  # elements whose places are exchanged: 120 ways
SAME_LENGTH_A = 0.01  # between the edges of two cells
EMPTY_FROM_A = 8.0  # a layer without atoms that is thicker is a vacuum: crystals hold their layers together


def summarise(structure: Structure) -> Found:
    """Return formula, molar mass, composition, symmetry, density and lattice."""
    composition = structure.composition.element_composition  # Fe2+ and Fe3+ are both iron
    reduced, units = composition.get_reduced_composition_and_factor()
    elements = [element.symbol for element in composition.elements]
    fractions = {each: round(composition.get_atomic_fraction(each), 5) for each in elements}
    masses = {each: round(100 * composition.get_wt_fraction(each), 3) for each in elements}
    density, volume = float(structure.density), float(structure.volume)
    symmetry = find_symmetry(structure)
    data = {
        "formula": composition.reduced_formula,
        "cell_formula": composition.formula.replace(" ", ""),
        "formula_units_per_cell": round(units, 4),
        "nsites": len(structure),
        "molar_mass_g_per_mol": round(float(reduced.weight), 4),
        "atomic_fractions": fractions,
        "mass_percent": masses,
        "ordered": structure.is_ordered,
        **symmetry.data,
        "density_g_cm3": round(density, 5),
        "volume_a3_per_cell": round(volume, 5),
        "volume_a3_per_atom": round(volume / composition.num_atoms, 5),
        **_lattice(structure),
    }
    conventional = _conventional(structure)
    if conventional is not None:
        data["conventional_lattice"] = _lattice(conventional)
    shares = ", ".join(f"{each} {masses[each]:.2f} %" for each in elements)
    lines = (
        f"formula {data['formula']}; the cell holds {data['cell_formula']}: "
        f"{counted(len(structure), 'site')}, {counted(round(units, 4), 'formula unit')}",
        f"molar mass {data['molar_mass_g_per_mol']:.3f} g/mol per formula unit; by mass {shares}",
        *symmetry.lines,
        f"density {density:.4f} g/cm³, computed from the cell",
        *_lattice_lines(structure, conventional),
    )
    disordered = () if structure.is_ordered else ("the structure is disordered: some sites are shared or partly empty",)
    empty = _empty_layers(structure)
    if empty:
        data["empty_layers_a"] = empty
        lines += (_empty_line(empty),)
    return Found(data, lines + disordered + _too_close(structure))


def _too_close(structure: Structure) -> tuple[str, ...]:
    """Warn of two atoms that cannot stand so close; shared sites of a disordered structure may."""
    if not structure.is_ordered:
        return ()
    first, second, _, distances = structure.get_neighbor_list(CLOSEST_A)
    if not len(distances):
        return ()
    nearest = int(distances.argmin())
    pair = " and ".join(structure[int(site[nearest])].specie.symbol for site in (first, second))
    return (f"beware: {pair} are only {float(distances[nearest]):.2f} Å apart, as no two atoms are",)


def _empty_layers(structure: Structure) -> dict[str, float]:
    """Return how thick the thickest layer without atoms is in Å, normal to the faces of each axis that has one."""
    import numpy as np

    found = {}
    for axis, name in enumerate("abc"):
        places = np.sort(structure.frac_coords[:, axis] % 1.0)
        gap = float(np.max(np.diff(places, append=places[0] + 1.0)))
        spacing = 1.0 / structure.lattice.reciprocal_lattice_crystallographic.abc[axis]
        if gap * spacing >= EMPTY_FROM_A:
            found[name] = round(gap * spacing, 2)
    return found


def _empty_line(empty: dict[str, float]) -> str:
    what = {1: "a slab", 2: "a wire", 3: "a molecule in a box"}[len(empty)]
    layers = ", ".join(f"{thick:.1f} Å along {axis}" for axis, thick in empty.items())
    return f"the cell is partly empty ({layers}), as for {what}: its density and volume are not those of the material"


def find_symmetry(structure: Structure) -> Found:
    """Return space group, crystal system, point group and Wyckoff positions."""
    analyzer = find_analyzer(structure)
    number, symbol = analyzer.get_space_group_number(), analyzer.get_space_group_symbol()
    system, point = analyzer.get_crystal_system(), analyzer.get_point_group_symbol()
    data = {
        "spacegroup_symbol": symbol,
        "spacegroup_number": int(number),
        "crystal_system": str(system),
        "point_group": point,
        "symmetry_tolerance_a": SYMMETRY_TOLERANCE_A,
    }
    told = (
        f"space group {symbol} (No. {number}), {system}, point group {point} "
        f"(found within {SYMMETRY_TOLERANCE_A} Å by spglib)"
    )
    return Found(data, (told,))


def list_sites(structure: Structure) -> Found:
    """Return one row per symmetry-distinct site: species, Wyckoff position, fractional coordinates."""
    symmetrised, conventional = _symmetrised(structure), _conventional(structure)
    times = 1.0 if conventional is None else len(conventional) / len(structure)  # letters are of that cell
    rows = []
    orbits = zip(symmetrised.equivalent_sites, symmetrised.wyckoff_symbols, strict=True)
    for sites, wyckoff in orbits:
        place = [round(float(x) % 1.0, 4) % 1.0 for x in sites[0].frac_coords]  # 0.99999 is 0
        position = f"{round(len(sites) * times)}{wyckoff.lstrip('0123456789')}"
        rows.append(
            {"species": sites[0].species_string, "wyckoff": position, "count": len(sites), "frac_coords": place}
        )
    lines = [
        f"{row['species']} on {row['wyckoff']}: {row['count']} in the cell, first at "
        f"({', '.join(f'{x:.4f}' for x in row['frac_coords'])})"
        for row in rows
    ]
    head = f"{counted(len(rows), 'symmetry-distinct site')}; letters as spglib gives them for the conventional cell"
    return Found({"sites": rows[:MOST_ROWS], "distinct_sites": len(rows)}, (head, *first_rows(lines)))


def list_neighbours(structure: Structure, *, element: str = "") -> Found:
    """Return the coordination of each distinct site (of `element` only): number, neighbours, distances in Å."""
    from pymatgen.analysis.local_env import CrystalNN

    refuse_large(structure, "neighbours")
    refuse_disordered(structure, "neighbours")
    symbol = find_symbol(element)
    wanted = [indices[0] for indices in _symmetrised(structure).equivalent_indices]
    wanted = [index for index in wanted if not element or structure[index].specie.symbol == symbol]
    if not wanted:
        raise BadInput(f"the structure holds no {element!r}", hint=f"It holds {structure.composition.chemical_system}")
    finder = CrystalNN()
    rows = [_neighbours_of(structure, index, finder) for index in wanted[:MOST_ROWS]]
    return Found({"sites": rows, "method": "CrystalNN"}, (*map(_neighbour_line, rows), "neighbours by CrystalNN"))


def _neighbours_of(structure: Structure, index: int, finder: Any) -> dict[str, Any]:
    import numpy as np

    site = structure[index]
    with quietly("no neighbours can be told for this structure"):
        near = [each["site"] for each in finder.get_nn_info(structure, index)]
    distances = sorted((float(np.linalg.norm(each.coords - site.coords)), each.specie.symbol) for each in near)
    return {
        "species": site.specie.symbol,
        "site": index,
        "coordination_number": len(near),
        "neighbours": [{"species": symbol, "distance_a": round(distance, 4)} for distance, symbol in distances],
    }


def _neighbour_line(row: dict[str, Any]) -> str:
    shells: dict[tuple[str, float], int] = {}
    for each in row["neighbours"]:
        key = (each["species"], round(each["distance_a"], 2))
        shells[key] = shells.get(key, 0) + 1
    told = ", ".join(f"{count} {symbol} at {distance:.2f} Å" for (symbol, distance), count in shells.items())
    return f"{row['species']} (site {row['site']}): coordination number {row['coordination_number']}: {told or 'none'}"


def multiply(structure: Structure, scaling: Sequence[int]) -> Found:
    """Return the supercell of `scaling` along a, b and c, with its POSCAR."""
    from pymatgen.io.vasp import Poscar

    scaling = list(scaling) * 3 if len(scaling) == 1 else list(scaling)
    if len(scaling) != 3 or not all(1 <= each <= 50 for each in scaling):
        raise BadInput(f"{scaling} is no supercell", hint="Give three whole numbers from 1 to 50, such as [2, 2, 2]")
    count = len(structure) * scaling[0] * scaling[1] * scaling[2]
    if count > MOST_SUPERCELL_SITES:
        raise BadInput(f"the supercell would hold {count:,} sites; {MOST_SUPERCELL_SITES:,} are the most")
    cell = structure.make_supercell(scaling, in_place=False).get_sorted_structure()
    data = {
        "scaling": scaling,
        "formula": cell.composition.reduced_formula,
        "cell_formula": cell.composition.formula.replace(" ", ""),
        "nsites": len(cell),
        "density_g_cm3": round(float(cell.density), 5),
        "volume_a3_per_cell": round(float(cell.volume), 5),
        **_lattice(cell),
        "poscar": Poscar(cell).get_str() if cell.is_ordered else "",
    }
    head = f"supercell {'×'.join(map(str, scaling))}: {data['cell_formula']}, {counted(len(cell), 'site')}"
    where = "its POSCAR stands in the data" if data["poscar"] else "a disordered cell has no POSCAR"
    return Found(data, (head, *_lattice_lines(cell), where))


def compare(structure: Structure, other: Structure, names: tuple[str, str]) -> Found:
    """Return whether two structures are the same up to scaling and choice of cell, and how they differ."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    refuse_large(structure, "a comparison")
    refuse_large(other, "a comparison")
    matcher = StructureMatcher()
    with quietly("the structures cannot be compared"):
        same = bool(matcher.fit(structure, other))
        distance = matcher.get_rms_dist(structure, other) if same else None
        alike = not same and _same_type(matcher, structure, other)
    rows = [{"name": name, **_compared(each)} for name, each in zip(names, (structure, other), strict=True)]
    change = 100 * (rows[1]["volume_a3_per_atom"] / rows[0]["volume_a3_per_atom"] - 1)
    data: dict[str, Any] = {
        "same_structure": same,
        "same_formula": rows[0]["formula"] == rows[1]["formula"],
        "same_structure_type": same or alike,
        "structures": rows,
        "volume_change_percent": round(change, 4),
    }
    verdict = "the two are the same structure" if same else "the two are different structures"
    lines = [f"{verdict}, by StructureMatcher with its usual tolerances (cells scaled to the same volume)"]
    if distance is not None:
        data["rms_displacement"] = round(float(distance[0]), 5)
        lines.append(f"root mean square displacement {distance[0]:.4f} (V/n)^(1/3)")
    if alike:
        lines.append("but of one structure type: with other elements on the same places")
    lines += [
        f"{row['name']}: {row['formula']}, {row['spacegroup_symbol']} (No. {row['spacegroup_number']}), density "
        f"{row['density_g_cm3']:.4f} g/cm³, volume {row['volume_a3_per_atom']:.4f} Å³ per atom"
        for row in rows
    ]
    lines.append(f"from the first to the second the volume per atom changes by {change:+.2f} %")
    return Found(data, tuple(lines))


def _same_type(matcher: Any, structure: Structure, other: Structure) -> bool:
    """Say whether two structures differ in nothing but their elements. All ways to exchange them are tried."""
    first, second = structure.composition.element_composition, other.composition.element_composition
    if first.anonymized_formula != second.anonymized_formula or len(first) > MOST_EXCHANGED:
        return False
    return structure.is_ordered and other.is_ordered and bool(matcher.fit_anonymous(structure, other))


def _compared(structure: Structure) -> dict[str, Any]:
    symmetry = find_symmetry(structure).data
    return {
        "formula": structure.composition.reduced_formula,
        "spacegroup_symbol": symmetry["spacegroup_symbol"],
        "spacegroup_number": symmetry["spacegroup_number"],
        "density_g_cm3": round(float(structure.density), 5),
        "volume_a3_per_atom": round(float(structure.volume) / structure.composition.num_atoms, 5),
    }


# --- shared -----------------------------------------------------------------------------------------------------------


def _symmetrised(structure: Structure) -> SymmetrizedStructure:
    analyzer = find_analyzer(structure)
    with quietly("no equivalent sites can be found"):
        return analyzer.get_symmetrized_structure()


def _lattice(structure: Structure) -> dict[str, float]:
    lattice = structure.lattice
    lengths = {f"{name}_a": round(float(value), 5) for name, value in zip("abc", lattice.abc, strict=True)}
    names = ("alpha_deg", "beta_deg", "gamma_deg")
    return lengths | {name: round(float(value), 4) for name, value in zip(names, lattice.angles, strict=True)}


def _conventional(structure: Structure) -> Structure | None:
    """Return the conventional cell where the given one is another, None where it is that or none is found."""
    try:
        analyzer = find_analyzer(structure)
        with quietly("there is no conventional cell"):
            found = analyzer.get_conventional_standard_structure()
    except BadInput:  # atoms that share a place have no symmetry
        return None
    same = len(found) == len(structure) and all(
        abs(one - other) < SAME_LENGTH_A
        for one, other in zip(sorted(found.lattice.abc), sorted(structure.lattice.abc), strict=True)
    )
    return None if same else found


def _lattice_lines(structure: Structure, conventional: Structure | None = None) -> tuple[str, ...]:
    volume = float(structure.volume)
    per_atom = volume / structure.composition.num_atoms
    usual = () if conventional is None else (f"lattice of the conventional cell: {_lattice_told(conventional)}",)
    return (
        f"lattice of the given cell: {_lattice_told(structure)}",
        *usual,
        f"volume {volume:.3f} Å³ per cell, {per_atom:.3f} Å³ per atom",
    )


def _lattice_told(structure: Structure) -> str:
    lattice = structure.lattice
    lengths = ", ".join(f"{name} = {value:.4f} Å" for name, value in zip("abc", lattice.abc, strict=True))
    angles = ", ".join(f"{name} = {value:.2f}°" for name, value in zip("αβγ", lattice.angles, strict=True))
    return f"{lengths}, {angles}"

"""What pymatgen says about a structure, one function per task: data with units in the names, and the same in words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.symmetry.structure import SymmetrizedStructure

SYMMETRY_TOLERANCE_A = 0.1  # the Materials Project's choice for its published space groups
MOST_SITES = 2_000  # beyond it neighbours, patterns and comparisons take minutes
MOST_SUPERCELL_SITES = 10_000
MOST_ROWS = 40  # sites or peaks that are listed
WEAKEST_PERCENT = 1.0  # peaks below this share of the strongest are left out


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one task: `data` for programs, `lines` for people and models."""

    data: dict[str, Any]
    lines: tuple[str, ...]


def summarise(structure: Structure) -> Found:
    """Return formula, molar mass, composition, symmetry, density and lattice."""
    composition = structure.composition
    reduced, units = composition.get_reduced_composition_and_factor()
    elements = [str(element) for element in composition.elements]
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
    shares = ", ".join(f"{each} {masses[each]:.2f} %" for each in elements)
    lines = (
        f"formula {data['formula']}; the cell holds {data['cell_formula']}: {len(structure)} sites, "
        f"{units:g} formula units",
        f"molar mass {data['molar_mass_g_per_mol']:.3f} g/mol per formula unit; by mass {shares}",
        *symmetry.lines,
        f"density {density:.4f} g/cm³, computed from the cell",
        *_lattice_lines(structure),
    )
    disordered = () if structure.is_ordered else ("the structure is disordered: some sites are shared or partly empty",)
    return Found(data, lines + disordered)


def find_symmetry(structure: Structure) -> Found:
    """Return space group, crystal system, point group and Wyckoff positions."""
    analyzer = _analyzer(structure)
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
    symmetrised = _symmetrised(structure)
    rows = []
    orbits = zip(symmetrised.equivalent_sites, symmetrised.wyckoff_symbols, strict=True)
    for sites, wyckoff in orbits:
        place = [round(float(x), 5) % 1.0 for x in sites[0].frac_coords]
        rows.append({"species": sites[0].species_string, "wyckoff": wyckoff, "count": len(sites), "frac_coords": place})
    lines = [
        f"{row['species']} on {row['wyckoff']}: {row['count']} in the cell, first at "
        f"({', '.join(f'{x:.4f}' for x in row['frac_coords'])})"
        for row in rows
    ]
    head = f"{len(rows)} symmetry-distinct sites; letters as spglib gives them for the conventional cell"
    return Found({"sites": rows[:MOST_ROWS], "distinct_sites": len(rows)}, (head, *_first(lines)))


def list_neighbours(structure: Structure, *, element: str = "") -> Found:
    """Return the coordination of each distinct site (of `element` only): number, neighbours, distances in Å."""
    from pymatgen.analysis.local_env import CrystalNN

    _refuse_large(structure, "neighbours")
    _refuse_disordered(structure, "neighbours")
    wanted = [indices[0] for indices in _symmetrised(structure).equivalent_indices]
    wanted = [index for index in wanted if not element or structure[index].specie.symbol == element]
    if not wanted:
        raise BadInput(f"the structure holds no {element!r}", hint=f"It holds {structure.composition.chemical_system}")
    finder = CrystalNN()
    rows = [_neighbours_of(structure, index, finder) for index in wanted[:MOST_ROWS]]
    return Found({"sites": rows, "method": "CrystalNN"}, (*map(_neighbour_line, rows), "neighbours by CrystalNN"))


def _neighbours_of(structure: Structure, index: int, finder: Any) -> dict[str, Any]:
    import numpy as np

    site = structure[index]
    with _quietly("no neighbours can be told for this structure"):
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


def diffract(structure: Structure, *, wavelength: str = "CuKa", highest_deg: float = 90.0) -> Found:
    """Return the powder X-ray peaks up to 2θ = `highest_deg` degrees; `wavelength` is a line's name or in Å."""
    from pymatgen.analysis.diffraction.xrd import WAVELENGTHS, XRDCalculator

    _refuse_large(structure, "a diffraction pattern")
    if not 0 < highest_deg <= 180:
        raise BadInput(f"2θ up to {highest_deg} degrees is no angle", hint="Give one above 0 and at most 180")
    length = _wavelength(wavelength, WAVELENGTHS)
    with _quietly("no diffraction pattern can be computed"):
        pattern = XRDCalculator(wavelength=length).get_pattern(structure, two_theta_range=(0, highest_deg))
    peaks = [
        {
            "two_theta_deg": round(float(angle), 3),
            "intensity_percent": round(float(intensity), 2),
            "d_a": round(float(d), 5),
            "hkl": [list(map(int, plane["hkl"])) for plane in planes],
        }
        for angle, intensity, planes, d in zip(pattern.x, pattern.y, pattern.hkls, pattern.d_hkls, strict=True)
        if intensity >= WEAKEST_PERCENT
    ]
    radiation = f"λ = {length:g} Å ({wavelength})"
    head = f"{len(peaks)} powder peaks up to 2θ = {highest_deg:g}° for {radiation}; indices of the given cell"
    data = {"wavelength_a": length, "radiation": wavelength, "highest_two_theta_deg": highest_deg}
    return Found(
        data | {"peaks": peaks[:MOST_ROWS], "count": len(peaks)}, (head, *_first(list(map(_peak_line, peaks))))
    )


def _peak_line(peak: dict[str, Any]) -> str:
    planes = " ".join("(" + " ".join(map(str, hkl)) + ")" for hkl in peak["hkl"])
    return f"2θ = {peak['two_theta_deg']:.2f}°, {planes}, d = {peak['d_a']:.4f} Å, {peak['intensity_percent']:.1f} %"


def _wavelength(given: str, known: dict[str, float]) -> float:
    names = {name.casefold(): length for name, length in known.items()}
    plain = given.casefold().replace("α", "a").replace("β", "b").replace(" ", "").replace("-", "")
    if plain in names:
        return float(names[plain])
    try:
        length = float(plain.removesuffix("å").removesuffix("angstrom"))
    except ValueError:
        length = -1.0
    if not 0.1 <= length <= 10:
        raise BadInput(f"{given!r} is no X-ray wavelength", hint=f"In Å from 0.1 to 10, or one of {', '.join(known)}")
    return length


def find_oxidation_states(structure: Structure) -> Found:
    """Return oxidation states by bond valence, or by the composition alone where that fails; says which."""
    _refuse_large(structure, "oxidation states")
    composition = structure.composition
    if len(composition.elements) == 1:
        symbol = composition.elements[0].symbol
        return Found({"oxidation_states": {symbol: [0]}, "method": "element"}, (f"{symbol}: 0, as in any element",))
    states = _by_bond_valence(structure)
    method = "bond valence" if states else "composition"
    states = states or _by_composition(structure)
    if not states:
        formula = composition.reduced_formula
        raise BadInput(f"no oxidation states balance {formula}", hint="It may be a metal or an alloy")
    lines = [f"{symbol}: {', '.join(f'{value:+g}' for value in values)}" for symbol, values in states.items()]
    told = (
        "from bond valences" if method == "bond valence" else "guessed from the composition; bond valences do not tell"
    )
    return Found({"oxidation_states": states, "method": method}, (*lines, f"oxidation states {told}"))


def _by_bond_valence(structure: Structure) -> dict[str, list[float]]:
    from pymatgen.analysis.bond_valence import BVAnalyzer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            valences = BVAnalyzer().get_valences(structure)
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, AttributeError):
        return {}  # the method knows neither every element nor every bond length
    found: dict[str, set[float]] = {}
    for site, valence in zip(structure, valences, strict=True):
        shares = valence if isinstance(valence, list) else [valence]
        for specie, share in zip(site.species, shares, strict=True):
            found.setdefault(specie.symbol, set()).add(float(share))
    return {symbol: sorted(values) for symbol, values in found.items()}


def _by_composition(structure: Structure) -> dict[str, list[float]]:
    try:
        guesses = structure.composition.oxi_state_guesses(max_sites=-1)
    except ValueError:  # fractional amounts
        return {}
    return {symbol: [round(float(value), 4)] for symbol, value in guesses[0].items()} if guesses else {}


def multiply(structure: Structure, scaling: Sequence[int]) -> Found:
    """Return the supercell of `scaling` along a, b and c, with its POSCAR."""
    from pymatgen.io.vasp import Poscar

    if len(scaling) != 3 or not all(1 <= each <= 50 for each in scaling):
        raise BadInput(
            f"{list(scaling)} is no supercell", hint="Give three whole numbers from 1 to 50, such as [2, 2, 2]"
        )
    count = len(structure) * scaling[0] * scaling[1] * scaling[2]
    if count > MOST_SUPERCELL_SITES:
        raise BadInput(f"the supercell would hold {count:,} sites; {MOST_SUPERCELL_SITES:,} are the most")
    cell = structure.make_supercell(list(scaling), in_place=False).get_sorted_structure()
    data = {
        "scaling": list(scaling),
        "formula": cell.composition.reduced_formula,
        "cell_formula": cell.composition.formula.replace(" ", ""),
        "nsites": len(cell),
        "density_g_cm3": round(float(cell.density), 5),
        "volume_a3_per_cell": round(float(cell.volume), 5),
        **_lattice(cell),
        "poscar": Poscar(cell).get_str() if cell.is_ordered else "",
    }
    head = f"supercell {'×'.join(map(str, scaling))}: {data['cell_formula']}, {len(cell)} sites"
    return Found(data, (head, *_lattice_lines(cell)))


def compare(structure: Structure, other: Structure, names: tuple[str, str]) -> Found:
    """Return whether two structures are the same up to scaling and choice of cell, and how they differ."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    _refuse_large(structure, "a comparison")
    _refuse_large(other, "a comparison")
    matcher = StructureMatcher()
    with _quietly("the structures cannot be compared"):
        same = bool(matcher.fit(structure, other))
        distance = matcher.get_rms_dist(structure, other) if same else None
    rows = {name: _compared(each) for name, each in zip(names, (structure, other), strict=True)}
    data: dict[str, Any] = {"same_structure": same, "structures": [{"name": name, **row} for name, row in rows.items()]}
    verdict = "the two are the same structure" if same else "the two are different structures"
    lines = [f"{verdict}, by StructureMatcher with its usual tolerances (cells scaled to the same volume)"]
    if distance is not None:
        data["rms_displacement"] = round(float(distance[0]), 5)
        lines.append(f"root mean square displacement {distance[0]:.4f} (V/n)^(1/3)")
    lines += [
        f"{name}: {row['formula']}, {row['spacegroup_symbol']} (No. {row['spacegroup_number']}), density "
        f"{row['density_g_cm3']:.4f} g/cm³, volume {row['volume_a3_per_atom']:.4f} Å³ per atom"
        for name, row in rows.items()
    ]
    first, second = (row["volume_a3_per_atom"] for row in rows.values())
    change = 100 * (second / first - 1)
    data["volume_change_percent"] = round(change, 4)
    lines.append(f"from the first to the second the volume per atom changes by {change:+.2f} %")
    return Found(data, tuple(lines))


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


def _analyzer(structure: Structure) -> Any:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    _refuse_large(structure, "symmetry", most=MOST_SUPERCELL_SITES)
    with _quietly("no symmetry can be found; two atoms may share a place"):
        return SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_A)


def _symmetrised(structure: Structure) -> SymmetrizedStructure:
    analyzer = _analyzer(structure)
    with _quietly("no equivalent sites can be found"):
        return analyzer.get_symmetrized_structure()


@contextmanager
def _quietly(problem: str) -> Iterator[None]:
    """Silence pymatgen's warnings, and turn what it raises about a structure into a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError, ZeroDivisionError, AttributeError) as error:
            raise BadInput(f"{problem}: {type(error).__name__}: {str(error)[:200]}") from error


def _refuse_large(structure: Structure, what: str, *, most: int = MOST_SITES) -> None:
    if len(structure) > most:
        raise BadInput(f"the cell has {len(structure):,} sites; {what} is done for {most:,} at most")


def _refuse_disordered(structure: Structure, what: str) -> None:
    if not structure.is_ordered:
        raise BadInput(
            f"the structure is disordered, so its {what} are not defined",
            hint="Choose an ordered arrangement of it (pymatgen's OrderDisorderedStructureTransformation)",
        )


def _lattice(structure: Structure) -> dict[str, float]:
    lattice = structure.lattice
    lengths = {f"{name}_a": round(float(value), 5) for name, value in zip("abc", lattice.abc, strict=True)}
    names = ("alpha_deg", "beta_deg", "gamma_deg")
    return lengths | {name: round(float(value), 4) for name, value in zip(names, lattice.angles, strict=True)}


def _lattice_lines(structure: Structure) -> tuple[str, ...]:
    lattice, volume = structure.lattice, float(structure.volume)
    lengths = ", ".join(f"{name} = {value:.4f} Å" for name, value in zip("abc", lattice.abc, strict=True))
    angles = ", ".join(f"{name} = {value:.2f}°" for name, value in zip("αβγ", lattice.angles, strict=True))
    per_atom = volume / structure.composition.num_atoms
    return (
        f"lattice of the given cell: {lengths}, {angles}",
        f"volume {volume:.3f} Å³ per cell, {per_atom:.3f} Å³ per atom",
    )


def _first(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MOST_ROWS else [*lines[:MOST_ROWS], f"… and {len(lines) - MOST_ROWS} more"]

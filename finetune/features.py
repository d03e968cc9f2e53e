"""Numbers that describe a crystal for regression: its composition, its cell, and what surrounds each of its sites.

One pass over the symmetry-distinct sites gives both the feature vector (`describe`) for boosted trees and the graph
(`Sites`) for the network. Distances are in ångström, energies of elements in eV.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ingest.crystals import Crystal, Symmetry, quick_symmetry
from ingest.elements import LAST, PROPERTIES, SYMBOLS, column, oxidation_states, table

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NEIGHBOURS = 24  # nearest atoms that are kept of every site
BOND_SOFTNESS_A = 0.37  # b of the bond valence formula exp((R - d) / b), Brown and Altermatt 1985
MAX_COMBINATIONS = 4000  # oxidation state assignments that are tried for one formula


@dataclass(frozen=True, slots=True)
class Sites:
    """The symmetry-distinct sites of a crystal and the nearest atoms of each, nearest first.

    `weights` sums to 1 (the share of the cell's atoms on each orbit); `neighbours` holds indices of sites;
    `vectors` point from the site to the neighbour.
    """

    numbers: Integers  # (u,)
    weights: Floats  # (u,)
    neighbours: Integers  # (u, NEIGHBOURS)
    distances: Floats  # (u, NEIGHBOURS)
    vectors: Floats  # (u, NEIGHBOURS, 3)


def find_sites(crystal: Crystal, found: Symmetry) -> Sites:
    """Return the distinct sites of a crystal with their nearest atoms, by a search over periodic images."""
    first, orbit_of, counts = np.unique(found.orbits, return_inverse=True, return_counts=True)
    total = len(crystal.numbers)
    frac = crystal.frac - np.floor(crystal.frac)
    delta = frac[None, :, :] - frac[first][:, None, :]
    shift = -np.round(delta)
    base = (delta + shift) @ crystal.lattice  # (u, n, 3), |fractional| <= 1/2
    radius = (3 * NEIGHBOURS * 1.5 * crystal.volume_a3 / (4 * np.pi * total)) ** (1 / 3)
    while True:
        atoms, squares, images = _nearest(base, crystal.lattice, radius, first)
        if squares[:, -1].max() <= radius * radius:
            break
        radius *= 1.3
    vectors = np.take_along_axis(base, atoms[:, :, None], axis=1) + images
    return Sites(crystal.numbers[first], counts / total, orbit_of[atoms], np.sqrt(squares), vectors)


def _nearest(base: Floats, lattice: Floats, radius: float, first: Integers) -> tuple[Integers, Floats, Floats]:
    images = _images(lattice, radius)
    squares = (base**2).sum(-1)[:, :, None] + 2 * base @ images.T + (images**2).sum(-1)
    squares[np.arange(len(base)), first, len(images) // 2] = np.inf  # the site itself; the middle image is no shift
    flat = np.maximum(squares, 0.0).reshape(len(base), -1)
    if flat.shape[1] <= NEIGHBOURS:
        return np.zeros((1, 1), dtype=np.int64), np.full((1, 1), np.inf), images
    nearest = np.argpartition(flat, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    kept = np.take_along_axis(flat, nearest, axis=1)
    order = np.argsort(kept, axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    atoms, image = np.divmod(nearest, len(images))
    return atoms, np.take_along_axis(kept, order, axis=1), images[image]


def _images(lattice: Floats, radius: float) -> Floats:
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    counts = np.floor(radius / heights + 0.5).astype(int)
    ranges = [np.arange(-count, count + 1) for count in counts]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ lattice


# --- composition ------------------------------------------------------------------------------------------------------

_STATISTICS = ("mean", "spread", "min", "max")
_NONMETALS = frozenset(
    [
        "H",
        "He",
        "B",
        "C",
        "N",
        "O",
        "F",
        "Ne",
        "Si",
        "P",
        "S",
        "Cl",
        "Ar",
        "Ge",
        "As",
        "Se",
        "Br",
        "Kr",
        "Te",
        "I",
        "Xe",
        "At",
        "Rn",
    ]
)
_HUBBARD = frozenset(
    ["Co", "Cr", "Fe", "Mn", "Mo", "Ni", "V", "W"]
)  # elements that the Materials Project computes with PBE+U
_LANTHANUM, _LUTETIUM, _ACTINIUM, _LAWRENCIUM = 57, 71, 89, 103


@cache
def element_matrix() -> Floats:
    """Return the element properties used here by atomic number: the table, valence electrons, frontier level."""
    base = table()
    electrons = sum(column(f"valence_{shell}") for shell in "spdf")
    frontier = np.max([np.where(column(f"valence_{x}") > 0, column(f"energy_{x}"), -9.0) for x in "spdf"], axis=0)
    return np.column_stack([base, electrons, frontier])


@cache
def metals() -> npt.NDArray[np.bool_]:
    """Return, by atomic number, whether the element is a metal."""
    return np.array([symbol not in _NONMETALS for symbol in SYMBOLS[: LAST + 1]])


ELEMENT_COLUMNS = (*PROPERTIES, "valence_electrons", "frontier_energy")


@dataclass(frozen=True, slots=True)
class Charges:
    """An oxidation state for each element of a formula, chosen so that the charges cancel as well as they can."""

    states: dict[int, float]  # by atomic number
    imbalance_common: float  # least |total charge| per atom with common states
    imbalance: float  # the same with every state seen in crystals
    rare: float  # share of elements in a state that is not common


@cache
def guess_charges(composition: tuple[tuple[int, int], ...]) -> Charges:
    """Return the guess for ((atomic number, count), …): balanced first, common states next, anions electronegative."""
    numbers = [number for number, _ in composition]
    counts = np.array([count for _, count in composition], dtype=float)
    common, least_common = _best(numbers, counts, common=True)
    chosen, least = (common, least_common) if least_common < 1e-6 else _best(numbers, counts, common=False)
    rare = np.mean([state not in oxidation_states(z) for z, state in zip(numbers, chosen, strict=True)])
    return Charges(dict(zip(numbers, chosen, strict=True)), least_common, least, float(rare))


def _best(numbers: list[int], counts: Floats, *, common: bool) -> tuple[list[float], float]:
    choices = [oxidation_states(z, common=common) for z in numbers]
    while np.prod([len(states) for states in choices]) > MAX_COMBINATIONS:
        longest = max(range(len(choices)), key=lambda index: len(choices[index]))
        choices[longest] = choices[longest][::2]
    states = np.array(list(itertools.product(*choices)), dtype=float)
    charge = np.abs(states @ counts) / counts.sum()
    negativity = column("electronegativity")[numbers]
    # of two assignments that balance, the one with negative charge on electronegative atoms, then the smaller charges
    cost = 100 * charge + (states * counts) @ negativity / counts.sum() + 0.05 * np.abs(states) @ counts / counts.sum()
    best = int(np.argmin(cost))
    return states[best].tolist(), float(charge[best])


def _composition_names() -> list[str]:
    names = [f"{statistic} {name}" for statistic in _STATISTICS for name in ELEMENT_COLUMNS]
    names += [f"{which} {name}" for which in ("anion", "cation") for name in ELEMENT_COLUMNS]
    names += [f"fraction {symbol}" for symbol in SYMBOLS[1 : LAST + 1]]
    return names + list(_CHARGE_NAMES)


_CHARGE_NAMES = (
    "elements",
    "imbalance common",
    "imbalance",
    "rare states",
    "mean cation state",
    "max cation state",
    "mean anion state",
    "anion share",
    "d electrons mean",
    "d electrons min",
    "d electrons max",
    "open d share",
    "f electrons mean",
    "f electrons max",
    "lone pair share",
    "hubbard share",
    "donated minus accepted",
    "oxygen or fluorine with hubbard",
    "metal share",
    "negativity difference",
)


def _composition(numbers: Integers, counts: Integers) -> list[Floats]:
    share = counts / counts.sum()
    values = element_matrix()[numbers]
    mean = share @ values
    negativity = column("electronegativity")[numbers]
    fractions = np.zeros(LAST)
    fractions[numbers - 1] = share
    return [
        mean,
        share @ np.abs(values - mean),
        values.min(0),
        values.max(0),
        values[np.argmax(negativity)],
        values[np.argmin(negativity)],
        fractions,
        _charge_values(numbers, counts, share, negativity),
    ]


def _charge_values(numbers: Integers, counts: Integers, share: Floats, negativity: Floats) -> Floats:
    guess = guess_charges(tuple(zip(numbers.tolist(), counts.tolist(), strict=True)))
    states = np.array([guess.states[z] for z in numbers.tolist()])
    group = column("group")[numbers]
    lanthanide = ((numbers >= _LANTHANUM) & (numbers <= _LUTETIUM)) | (numbers >= _ACTINIUM)
    transition = (group >= 3) & (group <= 12) & ~lanthanide
    block_p = (group >= 13) & (states > 0)
    d = np.clip(group - states, 0, 10)
    f = np.clip(np.where(numbers >= _ACTINIUM, numbers - 86, numbers - 54) - states, 0, 14)
    hubbard = np.array([SYMBOLS[z] in _HUBBARD for z in numbers.tolist()])
    cation, anion = states > 0, states < 0
    accepted = np.array([min(0, *oxidation_states(z)) for z in numbers.tolist()])
    donated = np.array([max(0, *oxidation_states(z, common=False)) for z in numbers.tolist()])
    oxidic = bool(np.isin(numbers, (8, 9)).any())
    return np.array(
        [
            len(numbers),
            guess.imbalance_common,
            guess.imbalance,
            guess.rare,
            _mean(states, share * cation),
            states.max(),
            _mean(states, share * anion),
            share @ anion,
            _mean(d, share * transition, empty=-1.0),
            d[transition].min() if transition.any() else -1.0,
            d[transition].max() if transition.any() else -1.0,
            share @ (transition & (d > 0) & (d < 10)),
            _mean(f, share * lanthanide, empty=-1.0),
            f[lanthanide].max() if lanthanide.any() else -1.0,
            share @ (block_p & (group - 10 - states >= 2)),
            share @ hubbard,
            share @ np.where(cation, donated, accepted),
            float(oxidic and hubbard.any()),
            share @ metals()[numbers],
            negativity.max() - negativity.min(),
        ]
    )


def _mean(values: Floats, weights: Floats, *, empty: float = 0.0) -> float:
    total = weights.sum()
    return float(values @ weights / total) if total > 0 else empty


# --- sites ------------------------------------------------------------------------------------------------------------

_SHELLS = (0.0, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75)  # edges in units of the sum of atomic radii
_ANGLES = (-1.01, -0.85, -0.4, 0.1, 0.6, 1.01)  # edges in cosine
_ORDERS = (1, 2, 3, 4, 6)
LOCAL = (
    "coordination",
    "shortest",
    "shortest scaled",
    "bond",
    "bond scaled",
    "bond spread",
    "negativity step",
    "bond polarity",
    "like share",
    "metal share",
    "nearest like",
    "nearest like scaled",
    "nearest unlike",
    "valence sum",
    "valence deviation",
    "potential",
    "potential times charge",
    *(f"order {degree}" for degree in _ORDERS),
    *(f"angles {index}" for index in range(len(_ANGLES) - 1)),
    *(f"shell {index}" for index in range(len(_SHELLS) - 1)),
)
FAR_A = 12.0  # stands for "none among the nearest atoms"


def local_environment(
    numbers: Integers, others: Integers, states: Floats, other_states: Floats, sites: Sites
) -> Floats:
    """Return the columns of `LOCAL` for every site, from its nearest atoms.

    `others` and `other_states` are atomic numbers and oxidation states of the neighbours. Bond weights follow Hoppe's
    effective coordination numbers (Z. Kristallogr. 150, 23, 1979) on distances divided by the sum of atomic radii.
    """
    distances = sites.distances
    radius = column("radius_empirical")
    scaled = distances / (radius[numbers][:, None] + radius[others])
    weights = _bond_weights(scaled)
    shares = weights / weights.sum(1, keepdims=True)
    negativity = column("electronegativity")
    step = negativity[others] - negativity[numbers][:, None]
    like = others == numbers[:, None]
    bond = (shares * scaled).sum(1)
    valence = _valence_sum(numbers, others, distances, step)
    potential = _potential(distances, states, other_states)
    both = metals()[numbers][:, None] & metals()[others]
    columns = [
        weights.sum(1),
        distances[:, 0],
        scaled.min(1),
        (shares * distances).sum(1),
        bond,
        np.sqrt((shares * (scaled - bond[:, None]) ** 2).sum(1)),
        (shares * step).sum(1),
        (shares * np.abs(step)).sum(1),
        (shares * like).sum(1),
        (shares * both).sum(1),
        np.where(like, distances, FAR_A).min(1),
        np.where(like, scaled, FAR_A / 2).min(1),
        np.where(like, FAR_A, distances).min(1),
        valence,
        valence - states,
        potential,
        potential * states,
    ]
    return np.column_stack([*columns, _directions(sites.vectors / distances[:, :, None], shares), _shells(scaled)])


def _bond_weights(scaled: Floats) -> Floats:
    average = scaled.min(1, keepdims=True)
    for _ in range(3):
        weights: Floats = np.exp(1 - (scaled / average) ** 6)
        average = (weights * scaled).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    final: Floats = np.exp(1 - (scaled / average) ** 6)
    return final


def _valence_sum(numbers: Integers, others: Integers, distances: Floats, step: Floats) -> Floats:
    r, c = column("bond_valence_r"), column("bond_valence_c")
    ri, rj, ci, cj = r[numbers][:, None], r[others], c[numbers][:, None], c[others]
    length = ri + rj - ri * rj * (np.sqrt(ci) - np.sqrt(cj)) ** 2 / (ci * ri + cj * rj)
    valence: Floats = (np.sign(step) * np.exp((length - distances) / BOND_SOFTNESS_A)).sum(1)
    return np.clip(valence, -12, 12)


def _potential(distances: Floats, states: Floats, other_states: Floats) -> Floats:
    """Return the shifted electrostatic potential (e/Å) of the neighbours' formal charges, after Wolf et al. 1999."""
    edge = 1 / distances[:, -1:]
    potential: Floats = (other_states * (1 / distances - edge)).sum(1) - states * edge[:, 0]
    return np.clip(potential, -20, 20)


def _directions(units: Floats, shares: Floats) -> Floats:
    cosines = np.clip(units @ units.transpose(0, 2, 1), -1, 1)
    pairs = shares[:, :, None] * shares[:, None, :]
    orders = [np.sqrt(np.abs((pairs * _legendre(degree, cosines)).sum((1, 2)))) for degree in _ORDERS]
    diagonal = np.arange(pairs.shape[1])
    pairs[:, diagonal, diagonal] = 0
    total = np.maximum(pairs.sum((1, 2)), 1e-9)
    bins = [
        (pairs * ((cosines >= low) & (cosines < high))).sum((1, 2)) / total for low, high in itertools.pairwise(_ANGLES)
    ]
    return np.column_stack([*orders, *bins])


def _legendre(degree: int, x: Floats) -> Floats:
    x2 = x * x
    match degree:
        case 1:
            return x
        case 2:
            return (3 * x2 - 1) / 2
        case 3:
            return (5 * x2 - 3) * x / 2
        case 4:
            return (35 * x2 * x2 - 30 * x2 + 3) / 8
        case _:
            return (231 * x2**3 - 315 * x2 * x2 + 105 * x2 - 5) / 16


def _shells(scaled: Floats) -> Floats:
    return np.column_stack([((scaled >= low) & (scaled < high)).sum(1) for low, high in itertools.pairwise(_SHELLS)])


# --- all together -----------------------------------------------------------------------------------------------------

_CELL_NAMES = (
    "volume per atom",
    "log volume per atom",
    "mass-free density",
    "packing",
    "space group",
    "crystal system",
    "point operations",
    "orbits",
    "primitive sites",
    "conventional a",
    "conventional b",
    "conventional c",
    "c over a",
    "b over a",
    "angle alpha",
    "angle beta",
    "angle gamma",
    "odd electrons",
    "valence electrons per cell modulo 2",
    "electrons per volume",
    "inversion",
)
_SYSTEM_ENDS = (2, 15, 74, 142, 167, 194, 230)  # last space group of triclinic, monoclinic, …, cubic
_GROUPS = ("all", "cations", "anions", "metals")
_PAIRS = ("cation-anion", "anion-anion", "cation-cation")


def feature_names() -> list[str]:
    """Return the names of the columns of `describe`, in order."""
    names = _composition_names() + list(_CELL_NAMES)
    names += [f"{statistic} site {name}" for statistic in _STATISTICS for name in LOCAL]
    names += [f"{group} {name}" for group in _GROUPS[1:] for name in LOCAL]
    return names + [f"{kind} {pair}" for kind in ("distance", "scaled distance") for pair in _PAIRS]


def _cell(crystal: Crystal, found: Symmetry) -> Floats:
    total = len(crystal.numbers)
    volume = crystal.volume_a3
    radii = column("radius_empirical")[crystal.numbers]
    lengths = np.linalg.norm(found.conventional, axis=1)
    unit = found.conventional / lengths[:, None]
    angles = np.degrees(np.arccos(np.clip([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]], -1, 1)))
    cells = total / found.primitive_sites
    electrons = element_matrix()[crystal.numbers, ELEMENT_COLUMNS.index("valence_electrons")].sum() / cells
    return np.array(
        [
            volume / total,
            np.log(volume / total),
            crystal.numbers.sum() / volume,
            (radii**3).sum() * 4 / 3 * np.pi / volume,
            found.number,
            int(np.searchsorted(_SYSTEM_ENDS, found.number)),
            found.operations,
            len(np.unique(found.orbits)),
            found.primitive_sites,
            *lengths,
            lengths[2] / lengths[0],
            lengths[1] / lengths[0],
            *angles,
            round(crystal.numbers.sum() / cells) % 2,
            round(electrons) % 2,
            electrons * cells / volume,
            float(found.inversion),
        ]
    )


def describe(crystals: list[Crystal], symmetries: list[Symmetry], sites: list[Sites]) -> tuple[Floats, Floats]:
    """Return the feature matrix (one row per crystal) and the local environments (one row per distinct site)."""
    head, states = [], []
    for crystal, found, mine in zip(crystals, symmetries, sites, strict=True):
        numbers, counts = _reduced(crystal.numbers)
        head.append(np.concatenate([*_composition(numbers, counts), _cell(crystal, found)]))
        guess = guess_charges(tuple(zip(numbers.tolist(), counts.tolist(), strict=True)))
        states.append(np.array([guess.states[z] for z in mine.numbers.tolist()]))
    joined = join_sites(sites)
    others = joined.numbers[joined.neighbours]
    state = np.concatenate(states)
    local = local_environment(joined.numbers, others, state, state[joined.neighbours], joined)
    bounds = np.cumsum([0, *(len(mine.numbers) for mine in sites)])[:-1]
    tail = [*_aggregate(local, joined, state, bounds), _pair_distances(joined, others, state, bounds)]
    return np.column_stack([np.array(head), *tail]), local


def global_features(crystals: list[Crystal]) -> Floats:
    """Return the part of `describe` that looks at no surroundings: composition, space group and cell."""
    return np.array(
        [
            np.concatenate([*_composition(*_reduced(crystal.numbers)), _cell(crystal, quick_symmetry(crystal))])
            for crystal in crystals
        ]
    )


def _reduced(numbers: Integers) -> tuple[Integers, Integers]:
    unique, counts = np.unique(numbers, return_counts=True)
    return unique, counts // np.gcd.reduce(counts)


def join_sites(sites: list[Sites]) -> Sites:
    """Return the sites of several crystals as one, neighbours renumbered."""
    offsets = np.cumsum([0, *(len(mine.numbers) for mine in sites)])
    return Sites(
        np.concatenate([mine.numbers for mine in sites]),
        np.concatenate([mine.weights for mine in sites]),
        np.concatenate([mine.neighbours + offset for mine, offset in zip(sites, offsets, strict=False)]),
        np.concatenate([mine.distances for mine in sites]),
        np.concatenate([mine.vectors for mine in sites]),
    )


def _aggregate(local: Floats, joined: Sites, state: Floats, bounds: Integers) -> list[Floats]:
    weights = joined.weights[:, None]
    mean = np.add.reduceat(local * weights, bounds)
    square = np.add.reduceat(local * local * weights, bounds)
    parts = [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    parts += [np.minimum.reduceat(local, bounds), np.maximum.reduceat(local, bounds)]
    for chosen in (state > 0, state < 0, metals()[joined.numbers]):
        mask = weights * chosen[:, None]
        total = np.add.reduceat(mask, bounds)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(np.add.reduceat(local * mask, bounds) / np.where(total > 0, total, np.nan))
    return parts


def _pair_distances(joined: Sites, others: Integers, state: Floats, bounds: Integers) -> Floats:
    radius = column("radius_empirical")
    scaled = joined.distances / (radius[joined.numbers][:, None] + radius[others])
    mine, theirs = np.sign(state)[:, None], np.sign(state)[joined.neighbours]
    columns = []
    for values in (joined.distances, scaled):
        for left, right in ((1, -1), (-1, -1), (1, 1)):
            nearest = np.where((mine == left) & (theirs == right), values, FAR_A).min(1)
            columns.append(np.minimum.reduceat(nearest, bounds))
    return np.column_stack(columns)

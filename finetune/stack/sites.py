"""The symmetry-distinct sites of a crystal with their nearest atoms, and what surrounds each of them in numbers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune.stack.composition import metals
from ingest.crystals import Crystal, Symmetry
from ingest.elements import column

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NEIGHBOURS = 24  # nearest atoms that are kept of every site
BOND_SOFTNESS_A = 0.37  # b of the bond valence formula exp((R - d) / b), Brown and Altermatt 1985


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


# --- surroundings -----------------------------------------------------------------------------------------------------

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

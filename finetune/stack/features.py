"""The feature vector of a crystal: its composition, its cell, and statistics of what surrounds its sites.

One pass over the symmetry-distinct sites gives both the features (`describe`) for boosted trees and the surroundings of
the sites for the network. Distances are in ångström.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from finetune.stack.composition import (
    ELEMENT_COLUMNS,
    STATISTICS,
    composition,
    composition_names,
    element_matrix,
    guess_charges,
    metals,
    reduced,
)
from finetune.stack.sites import FAR_A, LOCAL, Sites, join_sites, local_environment
from ingest.crystals import Crystal, Symmetry, quick_symmetry
from ingest.elements import column

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

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
    names = composition_names() + list(_CELL_NAMES)
    names += [f"{statistic} site {name}" for statistic in STATISTICS for name in LOCAL]
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
        numbers, counts = reduced(crystal.numbers)
        head.append(np.concatenate([*composition(numbers, counts), _cell(crystal, found)]))
        guess = guess_charges(tuple(zip(numbers.tolist(), counts.tolist(), strict=True)))
        states.append(np.array([guess.states[z] for z in mine.numbers.tolist()]))
    joined = join_sites(sites)
    others = joined.numbers[joined.neighbours]
    state = np.concatenate(states)
    local = local_environment(joined.numbers, others, state, state[joined.neighbours], joined)
    bounds = np.cumsum([0, *(len(mine.numbers) for mine in sites)])[:-1]
    tail = [*_aggregate(local, joined, state, bounds), _pair_distances(joined, others, state, bounds)]
    return np.column_stack([np.array(head), *tail]), local


def global_features(crystals: Sequence[Crystal]) -> Floats:
    """Return the part of `describe` that looks at no surroundings: composition, space group and cell."""
    return np.array(
        [
            np.concatenate([*composition(*reduced(crystal.numbers)), _cell(crystal, quick_symmetry(crystal))])
            for crystal in crystals
        ]
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

"""Numbers that describe the composition of a crystal: statistics of its elements, and a guess of their charges.

Energies of elements are in eV.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ingest.elements import LAST, PROPERTIES, SYMBOLS, column, oxidation_states, table

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MAX_COMBINATIONS = 4000  # oxidation state assignments that are tried for one formula
STATISTICS = ("mean", "spread", "min", "max")
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


def composition_names() -> list[str]:
    """Return the names of the values of `composition`, in order."""
    names = [f"{statistic} {name}" for statistic in STATISTICS for name in ELEMENT_COLUMNS]
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


def composition(numbers: Integers, counts: Integers) -> list[Floats]:
    """Return statistics of the elements, those of the most and least electronegative, fractions, and charges."""
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


def reduced(numbers: Integers) -> tuple[Integers, Integers]:
    """Return the distinct atomic numbers of a cell and their counts, divided by the greatest common divisor."""
    unique, counts = np.unique(numbers, return_counts=True)
    return unique, counts // np.gcd.reduce(counts)

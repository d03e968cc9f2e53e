"""Oxidation states of a structure: as its file states them, by bond valence, and by the composition alone.

The methods may disagree; then what is common for the elements is taken, and the other is told beside it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant.tools.bounds import Found, refuse_large
from ingest.elements import NUMBERS, oxidation_states
from ingest.errors import BadInput

if TYPE_CHECKING:
    from pymatgen.core import Structure

SAME = 0.01  # of mean states, to be taken for equal

STATED, VALENCE, COMPOSITION = "stated", "bond valence", "composition"
_TOLD = {
    STATED: "as the file states them",
    VALENCE: "from bond valences",
    COMPOSITION: "guessed from the composition",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one method says: the states of each element, and their mean."""

    method: str
    states: dict[str, list[float]]
    means: dict[str, float]

    def agrees(self, other: _Answer) -> bool:
        return all(abs(mean - other.means.get(symbol, 99.0)) < SAME for symbol, mean in self.means.items())

    def uncommon(self, *, common: bool = True) -> list[str]:
        """Return the elements with a state that is not common for them, or that no crystal shows."""
        return [
            symbol
            for symbol, states in self.states.items()
            if not set(states) <= set(map(float, oxidation_states(NUMBERS[symbol], common=common)))
        ]

    def line(self) -> str:
        """Return "P: +4; S: -2, -1"."""
        return "; ".join(f"{symbol}: {_signed(states)}" for symbol, states in self.states.items())


def _signed(states: list[float]) -> str:
    return ", ".join(f"{state:+g}" for state in states)


def find_oxidation_states(structure: Structure) -> Found:
    """Return the oxidation states of each element, by which method, and what another method says against it.

    Raises:
        BadInput: no method finds any.
    """
    refuse_large(structure, "oxidation states")
    composition = structure.composition.element_composition
    if len(composition.elements) == 1:
        symbol = composition.elements[0].symbol
        return Found({"oxidation_states": {symbol: [0]}, "method": "element"}, (f"{symbol}: 0, as in any element",))
    answers = [answer for answer in (_stated(structure), _by_valence(structure), _by_composition(structure)) if answer]
    if not answers:
        raise BadInput(f"no oxidation states balance {composition.reduced_formula}", hint=_why_none(structure))
    chosen = answers[0] if answers[0].method == STATED else min(answers, key=lambda each: len(each.uncommon()))
    chosen = next((each for each in answers if each.agrees(chosen)), chosen)  # bond valences tell mixed states apart
    against = [each for each in answers if not each.agrees(chosen)]
    data = {
        "oxidation_states": chosen.states,
        "method": chosen.method,
        "disagreeing": {each.method: each.states for each in against},
    }
    lines = [f"{symbol}: {_signed(states)}" for symbol, states in chosen.states.items()]
    lines.append(f"oxidation states {_TOLD[chosen.method]}")
    lines += [f"beware: {_TOLD[each.method]} they would be {each.line()}" for each in against]
    if odd := chosen.uncommon(common=False):
        data["unusual"] = odd
        lines.append(f"beware: these are unusual states of {', '.join(odd)}; a metal or an alloy has none")
    return Found(data, tuple(lines))


def _why_none(structure: Structure) -> str:
    if not structure.is_ordered:
        return "It is disordered, so its amounts need not balance: choose an ordered arrangement of it"
    return "It may be a metal or an alloy, which have none, or atoms are missing from the file"


def _collect(method: str, rows: list[tuple[str, float, float]]) -> _Answer:
    """Return the answer of rows of symbol, state and amount."""
    states: dict[str, set[float]] = {}
    sums: dict[str, list[float]] = {}
    for symbol, state, amount in rows:
        states.setdefault(symbol, set()).add(state)
        total = sums.setdefault(symbol, [0.0, 0.0])
        total[0] += state * amount
        total[1] += amount
    means = {symbol: weighted / amount for symbol, (weighted, amount) in sums.items()}
    return _Answer(method, {symbol: sorted(found) for symbol, found in states.items()}, means)


def _stated(structure: Structure) -> _Answer | None:
    """Return the states that the file gives, where it gives all and they balance."""
    rows = []
    for site in structure:
        for specie, amount in site.species.items():
            state = getattr(specie, "oxi_state", None)
            if state is None:
                return None
            rows.append((specie.symbol, float(state), float(amount)))
    balanced = abs(sum(state * amount for _, state, amount in rows)) < SAME * len(rows)
    return _collect(STATED, rows) if balanced and any(state for _, state, _ in rows) else None


def _by_valence(structure: Structure) -> _Answer | None:
    from pymatgen.analysis.bond_valence import BVAnalyzer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            valences = BVAnalyzer().get_valences(structure)
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, AttributeError):
        return None  # the method knows neither every element nor every bond length
    rows = []
    for site, valence in zip(structure, valences, strict=True):
        shares = valence if isinstance(valence, list) else [valence]
        for (specie, amount), share in zip(site.species.items(), shares, strict=True):
            rows.append((specie.symbol, float(share), float(amount)))
    return _collect(VALENCE, rows)


def _by_composition(structure: Structure) -> _Answer | None:
    try:
        guesses = structure.composition.element_composition.oxi_state_guesses(max_sites=-1)
    except ValueError:  # fractional amounts
        return None
    if not guesses:
        return None
    return _collect(COMPOSITION, [(symbol, round(float(state), 4), 1.0) for symbol, state in guesses[0].items()])

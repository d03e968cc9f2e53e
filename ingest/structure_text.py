"""The exact text of a structure that a language model is trained on and asked with.

`tutorial_text` reproduces, to the byte, what the public tutorial model `ysuz/Mistral-Nemo-Base-2407-bandgap` was
trained on: the printed form of a pymatgen structure without its first line and the dashed rule, plus the line
`space group: …`. `compact_text` says the same crystal in one line, and `words_text` in the fewest tokens, with the
elements by their names, which a small model knows from its pretraining.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import reduce
from itertools import islice
from math import gcd

import numpy as np

from ingest.crystals import Crystal, Symmetry, symmetry
from ingest.elements import SYMBOLS, column, english_name
from ingest.errors import BadInput

QUESTION = "Instruction: What is the bandgap value of following material?:\n"
ANSWER = "\n\nOutput:\n"
TUTORIAL_TOLERANCE_A = 0.01  # pymatgen's default in get_space_group_info, which the tutorial used

CHUNK = 64  # crystals that one process renders at a time

_NOT_REDUCED = {  # molecules and peroxides keep their real formula
    **{symbol: f"{symbol}2" for symbol in ("O", "N", "F", "Cl", "H")},
    **{f"{cation}O": f"{cation}2O2" for cation in ("Li", "Na", "K", "H", "Cs", "Rb")},
}
_POLYANION_STEP = 1.65  # smaller electronegativity differences between the last two elements make a polyanion


def tutorial_prompt(crystal: Crystal) -> str:
    """Return the whole prompt of the tutorial, ending where the model writes the band gap."""
    return f"{QUESTION}{tutorial_text(crystal)}{ANSWER}"


def tutorial_text(crystal: Crystal, *, found: Symmetry | None = None) -> str:
    """Return the tutorial's text of a crystal; `found` is its symmetry at 0.01 Å where it is known already."""
    found = found or symmetry(crystal, tolerance_a=TUTORIAL_TOLERANCE_A, angle_tolerance_deg=5.0)
    lengths, angles = cell_parameters(crystal)
    head = [
        f"Reduced Formula: {reduced_formula(crystal.numbers.tolist())}",
        "abc   : " + " ".join(f"{length:>10.6f}" for length in lengths),
        "angles: " + " ".join(f"{angle:>10.6f}" for angle in angles),
        "pbc   :       True       True       True",
        f"space group: ('{found.symbol}', {found.number})",
        f"Sites ({len(crystal.numbers)})",
    ]
    return "\n".join([*head, *_table(crystal)])


def compact_text(crystal: Crystal, *, found: Symmetry | None = None) -> str:
    """Return one line: formula, space group, cell, and each element's Wyckoff positions with their counts.

    For example `TiO2 | P4_2/mnm 136 | 4.65 4.65 2.97 90 90 90 | 6 sites | Ti 2a | O 4f`: the standard conventional
    cell in ångström and degrees, found with the tolerance of 0.1 Å of the Materials Project.
    """
    found = found or symmetry(crystal)
    lengths = np.linalg.norm(found.conventional, axis=1)
    unit = found.conventional / lengths[:, None]
    angles = np.degrees(np.arccos(np.clip([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]], -1, 1)))
    cell = " ".join([*(f"{length:.2f}" for length in lengths), *(f"{angle:.0f}" for angle in angles)])
    atoms = " | ".join(_wyckoff(crystal, found))
    formula = reduced_formula(crystal.numbers.tolist())
    return f"{formula} | {found.symbol} {found.number} | {cell} | {len(crystal.numbers)} sites | {atoms}"


def words_text(crystal: Crystal, *, found: Symmetry | None = None) -> str:
    """Return one line of words: space group, sites and volume of each, and the reduced counts of the named elements.

    For example `group 136, 6 sites of 10.4 A3: titanium, oxygen 2`: with the question 37 tokens of SmolLM2 where the
    compact text has 81, since most names of elements are one token, and symbols and decimals are cut into characters.
    """
    found = found or symmetry(crystal)
    counts = Counter(crystal.numbers.tolist())
    divisor = reduce(gcd, counts.values())
    volume = abs(float(np.linalg.det(crystal.lattice))) / len(crystal.numbers)
    elements = ", ".join(
        f"{english_name(SYMBOLS[number])} {counts[number] // divisor}".removesuffix(" 1")
        for number in sorted(counts, key=_rank)
    )
    return f"group {found.number}, {len(crystal.numbers)} sites of {volume:.1f} A3: {elements}"


STYLES = {"tutorial": tutorial_text, "compact": compact_text, "words": words_text}


def render(crystals: Iterable[Crystal], *, style: str = "tutorial", workers: int = 0) -> Iterator[str]:
    """Yield the text of every crystal, in order, from `workers` processes (0: one per core); memory stays flat.

    Raises:
        BadInput: the style is not one of `STYLES`.
    """
    if style not in STYLES:
        raise BadInput(f"there is no structure text {style!r}; known are {', '.join(STYLES)}")
    count = workers or os.cpu_count() or 1
    chunks = _chunks(crystals)
    if count == 1:
        for chunk in chunks:
            yield from _render_chunk(chunk, style)
        return
    with ProcessPoolExecutor(count) as pool:
        pending: deque[Future[list[str]]] = deque()
        for chunk in chunks:
            pending.append(pool.submit(_render_chunk, chunk, style))
            if len(pending) > 2 * count:  # so that a slow reader of the texts holds back the work
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _chunks(crystals: Iterable[Crystal]) -> Iterator[list[Crystal]]:
    source = iter(crystals)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def _render_chunk(crystals: list[Crystal], style: str) -> list[str]:
    return [STYLES[style](crystal) for crystal in crystals]


def _wyckoff(crystal: Crystal, found: Symmetry) -> list[str]:
    orbits = Counter(found.orbits.tolist())
    places: dict[int, list[str]] = {}
    for site, count in orbits.items():
        places.setdefault(int(crystal.numbers[site]), []).append(f"{count}{found.wyckoffs[site]}")
    return [f"{SYMBOLS[number]} {' '.join(sorted(words))}" for number, words in sorted(places.items(), key=_order)]


def _order(item: tuple[int, list[str]]) -> tuple[float, str]:
    return _rank(item[0])


def _rank(number: int) -> tuple[float, str]:
    # helium, neon and argon have no electronegativity and come last
    missing = number in (2, 10, 18)
    return (float("inf") if missing else float(column("electronegativity")[number])), SYMBOLS[number]


def cell_parameters(crystal: Crystal) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the lengths (ångström) and angles (degrees) of the given cell."""
    a, b, c = crystal.lattice
    la, lb, lc = (float(np.sqrt(vector @ vector)) for vector in (a, b, c))
    cosines = np.clip([b @ c / (lb * lc), a @ c / (la * lc), a @ b / (la * lb)], -1, 1)
    alpha, beta, gamma = np.degrees(np.arccos(cosines)).tolist()
    return (la, lb, lc), (alpha, beta, gamma)


def reduced_formula(numbers: Iterable[int]) -> str:
    """Return pymatgen's reduced formula: by electronegativity, polyanions in brackets, O2 and Li2O2 not reduced."""
    counts = Counter(numbers)
    formula = _reduce(counts)
    return _NOT_REDUCED.get(formula) or formula


def _reduce(counts: Counter[int]) -> str:
    order = sorted(counts, key=_rank)
    divisor = reduce(gcd, counts.values())
    tail = ""
    if len(order) >= 3 and _rank(order[-1])[0] - _rank(order[-2])[0] < _POLYANION_STEP:
        group = Counter({number: counts[number] // divisor for number in order[-2:]})
        factor = reduce(gcd, group.values())
        if factor != 1:
            tail, order = f"({_reduce(group)}){factor}", order[:-2]
    return "".join(f"{SYMBOLS[z]}{counts[z] // divisor if counts[z] != divisor else ''}" for z in order) + tail


def _table(crystal: Crystal) -> list[str]:
    count = len(crystal.numbers)
    columns = [
        _right("#", [str(index) for index in range(count)]),
        _left("SP", [SYMBOLS[number] for number in crystal.numbers.tolist()]),
        *(_decimal(name, [f"{value:.6f}" for value in crystal.frac[:, axis]]) for axis, name in enumerate("abc")),
        *(_property(name, crystal.properties[name]) for name in sorted(crystal.properties)),
    ]
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def _property(name: str, values: Sequence[float | None]) -> list[str]:
    if all(isinstance(value, int) for value in values):
        return _right(name, [str(value) for value in values])
    return _decimal(name, ["" if value is None else repr(float(value)) for value in values])


def _right(name: str, cells: list[str]) -> list[str]:
    width = max(len(name) + 2, *map(len, cells))  # a table keeps two spaces more than its heading
    return [text.rjust(width) for text in [name, *cells]]


def _left(name: str, cells: list[str]) -> list[str]:
    width = max(len(name) + 2, *map(len, cells))
    return [text.ljust(width) for text in [name, *cells]]


def _decimal(name: str, cells: list[str]) -> list[str]:
    """Align numbers at the decimal point, each written as short as `%g` does."""
    short = [format(float(cell), "g") if cell else "" for cell in cells]
    after = [_after_point(text) for text in short]
    most = max(after)
    return _right(name, [text + " " * (most - places) for text, places in zip(short, after, strict=True)])


def _after_point(text: str) -> int:
    point = text.rfind(".")
    if point < 0:
        point = text.lower().rfind("e")
    return len(text) - point - 1 if point >= 0 else -1

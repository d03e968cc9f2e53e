"""A crystal as a figure that can be turned and zoomed without a network: atoms, bonds and the edges of the cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ingest.errors import BadInput

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from pymatgen.core import Structure

Floats = npt.NDArray[np.float64]
MOST_ATOMS = 4000  # drawn; beyond it turning is no longer smooth
NEAR_FACE = 0.02  # fractional distance within which an atom on a face is drawn on the opposite face too
BOND_FACTOR = 1.15  # of the sum of atomic radii
NO_RADIUS_A = 1.2
PIXELS_PER_A = 15.0
CELL_EDGES = [(a, b) for a, b in product(range(8), repeat=2) if a < b and (a ^ b).bit_count() == 1]


def structure_figure(structure: Structure, scaling: tuple[int, int, int] = (1, 1, 1), *, bonds: bool = True) -> Figure:
    """Return the figure of `scaling` cells; atoms on faces of the block are completed.

    Raises:
        BadInput: that would be more than 4,000 atoms.
    """
    import plotly.graph_objects as go

    if len(structure) * int(np.prod(scaling)) > MOST_ATOMS:
        raise BadInput(
            f"{len(structure) * int(np.prod(scaling)):,} atoms are too many to turn", hint="Draw fewer cells"
        )
    symbols, places = atoms(structure, scaling)
    figure = go.Figure()
    figure.add_trace(_lines(list(_edges(structure, scaling)), "#8a97a5", 2))
    if bonds:
        figure.add_trace(_lines(list(find_bonds(symbols, places)), "#9aa6b2", 5))
    for element in sorted(set(symbols)):
        chosen = places[[symbol == element for symbol in symbols]]
        figure.add_trace(
            go.Scatter3d(
                x=chosen[:, 0],
                y=chosen[:, 1],
                z=chosen[:, 2],
                mode="markers",
                name=element,
                marker={"size": _size(element, len(symbols)), "color": colour(element), "opacity": 1.0}
                | {"line": {"width": 1, "color": "#4a5560"}},
                hovertemplate=f"{element}<br>%{{x:.3f}}, %{{y:.3f}}, %{{z:.3f}} Å<extra></extra>",
            )
        )
    hidden = {"visible": False}
    figure.update_layout(
        height=440,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "data", "dragmode": "orbit"}
        | {"camera": {"eye": {"x": 1.3, "y": 1.04, "z": 0.55}}},
        legend={"itemsizing": "constant", "orientation": "h", "y": 0, "x": 0, "font": {"color": "#7c8894"}},
        paper_bgcolor="rgba(0,0,0,0)",
    )
    return figure


def atoms(structure: Structure, scaling: tuple[int, int, int]) -> tuple[list[str], Floats]:
    """Return symbols and Cartesian places (Å) of all atoms of the block, those on its faces on both sides."""
    symbols: list[str] = []
    fractions: list[tuple[float, ...]] = []
    for site in structure:
        symbol = max(site.species.items(), key=lambda pair: pair[1])[0].symbol
        inside = np.mod(np.round(site.frac_coords, 6), 1.0)
        for place in _images(inside, scaling):
            symbols.append(symbol)
            fractions.append(place)
    return symbols, np.array(fractions) @ np.array(structure.lattice.matrix)


def _images(inside: Floats, scaling: tuple[int, int, int]) -> Iterator[tuple[float, ...]]:
    axes = []
    for value, count in zip(inside.tolist(), scaling, strict=True):
        along = [value + cell for cell in range(count)]
        along += [float(count) + value] if value < NEAR_FACE else []
        along += [value - 1.0] if value > 1.0 - NEAR_FACE else []
        axes.append(along)
    yield from product(*axes)


def find_bonds(symbols: list[str], places: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield the ends of every pair of atoms that stand close enough to be bonded; metals among metals count too."""
    from scipy.spatial import cKDTree

    radii = np.array([radius(symbol) for symbol in symbols])
    reach = 2 * float(radii.max()) * BOND_FACTOR
    for first, second in sorted(cKDTree(places).query_pairs(reach)):
        apart = float(np.linalg.norm(places[first] - places[second]))
        unlike = symbols[first] != symbols[second] or len(set(symbols)) == 1
        if unlike and apart <= BOND_FACTOR * (radii[first] + radii[second]):
            yield places[first], places[second]


def _edges(structure: Structure, scaling: tuple[int, int, int]) -> Iterator[tuple[Floats, Floats]]:
    matrix = np.array(structure.lattice.matrix)
    corners = np.array(list(product((0, 1), repeat=3)), dtype=float)
    for cell in product(*(range(count) for count in scaling)):
        points = (corners + np.array(cell)) @ matrix
        for first, second in CELL_EDGES:
            yield points[first], points[second]


def _lines(pairs: list[tuple[Floats, Floats]], shade: str, width: int) -> Any:
    import plotly.graph_objects as go

    flat: defaultdict[str, list[float | None]] = defaultdict(list)
    for first, second in pairs:
        for axis, name in enumerate("xyz"):
            flat[name] += [float(first[axis]), float(second[axis]), None]
    return go.Scatter3d(**flat, mode="lines", line={"color": shade, "width": width}, hoverinfo="skip", showlegend=False)


def _size(symbol: str, count: int) -> float:
    return PIXELS_PER_A * radius(symbol) * (1.0 if count < 60 else 0.7 if count < 300 else 0.4)


@cache
def radius(symbol: str) -> float:
    """Return the atomic radius in Å (pymatgen's table)."""
    from pymatgen.core import Element

    found = Element(symbol).atomic_radius
    return float(found) if found else NO_RADIUS_A


@cache
def colour(symbol: str) -> str:
    """Return Jmol's colour of an element, as pymatgen has it."""
    red, green, blue = _colours().get(symbol, (160, 160, 160))
    return f"rgb({red},{green},{blue})"


@cache
def _colours() -> dict[str, list[int]]:
    from pathlib import Path

    import pymatgen.vis
    from ruamel.yaml import YAML

    path = Path(next(iter(pymatgen.vis.__path__))) / "ElementColorSchemes.yaml"
    scheme: dict[str, list[int]] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["Jmol"]
    return scheme

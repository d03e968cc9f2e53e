"""What computations on a structure share: the shape of a result, bounds, and pymatgen's complaints as reasons."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMMETRY_TOLERANCE_A = 0.1  # the Materials Project's choice for its published space groups
MOST_SITES = 2_000  # beyond it neighbours, patterns and comparisons take minutes
MOST_SUPERCELL_SITES = 10_000
MOST_ROWS = 40  # sites or peaks that are listed


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one task: `data` for programs, `lines` for people and models."""

    data: dict[str, Any]
    lines: tuple[str, ...]


@contextmanager
def quietly(problem: str) -> Iterator[None]:
    """Silence pymatgen's warnings, and turn what it raises about a structure into a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError, ZeroDivisionError, AttributeError) as error:
            raise BadInput(f"{problem}: {type(error).__name__}: {str(error)[:200]}") from error


def refuse_large(structure: Structure, what: str, *, most: int = MOST_SITES) -> None:
    """Raise BadInput for a structure of more than `most` sites."""
    if len(structure) > most:
        raise BadInput(f"the cell has {len(structure):,} sites; {what} is done for {most:,} at most")


def refuse_disordered(structure: Structure, what: str) -> None:
    """Raise BadInput for a structure with shared or partly empty sites."""
    if not structure.is_ordered:
        raise BadInput(
            f"the structure is disordered, so its {what} are not defined",
            hint="Choose an ordered arrangement of it (pymatgen's OrderDisorderedStructureTransformation)",
        )


def find_analyzer(structure: Structure) -> Any:
    """Return pymatgen's SpacegroupAnalyzer of a structure. Raises BadInput where no symmetry can be found."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    refuse_large(structure, "symmetry", most=MOST_SUPERCELL_SITES)
    with quietly("no symmetry can be found; two atoms may share a place"):
        return SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_A)


def first_rows(lines: list[str]) -> list[str]:
    """Return the lines that are listed, and how many are not."""
    return lines if len(lines) <= MOST_ROWS else [*lines[:MOST_ROWS], f"… and {len(lines) - MOST_ROWS} more"]


def counted(count: float, what: str) -> str:
    """Return "1 site", "8 sites"."""
    return f"{count:g} {what}{'' if count == 1 else 's'}"

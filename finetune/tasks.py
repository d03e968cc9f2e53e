"""What a model can be asked about a crystal: targets with their units, the prompts, and how an answer is read.

Owns the words that training and asking must share. The prompt of the band gap in the style "tutorial" is, to the byte,
the one of the public model `ysuz/Mistral-Nemo-Base-2407-bandgap`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ingest.errors import BadInput
from ingest.materials import Material
from ingest.structure_text import ANSWER, QUESTION, STYLES

_NUMBER = re.compile(r"[-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?", re.ASCII)
_LARGEST = 1e4  # no target has such a value; a model that writes more digits than that has lost its way


@dataclass(frozen=True, slots=True)
class Target:
    """One property: its unit, how it is called in a prompt, how finely it is written, and its least possible value."""

    name: str
    unit: str
    words: str
    decimals: int
    least: float | None
    of: Callable[[Material], float | None]


def _magnetisation_per_volume(material: Material) -> float | None:
    if material.magnetisation_ub is None or not material.volume_a3:
        return None
    return material.magnetisation_ub / material.volume_a3


TARGETS = {
    target.name: target
    for target in (
        Target("band_gap", "eV", "bandgap", 2, 0.0, lambda material: material.band_gap_ev),
        Target("energy_per_atom", "eV/atom", "energy per atom", 3, None, lambda material: material.energy_ev_per_atom),
        Target(
            "formation_energy_per_atom",
            "eV/atom",
            "formation energy per atom",
            3,
            None,
            lambda material: material.formation_energy_ev_per_atom,
        ),
        Target(
            "energy_above_hull",
            "eV/atom",
            "energy above hull",
            3,
            0.0,
            lambda material: material.e_above_hull_ev_per_atom,
        ),
        Target(
            "total_magnetization_normalized_vol",
            "μB/Å³",
            "total magnetization normalized by volume",
            4,
            None,
            _magnetisation_per_volume,
        ),
    )
}


class NotANumber(BadInput):
    """A model wrote something that is not a value of its target."""

    hint = "Ask a model that was trained on this target, with the text style it was trained on"


def find_target(name: str) -> Target:
    """Return the target of that name.

    Raises:
        BadInput: there is none.
    """
    if name not in TARGETS:
        raise BadInput(f"there is no target {name!r}", hint=f"Known are {', '.join(TARGETS)}")
    return TARGETS[name]


def make_prompt(text: str, target: str, style: str) -> str:
    """Return what a model is given; it ends where the number begins.

    Raises:
        BadInput: there is no such target or style.
    """
    asked = find_target(target)
    if style not in STYLES:
        raise BadInput(f"there is no structure text {style!r}", hint=f"Known are {', '.join(STYLES)}")
    if style == "tutorial":
        return f"{QUESTION.replace('bandgap', asked.words)}{text}{ANSWER}"
    return f"{text}\n{asked.words} ({asked.unit}):\n"


def make_completion(value: float, target: str, *, decimals: int | None = None) -> str:
    """Return the number as a model shall write it: rounded, always with the same number of decimals, never "-0.00"."""
    places = find_target(target).decimals if decimals is None else decimals
    return f"{round(value, places) + 0.0:.{places}f}"


def parse_number(text: str, target: str) -> float:
    """Return the value that a model wrote: nothing but one decimal number, with or without its unit.

    Raises:
        NotANumber: it is anything else, or a value that the target cannot have.
    """
    asked = find_target(target)
    bare = text.strip().removesuffix(asked.unit).strip()
    if not _NUMBER.fullmatch(bare):
        shown = text if len(text) <= 60 else text[:57] + "…"
        raise NotANumber(f"the model wrote {shown!r}, which is no number")
    value = float(bare.replace("−", "-"))
    if abs(value) > _LARGEST or (asked.least is not None and value < asked.least):
        raise NotANumber(f"the model wrote {bare!r}, which is no possible {asked.words} in {asked.unit}")
    return value

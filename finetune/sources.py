"""Where the rows of a dataset come from: the library, Materials Project JSON, the tutorial's dumps, band gap records.

Everything becomes a `Material` first (`ingest.materials` reads the formats), then a crystal with its values. What
cannot be used is handed back with its reason.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune.tasks import find_target
from ingest.crystals import Crystal
from ingest.errors import BadInput
from ingest.materials import BadRecord, Material, parse_records
from ingest.materials.files import find_files
from ingest.structure_files import to_crystal
from ingest.structure_text import cell_parameters, reduced_formula

if TYPE_CHECKING:
    from ingest.library import Library


@dataclass(frozen=True, slots=True)
class Source:
    """Files or a library that records are read from; `paths` empty means the library."""

    paths: tuple[Path, ...] = ()
    library: Library | None = None
    allow_pickle: bool = False

    def files(self) -> list[Path]:
        """Return the files, those of folders in alphabetical order.

        Raises:
            BadInput: a path does not exist, is of no known kind, or a folder holds no records.
        """
        return find_files(list(self.paths))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its name, so that a dataset says exactly what it was made of."""
        return {path.name: _digest(path) for path in self.files()}

    def materials(self, report: Callable[[str], None]) -> Iterator[Material]:
        """Yield every record; `report` is told of each that cannot be read.

        Raises:
            BadInput: a file cannot be read at all, or is a pickle and `allow_pickle` is off.
        """
        if not self.paths:
            if self.library is None:
                raise BadInput("there is nothing to read", hint="Name a file of records, or a library with materials")
            yield from self.library.materials()
            return

        def bad(error: BadRecord) -> None:
            report(str(error))

        for path in self.files():
            yield from parse_records(path, on_error=bad, allow_pickle=self.allow_pickle)


@dataclass(frozen=True, slots=True)
class Usable:
    """One record with a crystal and at least one value."""

    id: str
    formula: str  # reduced, in pymatgen's order
    crystal: Crystal = field(repr=False)
    values: dict[str, float]  # by target

    @property
    def nsites(self) -> int:
        """Return the number of atoms in the cell."""
        return len(self.crystal.numbers)

    def content(self) -> bytes:
        """Return a key of the cell: equal for two records that hold the same one, to a thousandth of an ångström."""
        crystal = self.crystal
        text = f"{crystal.numbers.tolist()}{np.round(crystal.lattice, 3).tolist()}{np.round(crystal.frac, 4).tolist()}"
        return hashlib.sha256(text.encode()).digest()[:12]

    def structure(self) -> dict[str, object]:
        """Return the crystal as the fields of a band gap record, which `to_crystal` reads back."""
        from ingest.elements import SYMBOLS

        lengths, angles = cell_parameters(self.crystal)
        return {
            "lattice": [round(number, 6) for number in (*lengths, *angles)],
            "species": [SYMBOLS[number] for number in self.crystal.numbers.tolist()],
            "frac_coords": np.round(self.crystal.frac, 6).tolist(),
        }


def read_usable(
    materials: Iterable[Material], *, targets: Sequence[str], report: Callable[[str], None], max_sites: int = 0
) -> Iterator[Usable]:
    """Yield the records that have an ordered structure and a finite value of a target; `report` hears of the others."""
    wanted = [find_target(name) for name in targets]
    for material in materials:
        try:
            crystal = to_crystal(material)
        except BadInput as error:
            report(f"{material.material_id}: {error}")
            continue
        if max_sites and len(crystal.numbers) > max_sites:
            report(f"{material.material_id}: {len(crystal.numbers)} sites, more than {max_sites}")
            continue
        values = {target.name: value for target in wanted if (value := target.of(material)) is not None}
        missing = [target.name for target in wanted if target.name not in values]
        if missing:
            report(f"{material.material_id}: it has no {', '.join(missing)}")
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for name in values.keys() - finite.keys():
            report(f"{material.material_id}: its {name} is {values[name]}, not a finite number")
        if finite:
            formula = reduced_formula(crystal.numbers.tolist())
            yield Usable(material.material_id, formula, crystal, finite)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

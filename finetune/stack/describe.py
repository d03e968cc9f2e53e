"""What the stacked model needs of a structure: features and sites, or the reason why it cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from finetune.predict import Asked, read_asked
from finetune.stack.features import describe
from finetune.stack.sites import Sites, find_sites
from ingest.crystals import Crystal, Symmetry, quick_symmetry

Floats = npt.NDArray[np.float32]
CHUNK = 64  # structures that one task describes
POOL_FROM = 4 * CHUNK  # fewer are not worth starting processes for
CLOSEST_A = 0.3  # nearer atoms than this are a mistake in the file: H2 has 0.74


@dataclass(frozen=True, slots=True)
class Described:
    """What the model needs of one structure; `error` instead where it cannot be used."""

    name: str
    formula: str
    features: Floats | None = None
    local: Floats | None = None
    sites: Sites | None = None
    error: str = ""


def describe_structures(structures: Sequence[Any]) -> list[Described]:
    """Return what the model needs of each structure, or the reason why it cannot be used."""
    described = [_begin(structure, index) for index, structure in enumerate(structures)]
    good = [index for index, item in enumerate(described) if isinstance(item, _Begun)]
    begun = [item for item in described if isinstance(item, _Begun)]
    if begun:
        sites = [item.sites for item in begun]
        features, local = describe([item.crystal for item in begun], [item.found for item in begun], sites)
        ends = np.cumsum([len(mine.numbers) for mine in sites])
        for place, (index, item) in enumerate(zip(good, begun, strict=True)):
            part = local[ends[place] - len(item.sites.numbers) : ends[place]].astype(np.float32)
            described[index] = Described(
                item.asked.name, item.asked.formula, features[place].astype(np.float32), part, item.sites
            )
    return [item for item in described if isinstance(item, Described)]


class _Begun(NamedTuple):
    asked: Asked
    crystal: Crystal
    found: Symmetry
    sites: Sites


def _begin(structure: Any, index: int) -> Described | _Begun:
    asked = read_asked(structure, index)
    if asked.crystal is None:
        return Described(asked.name, "", error=asked.error)
    found = quick_symmetry(asked.crystal)
    sites = find_sites(asked.crystal, found)
    closest = float(sites.distances.min())
    if closest < CLOSEST_A:
        return Described(asked.name, asked.formula, error=f"two atoms are only {closest:.2f} Å apart")
    return _Begun(asked, asked.crystal, found, sites)


def describe_all(structures: list[Any], *, workers: int) -> Iterator[Described]:
    """Yield what the model needs of each structure, in order, from several processes where there are many (0: all)."""
    count = workers or os.cpu_count() or 1
    chunks = [structures[begin : begin + CHUNK] for begin in range(0, len(structures), CHUNK)]
    if len(structures) < POOL_FROM or count == 1:
        for chunk in chunks:
            yield from describe_structures(chunk)
        return
    with ProcessPoolExecutor(min(count, len(chunks))) as pool:
        for part in pool.map(describe_structures, chunks):
            yield from part


def site_arrays(features: Floats, described: Sequence[Described]) -> Any:
    """Return the usable structures as the network takes them."""
    from finetune.stack.network import Arrays

    sites = [item.sites for item in described if item.sites is not None]
    return Arrays(
        features,
        np.cumsum([0, *(len(mine.numbers) for mine in sites)]),
        np.concatenate([mine.numbers for mine in sites]).astype(np.uint8),
        np.concatenate([mine.weights for mine in sites]).astype(np.float32),
        np.concatenate([mine.neighbours for mine in sites]).astype(np.int16),
        np.concatenate([mine.distances for mine in sites]).astype(np.float32),
        np.concatenate([item.local for item in described if item.local is not None]),
    )

"""Band gaps of crystals from a model on disk: the one that ships with matlit, or one trained here.

`load("shipped")` needs no download. A model is asked with anything that holds a structure and answers each item on its
own: a value with a 90 % interval, or the reason why there is none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from finetune.features import Sites, describe, find_sites
from finetune.trees import Forest, from_tensors
from finetune.trees import predict as predict_forest
from ingest.crystals import Crystal, Symmetry, quick_symmetry
from ingest.errors import BadInput, ModelError
from ingest.structure_files import read_structures, to_crystal
from ingest.structure_text import reduced_formula

Floats = npt.NDArray[np.float32]
SHIPPED = Path(__file__).parent / "shipped"
FORMAT = 1
CHUNK = 64  # structures that one task describes
POOL_FROM = 4 * CHUNK  # fewer are not worth starting processes for
CLOSEST_A = 0.3  # nearer atoms than this are a mistake in the file: H2 has 0.74

# kind in a model's settings.json -> "module:function" that loads its folder
KINDS = {"stack": "finetune.predict:load_stack"}


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. `value` is NaN and `error` says why where there is none; `low` to `high` is a 90 % interval."""

    name: str
    formula: str
    value: float
    low: float
    high: float
    unit: str
    model: str
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the object that `matlit predict --json` prints for it."""
        head: dict[str, Any] = {"file": self.name, "formula": self.formula}
        if self.error:
            return {**head, "value": None, "low": None, "high": None, "unit": self.unit, "error": self.error}
        figures = {key: round(getattr(self, key), 4) for key in ("value", "low", "high")}
        return {**head, **figures, "unit": self.unit, "model": self.model}

    def __str__(self) -> str:
        if self.error:
            return self.error if not self.name or self.name in self.error else f"{self.name}: {self.error}"
        return f"{self.formula}: {self.value:.2f} {self.unit} (90 % interval {self.low:.2f} to {self.high:.2f})"


class Regressor(Protocol):
    """What `load` returns: a model that predicts one property of structures."""

    name: str
    target: str
    unit: str

    def predict(self, structures: Iterable[Any], *, workers: int = 0) -> list[Prediction]:
        """Return one prediction per structure, in order."""
        ...


def load(spec: str | Path = "shipped") -> Regressor:
    """Return the model named "shipped", or the one in a folder.

    Raises:
        ModelError: there is no model, it is of an unknown kind, or from a newer matlit.
    """
    folder = SHIPPED if spec == "shipped" else Path(spec)
    settings = _read_settings(folder)
    kind = str(settings.get("kind", ""))
    if kind not in KINDS:
        raise ModelError(f"the model in {str(folder)!r} is of the unknown kind {kind!r}; known: {', '.join(KINDS)}")
    module, factory = KINDS[kind].split(":")
    model: Regressor = getattr(import_module(module), factory)(folder, settings)
    return model


class BandGapModel:
    """The interface of the README: `BandGapModel.load("shipped").predict(structures)`."""

    load = staticmethod(load)


def predict_files(paths: Iterable[Path], *, model: Regressor, workers: int = 0) -> Iterator[Prediction]:
    """Yield a prediction, or the reason why there is none, for every structure in files and folders."""
    found: list[tuple[str, Any]] = []
    for path in paths:
        try:
            found += [(name, crystal) for name, crystal in read_structures(path)]
        except BadInput as error:
            found.append((str(path), error))
    yield from _named(model, found, workers=workers)


def _named(model: Regressor, found: Sequence[tuple[str, Any]], *, workers: int) -> list[Prediction]:
    answers = model.predict([item for _, item in found], workers=workers)
    return [
        Prediction(name, answer.formula, answer.value, answer.low, answer.high, answer.unit, answer.model, answer.error)
        for (name, _), answer in zip(found, answers, strict=True)
    ]


# --- the stacked model ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Described:
    """What the model needs of one structure; `error` instead where it cannot be used."""

    name: str
    formula: str
    features: Floats | None = None
    local: Floats | None = None
    sites: Sites | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Blend:
    """How the outputs of the parts become one value.

    `weights` maps the name of a part (a forest, or a network's head as in "network3_median") to its share. `odds` does
    the same for the log-odds of a gap ("gapped", "network3_gapped"): where their sum is under `odds_below`, the
    material is taken for a metal and the value is 0; so is a value under `zero_below`.
    """

    weights: dict[str, float]
    zero_below: float
    odds: dict[str, float] = field(default_factory=dict)
    odds_below: float = 0.0

    def value(self, parts: dict[str, Floats]) -> Floats:
        """Return the value of each row, no less than 0."""
        total = _sum(self.weights, parts)
        metal = total < self.zero_below
        if self.odds:
            metal |= _sum(self.odds, parts) < self.odds_below
        return np.where(metal, np.float32(0), np.maximum(total, np.float32(0)))


def _sum(weights: dict[str, float], parts: dict[str, Floats]) -> Floats:
    total: Floats = np.sum([share * parts[name] for name, share in weights.items()], axis=0, dtype=np.float32)
    return total


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What a stacked model predicts, and how its parts are put together.

    The interval is value ± factor × scale, where the scale comes from the forest "scale" on `scale_inputs` and
    `factor` is the conformal one (Lei et al., JASA 113, 1094, 2018).
    """

    name: str
    target: str
    unit: str
    blend: Blend
    factor: float
    floor: float
    features: int
    elements: dict[str, int] = field(default_factory=dict)  # training rows that hold the element


class StackedModel:
    """Boosted trees and graph networks on the same description, their outputs averaged."""

    def __init__(self, settings: StackSettings, forests: dict[str, Forest], networks: dict[str, Any]) -> None:
        self.settings = settings
        self.name = settings.name
        self.target = settings.target
        self.unit = settings.unit
        self._forests = forests
        self._networks = networks

    def predict(self, structures: Iterable[Any], *, workers: int = 0) -> list[Prediction]:
        """Return one prediction per structure: a crystal, path, text, dictionary, record or pymatgen structure.

        `workers` processes describe the structures (0: one per core where there are enough structures to be worth it).
        """
        described = list(_describe_all(list(structures), workers=workers))
        usable = [item for item in described if item.features is not None]
        figures = iter(self.figures(usable).tolist() if usable else ())
        return [self._answer(item, figures) for item in described]

    def figures(self, described: Sequence[Described]) -> Floats:
        """Return (n, 3): value, low and high."""
        features = np.stack([item.features for item in described if item.features is not None])
        parts = self.parts(features, described)
        return combine(self.settings, parts, self._forests["scale"], features)

    def parts(self, features: Floats, described: Sequence[Described]) -> dict[str, Floats]:
        """Return the output of each part by itself."""
        parts = {name: predict_forest(self._forests[name], features) for name in self._forests if name != "scale"}
        if self._networks:
            arrays = _arrays(features, described)
            for name, network in self._networks.items():
                parts |= network_parts(name, network, arrays)
        return parts

    def _answer(self, item: Described, figures: Iterator[list[float]]) -> Prediction:
        if item.error:
            nan = float("nan")
            return Prediction(item.name, item.formula, nan, nan, nan, self.unit, self.name, item.error)
        value, low, high = next(figures)
        return Prediction(item.name, item.formula, value, low, high, self.unit, self.name)


def network_parts(name: str, network: Any, arrays: Any) -> dict[str, Floats]:
    """Return the heads of a network by part name: "network3_median", …"""
    from finetune.network import HEADS
    from finetune.network import predict as predict_network

    outputs = predict_network(network, arrays)
    return {f"{name}_{head}": outputs[:, index] for index, head in enumerate(HEADS)}


def combine(settings: StackSettings, parts: dict[str, Floats], scale: Forest, features: Floats) -> Floats:
    """Return (n, 3): value, low, high from the outputs of the parts."""
    value = settings.blend.value(parts)
    width = np.maximum(predict_forest(scale, scale_inputs(parts, value, features)), settings.floor) * settings.factor
    return np.column_stack([value, np.maximum(value - width, 0.0), value + width])


def scale_inputs(parts: dict[str, Floats], value: Floats, features: Floats) -> Floats:
    """Return what the expected error is judged by: the parts, the value, and the features."""
    return np.column_stack([value, *(parts[name] for name in sorted(parts)), features]).astype(np.float32)


def load_stack(folder: Path, settings: dict[str, Any]) -> StackedModel:
    """Load the stacked model of a folder: settings.json, trees.safetensors, and one file for each of its networks.

    Raises:
        ModelError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        given = dict(settings["stack"])
        stacked = StackSettings(blend=Blend(**given.pop("blend")), **given)
        tensors = load_file(folder / "trees.safetensors")
        networks = {name: _load_network(folder, name, given) for name, given in settings["networks"].items()}
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"the model in {str(folder)!r} is damaged: {error}") from error
    names = sorted({name.split(".")[0] for name in tensors})
    forests = {
        name: from_tensors({key.split(".")[1]: value for key, value in tensors.items() if key.split(".")[0] == name})
        for name in names
    }
    return StackedModel(stacked, forests, networks)


def save_stack(
    folder: Path,
    settings: StackSettings,
    forests: dict[str, Forest],
    networks: dict[str, Any],
    *,
    extra: dict[str, Any],
) -> None:
    """Write a stacked model; settings.json comes last, so that its presence means complete."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").unlink(missing_ok=True)
    tensors = {f"{name}.{key}": value for name, forest in forests.items() for key, value in forest.tensors().items()}
    save_file(tensors, folder / "trees.safetensors")
    for name, network in networks.items():
        # half precision: the network was trained in bfloat16, and the file is half as large
        state = {key: value.numpy().astype(np.float16) for key, value in network.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors")
    described = {name: asdict(network.settings) for name, network in networks.items()}
    document = {"format": FORMAT, "kind": "stack", "stack": asdict(settings), "networks": described, **extra}
    (folder / "settings.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _load_network(folder: Path, name: str, settings: dict[str, Any]) -> Any:
    import torch
    from safetensors.torch import load_file

    from finetune.network import CrystalNetwork, NetworkSettings

    network = CrystalNetwork(NetworkSettings(**settings))
    state = {name: value.to(torch.float32) for name, value in load_file(folder / f"{name}.safetensors").items()}
    network.load_state_dict(state)
    return network.eval()


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "settings.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"there is no model in {str(folder)!r} (no settings.json)", hint='Name a model folder, or "shipped"'
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(settings, dict) or settings.get("format", 0) > FORMAT:
        raise ModelError(f"the model in {str(folder)!r} was made by a newer matlit", hint="pip install -U matlit")
    return settings


# --- describing structures --------------------------------------------------------------------------------------------


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
            formula = reduced_formula(item.crystal.numbers.tolist())
            described[index] = Described(
                item.crystal.name, formula, features[place].astype(np.float32), part, item.sites
            )
    return [item for item in described if isinstance(item, Described)]


class _Begun(NamedTuple):
    crystal: Crystal
    found: Symmetry
    sites: Sites


def _begin(structure: Any, index: int) -> Described | _Begun:
    crystal = _crystal(structure, index)
    if isinstance(crystal, Described):
        return crystal
    found = quick_symmetry(crystal)
    sites = find_sites(crystal, found)
    closest = float(sites.distances.min())
    if closest < CLOSEST_A:
        formula = reduced_formula(crystal.numbers.tolist())
        return Described(crystal.name, formula, error=f"two atoms are only {closest:.2f} Å apart")
    return _Begun(crystal, found, sites)


def _crystal(structure: Any, index: int) -> Crystal | Described:
    if isinstance(structure, BadInput):
        return Described("", "", error=str(structure))
    try:
        return to_crystal(structure)
    except BadInput as error:
        return Described(f"structure {index + 1}", "", error=str(error))


def _describe_all(structures: list[Any], *, workers: int) -> Iterator[Described]:
    count = workers or os.cpu_count() or 1
    chunks = [structures[begin : begin + CHUNK] for begin in range(0, len(structures), CHUNK)]
    if len(structures) < POOL_FROM or count == 1:
        for chunk in chunks:
            yield from describe_structures(chunk)
        return
    with ProcessPoolExecutor(min(count, len(chunks))) as pool:
        for part in pool.map(describe_structures, chunks):
            yield from part


def _arrays(features: Floats, described: Sequence[Described]) -> Any:
    from finetune.network import Arrays

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

"""The stacked model: boosted trees and graph networks on one description of a crystal, their outputs averaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.predict import FORMAT, Prediction
from finetune.stack.describe import Described, describe_all, site_arrays
from finetune.stack.trees import Forest, from_tensors
from finetune.stack.trees import predict as predict_forest
from ingest.elements import SYMBOLS
from ingest.errors import ModelError

Floats = npt.NDArray[np.float32]
RARE = 10  # training rows that must hold an element for the interval to mean something


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
        described = list(describe_all(list(structures), workers=workers))
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
            arrays = site_arrays(features, described)
            for name, network in self._networks.items():
                parts |= network_parts(name, network, arrays)
        return parts

    def _answer(self, item: Described, figures: Iterator[list[float]]) -> Prediction:
        if item.error:
            return Prediction.failed(item.name, item.error, unit=self.unit, model=self.name, formula=item.formula)
        value, low, high = next(figures)
        return Prediction(item.name, item.formula, value, low, high, self.unit, self.name, note=self._note(item))

    def _note(self, item: Described) -> str:
        """Say so where next to no training row holds one of the elements: nothing vouches for the interval then."""
        known = self.settings.elements
        if not known or item.sites is None:
            return ""
        symbols = sorted({SYMBOLS[number] for number in item.sites.numbers.tolist()})
        rare = [symbol for symbol in symbols if known.get(symbol, 0) < RARE]
        return f"hardly any training row holds {', '.join(rare)}: take it for a guess" if rare else ""


def network_parts(name: str, network: Any, arrays: Any) -> dict[str, Floats]:
    """Return the heads of a network by part name: "network3_median", …"""
    from finetune.stack.network import HEADS
    from finetune.stack.network import predict as predict_network

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

    from finetune.stack.network import CrystalNetwork, NetworkSettings

    network = CrystalNetwork(NetworkSettings(**settings))
    state = {name: value.to(torch.float32) for name, value in load_file(folder / f"{name}.safetensors").items()}
    network.load_state_dict(state)
    return network.eval()

"""A small graph network over the symmetry-distinct sites of a crystal, and its training recipe.

Sites exchange gated messages with their nearest atoms (after Xie and Grossman, Phys. Rev. Lett. 120, 145301, 2018, on
the asymmetric unit instead of the whole cell, which leaves the result of an invariant network unchanged and costs a
third); pooled sites meet the feature vector of `finetune.stack.features` before the heads. Imports torch: import this
module inside functions only.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from finetune.stack.sites import LOCAL
from ingest.elements import LAST, column
from ingest.errors import BadInput

Floats = npt.NDArray[np.float32]
RADIAL = 20  # Gaussians over the distance
SCALED = 12  # Gaussians over the distance divided by the sum of atomic radii
HEADS = ("median", "mean", "gapped", "formation_energy")


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Size and training of the network; `epochs` fixes the learning rate's path, so a resumed run keeps it."""

    features: int = 544
    width: int = 96
    layers: int = 3
    neighbours: int = 14
    dropout: float = 0.1
    epochs: int = 24
    batch: int = 128
    rate: float = 2e-3
    weight_decay: float = 0.02
    average: float = 0.998  # decay of the averaged weights that are kept
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Arrays:
    """Sites of many crystals end to end; crystal i owns sites `starts[i]` to `starts[i + 1]`."""

    features: Floats  # (n, f), not yet standardised
    starts: npt.NDArray[np.int64]  # (n + 1,)
    numbers: npt.NDArray[np.uint8]
    weights: Floats
    neighbours: npt.NDArray[np.int16]  # index of the site within its crystal
    distances: Floats
    local: Floats


class Layer(nn.Module):
    """One round of gated messages and a site-wise update, both residual."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mine = nn.Linear(width, 2 * width)
        self.theirs = nn.Linear(width, 2 * width, bias=False)
        self.edge = nn.Linear(RADIAL + SCALED, 2 * width, bias=False)
        self.update = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )  # fmt: skip

    def forward(self, sites: torch.Tensor, neighbours: torch.Tensor, edges: torch.Tensor, reach: torch.Tensor) -> Any:
        """Return the updated sites; `reach` are the weights of the edges, smooth and zero at the farthest."""
        normed = self.norm(sites)
        count, near = neighbours.shape
        theirs = self.theirs(normed).index_select(0, neighbours.reshape(-1)).view(count, near, -1)
        gate, value = (theirs + self.mine(normed)[:, None, :] + self.edge(edges)).chunk(2, dim=-1)
        heard = (torch.sigmoid(gate) * nn.functional.silu(value) * reach[:, :, None]).sum(1)
        return sites + self.update(torch.cat([normed, heard.to(normed.dtype)], dim=-1))


class CrystalNetwork(nn.Module):
    """Sites and features to the four heads of `HEADS`, energies in eV (`gapped` is a logit)."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.width
        self.settings = settings
        for name, size in (("feature", settings.features), ("local", len(LOCAL))):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.element = nn.Embedding(LAST + 1, width)
        self.environment = nn.Sequential(nn.Linear(len(LOCAL), width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(Layer(width, settings.dropout) for _ in range(settings.layers))
        self.pool = nn.Linear(width, width)
        self.vector = nn.Sequential(
            nn.Linear(settings.features, 2 * width), nn.SiLU(), nn.Dropout(settings.dropout),
            nn.Linear(2 * width, width), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width), nn.SiLU(), nn.Dropout(settings.dropout),
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, len(HEADS)),
        )  # fmt: skip

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return (crystals, len(HEADS))."""
        local = _standard(batch["local"], self.local_mean, self.local_scale)
        features = _standard(batch["features"], self.feature_mean, self.feature_scale)
        sites = self.element(batch["numbers"]) + self.environment(local)
        for layer in self.layers:
            sites = layer(sites, batch["neighbours"], batch["edges"], batch["reach"])
        owner, share, count = batch["owner"], batch["weights"][:, None], len(features)
        values = nn.functional.silu(self.pool(sites)).float()
        empty = values.new_zeros(count, values.shape[1])
        mean = empty.index_add(0, owner, values * share)
        square = empty.index_add(0, owner, values * values * share)
        highest = empty.scatter_reduce(0, owner[:, None].expand_as(values), values, "amax", include_self=False)
        spread = torch.sqrt((square - mean * mean).clamp_min(1e-6))
        heads: torch.Tensor = self.head(torch.cat([mean, spread, highest, self.vector(features)], dim=-1))
        return heads.float()


def _standard(values: torch.Tensor, mean: Any, scale: Any) -> torch.Tensor:
    return torch.nan_to_num((values - mean) / scale, nan=0.0).clamp(-8, 8)


def make_batch(arrays: Arrays, chosen: npt.NDArray[np.int64], near: int) -> dict[str, torch.Tensor]:
    """Return the tensors of the chosen crystals: sites end to end, edges (site, nearest) with their radial bases."""
    first, sizes = arrays.starts[chosen], np.diff(arrays.starts)[chosen]
    owner = np.repeat(np.arange(len(chosen)), sizes)
    offsets = np.cumsum(sizes) - sizes
    rows = np.arange(sizes.sum()) - offsets[owner] + first[owner]
    numbers = arrays.numbers[rows].astype(np.int64)
    neighbours = arrays.neighbours[rows, :near].astype(np.int64) + offsets[owner][:, None]
    distances = torch.from_numpy(arrays.distances[rows, :near])
    edge = torch.from_numpy(arrays.distances[rows, -1:])
    radius = column("radius_empirical").astype(np.float32)
    scaled = distances / torch.from_numpy(radius[numbers][:, None] + radius[numbers[neighbours]])
    return {
        "features": torch.from_numpy(arrays.features[chosen]),
        "local": torch.from_numpy(arrays.local[rows]),
        "numbers": torch.from_numpy(numbers),
        "weights": torch.from_numpy(arrays.weights[rows]),
        "neighbours": torch.from_numpy(neighbours),
        "owner": torch.from_numpy(owner),
        "edges": torch.cat([_gaussians(distances, 1.0, 6.5, RADIAL), _gaussians(scaled, 0.7, 2.4, SCALED)], dim=-1),
        "reach": (1 - (distances / edge) ** 2).clamp_min(0.0) ** 2 + 1e-4,
    }


def _gaussians(values: torch.Tensor, low: float, high: float, count: int) -> torch.Tensor:
    centres = torch.linspace(low, high, count)
    width = (high - low) / (count - 1)
    return torch.exp(-(((values[:, :, None] - centres) / width) ** 2))


def predict(network: CrystalNetwork, arrays: Arrays, *, batch: int = 256) -> Floats:
    """Return (crystals, len(HEADS)), computed in batches of crystals of similar size."""
    order = np.argsort(np.diff(arrays.starts), kind="stable")
    outputs = np.zeros((len(order), len(HEADS)), dtype=np.float32)
    network.eval()
    with torch.inference_mode():
        for begin in range(0, len(order), batch):
            chosen = order[begin : begin + batch]
            outputs[chosen] = network(make_batch(arrays, chosen, network.settings.neighbours)).numpy()
    return outputs


# --- training ---------------------------------------------------------------------------------------------------------


def train(
    arrays: Arrays,
    gaps: Floats,
    formation: Floats,
    rows: npt.NDArray[np.int64],
    check: npt.NDArray[np.int64],
    *,
    folder: Path,
    settings: NetworkSettings,
) -> Iterator[dict[str, float]]:
    """Train on `rows`, yielding one line of metrics per epoch; continues from `folder` where a checkpoint lies there.

    `formation` (eV/atom, NaN where unknown) is a second task that shapes the network. The checkpoint is written to a
    temporary name and then renamed, so that a full disk or a kill leaves the previous one.
    """
    torch.manual_seed(settings.seed)
    network = CrystalNetwork(settings)
    _fit_scales(network, arrays, rows)
    averaged = CrystalNetwork(settings)
    averaged.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
    steps = math.ceil(len(rows) / settings.batch)
    done = _restore(folder, network, averaged, optimiser, settings)
    for epoch in range(done, settings.epochs):
        begin = time.perf_counter()
        loss = _epoch(epoch, steps, network, averaged, optimiser, arrays, gaps, formation, rows)
        outputs = predict(averaged, arrays_subset(arrays, check))
        errors = np.abs(np.maximum(outputs[:, 0], 0) - gaps[check])
        metrics = {"epoch": epoch + 1, "loss": loss, "mae": float(errors.mean()), "s": time.perf_counter() - begin}
        _save(folder, epoch + 1, network, averaged, optimiser, settings, metrics)
        yield metrics


def _epoch(
    epoch: int,
    steps: int,
    network: CrystalNetwork,
    averaged: CrystalNetwork,
    optimiser: torch.optim.Optimizer,
    arrays: Arrays,
    gaps: Floats,
    formation: Floats,
    rows: npt.NDArray[np.int64],
) -> float:
    settings = network.settings
    torch.manual_seed(settings.seed * 1000 + epoch)  # order and dropout depend on the epoch alone, so resuming repeats
    order = np.random.default_rng([settings.seed, epoch]).permutation(rows)
    network.train()
    total = 0.0
    for step in range(steps):
        chosen = order[step * settings.batch : (step + 1) * settings.batch]
        rate = _rate((epoch * steps + step) / (settings.epochs * steps), settings.rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = make_batch(arrays, chosen, settings.neighbours)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = network(batch)
        loss = _loss(outputs, torch.from_numpy(gaps[chosen]), torch.from_numpy(formation[chosen]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        _follow(averaged, network, min(settings.average, (1 + epoch * steps + step) / (10 + epoch * steps + step)))
        total += loss.item()
    return total / steps


def _loss(outputs: torch.Tensor, gaps: torch.Tensor, formation: torch.Tensor) -> torch.Tensor:
    median, mean, gapped, energy = outputs.unbind(-1)
    known = torch.isfinite(formation)
    return (
        (median - gaps).abs().mean()
        + 0.5 * nn.functional.huber_loss(mean, gaps, delta=1.5)
        + 0.2 * nn.functional.binary_cross_entropy_with_logits(gapped, (gaps > 0).float())
        + 0.2 * (energy - torch.nan_to_num(formation)).abs().mul(known).mean()
    )


def _rate(progress: float, peak: float) -> float:
    warm = 0.06
    if progress < warm:
        return peak * (0.05 + 0.95 * progress / warm)
    return peak * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm))))


@torch.no_grad()
def _follow(averaged: CrystalNetwork, network: CrystalNetwork, decay: float) -> None:
    for mine, theirs in zip(averaged.parameters(), network.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)


def _fit_scales(network: CrystalNetwork, arrays: Arrays, rows: npt.NDArray[np.int64]) -> None:
    sites = np.concatenate([np.arange(arrays.starts[row], arrays.starts[row + 1]) for row in rows[:20000]])
    for name, values in (("feature", arrays.features[rows]), ("local", arrays.local[sites])):
        mean, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        getattr(network, f"{name}_mean").copy_(torch.from_numpy(np.nan_to_num(mean)))
        getattr(network, f"{name}_scale").copy_(torch.from_numpy(np.where(scale > 1e-6, scale, 1.0)))


def arrays_subset(arrays: Arrays, chosen: npt.NDArray[np.int64]) -> Arrays:
    """Return the crystals at `chosen`, in that order."""
    rows = np.concatenate([np.arange(arrays.starts[row], arrays.starts[row + 1]) for row in chosen])
    starts = np.concatenate([[0], np.cumsum(np.diff(arrays.starts)[chosen])])
    return Arrays(
        arrays.features[chosen],
        starts,
        arrays.numbers[rows],
        arrays.weights[rows],
        arrays.neighbours[rows],
        arrays.distances[rows],
        arrays.local[rows],
    )


def load_checkpoint(folder: Path) -> CrystalNetwork:
    """Return the averaged network of a run's latest checkpoint, ready to predict."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    network = CrystalNetwork(NetworkSettings(**state["settings"]))
    network.load_state_dict(state["averaged"])
    return network.eval()


def _restore(folder: Path, network: Any, averaged: Any, optimiser: Any, settings: NetworkSettings) -> int:
    path = folder / "checkpoint.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    if state["settings"] != asdict(settings):
        raise BadInput(f"the checkpoint in {str(folder)!r} was made with other settings", hint="Choose another folder")
    network.load_state_dict(state["network"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["epoch"])


def _save(
    folder: Path,
    epoch: int,
    network: CrystalNetwork,
    averaged: CrystalNetwork,
    optimiser: torch.optim.Optimizer,
    settings: NetworkSettings,
    metrics: dict[str, float],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "settings": asdict(settings),
        "epoch": epoch,
        "network": network.state_dict(),
        "averaged": averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, folder / "checkpoint.part")
    (folder / "checkpoint.part").replace(folder / "checkpoint.pt")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(metrics) + "\n")

"""One regressor in training: its backbone, its optimizer, its averaged weights, its checkpoints.

Everything random depends on seed and step alone, so that a resumed training repeats exactly what it would have done.
"""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.models import base_digest, default_device, load_model, load_tokenizer
from finetune.recipe import Recipe
from finetune.runs import append_metrics, checkpoint_step, checkpoints, rewind_metrics, seal, update_run

Floats = npt.NDArray[np.float32]
Report = Callable[[str], None]
AVERAGE = 0.998  # decay of the averaged weights, which are the ones that are kept
GROUP = 50  # batches that are sorted by length together
CHECKED = 2000  # validation rows that are scored while training


@dataclass(frozen=True, slots=True)
class Rows:
    """Token ids and targets of some rows; `left_out` were too long."""

    tokens: list[list[int]]
    targets: Floats
    left_out: int

    def take(self, chosen: npt.NDArray[np.int64]) -> Rows:
        """Return the rows at `chosen`."""
        return Rows([self.tokens[index] for index in chosen], self.targets[chosen], 0)


# --- the backbone -----------------------------------------------------------------------------------------------------


class Backbone:
    """Makes fresh copies of the module that is trained, each from the same weights or the same configuration."""

    def __init__(self, recipe: Recipe, texts: Sequence[str]) -> None:
        from finetune.regressor import Shape, backbone_config, backbone_names, learn_tokenizer

        shape = Shape(
            method=recipe.method,
            lora_r=recipe.lora_r,
            lora_alpha=recipe.lora_alpha,
            lora_dropout=recipe.lora_dropout,
            lora_modules=recipe.lora_modules,
            max_tokens=recipe.max_length,
            precision="bf16" if recipe.bf16 else "fp32",
        )
        self.recipe = recipe
        self.digest = ""
        if recipe.base_model in backbone_names():
            self.tokenizer = learn_tokenizer(texts)
            self.config = backbone_config(recipe.base_model, len(self.tokenizer), self.tokenizer.pad_token_id)
            self._pretrained = None
        else:
            self.tokenizer = load_tokenizer(recipe.base_model)
            frozen = "bfloat16" if recipe.bf16 and recipe.method == "lora" else "float32"
            self._pretrained = load_model(recipe.base_model, dtype=frozen).base_model
            self.config = self._pretrained.config
            self.digest = base_digest(self._pretrained)
            if recipe.method == "lora":
                shape = replace(shape, base=recipe.base_model, base_digest=self.digest)
        self.shape = shape

    def module(self, seed: int) -> Any:
        """Return a new module whose new weights depend on the seed alone."""
        import torch
        from transformers import AutoModel

        from finetune.regressor import PooledHead, with_adapter

        torch.manual_seed(seed)
        if self._pretrained is None:
            return PooledHead(AutoModel.from_config(self.config)).to(default_device())
        backbone = copy.deepcopy(self._pretrained)
        return PooledHead(with_adapter(backbone, self.shape) if self.recipe.method == "lora" else backbone).to(
            default_device()
        )


# --- one member -------------------------------------------------------------------------------------------------------


class Member:
    """The training of one module: its optimizer, its averaged weights, its checkpoints."""

    def __init__(
        self,
        number: int,
        backbone: Backbone,
        rows: Rows,
        held: Rows,
        scale: Any,
        recipe: Recipe,
        folder: Path,
        steps: int,
    ) -> None:
        self.number = number
        self.seed = recipe.seed + number
        self.backbone = backbone
        self.rows = rows
        self.held = held
        self.scale = scale
        self.recipe = recipe
        self.folder = folder
        self.steps = steps
        self.first = number * steps  # steps of the members before
        self.at = self.first
        self.file = member_file(folder, number)

    def train(self, deadline: float, report: Report) -> str:
        """Train to the end ("done"), or until the deadline or Ctrl-C ("stopped")."""
        if self.file.is_file():
            return "done"
        self._begin()
        self._restore()
        rewind_metrics(self.folder, self.at)
        report(f"member {self.number}: step {self.at - self.first} of {self.steps}")
        losses: list[float] = []
        begun = time.monotonic()
        try:
            for step, chosen in self._batches(self.at - self.first):
                losses.append(self._step(step, chosen))
                self.at = self.first + step + 1
                if self.at % self.recipe.logging_steps == 0 or step + 1 == self.steps:
                    self._log(losses, time.monotonic() - begun)
                    losses, begun = [], time.monotonic()
                if self.at % self.recipe.eval_steps == 0 or step + 1 == self.steps:
                    report(self._check())
                out_of_time = time.monotonic() > deadline and self.at % self.recipe.logging_steps == 0
                if self.at % self.recipe.save_steps == 0 or out_of_time:
                    self._save()
                if out_of_time and step + 1 < self.steps:
                    return "stopped"
        except KeyboardInterrupt:  # perhaps in the middle of a step, so what counts is the last checkpoint
            self.at = max(map(checkpoint_step, checkpoints(self.folder)), default=self.first)
            return "stopped"
        self._keep()
        return "done"

    def _begin(self) -> None:
        import torch
        from transformers import get_scheduler

        self.module = self.backbone.module(self.seed)
        self.trained = self.module.trained()
        self.averaged = {name: value.detach().clone() for name, value in self.trained.items()}
        self.optimiser = torch.optim.AdamW(
            self.trained.values(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        warm = round(self.recipe.warmup * self.steps)
        self.schedule = get_scheduler(
            self.recipe.schedule, self.optimiser, num_warmup_steps=warm, num_training_steps=self.steps
        )

    def _batches(self, begin: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield (step, rows) from a step on; the rows of a step depend on seed and step alone."""
        lengths = np.array([len(mine) for mine in self.rows.tokens])
        per_epoch = math.ceil(len(lengths) / self.recipe.batch_size)
        plan: list[npt.NDArray[np.int64]] = []
        for step in range(begin, self.steps):
            if not plan or step % per_epoch == 0:
                plan = plan_epoch(lengths, self.recipe.batch_size, seed=self.seed, epoch=step // per_epoch)
            yield step, plan[step % per_epoch]

    def _step(self, step: int, chosen: npt.NDArray[np.int64]) -> float:
        import torch

        from finetune.regressor import autocast, make_batch

        torch.manual_seed(self.seed * 1_000_003 + step)  # dropout
        self.module.train()
        part = self.rows.take(chosen)
        batch = make_batch(part.tokens, pad=self.backbone.tokenizer.pad_token_id, device=default_device())
        with autocast(self.module, self.backbone.shape.precision):
            outputs = self.module(**batch)
        loss = loss_of(outputs, torch.from_numpy(part.targets).to(outputs.device), self.scale)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained.values(), self.recipe.max_grad_norm)
        self.optimiser.step()
        self.schedule.step()
        decay = min(AVERAGE, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self.averaged.items():
                value.lerp_(self.trained[name], 1 - decay)
        return float(loss.item())

    def _log(self, losses: Sequence[float], seconds: float) -> None:
        line = {
            "step": self.at,
            "member": self.number,
            "loss": sum(losses) / len(losses),
            "learning_rate": self.schedule.get_last_lr()[0],
            "seconds_per_step": seconds / len(losses),
        }
        append_metrics(self.folder, line)

    def _check(self) -> str:
        """Score the averaged weights on some validation rows and log it."""
        import torch

        part = self.held.take(np.arange(min(CHECKED, len(self.held.targets))))
        own = {name: value.detach().clone() for name, value in self.trained.items()}
        self.module.restore(self.averaged)
        outputs = self._outputs(part)
        self.module.restore(own)
        error = float(np.abs(self.scale.values(outputs) - part.targets).mean())
        loss = loss_of(torch.from_numpy(outputs), torch.from_numpy(part.targets), self.scale).item()
        append_metrics(self.folder, {"step": self.at, "member": self.number, "eval_loss": loss, "eval_mae": error})
        return f"step {self.at}: mean absolute error {error:.4f} on {len(part.targets)} validation rows"

    def _outputs(self, rows: Rows) -> Floats:
        from finetune.regressor import run_batches

        pad, precision = self.backbone.tokenizer.pad_token_id, self.backbone.shape.precision
        return run_batches(self.module, rows.tokens, pad=pad, precision=precision)

    def _save(self) -> None:
        import torch

        place = self.folder / "checkpoints" / f"checkpoint-{self.at}"
        place.mkdir(parents=True, exist_ok=True)
        state = {
            "trained": {name: value.detach() for name, value in self.trained.items()},
            "averaged": self.averaged,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        torch.save(state, place / "state.pt")
        seal(place)
        update_run(self.folder, step=self.at)
        for old in checkpoints(self.folder)[: -self.recipe.keep]:
            shutil.rmtree(old)

    def _restore(self) -> None:
        import torch

        found = [place for place in checkpoints(self.folder) if self.first < checkpoint_step(place)]
        if not found:
            return
        state = torch.load(found[-1] / "state.pt", weights_only=True, map_location=default_device())
        self.module.restore(state["trained"])
        self.averaged = state["averaged"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.at = checkpoint_step(found[-1])

    def _keep(self) -> None:
        from safetensors.torch import save_file

        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        save_file({name: value.contiguous().cpu() for name, value in self.averaged.items()}, partial)
        partial.replace(self.file)


def member_file(folder: Path, number: int) -> Path:
    """Return where a run keeps the weights of a member that is trained to its end."""
    return folder / "members" / f"member-{number}.safetensors"


def plan_epoch(lengths: npt.NDArray[np.int64], batch: int, *, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each batch of an epoch: shuffled, then texts of similar length together, then shuffled."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    size = GROUP * batch
    groups = [order[begin : begin + size] for begin in range(0, len(order), size)]
    ordered = np.concatenate([group[np.argsort(lengths[group], kind="stable")] for group in groups])
    batches = [ordered[begin : begin + batch] for begin in range(0, len(ordered), batch)]
    return [batches[index] for index in random.permutation(len(batches))]


def loss_of(outputs: Any, targets: Any, scale: Any) -> Any:
    """Return the loss: absolute error in standard deviations, of the guessed error itself, and of zero or not."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    value, odds, spread = outputs.unbind(-1)
    error = (value - (targets - scale.mean) / scale.deviation).abs()
    loss = error.mean() + 0.2 * (spread - error.detach()).abs().mean()
    if scale.has_zeros:
        loss = loss + 0.2 * binary_cross_entropy_with_logits(odds, (targets != 0).float())
    return loss

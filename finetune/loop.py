"""The trainer behind the recipe: trl's, with a loss on the answer's tokens only and an order that survives resuming.

Its callbacks log, seal checkpoints, and stop in time.
"""

from __future__ import annotations

import inspect
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from finetune.models import IGNORED, default_device
from finetune.recipe import Recipe
from finetune.runs import append_metrics, read_metrics, seal, update_run
from ingest.errors import ModelError

Rows = Sequence[dict[str, list[int]]]
LOGGED = ("loss", "eval_loss", "learning_rate", "grad_norm", "epoch")
POOL = 50  # batches that rows of like length are sought in
TAIL = 20  # logged losses that the final loss is the mean of


class EpochOrder(torch.utils.data.Sampler[int]):
    """The order of rows in one epoch, decided by seed and epoch alone, so that a resumed run sees the same batches.

    With `group`, rows of like length share a batch, and the batches come in random order: were short rows (elements,
    mostly metals) to come together, the model would learn one kind after the other.
    """

    def __init__(self, lengths: Sequence[int], batch: int, *, seed: int, group: bool) -> None:
        self.lengths, self.batch, self.seed, self.group, self.epoch = list(lengths), batch, seed, group, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        if not self.group:
            return iter(order)
        pool = POOL * self.batch
        pools = (sorted(order[at : at + pool], key=self.lengths.__getitem__) for at in range(0, len(order), pool))
        batches = [rows[at : at + self.batch] for rows in pools for at in range(0, len(rows), self.batch)]
        short = [batch for batch in batches if len(batch) < self.batch]  # only the last batch may be short
        whole = [batch for batch in batches if len(batch) == self.batch]
        places = torch.randperm(len(whole), generator=generator).tolist()
        return iter([row for batch in [*(whole[place] for place in places), *short] for row in batch])


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]  # trl is not typed
    """trl's trainer, but the vocabulary is only scored where the answer stands: some 6 of 80 tokens."""

    recipe: Recipe
    watch: Watch

    @property
    def total_steps(self) -> int:
        """Return how many steps the whole training has."""
        return self.recipe.steps(len(self.train_dataset), processes=self.args.world_size)

    @property
    def was_stopped(self) -> bool:
        """Return whether it was told to stop before its end."""
        return self.watch.stopped

    def results(self) -> dict[str, Any]:
        """Return the last losses, as the metrics file has them."""
        lines = read_metrics(self.watch.folder)
        losses = [line["loss"] for line in lines if "loss" in line]
        checked = [line["eval_loss"] for line in lines if "eval_loss" in line]
        found = {"loss": sum(losses[-TAIL:]) / len(losses[-TAIL:]), "first_loss": losses[0]}
        return found | ({"eval_loss": checked[-1], "best_eval_loss": min(checked)} if checked else {})

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the cross entropy of the answers' tokens."""
        labels = inputs["labels"]
        begin = int((labels != IGNORED).int().argmax(1).min())  # the first token of the longest answer
        kept = labels.shape[1] - begin + 1  # and the one before it, which predicts it
        given = {name: value for name, value in inputs.items() if name != "labels"}
        if self._takes_kept:
            given["logits_to_keep"] = kept
        outputs = model(**given, use_cache=False)
        logits = outputs.logits[:, -kept:-1].float()
        wanted = labels[:, begin:]
        total = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), wanted.reshape(-1), ignore_index=IGNORED, reduction="sum"
        )
        count = (wanted != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    @property
    def _takes_kept(self) -> bool:
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return "logits_to_keep" in inspect.signature(type(base).forward).parameters

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        rows = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(tokens) for tokens in rows["input_ids"]]
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return EpochOrder(lengths, size, seed=self.recipe.seed, group=self.recipe.group_by_length)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: run.json says what was done."""


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Logs to metrics.jsonl, seals checkpoints, and stops after a time or when asked to."""

    def __init__(self, folder: Path, recipe: Recipe, *, minutes: float) -> None:
        self.folder, self.recipe = folder, recipe
        self.asked = self.stopped = False
        self.ends = time.monotonic() + 60 * minutes if minutes else math.inf

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Keep the losses; a loss that is no number ends the training at once."""
        line = {name: logs[name] for name in LOGGED if logs and name in logs}
        if not state.is_world_process_zero or not ({"loss", "eval_loss"} & line.keys()):
            return
        if not math.isfinite(line.get("loss", 0.0)):
            raise ModelError(
                f"the loss is {line['loss']} at step {state.global_step}: training has run away",
                hint="Begin another run with a smaller --learning-rate",
            )
        append_metrics(self.folder, {"step": state.global_step, **line})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write a checkpoint and stop where it is time, at a step whose loss is logged by itself."""
        due = self.asked or time.monotonic() > self.ends
        if due and state.global_step < state.max_steps and state.global_step % self.recipe.logging_steps == 0:
            control.should_save = control.should_training_stop = self.stopped = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as complete: nothing is written into it after this."""
        if state.is_world_process_zero:
            seal(self.folder / "checkpoints" / f"checkpoint-{state.global_step}")
            update_run(self.folder, step=state.global_step)


def make_trainer(
    model: Any, tokenizer: Any, rows: Rows, validation: Rows, recipe: Recipe, folder: Path, *, minutes: float
) -> AnswerTrainer:
    """Return the trainer of a run, ready to start or to resume."""
    watch = Watch(folder, recipe, minutes=minutes)
    callbacks: list[Any] = [watch]
    if recipe.patience:
        callbacks.append(EarlyStoppingCallback(recipe.patience))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about features of trl that are not used here
        trainer = AnswerTrainer(
            model=model,
            args=make_arguments(recipe, folder, validation=bool(validation)),
            train_dataset=Dataset.from_list(list(rows)),
            eval_dataset=Dataset.from_list(list(validation)) if validation else None,
            processing_class=tokenizer,
            callbacks=callbacks,
        )
    trainer.remove_callback(PrinterCallback)  # stdout is for data
    trainer.recipe, trainer.watch = recipe, watch
    trainer.model_accepts_loss_kwargs = True  # so that accumulated batches are weighted by their tokens
    return trainer


def make_arguments(recipe: Recipe, folder: Path, *, validation: bool) -> SFTConfig:
    """Return trl's arguments for a recipe."""
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,  # below 1 it is a share of the steps
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=2 * recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        gradient_checkpointing=recipe.gradient_checkpointing,
        bf16=bool(recipe.bf16),
        max_length=recipe.max_length,
        dataset_kwargs={"skip_prepare_dataset": True},
        eval_strategy="steps" if validation else "no",
        eval_steps=recipe.eval_steps,
        save_strategy="steps",
        save_steps=recipe.save_steps,
        save_total_limit=recipe.keep,
        load_best_model_at_end=bool(recipe.patience),
        metric_for_best_model="eval_loss" if recipe.patience else None,
        logging_steps=recipe.logging_steps,
        logging_nan_inf_filter=False,
        report_to=["tensorboard"] if find_spec("tensorboard") else [],
        seed=recipe.seed,
        use_cpu=default_device() == "cpu",
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=default_device() == "cuda",
        disable_tqdm=True,
    )


@contextmanager
def stopping_early(trainer: AnswerTrainer, report: Callable[[str], None]) -> Iterator[None]:
    """Turn the first Ctrl-C, or a polite kill, into a checkpoint and a stop; the second Ctrl-C ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if trainer.watch.asked:
            raise KeyboardInterrupt
        trainer.watch.asked = True
        report("writing a checkpoint after this step, then stopping; once more to stop at once")

    before = {one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

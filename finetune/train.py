"""The recipe: adapt a causal language model to write a property after a structure's text.

One readable story on transformers, peft and trl: read the rows, load the base model, put an adapter on it (or none),
train on the answer's tokens only, and leave a run folder (`finetune.runs`) that can be resumed, drawn and loaded.
Settings and presets stand in `finetune.recipe`, the trainer and its callbacks in `finetune.loop`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.dataset import read_card, read_split
from finetune.models import (
    base_digest,
    default_device,
    encode_all,
    has_bf16,
    load_model,
    load_tokenizer,
    quantization,
)
from finetune.recipe import Recipe
from finetune.runs import (
    Run,
    checkpoint_step,
    checkpoints,
    code_revision,
    draw_loss,
    drop_incomplete,
    is_main_process,
    is_run,
    now,
    read_metrics,
    read_run,
    rewind_metrics,
    seal,
    update_run,
    versions,
    write_run,
)
from ingest.errors import BadInput, MatlitError, MissingExtra, ModelError

Report = Callable[[str], None]


class DiskFull(MatlitError):
    """There was no room left to write to; what was complete before is kept."""

    hint = "Make room, then go on from the last checkpoint: matlit finetune train --resume RUN"


def train(dataset: Path, folder: Path, recipe: Recipe, *, report: Report = lambda _: None, minutes: float = 0) -> Run:
    """Train as `recipe` says into a run folder, or go on with what lies there; return the run's last state.

    After `minutes` (0: never), or on Ctrl-C, it writes a checkpoint and stops with the status "interrupted".

    Raises:
        BadInput: the dataset, a setting, or what lies in the folder does not fit.
        ModelError: the base model cannot be loaded.
        MissingExtra: a package is missing.
        DiskFull: a checkpoint could not be written; those before it are whole.
    """
    if recipe.objective == "regress":
        from finetune import regress

        return regress.train(dataset, folder, recipe, report=report, minutes=minutes)
    _check_packages()
    from finetune.loop import make_trainer, stopping_early

    report = report if is_main_process() else lambda _: None

    card = read_card(dataset)
    recipe = recipe.for_machine(default_device(), bf16=has_bf16())
    _check_method(recipe)
    run = open_run(folder, dataset, card, recipe)
    if run.status == "finished":
        report(f"{folder} is finished already, at step {run.step}")
        return run
    with disk_guard(folder):
        # 1. The rows, as tokens of which only the answer's carry loss
        tokenizer = load_tokenizer(recipe.base_model)
        rows, left_out = encode_all(
            read_split(dataset, "train", limit=recipe.limit), tokenizer, max_length=recipe.max_length
        )
        validation = _validation(dataset, card, recipe, tokenizer)
        report(f"{len(rows)} rows to train on ({left_out} too long), {len(validation)} to validate on")

        # 2. The base model, and what is trained of it
        model = adapted(recipe)
        digest = base_digest(model)
        if run.base_digest and run.base_digest != digest:
            raise ModelError(
                f"the run was begun on another base model than {recipe.base_model!r} is now ({run.base_digest}, "
                f"{digest})",
                hint="Name the base model it was begun on, or begin another run",
            )
        report(_size(model))

        # 3. The trainer, and the checkpoint to go on from
        trainer = make_trainer(model, tokenizer, rows, validation, recipe, folder, minutes=minutes)
        found = checkpoints(folder)
        at = checkpoint_step(found[-1]) if found else 0
        rewind_metrics(folder, at)
        run = update_run(folder, status="running", base_digest=digest, step=at, steps=trainer.total_steps, results={})
        report(f"step {at} of {run.steps}: {'resuming' if at else 'starting'}")

        # 4. Training
        with stopping_early(trainer, report):
            trainer.train(resume_from_checkpoint=str(found[-1]) if found else None)

        # 5. What was learnt, and its loss curve
        if trainer.was_stopped:
            run = update_run(folder, status="interrupted", step=trainer.state.global_step)
            report(f"stopped at step {run.step} of {run.steps}; the same command goes on")
            return run
        return _finish(trainer, tokenizer, recipe, folder)


def dry_run(dataset: Path, recipe: Recipe) -> dict[str, Any]:
    """Return what training would do, in seconds: rows, tokens, steps and settings; no weight is loaded.

    Raises:
        BadInput: the dataset or a setting does not fit.
        ModelError: the tokenizer cannot be loaded.
    """
    if recipe.objective == "regress":
        from finetune import regress

        return regress.dry_run(dataset, recipe)
    _check_packages()
    card = read_card(dataset)
    recipe = recipe.for_machine(default_device(), bf16=has_bf16())
    _check_method(recipe)
    tokenizer = load_tokenizer(recipe.base_model)
    train_rows = read_split(dataset, "train", limit=recipe.limit)
    sample = train_rows[:: max(1, len(train_rows) // 500)]
    rows, left_out = encode_all(sample, tokenizer, max_length=recipe.max_length)
    lengths = sorted(len(row["input_ids"]) for row in rows)
    share = len(rows) / len(sample)
    return {
        "rows": round(len(train_rows) * share),
        "too_long_share": round(left_out / len(sample), 4),
        "tokens_median": lengths[len(lengths) // 2],
        "tokens_longest": lengths[-1],
        "tokens_with_loss_mean": round(sum(sum(label >= 0 for label in row["labels"]) for row in rows) / len(rows), 2),
        "steps": recipe.steps(round(len(train_rows) * share)),
        "validation_rows": min(card["rows"]["validation"], recipe.validation_rows),
        "device": default_device(),
        "settings": asdict(recipe),
    }


def adapted(recipe: Recipe) -> Any:
    """Return the base model, with the adapter of the recipe's method on it where it has one.

    Raises:
        ModelError: the model cannot be loaded, or does not take the adapter.
    """
    quantize = "4bit" if recipe.method == "qlora" else ""
    # What is trained stays in float32; frozen weights are halved, on a card all of them, since memory is short there
    halved = bool(recipe.bf16) and recipe.method != "full"
    on_card = default_device() != "cpu"
    dtype = "bfloat16" if halved and on_card else "float32"
    model = load_model(recipe.base_model, dtype=dtype, quantize=quantize)
    if recipe.method == "full":
        return model
    import torch
    from peft import get_peft_model, prepare_model_for_kbit_training

    if quantize:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=recipe.gradient_checkpointing)
    torch.manual_seed(recipe.seed)
    try:
        shaped = get_peft_model(model, recipe.adapter_config(model.config.get_text_config().num_hidden_layers))
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{recipe.base_model!r} does not take {recipe.method}: {str(error).splitlines()[0]}",
            hint="Choose another --method, or other --lora-modules",
        ) from error
    if halved and not on_card:
        _halve_linear(shaped)
    return shaped


def _halve_linear(model: Any) -> None:
    """Keep the frozen weights of linear layers in bfloat16: autocast would cast them again at every step.

    Norms and embeddings stay in float32, and with them an output layer that shares the embeddings' weights.
    """
    import torch

    output = model.get_output_embeddings()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear) and layer is not output and not layer.weight.requires_grad:
            layer.to(torch.bfloat16)


def open_run(folder: Path, dataset: Path, card: dict[str, Any], recipe: Recipe) -> Run:
    """Begin a run folder, or return the run that lies there if it is the same one."""
    given = {"path": str(Path(dataset).resolve()), "hash": card["hash"], "rows": card["rows"]}
    settings = asdict(recipe)
    if is_run(folder) and not _never_began(folder):
        run = read_run(folder)
        changed = [name for name, value in settings.items() if run.settings.get(name, value) != value]
        if run.dataset["hash"] != card["hash"]:
            changed.append("dataset")
        if changed:
            raise BadInput(
                f"the run in {str(folder)!r} was begun with another {', '.join(changed)}",
                hint=f"Go on with it as it was begun: matlit finetune train --resume {folder}, or name another folder",
            )
        drop_incomplete(folder)
        return run
    if folder.exists() and (folder.is_file() or any(folder.iterdir())) and not is_run(folder):
        raise BadInput(f"{str(folder)!r} is taken, and no training run", hint="Name another folder with -o")
    begun = Run(
        objective=recipe.objective,
        method=recipe.method,
        base_model=recipe.base_model,
        targets=tuple(card["targets"]),
        style=card["style"],
        dataset=given,
        settings=settings,
        code_revision=code_revision(),
        versions=versions(),
        machine={"device": default_device(), "bf16": recipe.bf16},
        started=now(),
    )
    return write_run(folder, begun)


def _never_began(folder: Path) -> bool:
    """Return whether a run failed before its first step: nothing is lost if another takes its folder."""
    run = read_run(folder)
    return run.status == "failed" and not read_metrics(folder) and not checkpoints(folder)


def _validation(dataset: Path, card: dict[str, Any], recipe: Recipe, tokenizer: Any) -> list[dict[str, list[int]]]:
    if not card["rows"]["validation"] or not recipe.validation_rows:
        if recipe.patience:
            raise BadInput(
                "early stopping needs validation rows, and there are none",
                hint="Prepare the dataset with --validation, or train with --patience 0",
            )
        return []
    rows = read_split(dataset, "validation", limit=recipe.validation_rows)
    return encode_all(rows, tokenizer, max_length=recipe.max_length)[0]


def _finish(trainer: Any, tokenizer: Any, recipe: Recipe, folder: Path) -> Run:
    if not trainer.is_world_process_zero():
        return read_run(folder)
    name = "model" if recipe.method == "full" else "adapter"
    partial = folder / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    trainer.model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    seal(partial)
    shutil.rmtree(folder / name, ignore_errors=True)
    partial.rename(folder / name)
    draw_loss(folder)
    return update_run(
        folder, status="finished", finished=now(), step=trainer.state.global_step, results=trainer.results()
    )


@contextmanager
def disk_guard(folder: Path) -> Iterator[None]:
    """Say in the run that it failed; turn the many errors of a full disk into one that says what to do."""
    try:
        yield
    except (OSError, RuntimeError, MatlitError, ValueError) as error:
        full = is_disk_full(error, folder)
        if full:
            drop_incomplete(folder)
        _note_failure(folder, error)
        if full:
            raise DiskFull(
                f"the disk of {str(folder)!r} is full: {shutil.disk_usage(folder).free // 2**20} MiB are free",
                hint=f"Make room, then go on from the last checkpoint: matlit finetune train --resume {folder}",
            ) from error
        raise


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Return whether an error of writing came from a full disk: torch and safetensors do not all say so."""
    words = str(error).lower()
    told = "no space left" in words or "os error 28" in words or getattr(error, "errno", None) == 28
    writing = any(word in words for word in ("failed writing", "unexpected pos", "serializ", "write"))
    return told or (writing and shutil.disk_usage(folder).free < 2**20)


def _note_failure(folder: Path, error: BaseException) -> None:
    try:
        update_run(folder, status="failed", results={"error": str(error).splitlines()[0] if str(error) else ""})
    except OSError:
        # no room even for that; run.json then still says "running", which resumes as well
        return


def _size(model: Any) -> str:
    parts = [(value.numel(), value.requires_grad) for value in model.parameters()]
    total, trained = sum(count for count, _ in parts), sum(count for count, learns in parts if learns)
    return f"{total:,} weights, {trained:,} of them trained ({trained / total:.2%})"


def _check_method(recipe: Recipe) -> None:
    """Refuse what this machine cannot do before a folder is begun."""
    if recipe.method != "qlora":
        return
    if default_device() == "cpu":
        # bitsandbytes 0.50 packs the weights anew when a model is evaluated, and then passes no gradients through them
        raise BadInput(
            "qlora needs a graphics card, and there is none here", hint="Without one: --method lora, or a smaller model"
        )
    quantization("4bit")


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("peft", "trl", "accelerate", "datasets") if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"Training ({', '.join(missing)})", extra="finetune")


def resume(folder: Path, *, report: Report = lambda _: None, minutes: float = 0) -> Run:
    """Go on with the run in a folder, as it was begun.

    Raises:
        ModelError: there is no run.
        BadInput: its dataset is gone or was changed.
    """
    run = read_run(folder)
    recipe = Recipe.from_settings(run.settings)
    return train(Path(run.dataset["path"]), folder, recipe, report=report, minutes=minutes)

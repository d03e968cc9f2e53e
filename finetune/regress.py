"""The recipe of a regressor: a transformer that reads a structure's text and answers with a number and an interval.

Any transformers backbone will do: a pretrained one in full or with low-rank adapters, or one of
`finetune/backbones`, trained from scratch with a vocabulary of its own. Settings (`finetune.recipe`), dataset and run
folder are those of `finetune.train`; the module and what becomes of it stand in `finetune.regressor`.

Half of the validation rows choose (where a gap counts as none, whether several seeds are worth their time), the other
half calibrates the interval.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.dataset import read_card, read_split
from finetune.member import Backbone, Member, Rows, member_file
from finetune.models import default_device, has_bf16
from finetune.recipe import Recipe
from finetune.runs import (
    Run,
    draw_loss,
    now,
    read_run,
    seal,
    update_run,
)
from finetune.tasks import Target, find_target
from finetune.train import disk_guard, open_run
from ingest.errors import BadInput

Floats = npt.NDArray[np.float32]
Report = Callable[[str], None]
METHODS = ("full", "lora")
ZEROS_FROM = 0.01  # share of training rows that are exactly zero from which the model is asked whether one is
FEWEST = 40  # validation rows without which no interval can be calibrated


def train(dataset: Path, folder: Path, recipe: Recipe, *, report: Report = lambda _: None, minutes: float = 0) -> Run:
    """Train a regressor into a run folder, or go on with what lies there; return the run's last state.

    After `minutes` (0: never) it writes a checkpoint and stops with the status "interrupted"; on Ctrl-C it stops at
    once, and the last checkpoint counts.

    Raises:
        BadInput: the dataset, a setting, or what lies in the folder does not fit.
        ModelError: the backbone cannot be loaded.
        DiskFull: a checkpoint could not be written; those before it are whole.
    """
    deadline = time.monotonic() + 60 * minutes if minutes else math.inf
    card = read_card(dataset)
    target = _check(card, recipe)
    recipe = recipe.for_machine(default_device(), bf16=has_bf16())
    run = open_run(folder, dataset, card, recipe)
    if run.status == "finished":
        report(f"{folder} is finished already, at step {run.step}")
        return run
    with disk_guard(folder):
        # 1. The texts as tokens, and what the target looks like
        texts = {name: read_split(dataset, name) for name in ("train", "validation")}
        backbone = Backbone(recipe, [row["text"] for row in texts["train"]])
        rows = _encode(texts["train"][: recipe.limit or None], backbone.tokenizer, recipe)
        order = np.random.default_rng(recipe.seed).permutation(len(texts["validation"]))[: recipe.validation_rows]
        held = _encode([texts["validation"][index] for index in order], backbone.tokenizer, recipe)
        if len(held.targets) < FEWEST:
            raise BadInput(f"{len(held.targets)} validation rows are too few to calibrate an interval on ({FEWEST})")
        scale = _scale(rows.targets, target)
        report(f"{len(rows.targets)} rows to train on ({rows.left_out} too long), {len(held.targets)} to validate on")

        # 2. One member after the other, each with its own seed
        each = recipe.steps(len(rows.targets))
        run = update_run(folder, status="running", steps=each * recipe.members, base_digest=backbone.digest)
        for number in range(recipe.members):
            member = Member(number, backbone, rows, held, scale, recipe, folder, each)
            if member.train(deadline, report) == "stopped":
                run = update_run(folder, status="interrupted", step=member.at)
                report(f"stopped at step {run.step} of {run.steps}; the same command goes on")
                return run

        # 3. What the members make together, its interval, and the model's folder
        results = _finish(folder, backbone, held, scale, card, recipe, target)
        draw_loss(folder)
        return update_run(folder, status="finished", finished=now(), step=each * recipe.members, results=results)


def dry_run(dataset: Path, recipe: Recipe) -> dict[str, Any]:
    """Return what training would do, in seconds: rows, tokens, steps and settings; no weight is loaded.

    Raises:
        BadInput: the dataset or a setting does not fit.
        ModelError: the tokenizer cannot be loaded.
    """
    from finetune.models import load_tokenizer
    from finetune.regressor import backbone_names, learn_tokenizer

    card = read_card(dataset)
    _check(card, recipe)
    recipe = recipe.for_machine(default_device(), bf16=has_bf16())
    rows = read_split(dataset, "train", limit=recipe.limit)
    sample = rows[:: max(1, len(rows) // 500)]
    scratch = recipe.base_model in backbone_names()
    tokenizer = learn_tokenizer([row["text"] for row in sample]) if scratch else load_tokenizer(recipe.base_model)
    encoded = _encode(sample, tokenizer, recipe)
    lengths = sorted(map(len, encoded.tokens))
    kept = round(len(rows) * len(lengths) / len(sample))
    return {
        "rows": kept,
        "too_long_share": round(encoded.left_out / len(sample), 4),
        "tokens_median": lengths[len(lengths) // 2],
        "tokens_longest": lengths[-1],
        "steps": recipe.steps(kept) * recipe.members,
        "validation_rows": min(card["rows"]["validation"], recipe.validation_rows),
        "device": default_device(),
        "settings": asdict(recipe),
    }


def _check(card: Mapping[str, Any], recipe: Recipe) -> Target:
    from finetune.regressor import backbone_names

    if recipe.method not in METHODS:
        raise BadInput(f"a regressor is not trained by {recipe.method!r}", hint=f"Known are {', '.join(METHODS)}")
    for name, unused in (("accumulation", 1), ("gradient_checkpointing", False), ("patience", 0)):
        if getattr(recipe, name) != unused:
            raise BadInput(f"a regressor is trained without {name}", hint="Leave it out")
    if recipe.base_model in backbone_names() and recipe.method != "full":
        raise BadInput(f"{recipe.base_model!r} is trained from scratch", hint="Leave --method out, or say full")
    return _only_target(card)


def _only_target(card: Mapping[str, Any]) -> Target:
    if len(card["targets"]) != 1:
        raise BadInput(
            f"the dataset has the targets {', '.join(card['targets'])}, and a regressor learns one",
            hint="Prepare it with one --target",
        )
    return find_target(card["targets"][0])


def _encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, recipe: Recipe) -> Rows:
    from finetune.regressor import tokenize

    tokens = tokenize(tokenizer, [row["text"] for row in rows])
    fits = [index for index, mine in enumerate(tokens) if len(mine) <= recipe.max_length]
    if not fits:
        raise BadInput(f"all {len(rows)} texts are longer than {recipe.max_length} tokens", hint="Raise --max-length")
    targets = np.array([rows[index]["value"] for index in fits], dtype=np.float32)
    return Rows([tokens[index] for index in fits], targets, len(rows) - len(fits))


def _scale(targets: Floats, target: Target) -> Any:
    from finetune.regressor import Scale

    return Scale(
        mean=float(targets.mean()),
        deviation=float(max(targets.std(), 1e-6)),
        least=target.least,
        has_zeros=bool((targets == 0).mean() >= ZEROS_FROM),
    )


# --- what the members make together -----------------------------------------------------------------------------------


def _finish(
    folder: Path,
    backbone: Backbone,
    held: Rows,
    scale: Any,
    card: Mapping[str, Any],
    recipe: Recipe,
    target: Target,
) -> dict[str, Any]:
    """Choose and calibrate on the validation rows, write the model's folder, and return what the run says of it."""
    from safetensors.torch import load_file

    from finetune.regressor import run_batches, save_regressor

    states = [load_file(member_file(folder, number)) for number in range(recipe.members)]
    module = backbone.module(recipe.seed)
    outputs = []
    for state in states:
        module.restore(state)
        pad, precision = backbone.tokenizer.pad_token_id, backbone.shape.precision
        outputs.append(run_batches(module, held.tokens, pad=pad, precision=precision))
    chosen, scale, results = choose(outputs, held.targets, scale)
    partial = folder / "model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    run = read_run(folder)
    save_regressor(
        partial,
        settings={
            "name": folder.resolve().name,
            "target": target.name,
            "unit": target.unit,
            "style": card["style"],
            "training": {"dataset": dict(run.dataset), "settings": dict(run.settings), "validation": results},
        },
        shape=backbone.shape,
        scale=scale,
        tokenizer=backbone.tokenizer,
        backbone_config=backbone.config,
        members=[states[number] for number in chosen],
    )
    seal(partial)
    shutil.rmtree(folder / "model", ignore_errors=True)
    partial.rename(folder / "model")
    return results


def choose(outputs: Sequence[Floats], targets: Floats, scale: Any) -> tuple[list[int], Any, dict[str, Any]]:
    """Return (members to keep, calibrated scale, what was found) from each member's outputs on validation rows.

    Even rows choose, odd rows calibrate. All members are kept, averaged, where that beats the best of them.
    """
    from finetune.intervals import conformal_factor

    even, odd = slice(0, None, 2), slice(1, None, 2)
    candidates = [[number] for number in range(len(outputs))]
    if len(outputs) > 1:
        candidates.append(list(range(len(outputs))))
    scored = []
    for members in candidates:
        mean: Floats = np.mean([outputs[number] for number in members], axis=0, dtype=np.float32)
        fitted = _zero_threshold(mean[even], targets[even], scale)
        scored.append((float(np.abs(fitted.values(mean[even]) - targets[even]).mean()), members, fitted, mean))
    _, members, fitted, mean = min(scored, key=lambda item: item[0])
    expected = fitted.expected_errors(mean[odd])
    wrong = np.abs(fitted.values(mean[odd]) - targets[odd])
    calibrated = replace(fitted, factor=conformal_factor(wrong, expected))
    results = {
        "validation_mae": round(float(wrong.mean()), 4),
        "validation_rows": len(targets),
        "mae_by_members": {"+".join(map(str, mine)): round(mae, 4) for mae, mine, _, _ in scored},
        "members": members,
    }
    return members, calibrated, results


def _zero_threshold(outputs: Floats, targets: Floats, scale: Any) -> Any:
    """Return the scale with the log-odds under which 0 is answered with the least mean absolute error."""
    if not scale.has_zeros:
        return scale
    trials = [replace(scale, odds_below=float(odds)) for odds in (-1e9, *np.linspace(-3, 3, 61))]
    return min(trials, key=lambda trial: float(np.abs(trial.values(outputs) - targets).mean()))

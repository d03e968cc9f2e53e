"""Training: what is learnt, what survives being stopped, and a message for everything that cannot be."""

from __future__ import annotations

import errno
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_dataset, make_model

from finetune.dataset import read_split
from finetune.generate import Generator, load_generator
from finetune.loop import EpochOrder, make_trainer
from finetune.models import (
    base_digest,
    default_device,
    encode,
    encode_all,
    has_bf16,
    load_model,
    load_tokenizer,
    preview,
)
from finetune.recipe import PRESETS, Recipe, make_recipe
from finetune.runs import checkpoints, is_sealed, read_metrics, read_run, seal, trained_folder
from finetune.train import DiskFull, adapted, dry_run, is_disk_full, resume, train
from ingest.errors import BadInput, BadSettings, ModelError
from ui.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "rows")


@pytest.fixture(scope="module")
def taught(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt to write formation energies: something for an adapter to turn to band gaps."""
    folder = tmp_path_factory.mktemp("taught")
    rows = make_dataset(folder / "rows", targets=("formation_energy_per_atom",))
    train(rows, folder / "run", recipe(model, method="full", learning_rate=0.01, max_steps=60, save_steps=60))
    return folder / "run" / "model"


def recipe(model: Path, **changes: Any) -> Recipe:
    given = {
        "base_model": str(model),
        "max_steps": 12,
        "learning_rate": 0.01,
        "warmup": 0.0,
        "batch_size": 4,
        "bf16": False,
        "save_steps": 4,
        "eval_steps": 6,
        "lora_modules": "all-linear",
    }
    return Recipe(**{**given, **changes})


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder) if "loss" in line]


# --- what is learnt ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "rate", "steps", "falls_to"),
    # Prompt tuning moves so few numbers of so small a model that its loss levels off some 3 % lower.
    [("full", 0.005, 30, 0.95), ("lora", 0.02, 30, 0.95), ("prefix", 0.1, 30, 0.95), ("prompt", 1.0, 90, 0.98)],
)
def test_each_method_lowers_the_loss_and_answers_the_same_when_loaded_again(
    method: str, rate: float, steps: int, falls_to: float, taught: Path, rows: Path, tmp_path: Path
) -> None:
    chosen = recipe(taught, method=method, learning_rate=rate, max_steps=steps, save_steps=steps)
    run = train(rows, tmp_path / "run", chosen)
    seen = losses(tmp_path / "run")
    assert run.status == "finished"
    assert sum(seen[-10:]) < falls_to * sum(seen[:10])
    prompts = [row["prompt"] for row in read_split(rows, "test")]
    checkpoint = checkpoints(tmp_path / "run")[-1]  # what was in memory when the last step was done
    again = load_generator(tmp_path / "run", dtype="float32").write(prompts)
    if method == "full":
        kept = load_generator(checkpoint, dtype="float32", style="compact").write(prompts)
    else:
        kept = load_generator(checkpoint, dtype="float32", style="compact", base=str(taught)).write(prompts)
    assert again == kept
    assert again != load_generator(taught, dtype="float32", style="compact").write(prompts)


def test_what_is_saved_is_what_was_trained(model: Path, rows: Path, tmp_path: Path) -> None:
    chosen = recipe(model, learning_rate=0.02)
    tokenizer = load_tokenizer(str(model))
    encoded = encode_all(read_split(rows, "train"), tokenizer, max_length=256)[0]
    begun = train(rows, tmp_path / "run", chosen)
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # transformers would count the second training's as the older ones
    trainer = make_trainer(adapted(chosen), tokenizer, encoded, [], chosen, tmp_path / "run", minutes=0)
    trainer.train()
    prompts = [row["prompt"] for row in read_split(rows, "test")]
    in_memory = Generator(trainer.model, tokenizer, name="x", target="band_gap", style="compact").write(prompts)
    loaded = load_generator(tmp_path / "run", dtype="float32").write(prompts)
    assert [one.text for one in in_memory] == [one.text for one in loaded]
    assert [one.confidence for one in in_memory] == pytest.approx([one.confidence for one in loaded], rel=1e-4)
    assert begun.step == 12


@pytest.mark.parametrize(("modules", "kinds"), [("all-linear", 7), ("q_proj,v_proj", 2)])
def test_adapters_can_stand_in_the_last_layers_only(modules: str, kinds: int, model: Path) -> None:
    shaped = adapted(recipe(model, lora_modules=modules, lora_layers=1))
    trained = [name for name, value in shaped.named_parameters() if value.requires_grad]
    assert len(trained) == 2 * kinds
    assert all(".layers.1." in name for name in trained)


@pytest.mark.skipif(not has_bf16(), reason="this processor does not compute in bfloat16")
def test_halving_the_frozen_weights_changes_no_loss(
    model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = recipe(model, bf16=True, max_steps=4)
    dtypes = {value.dtype for value in adapted(chosen).parameters() if not value.requires_grad}
    assert dtypes == {torch.float32, torch.bfloat16}
    train(rows, tmp_path / "halved", chosen)
    monkeypatch.setattr("finetune.train._halve_linear", lambda _: None)
    train(rows, tmp_path / "whole", chosen)
    assert losses(tmp_path / "halved") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_only_the_answer_carries_loss(model: Path, rows: Path) -> None:
    row = read_split(rows, "train", limit=1)[0]
    tokenizer = load_tokenizer(str(model))
    encoded = encode(row, tokenizer)
    carrying = [label for label in encoded["labels"] if label >= 0]
    assert tokenizer.decode(carrying) == row["completion"] + "</s>"
    assert tokenizer.decode(encoded["input_ids"]) == row["prompt"] + row["completion"] + "</s>"
    shown = preview([row], tokenizer)[0]
    assert "".join(word for word, loss in zip(shown["words"], shown["loss"], strict=True) if loss) == (
        row["completion"] + "</s>"
    )


def test_the_loss_is_that_of_the_whole_logits(model: Path, rows: Path, tmp_path: Path) -> None:
    chosen = recipe(model, method="full")
    tokenizer = load_tokenizer(str(model))
    encoded = encode_all(read_split(rows, "train", limit=4), tokenizer, max_length=256)[0]
    trainer = make_trainer(adapted(chosen), tokenizer, encoded, [], chosen, tmp_path, minutes=0)
    batch = trainer.data_collator(encoded)
    plain = load_model(str(model))
    with torch.no_grad():
        ours = trainer.compute_loss(trainer.model, dict(batch))
        theirs = plain(**batch).loss
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_accumulated_batches_are_one_large_batch(model: Path, rows: Path, tmp_path: Path) -> None:
    train(rows, tmp_path / "large", recipe(model, batch_size=8, max_steps=4))
    train(rows, tmp_path / "small", recipe(model, batch_size=2, accumulation=4, max_steps=4))
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "large"), rel=1e-3)


# --- what survives ----------------------------------------------------------------------------------------------------


def test_interrupted_and_resumed_is_the_same_as_never_stopped(model: Path, rows: Path, tmp_path: Path) -> None:
    chosen = recipe(model, lora_dropout=0.2, max_steps=20, save_steps=5, eval_steps=5)  # 11 batches an epoch
    train(rows, tmp_path / "whole", chosen)
    for expected in (5, 10):  # lost at some later step, twice
        with pytest.raises(RuntimeError, match="power cut"):
            _cut_after(rows, tmp_path / "cut", chosen, expected + 2)
    run = train(rows, tmp_path / "cut", chosen)
    assert run.status == "finished"
    assert read_metrics(tmp_path / "cut") == read_metrics(tmp_path / "whole")
    kept = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("cut", "whole")]
    assert kept[0] == kept[1]


def _cut_after(rows: Path, folder: Path, chosen: Recipe, step: int) -> None:
    import finetune.loop

    before = finetune.loop.Watch.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == step:
            raise RuntimeError("power cut")
        before(self, args, state, control, **more)

    finetune.loop.Watch.on_step_end = cut  # type: ignore[method-assign]
    try:
        train(rows, folder, chosen)
    finally:
        finetune.loop.Watch.on_step_end = before  # type: ignore[method-assign]


def test_time_that_is_up_ends_in_a_checkpoint_and_the_same_command_goes_on(
    model: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--base", str(model), "--max-steps", "3", "--set", "save-steps=2", "--set", "lora-modules=all-linear"]
    command = ["finetune", "train", str(rows), "-o", str(tmp_path / "run"), *flags]
    assert main([*command, "--minutes", "0.00001"]) == 130
    assert read_run(tmp_path / "run").status == "interrupted"
    assert read_run(tmp_path / "run").step == 1
    assert main(command) == 0
    assert read_run(tmp_path / "run").status == "finished"
    assert [line["step"] for line in read_metrics(tmp_path / "run") if "loss" in line] == [1, 2, 3]
    capsys.readouterr()
    assert main(command) == 0
    assert "finished already" in capsys.readouterr().err


def test_a_checkpoint_that_was_not_finished_is_not_gone_on_from(model: Path, rows: Path, tmp_path: Path) -> None:
    chosen = recipe(model, max_steps=8)
    with pytest.raises(RuntimeError, match="power cut"):
        _cut_after(rows, tmp_path / "run", chosen, 6)
    whole = checkpoints(tmp_path / "run")
    assert [path.name for path in whole] == ["checkpoint-4"]
    half = whole[0].with_name("checkpoint-5")
    shutil.copytree(whole[0], half)
    (half / "optimizer.pt").write_bytes(b"cut off")
    assert not is_sealed(half)
    said: list[str] = []
    train(rows, tmp_path / "run", chosen, report=said.append)
    assert "step 4 of 8: resuming" in said
    assert not half.exists()


def test_a_full_disk_leaves_the_checkpoint_before_it_whole(
    model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.save

    def full(content: Any, path: Any, *rest: Any, **more: Any) -> None:
        if "checkpoint-8" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(content, path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(DiskFull, match="is full") as caught:
            train(rows, tmp_path / "run", recipe(model))
    assert "--resume" in caught.value.hint
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-4"]
    assert read_run(tmp_path / "run").status == "failed"
    assert resume(tmp_path / "run").status == "finished"


def test_an_error_of_writing_is_a_full_disk_only_when_it_is_full(tmp_path: Path) -> None:
    assert is_disk_full(OSError(errno.ENOSPC, "x"), tmp_path)
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"), tmp_path)
    assert not is_disk_full(RuntimeError("PytorchStreamWriter failed writing file"), tmp_path)


def test_early_stopping_keeps_the_best_model(model: Path, rows: Path, tmp_path: Path) -> None:
    chosen = recipe(model, method="full", learning_rate=0.5, max_steps=40, save_steps=2, eval_steps=2, patience=2)
    run = train(rows, tmp_path / "run", chosen)
    checked = [line["eval_loss"] for line in read_metrics(tmp_path / "run") if "eval_loss" in line]
    assert run.step < 40
    assert run.results["best_eval_loss"] == min(checked)


def test_a_run_says_what_was_done_with_what(model: Path, rows: Path, tmp_path: Path) -> None:
    train(rows, tmp_path / "run", recipe(model, max_steps=2, save_steps=2))
    run = read_run(tmp_path / "run")
    assert run.objective == "generate"
    assert run.settings["learning_rate"] == 0.01
    assert run.dataset["hash"] == json.loads((rows / "card.json").read_text())["hash"]
    assert {"torch", "peft", "trl", "transformers"} <= run.versions.keys()
    assert (tmp_path / "run" / "loss.png").stat().st_size > 1000
    assert (tmp_path / "run" / "loss.svg").read_text().lstrip().startswith("<?xml")
    assert is_sealed(trained_folder(tmp_path / "run"))


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_folder_with_another_run_or_other_files_is_not_touched(model: Path, rows: Path, tmp_path: Path) -> None:
    train(rows, tmp_path / "run", recipe(model, max_steps=2, save_steps=2))
    with pytest.raises(BadInput, match="begun with another learning_rate"):
        train(rows, tmp_path / "run", recipe(model, max_steps=2, save_steps=2, learning_rate=0.02))
    with pytest.raises(BadInput, match="taken, and no training run"):
        train(rows, rows, recipe(model))


def test_a_base_model_that_changed_since_is_noticed(rows: Path, tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", seed=1)
    chosen = recipe(base, max_steps=6, save_steps=2)
    with pytest.raises(RuntimeError, match="power cut"):
        _cut_after(rows, tmp_path / "run", chosen, 3)
    make_model(tmp_path / "base", seed=2)
    with pytest.raises(ModelError, match="begun on another base model"):
        train(rows, tmp_path / "run", chosen)


def test_an_adapter_of_another_base_model_is_refused(model: Path, rows: Path, tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", seed=1)
    train(rows, tmp_path / "run", recipe(base, max_steps=2, save_steps=2))
    make_model(tmp_path / "base", seed=2)
    with pytest.raises(ModelError, match="trained on another base model"):
        load_generator(tmp_path / "run")
    wider = make_model(tmp_path / "wider", hidden=64)
    with pytest.raises(ModelError, match="belongs to another base model"):
        load_generator(tmp_path / "run" / "adapter", base=str(wider))


def test_the_digest_of_a_base_model_knows_its_weights_not_its_precision(model: Path, tmp_path: Path) -> None:
    same = base_digest(load_model(str(model)))
    assert same == base_digest(load_model(str(model), dtype="bfloat16"))
    assert same == base_digest(adapted(recipe(model)))
    assert same != base_digest(load_model(str(make_model(tmp_path / "other", seed=5))))


def test_a_loss_that_is_no_number_ends_the_training(model: Path, rows: Path, tmp_path: Path) -> None:
    broken = load_model(str(model))
    with torch.no_grad():
        broken.lm_head.weight.fill_(math.inf)
    broken.save_pretrained(tmp_path / "broken")
    load_tokenizer(str(model)).save_pretrained(tmp_path / "broken")
    with pytest.raises(ModelError, match="the loss is nan at step 1"):
        train(rows, tmp_path / "run", recipe(tmp_path / "broken"))
    assert read_run(tmp_path / "run").status == "failed"


def test_rows_that_are_all_too_long_are_refused_with_their_length(model: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="longer than 20 tokens"):
        train(rows, tmp_path / "run", recipe(model, max_length=20))


def test_qlora_without_a_graphics_card_is_refused(model: Path, rows: Path, tmp_path: Path) -> None:
    if default_device() != "cpu":
        pytest.skip("there is a graphics card here")
    with pytest.raises(BadInput, match="needs a graphics card"):
        train(rows, tmp_path / "run", recipe(model, method="qlora"))
    assert not (tmp_path / "run").exists()


def test_qlora_learns_what_lora_learns_from_the_same_weights_put_back(tmp_path: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    base = make_model(tmp_path / "wide", hidden=64)  # four bits come in blocks of 64 weights
    packed = adapted(recipe(base, method="qlora"))
    whole = adapted(recipe(base, method="lora"))
    kept = dict(whole.named_modules())
    with torch.no_grad():
        for name, layer in packed.named_modules():
            if isinstance(layer, bitsandbytes.nn.Linear4bit):
                weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
                kept[name].weight.copy_(weight.float())
    words = torch.arange(5, 45).reshape(1, -1)
    for one in (packed, whole):
        torch.manual_seed(0)  # of the dropout
        one(input_ids=words, labels=words).loss.backward()
    gradients = {name: value.grad for name, value in packed.named_parameters() if value.grad is not None}
    wanted = {name: value.grad for name, value in whole.named_parameters() if value.grad is not None}
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        if wanted[name].any():  # before the first step only one of the two factors has a gradient
            assert torch.cosine_similarity(gradient.flatten(), wanted[name].flatten(), dim=0) > 0.99, name


def test_a_model_that_is_not_there_is_named(model: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the model '.*nowhere' cannot be loaded"):
        train(rows, tmp_path / "run", recipe(tmp_path / "nowhere"))
    # nothing was trained, so that the folder is free for the model that was meant
    assert train(rows, tmp_path / "run", recipe(model, max_steps=1, save_steps=1)).status == "finished"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "no method 'magic'"),
        ({"save_steps": 25, "logging_steps": 10}, "no multiple of logging_steps"),
        ({"patience": 2, "save_steps": 50, "eval_steps": 25}, "early stopping needs"),
        ({"keep": 1}, "keep is 1, below 2"),
        ({"gradient_checkpointing": True, "method": "prefix"}, "prefix tuning keeps"),
        ({"learning_rate": 0}, "learning rate 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(Recipe(), **changes)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_a_yaml_file_changes_a_preset_and_flags_change_that(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("learning_rate: 1e-4\nbatch_size: 2\n", encoding="utf-8")
    made = make_recipe("gpu-7b", path, {"batch_size": 3, "epochs": None})
    assert (made.learning_rate, made.batch_size, made.method) == (1e-4, 3, "qlora")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", "no training setting 'learning_rat'"),
        ("batch_size: many", "batch_size is 'many', not a number"),
        ("- 1", "holds no settings"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_yaml_file_that_cannot_be_used_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((BadInput, BadSettings), match=message):
        make_recipe("small", path)


def test_the_tutorials_preset_is_what_the_tutorial_trained_with() -> None:
    preset = PRESETS["tutorial"]
    assert (preset.base_model, preset.method) == ("mistralai/Mistral-Nemo-Base-2407", "full")
    assert (preset.learning_rate, preset.batch_size, preset.epochs, preset.max_length) == (1e-5, 1, 1, 2048)


def test_a_dry_run_says_rows_steps_and_lengths(model: Path, rows: Path) -> None:
    plan = dry_run(rows, recipe(model, max_steps=0, epochs=2))
    assert plan["rows"] == 44
    assert plan["steps"] == 22
    assert plan["tokens_with_loss_mean"] == 5.0
    assert plan["tokens_longest"] > plan["tokens_median"] > 50


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_only() -> None:
    lengths = [index * 7 % 50 for index in range(40)]
    first, again = EpochOrder(lengths, 8, seed=1, group=True), EpochOrder(lengths, 8, seed=1, group=True)
    assert list(first) == list(again)
    batches = [[lengths[row] for row in list(first)[at : at + 8]] for at in range(0, 40, 8)]
    assert all(max(batch) - min(batch) <= 15 for batch in batches)  # of 0 to 49
    assert [max(batch) for batch in batches] != sorted(max(batch) for batch in batches)
    again.set_epoch(1)
    assert list(first) != list(again)
    assert sorted(again) == list(range(40))


def test_a_seal_is_broken_by_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"12")
    seal(tmp_path)
    assert is_sealed(tmp_path)
    (tmp_path / "weights").unlink()
    assert not is_sealed(tmp_path)

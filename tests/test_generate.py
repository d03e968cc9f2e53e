"""Models that write their answer: batches, strict reading, other people's models, and merging."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny import make_dataset, make_model, record

from finetune.dataset import read_split
from finetune.generate import Generator, Written, load_generator
from finetune.merge import compare, merge
from finetune.models import has_bf16, load_model, load_tokenizer, quantization, resolve
from finetune.predict import load
from finetune.recipe import Recipe
from finetune.runs import read_run
from finetune.train import train
from ingest.errors import BadInput, ModelError
from ui.cli import main


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "rows")


@pytest.fixture(scope="module")
def run(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model has learnt to write numbers: LoRA on all of a tiny model that was trained before."""
    folder = tmp_path_factory.mktemp("run")
    model = make_model(folder / "tiny")
    common: dict[str, Any] = {
        "batch_size": 4,
        "bf16": False,
        "validation_rows": 0,
        "warmup": 0.0,
        "learning_rate": 0.01,
    }
    train(rows, folder / "full", Recipe(base_model=str(model), method="full", max_steps=80, save_steps=80, **common))
    base = str(folder / "full" / "model")
    train(rows, folder / "lora", Recipe(base_model=base, max_steps=10, save_steps=10, **common))
    return folder / "lora"


def prompts(rows: Path) -> list[str]:
    return [row["prompt"] for row in read_split(rows, "test")]


class Says(Generator):
    """A generator whose model is replaced by fixed texts: what is read, not what is written, is tested with it."""

    def __init__(self, folder: Path, texts: list[str]) -> None:
        super().__init__(
            load_model(str(folder)), load_tokenizer(str(folder)), name="says", target="band_gap", style="compact"
        )
        self.texts = texts

    def write(self, prompts: Any) -> list[Written]:
        ends = self.tokenizer.eos_token_id
        made = [[*self.tokenizer(text)["input_ids"], ends] if text != "…" else [5] * 24 for text in self.texts]
        return [self._read(tokens, [-0.1] * len(tokens)) for tokens in made]


def test_a_batch_answers_as_one_at_a_time(run: Path, rows: Path) -> None:
    model = load_generator(run, dtype="float32")
    together = model.write(prompts(rows))
    alone = [model.write([prompt])[0] for prompt in prompts(rows)]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.confidence for one in together] == pytest.approx([one.confidence for one in alone], rel=1e-3)


def test_the_output_layer_is_given_no_slice_of_memory(run: Path, rows: Path) -> None:
    model, seen = load_generator(run, dtype="float32"), []
    output = model.model.get_output_embeddings()
    output.register_forward_pre_hook(lambda _, given: seen.append(given[0].is_contiguous()))
    model.write(prompts(rows)[:3])
    assert seen
    assert all(seen)


def test_a_trained_model_predicts_structures_through_the_common_interface(run: Path) -> None:
    predictor = load(run, target="band_gap")
    answers = predictor.predict([record(1), record(2), "nowhere.cif"], workers=1)
    assert [answer.formula for answer in answers] == ["NaCl", "KBr", ""]
    good = [answer for answer in answers if not answer.error]
    assert good
    assert all(answer.value >= 0 and 0 < (answer.confidence or 0) <= 1 and math.isnan(answer.low) for answer in good)
    assert "there is no file 'nowhere.cif'" in answers[2].error


def test_what_is_no_number_is_invalid_and_says_what_was_written(run: Path) -> None:
    model = Says(run.parent / "tiny", ["1.25", "about 2", "-1.00", "", "…"])
    answers = model.predict([record(index) for index in range(5)], workers=1)
    assert [answer.value for answer in answers[:1]] == [1.25]
    assert all(math.isnan(answer.value) for answer in answers[1:])
    assert "wrote 'about 2', which is no number" in answers[1].error
    assert "no possible bandgap" in answers[2].error
    assert "wrote ''" in answers[3].error
    assert "did not end" in answers[4].error


def test_the_confidence_is_the_probability_of_the_text_and_its_end(run: Path) -> None:
    answer = Says(run.parent / "tiny", ["1.25"]).write(["x"])[0]
    assert answer.confidence == pytest.approx(math.exp(-0.1 * 5))


def test_a_prompt_that_the_model_cannot_read_is_invalid_and_the_others_are_answered(run: Path) -> None:
    model = load_generator(run, dtype="float32")
    answers = model.write(["x" * 600, "NaCl\nbandgap (eV):\n"])
    assert answers[0].error == "the prompt has 600 tokens, and the model reads 488"
    assert answers[1].text


def test_a_target_that_a_run_does_not_know_is_refused(run: Path) -> None:
    with pytest.raises(ModelError, match="trained on band_gap, not on energy_per_atom"):
        load_generator(run, target="energy_per_atom")


def test_a_run_that_is_not_finished_says_how_to_go_on(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"interrupted"'))
    with pytest.raises(ModelError, match="has no trained model yet") as caught:
        load_generator(tmp_path)
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_the_tutorials_published_model_is_used_as_it_is(dtype: str, tmp_path: Path) -> None:
    """Its architecture with random weights: the weights themselves (24 GB) are not here."""
    published = make_model(tmp_path / "Mistral-Nemo-Base-2407-bandgap", kind="mistral")
    model = load(str(published)) if dtype == "float16" else load_generator(published, dtype=dtype)
    assert (model.target, model.unit, model.name) == ("band_gap", "eV", "Mistral-Nemo-Base-2407-bandgap")
    answers = model.predict([record(1), record(2)], workers=1)
    assert all(answer.error for answer in answers)  # random weights write no numbers, and that is said
    assert model.style == "tutorial"  # type: ignore[attr-defined]


def test_a_run_answers_with_weights_of_eight_bits(run: Path) -> None:
    pytest.importorskip("bitsandbytes")
    assert load_generator(run, quantize="8bit").predict([record(1)], workers=1)[0].error == ""
    with pytest.raises(BadInput, match="there are no '3bit' weights"):
        quantization("3bit")


def test_merged_and_adapter_agree(run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "merge", str(run), "-o", str(tmp_path / "merged"), "--rows", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["same"]) == (8, 8)
    assert found["confidence_difference"] < 1e-3
    merged = load(tmp_path / "merged")
    assert merged.style == read_run(run).style  # type: ignore[attr-defined]
    adapter = load_generator(run, dtype="float32").write(prompts(rows))
    again = load_generator(tmp_path / "merged", dtype="float32").write(prompts(rows))
    assert [one.text for one in again] == [one.text for one in adapter]


def test_a_merge_that_changes_the_answers_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import LoraModel

    def wrong(self: Any, **_: Any) -> Any:
        import torch

        with torch.no_grad():
            self.model.lm_head.weight.neg_()
        return self.unload()

    monkeypatch.setattr(LoraModel, "merge_and_unload", wrong)
    with pytest.raises(ModelError, match="answers otherwise on"):
        merge(run, tmp_path / "merged", rows=5)
    assert not (tmp_path / "merged").exists()
    assert not (tmp_path / "merged.partial").exists()


def test_only_lora_can_be_merged(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'full' has nothing to merge"):
        merge(run.parent / "full", tmp_path / "merged")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(BadInput, match="is not empty"):
        merge(run, tmp_path / "taken")


def test_agreement_counts_texts_and_differences() -> None:
    before = [Written("1.0", 1.0, 0.9), Written("x", math.nan, 0.5, "no number")]
    after = [Written("1.5", 1.5, 0.8), Written("x", math.nan, 0.5, "no number")]
    found = compare(before, after)
    assert (found.rows, found.same, found.largest_difference) == (2, 1, 0.5)
    assert found.confidence_difference == pytest.approx(0.1)


def test_smollm2_is_the_installed_package_or_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    import finetune.models

    monkeypatch.setattr(finetune.models, "find_spec", lambda name: None)
    assert resolve("smollm2") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert isinstance(has_bf16("cpu"), bool)


def test_a_damaged_model_folder_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_generator(tmp_path)

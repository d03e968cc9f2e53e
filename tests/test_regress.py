"""The text regressor: learning, resuming, full disks, adapters, what it refuses, and what a reload predicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from click.testing import CliRunner  # noqa: E402

from finetune import regress, regressor  # noqa: E402
from finetune.dataset import Choices, prepare, read_split  # noqa: E402
from finetune.evaluate import evaluate_run  # noqa: E402
from finetune.intervals import conformal_factor  # noqa: E402
from finetune.member import member_file, plan_epoch  # noqa: E402
from finetune.predict import load, predict_files  # noqa: E402
from finetune.recipe import Recipe, make_recipe  # noqa: E402
from finetune.regressor import Scale, learn_tokenizer  # noqa: E402
from finetune.runs import checkpoints, read_metrics, read_run, write_whole  # noqa: E402
from finetune.sources import Source  # noqa: E402
from finetune.train import DiskFull  # noqa: E402
from ingest.errors import BadInput, ModelError  # noqa: E402
from ui.cli import matlit  # noqa: E402

CATIONS = ("Li", "Na", "K", "Rb", "Cs", "Ag", "Cu", "Tl", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Fe", "Ni")
ANIONS = ("F", "Cl", "Br", "I", "O", "S", "Se", "Au", "Pd", "N")
TINY = {
    "model_type": "modernbert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 256,
    "global_attn_every_n_layers": 1,
    "local_attention": 256,
}


def record(index: int) -> dict[str, Any]:
    """Return a rock salt whose gap depends on its anion and a little on its cation; gold and palladium make metals."""
    anion, cation = index % len(ANIONS), index // len(ANIONS) % len(CATIONS)
    side = 3.6 + 0.3 * (index // (len(ANIONS) * len(CATIONS)))
    metal = ANIONS[anion] in ("Au", "Pd")
    return {
        "material_id": f"x-{index}",
        "formula": CATIONS[cation] + ANIONS[anion],
        "band_gap": 0.0 if metal else round(6.0 - 0.6 * anion - 0.05 * cation, 3),
        "lattice": [side, side, side, 60.0, 60.0, 60.0],
        "species": [CATIONS[cation], ANIONS[anion]],
        "frac_coords": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
    }


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    source = folder / "records.jsonl"
    source.write_text("".join(json.dumps(record(index)) + "\n" for index in range(480)), encoding="utf-8")
    prepare(Source((source,)), folder / "rows", Choices(style="compact", validation=80, test=40), workers=1)
    return folder / "rows"


@pytest.fixture(autouse=True)
def _tiny_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "backbones").mkdir()
    (tmp_path / "backbones" / "small.json").write_text(json.dumps(TINY), encoding="utf-8")
    monkeypatch.setattr(regressor, "BACKBONES", tmp_path / "backbones")


def recipe(**changes: Any) -> Recipe:
    quick = {"epochs": 2, "batch_size": 24, "save_steps": 10, "logging_steps": 5, "eval_steps": 30, "max_length": 64}
    return make_recipe("regress", None, {"learning_rate": 5e-3, "bf16": False, **quick, **changes})


@pytest.fixture(scope="module")
def trained(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "small.json").write_text(json.dumps(TINY), encoding="utf-8")
        patch.setattr(regressor, "BACKBONES", folder)
        run = regress.train(rows, folder / "run", recipe(epochs=5, members=2))
    assert run.status == "finished"
    return folder / "run"


def losses(folder: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(folder) if "loss" in line}


def test_a_regressor_beats_the_mean_and_its_intervals_hold(rows: Path, trained: Path) -> None:
    report = evaluate_run(trained)
    assert (report.n, report.invalid, report.target) == (40, 0, "band_gap")
    assert report.metrics["mae"].value < 0.7 * report.baselines["mean"]["mae"].value
    assert report.metrics["coverage90"].value > 0.7
    assert read_run(trained).results["validation_rows"] == 80
    assert (trained / "loss.png").is_file()


def test_metals_are_answered_with_zero(trained: Path) -> None:
    gold = [record(index) for index in (7, 8, 17, 18)]
    assert [answer.value for answer in load(trained).predict(gold)] == [0, 0, 0, 0]


def test_bad_structures_do_not_stop_the_good_ones(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.cif").write_text("loop_ loop_", encoding="utf-8")
    (tmp_path / "good.json").write_text(json.dumps(record(1)), encoding="utf-8")
    many = {"lattice": [20.0, 21.0, 22.0, 80, 81, 82], "species": ["Na", *["Cl"] * 79]}
    many["frac_coords"] = np.random.default_rng(0).random((80, 3)).tolist()
    (tmp_path / "long.json").write_text(json.dumps(many), encoding="utf-8")
    answers = {Path(answer.name).name: answer for answer in predict_files([tmp_path], model=load(trained))}
    assert "malformed" in answers["bad.cif"].error
    assert "tokens, and the model reads at most 64" in answers["long.json"].error
    assert answers["good.json"].low <= answers["good.json"].value <= answers["good.json"].high


def test_predictions_do_not_depend_on_their_company(trained: Path) -> None:
    model = load(trained)
    structures = [record(index) for index in range(0, 200, 7)]
    together = [answer.value for answer in model.predict(structures)]
    alone = [model.predict([structure])[0].value for structure in structures]
    np.testing.assert_allclose(alone, together, atol=1e-4)


def test_an_interrupted_training_resumes_to_the_same_result(rows: Path, tmp_path: Path) -> None:
    regress.train(rows, tmp_path / "whole", recipe())
    pieces = 0
    while (run := regress.train(rows, tmp_path / "pieces", recipe(), minutes=1e-9)).status == "interrupted":
        pieces += 1
    assert run.status == "finished"
    assert pieces >= 4
    assert losses(tmp_path / "whole") == losses(tmp_path / "pieces")
    whole, parts = (member_file(tmp_path / name, 0).read_bytes() for name in ("whole", "pieces"))
    assert whole == parts


def test_a_checkpoint_that_a_crash_cut_short_is_not_used(rows: Path, tmp_path: Path) -> None:
    regress.train(rows, tmp_path / "whole", recipe())
    while read_run(tmp_path / "run").step < 20 if (tmp_path / "run").exists() else True:
        regress.train(rows, tmp_path / "run", recipe(), minutes=1e-9)
    last = checkpoints(tmp_path / "run")[-1]
    (last / "state.pt").write_bytes((last / "state.pt").read_bytes()[:1000])
    regress.train(rows, tmp_path / "run", recipe())
    assert losses(tmp_path / "whole") == losses(tmp_path / "run")


def test_a_full_disk_leaves_the_checkpoint_before(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regress.train(rows, tmp_path / "run", recipe(), minutes=1e-9)
    before = checkpoints(tmp_path / "run")

    def full(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(DiskFull, match="full"):
            regress.train(rows, tmp_path / "run", recipe())
    assert checkpoints(tmp_path / "run") == before
    assert regress.train(rows, tmp_path / "run", recipe()).status == "finished"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, rows: Path) -> Path:
    """A tiny randomly initialised language model with a tokenizer, as a pretrained one would lie on disk."""
    return make_base(tmp_path_factory.mktemp("base"), rows, seed=0)


def make_base(folder: Path, rows: Path, *, seed: int) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = learn_tokenizer([row["text"] for row in read_split(rows, "train")])
    tokenizer.eos_token = "[PAD]"
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_adapter_on_a_pretrained_model_is_reloaded_and_predicts_the_same(
    rows: Path, base: Path, tmp_path: Path
) -> None:
    run = regress.train(rows, tmp_path / "run", recipe(base_model=str(base), method="lora", lora_r=4))
    seen = list(losses(tmp_path / "run").values())
    assert np.mean(seen[-3:]) < np.mean(seen[:3])
    answers = [load(tmp_path / "run").predict([record(index) for index in (0, 7, 11)]) for _ in range(2)]
    assert [one.value for one in answers[0]] == [one.value for one in answers[1]]
    assert run.base_digest
    size = sum(path.stat().st_size for path in (tmp_path / "run" / "model").glob("*.safetensors"))
    assert size < sum(path.stat().st_size for path in base.glob("*.safetensors"))


def test_an_adapter_of_another_base_model_is_refused(rows: Path, tmp_path: Path) -> None:
    folder = make_base(tmp_path / "base", rows, seed=1)
    regress.train(rows, tmp_path / "run", recipe(base_model=str(folder), method="lora", max_steps=5))
    make_base(folder, rows, seed=2)
    with pytest.raises(ModelError, match="another model"):
        load(tmp_path / "run")


def test_a_damaged_model_is_refused(trained: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained / "model", tmp_path / "model")
    path = tmp_path / "model" / "member-0.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path / "model")


def test_a_model_of_another_target_is_refused(trained: Path) -> None:
    with pytest.raises(ModelError, match="predicts band_gap, not energy_per_atom"):
        load(trained, target="energy_per_atom")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 8}, "longer than 8 tokens"),
        ({"validation_rows": 10}, "too few to calibrate"),
        ({"method": "prefix"}, "not trained by 'prefix'"),
        ({"method": "lora"}, "trained from scratch"),
        ({"accumulation": 4}, "without accumulation"),
    ],
)
def test_what_cannot_be_trained_says_why(rows: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        regress.train(rows, tmp_path / "run", recipe(**changes))


def test_a_dataset_of_several_targets_is_refused(rows: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(rows, tmp_path / "rows")
    card = json.loads((rows / "card.json").read_text(encoding="utf-8"))
    write_whole(tmp_path / "rows" / "card.json", json.dumps({**card, "targets": ["band_gap", "energy_per_atom"]}))
    with pytest.raises(BadInput, match="a regressor learns one"):
        regress.train(tmp_path / "rows", tmp_path / "run", recipe())


def test_members_are_averaged_where_that_is_better() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=400).astype(np.float32) + 3
    scale = Scale(mean=3.0, deviation=1.0, least=0.0, has_zeros=False)

    def member(noise: float) -> np.ndarray:
        value = truth - 3 + random.normal(scale=noise, size=400)
        return np.column_stack([value, np.zeros(400), np.full(400, noise)]).astype(np.float32)

    assert regress.choose([member(0.3), member(0.3)], truth, scale)[0] == [0, 1]
    assert regress.choose([member(0.1), member(2.0)], truth, scale)[0] == [0]


def test_calibrated_intervals_cover_nine_in_ten_of_new_rows() -> None:
    random = np.random.default_rng(0)
    expected = random.uniform(0.1, 1.0, 4000)
    errors = np.abs(random.normal(size=4000)) * expected
    factor = conformal_factor(errors[:2000], expected[:2000])
    assert (errors[2000:] <= factor * expected[2000:]).mean() == pytest.approx(0.9, abs=0.02)


def test_batches_of_an_epoch_hold_every_row_once_and_like_lengths_together() -> None:
    lengths = np.random.default_rng(0).integers(10, 100, 1000)
    plan = plan_epoch(lengths, 16, seed=0, epoch=3)
    assert sorted(np.concatenate(plan).tolist()) == list(range(1000))
    assert np.mean([np.ptp(lengths[rows]) for rows in plan]) < 10
    assert len(plan) == 63


def test_a_run_is_trained_measured_and_asked_from_the_command_line(rows: Path, tmp_path: Path) -> None:
    def call(*arguments: str) -> Any:
        done = CliRunner().invoke(matlit, [*arguments, "--json"], standalone_mode=False)
        assert done.exception is None, done.exception
        return json.loads(done.stdout)

    out = str(tmp_path / "run")
    quick = ("--epochs", "1", "--max-length", "64", "--batch-size", "40")
    assert call("finetune", "train", str(rows), "--objective", "regress", "-o", out, *quick)["status"] == "finished"
    report = call("finetune", "evaluate", out, "--no-baselines", "--report", str(tmp_path / "report"))
    assert report["n"] == 40
    assert (tmp_path / "report" / "parity.svg").is_file()
    (tmp_path / "one.json").write_text(json.dumps(record(3)), encoding="utf-8")
    (answer,) = call("finetune", "predict", out, str(tmp_path / "one.json"))
    assert answer["model"] == "run"
    assert answer["low"] <= answer["value"] <= answer["high"]

"""The graph network: learning, resuming, checkpoints that survive a full disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from finetune.stack.features import feature_names  # noqa: E402
from finetune.stack.network import (  # noqa: E402
    HEADS,
    Arrays,
    NetworkSettings,
    arrays_subset,
    load_checkpoint,
    predict,
    train,
)
from finetune.stack.prepare import describe_records  # noqa: E402
from ingest.errors import BadInput  # noqa: E402

CATIONS, ANIONS = ("Li", "Na", "K", "Rb", "Ag", "Cu"), ("F", "Cl", "Br", "I")
GAPS = np.array([cation * 0.3 + anion for cation in range(6) for anion in range(4)], dtype=np.float32)
ROWS = np.arange(24)


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Rock salts of six cations and four anions."""
    records = [
        {"lattice": [3.8 + 0.1 * i + 0.2 * j] * 3 + [60.0] * 3, "species": [cation, anion], "frac_coords": SITES}
        for i, cation in enumerate(CATIONS)
        for j, anion in enumerate(ANIONS)
    ]
    described = describe_records(records)
    starts = np.concatenate([[0], np.cumsum(described.pop("counts"))])
    return Arrays(starts=starts, **described)


SITES = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]


def settings(**changes: int) -> NetworkSettings:
    small = {"width": 16, "layers": 1, "batch": 8, "epochs": 4, **changes}
    return NetworkSettings(features=len(feature_names()), **small)


def run(arrays: Arrays, folder: Path, chosen: NetworkSettings, *, stop_after: int = 0) -> list[dict[str, float]]:
    formation = np.full(24, np.nan, dtype=np.float32)
    lines = []
    for line in train(arrays, GAPS, formation, ROWS, ROWS, folder=folder, settings=chosen):
        lines.append(line)
        if len(lines) == stop_after:
            break
    return lines


def test_training_lowers_the_loss(arrays: Arrays, tmp_path: Path) -> None:
    lines = run(arrays, tmp_path, settings(epochs=12))
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert predict(load_checkpoint(tmp_path), arrays).shape == (24, len(HEADS))


def test_an_interrupted_training_resumes_to_the_same_result(arrays: Arrays, tmp_path: Path) -> None:
    whole = run(arrays, tmp_path / "whole", settings())
    run(arrays, tmp_path / "parts", settings(), stop_after=2)
    rest = run(arrays, tmp_path / "parts", settings())
    assert [line["epoch"] for line in rest] == [3, 4]
    assert rest[-1]["loss"] == pytest.approx(whole[-1]["loss"], rel=1e-3)
    ends = [predict(load_checkpoint(tmp_path / name), arrays) for name in ("whole", "parts")]
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-3)


def test_a_full_disk_leaves_the_previous_checkpoint(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(arrays, tmp_path, settings(), stop_after=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        run(arrays, tmp_path, settings())
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_checkpoint_of_other_settings_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    run(arrays, tmp_path, settings(), stop_after=1)
    with pytest.raises(BadInput, match="other settings"):
        run(arrays, tmp_path, settings(width=24))


def test_a_prediction_does_not_depend_on_what_shares_its_batch(arrays: Arrays, tmp_path: Path) -> None:
    run(arrays, tmp_path, settings(), stop_after=1)
    network = load_checkpoint(tmp_path)
    together = predict(network, arrays)
    alone = np.concatenate([predict(network, arrays_subset(arrays, ROWS[row : row + 1])) for row in (5, 17)])
    np.testing.assert_allclose(alone, together[[5, 17]], atol=1e-4)

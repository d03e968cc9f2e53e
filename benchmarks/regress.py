"""A text transformer from scratch on the real band gap set: alone, beside the shipped model, and stacked with it.

    python -m benchmarks.regress [WORK] [--minutes 9] [--epochs 3] [--base small]

Run it again until it is finished: it prepares a dataset of compact texts with the split of the shipped model, trains in
pieces of `--minutes`, and then answers the rows that neither model was trained on. The blend with and without the text
model is fitted on validation rows, as for the shipped model, and scored on the test rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks._machine import describe
from benchmarks.bandgap import DATA
from finetune.dataset import Choices, prepare
from finetune.evaluate import bootstrap_draws, score
from finetune.predict import load
from finetune.recipe import make_recipe
from finetune.regress import train
from finetune.sources import Source
from finetune.stack import ship
from finetune.stack.card import TESTS
from finetune.stack.describe import describe_all
from finetune.stack.prepare import TRAIN, VALIDATION_FORMULAS, VALIDATION_ROWS, split
from ingest.structure_files import from_mapping

CHUNK = 4000  # rows that are answered between two files, so that an interrupted answer goes on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "matlit-regress")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--base", default="small")
    given = parser.parse_args()
    print(describe("torch", "transformers"))
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    part = split([record["material_id"] for record in records], [record["formula"] for record in records])
    rows = dataset(given.work / "rows", records, part)
    recipe = make_recipe("regress", None, {"epochs": given.epochs, "base_model": given.base, "max_length": 192})
    run = train(rows, given.work / "run", recipe, report=print, minutes=given.minutes)
    if run.status == "finished":
        compare(given.work, records, part)


def dataset(folder: Path, records: list[dict], part: np.ndarray) -> Path:
    if not (folder / "card.json").is_file():
        validation = (VALIDATION_ROWS, VALIDATION_FORMULAS)
        names = {TRAIN: "train", **dict.fromkeys(validation, "validation")}
        places = {
            record["material_id"]: names.get(where, "test")
            for record, where in zip(records, part.tolist(), strict=True)
        }
        choices = Choices(style="compact", split="ids", split_ids=places)
        print(prepare(Source((DATA,)), folder, choices, overwrite=True)["rows"])
    return folder


def compare(work: Path, records: list[dict], part: np.ndarray) -> None:
    held = np.flatnonzero(part != TRAIN)
    text = np.array([answer.value for answer in load(work / "run").predict([records[index] for index in held])])
    parts, shipped = shipped_parts(work, [records[index] for index in held])
    known = np.isfinite(text)
    print(f"{int((~known).sum())} of {len(held)} texts are longer than the model reads; the shipped model stands in")
    truth = np.array([records[index]["band_gap"] for index in held], dtype=np.float32)
    check = np.isin(part[held], (VALIDATION_ROWS, VALIDATION_FORMULAS))
    with_text = {**parts, "text": np.where(known, text, shipped).astype(np.float32)}
    blends = {}
    for name, given in (("shipped parts", parts), ("shipped parts and text", with_text)):
        blend = ship.fit_blend({key: values[check] for key, values in given.items()}, truth[check], also=("text",))
        print(f"{name}: {blend.weights}")
        blends[name] = blend.value(given)
    for test, chosen in TESTS.items():
        rows = np.isin(part[held], chosen) & known
        draws = bootstrap_draws(int(rows.sum()), 0)
        print(f"\n{test}: n = {int(rows.sum())}")
        for name, values in {"text alone": text, "shipped": shipped, **blends}.items():
            found = score(truth[rows].astype(np.float64), values[rows].astype(np.float64), draws)
            print(f"  {name:<24}", {key: str(figure) for key, figure in found.items()})


def shipped_parts(work: Path, records: list[dict]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    model = load()
    pieces = []
    for begin in range(0, len(records), CHUNK):
        path = work / f"shipped-{begin}.npz"
        if not path.is_file():
            described = list(describe_all([from_mapping(one) for one in records[begin : begin + CHUNK]], workers=2))
            features = np.stack([one.features for one in described])
            np.savez(path, value=model.figures(described)[:, 0], **model.parts(features, described))
        pieces.append(np.load(path))
    parts = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0].files}
    return {name: parts[name] for name in parts if name in ship.VALUES + ship.ODDS}, parts["value"]


if __name__ == "__main__":
    main()

"""The shipped band gap predictor on rows it never saw, beside the baselines, and how fast it is from CIF text.

    python -m benchmarks.bandgap [--rows N] [--baseline-rows N] [--report FOLDER]

Test rows are those of `finetune.stack.prepare.split` (seed 0): 5 % of all rows, and all rows of 5 % of the formulas.
The baselines learn from a seeded sample of the training rows and answer the same test rows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks._machine import describe
from finetune.evaluate import Row, evaluate, read_rows
from finetune.predict import load
from finetune.report import write_report
from finetune.stack.prepare import TEST_BOTH, TEST_FORMULAS, TEST_ROWS, TRAIN, split
from ingest.crystals import Crystal
from ingest.elements import SYMBOLS
from ingest.structure_text import cell_parameters, compact_text, tutorial_text

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bandgap" / "mp_bandgap.jsonl.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=0, help="test rows per split (0: all)")
    parser.add_argument("--baseline-rows", type=int, default=30000, help="training rows of the baselines (0: all)")
    parser.add_argument("--report", type=Path, help="write reports and parity plots here")
    given = parser.parse_args()
    print(describe("numpy", "torch", "gemmi", "spglib"))
    rows, _ = read_rows(DATA)
    part = split([row.id for row in rows], [row.formula for row in rows])
    random = np.random.default_rng(0)
    train = random.permutation(np.flatnonzero(part == TRAIN))[: given.baseline_rows or None]
    training = [rows[index] for index in train.tolist()]
    model = load()
    for name, parts in (("random rows", (TEST_ROWS, TEST_BOTH)), ("unseen formulas", (TEST_FORMULAS, TEST_BOTH))):
        chosen = np.flatnonzero(np.isin(part, parts))
        chosen = random.permutation(chosen)[: given.rows or len(chosen)]
        one_split(name, [rows[index] for index in chosen.tolist()], training, model, given.report)
    speed([rows[index].crystal for index in train[:1500].tolist()], model)


def one_split(name: str, test: list[Row], training: list[Row], model, report: Path | None) -> None:
    answers = model.predict([row.crystal for row in test])
    found = evaluate(
        test,
        [answer.value for answer in answers],
        low=[answer.low for answer in answers],
        high=[answer.high for answer in answers],
        model=model.name,
        training=training,
    )
    print(f"\n{name}: n = {found.n}, invalid {found.invalid}, {found.signature}")
    print(f"  {model.name:<20}", {key: str(score) for key, score in found.metrics.items()})
    for baseline, scores in found.baselines.items():
        print(f"  {baseline:<20}", {key: str(score) for key, score in scores.items()})
    print("  by gap", {key: (n, round(mae, 3)) for key, (n, mae) in found.by_value.items()})
    print("  by size", {key: (n, round(mae, 3)) for key, (n, mae) in found.by_sites.items()})
    if report:
        write_report(found, report / name.replace(" ", "-"))


def speed(crystals: list[Crystal], model) -> None:
    texts = [cif(crystal) for crystal in crystals]
    model.predict(texts[:64])
    for workers in (1, 2):
        begin = time.perf_counter()
        answers = model.predict(texts, workers=workers)
        seconds = time.perf_counter() - begin
        bad = sum(bool(answer.error) for answer in answers)
        print(f"\n{len(texts)} CIF texts, {workers} processes: {len(texts) / seconds:.0f} structures/s, {bad} refused")
    for render in (tutorial_text, compact_text):
        begin = time.process_time()
        for crystal in crystals[:500]:
            render(crystal)
        print(f"{render.__name__}: {500 / (time.process_time() - begin):.0f} structures per second of one core")


def cif(crystal: Crystal) -> str:
    """Return a crystal as a CIF without symmetry, as the Materials Project writes it."""
    lengths, angles = cell_parameters(crystal)
    cell = zip(
        ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"),
        (*lengths, *angles),
        strict=True,
    )
    sites = [
        f"{SYMBOLS[number]} {SYMBOLS[number]}{index} 1 {x:.8f} {y:.8f} {z:.8f} 1"
        for index, (number, (x, y, z)) in enumerate(zip(crystal.numbers.tolist(), crystal.frac.tolist(), strict=True))
    ]
    return "\n".join(
        [
            "data_cell",
            "_symmetry_space_group_name_H-M   'P 1'",
            *(f"_cell_{name}   {value:.8f}" for name, value in cell),
            "loop_",
            " _symmetry_equiv_pos_site_id",
            " _symmetry_equiv_pos_as_xyz",
            "  1  'x, y, z'",
            "loop_",
            *(f" _atom_site_{name}" for name in ("type_symbol", "label", "symmetry_multiplicity")),
            *(f" _atom_site_fract_{axis}" for axis in "xyz"),
            " _atom_site_occupancy",
            *sites,
            "",
        ]
    )


if __name__ == "__main__":
    main()

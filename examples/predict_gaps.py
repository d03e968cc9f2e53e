"""Predict the band gaps of a folder of structures, and compare them with known ones where there are any.

    python examples/predict_gaps.py [FOLDER [KNOWN.csv [REPORT]]]

FOLDER holds CIF, POSCAR or pymatgen JSON files; KNOWN.csv has the columns `file` and `band_gap` (eV). Without them the
31 well-known materials of the sample library stand in. The shipped model was trained on most of these, so that their
parity plot shows how the example works, not how good the model is; for that see docs/bandgap.md.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

from finetune import BandGapModel
from finetune.evaluate import Row, evaluate
from finetune.predict import predict_files
from finetune.report import write_report
from ingest import sample
from ingest.crystals import Crystal
from ingest.materials import parse_records
from ingest.structure_files import read_structures


def main(folder: Path, known: Path | None, report: Path) -> None:
    """Print a prediction per structure, and write a report with a parity plot for those whose gap is known."""
    model = BandGapModel.load("shipped")
    predictions = {prediction.name: prediction for prediction in predict_files([folder], model=model)}
    for prediction in predictions.values():
        print(prediction)
    if known is None:
        return

    with known.open(encoding="utf-8", newline="") as file:
        gaps = {line["file"]: float(line["band_gap"]) for line in csv.DictReader(file)}
    rows = [
        Row(name, predictions[name].formula, crystal, gaps[Path(name).name])
        for name, crystal in read_structures(folder)
        if isinstance(crystal, Crystal) and Path(name).name in gaps
    ]
    answers = [predictions[row.id] for row in rows]
    found = evaluate(
        rows,
        [answer.value for answer in answers],
        low=[answer.low for answer in answers],
        high=[answer.high for answer in answers],
        model=model.name,
        baselines=False,
    )
    print(f"\n{found.n} known gaps: mean absolute error {found.metrics['mae']} eV, R² {found.metrics['r2']}")
    for path in write_report(found, report):
        print(path)


def write_sample(folder: Path) -> Path:
    """Write the sample materials as one file each, and their gaps as a table; return the table."""
    known = folder.parent / "known.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with known.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "band_gap"])
        for material in parse_records(sample.materials_path()):
            if material.structure_json and material.band_gap_ev is not None:
                (folder / f"{material.material_id}.json").write_text(material.structure_json, encoding="utf-8")
                table.writerow([f"{material.material_id}.json", material.band_gap_ev])
    return known


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as temporary:
        if not given:
            given = [Path(temporary) / "structures", write_sample(Path(temporary) / "structures")]
        main(given[0], given[1] if len(given) > 1 else None, given[2] if len(given) > 2 else Path("report"))

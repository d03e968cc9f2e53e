"""Features and graphs of every structure of a band gap set, once, in a work folder; and which rows are for what."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.stack.features import describe, feature_names
from finetune.stack.sites import find_sites
from ingest.crystals import from_record, quick_symmetry
from ingest.errors import BadInput

Floats = npt.NDArray[np.float32]
CHUNK = 256  # structures that one task describes
TEST = 0.05  # share of rows, and of formulas, that are only ever tested
VALIDATION = 0.03  # share of rows, and of formulas, for choosing, stacking and calibrating
TRAIN, TEST_ROWS, TEST_FORMULAS, VALIDATION_ROWS, VALIDATION_FORMULAS, TEST_BOTH = range(6)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Arrays of a work folder; see `finetune.stack.network.Arrays` for the sites."""

    features: Floats
    starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.uint8]
    weights: Floats
    neighbours: npt.NDArray[np.int16]
    distances: Floats
    local: Floats


ARRAYS = ("features", "counts", "numbers", "weights", "neighbours", "distances", "local")


def split(ids: Sequence[str], formulas: Sequence[str], *, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return each row's part, from hashes of its id and its formula, so that it never depends on order or company.

    One model can so be tested both ways: 5 % of all rows (TEST_ROWS) and every row of 5 % of the formulas
    (TEST_FORMULAS) are kept from training; the few in both are TEST_BOTH. Validation is cut alike.
    """
    parts = []
    for name, formula in zip(ids, formulas, strict=True):
        row, group = _share(f"{seed}|row|{name}"), _share(f"{seed}|formula|{formula}")
        if row < TEST or group < TEST:
            parts.append(TEST_BOTH if row < TEST and group < TEST else TEST_ROWS if row < TEST else TEST_FORMULAS)
        elif group < TEST + VALIDATION:
            parts.append(VALIDATION_FORMULAS)
        else:
            parts.append(VALIDATION_ROWS if row < TEST + VALIDATION else TRAIN)
    return np.array(parts)


def _share(text: str) -> float:
    return float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64)


def describe_records(records: Sequence[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of `ARRAYS` for some band gap records."""
    crystals = [from_record(record) for record in records]
    found = [quick_symmetry(crystal) for crystal in crystals]
    sites = [find_sites(crystal, mine) for crystal, mine in zip(crystals, found, strict=True)]
    features, local = describe(crystals, found, sites)
    return {
        "features": features.astype(np.float32),
        "counts": np.array([len(mine.numbers) for mine in sites], dtype=np.int32),
        "numbers": np.concatenate([mine.numbers for mine in sites]).astype(np.uint8),
        "weights": np.concatenate([mine.weights for mine in sites]).astype(np.float32),
        "neighbours": np.concatenate([mine.neighbours for mine in sites]).astype(np.int16),
        "distances": np.concatenate([mine.distances for mine in sites]).astype(np.float32),
        "local": local.astype(np.float32),
    }


def prepare(data: Path, work: Path, *, workers: int = 0) -> Iterator[str]:
    """Describe every record of a JSONL[.gz] file into arrays in `work`, yielding progress.

    Raises:
        BadInput: `work` was prepared from another file.
    """
    digest = _digest(data)
    stamp = work / "prepared.json"
    if stamp.is_file():
        if json.loads(stamp.read_text())["data"] != digest:
            raise BadInput(f"{str(work)!r} was prepared from another file", hint="Choose an empty folder")
        yield f"{work} is prepared already"
        return
    work.mkdir(parents=True, exist_ok=True)
    with gzip.open(data, "rt", encoding="utf-8") if data.suffix == ".gz" else data.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    chunks = [records[begin : begin + CHUNK] for begin in range(0, len(records), CHUNK)]
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ARRAYS}
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        for number, described in enumerate(pool.map(describe_records, chunks), 1):
            for name, values in described.items():
                parts[name].append(values)
            if number % 20 == 0 or number == len(chunks):
                yield f"{min(number * CHUNK, len(records))} of {len(records)} structures"
    for name, pieces in parts.items():
        np.save(work / f"{name}.npy", np.concatenate(pieces))
    kept = ("material_id", "formula", "band_gap", "nsites", "formation_energy_per_atom", "spacegroup_number", "volume")
    rows = [{key: record.get(key) for key in kept} for record in records]
    (work / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    stamp.write_text(json.dumps({"data": digest, "rows": len(rows), "features": feature_names()}), encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Work:
    """A prepared work folder: arrays, targets (eV) and each row's part of the split."""

    folder: Path
    prepared: Prepared
    gaps: Floats
    formation: Floats
    part: npt.NDArray[np.int64]
    rows: list[dict[str, Any]]

    def rows_of(self, *parts: int) -> npt.NDArray[np.int64]:
        """Return the indices of the rows in any of these parts."""
        return np.flatnonzero(np.isin(self.part, parts))


def open_work(folder: Path) -> Work:
    """Return what `prepare` left in a folder.

    Raises:
        BadInput: nothing is prepared there.
    """
    if not (folder / "prepared.json").is_file():
        raise BadInput(f"{str(folder)!r} is not prepared", hint="python -m finetune.stack prepare DATA.jsonl.gz WORK")
    values = {name: np.load(folder / f"{name}.npy") for name in ARRAYS}
    counts = values.pop("counts")
    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    part = split([row["material_id"] for row in rows], [row["formula"] for row in rows])
    gaps = np.array([row["band_gap"] for row in rows], dtype=np.float32)
    energy = [row["formation_energy_per_atom"] for row in rows]
    formation = np.array([np.nan if value is None else value for value in energy], dtype=np.float32)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Work(folder, Prepared(starts=starts, **values), gaps, formation, part, rows)

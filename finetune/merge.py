"""An adapter merged into its base model, and the check that both still answer alike."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.dataset import read_split
from finetune.generate import Written, load_generator
from finetune.models import load_tokenizer
from finetune.runs import read_run, seal, trained_folder, write_whole
from ingest.errors import BadInput, ModelError


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the merged model's answers compare with the adapter's on the same rows."""

    rows: int
    same: int  # rows with exactly the same text
    largest_difference: float  # of two values, in the target's unit
    mean_difference: float
    confidence_difference: float  # the largest, of the probabilities of what was written

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


def merge(run_folder: Path, folder: Path, *, rows: int = 20, dtype: str = "float32") -> Agreement:
    """Write base and adapter of a run as one model, load it again, and compare its answers with the adapter's.

    Nothing is left where they differ on more than rounding can explain: more than a tenth of the rows.

    Raises:
        ModelError: the run has no adapter that can be merged, or the merged model answers otherwise.
        BadInput: the folder is taken, or the run's dataset is gone.
    """
    run = read_run(run_folder)
    if run.method not in ("lora", "qlora"):
        raise ModelError(
            f"a run of the method {run.method!r} has nothing to merge",
            hint="A full model is one already; prefixes and prompts have no place in a model's weights",
        )
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"the folder {str(folder)!r} is not empty", hint="Name another one with -o")
    target = run.targets[0]
    sample = read_split(Path(run.dataset["path"]), "test", target=target, limit=rows)
    prompts = [row["prompt"] for row in sample]
    adapted = load_generator(run_folder, dtype=dtype)
    before = adapted.write(prompts)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    adapted.model.merge_and_unload(safe_merge=True).save_pretrained(partial)
    load_tokenizer(str(trained_folder(run_folder))).save_pretrained(partial)
    about = {"target": target, "targets": list(run.targets), "style": run.style, "base_model": run.base_model}
    write_whole(partial / "matlit.json", json.dumps(about, indent=1) + "\n")
    merged = load_generator(partial, dtype=dtype)
    found = compare(before, merged.write(prompts))
    if found.same < 0.9 * found.rows:
        shutil.rmtree(partial)
        raise ModelError(
            f"the merged model answers otherwise on {found.rows - found.same} of {found.rows} rows, by up to "
            f"{found.largest_difference:g}",
            hint="Use the adapter as it is, or merge in more precision: --dtype float32",
        )
    seal(partial)
    if folder.exists():
        folder.rmdir()
    partial.rename(folder)
    return found


def compare(before: list[Written], after: list[Written]) -> Agreement:
    """Return how two models' answers to the same prompts compare."""
    pairs = list(zip(before, after, strict=True))
    values = [abs(a.value - b.value) for a, b in pairs if math.isfinite(a.value) and math.isfinite(b.value)]
    return Agreement(
        rows=len(pairs),
        same=sum(a.text == b.text for a, b in pairs),
        largest_difference=max(values, default=0.0),
        mean_difference=sum(values) / len(values) if values else 0.0,
        confidence_difference=max((abs(a.confidence - b.confidence) for a, b in pairs), default=0.0),
    )

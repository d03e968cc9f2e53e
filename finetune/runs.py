"""The folder of one training run: what was trained on what and how, its metrics, checkpoints and loss curve.

    run.json        what, on what, how, with which versions, and how far it came
    metrics.jsonl   one line per logged step
    checkpoints/    step-000100/ …, each with a seal that is written last: without it a checkpoint is not used
    adapter/        the trained adapter, or model/ the whole model, with its tokenizer
    loss.png, loss.svg

`run.json` is replaced in one step, so that a reader never sees half of it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ingest.errors import BadInput, MissingExtra, ModelError

SCHEMA = 1
OBJECTIVES = ("generate", "regress")
METHODS = ("full", "lora", "qlora", "prefix", "prompt")
SEAL = "complete.json"  # in a checkpoint: its files with their sizes
PACKAGES = ("matlit", "torch", "transformers", "peft", "trl", "accelerate", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class Run:
    """What `run.json` says; `status` is running, interrupted, failed or finished."""

    objective: str
    method: str
    base_model: str
    targets: tuple[str, ...]
    style: str
    dataset: Mapping[str, Any]  # path, hash, rows per split
    settings: Mapping[str, Any]
    status: str = "running"
    schema: int = SCHEMA
    kind: str = "run"
    base_digest: str = ""  # of the base model's config and the shapes of its weights: another one is refused
    code_revision: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    step: int = 0
    steps: int = 0
    results: Mapping[str, Any] = field(default_factory=dict)


def read_run(folder: Path) -> Run:
    """Return what `run.json` of a run folder says.

    Raises:
        ModelError: there is none, it is damaged, or a newer matlit wrote it.
    """
    path = Path(folder) / "run.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{str(folder)!r} is no run folder: it has no run.json",
            hint="Train one: matlit finetune train DATASET -o RUN",
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}", hint="Train again into another folder") from error
    if not isinstance(given, dict) or given.get("schema", 0) > SCHEMA:
        raise ModelError(f"{str(path)!r} was written by a newer matlit", hint="pip install -U matlit")
    known = {name: value for name, value in given.items() if name in Run.__dataclass_fields__}
    try:
        return Run(**{**known, "targets": tuple(known["targets"])})
    except (KeyError, TypeError) as error:
        raise ModelError(f"{str(path)!r} is damaged: {error}", hint="Train again into another folder") from error


def is_run(folder: Path) -> bool:
    """Return whether the folder holds a training run."""
    return (Path(folder) / "run.json").is_file()


def is_main_process() -> bool:
    """Return whether this process writes: of several that train together, the first."""
    return os.environ.get("RANK", "0") == "0"


def write_run(folder: Path, run: Run) -> Run:
    """Write `run.json` in one step, from the main process only, and return what it says."""
    if not is_main_process():
        return run
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "run.json", json.dumps(asdict(run), indent=1, ensure_ascii=False) + "\n")
    return run


def update_run(folder: Path, **changes: Any) -> Run:
    """Change fields of `run.json`."""
    return write_run(folder, replace(read_run(folder), **changes))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that there is the old one or the new one, whatever happens in between."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def trained_folder(folder: Path) -> Path:
    """Return where the trained weights of a run lie: its adapter, or its model.

    Raises:
        ModelError: the run has not come so far.
    """
    for name in ("adapter", "model"):
        if (folder / name / SEAL).is_file():
            return folder / name
    run = read_run(folder)
    raise ModelError(
        f"the run in {str(folder)!r} is {run.status} at step {run.step} of {run.steps}: it has no trained model yet",
        hint=f"Go on with it: matlit finetune train --resume {folder}",
    )


# --- checkpoints ------------------------------------------------------------------------------------------------------


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint, or a trained model, as complete, with the sizes of its files."""
    sizes = {str(path.relative_to(checkpoint)): path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()}
    sizes.pop(SEAL, None)
    write_whole(checkpoint / SEAL, json.dumps(sizes, indent=1) + "\n")


def is_sealed(checkpoint: Path) -> bool:
    """Return whether a checkpoint was written to its end and still has all its files."""
    try:
        sizes = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
        return bool(sizes) and all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, the oldest first."""
    found = [path for path in (folder / "checkpoints").glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted((path for path in found if is_sealed(path)), key=checkpoint_step)


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step that a checkpoint was written at."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def drop_incomplete(folder: Path) -> list[Path]:
    """Remove what a crash or a full disk left of checkpoints; return what was removed."""
    if not is_main_process():
        return []
    dropped = [path for path in (folder / "checkpoints").glob("*checkpoint-*") if not is_sealed(path)]
    for path in dropped:
        shutil.rmtree(path)
    return dropped


# --- metrics ----------------------------------------------------------------------------------------------------------


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the logged steps; a line that a crash cut short is left out."""
    lines: list[dict[str, Any]] = []
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return lines
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue  # only the last line can be incomplete
    return lines


def append_metrics(folder: Path, line: Mapping[str, Any]) -> None:
    """Add one logged step."""
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(dict(line)) + "\n")


def rewind_metrics(folder: Path, step: int) -> None:
    """Forget what was logged after a step, since resumed training logs it again."""
    if not is_main_process():
        return
    kept = [line for line in read_metrics(folder) if line.get("step", 0) <= step]
    write_whole(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


def draw_loss(folder: Path) -> list[Path]:
    """Draw the loss curve of a run as PNG and SVG; return the files.

    Raises:
        BadInput: nothing was logged yet.
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("The loss curve", extra="finetune") from error
    lines = read_metrics(folder)
    if not any("loss" in line for line in lines):
        raise BadInput(f"the run in {str(folder)!r} has logged no loss yet")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for key, label in (("loss", "training"), ("eval_loss", "validation")):
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if key == "eval_loss" else "", markersize=3)
    what = "loss of the answer's tokens (nats)" if read_run(folder).objective == "generate" else "loss"
    axes.set(xlabel="step", ylabel=what, title=folder.name)
    axes.legend()
    paths = [folder / "loss.png", folder / "loss.svg"]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


# --- where and with what ----------------------------------------------------------------------------------------------


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_revision() -> str:
    """Return the git revision of the code that runs, with a + for uncommitted changes; "" outside of a checkout."""
    here = Path(__file__).parent
    try:
        revision = _git(here, "rev-parse", "HEAD")
        return revision[:12] + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of what a run depends on."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

"""Properties of crystals from a model on disk: the one that ships with matlit, or one trained here.

`load("shipped")` needs no download. Every kind of model is asked alike, with anything that holds a structure, and
answers each item on its own: a value, with a 90 % interval where the model has one, or the reason why there is none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ingest.crystals import Crystal
from ingest.errors import BadInput, ModelError
from ingest.structure_files import read_structures, to_crystal
from ingest.structure_text import reduced_formula

SHIPPED = Path(__file__).parent / "shipped"
FORMAT = 1
NAN = float("nan")

# "kind" in a model's settings.json -> "module:function" that loads its folder
KINDS = {"stack": "finetune.stack.model:load_stack", "text": "finetune.regressor:load_regressor"}
GENERATING = "finetune.generate:load_generator"  # called with (spec, target=…) for whatever else a spec can name


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. `value` is NaN and `error` says why where there is none; `low` to `high` is a 90 % interval.

    Models that write their answer have no interval (NaN), but a `confidence`: the probability of what they wrote.
    `note` says what else one should know of this answer.
    """

    name: str
    formula: str
    value: float
    low: float
    high: float
    unit: str
    model: str
    error: str = ""
    confidence: float | None = None
    note: str = ""

    @classmethod
    def failed(cls, name: str, error: str, *, unit: str, model: str, formula: str = "") -> Prediction:
        """Return the answer that there is none."""
        return cls(name, formula, NAN, NAN, NAN, unit, model, error)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `matlit predict --json` prints for it."""
        figures = {name: _rounded(getattr(self, name)) for name in ("value", "low", "high")}
        answer = {"file": self.name, "formula": self.formula, **figures, "unit": self.unit, "model": self.model}
        if self.confidence is not None:
            answer["confidence"] = _rounded(self.confidence)
        return answer | {name: text for name in ("error", "note") if (text := getattr(self, name))}

    def __str__(self) -> str:
        if self.error:
            return self.error if not self.name or self.name in self.error else f"{self.name}: {self.error}"
        text = f"{self.formula}: {self.value:.2f} {self.unit}"
        if math.isfinite(self.low) and math.isfinite(self.high):
            text += f" (90 % interval {self.low:.2f} to {self.high:.2f})"
        if self.confidence is not None:
            text += f" (probability of these digits {self.confidence:.2f})"
        return f"{text}; {self.note}" if self.note else text


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


class Predictor(Protocol):
    """What `load` returns: a model that predicts one property of structures."""

    name: str
    target: str
    unit: str

    def predict(self, structures: Iterable[Any], *, workers: int = 0) -> list[Prediction]:
        """Return one prediction per structure, in order."""
        ...


def load(spec: str | Path = "shipped", *, target: str = "") -> Predictor:
    """Return the model that a spec names.

    Known are "shipped"; the folder of a regressor or of its training run; and, for models that write their answer, a
    run folder, an adapter, a model folder, a GGUF file, or the id of a model. `target` chooses among the targets of
    such a model; of a regressor it is only checked.

    Raises:
        BadInput: there is no such target.
        ModelError: there is no such model, it is of an unknown kind, from a newer matlit, or predicts another target.
    """
    from finetune.tasks import find_target

    if target:
        find_target(target)
    folder = model_folder(spec)
    if folder is not None:
        settings = _read_settings(folder)
        predictor: Predictor = _loader(settings, folder)(folder, settings)
    else:
        _check_there_is_a_model(spec)
        module, factory = GENERATING.split(":")
        predictor = getattr(import_module(module), factory)(str(spec), target=target)
    if target and predictor.target != target:
        raise ModelError(
            f"the model {predictor.name!r} predicts {predictor.target}, not {target}",
            hint=f"Train one of that target, on rows of: matlit finetune prepare FILE --target {target}",
        )
    return predictor


def model_folder(spec: str | Path) -> Path | None:
    """Return the folder with the settings.json of a regressor that `spec` names, or None for any other model."""
    folder = SHIPPED if spec == "shipped" else Path(spec)
    return next((place for place in (folder, folder / "model") if (place / "settings.json").is_file()), None)


def _check_there_is_a_model(spec: str | Path) -> None:
    folder = Path(spec).expanduser()
    if not folder.exists() and (folder.is_absolute() or str(spec).startswith(".")):
        raise ModelError(f"there is no model {str(spec)!r}", hint='Name a run, a model folder or file, or "shipped"')
    marks = ("run.json", "adapter_config.json", "config.json", "*.gguf")
    if folder.is_dir() and not any(any(folder.glob(mark)) for mark in marks):
        raise ModelError(
            f"there is no model in {str(folder)!r} (no settings.json, run.json or config.json)",
            hint='Name a model folder, a training run, or "shipped"',
        )


def _loader(settings: dict[str, Any], folder: Path) -> Any:
    kind = str(settings.get("kind", ""))
    if kind not in KINDS:
        raise ModelError(f"the model in {str(folder)!r} is of the unknown kind {kind!r}; known: {', '.join(KINDS)}")
    module, factory = KINDS[kind].split(":")
    return getattr(import_module(module), factory)


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "settings.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(settings, dict) or settings.get("format", 0) > FORMAT:
        raise ModelError(f"the model in {str(folder)!r} was made by a newer matlit", hint="pip install -U matlit")
    return settings


class BandGapModel:
    """The interface of the README: `BandGapModel.load("shipped").predict(structures)`."""

    @staticmethod
    def load(spec: str | Path = "shipped") -> Predictor:
        """Return a model of band gaps; see `finetune.predict.load` for what a spec can name."""
        return load(spec, target="band_gap")


# --- structures -------------------------------------------------------------------------------------------------------


def predict_files(paths: Iterable[Path], *, model: Predictor, workers: int = 0) -> Iterator[Prediction]:
    """Yield a prediction, or the reason why there is none, for every structure in files and folders."""
    found: list[tuple[str, Any]] = []
    for path in paths:
        try:
            found += [(name, crystal) for name, crystal in read_structures(path)]
        except BadInput as error:
            found.append((str(path), error))
    answers = model.predict([item for _, item in found], workers=workers)
    for (name, _), answer in zip(found, answers, strict=True):
        yield replace(answer, name=name)


@dataclass(frozen=True, slots=True)
class Asked:
    """One structure of a question: its crystal, or the reason why there is none."""

    name: str
    formula: str = ""
    crystal: Crystal | None = None
    error: str = ""


def read_asked(structure: Any, index: int) -> Asked:
    """Return what a predictor was asked about: a crystal, path, text, dictionary, record or pymatgen structure."""
    if isinstance(structure, BadInput):
        return Asked("", error=str(structure))
    try:
        crystal = to_crystal(structure)
    except BadInput as error:
        return Asked(f"structure {index + 1}", error=str(error))
    return Asked(crystal.name, reduced_formula(crystal.numbers.tolist()), crystal)

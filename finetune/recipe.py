"""The settings of a training run: what each means, the presets, and how a YAML file and flags change them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from finetune.runs import METHODS, OBJECTIVES
from ingest.errors import BadInput, BadSettings

_STACKS = "layers|layer|h|blocks|block"  # what models call the list of their layers
SCHEDULES = ("linear", "cosine", "constant")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained. Lengths are in tokens; steps are optimizer steps."""

    base_model: str = "smollm2"  # a hub id, folder, GGUF file, or smollm2
    method: str = "lora"  # full, lora, qlora, prefix, prompt
    epochs: float = 1.0
    max_steps: int = 0  # 0: as `epochs` says
    learning_rate: float = 1e-3
    schedule: str = "linear"
    warmup: float = 0.03  # share of the steps
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    batch_size: int = 8  # rows per device and forward pass
    accumulation: int = 1  # forward passes per step
    max_length: int = 256  # longer rows are left out
    group_by_length: bool = True
    gradient_checkpointing: bool = False
    bf16: bool | None = None  # None: where the hardware has it
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_modules: str = "q_proj,v_proj"  # or all-linear
    lora_layers: int = 0  # only in so many of the last layers, which spares the way back through the others; 0: in all
    virtual_tokens: int = 16  # of prefix and prompt tuning
    limit: int = 0  # training rows; 0: all
    validation_rows: int = 200
    eval_steps: int = 50
    patience: int = 0  # evaluations without a lower loss before it stops; 0: never
    save_steps: int = 50
    keep: int = 2  # checkpoints
    logging_steps: int = 1
    seed: int = 0
    objective: str = "generate"  # or "regress": a number with an interval instead of words
    members: int = 1  # regressors of different seeds that are averaged

    def __post_init__(self) -> None:
        for name, known in (("objective", OBJECTIVES), ("method", METHODS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise BadInput(f"there is no {name} {getattr(self, name)!r}", hint=f"Known are {', '.join(known)}")
        least: dict[str, float] = {
            **dict.fromkeys(("batch_size", "accumulation", "save_steps", "eval_steps", "logging_steps"), 1),
            **dict.fromkeys(
                ("max_steps", "limit", "validation_rows", "patience", "warmup", "weight_decay", "lora_layers"), 0
            ),
            **{"max_length": 8, "lora_r": 1, "members": 1, "virtual_tokens": 1, "keep": 2},
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise BadInput(f"{name} is {getattr(self, name)}, below {bound}")
        if not 0 < self.learning_rate < 10 or not 0 < self.epochs < 10_000:
            raise BadInput(f"the learning rate {self.learning_rate} or the epochs {self.epochs} cannot be")
        if self.save_steps % self.logging_steps:
            raise BadInput(
                f"save_steps {self.save_steps} is no multiple of logging_steps {self.logging_steps}",
                hint="Otherwise the loss curve of a resumed run would differ from an uninterrupted one's",
            )
        if self.patience and self.save_steps != self.eval_steps:
            raise BadInput(
                f"early stopping needs save_steps ({self.save_steps}) equal to eval_steps ({self.eval_steps})",
                hint="The best checkpoint is what it goes back to",
            )
        if self.gradient_checkpointing and self.method == "prefix":
            raise BadInput(
                "prefix tuning keeps its prefix in the attention cache, which gradient checkpointing does without",
                hint="Leave one of them out",
            )

    def for_machine(self, device: str, *, bf16: bool) -> Recipe:
        """Return the recipe with what depends on the hardware decided.

        Raises:
            BadInput: bf16 was asked for where it is not.
        """
        if self.bf16 and not bf16:
            raise BadInput(f"this {device} does not compute in bfloat16", hint="Leave bf16 out: it is used where it is")
        return replace(self, bf16=bf16 if self.bf16 is None else self.bf16)

    def steps(self, rows: int, *, processes: int = 1) -> int:
        """Return the number of optimizer steps for that many rows."""
        if self.max_steps:
            return self.max_steps
        batches = math.ceil(rows / (self.batch_size * processes))
        return max(1, math.ceil(self.epochs * max(1, math.ceil(batches / self.accumulation))))

    def adapter_config(self, layers: int) -> Any:
        """Return peft's configuration of the method for a model with that many layers."""
        from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, TaskType

        if self.method in ("lora", "qlora"):
            return LoraConfig(
                r=self.lora_r,
                lora_alpha=self.lora_alpha,
                lora_dropout=self.lora_dropout,
                task_type=TaskType.CAUSAL_LM,
                **self._lora_places(layers),
            )
        kind = PrefixTuningConfig if self.method == "prefix" else PromptTuningConfig
        return kind(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=self.virtual_tokens)

    def _lora_places(self, layers: int) -> dict[str, Any]:
        """Return which modules of which layers get an adapter; peft takes a list of layers with named modules only."""
        first = max(0, layers - self.lora_layers) if self.lora_layers else 0
        if self.lora_modules != "all-linear":
            places = list(range(first, layers)) if self.lora_layers else None
            return {"target_modules": self.lora_modules.split(","), "layers_to_transform": places}
        left_out = rf"(.*\.)?({_STACKS})\.({'|'.join(map(str, range(first)))})\..*"
        return {"target_modules": "all-linear", "exclude_modules": left_out if first else None}

    @staticmethod
    def from_settings(settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe of a run's settings, or of a YAML file's content.

        Raises:
            BadSettings: a name is not known, or a value is of the wrong kind.
        """
        return change(Recipe(), settings)


# What the 2024 tutorial trained with: the whole 12-billion-parameter model, one epoch, one row at a time.
_TUTORIAL = Recipe(
    base_model="mistralai/Mistral-Nemo-Base-2407",
    method="full",
    epochs=1,
    learning_rate=1e-5,
    warmup=0.0,
    batch_size=1,
    max_length=2048,
    group_by_length=False,
    eval_steps=2000,
    save_steps=2000,
    keep=3,
    logging_steps=50,
)
_GPU_7B = Recipe(
    base_model="mistralai/Mistral-7B-v0.3",
    method="qlora",
    epochs=1,
    learning_rate=2e-4,
    schedule="cosine",
    batch_size=8,
    accumulation=4,
    max_length=2048,
    gradient_checkpointing=True,
    lora_modules="all-linear",
    lora_dropout=0.05,
    validation_rows=500,
    eval_steps=200,
    save_steps=200,
    logging_steps=10,
)
# A small transformer from scratch on compact texts: about six minutes on two idle cores for 10,000 rows.
_REGRESS = Recipe(
    objective="regress",
    base_model="small",
    method="full",
    epochs=6,
    learning_rate=1e-3,
    schedule="cosine",
    warmup=0.05,
    weight_decay=0.02,
    batch_size=128,
    validation_rows=6000,
    eval_steps=500,
    save_steps=100,
    logging_steps=10,
)
# SmolLM2 on a CPU, chosen by the loss on validation rows: benchmarks/RESULTS.md, "Fine-tuning a language model".
_SMALL = Recipe(
    epochs=2,
    learning_rate=2e-3,
    schedule="cosine",
    warmup=0.05,
    batch_size=16,
    lora_modules="all-linear",
)
PRESETS: dict[str, Recipe] = {
    "small": _SMALL,
    "tutorial": _TUTORIAL,
    "gpu-7b": _GPU_7B,
    "regress": _REGRESS,
}


def make_recipe(preset: str = "small", file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Recipe:
    """Return a preset, changed by a YAML file, and that by flags; what is None in `flags` was not given.

    Raises:
        BadInput: there is no such preset or file, or a setting is not known or cannot be.
    """
    if preset not in PRESETS:
        raise BadInput(f"there is no preset {preset!r}", hint=f"Known are {', '.join(PRESETS)}")
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    return change(PRESETS[preset], {**(_read_yaml(file) if file else {}), **given})


def change(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with settings changed, each checked.

    Raises:
        BadSettings: a name is not known, or a value is of the wrong kind.
    """
    known = {field.name: field.type for field in fields(Recipe)}
    for name in settings:
        if name not in known:
            close = get_close_matches(str(name), known, n=2)
            raise BadSettings(
                f"there is no training setting {name!r}",
                hint=f"Did you mean {' or '.join(close)}?" if close else f"Known are {', '.join(known)}",
            )
    return replace(recipe, **{name: _typed(name, value, str(known[name])) for name, value in settings.items()})


def _typed(name: str, value: Any, kind: str) -> Any:
    """Return a value as the kind that a setting has; YAML reads 1e-3 as a word and 1 as a whole number."""
    try:
        if kind == "float" and not isinstance(value, bool):
            return float(value)
        if kind == "int" and not isinstance(value, bool) and float(value) == int(float(value)):
            return int(float(value))
    except (TypeError, ValueError):
        raise BadSettings(f"the training setting {name} is {value!r}, not a number") from None
    if kind == "str" and isinstance(value, str):
        return value
    if kind.startswith("bool") and (isinstance(value, bool) or (value is None and "None" in kind)):
        return value
    raise BadSettings(f"the training setting {name} is {value!r}, not a {kind.replace('str', 'word')}")


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{str(path)!r} cannot be read: {error.strerror}", hint="Check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{str(path)!r} is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{str(path)!r} holds no settings", hint="Write one `name: value` per line")
    return content

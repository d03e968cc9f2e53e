"""A transformer with a pooled head that reads the text of a structure and answers with a number and an interval.

Owns the module, its folder on disk, and how it predicts; `finetune.regress` trains it. The folder:

    settings.json            what it predicts, from which text, and how its outputs become a value and an interval
    member-0.safetensors …   the trained weights of each seed: all of them, or an adapter's and the head's
    config.json              the backbone (where its own weights were trained)
    tokenizer.json …         its tokenizer
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from finetune.models import base_digest, default_device, load_model
from finetune.predict import FORMAT, Asked, Prediction, read_asked
from ingest.errors import ModelError
from ingest.structure_text import render

Floats = npt.NDArray[np.float32]
OUTPUTS = ("value", "odds", "spread")  # value in standard deviations; log-odds of not being zero; expected error
BATCH = 128
PARALLEL_FROM = 200  # fewer texts are not worth starting processes for
FLOOR = 0.02  # least expected error, in standard deviations of the target
BACKBONES = Path(__file__).parent / "backbones"
VOCABULARY = 4096  # words of a backbone that is trained from scratch


@dataclass(frozen=True, slots=True)
class Shape:
    """What a regressor is built of: `base` is empty where the backbone was trained from scratch or in full."""

    method: str = "full"
    base: str = ""
    base_digest: str = ""
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_modules: str = "q_proj,v_proj"
    max_tokens: int = 256
    precision: str = "bf16"


@dataclass(frozen=True, slots=True)
class Scale:
    """How the outputs become values: mean and standard deviation of the target, its least value, and its zeros.

    Where `has_zeros`, a row whose log-odds of not being zero lie under `odds_below` is answered with 0. The interval
    is value ± factor × expected error.
    """

    mean: float
    deviation: float
    least: float | None
    has_zeros: bool
    odds_below: float = -1e9
    factor: float = 1.0

    def values(self, outputs: Floats) -> Floats:
        """Return the values of (n, 3) outputs."""
        value = outputs[:, 0] * self.deviation + self.mean
        if self.has_zeros:
            value = np.where(outputs[:, 1] < self.odds_below, 0, value)
        values: Floats = np.maximum(value, self._bound).astype(np.float32)
        return values

    def expected_errors(self, outputs: Floats) -> Floats:
        """Return what each value is expected to be wrong by, before calibration."""
        return (np.maximum(outputs[:, 2], FLOOR) * self.deviation).astype(np.float32)

    @property
    def _bound(self) -> float:
        return -np.inf if self.least is None else self.least

    def figures(self, outputs: Floats) -> Floats:
        """Return (n, 3): value, low and high."""
        value, width = self.values(outputs), self.expected_errors(outputs) * self.factor
        return np.column_stack([value, np.maximum(value - width, self._bound), value + width])


class PooledHead(nn.Module):
    """A backbone, the mean and the maximum over its tokens, and a small network to the three outputs."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        width = backbone.config.hidden_size
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.SiLU(), nn.Dropout(0.1),
            nn.Linear(width, len(OUTPUTS)),
        )  # fmt: skip

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (rows, 3) in single precision."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        with torch.autocast(states.device.type, enabled=False):
            mask = attention_mask[:, :, None].to(torch.float32)
            states = states.float()
            mean = (states * mask).sum(1) / mask.sum(1)
            highest = states.masked_fill(mask == 0, -1e4).amax(1)
            value, odds, spread = self.head(torch.cat([mean, highest], dim=-1)).unbind(-1)
            return torch.stack([value, odds, nn.functional.softplus(spread)], dim=-1)

    def trained(self) -> dict[str, torch.Tensor]:
        """Return the weights that training changes, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    @torch.no_grad()
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over weights of `trained`.

        Raises:
            ModelError: they are not of this module.
        """
        own = self.trained()
        if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
            raise ModelError(
                "the trained weights do not fit the backbone", hint="Put its base model back, or train again"
            )
        for name, value in own.items():
            value.copy_(state[name])


# --- running ----------------------------------------------------------------------------------------------------------


def run_batches(module: PooledHead, tokens: Sequence[Sequence[int]], *, pad: int, precision: str) -> Floats:
    """Return (n, 3) outputs, computed in batches of texts of similar length."""
    order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
    outputs = np.zeros((len(tokens), len(OUTPUTS)), dtype=np.float32)
    module.eval()
    with torch.inference_mode():
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            batch = make_batch([tokens[index] for index in chosen], pad=pad, device=device_of(module))
            with autocast(module, precision):
                found = module(**batch)
            outputs[chosen] = found.float().cpu().numpy()
    return outputs


def make_batch(tokens: Sequence[Sequence[int]], *, pad: int, device: str) -> dict[str, torch.Tensor]:
    """Return the token ids, padded at the right, with their mask."""
    width = max(map(len, tokens))
    ids = torch.full((len(tokens), width), pad, dtype=torch.long)
    mask = torch.zeros((len(tokens), width), dtype=torch.long)
    for row, mine in enumerate(tokens):
        ids[row, : len(mine)] = torch.tensor(mine)
        mask[row, : len(mine)] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def autocast(module: PooledHead, precision: str) -> torch.autocast:
    """Return the context that computes in bfloat16 where `precision` is "bf16"."""
    return torch.autocast(device_of(module), dtype=torch.bfloat16, enabled=precision == "bf16")


def device_of(module: nn.Module) -> str:
    """Return where the module's weights lie."""
    return next(module.parameters()).device.type


# --- the model --------------------------------------------------------------------------------------------------------


class TextRegressor:
    """A trained regressor; several members, trained with different seeds, are averaged."""

    def __init__(
        self, settings: Mapping[str, Any], shape: Shape, scale: Scale, tokenizer: Any, members: Sequence[PooledHead]
    ) -> None:
        self.name = str(settings["name"])
        self.target = str(settings["target"])
        self.unit = str(settings["unit"])
        self.style = str(settings["style"])
        self.shape = shape
        self.scale = scale
        self._tokenizer = tokenizer
        self._members = members

    def predict(self, structures: Iterable[Any], *, workers: int = 0) -> list[Prediction]:
        """Return one prediction per structure: a crystal, path, text, dictionary, record or pymatgen structure.

        `workers` processes render the texts (0: one per core where there are enough structures to be worth it).
        """
        asked = [read_asked(structure, index) for index, structure in enumerate(structures)]
        crystals = [item.crystal for item in asked if item.crystal is not None]
        few = len(crystals) < PARALLEL_FROM
        texts = list(render(crystals, style=self.style, workers=1 if few else workers))
        answers = iter(self.predict_texts(texts))
        return [self._answer(item, answers) for item in asked]

    def predict_texts(self, texts: Sequence[str]) -> list[tuple[float, float, float] | str]:
        """Return (value, low, high) for each text, or why it cannot be answered."""
        tokens = tokenize(self._tokenizer, texts)
        most = self.shape.max_tokens
        fits = [index for index, mine in enumerate(tokens) if len(mine) <= most]
        figures = self.scale.figures(self.outputs([tokens[index] for index in fits]))
        found: list[tuple[float, float, float] | str] = [
            f"its text has {len(mine)} tokens, and the model reads at most {most}" for mine in tokens
        ]
        for index, (value, low, high) in zip(fits, figures.tolist(), strict=True):
            found[index] = (value, low, high)
        return found

    def outputs(self, tokens: Sequence[Sequence[int]]) -> Floats:
        """Return (n, 3) outputs, the mean of the members."""
        pad, precision = self._tokenizer.pad_token_id, self.shape.precision
        found = [run_batches(member, tokens, pad=pad, precision=precision) for member in self._members]
        mean: Floats = np.mean(found, axis=0, dtype=np.float32)
        return mean

    def _answer(self, item: Asked, answers: Iterator[tuple[float, float, float] | str]) -> Prediction:
        answer = item.error if item.crystal is None else next(answers)
        if isinstance(answer, str):
            return Prediction.failed(item.name, answer, unit=self.unit, model=self.name, formula=item.formula)
        value, low, high = answer
        return Prediction(item.name, item.formula, value, low, high, self.unit, self.name)


def tokenize(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text."""
    if not texts:
        return []
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=True, truncation=False)["input_ids"]
    return found


# --- the folder -------------------------------------------------------------------------------------------------------


def save_regressor(
    folder: Path,
    *,
    settings: Mapping[str, Any],
    shape: Shape,
    scale: Scale,
    tokenizer: Any,
    backbone_config: Any,
    members: Sequence[Mapping[str, torch.Tensor]],
) -> None:
    """Write a regressor; settings.json comes last, so that its presence means complete."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    if not shape.base:
        backbone_config.save_pretrained(folder)
    for number, state in enumerate(members):
        save_file({name: value.contiguous() for name, value in state.items()}, folder / f"member-{number}.safetensors")
    document = {
        "format": FORMAT,
        "kind": "text",
        **settings,
        "shape": asdict(shape),
        "scale": asdict(scale),
        "members": len(members),
    }
    (folder / "settings.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_regressor(folder: Path, settings: Mapping[str, Any]) -> TextRegressor:
    """Load the regressor of a folder.

    Raises:
        ModelError: a file is missing or damaged, or the base model is missing or another one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    try:
        shape, scale = Shape(**settings["shape"]), Scale(**settings["scale"])
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        states = [load_file(folder / f"member-{number}.safetensors") for number in range(settings["members"])]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"the model in {str(folder)!r} is damaged: {error}") from error
    members = []
    for state in states:
        member = PooledHead(_backbone(folder, shape))
        member.restore(state)
        members.append(member.to(default_device()).eval())
    return TextRegressor(settings, shape, scale, tokenizer, members)


def _backbone(folder: Path, shape: Shape) -> Any:
    from transformers import AutoConfig, AutoModel

    if not shape.base:
        return AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    backbone = load_model(shape.base, dtype="bfloat16" if shape.precision == "bf16" else "float32").base_model
    if base_digest(backbone) != shape.base_digest:
        raise ModelError(
            f"the adapter in {str(folder)!r} was trained on another model than {shape.base!r} is now",
            hint="Put the base model back, or train again",
        )
    return with_adapter(backbone, shape)


def backbone_names() -> tuple[str, ...]:
    """Return the backbones that are trained from scratch: the configurations that come with matlit."""
    return tuple(sorted(path.stem for path in BACKBONES.glob("*.json")))


def backbone_config(name: str, words: int, pad: int) -> Any:
    """Return the configuration of a backbone that is trained from scratch, for a vocabulary of that many words."""
    from transformers import AutoConfig

    given = json.loads((BACKBONES / f"{name}.json").read_text(encoding="utf-8"))
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), pad)
    return AutoConfig.for_model(given.pop("model_type"), **given, vocab_size=words, pad_token_id=pad, **special)


def learn_tokenizer(texts: Sequence[str]) -> Any:
    """Return a tokenizer of element symbols, words, Wyckoff positions, numbers of three digits, signs; from texts."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))  # noqa: S106  # no password
    pattern = Regex(r"\d{1,3}(?:\.|[a-z](?![a-z]))?|[A-Z][a-z]?|[a-z]+|[^\sA-Za-z\d]")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, behavior="removed", invert=True)
    trainer = trainers.WordLevelTrainer(vocab_size=VOCABULARY, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")  # noqa: S106


def with_adapter(backbone: Any, shape: Shape) -> Any:
    """Return the backbone with fresh low-rank adapters on its linear layers (Hu et al., arXiv 2106.09685)."""
    from peft import LoraConfig, TaskType, get_peft_model

    modules = shape.lora_modules if shape.lora_modules == "all-linear" else shape.lora_modules.split(",")
    config = LoraConfig(
        r=shape.lora_r,
        lora_alpha=shape.lora_alpha,
        lora_dropout=shape.lora_dropout,
        target_modules=modules,
        task_type=TaskType.FEATURE_EXTRACTION,
    )
    return get_peft_model(backbone, config)

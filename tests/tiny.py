"""Tiny language models with random weights, and a dataset folder for them: real architectures that train in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune.dataset import Choices, prepare
from finetune.sources import Source

FORMULAS = ["NaCl", "KBr", "LiF", "MgO", "CaO", "NaF", "KCl", "LiCl", "BaO", "SrO"]


def record(index: int, **changes: object) -> dict[str, Any]:
    """Return a band gap record; those of one formula are polymorphs, not duplicates."""
    formula = FORMULAS[index // 2 % len(FORMULAS)]
    cut = 2 if formula[1].islower() else 1
    side = 4.0 + 0.01 * index
    return {
        "material_id": f"mp-{index}",
        "formula": formula,
        "band_gap": 0.5 * (index % 12),
        "formation_energy_per_atom": -1.0 - 0.01 * index,
        "lattice": [side, side, side, 90, 90, 90],
        "species": [formula[:cut], formula[cut:]],
        "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
        **changes,
    }


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def make_dataset(folder: Path, *, count: int = 60, **choices: Any) -> Path:
    """Prepare a dataset folder of `count` records in the compact style."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = write(folder.with_suffix(".jsonl"), [record(index) for index in range(count)])
    given = {"style": "compact", "validation": 6, "test": 10} | choices
    prepare(Source((path,)), folder, Choices(**given), workers=1)
    return folder


def make_model(folder: Path, *, seed: int = 0, kind: str = "llama", hidden: int = 32) -> Path:
    """Write a causal language model with random weights and a tokenizer of single characters."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    symbols = ["<s>", "</s>", "<unk>", *map(chr, range(32, 127)), "\n", "μ", "Å", "³"]
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    shape = {
        "vocab_size": len(symbols),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    torch.manual_seed(seed)
    config, network = (LlamaConfig, LlamaForCausalLM) if kind == "llama" else (MistralConfig, MistralForCausalLM)
    network(config(**shape)).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder

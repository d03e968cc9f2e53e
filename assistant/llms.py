"""From a model spec to a model: the table of providers, and what works here.

A spec is `openai/…`, `gemini/…`, `anthropic/…`, `http://host:port/v1#model`, `local/<hub id or folder>[+adapter]`,
`gguf/<file>` or `scripted/<file>`. `extractive` is no language model, but has its place in `check_model`. To add a
provider, write a file in `assistant/providers/` with `make_llm`, `make_backend` and `check`, and a line in `LLMS`.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from assistant.providers.base import Backend
from assistant.providers.errors import UnknownSpec
from assistant.providers.hub import SMALL_REPOSITORY, get_small, small_model_path

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

__all__ = ["LLMS", "check_model", "get_small", "known_models", "make_backend", "make_llm", "split_spec"]

LLMS: dict[str, str] = {  # scheme -> module, imported on first use
    "openai": "assistant.providers.openai",
    "gemini": "assistant.providers.gemini",
    "anthropic": "assistant.providers.anthropic",
    "http": "assistant.providers.server",
    "local": "assistant.providers.local",
    "gguf": "assistant.providers.gguf",
    "scripted": "assistant.providers.scripted",
}
EXTRACTIVE = "extractive"


def make_llm(spec: str, *, offline: bool = False, **options: Any) -> LLM:
    """Build the llama-index LLM that `spec` names, for example `local/Qwen/Qwen3-4B`; `options` go to its constructor.

    Raises:
        UnknownSpec: `spec` names no known provider.
        OfflineError: `offline`, and the model is not on this machine.
        ModelError: the key or the model is missing.
    """
    module, model = _provider(spec)
    llm: LLM = module.make_llm(model, offline=offline, **options)
    return llm


def make_backend(spec: str, *, offline: bool = False, **options: Any) -> Backend:
    """Build what `ChatModel` drives for `spec`; raises as `make_llm`."""
    module, model = _provider(spec)
    backend: Backend = module.make_backend(model, offline=offline, **options)
    return backend


def check_model(spec: str, *, offline: bool = False) -> str:
    """Return one line on the model that `spec` names, without a call that costs anything.

    Raises:
        ModelError: it would not work, and `hint` says how to mend that.
        OfflineError: `offline`, and the model is not on this machine.
    """
    if spec == EXTRACTIVE:
        return "extractive: quotes word for word, no language model needed"
    module, model = _provider(spec)
    detail: str = module.check(model, offline=offline)
    return detail


def split_spec(spec: str) -> tuple[str, str]:
    """Return scheme and model: ("openai", "gpt-4o"); a server's model is its whole address.

    Raises:
        UnknownSpec: there is no such scheme, or no model after it.
    """
    if spec.startswith(("http://", "https://")):
        return "http", spec
    scheme, _, model = spec.partition("/")
    if spec == EXTRACTIVE:
        raise UnknownSpec("'extractive' is no language model: it quotes", hint="Name one: matlit models")
    if scheme not in LLMS or scheme == "http":
        close = get_close_matches(scheme, LLMS, n=1)
        meant = f"did you mean {close[0]}/{model or 'MODEL'}?" if close else f"known are {', '.join(LLMS)}"
        raise UnknownSpec(f"{spec!r} names no known provider of models: {meant}")
    if not model:
        raise UnknownSpec(f"{spec!r} names a provider, but no model", hint=f"Write {scheme}/MODEL: matlit models")
    return scheme, model


def _provider(spec: str) -> tuple[ModuleType, str]:
    scheme, model = split_spec(spec)
    return import_module(LLMS[scheme]), model


def known_models() -> list[dict[str, Any]]:
    """Return one row per form of spec: `spec`, `what`, an `example`, whether it is `ready` here, and `missing`."""
    return [{"spec": spec, "what": what, "example": example, **_ready(spec)} for spec, what, example in _FORMS]


def _ready(spec: str) -> dict[str, Any]:
    scheme = spec.split("/")[0].split(":")[0]
    packages, extra = _PACKAGES.get(scheme, ((), ""))
    absent = [package for package in packages if not _installed(package)]
    keys = _KEYS.get(scheme, ())
    missing = [f"pip install 'matlit[{extra}]'" if extra else f"pip install {' '.join(absent)}"] if absent else []
    if keys and not any(os.environ.get(key) for key in keys):
        missing.append(f"set {' or '.join(keys)}")
    if spec == "gguf/small" and not small_model_path().is_file():
        missing.append("matlit models get small")
    return {"ready": not missing, "missing": "; ".join(missing)}


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the namespace a dotted name stands in
        return False


_FORMS = (
    (EXTRACTIVE, "quotes word for word, no language model", EXTRACTIVE),
    ("openai/MODEL", "OpenAI", "openai/gpt-4o-mini"),
    ("gemini/MODEL", "Google Gemini", "gemini/gemini-2.5-flash"),
    ("anthropic/MODEL", "Anthropic Claude", "anthropic/claude-sonnet-5"),
    ("http://HOST:PORT/v1#MODEL", "a server: vLLM, Ollama, llama.cpp, LM Studio", "http://localhost:11434/v1#qwen3:4b"),
    ("local/MODEL[+ADAPTER]", "transformers, a hub id or folder; ?bits=4 or 8", "local/Qwen/Qwen3-4B"),
    ("gguf/FILE", "llama.cpp in this process, a file, a folder or a hub id", "gguf/models/qwen.gguf"),
    ("gguf/small", f"the small model that `matlit models get small` fetches ({SMALL_REPOSITORY})", "gguf/small"),
    ("scripted/FILE.json", "answers from a file, for tests and demonstrations", "scripted/replies.json"),
)
_PACKAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "openai": (("openai",), ""),
    "gemini": (("google.genai",), ""),
    "anthropic": (("anthropic",), "models"),
    "http": (("openai",), ""),
    "local": (("transformers", "torch"), ""),
    "gguf": (("xllamacpp",), "models"),
}
_KEYS: dict[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "anthropic": ("ANTHROPIC_API_KEY",),
}

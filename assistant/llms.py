"""From a model spec to a model: the table of providers, and what works here.

A spec is `openai/…`, `gemini/…`, `anthropic/…`, `http://host:port/v1#model`, `local/<hub id or folder>[+adapter]`,
`gguf/<file>` or `scripted/<file>`. `extractive` is no language model, but has its place in `check_model`. To add a
provider, write a file in `assistant/providers/` with `make_llm`, `make_backend` and `check`, and a line in `LLMS`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from assistant.providers.base import Backend, UnknownSpec

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

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

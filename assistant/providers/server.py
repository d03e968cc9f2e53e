"""A server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp, LM Studio, on this machine or another.

The spec is the API's address with the model after `#`: `http://localhost:11434/v1#qwen3:4b`. Without a model it takes
the one the server has. `?tools=native` says that the model takes tools; else calls are asked for by a JSON schema,
which such servers enforce and small models keep to. A server's key is read from `MATLIT_SERVER_KEY`: never from
`OPENAI_API_KEY`, which would hand one's OpenAI key to whoever runs the server.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from assistant.offline import refuse_remote
from assistant.providers.errors import SERVER_KEY, UnknownSpec, key_value, read_key
from assistant.providers.openai import OpenAIBackend, not_found

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

UNKNOWN_CONTEXT = 8192  # what small servers give where they do not say


class ServerBackend(OpenAIBackend):
    """A model at a server; asks the server, once, for what the spec does not say."""

    @cached_property
    def described(self) -> dict[str, Any]:
        """What the server says about the model; empty where it says nothing about it."""
        return next((one for one in self.models() if one.get("id") == self.model), {})

    @property
    def context_tokens(self) -> int:
        """How many tokens question and answer may have together, as vLLM and llama.cpp tell."""
        if not self._context_tokens:
            told = self.described.get("max_model_len") or (self.described.get("meta") or {}).get("n_ctx")
            self._context_tokens = int(told or UNKNOWN_CONTEXT)
        return self._context_tokens


def make_backend(url: str, *, offline: bool = False, **options: Any) -> ServerBackend:
    """Build the model at `url`, as in `http://host:port/v1#model`.

    Raises:
        UnknownSpec: the address cannot be read.
        OfflineError: `offline`, and the server is another machine.
        ModelNotFound: no model is named, and the server has several or none.
    """
    base_url, model, tools = read_url(url)
    if offline:
        refuse_remote(base_url, what=url)
    options.setdefault("native_tools", tools)
    backend = ServerBackend(model, base_url=base_url, key=_key(), provider=base_url, key_name=SERVER_KEY, **options)
    return backend if model else _only_model(backend, options)


def make_llm(url: str, *, offline: bool = False, **options: Any) -> LLM:
    """Build the model at `url` as llama-index's `OpenAILike`; raises as `make_backend`."""
    backend = make_backend(url, offline=offline)
    from llama_index.llms.openai_like import OpenAILike

    options.setdefault("context_window", backend.context_tokens)
    return OpenAILike(
        model=backend.model,
        api_base=backend.base_url,
        api_key=_key(),
        is_chat_model=True,
        is_function_calling_model=backend.native_tools,
        **options,
    )


def check(url: str, *, offline: bool = False) -> str:
    """Return one line on the model at `url`, after asking the server for its list. Raises where it would not work."""
    backend = make_backend(url, offline=offline)
    known = [str(one.get("id")) for one in backend.models()]
    if backend.model not in known:
        raise not_found(backend.model, known, where=backend.base_url)
    return f"{backend.model} at {backend.base_url}, {backend.context_tokens:,} tokens of context"


def read_url(url: str) -> tuple[str, str, bool]:
    """Return the API's address, the model ("" where none is named), and whether it takes tools natively.

    An address without a path is that of the server, whose API is at /v1.

    Raises:
        UnknownSpec: there is no host in it, or an option that is not known.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no port
    except ValueError as error:
        raise UnknownSpec(f"{url!r} is no address: {error}") from error
    asked = parse_qs(parts.query)
    if not parts.hostname or asked.keys() - {"tools"} or asked.get("tools", ["native"]) not in (["native"], ["none"]):
        raise UnknownSpec(
            f"{url!r} is no server's address", hint="Write http://HOST:PORT/v1#MODEL, ?tools=native first"
        )
    path = parts.path.rstrip("/") or "/v1"  # where vLLM, Ollama, llama.cpp and LM Studio all have it
    base_url = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    return base_url, parts.fragment, asked.get("tools") == ["native"]


def _only_model(backend: ServerBackend, options: dict[str, Any]) -> ServerBackend:
    known = [str(one.get("id")) for one in backend.models()]
    if len(known) != 1:
        raise not_found("", known, where=backend.base_url)
    return ServerBackend(
        known[0], base_url=backend.base_url, key=_key(), provider=backend.base_url, key_name=SERVER_KEY, **options
    )


def _key() -> str:
    if not key_value(SERVER_KEY):
        return "none"  # the client wants one; servers without keys ignore it
    return read_key(SERVER_KEY, provider="the server", example="…")

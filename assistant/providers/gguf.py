"""Models in GGUF files, run by llama.cpp inside this process through `xllamacpp`: for laptops without a graphics card.

The spec is `gguf/<file>`, `gguf/<folder with one .gguf>`, `gguf/<hub id>` or `gguf/<hub id>:<file>`, or `gguf/small`
for what `matlit models get small` fetched. Calls go to the library directly; the HTTP port that llama.cpp opens on
loopback is locked with a random key.
"""

from __future__ import annotations

import os
import queue
import secrets
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from assistant.providers.base import Delta, Reply, Request
from assistant.providers.errors import BadReply, ModelNotFound, error_of_status, too_slow
from assistant.providers.hub import fetch, looks_like_hub_id, small_model_path
from assistant.providers.openai import ChatCompletions
from ingest.errors import MissingExtra, ModelError

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

CONTEXT_TOKENS = 8192  # a question with twenty passages fits, in half a gigabyte for a model of 1.5B
KEPT_PROMPTS_MIB = (
    1024  # of prompts read before, which need not be read again; llama.cpp itself would take eight times that
)
MAGIC = b"GGUF"


class GGUFBackend(ChatCompletions):
    """One model in llama.cpp; one call computes at a time.

    Small models write tool calls as text rather than natively, but are held to a JSON schema by a grammar:
    `native_tools` is False unless asked for.
    """

    provider = "gguf"
    json_schema = True
    local = True

    def __init__(
        self, path: Path, *, context_tokens: int = CONTEXT_TOKENS, threads: int = 0, native_tools: bool = False
    ) -> None:
        super().__init__(path.name, who=f"gguf/{path.name}")
        self.path = path
        self.native_tools = native_tools
        self._loaded: _Loaded | None = _load(path, context_tokens, threads or os.cpu_count() or 1)
        self.context_tokens = self._loaded.context_tokens

    def reply(self, request: Request) -> Reply:
        """Answer at once."""
        return next(item for item in self.stream(request) if isinstance(item, Reply))

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer piece by piece; the last item is the whole reply."""
        if self._loaded is None:
            raise ModelError(f"{self._who} was closed", hint="Build it again")
        payload = self._payload(request) | {"stream": True, "stream_options": {"include_usage": True}}
        with closing(self._loaded.run(payload, who=self._who, timeout_s=request.timeout_s)) as chunks:
            yield from self._collect(chunks)

    def close(self) -> None:
        """Let go of the model's memory, unless another backend uses the same file."""
        self._loaded = None


class _Loaded:
    """A model in memory, shared by all backends that name the same file."""

    def __init__(self, path: Path, context_tokens: int, threads: int) -> None:
        xllamacpp = _package()
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = context_tokens
        parameters.n_parallel = 1  # the context is divided among parallel slots
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
        parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0  # wait for work asleep, not spinning
        parameters.cache_ram_mib = KEPT_PROMPTS_MIB
        parameters.use_jinja = True
        parameters.model_alias = {path.name}
        self.key = secrets.token_hex(16)
        parameters.api_keys = [self.key]
        parameters.offline = True
        parameters.verbosity = 0
        try:
            self._server = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise ModelError(
                f"llama.cpp cannot load {str(path)!r}: {error}", hint="Is the file whole, and the memory enough?"
            ) from error
        self.context_tokens = context_tokens
        self.address: str = self._server.listening_address

    def run(self, payload: dict[str, Any], *, who: str, timeout_s: float) -> Generator[Any, None, None]:
        """Yield the chunks of an answer; closing the iterator stops the model at its next token."""
        from openai.types.chat import ChatCompletionChunk

        run = _Run(self._server, payload, ends=time.monotonic() + timeout_s)
        try:
            for chunk in run.chunks(who=who, timeout_s=timeout_s):
                yield ChatCompletionChunk.construct(**chunk)
        finally:
            run.stopped.set()
            run.thread.join()


class _Run:
    """One answer being written, in a thread of its own because llama.cpp hands pieces to a callback."""

    def __init__(self, server: Any, payload: dict[str, Any], *, ends: float) -> None:
        self.stopped = threading.Event()
        self._ends = ends
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, args=(server, payload), daemon=True)
        self.thread.start()

    def chunks(self, *, who: str, timeout_s: float) -> Iterator[dict[str, Any]]:
        """Yield each chunk as it comes; raise what went wrong."""
        while (item := self._items.get()) is not None:
            if isinstance(item, BaseException):
                raise BadReply(f"{who} failed: {item}") from item
            if "error" in item:
                error = item["error"]
                raise error_of_status(
                    int(error.get("code", 500)), f"{error.get('message')} {error.get('type')}", who=who
                )
            yield item
        if time.monotonic() > self._ends:
            raise too_slow(who, timeout_s, retryable=False)

    def _work(self, server: Any, payload: dict[str, Any]) -> None:
        try:
            server.handle_chat_completions(payload, self._take)
        except (RuntimeError, ValueError, TypeError) as error:
            self._items.put(error)
        finally:
            self._items.put(None)

    def _take(self, chunk: dict[str, Any]) -> bool:
        """Hand a chunk over; return whether to stop writing."""
        self._items.put(chunk)
        return self.stopped.is_set() or time.monotonic() > self._ends


_in_memory: WeakValueDictionary[tuple[Any, ...], _Loaded] = WeakValueDictionary()
_loading = threading.Lock()


def _load(path: Path, context_tokens: int, threads: int) -> _Loaded:
    with _loading:
        key = (path.resolve(), path.stat().st_mtime_ns, context_tokens, threads)
        loaded = _in_memory.get(key)
        if loaded is None:
            loaded = _in_memory[key] = _Loaded(path, context_tokens, threads)
        return loaded


def make_backend(model: str, *, offline: bool = False, **options: Any) -> GGUFBackend:
    """Load the GGUF file that `model` names, from disk or (unless `offline`) from the hub.

    Raises:
        MissingExtra: `xllamacpp` is not installed.
        ModelNotFound: there is no such file.
        ModelError: the file cannot be loaded.
    """
    _package()
    return GGUFBackend(find(model, offline=offline), **options)


def make_llm(model: str, *, offline: bool = False, **options: Any) -> LLM:
    """Load the GGUF file as a llama-index LLM; raises as `make_backend`."""
    from assistant.providers.wrapped import as_llm

    return as_llm(make_backend, model, offline=offline, **options)


def check(model: str, *, offline: bool = False) -> str:
    """Return one line on the file, without loading it. Raises where it would not work."""
    _package()
    path = find(model, offline=True)
    return f"gguf/{path.name}: {path.stat().st_size / 1e9:.1f} GB on this disk, llama.cpp is here"


def find(model: str, *, offline: bool) -> Path:
    """Return the file that `model` names.

    Raises:
        ModelNotFound: there is none, or several in the folder.
        ModelError: it is no GGUF file.
    """
    path = small_model_path() if model == "small" else Path(model).expanduser()
    if path.is_dir():
        path = _only_file(path)
    if not path.is_file() and model != "small" and looks_like_hub_id(model):
        path = fetch(model, offline=offline)
    if not path.is_file():
        hint = "Fetch one: matlit models get small" if model == "small" else "Write gguf/FILE.gguf, or: matlit models"
        raise ModelNotFound(f"there is no GGUF file {str(path)!r}", hint=hint)
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise ModelError(f"{str(path)!r} is no GGUF file", hint="Fetch it again: it may be a pointer or cut off")
    return path


def _only_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise ModelNotFound(f"{str(folder)!r} should hold one GGUF file, and holds {names}", hint="Name the file")
    return files[0]


def _package() -> Any:
    # Read when OpenMP starts: llama.cpp's threads would otherwise spin while they wait, and starve other processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a GGUF model", extra="models") from error
    return cast(Any, xllamacpp)

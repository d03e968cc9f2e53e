"""Models run by transformers in this process: `local/<hub id or folder>[+adapter]`.

It takes a graphics card where there is one, the weights' own precision there and float32 on a processor, 4 or 8 bits
where asked for (`?bits=4`, with bitsandbytes), a peft adapter after `+`, and a folder that holds only a GGUF file.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from assistant.offline import refused
from assistant.providers.base import Delta, Finish, Message, Reply, Request, Usage
from assistant.providers.errors import (
    ModelNotFound,
    TooLong,
    Unavailable,
    UnknownSpec,
    scrub,
    too_slow,
    transport_errors,
)
from ingest import hub
from ingest.errors import MissingExtra, ModelError

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

MAX_TOKENS = 1024
UNKNOWN_CONTEXT = 4096
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Source:
    """What a spec names: a hub id or folder, an adapter, and how to load them."""

    model: str
    adapter: str = ""
    bits: int = 0  # 4 or 8; 0 leaves the weights as they are
    dtype: str = ""  # "" is the weights' own on a graphics card, float32 on a processor


class LocalBackend:
    """One model in transformers; one call computes at a time."""

    provider = "local"
    native_tools = False
    json_schema = False
    local = True

    def __init__(self, source: Source, *, offline: bool, context_tokens: int = 0) -> None:
        self.model = Path(source.model).name + (f"+{Path(source.adapter).name}" if source.adapter else "")
        self.tokenizer, self.network = load(source, offline=offline)
        told = getattr(self.network.config.get_text_config(), "max_position_embeddings", None)
        self.context_tokens = context_tokens or told or UNKNOWN_CONTEXT
        self._lock = threading.Lock()

    def reply(self, request: Request) -> Reply:
        """Answer at once."""
        return next(item for item in self.stream(request) if isinstance(item, Reply))

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer piece by piece; the last item is the whole reply."""
        prompt = self._prompt(request.tools_in_words())
        room = self.context_tokens - prompt.shape[1]
        if room < 1:
            raise TooLong(f"{prompt.shape[1]:,} tokens do not fit the {self.context_tokens:,} of {self.model}")
        most = min(request.max_tokens or MAX_TOKENS, room)
        with self._lock:
            run = _Generation(self, prompt, request, most)
            text = ""
            try:
                for piece in run.pieces():
                    text += piece
                    yield Delta(piece)
            finally:
                run.stopped.set()
                run.thread.join()
        if run.late:
            raise too_slow(self.model, request.timeout_s, retryable=False)
        for end in request.stop:
            text = text.split(end)[0]
        finish: Finish = "length" if run.written >= most else "stop"
        yield Reply(text, (), Usage(prompt.shape[1], run.written, calls=1), finish, self.model)

    def close(self) -> None:
        """Let go of the weights."""
        del self.network, self.tokenizer

    def _prompt(self, request: Request) -> Any:
        """Return the token ids of the conversation in the model's own chat template, up to where it answers."""
        turns = _turns(request.messages)
        if not self.tokenizer.chat_template:
            text = "\n\n".join(turn["content"] for turn in turns)
            return self.tokenizer(text, return_tensors="pt").input_ids.to(self.network.device)
        import jinja2

        try:
            ids = self._templated(turns)
        except jinja2.TemplateError:
            # Some templates (Gemma's) know no system turn, and say so by failing.
            ids = self._templated(_without_system(turns))
        return ids.to(self.network.device)

    def _templated(self, turns: list[dict[str, str]]) -> Any:
        return self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]


class _Generation:
    """One answer being written in a thread, so that its text can be read while it grows."""

    def __init__(self, backend: LocalBackend, prompt: Any, request: Request, most: int) -> None:
        from transformers import TextIteratorStreamer

        self.stopped = threading.Event()
        self.late = False
        self.written = 0
        self._ends = time.monotonic() + request.timeout_s
        self._start = prompt.shape[1]
        self._streamer = TextIteratorStreamer(backend.tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._failed: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, args=(backend, prompt, request, most), daemon=True)
        self.thread.start()

    def pieces(self) -> Iterator[str]:
        """Yield the text as it is written."""
        yield from filter(None, self._streamer)
        self.thread.join()
        if not self._failed.empty():
            error = self._failed.get()
            raise ModelError(f"transformers failed: {error}", hint="Less text, or more memory") from error

    def _work(self, backend: LocalBackend, prompt: Any, request: Request, most: int) -> None:
        import torch

        sampling = {"do_sample": True, "temperature": request.temperature} if request.temperature else {}
        stops = {"stop_strings": list(request.stop), "tokenizer": backend.tokenizer} if request.stop else {}
        greedy = {} if sampling else {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        try:
            with torch.inference_mode():
                made = backend.network.generate(
                    input_ids=prompt,
                    attention_mask=torch.ones_like(prompt),
                    max_new_tokens=most,
                    streamer=self._streamer,
                    stopping_criteria=[self._stop],
                    pad_token_id=_padding(backend.tokenizer),
                    **sampling,
                    **greedy,
                    **stops,
                )
            self.written = made.shape[1] - self._start
        except (RuntimeError, ValueError) as error:  # out of memory, or a tensor that does not fit
            self._failed.put(error)
            self._streamer.end()

    def _stop(self, ids: Any, scores: Any, **more: Any) -> Any:
        import torch

        self.late = time.monotonic() > self._ends
        return torch.full((ids.shape[0],), self.late or self.stopped.is_set(), device=ids.device)


def load(source: Source, *, offline: bool) -> tuple[Any, Any]:
    """Return tokenizer and network, ready to write; from a folder or the hub's cache, else from the hub.

    Raises:
        ModelNotFound: there is no such folder, model or adapter; or `offline`, and it is not in the cache.
        MissingExtra: 4 or 8 bits without bitsandbytes, or an adapter without peft.
        ModelError: what is there cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # stderr is ours
    where, options = _where(source.model)
    why = "" if offline or Path(where).is_dir() else hub.trouble()
    common = {"local_files_only": bool(offline or why or Path(where).is_dir()), **options}
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    weights = _weights(source, device, gguf="gguf_file" in options)
    failures: tuple[type[Exception], ...] = (OSError, *transport_errors())
    try:
        with hub.quietly():
            tokenizer = AutoTokenizer.from_pretrained(where, **common)
            network = AutoModelForCausalLM.from_pretrained(where, **common, **weights)
    except failures as error:
        if why and not _cached(source.model):
            raise Unavailable(
                f"the model {source.model!r} is no folder, not in the hub's cache, and {why}", hint=hub.NEXT_STEP
            ) from error
        raise refused(error) or ModelNotFound(
            f"cannot load {source.model!r}: {scrub(str(error)).splitlines()[0]}",
            hint="Name a folder with a model, or a hub id that is in the cache or can be fetched",
        ) from error
    except (ValueError, KeyError, ImportError) as error:
        raise ModelError(f"transformers cannot load {source.model!r}: {error}", hint="Is it a causal model?") from error
    if source.adapter:
        network = _adapted(network, source.adapter, offline=bool(offline or why))
    if "device_map" not in weights:
        network = network.to(device)
    return tokenizer, network.eval()


def make_backend(model: str, *, offline: bool = False, **options: Any) -> LocalBackend:
    """Load what `model` names; raises as `load`, and `UnknownSpec` for an option that is not known."""
    return LocalBackend(read(model), offline=offline, **options)


def make_llm(model: str, *, offline: bool = False, **options: Any) -> LLM:
    """Load what `model` names as a llama-index LLM; raises as `load`."""
    from assistant.providers.wrapped import as_llm

    return as_llm(make_backend, model, offline=offline, **options)


def check(model: str, *, offline: bool = False) -> str:
    """Return one line on what `model` names, without loading it. Raises where it would not work."""
    import torch

    source = read(model)
    where = "a graphics card" if torch.cuda.is_available() else "the processor, there is no graphics card"
    if source.bits:
        _bits(source)
    path = Path(source.model).expanduser()
    if path.is_dir():
        _where(source.model)
    elif not _cached(source.model):
        raise ModelNotFound(
            f"{source.model!r} is no folder, and not in the hub's cache",
            hint="Fetched at first use, where a hub is reached" if not offline else "Name a folder",
        )
    return f"local/{model}: on this disk, runs on {where}"


def read(model: str) -> Source:
    """Return what `hub/id+adapter?bits=4&dtype=bfloat16` names.

    Raises:
        UnknownSpec: another option, or a value that is none.
    """
    name, _, query = model.partition("?")
    asked = {key: values[-1] for key, values in parse_qs(query).items()}
    bits, dtype = asked.pop("bits", "0"), asked.pop("dtype", "")
    if asked or bits not in ("0", "4", "8") or dtype not in ("", *DTYPES):
        raise UnknownSpec(
            f"{model!r} has an option that is not known", hint=f"Write ?bits=4 or 8, &dtype={'|'.join(DTYPES)}"
        )
    name, _, adapter = name.partition("+") if not Path(name).expanduser().exists() else (name, "", "")
    return Source(name, adapter, int(bits), dtype)


def _where(model: str) -> tuple[str, dict[str, Any]]:
    """Return what to load from; for a folder that has a GGUF file and no configuration, that file too."""
    path = Path(model).expanduser()
    if path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    if not path.is_dir():
        if model.startswith(("/", "~", ".")) or path.suffix == ".gguf" or model.count("/") > 1:  # a hub id never is
            raise ModelNotFound(f"there is no folder or file {str(path)!r}", hint="Name a folder with a model")
        return model, {}
    if (path / "config.json").is_file():
        return str(path), {}
    files = sorted(path.glob("*.gguf"))
    if len(files) != 1:
        raise ModelNotFound(f"{str(path)!r} has no config.json and not one GGUF file", hint="Name a model's folder")
    return str(path), {"gguf_file": files[0].name}


def _weights(source: Source, device: str, *, gguf: bool) -> dict[str, Any]:
    import torch

    own = "auto" if device == "cuda" and not gguf else torch.float32
    options: dict[str, Any] = {"dtype": getattr(torch, source.dtype) if source.dtype else own}
    if source.bits:
        options |= {"quantization_config": _bits(source), "device_map": "auto"}
    elif gguf:
        from transformers import GgufConfig

        options["quantization_config"] = GgufConfig(dequantize=True)
    return options


def _bits(source: Source) -> Any:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise MissingExtra(f"{source.bits}-bit weights", extra="gpu")
    import torch
    from transformers import BitsAndBytesConfig

    if source.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def _adapted(network: Any, adapter: str, *, offline: bool) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtra("an adapter", extra="finetune") from error
    path = Path(adapter).expanduser()
    try:
        return PeftModel.from_pretrained(
            network, str(path) if path.is_dir() else adapter, local_files_only=offline or path.is_dir()
        )
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"cannot load the adapter {adapter!r}: {scrub(str(error)).splitlines()[0]}",
            hint="Name the folder that matlit finetune wrote: local/MODEL+FOLDER",
        ) from error
    except (RuntimeError, KeyError) as error:
        raise ModelError(
            f"the adapter {adapter!r} does not fit the model: {str(error).splitlines()[0]}",
            hint="Load it onto the model it was trained on",
        ) from error


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return the turns in the three roles that every chat template knows; results of tools come from the user."""
    turns: list[dict[str, str]] = []
    for message in messages:
        calls = [json.dumps({"name": call.name, "arguments": call.arguments}) for call in message.tool_calls]
        content = "\n".join(filter(None, [message.content, *calls]))
        role = "user" if message.role == "tool" else message.role
        if turns and turns[-1]["role"] == role:  # templates that want turns to alternate fail otherwise
            turns[-1]["content"] += f"\n\n{content}"
        else:
            turns.append({"role": role, "content": content})
    return turns


def _without_system(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    system = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system")
    rest = [dict(turn) for turn in turns if turn["role"] != "system"]
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    rest[0]["content"] = f"{system}\n\n{rest[0]['content']}"
    return rest


def _padding(tokenizer: Any) -> Any:
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def _cached(model: str) -> bool:
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(model, "config.json"), str)
    except errors.HFValidationError:
        return False

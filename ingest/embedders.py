"""The embedders beside the default one: by hashing, by sentence-transformers, by OpenAI and by Gemini.

Each class stands in `ingest.embed.EMBEDDERS` and has `make` and `make_tokeniser`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from ingest import hub
from ingest.embed import (
    EmbedderInfo,
    FileTokeniser,
    PieceTokeniser,
    Span,
    Tokeniser,
    Vectors,
    refuse_offline,
    unit,
    unknown_embedder,
)
from ingest.errors import EmbedderError

if TYPE_CHECKING:
    import google.genai
    import openai

HASHING_DIMENSION = 256
HASHING_TOKENS = 256


class _Base:
    """What every embedder here shares: its name and its tokeniser's work."""

    def __init__(self, name: str, tokeniser: Tokeniser) -> None:
        self.name = name
        self.tokeniser = tokeniser
        self.max_tokens = tokeniser.max_tokens

    revision: str
    dimension: int

    @property
    def info(self) -> EmbedderInfo:
        """Return what identifies the vectors."""
        return EmbedderInfo(self.name, self.revision, self.dimension)

    def tokenise(self, text: str) -> list[Span]:
        """Return the character spans of the tokens."""
        return self.tokeniser.tokenise(text)

    def tokenise_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the character spans of the tokens of each text."""
        return self.tokeniser.tokenise_many(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        return self.tokeniser.count_tokens(texts)


class Hashing(_Base):
    """A bag of words, each hashed to a signed place (Weinberger et al. 2009, https://arxiv.org/abs/0902.2206).

    It knows no meaning: texts are near when they share words. For tests, and to try a pipeline at no cost.
    """

    revision = "1"
    dimension = HASHING_DIMENSION

    @classmethod
    def make(cls, model: str, *, threads: int, offline: bool, cache_dir: Path | None) -> Hashing:
        """Build the embedder."""
        return cls("hashing", cls.make_tokeniser(model, offline=offline))

    @classmethod
    def make_tokeniser(cls, model: str, *, offline: bool) -> PieceTokeniser:
        """Return the tokeniser."""
        return PieceTokeniser("hashing", HASHING_TOKENS)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text; zeros for a text without words."""
        if not texts:
            return np.zeros((0, HASHING_DIMENSION), dtype=np.float32)
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a text."""
        vector = np.zeros(HASHING_DIMENSION, dtype=np.float32)
        for word in re.findall(r"\w+", text.casefold()):
            place = zlib.crc32(word.encode())
            vector[place % HASHING_DIMENSION] += 1.0 if place & 0x80000000 else -1.0
        return unit(vector)


class SentenceTransformers(_Base):
    """Any sentence-transformers model, by Hugging Face id or folder, run by torch."""

    def __init__(self, model: str, *, threads: int, offline: bool) -> None:
        super().__init__(f"sentence-transformers/{model}", self.make_tokeniser(model, offline=offline))
        self._folder = _model_folder(model, offline=offline)
        self._prompts = _prompts(model, self._folder)
        self._threads = threads
        self.revision = _folder_revision(self._folder)

    @classmethod
    def make(cls, model: str, *, threads: int, offline: bool, cache_dir: Path | None) -> SentenceTransformers:
        """Build the embedder; the model is loaded when it is first used."""
        return cls(model, threads=threads, offline=offline)

    @classmethod
    def make_tokeniser(cls, model: str, *, offline: bool) -> FileTokeniser:
        """Return the tokeniser of the model's `tokenizer.json`."""
        folder = _model_folder(model, offline=offline)
        name = f"sentence-transformers/{model}"
        path = next((found for found in _spots(folder, "tokenizer.json")), None)
        if path is None:
            message = f"the model {model!r} has no tokenizer.json, which matlit needs to cut text by its tokens"
            raise EmbedderError(
                message, hint="Save it once with AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER)"
            )
        bare = FileTokeniser(name, path, 0)
        added = bare.backend.num_special_tokens_to_add(False)
        prompt = max(bare.count_tokens(_prompts(model, folder)), default=0)
        return FileTokeniser(name, path, _positions(folder) - added - prompt)

    @cached_property
    def dimension(self) -> int:  # type: ignore[override]  # loading the model to know it can wait
        """Return the length of the vectors."""
        return len(self.embed_query("dimension"))

    @cached_property
    def _model(self) -> Any:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        if self._threads:
            torch.set_num_threads(self._threads)
        try:
            logging.disable_progress_bar()  # stderr is ours
            return SentenceTransformer(str(self._folder), local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise EmbedderError(f"sentence-transformers cannot load {self.name!r}: {error}") from error

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, with the model's prompt for passages before each."""
        return self._encode(texts, self._prompts[1])

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a question, with the model's prompt for questions before it."""
        vectors: Vectors = self._encode([text], self._prompts[0])[0]
        return vectors

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        found = self._model.encode([prompt + text for text in texts], prompt="", show_progress_bar=False)
        return unit(np.asarray(found))


def _model_folder(model: str, *, offline: bool) -> Path:
    """Return the folder of a model: the one named, the one in the local Hugging Face cache, or one downloaded now."""
    if (folder := Path(model).expanduser()).is_dir():
        return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = model if "/" in model else f"sentence-transformers/{model}"
    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except HFValidationError as error:
        raise EmbedderError(f"there is no folder {model!r}, and it is no Hugging Face id either") from error
    except LocalEntryNotFoundError as error:
        if offline or os.environ.get("HF_HUB_OFFLINE") == "1":
            raise refuse_offline(f"sentence-transformers/{model}", needs="a download from Hugging Face") from error
    if why := hub.trouble():
        raise EmbedderError(f"the model {model!r} is not on this disk, and {why}", hint=hub.NEXT_STEP, retryable=True)
    unneeded = ["*.onnx", "onnx/*", "openvino/*", "*.h5", "*.ot", "*.msgpack", "pytorch_model.bin"]
    try:
        with hub.quietly():
            return Path(snapshot_download(repository, ignore_patterns=unneeded))
    except (HfHubHTTPError, OSError) as error:
        message = f"the model {model!r} could not be downloaded: {error}"
        raise EmbedderError(
            message, hint="Check the id and the connection, or name a local folder", retryable=True
        ) from error


def _spots(folder: Path, name: str) -> Iterator[Path]:
    """Yield the files called `name`: in the folder itself, or in that of the first module, as old models have it."""
    for candidate in (folder / name, folder / "0_Transformer" / name):
        if candidate.is_file():
            yield candidate


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    for path in _spots(folder, name):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EmbedderError(f"{path.name} of the model in {folder} cannot be read: {error}") from error
        return content if isinstance(content, dict) else {}
    return {}


def _positions(folder: Path) -> int:
    """Return how many tokens the model reads, special ones included."""
    limits = [
        _read_json(folder, "sentence_bert_config.json").get("max_seq_length"),
        _read_json(folder, "tokenizer_config.json").get("model_max_length"),
        _read_json(folder, "config.json").get("max_position_embeddings"),
    ]
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 1_000_000]
    return min(known, default=512)


def _prompts(model: str, folder: Path) -> tuple[str, str]:
    """Return what the model wants before a question and before a passage."""
    prompts = _read_json(folder, "config_sentence_transformers.json").get("prompts") or {}
    query = str(prompts.get("query") or "")
    passage = str(prompts.get("document") or prompts.get("passage") or "")
    # The E5 models were trained with these (https://huggingface.co/intfloat/multilingual-e5-small) but do not say so
    # in their files; their "instruct" kin were not.
    if not (query or passage) and re.search(r"\be5-(?!.*instruct)", Path(model).name.casefold()):
        return "query: ", "passage: "
    return query, passage


def _folder_revision(folder: Path) -> str:
    """Return the commit of a Hugging Face snapshot, else a hash of the folder's configuration and weights.

    Of large files only the size and the first and last mebibyte count: enough to tell models apart, and quick.
    """
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return folder.name[:12]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".json", ".safetensors", ".bin"} and path.is_file():
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
            with path.open("rb") as file:
                digest.update(file.read(1 << 20))
                file.seek(max(0, size - (1 << 20)))
                digest.update(file.read())
    return digest.hexdigest()[:12]


class _Hosted(_Base):
    """An embedding API: texts go in batches, failures of the provider become `EmbedderError`."""

    scheme: str
    models: dict[str, tuple[int, int]]  # model -> dimension, tokens it reads
    keys: tuple[str, ...]
    url_variable: str
    batch_size: int

    def __init__(self, model: str, *, offline: bool) -> None:
        super().__init__(f"{self.scheme}/{model}", self.make_tokeniser(model, offline=offline))
        if offline and not _is_local(self._base_url()):
            raise refuse_offline(self.name, needs="the API of its provider")
        self.model = model
        self.revision = "1"
        self.dimension = self.models[model][0]
        self._key = self._find_key()

    @classmethod
    def make_tokeniser(cls, model: str, *, offline: bool) -> PieceTokeniser:
        """Return a tokeniser by rule: the provider's own would have to be downloaded, and passages are far shorter."""
        name = f"{cls.scheme}/{model}"
        if model not in cls.models:
            raise unknown_embedder(name, choices=[f"{cls.scheme}/{known}" for known in cls.models])
        return PieceTokeniser(name, cls.models[model][1])

    @classmethod
    def _base_url(cls) -> str:
        return os.environ.get(cls.url_variable, "")

    def _find_key(self) -> str:
        for name in self.keys:
            if key := os.environ.get(name, "").strip():
                return key
        message = (
            f"the embedder {self.name!r} needs an API key, and {' and '.join(self.keys)} {_are(self.keys)} not set"
        )
        raise EmbedderError(message, hint=f"Put {self.keys[0]}=… into the environment or into .env")

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        starts = range(0, len(texts), self.batch_size)
        parts = [self._checked(texts[start : start + self.batch_size], self._documents) for start in starts]
        return np.concatenate(parts)

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a question."""
        vectors: Vectors = self._checked([text], self._queries)[0]
        return vectors

    def _checked(self, texts: Sequence[str], embed: Callable[[list[str]], list[list[float]]]) -> Vectors:
        # The providers refuse an empty string; a space stands for it.
        vectors = np.asarray(embed([text or " " for text in texts]), dtype=np.float32)
        if vectors.shape != (len(texts), self.dimension):
            message = f"{self.name} returned vectors of shape {vectors.shape}, not {(len(texts), self.dimension)}"
            raise EmbedderError(message, retryable=True)
        return unit(vectors)

    def _documents(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError

    def _queries(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError

    def _failed(self, error: Exception, status: int | None) -> EmbedderError:
        retryable = status is None or status in {408, 409, 429} or status >= 500
        reason = {401: "the key was refused", 403: "the key may not use it", 429: "the rate limit or quota is used up"}
        why = reason.get(status or 0, str(error).replace(self._key, "…"))
        hint = f"Check {self.keys[0]}" if status in {401, 403} else "Try again later; what was embedded so far is kept"
        return EmbedderError(f"{self.name} failed: {why}", hint=hint, retryable=retryable)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _is_local(url: str) -> bool:
    """Tell whether a URL names this machine, so that no byte leaves it."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class OpenAI(_Hosted):
    """OpenAI's embeddings (https://platform.openai.com/docs/guides/embeddings), or of a server with their protocol."""

    scheme = "openai"
    models = {"text-embedding-3-small": (1536, 8191), "text-embedding-3-large": (3072, 8191)}  # noqa: RUF012
    keys = ("OPENAI_API_KEY",)
    url_variable = "OPENAI_BASE_URL"
    batch_size = 256  # the API takes 2,048 texts and 300,000 tokens; smaller requests lose less when one fails

    @classmethod
    def make(cls, model: str, *, threads: int, offline: bool, cache_dir: Path | None) -> OpenAI:
        """Build the embedder; nothing is sent yet."""
        return cls(model, offline=offline)

    @cached_property
    def _client(self) -> openai.OpenAI:
        from openai import OpenAI as Client

        return Client(api_key=self._key, max_retries=6, timeout=60.0)  # retries wait longer each time, or as told

    def _documents(self, texts: list[str]) -> list[list[float]]:
        import openai

        try:
            answer = self._client.embeddings.create(model=self.model, input=texts, encoding_format="float")
        except openai.APIStatusError as error:
            raise self._failed(error, error.status_code) from error
        except openai.APIError as error:
            raise self._failed(error, None) from error
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]

    _queries = _documents


class Gemini(_Hosted):
    """Google's embeddings (https://ai.google.dev/gemini-api/docs/embeddings), told apart as question and passage."""

    scheme = "gemini"
    models = {"gemini-embedding-001": (3072, 2048)}  # noqa: RUF012
    keys = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    url_variable = "GOOGLE_GEMINI_BASE_URL"
    batch_size = 100  # the API's own limit

    @classmethod
    def make(cls, model: str, *, threads: int, offline: bool, cache_dir: Path | None) -> Gemini:
        """Build the embedder; nothing is sent yet."""
        return cls(model, offline=offline)

    @cached_property
    def _client(self) -> google.genai.Client:
        from google.genai import Client, types

        retry = types.HttpRetryOptions(attempts=6, initial_delay=1.0, exp_base=2.0, max_delay=60.0)
        options = types.HttpOptions(base_url=self._base_url() or None, timeout=60_000, retry_options=retry)
        return Client(api_key=self._key, http_options=options)

    def _documents(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts, "RETRIEVAL_DOCUMENT")

    def _queries(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts, "RETRIEVAL_QUERY")

    def _embed(self, texts: list[str], task: str) -> list[list[float]]:
        import httpx
        from google.genai import errors, types

        config = types.EmbedContentConfig(task_type=task)
        try:
            contents: list[Any] = list(texts)
            answer = self._client.models.embed_content(model=self.model, contents=contents, config=config)
        except errors.APIError as error:
            raise self._failed(error, error.code) from error
        except httpx.HTTPError as error:
            raise self._failed(error, None) from error
        return [list(item.values or []) for item in answer.embeddings or []]

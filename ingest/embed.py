"""What an embedder is, and the table of those that matlit knows; no model lives here.

A name is `NAME` for what comes with the installation and `scheme/NAME` for the rest. For Japanese or mixed-language
libraries choose a multilingual model, for example `sentence-transformers/intfloat/multilingual-e5-small`: the default
reads English only and sees most Japanese characters as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from ingest.errors import EmbedderError, OfflineError

if TYPE_CHECKING:
    import tokenizers

Vectors = npt.NDArray[np.float32]
Span = tuple[int, int]

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"

EMBEDDERS = {  # name or scheme -> "module:factory", imported on first use; a factory has `make` and `make_tokeniser`
    "all-MiniLM-L6-v2": "ingest.minilm:Int8",
    "all-MiniLM-L6-v2-fp32": "ingest.minilm:Fp32",
    "hashing": "ingest.embedders:Hashing",
    "sentence-transformers": "ingest.embedders:SentenceTransformers",
    "openai": "ingest.embedders:OpenAI",
    "gemini": "ingest.embedders:Gemini",
}

EXAMPLES = (
    "all-MiniLM-L6-v2",
    "all-MiniLM-L6-v2-fp32",
    "hashing",
    "sentence-transformers/intfloat/multilingual-e5-small",
    "openai/text-embedding-3-small",
    "openai/text-embedding-3-large",
    "gemini/gemini-embedding-001",
)


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """What identifies the vectors of an embedder: those of two embedders with equal info may be compared."""

    name: str
    revision: str
    dimension: int


@runtime_checkable
class Tokeniser(Protocol):
    """The part of an embedder that cuts text: light enough for a reader's worker process.

    `max_tokens` is how many tokens of text the model reads: the special tokens and prefixes it adds are deducted.
    """

    @property
    def name(self) -> str:
        """Return the name, as in `EMBEDDERS`."""

    @property
    def max_tokens(self) -> int:
        """Return how many tokens of text the model reads."""

    def tokenise(self, text: str) -> list[Span]:
        """Return the character spans of the model's tokens, without the special ones, never truncated."""

    def tokenise_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Do `tokenise` for many texts at once, which is several times faster."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, without the special ones."""


@runtime_checkable
class Embedder(Tokeniser, Protocol):
    """A model that turns text into unit vectors, so that the cosine similarity is the dot product."""

    @property
    def revision(self) -> str:
        """Return what changes when the model's vectors change."""

    @property
    def dimension(self) -> int:
        """Return the length of the vectors."""

    @property
    def info(self) -> EmbedderInfo:
        """Return what identifies the vectors."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, shape (n, dimension); what exceeds `max_tokens` is not read."""

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a question, shape (dimension,)."""


def make_embedder(name: str, *, threads: int = 0, offline: bool = True, cache_dir: Path | None = None) -> Embedder:
    """Build the embedder called `name`, for example `all-MiniLM-L6-v2` or `openai/text-embedding-3-small`.

    `threads` of 0 means one per core. `cache_dir` holds prepared models; None means the user's cache folder.
    Raises `EmbedderError` for an unknown name, a missing model or key, and `OfflineError` where `offline` forbids the
    connection that the model would need.
    """
    factory, model = _factory(name)
    return cast(Embedder, factory.make(model, threads=threads, offline=offline, cache_dir=cache_dir))


def make_tokeniser(name: str, *, offline: bool = True) -> Tokeniser:
    """Build only the tokeniser of the embedder called `name`; errors as in `make_embedder`."""
    factory, model = _factory(name)
    return cast(Tokeniser, factory.make_tokeniser(model, offline=offline))


def _factory(name: str) -> tuple[Any, str]:
    scheme, slash, model = name.partition("/")
    nested = scheme in ("sentence-transformers", "openai", "gemini")
    if scheme not in EMBEDDERS or nested != bool(slash and model):
        raise unknown_embedder(name)
    module, attribute = EMBEDDERS[scheme].split(":")
    return getattr(import_module(module), attribute), model


def unknown_embedder(name: str, *, choices: Sequence[str] = EXAMPLES) -> EmbedderError:
    """Return the error for a name that no embedder has, with near matches and the choices."""
    near = get_close_matches(name.casefold(), [choice.casefold() for choice in choices], n=2, cutoff=0.5)
    meant = [choice for choice in choices if choice.casefold() in near]
    question = f"; did you mean {' or '.join(meant)}?" if meant else ""
    hint = f"Known: {', '.join(choices)}; any sentence-transformers model goes by sentence-transformers/NAME_OR_FOLDER"
    return EmbedderError(f"there is no embedder named {name!r}{question}", hint=hint)


def refuse_offline(name: str, *, needs: str) -> OfflineError:
    """Return the error for an embedder that would have to connect to `needs`."""
    return OfflineError(f"the embedder {name!r} needs {needs}, and offline mode forbids the connection")


@dataclass(frozen=True)
class FileTokeniser:
    """The tokeniser of a `tokenizer.json`, run by the `tokenizers` library alone."""

    name: str
    path: Path
    max_tokens: int

    @cached_property
    def backend(self) -> tokenizers.Tokenizer:
        """Return the loaded tokeniser, without truncation and padding."""
        from tokenizers import Tokenizer

        backend = Tokenizer.from_file(str(self.path))
        backend.no_truncation()
        backend.no_padding()
        return backend

    def __getstate__(self) -> dict[str, object]:
        # The loaded tokeniser stays behind when this goes to a worker process, which reads the file again.
        return {"name": self.name, "path": self.path, "max_tokens": self.max_tokens}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)

    def tokenise(self, text: str) -> list[Span]:
        """Return the character spans of the tokens."""
        return self.tokenise_many([text])[0]

    def tokenise_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the character spans of the tokens of each text."""
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.offsets for encoding in encodings]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        return [len(encoding) for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]


# Runs of letters in fours, of digits in threes, single CJK characters, single other signs.
_PIECE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]|\d{1,3}|[^\W\d_]{1,4}|[^\w\s]|_")


@dataclass(frozen=True)
class PieceTokeniser:
    """A tokeniser by rule, for models whose own is not public or not on this machine.

    Its pieces are a little shorter than those of the common byte-pair vocabularies, so that its counts err upwards.
    """

    name: str
    max_tokens: int

    def tokenise(self, text: str) -> list[Span]:
        """Return the character spans of the pieces."""
        return [match.span() for match in _PIECE.finditer(text)]

    def tokenise_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the character spans of the pieces of each text."""
        return [self.tokenise(text) for text in texts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of pieces of each text."""
        return [len(self.tokenise(text)) for text in texts]


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    """Return the rows scaled to length 1, as float32; a row of zeros stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return cast(Vectors, rows / np.where(norms > 0, norms, 1).astype(np.float32))

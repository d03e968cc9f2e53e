"""What can be set, and where each value came from: file < environment < flags.

One frozen dataclass per concern. The file is TOML with one table per concern; unknown tables and keys are refused.
Inner functions never see a `Settings`: the edge (command line, app, `Assistant`) reads it once and passes values.
"""

from __future__ import annotations

import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ingest.errors import BadSettings

SETTINGS_VARIABLE = "MATLIT_SETTINGS"
LIBRARY_VARIABLE = "MATLIT_LIBRARY"


@dataclass(frozen=True, slots=True)
class LibrarySettings:
    """Where the library is."""

    path: str = ""  # "" means the user's data folder
    chroma_url: str = ""  # "" means a Chroma kept inside the library folder


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How files are read, each in a worker process."""

    workers: int = 0  # 0 means one per core
    timeout_s: float = 300.0  # for one file
    memory_mb: int = 2048  # for one worker
    max_pages: int = 5000
    max_file_mb: int = 500
    ocr: Literal["auto", "never", "always"] = "auto"
    ocr_languages: str = "eng+jpn"


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """Which embedding model the library is built with."""

    model: str = "all-MiniLM-L6-v2"
    batch_tokens: int = 8192
    threads: int = 0  # 0 means one per core


@dataclass(frozen=True, slots=True)
class ChunkingSettings:
    """How pages are cut; changing it needs `matlit ingest --rebuild`."""

    max_tokens: int = 200
    overlap_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a question finds passages."""

    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    k: int = 10


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which language model answers; every role inherits `model`."""

    model: str = "extractive"
    offline: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `sources` maps "table.key" to where its value came from."""

    library: LibrarySettings = LibrarySettings()
    reading: ReadingSettings = ReadingSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    search: SearchSettings = SearchSettings()
    models: ModelSettings = ModelSettings()
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

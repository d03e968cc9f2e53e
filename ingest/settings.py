"""What can be set, and where each value came from: file < environment < flags.

One frozen dataclass per concern. The file is TOML with one table per concern; unknown tables and keys are refused.
Inner functions never see a `Settings`: the edge (command line, app, `Assistant`) reads it once and passes values.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ingest.errors import BadSettings

Role = Literal["answer", "keywords", "summarize", "translate"]

SETTINGS_VARIABLE = "MATLIT_SETTINGS"
VARIABLES = {"MATLIT_LIBRARY": "library.path", "MATLIT_MODEL": "models.model", "MATLIT_OFFLINE": "models.offline"}
KEYS = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "ANTHROPIC_API_KEY",
    "MP_API_KEY",
    "MATLIT_SERVER_KEY",
    "HF_TOKEN",
)


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
    download: bool = False  # may a sentence-transformers model be fetched from its hub
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
    rerank: str = ""  # a cross-encoder of sentence-transformers, by name or folder, that orders the best 50 anew


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which language model works; a role that names none of its own ("") inherits `model`."""

    model: str = "extractive"
    answer: str = ""
    keywords: str = ""
    summarize: str = ""
    translate: str = ""
    offline: bool = False
    timeout_s: float = 120.0  # for one answer of a model
    cache: str = ""  # a file that keeps replies, so that the same request is not paid twice; "" means none
    rates: str = ""  # calls and tokens a minute that providers allow: "openai=500/200000, gemini=10"

    def role(self, name: Role) -> str:
        """Return the spec of the model that has the role `name`."""
        own: str = getattr(self, name)
        return own or self.model


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How a language model may work on one question, and where it has to stop."""

    loop: Literal["auto", "tools", "planned"] = "auto"  # planned: tools are chosen by rules, not by the model
    max_steps: int = 8  # calls of the model
    max_tokens: int = 100_000  # read and written, over all steps
    max_seconds: float = 300.0
    max_cost_usd: float = 0.5
    evidence_tokens: int = 0  # of passages shown at once; 0 means by the model
    examples: str = ""  # a file of JSON lines for the few-shot strategy; "" means matlit's own


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `sources` maps "table.key" to where its value came from."""

    library: LibrarySettings = LibrarySettings()
    reading: ReadingSettings = ReadingSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    search: SearchSettings = SearchSettings()
    models: ModelSettings = ModelSettings()
    agent: AgentSettings = AgentSettings()
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def library_path(self) -> Path:
        """Return the library's folder: the one set, else `library` in the user's data folder."""
        return Path(self.library.path).expanduser() if self.library.path else default_library_path()

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per setting: name, value in force, and where it came from."""
        return [
            {"name": name, "value": value, "source": self.sources.get(name, "default")}
            for name, value in _flatten(self).items()
        ]


def default_library_path() -> Path:
    """Return the library's folder where nothing is set."""
    import platformdirs

    return Path(platformdirs.user_data_dir("matlit")) / "library"


def settings_path() -> Path:
    """Return the settings file: `$MATLIT_SETTINGS`, else `settings.toml` in the user's configuration folder."""
    import platformdirs

    given = os.environ.get(SETTINGS_VARIABLE)
    return Path(given).expanduser() if given else Path(platformdirs.user_config_dir("matlit")) / "settings.toml"


def load_settings(
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> Settings:
    """Return what is in force: defaults, then the settings file, then the environment, then `flags`.

    `flags` maps "table.key" to a value; entries that are None were not given. A named variable `MATLIT_LIBRARY`,
    `MATLIT_MODEL` or `MATLIT_OFFLINE` sets one value, and `MATLIT_<TABLE>_<KEY>` any other.

    Raises:
        BadSettings: the file is not TOML, or a table, key or value is unknown or of the wrong type.
    """
    path = settings_path() if path is None else path
    environment = os.environ if environment is None else environment
    settings = Settings()
    settings = _overlay(settings, _from_file(path), str(path))
    settings = _overlay(settings, _from_environment(environment), "environment")
    return _overlay(settings, _given(flags), "flag")


def _given(flags: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the flags that were given. A model named for this one call does its work, whatever the role's own is."""
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    asked = {f"models.{role}": "" for role in ("answer", "keywords", "summarize")} if "models.model" in given else {}
    return asked | given


def load_valid_settings(*, flags: Mapping[str, Any] | None = None) -> tuple[Settings, tuple[BadSettings, ...]]:
    """Return what `load_settings` would, leaving out what is wrong, and what that is; for telling how to mend it.

    Where something is wrong the result is offline: the fault may hide that it was asked for.
    """
    path, settings = settings_path(), Settings()
    faults: list[BadSettings] = []
    from_file: dict[str, Any] = {}
    try:
        from_file = _from_file(path)
    except BadSettings as error:
        faults.append(error)
    given = _given(flags)
    for values, source in ((from_file, str(path)), (_from_environment(os.environ), "environment"), (given, "flag")):
        for name, value in values.items():
            try:
                settings = _overlay(settings, {name: value}, source)
            except BadSettings as error:
                faults.append(error)
    return (_overlay(settings, {"models.offline": True}, "fault") if faults else settings), tuple(faults)


def load_keys(folder: Path | None = None) -> None:
    """Read API keys from `.env` in `folder` (the current one by default) into the environment, where not set already.

    Only the names in `KEYS` are taken, so that a stray `.env` cannot change anything else.
    """
    from dotenv import dotenv_values

    path = (folder or Path.cwd()) / ".env"
    if not path.is_file():
        return
    for name, value in dotenv_values(path).items():
        if name in KEYS and value and name not in os.environ:
            os.environ[name] = value


def known_settings() -> list[str]:
    """Return every setting's name, as "table.key"."""
    return list(_flatten(Settings()))


def _flatten(settings: Settings) -> dict[str, Any]:
    return {
        f"{table.name}.{key.name}": getattr(getattr(settings, table.name), key.name)
        for table in _tables()
        for key in fields(getattr(settings, table.name))
    }


def _tables() -> list[Any]:
    return [table for table in fields(Settings) if table.name != "sources"]


def _overlay(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    for name, value in values.items():
        if name not in _flatten(settings):
            raise BadSettings(f"unknown setting {name!r} in {source}{_near(name, known_settings())}")
        table, key = name.split(".", 1)
        concern = getattr(settings, table)
        wanted = get_type_hints(type(concern))[key]
        changed = replace(concern, **{key: _convert(value, wanted, name=name, source=source)})
        settings = replace(settings, **{table: changed}, sources={**settings.sources, name: source})
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"cannot read the settings file {str(path)!r}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"the settings file {str(path)!r} is not valid TOML: {error}") from error
    values: dict[str, Any] = {}
    for table, content in document.items():
        if table not in {known.name for known in _tables()}:
            known = [known.name for known in _tables()]
            raise BadSettings(f"unknown table [{table}] in {str(path)!r}{_near(table, known)}")
        if not isinstance(content, dict):
            raise BadSettings(f"{table!r} in {str(path)!r} is {content!r}, but should be a table: write [{table}]")
        values |= {f"{table}.{key}": value for key, value in content.items()}
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    general = {f"MATLIT_{name.replace('.', '_').upper()}": name for name in known_settings()}
    names = general | VARIABLES
    return {name: environment[variable] for variable, name in names.items() if environment.get(variable)}


def _convert(value: Any, wanted: Any, *, name: str, source: str) -> Any:
    """Return `value` as the type `wanted`; text (from the environment) is parsed, anything else must fit already."""
    if get_origin(wanted) is Literal:
        if value in get_args(wanted):
            return value
        raise BadSettings(f"{name} is {value!r} in {source}; it can be {', '.join(map(repr, get_args(wanted)))}")
    if wanted is bool and isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    if wanted in (int, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return _number(value, wanted, name=name, source=source)
    if isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool):  # True is an int in Python
        return value
    raise BadSettings(f"{name} is {value!r} in {source}, but should be {_TYPE_NAMES[wanted]}")


def _number(value: float | str, wanted: type, *, name: str, source: str) -> float:
    try:
        number = wanted(value)
    except ValueError as error:
        raise BadSettings(f"{name} is {value!r} in {source}, but should be {_TYPE_NAMES[wanted]}") from error
    if number != float(value) or not 0 <= number < float("inf"):
        raise BadSettings(f"{name} is {value!r} in {source}, but should be {_TYPE_NAMES[wanted]}, 0 or more")
    return float(number) if wanted is float else int(number)


_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"

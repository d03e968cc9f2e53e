"""What works on this machine, and how to mend the rest; no key is ever printed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingest.errors import BadSettings, LibraryNotFound, MatlitError
from ingest.settings import KEYS, Settings, settings_path

LOW_DISK_GB = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `hint` is the next step where it is not well."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    optional: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the check as plain data."""
        return asdict(self)


def examine(settings: Settings, faults: Sequence[BadSettings] = ()) -> list[Check]:
    """Look at Python, settings, library, embedder, models of all roles, tools, OCR, keys and disk.

    `faults` are what `load_valid_settings` found wrong with the settings.
    """
    return [*_python(settings), *_settings_file(faults), *(check for part in PARTS for check in part(settings))]


def _python(settings: Settings) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= (3, 11), version, "matlit needs Python 3.11 or newer")


def _settings_file(faults: Sequence[BadSettings]) -> Iterator[Check]:
    path = settings_path()
    more = "what else is checked here leaves it out, and stays offline"
    yield from (Check("settings", False, str(fault), f"{fault.hint}; {more}") for fault in faults)
    if not faults:
        yield Check("settings", True, str(path) if path.is_file() else f"defaults ({path} does not exist)")


def _library(settings: Settings) -> Iterator[Check]:
    from ingest.library import Library

    path = settings.library_path
    try:
        status = Library.open(path).status()
    except LibraryNotFound as error:
        yield Check("library", False, str(error), error.hint, optional=True)
    except MatlitError as error:
        yield Check("library", False, str(error), error.hint)
    else:
        yield Check("library", True, f"{path}: {status['papers']} papers, {status['chunks']} passages")


def _embedder(settings: Settings) -> Iterator[Check]:
    from ingest.embed import make_embedder

    name = settings.embedding.model
    try:
        vector = make_embedder(name, offline=True).embed_query("lithium")
    except MatlitError as error:
        yield Check("embedder", False, f"{name}: {error}", error.hint)
    else:
        yield Check("embedder", True, f"{name}, {len(vector)} dimensions, on this machine")


def _models(settings: Settings) -> Iterator[Check]:
    """Look at the model that answers, and at those of other roles where they are not the same."""
    from assistant.limits import parse_rates
    from assistant.llms import check_model

    models = settings.models
    try:
        parse_rates(models.rates)
    except BadSettings as error:
        yield Check("rates", False, str(error), error.hint)
    specs = {"model": models.role("answer")}
    specs |= {role: spec for role in ("keywords", "summarize", "translate") if (spec := getattr(models, role))}
    for role, spec in specs.items():
        try:
            yield Check(role, True, check_model(spec, offline=models.offline))
        except MatlitError as error:
            hint = error.hint or "See what a model can be: matlit models"
            yield Check(role, False, str(error), hint)


def _tools(settings: Settings) -> Iterator[Check]:
    """Name the tools that installed packages add, and those that cannot be used."""
    from assistant.tools import BUILTIN, Tool, look_for_installed

    found = look_for_installed()
    own = [name if tool.read_only else f"{name} (asks first)" for name, tool in found if isinstance(tool, Tool)]
    more = f", and from packages: {', '.join(own)}" if own else ""
    yield Check("tools", True, f"{len(BUILTIN)} built in{more}", optional=True)
    hint = "Mend or uninstall the package; everything else works without it"
    yield from (Check("tools", False, reason, hint, optional=True) for _, reason in found if isinstance(reason, str))


def _ocr(settings: Settings) -> Iterator[Check]:
    from ingest.readers.ocr import available, why_not

    if available():
        yield Check("ocr", True, "Tesseract is here: scanned pages can be read", optional=True)
    else:
        yield Check("ocr", False, why_not(), "Only scanned papers need it: see the README, OCR", optional=True)


def _keys(settings: Settings) -> Iterator[Check]:
    present = [name for name in KEYS if os.environ.get(name)]
    yield Check("keys", True, f"set: {', '.join(present)}" if present else "none set, none needed", optional=True)


def _disk(settings: Settings) -> Iterator[Check]:
    folder = _existing(settings.library_path)
    free_gb = shutil.disk_usage(folder).free / 1e9
    hint = "Free some space: 10,000 papers take about 5 GB"
    yield Check("disk", free_gb >= LOW_DISK_GB, f"{free_gb:.0f} GB free at {folder}", hint)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.resolve().parents) if folder.exists())


PARTS: tuple[Callable[[Settings], Iterator[Check]], ...] = (
    _library,
    _embedder,
    _models,
    _tools,
    _ocr,
    _keys,
    _disk,
)

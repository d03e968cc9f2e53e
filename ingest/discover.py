"""Which files an ingest looks at: paths, folders and globs turned into one ordered list of files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.errors import BadInput
from ingest.readers import READERS

WILDCARDS = "*?["


def discover(paths: Iterable[str | Path], *, allow_empty: bool = False) -> list[Path]:
    """Return the files behind `paths` as absolute paths, each once, ordered by name.

    A file named outright is taken whatever it is called; of folders and globs come the files whose suffix a reader
    knows, hidden ones left out. Raises `BadInput` for a path that does not exist, and for one that holds nothing to
    read unless `allow_empty`.
    """
    found: set[Path] = set()
    for given in paths:
        files = list(_files(given))
        if not files and not allow_empty:
            known = " ".join(sorted(READERS))
            raise BadInput(f"nothing to read in {str(given)!r}", hint=f"Files that can be read end in {known}")
        found.update(files)
    return sorted(found)


def _files(given: str | Path) -> Iterator[Path]:
    path = Path(given).expanduser()
    if path.is_dir():
        yield from _walk(path)
    elif path.exists():
        yield _absolute(path)
    elif any(sign in str(given) for sign in WILDCARDS):
        yield from _expand(path)
    else:
        raise BadInput(f"no such file or folder: {str(given)!r}", hint="Check the spelling, or quote a glob")


def _expand(pattern: Path) -> Iterator[Path]:
    matches = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207 - absolute patterns
    for match in matches:
        if match.is_dir():
            if "**" not in pattern.parts:  # that one names what is inside by itself
                yield from _walk(match)
        elif _is_readable(match):
            yield _absolute(match)


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if _is_readable(Path(name)):
                yield _absolute(Path(root) / name)


def _is_readable(path: Path) -> bool:
    return path.suffix.lower() in READERS and not path.name.startswith((".", "~$"))  # ~$: lock files of word processors


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links, and a path is kept as it is named

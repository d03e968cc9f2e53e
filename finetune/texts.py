"""Structure texts in parallel, each rendered once: a cache on disk by the crystal's content.

The cache is one SQLite file in the user's cache folder. It holds nothing that cannot be rendered again.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ingest.crystals import Crystal
from ingest.structure_text import render

RECIPE = 1  # to be raised when a text of `ingest.structure_text` changes
BATCH = 2048  # crystals that are looked up and rendered at a time; memory stays flat


class TextCache:
    """Rendered texts by content; with `path` None nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._connection: sqlite3.Connection | None = None
        self.hits = self.misses = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _open(path)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Return the texts that are there."""
        if self._connection is None:
            return {}
        found: dict[bytes, str] = {}
        for begin in range(0, len(keys), 500):
            part = keys[begin : begin + 500]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, text FROM texts WHERE key IN ({marks})"  # noqa: S608  # only question marks
            found |= {key: zlib.decompress(text).decode() for key, text in self._connection.execute(query, part)}
        return found

    def put(self, texts: Iterable[tuple[bytes, str]]) -> None:
        """Keep texts."""
        if self._connection is not None:
            rows = [(key, zlib.compress(text.encode(), 1)) for key, text in texts]
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO texts (key, text) VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()


def default_cache() -> Path:
    """Return the cache file of this user."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("matlit")) / "structure_texts.sqlite"


def render_cached(crystals: Iterable[Crystal], cache: TextCache, *, style: str, workers: int = 0) -> Iterator[str]:
    """Yield the text of every crystal, in order; those that the cache does not hold are rendered in parallel."""
    source = iter(crystals)
    while batch := list(islice(source, BATCH)):
        keys = [text_key(crystal, style) for crystal in batch]
        known = cache.get(keys)
        missing = {key: crystal for key, crystal in zip(keys, batch, strict=True) if key not in known}
        cache.hits += len(keys) - len(missing)
        cache.misses += len(missing)
        # few are not worth starting processes for
        fresh = render(missing.values(), style=style, workers=workers if len(missing) > 100 else 1)
        new = dict(zip(missing, fresh, strict=True))
        cache.put(new.items())
        known |= new
        yield from (known[key] for key in keys)


def text_key(crystal: Crystal, style: str) -> bytes:
    """Return the key of a crystal's text in one style: equal exactly when the text must be."""
    digest = hashlib.sha256(f"{RECIPE}|{style}|{sorted(crystal.properties.items())}".encode())
    for array in (crystal.lattice, crystal.numbers, crystal.frac):
        digest.update(array.tobytes())
    return digest.digest()[:16]


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60)
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID")
    except sqlite3.DatabaseError:  # damaged: it is only a cache
        connection.close()
        path.unlink()
        return _open(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    return connection

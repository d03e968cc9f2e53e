"""The Chroma side of a library: one collection of unit vectors, in the library's folder or on a Chroma server.

Chroma holds nothing that the catalogue does not: ids and vectors. What goes wrong inside Chroma leaves here
as `VectorsBroken`, and the library decides whether to rebuild the collection or to search the catalogue's vectors.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from ingest.errors import BadInput, LibraryDamaged
from ingest.index import HNSW
from ingest.lock import disk_full

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

CHROMA_FOLDER = "chroma"
MAX_BATCH = 2000  # below get_max_batch_size() of a local Chroma (5,461) and fast; lowered where a server takes less
MAX_LAG = 2000  # chunks that are compared one by one rather than by opening a large collection again

Vector = npt.NDArray[np.float32]
Result = TypeVar("Result")


class VectorsBroken(LibraryDamaged):
    """Chroma failed; the catalogue still has every vector."""


class ServerUnreachable(VectorsBroken):
    """The Chroma server does not answer: nothing is known to be broken, and nothing must be mended."""

    retryable = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        start = f"start it (chroma run --path FOLDER --host {parts.hostname} --port {parts.port or 8000})"
        super().__init__(
            f"the Chroma server at {url} does not answer",
            hint=f"Look whether it runs, or {start}; its address stands in the library's library.toml",
        )


class VectorStore:
    """One Chroma collection, opened on first use, shared by the threads of a process.

    One process may hold one `VectorStore` per folder only (see `borrow_store`): Chroma's clients of one folder share
    their inside, so one of them cannot be reopened while another one is open.
    """

    def __init__(self, folder: Path, *, collection: str, url: str = "") -> None:
        self._folder = folder
        self._name = collection
        self._url = url
        self._client: ClientAPI | None = None
        self._collection: Collection | None = None
        self._lock = threading.RLock()
        self._epoch = -1  # of the catalogue when the client was opened
        self._known_row = 0  # the newest row of the catalogue then
        self._failures = 0  # of opening the client
        self.users = 0
        self.writers = 0  # this process writes: its own client is never stale

    # Reading

    def query(self, vector: Vector, k: int) -> list[tuple[str, float]]:
        """Return up to `k` (id, cosine similarity), best first."""
        found = self._call(
            lambda c: c.query(query_embeddings=_rows(vector[None, :]), n_results=k, include=["distances"])
        )
        distances = found["distances"] or [[]]
        return [(each, 1.0 - float(distance)) for each, distance in zip(found["ids"][0], distances[0], strict=True)]

    def exists(self) -> bool:
        """Say whether anything was ever written; a server is taken to be there."""
        return bool(self._url) or (self._folder / "chroma.sqlite3").exists()

    def count(self) -> int:
        """Return the number of vectors."""
        return self._call(lambda c: int(c.count()))

    def ids(self) -> set[str]:
        """Return the ids of all vectors."""
        return self._call(lambda c: set(c.get(include=[])["ids"]))

    def get(self, ids: Sequence[str]) -> dict[str, Vector]:
        """Return the stored vectors of those of `ids` that are there."""
        result: dict[str, Vector] = {}
        for start in range(0, len(ids), MAX_BATCH):
            batch = list(ids[start : start + MAX_BATCH])
            found = self._call(lambda c, b=batch: c.get(ids=b, include=["embeddings"]))  # type: ignore[misc]
            result.update(zip(found["ids"], np.asarray(found["embeddings"], dtype=np.float32), strict=True))
        return result

    def refresh(self, epoch: int, last_row: int) -> int:
        """Return the row of the catalogue up to which the client surely knows the vectors, `last_row` being the newest.

        A client that only reads never sees what another process adds. It is opened again when the vectors were
        rewritten (`epoch`), and when it lags more than `MAX_LAG` rows behind; a shorter lag the caller bridges.
        """
        with self._lock:
            if self._url or self.writers:
                return last_row
            if self._epoch != epoch or last_row - self._known_row > MAX_LAG:
                self.close()
                self._epoch, self._known_row = epoch, last_row
            return self._known_row

    def reopen(self) -> None:
        """Let the next call see everything that other processes have written."""
        with self._lock:
            if not self._url and not self.writers:
                self.close()

    # Writing

    def upsert(self, ids: Sequence[str], vectors: Vector) -> None:
        """Write vectors under their ids; doing it again changes nothing."""
        size = self._batch_size() if len(ids) else 1
        for start in range(0, len(ids), size):
            part = slice(start, start + size)
            self._call(lambda c, p=part: c.upsert(ids=list(ids[p]), embeddings=_rows(vectors[p])))  # type: ignore[misc]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete vectors; ids that are not there do not matter."""
        size = self._batch_size() if len(ids) else 1
        for start in range(0, len(ids), size):
            self._call(lambda c, s=start: c.delete(ids=list(ids[s : s + size])))  # type: ignore[misc]

    def clear(self) -> None:
        """Start over with an empty collection, whatever state the old one is in."""
        with self._lock:
            if self._url:
                self._drop_collection()
            else:
                self.close()
                if self._folder.exists():
                    shutil.rmtree(self._folder)
            self._open(create=True)

    def open_for_writing(self) -> None:
        """Open the collection, making it where there is none, and prove that it answers."""
        with self._lock:
            if self._collection is None:
                self._open(create=True)
            collection = self._collection
            if collection is not None:
                with _chroma_errors(self._where):
                    sample = collection.get(limit=1, include=["embeddings"])
                    if sample["ids"]:  # the index may be broken although the rows can be read
                        collection.query(query_embeddings=sample["embeddings"], n_results=1, include=[])

    def close(self) -> None:
        """Close the client; the next call opens it again."""
        with self._lock:
            client, self._client, self._collection = self._client, None, None
            if client is not None:
                with _chroma_errors(self._where):
                    client.close()  # type: ignore[attr-defined]

    # Inside

    @property
    def _where(self) -> str:
        return self._url or str(self._folder)

    def _call(self, work: Callable[[Collection], Result]) -> Result:
        with self._lock:
            if self._collection is None:
                self._open(create=False)
            collection = self._collection
            if collection is None:
                raise VectorsBroken(f"{self._where} holds no collection {self._name}")
            with _chroma_errors(self._where):
                return work(collection)

    def _open(self, *, create: bool) -> None:
        if not create and not self.exists():
            raise VectorsBroken(f"{self._folder} holds no Chroma database")
        with _chroma_errors(self._where):
            self._client = self._client or self._make_client()
            # Chroma's default embedding function would be downloaded on first use; None forbids it.
            if create:
                self._collection = self._client.get_or_create_collection(
                    self._name,
                    embedding_function=None,
                    configuration={"hnsw": HNSW},  # type: ignore[arg-type]
                )
            else:
                self._collection = self._client.get_collection(self._name, embedding_function=None)

    def _make_client(self) -> ClientAPI:
        # Chroma keeps what it opened under the spelling of the path, even when opening failed half-way: after a failure
        # only another spelling of the same path gets a fresh start.
        path = f"{self._folder}{os.sep}{f'.{os.sep}' * self._failures}"
        try:
            return _client(path, self._url)
        except BaseException:  # a panic of Chroma's is no Exception, and makes the spelling useless all the same
            self._failures += 1
            raise

    def _drop_collection(self) -> None:
        with _chroma_errors(self._where):
            self._client = self._client or self._make_client()
            self._collection = None
            if self._name in {each.name for each in self._client.list_collections()}:
                self._client.delete_collection(self._name)

    def _batch_size(self) -> int:
        if self._client is None:
            self._open(create=False)
        return min(MAX_BATCH, int(self._client.get_max_batch_size())) if self._client else MAX_BATCH


_STORES: dict[tuple[int, str], VectorStore] = {}
_STORES_LOCK = threading.Lock()


def borrow_store(library: Path, *, collection: str, url: str = "") -> VectorStore:
    """Return this process's one store for the library folder; give it back with `return_store`."""
    key = (os.getpid(), f"{library.resolve()}\0{url}\0{collection}")  # a forked child must not use its parent's
    with _STORES_LOCK:
        if key not in _STORES:
            _STORES[key] = VectorStore(library / CHROMA_FOLDER, collection=collection, url=url)
        _STORES[key].users += 1
        return _STORES[key]


def return_store(store: VectorStore) -> None:
    """Say that one user less needs the store; the last one closes it."""
    with _STORES_LOCK:
        store.users -= 1
        if store.users <= 0:
            for key in [key for key, kept in _STORES.items() if kept is store]:
                del _STORES[key]
            store.close()


def check_url(url: str) -> None:
    """Refuse what is not the address of a Chroma server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{url!r} is not the address of a Chroma server", hint="Write it like http://localhost:8000")


def _client(path: str, url: str) -> ClientAPI:
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    if not url:
        return chromadb.PersistentClient(path=path, settings=settings)
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return chromadb.HttpClient(host=parts.hostname or "", port=port, ssl=tls, settings=settings)


def _rows(vectors: Vector) -> Any:
    return np.ascontiguousarray(vectors, dtype=np.float32)


@contextmanager
def _chroma_errors(where: str) -> Iterator[None]:
    from chromadb.errors import ChromaError
    from httpx import HTTPError

    try:
        yield
    except (ChromaError, HTTPError, ValueError, RuntimeError, OSError, KeyError, AttributeError) as error:
        if where.startswith(("http://", "https://")) and _is_unreachable(error):
            raise ServerUnreachable(where) from error
        if _is_full(error):
            raise disk_full(Path(where).parent) from error
        raise VectorsBroken(f"Chroma at {where} failed: {type(error).__name__}: {error}") from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a Rust panic inside Chroma: not an Exception, and not importable
            raise VectorsBroken(f"Chroma at {where} crashed: {error}") from error
        raise


def _is_unreachable(error: BaseException) -> bool:
    from httpx import TransportError

    return isinstance(error, TransportError) or "Could not connect to a Chroma server" in str(error)


def _is_full(error: BaseException) -> bool:
    text = str(error)
    return "disk is full" in text or "No space left" in text or getattr(error, "errno", None) == errno.ENOSPC

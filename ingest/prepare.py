"""What happens to one file in a reader's process: read it, complete its metadata, cut it into chunks.

Nothing here loads an embedding model: chunking needs its tokeniser only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.errors import ReadError
from ingest.readers import ReadOptions, read
from ingest.records import Chunk, Document, Page, Paper, file_digest
from ingest.settings import ChunkingSettings

if TYPE_CHECKING:
    from ingest.embed import Tokeniser
    from ingest.index import Entry
    from ingest.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Prepared:
    """A paper ready to be embedded, with one index entry per chunk; times are seconds in the reader's process."""

    paper: Paper
    pages: tuple[Page, ...]
    chunks: tuple[Chunk, ...]
    entries: tuple[Entry, ...] = ()
    read_s: float = 0.0
    chunk_s: float = 0.0


class Preparer:
    """Reads and chunks in a worker: `read` and `chunk` go there together, as one object.

    What the manifest says of a file stands above what Crossref or OpenAlex say, and that above what the file says.
    `answers` is the folder where the answers of those services are kept; None asks neither.
    """

    def __init__(
        self,
        *,
        embedder: str,
        offline: bool,
        settings: ChunkingSettings,
        manifest: Manifest | None = None,
        answers: Path | None = None,
    ) -> None:
        self._embedder = embedder
        self._offline = offline
        self._settings = settings
        self._manifest = manifest
        self._answers = answers
        self._digest = ""
        self._read_s = 0.0

    def read(self, path: Path, *, options: ReadOptions) -> Document:
        """Read the file; a file that changes meanwhile is refused, since its pages may be of two versions."""
        started = time.perf_counter()
        self._digest = file_digest(path)
        document = read(path, options=options)
        if file_digest(path) != self._digest:
            raise ReadError(f"{path.name!r} changed while it was read", cause="changed", hint="Ingest it again")
        self._read_s = time.perf_counter() - started
        return document

    def chunk(self, path: Path, document: Document) -> Prepared:
        """Cut what `read` returned last into chunks."""
        started = time.perf_counter()
        document = self._complete(document, path)
        prepared = self.cut(self._digest, (path,), document)
        return replace(prepared, read_s=self._read_s, chunk_s=time.perf_counter() - started)

    def cut(self, paper_id: str, paths: tuple[Path, ...], document: Document) -> Prepared:
        """Cut a document into chunks under the paper's id."""
        from ingest.chunk import chunk_document
        from ingest.index import make_entry

        chunks = chunk_document(
            document,
            paper_id=paper_id,
            metadata=document.metadata,
            embedder=self._tokeniser,
            settings=self._settings,
        )
        paper = Paper(
            id=paper_id,
            metadata=document.metadata,
            format=document.format,
            page_count=len(document.pages),
            chunk_count=len(chunks),
            paths=paths,
            paged=document.paged,
            warnings=document.warnings,
        )
        return Prepared(paper, document.pages, tuple(chunks), tuple(map(make_entry, chunks)))

    @cached_property
    def _tokeniser(self) -> Tokeniser:
        from ingest.embed import make_tokeniser

        return make_tokeniser(self._embedder, offline=self._offline)

    def _complete(self, document: Document, path: Path) -> Document:
        from ingest.metadata import look_up, merge

        known, warnings = document.metadata, list(document.warnings)
        if self._answers is not None and (known.doi or known.title):
            answer = look_up(known.doi or known.title, cache_dir=self._answers, offline=False, warn=warnings.append)
            known = merge(known, answer)
        if self._manifest is not None:
            known = merge(known, self._manifest.for_path(path))
        return replace(document, metadata=known, warnings=tuple(warnings))

    def __getstate__(self) -> Mapping[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_tokeniser"}

"""Which papers a keyword job takes up, and their texts: of files, of a library, or given."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.keywords.making import Reading, Source
from assistant.keywords.texts import from_pages
from ingest.readers import DEFAULT_OPTIONS, ReadOptions
from ingest.records import file_digest

if TYPE_CHECKING:
    from ingest.library import Library


@dataclass(frozen=True, slots=True)
class Papers:
    """Where the papers of a job come from: `given` ready, else of a `library` (those of `ids`, or all), else files.

    `reading` is what a reader's process does with a file, `readers` how many of these processes there are at most.
    """

    reading: Reading
    paths: Sequence[str | Path] = ()
    library: Library | None = None
    ids: Sequence[str] = ()
    given: Iterable[Source] | None = None
    limit: int | None = None
    readers: int = 0
    options: ReadOptions = field(default=DEFAULT_OPTIONS)
    timeout_s: float = 300.0


class Plan:
    """The papers that are not `done` yet: `sources` reads them one after the other, `total` is how many there are."""

    def __init__(self, papers: Papers, done: Callable[[str], bool]) -> None:
        self._papers = papers
        self._done = done
        self._seen: set[str] = set()
        self._ids: dict[Path, str] = {}
        self.skipped = 0
        self.total = 0

    def sources(self) -> Iterator[Source]:
        """Yield the papers that have no keywords yet."""
        given = self._papers.given
        if given is not None:
            listed = list(given) if isinstance(given, list | tuple) else given
            self.total = len(listed) if isinstance(listed, list) else 0
            return (source for source in listed if self._take(source.id))
        if self._papers.library is not None:
            return self._of_library(self._papers.library)
        return self._of_files()

    def _of_files(self) -> Iterator[Source]:
        from ingest.discover import discover
        from ingest.readers.isolated import ReaderPool

        papers = self._papers
        files = discover(papers.paths)[: papers.limit]
        self.total = len(files)
        count, options = papers.readers, papers.options
        with ReaderPool(workers=count, options=options, timeout_s=papers.timeout_s, then=papers.reading) as pool:
            for path, result in pool.map(path for path in files if self._take_file(path)):
                paper_id = self._ids.pop(path)
                if isinstance(result, Source):
                    yield replace(result, id=paper_id)
                else:
                    yield Source(paper_id, str(path), path.stem, error=result)

    def _of_library(self, library: Library) -> Iterator[Source]:
        papers = library.papers(self._papers.ids or None)[: self._papers.limit]
        self.total = len(papers)
        for paper in papers:
            if self._take(paper.id):
                path = str(paper.paths[0]) if paper.paths else ""
                text = from_pages(library.pages(paper.id), paper.metadata, paged=paper.paged)
                yield Source(paper.id, path, paper.title, text, paper.metadata.authors)

    def _take_file(self, path: Path) -> bool:
        try:
            paper_id = file_digest(path)
        except OSError:  # the reader will say what is wrong with it
            paper_id = hashlib.sha256(str(path).encode()).hexdigest()
        self._ids[path] = paper_id
        if self._take(paper_id):
            return True
        del self._ids[path]
        return False

    def _take(self, paper_id: str) -> bool:
        """Tell whether the paper is to be done; the same paper under two names is done once."""
        if paper_id in self._seen or self._done(paper_id):
            self.skipped += 1
            self.total -= 1
            return False
        self._seen.add(paper_id)
        return True


def readers_for(calls: int) -> int:
    """Return how many reader processes feed `calls` calls: as many, and one for each core at most."""
    return min(calls, os.cpu_count() or 1)

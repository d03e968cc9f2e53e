"""What an ingest was asked for, and which files that makes it read, decided from catalogue and file stamps alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.events import Failed, Skipped
from ingest.library import Failure, Library, Stamp
from ingest.prepare import Preparer
from ingest.readers import ReadOptions, ocr
from ingest.settings import Settings

if TYPE_CHECKING:
    from ingest.embed import Embedder
    from ingest.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Task:
    """What was asked for; `ingest.pipeline.ingest` says what each field means."""

    settings: Settings
    folder: Path | None = None
    embedder: Embedder | None = None
    workers: int = 0
    password: str | None = field(default=None, repr=False)
    rebuild: bool = False
    prune: bool = False
    retry_failed: bool = False
    manifest: Manifest | None = None
    look_up: bool = False
    limit: int | None = None

    @property
    def library_path(self) -> Path:
        """Return the library's folder."""
        return self.folder or self.settings.library_path

    @property
    def embedder_name(self) -> str:
        """Return the name of the embedder asked for, without loading it."""
        return self.embedder.name if self.embedder else self.settings.embedding.model

    @property
    def read_options(self) -> ReadOptions:
        """Return what the readers are told."""
        reading = self.settings.reading
        return ReadOptions(
            password=self.password,
            ocr=reading.ocr,
            ocr_languages=reading.ocr_languages,
            max_pages=reading.max_pages,
            max_file_mb=reading.max_file_mb,
        )

    @property
    def offline(self) -> bool:
        """Say whether the embedder must stay on this machine."""
        from_hub = self.settings.embedding.model.startswith("sentence-transformers/")
        return self.settings.models.offline or (from_hub and not self.settings.embedding.download)

    def make_embedder(self) -> Embedder:
        """Return the embedder; its model is loaded at the first text only."""
        from ingest.embed import make_embedder

        model = self.settings.embedding
        return self.embedder or make_embedder(model.model, threads=model.threads, offline=self.offline)

    def recipe(self, embedder: Embedder | str) -> str:
        """Return what identifies the way texts are cut."""
        from ingest.chunk import recipe

        return recipe(self.settings.chunking, embedder)

    def make_preparer(self) -> Preparer:
        """Return what reads and cuts files in the worker processes."""
        return Preparer(
            embedder=self.embedder_name,
            offline=self.offline,
            settings=self.settings.chunking,
            manifest=self.manifest,
            answers=_answers_folder() if self.look_up else None,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Which files are done, hopeless or to be read, by what the catalogue remembers of each path.

    `reasons` says why for each of `todo`: "new", "changed", "rebuild" or "failed before". `homeless` are papers to be
    cut again whose file is gone: their stored pages will do. `forced` are papers to be made anew although the catalogue
    has them.
    """

    total: int
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()
    reasons: dict[Path, str] = field(default_factory=dict)
    homeless: tuple[str, ...] = ()
    forced: frozenset[str] = frozenset()

    @property
    def todo(self) -> tuple[Path, ...]:
        """Return the files to read, in order."""
        return tuple(self.reasons)


def make_plan(task: Task, files: Sequence[Path], library: Library | None) -> Plan:
    """Compare `files` with what the library knows; None stands for a library that is still to be made."""
    if library is None:
        return Plan(len(files), reasons=_first(dict.fromkeys(files, "new"), task.limit))
    known, failures, waiting = library.paths(), library.failures(), frozenset(library.waiting())
    partial = _read_in_part(library) if task.retry_failed else frozenset()
    present = {path: paper for path, (paper, _) in known.items() if paper in waiting and path.exists()}
    skipped: list[Skipped] = []
    failed: list[Failed] = []
    reasons: dict[Path, str] = {}
    for path in sorted({*files, *present}):
        stamp = stamp_of(path)
        paper, before = known.get(path, ("", None))
        failure = failures.get(path)
        if paper and stamp == before and not task.rebuild and paper not in waiting | partial:
            skipped.append(Skipped(path, paper))
        elif failure and failure.stamp == stamp and not _try_again(task, failure):
            failed.append(_as_before(failure))
        else:
            again = paper in partial if paper else failure is not None
            reasons[path] = _reason(is_known=bool(paper), is_changed=stamp != before, again=again)
    return Plan(
        total=len(skipped) + len(failed) + len(reasons),
        skipped=tuple(skipped),
        failed=tuple(failed),
        reasons=_first(reasons, task.limit),
        homeless=tuple(sorted(waiting - set(present.values()))),
        forced=waiting | partial | frozenset(paper for paper, _ in known.values() if task.rebuild),
    )


def _reason(*, is_known: bool, is_changed: bool, again: bool) -> str:
    if is_known and is_changed:
        return "changed"
    if again:
        return "failed before"
    return "rebuild" if is_known else "new"


def _read_in_part(library: Library) -> frozenset[str]:
    """Return the papers with pages that OCR had no time for."""
    return frozenset(paper.id for paper in library.papers() if any(ocr.UNREAD in warning for warning in paper.warnings))


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file, or None when it is gone or forbidden; the reader will say which."""
    try:
        return Stamp.of(path)
    except OSError:
        return None


def _answers_folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("matlit", appauthor=False) / "lookup"


def _try_again(task: Task, failure: Failure) -> bool:
    return task.retry_failed or task.rebuild or (failure.cause == "encrypted" and task.password is not None)


def _as_before(failure: Failure) -> Failed:
    return Failed(
        path=failure.path,
        error=f"{failure.error} (found on {failure.at[:10]}; the file is unchanged and was not read again)",
        hint=f"{failure.hint}; to read it again: --retry-failed".removeprefix("; "),
        cause=failure.cause,
        again=False,
    )


def _first(reasons: dict[Path, str], limit: int | None) -> dict[Path, str]:
    return dict(list(reasons.items())[:limit])

"""What is heavy and the same for every browser: embedder, libraries, pictures of pages, predictors; each made once."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ingest.errors import LibraryNotFound, MatlitError, ReadError
from ingest.records import Box, Page, Paper, file_digest
from ui.chats import ChatStore
from ui.pageimage import Picture, Renderer, mark

if TYPE_CHECKING:
    from assistant.chat import ChatModel
    from finetune.predict import Predictor
    from ingest.embed import Embedder
    from ingest.library import Library
    from ingest.settings import Settings

CATALOG_FILES = ("catalog.sqlite", "catalog.sqlite-wal")
PICTURES = 200
MOST_MATERIALS = 5000  # in one list to choose from
LOCAL = ("gguf/", "local/")  # models that are loaded into this process
logger = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int], ...]


def stamp(folder: Path) -> Stamp:
    """Return a value that changes whenever the library in `folder` is written to."""
    found = []
    for name in CATALOG_FILES:
        try:
            about = (folder / name).stat()
        except FileNotFoundError:
            found.append((0, 0))
        else:
            found.append((about.st_size, about.st_mtime_ns))
    return tuple(found)


def open_library(folder: Path) -> Library:
    """Return the open library; raises what `Library.open` does."""
    from ingest.library import INFO_FILE

    try:
        made = (folder / INFO_FILE).stat().st_mtime_ns
    except FileNotFoundError as error:
        raise LibraryNotFound(f"there is no library in {folder}") from error
    return _library(str(folder), made)


@st.cache_resource(show_spinner=False, max_entries=8)
def _library(folder: str, made: int) -> Library:
    from ingest.library import Library

    return Library.open(Path(folder))


@st.cache_resource(show_spinner=False, max_entries=4)
def embedder(name: str, *, threads: int = 0, offline: bool = True) -> Embedder:
    """Return the embedding model of that name, loaded once."""
    from ingest.embed import make_embedder

    return make_embedder(name, threads=threads, offline=offline)


def answering_model(spec: str, *, offline: bool) -> str | ChatModel:
    """Return what answers: a model on this machine loaded once for everybody, any other by its name.

    A model behind a key is built anew for each answer, with the key of whoever asks.
    """
    return _local_model(spec, offline) if spec.startswith(LOCAL) else spec


@st.cache_resource(show_spinner=False, max_entries=2)
def _local_model(spec: str, offline: bool) -> ChatModel:
    from assistant.chat import ChatModel

    return ChatModel.from_spec(spec, offline=offline)


@st.cache_resource(show_spinner=False)
def renderer() -> Renderer:
    """Return the one renderer of pages."""
    return Renderer()


@st.cache_resource(show_spinner=False, max_entries=4)
def predictor(spec: str, made: int = 0) -> Predictor:
    """Return a band gap predictor, loaded once."""
    from finetune.predict import load

    return load(spec)


@st.cache_resource(show_spinner=False, max_entries=8)
def _papers(folder: str, written: Stamp) -> list[Paper]:
    return open_library(Path(folder)).papers()


def papers(folder: Path) -> Sequence[Paper]:
    """Return the papers of a library, the same object for everybody; read again only when it was written to."""
    return _papers(str(folder), stamp(folder))


@st.cache_data(show_spinner=False, max_entries=8)
def _status(folder: str, written: Stamp) -> dict[str, Any]:
    return open_library(Path(folder)).status()


def status(folder: Path) -> dict[str, Any]:
    """Return what the library holds, counted again only when it was written to."""
    return _status(str(folder), stamp(folder))


@st.cache_data(show_spinner=False, max_entries=64)
def _pages(folder: str, paper: str, written: Stamp) -> list[Page]:
    return open_library(Path(folder)).pages(paper)


def pages(folder: Path, paper: str) -> list[Page]:
    """Return the pages of a paper."""
    return _pages(str(folder), paper, stamp(folder))


def titles(folder: Path, store: ChatStore) -> dict[str, str]:
    """Return the title of every paper by id; an upload without a title goes by the name it was sent under."""
    names = store.upload_names()
    return {paper.id: paper.metadata.title or names.get(paper.id) or paper.title for paper in papers(folder)}


@st.cache_resource(show_spinner=False, max_entries=8)
def _material_titles(folder: str, written: Stamp) -> dict[str, str]:
    from ingest.materials.store import MaterialFilter, find

    with open_library(Path(folder)).reading() as connection:
        records = find(connection, MaterialFilter(), structures=False, limit=MOST_MATERIALS)
    return {record.material_id: record.title for record in records}


def material_titles(folder: Path) -> Mapping[str, str]:
    """Return the titles of a library's records by id, up to 5,000; read again only when it was written to."""
    return _material_titles(str(folder), stamp(folder))


def paper_file(paper: Paper) -> Path:
    """Return the file a paper was read from, unchanged.

    Raises:
        ReadError: it is gone, or holds something else by now.
    """
    for path in paper.paths:
        try:
            about = path.stat()
        except OSError:
            continue
        if _digest(str(path), about.st_size, about.st_mtime_ns) == paper.id:
            return path
    where = str(paper.paths[0]) if paper.paths else paper.id[:12]
    raise ReadError(
        f"the file of this paper is gone or was changed: {where}",
        cause="missing",
        hint="Put it back or ingest it anew; its text is shown instead",
    )


@st.cache_data(show_spinner=False, max_entries=2000)
def _digest(path: str, size: int, changed: int) -> str:
    return file_digest(Path(path))


@st.cache_data(show_spinner=False, max_entries=PICTURES)
def _picture(path: str, paper: str, number: int) -> Picture:
    return renderer().render(Path(path), number)


def picture(paper: Paper, number: int) -> Picture:
    """Return a page of a PDF, drawn once; raises `ReadError`."""
    return _picture(str(paper_file(paper)), paper.id, number)


@st.cache_data(show_spinner=False, max_entries=PICTURES)
def _marked(path: str, paper: str, number: int, boxes: tuple[Box, ...]) -> bytes:
    return mark(_picture(path, paper, number), boxes)


def marked_picture(paper: Paper, number: int, boxes: Sequence[Box]) -> bytes:
    """Return a page of a PDF as a PNG with `boxes` marked; raises `ReadError`."""
    return _marked(str(paper_file(paper)), paper.id, number, tuple(boxes))


def warm_up() -> None:
    """Load what the first question will need, before it is asked; what is missing is told when it is."""
    from ingest.settings import load_settings
    from ui.engine import is_offline

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        settings = load_settings()
        name = _embedder_name(settings)
        embedder(name, threads=settings.embedding.threads, offline=is_offline(settings)).embed_query("lithium")
    except MatlitError as error:
        logger.info("not warmed up: %s", error)
    renderer().begin()
    _import_slow_parts()


def _embedder_name(settings: Settings) -> str:
    try:
        return open_library(settings.library_path).info.embedder.name
    except MatlitError:
        return settings.embedding.model


def _import_slow_parts() -> None:
    import pandas  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
    import plotly.graph_objects  # noqa: F401

    import assistant.quoting  # noqa: F401
    import finetune.predict  # noqa: F401

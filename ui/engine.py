"""The one place where settings become a library, an embedder and an assistant, for the command line and the app."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput
from ingest.records import ChunkKind, Filter, Paper

if TYPE_CHECKING:
    from assistant import Assistant
    from assistant.agent import Manner
    from assistant.events import Event as AnswerEvent
    from assistant.keywords.evaluate import Method
    from assistant.keywords.texts import Text
    from assistant.prompts import Language, Strategy
    from assistant.tools import Tool
    from ingest.embed import Embedder
    from ingest.library import Library
    from ingest.materials import Material
    from ingest.materials.importing import ImportReport
    from ingest.pipeline import Event, Report
    from ingest.settings import Settings
    from ui.verbs.materials import MaterialsProgress

PAPER_KINDS: frozenset[ChunkKind] = frozenset({"text", "table", "caption"})
KINDS: dict[str, frozenset[ChunkKind]] = {"paper": PAPER_KINDS, "material": frozenset({"material"})}


def open_embedder(settings: Settings) -> Embedder:
    """Build the embedder that the settings name."""
    from ingest.embed import make_embedder

    return make_embedder(settings.embedding.model, threads=settings.embedding.threads, offline=is_offline(settings))


def is_offline(settings: Settings) -> bool:
    """Tell whether embedders must stay on this machine: `offline` is set, or a hub download was not allowed."""
    from_hub = settings.embedding.model.startswith("sentence-transformers/")
    return settings.models.offline or (from_hub and not settings.embedding.download)


def keyword_method(settings: Settings) -> tuple[str, Method]:
    """Return the name of the model in force, and what makes keywords with it."""
    from assistant.chat import ChatModel
    from assistant.keywords.ask import Task, ask
    from assistant.keywords.extract import extract
    from assistant.keywords.making import ranking_embedder

    spec, embedder = settings.models.role("keywords"), ranking_embedder()
    if spec == "extractive":
        return spec, lambda text, most: extract(text, most=most, embedder=embedder)
    chat = ChatModel.from_spec(spec, offline=settings.models.offline, **model_options(settings))

    def by_model(text: Text, most: int) -> Sequence[str]:
        asked = ask(text, chat, Task(most=most), embedder=embedder)
        if asked.error is not None:
            raise asked.error
        return asked.keywords

    return spec, by_model


def open_assistant(settings: Settings, *, strategy: Strategy = "auto") -> Assistant:
    """Open the assistant over the library in force; `strategy` is what its questions are asked with by default."""
    from assistant import Assistant

    models = settings.models
    return Assistant(
        settings.library_path,
        models.role("answer"),
        manner=make_manner(settings, strategy=strategy),
        model_options=model_options(settings),
        translator=models.translate,
        offline=models.offline,
        download=settings.embedding.download,
        threads=settings.embedding.threads,
        rerank=settings.search.rerank,
    )


def model_options(settings: Settings) -> dict[str, Any]:
    """Return what the settings say of every language model: time-out, rates, and the cache of its replies."""
    models = settings.models
    options: dict[str, Any] = {"timeout_s": models.timeout_s, "rates": models.rates}
    return options | ({"cache": Path(models.cache).expanduser()} if models.cache else {})


def make_manner(settings: Settings, *, strategy: Strategy = "auto") -> Manner:
    """Return how a model is asked, by the settings. Raises BadInput where the file of examples is none."""
    from assistant.agent import Bounds, Manner
    from assistant.prompts import read_examples

    agent = settings.agent
    bounds = Bounds(agent.max_steps, agent.max_tokens, agent.max_seconds, agent.max_cost_usd)
    manner = Manner(strategy, loop=agent.loop, evidence_tokens=agent.evidence_tokens, bounds=bounds)
    return replace(manner, examples=read_examples(Path(agent.examples))) if agent.examples else manner


def open_tools(settings: Settings, attach: Sequence[Path] = ()) -> dict[str, Tool]:
    """Return all tools, working on the library in force, where there is one, and on the attached files.

    Raises:
        BadInput: an attached file is missing, too large, or no text.
    """
    from assistant.attachments import read_attachments
    from assistant.tools import ToolContext, all_tools
    from ingest.errors import LibraryNotFound
    from ingest.library import Library

    attachments = {each.name: each.text for each in read_attachments(attach)}
    try:
        library = Library.open(settings.library_path)
    except LibraryNotFound:
        return all_tools(ToolContext(attachments=attachments))
    embedder = LazyEmbedder(lambda: open_embedder(settings))
    return all_tools(ToolContext(library=library, attachments=attachments, embedder=embedder))


class LazyEmbedder:
    """An embedder of questions that is loaded with the first question."""

    def __init__(self, make: Callable[[], Embedder]) -> None:
        self._make = make
        self._made: Embedder | None = None

    def embed_query(self, text: str) -> Any:
        """Return the unit vector of `text`."""
        self._made = self._made or self._make()
        return self._made.embed_query(text)


def run_ingest(
    settings: Settings, paths: Sequence[str], *, on_event: Callable[[Event], None], workers: int | None, **options: Any
) -> Report:
    """Ingest `paths` into the library in force, handing every event to `on_event`; return the report."""
    from ingest.pipeline import Finished, ingest

    report: Report | None = None
    for event in ingest(paths, settings=settings, workers=workers or settings.reading.workers, **options):
        on_event(event)
        if isinstance(event, Finished):
            report = event.report
    if report is None:
        raise RuntimeError("the ingest ended without a report")
    return report


def open_or_create(settings: Settings, embedder: Embedder | None) -> Library:
    """Open the library in force for records of materials, or make it; `embedder` will write vectors into it.

    Raises:
        LibraryMismatch: the library was built with another embedder.
    """
    from ingest.chunk import recipe
    from ingest.errors import LibraryNotFound
    from ingest.library import Library

    try:
        return Library.open(settings.library_path, embedder=embedder.info if embedder else None)
    except LibraryNotFound:
        made = embedder or open_embedder(settings)
        return Library.create(
            settings.library_path,
            embedder=made.info,
            recipe=recipe(settings.chunking, made),
            chroma_url=settings.library.chroma_url,
        )


def run_materials_import(
    settings: Settings,
    files: Sequence[Path],
    *,
    no_vectors: bool,
    allow_pickle: bool,
    limit: int | None,
    workers: int,
    on_progress: Callable[[ImportReport], None],
) -> ImportReport:
    """Bring the records of `files` into the library in force; return the report."""
    from ingest.materials.importing import import_materials

    embedder = None if no_vectors else open_embedder(settings)
    with open_or_create(settings, embedder) as library:
        return import_materials(
            library,
            files,
            embedder=embedder,
            allow_pickle=allow_pickle,
            limit=limit,
            workers=workers or os.cpu_count() or 1,
            on_progress=on_progress,
        )


def run_materials_download(
    settings: Settings,
    *,
    ids: Sequence[str],
    elements: str,
    chemsys: str,
    formula: str,
    nsites: str | None,
    band_gap: str | None,
    fields: str,
    limit: int | None,
    optimade: str | None,
    no_vectors: bool,
    progress: MaterialsProgress,
) -> ImportReport:
    """Download records into the library in force; what had come before an interruption is used."""
    from assistant.tools.materials import make_filter
    from ingest.materials import asked_id
    from ingest.materials.download import Query, missing
    from ingest.materials.from_mp import download_mp
    from ingest.materials.from_optimade import download_optimade
    from ingest.materials.importing import import_materials

    checked = make_filter(elements=elements.replace("-", ",").split(","), chemsys=chemsys, formula=formula)
    query = Query(
        ids=tuple(dict.fromkeys(ids if optimade else map(asked_id, ids))),
        elements=tuple(sorted(checked.elements)),
        chemsys=checked.chemsys,
        formula=checked.formula,
        nsites=parse_range(nsites, "--nsites"),
        band_gap_ev=parse_range(band_gap, "--band-gap"),
        fields=tuple(part.strip() for part in fields.split(",") if part.strip()),
        limit=limit,
    )
    query.refuse_everything()
    embedder = None if no_vectors else open_embedder(settings)
    with open_or_create(settings, embedder) as library:
        folder = library.info.path / "downloads"
        if optimade:
            kept = download_optimade(optimade, query, folder, tell=progress.downloaded)
        else:
            key, endpoint = os.environ.get("MP_API_KEY", ""), os.environ.get("MP_API_ENDPOINT", "")
            kept = download_mp(query, folder, key=key, endpoint=endpoint, tell=progress.downloaded)
        report = import_materials(library, kept.files(), embedder=embedder, on_progress=progress.imported)
        for failure in missing(query, kept, optimade or "the Materials Project"):
            report.fail(failure)
    kept.remove()
    return report


def search_materials(
    library: Library, filters: dict[str, Any], *, sort: str, descending: bool, limit: int
) -> tuple[list[Material], int]:
    """Return the records that the filter options of the command line allow, and how many there are in all."""
    from assistant.tools.materials import make_filter
    from ingest.materials import search

    where = make_filter(
        formula=filters["formula"],
        chemsys=filters["chemsys"],
        elements=filters["elements"].replace("-", ",").split(","),
        exclude=filters["exclude"].replace("-", ",").split(","),
        nelements=parse_range(filters["nelements"], "--nelements"),
        nsites=parse_range(filters["nsites"], "--nsites"),
        band_gap_ev=parse_range(filters["band_gap"], "--band-gap"),
        e_above_hull_max=filters["hull_max"],
        spacegroup=filters["spacegroup"],
        crystal_system=filters["crystal_system"],
        conditions=filters["where"],
        functional=filters["functional"],
        name=filters["name"],
    )
    with library.reading() as connection:
        return search(connection, where, sort=sort, descending=descending, limit=limit)


def chosen_materials(library: Library, ids: Sequence[str], source: str | None) -> list[str]:
    """Return the ids of the records that are named, or that `source` has given.

    Raises:
        BadInput: neither or both were given, or no record comes from `source`.
        NotInLibrary: there is no record of that id.
    """
    from ingest.materials import ids_of_source, sources

    if bool(ids) == bool(source):
        raise BadInput("name records or a source, one of the two", hint="matlit materials remove mp-149, or --source S")
    if not source:
        return list(dict.fromkeys(library.material(given).material_id for given in ids))
    with library.reading() as connection:
        found = ids_of_source(connection, source)
        known = sources(connection)
    if not found:
        told = ", ".join(f"{name!r} ({number:,})" for name, number in known.items()) or "no record at all"
        raise BadInput(f"no record comes from {source!r}", hint=f"The library holds records from {told}")
    return found


def parse_range(text: str | None, option: str) -> tuple[float | None, float | None] | None:
    """Read `1..3`, `1..`, `..3` or `2`; numbers only, in the option's unit. Raises BadInput where it is none."""
    if text is None:
        return None
    first, dots, last = text.partition("..")
    try:
        low = float(first) if first.strip() else None
        high = float(last) if last.strip() else (None if dots else low)
    except ValueError:
        low = high = None
    if low is None and high is None:
        raise BadInput(f"{option} {text!r} is no range", hint=f"Write {option} 1..3, 1.., ..3 or 2, without a unit")
    if low is not None and high is not None and low > high:
        raise BadInput(f"{option} {text!r} runs backwards", hint=f"Write {option} {last}..{first}")
    return low, high


def run_prune(library: Library) -> list[str]:
    """Take out the papers whose files are gone; return their ids."""
    with library.writer() as writer:
        return list(writer.prune())


def matching_papers(papers: Iterable[Paper], words: Sequence[str]) -> list[Paper]:
    """Return the papers whose title, authors or file names hold all `words`, whatever their case."""
    wanted = [word.casefold() for word in words]
    return [paper for paper in papers if all(word in _searchable(paper) for word in wanted)]


def _searchable(paper: Paper) -> str:
    names = [path.name for path in paper.paths]
    return " ".join([paper.title, *paper.metadata.authors, paper.metadata.doi, *names]).casefold()


def make_filter(
    library: Library,
    *,
    paper: Sequence[str] = (),
    year: str | None = None,
    elements: str | None = None,
    formula: str | None = None,
    section: Sequence[str] = (),
    kind: str | None = None,
) -> Filter:
    """Turn the filter options of the command line into a `Filter`.

    Raises:
        BadInput: a year range, element or kind that is none.
        NotInLibrary: a paper id that fits no paper, or several.
    """
    return Filter(
        sources=frozenset(library.paper(given).id for given in paper),
        years=parse_years(year) if year else None,
        sections=tuple(section),
        elements=parse_elements(elements) if elements else frozenset(),
        formula=formula or "",
        kinds=parse_kinds(kind) if kind else frozenset(),
    )


def parse_years(text: str) -> tuple[int | None, int | None]:
    """Read `2015..2020`, `2015..`, `..2020` or `2019`."""
    first, dots, last = text.partition("..")
    try:
        low = int(first) if first else None
        high = int(last) if last else (None if dots else low)
    except ValueError:
        low = high = None
    if low is None and high is None:
        raise BadInput(f"{text!r} is not a year or a range of years", hint="Write --year 2015..2020, 2015.. or 2019")
    if low is not None and high is not None and low > high:
        raise BadInput(f"the years {text!r} run backwards", hint=f"Write --year {high}..{low}")
    return low, high


def parse_elements(text: str) -> frozenset[str]:
    """Read `Li,O` (or `Li O`, `li-o`) as chemical symbols."""
    from ingest.elements import NUMBERS

    given = [part.strip().capitalize() for part in text.replace("-", ",").replace(" ", ",").split(",") if part.strip()]
    unknown = [symbol for symbol in given if symbol not in NUMBERS]
    if unknown or not given:
        raise BadInput(f"{', '.join(unknown) or text!r} is no chemical element", hint="Write symbols: --elements Li,O")
    return frozenset(given)


def parse_kinds(text: str) -> frozenset[ChunkKind]:
    """Read `paper`, `material` or both, or a kind of passage: text, table, caption, reference."""
    kinds: frozenset[ChunkKind] = frozenset()
    single: dict[str, frozenset[ChunkKind]] = {
        "text": frozenset({"text"}),
        "table": frozenset({"table"}),
        "caption": frozenset({"caption"}),
        "reference": frozenset({"reference"}),
    }
    for part in filter(None, (part.strip() for part in text.split(","))):
        known = KINDS | single
        if part not in known:
            raise BadInput(f"{part!r} is no kind of passage", hint=f"Known are {', '.join(known)}")
        kinds |= known[part]
    return kinds


def library_folder(settings: Settings) -> Path:
    """Return the library's folder in force."""
    return settings.library_path


@contextmanager
def run_summarize(
    settings: Settings, paths: Sequence[str], *, query: str, limit: int, language: Language | None
) -> Iterator[Iterator[AnswerEvent]]:
    """Yield the events of a review of the files in `paths`, or of what the library holds on `query`.

    Files that the library does not hold are read into a library of their own, which is gone afterwards.

    Raises:
        BadInput: neither a path nor a query was given, or a path holds no paper.
    """
    from assistant.chat import ChatModel
    from assistant.question import understand
    from assistant.quoting import MODEL
    from assistant.summarize import Review, papers_about, summarize
    from ingest.library import Library

    if not (paths or query.strip()):
        raise BadInput("what shall be reviewed?", hint='Name papers, or: matlit summarize --query "…"')
    spec = settings.models.role("summarize")
    model = (
        None if spec == MODEL else ChatModel.from_spec(spec, offline=settings.models.offline, **model_options(settings))
    )
    embedder = open_embedder(settings)
    with TemporaryDirectory() as temporary:
        folder = _library_of(settings, paths, Path(temporary) / "library", embedder) if paths else settings.library_path
        with Library.open(folder) as library:
            papers = _papers_at(library, paths) if paths else papers_about(library, embedder, query, most=limit)
            if not papers and query and library.papers():
                raise BadInput(
                    f"no paper of the library speaks of {query!r}", hint="Ask in other words; matlit papers lists them"
                )
            review = Review(papers[:limit], query, language or (understand(query).language if query else "en"))
            yield summarize(
                library,
                embedder,
                review,
                model=model,
                bounds=make_manner(settings).bounds,
                journal_in=settings.library_path,
                keep_journal=settings.library_path.is_dir(),
            )


def _library_of(settings: Settings, paths: Sequence[str], own: Path, embedder: Embedder) -> Path:
    """Return the library in force where it holds all files of `paths`, else one made of them in `own`."""
    from ingest.discover import discover
    from ingest.errors import LibraryNotFound
    from ingest.library import Library
    from ingest.pipeline import ingest
    from ingest.records import file_digest

    files = list(discover(paths))
    try:
        with Library.open(settings.library_path) as library:
            held = {paper.id for paper in library.papers()}
    except LibraryNotFound:
        held = set()
    if files and all(file_digest(Path(file)) in held for file in files):
        return settings.library_path
    for _ in ingest(list(paths), settings=settings, library=own, embedder=embedder):
        pass
    return own


def _papers_at(library: Library, paths: Sequence[str]) -> tuple[Paper, ...]:
    from ingest.discover import discover
    from ingest.records import file_digest

    wanted = [file_digest(Path(file)) for file in discover(paths)]
    held = {paper.id: paper for paper in library.papers()}
    found = tuple(held[each] for each in dict.fromkeys(wanted) if each in held)
    if not found:
        raise BadInput(f"no paper could be read from {', '.join(paths)}", hint="See why: matlit ingest PATH")
    return found

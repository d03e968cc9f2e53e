"""Keywords: find them for papers of the library or other files, watch it, stop and go on, and look at what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from assistant.pricing import PRICES_AS_OF
from ingest.errors import LibraryNotFound, MatlitError
from ui import keyword_jobs, resources, uploads
from ui.components import page_title, plain, short, show_problem, told
from ui.jobs import JOBS, Job
from ui.keyword_jobs import Wanted, Writing
from ui.server import UPLOAD_MB
from ui.state import lend_keys, paper_titles, recall, remember, session, t
from ui.texts import LANGUAGES

if TYPE_CHECKING:
    from assistant.chat import ChatModel
    from assistant.keywords.ask import Target
    from assistant.keywords.job import Estimated, Report
    from assistant.keywords.records import Record
    from ingest.library import Library
    from ingest.settings import Settings

KIND = "keywords"
REFRESH_S = 1.0
MOST_LIVE = 20  # papers in the table of a running job
PICTURES = {".png": "PNG", ".svg": "SVG", ".html": "HTML"}
EXTRACTIVE = "extractive"


def draw() -> None:
    """Draw the page."""
    page_title("nav_keywords", "keywords_about")
    try:
        papers = resources.papers(session().folder)
    except LibraryNotFound:
        papers = []
    except MatlitError as error:
        show_problem(str(error), error.hint)
        return
    _form([paper.id for paper in papers])
    _asked()
    if _running() is not None:
        st.fragment(_live, run_every=REFRESH_S)()
    else:
        _ended()
        _results()


def _running() -> Job | None:
    return JOBS.running(KIND, owner=session().owner)


# --- what to do -------------------------------------------------------------------------------------------------------


def _form(ids: Sequence[str]) -> None:
    languages: dict[Target, str] = {"source": t("keywords_language_source")}
    languages.update(LANGUAGES.items())
    with st.container(border=True):
        chosen, files = _papers(ids)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            model = st.selectbox(
                t("model"),
                _models(),
                key="keywords-model",
                help=t("keywords_model_help"),
                accept_new_options=True,
                width=300,
            )
            language = st.selectbox(
                t("keywords_language"),
                list(languages),
                format_func=lambda code: languages[code],
                key="keywords-language",
            )
            most = st.number_input(t("keywords_each"), 1, 50, 10, key="keywords-each", width=150)
            budget = st.text_input(t("keywords_budget"), key="keywords-budget", help=t("keywords_budget_help"))
        terms = st.file_uploader(
            t("keywords_vocabulary"), type=["txt"], key="keywords-terms", help=t("keywords_vocabulary_help")
        )
        anew = st.checkbox(t("keywords_anew"), key="keywords-anew", help=t("keywords_anew_help"))
        running = _running() is not None
        if st.button(t("find_keywords"), type="primary", icon=":material/sell:", disabled=running, key="keywords-go"):
            remember("keywords-asked", None)
            with told():
                _go(
                    Wanted(
                        papers=tuple(chosen),
                        files=_stored(files),
                        model=(model or EXTRACTIVE).strip(),
                        most=int(most),
                        language=language,
                        budget=keyword_jobs.read_budget(budget),
                        vocabulary=_vocabulary(terms),
                        anew=anew,
                    )
                )


def _papers(ids: Sequence[str]) -> tuple[Sequence[str], Sequence[Any]]:
    """Draw the choice of papers; return ids of the library, or files that were sent."""
    places = ["library", "files"] if ids else ["files"]
    if not ids:
        st.info(t("no_papers"), icon=":material/info:")
    place = st.radio(
        t("keywords_from"),
        places,
        format_func=lambda one: t("keywords_from_library" if one == "library" else "keywords_from_files"),
        horizontal=True,
        key="keywords-from",
    )
    if place == "files":
        given = st.file_uploader(
            t("keyword_files"),
            type=list(uploads.PAPER_TYPES),
            accept_multiple_files=True,
            key="keyword-files",
            help=t("upload_help", mb=UPLOAD_MB),
        )
        return (), given
    titles = paper_titles()
    chosen = st.multiselect(
        t("keyword_papers"),
        list(ids),
        format_func=lambda paper: short(titles.get(paper, paper[:8]), 70),
        placeholder=t("scope_all"),
        key="keyword-papers",
    )
    return chosen or ids, ()


def _models() -> list[str]:
    from assistant.llms import known_models

    examples = [form["example"] for form in known_models() if not form["spec"].startswith("scripted")]
    return list(dict.fromkeys([EXTRACTIVE, session().settings.models.model, *examples]))


def _stored(files: Sequence[Any]) -> tuple[str, ...]:
    """Store the files that were sent; raises `BadInput` where one is refused, so that none is missing unseen."""
    taken, refused = uploads.take_papers(files, library=session().folder, store=session().store)
    if refused:
        raise refused[0]
    return tuple(dict.fromkeys(str(one.path) for one in taken))


def _vocabulary(given: Any) -> Path | None:
    """Store a vocabulary, and refuse one that holds no term before anything begins."""
    from assistant.keywords.vocabulary import Vocabulary

    if given is None:
        return None
    path = uploads.take_vocabulary(given, library=session().folder, store=session().store).path
    Vocabulary.read(path)
    return path


def _go(wanted: Wanted) -> None:
    """Begin, or ask first where a model costs something; raises what matlit refuses."""
    if not wanted.ids:
        st.warning(t("keywords_no_files"), icon=":material/info:")
        return
    output = keyword_jobs.output_of(session().settings, wanted, session().owner)
    left = keyword_jobs.still_wanted(wanted, output)
    if not left.ids:
        st.info(t("keywords_nothing_left"), icon=":material/info:")
    elif _is_free(wanted.model):
        start(wanted)
        st.rerun()
    else:
        with st.spinner(t("keywords_estimating")):
            settings = session().settings
            estimated = keyword_jobs.app_job(settings, left, library=_library(settings, left)).estimate()
        remember("keywords-asked", (wanted, estimated))
        st.rerun()


def _is_free(model: str) -> bool:
    """Tell whether a model computes on this machine; raises where it cannot be used at all."""
    from assistant.chat import ChatModel

    if model == EXTRACTIVE or model.startswith(resources.LOCAL):
        return True
    with lend_keys():
        return ChatModel.from_spec(model, offline=session().settings.models.offline).local


def _asked() -> None:
    """Draw the estimate of a job that costs something, and wait for a yes."""
    asked: tuple[Wanted, Estimated] | None = recall("keywords-asked", None)
    if asked is None:
        return
    wanted, estimated = asked
    running = _running() is not None
    cost, tokens = estimated.cost_usd, f"{estimated.tokens:,}"
    with st.container(border=True):
        if cost is None:
            text = t("keywords_estimate_unknown", n=estimated.papers, tokens=tokens, model=wanted.model)
        else:
            text = t(
                "keywords_estimate",
                n=estimated.papers,
                tokens=tokens,
                model=wanted.model,
                cost=f"{cost:.4f}",
                as_of=PRICES_AS_OF,
            )
        st.markdown(plain(text))
        with st.container(horizontal=True):
            if st.button(t("keywords_begin"), type="primary", key="keywords-begin", disabled=running):
                remember("keywords-asked", None)
                start(wanted)
                st.rerun()
            if st.button(t("keywords_leave"), key="keywords-leave"):
                remember("keywords-asked", None)
                st.rerun()


def start(wanted: Wanted) -> Job:
    """Find keywords in the background, for this browser."""
    now = session()
    settings, keys, output = now.settings, dict(now.keys), keyword_jobs.output_of(now.settings, wanted, now.owner)
    title = t("some_papers", n=len(wanted.ids))
    return JOBS.start(KIND, title, lambda: _run(settings, wanted, output, keys), owner=now.owner)


def _run(settings: Settings, wanted: Wanted, output: Path, keys: Mapping[str, str]) -> Iterator[Any]:
    from assistant.providers.errors import using_keys

    with using_keys(keys):
        library, chat = _library(settings, wanted), _loaded(wanted.model, settings)
        job = keyword_jobs.app_job(settings, wanted, library=library, output=output, chat=chat)
        yield from keyword_jobs.run_app_job(job, output)


def _library(settings: Settings, wanted: Wanted) -> Library | None:
    return resources.open_library(settings.library_path) if wanted.papers else None


def _loaded(spec: str, settings: Settings) -> ChatModel | None:
    """Return a model of this machine that is loaded already; a copy, for a job meters the calls of the one it has."""
    from copy import copy

    model = resources.answering_model(spec, offline=settings.models.offline)
    return None if isinstance(model, str) else copy(model)


# --- how it goes ------------------------------------------------------------------------------------------------------


def _live() -> None:
    from assistant.keywords.job import Progress

    job = _running()
    if job is None:
        st.rerun()
    at = job.last(Progress)
    with st.container(border=True):
        share = min(at.done / at.total, 1.0) if at and at.total else 0.0
        st.progress(share, text=t("n_papers", n=at.done if at else 0, m=at.total if at else "…"))
        if at:
            st.caption(plain(_pace(at)))
        if st.button(t("cancel"), icon=":material/stop_circle:", key=f"cancel-{job.id}"):
            job.cancel()
        if job.stop.is_set():
            st.caption(t("stopping"))
    _so_far(job)


def _so_far(job: Job) -> None:
    """Draw what a running job has found, the latest papers first."""
    writing = job.last(Writing)
    if writing is None:
        return
    with told():
        records = _records(writing.file)
        latest = records[: -MOST_LIVE - 1 : -1]
        if latest:
            st.caption(t("keywords_latest", n=len(latest), m=len(records)))
            _keyword_table(latest)


def _pace(at: Any) -> str:
    left = max(at.remaining_s, 0.0)
    parts = [t("keywords_rate", rate=f"{60 * at.rate:.1f}")]
    parts += [t("keywords_cost", cost=f"{at.cost_usd:.4f}", as_of=PRICES_AS_OF)] if at.cost_usd else []
    parts += [t("about_left", minutes=f"{left / 60:.1f}")] if left > 5 else []
    return " · ".join(parts)


def _ended() -> None:
    job = next(iter(JOBS.find(KIND, owner=session().owner)), None)
    if job is None or recall(f"seen-{job.id}", False):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        _outcome(job)
        if st.button(t("dismiss"), key=f"seen-{job.id}", type="tertiary"):
            remember(f"seen-{job.id}", True)
            st.rerun()


def _outcome(job: Job) -> None:
    from assistant.keywords.job import Progress, Report

    report = job.last(Report)
    if job.state == "failed":
        show_problem(job.error, job.hint)
    elif report is not None:
        (st.warning if report.failed or report.stopped else st.success)(plain(_told(report)))
        if report.stopped:
            show_problem(report.stopped, _hint(report))
    else:
        at = job.last(Progress)
        st.info(t("keywords_stopped", n=at.done if at else 0), icon=":material/info:")


def _told(report: Report) -> str:
    parts = [t("keywords_done", n=report.made)]
    parts += [t("keywords_before", n=report.skipped)] if report.skipped else []
    parts += [t("keywords_failed", n=len(report.failed))] if report.failed else []
    parts += [t("keywords_left", n=report.left)] if report.left else []
    parts += [t("keywords_cost", cost=f"{report.cost_usd:.4f}", as_of=PRICES_AS_OF)] if report.cost_usd else []
    return " ".join(parts)


def _hint(report: Report) -> str:
    from assistant.keywords.spending import BudgetSpent

    return t("keywords_raise_budget") if report.hint == BudgetSpent.hint else report.hint


# --- what came out ----------------------------------------------------------------------------------------------------


def _results() -> None:
    files = keyword_jobs.result_files(session().folder, session().owner)
    if not files:
        return
    file = files[0]
    if len(files) > 1:
        key = f"keywords-file-{file.name}"  # a new latest file is shown at once
        file = st.selectbox(t("keywords_results"), files, format_func=lambda one: one.stem, key=key)
    with told():
        records = _records(file)
        if records:
            _tabs(records, file)


def _records(file: Path) -> list[Record]:
    return _read(str(file), _stamp(file))


@st.cache_resource(show_spinner=False, max_entries=4)
def _read(file: str, written: tuple[int, int]) -> list[Record]:
    """Return the records of a file, read again only when it was written to."""
    return keyword_jobs.records_of(Path(file))


def _stamp(file: Path) -> tuple[int, int]:
    try:
        about = file.stat()
    except FileNotFoundError:
        return 0, 0
    return about.st_size, about.st_mtime_ns


def _tabs(records: Sequence[Record], file: Path) -> None:
    table, pictures, files = st.tabs([t("tab_table"), t("tab_pictures"), t("tab_downloads")])
    with table:
        _table(records)
        _failures([record for record in records if record.error])
    with pictures:
        _picture(file)
    with files:
        _downloads(file)


def _name(record: Record, titles: Mapping[str, str], names: Mapping[str, str]) -> str:
    shown = titles.get(record.id, record.title)
    stored = Path(record.path).stem == record.id and shown in ("", record.id)  # an upload that has no title
    return names.get(record.id, shown) if stored else shown or Path(record.path).name


def _names(records: Sequence[Record]) -> dict[str, str]:
    titles, names = _titles(), session().store.upload_names()
    return {record.id: _name(record, titles, names) for record in records}


def _titles() -> dict[str, str]:
    try:
        return paper_titles()
    except LibraryNotFound:
        return {}


def _table(records: Sequence[Record]) -> None:
    words = st.text_input(t("filter_keywords"), key="keyword-words", icon=":material/search:").casefold()
    _keyword_table(records, words)


def _keyword_table(records: Sequence[Record], words: str = "") -> None:
    """Draw one row for each keyword, of those whose paper or keyword holds `words`."""
    names, noted = _names(records), any(record.note for record in records)
    shown = [
        {
            t("column_title"): names[record.id],
            t("column_keyword"): one.keyword,
            t("column_present"): one.present,
            t("column_page"): one.page,
        }
        | ({t("column_note"): record.note} if noted else {})
        for record in records
        for one in record.keywords
        if words in f"{names[record.id]} {one.keyword}".casefold()
    ]
    st.dataframe(
        shown,
        hide_index=True,
        column_config={
            t("column_title"): st.column_config.TextColumn(width="large"),
            t("column_page"): st.column_config.NumberColumn(width="small"),
        },
        alt=t("keywords_alt"),
    )


def _failures(failed: Sequence[Record]) -> None:
    if not failed:
        return
    names = _names(failed)
    st.markdown(f"**{t('keywords_failures')}**")
    st.dataframe(
        [
            {t("column_file"): names[one.id], t("column_why"): one.error, t("column_what_to_do"): one.hint}
            for one in failed
        ],
        hide_index=True,
        alt=t("keywords_failures"),
    )


def _picture(file: Path) -> None:
    """Draw the corpus as the command line does, and offer the files."""
    if not any(record.keywords for record in _records(file)):
        st.caption(t("keywords_no_picture"))
        return
    written = _stamp(file)
    st.markdown(f"**{t('commonest')} · {t('together')}**", help=t("together_help"))
    with st.container(key="keyword-picture"):
        st.image(_drawn(str(file), written, ".svg").decode(), width="stretch", alt=t("keywords_picture_alt"))
    with st.container(horizontal=True):
        for suffix, label in PICTURES.items():
            st.download_button(
                label,
                partial(_drawn, str(file), written, suffix),
                f"keywords{suffix}",
                on_click="ignore",
                icon=":material/download:",
                key=f"get-picture{suffix}",
            )


@st.cache_data(show_spinner=False, max_entries=12)
def _drawn(file: str, written: tuple[int, int], suffix: str) -> bytes:
    return keyword_jobs.picture_of(keyword_jobs.records_of(Path(file)), suffix)


def _downloads(file: Path) -> None:
    folder = session().folder
    texts = _texts(str(file), _stamp(file), str(folder), resources.stamp(folder))
    with st.container(horizontal=True):
        for label, name in (("JSON Lines", "keywords.jsonl"), ("CSV", "keywords.csv"), ("BibTeX", "keywords.bib")):
            st.download_button(
                label, texts[name], name, on_click="ignore", icon=":material/download:", key=f"get-{name}"
            )
    st.caption(plain(str(Path(keyword_jobs.FOLDER) / file.name)))


@st.cache_data(show_spinner=False, max_entries=4)
def _texts(file: str, written: tuple[int, int], folder: str, library_written: resources.Stamp) -> dict[str, str]:
    """Return what can be downloaded by its name; made again only when the records or the library were written to."""
    from assistant.keywords import outputs

    records = keyword_jobs.records_of(Path(file))
    return {
        "keywords.jsonl": "".join(f"{line}\n" for line in outputs.lines_of(records)),
        "keywords.csv": outputs.to_csv(records),
        "keywords.bib": outputs.to_bibtex(records, _entries(records, Path(folder))),
    }


def _entries(records: Sequence[Record], folder: Path) -> str:
    """Return the library's own BibTeX entries of the papers, which gain their keywords."""
    from assistant import Answer

    wanted = {record.id for record in records}
    try:
        papers = tuple(paper for paper in resources.papers(folder) if paper.id in wanted)
    except LibraryNotFound:
        return ""
    return Answer(text="", papers=papers).bibtex() if papers else ""

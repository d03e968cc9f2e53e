"""The library: bring papers in, watch them being read, find, open and remove them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ingest.errors import LibraryNotFound, MatlitError
from ingest.events import Added, Failed, Finished, Found, Progress, Read, Updated
from ingest.records import Page, Paper
from ui import resources, uploads
from ui.components import begin_at_top, page_picture, page_text, page_title, plain, short, show_problem, told
from ui.jobs import JOBS, Job
from ui.reading import Match, find_in_paper
from ui.server import UPLOAD_MB
from ui.state import (
    begin_chat,
    choose_library,
    forget_widget,
    is_shared,
    open_page,
    paper_titles,
    recall,
    remember,
    session,
    set_widget,
    t,
)

if TYPE_CHECKING:
    from ingest.settings import Settings

KIND = "ingest"
REFRESH_S = 1.0
NOTHING: list[tuple[str, str]] = []
RECENT = 6  # files named while they come in


def draw() -> None:
    """Draw the page."""
    opened = recall("paper", "")
    if opened:
        _paper_page(opened)
        return
    page_title("nav_library", "library_about")
    progress()
    try:
        papers = resources.papers(session().folder)
    except LibraryNotFound:
        papers = []
    except MatlitError as error:
        show_problem(str(error), error.hint)
        return
    if not papers and JOBS.running(KIND) is None:
        first_steps(title=False)
        return
    _table(papers)
    _add()
    _failures()


# --- bringing papers in -----------------------------------------------------------------------------------------------


def first_steps(*, title: bool = True) -> None:
    """Draw the two ways to begin: the sample library, or one's own papers."""
    if title:
        page_title("welcome_title", "welcome_about")
        progress()
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.subheader(t("sample_title"), anchor=False)
        st.markdown(t("sample_about"))
        if st.button(t("sample_button"), type="primary", icon=":material/menu_book:", key="sample"):
            start_sample()
            st.rerun()
    with right, st.container(border=True, height="stretch"):
        st.subheader(t("own_title"), anchor=False)
        st.markdown(t("own_about"))
        _uploader("first")
    if not is_shared():
        _folder("first")


def _add() -> None:
    with st.expander(t("add_papers"), icon=":material/add:", expanded=False, key="add-papers"):
        _uploader("more")
        if not is_shared():
            _folder("more")


def _uploader(key: str) -> None:
    files, folder = st.tabs([t("upload_files"), t("upload_folder")])
    with files:
        _upload(f"files-{key}", several=True)
    with folder:
        _upload(f"folder-{key}", several="directory")


def _upload(key: str, *, several: Any) -> None:
    turn = recall(f"turn-{key}", 0)
    given = st.file_uploader(
        t("upload_label"),
        type=None if several == "directory" else list(uploads.PAPER_TYPES),
        accept_multiple_files=several,
        key=f"{key}-{turn}",
        help=t("upload_help", mb=UPLOAD_MB),
    )
    if given and st.button(t("upload_button", n=len(given)), key=f"{key}-go", type="primary"):
        now = session()
        with told():
            taken, refused = uploads.take_papers(given, library=now.folder, store=now.store)
            if taken:
                start_ingest([str(one.path) for one in taken])
            remember(f"turn-{key}", turn + 1)
            remember("refused", [(str(error), error.hint) for error in refused])
            st.rerun()


def _folder(key: str) -> None:
    with st.form(f"folder-{key}-form", border=False):
        path = st.text_input(t("folder_label"), placeholder="~/papers", help=t("folder_help"), key=f"folder-{key}")
        sent = st.form_submit_button(t("folder_button"), icon=":material/folder_open:")
    if sent and path.strip():
        start_ingest([path.strip()])
        st.rerun()


def start_ingest(paths: Sequence[str], *, retry_failed: bool = False) -> Job:
    """Bring files and folders into the library in the background."""
    settings, folder = session().settings, session().folder
    title = ", ".join(Path(path).name for path in paths[:2]) if len(paths) < 3 else t("n_files", n=len(paths))
    return JOBS.start(KIND, title, lambda: _ingest(settings, folder, paths, retry_failed=retry_failed))


def _ingest(settings: Settings, folder: Path, paths: Sequence[str], *, retry_failed: bool) -> Iterator[Any]:
    from ingest.pipeline import ingest

    yield from ingest(
        paths,
        settings=settings,
        library=folder,
        embedder=_embedder(settings, folder),
        workers=settings.reading.workers,
        retry_failed=retry_failed,
    )


def _embedder(settings: Settings, folder: Path) -> Any:
    from ui.engine import is_offline

    try:
        name = resources.open_library(folder).info.embedder.name
    except LibraryNotFound:
        name = settings.embedding.model
    return resources.embedder(name, threads=settings.embedding.threads, offline=is_offline(settings))


def start_sample() -> Job:
    """Build the sample library beside the user's own, and work with it from now on."""
    from assistant.demo import default_folder

    choose_library(default_folder())
    folder = session().folder
    return JOBS.start(KIND, t("sample_title"), lambda: _sample(folder))


def _sample(folder: Path) -> Iterator[Any]:
    from assistant.demo import demo_events
    from ingest.settings import Settings

    yield from demo_events(folder, resources.embedder(Settings().embedding.model))


def progress() -> None:
    """Draw what is coming in, until it has come; it draws itself anew once a second."""
    running = JOBS.running(KIND)
    if running is None:
        _last_result()
        return
    st.fragment(_live, run_every=REFRESH_S)()


def _live() -> None:
    job = JOBS.running(KIND)
    if job is None:
        st.rerun()
    found, at = job.last(Found), job.last(Progress)
    total, done = (found.todo if found else 0), (at.done if at else 0)
    with st.container(border=True, key="progress"):
        text = t("reading_papers", title=job.title) if found else t("looking_for_files")
        st.progress(min(done / total, 1.0) if total else 0.0, text=plain(text))
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.caption(_how_far(done, total, at.remaining_s if at else None))
        if right.button(t("cancel"), icon=":material/stop_circle:", key=f"cancel-{job.id}", width="stretch"):
            job.cancel()
        if job.stop.is_set():
            st.caption(t("stopping"))
        _recent(job)


def _how_far(done: int, total: int, remaining_s: float | None) -> str:
    left = t("about_left", minutes=f"{remaining_s / 60:.1f}") if remaining_s and remaining_s > 5 else ""
    return " · ".join(filter(None, (t("n_of_m", n=done, m=total), left))) if total else ""


def _recent(job: Job) -> None:
    names = session().store.upload_names()
    lines = []
    for event in list(job.events)[-200:]:
        if isinstance(event, (Added, Updated)):
            lines.append(f":green[:material/check:] {plain(_name(event.path, names))} · {t('n_pages', n=event.pages)}")
        elif isinstance(event, Failed):
            lines.append(f":orange[:material/close:] {plain(_name(event.path, names))} · {plain(event.error)}")
        elif isinstance(event, Read):
            lines.append(f":gray[:material/visibility: {plain(_name(event.path, names))}]")
    if lines:
        st.markdown("  \n".join(lines[-RECENT:]))


def _name(path: Path, names: dict[str, str]) -> str:
    return names.get(path.stem, path.name)


def _last_result() -> None:
    for message, hint in recall("refused", NOTHING):
        show_problem(message, hint)
    job = next(iter(JOBS.find(KIND)), None)
    if job is None or recall(f"seen-{job.id}", False):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        _result(job)
        if st.button(t("dismiss"), key=f"seen-{job.id}", type="tertiary"):
            remember(f"seen-{job.id}", True)
            remember("refused", [])
            st.rerun()


def _result(job: Job) -> None:
    finished = job.last(Finished)
    if job.state == "failed":
        show_problem(job.error, job.hint)
    elif job.state == "cancelled":
        st.info(t("ingest_cancelled"), icon=":material/info:")
    elif finished:
        report = finished.report
        text = t("ingest_done", added=report.added + report.updated, skipped=report.skipped, failed=len(report.failed))
        (st.warning if report.failed else st.success)(text, icon=":material/library_add_check:")


# --- what is there ----------------------------------------------------------------------------------------------------


def _table(papers: Sequence[Paper]) -> None:
    titles = paper_titles()
    words = st.text_input(t("filter_papers"), key="paper-words", icon=":material/search:", placeholder=t("filter_hint"))
    shown = _matching(papers, titles, words.split())
    st.caption(t("n_papers", n=len(shown), m=len(papers)))
    chosen = st.dataframe(
        _columns(shown, titles),
        hide_index=True,
        key=f"papers-{recall('papers-turn', 0)}",
        on_select="rerun",
        selection_mode="multi-row",
        height=min(38 * (len(shown) + 1) + 4, 460),
        column_config={
            t("column_title"): st.column_config.TextColumn(width="large"),
            t("column_year"): st.column_config.TextColumn(width="small"),
            t("column_pages"): st.column_config.NumberColumn(width="small"),
        },
        alt=t("papers_alt"),
    )
    rows = [shown[row] for row in chosen["selection"]["rows"] if row < len(shown)]
    _open_control(shown, titles, rows)


def _matching(papers: Sequence[Paper], titles: dict[str, str], words: Sequence[str]) -> list[Paper]:
    from ui.engine import matching_papers

    if not words:
        return list(papers)
    found = {paper.id for paper in matching_papers(papers, words)}
    wanted = [word.casefold() for word in words]
    return [p for p in papers if p.id in found or all(word in titles[p.id].casefold() for word in wanted)]


def _columns(papers: Sequence[Paper], titles: dict[str, str]) -> dict[str, list[Any]]:
    read = t("status_read")
    return {
        t("column_title"): [titles[paper.id] for paper in papers],
        t("column_authors"): [", ".join(paper.metadata.authors) for paper in papers],
        t("column_year"): [str(paper.metadata.year or "") for paper in papers],
        t("column_pages"): [paper.page_count for paper in papers],
        t("column_status"): ["; ".join(paper.warnings) or read for paper in papers],
        t("column_added"): [paper.added[:10] for paper in papers],
    }


def _open_control(papers: Sequence[Paper], titles: dict[str, str], rows: Sequence[Paper]) -> None:
    """Draw what can be done with the chosen papers; the list serves those who cannot use the table."""
    ids = [paper.id for paper in papers]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        picked = st.multiselect(
            t("chosen_papers"),
            ids,
            default=[paper.id for paper in rows],
            format_func=lambda paper: short(titles.get(paper, paper[:8]), 60),
            placeholder=t("choose_papers"),
            key=f"picked-{hash(tuple(paper.id for paper in rows))}",
        )
        if st.button(t("open"), icon=":material/menu_book:", disabled=len(picked) != 1, key="open-paper"):
            open_paper(picked[0])
            st.rerun()
        if st.button(t("ask_these"), icon=":material/forum:", disabled=not picked, key="ask-papers"):
            begin_chat(tuple(picked))
            open_page("chat")
        with st.popover(t("remove"), icon=":material/delete:", disabled=not picked, key="remove-papers"):
            _confirm_removal(picked, titles)


def _confirm_removal(ids: Sequence[str], titles: dict[str, str]) -> None:
    st.markdown(t("remove_about", n=len(ids)))
    st.markdown("\n".join(f"- {plain(titles[paper])}" for paper in ids[:10]))
    if st.button(t("remove_now"), type="primary", key="remove-now"):
        with told():
            with resources.open_library(session().folder).writer("matlit chat: remove") as writer:
                for paper in ids:
                    writer.remove(paper)
            remember("papers-turn", recall("papers-turn", 0) + 1)
            st.rerun()


def _failures() -> None:
    with told():
        failures = list(resources.open_library(session().folder).failures().values())
        if not failures:
            return
        names = session().store.upload_names()
        with st.expander(t("failures", n=len(failures)), icon=":material/report:", expanded=True):
            rows = [
                {
                    t("column_file"): _name(failure.path, names),
                    t("column_why"): failure.error.replace(failure.path.name, _name(failure.path, names)),
                    t("column_what_to_do"): failure.hint,
                }
                for failure in failures
            ]
            st.table(rows)
            if st.button(t("try_again"), icon=":material/refresh:", key="retry-failed"):
                start_ingest([str(one.path) for one in failures if one.path.exists()], retry_failed=True)
                st.rerun()


# --- one paper --------------------------------------------------------------------------------------------------------


def open_paper(paper: str, page: int = 1) -> None:
    """Have the library page show a paper."""
    remember("paper", paper)
    remember("scroll-up", True)
    set_widget("paper-page", page)
    forget_widget("words-in-paper")


def _paper_page(identity: str) -> None:
    begin_at_top()
    try:
        paper = resources.open_library(session().folder).paper(identity)
        pages = resources.pages(session().folder, paper.id)
    except MatlitError as error:
        remember("paper", "")
        show_problem(str(error), error.hint)
        return
    title = paper_titles().get(paper.id, paper.title)
    _paper_head(paper, title)
    words = st.text_input(t("search_in_paper"), key="words-in-paper", icon=":material/search:")
    matches = find_in_paper(pages, words) if words.strip() else []
    _matches(matches, words)
    number = st.pagination(len(pages), key="paper-page")
    _page(paper, pages[number - 1], [(one.start, one.end) for one in matches if one.page == number], title)


def _page(paper: Paper, page: Page, spans: Sequence[tuple[int, int]], title: str) -> None:
    boxes = [box for start, end in spans for box in page.boxes(start, end)]
    if not page_picture(paper, page.number, boxes, title=title):
        page_text(page, spans)
        return
    with st.expander(t("page_as_text"), icon=":material/notes:"):
        page_text(page, spans)


def _paper_head(paper: Paper, title: str) -> None:
    with st.container(horizontal=True, gap="small"):
        if st.button(t("back"), icon=":material/arrow_back:", type="tertiary", key="back"):
            remember("paper", "")
            st.rerun()
        if st.button(t("ask_this_paper"), icon=":material/forum:", type="tertiary", key="ask-paper"):
            begin_chat((paper.id,))
            open_page("chat")
    st.header(plain(title), anchor=False)
    known = paper.metadata
    about = [", ".join(known.authors), known.journal, str(known.year or ""), t("n_pages", n=paper.page_count)]
    st.caption(plain(" · ".join(filter(None, about))))
    if known.doi:
        st.link_button(t("open_doi", doi=known.doi), f"https://doi.org/{known.doi}", icon=":material/open_in_new:")


def _matches(matches: Sequence[Match], words: str) -> None:
    if not words.strip():
        return
    pages = sorted({match.page for match in matches})
    if not pages:
        st.caption(t("nothing_found"))
        return
    st.caption(t("n_matches", n=len(matches), m=len(pages)))
    with st.container(horizontal=True, gap="small"):
        for page in pages[:20]:
            if st.button(t("page_n", page=page), key=f"go-{page}", on_click=set_widget, args=("paper-page", page)):
                st.rerun()

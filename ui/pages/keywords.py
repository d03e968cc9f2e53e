"""Keywords: find them for papers of the library, watch it, stop and go on, and look at what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ingest.errors import LibraryNotFound, MatlitError
from ui import keywordrun, resources
from ui.components import page_title, plain, short, show_problem
from ui.jobs import JOBS, Job
from ui.keywordrun import Done, Row
from ui.plots import counts_figure, network_figure
from ui.state import paper_titles, recall, remember, session, t

if TYPE_CHECKING:
    from ingest.settings import Settings

KIND = "keywords"
REFRESH_S = 1.0
MOST_BARS = 25
MOST_NODES = 40


def draw() -> None:
    """Draw the page."""
    page_title("keywords_title", "keywords_about")
    try:
        papers = resources.papers(session().folder)
    except LibraryNotFound:
        papers = []
    except MatlitError as error:
        show_problem(str(error), error.hint)
        return
    if not papers:
        st.info(t("no_papers"), icon=":material/info:")
        return
    _start([paper.id for paper in papers])
    if JOBS.running(KIND) is not None:
        st.fragment(_live, run_every=REFRESH_S)()
    else:
        _ended()
    rows = list(keywordrun.read_rows(keywordrun.file_of(session().folder)).values())
    if rows:
        _results(rows)


def _start(ids: Sequence[str]) -> None:
    titles = paper_titles()
    with st.container(border=True):
        chosen = st.multiselect(
            t("keyword_papers"),
            list(ids),
            format_func=lambda paper: short(titles.get(paper, paper[:8]), 70),
            placeholder=t("scope_all"),
            key="keyword-papers",
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            most = st.number_input(t("keywords_each"), 1, 50, 10, key="keywords-each", width=150)
            anew = st.checkbox(t("keywords_anew"), key="keywords-anew", help=t("keywords_anew_help"))
            running = JOBS.running(KIND) is not None
            if st.button(
                t("find_keywords"), type="primary", icon=":material/sell:", disabled=running, key="keywords-go"
            ):
                start(chosen or ids, most=int(most), anew=anew)
                st.rerun()


def start(ids: Sequence[str], *, most: int, anew: bool) -> Job:
    """Find keywords in the background."""
    settings, wanted = session().settings, list(ids)
    return JOBS.start(KIND, t("n_papers_plain", n=len(wanted)), lambda: _run(settings, wanted, most=most, anew=anew))


def _run(settings: Settings, ids: Sequence[str], *, most: int, anew: bool) -> Iterator[Any]:
    from ui.engine import is_offline

    library = resources.open_library(settings.library_path)
    embedder = resources.embedder(
        settings.embedding.model, threads=settings.embedding.threads, offline=is_offline(settings)
    )
    yield from keywordrun.run(library, ids, most=most, embedder=embedder, anew=anew)


def _live() -> None:
    job = JOBS.running(KIND)
    if job is None:
        st.rerun()
    at = job.last(Done)
    done, total = (at.done, at.total) if at else (0, 0)
    with st.container(border=True):
        st.progress(done / total if total else 0.0, text=t("keywords_running", n=done, m=total or "…"))
        if at:
            st.caption(plain(short(at.row["title"], 90)))
        if st.button(t("cancel"), icon=":material/stop_circle:", key=f"cancel-{job.id}"):
            job.cancel()
        if job.stop.is_set():
            st.caption(t("stopping"))


def _ended() -> None:
    job = next(iter(JOBS.find(KIND)), None)
    if job is None or recall(f"seen-{job.id}", False):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if job.state == "failed":
            show_problem(job.error, job.hint)
        else:
            done = sum(isinstance(event, Done) for event in job.events)
            st.success(t("keywords_stopped" if job.state == "cancelled" else "keywords_done", n=done))
        if st.button(t("dismiss"), key=f"seen-{job.id}", type="tertiary"):
            remember(f"seen-{job.id}", True)
            st.rerun()


def _results(rows: Sequence[Row]) -> None:
    table, pictures, files = st.tabs([t("tab_table"), t("tab_pictures"), t("tab_downloads")])
    with table:
        _table(rows)
    with pictures:
        _pictures(rows)
    with files:
        _downloads(rows)


def _table(rows: Sequence[Row]) -> None:
    titles = paper_titles()
    words = st.text_input(t("filter_keywords"), key="keyword-words", icon=":material/search:").casefold()
    shown = [
        {
            t("column_title"): titles.get(row["id"], row["title"]),
            t("nav_keywords"): ", ".join(one["keyword"] for one in row["keywords"]) or row["error"],
        }
        for row in rows
    ]
    shown = [row for row in shown if words in " ".join(map(str, row.values())).casefold()]
    st.dataframe(
        shown,
        hide_index=True,
        row_height=60,
        column_config={t("nav_keywords"): st.column_config.TextColumn(width="large")},
        alt=t("keywords_alt"),
    )


def _pictures(rows: Sequence[Row]) -> None:
    counts = keywordrun.counted(rows)
    st.markdown(f"**{t('commonest')}**")
    figure = counts_figure(counts[:MOST_BARS], count=t("papers_count"))
    st.plotly_chart(figure, key="keyword-bars", config={"displaylogo": False}, alt=t("commonest"))
    pairs = keywordrun.together(rows, [word for word, _ in counts[:MOST_NODES]])
    if pairs:
        st.markdown(f"**{t('together')}**", help=t("together_help"))
        network = network_figure(dict(counts[:MOST_NODES]), pairs)
        st.plotly_chart(network, key="keyword-net", config={"displaylogo": False}, alt=t("together"))


def _downloads(rows: Sequence[Row]) -> None:
    papers = {paper.id: paper for paper in resources.papers(session().folder)}
    with st.container(horizontal=True):
        for label, name, text in (
            ("JSON Lines", "keywords.jsonl", keywordrun.to_jsonl(rows)),
            ("CSV", "keywords.csv", keywordrun.to_csv(rows)),
            ("BibTeX", "keywords.bib", keywordrun.to_bibtex(rows, papers)),
        ):
            st.download_button(label, text, name, on_click="ignore", icon=":material/download:", key=f"get-{name}")
    st.caption(plain(str(Path(keywordrun.FOLDER) / "keywords.jsonl")))

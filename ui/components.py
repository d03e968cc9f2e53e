"""Pieces that pages are made of: they take data and draw it. Text from papers and models is shown, never run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import streamlit as st

from ingest.errors import MatlitError, NotInLibrary, ReadError
from ingest.records import Box, Page, Paper
from ui import resources
from ui.state import paper_titles, recall, remember, session, t

if TYPE_CHECKING:
    from ingest.library import Library

NEIGHBOURS = 500  # characters of text around a quote
SHORT = 42
SCROLL_UP = "<script>document.querySelector('.stMain')?.scrollTo(0, 0)</script>"
# Streamlit's own words for a server that is gone send people looking for Streamlit and the internet.
LOST = """<script>(() => {
  window.matlitLost = %s;
  if (window.matlitWatched) return;
  window.matlitWatched = true;
  new MutationObserver(() => {
    for (const dialog of document.querySelectorAll('[role=dialog]')) {
      const texts = document.createTreeWalker(dialog, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        if (texts.currentNode.nodeValue.includes('Streamlit server is not responding'))
          texts.currentNode.nodeValue = window.matlitLost;
      }
    }
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
})()</script>"""
STATUS_COLOURS = {"verified": "green", "tool": "blue", "unsupported": "orange"}
STATUS_ICONS = {
    "verified": ":material/check_circle:",
    "tool": ":material/calculate:",
    "unsupported": ":material/help:",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^=&])")
_RISKY = re.compile(r"!\[|\]\(|<|:(?=[a-z-]+\[)|:(?=[a-z_/]+:)")


def plain(text: str) -> str:
    """Return `text` so that Markdown shows it letter by letter."""
    return _MARKDOWN.sub(r"\\\1", text)


def careful(text: str) -> str:
    """Return Markdown that a model wrote without pictures, links, HTML and Streamlit's own directives."""
    return _RISKY.sub(lambda found: "".join(f"\\{char}" if not char.isalnum() else char for char in found[0]), text)


def short(text: str, most: int = SHORT) -> str:
    """Return the beginning of a title."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def show_problem(message: str, hint: str = "") -> None:
    """Say what went wrong and what to do."""
    st.error(plain(message) + (f"\n\n{t('next_step')} {plain(hint)}" if hint else ""), icon=":material/error:")


@contextmanager
def told() -> Iterator[None]:
    """Show what matlit refuses inside the block as a message."""
    try:
        yield
    except MatlitError as error:
        show_problem(str(error), error.hint)


def page_title(key: str, about: str = "") -> None:
    """Begin a page: its title, and one sentence on what it is for."""
    st.title(t(key), anchor=False)
    if about:
        st.caption(t(about))


def begin_at_top() -> None:
    """Scroll up once: what was opened from far down a list begins at its head."""
    if recall("scroll-up", False):
        remember("scroll-up", False)
        st.html(SCROLL_UP, unsafe_allow_javascript=True)


def watch_connection() -> None:
    """Have the page say what to do when the server has gone."""
    st.html(LOST % json.dumps(t("connection_lost")), unsafe_allow_javascript=True)


# --- papers -----------------------------------------------------------------------------------------------------------


def page_picture(paper: Paper, number: int, boxes: Sequence[Box], *, title: str) -> bool:
    """Show a page as a picture with `boxes` marked; where there is none, say why and return False."""
    if not paper.paged or paper.format != "pdf":
        return False
    try:
        png = resources.marked_picture(paper, number, boxes)
    except ReadError as error:
        st.info(plain(f"{error}. {error.hint}"), icon=":material/info:")
        return False
    alt = t("page_alt_marked" if boxes else "page_alt", title=title, page=number)
    st.image(png, width="stretch", alt=alt)
    return True


def page_text(page: Page, spans: Sequence[tuple[int, int]]) -> None:
    """Show the text of a page with spans of it marked."""
    pieces, last = [], 0
    for start, end in sorted(spans):
        if start >= last:
            pieces += [plain(page.text[last:start]), f":yellow-background[{plain(page.text[start:end])}]"]
            last = end
    pieces.append(plain(page.text[last:]))
    with st.container(border=True):
        st.markdown(paragraphs("".join(pieces)))


def paragraphs(text: str) -> str:
    """Return text in which every line break of the page is one on the screen."""
    return text.replace("\n", "  \n")


def open_source(citation: Mapping[str, Any], *, bibtex: bool = True) -> None:
    """Open the card of a citation beside the answer."""
    titles = paper_titles()
    title = titles.get(str(citation["paper"]), str(citation["title"]))
    st.dialog(t("source_of", n=citation["n"]), width="medium", position="right", icon=":material/article:")(
        source_card
    )(citation, title)


def source_card(citation: Mapping[str, Any], title: str) -> None:
    """Draw what is behind a citation: the quote, its page with the quote marked, and the paper."""
    with told():
        library = resources.open_library(session().folder)
        try:
            paper = library.paper(str(citation["paper"]))
        except NotInLibrary:
            _record_card(library, citation)
            return
        _paper_card(library, paper, citation, title)


def _paper_card(library: Library, paper: Paper, citation: Mapping[str, Any], title: str) -> None:
    from assistant.citations import locate

    known = paper.metadata
    st.markdown(f"**{plain(title)}**")
    about = [", ".join(known.authors[:4]) + (" et al." if len(known.authors) > 4 else ""), known.journal]
    st.caption(plain(" · ".join(filter(None, [*about, str(known.year or "")]))) or t("unknown_authors"))
    where = [t("page_n", page=citation["page"]), str(citation.get("section") or "")]
    st.markdown(
        f"{status_badge(str(citation['status']))} {plain(' · '.join(filter(None, where)))}", help=t("status_help")
    )
    page = library.page(paper.id, int(citation["page"]))
    located = locate(str(citation["quote"]), page)
    spans = [(located.start, located.end)] if located else []
    boxes = [Box(**box) for box in citation.get("boxes", ())] or [
        box for start, end in spans for box in page.boxes(start, end)
    ]
    if not located:
        st.warning(t("quote_not_found"), icon=":material/help:")
    if not page_picture(paper, page.number, boxes, title=title):
        page_text(page, spans)
    _more(paper, page, spans)


def _more(paper: Paper, page: Page, spans: Sequence[tuple[int, int]]) -> None:
    from assistant import Answer

    if spans:
        with st.expander(t("neighbouring_text"), icon=":material/notes:"):
            start, end = spans[0]
            before, after = page.text[max(start - NEIGHBOURS, 0) : start], page.text[end : end + NEIGHBOURS]
            quote = plain(page.text[start:end])
            st.markdown(paragraphs(f"…{plain(before)}:yellow-background[{quote}]{plain(after)}…"))
    if paper.metadata.doi:
        st.link_button(
            t("open_doi", doi=paper.metadata.doi),
            f"https://doi.org/{paper.metadata.doi}",
            icon=":material/open_in_new:",
        )
    with st.expander(t("bibtex"), icon=":material/format_quote:"):
        st.code(Answer(text="", papers=(paper,)).bibtex(), language="latex", wrap_lines=True)


def _record_card(library: Library, citation: Mapping[str, Any]) -> None:
    record = library.material(str(citation["paper"]))
    st.markdown(f"**{plain(record.title)}**")
    st.markdown(f"{status_badge(str(citation['status']))} {plain(record.source)}", help=t("status_help"))
    st.markdown(f"> {plain(str(citation['quote']))}")
    if record.source_doi:
        st.link_button(
            t("open_doi", doi=record.source_doi), f"https://doi.org/{record.source_doi}", icon=":material/open_in_new:"
        )


def status_badge(status: str) -> str:
    """Return the badge of a claim's status, in Markdown."""
    return f":{STATUS_COLOURS[status]}-badge[{STATUS_ICONS[status]} {t('status_' + status)}]"

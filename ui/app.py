"""The web app: navigation between the pages. Streamlit runs `main` anew at every step; see `ui.pages.entry`."""

from __future__ import annotations

import streamlit as st

from ui.components import told, watch_connection
from ui.pages import bandgap, chat, keywords, library, materials, settings
from ui.state import remember, t
from ui.style import STYLE, icon

PAGES = {
    "chat": (chat.draw, ":material/forum:"),
    "library": (library.draw, ":material/library_books:"),
    "keywords": (keywords.draw, ":material/sell:"),
    "materials": (materials.draw, ":material/category:"),
    "bandgap": (bandgap.draw, ":material/stacked_line_chart:"),
    "settings": (settings.draw, ":material/settings:"),
}


def main() -> None:
    """Draw the page that is open."""
    st.set_page_config(page_title="matlit", page_icon=icon(), layout="centered", menu_items={})
    st.html(STYLE)
    watch_connection()
    pages = {
        name: st.Page(draw, title=t(f"nav_{name}"), icon=icon, url_path=name, default=name == "chat")
        for name, (draw, icon) in PAGES.items()
    }
    for name, page in pages.items():
        remember(f"page-{name}", page)
    with told():
        st.navigation(list(pages.values())).run()

"""What one browser tab remembers between two runs of a page; the only file that touches `st.session_state`.

A reload begins a new session: language, model and library come back from the preferences kept for the browser, the open
chat from the page's address, keys do not come back at all.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import streamlit as st

from assistant.providers.errors import using_keys
from ingest.settings import Settings, load_settings
from ui import resources
from ui.chats import ChatStore, Manner, owner_of
from ui.gate import BROWSER_COOKIE
from ui.server import OPEN_VARIABLE
from ui.texts import LANGUAGES, Language, say

T = TypeVar("T")
_SLOT = "matlit"
_CHAT = "chat"  # in the page's address


@dataclass(slots=True)
class Session:
    """One tab. `keys` are by variable name and live in this object only; `chat` is the open chat's id, "" for none.

    `manner` is that of the open chat, or of the next one; its model is the one in `settings`.
    """

    store: ChatStore
    settings: Settings
    language: Language
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    chat: str = ""
    manner: Manner = field(default_factory=Manner)
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """Return whose chats and jobs these are."""
        return self.store.owner

    @property
    def folder(self) -> Path:
        """Return the library's folder."""
        return self.settings.library_path


def session() -> Session:
    """Return this tab's session."""
    found = st.session_state.get(_SLOT)
    if found is None:
        found = st.session_state[_SLOT] = _begin()
        if found.store.has(chat := st.query_params.get(_CHAT, "")):
            open_chat(chat)
    return cast(Session, found)


def _begin() -> Session:
    token = st.context.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(24)
    store = ChatStore(owner_of(token))
    settings = load_settings()
    if library := store.preference("library"):
        settings = with_library(settings, library)
    if model := store.preference("model"):
        settings = with_model(settings, model)
    return Session(store=store, settings=settings, language=_language(store))


def _language(store: ChatStore) -> Language:
    chosen = store.preference("language")
    if chosen not in LANGUAGES:
        locale = (st.context.locale or "en").lower()
        chosen = next((code for code in LANGUAGES if locale.startswith(code)), "en")
    return cast(Language, chosen)


def with_library(settings: Settings, folder: str) -> Settings:
    """Return the settings with another library."""
    return replace(settings, library=replace(settings.library, path=folder))


def with_model(settings: Settings, spec: str) -> Settings:
    """Return the settings with another answering model."""
    return replace(settings, models=replace(settings.models, model=spec))


def t(key: str, **values: Any) -> str:
    """Return a text of the interface in this tab's language."""
    return say(key, session().language, **values)


def choose_language(language: Language) -> None:
    """Speak another language from now on, in this browser."""
    session().language = language
    session().store.prefer("language", language)


def choose_library(folder: Path) -> None:
    """Work with another library from now on, in this browser; the open chat is left."""
    now = session()
    now.settings = with_library(now.settings, str(folder))
    begin_chat()
    now.store.prefer("library", str(folder))


def choose_model(spec: str) -> None:
    """Answer with another model from now on: in the open chat, and in new ones of this browser."""
    session().settings = with_model(session().settings, spec)
    session().store.prefer("model", spec)
    choose_manner()


def begin_chat(papers: tuple[str, ...] = ()) -> None:
    """Leave the open chat; the next question begins one, in the usual manner but for what papers it may look at."""
    now = session()
    now.chat, now.manner = "", Manner(papers=papers)
    now.settings = with_model(now.settings, now.store.preference("model") or load_settings().models.role("answer"))


def open_chat(chat: str) -> None:
    """Open a chat of earlier, and go on in its manner."""
    now = session()
    begin_chat()
    now.chat, now.manner = chat, now.store.manner(chat)
    if now.manner.model:
        now.settings = with_model(now.settings, now.manner.model)


def name_in_address() -> None:
    """Put the open chat into the page's address, by which a reload finds it again."""
    if session().chat:
        st.query_params[_CHAT] = session().chat
    else:
        st.query_params.pop(_CHAT, None)


def choose_manner(**changes: Any) -> None:
    """Answer in another manner from now on, and keep it with the open chat; without changes, keep what is in force."""
    now = session()
    now.manner = replace(now.manner, model=now.settings.models.model, **changes)
    if now.chat:
        now.store.keep_manner(now.chat, now.manner)


def set_key(name: str, value: str) -> None:
    """Keep a key for this tab, or forget it."""
    if value:
        session().keys[name] = value
    else:
        session().keys.pop(name, None)


def lend_keys() -> Any:
    """Return a context in which models built in this thread use this tab's keys."""
    return using_keys(session().keys)


def recall(name: str, default: T) -> T:
    """Return what was remembered under `name`."""
    return cast(T, session().memory.get(name, default))


def remember(name: str, value: Any) -> None:
    """Keep `value` under `name` while this tab is open."""
    session().memory[name] = value


def forget_widget(key: str) -> None:
    """Have a widget begin anew at the next run."""
    st.session_state.pop(key, None)


def set_widget(key: str, value: Any) -> None:
    """Set a widget's value before it is drawn."""
    st.session_state[key] = value


def is_shared() -> bool:
    """Tell whether other machines can reach this server; folders of this one are then not offered."""
    return bool(os.environ.get(OPEN_VARIABLE))


def open_page(name: str) -> None:
    """Go to another page of the app."""
    st.switch_page(session().memory[f"page-{name}"])


def paper_titles() -> dict[str, str]:
    """Return the titles of the library in force by paper id."""
    now = session()
    return resources.titles(now.folder, now.store)

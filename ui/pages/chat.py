"""The chat: ask, watch the answer come, open the page it comes from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from assistant.chat import Message as Turn
from ingest.errors import LibraryNotFound, MatlitError
from ui import answering, export, resources, uploads
from ui.answers import follow_ups, show_answer, step_line
from ui.chats import Message
from ui.components import careful, page_title, plain, short, show_problem, told
from ui.jobs import Job
from ui.pages.library import first_steps, start_ingest
from ui.state import (
    begin_chat,
    choose_manner,
    name_in_address,
    open_chat,
    paper_titles,
    recall,
    remember,
    session,
    t,
)

POLL_S = 0.1
STRATEGIES = ("auto", "zero-shot", "few-shot", "cot")
MOST_IN_LIST = 30
AVATARS = {"user": ":material/person:", "assistant": ":material/science:"}
MOST_ATTACHED = 10
EXPORTS = (
    ("Markdown", export.to_markdown, ".md", "text/markdown"),
    ("JSON", export.to_json, ".json", "application/json"),
    ("PDF", export.to_pdf, ".pdf", "application/pdf"),
)


def draw() -> None:
    """Draw the page."""
    if not _has_papers():
        first_steps()
        return
    name_in_address()
    _history()
    messages = session().store.messages(session().chat) if session().chat else []
    if not messages:
        _welcome()
    for message in messages:
        _message(message, last=message is messages[-1])
    answer = st.container()
    with st.bottom:
        _bar()
    job = answering.running(session().store, session().chat) if session().chat else None
    _input()
    if job is not None:
        with answer:
            _watch(job)
        st.rerun()
    elif messages and messages[-1].role == "user":
        with answer:
            _unanswered(messages)


def _has_papers() -> bool:
    try:
        held = resources.status(session().folder)
    except LibraryNotFound:
        return False
    except MatlitError as error:
        show_problem(str(error), error.hint)
        return True
    return bool(held["papers"] or held["materials"])


# --- asking -----------------------------------------------------------------------------------------------------------


def ask(question: str, attachments: Sequence[uploads.Stored] = ()) -> None:
    """Put a question in the open chat, or in a new one, and have it answered."""
    now = session()
    if not now.chat:
        now.chat = now.store.begin(question, str(now.folder))
        choose_manner()
    content = {
        "text": question,
        "attachments": [{"name": one.name, "path": str(one.path)} for one in attachments],
        "papers": list(_scope()),
        "strategy": now.manner.strategy,
        "model": now.settings.models.model,
    }
    now.store.add(now.chat, "user", content)
    _answer(content)


def _answer(content: dict[str, Any]) -> None:
    now = session()
    asked = answering.Asked(
        question=content["text"],
        strategy=content.get("strategy", "auto"),
        papers=tuple(content.get("papers", ())),
        attachments=tuple((one["name"], Path(one["path"])) for one in content.get("attachments", ())),
        history=_history_before(content),
        keys=dict(now.keys),
    )
    answering.start(now.settings, now.store, now.chat, asked)


def _history_before(content: dict[str, Any]) -> tuple[Turn, ...]:
    """Return the turns before the last question, for models that remember a conversation."""
    said = session().store.messages(session().chat)
    earlier = said[:-1] if said and said[-1].content == content else said
    return tuple(Turn(one.role, str(one.content["text"])) for one in earlier if one.content.get("text"))


def _input() -> None:
    given = st.chat_input(
        t("ask_placeholder"),
        key="question",
        accept_file="multiple",
        max_chars=10_000,
    )
    if not given:
        return
    with told():
        attached = _attach(given.files)
        question = given.text.strip()
        if question:
            ask(question, attached)
        elif attached:
            st.toast(t("attached_now_ask"))
            return
        st.rerun()


def _attach(files: Sequence[Any]) -> list[uploads.Stored]:
    """Take attachments in: structures go with the question, papers into the library."""
    now = session()
    structures = [
        uploads.take_structure(file, library=now.folder, store=now.store)
        for file in files[:MOST_ATTACHED]
        if uploads.is_structure(file.name)
    ]
    papers = [file for file in files[:MOST_ATTACHED] if not uploads.is_structure(file.name)]
    taken, refused = uploads.take_papers(papers, library=now.folder, store=now.store)
    for error in refused:
        show_problem(str(error), error.hint)
    if taken:
        job = start_ingest([str(one.path) for one in taken])
        with st.spinner(t("reading_attachment")):
            job.wait()
        _scope_to_attached(taken, job)
    return structures


def _scope_to_attached(taken: Sequence[uploads.Stored], job: Job) -> None:
    ids = {one.path.stem for one in taken}
    there = [paper.id for paper in resources.papers(session().folder) if paper.id in ids]
    if there:
        choose_manner(papers=tuple(there))
    if job.error:
        show_problem(job.error, job.hint)


# --- messages ---------------------------------------------------------------------------------------------------------


def _message(message: Message, *, last: bool) -> None:
    with st.chat_message(message.role, avatar=AVATARS[message.role]):
        if message.role == "user":
            _question(message)
        else:
            show_answer(message.content, key=str(message.id))
            _after(message, last=last)


def _question(message: Message) -> None:
    if recall("editing", 0) == message.id:
        _edit(message)
        return
    st.markdown(plain(message.content["text"]))
    names = [one["name"] for one in message.content.get("attachments", ())]
    titles = paper_titles()
    names += [short(titles.get(paper, paper[:8])) for paper in message.content.get("papers", ())]
    if names:
        st.caption(plain(t("asked_about", names=", ".join(names))))
    if st.button(t("edit"), key=f"edit-{message.id}", icon=":material/edit:", type="tertiary"):
        remember("editing", message.id)
        st.rerun()


def _edit(message: Message) -> None:
    with st.form(f"editing-{message.id}", border=False):
        text = st.text_area(t("your_question"), message.content["text"], max_chars=10_000)
        with st.container(horizontal=True):
            sent = st.form_submit_button(t("ask_again"), type="primary")
            left = st.form_submit_button(t("leave"))
    if sent or left:
        remember("editing", 0)
        if sent and text.strip():
            session().store.cut(session().chat, message.id)
            ask(text.strip(), [uploads.Stored(Path(a["path"]), a["name"]) for a in _attachments(message)])
        st.rerun()


def _attachments(message: Message) -> list[dict[str, str]]:
    return list(message.content.get("attachments", ()))


def _after(message: Message, *, last: bool) -> None:
    """Draw what can be done with an answer."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _rate(message)
        if last and st.button(t("retry"), key=f"retry-{message.id}", icon=":material/refresh:", type="tertiary"):
            _retry(message)
        if message.content.get("bibtex"):
            with st.popover(t("bibtex"), icon=":material/format_quote:", type="tertiary", key=f"bib-{message.id}"):
                st.code(message.content["bibtex"], language="latex", wrap_lines=True)
    if last:
        _follow_ups(message)


def _rate(message: Message) -> None:
    key = f"rate-{message.id}"
    given = st.feedback("thumbs", key=key, default=message.content.get("rating"))
    if given is not None and given != message.content.get("rating"):
        _keep_rating(message, {"rating": given})
    if message.content.get("rating") is not None or given is not None:
        with st.popover(t("note"), icon=":material/edit_note:", type="tertiary", key=f"note-pop-{message.id}"):
            note = st.text_area(t("note_label"), message.content.get("note", ""), key=f"note-{message.id}")
            if st.button(t("save"), key=f"note-save-{message.id}"):
                _keep_rating(message, {"rating": given, "note": note})
                st.toast(t("note_saved"))


def _keep_rating(message: Message, rating: dict[str, Any]) -> None:
    from assistant import journal

    now = session()
    content = {**message.content, **rating}
    now.store.update(message.id, content)
    reason = journal.rate(
        now.folder,
        question=str(content.get("question", "")),
        helpful=bool(content["rating"]),
        note=str(content.get("note", "")),
    )
    if reason:
        st.toast(plain(reason))


def _retry(message: Message) -> None:
    store, chat = session().store, session().chat
    earlier = [one for one in store.messages(chat) if one.id < message.id and one.role == "user"]
    if earlier:
        store.cut(chat, message.id)
        content = {**earlier[-1].content, "strategy": session().manner.strategy, "papers": list(_scope())}
        store.update(earlier[-1].id, content)
        _answer(content)
    st.rerun()


def _follow_ups(message: Message) -> None:
    known = [one.content.get("text", "") for one in session().store.messages(session().chat) if one.role == "user"]
    questions = follow_ups(message.content, known)
    if not questions:
        return
    st.caption(t("follow_ups"))
    for number, question in enumerate(questions):
        key = f"follow-{message.id}-{number}"
        if st.button(plain(question), key=key, icon=":material/subdirectory_arrow_right:", type="tertiary"):
            ask(question)
            st.rerun()


def _unanswered(messages: Sequence[Message]) -> None:
    with st.chat_message("assistant", avatar=AVATARS["assistant"]):
        st.caption(t("unanswered"))
        if st.button(t("answer_now"), icon=":material/refresh:", key="answer-now"):
            _answer(messages[-1].content)
            st.rerun()


def _watch(job: Job) -> None:
    """Show an answer coming, until it has come."""
    with st.chat_message("assistant", avatar=AVATARS["assistant"]):
        status = st.status(t("working"), expanded=False)
        if st.button(t("stop"), icon=":material/stop_circle:", key=f"stop-{job.id}"):
            job.cancel()
        body, shown, text = st.empty(), 0, ""
        while job.running:
            steps = answering.steps_so_far(job)
            for step in steps[shown:]:
                status.update(label=plain(step_line(step)))
                status.markdown(plain(step_line(step)))
            shown = len(steps)
            if (new := answering.text_so_far(job)) != text:
                text = new
                body.markdown(careful(text))
            time.sleep(POLL_S)


# --- around the messages ----------------------------------------------------------------------------------------------


def _welcome() -> None:
    page_title("chat_title", "chat_about")
    questions = _suggestions()
    if questions:
        st.caption(t("try_asking"))
        for number, question in enumerate(questions):
            if st.button(plain(question), key=f"suggest-{number}", icon=":material/chat_bubble:"):
                ask(question)
                st.rerun()


def _suggestions() -> list[str]:
    from assistant.demo import QUESTION, SAMPLE_FOLDER

    papers = resources.papers(session().folder)
    if any(path.parent.parts[-2:] == SAMPLE_FOLDER for paper in papers for path in paper.paths):
        return [QUESTION, t("sample_question_2"), t("sample_question_3")]
    return [t("ask_finding", title=short(paper.metadata.title, 80)) for paper in papers if paper.metadata.title][:3]


def _bar() -> None:
    """Draw what the next question may look at and how it is answered."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="bar"):
        _scope_control()
        _model_control()
        _strategy_control()
        if session().chat:
            _export_control()


def _scope() -> tuple[str, ...]:
    known = paper_titles()
    return tuple(paper for paper in session().manner.papers if paper in known)


def _scope_control() -> None:
    titles = paper_titles()
    chosen = list(_scope())
    label = t("some_papers", n=len(chosen)) if chosen else t("scope_all")
    with st.popover(label, icon=":material/filter_alt:", key="scope-pop"):
        picked = st.multiselect(
            t("scope_label"),
            list(titles),
            default=chosen,
            format_func=lambda paper: short(titles[paper], 70),
            placeholder=t("scope_all"),
            key=f"scope-{hash(tuple(chosen))}",
        )
        if picked != chosen:
            choose_manner(papers=tuple(picked))
            st.rerun()


def _model_control() -> None:
    from ui.pages.settings import model_picker

    with st.popover(short(session().settings.models.model, 24), icon=":material/neurology:", key="model-pop"):
        model_picker("chat")


def _strategy_control() -> None:
    now = session().manner.strategy
    with st.popover(t(f"strategy_{now}"), icon=":material/tune:", key="strategy-pop"):
        chosen = st.radio(
            t("strategy"),
            STRATEGIES,
            index=STRATEGIES.index(now),
            format_func=lambda name: t(f"strategy_{name}"),
            captions=[t(f"strategy_about_{name}") for name in STRATEGIES],
            key=f"strategy-{session().chat}-{now}",
        )
        if chosen != now:
            choose_manner(strategy=chosen)
            st.rerun()


def _export_control() -> None:
    store, chat = session().store, session().chat
    title = next((one.title for one in store.chats() if one.id == chat), "chat")

    def made(write: Callable[[str, Sequence[Message]], Any]) -> Callable[[], Any]:
        return lambda: write(title, store.messages(chat))  # of the moment it is downloaded

    with st.popover(t("export"), icon=":material/download:", key="export-pop"):
        for label, write, suffix, kind in EXPORTS:
            name = f"{export.file_name(title)}{suffix}"
            st.download_button(label, made(write), name, kind, on_click="ignore", key=f"export{suffix}")


def _history() -> None:
    now = session()
    with st.sidebar:
        if st.button(t("new_chat"), icon=":material/add_comment:", width="stretch", key="new-chat"):
            begin_chat()
            st.rerun()
        hint = t("search_chats")
        words = st.text_input(
            hint, key="chat-words", placeholder=hint, icon=":material/search:", label_visibility="collapsed"
        )
        found = now.store.chats(words or "")
        if not found:
            st.caption(t("no_chats_found" if words else "no_chats"))
        for chat in found[:MOST_IN_LIST]:
            opened = chat.id == now.chat
            with st.container(horizontal=True, gap=None, vertical_alignment="center", wrap=False):
                label = plain(short(chat.title, 28))
                if st.button(label, key=f"chat-{chat.id}", type="secondary" if opened else "tertiary", width="stretch"):
                    open_chat(chat.id)
                    st.rerun()
                if opened:
                    _chat_menu(chat.id, chat.title)


def _chat_menu(chat: str, title: str) -> None:
    with st.popover(t("more"), type="tertiary", key=f"chat-more-{chat}"):
        name = st.text_input(t("rename"), title, key=f"rename-{chat}")
        if st.button(t("rename"), key=f"rename-do-{chat}", icon=":material/edit:", width="stretch"):
            session().store.rename(chat, name)
            st.rerun()
        if st.button(t("delete_chat"), key=f"delete-{chat}", icon=":material/delete:", width="stretch"):
            session().store.delete(chat)
            begin_chat()
            st.rerun()

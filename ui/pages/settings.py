"""Settings and health: library, language, models and keys, and what works on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ingest.errors import MatlitError
from ui import resources
from ui.components import page_title, plain, show_problem, told
from ui.state import (
    choose_language,
    choose_library,
    choose_model,
    forget_widget,
    is_shared,
    lend_keys,
    recall,
    remember,
    session,
    set_key,
    t,
)
from ui.texts import LANGUAGES

NO_TEST = {"model": "", "error": "", "hint": "", "said": ""}
NO_CHECKS: list[dict[str, Any]] = []
OWN = "…"  # the picker's last line: a spec of one's own
# What can be entered here; addresses of servers belong to the settings file.
KEY_NAMES = ("OPENAI_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY", "MATLIT_SERVER_KEY", "MP_API_KEY", "HF_TOKEN")


def draw() -> None:
    """Draw the page."""
    page_title("nav_settings", "settings_about")
    general, models, health = st.tabs([t("tab_general"), t("tab_models"), t("tab_health")])
    with general:
        _language()
        _library()
    with models:
        _models()
        _keys()
    with health:
        _health()


def _language() -> None:
    chosen = st.segmented_control(
        t("language"),
        list(LANGUAGES),
        default=session().language,
        format_func=lambda code: LANGUAGES[code],
        key="language",
        required=True,
    )
    if chosen and chosen != session().language:
        choose_language(chosen)
        st.rerun()


def _library() -> None:
    st.subheader(t("nav_library"), anchor=False)
    folder = session().folder
    st.code(str(folder), language=None, wrap_lines=True)
    with told():
        held = resources.status(folder)
        st.caption(t("library_holds", papers=held["papers"], pages=held["pages"], materials=held["materials"]))
    if is_shared():
        return
    with st.form("choose-library", border=False):
        path = st.text_input(t("other_library"), help=t("other_library_help"), key="library-path")
        sent = st.form_submit_button(t("open_library"), icon=":material/folder_open:")
    if sent and path.strip():
        with told():
            chosen = Path(path.strip()).expanduser()
            resources.open_library(chosen)
            choose_library(chosen)
            st.rerun()


# --- models -----------------------------------------------------------------------------------------------------------


def _models() -> None:
    st.subheader(t("answering_model"), anchor=False)
    model_picker("settings")
    if st.button(t("test_model"), icon=":material/network_check:", key="test-model"):
        with st.spinner(t("testing")):
            remember("model-test", _test(session().settings.models.model))
    result = recall("model-test", NO_TEST)
    if result["model"] == session().settings.models.model:
        if result["error"]:
            show_problem(result["error"], result["hint"])
        else:
            st.success(plain(result["said"]), icon=":material/check_circle:")


def _test(spec: str) -> dict[str, str]:
    from assistant.llms import check_model

    try:
        with lend_keys():
            said = check_model(spec, offline=session().settings.models.offline)
    except MatlitError as error:
        return {"model": spec, "error": str(error), "hint": error.hint, "said": ""}
    return {"model": spec, "error": "", "hint": "", "said": said}


def model_picker(key: str) -> None:
    """Draw the choice of the model that answers."""
    from assistant.llms import known_models

    forms: Sequence[Mapping[str, Any]] = [form for form in known_models() if not form["spec"].startswith("scripted")]
    now = session().settings.models.model
    options = list(dict.fromkeys([now, *(form["example"] for form in forms), OWN]))
    told_of = {form["example"]: form["what"] for form in forms}
    chosen = st.selectbox(
        t("model"),
        options,
        index=0,
        format_func=lambda spec: t("own_model") if spec == OWN else _named(spec, told_of.get(spec, "")),
        key=f"model-{key}-{hash(now)}",
    )
    if chosen == OWN:
        spec = st.text_input(t("model_spec"), help=t("model_spec_help"), key=f"own-model-{key}").strip()
        if not (spec and st.button(t("use_model"), key=f"use-model-{key}")):
            return
        chosen = spec
    if chosen != now:
        with told():
            _accept(chosen)
            choose_model(chosen)
            st.rerun()


def _accept(spec: str) -> None:
    """Refuse a spec that names no provider, so that it is never kept."""
    from assistant.llms import split_spec

    if spec != "extractive":
        split_spec(spec)


def _named(spec: str, about: str) -> str:
    return f"{spec} ({about})" if about else spec


def _keys() -> None:
    st.subheader(t("keys"), anchor=False)
    st.caption(t("keys_about"))
    name = st.selectbox(t("key_for"), KEY_NAMES, key="key-name")
    turn = recall("key-turn", 0)
    with st.form("keys", border=False):
        value = st.text_input(t("key_value"), type="password", key=f"key-value-{turn}", autocomplete="off")
        sent = st.form_submit_button(t("keep_key"), icon=":material/key:")
    if sent and value.strip():
        set_key(name, value.strip())
        forget_widget(f"key-value-{turn}")
        remember("key-turn", turn + 1)
        st.rerun()
    for held in session().keys:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(t("key_held", name=f"`{held}`"))
            if st.button(t("forget_key"), key=f"forget-{held}", type="tertiary", icon=":material/delete:"):
                set_key(held, "")
                st.rerun()


# --- health -----------------------------------------------------------------------------------------------------------


def _health() -> None:
    st.caption(t("health_about"))
    if st.button(t("examine"), icon=":material/stethoscope:", key="examine") or not recall("checks", NO_CHECKS):
        from assistant.doctor import examine

        with st.spinner(t("examining")), lend_keys():
            remember("checks", [check.to_json() for check in examine(session().settings)])
    for check in recall("checks", NO_CHECKS):
        _check(check)
    with st.expander(t("all_settings"), icon=":material/tune:"):
        rows = [
            {t("column_setting"): row["name"], t("column_value"): str(row["value"]), t("column_from"): row["source"]}
            for row in session().settings.rows()
        ]
        st.dataframe(rows, hide_index=True, alt=t("all_settings"))


def _check(check: Mapping[str, Any]) -> None:
    if check["ok"]:
        mark = ":green[:material/check_circle:]"
    elif check["optional"]:
        mark = ":gray[:material/do_not_disturb_on:]"
    else:
        mark = ":orange[:material/error:]"
    hint = f"  \n{t('next_step')} {plain(check['hint'])}" if check["hint"] and not check["ok"] else ""
    st.markdown(f"{mark} **{plain(check['name'])}** · {plain(check['detail'])}{hint}")

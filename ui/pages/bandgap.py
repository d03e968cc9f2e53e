"""Band gap: a structure in, a predicted gap with its interval out, and how far its model can be trusted."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from finetune.predict import SHIPPED
from ingest.errors import BadInput, LibraryNotFound, MatlitError, ModelError
from ingest.records import file_digest
from ui import resources, uploads
from ui.components import page_title, plain, show_problem, told
from ui.crystalview import structure_figure
from ui.parity import axis_end, parity_svg
from ui.state import is_shared, recall, remember, session, t

if TYPE_CHECKING:
    from finetune.predict import Prediction

MODEL = "matlit-bandgap-1"
NO_RUNS: tuple[str, ...] = ()
EXAMPLE = """Si
1.0
0.000 2.734 2.734
2.734 0.000 2.734
2.734 2.734 0.000
Si
2
direct
0.00 0.00 0.00
0.25 0.25 0.25
"""


@dataclass(frozen=True, slots=True)
class Given:
    """A structure as it was handed over."""

    name: str
    text: str


def draw() -> None:
    """Draw the page."""
    page_title("nav_bandgap", "bandgap_about")
    given = _given()
    specs = ("shipped", *recall("runs", NO_RUNS))
    if given is not None:
        _answers(given, specs)
    _trust(specs)
    if not is_shared():
        _runs()


# --- the structure ----------------------------------------------------------------------------------------------------


def _given() -> Given | None:
    pick, upload, paste = st.tabs([t("pick_record"), t("upload_structure"), t("paste_structure")])
    with pick:
        _pick()
    with upload:
        _upload()
    with paste:
        _paste()
    return recall("structure", None)


def _pick() -> None:
    try:
        names = resources.material_titles(session().folder)
    except LibraryNotFound:
        names = {}
    if not names:
        st.caption(t("no_materials"))
        return
    chosen = st.selectbox(
        t("choose_material"), list(names), index=None, format_func=lambda one: names[one], key="gap-record"
    )
    if st.button(t("predict"), type="primary", disabled=chosen is None, key="predict-record"):
        with told():
            record = resources.open_library(session().folder).material(str(chosen))
            if not record.structure_json:
                raise BadInput(f"the record {chosen} holds no structure", hint=t("paste_instead"))
            remember("structure", Given(record.title, record.structure_json))


def _upload() -> None:
    sent = st.file_uploader(t("structure_formats"), key="gap-file", max_upload_size=10)
    if sent is not None and st.button(t("predict"), type="primary", key="predict-file"):
        with told():
            uploads.suffix_of(sent.name, uploads.STRUCTURES)
            text = sent.getvalue().decode("utf-8", "replace")
            remember("structure", Given(uploads.shown_name(sent.name), text))


def _paste() -> None:
    with st.form("paste", border=False):
        text = st.text_area(t("structure_formats"), EXAMPLE, height=220, key="gap-text")
        sent = st.form_submit_button(t("predict"), type="primary")
    if sent and text.strip():
        remember("structure", Given(t("pasted"), text))


# --- the answer -------------------------------------------------------------------------------------------------------


def _answers(given: Given, specs: Sequence[str]) -> None:
    with told():
        crystal = _parsed(given)
        for spec in specs:
            with told(), st.spinner(t("working")):
                _value(_predicted(given.text, given.name, spec, _made(spec)))
        left, right = st.columns(2, gap="medium")
        with left:
            st.plotly_chart(
                _figure(given.text, given.name),
                theme=None,
                key="gap-structure",
                config={"displaylogo": False, "scrollZoom": True},
                alt=t("structure_alt", name=given.name),
            )
        with right:
            from ingest.structure_text import tutorial_prompt

            st.markdown(f"**{t('training_text')}**", help=t("training_text_help"))
            st.code(tutorial_prompt(crystal), language=None, height=400, wrap_lines=True)


def _parsed(given: Given) -> Any:
    from ingest.structure_files import parse_text

    _, crystal = next(parse_text(given.text, name=given.name))
    if isinstance(crystal, BadInput):
        raise crystal
    return crystal


@st.cache_data(show_spinner=False, max_entries=64)
def _figure(text: str, name: str) -> Any:
    from assistant.tools.attached import Given as ToolGiven
    from assistant.tools.attached import parse_structure

    return structure_figure(parse_structure(ToolGiven(text, name, name)).structure)


@st.cache_data(show_spinner=False, max_entries=256)
def _predicted(text: str, name: str, spec: str, made: int) -> Prediction:
    return resources.predictor(spec, made).predict([_parsed(Given(name, text))])[0]


def _value(answer: Prediction) -> None:
    if answer.error:
        show_problem(answer.error)
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.metric(t("predicted_gap", formula=answer.formula), f"{answer.value:.2f} {answer.unit}")
        lines = [t("by_model", model=answer.model)]
        if math.isfinite(answer.low):
            lines.insert(0, t("interval_90", low=f"{answer.low:.2f}", high=f"{answer.high:.2f}", unit=answer.unit))
        if answer.confidence is not None:
            lines.append(t("confidence", value=f"{answer.confidence:.2f}"))
        st.markdown("  \n".join(plain(line) for line in lines))
    st.caption(t("pbe_caveat"))


# --- how good the models are ------------------------------------------------------------------------------------------


def _trust(specs: Sequence[str]) -> None:
    st.subheader(t("how_good"), anchor=False)
    rows = [row for spec in specs for row in _figures(spec)]
    if rows:
        st.table(rows)
    parity = _parity(SHIPPED / "parity.json", _stamp(SHIPPED / "parity.json"))
    if parity:
        _show_parity(parity)
    with st.expander(t("model_card"), icon=":material/description:"):
        st.markdown((SHIPPED / "card.md").read_text(encoding="utf-8"))


def _show_parity(parity: Mapping[str, Any]) -> None:
    """Draw predicted against known gaps, say how far apart they are, and offer the values and the plot as files."""
    known, predicted = parity["known_ev"], parity["predicted_ev"]
    st.markdown(t("parity_about", n=f"{parity['n']:,}", mae=f"{parity['mae_ev']:.3f}", **_spread(known, predicted)))
    words = {"x": t("known_gap"), "y": t("predicted_axis"), "cells": t("parity_cells")}
    with st.container(key="parity"):
        st.image(_parity_picture(parity["trees_sha256"], words, known, predicted), width="stretch", alt=t("parity_alt"))
    end, beyond = axis_end(known, predicted)
    if beyond:
        st.caption(t("parity_beyond", n=beyond, end=f"{end:g}"))
    with st.container(horizontal=True):
        for suffix in (".png", ".svg", ".csv"):
            name = f"{MODEL}-parity{suffix}"
            made = partial(_parity_file, suffix, known, predicted)
            icon = ":material/download:"
            st.download_button(suffix[1:].upper(), made, name, on_click="ignore", icon=icon, key=f"parity{suffix}")


def _spread(known: Sequence[float], predicted: Sequence[float]) -> dict[str, str]:
    half, ninety, worst = np.quantile(np.abs(np.subtract(known, predicted)), [0.5, 0.9, 1.0])
    return {"half": f"{half:.2f}", "ninety": f"{ninety:.2f}", "worst": f"{worst:.1f}"}


@st.cache_data(show_spinner=False, max_entries=8)
def _parity_picture(model: str, words: Mapping[str, str], _known: Sequence[float], _predicted: Sequence[float]) -> str:
    return parity_svg(_known, _predicted, **words)


def _parity_file(suffix: str, known: Sequence[float], predicted: Sequence[float]) -> bytes:
    """Return all values as CSV, or the plot that reports hold."""
    from finetune.report import draw_parity

    if suffix == ".csv":
        rows = "".join(f"{one},{other}\n" for one, other in zip(known, predicted, strict=True))
        return f"known_ev,predicted_ev\n{rows}".encode()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"parity{suffix}"
        draw_parity(known, predicted, [file], name="band gap", unit="eV", title=f"{MODEL}, n = {len(known):,}")
        return file.read_bytes()


@st.cache_data(show_spinner=False, max_entries=8)
def _parity(path: Path, changed: int) -> dict[str, Any]:
    """Return known and predicted gaps of test rows, if they are those of the model that is shipped now."""
    if not changed:
        return {}
    parity: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return parity if parity["trees_sha256"] == file_digest(path.with_name("trees.safetensors")) else {}


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


def _made(spec: str) -> int:
    folder = SHIPPED if spec == "shipped" else Path(spec)
    return max(_stamp(folder / name) for name in ("settings.json", "run.json", "model/settings.json"))


def _figures(spec: str) -> list[dict[str, str]]:
    """Return one row per test set of a model: what it was tested on and how well it did."""
    if spec == "shipped":
        tested = json.loads((SHIPPED / "metrics.json").read_text(encoding="utf-8"))
        return [_row(MODEL, name, figures["stacked"], figures["n"]) for name, figures in tested.items()]
    from finetune.runs import read_run

    try:
        results = read_run(Path(spec)).results
    except ModelError:
        return []
    if "validation_mae" not in results:
        return []
    figures = {"mae": results["validation_mae"]}
    return [_row(Path(spec).name, t("own_validation_rows"), figures, results.get("validation_rows", ""))]


def _row(model: str, tested: str, figures: Mapping[str, Any], n: Any) -> dict[str, str]:
    return {
        t("model"): model,
        t("tested_on"): tested,
        "n": f"{n:,}" if isinstance(n, int) else str(n),
        "MAE (eV)": _figure_of(figures.get("mae")),
        "R²": _figure_of(figures.get("r2")),
    }


def _figure_of(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("value")
    return f"{value:.3f}" if isinstance(value, (int, float)) else ""


def _runs() -> None:
    runs = recall("runs", NO_RUNS)
    with st.expander(t("compare_runs"), icon=":material/compare_arrows:", expanded=bool(runs)):
        st.caption(t("compare_about"))
        for spec in runs:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.code(spec, language=None)
                if st.button(t("forget_key"), key=f"run-{spec}", icon=":material/close:", type="tertiary"):
                    remember("runs", tuple(one for one in runs if one != spec))
                    st.rerun()
        with st.form("run", border=False):
            folder = st.text_input(t("run_folder"), key="run-folder", placeholder="runs/bandgap-lora")
            sent = st.form_submit_button(t("add_run"), icon=":material/add:")
        if sent and folder.strip():
            _add_run(folder.strip(), runs)


def _add_run(folder: str, runs: tuple[str, ...]) -> None:
    try:
        with st.spinner(t("working")):
            resources.predictor(folder, _made(folder))
    except MatlitError as error:
        show_problem(str(error), error.hint)
        return
    remember("runs", tuple(dict.fromkeys((*runs, folder))))
    st.rerun()

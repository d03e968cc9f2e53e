"""Materials: find records by elements and properties, and look at one: its structure, numbers and powder pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from ingest.errors import LibraryNotFound, MatlitError
from ui import resources
from ui.components import begin_at_top, page_title, plain, show_problem, told
from ui.crystalview import structure_figure
from ui.periodic import PLACES
from ui.plots import planes, xrd_figure
from ui.state import begin_chat, forget_widget, open_page, recall, remember, session, t

if TYPE_CHECKING:
    from ingest.materials import Material
    from ingest.materials.store import MaterialFilter

MOST_SHOWN = 500
WIDEST_GAP_EV = 12.0
HIGHEST_HULL_EV = 1.0
MOST_SITES = 500
RADIATIONS = ("CuKa", "MoKa", "CoKa", "FeKa", "CrKa", "AgKa")
SYSTEMS = ("cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic")


def draw() -> None:
    """Draw the page."""
    try:
        if opened := recall("material", ""):
            _record(opened)
        else:
            _search()
    except LibraryNotFound:
        _nothing()
    except MatlitError as error:
        remember("material", "")
        show_problem(str(error), error.hint)


def open_material(material_id: str) -> None:
    """Have the page show a record."""
    remember("material", material_id)
    remember("scroll-up", True)


def _nothing() -> None:
    page_title("nav_materials", "materials_about")
    st.info(t("no_materials"), icon=":material/info:")


def _search() -> None:
    if not resources.status(session().folder)["materials"]:
        _nothing()
        return
    page_title("nav_materials", "materials_about")
    where = _filter()
    with told():
        found, total = _found(where)
        st.caption(t("n_materials", n=len(found), m=total))
        if found:
            _results(found)


def _filter() -> MaterialFilter:
    from ingest.materials.store import MaterialFilter

    with st.expander(t("pick_elements"), icon=":material/apps:", expanded=True), st.container(key="elements"):
        chosen = st.pills(
            t("elements"),
            list(PLACES),
            selection_mode="multi",
            key="element-pills",
            label_visibility="collapsed",
            width="stretch",
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        only = st.checkbox(t("only_these"), key="only-these", help=t("only_these_help"))
        if chosen:
            st.button(
                t("clear"),
                icon=":material/backspace:",
                type="tertiary",
                on_click=forget_widget,
                args=("element-pills",),
            )
    left, right = st.columns(2, gap="medium")
    formula = left.text_input(t("formula"), key="material-formula", placeholder="LiFePO4")
    system = right.selectbox(t("crystal_system"), ("", *SYSTEMS), format_func=lambda name: name or t("any"))
    gap = left.slider(t("band_gap_ev"), 0.0, WIDEST_GAP_EV, (0.0, WIDEST_GAP_EV), 0.1, key="gap-range")
    hull = right.slider(t("hull_ev"), 0.0, HIGHEST_HULL_EV, HIGHEST_HULL_EV, 0.01, key="hull-range")
    elements = tuple(chosen)
    return MaterialFilter(
        elements=() if only else elements,
        chemsys="-".join(elements) if only else "",
        formula=formula.strip(),
        crystal_system=system,
        band_gap_ev=_bounds(gap, WIDEST_GAP_EV),
        e_above_hull_ev_per_atom=(None, hull) if hull < HIGHEST_HULL_EV else None,
    )


def _bounds(given: tuple[float, float], highest: float) -> tuple[float | None, float | None] | None:
    """Return the range of a slider; its ends mean no bound, so that records without the value stay."""
    low = given[0] if given[0] > 0 else None
    high = given[1] if given[1] < highest else None
    return None if low is None and high is None else (low, high)


def _found(where: MaterialFilter) -> tuple[list[Material], int]:
    from ingest.materials.store import count, find

    with resources.open_library(session().folder).reading() as connection:
        return find(connection, where, limit=MOST_SHOWN, structures=False), count(connection, where)


def _results(found: Sequence[Material]) -> None:
    rows = [
        {
            t("formula"): one.formula_pretty,
            "ID": one.material_id,
            t("space_group"): one.spacegroup_symbol,
            t("band_gap_ev"): one.band_gap_ev,
            t("hull_column"): one.e_above_hull_ev_per_atom,
            t("density"): one.density_g_cm3,
            t("sites"): one.nsites,
        }
        for one in found
    ]
    chosen = st.dataframe(
        rows,
        hide_index=True,
        key=f"materials-{hash(tuple(one.material_id for one in found))}",
        on_select="rerun",
        selection_mode="single-row",
        height=min(38 * (len(rows) + 1) + 4, 420),
        column_config={name: st.column_config.NumberColumn(format="%.3g") for name in (t("density"),)},
        alt=t("nav_materials"),
    )
    names = {one.material_id: one.title for one in found}
    picked = [found[row].material_id for row in chosen["selection"]["rows"] if row < len(found)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.selectbox(
            t("choose_material"),
            list(names),
            index=list(names).index(picked[0]) if picked else None,
            format_func=lambda one: names[one],
            placeholder=t("choose_papers"),
            key=f"material-{picked}",
        )
        if st.button(t("open"), icon=":material/deployed_code:", disabled=wanted is None, key="open-material"):
            open_material(str(wanted))
            st.rerun()


# --- one record -------------------------------------------------------------------------------------------------------


def _record(material_id: str) -> None:
    begin_at_top()
    record = resources.open_library(session().folder).material(material_id)
    with st.container(horizontal=True):
        if st.button(t("all_materials"), icon=":material/arrow_back:", type="tertiary", key="back-materials"):
            open_material("")
            st.rerun()
        if st.button(t("ask_about_it"), icon=":material/forum:", type="tertiary", key="ask-material"):
            _ask(record)
    st.header(plain(record.title), anchor=False)
    st.caption(plain(" · ".join(filter(None, (record.source, record.as_of)))))
    if record.structure_json:
        view, numbers, pattern = st.tabs([t("tab_structure"), t("tab_properties"), t("tab_xrd")])
        with view:
            _structure(record)
        with pattern:
            _pattern(record)
        with numbers:
            _properties(record)
    else:
        st.info(t("no_structure"), icon=":material/info:")
        _properties(record)


def _ask(record: Material) -> None:
    from ui.pages.chat import ask

    begin_chat()
    ask(t("ask_material", name=f"{record.formula_pretty} ({record.material_id})"))
    open_page("chat")


def _structure(record: Material) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        along = [
            int(st.number_input(t("cells_along", axis=axis), 1, 5, 1, key=f"cells-{axis}", width=110)) for axis in "abc"
        ]
        bonds = st.toggle(t("bonds"), value=True, key="bonds")
    with told():
        figure = _figure(record.structure_json, (along[0], along[1], along[2]), bonds)
        st.plotly_chart(
            figure,
            theme=None,
            key=f"structure-{record.material_id}",
            config={"displaylogo": False, "scrollZoom": True},
            alt=t("structure_alt", name=record.title),
        )
        st.caption(t("turn_help"))
        facts = _summary(record.structure_json)
        st.markdown("\n".join(f"- {plain(line)}" for line in facts))


@st.cache_data(show_spinner=False, max_entries=32)
def _figure(structure_json: str, scaling: tuple[int, int, int], bonds: bool) -> Any:
    return structure_figure(_parsed(structure_json), scaling, bonds=bonds)


@st.cache_data(show_spinner=False, max_entries=64)
def _summary(structure_json: str) -> tuple[str, ...]:
    from assistant.tools.crystallography import summarise

    return summarise(_parsed(structure_json)).lines


def _parsed(text: str) -> Any:
    from assistant.tools.attached import Given, parse_structure

    return parse_structure(Given(text, "structure", "structure")).structure


def _properties(record: Material) -> None:
    rows = [
        {
            t("column_property"): one["name"],
            t("column_value"): _number(one["value"]),
            t("column_unit"): " ".join(filter(None, (one["unit"], f"per {one['per']}" if one.get("per") else ""))),
            t("column_method"): str(one.get("functional", "")),
            t("column_from"): " ".join(filter(None, (record.source, record.as_of))),
        }
        for one in record.quantities().values()
    ]
    st.table(rows)
    if record.band_gap_ev is not None:
        st.caption(t("pbe_caveat"))
    if record.source_doi:
        st.link_button(
            t("open_doi", doi=record.source_doi), f"https://doi.org/{record.source_doi}", icon=":material/open_in_new:"
        )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pattern(record: Material) -> None:
    radiation = st.selectbox(t("radiation"), RADIATIONS, key="radiation", width=180)
    with told():
        with st.spinner(t("working")):
            found = _diffracted(record.structure_json, radiation)
        st.plotly_chart(
            xrd_figure(found["peaks"], angle="2θ (°)", intensity=t("intensity")),
            key=f"xrd-{record.material_id}",
            config={"displaylogo": False},
            alt=t("xrd_alt", name=record.title),
        )
        rows = [
            {
                "2θ (°)": peak["two_theta_deg"],
                "hkl": planes(peak),
                "d (Å)": peak["d_a"],
                "I (%)": peak["intensity_percent"],
            }
            for peak in found["peaks"]
        ]
        st.dataframe(rows, hide_index=True, height=240, alt=t("xrd_alt", name=record.title))


@st.cache_data(show_spinner=False, max_entries=64)
def _diffracted(structure_json: str, radiation: str) -> dict[str, Any]:
    from assistant.tools.diffraction import diffract

    return diffract(_parsed(structure_json), wavelength=radiation).data

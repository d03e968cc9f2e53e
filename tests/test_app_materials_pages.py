"""The materials page and the band gap page: records found, gaps predicted, models compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from opening import Page, button, shown

pytestmark = pytest.mark.usefixtures("own_data")


def test_materials_are_found_by_elements_and_opened(page: Page) -> None:
    app = page("materials")
    assert len(app.dataframe[0].value) == 31
    app.pills[0].set_value(["O", "Ti"]).run()
    assert {"TiO2", "BaTiO3"} <= set(app.dataframe[0].value["Formula"])
    app.checkbox[0].check().run()
    assert set(app.dataframe[0].value["Formula"]) == {"TiO2"}
    next(one for one in app.selectbox if one.label == "Material").set_value("mp-2657").run()
    button(app, "Open").click().run()
    assert not app.exception
    assert app.header[0].value.replace("\\", "") == "TiO2, rutile (mp-2657)"
    assert "Band gap" in str(app.table[0].value) or "band gap" in str(app.table[0].value)
    assert "density" in shown(app)


def test_a_formula_that_is_none_is_a_message(page: Page) -> None:
    app = page("materials")
    next(one for one in app.text_input if one.label == "Formula").input("Xx2").run()
    assert not app.exception
    assert "Xx" in app.error[0].value


def test_a_pasted_structure_gets_a_gap_with_interval_and_training_text(page: Page) -> None:
    app = page("bandgap")
    [one for one in app.button if one.label == "Predict"][-1].click().run()
    assert not app.exception
    assert app.metric[0].value.endswith(" eV")
    assert "90 % interval" in shown(app)
    assert any("Reduced Formula: Si" in one.value for one in app.code)
    assert any("MAE (eV)" in one.value for one in app.table)


def test_a_broken_structure_is_a_message(page: Page) -> None:
    app = page("bandgap")
    app.text_area[0].input("not a structure")
    [one for one in app.button if one.label == "Predict"][-1].click().run()
    assert not app.exception
    assert app.error


def test_a_folder_without_a_model_is_a_message(page: Page, tmp_path: Path) -> None:
    app = page("bandgap")
    app.text_input(key="run-folder").input(str(tmp_path))
    button(app, "Add").click().run()
    assert not app.exception
    assert "there is no model" in app.error[0].value.replace("\\", "")


def test_the_parity_picture_stands_on_the_page_with_its_files(page: Page) -> None:
    app = page("bandgap")
    assert not app.exception
    assert len(app.get("image")) == 1
    assert "nine in ten within" in shown(app)
    assert [one.proto.label for one in app.get("download_button")] == ["PNG", "SVG", "CSV"]

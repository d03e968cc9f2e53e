"""Formulas: every typesetting of one formula is the same formula, and abbreviations are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import formulas
from ingest.formulas import finding, grammar

VARIANTS = {
    "LiFePO4": [
        "LiFePO4", "LiFePO₄", "Li Fe P O4", "LiFe PO 4", "LiFePO 4", "Li Fe P O 4", "LiFePO<sub>4</sub>", "LiFePO_4",
        "LiFePO$_4$", "LiFePO$_{4}$", "ＬｉＦｅＰＯ４", "(LiFePO4)", "[LiFePO4]", "\\ce{LiFePO4}", "LiFePO\u00a04",
    ],
    "Ba0.6Sr0.4TiO3": ["Ba0.6Sr0.4TiO3", "Ba₀.₆Sr₀.₄TiO₃", "Ba 0.6 Sr 0.4 TiO 3", "Ba0.60Sr0.40TiO3"],
    "LiNi1/3Co1/3Mn1/3O2": ["LiNi1/3Co1/3Mn1/3O2", "LiNi 1/3 Co 1/3 Mn 1/3 O 2"],
    "LiNi0.5Mn1.5O4": ["LiNi0.5Mn1.5O4", "LiNi 0.5 Mn 1.5 O 4", "LiNi<sub>0.5</sub>Mn<sub>1.5</sub>O<sub>4</sub>"],
    "(La,Sr)MnO3": ["(La,Sr)MnO3", "(La,Sr)MnO₃", "(La,Sr)MnO 3"],
    "La1-xSrxMnO3": ["La1-xSrxMnO3", "La1−xSrxMnO3", "La1–xSrxMnO3", "La₁₋ₓSrₓMnO₃"],
    "YBa2Cu3O7-δ": ["YBa2Cu3O7-δ", "YBa2Cu3O7−δ", "YBa₂Cu₃O₇₋δ"],
    "CuSO4·5H2O": ["CuSO4·5H2O", "CuSO4 · 5H2O", "CuSO4•5H2O", "CuSO₄⋅5H₂O", "CuSO4∙5H2O"],
    "Li3V2(PO4)3": ["Li3V2(PO4)3", "Li<sub>3</sub>V<sub>2</sub>(PO<sub>4</sub>)<sub>3</sub>", "Li₃V₂(PO₄)₃"],
    "PF6": ["[PF6]−", "PF6−", "PF6-", "PF₆⁻"],
    "SO4": ["SO42−", "SO₄²⁻", "SO4 2−", "SO42-", "SO4^{2-}"],
    "Fe3+": ["Fe3+", "Fe³⁺", "Fe(III)", "FeIII", "Fe<sup>3+</sup>"],
    "Ru2+": ["Ru(II)", "Ru2+", "Ru²⁺"],
    "Al2O3": ["Al2O3", "Al₂O₃", "Al 2 O 3"],
    "In2O3": ["In2O3", "In 2 O 3"],
    "Ca(OH)2": ["Ca(OH)2", "Ca(OH) 2", "Ca(OH)₂"],
    "Ti3C2Tx": ["Ti3C2Tx", "Ti₃C₂Tx"],
}  # fmt: skip

NO_FORMULAS = [
    "In", "As", "I", "He", "At", "No", "CO", "Co.", "SEM", "XPS", "HOMO", "LUMO", "PVC", "PVDF", "USA", "II", "VIII",
    "DFT", "NMR", "CNTs", "SODs", "UV254", "IN718", "H1N1", "B3LYP", "GeV", "PC3", "B2B", "Al7075",
    "Fig. S1", "Table S2", "P21/c", "P2-type", "O3-type", "IRa", "Co,Re", "At 2 K", "Ni, Mn", "Hz", "pH 7", "C-rate",
]  # fmt: skip


@pytest.mark.parametrize(("normal", "text"), [(normal, text) for normal, texts in VARIANTS.items() for text in texts])
def test_a_typeset_variant_is_found_in_a_sentence_as_the_one_formula(normal: str, text: str) -> None:
    found = formulas.find(f"films of {text} were grown")
    assert [formula.normal for formula in found] == [normal]


@pytest.mark.parametrize("text", NO_FORMULAS)
def test_an_abbreviation_or_label_is_no_formula(text: str) -> None:
    assert formulas.find(f"shown by {text} here") == []


def test_a_formula_says_where_it_stands() -> None:
    text = "cells with LiFePO₄ and Li4Ti5O12."
    assert [text[found.start : found.end] for found in formulas.find(text)] == ["LiFePO₄", "Li4Ti5O12"]


def test_a_formula_in_markup_says_where_it_stands() -> None:
    text = "pure Fe<sub>2</sub>O<sub>3</sub> powder"
    assert [found.raw for found in formulas.find(text)] == ["Fe<sub>2</sub>O<sub>3</sub>"]


def test_an_amount_after_a_complete_formula_is_not_part_of_it() -> None:
    assert [found.normal for found in formulas.find("with ZnO 2 wt% and H2O 5.551e+01")] == ["ZnO", "H2O"]


def test_neighbouring_formulas_stay_apart() -> None:
    assert [found.normal for found in formulas.find("TiO2 ZnO, Fe3+/Fe2+")] == ["TiO2", "ZnO", "Fe3+", "Fe2+"]


@pytest.mark.parametrize("text", ["LiFePO4", "FeLiO4P", "Li Fe P O4", "LiFePO₄"])
def test_the_composition_key_does_not_depend_on_order_or_typesetting(text: str) -> None:
    assert formulas.composition_key(formulas.normalise(text)) == "FeLiO4P"


@pytest.mark.parametrize(("left", "right"), [("Ca(OH)2", "CaO2H2"), ("CuSO4·5H2O", "CuSO9H10")])
def test_the_composition_key_multiplies_groups_and_hydrates_out(left: str, right: str) -> None:
    assert formulas.composition_key(left) == formulas.composition_key(right)


def test_the_composition_key_is_not_reduced() -> None:
    assert formulas.composition_key("H2O2") != formulas.composition_key("HO")


def test_cobalt_is_not_carbon_monoxide() -> None:
    assert formulas.composition_key("CoO") != formulas.composition_key("CO2")


@pytest.mark.parametrize("text", ["", "hello", "II", "(((", "Xx2O3", "4"])
def test_what_is_no_formula_normalises_to_nothing(text: str) -> None:
    assert formulas.normalise(text) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LiFePO4 cathodes", {"Li", "Fe", "P", "O"}),
        ("lithium metal and aluminium foil", {"Li", "Al"}),
        ("リチウムと酸化チタン", {"Li", "Ti"}),
        ("a Li anode, a Cu collector", {"Li", "Cu"}),
        ("Li et al. showed; J. Li and Y. Na wrote", set()),
        ("As we lead this, no carbonate is In it", set()),
    ],
)
def test_elements_are_named_by_formula_symbol_or_name(text: str, expected: set[str]) -> None:
    assert formulas.elements(text) == expected


@given(st.text(alphabet="LiFePOSCNHx0123456789()[].,·+-−₄²⁺ <sub>/$_{}", max_size=80))
def test_any_text_can_be_searched_for_formulas(text: str) -> None:
    for found in formulas.find(text):
        assert text[found.start : found.end] == found.raw
        assert formulas.composition_key(found.normal)


def test_a_charge_of_several_superscripts_is_no_error() -> None:
    assert [each.normal for each in formulas.find("Fe²⁷⁺ beside Fe³⁺ in LiFePO4")][-2:] == ["Fe3+", "LiFePO4"]


@pytest.mark.parametrize(
    "text", ["Lix", "Bx", "Srδ", "LiTix", "(Lix)2O", "⁷Li", "[PF6]", "Li Fe P O4", "Ba 0.6 Sr O 3"]
)
def test_a_formula_is_looked_for_wherever_one_can_begin(text: str) -> None:
    for pattern, begins in ((grammar.COMPACT, grammar.START), (grammar.SPACED, grammar.SPACED_START)):
        whole, found = pattern.search(text), finding._first_match(pattern, begins, text, 0)
        assert (whole and whole.span()) == (found and found.span())

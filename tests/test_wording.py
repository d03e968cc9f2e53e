"""How a query is put: other names of compounds, elements asked for together, Japanese in English words."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assistant import synonyms
from assistant.question import understand
from assistant.spelling import respelt
from assistant.wording import elements_together, worded
from ingest import lexical
from ingest.materials import formula_key

MINILM = "all-MiniLM-L6-v2"


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("LFP cathodes", "LiFePO4"),
        ("Li Fe P O4 cathodes", "LFP"),
        ("lithium cobalt oxide", "LiCoO2"),
        ("zinc oxide nanowires", "ZnO"),
        ("ZnO nanowires", "zinc oxide"),
        ("titanium(IV) oxide", "TiO2"),
        ("molybdenum disulfide", "MoS2"),
        ("Bismuth Telluride", "Bi2Te3"),
        ("rutile", "TiO2"),
    ],
)
def test_a_compound_is_known_by_its_other_names(text: str, other: str) -> None:
    assert other in synonyms.others(text)


def test_one_crystal_form_is_not_taken_for_another() -> None:
    assert synonyms.others("rutile") == ["TiO2"]
    assert not {"rutile", "anatase"} & set(synonyms.others("TiO2"))


@pytest.mark.parametrize("text", ["iron oxide", "titanium", "the map of an alloy", "oxide"])
def test_names_that_charges_leave_open_name_no_formula(text: str) -> None:
    assert synonyms.named(text) == []


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("materials containing Li and Co", {"Li", "Co"}),
        ("Li-Fe-O compounds", {"Li", "Fe", "O"}),
        ("materials containing cobalt", {"Co"}),
        ("strontium titanium oxides", {"Sr", "Ti", "O"}),
        ("In carbon steel", set()),
        ("nitrogen-doped carbon", set()),
        ("the cost of steel", set()),
    ],
)
def test_elements_count_where_they_are_asked_for_together(text: str, elements: set[str]) -> None:
    assert elements_together(text) == elements


def test_a_compound_stands_for_its_elements() -> None:
    asked = worded("lithium cobalt oxide", embedder=MINILM)
    assert (asked.compounds, asked.elements) == ({formula_key("LiCoO2")}, frozenset())


def test_an_abbreviation_is_spelt_out_for_the_embedder() -> None:
    assert worded("LFP capacity", embedder=MINILM).meaning == "LFP (lithium iron phosphate) capacity"
    assert worded("the capacity of graphite", embedder=MINILM).meaning == "the capacity of graphite"


def test_japanese_is_put_in_english_to_an_embedder_that_reads_no_other() -> None:
    asked = worded("リン酸鉄リチウムの容量", embedder=MINILM)
    assert asked.meaning == "lithium iron phosphate capacity"
    assert "リン酸鉄リチウムの容量" in asked.words
    assert "capacity" in asked.words
    assert worded("リン酸鉄リチウムの容量", embedder="sentence-transformers/paraphrase-multilingual").meaning[0] == "リ"


@pytest.mark.parametrize("text", ["Li1-xCoO2", "LixCoO2", "at 0C and 20C", "13C2H6", "Fe3+ and PO43-", "(NH4", "Ca(OH"])
def test_what_is_no_formula_of_a_record_names_none(text: str) -> None:
    assert {key for key in worded(text, embedder=MINILM).compounds if not key} == set()


def test_a_formula_with_variables_names_no_record() -> None:
    assert worded("Li1-xCoO2", embedder=MINILM).compounds == frozenset()


@settings(max_examples=200, deadline=None)
@example("CxO")
@given(st.text(alphabet="LiFePO4 0123456789CHN()[]+-·xδ₄²³リン酸鉄、/,.", max_size=40))
def test_any_query_can_be_put(text: str) -> None:
    asked = worded(text, embedder=MINILM)
    assert asked.words.startswith(text)


@pytest.mark.parametrize(
    ("british", "american"),
    [
        ("synthesised", "synthesized"),
        ("crystallisation", "crystallization"),
        ("electrolysed", "electrolyzed"),
        ("behaviour", "behavior"),
        ("colouring", "coloring"),
        ("aluminium", "aluminum"),
        ("sulphur", "sulfur"),
        ("disulphide", "disulfide"),
        ("caesium", "cesium"),
        ("centre", "center"),
        ("labelled", "labeled"),
    ],
)
def test_a_question_finds_both_spellings_of_a_word(british: str, american: str) -> None:
    for asked, written in ((british, american), (american, british), (british, british)):
        (term,) = understand(f"the {asked}").terms
        assert term.covered(frozenset(lexical.tokens(f"papers say {written}"))) == 1.0, (asked, written)


@pytest.mark.parametrize("word", ["size", "raise", "laboratory", "semiconductor", "polymer", "water", "LiFePO4"])
def test_a_word_of_one_spelling_stays(word: str) -> None:
    assert respelt(word) == ""

"""Finding quotes on pages and checking claims."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.citations import (
    Citation,
    check_claims,
    fold,
    locate,
    locate_in_paper,
    marks,
    quotations,
    split_claims,
    squeeze,
)
from assistant.quantities import occurs, quantities
from ingest.records import Page


def page(text: str, number: int = 1) -> Page:
    return Page(number=number, text=text)


def found(quote: str, text: str) -> str | None:
    located = locate(quote, page(text))
    return text[located.start : located.end] if located else None


def citation(n: int = 1, quote: str = "a quote", status: str = "verified") -> Citation:
    return Citation(n=n, paper="p", title="T", doi="", page=1, quote=quote, status=status)  # type: ignore[arg-type]


def status(sentence: str, source: str, tools: tuple[str, ...] = ()) -> str:
    return check_claims(sentence, [citation()], {1: source}, tools)[0].status


def test_a_verbatim_quote_is_found_exactly() -> None:
    located = locate("delivers 170 mAh g−1", page("The cathode delivers 170 mAh g−1 at 0.1 C."))
    assert located is not None
    assert (located.start, located.end, located.exact) == (12, 32, True)


@pytest.mark.parametrize(
    ("quote", "text", "expected"),
    [
        ("LiFePO₄ cells", "in LiFePO4 cells.", "LiFePO4 cells"),
        ("LiFePO4 cells", "in LiFePO₄ cells.", "LiFePO₄ cells"),
        ("LiFePO4 cells", "in Li Fe P O4 cells.", "Li Fe P O4 cells"),
        ("electric field effect", "electric ﬁeld eﬀect", "electric ﬁeld eﬀect"),
        ("170 mAh g-1", "about 170 mAh g−1 here", "170 mAh g−1"),
        ('the "hard" carbon', "the “hard” carbon", "the “hard” carbon"),
        ("electrochemical cell", "electro-\nchemical cell", "electro-\nchemical cell"),
        ("electrochemical cell", "electro\u00adchemical  cell", "electro\u00adchemical  cell"),
        ("solid state battery", "a solid-state battery", "solid-state battery"),
        (
            "正極材料の容量は170mAh/gである",
            "この正極材料の 容量は 170 mAh/g である。",
            "正極材料の 容量は 170 mAh/g である",
        ),
        ("容量はＡである大きい値", "容量はAである大きい値", "容量はAである大きい値"),
        ("café culture", "cafe\u0301 culture", "cafe\u0301 culture"),
        ("10^5 cycles here", "after 105 cycles here", "105 cycles here"),
    ],
)
def test_typesetting_does_not_hide_a_quote(quote: str, text: str, expected: str) -> None:
    assert found(quote, text) == expected
    assert locate(quote, page(text)).exact is False  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("stable at 300 K", "is unstable at 300 K"),
        ("2.5 eV", "a gap of 12.5 eV"),
        ("2.5", "2.56"),
        ("200 cycles", "1,200 cycles"),
        ("The gap is 1", "The gap is 1.43 eV"),
        ("12.5 eV gap here", "in Table 1 2.5 eV gap here"),
        ("Silicon is hard", "silicon is hard"),
        ("notable", "no table"),
        ("the cell … failed", "the cell never failed"),
        ("", "anything"),
        ("…", "anything"),
    ],
)
def test_what_the_page_does_not_say_is_not_found(quote: str, text: str) -> None:
    assert found(quote, text) is None


def test_quotation_marks_and_ellipses_around_a_quote_are_no_part_of_it() -> None:
    assert found("“… the capacity fades …”", "Here the capacity fades quickly.") == "the capacity fades"


def test_of_several_places_the_nearest_wins() -> None:
    text = "band gap. " * 5
    assert locate("band gap", page(text), near=32).start == 30  # type: ignore[union-attr]


def test_a_quote_is_looked_for_on_the_named_page_first_and_then_around_it() -> None:
    pages = [page("one gap", 1), page("two", 2), page("one gap", 3), page("four", 4)]
    assert locate_in_paper("one gap", pages, near=3).page == 3  # type: ignore[union-attr]
    assert locate_in_paper("one gap", pages, near=4).page == 3  # type: ignore[union-attr]
    assert locate_in_paper("five", pages, near=1) is None


def test_a_place_has_the_boxes_of_its_words() -> None:
    words = np.array([[0, 3, 1000, 1000, 2000, 2000], [4, 7, 2200, 1000, 3000, 2000]], dtype=np.int32)
    place = locate_in_paper("gap", [Page(1, "the gap", words=words)])
    assert place is not None
    assert [(box.x0, box.x1) for box in place.boxes] == [(22.0, 30.0)]


@given(st.text(max_size=300), st.data())
def test_whatever_is_found_lies_on_the_page_and_an_exact_find_is_the_quote_itself(
    text: str, data: st.DataObject
) -> None:
    words = text.split(" ")
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    quote = " ".join(words[first : last + 1])
    located = locate(quote, page(text))
    if located:
        assert 0 <= located.start < located.end <= len(text)
        assert not located.exact or text[located.start : located.end] in quote


@given(
    st.lists(st.sampled_from(["the", "cell", "unstable", "170", "mAh", "(LFP)", "0.1", "C,"]), min_size=3), st.data()
)
def test_every_run_of_whole_words_is_found(words: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    quote = " ".join(words[first : last + 1])
    assert found(quote, " ".join(words)) == quote


@given(st.text(max_size=200))
def test_folding_maps_every_character_back_into_the_page(text: str) -> None:
    for rewritten in (fold(text), squeeze(text)):
        spans = [rewritten.original(i, i + 1) for i in range(len(rewritten.text))]
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert spans == sorted(spans)


@given(st.lists(st.sampled_from(["ﬁeld", "LiFePO₄", "170", "mAh", "g−1", "cathode", "“hard”", "容量"]), min_size=4))
def test_a_page_is_found_again_after_folding_all_of_it(words: list[str]) -> None:
    text = " ".join(words)
    quote = unicodedata.normalize("NFKC", text).replace("−", "-").replace("“", '"').replace("”", '"')
    located = locate(quote, page(text))
    assert located is not None
    assert text[located.start : located.end].strip("“”") == text.strip("“”")


def test_a_page_is_folded_once_however_many_quotes_are_looked_for_on_it() -> None:
    text = "The cathode delivers 170 mAh g−1 – with “hard” carbon and a ﬁnal ﬁlm. " * 70
    quote = 'a final film. The cathode delivers 170 mAh g-1 - with "hard" carbon'
    locate(quote, page(text))
    before = squeeze.cache_info().misses, fold.cache_info().misses
    assert all(locate(quote, page(text)) for _ in range(100))
    assert (squeeze.cache_info().misses, fold.cache_info().misses) == before


@pytest.mark.parametrize(
    "spelling",
    [
        "170 mAh/g",
        "170 mAh g−1",
        "170 mA h g-1",
        "170 mAh·g^-1",
        "170 mAh g⁻¹",
        "170mAh g–1",
        "170 mAh per g",
        "170 mAhg−1",
        "170 mA h g 1",
    ],
)
def test_a_quantity_is_the_same_in_every_spelling(spelling: str) -> None:
    (quantity,) = quantities("a capacity of 170 mAh/g")
    assert occurs(quantity, f"It gave {spelling} at first.")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("1,200 cycles", "1200 cycles"),
        ("10 000 h", "10000 hours"),
        ("2.5 V", "between 2.5–4.2 V"),
        ("1.9 eV", "1.9 ± 0.4 eV"),
        ("1e-5 S/cm", "10−5 S cm−1"),
        ("3.2 × 10^5 cycles", "3.2 × 105 cycles"),
        ("25 °C", "at 25°C"),
        ("95 %", "95 percent"),
        ("170 mAh/g", "Capacity (mAh/g) | 170 | 160"),
        ("3", "three cells"),
        ("25 °C", "25度で測定した"),
        ("2 wt ppm", "2 wt. ppm C was added"),
    ],
)
def test_a_quantity_occurs(text: str, source: str) -> None:
    assert occurs(quantities(text)[0], source)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("1.4 eV", "1.43 eV"),
        ("1.43 eV", "1.43 V"),
        ("0.17 Ah/g", "170 mAh/g"),
        ("40 °C", "-40 °C"),
        ("5 mm", "5 nm"),
        ("170 mAh/g", "170 cycles at some mAh/g"),
        ("2 wt ppm", "2 wt% VC"),
        ("2 at. ppm", "2 at.% Nb"),
    ],
)
def test_rounded_converted_or_other_quantities_do_not_occur(text: str, source: str) -> None:
    assert not occurs(quantities(text)[0], source)


def test_digits_inside_names_are_not_numbers() -> None:
    assert [quantity.text for quantity in quantities("LiFePO4, mp-149 and 18650 cells")] == ["18650"]


SOURCE = "The LiFePO4 cathode delivers a capacity of 170 mAh g−1 at 0.1 C after 50 cycles."


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The cathode delivers 170 mAh/g [1].", "verified"),
        ("The cathode delivers 171 mAh/g [1].", "unsupported"),
        ("The cathode delivers 170 mAh/g.", "unsupported"),
        ("The cathode delivers 170 mAh/g [2].", "unsupported"),
        ("It says “delivers a capacity of 170 mAh g-1” [1].", "verified"),
        ("It says “delivers a tiny capacity of 170 mAh/g” [1].", "unsupported"),
        ("Mars is a red planet full of dusty deserts [1].", "unsupported"),
        ("正極の容量は170 mAh/gである[1]。", "verified"),
    ],
)
def test_a_sentence_is_judged_by_the_source_it_cites(sentence: str, expected: str) -> None:
    assert status(sentence, SOURCE) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The cell warms by 100 °C [1].", "verified"),
        ("The cell warms by 100 °C with smoke and fire [1].", "unsupported"),
        ("100 °C [1]", "verified"),
    ],
)
def test_what_a_source_is_without_negates_only_what_speaks_of_it(sentence: str, expected: str) -> None:
    assert status(sentence, "In the nail test the cell warms by only 100 °C (without smoke or fire).") == expected


def test_a_number_from_a_tool_is_marked_as_such() -> None:
    assert status("The cathode delivers 170 mAh/g, 99.2 % of theory [1].", SOURCE, ("99.2 %",)) == "tool"
    assert status("That is 99.2 % of the theoretical value.", SOURCE, ("result: 99.2 %",)) == "tool"


def test_a_japanese_sentence_must_speak_of_what_its_english_source_does() -> None:
    source = "The LiFePO4 cathode delivered an initial discharge capacity of 163 mAh g−1 at a current of 0.1 C."
    assert status("LiFePO4正極の初期放電容量は163 mAh g−1である [1]。", source) == "verified"
    assert status("この正極は高い放電容量を示した [1]。", source) == "verified"
    assert status("ジルコニアの破壊靱性は焼結温度とともに増加する [1]。", source) == "unsupported"


@pytest.mark.parametrize(
    ("told", "supported"),
    [
        ("867.02 nm", True),
        ("867 nm", True),
        ("867.0 nm", True),
        ("870 nm", False),
        ("867.03 nm", False),
        ("9 nm", False),
    ],
)
def test_a_tools_number_may_be_rounded_rightly_a_papers_may_not(told: str, supported: bool) -> None:
    sentence, result = f"That corresponds to {told}.", "1.43 eV to nm = 867.0223667 nm (through E = hν = hc/λ)"
    assert (check_claims(sentence, [], {}, (result,))[0].status == "tool") == supported
    paper = f'<source n="1" title="T">\n{result}\n</source>'
    assert check_claims(sentence, [], {}, (paper,))[0].status == "unsupported"
    assert status(f"The wavelength is {told} [1].", "The wavelength is 867.0223667 nm.") == "unsupported"


def test_a_citation_whose_quote_was_not_found_supports_nothing() -> None:
    (claim,) = check_claims("It delivers 170 mAh/g [1].", [citation(status="unsupported")], {1: SOURCE})
    assert claim.status == "unsupported"
    assert "not found" in claim.reason


def test_claims_keep_the_citation_marks_that_follow_their_full_stop() -> None:
    text = "## Result\nIt is 5 V. [1] The gap, e.g. of Si, is small [1, 2]. 容量は大きい。[3]\n- See Fig. 3 [2]."
    assert split_claims(text) == [
        "It is 5 V. [1]",
        "The gap, e.g. of Si, is small [1, 2].",
        "容量は大きい。[3]",
        "See Fig. 3 [2].",
    ]


def test_marks_are_read_in_order() -> None:
    assert marks("a [3, 1] b [3] ［２］") == (3, 1, 2)


def test_terms_in_quotation_marks_are_not_quotations() -> None:
    assert quotations("the “hard” phase “stays intact for 100 cycles”") == ["stays intact for 100 cycles"]

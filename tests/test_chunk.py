"""Chunks fit the embedder, stand on the page as they say, and lose no character."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunk import EMBEDDED_KINDS, chunk_document, recipe, sentences
from ingest.embed import PieceTokeniser, Tokeniser, make_tokeniser
from ingest.records import Block, BlockKind, Chunk, Document, Metadata, Page
from ingest.settings import ChunkingSettings


@cache
def tokeniser() -> Tokeniser:
    return make_tokeniser("all-MiniLM-L6-v2")


def page_of(*blocks: tuple[BlockKind, str, str], number: int = 1) -> Page:
    text, made = "", []
    for kind, section, content in blocks:
        text += "\n\n" if text else ""
        made.append(Block(len(text), len(text) + len(content), kind, section))
        text += content
    return Page(number, text, tuple(made))


def cut(
    *pages: Page, max_tokens: int = 60, overlap: int = 0, title: str = "Olivine cathodes", by: Tokeniser | None = None
) -> list[Chunk]:
    document = Document(pages, Metadata(title=title), "text")
    chosen = ChunkingSettings(max_tokens=max_tokens, overlap_tokens=overlap)
    return chunk_document(
        document, paper_id="f" * 64, metadata=document.metadata, embedder=by or tokeniser(), settings=chosen
    )


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


# Sentences


@pytest.mark.parametrize(
    "text",
    [
        "As shown in Fig. 2, the capacity of Padhi et al. 1997 is 0.6 Li per formula unit, i.e. 100 mAh g−1.",
        "A. K. Padhi, K. S. Nanjundaswamy and J. B. Goodenough prepared it, cf. Refs. [1–4] and Eqs. (3)–(5).",
        "The cell was cycled vs. Li/Li+ at approx. 25 °C in EC/DMC (1:1 vol. ratio).",
        "Wang et al. [12] report 2.5 at. % of Ni.",
        "1. Introduction to the subject",
        "X-ray tubes (Bruker Inc., U.S.A. and Germany) were used.",
    ],
)
def test_an_abbreviation_an_initial_or_a_decimal_does_not_end_a_sentence(text: str) -> None:
    assert split(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        ["The rate was 0.1 C.", "The gap is 1.1 eV."],
        ["It was annealed at 300 K.", "The film then cracked."],
        ["This agrees with Zhang et al.", "The reason is simple."],
        ["The capacity fades.12", "This was not seen before."],
        ["It fades.[3,4]", "Then it recovers."],
        ["Is it stable?", "Yes!", "α-Al2O3 is."],
        ["(It was dry.)", "Next, it was heated."],
        ["リチウムイオン電池は重要である。", "正極にはLiFePO4（LFP）を用いる！", "本当か？"],
        ["「安全だ。」と述べた。", "次に進む。"],
    ],
)
def test_sentences_end_where_a_reader_sees_them_end(text: list[str]) -> None:
    joined = ("" if text[0][-1] in "。」" else " ").join(text)
    assert split(joined) == text


def test_a_blank_line_ends_a_sentence_and_a_line_break_does_not() -> None:
    assert split("no stop here\n\nand one\nhere.") == ["no stop here", "and one\nhere."]


@given(st.text(alphabet="aB1 .!?。\n\n([,)」gFi", max_size=80))
def test_sentences_cover_every_character_once(text: str) -> None:
    spans = sentences(text)
    covered = [place for start, end in spans for place in range(start, end)]
    assert len(covered) == len(set(covered))
    assert all(text[place].isspace() for place in set(range(len(text))) - set(covered))


# Chunks


ENGLISH = "LiFePO4 cathode capacity mAh g−1 3.4 eV et al. Fig. 2 The This , ; (a) α-Fe2O3 supercalifragilistic"
HARD = "正極材料の容量は大きい。 電池 10.1016/j.jpowsour.2010.01.001 https://a.b/c?d=e&f=g \uffff \U0001d6fc ½ ﬁ é ẞ"
WORDS = st.sampled_from([*ENGLISH.split(), *HARD.split()])
CONTENT = st.lists(WORDS, min_size=1, max_size=120).map(" ".join) | st.text(min_size=1, max_size=300).filter(
    lambda text: bool(text.strip())
)
KINDS = st.sampled_from(
    ["text", "text", "text", "title", "front", "heading", "table", "caption", "reference", "footnote"]
)
BLOCKS = st.lists(st.tuples(KINDS, st.sampled_from(["", "1. Introduction", "実験方法"]), CONTENT), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    blocks=BLOCKS,
    max_tokens=st.integers(4, 254),
    title=st.text(max_size=40) | st.just("A rather long title of a paper " * 12),
    by_rule=st.booleans(),
)
def test_chunks_fit_stand_where_they_say_and_lose_nothing(
    blocks: list[tuple[BlockKind, str, str]], max_tokens: int, title: str, by_rule: bool
) -> None:
    embedder = PieceTokeniser("rule", 254) if by_rule else tokeniser()
    page = page_of(*blocks)
    chunks = cut(page, max_tokens=max_tokens, title=title, by=embedder)
    covered = []
    for chunk in chunks:
        assert chunk.text == page.text[chunk.start : chunk.end] == chunk.text.strip() != ""
        assert len(chunk.text) == 1 or embedder.count_tokens([chunk.text])[0] <= max_tokens
        assert embedder.count_tokens([chunk.embedded_text])[0] <= embedder.max_tokens
        covered += range(chunk.start, chunk.end)
    assert len(covered) == len(set(covered))
    wanted = [block for block in page.blocks if block.kind not in {"title", "heading"}]
    places = {place for block in wanted for place in range(block.start, block.end) if not page.text[place].isspace()}
    assert places <= set(covered)


SENTENCE = "The olivine phase shows a discharge plateau at 3.4 V and a capacity of 160 mAh per gram. "


def test_neighbouring_paragraphs_of_a_section_share_a_chunk() -> None:
    chunks = cut(page_of(("text", "Results", SENTENCE.strip()), ("text", "Results", "It is safe.")))
    assert [chunk.text for chunk in chunks] == [f"{SENTENCE.strip()}\n\nIt is safe."]


def test_a_chunk_does_not_reach_into_the_next_section() -> None:
    chunks = cut(page_of(("text", "Methods", "It was milled."), ("text", "Results", "It is safe.")))
    assert [(chunk.section, chunk.text) for chunk in chunks] == [
        ("Methods", "It was milled."),
        ("Results", "It is safe."),
    ]


def test_long_text_is_cut_into_chunks_of_about_the_same_size_at_sentence_ends() -> None:
    chunks = cut(page_of(("text", "Results", (SENTENCE * 9).strip())), max_tokens=100)
    counts = tokeniser().count_tokens([chunk.text for chunk in chunks])
    assert min(counts) > 0.6 * max(counts)
    assert all(chunk.text.startswith("The olivine") and chunk.text.endswith("gram.") for chunk in chunks)


def test_a_sentence_longer_than_the_limit_is_cut_behind_a_clause() -> None:
    sentence = "we mixed the precursor with carbon, " * 12 + "and fired it."
    chunks = cut(page_of(("text", "", sentence)))
    assert len(chunks) > 1
    assert all(chunk.text.endswith(",") for chunk in chunks[:-1])


def test_a_long_japanese_sentence_is_cut_between_characters() -> None:
    sentence = "正極材料の容量は温度とともに大きく変化することが知られている" * 6 + "。"
    chunks = cut(page_of(("text", "", sentence)))
    assert "".join(chunk.text for chunk in chunks) == sentence
    assert all(count <= 60 for count in tokeniser().count_tokens([chunk.text for chunk in chunks]))


def test_a_word_without_end_is_cut_although_the_vocabulary_counts_it_as_one_token() -> None:
    chunks = cut(page_of(("text", "", "x" * 5000)))
    assert max(len(chunk.text) for chunk in chunks) <= 600


def test_headings_and_titles_are_context_and_not_chunks() -> None:
    page = page_of(
        ("title", "", "Olivine cathodes"), ("heading", "Results", "Results"), ("text", "Results", "It is safe.")
    )
    chunks = cut(page)
    assert [(chunk.text, chunk.context) for chunk in chunks] == [("It is safe.", "Olivine cathodes. Results")]


def test_a_table_is_cut_between_rows_and_later_parts_carry_its_caption_and_header_as_context() -> None:
    rows = ["Sample | Capacity (mAh/g)", *(f"LFP-{number} | {150 + number}.5" for number in range(30))]
    page = page_of(("caption", "Results", "Table 3. Capacities of all samples."), ("table", "Results", "\n".join(rows)))
    caption, first, *rest = cut(page)
    assert (caption.kind, first.kind) == ("caption", "table")
    assert first.context == "Olivine cathodes. Results. Table 3. Capacities of all samples"
    assert rest
    assert all(chunk.context.endswith("Sample | Capacity (mAh/g)") for chunk in rest)
    assert "\n".join([first.text, *(chunk.text for chunk in rest)]) == "\n".join(rows)


def test_reference_lists_are_chunks_that_are_not_embedded() -> None:
    (chunk,) = cut(page_of(("reference", "References", "[1] A. K. Padhi, J. Electrochem. Soc. 144, 1188 (1997).")))
    assert chunk.kind == "reference"
    assert chunk.kind not in EMBEDDED_KINDS


def test_authors_are_not_mixed_with_the_abstract() -> None:
    chunks = cut(page_of(("front", "", "Jane Doe, University of Somewhere"), ("text", "", "We study iron.")))
    assert [chunk.text for chunk in chunks] == ["Jane Doe, University of Somewhere", "We study iron."]


def test_a_page_without_blocks_is_one_block_of_text() -> None:
    (chunk,) = cut(Page(4, "Only text here."))
    assert (chunk.page, chunk.text, chunk.kind) == (4, "Only text here.", "text")


def test_overlap_repeats_the_last_sentences_of_the_chunk_before() -> None:
    text = " ".join(f"Sample {number} was heated to {number * 10} degrees." for number in range(1, 30))
    chunks = cut(page_of(("text", "", text)), overlap=15)
    assert all(later.start < earlier.end for earlier, later in pairwise(chunks))
    assert chunks[-1].end == len(text)


def test_the_same_document_gives_the_same_ids_and_another_recipe_others() -> None:
    page = page_of(("text", "", SENTENCE * 5))
    again = cut(page)
    assert [chunk.id for chunk in cut(page)] == [chunk.id for chunk in again]
    assert {chunk.id for chunk in again}.isdisjoint(chunk.id for chunk in cut(page, max_tokens=61))
    assert [chunk.ordinal for chunk in again] == list(range(len(again)))


def test_the_recipe_names_sizes_and_tokeniser_whatever_the_precision() -> None:
    chosen = ChunkingSettings(max_tokens=150)
    assert recipe(chosen, "all-MiniLM-L6-v2") == recipe(chosen, "all-MiniLM-L6-v2-fp32") == recipe(chosen, tokeniser())
    assert "tokens=150" in recipe(chosen, "hashing")


def test_a_tokeniser_that_went_to_another_process_cuts_alike() -> None:
    page = page_of(("text", "", SENTENCE * 9))
    assert cut(page, by=pickle.loads(pickle.dumps(tokeniser()))) == cut(page)

"""Search in a real library: words, formulas, Japanese, filters, fusion, and queries nobody should have typed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assistant.retrieve import cross_encoder, fuse, search
from ingest import index, lexical
from ingest.embed import EmbedderInfo
from ingest.errors import BadInput
from ingest.library import Library
from ingest.materials import Material, to_chunk
from ingest.records import Block, Chunk, Filter, Hit, Metadata, Page, Paper, chunk_id

DIMENSION = 64


class WordEmbedder:
    """Texts that share words are near: enough meaning for a test, and nothing to load."""

    name = "words"
    info = EmbedderInfo("words", "1", DIMENSION)

    def embed_query(self, text: str) -> np.ndarray:
        total = np.full(DIMENSION, 1e-3, dtype=np.float32)
        for word in lexical.tokens(text):
            seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
            total += np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
        return total / np.linalg.norm(total)

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.embed_query(text) for text in texts])


PAPERS = {
    ("Olivine cathodes", 2015): [
        ("Results", "text", "Carbon coated Li Fe P O4 delivers 160 mAh/g at a low rate."),
        ("Results", "table", "Sample | Capacity\nLiFePO₄/C | 158"),
        ("References", "reference", "A. Author, LiFePO4 as a cathode, J. Nothing 1 (2001) 1."),
    ],
    ("Spinel cathodes", 2019): [
        ("Introduction", "text", "The spinel LiNi0.5Mn1.5O4 works at 4.7 V against lithium."),
        ("Experimental", "text", "Powders were annealed at 600 °C in flowing oxygen."),
    ],
    ("Perovskites", 2021): [
        ("Results", "text", "Solid-state synthesis of SrTiO3 leaves oxygen vacancies, which the annealing heals."),
        ("Summary", "text", "リチウムイオン電池の正極材料として検討した。"),
    ],
}
EMBEDDER = WordEmbedder()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("search")
    made = Library.create(folder / "library", embedder=EMBEDDER.info, recipe="test")
    with made.writer() as writer:
        for (title, year), passages in PAPERS.items():
            add(writer, title, year, passages)
    yield made
    made.close()


def add(writer, title: str, year: int, passages: Sequence[tuple[str, str, str]]) -> None:
    source = hashlib.sha256(title.encode()).hexdigest()
    pages = [
        Page(number, text, (Block(0, len(text), kind, section),))
        for number, (section, kind, text) in enumerate(passages, start=1)
    ]
    chunks = [
        Chunk(chunk_id(source, "test", place), source, place, text, place + 1, 0, len(text), section, kind, title)
        for place, (section, kind, text) in enumerate(passages)
    ]
    vectors = EMBEDDER.embed_documents([chunk.embedded_text for chunk in chunks if chunk.kind != "reference"])
    writer.add(
        Paper(source, Metadata(title, year=year), "pdf", len(pages), len(chunks), paths=()), pages, chunks, vectors
    )


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.text for hit in hits]


@pytest.mark.parametrize("query", ["LiFePO4", "LiFePO₄", "Li Fe P O4", "LiFePO 4", "FeLiO4P", "Li<sub>1</sub>FePO4"])
def test_any_typesetting_of_a_formula_finds_any_other(library: Library, query: str) -> None:
    found = texts(search(library, EMBEDDER, query, mode="lexical"))
    assert {text.split()[0] for text in found} == {"Carbon", "Sample"}


def test_other_forms_of_a_word_are_found(library: Library) -> None:
    found = texts(search(library, EMBEDDER, "annealed powder", mode="lexical"))
    assert [text.split()[0] for text in found] == ["Powders", "Solid-state"]


@pytest.mark.parametrize("query", ["solid-state", "solid state", "solidstate"])
def test_hyphenated_words_are_found_whole_and_in_parts(library: Library, query: str) -> None:
    assert texts(search(library, EMBEDDER, query, mode="lexical"))[0].startswith("Solid-state")


@pytest.mark.parametrize("query", ["正極材料", "リチウムイオン電池", "ﾘﾁｳﾑｲｵﾝ電池"])
def test_japanese_is_found_without_spaces_and_at_any_width(library: Library, query: str) -> None:
    assert texts(search(library, EMBEDDER, query, mode="lexical"))[0].startswith("リチウム")


def test_a_number_is_found_with_its_unit(library: Library) -> None:
    assert texts(search(library, EMBEDDER, "600°C", mode="lexical"))[0].startswith("Powders")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_every_mode_finds_the_passage_and_says_its_scores(library: Library, mode: str) -> None:
    best = search(library, EMBEDDER, "oxygen vacancies of SrTiO3", mode=mode)[0]
    assert best.chunk.text.startswith("Solid-state")
    assert best.title == "Perovskites"
    assert best.metadata.year == 2021
    assert (best.dense is None, best.lexical is None) == (mode == "lexical", mode == "dense")


def test_hits_come_best_first(library: Library) -> None:
    scores = [hit.score for hit in search(library, EMBEDDER, "lithium cathode capacity")]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(elements=frozenset({"Li", "O"})), {"Carbon", "Sample", "The"}),
        (Filter(elements=frozenset({"lithium", "mn"})), {"The"}),
        (Filter(formula="FeLiO4P"), {"Carbon", "Sample"}),
        (Filter(years=(2016, None)), {"The", "Powders", "Solid-state", "リチウムイオン電池の正極材料として検討した。"}),
        (Filter(years=(2016, 2019)), {"The", "Powders"}),
        (Filter(sections=("result",)), {"Carbon", "Sample", "Solid-state"}),
        (Filter(kinds=frozenset({"table"})), {"Sample"}),
        (Filter(sources=frozenset({hashlib.sha256(b"Spinel cathodes").hexdigest()})), {"The", "Powders"}),
        (Filter(formula="NaCl"), set()),
    ],
)
def test_a_filter_lets_nothing_else_through(library: Library, mode: str, where: Filter, expected: set[str]) -> None:
    query = "lithium oxygen annealing capacity sample cathodes"
    found = {text.split()[0] for text in texts(search(library, EMBEDDER, query, where=where, mode=mode))}
    assert found <= expected
    if mode != "lexical":
        assert found == expected


def test_references_come_only_when_asked_for(library: Library) -> None:
    assert not [hit for hit in search(library, EMBEDDER, "LiFePO4 as a cathode") if hit.chunk.kind == "reference"]
    asked = search(library, EMBEDDER, "LiFePO4 as a cathode", where=Filter(kinds=frozenset({"reference"})))
    assert [hit.chunk.kind for hit in asked] == ["reference"]


@pytest.mark.parametrize("where", [Filter(elements=frozenset({"Xx"})), Filter(formula="hello")])
def test_a_filter_that_means_nothing_is_refused_with_its_value(library: Library, where: Filter) -> None:
    with pytest.raises(BadInput, match=r"Xx|hello") as caught:
        search(library, EMBEDDER, "cathode", where=where)
    assert "--" in caught.value.hint


@pytest.mark.parametrize("query", ["", "  \n", "\ud800", "x" * 10_001])
def test_a_query_without_text_or_with_too_much_is_refused(library: Library, query: str) -> None:
    with pytest.raises(BadInput) as caught:
        search(library, EMBEDDER, query)
    assert caught.value.hint


@pytest.mark.parametrize("k", [0, -1, 10_001, 10**6])
def test_a_number_of_hits_out_of_bounds_is_refused_with_its_value(library: Library, k: int) -> None:
    with pytest.raises(BadInput, match=str(k)):
        search(library, EMBEDDER, "cathode", k=k)


def test_more_hits_than_there_are_is_no_error(library: Library) -> None:
    assert len(search(library, EMBEDDER, "cathode", k=10_000)) == 6


@given(st.text(max_size=60))
@example('"')
@example("NEAR(a b) AND OR NOT * ^ : ( {x y} : -")
@example("\x00")
@example("\ud800 '); DROP TABLE chunks; --")
@settings(deadline=None)
def test_whatever_is_typed_is_a_valid_match_expression(query: str) -> None:
    expression = lexical.match_expression(query)
    connection = sqlite3.connect(":memory:")
    connection.execute(f'CREATE VIRTUAL TABLE t USING fts5(text, tokenize = "{lexical.TOKENIZER}")')
    connection.execute("INSERT INTO t VALUES (?)", (lexical.index_text(query),))
    found = (
        connection.execute("SELECT count(*) FROM t WHERE t MATCH ?", (expression,)).fetchone() if expression else (0,)
    )
    assert found[0] == (1 if expression else 0)


def test_a_passage_that_repeats_a_better_one_is_left_out(tmp_path: Path) -> None:
    passage = "The preprint and the printed paper both say that annealing in oxygen heals the vacancies."
    with Library.create(tmp_path / "library", embedder=EMBEDDER.info, recipe="test") as library:
        with library.writer() as writer:
            add(writer, "Preprint", 2020, [("Results", "text", passage)])
            add(writer, "Printed", 2021, [("Results", "text", passage + " Indeed.")])
        assert len(search(library, EMBEDDER, "annealing vacancies")) == 1


@pytest.fixture(scope="module")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a cross-encoder of two thousand weights that nothing has trained."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder = tmp_path_factory.mktemp("cross-encoder")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]))
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=15, num_labels=1, max_position_embeddings=512, **size))
    model.save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    CrossEncoder(str(folder)).save_pretrained(str(folder))
    return str(folder)


def test_a_cross_encoder_in_a_folder_reranks(library: Library, tiny_cross_encoder: str) -> None:
    query = "lithium cathode oxygen"
    plain = search(library, EMBEDDER, query)
    reranked = search(library, EMBEDDER, query, rerank=tiny_cross_encoder)
    judged = cross_encoder(tiny_cross_encoder)(query, [hit.chunk.embedded_text for hit in reranked])
    assert set(texts(reranked)) == set(texts(plain))
    assert [hit.score for hit in reranked] == pytest.approx(sorted(judged, reverse=True), abs=1e-5)


def test_a_cross_encoder_that_is_not_here_is_refused(library: Library, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no cross-encoder on this machine"):
        search(library, EMBEDDER, "lithium", rerank=str(tmp_path / "nowhere"))


def test_a_reranker_decides_the_order(library: Library) -> None:
    def shortest(query: str, passages: Sequence[str]) -> list[float]:
        return [-len(passage) for passage in passages]

    found = texts(search(library, EMBEDDER, "lithium cathode oxygen", rerank=shortest))
    assert found == sorted(found, key=len)


def test_diversity_brings_other_passages_forward(library: Library) -> None:
    plain = texts(search(library, EMBEDDER, "LiFePO4 capacity"))
    diverse = texts(search(library, EMBEDDER, "LiFePO4 capacity", diversity=0.9))
    assert diverse[0] == plain[0]
    assert set(diverse) == set(plain)


def test_fused_scores_lie_between_0_and_1_and_both_sides_count() -> None:
    fused = fuse({"a": 0.9, "b": 0.5, "c": 0.1}, {"c": 8.0, "b": 4.0})
    assert all(0 <= score <= 1 for score in fused.values())
    assert fused["c"] > fuse({"a": 0.9, "b": 0.5, "c": 0.1}, {"b": 4.0})["c"] == 0


def test_a_chunk_beyond_a_cut_list_counts_as_its_last_one() -> None:
    fused = fuse({"a": 0.5, "b": 0.5}, {"a": 8.0, "c": 4.0}, cut=True)
    assert fused["b"] - fuse({"a": 0.5, "b": 0.5}, {"a": 8.0, "c": 4.0})["b"] == pytest.approx(0.25)


def test_exact_and_approximate_neighbours_agree(library: Library) -> None:
    vector = EMBEDDER.embed_query("annealing in oxygen")
    near = library.dense(vector, k=6, where=Filter())
    exact = library.dense(vector, k=6, where=Filter(years=(1900, 2100)))
    assert [each for each, _ in near] == [each for each, _ in exact]
    assert [cosine for _, cosine in near] == pytest.approx([cosine for _, cosine in exact], abs=2e-3)


def test_a_broad_filter_is_filled_from_a_surplus_of_neighbours(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "EXACT_LIMIT", 1)
    vector = EMBEDDER.embed_query("oxygen")
    assert len(library.dense(vector, k=2, where=Filter(years=(2016, 2021)))) == 2


def test_common_words_are_left_to_the_scoring_when_rare_ones_suffice(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = library.lexical("oxygen annealing vacancies cathodes", k=2, where=Filter())
    monkeypatch.setattr(index, "POSTINGS", 1)
    assert library.lexical("oxygen annealing vacancies cathodes", k=2, where=Filter())[0][0] == full[0][0]


def test_materials_records_come_in_the_same_list(tmp_path: Path) -> None:
    material = Material("mp-19017", "LiFePO4", ("Fe", "Li", "O", "P"), band_gap_ev=3.7, band_gap_functional="PBE+U")
    chunk = to_chunk(material, "test")
    with Library.create(tmp_path / "library", embedder=EMBEDDER.info, recipe="test") as library:
        with library.writer() as writer:
            add(writer, "Olivine cathodes", 2015, PAPERS["Olivine cathodes", 2015])
            writer.add_materials([material], [chunk], EMBEDDER.embed_documents([chunk.embedded_text]))
        found = search(library, EMBEDDER, "band gap of LiFePO₄")
        assert found[0].title == "LiFePO4 (mp-19017)"
        assert {hit.chunk.kind for hit in found} == {"material", "text", "table"}
        only = search(library, EMBEDDER, "band gap", where=Filter(formula="Li Fe P O4", kinds=frozenset({"material"})))
        assert [hit.chunk.source for hit in only] == ["mp-19017"]


def test_what_was_taken_out_is_not_found_and_no_longer_counted(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embedder=EMBEDDER.info, recipe="test") as library:
        with library.writer() as writer:
            add(writer, "Kept", 2020, [("Results", "text", "Zirconia is tough.")])
            add(writer, "Removed", 2021, [("Results", "text", "Zirconia ZrO2 is white.")])
            writer.remove(hashlib.sha256(b"Removed").hexdigest())
        assert texts(search(library, EMBEDDER, "white zirconia", mode="lexical")) == ["Zirconia is tough."]
        assert search(library, EMBEDDER, "zirconia", where=Filter(formula="ZrO2")) == []
        with sqlite3.connect(tmp_path / "library" / "catalog.sqlite") as connection:
            counts = dict(connection.execute("SELECT term, chunks FROM terms WHERE term IN ('', 'zirconia', 'white')"))
        assert counts == {"": 1, "zirconia": 1, "white": 0}


def test_a_compound_is_found_under_another_name(library: Library) -> None:
    found = texts(search(library, EMBEDDER, "LFP", mode="lexical"))
    assert {text.split()[0] for text in found} == {"Carbon", "Sample"}


def test_a_japanese_query_finds_english_passages_where_the_embedder_reads_english_only(tmp_path: Path) -> None:
    english_only = EmbedderInfo("hashing-words", "1", DIMENSION)
    with Library.create(tmp_path / "english", embedder=english_only, recipe="test") as made:
        with made.writer() as writer:
            for (title, year), passages in PAPERS.items():
                add(writer, title, year, passages)
        assert texts(search(made, EMBEDDER, "焼鈍温度"))[0].startswith("Powders")


def test_elements_asked_for_together_are_found_in_formulas(library: Library) -> None:
    best = texts(search(library, EMBEDDER, "compounds of nickel and manganese", mode="lexical"))[0]
    assert best.startswith("The spinel LiNi0.5Mn1.5O4")


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Library]:
    """Iron oxides, five of them of one formula, and a titanium oxide, all with a band gap."""
    made = [
        Material(f"mp-{n}", formula, tuple(sorted(elements)), e_above_hull_ev_per_atom=hull, band_gap_ev=1.0)
        for n, (formula, elements, hull) in enumerate(
            [("Fe2O3", ("Fe", "O"), hull) for hull in (0.15, 0.1, 0.0, 0.05, 0.2)] + [("TiO2", ("Ti", "O"), 0.0)]
        )
    ]
    chunks = [to_chunk(material, "test") for material in made]
    with Library.create(tmp_path / "records", embedder=EMBEDDER.info, recipe="test") as library:
        with library.writer() as writer:
            writer.add_materials(made, chunks, EMBEDDER.embed_documents([chunk.embedded_text for chunk in chunks]))
        yield library


def sources(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.source for hit in hits]


def test_a_record_of_another_material_than_the_query_names_comes_last(records: Library) -> None:
    assert sources(search(records, EMBEDDER, "band gap of anatase"))[0] == "mp-5"
    assert sources(search(records, EMBEDDER, "band gap of titanium compounds"))[0] == "mp-5"
    assert "mp-5" not in sources(search(records, EMBEDDER, "band gap of hematite"))[:3]


def test_stabler_records_of_one_formula_come_first_and_do_not_crowd_out_others(records: Library) -> None:
    found = sources(search(records, EMBEDDER, "band gap of oxides", mode="lexical"))
    assert [each for each in found if each != "mp-5"][:3] == ["mp-2", "mp-3", "mp-1"]
    assert "mp-5" in found[:4]
    only = Filter(formula="Fe2O3")
    found = sources(search(records, EMBEDDER, "band gap", where=only, mode="lexical"))
    assert found == ["mp-2", "mp-3", "mp-1", "mp-0", "mp-4"]


SAID = "We sintered the spinel at 900 °C."
REFERENCES = (
    "[1] A. Author, B. C. Other, Sintering of spinel cathodes, J. Nothing 2001, 3, 101. "
    "[2] D. Third, E. Fourth, Spinel cathodes for sintering, J. Nothing 2004, 5, 11."
)


def test_a_list_of_references_and_a_single_word_come_behind_what_tells_something(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embedder=EMBEDDER.info, recipe="test") as made:
        with made.writer() as writer:
            add(writer, "Cathodes", 2020, [("", "text", REFERENCES), ("", "text", "Spinel"), ("", "text", SAID)])
        assert texts(search(made, EMBEDDER, "sintering of spinel cathodes"))[0] == SAID

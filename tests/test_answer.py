"""Answers by quotes: what is quoted, how it is said, and when nothing is."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import Answer, Assistant, glossary, glossary_terms, journal, prompts
from assistant.citations import Citation, Claim
from assistant.question import understand
from ingest.chunk import chunk_document, recipe
from ingest.embed import make_embedder
from ingest.errors import BadInput, ModelError
from ingest.library import Library
from ingest.records import Block, Document, Filter, Metadata, Page, Paper
from ingest.settings import ChunkingSettings

CATHODES = (
    "Olivine lithium iron phosphate is a cathode material for lithium-ion batteries. "
    "The LiFePO4 cathode delivered an initial discharge capacity of 163 mAh g−1 at 0.1 C. "
    "Its capacity retention was 97 % after 200 cycles. "
    "The particles were coated with carbon because bare LiFePO4 conducts electrons poorly.",
    "Synthesis took place in a tube furnace under argon. "
    "The precursor was calcined at 700 °C for 8 h. "
    "The lattice parameters agreed with those of the orthorhombic space group Pnma.",
)
PEROVSKITES = (
    "Chalcogenide perovskites absorb light strongly. "
    "The optical band gap of BaZrS3 is 1.82 eV, as measured by photoluminescence at 300 K. "
    "This is close to the value wanted for a tandem cell.",
)


def add_paper(library: Library, name: str, pages: tuple[str, ...], folder: Path, metadata: Metadata) -> None:
    path = folder / name
    path.write_text("\f".join(pages), encoding="utf-8")
    identifier = hashlib.sha256(path.read_bytes()).hexdigest()
    made = tuple(Page(n, text, (Block(0, len(text), "text", "Results"),)) for n, text in enumerate(pages, 1))
    document = Document(made, metadata, "text")
    embedder = make_embedder("all-MiniLM-L6-v2")
    chunks = chunk_document(
        document, paper_id=identifier, metadata=metadata, embedder=embedder, settings=ChunkingSettings()
    )
    vectors = embedder.embed_documents([chunk.embedded_text for chunk in chunks])
    with library.writer() as writer:
        writer.add(Paper(identifier, metadata, "text", len(pages), len(chunks), (path,)), made, chunks, vectors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def assistant(folder: Path) -> Iterator[Assistant]:
    embedder = make_embedder("all-MiniLM-L6-v2")
    library = Library.create(
        folder / "library", embedder=embedder.info, recipe=recipe(ChunkingSettings(), embedder.name)
    )
    lfp = Metadata("Carbon-coated cathodes", ("Ada Lovelace", "Bo Li"), 2020, "10.1000/lfp", "Journal of Cells")
    add_paper(library, "cathodes.txt", CATHODES, folder, lfp)
    add_paper(library, "perovskites.txt", PEROVSKITES, folder, Metadata("Sulfide absorbers", ("Mei Tan",), 2021))
    with Assistant(library, embedder=embedder) as asked:
        yield asked


@pytest.fixture(scope="module")
def answer(assistant: Assistant) -> Answer:
    return assistant.ask("What initial discharge capacity did the LiFePO4 cathode deliver at 0.1 C?")


def test_the_best_sentence_is_quoted_word_for_word_with_its_page(answer: Answer) -> None:
    first = answer.citations[0]
    assert first.quote == "The LiFePO4 cathode delivered an initial discharge capacity of 163 mAh g−1 at 0.1 C."
    assert (first.title, first.page, first.section, first.status) == (
        "Carbon-coated cathodes",
        1,
        "Results",
        "verified",
    )
    assert not answer.abstained


def test_every_quote_stands_on_its_page(assistant: Assistant, answer: Answer) -> None:
    for citation in answer.citations:
        assert citation.quote in assistant.library.page(citation.paper, citation.page).text


def test_no_sentence_is_quoted_twice(answer: Answer) -> None:
    quotes = [citation.quote for citation in answer.citations]
    assert len(set(quotes)) == len(quotes)


def test_the_text_says_that_it_quotes_and_how_to_connect_a_model(answer: Answer) -> None:
    assert answer.text.startswith(prompts.QUOTES["en"])
    assert answer.text.endswith(prompts.CONNECT_MODEL["en"])
    assert "[1] “The LiFePO4 cathode" in answer.text


def test_quotes_are_grouped_by_paper(assistant: Assistant) -> None:
    papers = [c.paper for c in assistant.ask("What was measured at which temperature for BaZrS3?").citations]
    assert papers == sorted(papers, key=papers.index)


def test_a_quote_that_points_back_comes_with_the_sentence_before(assistant: Assistant) -> None:
    answer = assistant.ask("What was the capacity retention of the LiFePO4 cathode after 200 cycles?")
    retention = next(citation for citation in answer.citations if "97 %" in citation.quote)
    assert retention.context.startswith("The LiFePO4 cathode")


@pytest.mark.parametrize(
    "question",
    [
        "What is the critical temperature of MgB2?",
        "Which yield strength does Ti-6Al-4V reach after forging?",
        "Who won the football match yesterday?",
        "ネオジム磁石Nd2Fe14Bの保磁力はいくらか。",
    ],
)
def test_what_the_library_does_not_say_is_not_answered(assistant: Assistant, question: str) -> None:
    answer = assistant.ask(question)
    assert answer.abstained
    assert answer.citations == answer.claims == ()
    assert any(refusal in answer.text for refusal in prompts.refusals())
    assert answer.missing


def test_a_refusal_names_what_is_missing(assistant: Assistant) -> None:
    answer = assistant.ask("What is the band gap of GaAs?")
    assert "GaAs" in answer.missing
    assert "GaAs" in answer.text


def test_a_japanese_question_is_answered_from_english_pages(assistant: Assistant) -> None:
    answer = assistant.ask("BaZrS3のバンドギャップは何eVか。")
    assert "1.82 eV" in answer.citations[0].quote
    assert answer.text.startswith(prompts.QUOTES["ja"])
    assert prompts.CONNECT_MODEL["ja"] in answer.text
    assert "all-MiniLM-L6-v2 は英語専用" in answer.text


def test_a_filter_confines_the_answer_to_a_paper(assistant: Assistant) -> None:
    paper = next(paper for paper in assistant.library.papers() if paper.title == "Sulfide absorbers")
    answer = assistant.ask("What discharge capacity was delivered?", where=Filter(sources=frozenset({paper.id})))
    assert all(citation.paper == paper.id for citation in answer.citations)


def test_the_json_object_has_the_promised_keys(answer: Answer) -> None:
    data = json.loads(json.dumps(answer.to_json()))
    promised = ["text", "citations", "claims", "tool_calls", "abstained", "missing", "usage", "model", "seconds"]
    assert list(data) == promised
    assert {"n", "paper", "title", "doi", "page", "quote", "status", "boxes"} <= set(data["citations"][0])
    assert {"text", "status", "citations"} <= set(data["claims"][0])
    assert data["usage"]["cost_usd"] == 0
    assert data["model"] == "extractive"


def test_cited_papers_come_as_bibtex(answer: Answer) -> None:
    assert answer.bibtex().startswith("@article{Lovelace2020,\n  title = {{Carbon-coated cathodes}}")
    assert "doi = {10.1000/lfp}" in answer.bibtex()


@pytest.mark.parametrize("question", ["", "   \n", "x" * 10_001])
def test_questions_that_are_none_are_refused(assistant: Assistant, question: str) -> None:
    with pytest.raises(BadInput):
        assistant.ask(question)


def test_a_question_of_the_greatest_length_is_answered_or_refused_without_error(assistant: Assistant) -> None:
    assert assistant.ask(("LiFePO4 capacity " * 600)[:10_000]).model == "extractive"


def test_an_answer_without_quotes_cannot_be_asked_for(assistant: Assistant) -> None:
    with pytest.raises(BadInput):
        assistant.ask("LiFePO4?", quotes=0)


def test_an_unknown_model_is_refused(assistant: Assistant) -> None:
    with pytest.raises(ModelError, match="openai/gpt"):
        Assistant(assistant.library, model="openia/gpt")


def test_aask_answers_alike(assistant: Assistant, answer: Answer) -> None:
    again = asyncio.run(assistant.aask("What initial discharge capacity did the LiFePO4 cathode deliver at 0.1 C?"))
    assert again.text == answer.text


def test_the_journal_keeps_every_answer(assistant: Assistant, answer: Answer) -> None:
    assistant.ask("Why were the particles coated with carbon?")
    latest = journal.entries(assistant.library.info.path, limit=1)[0]
    assert latest.question == "Why were the particles coated with carbon?"
    assert latest.answer["model"] == "extractive"


def test_the_journal_is_written_while_another_holds_the_library(assistant: Assistant) -> None:
    before = len(journal.entries(assistant.library.info.path, limit=1000))
    with assistant.library.writer():
        assistant.ask("Why were the particles coated with carbon?")
    assert len(journal.entries(assistant.library.info.path, limit=1000)) == before + 1


def test_a_journal_that_cannot_be_written_is_noted_and_the_answer_given(tmp_path: Path, answer: Answer) -> None:
    (tmp_path / journal.FILE).mkdir()
    assert "not in the journal" in journal.record(tmp_path, "?", answer.to_json())


def test_an_empty_library_abstains(tmp_path: Path) -> None:
    embedder = make_embedder("all-MiniLM-L6-v2")
    with Library.create(tmp_path / "empty", embedder=embedder.info, recipe="r") as library:
        answer = Assistant(library, embedder=embedder).ask("What is the band gap of GaAs?")
    assert answer.abstained
    assert prompts.EMPTY_LIBRARY["en"] in answer.text


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, assistant; print([n for n in ('numpy', 'chromadb', 'onnxruntime') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What a question asks for


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How large is the band gap of Si?", "number"),
        ("At what temperature was it sintered?", "number"),
        ("Why does the capacity fade?", "reason"),
        ("What does the abbreviation VES mean?", "definition"),
        ("In which year was it published?", "date"),
        ("Which separator was used?", "other"),
        ("バンドギャップは何eVか。", "number"),
        ("なぜ劣化するのか。", "reason"),
    ],
)
def test_the_kind_of_answer_is_read_off_the_question(text: str, kind: str) -> None:
    assert understand(text).kind == kind


def test_a_unit_that_the_question_names_is_the_one_wanted() -> None:
    assert understand("What residual stress in MPa was measured?").units == {"MPa"}
    assert "g-1 h mA" in understand("How large is the capacity?").units


def test_names_and_formulas_are_told_from_words() -> None:
    terms = understand("What capacity has the PCT-1 cell with LiPF6?").terms
    assert [term.surface for term in terms] == ["capacity", "PCT-1", "cell", "LiPF6"]
    assert [term.name for term in terms] == [False, True, False, False]
    assert [term.formula for term in terms] == [False, False, False, True]


def test_a_japanese_question_becomes_english_words() -> None:
    assert understand("LiFePO4正極の初期放電容量はいくらか。").english == "LiFePO4 cathode initial discharge capacity"


def test_the_longest_japanese_term_is_taken() -> None:
    assert glossary.translate_terms("固体電解質") == ["solid electrolyte"]


def test_the_glossary_has_no_term_twice_and_only_japanese_ones() -> None:
    rows = [row.split("|") for row in glossary_terms.TERMS.strip().splitlines()]
    terms = [row[0] for row in rows]
    assert len(set(terms)) == len(terms)
    assert all(glossary.SCRIPT.search(term) for term in terms)
    assert all(len(row) > 1 and all(row) for row in rows)


def test_fixed_sentences_come_in_both_languages() -> None:
    tables = [value for name, value in vars(prompts).items() if name.isupper() and isinstance(value, dict)]
    assert len(tables) >= 9
    assert all(set(table) == {"en", "ja"} for table in tables)


def test_a_notebook_shows_the_answer_escaped_with_its_doubts_and_sources() -> None:
    bad = "It is <b>2 GPa</b> ![x](http://evil.example)."
    answer = Answer(
        text=f"It is 1 GPa [1]. {bad}",
        citations=(
            Citation(1, "p", "Hard & <i>fast</i>", "10.1000/x(1)", 3, "The hardness is 1 GPa.", "verified"),
            Citation(2, "q", "Soft", 'javascript:"x"', 4, "Nothing.", "unsupported"),
        ),
        claims=(Claim("It is 1 GPa [1].", "verified", (1,)), Claim(bad, "unsupported", (), 'cites "no" source')),
        model="openai/x",
    )
    shown = answer._repr_html_()
    assert str(answer) == answer.text
    assert not [mark for mark in ("<b>", "<i>", "<img", "javascript") if mark in shown]
    assert 'title="cites &quot;no&quot; source">It is &lt;b&gt;2 GPa' in shown
    assert '<a href="https://doi.org/10.1000/x(1)" rel="noreferrer">Hard &amp; &lt;i&gt;fast' in shown
    assert "p. 4: “Nothing.” (unsupported)" in shown
    assert "openai/x · 1 verified · 1 unsupported" in shown

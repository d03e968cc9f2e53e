"""Sentences of passages as candidates of an answer: what is whole, what repeats, what supports an answer."""

from __future__ import annotations

import numpy as np
import pytest

from assistant import extractive
from assistant.extractive import Candidate, Ranked, Support
from assistant.question import understand, weigh
from ingest.records import Block, Chunk, Hit, Metadata, Page

HEADING = "5.93 rgkmax"
SENTENCE = "rgkmax is by default set to 7.0 in units of the inverse radius."


def hit(text: str, *, kind: str = "text", source: str = "p" * 64, start: int = 0) -> Hit:
    chunk = Chunk(f"{source[0]}{start}", source, 0, text, 1, start, start + len(text), "", kind)  # type: ignore[arg-type]
    return Hit(chunk, "A paper", 1.0, 0.5, 1.0, Metadata())


def page(*blocks: tuple[str, str]) -> Page:
    text, made = "", []
    for kind, part in blocks:
        made.append(Block(len(text), len(text) + len(part), kind))  # type: ignore[arg-type]
        text += part + "\n"
    return Page(1, text, tuple(made))


def test_a_page_that_begins_in_the_middle_of_a_sentence_does_not_offer_it() -> None:
    cut = page(("text", SENTENCE))
    assert extractive.candidates([hit(SENTENCE)], lambda *_: cut) == []


def test_a_sentence_under_a_heading_is_whole_whatever_it_begins_with() -> None:
    headed = page(("heading", HEADING), ("text", SENTENCE))
    found = extractive.candidates([hit(SENTENCE, start=len(HEADING) + 1)], lambda *_: headed)
    assert [candidate.text for candidate in found] == [SENTENCE]


def ranked(text: str, *, kind: str = "text", score: float = 1.0, similarity: float = 0.5) -> Ranked:
    candidate = Candidate(hit(text, kind=kind), Page(1, text), 0, len(text), "")
    features = (similarity, *[0.0] * (len(extractive.FEATURES) - 1))
    return Ranked(candidate, score, features, np.eye(1, 4, dtype=np.float32)[0])


def test_parts_of_a_table_are_both_quoted_and_equal_sentences_once() -> None:
    rows = [ranked(f"Sample | Current\nB{n} | {n}.5 A", kind="table") for n in (1, 2)]
    assert len(extractive.choose(rows, most=5)) == 2
    assert len(extractive.choose([ranked("The same words."), ranked("The same words.")], most=5)) == 1


def support(question: str, *texts: str) -> Support:
    asked = understand(question)
    counts = dict.fromkeys(sorted({token for term in asked.terms for some in term.alternatives for token in some}), 3)
    return extractive.support(weigh(asked, counts, 100), [ranked(text) for text in texts], in_paper=lambda *_: False)


@pytest.mark.parametrize("elsewhere", ["copper", "seawater"])
def test_support_falls_where_a_word_of_the_question_is_missing(elsewhere: str) -> None:
    said = "Imidazole reaches an inhibition efficiency of 91 % on carbon steel in district heating water."
    near = support("What inhibition efficiency does imidazole reach on carbon steel?", said)
    miss = support(f"What inhibition efficiency does imidazole reach on {elsewhere}?", said)
    assert miss.probability < near.probability
    assert elsewhere in miss.missing
    assert near.missing == ()


def test_nothing_found_supports_nothing() -> None:
    assert support("What is the hardness of steel?").probability == 0.0


@pytest.mark.parametrize(
    ("question", "offered"),
    [("What limits the rate of LiFePO4?", False), ("What is the density of LiFePO4?", True), ("LiFePO4?", True)],
)
def test_a_record_is_quoted_only_where_more_than_its_material_is_asked_for(question: str, *, offered: bool) -> None:
    text = "The computed density of LiFePO4 is 3.68 g/cm³."
    candidate = ranked(text, kind="material").candidate
    vectors = np.ones((1, 4), dtype=np.float32) / 2
    found = extractive.rank(understand(question), [candidate], query=vectors[0], embed=lambda _: vectors)
    assert bool(found) is offered

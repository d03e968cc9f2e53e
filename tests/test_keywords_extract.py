"""Keywords without a model: candidates, ranking, what a paper prints itself, Japanese, and the evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.keywords.candidates import collect, fold, tokenise
from assistant.keywords.evaluate import evaluate_keywords, is_development, read_examples, score
from assistant.keywords.extract import extract
from assistant.keywords.japanese import extract_japanese, in_english
from assistant.keywords.keys import key
from assistant.keywords.texts import from_plain, holds, printed_in, split_list, without_printed
from ingest.embed import make_embedder
from ingest.errors import BadInput
from ui.cli import main

TITLE = "Grain boundary diffusion of lithium in garnet solid electrolytes"
ABSTRACT = """Garnet solid electrolytes such as Li7La3Zr2O12 are promising for solid-state batteries. We measure grain
boundary diffusion by impedance spectroscopy (EIS) between 25 °C and 80 °C and find an activation energy of 0.31 eV.
Grain boundary diffusion limits the ionic conductivity of the pellets. J. Smith et al. found the same by tracer
experiments. Lithium dendrites grow along the grain boundaries."""
JAPANESE = """固体電解質であるガーネット型酸化物のイオン伝導率を測定した。本研究では、結晶粒界におけるリチウム
イオンの拡散を交流インピーダンス法で評価し、全固体電池への応用を検討した。イオン伝導率は焼結温度とともに増加した。"""


@pytest.fixture(scope="module")
def embedder():
    return make_embedder("all-MiniLM-L6-v2", threads=1)


def test_spellings_of_one_keyword_have_one_key() -> None:
    assert key("Li-ion batteries") == key("li ion battery") == ("li", "ion", "batteri")
    assert key("band gap") != key("band gap energy")


def test_a_candidate_counts_every_spelling_and_knows_where_it_stood() -> None:
    found = collect("Solid electrolytes", "A solid electrolyte conducts. Solid-electrolyte films.", "")
    one = found[key("solid electrolyte")]
    assert one.counts == [1, 2, 0]
    assert one.first == 0


def test_no_candidate_crosses_punctuation_or_stop_words() -> None:
    found = collect("", "diffusion of lithium, garnet", "")
    assert key("lithium garnet") not in found
    assert key("diffusion lithium") not in found


def test_dashes_are_folded_but_formulas_stay_whole() -> None:
    assert tokenise(fold("Li‐ion and Li7La3Zr2O12/C")) == ["Li-ion", "and", "Li7La3Zr2O12/C"]


def test_the_subject_comes_first_and_names_units_and_talk_do_not_come(embedder) -> None:
    found = extract(from_plain(TITLE, ABSTRACT), embedder=embedder)
    assert len(found) == 10
    assert any(key(one) == key("grain boundary diffusion") for one in found[:4])
    assert not {"smith", "et al", "ev", "find", "same"} & {one.casefold() for one in found}
    assert all(holds(f"{TITLE} {ABSTRACT}", one) for one in found)


def test_authors_are_no_keywords(embedder) -> None:
    text = from_plain("The Smith model of creep", "The Smith model. Smith shows creep in alloys. Creep is slow.")
    assert any("Smith" in one for one in extract(text, embedder=embedder))
    assert not any("Smith" in one for one in extract(text, embedder=embedder, avoid=["John Smith"]))


def test_no_text_gives_no_keywords(embedder) -> None:
    assert extract(from_plain("", "12.5 (3) of the, and"), embedder=embedder) == []


def test_what_a_paper_prints_is_read_and_taken_out_of_its_body() -> None:
    assert printed_in("Keywords: biomass; porous; carbon; Li-ion battery; anode") == (
        *("biomass", "porous", "carbon", "Li-ion battery", "anode"),
    )
    assert printed_in("キーワード: 全固体電池、イオン伝導率") == ("全固体電池", "イオン伝導率")
    assert printed_in("The keywords of this section are chosen by hand.") == ()
    assert split_list("LiFePO4/graphene composite, micro/nanoscale, one step") == (
        *("LiFePO4/graphene composite", "micro/nanoscale", "one step"),
    )
    body = "Text before. Keywords: bearing steels; rolling contact 1. Introduction More text."
    assert "bearing" not in without_printed(body)
    assert "More text" in without_printed(body)
    assert from_plain("T", "A", body).printed == ("bearing steels", "rolling contact")


def test_japanese_keywords_are_noun_phrases_of_the_subject() -> None:
    text = from_plain("ガーネット型固体電解質の粒界拡散", JAPANESE)
    assert text.language == "ja"
    found = extract_japanese(text, most=8)
    assert "イオン伝導率" in found
    assert any("固体電解質" in one for one in found)
    assert not {"本研究", "応用", "こと"} & set(found)


def test_english_for_japanese_keywords_only_where_the_glossary_covers_them() -> None:
    assert in_english("固体電解質") == "solid electrolyte"
    assert in_english("漢方処方") == ""


def test_scores_by_hand() -> None:
    gold = frozenset({key("solid electrolyte"), key("garnet"), key("dendrite"), key("sintering")})
    found = score(["Solid electrolytes", "garnets", "garnet", "battery"], gold)
    assert found["precision@5"] == pytest.approx(2 / 5)
    assert found["recall@5"] == pytest.approx(2 / 4)
    assert found["f1@5"] == pytest.approx(2 * 0.4 * 0.5 / 0.9)
    assert score([], gold)["f1@10"] == 0.0


def _write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_an_evaluation_joins_full_texts_and_hides_the_printed_keywords(tmp_path: Path) -> None:
    file = _write(tmp_path / "k.jsonl", {"id": "p1", "text": "T\nA", "keyphrases": ["x y", {"text": "z"}]})
    bodies = _write(tmp_path / "b.jsonl", {"_id": "p1", "body": "Keywords: x y; z\nThe body speaks."})
    [example] = read_examples(file, fulltext=bodies)
    assert example.text.title == "T"
    assert "x y" not in example.text.body
    assert "body speaks" in example.text.body
    found = evaluate_keywords(file, method=lambda text, most: ["z", "x y"], name="fixed", fulltext=bodies)
    assert found.metrics["recall@10"].value == 1.0
    assert "fulltexts=1" in found.signature


def test_an_unusable_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="line 1"):
        read_examples(_write(tmp_path / "k.jsonl", {"id": "p1", "text": "T"}))
    with pytest.raises(BadInput, match="cannot read"):
        read_examples(tmp_path / "none.jsonl")


def test_eval_keywords_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = ["grain boundary diffusion", "garnet"]
    file = _write(tmp_path / "k.jsonl", {"id": "p1", "text": f"{TITLE}\n{ABSTRACT}", "keyphrases": gold})
    assert main(["eval", "keywords", str(file), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["n"] == 1
    assert printed["metrics"]["recall@10"]["value"] >= 0.5
    assert set(printed["metrics"]) >= {"f1@5", "f1@10", "precision@10", "recall@10"}
    assert main(["eval", "keywords", str(file), "--part", "development" if not is_development("p1") else "report"]) == 1


@pytest.mark.shared
def test_better_than_chance_on_papers_not_developed_on(shared_data: Path, embedder) -> None:
    found = evaluate_keywords(
        shared_data / "keyphrases" / "author_keywords.jsonl",
        method=lambda text, most: extract(text, most=most, embedder=embedder),
        name="extractive",
        part="report",
        limit=25,
    )
    assert found.metrics["f1@10"].value > 0.15

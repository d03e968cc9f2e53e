"""Checks `questions.jsonl`: every gold answer and locator stands on the page it names, and every paper is asked about.

It reads the pages with pypdfium2 directly and shares no code with matlit's own readers or citation check.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pypdfium2

QUESTIONS = Path(__file__).with_name("questions.jsonl")
PAPERS = Path(__file__).parents[2] / "shared" / "data" / "papers"
MAX_EVIDENCE_WORDS = 12
MIN_ANSWER_CHARACTERS = 3
LANGUAGES = ("en", "ja")
FIELDS = {"id", "question", "language", "answer", "alternatives", "doc", "page", "kind", "evidence", "answerable"}
OPTIONAL_FIELDS = {"pages", "docs", "why", "absent"}

Question = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Print the make-up of the question set and every failure; return 1 if there is one, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("papers", nargs="?", type=Path, default=PAPERS, help="folder of the 39 PDFs")
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    options = parser.parse_args(arguments)
    if not options.papers.is_dir():
        parser.error(f"no folder of papers at {options.papers}; name it: python benchmarks/check_questions.py FOLDER")
    questions = load(options.questions)
    failures = list(check(questions, papers=options.papers))
    print("\n".join(summary(questions)))
    for failure in failures:
        print("FAIL", failure, file=sys.stderr)
    print(f"failures: {len(failures)}")
    return 1 if failures else 0


def load(path: Path) -> list[Question]:
    """Return the questions of a JSON-lines file in file order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def check(questions: list[Question], *, papers: Path) -> Iterator[str]:
    """Yield one line for each thing that is wrong with `questions`, judged against the PDFs in `papers`."""
    for name in ("id", "question"):
        yield from (f"{name} twice: {value}" for value, n in Counter(q[name] for q in questions).items() if n > 1)
    for question in questions:
        judge = _check_answerable if question["answerable"] else _check_unanswerable
        problems = judge(question, papers)
        for problem in (*_check_fields(question), *problems):
            yield f"{question['id']}: {problem}"
    asked = {question["doc"] for question in questions}
    yield from (f"no question on {path.name}" for path in sorted(papers.glob("*.pdf")) if path.name not in asked)


def summary(questions: list[Question]) -> Iterator[str]:
    """Yield the lines that describe the set: how many, of which kind, language and paper."""
    answerable = [question for question in questions if question["answerable"]]
    yield f"questions: {len(questions)} ({len(answerable)} answerable, {len(questions) - len(answerable)} not)"
    for title, some in (("answerable", answerable), ("all", questions)):
        yield f"languages, {title}: {_counts(question['language'] for question in some)}"
    yield f"kinds: {_counts(question['kind'] for question in questions)}"
    yield f"papers: {len({question['doc'] for question in answerable})}"
    yield f"per paper: {_counts(question['doc'] for question in answerable)}"


def _counts(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {n}" for value, n in Counter(values).most_common())


def stands_in(text: str, needle: str) -> bool:
    """Tell whether `needle` is printed in `text`, however spaced, hyphenated at a line end, or typeset.

    A number or word counts only as a whole: 2.5 is not found in 12.5, 2.57 or 2.5.1.
    """
    pattern = _pattern(needle)
    return any(pattern.search(variant) for variant in _variants(text))


def _check_fields(question: Question) -> Iterator[str]:
    missing, unknown = FIELDS - set(question), set(question) - FIELDS - OPTIONAL_FIELDS
    if missing or unknown:
        yield f"fields missing {sorted(missing)}, unknown {sorted(unknown)}"
    if question["language"] not in LANGUAGES:
        yield f"language {question['language']!r}"
    if (question["language"] == "ja") != bool(re.search("[\u3040-\u30ff\u4e00-\u9fff]", question["question"])):
        yield f"language {question['language']} does not fit the question's characters"


def _check_unanswerable(question: Question, papers: Path) -> Iterator[str]:
    if any(question[name] is not None for name in ("answer", "doc", "page", "evidence")):
        yield "unanswerable, yet has an answer, doc, page or evidence"
    if not question.get("why"):
        yield "unanswerable without a 'why'"
    if not question.get("absent"):
        yield "unanswerable without terms that are 'absent'"
        return
    for path in sorted(papers.glob("*.pdf")):
        for number in range(1, page_count(path) + 1):
            if all(stands_in(page_text(path, number), term) for term in question["absent"]):
                yield f"terms {question['absent']} stand together on page {number} of {path.name}"


def _check_answerable(question: Question, papers: Path) -> Iterator[str]:
    if len(question["evidence"].split()) > MAX_EVIDENCE_WORDS:
        yield f"evidence has more than {MAX_EVIDENCE_WORDS} words"
    pages = question.get("pages", [question["page"]])
    if question["page"] not in pages or question["doc"] not in question.get("docs", [question["doc"]]):
        yield "'pages' or 'docs' leaves out the page or paper of the evidence"
    for spelling in (question["answer"], *question["alternatives"]):
        if len(spelling) < MIN_ANSWER_CHARACTERS and not re.search("[A-Za-z][0-9]", spelling):
            yield f"{spelling!r} is too short to be told from other numbers and words"
    path = papers / question["doc"]
    if not path.exists():
        yield f"no such paper {path.name}"
        return
    if not stands_in(page_text(path, question["page"]), question["evidence"]):
        yield f"evidence not on page {question['page']} of {path.name}: {question['evidence']!r}"
    if not stands_in(page_text(path, question["page"]), question["answer"]):
        yield f"answer as given not on page {question['page']} of {path.name}: {question['answer']!r}"
    spellings = [question["answer"], *question["alternatives"]]
    for number in pages:
        if not any(stands_in(page_text(path, number), spelling) for spelling in spellings):
            yield f"answer not on page {number} of {path.name}: {question['answer']!r}"
    yield from _check_other_docs(question, papers)


def _check_other_docs(question: Question, papers: Path) -> Iterator[str]:
    for name in question.get("docs", []):
        spellings = [question["answer"], *question["alternatives"]]
        texts = (page_text(papers / name, number + 1) for number in range(page_count(papers / name)))
        if not any(stands_in(text, spelling) for text in texts for spelling in spellings):
            yield f"answer nowhere in {name}: {question['answer']!r}"


@functools.cache
def page_text(path: Path, number: int) -> str:
    """Return pypdfium2's raw text of one page; `number` counts from 1, and a page past the end is empty."""
    document = _open(path)
    return str(document[number - 1].get_textpage().get_text_range()) if 0 < number <= len(document) else ""


def page_count(path: Path) -> int:
    """Return the number of pages of a PDF."""
    return len(_open(path))


@functools.cache
def _open(path: Path) -> pypdfium2.PdfDocument:
    return pypdfium2.PdfDocument(path)


@functools.cache
def _variants(text: str) -> tuple[str, str]:
    # A hyphen at a line end may be the typesetter's (dropped) or the word's own (kept): a match in either will do.
    # pypdfium2 gives U+FFFE or U+0002 for a hyphen it takes to be the typesetter's.
    marked = re.sub("[\ufffe\x02\u00ad]", "-\n", text)
    return _plain(re.sub(r"-\s*[\r\n]+\s*", "", marked)), _plain(re.sub(r"-\s*[\r\n]+\s*", "-", marked))


def _plain(text: str) -> str:
    # NFKC would turn a lone ring, tilde or acute into space plus mark; they are kept, for no needle holds them.
    text = unicodedata.normalize("NFKC", text)
    text = re.sub("[\u2010-\u2015\u2212]", "-", text)
    text = re.sub("[\u2018\u2019]", "'", text)
    text = re.sub("[\u2219\u22c5\u00b7]", "·", text)
    text = text.replace("\u25e6", "°").replace("\u00b5", "μ").replace("\u2206", "Δ")
    return re.sub(r"\s+", " ", text).casefold()


@functools.cache
def _pattern(needle: str) -> re.Pattern[str]:
    characters = _plain(needle).replace(" ", "")
    before = _edge(characters[0], digit=r"(?<![\d.])", letter=r"(?<![a-z])")
    after = _edge(characters[-1], digit=r"(?!\d|\.\d)", letter=r"(?![a-z])")
    return re.compile(before + " ?".join(re.escape(character) for character in characters) + after)


def _edge(character: str, *, digit: str, letter: str) -> str:
    if character.isdigit():
        return digit
    return letter if character.isascii() and character.isalpha() else ""


if __name__ == "__main__":
    sys.exit(main())

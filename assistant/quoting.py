"""Answers that quote: the best sentences word for word, with paper and page, or a refusal that says what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from assistant import extractive, prompts
from assistant.answer import Answer
from assistant.citations import Citation, Claim, Status, locate
from assistant.evidence import Findings, papers_of, translates
from assistant.question import Question
from ingest.library import Library
from ingest.records import Paper

MODEL = "extractive"
ANSWERS_ABOVE = 0.5  # probability that the best sentences answer the question


def quote(library: Library, found: Findings, *, quotes: int, embedder: str) -> Answer:
    """Return the best sentences of `found` as an answer, or a refusal where they are too weak."""
    if found.support.probability < ANSWERS_ABOVE:
        return refuse(found, embedder=embedder)
    chosen = by_paper(extractive.choose(found.ranked, most=quotes))
    papers = papers_of(library, [one.candidate.hit for one in chosen])
    citations = tuple(cite(n, one.candidate, papers) for n, one in enumerate(chosen, 1))
    notes = _notes(found.question, embedder)
    language = found.question.language
    text = [prompts.QUOTES[language], *quoted(citations, language), "", *notes, prompts.CONNECT_MODEL[language]]
    return Answer(
        text="\n".join(text),
        citations=citations,
        claims=tuple(Claim(citation.quote, citation.status, (citation.n,)) for citation in citations),
        evidence=found.hits,
        model=MODEL,
        trace=found.trace(),
        papers=tuple(papers.values()),
    )


def refuse(found: Findings, *, embedder: str, model: str = MODEL) -> Answer:
    """Return the refusal: what was looked for, and what is missing."""
    question, support = found.question, found.support
    language = question.language
    lines = [prompts.REFUSAL[language]]
    if not found.hits:
        lines.append(prompts.EMPTY_LIBRARY[language])
    looked_for = ", ".join(term.surface for term in question.terms)
    if looked_for:
        lines.append(prompts.LOOKED_FOR[language].format(terms=looked_for))
    elsewhere = [surface for surface in support.missing if surface not in support.unknown]
    for sentence, terms in ((prompts.NOT_IN_LIBRARY, support.unknown), (prompts.MISSING, elsewhere)):
        if terms:
            lines.append(sentence[language].format(terms=", ".join(terms)))
    return Answer(
        text="\n".join([*lines, *_notes(question, embedder)]),
        evidence=found.hits,
        abstained=True,
        missing=support.missing,
        model=model,
        trace=found.trace(),
    )


def by_paper(chosen: Sequence[extractive.Ranked]) -> list[extractive.Ranked]:
    """Return the quotes grouped by paper: papers in the order of their best quote, quotes within by score."""
    first: dict[str, int] = {}
    for place, one in enumerate(chosen):
        first.setdefault(one.candidate.hit.chunk.source, place)
    return sorted(chosen, key=lambda one: (first[one.candidate.hit.chunk.source], -one.score))


def cite(n: int, candidate: extractive.Candidate, papers: Mapping[str, Paper]) -> Citation:
    """Return a sentence as citation `n`, found again on its page."""
    hit, page = candidate.hit, candidate.page
    located = locate(candidate.text, page, near=candidate.start)
    status: Status = "verified" if located else "unsupported"
    paper = papers.get(hit.chunk.source)
    return Citation(
        n=n,
        paper=hit.chunk.source,
        title=paper.title if paper else hit.title,
        doi=paper.metadata.doi if paper else "",
        page=page.number,
        quote=candidate.text,
        status=status,
        boxes=page.boxes(located.start, located.end) if located else (),
        section=candidate.section,
        context=candidate.context,
    )


def quoted(citations: Sequence[Citation], language: prompts.Language) -> list[str]:
    """Return the lines that show quotes, under the titles of their papers."""
    lines = []
    for title, of_paper in groupby(citations, key=lambda citation: citation.title):
        lines += ["", title]
        for citation in of_paper:
            lines.append(f"[{citation.n}] “{shown(citation.quote)}” ({place(citation, language)})")
            if citation.context:
                lines.append("    " + prompts.BEFORE[language].format(context=f"“{shown(citation.context)}”"))
    return lines


def place(citation: Citation, language: prompts.Language) -> str:
    """Return where a quote stands: page, section, and its status where it was not found there."""
    page = prompts.PAGE[language].format(page=citation.page) if citation.page else ""
    status = "" if citation.status == "verified" else citation.status
    return ", ".join(filter(None, (page, citation.section, status))) or citation.paper


def shown(text: str) -> str:
    """Return a quote for the answer's text: the rows of a table below one another, other line breaks as spaces."""
    if extractive.CELL in text:
        return "\n     ".join(line.strip() for line in text.splitlines())
    return " ".join(text.split())


def _notes(question: Question, embedder: str) -> list[str]:
    if not translates(question, embedder):
        return []
    return [prompts.ENGLISH_EMBEDDER[question.language].format(embedder=embedder)]

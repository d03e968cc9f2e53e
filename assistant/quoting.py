"""Answers that quote: the best sentences word for word, with paper and page, or a refusal that says what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from assistant import extractive, prompts
from assistant.answer import Answer
from assistant.citations import Citation, Claim, Status, locate
from assistant.evidence import Findings, papers_of, translates
from assistant.planner import Lack
from assistant.question import Question
from assistant.steps import Ran
from ingest.library import Library
from ingest.records import Paper

MODEL = "extractive"
MAX_QUOTES = 5
ANSWERS_ABOVE = 0.5  # probability that the best sentences answer the question


def quote(
    library: Library,
    found: Findings,
    *,
    quotes: int,
    embedder: str,
    ran: Sequence[Ran] = (),
    model: str = MODEL,
    instead: str = "",
) -> Answer:
    """Return what the tools said and the best sentences of `found`, or a refusal where there is neither.

    Where this stands in for the answer of another model, `model` is its name and `instead` says why.
    """
    said = said_by(ran)
    weak = found.support.probability < ANSWERS_ABOVE
    if weak and not said:
        return refuse(found, embedder=embedder, ran=ran, model=model)
    language = found.question.language
    if weak:
        more = (*computed_note(ran, language), prompts.NOTHING_IN_PAPERS[language])
        told = from_tools(ran, language=language, more=more)
        return replace(told, evidence=found.hits, trace=found.trace())
    chosen = by_paper(extractive.choose(found.ranked, most=quotes))
    papers = papers_of(library, [one.candidate.hit for one in chosen])
    citations = tuple(cite(n, one.candidate, papers) for n, one in enumerate(chosen, 1))
    notes = _notes(found.question, embedder)
    alone = model == MODEL
    heading = instead or prompts.QUOTES[language]
    lacking = [] if said else without(ran, language)  # tool_lines tell it else
    footer = [*lacking, *notes, *([prompts.CONNECT_MODEL[language]] if alone else [])]
    text = [heading, *quoted(citations, language), *([""] if footer else []), *footer]
    if said:
        text = [*tool_lines(ran, language), *computed_note(ran, language), "", *text]
    return Answer(
        text="\n".join(text),
        citations=citations,
        claims=(*said, *(Claim(citation.quote, citation.status, (citation.n,)) for citation in citations)),
        evidence=found.hits,
        tool_calls=tuple(one.result.to_json() for one in ran),
        model=model,
        trace=found.trace(),
        papers=tuple(papers.values()),
    )


def from_tools(ran: Sequence[Ran], *, language: prompts.Language, more: Sequence[str] = ()) -> Answer:
    """Return an answer that rests on tools alone, a refusal where they gave nothing; `more` are lines to put below."""
    calls = tuple(one.result.to_json() for one in ran)
    if not said_by(ran):
        lines = [prompts.REFUSAL[language], *without(ran, language)]
        missing = tuple(str(value) for one in ran for value in one.step.arguments.values() if isinstance(value, str))
        return Answer("\n".join(lines), tool_calls=calls, abstained=True, missing=missing, model=MODEL)
    return Answer("\n".join([*tool_lines(ran, language), *more]), claims=said_by(ran), tool_calls=calls, model=MODEL)


def from_quotes(text: str, citations: tuple[Citation, ...], papers: tuple[Paper, ...]) -> Answer:
    """Return an answer whose text shows these quotes and claims nothing else; one that abstains where there is none."""
    claims = tuple(Claim(citation.quote, citation.status, (citation.n,)) for citation in citations)
    return Answer(text, citations, claims, abstained=not citations, model=MODEL, papers=papers)


def said_by(ran: Sequence[Ran]) -> tuple[Claim, ...]:
    """Return what the tools said as claims."""
    return tuple(Claim(sentence, "tool") for one in ran for sentence in one.said)


def tool_lines(ran: Sequence[Ran], language: prompts.Language) -> list[str]:
    """Return the lines that show what the tools said, each with the tool's name, and which of them failed."""
    lines = [f"- {sentence} ({one.step.tool})" for one in ran for sentence in one.said]
    return [prompts.COMPUTED[language], *lines, *without(ran, language)]


def without(ran: Sequence[Ran], language: prompts.Language) -> list[str]:
    """Return the lines that say what the tools could not tell, and which of them failed."""
    failed = [_failed(one, language) for one in failures(ran) if not one.unsaid]  # or it is said already
    return [*(sentence for one in ran for sentence in one.unsaid), *failed]


def failures(ran: Sequence[Ran]) -> list[Ran]:
    """Return the steps that came back with an error."""
    return [one for one in ran if one.result.error]


def computed_note(ran: Sequence[Ran], language: prompts.Language) -> list[str]:
    """Return the warning that computed gaps beside quoted ones are not the same quantity, where there are such."""
    gaps = any(prop.field == "band_gap_ev" for one in ran if one.said for prop in one.step.properties)
    return [prompts.COMPUTED_NOT_MEASURED[language]] if gaps else []


def ask_back(lacks: Lack, language: prompts.Language, *, model: str) -> Answer:
    """Return the question that has to be answered first."""
    return Answer(text=prompts.ASK_BACK[language][lacks], abstained=True, missing=(lacks,), model=model)


def decline(language: prompts.Language, *, model: str) -> Answer:
    """Return the answer to a request that is not served."""
    return Answer(text=prompts.DECLINED[language], abstained=True, model=model)


def refuse(found: Findings, *, embedder: str, model: str = MODEL, ran: Sequence[Ran] = ()) -> Answer:
    """Return the refusal: what was looked for, what is missing, and which tools failed."""
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
    lines += without(ran, language)
    return Answer(
        text="\n".join([*lines, *_notes(question, embedder)]),
        evidence=found.hits,
        tool_calls=tuple(one.result.to_json() for one in ran),
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


def _failed(one: Ran, language: prompts.Language) -> str:
    hint = f" → {one.result.hint}" if one.result.hint else ""
    return prompts.TOOL_FAILED[language].format(tool=one.step.tool, error=one.result.error) + hint


def _notes(question: Question, embedder: str) -> list[str]:
    if not translates(question, embedder):
        return []
    return [prompts.ENGLISH_EMBEDDER[question.language].format(embedder=embedder)]

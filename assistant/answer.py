"""The assistant: a question in, an answer with checked quotes out, or a refusal that says what is missing.

This file owns the `Answer`, its text and its exports; `assistant.extractive` ranks sentences, `assistant.citations`
finds quotes again. The answerer here, `extractive`, needs no model: it quotes and never pretends to have written.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from assistant import extractive, journal, prompts
from assistant.citations import Citation, Claim, Status, locate
from assistant.question import Question, Term, tokens_of, understand, weigh
from assistant.retrieve import Mode, search
from ingest import lexical
from ingest.embed import Embedder, make_embedder
from ingest.errors import BadInput, ModelError
from ingest.library import Library
from ingest.records import Filter, Hit, Paper

MAX_QUESTION = 10_000  # characters
MAX_QUOTES = 5
PASSAGES = 20  # retrieved for one question
ANSWERS_ABOVE = 0.5  # probability that the best sentences answer the question


@dataclass(frozen=True, slots=True)
class Answer:
    """What `Assistant.ask` returns.

    `text` is ready to print. `claims` are its sentences with their status, `evidence` the passages they may rest on.
    Where `abstained`, there are no claims and `missing` lists what no passage mentions. `usage` counts tokens and cost
    of a model, `trace` says what was done in which order. `papers` are the cited papers, for `bibtex`.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    claims: tuple[Claim, ...] = ()
    evidence: tuple[Hit, ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    usage: Mapping[str, float] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0})
    abstained: bool = False
    missing: tuple[str, ...] = ()
    model: str = "extractive"
    seconds: float = 0.0
    trace: tuple[Mapping[str, Any], ...] = ()
    papers: tuple[Paper, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object that `matlit ask --json` prints."""
        return {
            "text": self.text,
            "citations": [citation.to_json() for citation in self.citations],
            "claims": [claim.to_json() for claim in self.claims],
            "tool_calls": [dict(call) for call in self.tool_calls],
            "abstained": self.abstained,
            "missing": list(self.missing),
            "usage": dict(self.usage),
            "model": self.model,
            "seconds": round(self.seconds, 3),
        }

    def bibtex(self) -> str:
        """Return one BibTeX entry per cited paper, in the order of their first citation."""
        keys: set[str] = set()
        return "\n\n".join(_bibtex(paper, keys) for paper in self.papers)


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found for a question before anything is answered: passages, and their sentences, best first."""

    question: Question
    hits: tuple[Hit, ...]
    ranked: tuple[extractive.Ranked, ...]
    support: extractive.Support


class Assistant:
    """Answers questions from one library. Opens cheaply; the embedder loads with the first question.

    `library` is a folder or an open `Library`. `k` passages are retrieved per question. With `keep_journal` every
    answer is written to the library's journal.
    """

    def __init__(
        self,
        library: Library | Path | str,
        *,
        model: str = "extractive",
        k: int = PASSAGES,
        offline: bool = True,
        threads: int = 0,
        embedder: Embedder | None = None,
        keep_journal: bool = True,
    ) -> None:
        if model != "extractive":
            raise ModelError(
                f"no model {model!r}", hint="This version answers with verbatim quotes: --model extractive"
            )
        self.library = library if isinstance(library, Library) else Library.open(Path(library))
        self.model = model
        self._k = k
        self._offline = offline
        self._threads = threads
        self._embedder = embedder
        self._keep_journal = keep_journal

    @cached_property
    def embedder(self) -> Embedder:
        """The library's own embedder."""
        if self._embedder is not None:
            return self._embedder
        return make_embedder(self.library.info.embedder.name, threads=self._threads, offline=self._offline)

    def search(self, query: str, *, k: int = 10, where: Filter | None = None, mode: Mode = "hybrid") -> list[Hit]:
        """Return the `k` best passages for `query`."""
        return search(self.library, self.embedder, query, k=k, where=where or Filter(), mode=mode)

    def ask(
        self, question: str, *, k: int | None = None, where: Filter | None = None, quotes: int = MAX_QUOTES
    ) -> Answer:
        """Answer `question` from `k` passages that `where` allows, with up to `quotes` quotes, or abstain.

        Raises:
            BadInput: the question is empty or longer than 10,000 characters, or `k` or `quotes` is below 1.
        """
        began = time.perf_counter()
        question = _checked(question)
        if quotes < 1:
            raise BadInput(f"an answer of {quotes} quotes is none", hint="Ask for one or more")
        answer = self._answer(self.find(question, k=k, where=where), quotes=quotes)
        answer = replace(answer, seconds=time.perf_counter() - began)
        return self._recorded(question, answer)

    async def aask(self, question: str, **options: Any) -> Answer:
        """Do what `ask` does, in a thread of its own."""
        return await asyncio.to_thread(self.ask, question, **options)

    def close(self) -> None:
        """Close the library."""
        self.library.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def find(self, question: str, *, k: int | None = None, where: Filter | None = None) -> Findings:
        """Return what an answer to `question` rests on: passages, their sentences ranked, and whether they suffice."""
        asked = self._understood(_checked(question))
        hits = self._retrieve(asked, k=self._k if k is None else k, where=where or Filter())
        pool = extractive.candidates(hits, self.library.page)
        query = self.embedder.embed_query(self._for_embedder(asked))
        ranked = extractive.rank(asked, pool, query=query, embed=self.embedder.embed_documents)
        support = extractive.support(asked, ranked, in_paper=self._in_paper)
        return Findings(asked, tuple(hits), tuple(ranked), support)

    def _answer(self, found: Findings, *, quotes: int) -> Answer:
        trace = self._trace(found)
        if found.support.probability < ANSWERS_ABOVE:
            return self._refusal(found, trace)
        return self._quoted(found, extractive.choose(found.ranked, most=quotes), trace)

    def _understood(self, text: str) -> Question:
        question = understand(text)
        counts, total = _token_counts(self.library, tokens_of(question))
        return weigh(question, counts, total)

    def _retrieve(self, question: Question, *, k: int, where: Filter) -> list[Hit]:
        """Search; a Japanese question also by its own words, in case the library has Japanese papers."""
        if not self._translates(question):
            return search(self.library, self.embedder, question.text, k=k, where=where)
        english = question.expanded[:MAX_QUESTION]
        hits = search(self.library, self.embedder, english, k=k, where=where) if english.strip() else []
        own = search(self.library, self.embedder, question.text, k=k, where=where, mode="lexical")
        return list({hit.chunk.id: hit for hit in (*hits, *own)}.values())

    def _translates(self, question: Question) -> bool:
        return question.language == "ja" and reads_english_only(self.embedder.name)

    def _for_embedder(self, question: Question) -> str:
        return question.english or question.text if self._translates(question) else question.text

    def _refusal(self, found: Findings, trace: tuple[Mapping[str, Any], ...]) -> Answer:
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
            text="\n".join([*lines, *self._notes(question)]),
            evidence=found.hits,
            abstained=True,
            missing=support.missing,
            model=self.model,
            trace=trace,
        )

    def _quoted(
        self, found: Findings, chosen: Sequence[extractive.Ranked], trace: tuple[Mapping[str, Any], ...]
    ) -> Answer:
        papers = self._papers([one.candidate.hit for one in chosen])
        ordered = _by_paper(chosen)
        citations = tuple(_cite(n, one.candidate, papers) for n, one in enumerate(ordered, 1))
        return Answer(
            text=self._text(found.question, citations),
            citations=citations,
            claims=tuple(Claim(citation.quote, citation.status, (citation.n,)) for citation in citations),
            evidence=found.hits,
            model=self.model,
            trace=trace,
            papers=tuple(papers.values()),
        )

    def _in_paper(self, term: Term, sources: frozenset[str]) -> bool:
        found = self.library.lexical(term.surface, k=10, where=Filter(sources=sources))
        chunks = self.library.chunks([chunk for chunk, _ in found])
        return any(term.covered(frozenset(lexical.tokens(chunk.embedded_text))) == 1.0 for chunk in chunks)

    def _papers(self, hits: Sequence[Hit]) -> dict[str, Paper]:
        sources = dict.fromkeys(hit.chunk.source for hit in hits if hit.chunk.kind != "material")
        return {source: self.library.paper(source) for source in sources}

    def _text(self, question: Question, citations: Sequence[Citation]) -> str:
        language = question.language
        lines = [prompts.QUOTES[language]]
        for title, quoted in groupby(citations, key=lambda citation: citation.title):
            lines += ["", title]
            for citation in quoted:
                lines.append(f"[{citation.n}] “{_shown(citation.quote)}” ({_place(citation, language)})")
                if citation.context:
                    lines.append("    " + prompts.BEFORE[language].format(context=f"“{_shown(citation.context)}”"))
        return "\n".join([*lines, "", *self._notes(question), prompts.CONNECT_MODEL[language]])

    def _notes(self, question: Question) -> list[str]:
        if not self._translates(question):
            return []
        return [prompts.ENGLISH_EMBEDDER[question.language].format(embedder=self.embedder.name)]

    def _trace(self, found: Findings) -> tuple[Mapping[str, Any], ...]:
        question = found.question
        terms = [{"term": term.surface, "passages": term.frequency} for term in question.terms]
        probability = round(found.support.probability, 3)
        return (
            {"step": "question", "kind": question.kind, "language": question.language, "terms": terms},
            {"step": "search", "passages": len(found.hits), "query": self._for_embedder(question)},
            {"step": "rank", "sentences": len(found.ranked), "support": probability},
        )

    def _recorded(self, question: str, answer: Answer) -> Answer:
        if not self._keep_journal:
            return answer
        reason = journal.record(self.library.info.path, question, answer.to_json())
        return replace(answer, trace=(*answer.trace, {"step": "journal", "error": reason})) if reason else answer


def _token_counts(library: Library, tokens: Sequence[str]) -> tuple[dict[str, int], int]:
    """Return how many passages have each token of the full-text index, and how many passages there are."""
    sql = "SELECT chunks FROM terms WHERE term = ? AND chunks > 0"  # the empty term stands for every passage
    with library.reading() as connection:
        rows = {token: connection.execute(sql, (token,)).fetchone() for token in ("", *tokens)}
    counts = {token: int(row[0]) for token, row in rows.items() if row}
    return counts, counts.pop("", 1)


def reads_english_only(embedder: str) -> bool:
    """Whether an embedder knows English only, so that a Japanese question has to be put to it in English words."""
    return embedder.startswith(("all-MiniLM", "sentence-transformers/all-", "hashing"))


def _checked(question: str) -> str:
    # Half a surrogate pair, as broken terminals send it, is no text for a tokeniser.
    text = question.encode("utf-8", "ignore").decode().strip()
    if not text:
        raise BadInput("the question is empty", hint='Put it in quotation marks: matlit ask "YOUR QUESTION"')
    if len(text) > MAX_QUESTION:
        raise BadInput(
            f"the question has {len(text):,} characters, more than {MAX_QUESTION:,}",
            hint="Ask with a sentence or two; to work on a whole text, add it to the library: matlit ingest FILE",
        )
    return text


def _by_paper(chosen: Sequence[extractive.Ranked]) -> list[extractive.Ranked]:
    """Return the quotes grouped by paper: papers in the order of their best quote, quotes within by score."""
    first = {
        source: place for place, source in reversed(list(enumerate(one.candidate.hit.chunk.source for one in chosen)))
    }
    return sorted(chosen, key=lambda one: (first[one.candidate.hit.chunk.source], -one.score))


def _cite(n: int, candidate: extractive.Candidate, papers: Mapping[str, Paper]) -> Citation:
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


def _place(citation: Citation, language: prompts.Language) -> str:
    page = prompts.PAGE[language].format(page=citation.page) if citation.page else ""
    status = "" if citation.status == "verified" else citation.status
    return ", ".join(filter(None, (page, citation.section, status))) or citation.paper


def _shown(text: str) -> str:
    """Return a quote for the answer's text: the rows of a table below one another, other line breaks as spaces."""
    if extractive.CELL in text:
        return "\n     ".join(line.strip() for line in text.splitlines())
    return " ".join(text.split())


def _bibtex(paper: Paper, keys: set[str]) -> str:
    known = paper.metadata
    fields = {
        "title": f"{{{paper.title}}}",
        "author": " and ".join(known.authors),
        "journal": known.journal,
        "year": str(known.year or ""),
        "doi": known.doi,
    }
    key = _key(paper, keys)
    kind = "article" if known.journal else "misc"
    lines = [f"  {name} = {{{_escaped(value)}}}" for name, value in fields.items() if value]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


def _key(paper: Paper, keys: set[str]) -> str:
    surname = paper.metadata.authors[0].split(",")[0].split()[-1] if paper.metadata.authors else ""
    stem = re.sub(r"\W", "", f"{surname}{paper.metadata.year or ''}") or paper.id[:8]
    key = next(
        candidate
        for candidate in (stem, *(f"{stem}{letter}" for letter in "abcdefghij"), paper.id[:16])
        if candidate not in keys
    )
    keys.add(key)
    return key


def _escaped(value: str) -> str:
    return re.sub(r"(?<!\\)([&%#_$])", r"\\\1", value)

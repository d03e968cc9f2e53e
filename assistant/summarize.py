"""A review over many papers: cited, claim-checked, in one pass where the model's context takes it, else map and reduce.

Of every paper the sentences that speak most to the query (or, without one, to the paper's own title, from its abstract
and conclusions) become numbered sources. A model writes from those alone; without a model they are the review.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from assistant import extractive, prompts, quoting
from assistant.answer import Answer
from assistant.chat import ChatModel, Message, Reply, Usage
from assistant.checking import check, says_nothing
from assistant.events import Answered, Event, Note, Started, TextDelta
from assistant.evidence import papers_of
from assistant.question import Question, understand
from assistant.sources import Sources, about_tokens
from ingest.embed import Embedder
from ingest.errors import BadInput
from ingest.library import Library
from ingest.records import Chunk, Filter, Hit, Paper

MOST_PAPERS = 200
QUOTES_PER_PAPER = 2
CANDIDATES_PER_PAPER = 40
TOKENS_PER_PAPER = 400
WRITTEN_TOKENS = 1_500
OVERHEAD_TOKENS = 800  # of instructions, in any call

_MAIN = re.compile(r"abstract|summary|conclu|highlights|要旨|概要|まとめ|結論|結言", re.IGNORECASE)
_CUES = re.compile(
    r"\b(?:we (?:show|find|found|report|present|demonstrate|propose)|in this (?:work|paper|study)|here,? we|"
    r"results? show|is (?:shown|found)|conclude)|本(?:研究|論文)|示した|明らか",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Review:
    """What is to be reviewed: the papers, and what the review is about ("" for what each paper says itself)."""

    papers: tuple[Paper, ...]
    query: str = ""
    language: prompts.Language = "en"


def summarize(
    library: Library, embedder: Embedder, review: Review, *, model: ChatModel | None = None
) -> Iterator[Event]:
    """Write a review, event by event; the last is `Answered`.

    Raises:
        BadInput: there is no paper to review, or there are more than 200.
        ModelError: the model failed.
    """
    if not 1 <= len(review.papers) <= MOST_PAPERS:
        count = len(review.papers)
        raise BadInput(
            f"{count} papers cannot be reviewed: it takes 1 to {MOST_PAPERS}", hint="Name papers, or ask with --query"
        )
    return _events(library, embedder, review, model)


def papers_about(library: Library, embedder: Embedder, query: str, *, most: int) -> tuple[Paper, ...]:
    """Return the papers whose passages answer `query` best, best first."""
    from assistant.retrieve import search

    where = Filter(kinds=frozenset({"text", "table", "caption"}))
    hits = search(library, embedder, query, k=min(10 * most, 1000), where=where)
    return tuple(library.paper(source) for source in list(dict.fromkeys(hit.chunk.source for hit in hits))[:most])


def _events(library: Library, embedder: Embedder, review: Review, model: ChatModel | None) -> Iterator[Event]:
    began = time.perf_counter()
    yield Started(review.query or prompts.REVIEW_OF[review.language], model.spec if model else quoting.MODEL, "auto")
    best: dict[str, list[extractive.Ranked]] = {}
    for place, paper in enumerate(review.papers, 1):
        best[paper.id] = _best(library, embedder, paper, review.query)
        yield Note(f"{place} of {len(review.papers)}: {paper.title}")
    if model is None:
        answer = _digest(library, review, best)
        yield TextDelta(answer.text)
    else:
        answer = yield from _written(library, review, best, model)
    yield Answered(replace(answer, seconds=time.perf_counter() - began))


def _best(library: Library, embedder: Embedder, paper: Paper, query: str) -> list[extractive.Ranked]:
    """Return the sentences of a paper that speak most to the query, or say what the paper is about."""
    chunks = library.chunks_of(paper.id, ["text"])
    if not query:
        main = [chunk for chunk in chunks if _MAIN.search(chunk.section)]
        chunks = (main or chunks[:4])[:8]
    question = understand(query or paper.title)
    hits = [Hit(chunk, paper.title, 0.0, metadata=paper.metadata) for chunk in _likely(chunks, question)]
    pool = extractive.candidates(hits, library.page)[:CANDIDATES_PER_PAPER]
    ranked = extractive.rank(
        question, pool, query=embedder.embed_query(question.english), embed=embedder.embed_documents
    )
    if not query:
        ranked.sort(key=lambda one: -(one.score + 2.0 * bool(_CUES.search(one.candidate.text))))
    return extractive.choose(ranked, most=QUOTES_PER_PAPER)


def _likely(chunks: Sequence[Chunk], question: Question, most: int = 6) -> list[Chunk]:
    """Return the passages that share most of the question's words: not every sentence of a book need be embedded."""
    from ingest import lexical

    covered = [(question.coverage(frozenset(lexical.tokens(chunk.embedded_text))), chunk) for chunk in chunks]
    return [chunk for _, chunk in sorted(covered, key=lambda pair: -pair[0])[:most]]


def _digest(library: Library, review: Review, best: dict[str, list[extractive.Ranked]]) -> Answer:
    """Return the quotes themselves, paper by paper."""
    chosen = [one for paper in review.papers for one in best[paper.id]]
    papers = papers_of(library, [one.candidate.hit for one in chosen])
    citations = tuple(quoting.cite(n, one.candidate, papers) for n, one in enumerate(chosen, 1))
    language = review.language
    without = [paper.title for paper in review.papers if not best[paper.id]]
    lines = [prompts.DIGEST[language].format(count=len(review.papers)), *quoting.quoted(citations, language)]
    if without:
        lines += ["", prompts.NOTHING_QUOTED[language].format(titles="; ".join(without))]
    return quoting.from_quotes("\n".join(lines), citations, tuple(papers.values()))


def _written(
    library: Library, review: Review, best: dict[str, list[extractive.Ranked]], model: ChatModel
) -> Generator[Event, None, Answer]:
    """Let the model write the review from the sources, over as many steps as its context asks for."""
    sources = Sources(library)
    for paper in review.papers:
        sources.add_windows(best[paper.id], tokens=TOKENS_PER_PAPER)
    room = model.context_tokens - WRITTEN_TOKENS - OVERHEAD_TOKENS
    if room < TOKENS_PER_PAPER:
        raise BadInput(
            f"{model.spec} reads {model.context_tokens:,} tokens at once, too few for a review",
            hint="Take a model with a longer context, or --model extractive for a digest of quotes",
        )
    used = [Usage()]
    parts = _grouped([source.shown() for source in sources.all], room)
    while len(parts) > 1:
        yield Note(f"reading in {len(parts)} parts")
        notes = []
        for part in parts:
            reply = yield from _call(model, prompts.NOTES, part, review, used, shown=False)
            notes.append(reply.text.strip())
        shorter = _grouped(notes, room)
        parts = shorter if len(shorter) < len(parts) else [_cut(notes, room)]
    reply = yield from _call(model, prompts.REVIEW, parts[0], review, used, shown=True)
    papers = papers_of(library, [source.hit for source in sources.all])
    return _checked(reply.text, sources, papers, review, model, used[0])


def _checked(
    text: str, sources: Sources, papers: dict[str, Paper], review: Review, model: ChatModel, used: Usage
) -> Answer:
    question = review.query or prompts.REVIEW_OF["en"]
    judged = check(text, sources, (), papers, question=question, language=review.language)
    cited = {citation.paper: papers[citation.paper] for citation in judged.citations if citation.paper in papers}
    fixed = prompts.digest(prompts.NOTES, prompts.REVIEW)
    return Answer(
        text=judged.text,
        citations=judged.citations,
        claims=judged.claims,
        evidence=tuple(source.hit for source in sources.all),
        usage=used.to_json(),
        abstained=says_nothing(text),
        model=model.spec,
        trace=({"step": "prompt", "hash": fixed, "sources": len(sources.all)}, *judged.trace),
        papers=tuple(cited.values()),
    )


def _call(
    model: ChatModel, instructions: str, data: str, review: Review, used: list[Usage], *, shown: bool
) -> Generator[Event, None, Reply]:
    about = review.query or prompts.REVIEW_OF["en"]
    messages = [
        Message(
            "system", instructions.format(language=prompts.LANGUAGES[review.language], no_answer=prompts.NO_ANSWER)
        ),
        Message("user", prompts.question(about, data=prompts.SOURCES.format(sources=data), language=review.language)),
    ]
    reply: Reply | None = None
    for item in model.stream(messages, max_tokens=WRITTEN_TOKENS):
        if isinstance(item, Reply):
            reply = item
        elif shown:
            yield TextDelta(item.text)
    if reply is None:
        raise RuntimeError("the model's stream ended without a reply")
    used[0] += reply.usage
    return reply


def _grouped(texts: Sequence[str], room: int) -> list[str]:
    """Return the texts joined into as few parts as `room` tokens allow."""
    parts: list[list[str]] = [[]]
    taken = 0
    for text in texts:
        tokens = about_tokens(text)
        if parts[-1] and taken + tokens > room:
            parts.append([])
            taken = 0
        parts[-1].append(text)
        taken += tokens
    return ["\n".join(part) for part in parts]


def _cut(notes: Sequence[str], room: int) -> str:
    """Return the beginnings of notes that a model would not make any shorter."""
    each = max(room // max(len(notes), 1), 20) * 3
    return "\n".join(note[:each] for note in notes)

"""A review over many papers: cited, claim-checked, in one pass where the model's context takes it, else map and reduce.

Of every paper the sentences that speak most to the query (or, without one, to the paper's own title, from its abstract
and conclusions) become numbered sources. A model writes from those alone; without a model they are the review.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from assistant import extractive, journal, prompts, quoting
from assistant.agent import Bounds
from assistant.answer import Answer
from assistant.chat import Again, ChatModel, Message, Reply, Usage
from assistant.checking import check, says_nothing
from assistant.events import Answered, Event, Note, Started, TextDelta
from assistant.evidence import papers_of, understood
from assistant.pricing import with_cost
from assistant.question import Question, understand
from assistant.sources import Sources, about_tokens
from ingest import lexical
from ingest.embed import Embedder
from ingest.errors import BadInput, ModelError
from ingest.library import Library
from ingest.records import Chunk, Filter, Hit, Paper

MOST_PAPERS = 200
BEARS_ON = 0.5  # of the best paper's words and nearness: what speaks of something else reached 0.4 in trials
FAR = 0.3  # cosine below which nothing is near, where no word is shared either
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
    library: Library,
    embedder: Embedder,
    review: Review,
    *,
    model: ChatModel | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
    journal_in: Path | None = None,
    keep_journal: bool = True,
) -> Iterator[Event]:
    """Write a review, event by event; the last is `Answered`.

    `bounds` end the work of a model by tokens, seconds and US dollars (not by steps: how many there are follows from
    the papers). What it has written by then is the review, and says how far it got. The review is written to the
    journal of the library, or of the one in `journal_in`.

    Raises:
        BadInput: there is no paper to review, or there are more than 200.
        ModelError: the model failed.
    """
    if not 1 <= len(review.papers) <= MOST_PAPERS:
        count = len(review.papers)
        raise BadInput(
            f"{count} papers cannot be reviewed: it takes 1 to {MOST_PAPERS}", hint="Name papers, or ask with --query"
        )
    folder = (journal_in or library.info.path) if keep_journal else None
    work = _Work(library, review, model, replace(bounds, max_steps=sys.maxsize))
    return _events(work, embedder, folder)


def papers_about(library: Library, embedder: Embedder, query: str, *, most: int) -> tuple[Paper, ...]:
    """Return the papers whose passages bear on `query`, best first; none where the library holds nothing like it.

    A paper counts by its best passages: how much of the query's words one has, and how near one is in meaning, each in
    proportion to the best of all papers.
    """
    from assistant.retrieve import search

    where = Filter(kinds=frozenset({"text", "table", "caption"}))
    hits = search(library, embedder, query, k=min(10 * most, 1000), where=where)
    question = understood(library, query)
    covered: dict[str, float] = {}
    near: dict[str, float] = {}
    for hit in hits:
        source, tokens = hit.chunk.source, frozenset(lexical.tokens(hit.chunk.embedded_text))
        covered[source] = max(covered.get(source, 0.0), question.coverage(tokens))
        near[source] = max(near.get(source, 0.0), hit.dense or 0.0)
    most_covered, nearest = max(covered.values(), default=0.0), max(near.values(), default=0.0)
    if not most_covered and nearest < FAR:
        return ()
    fitting = [
        source
        for source in covered
        if covered[source] / (most_covered or 1.0) + near[source] / (nearest or 1.0) >= 2 * BEARS_ON
    ]
    return tuple(library.paper(source) for source in fitting[:most])


@dataclass(slots=True)
class _Work:
    """A review being written: from what, by whom, within which bounds, and what has been used up."""

    library: Library
    review: Review
    model: ChatModel | None
    bounds: Bounds
    used: Usage = field(default_factory=Usage)
    began: float = field(default_factory=time.monotonic)
    reached: str = ""  # the bound that has ended it

    def stops(self, model: ChatModel, data: str = "") -> bool:
        """Whether a bound is reached, or would be by reading `data`; `reached` then says which."""
        reading = Usage(about_tokens(data) + OVERHEAD_TOKENS) if data else Usage()
        used = self.used + with_cost(reading, model.spec, local=model.local)
        self.reached = self.bounds.reached(used, began=self.began)
        return bool(self.reached)


def _events(work: _Work, embedder: Embedder, folder: Path | None) -> Iterator[Event]:
    began = time.perf_counter()
    review, model = work.review, work.model
    asked = review.query or prompts.REVIEW_OF[review.language]
    yield Started(asked, model.spec if model else quoting.MODEL, "auto")
    best: dict[str, list[extractive.Ranked]] = {}
    for place, paper in enumerate(review.papers, 1):
        best[paper.id] = _best(work.library, embedder, paper, review.query)
        yield Note(f"{place} of {len(review.papers)}: {paper.title}")
    if model is None:
        answer = _digest(work.library, review, best)
        yield TextDelta(answer.text)
    else:
        work.began = time.monotonic()  # what is bounded is the model's work
        answer = yield from _written(work, best, model)
    answer = replace(answer, seconds=time.perf_counter() - began)
    yield Answered(journal.recorded(folder, asked, answer) if folder else answer)


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
    covered = [(question.coverage(frozenset(lexical.tokens(chunk.embedded_text))), chunk) for chunk in chunks]
    return [chunk for _, chunk in sorted(covered, key=lambda pair: -pair[0])[:most]]


def _digest(
    library: Library,
    review: Review,
    best: dict[str, list[extractive.Ranked]],
    *,
    heading: Mapping[prompts.Language, str] = prompts.DIGEST,
) -> Answer:
    """Return the quotes themselves, paper by paper."""
    chosen = [one for paper in review.papers for one in best[paper.id]]
    papers = papers_of(library, [one.candidate.hit for one in chosen])
    citations = tuple(quoting.cite(n, one.candidate, papers) for n, one in enumerate(chosen, 1))
    language = review.language
    without = [paper.title for paper in review.papers if not best[paper.id]]
    lines = [heading[language].format(count=len(review.papers)), *quoting.quoted(citations, language)]
    if without:
        lines += ["", prompts.NOTHING_QUOTED[language].format(titles="; ".join(without))]
    return quoting.from_quotes("\n".join(lines), citations, tuple(papers.values()))


def _written(work: _Work, best: dict[str, list[extractive.Ranked]], model: ChatModel) -> Generator[Event, None, Answer]:
    """Let the model write the review from the sources, over as many steps as its context asks for."""
    sources = Sources(work.library)
    for paper in work.review.papers:
        sources.add_windows(best[paper.id], tokens=TOKENS_PER_PAPER)
    room = model.context_tokens - WRITTEN_TOKENS - OVERHEAD_TOKENS
    if room < TOKENS_PER_PAPER:
        raise BadInput(
            f"{model.spec} reads {model.context_tokens:,} tokens at once, too few for a review",
            hint="Take a model with a longer context, or --model extractive for a digest of quotes",
        )
    parts = _grouped([source.shown() for source in sources.all], room)
    while len(parts) > 1:
        yield Note(f"reading in {len(parts)} parts")
        notes = yield from _notes(work, parts)
        if len(notes) < len(parts):
            return (yield from _stopped(work, sources, best, notes, len(parts)))
        shorter = _grouped(notes, room)
        parts = shorter if len(shorter) < len(parts) else [_cut(notes, room)]
    text = yield from _call(work, prompts.REVIEW, parts[0], shown=True)
    if text is None:
        return (yield from _stopped(work, sources, best, parts if work.used.calls else [], 1))
    return _checked(work, text, sources)


def _notes(work: _Work, parts: Sequence[str]) -> Generator[Event, None, list[str]]:
    """Return the model's notes on each part, on fewer where a bound is reached."""
    notes: list[str] = []
    for part in parts:
        text = yield from _call(work, prompts.NOTES, part, shown=False)
        if text is None:
            break
        notes.append(text)
    return notes


def _stopped(
    work: _Work, sources: Sources, best: dict[str, list[extractive.Ranked]], notes: Sequence[str], parts: int
) -> Generator[Event, None, Answer]:
    """Return what the model has noted down by the time a bound is reached; quotes where that is nothing."""
    language = work.review.language
    told = prompts.STOPPED[language].format(
        reached=prompts.reached(work.reached, language), done=len(notes), parts=parts
    )
    yield Note(told)
    written = "\n".join(note for note in notes if not says_nothing(note))
    if written:
        answer = _checked(work, written, sources)
    else:
        digest = _digest(work.library, work.review, best, heading=prompts.DIGEST_OF)
        answer = replace(digest, usage=work.used.to_json(), model=work.model.spec if work.model else quoting.MODEL)
    stopped = {"step": "stopped", "reached": work.reached, "done": len(notes), "parts": parts}
    return replace(answer, text=f"{answer.text}\n\n{told}", trace=(*answer.trace, stopped))


def _checked(work: _Work, text: str, sources: Sources) -> Answer:
    review = work.review
    papers = papers_of(work.library, [source.hit for source in sources.all])
    question = review.query or prompts.REVIEW_OF["en"]
    judged = check(text, sources, (), papers, question=question, language=review.language)
    cited = {citation.paper: papers[citation.paper] for citation in judged.citations if citation.paper in papers}
    fixed = prompts.digest(prompts.NOTES, prompts.REVIEW)
    nothing = says_nothing(text)
    return Answer(
        text=prompts.REFUSAL[review.language] if nothing else judged.text,
        citations=judged.citations,
        claims=judged.claims,
        evidence=tuple(source.hit for source in sources.all),
        usage=work.used.to_json(),
        abstained=nothing,
        model=work.model.spec if work.model else quoting.MODEL,
        trace=({"step": "prompt", "hash": fixed, "sources": len(sources.all)}, *judged.trace),
        papers=tuple(cited.values()),
    )


def _call(work: _Work, instructions: str, data: str, *, shown: bool) -> Generator[Event, None, str | None]:
    """Return what the model writes about `data`; None where a bound forbids the call or ends it."""
    model, review = work.model, work.review
    if model is None or work.stops(model, data):
        return None
    about = review.query or prompts.REVIEW_OF["en"]
    messages = [
        Message(
            "system", instructions.format(language=prompts.LANGUAGES[review.language], no_answer=prompts.NO_ANSWER)
        ),
        Message("user", prompts.question(about, data=prompts.SOURCES.format(sources=data), language=review.language)),
    ]
    left = work.bounds.seconds_left(work.began)
    reply: Reply | None = None
    try:
        timeout_s = left if model.local else min(left, model.timeout_s)
        for item in model.stream(messages, max_tokens=WRITTEN_TOKENS, timeout_s=timeout_s, within_s=left, over=True):
            if isinstance(item, Reply):
                reply = item
            elif isinstance(item, Again):
                yield Note(f"{item.reason}; the text is written anew")
            elif shown:
                yield TextDelta(item.text)
    except ModelError:
        if work.stops(model):  # it was our time that ran out
            return None
        raise
    if reply is None:
        raise RuntimeError("the model's stream ended without a reply")
    work.used += reply.usage
    return reply.text.strip()


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

"""What is found for a question before anything is answered: passages, their sentences ranked, and whether they suffice.

The search itself is `assistant.retrieve`, the ranking `assistant.extractive`; here they are put to one question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant import extractive
from assistant.question import Question, Term, tokens_of, understand, weigh
from assistant.retrieve import Rerank, has_words, search
from assistant.wording import reads_english_only
from ingest import lexical
from ingest.embed import Embedder
from ingest.library import Library
from ingest.records import Filter, Hit, Paper


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found for a question: passages, and their sentences, best first. `query` is what the embedder read."""

    question: Question
    query: str
    hits: tuple[Hit, ...]
    ranked: tuple[extractive.Ranked, ...]
    support: extractive.Support

    def trace(self) -> tuple[Mapping[str, Any], ...]:
        """Return what was done, as steps of an answer's trace."""
        asked = self.question
        terms = [{"term": term.surface, "passages": term.frequency} for term in asked.terms]
        return (
            {"step": "question", "kind": asked.kind, "language": asked.language, "terms": terms},
            {"step": "search", "passages": len(self.hits), "query": self.query},
            {"step": "rank", "sentences": len(self.ranked), "support": round(self.support.probability, 3)},
        )


def find(
    library: Library, embedder: Embedder, text: str, *, k: int, where: Filter, rerank: Rerank | str = ""
) -> Findings:
    """Return what an answer to the question `text` rests on: passages, their sentences ranked, whether they suffice."""
    question = understood(library, text)
    query = _for_embedder(question, embedder)
    hits = search(library, embedder, text, k=k, where=where, rerank=rerank) if has_words(text) else []
    pool = extractive.candidates(hits, library.page)
    ranked = extractive.rank(question, pool, query=embedder.embed_query(query), embed=embedder.embed_documents)
    support = extractive.support(question, ranked, in_paper=lambda term, papers: _in_papers(library, term, papers))
    return Findings(question, query, tuple(hits), tuple(ranked), support)


def papers_of(library: Library, hits: Sequence[Hit]) -> dict[str, Paper]:
    """Return the papers that the passages stand in, by id, in the order of the passages."""
    sources = dict.fromkeys(hit.chunk.source for hit in hits if hit.chunk.kind != "material")
    found = {paper.id: paper for paper in library.papers(list(sources))}
    return {source: found[source] for source in sources if source in found}


def translates(question: Question, embedder: str) -> bool:
    """Whether the question has to be put to the embedder in English words: it is Japanese, and the embedder is not."""
    return question.language == "ja" and reads_english_only(embedder)


def understood(library: Library, text: str) -> Question:
    """Take a question apart, its terms weighed by how rare they are in the library."""
    question = understand(text)
    counts, total = _token_counts(library, tokens_of(question))
    return weigh(question, counts, total)


def _token_counts(library: Library, tokens: Sequence[str]) -> tuple[dict[str, int], int]:
    """Return how many passages have each token of the full-text index, and how many passages there are."""
    sql = "SELECT chunks FROM terms WHERE term = ? AND chunks > 0"  # the empty term stands for every passage
    with library.reading() as connection:
        rows = {token: connection.execute(sql, (token,)).fetchone() for token in ("", *tokens)}
    counts = {token: int(row[0]) for token, row in rows.items() if row}
    return counts, counts.pop("", 1)


def _for_embedder(question: Question, embedder: Embedder) -> str:
    return question.english or question.text if translates(question, embedder.name) else question.text


def _in_papers(library: Library, term: Term, papers: frozenset[str]) -> bool:
    found = library.lexical(term.surface, k=10, where=Filter(sources=papers))
    chunks = library.chunks([chunk for chunk, _ in found])
    return any(term.covered(frozenset(lexical.tokens(chunk.embedded_text))) == 1.0 for chunk in chunks)

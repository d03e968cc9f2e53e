"""Search in a library: what text and vectors find, fused into one ranked list without near-duplicates.

The candidates come from `ingest.index` through the library; here is decided how their scores are weighed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from assistant.wording import Wording, worded
from ingest import index
from ingest.errors import BadInput
from ingest.records import Chunk, Filter, Hit, Metadata

if TYPE_CHECKING:
    from ingest.library import Library

Mode = Literal["hybrid", "dense", "lexical"]
Rerank = Callable[[str, Sequence[str]], Sequence[float]]  # (query, passages) -> one score each, higher is better

MOST_HITS = 10_000
MOST_CHARACTERS = 10_000
DEPTH = 200  # candidates of each side at least; on SciFact 100 lose 0.003 nDCG@10, and 400 gain nothing
LEXICAL_WEIGHT = 0.5  # of the share of the best BM25 score, against the place of the cosine in its range
RERANKED = 50  # best hits that a reranker reads
DUPLICATE = 0.85  # of a passage's words in a better one: from here on it says nothing new
ALIKE = 3  # records of one formula that keep their rank
OF_ANOTHER = 0.5  # of its score remains to a record of another material than the query names
RECORD_ASKED = 0.6  # of the way to the best score goes the record of a compound that is asked for what records tell
REFERENCES = 0.2  # initials, and twice the years, for each word: from here on a passage is a list of references
SAME_RANK = 0.85  # of the score of the best record of a formula: the query does not tell them apart
SCRAP = 4  # words: a passage of fewer says nothing
FEW_WORDS = 8  # shorter passages must be equal to count as repeated

Vector = npt.NDArray[np.float32]


class QueryEmbedder(Protocol):
    """What of an embedder a search needs."""

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of `text`, of which the model reads as much as it can."""
        ...


def search(
    library: Library,
    embedder: QueryEmbedder,
    query: str,
    *,
    k: int = 10,
    where: Filter = Filter(),  # noqa: B008 - frozen
    mode: Mode = "hybrid",
    rerank: Rerank | str = "",
    diversity: float = 0.0,
) -> list[Hit]:
    """Return the `k` best passages for `query` that `where` allows, best first.

    Passages that repeat a better one are left out. `rerank` is a function or the name of a sentence-transformers
    CrossEncoder and orders the best 50 anew. `diversity` from 0 to 1 trades relevance for passages unlike those before
    them (maximal marginal relevance, Carbonell and Goldstein 1998). Raises `BadInput` for an empty or overlong query
    and for a `k` outside 1 to 10,000.
    """
    text = _checked(query, k=k, mode=mode, diversity=diversity)
    depth = max(DEPTH if where == Filter() else DEPTH // 2, 2 * k)  # what a filter lets through costs more to find
    asked = worded(text, embedder=library.info.embedder.name)
    vector = None if mode == "lexical" else embedder.embed_query(asked.meaning)
    selected = library.select(where)
    dense = {} if vector is None else dict(library.dense(vector, k=depth, where=selected))
    lexical = {} if mode == "dense" else dict(_lexical(library, asked, k=depth, where=selected))
    if vector is not None and lexical:
        dense |= cosines(library, vector, [each for each in lexical if each not in dense])
        scores = fuse(dense, lexical, cut=len(lexical) == depth)
    else:
        scores = dense or lexical
    scores = _records_weighed(library, scores, asked, where)
    hits = _hits(library, scores, dense, lexical, wanted=max(k, RERANKED) if rerank or diversity else k)
    if rerank:
        hits = _reranked(text, hits, rerank)
    if diversity:
        hits = _diverse(hits, diversity)
    return hits[:k]


def fuse(
    dense: dict[str, float], lexical: dict[str, float], *, cut: bool = False, weight: float = LEXICAL_WEIGHT
) -> dict[str, float]:
    """Return one score from 0 to 1 for each chunk of both sides.

    `weight` is that of the share of the best BM25 score; the rest is the cosine's place between the lowest and the
    highest among the candidates. A chunk without a vector counts as the farthest one. A chunk that the text search did
    not return shares no word with the query, unless its list was `cut` off: then it counts as the last one.
    """
    ids = list(dict.fromkeys([*dense, *lexical]))
    low, high = min(dense.values(), default=0.0), max(dense.values(), default=0.0)
    best = max(lexical.values(), default=0.0)
    last = min(lexical.values(), default=0.0) if cut else 0.0
    near = {each: (dense.get(each, low) - low) / (high - low) if high > low else 1.0 for each in ids}
    share = {each: lexical.get(each, last) / best if best > 0 else 0.0 for each in ids}
    return {each: (1 - weight) * near[each] + weight * share[each] for each in ids}


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in `text`, so that it can be searched for."""
    return any(map(str.isalnum, text))


def _checked(query: str, *, k: int, mode: Mode, diversity: float) -> str:
    # Half a surrogate pair, as broken terminals send it, is no text for a tokeniser.
    text = query.encode("utf-8", "ignore").decode().strip()
    if not has_words(text):
        raise BadInput(
            f"the query {text!r} holds no word" if text else "the query is empty",
            hint='Ask with words, for example: matlit search "capacity of LiFePO4"',
        )
    if len(text) > MOST_CHARACTERS:
        raise BadInput(
            f"the query has {len(text):,} characters, more than {MOST_CHARACTERS:,}",
            hint="Ask with a sentence or two; to work on a whole text, add it to the library: matlit ingest FILE",
        )
    if not 1 <= k <= MOST_HITS:
        raise BadInput(f"k is {k}, not between 1 and {MOST_HITS:,}", hint="Ask for fewer passages, for example: -k 10")
    if mode not in get_args(Mode):
        raise BadInput(f"{mode!r} is no way to search", hint=f"Choose one of {', '.join(get_args(Mode))}")
    if not 0 <= diversity <= 1:
        raise BadInput(f"diversity is {diversity}, not between 0 and 1", hint="Leave it at 0, or try 0.3")
    return text


def cosines(library: Library, vector: Vector, ids: Sequence[str]) -> dict[str, float]:
    """Return the cosines of chunks that only the text search found, from the vectors that the catalogue holds."""
    if not ids:
        return {}
    with library.reading() as connection:
        return index.cosines(connection, vector, ids)


def _lexical(library: Library, asked: Wording, *, k: int, where: Filter | index.Selected) -> list[tuple[str, float]]:
    return library.lexical(asked.words, k=k, where=where, also=asked.also, elements=asked.elements)


# ----------------------------------------------------------------------------------------------- records of materials


def _records_weighed(library: Library, scores: dict[str, float], asked: Wording, where: Filter) -> dict[str, float]:
    """Return the scores with those of materials records weighed by what they are records of.

    A record tells of one material in words that it shares with all others: where the query names materials or elements,
    records of others are hardly an answer; of records of one formula the stabler come first, and from the `ALIKE`th on
    they count less, unless they are all that is asked for.
    """
    with library.reading() as connection:
        records = index.records(connection, list(scores))
    if not records:
        return scores
    weighed = {each: _of_record(scores[each], record, asked) for each, record in records.items()}
    by_formula: dict[str, list[str]] = {}
    for each in sorted(weighed, key=lambda one: (-weighed[one], one)):
        by_formula.setdefault(records[each].formula_key, []).append(each)
    only = bool(where.formula) or where.kinds == {"material"}
    for ranked in by_formula.values():
        values = [weighed[each] for each in ranked]
        alike = sum(value >= SAME_RANK * values[0] for value in values)
        stable_first = sorted(ranked[:alike], key=lambda one: records[one].above_hull_ev_per_atom)
        for place, each in enumerate([*stable_first, *ranked[alike:]]):
            share = 1.0 if only or place < ALIKE else OF_ANOTHER
            weighed[each] = values[place] * share * (1 - place * 1e-6)  # equal scores keep this order
    return scores | weighed


def _of_record(score: float, record: index.Record, asked: Wording) -> float:
    if not asked.compounds:
        return score if (asked.elements or asked.named) <= record.elements else score * OF_ANOTHER
    if record.formula_key not in asked.compounds:
        return score * OF_ANOTHER
    return score + RECORD_ASKED * max(1.0 - score, 0.0) if asked.of_records else score


# -------------------------------------------------------------------------------------------------------------- hits


def _hits(
    library: Library, scores: dict[str, float], dense: dict[str, float], lexical: dict[str, float], *, wanted: int
) -> list[Hit]:
    """Return hits for the best `wanted` of `scores` that do not repeat a better one.

    What tells nothing counts half: a list of references that its reader took for text, a word or two by themselves.
    """
    ranked = sorted(scores, key=lambda each: (-scores[each], each))
    seen: dict[frozenset[str], None] = {}
    kept: list[Chunk] = []
    slight: dict[str, Chunk] = {}
    start, size = 0, wanted + 10
    while start < len(ranked) and len(kept) < wanted:
        for chunk in library.chunks(ranked[start : start + size]):
            words = frozenset(chunk.text.lower().split())
            if chunk.kind == "text" and (_is_scrap(chunk.text) or _lists_references(chunk.text)):
                slight[chunk.id] = chunk
            elif chunk.kind == "material":  # alike as they are, each is a record of its own
                kept.append(chunk)
            elif not _repeats(words, seen):
                seen[words] = None
                kept.append(chunk)
        start += size
    final = scores | {each: scores[each] * OF_ANOTHER for each in slight}
    best = sorted([*kept, *slight.values()], key=lambda chunk: -final[chunk.id])[:wanted]
    titles = _titles(library, best)  # without those that another process has taken out meanwhile
    return [
        Hit(
            chunk=chunk,
            title=titles[chunk.source][0],
            score=final[chunk.id],
            dense=dense.get(chunk.id),
            lexical=lexical.get(chunk.id),
            metadata=titles[chunk.source][1],
        )
        for chunk in best
        if chunk.source in titles
    ]


_INITIALS = re.compile(r"\b[A-Z]\.(?=[\s,\-A-Z])")
_YEAR = re.compile(r"\b(?:19|20)\d\d[a-z]?\b|\bdoi\b|https?://")


def _is_scrap(text: str) -> bool:
    """Tell whether a passage is too short to say anything; a Japanese sentence may be one word."""
    return text.isascii() and len(text.split()) < SCRAP


def _lists_references(text: str) -> bool:
    """Tell whether a passage is mostly authors' initials, years and addresses."""
    initials, years = len(_INITIALS.findall(text)), len(_YEAR.findall(text))
    return years > 0 and initials > 3 and initials + 2 * years >= REFERENCES * len(text.split())


def _repeats(words: frozenset[str], seen: dict[frozenset[str], None]) -> bool:
    """Tell whether a passage has nearly no words but those of a better one: a preprint and its paper, overlaps."""
    if words in seen:
        return True
    if len(seen) > RERANKED or len(words) < FEW_WORDS:  # all pairs of a long list would be quadratic
        return False
    return any(len(words & other) >= DUPLICATE * len(words) for other in seen)


def _titles(library: Library, chunks: Sequence[Chunk]) -> dict[str, tuple[str, Metadata]]:
    of_papers = {chunk.source for chunk in chunks if chunk.kind != "material"}
    of_records = {chunk.source for chunk in chunks} - of_papers
    found = {paper.id: (paper.title, paper.metadata) for paper in library.papers(sorted(of_papers))}
    for record in library.materials(material_ids=sorted(of_records), structures=False) if of_records else []:
        title = f"{record.formula_pretty} ({record.material_id})"
        found[record.material_id] = (title, Metadata(title=title))
    return found


# ------------------------------------------------------------------------------------------------- reordering of hits


def _reranked(query: str, hits: Sequence[Hit], rerank: Rerank | str) -> list[Hit]:
    from dataclasses import replace

    judge = cross_encoder(rerank) if isinstance(rerank, str) else rerank
    judged = judge(query, [hit.chunk.embedded_text for hit in hits])
    scored = [replace(hit, score=float(score)) for hit, score in zip(hits, judged, strict=True)]
    return sorted(scored, key=lambda hit: -hit.score)


@lru_cache(maxsize=1)
def cross_encoder(name: str) -> Rerank:
    """Return a reranker: the sentence-transformers CrossEncoder of that name or folder, from this machine only.

    It is loaded once. Raises `BadInput` where there is no such model on this machine.
    """
    from sentence_transformers import CrossEncoder

    try:
        model = CrossEncoder(name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{name!r} is no cross-encoder on this machine: {error}",
            hint="Set search.rerank to the folder of one, or to nothing to search without",
        ) from error
    return lambda query, passages: [float(score) for score in model.predict([(query, each) for each in passages])]


def _diverse(hits: Sequence[Hit], diversity: float) -> list[Hit]:
    """Order hits by maximal marginal relevance; likeness is the share of common words."""
    words = {hit.chunk.id: frozenset(hit.chunk.text.lower().split()) for hit in hits}
    top = max((hit.score for hit in hits), default=0.0) or 1.0
    rest, chosen = list(hits), list[Hit]()
    while rest:

        def worth(hit: Hit) -> float:
            alike = max((_jaccard(words[hit.chunk.id], words[other.chunk.id]) for other in chosen), default=0.0)
            return (1 - diversity) * hit.score / top - diversity * alike

        best = max(rest, key=worth)
        rest.remove(best)
        chosen.append(best)
    return chosen


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / max(len(left | right), 1)

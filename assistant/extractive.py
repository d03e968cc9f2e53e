"""Answers without a language model: the sentences of the retrieved passages, ranked for a question.

Every sentence gets a few features (similarity, shared rare terms, a number with a fitting unit, …); fixed weights turn
them into a score and into the decision whether there is an answer at all (fitted by `benchmarks/answers.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from assistant.quantities import quantities
from assistant.question import Question, Term
from ingest import lexical
from ingest.chunk import sentences
from ingest.records import Hit, Page

Matrix = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Matrix]
PageOf = Callable[[str, int], Page]
InPaper = Callable[[Term, frozenset[str]], bool]

MAX_CANDIDATES = 160
CONSIDERED = 5  # of the best sentences, to judge whether they answer
MAX_CHARACTERS = 900  # longer "sentences" are formulas, listings or tables run together
MIN_WORDS = 4
SHORT_TABLE = 400  # characters: quoted whole, since a row says little without its neighbours
CELL = " | "
REPEATS = 0.92  # cosine from which two sentences say the same
MARGIN = 3.0  # below the best score by more than this, a further quote does not help


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence or table row at `[start, end)` of a page, and what it needs to be understood."""

    hit: Hit
    page: Page
    start: int
    end: int
    section: str
    context: str = ""  # the sentence before, or a table's head

    @property
    def text(self) -> str:
        """Return the sentence, word for word."""
        return self.page.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its score and its features, in the order of `FEATURES`."""

    candidate: Candidate
    score: float
    features: tuple[float, ...]
    vector: Matrix


@dataclass(frozen=True, slots=True)
class Support:
    """Whether the candidates answer the question: a probability, and the terms that none of the best ones mentions."""

    probability: float
    missing: tuple[str, ...]  # not near the question
    unknown: tuple[str, ...]  # nowhere in the library
    features: tuple[float, ...]


FEATURES = (
    "similarity",  # cosine of the sentence and the question
    "coverage",  # share of the question's terms, weighted by rarity, that the sentence has
    "passage",  # cosine of the passage and the question
    "near",  # coverage of the passage
    "rank",  # 1, 1/2, 1/3, … for the first, second, third passage
    "fits",  # a number in a unit that the question asks for
    "cue",  # words that reasons or definitions come with, where one is asked for
    "window",  # coverage of the sentence with its neighbours
)
WEIGHTS = np.array([1.5, 2.1, 0.4, 1.8, 2.4, 3.2, 1.5, 1.5], dtype=np.float32)

SUPPORT_FEATURES = (
    "similarity",  # of the most similar sentence
    "passage",  # of the most similar passage
    "coverage",  # of the best of the sentences
    "near",  # of the best of their passages
    "paper",  # of the passages of one paper together
    "missing",  # share of the terms that none of the first passages has
    "rarest",  # weight of the rarest of them, against that of the question's rarest term
    "names",  # whether the passages have each name in the question
    "formulas",  # and each formula
    "unknown",  # whether a plain word of the question stands nowhere in the library
)
SUPPORT_WEIGHTS = np.array([0.48, 0.41, 0.61, 0.74, 0.78, -0.72, -0.79, 0.71, 0.51, -0.07], dtype=np.float32)
SUPPORT_BIAS = -1.68


def candidates(hits: Sequence[Hit], page_of: PageOf) -> list[Candidate]:
    """Return the sentences and table rows of the passages, best passage first, each once."""
    found: dict[tuple[str, int, int], Candidate] = {}
    for hit in hits:
        page = _page(hit, page_of)
        for candidate in _table_rows(hit, page) if hit.chunk.kind == "table" else _sentences(hit, page):
            if _readable(candidate):
                found.setdefault((hit.chunk.source, page.number, candidate.start), candidate)
    return list(found.values())[:MAX_CANDIDATES]


def rank(question: Question, pool: Sequence[Candidate], *, query: Matrix, embed: Embed) -> list[Ranked]:
    """Return the candidates with their scores, best first. `query` is the question's vector, of length 1."""
    pool = [candidate for candidate in pool if _is_asked_for(question, candidate)]
    if not pool:
        return []
    vectors = embed([_embedded(candidate) for candidate in pool])
    table = np.array(list(_features(question, pool, vectors @ query)), dtype=np.float32)
    scores = table @ WEIGHTS
    order = np.argsort(-scores, kind="stable")
    return [Ranked(pool[i], float(scores[i]), tuple(table[i].tolist()), vectors[i]) for i in order]


def choose(ranked: Sequence[Ranked], *, most: int) -> list[Ranked]:
    """Return up to `most` of the best candidates that do not repeat one another."""
    chosen: list[Ranked] = []
    for one in ranked:
        if len(chosen) == most or (chosen and one.score < chosen[0].score - MARGIN):
            break
        if not any(_repeats(one, other) for other in chosen):
            chosen.append(one)
    return chosen


def support(question: Question, ranked: Sequence[Ranked], *, in_paper: InPaper) -> Support:
    """Judge whether the best candidates answer the question at all.

    `in_paper` tells whether any of some papers mentions a term: a name may stand in the title alone.
    """
    top = ranked[:CONSIDERED]
    passages = [_passage_tokens(one.candidate) | _tokens(one.candidate) for one in top]
    sources = frozenset(one.candidate.hit.chunk.source for one in top)
    features = _support_features(question, ranked, passages, lambda term: in_paper(term, sources))
    missing = tuple(term.surface for term in question.terms if _is_missing(term, passages) and not term.everyday)
    unknown = tuple(term.surface for term in question.terms if term.frequency == 0 and term.surface in missing)
    # A formula that occurs nowhere in the library settles it: what is said of other materials is no answer.
    absent = any(term.formula and term.frequency == 0 for term in question.terms)
    logit = float(np.dot(features, SUPPORT_WEIGHTS)) + SUPPORT_BIAS
    probability = 0.0 if absent or not top else float(1 / (1 + np.exp(-logit)))
    return Support(probability, missing, unknown, features)


# --- candidates ---------------------------------------------------------------------------------------------------


def _page(hit: Hit, page_of: PageOf) -> Page:
    # A materials record has no page: its text is all there is.
    if hit.chunk.kind == "material":
        return Page(number=hit.chunk.page, text=hit.chunk.text)
    return page_of(hit.chunk.source, hit.chunk.page)


def _sentences(hit: Hit, page: Page) -> list[Candidate]:
    """Return the sentences that stand in the passage, each whole even where the passage's border cuts it."""
    chunk = hit.chunk
    found: list[Candidate] = []
    for start, end, section in _stretches(hit, page):
        spans = [(start + left, start + right) for left, right in sentences(page.text[start:end])]
        before = [(start, start), *spans]
        for (earlier, _), (left, right) in zip(before, spans, strict=False):
            left += _mark_length(page.text[left:right])
            if min(right, chunk.end) - max(left, chunk.start) > 0.5 * (right - left):
                context = page.text[earlier:left].strip() if _POINTS_BACK.match(page.text[left:right]) else ""
                if _is_whole(page, left, right):
                    found.append(Candidate(hit, page, left, right, section, context))
    return found


_MATHS = re.compile("[∂∫∇ˆ\ufffd]")  # of displayed equations, which a page's text scatters


def _mark_length(text: str) -> int:
    # The end of an equation before the sentence: "12 ∂qi For the derivative …".
    prose = re.search(r"\b[A-Z][a-z]* [a-z]+ [a-z]+", text)
    if prose and _MATHS.search(text[: prose.start()]):
        return prose.start()
    # Citation marks of the sentence before: "[5c,7] The air cathode …".
    mark = re.match(r"(?:\[\d[\d,;a-z\s–-]*\]\s*)+(?=\S)", text)
    return mark.end() if mark else 0


def _stretches(hit: Hit, page: Page) -> list[tuple[int, int, str]]:
    chunk = hit.chunk
    kinds = ("caption",) if chunk.kind == "caption" else ("text", "front", "footnote", "title")
    touched = [
        (block.start, block.end, block.section or chunk.section)
        for block in page.blocks
        if block.start < chunk.end and block.end > chunk.start and block.kind in kinds
    ]
    return touched or [(chunk.start, chunk.end, chunk.section)]


def _table_rows(hit: Hit, page: Page) -> list[Candidate]:
    """Return the rows of a table, each with what its passage says of the table; a short table as a whole."""
    chunk = hit.chunk
    if chunk.end - chunk.start <= SHORT_TABLE:
        return [Candidate(hit, page, chunk.start, chunk.end, chunk.section)]
    rows: list[Candidate] = []
    position = chunk.start
    for line in page.text[chunk.start : chunk.end].split("\n"):
        left = position + len(line) - len(line.lstrip())
        if CELL in line:
            rows.append(Candidate(hit, page, left, left + len(line.strip()), chunk.section, _head(hit, line)))
        position += len(line) + 1
    return rows


def _head(hit: Hit, row: str) -> str:
    # The last line of a table's context is its header row, where the passage does not begin with it.
    lines = hit.chunk.context.splitlines() or [""]
    head = lines[-1] if CELL in lines[-1] else hit.chunk.text.splitlines()[0]
    return "" if head.strip() == row.strip() or CELL not in head else head.strip()


_POINTS_BACK = re.compile(
    r"(?:This|These|That|Those|It|Its|They|Their|Such|Both|Here|Thus|Therefore|Hence|However|Moreover"
    r"|The (?:former|latter))\b|(?:これ|この|それ|その|これら)"
)
_END = re.compile(r"[.!?。！？:;)\]”\"]\s*$")


def _is_whole(page: Page, left: int, right: int) -> bool:
    """Whether it is a whole sentence: a page's border or an equation may cut the first and the last of a stretch."""
    opens, closes = _cut_edges(page)
    if left in opens and re.match(r"[a-z]{2}|[a-z] ", page.text[left : left + 2]):
        return False
    text = page.text[left:right]
    return not (right in closes and not _END.search(text) and text.count(" ") > 6)


def _cut_edges(page: Page) -> tuple[set[int], set[int]]:
    """Return the offsets where prose begins in the middle of a sentence, perhaps, and where it ends in one."""
    prose = [block for block in page.blocks if block.kind in ("text", "front", "scattered")]
    if not prose:
        return set(), set()
    under_heading = any(block.kind == "heading" and block.start < prose[0].start for block in page.blocks)
    opens, closes = set() if under_heading else {prose[0].start}, {prose[-1].end}
    for before, after in pairwise(prose):
        if before.kind == "scattered":
            opens.add(after.start)
        if after.kind == "scattered":
            closes.add(before.end)
    return opens, closes


_REFERENCE = re.compile(
    r"\bdoi\b|https?://|\b(?:19|20)\d\d, ?\d+[,(]|\bet al\.,? .{0,40}\b\d+ ?\((?:19|20)\d\d\)|©|\bAll rights reserved"
)
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_\u0370-\u03ff]{3}")  # of prose; the symbols of an equation are shorter, or Greek
_LEADERS = re.compile(r"(?:\.\s?){5,}")  # of a table of contents


def _is_asked_for(question: Question, candidate: Candidate) -> bool:
    """Whether a record's sentence mentions more of the question than the material: a property, a name, a structure.

    Records name their material in every sentence, and would come first whatever is asked about it.
    """
    wanted = [term for term in question.terms if not term.formula and not term.everyday]
    if candidate.hit.chunk.kind != "material" or not wanted:
        return True
    tokens = _tokens(candidate)
    return any(term.covered(tokens) for term in wanted)


def _readable(candidate: Candidate) -> bool:
    """Whether this is prose or a table row, and not debris of a figure, a formula or a reference list."""
    text = candidate.text
    if _LEADERS.search(text) or _MATHS.search(text):
        return False
    if candidate.hit.chunk.kind == "table":
        return CELL in text and bool(_LETTER.search(text + candidate.context)) and len(text) <= MAX_CHARACTERS
    words = text.split()
    cjk = len(re.findall("[぀-ヿ一-鿿]", text))
    if not (len(words) >= MIN_WORDS or cjk >= 8) or len(text) > MAX_CHARACTERS or _REFERENCE.search(text):
        return False
    letters = len(_LETTER.findall(text))
    long_words = sum(bool(_WORD.search(word)) for word in words)
    return letters >= 0.5 * len(text.replace(" ", "")) and (cjk >= 8 or long_words >= 0.3 * len(words))


# --- features -----------------------------------------------------------------------------------------------------


def _embedded(candidate: Candidate) -> str:
    if candidate.hit.chunk.kind == "table":
        return f"{candidate.hit.chunk.context}\n{candidate.text}"
    return f"{candidate.context} {candidate.text}".strip()


def _tokens(candidate: Candidate) -> frozenset[str]:
    return frozenset(lexical.tokens(_embedded(candidate)))


def _passage_tokens(candidate: Candidate) -> frozenset[str]:
    return frozenset(lexical.tokens(candidate.hit.chunk.embedded_text))


def _features(question: Question, pool: Sequence[Candidate], similarities: Matrix) -> list[tuple[float, ...]]:
    places = {chunk: place for place, chunk in enumerate(dict.fromkeys(candidate.hit.chunk.id for candidate in pool))}
    passages: Mapping[str, frozenset[str]] = {c.hit.chunk.id: _passage_tokens(c) for c in pool}
    tokens = [_tokens(candidate) for candidate in pool]
    rows: list[tuple[float, ...]] = []
    for i, candidate in enumerate(pool):
        beside = [j for j in (i - 1, i + 1) if 0 <= j < len(pool) and _adjacent(pool[j], candidate)]
        window = tokens[i].union(*(tokens[j] for j in beside))
        rows.append(
            (
                float(similarities[i]),
                question.coverage(tokens[i]),
                candidate.hit.dense or 0.0,
                question.coverage(passages[candidate.hit.chunk.id] | tokens[i]),
                1.0 / (1.0 + places[candidate.hit.chunk.id]),
                _fits(question, candidate.text),
                _cue(question, candidate.text),
                question.coverage(window),
            )
        )
    return rows


def _adjacent(one: Candidate, other: Candidate) -> bool:
    return one.page.number == other.page.number and one.hit.chunk.source == other.hit.chunk.source


def _fits(question: Question, text: str) -> float:
    """Return how well the numbers of a sentence fit a question for a number: 1 in a wanted unit, less in others."""
    if question.kind not in ("number", "date"):
        return 0.0
    best = 0.0
    for quantity in quantities(text):
        if any(str(value) in question.numbers for value in quantity.values):
            continue
        if question.kind == "date":
            best = max(best, float(any(1800 <= value <= 2100 for value in quantity.values)))
        elif quantity.unit and quantity.unit in question.units:
            return 1.0
        else:
            best = max(best, 0.5 if quantity.unit else 0.35)
    return best


_CUES = {
    "reason": re.compile(
        r"\b(?:because|due to|owing to|since|therefore|thus|as a result|in order to|so that)\b|\b(?:attribut|ascrib)"
        r"|\b(?:caus(?:e|ed|es|ing)|leads? to|led to|result(?:s|ed|ing)? (?:in|from))\b|ため|から|より",
        re.IGNORECASE,
    ),
    "definition": re.compile(
        r"\b(?:is|are) (?:an?|the|called|defined|known)\b|\brefers? to\b|\bstands? for\b|\bdenot|\bdefined as\b"
        r"|\bmeans?\b|\([A-Z][A-Za-z-]{1,10}\)|とは|定義"
    ),
}


def _cue(question: Question, text: str) -> float:
    cue = _CUES.get(question.kind)
    return float(bool(cue and cue.search(text)))


# --- choosing and abstaining --------------------------------------------------------------------------------------


def _repeats(one: Ranked, other: Ranked) -> bool:
    if one.candidate.hit.chunk.kind == "table":  # two parts of a table share every word but the numbers
        return one.candidate.text == other.candidate.text
    if float(one.vector @ other.vector) >= REPEATS:
        return True
    left, right = _tokens(one.candidate), _tokens(other.candidate)
    return len(left & right) > 0.75 * min(len(left), len(right))


def _is_missing(term: Term, passages: Sequence[frozenset[str]]) -> bool:
    return all(term.covered(tokens) < 1.0 for tokens in passages)


def _support_features(
    question: Question,
    ranked: Sequence[Ranked],
    passages: Sequence[frozenset[str]],
    in_paper: Callable[[Term], bool],
) -> tuple[float, ...]:
    if not ranked:
        return (0.0,) * len(SUPPORT_FEATURES)
    lacking = [term for term in question.terms if _is_missing(term, passages) and not term.everyday]
    heaviest = max((term.weight for term in question.terms), default=1.0)
    unknown = any(term.frequency == 0 and not (term.everyday or term.name or term.formula) for term in question.terms)
    names = [_named(term, passages, in_paper) for term in question.terms if term.name]
    formulas = [_named(term, passages, in_paper) for term in question.terms if term.formula]
    return (
        _highest(ranked, "similarity"),
        _highest(ranked, "passage"),
        _highest(ranked, "coverage"),
        _highest(ranked, "near"),
        max(question.coverage(tokens) for tokens in _by_source(ranked)),
        len(lacking) / max(len(question.terms), 1),
        max((term.weight for term in lacking), default=0.0) / heaviest,
        min(names, default=1.0),
        min(formulas, default=1.0),
        float(unknown),
    )


def _highest(ranked: Sequence[Ranked], feature: str) -> float:
    place = FEATURES.index(feature)
    return max(one.features[place] for one in ranked)


def _by_source(ranked: Sequence[Ranked]) -> list[set[str]]:
    """Return the tokens of all the passages of each paper together."""
    found: dict[str, set[str]] = {}
    for one in ranked:
        found.setdefault(one.candidate.hit.chunk.source, set()).update(_passage_tokens(one.candidate))
    return list(found.values())


def _named(term: Term, passages: Sequence[frozenset[str]], in_paper: Callable[[Term], bool]) -> float:
    """Return 1 where a passage has the name, 0.5 where the rest of its paper does, else 0."""
    if not _is_missing(term, passages):
        return 1.0
    return 0.5 if term.frequency and in_paper(term) else 0.0

"""What is measured of a candidate phrase: the row of numbers that the ranking model reads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assistant.keywords.background import Background, Usage
from assistant.keywords.candidates import Candidate, tokenise

Key = tuple[str, ...]
Floats = npt.NDArray[np.float32]
LONGEST_LIST = 250

NAMES = (
    *("words", "characters", "title", "abstract", "body", "share", "first", "first_place", "spread"),
    *("rare_in_papers", "rare_in_abstracts", "known", "rarest_word", "mean_word", "commonest_word", "weight"),
    *("weight_rank", "whole", "left", "right", "capital", "article", "defined", "acronym", "digit", "hyphen"),
    *("inside_longer", "holds_shorter", "first_article", "first_verb", "first_ends", "last_article", "last_verb"),
    *("last_ends", "ends_ing", "ends_ed", "ends_adjective", "plural", "title_share", "has_title", "has_body"),
    *("length", "candidates", "near_text", "near_title", "near_rank"),
)
_ADJECTIVE = re.compile(r"(?:al|ic|ive|ous|ary|able|ible|ent|ful|less|ly)$")


@dataclass(frozen=True, slots=True)
class Document:
    """What the numbers of a candidate are compared with: the paper's title, and its words in all."""

    title_stems: frozenset[str]
    words: int
    has_title: bool
    has_body: bool


def choose(found: Mapping[Key, Candidate], known: Background, *, limit: int = LONGEST_LIST) -> list[Candidate]:
    """Return the candidates worth a closer look: those of title and abstract, and what the body repeats."""
    worth = [one for one in found.values() if one.counts[0] or one.counts[1] or one.counts[2] >= 3]
    worth.sort(key=lambda one: (-_weight(one, known), one.key))
    return worth[:limit] + [one for one in worth[limit:] if one.counts[0]]


def measure(
    chosen: Sequence[Candidate],
    found: Mapping[Key, Candidate],
    document: Document,
    known: Background,
    *,
    near_text: Floats,
    near_title: Floats,
) -> Floats:
    """Return one row per candidate, its columns named by `NAMES`; `near_…` are cosines to text and title."""
    longer = _longer(found)
    weights = np.array([_weight(one, known) for one in chosen])
    ranks = _ranks(weights)
    near_ranks = _ranks(near_text)
    rows = []
    for place, one in enumerate(chosen):
        rows.append(
            [
                *_counted(one, document),
                *_rarities(one, known),
                weights[place],
                ranks[place],
                *_standing(one),
                *_written(one),
                longer.get(one.key, 0) / one.total,
                _shorter(one, found),
                *_used(one, known),
                sum(stem in document.title_stems for stem in one.key) / len(one.key),
                float(document.has_title),
                float(document.has_body),
                math.log(document.words + 1),
                math.log(len(chosen) + 1),
                near_text[place],
                near_title[place],
                near_ranks[place],
            ]
        )
    return np.asarray(rows, dtype=np.float32).reshape(len(chosen), len(NAMES))


def _weight(one: Candidate, known: Background) -> float:
    """Return a TF-IDF in which title and abstract count more, and longer phrases a little more."""
    counted = 3.0 * one.counts[0] + 1.5 * one.counts[1] + one.counts[2]
    rarity = sum(known.rarity((stem,))[1] for stem in one.key) / len(one.key)
    return math.log1p(counted) * rarity * (1.0 + 0.15 * (min(len(one.key), 3) - 1))


def _counted(one: Candidate, document: Document) -> tuple[float, ...]:
    title, abstract, body = one.counts
    words = max(document.words, 1)
    return (
        len(one.key),
        len(one.form),
        title,
        math.log1p(abstract),
        math.log1p(body),
        1000.0 * one.total / words,
        one.first / words,
        math.log1p(one.first),
        (one.last - one.first) / words,
    )


def _rarities(one: Candidate, known: Background) -> tuple[float, ...]:
    papers, abstracts = known.rarity(one.key)
    words = [known.rarity((stem,))[1] for stem in one.key]
    return papers, abstracts, float(known.known(one.key)), max(words), sum(words) / len(words), min(words)


def _standing(one: Candidate) -> tuple[float, ...]:
    total = one.total
    counts = (one.whole, one.left, one.right, one.capital, one.after_article)
    return (*(count / total for count in counts), float(bool(one.defined)))


def _written(one: Candidate) -> tuple[float, ...]:
    form = one.form
    acronym = any(len(word) > 1 and word[:2].isupper() for word in form.split())
    return float(acronym), float(any(char.isdigit() for char in form)), float("-" in form)


def _used(one: Candidate, known: Background) -> tuple[float, ...]:
    words = [word.lower() for word in tokenise(one.form)] or [""]
    first, last = (known.usage.get(word, Usage()) for word in (words[0], words[-1]))
    ending = words[-1]
    return (
        *(first.article, first.verb, first.ends, last.article, last.verb, last.ends),
        float(ending.endswith("ing")),
        float(ending.endswith("ed")),
        float(bool(_ADJECTIVE.search(ending))),
        float(ending.endswith("s") and not ending.endswith("ss")),
    )


def _longer(found: Mapping[Key, Candidate]) -> dict[Key, int]:
    """Return, for every key, how often its most frequent extension by one word occurs."""
    most: dict[Key, int] = {}
    for key, one in found.items():
        for inner in (key[1:], key[:-1]):
            if inner:
                most[inner] = max(most.get(inner, 0), one.total)
    return most


def _shorter(one: Candidate, found: Mapping[Key, Candidate]) -> float:
    """Return how often its most frequent part of one word less occurs, as logarithm of the ratio."""
    inner = [found[key].total for key in (one.key[1:], one.key[:-1]) if key in found]
    return math.log(max(inner) / one.total) if inner else 0.0


def _ranks(values: Floats | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 0 for the largest value up to 1 for the smallest."""
    order = np.argsort(-values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values)) / max(len(values) - 1, 1)
    return ranks

"""Keywords without a language model: candidate phrases of the paper itself, ranked by a small trained model.

The ranking model (boosted trees over `features.NAMES`) learnt from the authors' keywords of open papers; see
`benchmarks/_train_keywords.py`. Nothing is invented: every keyword stands in the paper. Japanese is in `japanese`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from assistant.keywords.background import background
from assistant.keywords.candidates import Candidate, collect, fold, tokenise
from assistant.keywords.features import Document, Floats, choose, measure
from assistant.keywords.keys import key
from assistant.keywords.texts import Text

if TYPE_CHECKING:
    from finetune.stack.trees import Forest
    from ingest.embed import Embedder

MODEL_FILE = "ranking.safetensors"
DEFAULT_MAX = 10
MOST_OF_A_WORD = 3  # keywords that may share a word
SAME_MEANING = 0.93  # cosine between two phrases from which on the lower one is left out
# Chosen by cross-validation on the development half:
OVERLAP_PENALTY = 1.0  # in log-odds
# From so many places on, the share that a phrase must have outside a taken one that holds its words, to be taken too.
ALONE = ((10, 0.75), (3, 0.5))
# A phrase with so many places, of which less than a share end before a boundary, is only ever a part of others.
PART_PLACES, PART_SHARE = 8, 0.05
_NAME_PARTS = re.compile(r"[^\W\d_]{2,}")


def extract(text: Text, *, most: int = DEFAULT_MAX, embedder: Embedder, avoid: Sequence[str] = ()) -> list[str]:
    """Return up to `most` keywords of an English or Japanese paper, best first.

    `avoid` are names (of authors) that are no keywords. The paper's own printed keywords are not looked at here.
    """
    if text.language == "ja":
        from assistant.keywords.japanese import extract_japanese

        return extract_japanese(text, most=most)
    return [candidate.form for candidate, _ in ranked(text, embedder=embedder, avoid=avoid, most=most)]


def ranked(
    text: Text, *, embedder: Embedder, avoid: Sequence[str] = (), most: int = DEFAULT_MAX
) -> list[tuple[Candidate, float]]:
    """Return the chosen candidates of an English paper with their scores, best first."""
    chosen, rows, vectors = examine(text, embedder=embedder)
    if not chosen:
        return []
    from finetune.stack.trees import predict

    scores = predict(_ranking("paper" if text.title else "passage"), rows)
    names = {part.casefold() for name in avoid for part in _NAME_PARTS.findall(name)}
    allowed = [place for place, one in enumerate(chosen) if not names & set(one.form.casefold().split())]
    taken = select(scores, chosen, vectors, most=most, among=allowed)
    return [(chosen[place], float(scores[place])) for place in taken]


def examine(text: Text, *, embedder: Embedder) -> tuple[list[Candidate], Floats, Floats]:
    """Return the candidates worth ranking, what was measured of them, and their vectors."""
    known = background()
    found = collect(text.title, text.abstract, text.body)
    chosen = choose(found, known)
    opening = f"{text.title}. {text.abstract}".strip(". ") or text.body[:1000]
    if not chosen:
        return [], np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)
    vectors = embedder.embed_documents([opening, text.title or opening[:200], *(one.form for one in chosen)])
    words = len(tokenise(fold(f"{text.title} {text.abstract} {text.body}")))
    document = Document(frozenset(key(text.title)), words, bool(text.title), bool(text.body))
    phrases = vectors[2:]
    rows = measure(chosen, found, document, known, near_text=phrases @ vectors[0], near_title=phrases @ vectors[1])
    return chosen, rows, phrases


def select(
    scores: Floats, chosen: Sequence[Candidate], vectors: Floats, *, most: int, among: Sequence[int]
) -> list[int]:
    """Return the places of the best candidates, best first, so that each adds something to those before it.

    Left out is what means the same as a better one, stands mostly inside a better one, has a worn word, or is a part
    of phrases only; a phrase within or around a better one is held back.
    """
    left = {place: float(scores[place]) for place in among if not _is_part(chosen[place])}
    taken: list[int] = []
    words: Counter[str] = Counter()
    while left and len(taken) < most:
        best = max(left, key=lambda place: (left[place], -place))
        del left[best]
        crowded = any(words[stem] >= MOST_OF_A_WORD for stem in chosen[best].key)
        if crowded or any(_adds_nothing(best, other, chosen, vectors) for other in taken):
            continue
        words.update(chosen[best].key)
        taken.append(best)
        for place in left:
            one, two = chosen[place].key, chosen[best].key
            if _within(one, two) or _within(two, one):
                left[place] -= OVERLAP_PENALTY
    return taken


def _adds_nothing(place: int, other: int, chosen: Sequence[Candidate], vectors: Floats) -> bool:
    one, better = chosen[place], chosen[other]
    if sorted(one.key) == sorted(better.key) or float(vectors[place] @ vectors[other]) > SAME_MEANING:
        return True
    wanted = next((share for places, share in ALONE if one.total >= places), 0.0)
    return set(one.key) < set(better.key) and one.total - better.total < wanted * one.total


def _is_part(one: Candidate) -> bool:
    return one.total >= PART_PLACES and one.right < PART_SHARE * one.total


def _within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    size = len(inner)
    return any(outer[start : start + size] == inner for start in range(len(outer) - size + 1))


@cache
def _ranking(kind: str) -> Forest:
    """Return the trees for a "paper" (with a title), or a "passage" without one."""
    from safetensors.numpy import load

    from finetune.stack.trees import from_tensors

    tensors = load(files("assistant.keywords").joinpath(MODEL_FILE).read_bytes())
    mine = {name.removeprefix(f"{kind}."): tensor for name, tensor in tensors.items() if name.startswith(f"{kind}.")}
    return from_tensors(mine)

"""Keywords without a language model: candidate phrases of the paper itself, ranked by a small trained model.

The ranking model (boosted trees over `features.NAMES`) learnt from the authors' keywords of open papers; see
`benchmarks/train_keywords.py`. Nothing is invented: every keyword stands in the paper. Japanese is in `japanese`.
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
OVERLAP_PENALTY = 1.0  # in log-odds, chosen on the development half
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
    order = [
        place for place in np.argsort(-scores, kind="stable") if not names & set(chosen[place].form.casefold().split())
    ]
    return [(chosen[place], float(scores[place])) for place in _diverse(order, scores, chosen, vectors, most)]


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


def _diverse(
    order: Sequence[int], scores: Floats, chosen: Sequence[Candidate], vectors: Floats, most: int
) -> list[int]:
    """Return the best candidates: a phrase within or around a taken one is held back, one with a worn word left out."""
    left = {place: float(scores[place]) for place in order}
    taken: list[int] = []
    words: Counter[str] = Counter()
    while left and len(taken) < most:
        best = max(left, key=lambda place: (left[place], -place))
        del left[best]
        crowded = any(words[stem] >= MOST_OF_A_WORD for stem in chosen[best].key)
        if crowded or any(_repeats(best, other, chosen, vectors) for other in taken):
            continue
        words.update(chosen[best].key)
        taken.append(best)
        for place in left:
            one, two = chosen[place].key, chosen[best].key
            if _within(one, two) or _within(two, one):
                left[place] -= OVERLAP_PENALTY
    return taken


def _repeats(place: int, other: int, chosen: Sequence[Candidate], vectors: Floats) -> bool:
    if sorted(chosen[place].key) == sorted(chosen[other].key):
        return True
    return float(vectors[place] @ vectors[other]) > SAME_MEANING


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

"""Passages to search through: those of real open papers with their real vectors, and any number grown from them.

A grown passage is half of one real passage and half of another of the same paper, and its vector lies between theirs,
pushed aside a little: so texts and vectors belong together, and vectors cluster by paper and topic as real ones do.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CHARACTERS = 700  # of a passage, about 170 tokens
FEWEST = 8  # passages of a paper
ASIDE = 0.35  # how far a grown vector is pushed, against its length of 1
SEED = 0


@dataclass(frozen=True)
class Passages:
    """Passages in the order of their papers; `papers` are their papers' numbers."""

    sentences: list[list[str]]
    papers: np.ndarray
    vectors: np.ndarray


def real(corpus: Path, embedder, keep: Path) -> Passages:
    """Return the passages of `corpus` (JSON lines, gzipped, field `body`); their vectors are kept in `keep`."""
    with gzip.open(corpus, "rt", encoding="utf-8") as file:
        bodies = [json.loads(line)["body"].replace("\n", " ") for line in file]
    found = [_passages([s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])", body) if 40 < len(s) < 400]) for body in bodies]
    found = [each for each in found if len(each) >= FEWEST]
    passages = [passage for each in found for passage in each]
    papers = np.repeat(np.arange(len(found)), [len(each) for each in found])
    texts = [" ".join(passage) for passage in passages]
    return Passages(passages, papers, _vectors(texts, embedder, keep))


def grown(passages: Passages, size: int, *, per_paper: int) -> Passages:
    """Return `size` passages in papers of `per_paper`: paper n is grown from real paper n, counted around."""
    generator = np.random.default_rng(SEED)
    count = int(passages.papers[-1]) + 1
    starts = np.searchsorted(passages.papers, np.arange(count + 1))
    sentences: list[list[str]] = []
    pairs = np.empty((size, 2), dtype=np.int64)
    for row in range(size):
        paper, place = divmod(row, per_paper)
        first, last = starts[paper % count], starts[paper % count + 1]
        fresh = paper < count and place < last - first
        pairs[row] = first + place if fresh else generator.integers(first, last, 2)
        one, other = (passages.sentences[each] for each in pairs[row])
        sentences.append(one if fresh else [*one[: (len(one) + 1) // 2], *other[len(other) // 2 :]])
    share = generator.uniform(0.3, 0.7, (size, 1)).astype(np.float32)
    between = unit(share * passages.vectors[pairs[:, 0]] + (1 - share) * passages.vectors[pairs[:, 1]])
    aside = ASIDE * unit(generator.normal(size=between.shape).astype(np.float32))
    vectors = np.where((pairs[:, 0] == pairs[:, 1])[:, None], between, unit(between + aside))
    return Passages(sentences, np.arange(size) // per_paper, vectors)


def unit(rows: np.ndarray) -> np.ndarray:
    """Return the rows, each scaled to length 1, in single precision."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def _passages(sentences: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for sentence in sentences:
        if sum(map(len, found[-1])) >= CHARACTERS:
            found.append([])
        found[-1].append(sentence)
    return [each for each in found if each]


def _vectors(texts: Sequence[str], embedder, keep: Path) -> np.ndarray:
    """Embed what `keep` does not hold yet, a part at a time, so that a run cut short goes on where it stopped."""
    said = hashlib.sha256("\0".join([embedder.name, embedder.revision, *texts]).encode()).hexdigest()[:12]
    folder = keep / f"vectors-{said}"
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(texts), 1000):
        path = folder / f"{start}.npy"
        if not path.exists():
            part = path.with_suffix(".part.npy")
            np.save(part, embedder.embed_documents(texts[start : start + 1000]))
            part.replace(path)
        parts.append(np.load(path))
    return unit(np.concatenate(parts))

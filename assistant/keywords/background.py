"""What is usual in scientific English: in how many texts a word or phrase stands, and how words are used.

The counts come from open full texts and abstracts (`benchmarks/_train_keywords.py` makes the file); no text is in them.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "background.tsv.gz"


@dataclass(frozen=True, slots=True)
class Usage:
    """How a word is used, as shares of its occurrences; a noun follows articles, a verb follows pronouns and "to"."""

    article: float = 0.3
    verb: float = 0.1
    ends: float = 0.4  # share before a boundary: the last word of a phrase is a noun more often than an adjective


@dataclass(frozen=True, slots=True)
class Background:
    """Counts over `full` whole papers and `short` abstracts."""

    full: int
    short: int
    counts: Mapping[str, tuple[int, int]]  # stems joined by spaces -> papers, abstracts
    usage: Mapping[str, Usage]

    def rarity(self, key: tuple[str, ...]) -> tuple[float, float]:
        """Return the inverse document frequencies (natural logarithm) among papers and among abstracts."""
        papers, abstracts = self.counts.get(" ".join(key), (0, 0))
        return math.log((self.full + 1) / (papers + 0.5)), math.log((self.short + 1) / (abstracts + 0.5))

    def known(self, key: tuple[str, ...]) -> bool:
        """Tell whether a phrase has been met elsewhere."""
        return " ".join(key) in self.counts


@cache
def background() -> Background:
    """Return the shipped counts."""
    data = gzip.decompress(files("assistant.keywords").joinpath(FILE).read_bytes()).decode()
    head, *lines = data.splitlines()
    full, short = map(int, head.split("\t"))
    counts: dict[str, tuple[int, int]] = {}
    usage: dict[str, Usage] = {}
    for line in lines:
        kind, name, *numbers = line.split("\t")
        if kind == "p":
            counts[name] = (int(numbers[0]), int(numbers[1]))
        else:
            usage[name] = Usage(*(int(number) / 100 for number in numbers))
    return Background(full, short, counts, usage)

"""When two spellings are the same keyword: a key of stemmed words, with hyphens, case, plurals and marks folded."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Any

_WORDS = re.compile(r"[^\W_]+")


def key(text: str) -> tuple[str, ...]:
    """Return the stems of the words of `text`: ("li", "ion", "batteri") for "Li-ion batteries"."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return tuple(stem(word) for word in _WORDS.findall(folded))


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return the English stem of a word (Porter's second stemmer)."""
    stemmed: str = _stemmer().stemWord(word)
    return stemmed


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")

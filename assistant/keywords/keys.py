"""When two spellings are the same keyword: a key of stemmed words, with hyphens, case, plurals and marks folded."""

from __future__ import annotations

import re
import unicodedata

from ingest.lexical import stem

_WORDS = re.compile(r"[^\W_]+")


def key(text: str) -> tuple[str, ...]:
    """Return the stems of the words of `text`: ("li", "ion", "batteri") for "Li-ion batteries"."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return tuple(stem(word) for word in _WORDS.findall(folded))

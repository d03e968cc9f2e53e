"""Which keywords say the same, and what a keyword should not look like: cleaning and de-duplication of lists."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from assistant.glossary import is_japanese
from assistant.keywords.keys import key

if TYPE_CHECKING:
    from ingest.embed import Embedder

MOST_CHARACTERS = 80
SAME_MEANING = 0.9  # cosine from which on two phrases that share a word count as one
_BRACKET = re.compile(r"\s*\(([A-Za-z][\w./-]{0,12})\)\s*$")
_LIST_MARK = re.compile(r"^\s*(?:[-*•·]|\d{1,2}[.)])\s+")


def clean(keywords: Sequence[object]) -> list[str]:
    """Return what of a model's list can be a keyword, without list marks, quotes and outer punctuation."""
    kept = []
    for one in keywords:
        if isinstance(one, dict):
            one = one.get("keyword") or one.get("text") or ""
        text = unicodedata.normalize("NFC", str(one)) if isinstance(one, str) else ""
        text = re.sub(r"\s+", " ", _LIST_MARK.sub("", text)).strip(" \t\"'`.,;:、。「」")
        if len(text) > 1 and len(text) <= MOST_CHARACTERS and any(char.isalpha() for char in text):
            kept.append(text)
    return kept


def distinct(keywords: Sequence[str], *, most: int, embedder: Embedder | None = None) -> list[str]:
    """Return up to `most` keywords that differ in lemma and meaning; the first of those that agree stays.

    Equal are: the same stems ("solar cells", "solar cell"), element names and symbols ("Li-ion", "lithium ion"), an
    abbreviation and what it stands for, and, with an `embedder`, phrases that share a word and mean the same to it.
    """
    taken: list[str] = []
    for one in keywords:
        if len(taken) == most:
            break
        if not any(_same(one, other) for other in taken) and not _means_the_same(one, taken, embedder):
            taken.append(one)
    return taken


@lru_cache(maxsize=10_000)
def meaning_key(keyword: str) -> tuple[str, ...]:
    """Return stems in which elements stand as symbols and a bracketed abbreviation at the end is left out."""
    from ingest.elements import NAMES

    bare = _BRACKET.sub("", keyword)
    if is_japanese(bare):
        return (re.sub(r"[\s・]+", "", unicodedata.normalize("NFKC", bare)).casefold(),)
    words = [NAMES.get(word, word) for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", bare).casefold())]
    return key(" ".join(words))


def abbreviates(short: str, long: str) -> bool:
    """Tell whether `short` ("DFT") is made of the first letters of the words of `long`."""
    letters = re.sub(r"[^A-Za-z]", "", short)
    if len(letters) < 2 or sum(char.isupper() for char in letters) < 2 or " " in short:
        return False
    words = [word for word in re.findall(r"[A-Za-z]+", _BRACKET.sub("", long)) if word.lower() not in ("of", "and")]
    return len(words) > 1 and "".join(word[0] for word in words).casefold() == letters.rstrip("s").casefold()


def _same(one: str, other: str) -> bool:
    return (
        meaning_key(one) == meaning_key(other)
        or abbreviates(one, other)
        or abbreviates(other, one)
        or any(
            match[1] == two for two, match in ((one, _BRACKET.search(other)), (other, _BRACKET.search(one))) if match
        )
    )


def _means_the_same(one: str, taken: Sequence[str], embedder: Embedder | None) -> bool:
    words = set(meaning_key(one))
    near = [other for other in taken if words & set(meaning_key(other))]
    if embedder is None or not near or is_japanese(one):
        return False
    vectors = embedder.embed_documents([one, *near])
    return bool((vectors[1:] @ vectors[0]).max() > SAME_MEANING)

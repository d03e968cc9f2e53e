"""British and American spellings of one word: synthesised and synthesized, behaviour and behavior, sulphur and sulfur.

Texts are indexed as they are spelt; a question asks for both. A spelling that nobody uses ("comprize") finds nothing.
"""

from __future__ import annotations

import re


def respelt(words: str) -> str:
    """Return `words` with every word of two spellings in its other one; "" where there is none."""
    other = _WORD.sub(lambda match: _other(match[0]), words)
    return "" if other == words else other


def _other(word: str) -> str:
    folded = word.casefold()
    for pattern, british, american in _PAIRS:
        if match := pattern.search(folded):
            start, end = match.span("spelt")
            return folded[:start] + (american if match["spelt"] == british else british) + folded[end:]
    return word


_WORD = re.compile(r"[^\W\d_]+")
_ENDING = r"(?:e|es|ed|ing|er|ers|able|ations?|ational)$"
_PAIRS = tuple(
    (re.compile(pattern), british, american)
    for pattern, british, american in (
        (rf"\w{{3}}i(?P<spelt>[sz]){_ENDING}", "s", "z"),
        (r"\wly(?P<spelt>[sz])(?:e|ed|ing|er|ers)$", "s", "z"),
        (
            r"^(?:dis)?(?:arm|behavi|col|fav|flav|harb|hon|hum|lab|neighb|od|tum|vap|vig)(?P<spelt>our|or)"
            r"(?:s|ed|ing|ings|al|ally|able|ful|less|hoods?)?$",
            "our",
            "or",
        ),
        (r"alumin(?P<spelt>ium|um)$", "ium", "um"),
        (r"sul(?P<spelt>ph|f)(?=[aiou])", "ph", "f"),
        (r"^(?P<spelt>cae|ce)sium$", "cae", "ce"),
        (r"^(?P<spelt>hae|he)matite$", "hae", "he"),
        (r"^(?:cent|fib|lit|(?:kilo|centi|milli|micro|nano)?met)(?P<spelt>re|er)s?$", "re", "er"),
        (r"^(?:mode|labe|channe|trave|leve)(?P<spelt>ll|l)(?:ed|ing|er|ers)$", "ll", "l"),
        (r"^gr(?P<spelt>e|a)y(?:s|ish)?$", "e", "a"),
        (r"^m(?P<spelt>ou|o)ld(?:s|ed|ing|ings)?$", "ou", "o"),
        (r"^(?P<spelt>ageing|aging)$", "ageing", "aging"),
    )
)

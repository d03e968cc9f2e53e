"""Tells when a sentence says the opposite of its source: negated where that is not, "higher" where that says "lower".

Rules over words, in English and Japanese; they look only at the one sentence of the source that the claim resembles.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ingest.chunk import sentences

RESEMBLES = 0.5  # of the claim's words, from which a sentence of the source is taken as the one meant

_WITHOUT = re.compile(r"\bwithout((?:\W+[\w-]+){1,3})", re.IGNORECASE)
_NO_NEGATION = re.compile(
    r"\bnot only\b|\bno (?:less|more|fewer|later|earlier) than\b|\bnot (?:more|less) than\b|\bnot necessarily\b"
    r"|\bno\.\s*\d|\bnot shown\b|だけでなく|のみならず|なければ|ないし",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|without|none|nothing|lacks?|fails? to|failed to|unable)\b|n['’]t\b"
    r"|\bhardly\b|ない(?!し)|なかった|ません|ずに|ず、|できず|無い|無く",
    re.IGNORECASE,
)
_POLES = tuple(
    (re.compile(one, re.IGNORECASE), re.compile(other, re.IGNORECASE))
    for one, other in (
        (
            r"\bincreas\w*|\brises?\b|\brose\b|\bgrows?\b|\bgrew\b|増加|上昇",
            r"\bdecreas\w*|\bdrop\w*|\bfell\b|\breduc\w*|減少|低下",
        ),
        (
            r"\b(?:higher|larger|greater|above|exceed\w*|more) ?(?:than)?\b|より(?:大き|高)",
            r"\b(?:lower|smaller|below|less) ?(?:than)?\b|より(?:小さ|低)",
        ),
        (
            r"\b(?:highest|largest|maximum|maximal)\b|最大|最高",
            r"\b(?:lowest|smallest|minimum|minimal)\b|最小|最低",
        ),
        (r"\bstable\b", r"\bunstable\b|\bmetastable\b"),
        (r"\bbefore\b", r"\bafter\b"),
        (r"\bfaster\b", r"\bslower\b"),
        (r"\bdirect\b", r"\bindirect\b"),
        (r"\bp-type\b", r"\bn-type\b"),
    )
)


def contradiction(claim: str, source: str, *, resembles: Callable[[str, str], float]) -> str:
    """Return how `claim` contradicts the sentence of `source` that it resembles most, "" where it does not.

    `resembles(claim, sentence)` is the share of the claim's words that a sentence has.
    """
    spans = sentences(source)
    meant = max((source[left:right] for left, right in spans), key=lambda text: resembles(claim, text), default="")
    if not meant or resembles(claim, meant) < RESEMBLES:
        return ""
    meant = _about(claim, meant)
    if is_negated(claim) != is_negated(meant):
        return "the source does not negate this" if is_negated(claim) else "the source says that it is not so"
    for one, other in _POLES:
        for pole, opposite in ((one, other), (other, one)):
            said = pole.search(claim) and not opposite.search(claim)
            if said and opposite.search(meant) and not pole.search(meant):
                return f"the source says the opposite of {pole.search(claim)[0].strip()!r}"  # type: ignore[index]
    return ""


def _about(claim: str, sentence: str) -> str:
    """Return a sentence less the things it is without that `claim` does not speak of: they negate nothing of it."""
    spoken_of = set(re.findall(r"\w{4,}", claim.lower()))

    def kept(found: re.Match[str]) -> str:
        named = set(re.findall(r"\w{4,}", found[1].lower()))
        return found[0] if not named or named & spoken_of else " "

    return _WITHOUT.sub(kept, sentence)


def is_negated(sentence: str) -> bool:
    """Whether a sentence holds an odd number of negations."""
    return len(_NEGATION.findall(_NO_NEGATION.sub(" ", sentence))) % 2 == 1

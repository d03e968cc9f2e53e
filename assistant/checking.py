"""From what a model wrote to an answer that can be checked: sources put right, sentences judged, what is bare marked.

The judging itself is `assistant.citations.check_claims`. A sentence that names no source, or the wrong one, is first
given the source that bears it out, where there is exactly such a one; what then has none is marked in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant import prompts
from assistant.citations import Citation, Claim, check_claims, marks, shared_words, split_claims
from assistant.quantities import quantities
from assistant.sources import Sources
from ingest import lexical
from ingest.records import Paper

ATTRIBUTED_ABOVE = 0.4  # of a sentence's words, where its numbers are all in the source too
ATTRIBUTED_WITHOUT_NUMBERS = 0.6
FEW_WORDS = 3  # with fewer and no number, a sentence says too little to find its source by
_CJK = re.compile(r"[぀-ヿ一-鿿]")
_MARKS = re.compile(r"\s*[\[［]\d{1,3}(?:\s*[,;，、]\s*\d{1,3})*[\]］]")
_YES_OR_NO = re.compile(
    r"\s*(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would)\b|.*か[。?？]?\s*$", re.I
)
# "…, as stated in passage [3]": the number says it all.
_POINTING = re.compile(
    r",?\s*\(?(?:\b(?:as|which is) \w+ )?\b(?:in|from|by|see|according to) (?:the )?(?:passage|source)s? ?"
    r"(?=[\[［]\d)|(?:文章|出典)(?:番号)? ?(?=[\[［]\d)",
    re.IGNORECASE,
)
_POINTER = re.compile(
    r"(?:\b(?:this|that|it|is|was|are|the|answer|information|value|statement|stated|mentioned|given|found|described|"
    r"measured|reported|provided|sources?|passages?|as|in)\b|\W)*",
    re.IGNORECASE,
)
# Tags of ours that a model repeats, and pictures, which a browser would fetch from wherever they point to.
_LEFTOVERS = re.compile(r"</?(?:source|tool_result|question)s?\b[^>]*>|!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])?")


@dataclass(frozen=True, slots=True)
class Checked:
    """A model's text with its marks, the claims in it, and the citations they point to."""

    text: str
    claims: tuple[Claim, ...]
    citations: tuple[Citation, ...]
    trace: tuple[Mapping[str, Any], ...]

    @property
    def supported(self) -> int:
        """Return how many sentences have a source or a tool behind them."""
        return sum(claim.status != "unsupported" for claim in self.claims)


def check(
    text: str,
    sources: Sources,
    tool_results: Sequence[str],
    papers: Mapping[str, Paper],
    *,
    question: str,
    language: prompts.Language,
) -> Checked:
    """Judge every sentence of `text`, a model's, and mark those that nothing bears out."""
    text = tidied(text)
    text, trace = _attributed(text, sources, tool_results, question)
    sentences = [sentence for sentence in split_claims(text) if not is_absence(sentence)]
    citations = _citations(sentences, sources, papers)
    judged = check_claims("\n".join(sentences), citations, sources.evidence(), tool_results)
    return Checked(_marked(text, judged, language), tuple(judged), tuple(citations), tuple(trace))


def tidied(text: str) -> str:
    """Return a model's text without tags of ours, and with bare numbers where it speaks of "passage [3]".

    Sentences that hold nothing but such a pointer, "This is stated in passage [3].", are left out.
    """
    text = _POINTING.sub(" ", _LEFTOVERS.sub("", text)).strip()
    for sentence in split_claims(text):
        if marks(sentence) and _POINTER.fullmatch(_MARKS.sub("", sentence)):
            text = text.replace(sentence, "", 1)
    return re.sub(r"[ \t]{2,}", " ", text).strip()


def is_absence(sentence: str) -> bool:
    """Whether a sentence only says that the sources do not hold something: no claim, nothing to check."""
    return bool(prompts.ABSENCE.search(sentence))


def says_nothing(text: str) -> bool:
    """Whether a model's text is its way of saying that the sources do not answer."""
    if not text.strip() or prompts.NO_ANSWER.casefold() in text.casefold():
        return True
    sentences = split_claims(text)
    return bool(sentences) and all(is_absence(sentence) for sentence in sentences)


def is_echo(question: str, text: str) -> bool:
    """Whether a text only says the question over again, as small models do: no word and no number in it is new."""
    if _YES_OR_NO.match(question):
        return False
    bare = _MARKS.sub("", text)
    return bool(bare.strip()) and not set(lexical.tokens(bare)) - set(lexical.tokens(question))


def _citations(sentences: Sequence[str], sources: Sources, papers: Mapping[str, Paper]) -> list[Citation]:
    cited: dict[int, list[str]] = {}
    for sentence in sentences:
        for n in marks(sentence):
            cited.setdefault(n, []).append(_MARKS.sub("", sentence))
    return [sources.cite(n, cited[n], papers) for n in sorted(cited) if 1 <= n <= len(sources.all)]


def _attributed(
    text: str, sources: Sources, tool_results: Sequence[str], question: str
) -> tuple[str, list[Mapping[str, Any]]]:
    """Give sentences without a source that holds good the one that bears them out, if any does."""
    trace: list[Mapping[str, Any]] = []
    for sentence in split_claims(text):
        if is_absence(sentence) or _holds(sentence, marks(sentence), sources, tool_results):
            continue
        better = _source_of(_MARKS.sub("", sentence), sources, question)
        if better:
            bare = _MARKS.sub("", sentence).rstrip()
            text = text.replace(sentence, f"{bare} [{better}]", 1)
            trace.append({"step": "attributed", "sentence": bare, "from": list(marks(sentence)), "to": [better]})
    return text, trace


def _holds(sentence: str, cited: Sequence[int], sources: Sources, tool_results: Sequence[str]) -> bool:
    citations = [sources.cite(n, [sentence], {}) for n in cited if 1 <= n <= len(sources.all)]
    claim = check_claims(sentence, citations, sources.evidence(), tool_results)
    return bool(claim) and claim[0].status != "unsupported"


def _source_of(bare: str, sources: Sources, question: str) -> int:
    numbers = quantities(bare)
    if not numbers and len(lexical.tokens(bare)) < FEW_WORDS:
        return 0
    # A bare value, "163 mAh/g", speaks of what was asked.
    alone = numbers and not re.search(r"[^\W\d_]{4,}|[぀-ヿ一-鿿]{2}", bare)
    words = question if alone else bare
    needed = ATTRIBUTED_ABOVE if numbers else ATTRIBUTED_WITHOUT_NUMBERS
    fitting = [(shared_words(words, source.checked), -source.n) for source in sources.all]
    if alone and _CJK.search(question) and all(number.unit for number in numbers):
        # Words of one script tell nothing of a source in another; the value with its unit does.
        fitting = [(needed, -source.n) for source in sources.all if not _CJK.search(source.checked)] or fitting
    for share, n in sorted(fitting, reverse=True):
        if share < needed:
            break
        if _holds(f"{bare} [{-n}]", (-n,), sources, ()):
            return -n
    return 0


def _marked(text: str, claims: Sequence[Claim], language: prompts.Language) -> str:
    for claim in claims:
        if claim.status == "unsupported":
            text = text.replace(claim.text, f"{claim.text}{prompts.UNSUPPORTED[language]}", 1)
    return text

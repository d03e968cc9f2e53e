"""Finds quotes again on the pages they name, and checks the claims of an answer against its sources.

Everything here is a pure function of text. A quote is looked for as it stands, then with typesetting undone
(ligatures, dashes, sub- and superscripts, spacing), and the span found always counts characters of `Page.text`.
Numbers and their units are compared in `assistant.quantities`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from assistant import glossary
from assistant.polarity import contradiction
from assistant.quantities import Quantity, occurs, quantities, rounds
from ingest import lexical
from ingest.records import Box, Page, fold_boxes

Status = Literal["verified", "tool", "unsupported"]

MIN_QUOTE_WORDS = 4  # shorter runs between quotation marks are terms, not quotations
MIN_SQUEEZED = 8  # characters without spaces below which spacing is not ignored: "no table" is not "notable"
FEW_TERMS = 2  # of the glossary in a Japanese sentence: fewer say nothing about its English source
MIN_SHARED_TERMS = 0.3
MIN_SHARED_WORDS = 0.25  # of a cited sentence's content words, below which its source does not speak of the same thing


@dataclass(frozen=True, slots=True)
class Located:
    """Where a quote stands: the span `[start, end)` of `Page.text`; `exact` if it stands there letter by letter."""

    start: int
    end: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A quote found in a paper: the page's number, the span on it, and one box per printed line."""

    page: int
    located: Located
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """Source number `n` of an answer: a quote on a page of a paper, `verified` if it was found there again."""

    n: int
    paper: str
    title: str
    doi: str
    page: int
    quote: str
    status: Status
    boxes: tuple[Box, ...] = ()
    section: str = ""
    context: str = ""  # the sentence before, where the quote begins with a word that points back to it
    translation: str = ""  # of the quote, by a model, where it was asked for

    def to_json(self) -> dict[str, Any]:
        """Return the object described in the command line's `ask --json`."""
        return {
            "n": self.n,
            "paper": self.paper,
            "title": self.title,
            "doi": self.doi,
            "page": self.page,
            "quote": self.quote,
            "status": self.status,
            "boxes": fold_boxes(self.boxes),
            "section": self.section,
            "context": self.context,
            "translation": self.translation,
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of an answer, what stands behind it, and for `unsupported` the reason in words."""

    text: str
    status: Status
    citations: tuple[int, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the object described in the command line's `ask --json`."""
        return {"text": self.text, "status": self.status, "citations": list(self.citations), "reason": self.reason}


def locate(quote: str, page: Page, *, near: int = 0) -> Located | None:
    """Find `quote` on `page`; None if it is not there.

    Tried in turn: as it stands; with NFKC, ligatures, dashes, quotation marks, soft hyphens and runs of white space
    made equal; with spacing, hyphens between letters and sub- or superscript marks ignored as well (spaces between
    digits count always). Case counts. A quote must not begin or end inside a word or a number of the page, so that
    "stable" is not found in "unstable" nor "2.5 eV" in "12.5 eV". Of several places the one closest to offset `near`
    wins.
    """
    wanted = _trim(quote)
    if not wanted:
        return None
    for exact, rewrite in ((True, _as_is), (False, fold), (False, squeeze)):
        if rewrite is squeeze and len(squeeze(wanted).text) < MIN_SQUEEZED:
            break
        found = _find(rewrite(wanted).text.strip(), rewrite(page.text), page.text, near)
        if found:
            return Located(*found, exact=exact)
    return None


def locate_in_paper(quote: str, pages: Iterable[Page], *, near: int = 1) -> Place | None:
    """Find `quote` in a paper, trying page number `near` first and then the others by their distance from it."""
    for page in sorted(pages, key=lambda page: (abs(page.number - near), page.number)):
        if located := locate(quote, page):
            return Place(page.number, located, page.boxes(located.start, located.end))
    return None


def check_claims(
    text: str, citations: Sequence[Citation], evidence: Mapping[int, str], tool_results: Sequence[str] = ()
) -> list[Claim]:
    """Give every sentence of an answer a status.

    `evidence` is the source text that each citation number stands for; sentences point to it as [1] or [1, 3].
    A cited sentence is `verified` if its citations were found on their pages, its quotations and numbers occur in the
    sources it cites (a number with its unit in any spelling; never rounded or converted), and source and sentence share
    words. It is `tool` if a number comes from a tool result instead, where it may have more digits, or if it cites
    nothing and its facts are all in one. Everything else is `unsupported`, with the reason.
    """
    known = {citation.n: citation for citation in citations}
    return [_check(sentence, known, evidence, tool_results) for sentence in split_claims(text)]


def split_claims(text: str) -> list[str]:
    """Split an answer into sentences, each with the citation marks that follow it; headings and labels are left out."""
    claims: list[str] = []
    for line in text.splitlines():
        body = _LIST_MARK.sub("", line).strip()
        if not body.startswith("#") and not body.endswith((":", "：")):
            claims.extend(_sentences(body))
    return claims


def marks(sentence: str) -> tuple[int, ...]:
    """Return the citation numbers in a sentence, in order and without repeats: "… [1, 3]" gives (1, 3)."""
    numbers = (int(number) for mark in _MARK.findall(_nfkc(sentence)) for number in re.findall(r"\d+", mark))
    return tuple(dict.fromkeys(numbers))


def quotations(sentence: str) -> list[str]:
    """Return what stands between quotation marks and is long enough to be a quotation rather than a term."""
    found = (match.group(match.lastindex or 0) for match in _QUOTED.finditer(sentence))
    return [quote for quote in found if len(quote.split()) >= MIN_QUOTE_WORDS or len(_CJK.findall(quote)) >= 8]


def shared_words(sentence: str, source: str) -> float:
    """Return the share of a sentence's content words that occur in `source`, by their stems; 1 where it has none.

    A sentence of short words only ("It is DMA.") is compared by the index's tokens.
    """
    words, said = _content(sentence), _content(source)
    if not words:
        words, said = frozenset(lexical.tokens(sentence)), frozenset(lexical.tokens(source))
    return len(words & said) / len(words) if words else 1.0


# --- rewriting text with the way back -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A rewritten text and its runs: run i begins at `starts[i]` of it and stands for `spans[i]` of the original.

    A run as long as its span was copied, any other was replaced as a whole.
    """

    text: str
    starts: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original behind `[start, end)` of `text`."""
        return self._at(start, last=False), self._at(end - 1, last=True)

    def _at(self, index: int, *, last: bool) -> int:
        number = bisect_right(self.starts, index) - 1
        here, (start, end) = self.starts[number], self.spans[number]
        following = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.text)
        if following - here == end - start:
            return start + index - here + last
        return end if last else start


@lru_cache(maxsize=512)
def fold(text: str) -> Rewritten:
    """Return `text` with the accidents of typesetting undone; spaces stay, but every run of them is one."""
    changes = _FOLD_COMBINING if _COMBINING.search(text) else _FOLD
    return _rewrite(text, changes, lambda match: _fold_piece(match.group()))


@lru_cache(maxsize=512)
def squeeze(text: str) -> Rewritten:
    """Return `fold(text)` without spaces (but between digits), hyphens between letters, and marks such as ^ and _."""
    folded = fold(text)
    return _composed(_rewrite(folded.text, _SQUEEZE, lambda match: ""), folded)


def _as_is(text: str) -> Rewritten:
    return Rewritten(text, (0,), ((0, len(text)),))


def _rewrite(text: str, changes: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> Rewritten:
    parts: list[str] = []
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    length = done = 0
    for match in (*changes.finditer(text), None):
        start, end = match.span() if match else (len(text), len(text))
        for piece, span in ((text[done:start], (done, start)), (replace(match) if match else "", (start, end))):
            if piece:
                parts.append(piece)
                starts.append(length)
                spans.append(span)
                length += len(piece)
        done = end
    return Rewritten("".join(parts), tuple(starts), tuple(spans))


def _composed(outer: Rewritten, inner: Rewritten) -> Rewritten:
    """Return `outer`, a rewriting of the text of `inner` by leaving out, as a rewriting of the original of `inner`."""
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    number = 0
    borders = (*inner.starts[1:], len(inner.text))
    for here, (start, end) in zip(outer.starts, outer.spans, strict=True):
        while start < end:
            while borders[number] <= start:
                number += 1
            cut = min(end, borders[number])
            starts.append(here)
            spans.append(inner.original(start, cut))
            here, start = here + cut - start, cut
    return Rewritten(outer.text, tuple(starts), tuple(spans))


def _fold_piece(piece: str) -> str:
    if piece in _SAME:
        return _SAME[piece]
    if piece.isspace():
        return " "
    if piece[0] in _INVISIBLE:
        return ""
    return "".join(_SAME.get(char, char) for char in _nfkc("".join(_SAME.get(char, char) for char in piece)))


@lru_cache(maxsize=4096)
def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _each(chars: str, same: str) -> dict[str, str]:
    return dict.fromkeys(chars, same)


_SAME = (
    _each("‐‑‒–—―−﹣－⁻₋", "-")
    | _each("‘’‚‛′‵`´ʹʼ", "'")
    | _each("“”„‟″«»〝〞", '"')
    | _each("∼˜～〜", "~")
    | _each("º˚", "°")
    | _each("⋅∙•‧・", "·")
    | _each("✕✖⨯", "×")
    | {"…": "...", "℃": "°C", "Å": "Å", "⩽": "≤", "⩾": "≥"}
)
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff\u0002\ufffe"
# What needs no folding and may be copied in long runs: printable ASCII but the grave accent, accented Latin letters,
# Greek, kana and the common Chinese characters.
_STABLE = "!-_a-~À-ÖØ-öø-ÿΑ-Ρα-ω、。「」ぁ-ゖァ-ヺ一-鿿"
_CHANGE = rf"[{_INVISIBLE}]\s*| ?[^\S ]\s*| {{2,}}\s*|[^ {_STABLE}]"
_COMBINING = re.compile("[\u0300-\u036f\u3099\u309a\uff9e\uff9f]")
_FOLD = re.compile(_CHANGE)
_FOLD_COMBINING = re.compile(rf"\S{_COMBINING.pattern}+|{_CHANGE}")
_LETTER = r"[^\W\d_]"
_SQUEEZE = re.compile(
    rf"(?<!\d) +| +(?!\d)|(?<={_LETTER})-(?: *(?={_LETTER}))|(?<={_LETTER}) +- *(?={_LETTER})|[\^_{{}}$·]"
)


# --- finding ------------------------------------------------------------------------------------------------------


def _trim(quote: str) -> str:
    # Writers add quotation marks and ellipses around what they quote. An ellipsis inside hides words: that is no quote.
    return re.sub(
        r"^(?:\[?(?:…|\.\.\.)\]?|[\s\"'“”‘’「」『』])+|(?:\[?(?:…|\.\.\.)\]?|[\s\"“”‘’「」『』])+$", "", quote
    )


def _find(wanted: str, hay: Rewritten, page_text: str, near: int) -> tuple[int, int] | None:
    best: tuple[int, int] | None = None
    at = hay.text.find(wanted) if wanted else -1
    while at >= 0:
        start, end = hay.original(at, at + len(wanted))
        if _whole(page_text, start, end) and (best is None or abs(start - near) < abs(best[0] - near)):
            best = (start, end)
        at = hay.text.find(wanted, at + 1)
    return best


def _whole(text: str, start: int, end: int) -> bool:
    """Whether `[start, end)` begins and ends between words, and not inside a number such as 12.5 or 1,200."""
    if _INNER_START.search(text[max(start - 2, 0) : start] + "\0" + text[start : start + 1]):
        return False
    return not _INNER_END.search(text[end - 1 : end] + "\0" + text[end : end + 2])


_LATIN = "A-Za-zÀ-ÖØ-öø-ÿ"
_INNER_START = re.compile(rf"[{_LATIN}]\0[{_LATIN}]|\d\0\d|\d[.,]\0\d")
_INNER_END = re.compile(rf"[{_LATIN}]\0[{_LATIN}]|\d\0\d|\d\0[.,]\d")


# --- judging a sentence -------------------------------------------------------------------------------------------

_MARK = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_LIST_MARK = re.compile(r"^\s*(?:[-*•>]\s+|\d{1,2}[.)]\s+)*")
_SENTENCE_END = re.compile(
    rf"(?:[.!?][”\")]?(?P<latin>(?:\s*{_MARK.pattern})*)(?=\s|$)|[。！？][」』）]?(?:\s*{_MARK.pattern})*)\s*"
)
_ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|Figs?|Refs?|Eqs?|al|ca|vs|No|approx|cf|resp|Dr|St|Sec)|(?<![\d ] )\b[A-Z])\.$"
)
_QUOTED = re.compile(r"“([^”]+)”|\"([^\"]+)\"|「([^」]+)」|『([^』]+)』")
_CJK = re.compile("[぀-ヿ一-鿿가-힣]")
_FUNCTION_WORD = re.compile(
    "about|after|also|although|been|before|being|between|both|cannot|could|does|each|either|from|have|here|however|into|"
    "just|like|made|many|more|most|much|must|only|other|over|same|should|since|some|such|than|that|their|them|then|"
    "there|therefore|these|they|this|those|through|thus|under|used|using|very|were|what|when|where|which|while|will|"
    "with|within|would|your"
)
_WORD = re.compile(r"[^\W\d_]{4,}|[^\W_]*\d[^\W_]*")


def _sentences(body: str) -> Iterable[str]:
    start = 0
    for match in _SENTENCE_END.finditer(body):
        if not match["latin"] and match.end() < len(body) and _ABBREVIATED.search(body[start : match.start() + 1]):
            continue
        yield body[start : match.end()].strip()
        start = match.end()
    if body[start:].strip():
        yield body[start:].strip()


def _check(
    sentence: str, known: Mapping[int, Citation], evidence: Mapping[int, str], tool_results: Sequence[str]
) -> Claim:
    cited = marks(sentence)
    bare = _MARK.sub("", _nfkc_marks(sentence)).strip()
    if not cited:
        if _all_in_tools(bare, tool_results):
            return Claim(sentence, "tool")
        return Claim(sentence, "unsupported", (), "cites no source")
    reason = _bad_citation(cited, known) or _missing_quote(bare, [evidence.get(n, "") for n in cited])
    if reason:
        return Claim(sentence, "unsupported", cited, reason)
    status, reason = _numbers_and_words(bare, " \n".join(evidence.get(n, "") for n in cited), tool_results)
    return Claim(sentence, status, cited, reason)


def _nfkc_marks(sentence: str) -> str:
    return sentence.replace("［", "[").replace("］", "]")


def _bad_citation(cited: Sequence[int], known: Mapping[int, Citation]) -> str:
    for n in cited:
        if n not in known:
            return f"cites [{n}], which is not among the sources"
        if known[n].status != "verified":
            return f"the quote of [{n}] was not found on its page"
    return ""


def _missing_quote(sentence: str, sources: Sequence[str]) -> str:
    pages = [Page(number=0, text=source) for source in sources]
    for quote in quotations(sentence):
        if not any(locate(quote, page) for page in pages):
            return f"the source does not say {quote!r}"
    return ""


def _numbers_and_words(sentence: str, source: str, tool_results: Sequence[str]) -> tuple[Status, str]:
    status: Status = "verified"
    for quantity in quantities(sentence):
        if occurs(quantity, source):
            continue
        if not any(_is_result(quantity, result) for result in tool_results):
            return "unsupported", f"the source does not give {quantity.text!r}"
        status = "tool"
    if status == "verified" and not _shares_words(sentence, source):
        return "unsupported", "the source speaks of something else"
    if opposite := contradiction(sentence, source, resembles=shared_words):
        return "unsupported", opposite
    return status, ""


def _shares_words(sentence: str, source: str) -> bool:
    if _CJK.search(sentence) and not _CJK.search(source):
        return _shares_terms(sentence, source)
    return shared_words(sentence, source) >= MIN_SHARED_WORDS


def _shares_terms(sentence: str, source: str) -> bool:
    """Whether a Japanese sentence speaks of what its English source does, as far as the glossary knows its terms."""
    said = frozenset(lexical.tokens(source))
    terms = [part.english for part in glossary.split(sentence) if part.english]
    found = sum(any(set(lexical.tokens(word)) <= said for word in words) for words in terms)
    return len(terms) < FEW_TERMS or found >= MIN_SHARED_TERMS * len(terms)


def _content(text: str) -> frozenset[str]:
    # Five letters stand for a word's stem well enough to tell whether two texts speak of the same thing.
    folded = fold(text).text.lower()
    words = {word[:5] for word in _WORD.findall(folded) if not _FUNCTION_WORD.fullmatch(word)}
    return frozenset(words | {a + b for a, b in re.findall(r"(?=([一-鿿ァ-ヺ])([一-鿿ァ-ヺ]))", folded)})


def _all_in_tools(sentence: str, tool_results: Sequence[str]) -> bool:
    numbers: list[Quantity] = quantities(sentence)
    names = re.findall(r"(?<!^)\b(?:[A-Z][\w-]*\d[\w-]*|mp-\d+|[A-Z][a-z]*[A-Z]\w*)", sentence)
    if not tool_results or not (numbers or names):
        return False
    together = "\n".join(tool_results)
    return all(any(_is_result(number, result) for result in tool_results) for number in numbers) and all(
        fold(name).text in fold(together).text for name in names
    )


def _is_result(quantity: Quantity, result: str) -> bool:
    """Whether a tool gave a quantity, which may be told with fewer digits; what a paper says may not be rounded."""
    return occurs(quantity, result) or (not result.startswith("<source ") and rounds(quantity, result))

"""The phrases of an English text that could be keywords, with where and how often they stand in it.

A candidate is a run of up to five words between stop words and punctuation; spellings that differ in case, hyphens,
plural or other endings (`keys.key`) are one candidate, shown in the spelling it is used in most.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from assistant.keywords.keys import key
from ingest.lexical import STOP_WORDS

MAX_WORDS = 5
SHORT_ENOUGH = 5  # letters up to which words in capitals may be abbreviations
LONGEST_WORD = 40  # letters; what is longer is text that lost its spaces

_DASHES = re.compile("[‐‑‒–−]")
_TOKEN = re.compile(r"[^\W_](?:[\w.'’/+*-]*[\w+*])?|[^\s\w]")
_VARIABLE = re.compile(r"[A-Za-zΑ-ω]{0,2}[a-zΑ-ω]\d{1,3}|[ABD-Zα-ωΑ-Ω]\d{2,3}|[a-zα-ωΑ-Ω]{2}|\d+\w{1,3}")
_WORD = re.compile(r"[^\W\d_]")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Words that belong to the talk of papers, not to their subject: no keyword holds them at its edge.
TALK = _words(
    """paper papers article study studies work research author authors present presents presented propose proposes
    proposed show shows showed shown report reports reported describe describes described investigate investigates
    investigated discuss discussed demonstrate demonstrates demonstrated reveal reveals revealed obtain obtains obtained
    find finds found use uses used using based consider considered provide provides provided compare compared
    suggest suggests suggested indicate indicates indicated perform performed give gives given see shown fig figs figure
    figures table tables eq eqs equation section sections ref refs et al respectively e.g i.e etc vs results result
    conclusion conclusions introduction abstract recent recently new novel several many various different important
    significant significantly good better best high-quality well first second third one two three four five six seven
    eight nine ten order example examples case cases number numbers value values way ways part parts aim aims purpose
    approach approaches main possible previous following similar certain particular due according however often still
    yet since make makes made take takes taken become becomes allow allows allowed able need needs needed require
    requires required include includes including included exhibit exhibits exhibited show lead leads leading led
    increase increases increased increasing decrease decreases decreased decreasing enhance enhanced improve improves
    improved achieve achieved remain remains remained depend depends play plays role known called named noted
    keyword keywords university department institute copyright license creative commons elsevier published journal
    doi http https www available online corresponding email also less like even among whereas within without per may
    might must could would should respectively total overall additional thus hence therefore moreover furthermore"""
)
UNITS = _words(
    """k c v a s h m g mg kg ml l nm mm cm km um μm min hz khz mhz ghz pa mpa gpa kpa ev mev kev gev tev kj mol mmol wt
    vol mv mah ma kv kw mw w n kn j å °c ppm ppb rpm kcal db"""
)


@dataclass(slots=True)
class Candidate:
    """A phrase with what was counted of it; offsets count words from the beginning of the text."""

    key: tuple[str, ...]
    forms: Counter[str] = field(default_factory=Counter)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])  # in title, abstract, body
    first: int = 1 << 30
    last: int = 0
    whole: int = 0  # times it stood between boundaries on both sides
    left: int = 0  # times a stop word or punctuation stood before it
    right: int = 0
    capital: int = 0
    after_article: int = 0
    defined: int = 0  # times an abbreviation in brackets followed

    @property
    def total(self) -> int:
        """Return how often it occurs."""
        return sum(self.counts)

    @property
    def form(self) -> str:
        """Return the spelling to show: the most frequent, lower case and short ones first."""
        best = min(self.forms, key=lambda form: (-self.forms[form], form != form.lower(), len(form), form))
        shouted = best.isupper() and " " in best and max(map(len, best.split())) > SHORT_ENOUGH
        return best.lower() if shouted else best


def fold(text: str) -> str:
    """Return `text` with compatibility characters folded and every dash a hyphen."""
    return _DASHES.sub("-", unicodedata.normalize("NFKC", text.encode("utf-8", "ignore").decode()))


def tokenise(text: str) -> list[str]:
    """Return words and punctuation of folded text."""
    return _TOKEN.findall(text)


def is_stop(token: str) -> bool:
    """Tell whether no keyword begins or ends with `token`: punctuation, a stop word, a number, talk of papers."""
    low = token.lower()
    return not _WORD.search(token) or low in STOP_WORDS or low in TALK


def collect(title: str, abstract: str, body: str) -> dict[tuple[str, ...], Candidate]:
    """Return the candidates of a paper by their keys."""
    found: dict[tuple[str, ...], Candidate] = {}
    offset = 0
    for zone, text in enumerate((title, abstract, body)):
        tokens = tokenise(fold(text))
        for start, run in _runs(tokens):
            around = (
                tokens[start - 1] if start else "",
                _abbreviation(tokens[start + len(run) : start + len(run) + 2]),
            )
            _take_run(found, run, zone=zone, offset=offset + start, around=around)
        offset += len(tokens)
    return found


def _runs(tokens: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the stretches between boundaries, with where they begin."""
    start = 0
    for place in range(len(tokens) + 1):
        if place == len(tokens) or is_stop(tokens[place]):
            if place > start:
                yield start, tokens[start:place]
            start = place + 1


def _take_run(
    found: dict[tuple[str, ...], Candidate], run: list[str], *, zone: int, offset: int, around: tuple[str, bool]
) -> None:
    before, abbreviated = around
    size = len(run)
    for start in range(size):
        for end in range(start + 1, min(start + MAX_WORDS, size) + 1):
            words = run[start:end]
            name = key(" ".join(words))
            if not name or max(map(len, words)) > LONGEST_WORD or (len(words) == 1 and _is_symbol(words[0])):
                continue
            candidate = found.get(name)
            if candidate is None:
                candidate = found[name] = Candidate(name)
            candidate.forms[" ".join(words)] += 1
            candidate.counts[zone] += 1
            candidate.first = min(candidate.first, offset + start)
            candidate.last = max(candidate.last, offset + start)
            candidate.left += start == 0
            candidate.right += end == size
            candidate.whole += start == 0 and end == size
            candidate.capital += any(char.isupper() for char in words[0][:1]) and offset + start > 0
            candidate.after_article += start == 0 and before.lower() in ("the", "a", "an", "of", "in", "for")
            candidate.defined += end == size and abbreviated


def _is_symbol(word: str) -> bool:
    """Tell whether a single word is a unit or a variable (xi, u0, d111) and no abbreviation (PV) or formula (O2)."""
    if len(word) < 2 or word.lower() in UNITS or _VARIABLE.fullmatch(word):
        return True
    return len(word) < 4 and not word.isupper() and not word.isascii()


def _abbreviation(after: list[str]) -> bool:
    return len(after) == 2 and after[0] == "(" and len(after[1]) > 1 and after[1][:2].isupper()

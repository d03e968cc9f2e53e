"""From printed lines to running text: words, hyphens at line ends, raised and lowered characters, ligatures, accents.

Every word keeps its place on the page, so that a span of the text leads back to boxes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ingest.readers.glyphs import Fragment
from ingest.readers.layout import Line, touches

HYPHENS = "-\u2010\u00ad\u2011"
DASHES = "\u2013\u2014\u2212/"
CJK_GAP = 0.6  # share of the size: justified Japanese text is spaced out without meaning a space
_RAISED = 0.15
_AFTER_SYMBOL = (
    "ion",
    "ions",
    "air",
    "rich",
    "poor",
    "free",
    "based",
    "doped",
    "metal",
    "containing",
)  # Li-ion, Ni-rich

_CITATION = re.compile(r"^[\[(]?\d{1,3}[a-z]?(?:[,;\u2013\u2014\u2010\u2212-]+\d{1,3}[a-z]?)*[,\])]?$")
_ENDS_IN_WORD = re.compile(r"(?:[a-z\u00df-\u00f6\u00f8-\u00ff]{3,}|[\]\u201d\u2019\"'.,;:?!])$")
# The first three: where the fonts "AdvOT…" of several publishers (RSC, Wiley) keep theirs, in the private area.
_LIGATURES = {0xE103: "fi", 0xE104: "fl", 0xE09D: "ft"} | dict(
    enumerate(("ff", "fi", "fl", "ffi", "ffl", "st", "st"), start=0xFB00)
)
# TeX draws an accent, then the letter beneath it: acute, grave, diaeresis, circumflex, tilde, ring, macron, caron,
# breve, double acute, dot.
_ACCENTS = dict(
    zip(
        "\u00b4`\u00a8\u02c6\u02dc\u02da\u00af\u02c7\u02d8\u02dd\u02d9",
        "\u0301\u0300\u0308\u0302\u0303\u030a\u0304\u030c\u0306\u030b\u0307",
        strict=True,
    )
)
_ACCENTED = re.compile(f"([{''.join(_ACCENTS)}])([A-Za-z\u0131\u0237])")
_CLEAN = re.compile("[\ue09d\ue103\ue104\ufb00-\ufb06\u00b4`\u00a8\u02c6-\u02dd\u00af\u00ad\ufffe\x00-\x1f]")
LEADER = "....."  # what the dots of a table of contents become: embedders lose their way among a hundred of them
_LEADERS = re.compile(r"\s*\.{5,}\s*")
_DOTS = re.compile(r"^[.·…]+$")
_BAR = re.compile(r"^[-_]{4,}$")  # fraction bars and rules made of characters
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)*")


class Word(NamedTuple):
    """Characters that stand together on one line, and their box in the reading frame."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float


@dataclass
class Text:
    """Running text as it grows, with one row (start, end, x0, top, x1, bottom) per word fragment."""

    text: str = ""
    rows: list[tuple[int, int, float, float, float, float]] = field(default_factory=list)

    def add(self, word: Word, glue: str) -> None:
        """Append a word after `glue` (a space, a separator or nothing)."""
        start = len(self.text) + len(glue)
        self.text += glue + word.text
        self.rows.append((start, start + len(word.text), *word[1:]))

    def drop_last_character(self) -> None:
        """Take back the hyphen that ended a line."""
        self.text = self.text[:-1]
        start, end, *box = self.rows[-1]
        self.rows[-1] = (start, end - 1, box[0], box[1], box[2], box[3])


def is_cjk(character: str) -> bool:
    """Whether the character belongs to a script written without spaces: Chinese, Japanese."""
    code = ord(character)
    return (
        0x2E80 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0xFF00 <= code <= 0xFFEF or 0x20000 <= code <= 0x3FFFF
    )


def words_of(line: Line) -> list[Word]:
    """Return the words of a line.

    Raised and lowered characters stay glued to their word as printed (LiFePO4, cm−1), but a raised number after a
    word of three letters or more, or after punctuation, is a citation mark and stands alone.
    """
    words: list[Word] = []
    left: Fragment | None = None
    for fragment in line.fragments:
        if left is None or not _glued(left, fragment, line):
            words.append(Word(fragment.text, *fragment[1:5]))
        else:
            words[-1] = _joined(words[-1], fragment)
        left = fragment
    cleaned = [word for each in words if (word := _clean(each)).text and not _BAR.match(word.text)]
    return _with_short_leaders(cleaned) if line.characters > len(LEADER) else cleaned


def _with_short_leaders(words: list[Word]) -> list[Word]:
    """Join the dots that lead from a title to its page number, wherever as many stand in a row."""
    kept: list[Word] = []
    for is_dots, run in groupby(words, key=lambda word: bool(_DOTS.match(word.text))):
        found = list(run)
        if is_dots and sum(len(word.text) for word in found) >= len(LEADER):
            boxes = [word[1:] for word in found]
            kept.append(Word(LEADER, boxes[0][0], boxes[0][1], boxes[-1][2], boxes[0][3]))
        else:
            kept.extend(found)
    return kept


def _glued(left: Fragment, right: Fragment, line: Line) -> bool:
    if touches(left, right):
        return not _is_citation_mark(left, right, line)
    gap = right.x0 - left.x1
    return is_cjk(left.text[-1]) and is_cjk(right.text[0]) and gap < CJK_GAP * max(left.size, right.size)


def _is_citation_mark(left: Fragment, right: Fragment, line: Line) -> bool:
    raised = right.size < 0.85 * line.size and right.base < line.base - _RAISED * line.size
    return (
        raised
        and left.size > right.size
        and bool(_CITATION.match(right.text))
        and bool(_ENDS_IN_WORD.search(left.text))
        and left.text not in ("mol", "min")
    )


def _joined(word: Word, fragment: Fragment) -> Word:
    return Word(
        word.text + fragment.text,
        min(word.x0, fragment.x0),
        min(word.top, fragment.top),
        max(word.x1, fragment.x1),
        max(word.bottom, fragment.bottom),
    )


def _clean(word: Word) -> Word:
    if LEADER in word.text:
        word = word._replace(text=_LEADERS.sub(f" {LEADER} ", word.text).strip())
    if word.text.isascii() or not _CLEAN.search(word.text):
        return word
    return word._replace(text=clean(word.text))


def clean(text: str) -> str:
    """Expand ligatures, put accents on their letters, drop soft hyphens inside words and control characters."""
    text = _ACCENTED.sub(_compose, text.translate(_LIGATURES))
    ending = "\u00ad" if text.endswith("\u00ad") else ""
    return re.sub("[\u00ad\ufffe\x00-\x1f]", "", text) + ending


def _compose(match: re.Match[str]) -> str:
    letter = {"\u0131": "i", "\u0237": "j"}.get(match[2], match[2])
    composed = unicodedata.normalize("NFC", letter + _ACCENTS[match[1]])
    return composed if len(composed) == 1 else match[0]


# ---- lines to paragraphs


def vocabulary(lines: Iterable[Sequence[Word]]) -> Counter[str]:
    """Count the words of a document, without those at the ends and starts of lines, which may be halves."""
    inner = " ".join([word.text for words in lines for word in words[1:-1]])
    return Counter(_WORD.findall(inner.lower().replace("\u2010", "-")))


def append_lines(text: Text, lines: Iterable[Sequence[Word]], known: Counter[str], *, before: str = "") -> None:
    """Append lines to a paragraph: with spaces, but none between Chinese or Japanese, and without line-end hyphens.

    `before` stands before the first word.
    """
    opens = True
    for words in lines:
        for number, word in enumerate(words):
            text.add(word, before if opens else _glue(text, word, number == 0, known))
            opens = False


def _glue(text: Text, word: Word, is_first: bool, known: Counter[str]) -> str:
    before = text.text[-1]
    if not is_first or before in " \n":
        return " " if before not in " \n" else ""
    if before in HYPHENS and len(text.text) > 1 and text.text[-2].isalnum():
        if before == "\u00ad" or not keeps_hyphen(text.text, word.text, known):
            text.drop_last_character()
        return ""
    if before in DASHES and len(text.text) > 1 and text.text[-2].isalnum() and word.text[0].isalnum():
        return ""
    return "" if is_cjk(before) and is_cjk(word.text[0]) else " "


def keeps_hyphen(before: str, after: str, known: Counter[str]) -> bool:
    """Whether the hyphen between a line's end and the next line belongs to the word.

    It does where the document writes the word with a hyphen elsewhere more often than without; where neither occurs,
    it does after or before a capital, a digit or a symbol (Li-ion, X-ray, 2-propanol) and between two words of four
    letters or more that the document also uses alone (self-heating).
    """
    left = re.split(r"[\s(/\[]", before[:-1])[-1]
    right = after
    if not right[0].isalpha() or not left or not left[-1].isalpha() or right[0].isupper():
        return True
    head = _WORD.findall(left)[-1]
    tail = _WORD.findall(right)[0]
    whole, hyphened = known[(head + tail).lower()], known[f"{head}-{tail}".lower()]
    if whole != hyphened:
        return hyphened > whole
    if head[-1].isupper() or len(head) == 1 or any(character.isupper() for character in head[1:]) or "-" in head:
        return True
    if len(head) == 2 and head[0].isupper():
        return known[tail.lower()] > 0 or tail in _AFTER_SYMBOL
    return len(head) > 3 and len(tail) > 3 and known[head.lower()] > 0 and known[tail.lower()] > 0

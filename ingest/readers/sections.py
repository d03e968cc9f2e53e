"""What each block of a document is (title, heading, caption, reference, …) and which section it stands in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from ingest.readers.paragraphs import (
    CAPTION,
    NAMED_HEADING,
    NUMBERED_HEADING,
    REFERENCE_HEADING,
    SUBSECTION,
    Draft,
    continues_as_sentence,
)
from ingest.readers.references import mark_references

HEADING_WORDS = 16
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_ABSTRACT = re.compile(r"^(?:abstract|summary|synopsis|要旨|概要)\b", re.I)
_FOOT = re.compile(
    r"^(?:[*†‡§¶#©]|\d{1,2}\s?[A-Z]|\[[*+a-z]\]|(?:doi|received|accepted|published|copyright|correspond|e-?mail|"
    r"citation|how to cite|this is an open access|this article is licensed|open access|electronic supplementary|"
    r"supporting information for)\b)",
    re.I,
)
_FRONT = re.compile(
    r"@|\b(?:received|accepted|published|revised|copyright|doi|https?://|universit|institut|department|college|laborator|"
    r"school of|faculty|correspond|e-?mail|licen[cs]e|creative commons|academic editor|edited by|reviewed by|citation|"
    r"open access|issn|volume|©)",
    re.I,
)
_AXIS = re.compile(r"^(?:\S+\s){1,4}[(\[][^()\[\]]{1,14}[)\]]$")  # "Wavelength (nm)": a plot's label
_NOT_A_NAME = re.compile(r"[\d:]|\b(?:introduction|overview|contents|model|method|theory|background)", re.I)
TITLE_PAGES = 3


def classify(
    pages: Sequence[list[Draft]], heights: Sequence[float], *, title: str = "", outline: Sequence[str] = ()
) -> None:
    """Set kind and section of every draft, in place.

    `title` is what the file's own metadata says, used to recognise the title block; `outline` are the bookmarks'
    titles.
    """
    every = [draft for drafts in pages for draft in drafts]
    body, font = body_size(every), _body_font(every)
    marks = {_plain(entry) for entry in outline if _plain(entry)}
    _mark_captions(pages)
    _mark_title(pages, heights, body, title)
    for drafts in pages:
        for draft in drafts:
            if draft.kind == "text" and _is_heading(draft, body, font, marks):
                draft.kind = "heading"
    _mark_front(pages)
    mark_references(pages)
    for drafts, height in zip(pages, heights, strict=True):
        _mark_footnotes(drafts, height, body, first=any(draft.kind == "title" for draft in drafts))
    _set_sections(pages)


def body_size(drafts: Iterable[Draft]) -> float:
    """Return the font size of most characters, to a tenth of a point."""
    weights: Counter[float] = Counter()
    for draft in drafts:
        for line in draft.lines:
            weights[round(line.size, 1)] += line.characters
    return max(weights, key=lambda size: (weights[size], size)) if weights else 10.0


def _body_font(drafts: Iterable[Draft]) -> str:
    weights: Counter[str] = Counter()
    for draft in drafts:
        for line in draft.lines:
            weights[line.font] += line.characters
    return max(weights, key=lambda name: (weights[name], name)) if weights else ""


def _plain(text: str) -> str:
    """Reduce a title to its letters and digits, without a section number in front."""
    text = re.sub(r"^\W*(?:[\dIVX]+\.)*[\dIVX]*\.?\s+", "", text)
    return re.sub(r"[\W_]+", "", text).lower()


# ---- captions


def _mark_captions(pages: Sequence[list[Draft]]) -> None:
    for drafts in pages:
        for draft in drafts:
            match = CAPTION.match(draft.first.text)
            if match and draft.kind == "text" and (_has_caption_mark(draft, match)):
                draft.kind = "caption"


def _has_caption_mark(draft: Draft, match: re.Match[str]) -> bool:
    """Whether "Figure 3 …" opens a caption, not a sentence: a mark or a capital follows, or the label is set apart."""
    if match.re.groups and match["number"] is None:
        return True
    text = draft.first.text
    if continues_as_sentence(draft.text, CAPTION.match(draft.text) or match):
        return False
    if (match["after"] or "").strip():
        return True
    label = draft.first.fragments[0]
    following = [one for one in draft.first.fragments if one.x0 > label.x1 + 1]
    face_changes = any(one.font != label.font for one in following[1:4])
    rest = text[match.end() :].lstrip()
    return (
        (label.bold and not draft.bold)
        or len(rest) == 0
        or (rest[:1].isupper() and (face_changes or len(draft.lines) < 3))
    )


# ---- title and front matter


def _mark_title(pages: Sequence[list[Draft]], heights: Sequence[float], body: float, title: str) -> None:
    candidates = [
        (page, draft)
        for page, drafts in enumerate(pages[:TITLE_PAGES])
        for draft in drafts
        if draft.kind == "text" and draft.first.top < 0.75 * heights[page] and 2 <= draft.characters <= 400
    ]
    if not candidates:
        return
    known = _plain(title)
    if len(known) + len(_CJK.findall(known)) >= 12:
        for page, draft in candidates:
            if _resembles(_plain(draft.text), known):
                draft.kind = "title"
                _join_title(pages[page], draft)
                return
    first_page = [(page, draft) for page, draft in candidates if page == candidates[0][0]]
    best = max(first_page, key=lambda one: _title_score(one[1], body, heights[one[0]]))
    if _title_score(best[1], body, heights[best[0]]) > 0:
        best[1].kind = "title"
        _join_title(pages[best[0]], best[1])


def _resembles(text: str, known: str) -> bool:
    if not text or not 0.6 < len(text) / len(known) < 1.7:
        return False
    return SequenceMatcher(None, text, known, autojunk=False).ratio() > 0.8


def _title_score(draft: Draft, body: float, height: float) -> float:
    words = _word_count(draft.text)
    if (
        words < 2
        or words > 45
        or _FRONT.search(draft.text)
        or REFERENCE_HEADING.match(draft.text)
        or NAMED_HEADING.match(draft.text)
    ):
        return 0.0
    letters = sum(character.isalpha() for character in draft.text)
    if letters < 0.6 * draft.characters or draft.text.endswith((".", ",", ";")):
        return 0.0
    size = draft.size / max(body, 1.0)
    if size < 1.08 and not draft.bold:
        return 0.0
    score = size + (0.15 if draft.bold else 0.0) + 0.03 * min(words, 10)
    return score - 0.5 * max(draft.first.top / height - 0.35, 0.0) * 2


def _word_count(text: str) -> int:
    """Return how many words a text has; Japanese and Chinese write none, two characters stand for one there."""
    return len(text.split()) + len(_CJK.findall(text)) // 2


def _join_title(drafts: list[Draft], title: Draft) -> None:
    """Join title lines that the paragraph rules cut apart: same size and weight, directly above or below."""
    while (at := drafts.index(title)) + 1 < len(drafts) and _is_more_title(
        title, drafts[at + 1], title, drafts[at + 1]
    ):
        title.lines.extend(drafts.pop(at + 1).lines)
    while (at := drafts.index(title)) > 0 and _is_more_title(title, drafts[at - 1], drafts[at - 1], title):
        title.lines[:0] = drafts.pop(at - 1).lines


def _is_more_title(title: Draft, other: Draft, upper: Draft, lower: Draft) -> bool:
    near = -0.5 * title.size < lower.top - upper.bottom < 0.9 * title.size
    same = abs(other.size - title.size) < 0.3 and other.bold == title.bold
    return other.kind == "text" and near and same and not _FRONT.search(other.text)


def _mark_front(pages: Sequence[list[Draft]]) -> None:
    """Mark masthead, authors and affiliations: what stands around the title before running text or a heading begins."""
    page = next((number for number, drafts in enumerate(pages) if any(draft.kind == "title" for draft in drafts)), None)
    if page is None:
        return
    drafts = pages[page]
    at = next(number for number, draft in enumerate(drafts) if draft.kind == "title")
    for draft in drafts[:at]:
        if draft.kind in ("text", "heading") and not _is_prose(draft):
            draft.kind = "front"
    for number, draft in enumerate(drafts[at + 1 :]):
        if draft.kind == "heading" and not _belongs_to_front(draft) and not (number == 0 and _is_name(draft.text)):
            break
        if draft.kind not in ("text", "heading"):
            continue
        if _ABSTRACT.match(draft.text) or (_is_prose(draft) and not _FRONT.search(draft.text[:120])):
            break
        draft.kind = "front"


def _belongs_to_front(draft: Draft) -> bool:
    """Whether a bold line under the title names people or a label (ACCESS, OPEN) rather than a section."""
    text = draft.text
    if NAMED_HEADING.match(text) or NUMBERED_HEADING.match(text):
        return False
    return "," in text or " and " in text or "*" in text or len(text.split()) == 1


def _is_name(text: str) -> bool:
    words = text.split()
    return 2 <= len(words) <= 4 and not _NOT_A_NAME.search(text) and all(word[0].isupper() for word in words)


def _is_prose(draft: Draft) -> bool:
    words = draft.text.split()
    small = sum(word[:1].islower() for word in words)
    return (len(words) >= 30 and small > 0.55 * len(words) and "." in draft.text) or _is_cjk_prose(draft)


def _is_cjk_prose(draft: Draft) -> bool:
    return draft.characters > 80 and "。" in draft.text


# ---- headings


def _is_heading(draft: Draft, body: float, font: str, outline: set[str]) -> bool:
    if draft.characters > 140 or len(draft.lines) > 3:
        return False
    text = draft.text
    words = text.split()
    letters = sum(character.isalpha() for character in text)
    if letters < 2 or len(words) > HEADING_WORDS:
        return False
    if NAMED_HEADING.match(text) or REFERENCE_HEADING.match(text):
        return True
    if len(_plain(text)) > 3 and _plain(text) in outline:
        return True
    if text[-1] in ".,;:-。、" and not NUMBERED_HEADING.match(text):
        return False
    unnumbered = re.sub(r"^[\d.\s]+", "", text)
    if letters < 0.6 * len(unnumbered.replace(" ", "")) or text[0].islower() or _AXIS.search(text):
        return False
    larger = draft.size > 1.1 * body
    numbered = bool(NUMBERED_HEADING.match(text))
    if numbered and (larger or draft.bold or (draft.first.font != font and len(draft.lines) <= 2)):
        return len(words) > 1
    if SUBSECTION.match(text) and len(draft.lines) == 1 and text[-1] != ".":
        return True
    return (larger or (draft.bold and draft.size > 0.93 * body)) and not _FRONT.search(text) and text[0].isalnum()


# ---- footnotes and sections


def _mark_footnotes(drafts: list[Draft], height: float, body: float, *, first: bool) -> None:
    """Mark small print in the lower half; on the first page that is also addresses and licences without a mark."""
    for draft in drafts:
        if draft.kind != "text" or draft.first.top < 0.5 * height or draft.size > 0.95 * body:
            continue
        if _FOOT.match(draft.text) or (first and draft.size < 0.93 * body and _FRONT.search(draft.text)):
            draft.kind = "footnote"


def _set_sections(pages: Sequence[list[Draft]]) -> None:
    """Give every block the last heading before it. Without one, the first paragraph after the title is the abstract."""
    section = ""
    for drafts in pages:
        for draft in drafts:
            if draft.kind == "heading":
                section = re.sub(r"\s+", " ", draft.text).strip(" ■▪●◆□")
                draft.section = section
            elif draft.kind == "text" and not section and (_ABSTRACT.match(draft.text) or _is_prose(draft)):
                draft.section, section = "Abstract", "\0"
            elif draft.kind not in ("title", "front"):
                draft.section = section.strip("\0")

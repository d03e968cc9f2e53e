"""Which blocks of a document are its reference list: what follows a heading, and what looks like one without any."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.readers.paragraphs import NAMED_HEADING, REFERENCE_HEADING, Draft

LEAST_ENTRIES = 5  # of a list without a heading
LEAST_SHARE = 0.6  # of its blocks are whole entries, the others pieces of entries
LONGEST_GAP = 2  # blocks between two entries

_NUMBER = re.compile(r"^(?:\[\s?[A-Za-z+]{0,5}\d{1,4}[a-z]?\s?\]|\(\d{1,3}\)|\d{1,3}[.)]?(?=\s|$)|[a-z]\)\s)")
_YEAR = re.compile(r"\b(?:19|20)\d\d[a-z]?\b")
_INITIAL = re.compile(r"\b[A-Z]\.")
_NAME_FIRST = re.compile(r"^[^\W\d_][\w’'-]+(?: [^\W\d_][\w’'-]+)?, (?:[A-Z]\.[- ]?)+")
_PLACE = re.compile(r"\bdoi\b|https?://|\d ?[–-] ?\d|\b\d{1,4}(?: ?\(\d+\))?[,:] ?[A-Z]?\d{1,7}\b", re.I)


def mark_references(pages: Sequence[list[Draft]]) -> None:
    """Mark what follows a heading "References", up to the next real heading, and lists without one; cut into entries.

    Publishers set lists under no heading, or under one that is a picture; and an entry that looks like a heading ends
    the list above it.
    """
    _mark_below_headings(pages)
    _mark_without_heading(pages)
    for drafts in pages:
        marked = [part for draft in drafts for part in (_entries(draft) if draft.kind == "reference" else [draft])]
        drafts[:] = _rejoined(marked)


def _mark_below_headings(pages: Sequence[list[Draft]]) -> None:
    inside = False
    for draft in (draft for drafts in pages for draft in drafts):
        if draft.kind == "heading" and not (inside and _is_entry_head(draft)):
            inside = bool(REFERENCE_HEADING.match(draft.text))
        elif inside and draft.kind in ("text", "heading", "table"):
            draft.kind = "reference"


def _is_entry_head(draft: Draft) -> bool:
    """Whether a "heading" in a list of references is an entry set in another font."""
    return bool(_NUMBER.match(draft.text)) and not NAMED_HEADING.match(draft.text) and not draft.bold


def _mark_without_heading(pages: Sequence[list[Draft]]) -> None:
    run: list[Draft] = []
    gap: list[Draft] = []
    for draft in (draft for drafts in pages for draft in drafts):
        if draft.kind not in ("text", "scattered"):
            if draft.kind in ("heading", "title"):
                _settle(run)
                run, gap = [], []
        elif _looks_like_entry(draft.text):
            run += [*gap, draft] if run else [draft]
            gap = []
        else:
            gap.append(draft)
            if len(gap) > LONGEST_GAP:
                _settle(run)
                run, gap = [], []
    _settle(run)


def _settle(run: Sequence[Draft]) -> None:
    entries = sum(_looks_like_entry(draft.text) for draft in run)
    if entries >= LEAST_ENTRIES and entries >= LEAST_SHARE * len(run):
        for draft in run:
            draft.kind = "reference"


def _looks_like_entry(text: str) -> bool:
    """Whether it has a year, a place (pages, DOI or address), and a number or names with initials before them."""
    if not (_YEAR.search(text) and _PLACE.search(text)):
        return False
    initials = len(_INITIAL.findall(text))
    numbered = bool(_NUMBER.match(text))
    return bool(_NAME_FIRST.match(text)) or (numbered and initials >= 1) or initials >= 4


def _entries(draft: Draft) -> list[Draft]:
    """Cut a run of references where an entry's number or an outdented line begins."""
    numbered = sum(bool(_NUMBER.match(line.text)) for line in draft.lines)
    left = min(line.x0 for line in draft.lines)
    hanging = any(line.x0 > left + 0.7 * line.size for line in draft.lines)
    entries: list[Draft] = []
    for line in draft.lines:
        starts = bool(_NUMBER.match(line.text)) if numbered else (hanging and line.x0 < left + 0.5 * line.size)
        if starts or not entries:
            entries.append(Draft([], "reference"))
        entries[-1].lines.append(line)
    return entries


def _rejoined(drafts: list[Draft]) -> list[Draft]:
    """Give lines that a column break parted from their reference back to it, where references are numbered."""
    numbered = [draft for draft in drafts if draft.kind == "reference" and _NUMBER.match(draft.first.text)]
    if len(numbered) < 3:
        return drafts
    joined: list[Draft] = []
    for draft in drafts:
        starts = bool(_NUMBER.match(draft.first.text))
        if draft.kind == "reference" and not starts and joined and joined[-1].kind == "reference":
            joined[-1].lines.extend(draft.lines)
        else:
            joined.append(draft)
    return joined

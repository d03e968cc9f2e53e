"""Finding words inside one paper, whatever their case and typesetting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assistant.citations import fold
from ingest.records import Page

MOST = 500  # matches shown


@dataclass(frozen=True, slots=True)
class Match:
    """A place in a paper: the page's number and the span of its text."""

    page: int
    start: int
    end: int


def find_in_paper(pages: Sequence[Page], words: str) -> list[Match]:
    """Return where `words` stand in a paper, in order."""
    wanted = fold(" ".join(words.split())).text.strip()
    if not wanted:
        return []
    pattern = re.compile(re.escape(wanted), re.IGNORECASE)
    found: list[Match] = []
    for page in pages:
        found.extend(_on_page(page, pattern))
        if len(found) >= MOST:
            break
    return found[:MOST]


def _on_page(page: Page, pattern: re.Pattern[str]) -> Iterator[Match]:
    folded = fold(page.text)
    for match in pattern.finditer(folded.text):
        yield Match(page.number, *folded.original(match.start(), match.end()))

"""The numbered sources that a model may cite: chosen from what was found, shown as data, and cited back by quote.

A source keeps its number from the first to the last step of an answer. Small models get the best sentences with their
neighbours, since they read slowly and lose the thread; larger ones get whole passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assistant.citations import Citation, locate, quotations, shared_words
from assistant.evidence import Findings
from assistant.extractive import CELL, Ranked
from assistant.injection import is_order, without_orders
from assistant.quantities import occurs, quantities
from ingest.chunk import sentences
from ingest.library import Library
from ingest.records import Chunk, Hit, Page, Paper

MOST_SOURCES = 12
LONG_TABLE = 1600  # characters from which only the rows that were found are shown
TITLE_CHARACTERS = 90
_REFERENCE = re.compile(r"\s?\[\d{1,3}[a-z]?(?:\s*[,;–-]\s*\d{1,3}[a-z]?)*\]")
_DELIMITER = re.compile(r"<(?=/?\s*(?:source|passage|tool_result|attachment|question)s?\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """A stretch `[start, end)` of a page, under the number by which answers cite it; `head` is a table's."""

    n: int
    hit: Hit
    page: Page
    start: int
    end: int
    section: str = ""
    head: str = ""

    @property
    def text(self) -> str:
        """Return the stretch, word for word."""
        return self.page.text[self.start : self.end]

    @property
    def evidence(self) -> str:
        """Return the stretch, and the head of the table it belongs to."""
        return f"{self.head}\n{self.text}" if self.head else self.text

    @property
    def checked(self) -> str:
        """Return what claims are checked against: the evidence as it stands and as it was shown, without orders."""
        kept = without_orders(visible(self.evidence), instead="")
        shown = _REFERENCE.sub("", kept)
        return kept if shown == kept else f"{kept}\n{shown}"

    def shown(self) -> str:
        """Return the source as a model reads it: without the marks of its own references, which look like ours."""
        page = f' page="{self.page.number}"' if self.hit.chunk.kind != "material" else ""
        title = plain(self.hit.title)[:TITLE_CHARACTERS].replace('"', "'")
        return f'<source n="{self.n}" title="{title}"{page}>\n{_shown(self.evidence)}\n</source>'

    def briefly(self) -> str:
        """Return the source as a small model reads it: its number and its text alone."""
        return f"[{self.n}] {_shown(self.evidence)}"


@dataclass(slots=True)
class Sources:
    """The sources of one answer, numbered from 1 in the order they came."""

    library: Library
    all: list[Source] = field(default_factory=list)

    def add_windows(self, ranked: Sequence[Ranked], *, tokens: int) -> list[Source]:
        """Add ranked sentences, each with its neighbours, as far as `tokens` reach."""
        return self._add((_window(one) for one in ranked), tokens=tokens)

    def add_passages(self, found: Findings, *, tokens: int) -> list[Source]:
        """Add whole passages, those with the best sentences first, as far as `tokens` reach."""
        best = {one.candidate.hit.chunk.id: one.candidate.hit for one in found.ranked}
        hits = [*best.values(), *(hit for hit in found.hits if hit.chunk.id not in best)]
        return self._add((self._passage(hit) for hit in hits), tokens=tokens)

    def add_found(self, paper: str, number: int, text: str) -> Source:
        """Add a passage that a tool has found on a page (or the page, where it read that); known ones stay as they are.

        Raises NotInLibrary where the page is not in the library.
        """
        page = self.library.page(paper, number)
        start = max(page.text.find(text), 0)
        end = min(start + len(text), len(page.text))
        known = self.library.paper(paper)
        hit = Hit(Chunk(f"{paper}#{number}", paper, 0, page.text[start:end], number, start, end), known.title, 0.0)
        candidate = Source(0, hit, page, start, end)
        same = [one for one in self.all if _overlap(candidate, one) > 0.9 and one.end - one.start >= end - start]
        if same:
            return same[0]
        self.all.append(replace(candidate, n=len(self.all) + 1))
        return self.all[-1]

    def evidence(self) -> dict[int, str]:
        """Return what each number stands for, for the claim check."""
        return {source.n: source.checked for source in self.all}

    def cite(self, n: int, claims: Sequence[str], papers: Mapping[str, Paper]) -> Citation:
        """Return source `n` as a citation: the words of it that bear out `claims`, found again on the page."""
        source = self.all[n - 1]
        start, end = best_quote(source, claims)
        text = source.page.text[start:end]
        located = locate(text, source.page, near=start)
        paper = papers.get(source.hit.chunk.source)
        return Citation(
            n=n,
            paper=source.hit.chunk.source,
            title=paper.title if paper else source.hit.title,
            doi=paper.metadata.doi if paper else "",
            page=source.page.number if paper else 0,
            quote=text,
            status="verified" if located else "unsupported",
            boxes=source.page.boxes(located.start, located.end) if located else (),
            section=source.section,
            context=source.head,
        )

    def _add(self, candidates: Iterable[Source], *, tokens: int) -> list[Source]:
        added: list[Source] = []
        for candidate in candidates:
            if tokens <= 0 or len(added) == MOST_SOURCES:
                break
            if any(_overlap(candidate, other) > 0.5 for other in self.all):
                continue
            source = replace(candidate, n=len(self.all) + 1)
            self.all.append(source)
            added.append(source)
            tokens -= about_tokens(source.shown())
        return added

    def _passage(self, hit: Hit) -> Source:
        chunk = hit.chunk
        if chunk.kind == "material":
            return Source(0, hit, Page(number=chunk.page, text=chunk.text), 0, len(chunk.text), chunk.section)
        head = chunk.context if chunk.kind == "table" else ""
        return Source(0, hit, self.library.page(chunk.source, chunk.page), chunk.start, chunk.end, chunk.section, head)


def about_tokens(text: str) -> int:
    """Return about how many tokens a text takes: four characters each, one and a half where it is not ASCII."""
    ascii_length = sum(char.isascii() for char in text)
    return ascii_length // 4 + int((len(text) - ascii_length) / 1.5) + 1


def plain(text: str) -> str:
    """Return foreign text so that it cannot close or open the tags that mark it as data, nor hide anything."""
    return _DELIMITER.sub("‹", visible(text)).strip()


def visible(text: str) -> str:
    """Return a text without the characters that no eye sees: zero-width ones, directions, tags, controls."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


def _shown(text: str) -> str:
    return plain(without_orders(_REFERENCE.sub("", visible(text))))


def best_quote(source: Source, claims: Sequence[str]) -> tuple[int, int]:
    """Return the span of the page that bears the claims out best: a quotation of theirs, else a sentence or row."""
    for claim in claims:
        for quotation in quotations(claim):
            found = locate(quotation, Page(number=0, text=source.text))
            if found:
                return source.start + found.start, source.start + found.end
    spans = [(source.start + left, source.start + right) for left, right in _pieces(source)]
    spans = [span for span in spans if not is_order(visible(source.page.text[slice(*span)]))]
    together = " ".join(claims)
    return max(
        spans, key=lambda span: _fit(together, source.page.text[slice(*span)]), default=(source.start, source.end)
    )


def _pieces(source: Source) -> list[tuple[int, int]]:
    if CELL not in source.text:
        return [span for span in sentences(source.text) if source.text[slice(*span)].strip()]
    spans, position = [], 0
    for line in source.text.split("\n"):
        if line.strip():
            left = position + len(line) - len(line.lstrip())
            spans.append((left, left + len(line.strip())))
        position += len(line) + 1
    return spans


def _fit(claim: str, sentence: str) -> float:
    numbers = quantities(claim)
    found = sum(occurs(number, sentence) for number in numbers)
    return 2.0 * found + 3.0 * shared_words(claim, sentence)


def _window(one: Ranked) -> Source:
    """Return a ranked sentence with its neighbours in the passage; a short table whole."""
    candidate = one.candidate
    hit, page = candidate.hit, candidate.page
    chunk = hit.chunk
    if chunk.kind in ("table", "material") and chunk.end - chunk.start <= LONG_TABLE:
        head = chunk.context if chunk.kind == "table" else ""
        return Source(0, hit, page, *_span(hit, page), candidate.section, head)
    if chunk.kind == "table":
        return Source(0, hit, page, candidate.start, candidate.end, candidate.section, candidate.context)
    low, high = min(chunk.start, candidate.start), max(chunk.end, candidate.end)
    spans = [(low + left, low + right) for left, right in sentences(page.text[low:high])]
    here = [i for i, (left, right) in enumerate(spans) if right > candidate.start and left < candidate.end]
    if not here:
        return Source(0, hit, page, candidate.start, candidate.end, candidate.section)
    start = min(spans[max(here[0] - 1, 0)][0], candidate.start)
    end = max(spans[min(here[-1] + 1, len(spans) - 1)][1], candidate.end)
    return Source(0, hit, page, start, end, candidate.section)


def _span(hit: Hit, page: Page) -> tuple[int, int]:
    return (0, len(page.text)) if hit.chunk.kind == "material" else (hit.chunk.start, hit.chunk.end)


def _overlap(one: Source, other: Source) -> float:
    if one.hit.chunk.source != other.hit.chunk.source or one.page.number != other.page.number:
        return 0.0
    shared = min(one.end, other.end) - max(one.start, other.start)
    return max(shared, 0) / max(min(one.end - one.start, other.end - other.start), 1)

"""From pages to chunks: passages of one page and one section that the embedder reads whole.

A chunk's text is the page's own text between two offsets. Its `context` (title, section; for tables also caption and
header row) is embedded and indexed with it. Titles and headings make no chunks of their own, since they are context;
authors and affiliations do, so that they can be found, but never mixed with the abstract. Reference lists become chunks
of kind "reference", which are indexed by their words but not embedded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ingest.embed import Span, Tokeniser
from ingest.records import Block, BlockKind, Chunk, ChunkKind, Document, Metadata, Page, chunk_id
from ingest.sentences import sentences as sentences  # part of this module's face
from ingest.settings import ChunkingSettings

EMBEDDED_KINDS: frozenset[ChunkKind] = frozenset({"text", "table", "caption", "material"})

_RECIPE_VERSION = 1
_CONTEXT_TOKENS = 48  # more would drown a short passage
_SECTION_TOKENS = 16
_EXTRA_TOKENS = 64  # caption and header row of a table, which are worth more room
_CHARACTERS_PER_TOKEN = 10  # a text with longer "words" is noise, which a vocabulary may count as one token
_SLACK = 8  # tokens by which the count of a part may differ from that within its block
_PARAGRAPH_FILL = 0.75  # a chunk this full rather ends with its paragraph

_KINDS: dict[BlockKind, ChunkKind] = {
    "text": "text",
    "scattered": "text",
    "front": "text",
    "footnote": "text",
    "table": "table",
    "caption": "caption",
    "reference": "reference",
}
_TABLE_CAPTION = re.compile(r"\s*(?:tab(?:le|\.)|supplementary table|表)", re.IGNORECASE)
_CLAUSE = re.compile(r"[;,:—、，；：]\s*|\s\|\s")
_SPACE = re.compile(r"\s+")


def recipe(settings: ChunkingSettings, embedder: Tokeniser | str) -> str:
    """Return what decides the chunks of a text, in one line: libraries of different recipes do not mix.

    `embedder` is the embedder, its tokeniser, or its name.
    """
    name = embedder if isinstance(embedder, str) else embedder.name
    sizes = f"tokens={settings.max_tokens}:overlap={settings.overlap_tokens}"
    # The fp32 and int8 variants of a model cut alike.
    return f"v{_RECIPE_VERSION}:{sizes}:context=title+section:by={name.removesuffix('-fp32')}"


def chunk_document(
    document: Document, *, paper_id: str, metadata: Metadata, embedder: Tokeniser, settings: ChunkingSettings
) -> list[Chunk]:
    """Cut every page of `document` into chunks, in reading order.

    `embedder` may be the bare tokeniser of one. No chunk has more than `settings.max_tokens` tokens, nor, with its
    context, more than the embedder reads. Without overlap, every character of a block that is no title and no heading
    (white space aside) is in exactly one chunk.
    """
    limit = max(1, min(settings.max_tokens, embedder.max_tokens))
    overlap = min(settings.overlap_tokens, limit // 2)
    passages = _fitted(list(_passages(document, embedder, limit, overlap)), embedder, limit)
    contexts = _contexts(passages, metadata.title, embedder)
    name = recipe(settings, embedder)
    return [
        passage.chunk(chunk_id(paper_id, name, ordinal), paper_id, ordinal, context)
        for ordinal, (passage, context) in enumerate(zip(passages, contexts, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class _Passage:
    """A chunk to be: `extra` is context beyond title and section."""

    page: Page
    start: int
    end: int
    tokens: int
    kind: ChunkKind
    section: str
    extra: str = ""

    @property
    def text(self) -> str:
        return self.page.text[self.start : self.end]

    @property
    def torn(self) -> bool:
        """Tell whether it begins or ends inside a word, where its tokens are not those of its block."""
        text = self.page.text
        edges = (text[place - 1 : place + 1] for place in (self.start, self.end) if 0 < place < len(text))
        return not all(edge[0].isspace() or edge[1].isspace() for edge in edges)

    def chunk(self, identifier: str, source: str, ordinal: int, context: str) -> Chunk:
        return Chunk(
            id=identifier,
            source=source,
            ordinal=ordinal,
            text=self.text,
            page=self.page.number,
            start=self.start,
            end=self.end,
            section=self.section,
            kind=self.kind,
            context=context,
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is not cut further: a sentence, a table row, or a part of one that is too long. `first` begins a block."""

    start: int
    end: int
    tokens: int
    first: bool


# Blocks into passages


def _passages(document: Document, embedder: Tokeniser, limit: int, overlap: int) -> Iterator[_Passage]:
    pages = [(page, _blocks(page)) for page in document.pages]
    texts = [page.text[block.start : block.end] for page, blocks in pages for block in blocks]
    tokens = iter(embedder.tokenise_many(texts))
    for page, blocks in pages:
        starts = {block.start: [start + block.start for start, _ in next(tokens)] for block in blocks}
        for group in _groups(blocks):
            pieces = [piece for block in group for piece in _pieces(page.text, block, starts[block.start], limit)]
            yield from _packed(page, group[0], blocks, pieces, limit, overlap)


def _blocks(page: Page) -> list[Block]:
    """Return the blocks of a page; a page that a reader left without any is one block of text."""
    if not page.blocks and page.text.strip():
        return [Block(0, len(page.text), "text")]
    return [block for block in page.blocks if page.text[block.start : block.end].strip()]


def _groups(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Yield runs of blocks that may share a chunk: neighbours of one kind and section; a table or caption is alone."""

    def key(item: tuple[int, Block]) -> tuple[object, ...]:
        place, block = item
        kind = "text" if block.kind == "scattered" else block.kind  # an equation stays with the text around it
        return (kind, block.section, place if kind in {"table", "caption"} else -1)

    for (kind, *_), run in groupby(enumerate(blocks), key=key):
        if kind in _KINDS:
            yield [block for _, block in run]


def _packed(
    page: Page, block: Block, blocks: Sequence[Block], pieces: Sequence[_Piece], limit: int, overlap: int
) -> Iterator[_Passage]:
    kind = _KINDS[block.kind]
    caption, header = _table_context(page, block, blocks) if kind == "table" else ("", "")
    for run in _runs(pieces, limit, overlap):
        # The first chunk of a table holds its header row itself.
        extra = f"{caption} {header}".strip() if run[0].start > block.start else caption
        tokens = sum(piece.tokens for piece in run)
        yield _Passage(page, run[0].start, run[-1].end, tokens, kind, block.section, extra)


def _table_context(page: Page, table: Block, blocks: Sequence[Block]) -> tuple[str, str]:
    """Return the caption next to a table ("" if none is) and its first row."""
    place = blocks.index(table)
    neighbours = [blocks[near] for near in (place - 1, place + 1) if 0 <= near < len(blocks)]
    captions = [page.text[block.start : block.end] for block in neighbours if block.kind == "caption"]
    caption = next((text for text in captions if _TABLE_CAPTION.match(text)), "")
    header = page.text[table.start : table.end].strip().partition("\n")[0]
    return _SPACE.sub(" ", caption).strip(), header.strip()


# Pieces into runs


def _runs(pieces: Sequence[_Piece], limit: int, overlap: int) -> Iterator[Sequence[_Piece]]:
    """Yield runs of pieces that fit, of about the same size, so that no crumb is left at the end."""
    first = 0
    left = sum(piece.tokens for piece in pieces)
    while first < len(pieces):
        if _fits(left, pieces[-1].end - pieces[first].start, limit):
            yield pieces[first:]
            return
        target = left / max(-(-left // limit), 1)
        end = _run_end(pieces, first, limit, target)
        yield pieces[first:end]
        begin = _step_back(pieces, first, end, overlap)
        left = sum(piece.tokens for piece in pieces[begin:])
        first = begin


def _run_end(pieces: Sequence[_Piece], first: int, limit: int, target: float) -> int:
    size = pieces[first].tokens
    for place in range(first + 1, len(pieces)):
        piece = pieces[place]
        grown = size + piece.tokens
        if not _fits(grown, piece.end - pieces[first].start, limit):
            return place
        if grown - target > target - size or (piece.first and size >= _PARAGRAPH_FILL * target):
            return place
        size = grown
    return len(pieces)


def _step_back(pieces: Sequence[_Piece], first: int, end: int, overlap: int) -> int:
    """Return where the next run begins: at `end`, or earlier by pieces of at most `overlap` tokens together."""
    if end == len(pieces):
        return end
    begin, size = end, 0
    while begin - 1 > first and size + pieces[begin - 1].tokens <= overlap:
        begin -= 1
        size += pieces[begin].tokens
    return begin


def _fits(tokens: int, characters: int, limit: int) -> bool:
    return tokens <= limit and characters <= limit * _CHARACTERS_PER_TOKEN


# Blocks into pieces


def _pieces(text: str, block: Block, tokens: Sequence[int], limit: int) -> Iterator[_Piece]:
    """Yield the sentences or rows of a block; `tokens` are the starts of its tokens on the page."""
    cut = _rows if block.kind == "table" else sentences
    first = True
    for start, end in cut(text[block.start : block.end]):
        for part in _cut(text, (block.start + start, block.start + end), tokens, limit):
            yield _Piece(*part, _count(tokens, part), first)
            first = False


def _rows(text: str) -> list[Span]:
    return [match.span() for match in re.finditer(r"\S(?:[^\n]*\S)?", text)]


def _count(tokens: Sequence[int], span: Span) -> int:
    return bisect_left(tokens, span[1]) - bisect_left(tokens, span[0])


def _cut(text: str, span: Span, tokens: Sequence[int], limit: int) -> Iterator[Span]:
    """Yield the span, or parts of it that fit: cut behind a clause, else at a space, else between two tokens."""
    start, end = span
    while not _fits(_count(tokens, (start, end)), end - start, limit):
        last = min(bisect_left(tokens, start) + limit, len(tokens))
        furthest = tokens[last] if last < len(tokens) else end
        furthest = min(furthest, start + limit * _CHARACTERS_PER_TOKEN, end)
        stop = _cut_place(text, start, max(furthest, start + 1))
        yield _stripped(text, start, stop)
        start = _skip_space(text, stop, end)
    if start < end:
        yield start, end


def _cut_place(text: str, start: int, furthest: int) -> int:
    """Return the best place to cut in the further half of `[start, furthest)`."""
    middle = (start + furthest) // 2
    for pattern in (_CLAUSE, _SPACE):
        places = [match.end() for match in pattern.finditer(text, middle, furthest)]
        if places and places[-1] > start:
            return places[-1]
    return furthest


def _stripped(text: str, start: int, end: int) -> Span:
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _skip_space(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


# The limit of the model


def _fitted(passages: list[_Passage], embedder: Tokeniser, limit: int) -> list[_Passage]:
    """Halve the passages that are too long after all: alone, a part may have more tokens than within its block.

    Only those near the limit or cut inside a word are counted again.
    """
    doubtful = [place for place, passage in enumerate(passages) if passage.tokens > limit - _SLACK or passage.torn]
    counts = embedder.count_tokens([passages[place].text for place in doubtful])
    fitted: list[list[_Passage]] = [[passage] for passage in passages]
    for place, count in zip(doubtful, counts, strict=True):
        passage = replace(passages[place], tokens=count)
        whole = count <= limit or passage.end - passage.start < 2
        fitted[place] = [passage] if whole else _fitted(_halves(passage), embedder, limit)
    return [passage for parts in fitted for passage in parts]


def _halves(passage: _Passage) -> list[_Passage]:
    text, start, end = passage.page.text, passage.start, passage.end
    spaces = [match.end() for match in _SPACE.finditer(text, start, end)]
    middle = min(spaces, key=lambda place: abs(2 * place - start - end), default=(start + end) // 2)
    spans = (_stripped(text, start, middle), (middle, end))
    # The halves' own counts are not known: the old one makes sure that they are counted.
    return [replace(passage, start=first, end=last) for first, last in spans if last > first]


def _contexts(passages: Sequence[_Passage], title: str, embedder: Tokeniser) -> list[str]:
    """Return the context of each passage, as long as the embedder still reads passage and context whole."""
    parts = (part for passage in passages for part in (passage.section, passage.extra))
    trimmer = _Trimmer(embedder, ["", title, *parts])
    contexts: list[str] = []
    sizes: list[int] = []
    for passage in passages:
        room = embedder.max_tokens - passage.tokens
        context, spent = trimmer.context(title, passage.section, passage.extra, room)
        contexts.append(context)
        sizes.append(passage.tokens + spent)
    near = [place for place, size in enumerate(sizes) if size > embedder.max_tokens - _SLACK]
    counts = embedder.count_tokens([f"{contexts[place]}\n{passages[place].text}" for place in near])
    for place, count in zip(near, counts, strict=True):
        if count > embedder.max_tokens:  # joined, they have more tokens than apart
            contexts[place] = ""
    return contexts


class _Trimmer:
    """Shortens the parts of contexts to a number of tokens, tokenising each different part once."""

    def __init__(self, embedder: Tokeniser, parts: Iterable[str]) -> None:
        known = list(dict.fromkeys(parts))
        self._tokens = dict(zip(known, embedder.tokenise_many(known), strict=True))

    def context(self, title: str, section: str, extra: str, room: int) -> tuple[str, int]:
        """Return "title. section. extra" in at most `room` tokens, and how many; each joint counts as one."""
        tail, last = self._cut(extra, min(_EXTRA_TOKENS, room))
        room = min(_CONTEXT_TOKENS, room - last)
        middle, second = self._cut("" if section == title else section, min(_SECTION_TOKENS, room))
        head, first = self._cut(title, room - second)
        return ". ".join(part.rstrip(". ") for part in (head, middle, tail) if part), first + second + last

    def _cut(self, text: str, room: int) -> tuple[str, int]:
        """Return the words of `text` that fit into `room` tokens, and how many tokens they and a joint take."""
        tokens = self._tokens[text]
        if room <= 0 or not tokens:
            return "", 0
        if len(tokens) < room:
            return text, len(tokens) + 1
        end = tokens[room - 1][0]
        cut = text[:end] if _between_words(text, end) else text[:end].rpartition(" ")[0]
        return cut.strip(), room if cut else 0


def _between_words(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return True
    return not (text[place - 1].isalnum() and text[place].isalnum()) or not text[place].isascii()

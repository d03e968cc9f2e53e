"""What keywords are taken from: a paper's title, abstract and main text, page by page, and the keywords it prints.

Authors, affiliations, references and footnotes are left out; so are the paper's own keywords, which are kept apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from assistant.glossary import is_japanese
from assistant.keywords.keys import key
from ingest.records import Document, Metadata, Page

ABSTRACT_CHARACTERS = 3000
OPENING_CHARACTERS = 1500
PRINTED_MOST = 20
_BODY = ("text", "heading", "caption")
_PRINTED = re.compile(
    r"^\s*(?:author\s+)?(?:key\s?-?words?(?:\s+and\s+phrases)?|index\s+terms|キーワード|索引語)\s*[:：;.—–-]?\s*(?P<list>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = re.compile(
    r"\b(?:key\s?-?words?(?:\s+and\s+phrases)?|index\s+terms|キーワード)\s*[:：;—–-]\s*"
    r"(?P<list>.{3,400}?)(?=\n|\s1\s?\.?\s*introduction\b|\bintroduction\b|https?:|\bcopyright\b|$)",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"\s*[;；•·|、]\s*|\s*[,，]\s+(?![^(]*\))|\s+[–—]\s+")
_NO_ABSTRACT = re.compile(r"^\s*(?:abstract|summary|概要|要旨)\s*[:.：]?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Text:
    """A paper as keywords see it. `pages` has number and text of each page; `printed` the paper's own keywords."""

    title: str = ""
    abstract: str = ""
    body: str = ""
    printed: tuple[str, ...] = ()
    language: str = "en"
    pages: tuple[tuple[int, str], ...] = field(default=(), repr=False)

    @property
    def whole(self) -> str:
        """Return title, abstract and body as one text."""
        return "\n\n".join(part for part in (self.title, self.abstract, self.body) if part)


class Index:
    """Finds keywords in a paper, in any inflection: its text is stemmed once for all of them."""

    def __init__(self, text: Text) -> None:
        self._japanese = text.language == "ja"
        self._pages = [(number, *self._folded(page)) for number, page in text.pages]
        self._whole = self._folded(text.title if self._pages else text.whole)

    def find(self, keyword: str) -> tuple[bool, int | None]:
        """Return whether the paper holds `keyword`, and on which page first (None where pages are not known)."""
        stems, compact = f" {' '.join(key(keyword))} ", _compact(keyword)
        by_characters = is_japanese(keyword)
        for number, in_stems, in_characters in self._pages:
            if (compact in in_characters) if by_characters else stems in in_stems:
                return True, number
        in_stems, in_characters = self._whole
        return ((compact in in_characters) if by_characters else (stems.strip() != "" and stems in in_stems)), None

    def _folded(self, text: str) -> tuple[str, str]:
        return f" {' '.join(key(text))} ", _compact(text) if self._japanese else ""


def from_document(document: Document) -> Text:
    """Return what a reader's document gives."""
    return from_pages(document.pages, document.metadata, paged=document.paged)


def from_pages(pages: Sequence[Page], metadata: Metadata, *, paged: bool = True) -> Text:
    """Return what the pages of a paper give; papers without pages (text, HTML) have their parts numbered alike."""
    printed: tuple[str, ...] = ()
    abstract: list[str] = []
    body: list[str] = []
    for page in pages:
        for block in page.blocks:
            text = page.text[block.start : block.end].strip()
            if not printed and page.number <= 3 and block.kind != "reference" and (found := printed_in(text)):
                printed = found
            elif block.kind in _BODY:
                room = sum(map(len, abstract)) < ABSTRACT_CHARACTERS and not body
                in_abstract = block.kind == "text" and block.section.casefold().strip(" .:") in ("abstract", "summary")
                (abstract if in_abstract and room else body).append(_NO_ABSTRACT.sub("", text) if in_abstract else text)
    if not (abstract or body):
        body = [page.text for page in pages]
    title = metadata.title
    joined, main = "\n".join(abstract), "\n".join(body)
    if not joined:
        joined, main = main[:OPENING_CHARACTERS], main[OPENING_CHARACTERS:]
    return Text(
        title=title,
        abstract=joined,
        body=main,
        printed=printed,
        language=language_of(joined + main, metadata.language),
        pages=tuple((page.number, page.text) for page in pages),
    )


def from_plain(title: str, abstract: str, body: str = "") -> Text:
    """Return what bare strings give: a title and an abstract, and the main text where it is known."""
    printed: tuple[str, ...] = ()
    if match := _INLINE.search(body[:20_000]):
        printed = split_list(match["list"])
    return Text(title, abstract, without_printed(body), printed, language_of(title + abstract + body))


def language_of(text: str, told: str = "") -> str:
    """Return "ja" for Japanese text, else what was told, else "en"."""
    return "ja" if is_japanese(text[:20_000]) else (told if told and told != "ja" else "en")


def printed_in(block: str) -> tuple[str, ...]:
    """Return the keywords of a block that begins with "Keywords:", and nothing for any other."""
    match = _PRINTED.match(block)
    if match is None or len(block) > 600:
        return ()
    listed = split_list(match["list"].splitlines()[0] if match["list"].count("\n") > 8 else match["list"])
    return listed if len(listed) > 1 or len(block) < 60 else ()


def split_list(listed: str) -> tuple[str, ...]:
    """Return the keywords of a printed list, separated by semicolons, commas, dots in the middle or lines."""
    flat = listed.replace("\n", "; " if listed.count("\n") > 2 else " ")
    separator = re.compile(r"\s*[;；]\s*") if re.search("[;；]", flat) else _SEPARATORS
    parts = (re.sub(r"\s+", " ", part).strip(" .,;:•·") for part in separator.split(flat))
    kept = [part for part in parts if 1 < len(part) <= 80]
    return tuple(dict.fromkeys(kept))[:PRINTED_MOST]


def without_printed(body: str) -> str:
    """Return `body` without the list of keywords that the paper prints itself, so that they are not found in it."""
    return _INLINE.sub(" ", body[:20_000]) + body[20_000:]


def holds(text: str, keyword: str) -> bool:
    """Tell whether `text` holds `keyword`: by stems, and for Japanese by characters."""
    if is_japanese(keyword):
        return _compact(keyword) in _compact(text)
    wanted = " ".join(key(keyword))
    return bool(wanted) and f" {wanted} " in f" {' '.join(key(text))} "


def _compact(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).casefold()

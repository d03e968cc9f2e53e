"""JATS (NLM) XML, the full-text format of PubMed Central and many publishers: https://jats.nlm.nih.gov/archiving/.

Parsed safely: no entities are expanded, no DTD is loaded and nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from html.entities import name2codepoint
from pathlib import Path

from lxml import etree

from ingest.errors import ReadError
from ingest.readers import ReadOptions
from ingest.readers.parts import Outline, assemble, flow, names, table_rows
from ingest.records import Document, Metadata

_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
# Elements that stand in a paragraph but are blocks of their own.
_BLOCKS = names(
    "p list list-item def-list def-item sec fig fig-group table-wrap table-wrap-group disp-quote boxed-text"
    " disp-formula disp-formula-group statement verse-group code preformat ack app app-group ref-list fn-group"
    " fn glossary notes title abstract trans-abstract floats-group caption table-wrap-foot"
)
_DROPPED = names(
    "tex-math graphic inline-graphic media object-id alt-text long-desc permissions processing-meta annotation"
    " email label-alternatives supplementary-material custom-meta-group"
)
_FALLBACK_TITLES = {"abstract": "Abstract", "ack": "Acknowledgements", "ref-list": "References", "app": "Appendix"}


def read_jats(path: Path, *, options: ReadOptions) -> Document:
    """Read a JATS article: front matter, sections, captions, tables, notes and the reference list."""
    article = _article(path)
    meta = article.find("front/article-meta")
    metadata = _metadata(article, meta)
    walk = _Walk(Outline())
    walk.front(metadata, meta)
    for name in ("body", "floats-group", "back"):
        for part in article.findall(name):
            walk.content(part, level=1)
    return assemble(walk.outline.pieces, metadata=metadata, format_name="jats")


def _article(path: Path) -> etree._Element:
    """Return the `article` element with namespaces taken off the names."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, huge_tree=False
    )
    try:
        root = etree.fromstring(path.read_bytes(), parser)
    except etree.XMLSyntaxError as error:
        raise ReadError(
            f"{path.name!r} is not well-formed XML: {error.msg}",
            cause="malformed",
            hint="Download it again; the end may be missing",
        ) from error
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname
    article = root if root.tag == "article" else next(root.iter("article"), None)
    if article is None or (article.find("front") is None and article.find("body") is None):
        raise ReadError(
            f"{path.name!r} is XML but not a JATS article (its root is <{root.tag}>)",
            cause="unsupported",
            hint="Of XML, matlit reads JATS/NLM articles as PubMed Central gives them; else convert it to HTML or PDF",
        )
    return article


class _Walk:
    """Walks an article in document order and gives its blocks to the outline."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline

    def front(self, metadata: Metadata, meta: etree._Element | None) -> None:
        """Give title, authors, abstracts and keywords."""
        self.outline.add("title", metadata.title)
        self.outline.add("front", ", ".join(metadata.authors))
        if meta is None:
            return
        for abstract in [*meta.findall("abstract"), *meta.findall("trans-abstract")]:
            if abstract.get("abstract-type") not in {"graphical", "toc", "teaser"}:
                self.section(abstract, level=1)
        for group in meta.findall("kwd-group"):
            words = [flow(_text(word)) for word in group.iter("kwd")]
            self.outline.add("front", f"Keywords: {'; '.join(words)}" if words else "")

    def section(self, element: etree._Element, *, level: int) -> None:
        """Give an element that may have a title, then what is in it."""
        title = element.find("title")
        label = flow(_text(element.find("label")))
        text = flow(_text(title)) or _FALLBACK_TITLES.get(str(element.tag), "")
        self.outline.heading(f"{label} {text}".strip() if text else "", level=level)
        self.content(element, level=level + 1)

    def content(self, element: etree._Element, *, level: int) -> None:
        """Give the children of an element: blocks one by one, text between them as paragraphs."""
        inline = [element.text or ""]
        for child in element:
            if child.tag in _BLOCKS:
                self.outline.add("text", "".join(inline))
                inline = []
                self._block(child, level=level)
            elif child.tag not in _DROPPED and child.tag != "label":
                inline.append(_text(child))
            inline.append(child.tail or "")
        self.outline.add("text", "".join(inline))

    def _block(self, element: etree._Element, *, level: int) -> None:
        tag = str(element.tag)
        if tag in {"sec", "ack", "app", "abstract", "trans-abstract", "glossary", "notes"}:
            self.section(element, level=level)
        elif tag == "ref-list":
            self._references(element, level=level)
        elif tag in {"fig", "table-wrap"}:
            self._figure(element)
        elif tag in {"fn", "fn-group", "table-wrap-foot"}:
            self.outline.add("footnote", _text(element, gap=" "))
        elif tag == "disp-formula":
            self.outline.add("text", f"{_text(element)} {_text(element.find('label'))}")
        elif tag in {"code", "preformat"}:
            self.outline.add("text", _text(element), verbatim=True)
        elif tag not in _DROPPED and tag != "title":
            self.content(element, level=level)

    def _figure(self, element: etree._Element) -> None:
        label = flow(_text(element.find("label")))
        caption = element.find("caption")
        text = flow(_text(caption, gap=" ")) if caption is not None else ""
        self.outline.add("caption", f"{label}. {text}" if label and text else label or text)
        for table in element.iter("table"):
            self.outline.table(table_rows(table, partial(_text, gap=" ")))
        for foot in element.findall("table-wrap-foot"):
            self.outline.add("footnote", _text(foot, gap=" "))

    def _references(self, element: etree._Element, *, level: int) -> None:
        self.outline.heading(_text(element.find("title")) or "References", level=level)
        for ref in element.iter("ref"):
            self.outline.add("reference", _reference(ref))


def _text(element: etree._Element | None, *, gap: str = "") -> str:
    """Return all text below an element, with `gap` between blocks; sub- and superscripts stay glued to their word."""
    if element is None:
        return ""
    if element.tag is etree.Entity:
        return _entity(element)
    parts = [element.text or ""]
    for child in element:
        if child.tag == "break":
            parts.append(" ")
        elif child.tag not in _DROPPED and (child.tag != "label" or element.tag in {"ref", "fn"}):
            parts.append(
                f"{gap}{_text(child, gap=gap)}{gap}" if child.tag in _BLOCKS or child.tag == "label" else _text(child)
            )
        parts.append(child.tail or "")
    return "".join(parts)


def _entity(element: etree._Element) -> str:
    """Return the character of a named entity of HTML; any other stays unexpanded and is left out."""
    code = name2codepoint.get(str(element.text).strip("&;"))
    return chr(code) if code else ""


def _reference(ref: etree._Element) -> str:
    label = flow(_text(ref.find("label")))
    mixed = next(ref.iter("mixed-citation", "nlm-citation"), None)
    if mixed is not None and (mixed.text or "").strip() + "".join(child.tail or "" for child in mixed).strip():
        text = _text(mixed)
    else:
        text = _structured_reference(next(ref.iter("element-citation", "mixed-citation", "nlm-citation"), ref))
    label = label if label and not flow(text).startswith(label) else ""
    return f"{label} {text}"


def _structured_reference(citation: etree._Element) -> str:
    """Write a reference that is only marked up, without punctuation, in the usual order."""
    people = [_name(name) for name in citation.iter("name", "string-name", "collab")]
    where = [flow(_text(citation.find(tag))) for tag in ("source", "year", "volume")]
    pages = "–".join(flow(_text(citation.find(tag))) for tag in ("fpage", "lpage") if citation.find(tag) is not None)
    title = flow(_text(citation.find("article-title")) or _text(citation.find("chapter-title")))
    doi = next((flow(_text(each)) for each in citation.iter("pub-id") if each.get("pub-id-type") == "doi"), "")
    start = ", ".join(name for name in people if name)
    end = ", ".join(part for part in [*where, pages] if part)
    return ". ".join(part for part in (start, title, end, f"doi:{doi}" if doi else "") if part)


def _name(element: etree._Element) -> str:
    """Return a name as "Given Surname", or as it stands where it is not split up."""
    surname, given = flow(_text(element.find("surname"))), flow(_text(element.find("given-names")))
    if not surname:
        return flow(_text(element))
    return f"{surname} {given}".strip() if element.get("name-style") == "eastern" else f"{given} {surname}".strip()


def _metadata(article: etree._Element, meta: etree._Element | None) -> Metadata:
    language = (article.get(_XML_LANG) or "")[:2].lower()
    if meta is None:
        return Metadata(language=language)
    dois = [flow(_text(each)) for each in meta.findall("article-id") if each.get("pub-id-type") == "doi"]
    title = meta.find("title-group/article-title")
    return Metadata(
        title=flow(_text(_without_notes(title))),
        authors=tuple(_authors(meta)),
        year=_year(meta),
        doi=dois[0] if dois else "",
        journal=flow(_text(next(article.iter("journal-title"), None))),
        language=language,
    )


def _without_notes(title: etree._Element | None) -> etree._Element | None:
    for mark in [] if title is None else list(title.iter("xref", "fn")):
        mark.text = ""
        for child in list(mark):
            mark.remove(child)
    return title


def _authors(meta: etree._Element) -> Iterator[str]:
    for contributor in meta.iterfind("contrib-group/contrib"):
        if contributor.get("contrib-type", "author") != "author":
            continue
        name = next(contributor.iter("name", "string-name", "collab"), None)
        if name is not None and (text := _name(name)):
            yield text


def _year(meta: etree._Element) -> int | None:
    """Return the year of the first publication, on line or in print, whichever came first."""
    years = [
        int(match.group())
        for date in meta.findall("pub-date")
        if date.get("pub-type") not in {"pmc-release", "nihms-submitted"}
        and (match := re.search(r"\d{4}", date.findtext("year") or ""))
    ]
    return min(years, default=None)

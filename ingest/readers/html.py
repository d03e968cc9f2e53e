"""HTML and XHTML: the article of the page, without navigation, scripts, boilerplate and hidden text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lxml import etree, html

from ingest.errors import ReadError
from ingest.readers import ReadOptions
from ingest.readers.parts import Outline, assemble, flow, names, table_rows
from ingest.readers.text import decode
from ingest.records import Document, Metadata

_DROPPED = names(
    "script style noscript template nav aside footer form button select input textarea dialog iframe object embed svg"
    " canvas audio video head link meta annotation annotation-xml"
)
_DROPPED_ROLES = names("navigation banner contentinfo complementary search dialog alert menu menubar")
_BOILERPLATE = re.compile(
    r"(?:^|[\s_-])(?:nav(?:bar|igation)?|menu|breadcrumbs?|sidebar|cookies?|consent|banner|advert(?:isement)?s?|ads?"
    r"|social|share|sharing|related|recommend(?:ed|ations)|newsletter|subscribe|popup|modal|skip-link|toolbar|pagination"
    r"|sr-only|visually-?hidden|screen-reader-text)(?:$|[\s_-])",
    re.IGNORECASE,
)
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?:px|pt|em|%)?\s*(?:;|$)", re.I
)
_REFERENCE_LIST = re.compile(r"(?:^|[\s_-])(?:references?|ref-list|bibliography|citations?-list)(?:$|[\s_-])", re.I)
_BLOCKS = names(
    "address article blockquote body center dd details div dl dt fieldset figure hr html li main ol p pre section"
    " summary table ul header hgroup h1 h2 h3 h4 h5 h6 figcaption caption"
)
_DECLARED = re.compile(rb"<\?xml[^>]*encoding|<meta[^>]+charset", re.IGNORECASE)
_YEAR = re.compile(r"\b(1[6-9]\d\d|20\d\d)\b")
MAIN_SHARE = 0.4  # an <article> or <main> must hold this share of the page's text to be taken for the whole


def read_html(path: Path, *, options: ReadOptions) -> Document:
    """Read a web page; its metadata come from the `citation_*`, Dublin Core and Open Graph tags."""
    root = _parsed(path)
    metadata = _metadata(root)
    for element in list(_unwanted(root)):
        element.drop_tree()
    walk = _Walk(Outline())
    walk.block(_main(root))
    walk.flush()
    return assemble(walk.outline.pieces, metadata=metadata, format_name="html")


def _parsed(path: Path) -> html.HtmlElement:
    """Parse leniently; without a declared encoding it is decided as for plain text."""
    data = path.read_bytes()
    parser = html.HTMLParser(no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        if _DECLARED.search(data[:2048]) and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return html.document_fromstring(data, parser=parser)
        text = decode(data).encode("utf-8", errors="replace")
        return html.document_fromstring(text, parser=html.HTMLParser(encoding="utf-8", remove_comments=True))
    except etree.LxmlError as error:
        raise ReadError(
            f"{path.name!r} holds no HTML: {error}", cause="malformed", hint="Open it in a browser and save it again"
        ) from error


def _unwanted(root: html.HtmlElement) -> Iterator[html.HtmlElement]:
    """Yield what is not part of the article."""
    half = len(root.text_content()) / 2
    for element in root.iter():
        if element.getparent() is None or not isinstance(element.tag, str) or element.tag in {"body", "head"}:
            continue
        if (
            element.tag in _DROPPED
            or element.get("role", "") in _DROPPED_ROLES
            or not _is_shown(element)
            or _is_page_header(element)
            or _is_boilerplate(element, half)
            or _is_link_list(element)
        ):
            yield element


def _is_shown(element: html.HtmlElement) -> bool:
    hidden = "hidden" in element.attrib or element.get("aria-hidden") == "true"
    return not hidden and not _HIDDEN_STYLE.search(element.get("style", ""))


def _is_page_header(element: html.HtmlElement) -> bool:
    """Say whether this is the header of the page; inside an article it holds title and authors."""
    return element.tag == "header" and not any(up.tag in {"article", "main"} for up in element.iterancestors())


def _is_boilerplate(element: html.HtmlElement, half: float) -> bool:
    """Say whether class or id tell of navigation or advertising; not where most of the page is in there."""
    called = f"{element.get('class', '')} {element.get('id', '')}"
    suspect = element.tag not in {"article", "main", "html"} and _BOILERPLATE.search(called)
    return bool(suspect) and len(element.text_content()) < half


def _is_link_list(element: html.HtmlElement) -> bool:
    """Say whether a list is nothing but short links, as menus are and reference lists are not."""
    if element.tag not in {"ul", "ol"} or len(element) < 3:
        return False
    text = len(flow(element.text_content()))
    linked = sum(len(flow(link.text_content())) for link in element.iter("a"))
    return text > 0 and linked > 0.9 * text and text / len(element) < 60


def _main(root: html.HtmlElement) -> html.HtmlElement:
    """Return the element that holds the article, else the body."""
    body = root.find("body")
    whole = body if body is not None else root
    candidates = [
        element for element in whole.iter() if element.tag in {"article", "main"} or element.get("role") == "main"
    ]
    best = max(candidates, key=lambda element: len(element.text_content()), default=whole)
    return best if len(best.text_content()) >= MAIN_SHARE * len(whole.text_content()) else whole


class _Walk:
    """Walks the article in document order and gives its blocks to the outline."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self._inline: list[str] = []
        self._kind = "text"

    def flush(self) -> None:
        """Close the running paragraph."""
        text, self._inline = "".join(self._inline), []
        if self._kind == "caption":
            self.outline.add("caption", text)
        elif self._kind == "reference":
            self.outline.add("reference", text)
        else:
            self.outline.add("text", text)

    def block(self, element: html.HtmlElement) -> None:
        """Take in a block element, and stand after it with no paragraph open."""
        self.flush()
        tag = str(element.tag)
        if re.fullmatch(r"h[1-6]", tag):
            self._heading(element.text_content(), int(tag[1]))
        elif tag == "table" and not _is_layout(element):
            self._table(element)
        elif tag == "pre":
            self.outline.add("text", element.text_content(), verbatim=True)
        else:
            outer, self._kind = self._kind, self._kind_of(element)
            self._content(element)
            self.flush()
            self._kind = outer

    def _content(self, element: html.HtmlElement) -> None:
        self._inline.append(element.text or "")
        for child in element:
            self._child(child)
            self._inline.append(child.tail or "")

    def _child(self, child: html.HtmlElement) -> None:
        if not isinstance(child.tag, str):
            return
        if child.tag in _BLOCKS or any(inner.tag in _BLOCKS for inner in child.iterdescendants()):
            self.block(child)
        elif child.tag == "br":
            self._inline.append("\n")
        elif child.tag == "img":
            return
        else:
            self._content(child)

    def _kind_of(self, element: html.HtmlElement) -> str:
        called = f"{element.get('class', '')} {element.get('id', '')}"
        if element.tag in {"figcaption", "caption"}:
            return "caption"
        if element.get("role") in {"doc-bibliography", "doc-biblioentry"}:
            return "reference"
        return "reference" if element.tag in {"ol", "ul"} and _REFERENCE_LIST.search(called) else self._kind

    def _heading(self, text: str, level: int) -> None:
        if level == 1 and not any(piece.kind in {"title", "heading"} for piece in self.outline.pieces):
            self.outline.add("title", text)
        else:
            self.outline.heading(text, level=level)

    def _table(self, table: html.HtmlElement) -> None:
        for caption in table.iter("caption"):
            self.outline.add("caption", caption.text_content())
        self.outline.table(table_rows(table, _cell))


def _is_layout(table: html.HtmlElement) -> bool:
    """Say whether a table only places blocks: it holds headings or tables, or has a single cell."""
    inner = any(element.tag in {"h1", "h2", "h3", "table"} for element in table.iterdescendants())
    return inner or sum(1 for _ in table.iter("td", "th")) <= 1


def _cell(cell: html.HtmlElement) -> str:
    return (
        " ".join(part for part in map(flow, cell.itertext()) if part)
        if len(cell.findall(".//p")) > 1
        else cell.text_content()
    )


def _given_first(name: str) -> str:
    """Return "Lovelace, Ada" as "Ada Lovelace"."""
    family, comma, given = name.partition(", ")
    return f"{given} {family}" if comma and "," not in given else name


def _metadata(root: html.HtmlElement) -> Metadata:
    tags: dict[str, list[str]] = {}
    for meta in root.iter("meta"):
        name, content = (meta.get("name") or meta.get("property") or "").lower(), flow(meta.get("content") or "")
        if name and content:
            tags.setdefault(name.replace("dcterms.", "dc."), []).append(content)

    def first(*names: str) -> list[str]:
        return next((tags[name] for name in names if name in tags), [])

    title = first("citation_title", "dc.title", "og:title") or [flow(root.findtext(".//title") or "")]
    date = first(
        "citation_publication_date", "citation_date", "citation_online_date", "dc.date", "article:published_time"
    )
    year = _YEAR.search(" ".join(date))
    return Metadata(
        title=title[0],
        authors=tuple(map(_given_first, first("citation_author", "dc.creator"))),
        year=int(year.group(1)) if year else None,
        doi=re.sub(
            r"^(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", "", " ".join(first("citation_doi")), flags=re.IGNORECASE
        ),
        journal=" ".join(first("citation_journal_title")[:1]),
        language=(root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or "")[:2].lower(),
    )

"""DOCX: paragraphs and tables in document order, as the accepted text shows them (deleted and hidden runs left out)."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lxml import etree

from ingest.errors import ReadError
from ingest.readers import MEGABYTE, ReadOptions
from ingest.readers.parts import Outline, assemble, flow
from ingest.records import Document, Metadata

if TYPE_CHECKING:
    from docx.document import Document as DocxDocument

MAX_UNPACKED = 20  # times max_file_mb; a larger archive is a bomb, not a paper

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_LEFT_OUT = frozenset({f"{_W}del", f"{_W}moveFrom", f"{_W}instrText", f"{_W}pPr", f"{_W}tbl", _FALLBACK})
_BREAKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_NOTES = {"footnotes": "footnote", "endnotes": "endnote"}  # kind of relation -> element of its part
_SAFE = etree.XMLParser(resolve_entities=False, no_network=True)
_OLE = b"\xd0\xcf\x11\xe0"
_HEADING = re.compile(r"heading\s*(\d)", re.IGNORECASE)


def read_docx(path: Path, *, options: ReadOptions) -> Document:
    """Read a DOCX file; headings, title and captions are known by their paragraph style."""
    docx = _opened(path, options)
    styles = {style.style_id: style for style in docx.styles}
    outline = Outline()
    for element in _body(docx.element.body):
        if element.tag == f"{_W}tbl":
            outline.table(_rows(element))
        else:
            _add_paragraph(outline, element, styles)
    for note in _notes(docx):
        outline.add("footnote", note)
    return assemble(outline.pieces, metadata=_metadata(docx), format_name="docx")


def _opened(path: Path, options: ReadOptions) -> DocxDocument:
    import docx
    from docx.opc.exceptions import OpcError

    _check_archive(path, options)
    try:
        return docx.Document(str(path))  # type: ignore[no-any-return, unused-ignore]
    except (OpcError, KeyError, ValueError, etree.XMLSyntaxError, zipfile.BadZipFile) as error:
        raise ReadError(
            f"{path.name!r} is not a readable DOCX file: {error}",
            cause="malformed",
            hint="Open it in a word processor and save it again as .docx",
        ) from error


def _check_archive(path: Path, options: ReadOptions) -> None:
    with path.open("rb") as file:
        old = file.read(4) == _OLE
        encrypted = old and "EncryptedPackage".encode("utf-16-le") in file.read()
    if encrypted:
        raise ReadError(
            f"{path.name!r} is protected by a password", cause="encrypted", hint="Save it without a password first"
        )
    if old:
        raise ReadError(f"{path.name!r} is an old Word file", cause="unsupported", hint="Save it as .docx or PDF")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ReadError(
            f"{path.name!r} is not a DOCX file, or only a part of one", cause="truncated", hint="Download it again"
        ) from error
    if unpacked > options.max_file_mb * MEGABYTE * MAX_UNPACKED:
        raise ReadError(f"{path.name!r} would unpack to {unpacked / MEGABYTE:.0f} MB", cause="too_large")


def _body(parent: etree._Element) -> Iterator[etree._Element]:
    """Yield paragraphs and tables in document order, also those inside content controls."""
    for child in parent:
        if child.tag in {f"{_W}p", f"{_W}tbl"}:
            yield child
        elif child.tag in {f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}customXml"}:
            yield from _body(child)


def _add_paragraph(outline: Outline, paragraph: etree._Element, styles: dict[str, object]) -> None:
    text = flow(_text(paragraph))
    name = _style_name(paragraph, styles)
    if name.startswith("toc"):  # the table of contents repeats the headings
        return
    level = _HEADING.match(name)
    if level or (name.startswith("見出し") and (level := re.search(r"(\d)", name))):
        outline.heading(text, level=int(level.group(1)))
    elif name in {"title", "表題"}:
        outline.add("title", text)
    elif name in {"caption", "図表番号"}:
        outline.add("caption", text)
    elif name == "bibliography":
        outline.add("reference", text)
    elif name in {"subtitle", "author", "authors", "affiliation"}:
        outline.add("front", text)
    else:
        outline.add("text", text)


def _style_name(paragraph: etree._Element, styles: dict[str, object]) -> str:
    """Return the name, in lower case, of the first style in the chain of styles that is not the author's own."""
    found = paragraph.find(f"{_W}pPr/{_W}pStyle")
    style = styles.get(found.get(f"{_W}val", "")) if found is not None else None
    names: list[str] = []
    while style is not None and len(names) < 20:
        names.append(str(getattr(style, "name", "") or "").lower())
        style = getattr(style, "base_style", None)
    return next(
        (name for name in names if _HEADING.match(name) or name in {"title", "caption"}), names[0] if names else ""
    )


def _text(element: etree._Element) -> str:
    """Return the visible text below an element; equations give their characters, without their layout."""
    parts: list[str] = []
    for child in element:
        if child.tag in _LEFT_OUT or (child.tag == f"{_W}r" and child.find(f"{_W}rPr/{_W}vanish") is not None):
            continue
        if child.tag in {f"{_W}t", _MATH_TEXT}:
            parts.append(child.text or "")
        elif child.tag in _BREAKS:
            parts.append(_BREAKS[str(child.tag)])
        else:
            parts.append(_text(child))
    return "".join(parts)


def _notes(docx: DocxDocument) -> Iterator[str]:
    """Yield the texts of footnotes and endnotes, which stand in parts of their own, in the order of their numbers."""
    for relation in docx.part.rels.values():
        kind = str(relation.reltype).rpartition("/")[2]
        if relation.is_external or kind not in _NOTES:
            continue
        for note in etree.fromstring(relation.target_part.blob, _SAFE).iter(f"{_W}{_NOTES[kind]}"):
            if note.get(f"{_W}type") is None:  # else a separator line
                yield " ".join(text for paragraph in note.iter(f"{_W}p") if (text := flow(_text(paragraph))))


def _rows(table: etree._Element) -> Iterator[list[str]]:
    for row in table.iter(f"{_W}tr"):
        if next(row.iterancestors(f"{_W}tbl")) is table:
            yield [_cell(cell) for cell in row.iter(f"{_W}tc") if next(cell.iterancestors(f"{_W}tr")) is row]


def _cell(cell: etree._Element) -> str:
    """Return a cell's text; a table inside it follows in its place."""
    return " ".join(text for paragraph in cell.iter(f"{_W}p") if (text := flow(_text(paragraph))))


def _metadata(docx: DocxDocument) -> Metadata:
    core = docx.core_properties
    authors = tuple(name.strip() for name in re.split(r"[;、]", core.author or "") if name.strip())
    return Metadata(
        title=flow(core.title or ""),
        authors=() if authors == ("python-docx",) else authors,
        language=(core.language or "")[:2].lower(),
    )

"""A PDF as a file: whether it is one, opening it (pdfium, and pypdf for broken ones), and what it says about itself."""

from __future__ import annotations

import io
import logging
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import ReadError
from ingest.readers.pdfium import plain_font_name
from ingest.records import Metadata

if TYPE_CHECKING:
    import pypdf
    import pypdfium2

HEAD_BYTES = 1024

_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_JUNK_TITLE = re.compile(
    r"^(?:untitled|microsoft word|slide 1|document\d*|title|doi:|\S+\.(?:docx?|tex|dvi|pdf|indd|qxd|eps|rtf))", re.I
)


@dataclass(frozen=True, slots=True)
class About:
    """What the file says about itself."""

    metadata: Metadata = field(default_factory=Metadata)
    outline: tuple[str, ...] = ()


def checked_bytes(path: Path) -> bytes:
    """Return the file's bytes if they can be a PDF."""
    data = path.read_bytes()
    if not data.strip(b"\0\r\n\t "):
        raise ReadError(
            f"{path.name!r} is empty ({len(data)} bytes)", cause="empty", hint="Fetch or copy the file again"
        )
    head = data[:HEAD_BYTES]
    if b"%PDF-" not in head:
        if re.match(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head)", head, re.I | re.S):
            raise ReadError(
                f"{path.name!r} is a web page that was saved under the name of a PDF",
                cause="webpage",
                hint="Download the PDF itself, or rename the file to .html to read the page",
            )
        raise ReadError(
            f"{path.name!r} is not a PDF (it begins with {head[:12]!r})", cause="malformed", hint="Fetch the file again"
        )
    return data


def opened(data: bytes, path: Path, password: str | None) -> pypdfium2.PdfDocument:
    """Open with pdfium; what it refuses is written anew by pypdf and tried once more."""
    import pypdfium2

    try:
        return _non_empty(pypdfium2.PdfDocument(data, password=password), path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise _encrypted(path, password) from None
    repaired = _rewritten(data, password)
    if repaired is None:
        raise _broken(data, path)
    try:
        return _non_empty(pypdfium2.PdfDocument(repaired), path)
    except pypdfium2.PdfiumError:
        raise _broken(data, path) from None


def _non_empty(pdf: pypdfium2.PdfDocument, path: Path) -> pypdfium2.PdfDocument:
    if len(pdf) == 0:
        pdf.close()
        raise ReadError(f"{path.name!r} has no pages", cause="empty", hint="Fetch or copy the file again")
    return pdf


def _encrypted(path: Path, password: str | None) -> ReadError:
    if password is None:
        message = f"{path.name!r} is encrypted and needs a password"
    else:
        message = f"{path.name!r} is encrypted and the password given does not open it"
    return ReadError(message, cause="encrypted", hint=f"matlit ingest {path} --password PASSWORD")


def _broken(data: bytes, path: Path) -> ReadError:
    if b"%%EOF" not in data[-2048:] and b"startxref" not in data[-2048:]:
        return ReadError(
            f"{path.name!r} is cut off: its end is missing after {len(data)} bytes",
            cause="truncated",
            hint="Fetch it again",
        )
    return ReadError(
        f"{path.name!r} is damaged: it begins like a PDF but holds no readable pages",
        cause="malformed",
        hint="Fetch it again, or repair it with another program (qpdf, mutool clean)",
    )


def _rewritten(data: bytes, password: str | None) -> bytes | None:
    """Return the file as pypdf reads and writes it, or None where pypdf fails too."""
    import pypdf

    try:
        reader = pypdf.PdfReader(io.BytesIO(data), password=password)
        writer = pypdf.PdfWriter()
        for page in reader.pages:
            writer.add_page(page)
        target = io.BytesIO()
        writer.write(target)
    except _pypdf_failures():
        return None
    return target.getvalue()


def _pypdf_failures() -> tuple[type[Exception], ...]:
    """Return what pypdf raises on broken files: its own errors, and plain ones from objects of the wrong type."""
    from pypdf.errors import PyPdfError

    return (
        PyPdfError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        NotImplementedError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
        zlib.error,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pypdf from logging a line per oddity of a file: what matters ends up in the document's warnings."""
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


# ---- what the file says about itself


def pypdf_reader(data: bytes, password: str | None) -> pypdf.PdfReader | None:
    """Open with pypdf; None where it cannot."""
    import pypdf

    try:
        return pypdf.PdfReader(io.BytesIO(data), password=password)
    except _pypdf_failures():
        return None


def about(pdf: pypdfium2.PdfDocument, reader: pypdf.PdfReader | None) -> About:
    """Return outline titles, and metadata where pypdf can read them; what is missing costs no text.

    The titles come from pdfium: pypdf resolves all destinations of a file first, which took a tenth of the reading.
    """
    outline = tuple(_outline_titles(pdf))
    if reader is None:
        return About(outline=outline)
    try:
        return About(_metadata(reader), outline)
    except _pypdf_failures():
        return About(outline=outline)


def glyph_names(reader: pypdf.PdfReader | None, number: int) -> dict[str, dict[int, str]]:
    """Return the glyph names that the /Differences of a page's fonts give, by font and code; {} where pypdf fails."""
    if reader is None:
        return {}
    try:
        resources: Any = reader.pages[number]["/Resources"]
        fonts = resources["/Font"]
        return {
            plain_font_name(str(font["/BaseFont"])): _differences(font["/Encoding"]["/Differences"])
            for font in fonts.values()
            if "/Differences" in font.get("/Encoding", {})
        }
    except _pypdf_failures():
        return {}


def _differences(entries: Iterable[Any]) -> dict[int, str]:
    """Read a /Differences array: a code, then the names from there on (ISO 32000-1, table 114)."""
    names: dict[int, str] = {}
    code = 0
    for entry in entries:
        if isinstance(entry, str):
            names[code] = entry
            code += 1
        else:
            code = int(entry)
    return names


def _outline_titles(pdf: pypdfium2.PdfDocument) -> Iterator[str]:
    for bookmark in pdf.get_toc():
        if title := bookmark.get_title().strip():
            yield title


def _metadata(reader: pypdf.PdfReader) -> Metadata:
    info = reader.metadata
    xmp = _xmp(reader)
    title = _said(_xmp_value(xmp, "dc:title") or (info.title if info else None))
    author = (info.author if info else None) or ""
    year = re.search(r"(?:19|20)\d\d", _xmp_value(xmp, "prism:(?:publicationDate|coverDate|coverDisplayDate)"))
    doi = re.search(r"10\.\d{4,9}/[^\s<\"]+", _xmp_value(xmp, "(?:prism|crossmark|pdfx):(?:doi|DOI|WPS-ARTICLEDOI)"))
    return Metadata(
        title="" if _JUNK_TITLE.match(title) else title,
        authors=tuple(name for part in re.split(r"[;]|,\s(?=\S+\s\S)| and ", str(author)) if (name := _said(part))),
        year=int(year[0]) if year else None,
        doi=doi[0] if doi else "",
        journal=_said(_xmp_value(xmp, "prism:publicationName")),
    )


def _xmp(reader: pypdf.PdfReader) -> str:
    stream = reader.root_object.get("/Metadata")
    found = stream.get_object() if stream is not None else None
    data = found.get_data() if found is not None and hasattr(found, "get_data") else b""
    return bytes(data).decode("utf-8", "replace")


def _xmp_value(xmp: str, name: str) -> str:
    """Return the text of an XMP property, whatever container it stands in, or of an attribute of that name."""
    import html

    if element := re.search(rf"<({name})\b[^>]*>(.*?)</\1>", xmp, re.S):
        return html.unescape(re.sub(r"<[^>]+>", " ", element[2])).strip()
    attribute = re.search(rf"\b{name}=\"([^\"]*)\"", xmp)
    return html.unescape(attribute[1]) if attribute else ""


def _said(value: object) -> str:
    """Return a metadata value as clean text; "" for None and for strings of control or replacement characters."""
    text = re.sub(r"\s+", " ", str(value or "").replace("\0", "")).strip()
    return "" if "\ufffd" in text or re.fullmatch(r"<[0-9A-Fa-f]*>", text) else text

"""Which reader reads which file: the table by suffix, what every reader is told, and the checks before one starts.

`read` works in this process; `ingest.readers.isolated` does the same in worker processes, limited in time and memory.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal, cast

from ingest.errors import ReadError
from ingest.records import Document

READERS = {  # suffix -> "module:function", imported on first use
    ".pdf": "ingest.readers.pdf:read_pdf",
    ".txt": "ingest.readers.text:read_text",
    ".md": "ingest.readers.text:read_markdown",
    ".markdown": "ingest.readers.text:read_markdown",
    ".docx": "ingest.readers.word:read_docx",
    ".html": "ingest.readers.html:read_html",
    ".htm": "ingest.readers.html:read_html",
    ".xhtml": "ingest.readers.html:read_html",
    ".xml": "ingest.readers.jats:read_jats",
    ".nxml": "ingest.readers.jats:read_jats",
}

TEXT_SUFFIXES = frozenset(READERS) - {".pdf", ".docx"}  # files that may well write about "%PDF-"
HEAD_BYTES = 2048
MEGABYTE = 1_000_000

_HTML_START = re.compile(
    rb"^(?:\s|<!--.*?-->|<\?xml[^>]*\?>)*<(?:!doctype\s+html|html[\s>]|head[\s>])", re.IGNORECASE | re.DOTALL
)
_ARTICLE_START = re.compile(
    rb"<!DOCTYPE\s+article\b|<(?:\w+:)?article[\s>][^>]*(?:dtd-version|article-type|mml|xlink)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader is told besides the path. The password is left out of `repr`, so that no log shows it."""

    password: str | None = field(default=None, repr=False)
    ocr: Literal["auto", "never", "always"] = "auto"
    ocr_languages: str = "eng+jpn"  # Tesseract's names, joined by "+"
    ocr_budget_s: float = math.inf  # for the OCR of one file; pages beyond it stay unread
    max_pages: int = 5000
    max_file_mb: int = 500


DEFAULT_OPTIONS = ReadOptions()


def read(path: Path, *, options: ReadOptions = DEFAULT_OPTIONS) -> Document:
    """Read one file with the reader its content, else its suffix, asks for.

    Raises `ReadError` when the file is missing, empty, too large, not allowed to be read, of no known format, without
    text, or refused by its reader.
    """
    head = _checked_head(path, options)
    suffix = sniff(head, suffix=path.suffix.lower())
    if suffix == ".html" and path.suffix.lower() == ".pdf":
        raise ReadError(
            f"{path.name!r} is a web page that was saved under the name of a PDF",
            cause="webpage",
            hint="Download the PDF itself (the link may ask for a login), or rename the file to .html to read the page",
        )
    try:
        document = reader_for(suffix, path)(path, options=options)
    except RecursionError as error:
        raise ReadError(f"{path.name!r} nests its parts too deeply to be read", cause="malformed") from error
    if not any(page.text.strip() for page in document.pages):
        raise ReadError(
            f"{path.name!r} holds no text", cause="no_text", hint="Open it in a viewer to see what is in it"
        )
    return document


def reader_for(suffix: str, path: Path) -> Callable[..., Document]:
    """Return the reader for a suffix; `path` is named in the error when there is none."""
    if suffix not in READERS:
        raise ReadError(
            f"{path.name!r} has a format matlit does not read ({path.suffix or 'no suffix'})",
            cause="unsupported",
            hint=f"Supported: {' '.join(sorted(READERS))}",
        )
    module, function = READERS[suffix].split(":")
    return cast("Callable[..., Document]", getattr(import_module(module), function))


def sniff(head: bytes, *, suffix: str) -> str:
    """Return the suffix that the first bytes of a file speak for; `suffix` itself where they say nothing else.

    PDF allows up to 1,024 bytes before its header (ISO 32000-1, annex H.3.4.1).
    """
    if suffix == ".docx" or head.startswith(b"PK\x03\x04"):
        return ".docx" if suffix == ".docx" or b"word/" in head else suffix
    if head.lstrip().startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and suffix not in TEXT_SUFFIXES):
        return suffix if _HTML_START.match(head) else ".pdf"
    if suffix in {".md", ".markdown"}:  # may begin with HTML
        return suffix
    if _HTML_START.match(head):
        return ".html"
    if _ARTICLE_START.search(head):
        return ".xml"
    return suffix


def _checked_head(path: Path, options: ReadOptions) -> bytes:
    """Return the first bytes of the file after checking that it can be read at all."""
    try:
        if path.is_dir():
            raise ReadError(f"{str(path)!r} is a folder", cause="unsupported", hint=f"Ingest it: matlit ingest {path}")
        size = path.stat().st_size
        if size > options.max_file_mb * MEGABYTE:
            raise ReadError(
                f"{path.name!r} has {size / MEGABYTE:.0f} MB, more than the limit of {options.max_file_mb} MB",
                cause="too_large",
                hint="Raise max_file_mb in the table [reading] of the settings file",
            )
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise ReadError(f"there is no file {os.fspath(path)!r}", cause="missing", hint="Check the path") from error
    except PermissionError as error:
        raise ReadError(
            f"{path.name!r} may not be read by this user", cause="permission", hint=f"Allow it: chmod u+r {path}"
        ) from error
    except OSError as error:
        raise ReadError(
            f"{path.name!r} cannot be opened: {error.strerror}", cause="malformed", retryable=True
        ) from error
    if not head:
        raise ReadError(f"{path.name!r} is empty (0 bytes)", cause="empty", hint="Download or copy it again")
    return head

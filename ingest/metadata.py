"""What a paper is called, who wrote it, when and where."""

from __future__ import annotations

from pathlib import Path

from ingest.records import Document, Metadata


def describe(document: Document, path: Path) -> Metadata:
    """Return what is known about the paper."""
    return document.metadata

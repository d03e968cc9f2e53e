"""What can be wrong with a record: in one of its fields, or as a whole."""

from __future__ import annotations

import json
from pathlib import Path

from ingest.errors import BadInput


class BadRecord(BadInput):
    """One record of a file cannot be used; the others are not affected.

    `record` counts from 1, and `field` names what is wrong with it ("" when the record as a whole is).
    """

    hint = "The other records of the file are not affected; mend this one, or go on without it"

    def __init__(self, message: str, *, path: Path, record: int, field: str = "") -> None:
        where = f"record {record} of {path.name}" + (f", field {field!r}" if field else "")
        super().__init__(f"{where}: {message}")
        self.path, self.record, self.field = path, record, field


class FieldError(Exception):
    """A value of a record is unusable; becomes a BadRecord where the record's number is known."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def shown(value: object) -> str:
    """Return a value as one may quote it in a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"

"""Files handed over with a question: read once, bounded, and passed to the tools as text under their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assistant.tools import read_attachment
from ingest.errors import BadInput

MOST_CHARACTERS = 2_000_000  # a CIF of some ten thousand atoms
HINT = "Attach a structure as CIF, POSCAR or pymatgen JSON, or a short text; papers go into the library: matlit ingest"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file that belongs to a question. `name` is its file name, by which tools and answers call it."""

    name: str
    text: str


def read_attachments(given: Iterable[Attachment | Path | str] | Mapping[str, str]) -> tuple[Attachment, ...]:
    """Return what was attached: paths are read, a mapping is name to text; two of one name are told apart by number.

    Raises:
        BadInput: a file is missing, is no text, or is longer than two million characters.
    """
    things = [Attachment(*pair) for pair in given.items()] if isinstance(given, Mapping) else list(given)
    read = [
        thing if isinstance(thing, Attachment) else Attachment(*read_attachment(Path(thing).expanduser()))
        for thing in things
    ]
    named: dict[str, Attachment] = {}
    for attachment in read:
        _check(attachment)
        name, number = attachment.name, 2
        while name in named:
            name, number = f"{number}-{attachment.name}", number + 1
        named[name] = Attachment(name, attachment.text)
    return tuple(named.values())


def _check(attachment: Attachment) -> None:
    if len(attachment.text) > MOST_CHARACTERS:
        length = len(attachment.text)
        raise BadInput(f"the attachment {attachment.name!r} has {length:,} characters, too many", hint=HINT)
    if not attachment.text.strip():
        raise BadInput(f"the attachment {attachment.name!r} is empty", hint=HINT)

"""The sample library that comes with the installation: six short papers (PDF) and records of well-known materials.

`examples/make_sample_library.py` makes them; the facts, with their sources, are in `examples/sample/*.md`.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def paths() -> tuple[Path, ...]:
    """Return the sample papers, sorted by name."""
    return tuple(sorted(_FOLDER.glob("*.pdf")))


def materials_path() -> Path:
    """Return the file of materials records (Materials Project, CC-BY 4.0; see its "meta")."""
    return _FOLDER / "materials.json"

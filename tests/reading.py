"""What the tests of readers share: files written and read, their blocks told, and a Word document."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import ReadError
from ingest.readers import ReadOptions, read

JAPANESE = "リチウムイオン電池の正極材料として、LiFePO4は優れた熱安定性を示す。容量は170 mAh/gである。"


def written(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def refused(path: Path, **options) -> ReadError:
    with pytest.raises(ReadError) as caught:
        read(path, options=ReadOptions(**options))
    return caught.value


def whole(document) -> str:
    return "\n\n".join(page.text for page in document.pages)


def pieces(document) -> list[tuple[str, str, str]]:
    """Return kind, section and text of every block, which checks the spans on the way."""
    return [
        (block.kind, block.section, page.text[block.start : block.end])
        for page in document.pages
        for block in page.blocks
    ]


def of_kind(document, kind: str) -> list[str]:
    return [text for each, _, text in pieces(document) if each == kind]


# Which reader, and what is refused before any reader starts.


@pytest.fixture
def docx_path(tmp_path: Path) -> Path:
    import docx

    document = docx.Document()
    document.core_properties.title = "酸化物の研究"
    document.core_properties.author = "山田太郎; Ada Lovelace"
    document.add_heading("酸化物の研究", 0)
    document.add_heading("Introduction", 1)
    paragraph = document.add_paragraph("LiFePO")
    paragraph.add_run("4").font.subscript = True
    paragraph.add_run(" is stable.")
    hidden = paragraph.add_run("secret")
    hidden.font.hidden = True
    table = document.add_table(rows=2, cols=3)
    for cell, text in zip(table._cells, ["相", "a (Å)", "gap", "TiO2", "4.59", "3.0"], strict=True):
        cell.text = text
    document.add_paragraph("Table 1: lattice constants", style="Caption")
    document.add_heading("Details", 2)
    document.add_paragraph("After the table.")
    document.add_heading("References", 1)
    document.add_paragraph("[1] A. Author, 2001.")
    path = tmp_path / "a.docx"
    document.save(str(path))
    return path

"""Dispatch, encodings, plain text and Markdown, with small real files made here."""

from __future__ import annotations

import os

import pytest
from reading import JAPANESE, pieces, refused, whole, written

from ingest.errors import ReadError
from ingest.readers import READERS, ReadOptions, read
from ingest.readers.parts import Outline, assemble
from ingest.records import Metadata


def test_a_missing_file_is_named(tmp_path):
    error = refused(tmp_path / "none.pdf")
    assert error.cause == "missing"
    assert "none.pdf" in str(error)


def test_an_empty_file_is_called_empty(tmp_path):
    assert refused(written(tmp_path / "a.pdf", b"")).cause == "empty"


def test_a_file_of_blanks_has_no_text(tmp_path):
    assert refused(written(tmp_path / "a.txt", "  \n\n \n")).cause == "no_text"


def test_an_unknown_suffix_names_what_is_supported(tmp_path):
    error = refused(written(tmp_path / "a.xyz", b"\x00\x01"))
    assert error.cause == "unsupported"
    assert ".xyz" in str(error)
    assert all(suffix in error.hint for suffix in READERS)


def test_a_folder_is_refused(tmp_path):
    assert refused(tmp_path).cause == "unsupported"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_called_permission(tmp_path):
    path = written(tmp_path / "a.txt", "text")
    path.chmod(0)
    assert refused(path).cause == "permission"


def test_a_file_over_the_size_limit_is_refused(tmp_path):
    error = refused(written(tmp_path / "a.txt", b"x" * 2_000_001), max_file_mb=2)
    assert error.cause == "too_large"
    assert "2 MB" in str(error)


def test_a_web_page_named_pdf_is_called_a_web_page(tmp_path):
    error = refused(written(tmp_path / "a.pdf", "\n<!DOCTYPE html>\n<html><body>Log in</body></html>"))
    assert error.cause == "webpage"
    assert "Download the PDF" in error.hint


def test_a_web_page_named_txt_is_read_as_one(tmp_path):
    document = read(written(tmp_path / "a.txt", "<html><body><p>Some words.</p><script>no</script></body></html>"))
    assert (document.format, whole(document)) == ("html", "Some words.")


def test_a_web_page_named_xml_is_read_as_one(tmp_path):
    page = '<?xml version="1.0"?>\n<!DOCTYPE html>\n<html><body><p>Words</p></body></html>'
    assert read(written(tmp_path / "a.xml", page)).format == "html"


def test_a_text_about_pdf_is_not_a_pdf(tmp_path):
    assert read(written(tmp_path / "a.txt", "A PDF begins with %PDF-1.7 and ends with %%EOF.")).format == "text"


def test_a_docx_named_txt_is_read_as_one(docx_path):
    assert read(docx_path.rename(docx_path.with_suffix(".txt"))).format == "docx"


@pytest.mark.parametrize("tag", ["div", "span", "b"])
def test_deep_nesting_is_read_or_refused(tmp_path, tag):
    path = written(tmp_path / "a.html", f"<html><body>{f'<{tag}>' * 5000}deep{f'</{tag}>' * 5000}</body></html>")
    try:
        text = whole(read(path))
    except ReadError as error:
        text = f"not deep: {error.cause}"
    assert text in {"deep", "not deep: malformed", "not deep: no_text"}


def test_the_password_is_not_shown():
    assert "secret" not in repr(ReadOptions(password="secret"))


# Encodings.


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "shift_jis", "cp932", "euc_jp", "iso2022_jp"]
)
def test_japanese_text_survives_its_encoding(tmp_path, encoding):
    assert whole(read(written(tmp_path / "a.txt", JAPANESE, encoding))) == JAPANESE


@pytest.mark.parametrize("encoding", ["shift_jis", "euc_jp"])
def test_a_little_japanese_among_english_survives(tmp_path, encoding):
    text = "The battery research group (電池の研究グループ) measured the cathodes again and again in 2019."
    assert whole(read(written(tmp_path / "a.txt", text, encoding))) == text


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "utf-16"])
def test_western_text_survives_its_encoding(tmp_path, encoding):
    text = "Über die Wärmeleitfähigkeit von Düngemitteln: 25 °C, 3 µm ± 0.5 µm, señor Muñoz, café."
    assert whole(read(written(tmp_path / "a.txt", text, encoding))) == text


def test_one_broken_byte_does_not_turn_utf8_into_something_else(tmp_path):
    text = whole(read(written(tmp_path / "a.txt", JAPANESE.encode() + b"\xff" + JAPANESE.encode())))
    assert JAPANESE in text


def test_bytes_that_are_no_text_are_refused(tmp_path):
    assert refused(written(tmp_path / "a.txt", bytes(range(256)) * 40)).cause == "malformed"


# Parts.


def test_parts_end_between_paragraphs_and_hold_about_3000_characters():
    outline = Outline()
    for number in range(40):
        outline.add("text", f"Paragraph {number}. " + "words " * 60)
    document = assemble(outline.pieces, metadata=Metadata(), format_name="text")
    assert not document.paged
    assert [page.number for page in document.pages] == list(range(1, len(document.pages) + 1))
    assert all(2000 < len(page.text) < 4000 for page in document.pages[:-1])
    assert all(page.text.startswith("Paragraph") for page in document.pages)


def test_a_heading_never_ends_a_part():
    outline = Outline()
    for number in range(60):
        outline.heading(f"Section {number}", level=1)
        outline.add("text", "words " * (100 + 37 * number % 200))
    document = assemble(outline.pieces, metadata=Metadata(), format_name="text")
    assert all(page.blocks[-1].kind == "text" for page in document.pages)


def test_a_paragraph_longer_than_a_part_is_cut_after_a_sentence_and_nothing_is_lost():
    text = " ".join(f"This is sentence number {number}." for number in range(1000))
    outline = Outline()
    outline.add("text", text)
    document = assemble(outline.pieces, metadata=Metadata(), format_name="text")
    assert all(page.text.endswith(".") and len(page.text) < 4000 for page in document.pages)
    assert " ".join(page.text for page in document.pages) == text


# Plain text.

PLAIN = """\
A short report on cathodes

1 Introduction

The cathode of a lithium-ion bat-
tery decides its voltage. It is
made of LiCoO2.

2. Experimental

Sample   Capacity   Voltage
LiCoO2   140        3.9
LiFePO4  165        3.4

References

[1] A. Author, J. Power Sources 1,
    1 (2001).
[2] B. Author, Nature 2, 2 (2002).
"""


def test_plain_text_has_title_sections_table_and_references(tmp_path):
    assert pieces(read(written(tmp_path / "a.txt", PLAIN))) == [
        ("title", "", "A short report on cathodes"),
        ("heading", "1 Introduction", "1 Introduction"),
        ("text", "1 Introduction", "The cathode of a lithium-ion battery decides its voltage. It is made of LiCoO2."),
        ("heading", "2. Experimental", "2. Experimental"),
        ("table", "2. Experimental", "Sample | Capacity | Voltage\nLiCoO2 | 140 | 3.9\nLiFePO4 | 165 | 3.4"),
        ("heading", "References", "References"),
        ("reference", "References", "[1] A. Author, J. Power Sources 1, 1 (2001)."),
        ("reference", "References", "[2] B. Author, Nature 2, 2 (2002)."),
    ]


def test_japanese_lines_join_without_a_space(tmp_path):
    text = (
        "電池の研究\n\nはじめに\n\n正極材料は電池の\n電圧を決める。LiCoO2が\n用いられる。\n\n"
        "参考文献\n\n1) 山田, 電気化学, 2001."
    )
    assert pieces(read(written(tmp_path / "a.txt", text))) == [
        ("title", "", "電池の研究"),
        ("heading", "はじめに", "はじめに"),
        ("text", "はじめに", "正極材料は電池の電圧を決める。LiCoO2が用いられる。"),
        ("heading", "参考文献", "参考文献"),
        ("reference", "参考文献", "1) 山田, 電気化学, 2001."),
    ]


# Markdown.

MARKDOWN = """\
---
title: "Sodium cathodes"
authors: [Ada Lovelace, 山田太郎]
date: 2021-05-03
doi: 10.1234/abc
---
# Sodium cathodes

Text with **bold**, *italic*, `code`, a [link](https://example.org) and snake_case_name,
and $a_1 * b_2 * c$.

## Results ##

| Phase | Gap (eV) |
|-------|:--------:|
| NaCoO2 | **1.2** |

- first item
- second item
  goes on

```python
def f(x):
    return x
```

Sub
---

![The crystal](x.png)

## References

1. A. Author, 2001.
2. B. Author, 2002.
"""


def test_markdown_structure_is_kept_and_its_marks_are_not(tmp_path):
    document = read(written(tmp_path / "a.md", MARKDOWN))
    assert pieces(document) == [
        ("title", "", "Sodium cathodes"),
        ("text", "", "Text with bold, italic, code, a link and snake_case_name, and $a_1 * b_2 * c$."),
        ("heading", "Results", "Results"),
        ("table", "Results", "Phase | Gap (eV)\nNaCoO2 | 1.2"),
        ("text", "Results", "- first item"),
        ("text", "Results", "- second item goes on"),
        ("text", "Results", "def f(x):\n    return x"),
        ("heading", "Sub", "Sub"),
        ("caption", "Sub", "The crystal"),
        ("heading", "References", "References"),
        ("reference", "References", "1. A. Author, 2001."),
        ("reference", "References", "2. B. Author, 2002."),
    ]


def test_markdown_front_matter_describes_the_paper(tmp_path):
    assert read(written(tmp_path / "a.md", MARKDOWN)).metadata == Metadata(
        title="Sodium cathodes", authors=("Ada Lovelace", "山田太郎"), year=2021, doi="10.1234/abc"
    )

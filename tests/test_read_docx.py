"""Word documents: blocks in order, notes, tracked changes, damage."""

from __future__ import annotations

import zipfile

from reading import of_kind, pieces, refused, whole, written

from ingest.readers import read


def test_docx_blocks_come_in_document_order(docx_path):
    assert pieces(read(docx_path)) == [
        ("title", "", "酸化物の研究"),
        ("heading", "Introduction", "Introduction"),
        ("text", "Introduction", "LiFePO4 is stable."),
        ("table", "Introduction", "相 | a (Å) | gap\nTiO2 | 4.59 | 3.0"),
        ("caption", "Introduction", "Table 1: lattice constants"),
        ("heading", "Details", "Details"),
        ("text", "Details", "After the table."),
        ("heading", "References", "References"),
        ("reference", "References", "[1] A. Author, 2001."),
    ]


def test_docx_properties_describe_the_paper(docx_path):
    metadata = read(docx_path).metadata
    assert (metadata.title, metadata.authors) == ("酸化物の研究", ("山田太郎", "Ada Lovelace"))


def test_docx_keeps_inserted_text_and_leaves_deleted_text_out(docx_path):
    with zipfile.ZipFile(docx_path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    changed = (
        b'<w:ins w:id="1" w:author="a"><w:r><w:t> and insulating</w:t></w:r></w:ins>'
        b'<w:del w:id="2" w:author="a"><w:r><w:delText>wrong</w:delText></w:r></w:del></w:p><w:tbl>'
    )
    body = members["word/document.xml"]
    at = body.index(b"<w:tbl>")
    assert body[:at].rstrip().endswith(b"</w:p>")
    end = body[:at].rindex(b"</w:p>")
    members["word/document.xml"] = body[:end] + changed + body[at + len(b"<w:tbl>") :]
    with zipfile.ZipFile(docx_path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    text = whole(read(docx_path))
    assert "LiFePO4 is stable. and insulating" in text
    assert "wrong" not in text


def test_docx_footnotes_and_endnotes_follow_the_text(docx_path):
    notes = {"footnotes": "footnote", "endnotes": "endnote"}
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(docx_path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    types, relations = "[Content_Types].xml", "word/_rels/document.xml.rels"
    for part, element in notes.items():
        kind = f"application/vnd.openxmlformats-officedocument.wordprocessingml.{part}+xml"
        override = f'<Override PartName="/word/{part}.xml" ContentType="{kind}"/></Types>'
        relation = f'<Relationship Id="r{part}" Type="{office}/{part}" Target="{part}.xml"/></Relationships>'
        members[types] = members[types].replace(b"</Types>", override.encode())
        members[relations] = members[relations].replace(b"</Relationships>", relation.encode())
        said = f"<w:p><w:r><w:t>Measured against lithium ({element}).</w:t></w:r></w:p>"
        body = (
            f'<w:{element} w:type="separator" w:id="0">{said}</w:{element}><w:{element} w:id="2">{said}</w:{element}>'
        )
        members[f"word/{part}.xml"] = f'<w:{part} xmlns:w="{word}">{body}</w:{part}>'.encode()
    with zipfile.ZipFile(docx_path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert of_kind(read(docx_path), "footnote") == [
        "Measured against lithium (footnote).",
        "Measured against lithium (endnote).",
    ]


def test_half_a_docx_is_called_truncated(docx_path):
    data = docx_path.read_bytes()
    docx_path.write_bytes(data[: len(data) // 2])
    assert refused(docx_path).cause == "truncated"


def test_a_zip_named_docx_is_called_malformed(tmp_path):
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert refused(path).cause == "malformed"


def test_an_encrypted_docx_is_called_encrypted(tmp_path):
    data = b"\xd0\xcf\x11\xe0" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")
    assert refused(written(tmp_path / "a.docx", data)).cause == "encrypted"


def test_an_archive_bomb_is_refused(tmp_path):
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 30_000_000)
    assert refused(path, max_file_mb=1).cause == "too_large"

"""The PDF reader: on pages drawn by the test, where every word's place is known, and on real files."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pypdf
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from ingest.errors import ReadError
from ingest.readers import ReadOptions, ocr
from ingest.readers.pdf import read_pdf
from ingest.readers.prose import Word, clean, keeps_hyphen, vocabulary
from ingest.readers.symbols import meaning
from ingest.records import Document, Page

WIDTH, HEIGHT = A4
OPTIONS = ReadOptions(ocr="never")
SECONDS_PER_HARD_FILE = 60


def drawn(path: Path, *pages: Callable[[Canvas], None], **settings: object) -> Path:
    canvas = Canvas(str(path), pagesize=A4, **settings)
    for draw in pages:
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return path


def read(path: Path, **options: object) -> Document:
    return read_pdf(path, options=ReadOptions(**{"ocr": "never", **options}))


def lines(canvas: Canvas, x: float, top: float, texts: list[str], *, size: float = 10, font: str = "Helvetica") -> None:
    canvas.setFont(font, size)
    for number, text in enumerate(texts):
        canvas.drawString(x, HEIGHT - top - 1.2 * size * number, text)


def blocks(page: Page, kind: str) -> list[str]:
    return [page.text[block.start : block.end] for block in page.blocks if block.kind == kind]


LEFT = [f"left line number {word} fills its whole column" for word in ("one", "two", "three", "four", "five")]
RIGHT = [f"right line number {word} fills its own column" for word in ("one", "two", "three", "four", "five")]


def two_columns(canvas: Canvas) -> None:
    """Draw the rows across both columns, as some programs do, so that the order of the file is wrong."""
    lines(canvas, 50, 100, ["A Title over Both Columns of the Page about Batteries"], size=18, font="Helvetica-Bold")
    for number, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
        lines(canvas, 50, 200 + 12 * number, [left])
        lines(canvas, 310, 200 + 12 * number, [right])


def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    text = read(drawn(tmp_path / "a.pdf", two_columns)).pages[0].text
    assert text.index("right line number one") > text.index("left line number five")


def test_the_largest_lines_at_the_top_are_the_title(tmp_path: Path) -> None:
    page = read(drawn(tmp_path / "a.pdf", two_columns)).pages[0]
    assert blocks(page, "title") == ["A Title over Both Columns of the Page about Batteries"]


def test_boxes_of_a_span_lie_where_the_words_were_drawn(tmp_path: Path) -> None:
    page = read(drawn(tmp_path / "a.pdf", lambda canvas: lines(canvas, 100, 300, ["voltage of the cell rises"]))).pages[
        0
    ]
    start = page.text.index("cell")
    (box,) = page.boxes(start, start + 4)
    left = 100 + pdfmetrics.stringWidth("voltage of the ", "Helvetica", 10)
    assert box.x0 == pytest.approx(left, abs=1)
    assert box.x1 == pytest.approx(left + pdfmetrics.stringWidth("cell", "Helvetica", 10), abs=1)
    assert box.top < 300 < box.bottom + 1


@pytest.mark.parametrize(
    ("rotation", "x", "y"), [(90, HEIGHT - 300, 100), (180, WIDTH - 100, HEIGHT - 300), (270, 300, WIDTH - 100)]
)
def test_boxes_follow_a_rotated_page(tmp_path: Path, rotation: int, x: float, y: float) -> None:
    path = drawn(
        tmp_path / "a.pdf", lambda canvas: lines(canvas, 100, 300, ["voltage of the cell rises with every cycle"])
    )
    writer = pypdf.PdfWriter(clone_from=path)
    writer.pages[0].rotate(rotation)
    writer.write(tmp_path / "b.pdf")
    page = read(tmp_path / "b.pdf").pages[0]
    (box,) = page.boxes(0, len("voltage"))
    assert page.text == "voltage of the cell rises with every cycle"
    assert (page.width, page.height) == pytest.approx((WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH), abs=1)
    near_x, near_y = (box.x0, box.x1), (box.top, box.bottom)
    assert min(abs(edge - x) for edge in near_x) < 11
    assert min(abs(edge - y) for edge in near_y) < 11
    assert min(abs(edge - (y if rotation % 180 else x)) for edge in (near_y if rotation % 180 else near_x)) < 1


def test_text_drawn_sideways_on_an_upright_page_is_read(tmp_path: Path) -> None:
    def sideways(canvas: Canvas) -> None:
        canvas.rotate(90)
        canvas.setFont("Helvetica", 10)
        canvas.drawString(200, -300, "a wide table that was turned to fit")

    page = read(drawn(tmp_path / "a.pdf", sideways)).pages[0]
    first = page.boxes(0, 1)[0]
    assert page.text == "a wide table that was turned to fit"
    assert first.x0 < 300 < first.x1 + 3
    assert HEIGHT - first.bottom == pytest.approx(200, abs=2)


def test_a_word_broken_at_a_line_end_is_joined_and_keeps_both_boxes(tmp_path: Path) -> None:
    path = drawn(
        tmp_path / "a.pdf", lambda canvas: lines(canvas, 80, 200, ["the capacity of the elec-", "trode fades"])
    )
    page = read(path).pages[0]
    assert page.text == "the capacity of the electrode fades"
    start = page.text.index("electrode")
    assert len(page.boxes(start, start + len("electrode"))) == 2


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("the elec-", "trode", False),
        ("a Li-", "ion", True),
        ("by X-", "ray", True),
        ("in the self-", "heating", True),
        ("for high-", "voltage", True),
        ("of conven-", "tional", False),
    ],
)
def test_hyphens_that_belong_to_a_word_stay(before: str, after: str, kept: bool) -> None:
    text = "we use high-voltage cells and self heating at a voltage that is high heating self again and again"
    known = vocabulary([[Word(word, 0, 0, 0, 0) for word in text.split()]])
    assert keeps_hyphen(before, after, known) is kept


def test_lowered_digits_stay_in_their_formula(tmp_path: Path) -> None:
    def formula(canvas: Canvas) -> None:
        text = canvas.beginText(80, 500)
        for part, size, rise in (
            ("cells of LiFePO", 10, 0),
            ("4", 6, -2),
            (" at 5 mA cm", 10, 0),
            ("−2", 6, 4),
            (" run", 10, 0),
        ):
            text.setFont("Helvetica", size)
            text.setRise(rise)
            text.textOut(part.replace("−", "-"))
        canvas.drawText(text)

    assert read(drawn(tmp_path / "a.pdf", formula)).pages[0].text == "cells of LiFePO4 at 5 mA cm-2 run"


def test_a_raised_citation_number_is_not_glued_to_its_word(tmp_path: Path) -> None:
    def cited(canvas: Canvas) -> None:
        text = canvas.beginText(80, 500)
        for part, size, rise in (("as reported for batteries", 10, 0), ("12", 6, 4), (" and others", 10, 0)):
            text.setFont("Helvetica", size)
            text.setRise(rise)
            text.textOut(part)
        canvas.drawText(text)

    assert read(drawn(tmp_path / "a.pdf", cited)).pages[0].text == "as reported for batteries 12 and others"


def test_ligatures_and_tex_accents_become_letters() -> None:
    assert clean("e\ufb03cient") == "efficient"
    assert clean("Nordstr\u00a8om") == "Nordström"


def paper_page(number: int) -> Callable[[Canvas], None]:
    def draw(canvas: Canvas) -> None:
        lines(canvas, 80, 30, ["Journal of Sample Materials, vol. 7"], size=8)
        lines(
            canvas,
            80,
            120,
            [f"Body text of page {word} says something of its own." for word in ("a" * number, "b" * number)],
        )
        lines(canvas, 290, HEIGHT - 30, [str(40 + number)], size=8)

    return draw


def test_running_heads_and_page_numbers_are_left_out(tmp_path: Path) -> None:
    document = read(drawn(tmp_path / "a.pdf", *(paper_page(number) for number in range(1, 5))))
    everything = "\n".join(page.text for page in document.pages)
    assert "Journal" not in everything
    assert "41" not in everything
    assert everything.count("Body text") == 8


def draft_page(first: int) -> Callable[[Canvas], None]:
    def draw(canvas: Canvas) -> None:
        for number in range(12):
            lines(canvas, 60, 100 + 20 * number, [str(first + number)], size=8)
            lines(
                canvas,
                90,
                100 + 20 * number,
                [f"the sample of row {'abcdefghijkl'[number]} was heated to the same temperature"],
            )

    return draw


def test_line_numbers_of_a_draft_are_left_out(tmp_path: Path) -> None:
    document = read(drawn(tmp_path / "a.pdf", draft_page(1), draft_page(13)))
    assert not any(character.isdigit() for page in document.pages for character in page.text)


def table_page(canvas: Canvas) -> None:
    lines(canvas, 80, 100, ["Table 1. Properties of three cathode materials."], size=9)
    for height in (110, 126, 170):
        canvas.line(80, HEIGHT - height, 400, HEIGHT - height)
    for number, row in enumerate(
        [
            ("Material", "Voltage (V)", "Capacity"),
            ("LiFePO4", "3.4", "170"),
            ("LiCoO2", "", "140"),
            ("LiMn2O4", "4.1", "120"),
        ]
    ):
        for column, cell in enumerate(row):
            lines(canvas, 85 + 110 * column, 121 + 15 * number, [cell], size=9)
    lines(
        canvas, 80, 220, ["After the table the running text goes on with a sentence that is long enough", "to be one."]
    )


def test_a_table_keeps_its_rows_cells_and_header(tmp_path: Path) -> None:
    page = read(drawn(tmp_path / "a.pdf", table_page)).pages[0]
    assert blocks(page, "table") == [
        "Material | Voltage (V) | Capacity\nLiFePO4 | 3.4 | 170\nLiCoO2 |  | 140\nLiMn2O4 | 4.1 | 120"
    ]
    assert blocks(page, "caption") == ["Table 1. Properties of three cathode materials."]


def sections_page(canvas: Canvas) -> None:
    lines(canvas, 80, 80, ["A Paper with Sections and References"], size=18, font="Helvetica-Bold")
    lines(canvas, 80, 130, ["1. Introduction"], size=12, font="Helvetica-Bold")
    lines(canvas, 80, 150, ["The first section explains what the paper is about, and why anyone should care."])
    lines(canvas, 80, 190, ["Figure 2. A cell in cross section."], size=8)
    lines(canvas, 80, 230, ["References"], size=12, font="Helvetica-Bold")
    lines(
        canvas,
        80,
        250,
        [
            "1. A. Author, A first paper, J. Samples 1 (2001) 1-9.",
            "2. B. Writer, A second paper, J. Samples 2 (2002) 2-9.",
        ],
    )


def test_blocks_know_their_kind_and_section(tmp_path: Path) -> None:
    page = read(drawn(tmp_path / "a.pdf", sections_page)).pages[0]
    assert blocks(page, "heading") == ["1. Introduction", "References"]
    assert blocks(page, "caption") == ["Figure 2. A cell in cross section."]
    assert [entry[:2] for entry in blocks(page, "reference")] == ["1.", "2."]
    body = next(block for block in page.blocks if block.kind == "text")
    assert body.section == "1. Introduction"


def test_blocks_cover_the_text_and_words_lie_inside_blocks(tmp_path: Path) -> None:
    page = read(drawn(tmp_path / "a.pdf", sections_page)).pages[0]
    assert "\n\n".join(page.text[block.start : block.end] for block in page.blocks) == page.text
    assert all(page.text[start:end].strip() == page.text[start:end] for start, end, *_ in page.words.tolist())
    assert all(page.block_at(start) is page.block_at(end - 1) is not None for start, end, *_ in page.words.tolist())


def test_japanese_lines_are_joined_without_spaces(tmp_path: Path) -> None:
    pdfmetrics.registerFont(UnicodeCIDFont("HeiseiMin-W3"))
    path = drawn(
        tmp_path / "a.pdf",
        lambda canvas: lines(
            canvas,
            80,
            200,
            ["本研究ではリチウムイオン電池の正極材料を合成し、その", "電気化学特性を評価した。"],
            font="HeiseiMin-W3",
        ),
    )
    assert read(path).pages[0].text == "本研究ではリチウムイオン電池の正極材料を合成し、その電気化学特性を評価した。"


def test_the_same_bytes_give_the_same_document(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.pdf", two_columns, table_page, sections_page)
    first, second = read(path), read(path)
    assert first == second
    assert all((one.words == two.words).all() for one, two in zip(first.pages, second.pages, strict=True))


def test_metadata_is_what_the_file_says(tmp_path: Path) -> None:
    def described(canvas: Canvas) -> None:
        canvas.setTitle("On Cathodes")
        canvas.setAuthor("Ada Author; Ben Writer")
        two_columns(canvas)

    metadata = read(drawn(tmp_path / "a.pdf", described)).metadata
    assert (metadata.title, metadata.authors) == ("On Cathodes", ("Ada Author", "Ben Writer"))


def test_an_encrypted_file_asks_for_the_password_and_opens_with_it(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.pdf", two_columns, encrypt="secret")
    with pytest.raises(ReadError) as caught:
        read(path)
    assert caught.value.cause == "encrypted"
    assert "--password" in caught.value.hint
    with pytest.raises(ReadError, match="does not open"):
        read(path, password="wrong")
    assert "left line number one" in read(path, password="secret").pages[0].text


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty"),
        (b"\0" * 100, "empty"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "webpage"),
        (b"PK\x03\x04 something else", "malformed"),
        (b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog", "truncated"),
        (b"%PDF-1.4\nnothing in it\nstartxref\n0\n%%EOF\n", "malformed"),
    ],
)
def test_what_is_no_pdf_is_called_by_its_name(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    with pytest.raises(ReadError) as caught:
        read(path)
    assert caught.value.cause == cause
    assert "a.pdf" in str(caught.value)


def test_too_many_pages_are_refused_with_both_numbers(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.pdf", two_columns, two_columns, two_columns)
    with pytest.raises(ReadError, match="3 pages, more than the limit of 2") as caught:
        read(path, max_pages=2)
    assert caught.value.cause == "too_large"


def scanned(canvas: Canvas) -> None:
    from PIL import Image
    from reportlab.lib.utils import ImageReader

    buffer = io.BytesIO()
    Image.new("RGB", (200, 280), "gray").save(buffer, "PNG")
    buffer.seek(0)
    canvas.drawImage(ImageReader(buffer), 0, 0, WIDTH, HEIGHT)


def test_a_scan_without_ocr_is_refused_as_scanned(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        read(drawn(tmp_path / "a.pdf", scanned))
    assert caught.value.cause == "scanned"


def test_pages_that_lack_text_are_named_in_a_warning(tmp_path: Path) -> None:
    document = read(drawn(tmp_path / "a.pdf", two_columns, scanned, scanned))
    assert document.warnings == ("pages 2-3 without a text layer (scanned images)",)


def test_blank_pages_alone_hold_no_text(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        read(drawn(tmp_path / "a.pdf", lambda canvas: None))
    assert caught.value.cause == "no_text"
    assert "ocr = always" in caught.value.hint


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.shared
def test_every_hard_file_gives_text_or_a_reason(shared_data: Path) -> None:
    causes, hints = {}, {}
    for path in sorted((shared_data / "papers_hard").glob("*.pdf")):
        with time_limit(SECONDS_PER_HARD_FILE):
            try:
                assert read(path).characters > 0
            except ReadError as error:
                causes[path.stem], hints[path.stem] = error.cause, error.hint
    assert [name for name, hint in hints.items() if not hint] == []
    assert causes.pop("junk_prb_landing_page") == "webpage"
    assert causes.pop("bad_invalid_44bytes") == "malformed"
    assert {cause for name, cause in causes.items() if name.startswith("enc_")} == {"encrypted"}
    assert {cause for name, cause in causes.items() if name.startswith("scan_")} == {"scanned"}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("enc_aes256_pdfminer", "foo"),
        ("enc_libreoffice", "openpassword"),
        ("enc_password", "password"),
        ("enc_r2_user_password", "asdfzxcv"),
        ("enc_r5_empty_password", None),
    ],
)
def test_real_encrypted_files_open_with_their_password(shared_data: Path, name: str, password: str | None) -> None:
    assert read(shared_data / "papers_hard" / f"{name}.pdf", password=password).characters > 0


@pytest.mark.shared
def test_a_real_table_keeps_its_numbers_in_their_columns(shared_data: Path) -> None:
    document = read(shared_data / "papers" / "PMC8402009.pdf")
    rows = [row for page in document.pages for table in blocks(page, "table") for row in table.splitlines()]
    assert "300 | 322.5 | −466.211 | 0.46 | −268.0 | 84.2" in rows


@pytest.mark.shared
def test_text_outside_a_clipped_figure_is_not_read(shared_data: Path) -> None:
    document = read(shared_data / "papers" / "PMC6600761.pdf")
    assert not any("FOR PEER REVIEW" in page.text for page in document.pages)


@pytest.mark.shared
def test_signs_of_fonts_without_a_unicode_map_are_read_by_their_glyph_names(shared_data: Path) -> None:
    text = "\n".join(page.text for page in read(shared_data / "papers" / "PMC7067258.pdf").pages)
    assert "at 120 °C for 12" in text
    assert "mA h g−1 at 500 mA g−1" in text


def test_private_symbols_become_what_they_mean() -> None:
    assert [meaning(sign, "Symbol") for sign in "\uf06d\uf0b0\uf0b1"] == ["μ", "°", "±"]
    assert meaning("\uf0d8", "Wingdings-Regular") == "•"


@pytest.mark.skipif(not ocr.available(), reason=ocr.why_not() or "OCR is available")
def test_pages_beyond_the_time_for_ocr_are_named_and_the_others_kept(tmp_path: Path) -> None:
    def typed(canvas: Canvas) -> None:
        lines(canvas, 72, 100, ["This page has a text layer of its own, so that it needs no recognition at all."])

    document = read(drawn(tmp_path / "a.pdf", typed, scanned, scanned), ocr="auto", ocr_budget_s=0.5)
    assert "text layer of its own" in document.pages[0].text
    (warning,) = document.warnings
    assert warning.startswith(f"pages 2-3 {ocr.UNREAD}")
    assert "timeout_s" in warning
    assert "--retry-failed" in warning


@pytest.mark.skipif(not ocr.available(), reason=ocr.why_not() or "OCR is available")
def test_a_scan_for_which_there_was_no_time_at_all_is_refused_with_that_cause(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as refused:
        read(drawn(tmp_path / "a.pdf", scanned), ocr="auto", ocr_budget_s=0.5)
    assert refused.value.cause == "timeout"


@pytest.mark.skipif(not ocr.available(), reason=ocr.why_not() or "OCR is available")
def test_a_scan_on_which_ocr_sees_nothing_says_that_it_was_tried(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="found no legible text on its 1 pages") as refused:
        read(drawn(tmp_path / "a.pdf", scanned), ocr="auto")
    assert refused.value.cause == "no_text"
    assert "matlit ingest --retry-failed" in refused.value.hint


def test_a_reference_list_without_a_heading_is_one(tmp_path: Path) -> None:
    works = [f"[{n}] A. Alpha, B. C. Beta, J. Power Sources {2000 + n}, {10 + n}, {100 * n}." for n in range(1, 7)]

    def page(canvas: Canvas) -> None:
        lines(canvas, 80, 80, ["A Paper Whose List Has No Heading"], size=18, font="Helvetica-Bold")
        lines(canvas, 80, 130, ["The cells were cycled in 2019 up to 4.2 V, as in J. Power Sources 2001, 11,"])
        lines(canvas, 80, 142, ["100, and kept 95 percent of the capacity that they had in the first cycle."])
        for number, work in enumerate(works):
            lines(canvas, 80, 200 + 20 * number, [work], size=9)

    (page_read,) = read(drawn(tmp_path / "a.pdf", page)).pages
    assert blocks(page_read, "reference") == works
    assert blocks(page_read, "text")[0].startswith("The cells were cycled in 2019")


def test_a_few_works_named_in_prose_are_no_list(tmp_path: Path) -> None:
    works = [f"A. Alpha and B. C. Beta, J. Power Sources {2000 + n}, {10 + n}, {100 * n}, is one." for n in range(1, 4)]

    def page(canvas: Canvas) -> None:
        for number, work in enumerate(works):
            lines(canvas, 80, 200 + 40 * number, [work])

    assert blocks(read(drawn(tmp_path / "a.pdf", page)).pages[0], "reference") == []

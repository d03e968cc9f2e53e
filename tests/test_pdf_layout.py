"""What stands on a page in another order than that of lines: framed cells, late symbols, displayed equations."""

from __future__ import annotations

from pathlib import Path

from reportlab.pdfgen.canvas import Canvas
from test_read_pdf import HEIGHT, blocks, drawn, lines, read

from benchmarks._seen import is_shown

PROSE = [
    "The activity of each species follows from its mass action",
    "equation, and the sum over all species gives the balance of",
    "charge, which is written here for the whole solution as",
]


def framed(canvas: Canvas) -> None:
    """Draw a frame of three columns, the second of which wraps; every line of the page across all columns."""
    lines(canvas, 80, 192, ["swidth", ""])
    lines(canvas, 160, 192, ["width of the smooth approximation that is de-", "termined from the density of states"])
    lines(canvas, 420, 192, ["real", ""])
    for top in (180, 214):
        canvas.line(72, HEIGHT - top, 500, HEIGHT - top)
    for x in (72, 150, 410, 500):
        canvas.line(x, HEIGHT - 180, x, HEIGHT - 214)
    lines(canvas, 72, 240, PROSE)


def test_cells_between_vertical_lines_are_not_woven_together(tmp_path: Path) -> None:
    page = read(drawn(tmp_path / "a.pdf", framed)).pages[0]
    assert blocks(page, "table") == [
        "swidth | width of the smooth approximation that is determined from the density of states | real"
    ]


def test_a_plot_with_grid_lines_is_no_table(tmp_path: Path) -> None:
    def plot(canvas: Canvas) -> None:
        for number in range(5):
            canvas.line(100, HEIGHT - 200 - 20 * number, 300, HEIGHT - 200 - 20 * number)
            canvas.line(100 + 50 * number, HEIGHT - 200, 100 + 50 * number, HEIGHT - 280)
            lines(canvas, 110 + 45 * number, 212, [f"{number}.5"])
        lines(canvas, 72, 320, PROSE)

    assert blocks(read(drawn(tmp_path / "a.pdf", plot)).pages[0], "table") == []


def late_symbols(canvas: Canvas) -> None:
    """Draw a sentence with holes, and only then what belongs into them: a symbol with a lowered index."""
    lines(canvas, 72, 200, ["The charge"])
    lines(canvas, 145, 200, ["is conserved in every step of the reaction that we consider here."])
    lines(canvas, 130, 200, ["T"], font="Helvetica-Oblique")
    lines(canvas, 136.5, 204, ["z"], size=7, font="Helvetica-Oblique")


def test_symbols_drawn_after_the_text_stand_where_the_page_shows_them(tmp_path: Path) -> None:
    text = read(drawn(tmp_path / "a.pdf", late_symbols)).pages[0].text
    assert text.startswith("The charge Tz is conserved in every step")


def displayed(canvas: Canvas) -> None:
    lines(canvas, 72, 200, PROSE)
    lines(canvas, 250, 245, ["f  =  T  -"])
    lines(canvas, 297, 238, ["n z"])
    lines(canvas, 300, 246, ["RT"])
    lines(canvas, 72, 275, ["where the terms are those of the previous section of this work."])


def test_a_displayed_equation_stands_apart_from_the_sentences_around_it(tmp_path: Path) -> None:
    page = read(drawn(tmp_path / "a.pdf", displayed)).pages[0]
    assert blocks(page, "text") == [
        " ".join(PROSE),
        "where the terms are those of the previous section of this work.",
    ]
    assert "RT" in " ".join(blocks(page, "scattered"))


def test_loose_words_of_a_justified_line_are_prose(tmp_path: Path) -> None:
    def loose(canvas: Canvas) -> None:
        lines(canvas, 72, 200, PROSE[:1])
        for x, word in ((72, "measured"), (132, "at"), (160, "several"), (212, "temperatures"), (292, "below")):
            lines(canvas, x, 212, [word])
        lines(canvas, 72, 224, PROSE[1:])

    assert blocks(read(drawn(tmp_path / "a.pdf", loose)).pages[0], "scattered") == []


def test_the_benchmark_s_eye_sees_rows_and_sentences_but_no_woven_columns(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.pdf", framed)
    assert is_shown("The activity of each species follows from its mass action equation, and the sum", path, 1)
    assert is_shown("swidth width of the smooth approximation that is de- termined", path, 1)
    assert not is_shown("approximation that is de- real termined from the density", path, 1)
    assert not is_shown("The activity of each species follows from the sum", path, 1)


def test_the_benchmark_s_eye_reads_symbols_that_the_file_draws_late(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.pdf", late_symbols)
    assert is_shown("The charge Tz is conserved in every step", path, 1)
    assert not is_shown("The charge is conserved in every step", path, 1)

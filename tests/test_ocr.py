"""Recognised text: words with their places, languages, and pages that are better left."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw, ImageFont

from ingest.readers import ocr

needs_tesseract = pytest.mark.skipif(not ocr.available(), reason=ocr.why_not() or "OCR is available")
FONT_SIZE = 40


@pytest.fixture(scope="module")
def printed_page() -> Image.Image:
    """A page image at 200 dpi whose first word begins one inch from the left and two inches from the top."""
    image = Image.new("L", (1700, 1200), 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE)
    for number, line in enumerate(
        [
            "Lithium iron phosphate is a cathode material with an olivine structure.",
            "Its theoretical capacity is 170 milliampere hours per gram of material.",
            "It is stable when heated and keeps its capacity for thousands of cycles.",
            "The voltage against lithium metal is about 3.4 volts on both plateaus.",
        ]
    ):
        draw.text((200, 400 + 60 * number), line, fill=0, font=font)
    return image


@needs_tesseract
def test_ocr_gives_words_with_boxes_in_points(printed_page):
    lines = ocr.recognise(printed_page, languages="eng", dpi=200)
    assert lines[0].text == "Lithium iron phosphate is a cathode material with an olivine structure."
    box = lines[0].words[0].box
    assert abs(box.x0 - 72) < 3
    assert 144 < box.top < 155
    assert lines[0].confidence > 80


@needs_tesseract
def test_ocr_reads_a_page_that_lies_on_its_side(printed_page):
    lines = ocr.recognise(printed_page.rotate(90, expand=True), languages="eng", dpi=200)
    assert "theoretical capacity is 170" in " ".join(line.text for line in lines)


@needs_tesseract
def test_ocr_gives_the_same_places_on_a_page_rendered_too_large(printed_page):
    large = printed_page.resize((printed_page.width * 3, printed_page.height * 3))
    box = ocr.recognise(large, languages="eng", dpi=600)[0].words[0].box
    assert abs(box.x0 - 72) < 3
    assert 144 < box.top < 155


@needs_tesseract
def test_ocr_that_is_unsure_of_a_whole_page_gives_nothing():
    noise = Image.effect_noise((1200, 1600), 120).point(lambda value: 0 if value < 60 else 255)
    assert ocr.recognise(noise, languages="eng", dpi=200) == ()


def test_a_page_of_enormous_size_is_rendered_coarsely():
    assert ocr.rendering_dpi(595, 842) == 200
    assert ocr.rendering_dpi(14_400, 14_400) * 14_400 / 72 == pytest.approx(3000)


@needs_tesseract
def test_ocr_says_which_language_is_missing():
    chosen = ocr.choose_languages("eng+xxx")
    assert chosen.used == "eng"
    assert "xxx" in chosen.warning
    assert "tesseract-ocr-xxx" in chosen.warning


def test_recognised_japanese_words_are_joined_without_spaces():
    assert ocr.join_words(["電池", "の", "容量", "170", "mAh"]) == "電池の容量 170 mAh"

"""PDF: pdfium gives characters, their places and the outline, pypdf the metadata and a second try at broken files.

This file puts the pages together, and says why they hold no text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.errors import ReadError
from ingest.readers import ocr
from ingest.readers.framed import framed_tables
from ingest.readers.furniture import furniture, without_line_numbers
from ingest.readers.glyphs import Fragment, Frame, GlyphNames, Glyphs, read_glyphs
from ingest.readers.layout import Line, find_gutter, find_lines, reading_order
from ingest.readers.paragraphs import Draft, paragraphs, rejoin, without_ticks
from ingest.readers.pdf_file import About, about, checked_bytes, glyph_names, opened, pypdf_reader, quiet
from ingest.readers.prose import Text, append_lines, vocabulary, words_of
from ingest.readers.scattered import part_scattered
from ingest.readers.sections import classify
from ingest.readers.tables import plain_tables, ruled_tables
from ingest.records import BOX_SCALE, Block, Document, Page

if TYPE_CHECKING:
    import pypdfium2

    from ingest.readers import ReadOptions

GARBAGE_SHARE = 0.35  # of a page's characters without a Unicode meaning: such a text layer is worth nothing
SCAN_CHARACTERS = 60  # a page with fewer, filled by an image, is a scan with a stamp on it
SCAN_COVER = 0.5  # share of the page that the image fills
OCR_SIZE = 10.0  # points; given to every recognised line, since sizes measured on images are noise
SAME_GUTTER = 12.0  # points


@dataclass(frozen=True, slots=True)
class _Raw:
    """One page before layout: glyphs of the text layer, or lines that OCR saw."""

    glyphs: Glyphs
    recognised: tuple[ocr.OcrLine, ...] | None = None
    # Why it has no text: "image", "garbage", "damaged", "unread" (OCR had no time for it), "illegible" (OCR saw none)
    lacks: str = ""


def read_pdf(path: Path, *, options: ReadOptions) -> Document:
    """Read one PDF: clean text in reading order, blocks with their kind and section, and a place for every word.

    Raises `ReadError` with cause `empty`, `webpage`, `malformed`, `truncated`, `encrypted`, `too_large`, `scanned`
    (images only, and no OCR) or `no_text` (blank, or fonts without a Unicode map).
    """
    data = checked_bytes(path)
    with quiet():
        pdf = opened(data, path, options.password)
        try:
            count = len(pdf)
            if count > options.max_pages:
                raise ReadError(
                    f"{path.name!r} has {count} pages, more than the limit of {options.max_pages}",
                    cause="too_large",
                    hint="Raise max_pages in the table [reading] of the settings file",
                )
            reader = pypdf_reader(data, options.password)
            said = about(pdf, reader)
            budget = ocr.Budget(options.ocr_budget_s)
            raws = [
                _raw_page(pdf, number, options, budget, partial(glyph_names, reader, number)) for number in range(count)
            ]
        finally:
            pdf.close()
    _refuse_without_text(raws, path, options)
    return Document(
        pages=_pages(raws, said),
        metadata=said.metadata,
        format="pdf",
        warnings=_warnings(raws, options),
    )


# ---- pages


def _raw_page(
    pdf: pypdfium2.PdfDocument,
    number: int,
    options: ReadOptions,
    budget: ocr.Budget,
    names: Callable[[], GlyphNames],
) -> _Raw:
    import pypdfium2

    try:
        page = pdf[number]
    except pypdfium2.PdfiumError:
        return _Raw(Glyphs((), Frame(0.0, 0.0, 0.0, 0.0, 0)), lacks="damaged")
    try:
        glyphs = read_glyphs(page, names=names)
        lacks = _lacks_text(page, glyphs)
        if (options.ocr == "always" or (lacks and options.ocr == "auto")) and ocr.available():
            recognised = _recognised(page, options, budget)
            if recognised is None and lacks:
                return _Raw(glyphs, lacks="unread")
            if recognised == () and lacks:
                return _Raw(glyphs, lacks="illegible")
            return _Raw(glyphs, recognised)
        return _Raw(glyphs, lacks=lacks)
    finally:
        page.close()


def _lacks_text(page: pypdfium2.PdfPage, glyphs: Glyphs) -> str:
    """Return why a page has no usable text layer: "garbage", "image", or "" if it has one or is simply blank."""
    if glyphs.unreadable > GARBAGE_SHARE * max(glyphs.characters, 1):
        return "garbage"
    if glyphs.characters >= SCAN_CHARACTERS:
        return ""
    return "image" if _image_cover(page) > SCAN_COVER else ""


def _image_cover(page: pypdfium2.PdfPage) -> float:
    """Return the share of the page that its images fill, overlaps counted twice."""
    import pypdfium2.raw as raw

    width, height = page.get_size()
    area = 0.0
    for found in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = found.get_bounds()
        area += max(right - left, 0.0) * max(top - bottom, 0.0)
    return float(area / max(width * height, 1.0))


def _recognised(page: pypdfium2.PdfPage, options: ReadOptions, budget: ocr.Budget) -> tuple[ocr.OcrLine, ...] | None:
    """Return what OCR sees on the page, or None where no time was left for it."""
    languages = ocr.choose_languages(options.ocr_languages)
    scale = ocr.DEFAULT_DPI / ocr.POINTS_PER_INCH
    return budget.recognise(lambda: page.render(scale=scale).to_pil(), languages=languages.used)


def _refuse_without_text(raws: Sequence[_Raw], path: Path, options: ReadOptions) -> None:
    if any((raw.glyphs.characters and not raw.lacks) or raw.recognised for raw in raws):
        return
    why = {raw.lacks for raw in raws}
    if "unread" in why:
        raise ReadError(
            f"{path.name!r} is scanned, and none of its {len(raws)} pages was recognised within the "
            f"{options.ocr_budget_s:.0f} s that OCR may take for a file",
            cause="timeout",
            hint="Raise timeout_s in the table [reading] of the settings file",
        )
    if "illegible" in why or any(raw.recognised is not None for raw in raws):
        raise ReadError(
            f"{path.name!r}: OCR ({ocr.choose_languages(options.ocr_languages).used}) found no legible text on "
            f"its {len(raws)} pages",
            cause="no_text",
            hint="Scan it again at 300 dpi or more, or name its language in ocr_languages in the table [reading] of "
            "the settings file, then run: matlit ingest --retry-failed",
        )
    no_ocr = "OCR is switched off (ocr = never); allow it with ocr = auto" if options.ocr == "never" else ocr.why_not()
    if "garbage" in why:
        raise ReadError(
            f"{path.name!r} has a text layer without meaning: its fonts have no Unicode map",
            cause="no_text",
            hint=no_ocr,
        )
    if "image" in why:
        raise ReadError(
            f"{path.name!r} is scanned: {len(raws)} pages of images without text", cause="scanned", hint=no_ocr
        )
    if "damaged" in why:
        raise ReadError(
            f"{path.name!r} is damaged: none of its {len(raws)} pages opens",
            cause="malformed",
            hint="Fetch it again, or repair it with another program (qpdf, mutool clean)",
        )
    raise ReadError(
        f"{path.name!r} holds no text on its {len(raws)} pages",
        cause="no_text",
        hint="Open it in a viewer: where you see text, it is drawn as lines; OCR reads it with ocr = always in the "
        "table [reading] of the settings file",
    )


def _warnings(raws: Sequence[_Raw], options: ReadOptions) -> tuple[str, ...]:
    reasons = {
        "unread": f"{ocr.UNREAD}: OCR may take {options.ocr_budget_s:.0f} s for a file; to get them raise timeout_s in "
        "the table [reading] of the settings file and run: matlit ingest --retry-failed",
        "illegible": "are scanned, and OCR found no legible text on them",
        "image": "without a text layer (scanned images)",
        "garbage": "with a text layer without meaning (fonts without a Unicode map)",
        "damaged": "damaged",
    }
    found = []
    for lacks, reason in reasons.items():
        numbers = [number for number, raw in enumerate(raws, 1) if raw.lacks == lacks]
        if numbers:
            found.append(f"pages {_ranges(numbers)} {reason}")
    return tuple(found)


def _ranges(numbers: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as "1-3, 7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _pages(raws: Sequence[_Raw], said: About) -> tuple[Page, ...]:
    """Lay out all pages together: running heads, columns and font sizes show only in comparison."""
    usable = [raw.glyphs.fragments if not raw.lacks and raw.recognised is None else () for raw in raws]
    lines = [find_lines(fragments) for fragments in without_line_numbers(usable)]
    heights = [raw.glyphs.frame.reading_size[1] for raw in raws]
    dropped = furniture(lines, heights)
    kept = [
        [line for number, line in enumerate(found) if number not in drop]
        for found, drop in zip(lines, dropped, strict=True)
    ]
    placed = [_with_tables(found, raw.glyphs) for found, raw in zip(kept, raws, strict=True)]
    gutters = [find_gutter(found) for found in placed]
    usual = _usual_gutter(gutters)
    drafts = [_drafts(found, gutter, usual) for found, gutter in zip(placed, gutters, strict=True)]
    for number, raw in enumerate(raws):
        if raw.recognised is not None:
            drafts[number] = _recognised_drafts(raw.recognised)
    classify(drafts, heights, title=said.metadata.title, outline=said.outline)
    drafts = [part_scattered(rejoin(without_ticks(found))) for found in drafts]
    texts = [[_worded(draft) for draft in found] for found in drafts]
    known = vocabulary(words for found in texts for _, rows in found for words in rows)
    return tuple(
        _page(number, raw, found, known) for number, (raw, found) in enumerate(zip(raws, texts, strict=True), 1)
    )


def _with_tables(lines: Sequence[Line], glyphs: Glyphs) -> list[Line]:
    return ruled_tables(framed_tables(lines, glyphs.rules, glyphs.bars), glyphs.rules)


def _usual_gutter(gutters: Sequence[float | None]) -> float | None:
    """Return the gutter of most pages with columns, where a third of all pages have it at the same place."""
    found = sorted(gutter for gutter in gutters if gutter is not None)
    if len(found) < 2:
        return None
    middle = found[len(found) // 2]
    common = sum(abs(gutter - middle) < SAME_GUTTER for gutter in found)
    return middle if 2 * common >= len(found) and 3 * common >= len(gutters) else None


def _drafts(lines: Sequence[Line], gutter: float | None, usual: float | None) -> list[Draft]:
    pieces = reading_order(lines, gutter=gutter, usual=usual)
    return [draft for piece in pieces for draft in paragraphs(plain_tables(piece))]


def _recognised_drafts(lines: Sequence[ocr.OcrLine]) -> list[Draft]:
    drafts: list[Draft] = []
    last = None
    for line in lines:
        found = Line(
            tuple(
                Fragment(
                    word.text,
                    word.box.x0,
                    word.box.top,
                    word.box.x1,
                    word.box.bottom,
                    word.box.bottom,
                    OCR_SIZE,
                    False,
                    "",
                    True,
                )
                for word in line.words
            )
        )
        if drafts and line.paragraph == last:
            drafts[-1].lines.append(found)
        else:
            drafts.append(Draft([found]))
        last = line.paragraph
    return drafts


_Words = list[Any]


def _worded(draft: Draft) -> tuple[Draft, list[_Words]]:
    return draft, [words_of(line) for line in draft.lines]


def _page(number: int, raw: _Raw, drafts: Sequence[tuple[Draft, list[_Words]]], known: Any) -> Page:
    text = Text()
    blocks: list[Block] = []
    for draft, lines in drafts:
        block = _block_text(draft, lines, known)
        if not block.text:
            continue
        start = len(text.text) + (2 if text.text else 0)
        text.text += ("\n\n" if text.text else "") + block.text
        text.rows.extend((row[0] + start, row[1] + start, *row[2:]) for row in block.rows)
        blocks.append(Block(start, len(text.text), draft.kind, draft.section))
    width, height = raw.glyphs.frame.size
    return Page(
        number=number,
        text=text.text,
        blocks=tuple(blocks),
        width=width,
        height=height,
        words=_word_table(text, raw.glyphs.frame if raw.recognised is None else None),
        ocr=raw.recognised is not None,
    )


def _block_text(draft: Draft, lines: Sequence[_Words], known: Any) -> Text:
    text = Text()
    if not draft.rows:
        append_lines(text, lines, known)
        return text
    for row in draft.rows:
        before = "\n" if text.text else ""
        for number, cell in enumerate(row):
            if number:
                before += " | " if text.text and before != "\n" else "| "
            size = len(text.rows)
            append_lines(text, [words_of(line) for line in cell], known, before=before)
            before = "" if len(text.rows) > size else before
    return text


def _word_table(text: Text, frame: Frame | None) -> np.ndarray[Any, np.dtype[np.int32]]:
    if not text.rows:
        return np.zeros((0, 6), np.int32)
    rows = [(start, end, *(frame.display(*box) if frame else box)) for start, end, *box in text.rows]
    table = np.array(rows, np.float64)
    table[:, 2:] *= BOX_SCALE
    return np.rint(table).astype(np.int32)

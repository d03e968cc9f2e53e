"""Render the sample documents of matlit, and pick the sample materials.

    python examples/make_sample_library.py                     # examples/sample/*.md -> ingest/sample/*.pdf
    python examples/make_sample_library.py --into FOLDER       # the same, elsewhere
    python examples/make_sample_library.py --materials FILE    # ingest/sample/materials.json, of a band-gap set

The sources are Markdown with a TOML head and a few marks of our own: `~2~` and `^−1^` for sub- and superscripts,
`| a | b |` for table rows, `$$ equation || (1)`, and fenced charts. The same source gives the same bytes everywhere (no
dates, no random names, only fonts that every PDF viewer brings along), so that the papers' ids never change.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY, TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    KeepTogether,
    NextPageTemplate,
    PageTemplate,
    Paragraph,
    Table,
    TableStyle,
)

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sample"
SHIPPED = HERE.parent / "ingest" / "sample"
AUTHOR = "The matlit developers"
SERIES = "matlit sample library"
YEAR = 2026

MARGIN, GUTTER = 22 * mm, 7 * mm
WIDTH = A4[0] - 2 * MARGIN
INK, ACCENT, SECOND = colors.HexColor("#1a1a1a"), colors.HexColor("#2f5d8a"), colors.HexColor("#c9833d")


# --- sources ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A sample document before it is typeset: its head, and its parts in order as (kind, content)."""

    name: str
    head: dict[str, Any]
    parts: tuple[tuple[str, Any], ...]

    @property
    def japanese(self) -> bool:
        """Tell whether the text is Japanese."""
        return self.head.get("language", "en") == "ja"

    @property
    def two_columns(self) -> bool:
        """Tell whether the text is set in two columns."""
        return bool(self.head.get("columns", 1) == 2)


def read_source(path: Path) -> Source:
    """Read one Markdown source."""
    _, head, body = path.read_text(encoding="utf-8").split("+++\n", 2)
    return Source(path.stem, tomllib.loads(head), tuple(_parts(body)))


_CAPTION = re.compile(r"(Figure|Table) \d+\. |[図表]\d+ ")


def _parts(body: str) -> Iterator[tuple[str, Any]]:
    lines = iter(body.splitlines())
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("| "):
            rows.append([cell.strip() for cell in line.strip("| ").split(" | ")])
            continue
        if rows:
            yield "table", rows
            rows = []
        if line.startswith("```chart"):
            spec = "\n".join(iter(lambda: next(lines), "```"))
            yield "chart", (line.split()[1], tomllib.loads(_bare_keys(spec)))
        elif line.startswith("## "):
            yield "heading", line[3:]
        elif line.startswith("$$ "):
            formula, _, number = line[3:].partition(" || ")
            yield "equation", (formula, number)
        elif _CAPTION.match(line):
            yield "caption", line
        elif re.match(r"\[\d+\] ", line):
            yield "reference", line
        elif line.strip():
            yield "text", line


def _bare_keys(spec: str) -> str:
    # TOML wants quotes around keys such as "100 μm"; the sources read better without them
    return re.sub(r"^([^=\"]+?) *=", lambda match: f'"{match[1]}" =', spec, flags=re.MULTILINE)


# --- typesetting --------------------------------------------------------------------------------------

# Words that may be broken, and where. A fixed list instead of a hyphenation package keeps the bytes stable.
_BREAKS = """
ab-sorb-er ab-sorp-tion ac-cep-tor aca-demic ad-di-tion adapt-able an-neal-ing ap-prox-i-ma-tion arrange-ment
aus-ten-ite bound-aries break-down buf-fer ca-pac-i-ties ca-pac-ity cal-cu-la-tion cal-cu-la-tions car-bide car-ri-ers
cath-ode chem-istry com-plete com-posi-tion com-pounds com-put-ed con-cen-tra-tion con-duc-tion con-duc-tiv-ity
con-duc-tor con-vert con-verted cor-re-sponds crys-tal crys-tallises crys-tals de-pends de-pos-i-tion de-scribed
de-vice den-sity depen-dence di-men-sions dif-fer dif-fer-ence dif-fuse ef-fi-cien-cies ef-fi-ciency elec-tro-lyte
elec-tron elec-tron-volts elec-tronic elec-trons emis-sion en-er-gies en-ergy epi-tax-ial epi-taxy ex-plained
ex-ter-nal fam-ily for-ma-mi-dinium for-mate func-tion func-tional gal-lium gen-er-alised het-ero-struc-tures
hy-dro-gen in-fra-red in-su-lat-ing in-ter-face iodide lat-tice liq-uid lith-ium ma-te-ri-als ma-te-rial mag-ne-sium
mea-sure-ments mea-sured met-al-or-ganic meth-yl-am-mo-nium mi-crom-etre mo-bil-ity mois-ture mono-va-lent
nano-crys-tals nano-struc-ture ni-tride ni-tro-gen ob-tained octa-he-dra or-tho-rhom-bic ox-ide par-am-e-ters
pas-si-vates per-mit-tiv-ity per-ov-skite per-ov-skites pho-ton phos-phate photo-lu-mi-nes-cence photo-volt-age
piezo-elec-tric po-lar-i-sa-tion po-rous prod-uct prop-er-ties quan-tum ra-di-a-tive re-com-bi-na-tion re-place
re-placed re-placing re-sis-tiv-ity scaf-fold se-quen-tial semi-con-duc-tor semi-con-duc-tors sen-si-tis-ers
sep-a-rates sil-i-con solid-state spec-trum spon-ta-neous struc-ture struc-tures sub-mi-cron sup-press sym-me-try
tan-dem tem-per-a-ture tet-rag-o-nal ther-mal ther-mo-dy-nam-ics thresh-old tol-er-ance tran-sis-tor tran-sis-tors
treat-ment tri-ha-lides tri-io-dide ul-tra-vi-o-let uni-po-lar va-can-cies vapour-phase volt-age wave-length wurtz-ite
"""
_POINTS = {word.replace("-", ""): word.split("-") for word in _BREAKS.split()}


def _hyphenate(word: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to break a word, the longest head first, as reportlab asks for them."""
    bare = word.strip("().,;:")
    syllables = _POINTS.get(bare.lower(), [])
    offset = word.find(bare)
    for count in range(len(syllables) - 1, 0, -1):
        at = offset + sum(map(len, syllables[:count]))
        yield word[:at], word[at:]


@dataclass(frozen=True)
class Look:
    """Fonts and styles of one document."""

    regular: str
    bold: str
    styles: dict[str, ParagraphStyle]
    japanese: bool

    def paragraph(self, text: str, style: str) -> Paragraph:
        """Return the marked-up text as a paragraph."""
        chosen = self.styles[style]
        return Paragraph(markup(text, size=chosen.fontSize, japanese=self.japanese), chosen)


def look_of(source: Source) -> Look:
    """Return fonts and styles: Times for Latin text, the Adobe-Japan1 fonts of the viewer for Japanese."""
    regular, bold = ("HeiseiMin-W3", "HeiseiKakuGo-W5") if source.japanese else ("Times-Roman", "Times-Bold")
    if source.japanese:
        for font in (regular, bold):
            pdfmetrics.registerFont(UnicodeCIDFont(font))
    small = source.two_columns
    size = 9.6 if small else 10.5
    text = ParagraphStyle(
        "text",
        fontName=regular,
        fontSize=size,
        leading=size * (1.6 if source.japanese else 1.36),
        alignment=TA_LEFT if source.japanese else TA_JUSTIFY,
        spaceAfter=size * 0.55,
        textColor=INK,
        wordWrap="CJK" if source.japanese else None,
        hyphenationLang="" if source.japanese else _hyphenate,
        firstLineIndent=size if source.japanese else 0,
        allowWidows=0,
        allowOrphans=0,
    )

    def style(name: str, **changes: Any) -> ParagraphStyle:
        return ParagraphStyle(name, parent=text, firstLineIndent=0, **changes)

    styles = [
        text,
        style("title", fontName=bold, fontSize=18, leading=22, alignment=TA_LEFT, spaceAfter=6, hyphenationLang=""),
        style("author", fontSize=10.5, leading=14, alignment=TA_LEFT, spaceAfter=2),
        style(
            "heading",
            fontName=bold,
            fontSize=size + 1.6,
            leading=size + 5,
            spaceBefore=8,
            spaceAfter=4,
            alignment=TA_LEFT,
        ),
        style("caption", fontSize=size - 1.2, leading=size + 2, spaceBefore=3, spaceAfter=9, alignment=TA_LEFT),
        style("equation", alignment=TA_CENTER, spaceAfter=0),
        style("cell", fontSize=size - 1, leading=size + 2.5, spaceAfter=0, alignment=TA_LEFT),
        style("reference", fontSize=size - 1.4, leading=size + 1.4, spaceAfter=2.5, leftIndent=17, alignment=TA_LEFT),
    ]
    styles[-1].firstLineIndent = -17
    return Look(regular, bold, {style.name: style for style in styles}, source.japanese)


_LATIN = re.compile(r"[\x21-\x7eÀ-ɏ°±×−–√αβγδεζηθλμνπρσφωΔΓΩ²³Å][\x20-\x7eÀ-ɏ°±×−–√αβγδεζηθλμνπρσφωΔΓΩ²³Å]*")


def markup(text: str, *, size: float, japanese: bool = False) -> str:
    """Turn the marks of the sources into reportlab's own, for letters of `size` points."""
    marked = escape(text)
    if japanese:  # Latin letters and digits look better in Times; the marks are ASCII and must survive
        marked = _LATIN.sub(lambda match: f'<font name="Times-Roman">{match[0]}</font>', marked)
    marked = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", marked)
    marked = re.sub(r"\*(.+?)\*", r"<i>\1</i>", marked)
    marked = re.sub(r"~(.+?)~", rf'<sub rise="{0.16 * size:.2f}" size="{0.7 * size:.2f}">\1</sub>', marked)
    return re.sub(r"\^(.+?)\^", rf'<super rise="{0.36 * size:.2f}" size="{0.7 * size:.2f}">\1</super>', marked)


def story_of(source: Source, look: Look, width: float) -> list[Flowable]:
    """Return what follows the title, ready to be set in columns of `width` points."""
    flowables: list[Flowable] = []
    pending: list[Flowable] = []  # a table's caption stands above it, and a chart above its caption: keep them together
    for kind, content in source.parts:
        made = _flowable(kind, content, look, width)
        if kind == "chart" or (kind == "caption" and content.startswith(("Table", "表"))):
            pending.append(made)
            continue
        flowables.append(KeepTogether([*pending, made]) if pending else made)
        pending = []
    return flowables


def _flowable(kind: str, content: Any, look: Look, width: float) -> Flowable:
    if kind == "table":
        return _table(content, look, width)
    if kind == "chart":
        return Chart(content[0], content[1], min(width, 105 * mm), look)
    if kind == "equation":
        return _equation(content, look, width)
    if kind == "heading":
        return Heading(content, look.styles["heading"])
    return look.paragraph(content, kind)


class Heading(Paragraph):
    """A heading that puts itself into the PDF's outline."""

    def __init__(self, text: str, style: ParagraphStyle) -> None:
        super().__init__(markup(text, size=style.fontSize), style)
        self.entry = text
        self.keepWithNext = 1

    def draw(self) -> None:
        """Draw the heading and note its place."""
        self.canv.bookmarkPage(self.entry)
        self.canv.addOutlineEntry(self.entry, self.entry, level=0)
        super().draw()


def _table(rows: list[list[str]], look: Look, width: float) -> Table:
    head = [look.paragraph(f"**{cell}**" if not look.japanese else cell, "cell") for cell in rows[0]]
    body = [[look.paragraph(cell, "cell") for cell in row] for row in rows[1:]]
    table = Table([head, *body], colWidths=_column_widths(rows, width), repeatRows=1, hAlign="CENTER", spaceAfter=9)
    table.setStyle(
        TableStyle(
            [
                ("LINEABOVE", (0, 0), (-1, 0), 0.9, INK),
                ("LINEBELOW", (0, 0), (-1, 0), 0.5, INK),
                ("LINEBELOW", (0, -1), (-1, -1), 0.9, INK),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("TOPPADDING", (0, 0), (-1, -1), 2.2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2.8),
                ("LEFTPADDING", (0, 0), (-1, -1), 4),
                ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            ]
        )
    )
    return table


def _column_widths(rows: list[list[str]], width: float) -> list[float]:
    # Japanese characters count double; a column's share is its longest cell, but never less than a short word needs
    def length(cell: str) -> int:
        return sum(2 if ord(c) > 0x2FFF else 1 for c in re.sub(r"[*~^]", "", cell))

    shares = [min(max(max(length(row[i]) for row in rows) + 5, 8), 33) for i in range(len(rows[0]))]
    return [width * share / sum(shares) for share in shares]


def _equation(content: tuple[str, str], look: Look, width: float) -> Table:
    formula, number = content
    cells = [[look.paragraph(formula, "equation"), look.paragraph(number, "equation")]]
    table = Table(cells, colWidths=[width - 26, 26], spaceAfter=6, spaceBefore=1)
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
                               ("RIGHTPADDING", (0, 0), (-1, -1), 0)]))  # fmt: skip
    return table


class Chart(Flowable):
    """A small vector chart: `bars`, `pairs` of bars, or a `curve` of a gap over temperature."""

    def __init__(self, kind: str, spec: dict[str, Any], width: float, look: Look) -> None:
        super().__init__()
        self.kind, self.look = kind, look
        axis = {"title", "xtitle", "top", "bottom", "step", "first", "second", "e0", "alpha", "beta", "xtop"}
        self.axis = {key: value for key, value in spec.items() if key in axis}
        self.data = {key: value for key, value in spec.items() if key not in axis}
        self.width, self.height = width, 37 * mm
        self.hAlign = "CENTER"
        self.x0, self.y0 = 30.0, 24.0 if kind == "curve" else 15.0

    def wrap(self, *_: float) -> tuple[float, float]:
        """Return the size in points."""
        return self.width, self.height

    def _y(self, value: float) -> float:
        bottom = self.axis.get("bottom", 0)
        return self.y0 + (value - bottom) / (self.axis["top"] - bottom) * (self.height - self.y0 - 18)

    def draw(self) -> None:
        """Draw axes, then the data."""
        self.canv.setFillColor(INK)
        self.canv.setStrokeColor(INK)
        self._axes()
        {"bars": self._bars, "pairs": self._bars, "curve": self._curve}[self.kind]()

    def _axes(self) -> None:
        canvas = self.canv
        canvas.setFont(self.look.regular, 8.5)
        canvas.drawString(0, self.height - 9, self.axis["title"])
        canvas.setLineWidth(0.6)
        canvas.line(self.x0, self.y0, self.x0, self._y(self.axis["top"]))
        canvas.line(self.x0, self.y0, self.width, self.y0)
        value = self.axis.get("bottom", 0)
        while value <= self.axis["top"] + 1e-9:
            canvas.line(self.x0 - 3, self._y(value), self.x0, self._y(value))
            canvas.drawRightString(self.x0 - 5, self._y(value) - 3, f"{value:g}")
            value = round(value + self.axis["step"], 6)

    def _bars(self) -> None:
        canvas, slot = self.canv, (self.width - self.x0) / len(self.data)
        for index, (label, value) in enumerate(self.data.items()):
            values = value if isinstance(value, list) else [value]
            bar = min(slot * 0.62 / len(values), 34)
            left = self.x0 + slot * (index + 0.5) - bar * len(values) / 2
            for number, height in enumerate(values):
                canvas.setFillColor((ACCENT, SECOND)[number])
                canvas.rect(left + number * bar, self.y0, bar * 0.94, self._y(height) - self.y0, stroke=0, fill=1)
            canvas.setFillColor(INK)
            canvas.drawCentredString(self.x0 + slot * (index + 0.5), self.y0 - 12, label)
        if self.kind == "pairs":
            for number, name in enumerate((self.axis["first"], self.axis["second"])):
                canvas.setFillColor((ACCENT, SECOND)[number])
                canvas.rect(self.width - 150 + 75 * number, self.height - 10, 8, 8, stroke=0, fill=1)
                canvas.setFillColor(INK)
                canvas.drawString(self.width - 138 + 75 * number, self.height - 9, name)

    def _curve(self) -> None:
        canvas, axis = self.canv, self.axis
        path = canvas.beginPath()
        for kelvin in range(0, axis["xtop"] + 1, 10):
            gap = axis["e0"] - axis["alpha"] * kelvin**2 / (kelvin + axis["beta"])  # Varshni
            point = (self.x0 + kelvin / axis["xtop"] * (self.width - self.x0 - 12), self._y(gap))
            (path.lineTo if kelvin else path.moveTo)(*point)
        canvas.setStrokeColor(ACCENT)
        canvas.setLineWidth(1.4)
        canvas.drawPath(path)
        for kelvin in range(0, axis["xtop"] + 1, 100):
            at = self.x0 + kelvin / axis["xtop"] * (self.width - self.x0 - 12)
            canvas.drawCentredString(at, self.y0 - 10, str(kelvin))
        canvas.drawCentredString((self.x0 + self.width) / 2, self.y0 - 21, axis["xtitle"])


# --- pages --------------------------------------------------------------------------------------------


def render(source: Source, target: Path) -> None:
    """Typeset one document as a PDF whose bytes depend on nothing but the source."""
    look = look_of(source)
    column = (WIDTH - GUTTER) / 2 if source.two_columns else WIDTH

    def furniture(canvas: Any, document: Any) -> None:
        canvas.setFont(look.regular, 8.5)
        canvas.setFillColor(colors.HexColor("#555555"))
        canvas.drawString(MARGIN, A4[1] - 13 * mm, SERIES)
        canvas.drawRightString(A4[0] - MARGIN, A4[1] - 13 * mm, source.head["running"])
        canvas.setLineWidth(0.4)
        canvas.line(MARGIN, A4[1] - 14.5 * mm, A4[0] - MARGIN, A4[1] - 14.5 * mm)
        canvas.drawCentredString(A4[0] / 2, 11 * mm, str(document.page))

    document = BaseDocTemplate(
        str(target),
        pagesize=A4,
        invariant=1,
        title=source.head["title"],
        author=AUTHOR,
        subject=SERIES,
        keywords=", ".join(source.head["keywords"]),
        creator="examples/make_sample_library.py",
        lang=source.head.get("language", "en"),
    )
    byline = f"{AUTHOR}, {YEAR}. Written for the sample library from the sources in the reference list."
    heads = [
        look.paragraph(source.head["title"], "title"),
        Paragraph(byline, ParagraphStyle("byline", parent=look.styles["author"], fontName="Times-Italic")),
    ]
    title = sum(head.wrap(WIDTH, A4[1])[1] + head.getSpaceAfter() for head in heads) + 10
    document.addPageTemplates(
        [
            PageTemplate("first", _frames(column, title), onPage=furniture),
            PageTemplate("later", _frames(column, 0), onPage=furniture),
        ]
    )
    document.build([NextPageTemplate("later"), *heads, FrameBreak(), *story_of(source, look, column)])


def _frames(column: float, title: float) -> list[Frame]:
    top, bottom = A4[1] - 19 * mm, 19 * mm
    bare = {"leftPadding": 0, "rightPadding": 0, "topPadding": 0, "bottomPadding": 0}
    frames = [Frame(MARGIN, top - title, WIDTH, title, **bare)] if title else []
    lefts = [MARGIN] if column == WIDTH else [MARGIN, MARGIN + column + GUTTER]
    return [*frames, *(Frame(left, bottom, column, top - title - bottom, **bare) for left in lefts)]


def render_all(into: Path) -> list[Path]:
    """Render every source into the folder and return the PDFs."""
    into.mkdir(parents=True, exist_ok=True)
    made = []
    for path in sorted(SOURCES.glob("*.md")):
        target = into / f"{path.stem}.pdf"
        render(read_source(path), target)
        made.append(target)
    return made


# --- materials ----------------------------------------------------------------------------------------

MATERIALS = {
    "mp-149": ["silicon"],
    "mp-32": ["germanium"],
    "mp-66": ["diamond", "carbon"],
    "mp-2534": ["gallium arsenide"],
    "mp-2490": ["gallium phosphide"],
    "mp-20351": ["indium phosphide"],
    "mp-804": ["gallium nitride", "wurtzite"],
    "mp-661": ["aluminium nitride", "wurtzite"],
    "mp-2133": ["zinc oxide", "wurtzite"],
    "mp-10695": ["sphalerite", "zinc sulfide", "zinc blende"],
    "mp-8062": ["silicon carbide", "3C-SiC"],
    "mp-1265": ["magnesium oxide", "periclase"],
    "mp-1143": ["corundum", "alumina", "aluminium oxide"],
    "mp-7000": ["alpha-quartz", "silica"],
    "mp-2657": ["rutile", "titanium dioxide"],
    "mp-390": ["anatase", "titanium dioxide"],
    "mp-1840": ["brookite", "titanium dioxide"],
    "mp-5229": ["strontium titanate", "perovskite"],
    "mp-5020": ["barium titanate", "perovskite"],
    "mp-567629": ["caesium lead bromide", "perovskite"],
    "mp-22862": ["rock salt", "sodium chloride", "halite"],
    "mp-1138": ["lithium fluoride"],
    "mp-19017": ["lithium iron phosphate", "triphylite", "olivine"],
    "mp-22526": ["lithium cobalt oxide"],
    "mp-19009": ["nickel oxide", "bunsenite"],
    "mp-2815": ["molybdenum disulfide", "molybdenite"],
    "mp-942733": ["lithium lanthanum zirconate", "LLZO", "garnet"],
    "mp-30": ["copper"],
    "mp-13": ["iron", "ferrite"],
    "mp-134": ["aluminium"],
    "mp-23": ["nickel"],
}


def pick_materials(records: Path, target: Path) -> None:
    """Write the materials of `MATERIALS` as Materials Project summaries, one a line, in the order above.

    `records` is a band-gap set (JSON Lines) as `ingest.materials` reads it. Cells that are multiples of the primitive
    cell are reduced to it by pymatgen, which therefore has to be installed: pip install 'matlit[finetune]'
    """
    from ingest.materials import MATERIALS_PROJECT_DOI, parse_records

    found = {
        one.material_id: one for one in parse_records(records, on_error=lambda _: None) if one.material_id in MATERIALS
    }
    lines = [json.dumps(_summary(found[name], names), ensure_ascii=False) for name, names in MATERIALS.items()]
    meta = {
        "source": "Materials Project, https://materialsproject.org",
        "licence": "CC-BY 4.0",
        "cite": f"A. Jain et al., APL Materials 1, 011002 (2013), doi:{MATERIALS_PROJECT_DOI}",
        "note": "structures as of 2025, band gaps (PBE or PBE+U) as of the year in as_of; names added by matlit",
    }
    text = '{"meta": ' + json.dumps(meta) + ',\n "data": [\n' + ",\n".join(lines) + "\n]}\n"
    target.write_text(text, encoding="utf-8")


def _summary(material: Any, names: list[str]) -> dict[str, Any]:
    from pymatgen.core import Structure

    structure = Structure.from_dict(material.structure).get_primitive_structure()
    if len(structure) == material.nsites:
        structure = Structure.from_dict(material.structure)  # primitive already: keep the axes as they are
    summary = {
        "material_id": material.material_id,
        "formula_pretty": material.formula_pretty,
        "names": names,
        "elements": list(material.elements),
        "nelements": material.nelements,
        "chemsys": material.chemsys,
        "nsites": len(structure),
        "volume": round(structure.volume, 4),
        "density": round(structure.density, 4),
        "symmetry": {
            "crystal_system": material.crystal_system.capitalize(),
            "symbol": material.spacegroup_symbol,
            "number": material.spacegroup_number,
        },
        "band_gap": material.band_gap_ev,
        "band_gap_functional": material.band_gap_functional,
        "as_of": material.as_of,
        "formation_energy_per_atom": material.formation_energy_ev_per_atom,
        "energy_above_hull": material.e_above_hull_ev_per_atom,
        "structure": _plain(structure),
    }
    return {key: value for key, value in summary.items() if value is not None}


def _plain(structure: Any) -> dict[str, Any]:
    lattice = structure.lattice
    angles = {name: round(getattr(lattice, name), 5) for name in ("a", "b", "c", "alpha", "beta", "gamma", "volume")}
    sites = [
        {
            "species": [{"element": site.specie.symbol, "occu": 1}],
            "abc": [round(float(x) % 1.0, 5) % 1.0 for x in site.frac_coords],
            "label": site.specie.symbol,
            "properties": {},
        }
        for site in structure
    ]
    matrix = [[round(float(x), 6) for x in vector] for vector in lattice.matrix]
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": {"matrix": matrix, "pbc": [True, True, True], **angles},
        "properties": {},
        "sites": sites,
    }


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--into", type=Path, default=SHIPPED, help="folder for the PDFs")
    parser.add_argument("--materials", type=Path, metavar="FILE", help="band-gap set to pick the sample materials from")
    options = parser.parse_args()
    if options.materials:
        pick_materials(options.materials, SHIPPED / "materials.json")
        return
    for path in render_all(options.into):
        print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

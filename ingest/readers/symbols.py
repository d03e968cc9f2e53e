"""What characters of fonts with an encoding of their own mean: Symbol, bracket pieces, publishers' mathematical fonts.

Sources: the Symbol set of ISO 32000-1, annex D.5, which programs put at U+F000 plus its code; Adobe's corporate use of
U+F8E5 to U+F8FE for pieces of large brackets; and the pages of publishers that use the fonts "AdvP…" and "AdvOT…".
"""

from __future__ import annotations

import re

PI_FONT = "AdvP4C4E"
PI_SIGNS = {"¼": "=", "þ": "+", "ð": "(", "Þ": ")"}

PRIVATE_START, PRIVATE_END = 0xF000, 0xF100
NOTHING = " "

_SYMBOL_ROWS = {
    0x20: " !∀#∃%&∋()∗+,−./0123456789:;<=>?",
    0x40: "≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_",
    0x60: "‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼",
    0xA0: "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…|―↵",
    0xC0: "ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓",
    0xE0: "◊〈®©™∑(  [  {    〉∫   )  ]  } ",
}
# One sign for the top piece of a large bracket, nothing for the others.
_BRACKETS = {0xF8EB: "(", 0xF8EE: "[", 0xF8F1: "{", 0xF8F6: ")", 0xF8F9: "]", 0xF8FC: "}"}
_ADVANCED = {0xE0C6: "–"}

SYMBOLS: dict[int, str] = {
    **{0xF000 + start + at: sign for start, row in _SYMBOL_ROWS.items() for at, sign in enumerate(row)},
    **{code: _BRACKETS.get(code, NOTHING) for code in range(0xF8E5, 0xF8FF)},
    **_ADVANCED,
}

# TeX's symbol font in the order of its codes (The TeXbook, appendix F): publishers' fonts name glyphs "C0", "C14", …
_TEX_SYMBOLS = "−·×∗÷⋄±∓⊕⊖⊗⊘⊙○°•≍≡⊆⊇≤≥≼≽∼≈⊂⊃≪≫≺≻←→↑↓↔"
_PLACE_NAME = re.compile(r"^/C(\d{1,3})$")


def named(glyph: str, font: str) -> str:
    """Return what a glyph name of a font's /Differences means; "" where it says nothing.

    "/C14" is the place in TeX's symbol font where the font is one of signs, else the place in Latin-1.
    """
    from fontTools import agl  # type: ignore[import-untyped]

    place = _PLACE_NAME.match(glyph)
    if not place:
        return str(agl.toUnicode(glyph.removeprefix("/")))[:1]
    code = int(place[1])
    if font.startswith(PI_FONT):
        return _TEX_SYMBOLS[code] if code < len(_TEX_SYMBOLS) else ""
    return chr(code) if 0xA0 < code < 0x100 else ""


def meaning(character: str, font: str) -> str:
    """Return what a character of a font means; the character itself where nothing better is known.

    Pictures of Wingdings, at the same places as Symbol's letters, become bullets.
    """
    code = ord(character)
    if PRIVATE_START <= code < PRIVATE_END and "dings" in font.lower():
        return "•"
    if font.startswith(PI_FONT):
        return PI_SIGNS.get(character, character)
    return SYMBOLS.get(code, character)

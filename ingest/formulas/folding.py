"""Typography taken out of a text: one character for each variant, no markup, and where everything stood."""

from __future__ import annotations

import re
from functools import lru_cache

_SUBSCRIPTS = dict(zip(range(0x2080, 0x208A), "0123456789", strict=True))
_FULLWIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_FOLDS: dict[int, str] = _FULLWIDTH | _SUBSCRIPTS | {
    0x208A: "+", 0x208B: "-", 0x208D: "(", 0x208E: ")", 0x2093: "x", 0x1D67: "γ",
    0x2010: "-", 0x2011: "-", 0x2012: "-", 0x2212: "−", 0x2013: "−", 0xFE63: "-",
    0x2022: "·", 0x2219: "·", 0x22C5: "·", 0x30FB: "·", 0x2027: "·", 0x0387: "·",
    0x00A0: " ", 0x2009: " ", 0x202F: " ", 0x200A: " ", 0x2002: " ", 0x2003: " ", 0x2006: " ", 0x3000: " ",
    0x2A2F: "x", 0x1D465: "x", 0x1D466: "y", 0x1D467: "z", 0x1D6FF: "δ", 0x03B4: "δ",
}  # fmt: skip
_FOLDED = re.compile(f"[{''.join(map(chr, _FOLDS))}]")  # most characters are none of them: faster than str.translate
_MARKUP = re.compile(
    r"</?(?:sub|sup|inf|i|b|em|mi|mn|mo|mrow|msub)\b[^<>]{0,40}>|\\(?:mathrm|text|ce|rm)\s*\{|[_$​‌⁠\u00ad]\{?|\}"
)
_CLOSING = re.compile(r"(?:</(?:sub|sup|inf)>|\}|\$)+")


@lru_cache(maxsize=16)  # as above
def fold(text: str) -> tuple[str, list[int] | None]:
    """Return the text with one character per typographic variant, and its offsets where markup was taken out."""
    folded = _FOLDED.sub(lambda match: _FOLDS[ord(match[0])], text)
    if not ("<" in text or "{" in text or "_" in text or "\u00ad" in text or "​" in text or "⁠" in text):
        return folded, None
    kept: list[str] = []
    offsets: list[int] = []
    position = 0
    for match in _MARKUP.finditer(folded):
        kept.append(folded[position : match.start()])
        offsets.extend(range(position, match.start()))
        if match[0].startswith(("<sup", "<SUP")):
            kept.append("^")
            offsets.append(match.start())
        position = match.end()
    kept.append(folded[position:])
    offsets.extend(range(position, len(folded)))
    return "".join(kept), offsets


def closing_tag(text: str, end: int) -> int:
    """Return where the markup ends that closes what ends at `end`."""
    match = _CLOSING.match(text, end)
    return match.end() if match else end

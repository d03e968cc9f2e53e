"""What the pages' look needs beyond the theme: reading width, calm spacing, and the icon."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ui.periodic import PLACES

if TYPE_CHECKING:
    from PIL.Image import Image

_ELEMENTS = '.st-key-elements [data-testid="stButtonGroup"] [role="toolbar"]'
_PLACED = "\n".join(
    f"{_ELEMENTS} > *:nth-child({number}) {{ grid-column: {column}; grid-row: {row}; }}"
    for number, (column, row) in enumerate(PLACES.values(), 1)
)

_RULES = """
[data-testid="stMainBlockContainer"] { max-width: 56rem; padding-top: 3.5rem; }
[data-testid="stBottomBlockContainer"] { max-width: 56rem; }
[data-testid="stChatMessage"] { padding: 0.9rem 1rem; gap: 0.9rem; }
[class*="st-key-quote-"] {
  border-left: 3px solid color-mix(in srgb, currentColor 18%, transparent); padding-left: 0.9rem;
}
[class*="st-key-quote-"] p { margin-bottom: 0.15rem; }
[class*="st-key-cite-"] button { min-height: 1.9rem; padding: 0.1rem 0.6rem; font-size: 0.85rem; }
[class*="st-key-bar"] button { min-height: 1.9rem; padding: 0.1rem 0.6rem; }
[class*="st-key-follow-"] button { min-height: 1.6rem; padding: 0; text-align: left; }
[data-testid="stCaptionContainer"] { opacity: 1; color: color-mix(in srgb, currentColor 100%, transparent); }
[data-testid="stCaptionContainer"] p { color: var(--matlit-quiet, inherit); opacity: 0.82; }
button[kind^="primary"]:not(:disabled) { background: #1d5d86; border-color: #1d5d86; color: #ffffff; }
[data-testid="stImage"] img { border-radius: 0.4rem; }
.st-key-keyword-picture { overflow-x: auto; }
.st-key-keyword-picture img { min-width: 46rem; background: #ffffff; }
.st-key-parity { max-width: 38rem; }
.st-key-elements { overflow-x: auto; padding-bottom: 0.4rem; }
"""

STYLE = f"""<style>{_RULES}
{_ELEMENTS} {{ display: grid; grid-template-columns: repeat(18, minmax(2.1rem, 1fr)); gap: 2px; min-width: 40rem; }}
{_ELEMENTS} button {{ width: 100%; min-width: 0; padding: 0.15rem 0; justify-content: center; border-radius: 0.3rem; }}
{_PLACED}
</style>"""


@cache
def icon() -> Image:
    """Return the app's icon: a page with one marked line."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((10, 4, 54, 60), radius=7, fill="#1d5d86")
    for top, colour in ((15, "#ffffff"), (26, "#ffd640"), (37, "#ffffff"), (48, "#ffffff")):
        pen.rounded_rectangle((18, top, 46 if top < 48 else 34, top + 5), radius=2, fill=colour)
    return picture

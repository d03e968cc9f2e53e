"""What the pages' look needs beyond the theme: reading width, calm spacing, and the icon."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

STYLE = """<style>
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
[data-testid="stImage"] img { border-radius: 0.4rem; }
</style>
"""


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

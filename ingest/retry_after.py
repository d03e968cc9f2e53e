"""How long a busy server asks to be left alone: the Retry-After header (RFC 9110, 10.2.3)."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime


def parse_retry_after(text: str) -> float | None:
    """Return the seconds to wait, which the header gives as seconds or as a date; None where it is neither."""
    plain = text.strip()
    if plain.replace(".", "", 1).isdecimal():
        return float(plain)
    try:
        return max(0.0, parsedate_to_datetime(plain).timestamp() - time.time()) if plain else None
    except ValueError:
        return None

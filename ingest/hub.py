"""The hub of models (`HF_ENDPOINT`): whether it can be reached, asked before its client asks slowly and aloud."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 5.0  # for the first sign of life; the client itself would try for some twenty-five seconds, file by file
NEXT_STEP = "Check the connection, set HF_ENDPOINT to a mirror, or name a folder on this disk"


def trouble() -> str:
    """Return why the hub cannot be reached, "" where it answers anything at all."""
    import httpx
    from huggingface_hub import constants

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    try:
        httpx.head(constants.ENDPOINT, timeout=PATIENCE_S)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return f"{constants.ENDPOINT} cannot be reached: {error or type(error).__name__}"
    return ""


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the hub client's own lines off stderr: what matters of them is in the error that is raised."""
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "transformers")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)

"""Answers questions from a library, with quotes that are checked, and measures how well it does.

`from assistant import Assistant, Answer, Citation`; importing this package loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assistant.answer import Answer
    from assistant.assistant import Assistant, Chat
    from assistant.attachments import Attachment
    from assistant.citations import Citation, Claim
    from assistant.keywords.job import KeywordJob, extract_keywords

__all__ = ["Answer", "Assistant", "Attachment", "Chat", "Citation", "Claim", "KeywordJob", "extract_keywords"]

_HOME = {
    "Answer": "assistant.answer",
    "Assistant": "assistant.assistant",
    "Attachment": "assistant.attachments",
    "Chat": "assistant.assistant",
    "Citation": "assistant.citations",
    "Claim": "assistant.citations",
    "KeywordJob": "assistant.keywords.job",
    "extract_keywords": "assistant.keywords.job",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'assistant' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

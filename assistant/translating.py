"""Translates quotes by a language model: shown beside the quote, which stays as the paper has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from assistant import prompts
from assistant.chat import ChatModel, Message, Usage
from assistant.citations import Citation
from assistant.glossary import is_japanese
from assistant.sources import plain

TOKENS_PER_QUOTE = 400


def translate_quotes(
    citations: Sequence[Citation], language: prompts.Language, model: ChatModel
) -> tuple[tuple[Citation, ...], Usage]:
    """Return the citations with a translation where the quote is in another language, and what that has used up."""
    done, used = [], Usage()
    for citation in citations:
        if is_japanese(citation.quote) == (language == "ja"):
            done.append(citation)
            continue
        messages = [
            Message("system", prompts.TRANSLATE.format(language=prompts.LANGUAGES[language])),
            Message("user", prompts.SOURCES.format(sources=plain(citation.quote))),
        ]
        reply = model.chat(messages, max_tokens=TOKENS_PER_QUOTE)
        used += reply.usage
        done.append(replace(citation, translation=plain(reply.text)))
    return tuple(done), used

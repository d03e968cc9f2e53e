"""Every prompt and fixed sentence has the placeholders that its caller fills; the digest tells prompts apart."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Any

import pytest

from assistant import prompts

FILLED = {
    "SYSTEM": {"no_answer", "language"},
    "NOTES": {"no_answer", "language"},
    "REVIEW": {"no_answer", "language"},
    "TRANSLATE": {"language"},
    "QUESTION": {"data", "question", "reminder"},
    "WITH_STEPS": {"tools"},
    "BRIEF": {"data", "question"},
    "BRIEF_STEP": {"data", "question", "next"},
    "OBJECTION": {"text"},
    "PASSAGES": {"passages"},
    "SOURCES": {"sources"},
    "TOOL_RESULTS": {"results"},
    "TOOL_RESULT": {"name", "text"},
    "ATTACHMENTS": {"names"},
    "ANSWER_NOW": {"no_answer"},
    "TRANSLATION": {"text"},
    "DIGEST": {"count"},
    "DIGEST_OF": {"count"},
    "NOTHING_QUOTED": {"titles"},
    "OUT_OF_BOUNDS": {"reached"},
    "MODEL_DECLINED": {"model"},
    "STOPPED": {"reached", "done", "parts"},
    "LOOKED_FOR": {"terms"},
    "MISSING": {"terms"},
    "NOT_IN_LIBRARY": {"terms"},
    "TOOL_FAILED": {"tool", "error"},
    "ENGLISH_EMBEDDER": {"embedder"},
    "PAGE": {"page"},
    "BEFORE": {"context"},
    "KEYWORDS_TASK": {"title", "text", "most", "language"},
    "KEYWORDS_AGAIN": {"most", "language"},
}


def texts() -> Iterator[tuple[str, str]]:
    """Yield every text of the module with its name, those in two languages twice."""
    for name, value in vars(prompts).items():
        if name.isupper() and isinstance(value, str | dict):
            yield from ((name, text) for text in _leaves(value))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)


@pytest.mark.parametrize(("name", "text"), list(texts()))
def test_a_text_has_the_placeholders_that_are_filled(name: str, text: str) -> None:
    found = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    assert found == FILLED.get(name, set())


@pytest.mark.parametrize("strategy", prompts.STRATEGIES)
def test_a_system_prompt_is_complete_and_names_the_refusal(strategy: prompts.Strategy) -> None:
    for tools in (False, True):
        text = prompts.system(strategy, language="ja", tools=tools)
        assert "{" not in text
        assert prompts.NO_ANSWER in text
        assert "Answer in Japanese" in text


def test_the_hash_tells_prompts_apart() -> None:
    zero, steps = (prompts.system(strategy, language="en", tools=False) for strategy in ("zero-shot", "cot"))
    assert prompts.digest(zero) != prompts.digest(steps)
    assert prompts.digest("ab", "c") != prompts.digest("a", "bc")

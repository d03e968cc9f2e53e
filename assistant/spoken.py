"""What a conversation was about: the material, the properties and the value that the next question may leave out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.filters import GROUND, extreme_in, read_filters
from assistant.naming import ids_in, materials_in
from assistant.properties import Property, wanted_in
from assistant.providers.base import Message

POINTS_BACK = re.compile(
    r"\b(?:its|it|this|that|these|those|their|they|(?:this|that|the) (?:material|compound|sample|crystal|phase))\b"
    r"|その|それ|この|これ",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What "it", "that" and "what about" stand for; "" and nothing where nothing was said."""

    subject: str = ""  # a material, as the user or an answer named it
    wanted: tuple[Property, ...] = ()
    values: tuple[str, ...] = ()  # the first of each answer, with its unit; the latest answer first


def spoken_of(history: Sequence[Message]) -> Spoken:
    """Return what the turns so far, oldest first, were about."""
    asked = [turn.content for turn in history if turn.role == "user"]
    wanted = next((found for question in reversed(asked) if (found := wanted_in(question))), ())
    told = (_value(turn.content) for turn in reversed(history) if turn.role == "assistant")
    return Spoken(_subject(history), wanted, tuple(value for value in told if value))


def points_back(question: str) -> bool:
    """Whether a question speaks of something named before: "its density", その密度."""
    return bool(POINTS_BACK.search(question)) and not materials_in(question)


def _chooses(question: str) -> bool:
    """Whether the answer names the material: the largest of several, the ground state, or those that fit."""
    picks = extreme_in(question) or GROUND.search(question)
    return bool(picks or read_filters(question, wanted_in(question)))


def _subject(history: Sequence[Message]) -> str:
    """Return the material the user named last, or the first one of an answer that had to name it."""
    answer = ""
    for turn in reversed(history):
        if turn.role == "assistant":
            answer = turn.content
        elif turn.role == "user":
            named, chosen = materials_in(turn.content), ids_in(answer)
            if chosen and _chooses(turn.content):
                return chosen[0]
            if named:
                return named[-1].text
            if not points_back(turn.content) and (told := materials_in(answer)):
                return chosen[0] if chosen else told[0].text
            answer = ""
    return ""


_OF_A_TOOL = re.compile(
    r"^- .*?(?:\): [^\d−-]*|= )([-−]?\d[\d.]*(?:[eE][-+]?\d+)?)\s*([^\s;,、\[\]()。]+)", re.MULTILINE
)


def _value(answer: str) -> str:
    """Return the first value with a unit that an answer gives."""
    from assistant.quantities import quantities

    if found := _OF_A_TOOL.search(answer):
        return f"{found[1]} {found[2]}"
    return next((one.text for one in quantities(answer) if one.unit), "")

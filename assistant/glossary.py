"""Japanese terms of materials science and their English counterparts: asks English papers in Japanese without a model.

Written for matlit. A term maps to the English words a paper would use, the usual one first; the match takes the longest
term at each place, so that 固体電解質 is not read as 固体 and 電解質.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from assistant.glossary_terms import TERMS
from ingest.elements import NAMES, english_name


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a text; `english` are the English words for it where it is a term of the glossary."""

    text: str
    english: tuple[str, ...] = ()


SCRIPT = re.compile("[぀-ヿ㐀-鿿]")


def is_japanese(text: str) -> bool:
    """Whether `text` is written in Japanese (or Chinese): a fifth of its letters, formulas aside, are."""
    letters = [char for char in text if char.isalpha()]
    return bool(letters) and len(SCRIPT.findall(text)) >= 0.2 * len(letters)


def split(text: str) -> list[Part]:
    """Cut `text` into known Japanese terms and what stands between them, in order."""
    terms, pattern = _table()
    parts: list[Part] = []
    position = 0
    for match in pattern.finditer(text):
        parts += [Part(text[position : match.start()]), Part(match.group(), terms[match.group()])]
        position = match.end()
    return [part for part in (*parts, Part(text[position:])) if part.text]


def translate_terms(text: str) -> list[str]:
    """Return the English words for the Japanese terms of `text`, in order and without repeats."""
    return list(dict.fromkeys(word for part in split(text) for word in part.english))


def in_japanese(english: str) -> str:
    """Return the Japanese term that `english` is the translation of, "" where the glossary has none."""
    return _reverse().get(english.casefold(), "")


@cache
def _reverse() -> dict[str, str]:
    terms, _ = _table()
    return {word.casefold(): term for term, words in reversed(terms.items()) for word in words[:1]}


@cache
def _table() -> tuple[dict[str, tuple[str, ...]], re.Pattern[str]]:
    rows = [line.split("|") for line in TERMS.strip().splitlines()]
    terms = _elements_and_compounds() | {row[0]: tuple(row[1:]) for row in rows}
    longest_first = sorted(terms, key=len, reverse=True)
    return terms, re.compile("|".join(map(re.escape, longest_first)))


# 酸化亜鉛 is zinc oxide: what the metal's name follows, and what follows it in English.
_COMPOUNDS = {
    "酸化": "oxide", "窒化": "nitride", "硫化": "sulfide", "塩化": "chloride", "フッ化": "fluoride", "臭化": "bromide",
    "ヨウ化": "iodide", "炭化": "carbide", "セレン化": "selenide", "テルル化": "telluride", "リン化": "phosphide",
    "ヒ化": "arsenide", "水素化": "hydride", "ホウ化": "boride", "水酸化": "hydroxide", "炭酸": "carbonate",
    "硫酸": "sulfate", "硝酸": "nitrate", "リン酸": "phosphate", "チタン酸": "titanate", "ニオブ酸": "niobate",
}  # fmt: skip


def _elements_and_compounds() -> dict[str, tuple[str, ...]]:
    """Return the elements' Japanese names, but those of one character, and the names of their simple compounds."""
    names = {name: english_name(symbol) for name, symbol in NAMES.items() if SCRIPT.search(name)}
    compounds: dict[str, tuple[str, ...]] = {
        before + name: (f"{english} {after}",)
        for before, after in _COMPOUNDS.items()
        for name, english in names.items()
    }
    return {name: (english,) for name, english in names.items() if len(name) > 1} | compounds

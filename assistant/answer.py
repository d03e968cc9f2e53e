"""The `Answer`: one shape whatever gave it, a model, the planner or the quotes; its JSON and its BibTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assistant.citations import Citation, Claim
from ingest.records import Hit, Paper

NO_USAGE: Mapping[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0}


@dataclass(frozen=True, slots=True)
class Answer:
    """What `Assistant.ask` returns.

    `text` is ready to print. `claims` are its sentences with their status, `evidence` the passages they may rest on.
    Where `abstained`, there are no claims and `missing` lists what no passage mentions. `usage` counts tokens and cost
    of a model, `trace` says what was done in which order. `papers` are the cited papers, for `bibtex`.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    claims: tuple[Claim, ...] = ()
    evidence: tuple[Hit, ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    usage: Mapping[str, Any] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0})
    abstained: bool = False
    missing: tuple[str, ...] = ()
    model: str = "extractive"
    seconds: float = 0.0
    trace: tuple[Mapping[str, Any], ...] = ()
    papers: tuple[Paper, ...] = ()

    def __str__(self) -> str:
        """Return the text, so that `print(answer)` shows it."""
        return self.text

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the text, what is doubtful in it, and the quotes it cites."""
        from assistant.rich import as_html

        return as_html(self)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `matlit ask --json` prints."""
        return {
            "text": self.text,
            "citations": [citation.to_json() for citation in self.citations],
            "claims": [claim.to_json() for claim in self.claims],
            "tool_calls": [dict(call) for call in self.tool_calls],
            "abstained": self.abstained,
            "missing": list(self.missing),
            "usage": dict(self.usage),
            "model": self.model,
            "seconds": round(self.seconds, 3),
        }

    def bibtex(self) -> str:
        """Return one BibTeX entry per cited paper, in the order of their first citation."""
        keys: set[str] = set()
        return "\n\n".join(_bibtex(paper, keys) for paper in self.papers)


def _bibtex(paper: Paper, keys: set[str]) -> str:
    known = paper.metadata
    fields = {
        "title": f"{{{paper.title}}}",
        "author": " and ".join(known.authors),
        "journal": known.journal,
        "year": str(known.year or ""),
        "doi": known.doi,
    }
    key = _key(paper, keys)
    kind = "article" if known.journal else "misc"
    lines = [f"  {name} = {{{_escaped(value)}}}" for name, value in fields.items() if value]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


def _key(paper: Paper, keys: set[str]) -> str:
    surname = paper.metadata.authors[0].split(",")[0].split()[-1] if paper.metadata.authors else ""
    stem = re.sub(r"\W", "", f"{surname}{paper.metadata.year or ''}") or paper.id[:8]
    key = next(
        candidate
        for candidate in (stem, *(f"{stem}{letter}" for letter in "abcdefghij"), paper.id[:16])
        if candidate not in keys
    )
    keys.add(key)
    return key


def _escaped(value: str) -> str:
    return re.sub(r"(?<!\\)([&%#_$])", r"\\\1", value)

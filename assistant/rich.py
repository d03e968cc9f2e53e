"""An answer as a notebook shows it: its text with a mark at what nothing bears out, and below it what it cites.

Everything foreign is escaped, and nothing is fetched: no pictures, no scripts, no style sheets.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assistant.answer import Answer
    from assistant.citations import Citation, Claim

_DOI = re.compile(r"10\.\d{4,9}/[\w.()/:;-]+")
_WAVY = "text-decoration: underline wavy #c0392b; text-underline-offset: 0.2em"


def as_html(answer: Answer) -> str:
    """Return the answer as HTML for `_repr_html_`."""
    text = escape(answer.text, quote=False)
    for claim in answer.claims:
        if claim.status == "unsupported" and claim.text:
            sentence = escape(claim.text, quote=False)
            text = text.replace(sentence, _doubted(claim, sentence), 1)
    cited = [one for one in answer.citations if " ".join(one.quote.split()) not in " ".join(answer.text.split())]
    listed = "".join(f"<li value='{one.n}'>{_cited(one)}</li>" for one in cited)
    below = f"<ol style='margin-top: 0.6em'>{listed}</ol>" if listed else ""
    return f"<div><div style='white-space: pre-wrap'>{text}</div>{below}<small>{_about(answer)}</small></div>"


def _doubted(claim: Claim, sentence: str) -> str:
    return f'<span style="{_WAVY}" title="{escape(claim.reason)}">{sentence}</span>'


def _cited(citation: Citation) -> str:
    title = escape(citation.title)
    if _DOI.fullmatch(citation.doi):
        title = f'<a href="https://doi.org/{escape(citation.doi)}" rel="noreferrer">{title}</a>'
    page = f", p. {citation.page}" if citation.page else ""
    status = "" if citation.status == "verified" else f" ({citation.status})"
    return f"{title}{page}: “{escape(' '.join(citation.quote.split()))}”{status}"


def _about(answer: Answer) -> str:
    """Return the line on who answered, from what, and how many of the sentences hold."""
    counts = [(sum(claim.status == status for claim in answer.claims), status) for status in _STATUSES]
    parts = [escape(answer.model), *(f"{count} {status}" for count, status in counts if count)]
    if tools := sorted({str(call["name"]) for call in answer.tool_calls}):
        parts.append("tools: " + escape(", ".join(tools)))
    return " · ".join(parts)


_STATUSES = ("verified", "tool", "unsupported")

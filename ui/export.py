"""A chat as a file: Markdown, JSON or PDF."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ui.chats import Message

CJK_FONT = "HeiseiKakuGo-W5"  # one of the Adobe fonts that PDF viewers bring along, so nothing has to be embedded
_CJK = re.compile(r"([\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]+)")


def file_name(title: str) -> str:
    """Return a chat's title as a safe file name, without suffix."""
    return re.sub(r"[^\w-]+", "-", title).strip("-")[:60] or "chat"


def to_json(title: str, messages: Sequence[Message]) -> str:
    """Return the chat with everything an answer holds."""
    said = [{"role": one.role, "said": one.said, **_kept(one.content)} for one in messages]
    return json.dumps({"title": title, "messages": said}, ensure_ascii=False, indent=2)


def to_markdown(title: str, messages: Sequence[Message]) -> str:
    """Return the chat with its sources, page by page."""
    lines = [f"# {title}"]
    for one in messages:
        if one.role == "user":
            lines += ["", f"## {one.content.get('text', '')}"]
        else:
            lines += ["", str(one.content.get("text") or one.content.get("error", "")), ""]
            lines += [f"- {line}" for line in _sources(one.content)]
            lines += ["", f"*{one.content.get('model', '')}, {one.said[:10]}*"] if one.content.get("model") else []
    return "\n".join(lines) + "\n"


def to_pdf(title: str, messages: Sequence[Message]) -> bytes:
    """Return the chat as a PDF that can be read in English and Japanese."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    buffer = io.BytesIO()
    document = SimpleDocTemplate(buffer, pagesize=A4, title=title, author="matlit", margins=56)
    document.build(list(_flowables(title, messages)))
    return buffer.getvalue()


def _flowables(title: str, messages: Sequence[Message]) -> Iterator[Any]:
    from reportlab.platypus import Paragraph, Spacer

    styles = _styles()
    yield Paragraph(_marked_up(title), styles["title"])
    for one in messages:
        if one.role == "user":
            yield Spacer(1, 10)
            yield Paragraph(_marked_up(str(one.content.get("text", ""))), styles["question"])
            continue
        for line in str(one.content.get("text") or one.content.get("error", "")).splitlines():
            yield Paragraph(_marked_up(line) or "&nbsp;", styles["text"])
        for line in _sources(one.content):
            yield Paragraph(_marked_up(line), styles["source"])


def _sources(content: Mapping[str, Any]) -> Iterator[str]:
    for citation in content.get("citations", ()):
        place = f"p. {citation['page']}" if citation.get("page") else str(citation["paper"])
        doi = f", doi:{citation['doi']}" if citation.get("doi") else ""
        yield f"[{citation['n']}] {citation['title']}, {place}{doi} ({citation['status']})"


def _kept(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a message says, without where attachments lie on this machine."""
    names = [one.get("name", "") for one in content.get("attachments", ())]
    return {**content, **({"attachments": names} if names else {})}


@cache
def _styles() -> dict[str, Any]:
    import matplotlib
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in ("DejaVuSans", "DejaVuSans-Bold"):  # Latin, Greek, sub- and superscripts
        pdfmetrics.registerFont(TTFont(name, str(fonts / f"{name}.ttf")))
    pdfmetrics.registerFont(UnicodeCIDFont(CJK_FONT))
    text = ParagraphStyle("text", fontName="DejaVuSans", fontSize=9.5, leading=14, wordWrap="CJK")
    return {
        "title": ParagraphStyle("title", parent=text, fontName="DejaVuSans-Bold", fontSize=15, leading=20),
        "question": ParagraphStyle("question", parent=text, fontName="DejaVuSans-Bold", fontSize=11, spaceAfter=6),
        "text": text,
        "source": ParagraphStyle("source", parent=text, fontSize=8, leading=11, leftIndent=10, textColor="#45525f"),
    }


def _marked_up(text: str) -> str:
    pieces = _CJK.split(text)
    return "".join(
        f'<font name="{CJK_FONT}">{escape(piece)}</font>' if index % 2 else escape(piece)
        for index, piece in enumerate(pieces)
    )

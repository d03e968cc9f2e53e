"""How one answer looks in the chat: its text, what stands behind each sentence, the sources, the steps, the cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import streamlit as st

from ui.components import STATUS_COLOURS, STATUS_ICONS, careful, open_source, plain, short, show_problem, status_badge
from ui.state import session, t
from ui.texts import TEXTS

Content = Mapping[str, Any]


def show_answer(content: Content, *, key: str) -> None:
    """Draw a whole answer; `key` tells it apart from the others on the page."""
    show_steps(content)
    if content.get("stopped"):
        st.caption(t("was_stopped"))
    if content.get("error"):
        show_problem(str(content["error"]), str(content.get("hint", "")))
    if content.get("model") == "extractive" and _parts(content) is not None:
        _quotes(content, key)
    else:
        _written(content, key)
    _claims(content, key)
    _cost(content)


def _quotes(content: Content, key: str) -> None:
    """Draw an answer made of quotes: what tools said, then each quote with its button, grouped by paper."""
    before, after = _parts(content) or ("", "")
    if before:
        st.markdown(careful(before))
    st.markdown(t("quotes_word_for_word"))
    for title, quoted in groupby(content["citations"], key=lambda citation: citation["title"]):
        st.markdown(f"**{plain(title)}**")
        for citation in quoted:
            with st.container(key=f"quote-{key}-{citation['n']}"):
                st.markdown(f"“{quote_text(citation['quote'])}”")
                _chip(citation, key, quoted=True)
    if after:
        st.caption(plain(after))


def _parts(content: Content) -> tuple[str, str] | None:
    """Return what an answer made of quotes says before and after them, or None where it quotes nothing."""
    from assistant.prompts import CONNECT_MODEL, QUOTES

    lines = str(content.get("text", "")).splitlines()
    at = next((number for number, line in enumerate(lines) if line in QUOTES.values()), None)
    if at is None or not content.get("citations"):
        return None
    last = "\n".join(lines).rsplit("\n\n", 1)[-1].splitlines()
    after = [line for line in last if line not in CONNECT_MODEL.values() and not line.startswith(("[", " "))]
    return "\n".join(lines[:at]).strip(), " ".join(after)


def quote_text(quote: str) -> str:
    """Return a quote as Markdown: rows of a table below one another, everything else in one line."""
    if "\t" in quote or " | " in quote:
        return "  \n".join(plain(line.strip()) for line in quote.splitlines())
    return plain(" ".join(quote.split()))


def _written(content: Content, key: str) -> None:
    """Draw an answer that a model wrote, or a refusal."""
    if content.get("text"):
        st.markdown(careful(str(content["text"])).replace("\n", "  \n") if content.get("abstained") else _body(content))
    citations: Sequence[Mapping[str, Any]] = content.get("citations", ())
    if citations:
        st.caption(t("sources"))
        with st.container(horizontal=True, gap="small"):
            for citation in citations:
                _chip(citation, key)


def _body(content: Content) -> str:
    """Return the text with a mark at every sentence that its sources do not bear out."""
    text = careful(str(content["text"]))
    for claim in content.get("claims", ()):
        if claim["status"] != "verified" and claim["text"]:
            sentence = careful(claim["text"])
            mark = f":{STATUS_COLOURS[claim['status']]}-badge[{STATUS_ICONS[claim['status']]}]"
            text = text.replace(sentence, f"{sentence} {mark}", 1)
    return text


def _chip(citation: Mapping[str, Any], key: str, *, quoted: bool = False) -> None:
    where = t("page_n", page=citation["page"]) if citation["page"] else short(str(citation["paper"]), 16)
    about = citation["section"] if quoted else citation["title"]
    label = " · ".join(filter(None, (f"[{citation['n']}] {where}", short(str(about), 34))))
    icon = STATUS_ICONS[citation["status"]]
    if st.button(plain(label), key=f"cite-{key}-{citation['n']}", icon=icon, help=t("chip_help")):
        open_source(citation)


def _claims(content: Content, key: str) -> None:
    claims: Sequence[Mapping[str, Any]] = content.get("claims", ())
    if not claims:
        return
    counts = {status: sum(claim["status"] == status for claim in claims) for status in STATUS_COLOURS}
    told = " · ".join(t("count_" + status, n=count) for status, count in counts.items() if count)
    with st.popover(told, icon=":material/fact_check:", key=f"claims-{key}"):
        st.markdown(t("claims_explained"))
        for status in STATUS_COLOURS:
            st.markdown(f"{status_badge(status)} {t('explain_' + status)}")
        st.divider()
        for claim in claims:
            marks = " ".join(f"\\[{n}\\]" for n in claim.get("citations", ()))
            reason = f"  \n*{plain(claim['reason'])}*" if claim.get("reason") else ""
            st.markdown(f"{status_badge(claim['status'])} {plain(short(claim['text'], 240))} {marks}{reason}")


def show_steps(content: Content) -> None:
    """Draw what was done on the way to the answer, folded."""
    steps: Sequence[Mapping[str, Any]] = content.get("steps", ())
    calls: Sequence[Mapping[str, Any]] = content.get("tool_calls", ())
    if not steps and not calls:
        return
    seconds = content.get("seconds")
    label = t("steps_taken", n=len(steps) + len(calls))
    label += f" · {seconds:.1f} s" if isinstance(seconds, (int, float)) else ""
    with st.expander(label, icon=":material/account_tree:"):
        for step in steps:
            _step(step)
        for call in calls:
            _call(call)
        _evidence(content.get("evidence", ()))


def step_line(step: Mapping[str, Any]) -> str:
    """Return one line on a step."""
    name = str(step.get("name", ""))
    said = t(f"step_{name}") if f"step_{name}" in TEXTS else name
    return f"{said}: {step['tool']}" if "tool" in step else said


def _step(step: Mapping[str, Any]) -> None:
    shown = {name: value for name, value in step.items() if name not in ("step", "name")}
    st.markdown(f"**{plain(step_line(step))}**")
    lines = [f"- {plain(name)}: {plain(_value(value))}" for name, value in shown.items() if value not in ("", [], None)]
    if lines:
        st.markdown("\n".join(lines))


def _value(value: Any) -> str:
    if isinstance(value, str):
        return short(value, 300)
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        return ", ".join(" ".join(f"{inner}" for inner in one.values()) for one in value)
    return short(json.dumps(value, ensure_ascii=False, default=str), 300)


def _call(call: Mapping[str, Any]) -> None:
    seconds = call.get("seconds")
    time = f" · {seconds:.2f} s" if isinstance(seconds, (int, float)) else ""
    st.markdown(f"**{t('tool_call')} {plain(str(call.get('name', '')))}**{time}")
    st.code(_json(call.get("arguments", {})), language="json", wrap_lines=True)
    if call.get("error"):
        st.markdown(f":orange[{plain(str(call['error']))}]")
    else:
        st.code(_json(call.get("result")), language="json", wrap_lines=True)


def _json(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, default=str)
    return text if len(text) <= 4000 else f"{text[:4000]} …"


def _evidence(evidence: Sequence[Mapping[str, Any]]) -> None:
    if not evidence:
        return
    st.markdown(f"**{t('passages_found', n=len(evidence))}**")
    rows = [
        {
            t("column_score"): hit["score"],
            t("column_paper"): hit["title"],
            t("column_page"): hit["page"] or None,
            t("column_passage"): hit["text"],
        }
        for hit in evidence
    ]
    st.dataframe(rows, hide_index=True, height=220, alt=t("passages_found", n=len(evidence)))


def _cost(content: Content) -> None:
    usage: Mapping[str, Any] = content.get("usage") or {}
    parts = [str(content.get("model", ""))]
    if isinstance(content.get("seconds"), (int, float)):
        parts.append(f"{content['seconds']:.1f} s")
    tokens = int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0))
    if any(tokens):
        parts.append(t("tokens_used", read=f"{tokens[0]:,}", written=f"{tokens[1]:,}"))
        cost = usage.get("cost_usd")
        as_of = str(usage.get("prices_as_of", ""))
        paid = "" if not cost else t("cost", cost=f"{float(cost):.4f}", as_of=as_of)
        parts.append(t("cost_unknown") if cost is None else paid)
    elif parts[0] == "extractive":
        parts.append(t("no_cost"))
    if any(parts):
        st.caption(plain(" · ".join(filter(None, parts))))


def follow_ups(content: Content, known: Sequence[str]) -> list[str]:
    """Return up to three further questions that the library itself suggests: other sections of what was found."""
    cited = {(citation["paper"], citation.get("section")) for citation in content.get("citations", ())}
    papers = {paper for paper, _ in cited}
    found: list[str] = []
    for hit in content.get("evidence", ()):
        section = _section_name(str(hit.get("section", "")))
        if hit["paper"] in papers and section and (hit["paper"], hit["section"]) not in cited:
            question = t("ask_section", title=short(str(hit["title"]), 70), section=section)
            if question not in found and question not in known:
                found.append(question)
    return found[:3]


def _section_name(section: str) -> str:
    words = section.split()
    name = " ".join(words[1:] if words and words[0].rstrip(".").replace(".", "").isdigit() else words)
    return "" if name.casefold() in {"abstract", "references", "acknowledgements", "要旨", "参考文献"} else name


def can_answer() -> bool:
    """Tell whether this tab's model writes text, rather than quoting."""
    return session().settings.models.model != "extractive"

"""How the agent's work ends: in a checked answer, in quotes instead of it, at a bound, or in a refusal."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assistant import prompts, quoting
from assistant.answer import Answer
from assistant.checking import Checked, says_nothing
from assistant.events import Event, Note
from assistant.quoting import computed_note, said_by, tool_lines
from assistant.steps import Ran, taken

if TYPE_CHECKING:
    from assistant.agent import Work


def gives_up(work: Work, text: str) -> bool:
    """Whether a model's text is its way of having no answer: it says so, or passes on the error of a tool."""
    return says_nothing(text) or any(text.strip() in result.text for result in work.results if result.error)


def answered(work: Work, checked: Checked, papers: Mapping[str, Any]) -> Answer:
    """Return the model's checked text, below what the planner's tools said, or those of a small model that strays."""
    cited = {citation.paper: papers[citation.paper] for citation in checked.citations if citation.paper in papers}
    ran = work.ran
    if work.small and any(claim.status == "unsupported" for claim in checked.claims):
        ran = (*ran, *_taken(work))
    said = said_by(ran)
    before = [*tool_lines(ran, work.language), *computed_note(ran, work.language), ""] if said else []
    after = [prompts.CUT_OFF[work.language]] if work.finish == "length" else []
    return replace(
        _unanswered(work),
        text="\n".join([*before, checked.text, *after]),
        citations=checked.citations,
        claims=(*said, *checked.claims),
        papers=tuple(cited.values()),
    )


def quoted(work: Work, text: str, why: Mapping[prompts.Language, str]) -> Generator[Event, None, Answer]:
    """Return the best sentences instead of a model's text that says nothing, or nothing that holds."""
    yield Note(why[work.language])
    work.trace.append({"step": "quoted", "instead_of": text})
    library = work.sources.library
    answer = quoting.quote(
        library,
        work.found,
        quotes=quoting.MAX_QUOTES,
        embedder=library.info.embedder.name,
        ran=work.ran,
        model=work.model.spec,
        instead=why[work.language],
    )
    bare = _unanswered(work)
    return replace(answer, usage=bare.usage, trace=bare.trace, tool_calls=bare.tool_calls)


def so_far(work: Work) -> Answer:
    """Return what is known where a bound ended the work: what the tools said and the best sentences."""
    library, language = work.sources.library, work.language
    ran = (*work.ran, *_taken(work))
    embedder, spec = library.info.embedder.name, work.model.spec
    answer = quoting.quote(
        library,
        work.found,
        quotes=quoting.MAX_QUOTES,
        embedder=embedder,
        ran=[one for one in ran if one.said],
        model=spec,
        instead=prompts.CLOSEST[language],
    )
    bare = _unanswered(work)
    text = "\n".join(
        [prompts.OUT_OF_BOUNDS[language].format(reached=prompts.reached(work.stopped, language)), "", answer.text]
    )
    return replace(answer, text=text, usage=bare.usage, trace=bare.trace, tool_calls=bare.tool_calls, model=spec)


def _taken(work: Work) -> tuple[Ran, ...]:
    """Return the model's own calls as steps; what they found in papers is quoted elsewhere."""
    return tuple(taken(result, language=work.language) for result in work.results if result.name != "papers")


def declined(work: Work, text: str) -> Answer:
    """Return the refusal of the model or of its provider, which claims nothing, below what the planner's tools said."""
    said = said_by(work.ran)
    before = [*tool_lines(work.ran, work.language), ""] if said else []
    told = text or prompts.MODEL_DECLINED[work.language].format(model=work.model.spec)
    return replace(_unanswered(work), text="\n".join([*before, told]), claims=said, abstained=not said)


def abstained(work: Work) -> Answer:
    """Return what the planner's tools said, or a refusal that says what was looked for and what is missing."""
    language = work.language
    if said := said_by(work.ran):
        lines = [*tool_lines(work.ran, language), prompts.NOTHING_IN_PAPERS[language]]
        return replace(_unanswered(work), text="\n".join(lines), claims=said)
    lines = [prompts.REFUSAL[language]]
    terms = ", ".join(term.surface for term in work.found.question.terms)
    missing = work.found.support.missing
    for sentence, words in ((prompts.LOOKED_FOR, terms), (prompts.MISSING, ", ".join(missing))):
        if words:
            lines.append(sentence[language].format(terms=words))
    return replace(_unanswered(work), text="\n".join(lines), abstained=True, missing=missing)


def _unanswered(work: Work) -> Answer:
    """Return all of the answer but what it says: what was seen, called and used up."""
    calls = [*(one.result for one in work.ran), *work.results]
    return Answer(
        text="",
        evidence=tuple(source.hit for source in work.sources.all),
        tool_calls=tuple(result.to_json() for result in calls),
        usage=work.usage.to_json(),
        model=work.model.spec,
        trace=(*work.found.trace(), *work.trace),
    )

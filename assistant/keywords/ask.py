"""Keywords of one paper from a language model: the prompt, the answer's form, and a second try where it is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assistant import prompts
from assistant.chat import BadReply, ChatModel, Declined, Message, Request, Usage
from assistant.keywords.meaning import clean, distinct
from assistant.keywords.texts import Text
from assistant.prompts import Language
from ingest.errors import BadInput, ModelError

if TYPE_CHECKING:
    from ingest.embed import Embedder

Target = Literal["en", "ja", "source"]
Strategy = Literal["zero-shot", "few-shot", "cot"]
NOTHING = Usage()
Shot = tuple[str, str, tuple[str, ...]]  # title, text, keywords

ANSWER_TOKENS = 1000
THINKING_TOKENS = 8000  # models that think before they answer count that as answer
USUAL_ANSWER_TOKENS = 150  # for estimates: ten keywords as JSON
PROMPT_TOKENS = 700
CHARACTERS_PER_TOKEN = 3.0  # of English papers with formulas and numbers; on the safe side
_THINKING = ("openai/gpt-5", "openai/o1", "openai/o3", "openai/o4", "gemini/gemini-2.5", "gemini/gemini-3")


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of a model for every paper."""

    most: int = 10
    language: Target = "source"
    strategy: Strategy = "zero-shot"
    shots: tuple[Shot, ...] = ()  # own examples, in the place of the built-in ones
    text_tokens: int = 0  # of the paper; 0: as many as the model takes

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the answer."""
        words = {"type": "array", "items": {"type": "string", "maxLength": 80}}
        if self.strategy == "cot":
            properties = {"reasoning": {"type": "string", "maxLength": 1500}, "keywords": words}
        else:
            properties = {"keywords": words}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def target(self, text: Text) -> Language:
        """Return the language of the keywords: the one asked for, else the paper's if it is Japanese, else English."""
        if self.language == "source":
            return "ja" if text.language == "ja" else "en"
        return self.language

    def digest(self) -> str:
        """Return the hash of everything fixed in the prompt."""
        fixed = json.dumps([self.most, self.language, self.strategy, self.shots, self.text_tokens], ensure_ascii=False)
        return prompts.digest(fixed, *prompts.KEYWORDS_SYSTEM.values(), *prompts.KEYWORDS_TASK.values())[:8]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model made of a paper; `error` says why there are no keywords."""

    keywords: tuple[str, ...] = ()
    usage: Usage = NOTHING
    error: ModelError | None = None


def messages_for(text: Text, task: Task, *, context_tokens: int, answer_tokens: int) -> list[Message]:
    """Return the conversation that asks for the keywords of a paper."""
    language = task.target(text)
    wanted = prompts.KEYWORDS_LANGUAGE[language][task.language]
    system = prompts.KEYWORDS_SYSTEM[language]
    if task.strategy == "cot":
        system = f"{system}\n\n{prompts.KEYWORDS_THINK[language]}"
    conversation = [Message("system", system)]
    if task.strategy == "few-shot" or task.shots:
        for title, shown, keywords in task.shots or prompts.KEYWORDS_EXAMPLES[language]:
            answer = json.dumps({"keywords": list(keywords[: task.most])}, ensure_ascii=False)
            asked = prompts.KEYWORDS_TASK[language].format(title=title, text=shown, most=task.most, language=wanted)
            conversation += [Message("user", asked), Message("assistant", answer)]
    room = context_tokens - answer_tokens - PROMPT_TOKENS - sum(len(one.content) for one in conversation) // 3
    tokens = min(room, task.text_tokens) if task.text_tokens else room
    shown = shortened(text, max(tokens, 200))
    title = text.title.replace("</paper>", "")
    asked = prompts.KEYWORDS_TASK[language].format(title=title, text=shown, most=task.most, language=wanted)
    return [*conversation, Message("user", asked)]


def request_for(text: Text, chat: ChatModel, task: Task) -> Request:
    """Return the question about a paper as one request, for a provider's batch."""
    room = answer_tokens(chat.spec)
    conversation = messages_for(text, task, context_tokens=chat.context_tokens, answer_tokens=room)
    return Request(tuple(conversation), schema=task.schema, max_tokens=room)


def shortened(text: Text, tokens: int) -> str:
    """Return abstract and main text, cut to about `tokens` tokens at the end of a line where one is near."""
    whole = "\n\n".join(part for part in (text.abstract, text.body) if part).replace("</paper>", "")
    most = int(tokens * (1.0 if text.language in ("ja", "zh", "ko") else CHARACTERS_PER_TOKEN))
    if len(whole) <= most:
        return whole
    cut = whole.rfind("\n", most - most // 10, most)
    return whole[: cut if cut > 0 else most]


def answer_tokens(spec: str) -> int:
    """Return how long an answer may be."""
    return THINKING_TOKENS if spec.startswith(_THINKING) else ANSWER_TOKENS


def ask(text: Text, chat: ChatModel, task: Task, *, embedder: Embedder | None = None) -> Asked:
    """Return the keywords that the model gives; a broken or empty answer is asked for once more.

    Errors of the model come back in the result, with the usage so far, except those that end a job: a key that is
    refused, a budget that is spent (`ends_job`).
    """
    room = answer_tokens(chat.spec)
    conversation = messages_for(text, task, context_tokens=chat.context_tokens, answer_tokens=room)
    usage = NOTHING
    for attempt in range(2):
        try:
            reply = chat.chat(conversation, schema=task.schema, max_tokens=room, temperature=0.4 * attempt)
        except ModelError as error:
            if ends_job(error):
                raise
            return Asked(usage=usage, error=error)
        usage += reply.usage
        try:
            if reply.finish == "declined":
                raise Declined(f"{chat.spec} refused: {reply.text[:200]!r}", hint="Try another model for this paper")
            found = read_answer(reply.data(), task.most, embedder)
        except Declined as error:
            return Asked(usage=usage, error=error)
        except BadReply as error:
            if attempt:
                return Asked(usage=usage, error=error)
            language = task.target(text)
            again = prompts.KEYWORDS_AGAIN[language].format(
                most=task.most, language=prompts.KEYWORDS_LANGUAGE[language][task.language]
            )
            said = [Message("assistant", reply.text[:2000])] if reply.text.strip() else []
            conversation = [*conversation, *said, Message("user", again)]
        else:
            return Asked(found, usage)
    raise AssertionError("the second attempt returns")  # pragma: no cover


def read_answer(data: Mapping[str, Any], most: int, embedder: Embedder | None = None) -> tuple[str, ...]:
    """Return the keywords of an answer, cleaned and without repeats.

    Raises:
        BadReply: it holds none.
    """
    listed = next((value for name, value in data.items() if name.casefold() == "keywords"), None)
    if isinstance(listed, str):
        listed = [part for part in listed.replace(";", ",").split(",") if part.strip()]
    found = distinct(clean(listed if isinstance(listed, list) else []), most=most, embedder=embedder)
    if not found:
        raise BadReply(f"the answer holds no keywords: {str(dict(data))[:200]!r}")
    return tuple(found)


def ends_job(error: ModelError) -> bool:
    """Tell whether an error would meet every other paper too."""
    from assistant.chat import KeyMissing, KeyRefused, ModelNotFound, RateLimited, UnknownSpec
    from assistant.keywords.spending import BudgetSpent

    quota = isinstance(error, RateLimited) and not error.retryable
    return quota or isinstance(error, KeyMissing | KeyRefused | ModelNotFound | UnknownSpec | BudgetSpent)


def read_shots(file: Path) -> tuple[Shot, ...]:
    """Read own examples: JSON lines with title, text and keywords. Raises `BadInput` naming the line."""
    shots = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read examples from {str(file)!r}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            shots.append((str(row.get("title", "")), str(row["text"]), tuple(map(str, row["keywords"]))))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{file}, line {number} is no example: {error!r}",
                hint='Each line is {"title": "…", "text": "…", "keywords": ["…"]}',
            ) from error
    if not shots:
        raise BadInput(f"{str(file)!r} holds no examples")
    return tuple(shots)


def as_shots(examples: Sequence[Mapping[str, Any]]) -> tuple[Shot, ...]:
    """Return examples given from Python in the form of `Task.shots`."""
    return tuple((str(one.get("title", "")), str(one["text"]), tuple(one["keywords"])) for one in examples)

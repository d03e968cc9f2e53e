"""Google's Gemini, through `google-genai`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assistant.offline import is_loopback, refuse_remote, refused
from assistant.pricing import note
from assistant.providers.base import (
    CHECK_TIMEOUT_S,
    Delta,
    Finish,
    Message,
    Reply,
    Request,
    ToolCall,
    Usage,
    joined_system,
)
from assistant.providers.errors import (
    BadReply,
    Unavailable,
    error_of_status,
    read_key,
    retry_after,
    transport_errors,
    unreachable,
)

if TYPE_CHECKING:
    from google.genai import Client, types
    from llama_index.core.llms import LLM

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
BASE_URL = "https://generativelanguage.googleapis.com"
BASE_URL_VARIABLE = "GOOGLE_GEMINI_BASE_URL"  # the vendor's own name for it
CONTEXT_TOKENS = 1_048_576  # of every Gemini since 1.5 Flash

_FINISH: dict[str, Finish] = {
    "MAX_TOKENS": "length",
    "SAFETY": "declined",
    "RECITATION": "declined",
    "BLOCKLIST": "declined",
    "PROHIBITED_CONTENT": "declined",
    "SPII": "declined",
}
_MALFORMED = {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"}


class GeminiBackend:
    """One Gemini model."""

    provider = "gemini"
    native_tools = True
    json_schema = True
    local = False

    def __init__(self, model: str, *, key: str, base_url: str, context_tokens: int = CONTEXT_TOKENS) -> None:
        self.model = model
        self.context_tokens = context_tokens
        self._who = f"gemini/{model}"
        self._client = make_client(key, base_url)

    def reply(self, request: Request) -> Reply:
        """Answer at once."""
        with self._errors():
            made = self._client.models.generate_content(
                model=self.model, contents=_contents(request), config=self._config(request)
            )
        collected = _Collected(self._who, self.model)
        collected.add(made)
        return collected.reply()

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer piece by piece; the last item is the whole reply."""
        collected = _Collected(self._who, self.model)
        with self._errors():
            chunks = self._client.models.generate_content_stream(
                model=self.model, contents=_contents(request), config=self._config(request)
            )
            for chunk in chunks:
                if text := collected.add(chunk):
                    yield Delta(text)
        yield collected.reply()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def count_tokens(self, request: Request) -> int:
        """Return how many tokens the messages are, as Google counts them; free."""
        with self._errors():
            counted = self._client.models.count_tokens(model=self.model, contents=_contents(request))
        return counted.total_tokens or 0

    def find(self) -> str:
        """Ask Google for the model, which is free, and return its name; raises as a call would."""
        from google.genai import types

        options = types.HttpOptions(timeout=int(CHECK_TIMEOUT_S * 1000))
        with self._errors():
            found = self._client.models.get(model=self.model, config=types.GetModelConfig(http_options=options))
        return found.display_name or self.model

    def _config(self, request: Request) -> types.GenerateContentConfig:
        from google.genai import types

        # Gemini takes tools or a schema, not both.
        schema = None if request.tools else request.schema
        # Google advises against, and may refuse, a temperature for its third generation.
        temperature = None if self.model.startswith("gemini-3") else request.temperature
        return types.GenerateContentConfig(
            system_instruction=joined_system(request.messages) or None,
            temperature=temperature,
            max_output_tokens=request.max_tokens,
            stop_sequences=list(request.stop) or None,
            response_mime_type="application/json" if schema is not None else None,
            response_json_schema=dict(schema) if schema is not None else None,
            tools=_tools(request),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            http_options=types.HttpOptions(timeout=int(request.timeout_s * 1000)),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from google.genai import errors

        try:
            yield
        except errors.APIError as error:
            said = f"{error.message or error} {error.status or ''}"
            wait_s = _wait_s(error)
            raise error_of_status(
                error.code, said, who=self._who, key=" or ".join(KEYS), retry_after_s=wait_s
            ) from None
        except (errors.UnknownApiResponseError, json.JSONDecodeError) as error:
            raise BadReply(f"{self._who} answered something that is no JSON: {error}") from error
        except transport_errors() as error:
            raise refused(error) or unreachable(self._who, error) from error


class _Collected:
    """What the chunks of an answer come to."""

    def __init__(self, who: str, model: str) -> None:
        self._who = who
        self._model = model
        self._text = ""
        self._calls: list[ToolCall] = []
        self._usage = Usage(calls=1)
        self._reason = ""

    def add(self, chunk: types.GenerateContentResponse) -> str:
        """Take in a chunk; return the text that came with it."""
        self._model = chunk.model_version or self._model
        if chunk.usage_metadata is not None:
            self._usage = _usage(chunk.usage_metadata)
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
            self._reason = "SAFETY"
        candidate = next(iter(chunk.candidates or ()), None)
        if candidate is None:
            return ""
        if candidate.finish_reason is not None:
            self._reason = candidate.finish_reason.name
        parts = (candidate.content.parts if candidate.content else None) or ()
        text = "".join(part.text for part in parts if part.text and not part.thought)
        for part in parts:
            if part.function_call is not None:
                self._calls.append(self._call(part, part.function_call))
        self._text += text
        return text

    def reply(self) -> Reply:
        """Return the whole answer."""
        if self._reason in _MALFORMED:
            raise BadReply(f"{self._who} wrote a tool call that Google could not read ({self._reason})")
        if not self._reason:
            raise Unavailable(f"{self._who} broke off in the middle of an answer, after {len(self._text)} characters")
        finish = _FINISH.get(self._reason, "tool_calls" if self._calls else "stop")
        return Reply(self._text, tuple(self._calls), self._usage, finish, self._model)

    def _call(self, part: types.Part, call: types.FunctionCall) -> ToolCall:
        signature = base64.b64encode(part.thought_signature).decode() if part.thought_signature else ""
        return ToolCall(call.id or f"call_{len(self._calls)}", call.name or "", call.args or {}, signature)


def make_client(key: str, base_url: str) -> Client:
    """Return the vendor's client; it does not retry (`ChatModel` does), nor use a proxy for this machine."""
    from urllib.parse import urlsplit

    from google.genai import Client, types

    here = is_loopback(urlsplit(base_url).hostname or "")
    options = types.HttpOptions(
        base_url=base_url,
        retry_options=types.HttpRetryOptions(attempts=1),
        client_args={"trust_env": False} if here else None,
    )
    return Client(api_key=key, vertexai=False, http_options=options)


def make_backend(model: str, *, offline: bool = False, **options: Any) -> GeminiBackend:
    """Build Gemini's `model`.

    Raises:
        KeyMissing: neither `GEMINI_API_KEY` nor `GOOGLE_API_KEY` is set.
        OfflineError: `offline`, and the address is another machine's.
    """
    base_url = os.environ.get(BASE_URL_VARIABLE, "").strip() or BASE_URL
    if offline:
        refuse_remote(base_url, what=f"gemini/{model}")
    return GeminiBackend(model, key=_key(), base_url=base_url, **options)


def make_llm(model: str, *, offline: bool = False, **options: Any) -> LLM:
    """Build Gemini's `model` as llama-index's `GoogleGenAI`, which asks Google for the model at once.

    Raises as `make_backend`, and for a key or model that Google does not know.
    """
    backend = make_backend(model, offline=offline)
    from google.genai import types
    from llama_index.llms.google_genai import GoogleGenAI

    base_url = os.environ.get(BASE_URL_VARIABLE, "").strip() or BASE_URL
    with backend._errors():
        return GoogleGenAI(model=model, api_key=_key(), http_options=types.HttpOptions(base_url=base_url), **options)


def check(model: str, *, offline: bool = False) -> str:
    """Return one line on `model`, after asking Google for it; that is free. Raises where it would not work."""
    backend = make_backend(model, offline=offline)
    backend.find()
    return f"{note(f'gemini/{model}')}; the key is accepted"


def _key() -> str:
    return read_key(*KEYS, provider="Gemini", example="AIza…")


def _tools(request: Request) -> Any:
    from google.genai import types

    if not request.tools:
        return None
    declared = [
        types.FunctionDeclaration(
            name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters)
        )
        for tool in request.tools
    ]
    return [types.Tool(function_declarations=declared)]


def _contents(request: Request) -> Any:
    """Return the turns as Gemini wants them: results of parallel calls in one turn, each with its tool's name."""
    from google.genai import types

    if request.tools:
        request = request.schema_in_words()
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    contents: list[types.Content] = []
    previous = ""
    for message in request.messages:
        if message.role == "system":
            continue
        parts = _parts(message, names)
        if message.role == previous == "tool" and contents[-1].parts is not None:
            contents[-1].parts.extend(parts)
        else:
            contents.append(types.Content(role="model" if message.role == "assistant" else "user", parts=parts))
        previous = message.role
    return contents


def _parts(message: Message, names: Mapping[str, str]) -> list[types.Part]:
    from google.genai import types

    if message.role == "tool":
        name = message.name or names.get(message.tool_call_id, "")
        return [types.Part.from_function_response(name=name, response={"result": message.content})]
    parts = [types.Part(text=message.content)] if message.content or not message.tool_calls else []
    for call in message.tool_calls:
        arguments = {} if isinstance(call.arguments, str) else dict(call.arguments)
        signature = base64.b64decode(call.signature) if call.signature else None
        made = types.FunctionCall(name=call.name, args=arguments)
        parts.append(types.Part(function_call=made, thought_signature=signature))
    return parts


def _usage(counts: types.GenerateContentResponseUsageMetadata) -> Usage:
    written = (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0)
    read = (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0)
    return Usage(read, written, calls=1, cached_tokens=counts.cached_content_token_count or 0)


def _wait_s(error: Any) -> float | None:
    """Return the wait that Google asks for: in the header, else in the error's RetryInfo ("37s")."""
    headers = getattr(error.response, "headers", None)
    if headers is not None and (wait_s := retry_after(headers)) is not None:
        return wait_s
    details = error.details.get("error", error.details) if isinstance(error.details, dict) else {}
    for detail in details.get("details", ()) if isinstance(details, dict) else ():
        delay = str(detail.get("retryDelay", "")).removesuffix("s")
        if delay.replace(".", "", 1).isdigit():
            return float(delay)
    return None

"""The errors of language models, how a provider's own become them, and keys that are read but never shown.

    ModelError
    ├── UnknownSpec      no such provider, or a spec that cannot be read
    ├── KeyMissing       the provider needs a key, and none is set
    ├── KeyRefused       the provider does not accept the key
    ├── ModelNotFound    the provider, server or disk has no such model
    ├── RateLimited      too many requests or tokens (retryable), or the quota is used up (not retryable)
    ├── TooLong          the messages do not fit the model's context
    ├── Declined         the provider's own filter refused to answer
    ├── TemperatureRefused  the model takes no temperature (its backend asks again without)
    ├── Unavailable      connection refused, dropped or too slow; or the server failed (retryable)
    └── BadReply         an answer that is not what the protocol or the schema asked for (retryable)

No vendor's package is imported here.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from assistant.offline import refused
from ingest.errors import ModelError
from ingest.retry_after import parse_retry_after
from ingest.settings import KEYS

SERVER_KEY = "MATLIT_SERVER_KEY"  # of a server that speaks OpenAI's protocol but is not OpenAI's

_KEY_LIKE = re.compile(r"\b(?:sk-[\w*-]{6,}|AIza[\w-]{10,}|hf_\w{8,})")


class UnknownSpec(ModelError):
    """A model spec names no known provider, or cannot be read."""

    hint = "See the forms a model can be named in: matlit models"


class KeyMissing(ModelError):
    """The provider needs a key, and none is set."""


class KeyRefused(ModelError):
    """The provider does not accept the key."""


class ModelNotFound(ModelError):
    """The provider, the server or the disk has no such model."""

    hint = "See the forms a model can be named in: matlit models"


class RateLimited(ModelError):
    """Too many requests or tokens; `retry_after_s` is how long the provider asks to wait, None where it is silent."""

    hint = "Wait a little, or set what the provider allows: export MATLIT_MODELS_RATES=openai=60/20000 (calls/tokens)"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after_s = retry_after_s


class TooLong(ModelError):
    """The messages do not fit the model's context."""

    hint = "Ask about less (--paper ID; in Python k=5), or take a model with a longer context"


class Declined(ModelError):
    """The provider's own filter refused to answer."""

    hint = "Put the question in other words, or ask another model"


class Unavailable(ModelError):
    """The connection was refused or dropped, took too long (`slow`), or the server failed."""

    hint = "Look whether the server or the provider is up, then try again"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, slow: bool = False, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after_s, self.slow = retry_after_s, slow


class TemperatureRefused(ModelError):
    """The model takes no temperature; its backend asks again without one, and remembers."""


class BadReply(ModelError):
    """The model or its server answered something that is not what was asked for."""

    hint = "Try again, or take a stronger model"
    retryable = True


_keys_here: ContextVar[Mapping[str, str]] = ContextVar("matlit_keys", default={})  # noqa: B039 - never changed
_lent: set[str] = set()  # every key that was lent in this process, so that no error ever repeats it


@contextmanager
def using_keys(keys: Mapping[str, str]) -> Iterator[None]:
    """Let models built inside this block, in this thread, use `keys` (by variable name) before the environment.

    That is how the web app keeps the keys of one browser from every other.
    """
    _lent.update(value for value in keys.values() if len(value) >= 6)
    token = _keys_here.set(dict(keys))
    try:
        yield
    finally:
        _keys_here.reset(token)


def key_value(name: str) -> str:
    """Return the key lent to this thread under the variable's name, else the variable's value, else ""."""
    return (_keys_here.get().get(name) or os.environ.get(name, "")).strip()


def read_key(*names: str, provider: str, example: str) -> str:
    """Return the key from the first of the environment variables `names` that is set.

    Raises:
        KeyMissing: none is set.
        KeyRefused: it holds characters that no key has, which a client would otherwise repeat in its error.
    """
    for name in names:
        key = key_value(name)
        if key and not re.fullmatch(r"[!-~]+", key):
            raise KeyRefused(
                f"{name} holds spaces or characters that no key has", hint=f"Copy it again: export {name}={example}"
            )
        if key:
            return key
    raise KeyMissing(
        f"{provider} needs a key, and {' or '.join(names)} is not set", hint=f"export {names[0]}={example}"
    )


def scrub(text: str) -> str:
    """Return `text` without anything that is, or looks like, a key."""
    for name in (*KEYS, SERVER_KEY):
        value = os.environ.get(name, "").strip()
        if len(value) >= 6 and name.endswith(("KEY", "TOKEN")):
            text = text.replace(value, f"[{name}]")
    for value in _lent:
        text = text.replace(value, "[key]")
    return _KEY_LIKE.sub("[key]", text)


def error_of_status(
    status: int, message: str, *, who: str, key: str = "", retry_after_s: float | None = None
) -> ModelError:
    """Return the error that an HTTP status of a provider stands for.

    `who` names provider and model in the message, `key` is the environment variable the key came from.
    """
    said = f"{who} answered {status}: {scrub(message)[:300]}"
    low = message.lower()
    if status == 200:  # an error inside a stream that had begun well
        return Unavailable(said)
    if status in (401, 403) or "api key not valid" in low:
        return KeyRefused(said, hint=f"Check the key in {key}" if key else "Check the key, or whether one is needed")
    if status == 404:
        return ModelNotFound(said)
    if status == 413 or (status == 400 and _says_too_long(low)):
        return TooLong(said)
    if status == 429 and ("insufficient_quota" in low or ("exceeded your current quota" in low and "retry" not in low)):
        return RateLimited(
            said, hint="The account's quota is used up: see the provider's billing page", retryable=False
        )
    if status == 429:
        return RateLimited(said, retry_after_s=retry_after_s)
    if status in (408, 409) or status >= 500:
        return Unavailable(said, retry_after_s=retry_after_s)
    if status == 400 and "temperature" in low:
        return TemperatureRefused(said)
    if "content_filter" in low or "content management policy" in low:
        return Declined(said)
    return ModelError(said, hint="The provider refuses this request: matlit doctor")


@contextmanager
def client_errors(client: Any, *, who: str, key: str = "", hint: str | None = None) -> Iterator[None]:
    """Turn what a vendor's package raises into `ModelError`; errors of our own go through.

    `client` is the package `openai` or `anthropic`, which name their errors alike; `key` is the variable the key is in.
    """
    try:
        yield
    except client.APIStatusError as error:
        wait_s = retry_after(error.response.headers)
        # Not chained: the client's error holds the request, and with it the key.
        raise error_of_status(error.status_code, _said(error), who=who, key=key, retry_after_s=wait_s) from None
    except (client.APITimeoutError, *_timeouts()) as error:
        raise refused(error) or Unavailable(f"{who} did not answer in time") from error
    except (client.APIConnectionError, *transport_errors()) as error:
        raise refused(error) or unreachable(who, error, hint=hint) from error
    except (client.APIResponseValidationError, json.JSONDecodeError) as error:
        raise BadReply(f"{who} answered something that is no JSON: {error}") from error
    except client.APIError as error:
        raise Unavailable(f"{who} broke off: {scrub(str(error.message))[:300]}") from None


def too_slow(who: str, timeout_s: float, *, retryable: bool) -> Unavailable:
    """Return the error for an answer that did not end in time; on this machine it would take as long again."""
    return Unavailable(
        f"{who} did not finish within {timeout_s:g} s",
        hint="Allow more time, or ask for less text",
        retryable=retryable,
        slow=True,
    )


def unreachable(who: str, error: BaseException, *, hint: str | None = None) -> Unavailable:
    """Return the error for a connection that failed or was dropped."""
    reason = error.__cause__ or error
    return Unavailable(
        f"{who}: the connection failed or was dropped ({type(reason).__name__}: {scrub(str(reason))})", hint=hint
    )


def _said(error: Any) -> str:
    """Return the provider's message with its code, from the body where there is one."""
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error", body)
    parts = [inner.get("message"), inner.get("code"), inner.get("type")] if isinstance(inner, dict) else [inner]
    return " ".join(str(part) for part in parts if part) or str(error.message)


def _timeouts() -> tuple[type[Exception], ...]:
    return tuple(package.TimeoutException for package in _transports())


def transport_errors() -> tuple[type[Exception], ...]:
    """Return what the loaded HTTP packages raise when a connection fails or is dropped."""
    return tuple(package.HTTPError for package in _transports())


def _transports() -> list[Any]:
    """Return the HTTP packages that are loaded: the vendors are moving from httpx to its successor."""
    return [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]


def _says_too_long(message: str) -> bool:
    marks = (
        "context_length",
        "context length",
        "context size",
        "exceed_context",
        "too long",
        "maximum number of tokens",
    )
    return any(mark in message for mark in marks) or ("token count" in message and "exceed" in message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a response asks to wait: `Retry-After` as seconds or date (RFC 9110), or in milliseconds."""
    if (text := headers.get("retry-after-ms", "")).replace(".", "", 1).isdigit():
        return float(text) / 1000
    return parse_retry_after(headers.get("retry-after", ""))

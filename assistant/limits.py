"""Keeps calls of a provider under its rates, for all threads of this process together.

Requests and tokens are counted over a sliding minute, concurrent calls by a semaphore. Where a provider says how long
to wait, everybody waits.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ingest.errors import BadSettings

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows; 0 means no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrent: int = 8


@dataclass(slots=True)
class Ticket:
    """One call's entry in the window; its token count is an estimate until `settle`."""

    at: float
    tokens: int

    def settle(self, tokens: int) -> None:
        """Put the tokens really used in the estimate's place."""
        self.tokens = tokens


@dataclass(slots=True)
class Limiter:
    """Lets calls pass one provider's limits. `clock` and `sleep` are for tests."""

    limits: Limits = Limits()
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _window: deque[Ticket] = field(default_factory=deque)
    _paused_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _slots: threading.BoundedSemaphore | None = None

    def __post_init__(self) -> None:
        if self.limits.concurrent:
            self._slots = threading.BoundedSemaphore(self.limits.concurrent)

    @contextmanager
    def call(self, tokens: int) -> Iterator[Ticket]:
        """Wait until a call of about `tokens` tokens may start, and hold its place while it runs."""
        if self._slots is not None:
            self._slots.acquire()
        try:
            yield self._admitted(tokens)
        finally:
            if self._slots is not None:
                self._slots.release()

    def pause(self, seconds: float) -> None:
        """Let nobody start for the next `seconds`: the provider asked for it."""
        with self._lock:
            self._paused_until = max(self._paused_until, self.clock() + seconds)

    def _admitted(self, tokens: int) -> Ticket:
        while True:
            with self._lock:
                wait_s = self._wait_s(tokens)
                if wait_s <= 0:
                    ticket = Ticket(self.clock(), tokens)
                    self._window.append(ticket)
                    return ticket
            self.sleep(wait_s)

    def _wait_s(self, tokens: int) -> float:
        """Return how long to wait before looking again; 0 or less when the call may start."""
        now = self.clock()
        while self._window and self._window[0].at <= now - WINDOW_S:
            self._window.popleft()
        if now < self._paused_until:
            return self._paused_until - now
        full = bool(self.limits.requests_per_minute) and len(self._window) >= self.limits.requests_per_minute
        # A call larger than the whole limit passes alone, or it would wait for ever.
        heavy = bool(self.limits.tokens_per_minute and self._window) and (
            sum(ticket.tokens for ticket in self._window) + tokens > self.limits.tokens_per_minute
        )
        return self._window[0].at + WINDOW_S - now if full or heavy else 0.0


def parse_rates(text: str) -> dict[str, Limits]:
    """Return what providers allow a minute: "openai=500/200000, gemini=10" is requests, and tokens after a slash.

    A provider is named as in a model's spec; a server by its host, such as "localhost:11434".

    Raises:
        BadSettings: a part is of another form.
    """
    found = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        told = re.fullmatch(r"([^=\s]+)\s*=\s*(\d+)\s*(?:/\s*(\d+))?", part)
        if told is None:
            raise BadSettings(
                f"models.rates holds {part!r}", hint="Write it like openai=500/200000: requests/tokens a minute"
            )
        found[told[1].lower()] = Limits(int(told[2]), int(told[3] or 0))
    return found


def with_rates(limits: Limits, provider: str, rates: str) -> Limits:
    """Return the limits with what `rates` says of the provider, whose name may be a server's address."""
    host = provider.split("://")[-1].split("/")[0]
    known = parse_rates(rates)
    told = known.get(provider.lower()) or known.get(host.lower())
    return replace(told, concurrent=limits.concurrent) if told else limits


_limiters: dict[tuple[str, Limits], Limiter] = {}
_limiters_lock = threading.Lock()


def limiter_for(provider: str, limits: Limits) -> Limiter:
    """Return the limiter that everything in this process shares for `provider`."""
    with _limiters_lock:
        return _limiters.setdefault((provider, limits), Limiter(limits))

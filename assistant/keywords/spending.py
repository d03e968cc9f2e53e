"""Keeps a job within its budget: the most a call may cost is set aside before it, what it did cost is booked after.

Both go to a file at once, so that a call that was under way when the job was killed still counts, at its most.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assistant.pricing import VARIABLE, price_of, with_cost
from assistant.providers.base import Backend, Delta, Reply, Request
from ingest.errors import BadInput, ModelError

SMALL_CHANGE = 1e-9  # of sums of floating-point dollars


class BudgetSpent(ModelError):
    """The next call could pass the budget."""

    hint = "Raise it and run the same command again: --budget USD"


class Spending:
    """What a job has spent, and may still spend, in US dollars; shared by its threads. `budget` None sets no bound."""

    def __init__(self, file: Path | None, *, budget: float | None = None) -> None:
        self.budget = budget
        self._changed = threading.Condition()
        self._open: dict[int, float] = {}
        self._paid = 0.0
        self._next = 0
        self._file = -1
        if file is not None:
            self._load(file)
            self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(self._file, b"\n")  # ends a line that a kill cut off
        # Calls under way when an earlier run was killed may have been paid.
        self._paid += sum(self._open.values())
        self._open.clear()

    @property
    def paid(self) -> float:
        """Return what was spent, with calls whose price is uncertain at their most."""
        return self._paid

    def reserve(self, most: float) -> int:
        """Set `most` dollars aside for a call, waiting for other calls to end where only their reserve is in the way.

        Raises:
            BudgetSpent: they do not fit in, even so.
        """
        with self._changed:
            while self.budget is not None and not self.fits(most):
                if not self._open:
                    left = max(self.budget - self._paid, 0.0)
                    raise BudgetSpent(
                        f"the next call may cost ${most:.4f}, and ${left:.4f} of ${self.budget:.2f} are left"
                    )
                self._changed.wait()
            self._next += 1
            self._open[self._next] = most
            self._write({"call": self._next, "most": most})
            return self._next

    def settle(self, call: int, cost: float) -> None:
        """Book what a call cost in the place of what was set aside."""
        with self._changed:
            self._open.pop(call, None)
            self._paid += cost
            self._write({"call": call, "paid": cost})
            self._changed.notify_all()

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def fits(self, most: float) -> bool:
        """Tell whether `most` more dollars stay within the budget."""
        return self.budget is None or self._paid + sum(self._open.values()) + most <= self.budget + SMALL_CHANGE

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file >= 0:
            os.write(self._file, (json.dumps(entry) + "\n").encode())

    def _load(self, file: Path) -> None:
        if not file.exists():
            return
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the line that a kill cut off: its call had not begun, or is still open
                continue
            self._next = max(self._next, int(entry["call"]))
            if "most" in entry:
                self._open[entry["call"]] = float(entry["most"])
            else:
                self._open.pop(entry["call"], None)
                self._paid += float(entry["paid"])


class Metered:
    """A backend whose every call goes through a `Spending`: also those that are tried again."""

    def __init__(self, backend: Backend, *, spec: str, spending: Spending, calls: int = 1) -> None:
        self._backend = backend
        self._spec = spec
        self._spending = spending
        self._price = None if backend.local else price_of(spec)
        self._dearest = 0.0
        self._slots = threading.BoundedSemaphore(calls)
        if self._price is None and not backend.local and spending.budget is not None:
            raise BadInput(
                f"the price of {spec} is not known, so no budget can be kept",
                hint=f"Name its price in the file that ${VARIABLE} names, or leave out --budget",
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def reply(self, request: Request) -> Reply:
        """Answer at once, if the budget allows; at most `calls` run at the same time."""
        with self._slots:
            return self._paid_reply(request)

    def _paid_reply(self, request: Request) -> Reply:
        call = self._spending.reserve(most := self.most(request))
        try:
            reply = self._backend.reply(request)
        except ModelError as error:
            # An error status costs nothing. A time-out or a broken answer may have been paid for.
            self._spending.settle(call, most if error.__cause__ is not None else 0.0)
            raise
        except BaseException:  # whatever broke off the call, the provider may have reckoned it
            self._spending.settle(call, most)
            raise
        cost = with_cost(reply.usage, self._spec, local=self._backend.local).cost_usd or 0.0
        self._dearest = max(self._dearest, cost)
        self._spending.settle(call, cost)
        return reply

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer in one piece: a job reads whole answers."""
        yield self.reply(request)

    def most(self, request: Request) -> float:
        """Return the most a call can cost: a token is a byte at least, and no call so far was dearer."""
        if self._price is None:
            return 0.0
        read = sum(len(message.content.encode()) for message in request.messages) + 200
        read += len(json.dumps(request.schema)) if request.schema else 0
        long = bool(self._price.above) and read > self._price.above
        per_read, per_written = (
            (self._price.long_input, self._price.long_output) if long else (self._price.input, self._price.output)
        )
        most = (read * per_read + (request.max_tokens or 4096) * per_written) / 1e6
        return max(most, self._dearest)

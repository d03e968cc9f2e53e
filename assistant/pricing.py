"""What models cost, by a table that says its date. A model that is not in it has no cost, rather than a guessed one.

Prices are list prices in US dollars per million tokens, as the providers published them up to `PRICES_AS_OF`. Prices
change: `$MATLIT_PRICES` may name a TOML file whose entries win, with a table per model:

    ["openai/gpt-4o-mini"]
    input = 0.15
    cached = 0.075    # left out: as input
    output = 0.60
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from assistant.providers.base import Usage
from ingest.errors import BadSettings

PRICES_AS_OF = "2025-10"
VARIABLE = "MATLIT_PRICES"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. `above` tokens of input, the whole call costs `long_input` and `long_output`."""

    input: float
    output: float
    cached: float | None = None  # None: as input, so that the cost is never told too low
    above: int = 0
    long_input: float = 0.0
    long_output: float = 0.0


PRICES: dict[str, Price] = {
    "openai/gpt-5": Price(1.25, 10.0, 0.125),
    "openai/gpt-5-mini": Price(0.25, 2.0, 0.025),
    "openai/gpt-5-nano": Price(0.05, 0.40, 0.005),
    "openai/gpt-4.1": Price(2.0, 8.0, 0.50),
    "openai/gpt-4.1-mini": Price(0.40, 1.60, 0.10),
    "openai/gpt-4.1-nano": Price(0.10, 0.40, 0.025),
    "openai/gpt-4o": Price(2.50, 10.0, 1.25),
    "openai/gpt-4o-mini": Price(0.15, 0.60, 0.075),
    "openai/o3": Price(2.0, 8.0, 0.50),
    "openai/o3-mini": Price(1.10, 4.40, 0.55),
    "openai/o4-mini": Price(1.10, 4.40, 0.275),
    "gemini/gemini-2.5-pro": Price(1.25, 10.0, above=200_000, long_input=2.50, long_output=15.0),
    "gemini/gemini-2.5-flash": Price(0.30, 2.50),
    "gemini/gemini-2.5-flash-lite": Price(0.10, 0.40),
    "gemini/gemini-2.0-flash": Price(0.10, 0.40),
    "gemini/gemini-2.0-flash-lite": Price(0.075, 0.30),
    "anthropic/claude-opus-4": Price(15.0, 75.0, 1.50),
    "anthropic/claude-opus-4-1": Price(15.0, 75.0, 1.50),
    "anthropic/claude-sonnet-4": Price(3.0, 15.0, 0.30),
    "anthropic/claude-sonnet-4-5": Price(3.0, 15.0, 0.30),
    "anthropic/claude-3-7-sonnet": Price(3.0, 15.0, 0.30),
    "anthropic/claude-haiku-4-5": Price(1.0, 5.0, 0.10),
    "anthropic/claude-3-5-haiku": Price(0.80, 4.0, 0.08),
    "anthropic/claude-3-haiku": Price(0.25, 1.25, 0.03),
}

# A dated snapshot (gpt-4o-2024-08-06, claude-sonnet-4-20250514, gemini-2.5-flash-001) costs what its model costs.
_SNAPSHOT = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|-\d{3}|-latest|-0)$")


def price_of(spec: str) -> Price | None:
    """Return the price of `openai/gpt-4o-mini`, or None where it is not known."""
    own = _own_prices()
    for name in (spec, _SNAPSHOT.sub("", spec)):
        if found := own.get(name) or PRICES.get(name):
            return found
    return None


def with_cost(usage: Usage, spec: str, *, local: bool = False, batch: bool = False) -> Usage:
    """Return `usage` with its cost: 0 for a local model, None where the price is not known.

    `batch` is for a provider's batch interface, which OpenAI, Google and Anthropic sell at half the price.
    """
    price = price_of(spec)
    if local or price is None:
        return replace(usage, cost_usd=0.0 if local else None)
    return replace(usage, cost_usd=_cost(usage, price) * (0.5 if batch else 1.0), prices_as_of=as_of(spec))


def as_of(spec: str) -> str:
    """Return the date of the table with the price of `spec`; the variable that names it where it is one's own."""
    own = _own_prices()
    return f"${VARIABLE}" if {spec, _SNAPSHOT.sub("", spec)} & own.keys() else PRICES_AS_OF


def dollars(usd: float, prices_as_of: str = PRICES_AS_OF) -> str:
    """Return a cost as people read it, with the date of its prices: `$0.0012 (list prices of 2025-10)`."""
    told = "under $0.0001" if 0 < usd < 0.0001 else f"${usd:.4f}"
    return f"{told} ({_dated(prices_as_of)})"


def _dated(prices_as_of: str) -> str:
    return f"prices of {prices_as_of}" if prices_as_of.startswith("$") else f"list prices of {prices_as_of}"


def note(spec: str) -> str:
    """Return one line on what `spec` costs, with the table's date, or that its price is not known."""
    price = price_of(spec)
    if price is None:
        return f"the price of {spec} is not known here; set it in the file that ${VARIABLE} names"
    return f"{spec}: ${price.input:g} in, ${price.output:g} out per million tokens ({_dated(as_of(spec))})"


def _cost(usage: Usage, price: Price) -> float:
    long = bool(price.above) and usage.input_tokens > price.above
    read, written = (price.long_input, price.long_output) if long else (price.input, price.output)
    cached = read if price.cached is None else price.cached
    fresh = usage.input_tokens - usage.cached_tokens
    return (fresh * read + usage.cached_tokens * cached + usage.output_tokens * written) / 1e6


def _own_prices() -> dict[str, Price]:
    path = os.environ.get(VARIABLE, "")
    if not path:
        return {}
    try:
        table = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        return {name: Price(**entry) for name, entry in table.items()}
    except (OSError, ValueError, TypeError) as error:
        raise BadSettings(f"cannot read prices from {path!r} (${VARIABLE}): {error}") from error

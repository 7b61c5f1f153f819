"""What answers cost: list prices, a forecast before asking, and a budget that no request may pass."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from mre.errors import SettingsError

# USD per million tokens (input, output) of OpenAI's standard service, after stored copies of its price list
# (developers.openai.com/api/docs/pricing), which bear no date, and write-ups of May 2026 that quote gpt-4o, gpt-4o-mini and gpt-4.1
# unchanged. Prices change: look before a large run, and give your own with --price-input and --price-output.
PRICES_AS_OF = "May 2026"
PRICES = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-2024-05-13": (5.00, 15.00),
    "gpt-4o-2024-08-06": (2.50, 10.00),
    "gpt-4o-2024-11-20": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o-mini-2024-07-18": (0.15, 0.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-2025-04-14": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-mini-2025-04-14": (0.40, 1.60),
}
BATCH_DISCOUNT = 0.5


@dataclass(frozen=True)
class Price:
    """USD per million tokens; None where it is not known."""

    input: float | None
    output: float | None

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        if self.input is None or self.output is None:
            return None
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


def price_of(model: str, is_own_server: bool, price_input: float | None, price_output: float | None, batch: bool = False) -> Price:
    """The given price, or the list price of a model of OpenAI's. A model behind another address has no list price here."""
    listed = (None, None) if is_own_server else PRICES.get(model, (None, None))
    share = BATCH_DISCOUNT if batch else 1.0
    values = []
    for given, list_price, flag in ((price_input, listed[0], "--price-input"), (price_output, listed[1], "--price-output")):
        if given is not None and not 0 <= given < math.inf:
            raise SettingsError(f"{flag} must be 0 or more USD per million tokens, got {given}")
        values.append(given if given is not None else None if list_price is None else list_price * share)
    return Price(*values)


@dataclass(frozen=True)
class Forecast:
    """What a run would send and cost, shown before it starts."""

    edits: int
    requests: int
    cached: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float
    perhaps_paid: int = 0       # answers that were asked for before and never came

    def __str__(self) -> str:
        cost = "unknown (no list price for this model; give --price-input and --price-output)" if self.cost_usd is None \
            else f"about {self.cost_usd:.2f} USD (list prices of {PRICES_AS_OF} unless you gave your own)"
        return (f"{self.edits} edits: {self.requests} requests to send, {self.cached} answers already in the cache"
                + (f", {self.perhaps_paid} perhaps paid and not asked for again without --ask-again" if self.perhaps_paid else "") + "; "
                f"about {self.input_tokens:,} + {self.output_tokens:,} tokens, {duration(self.seconds)}; cost {cost}")


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Limits:
    """The most a run may send and spend; None: no limit. Raises SettingsError for an invalid limit."""

    requests: int | None = None
    tokens: int | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        for name, flag in (("requests", "--max-requests"), ("tokens", "--max-tokens"), ("usd", "--budget")):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise SettingsError(f"{flag} must be 0 or more, got {value}")


class Budget:
    """Keeps a run within its limits: a request is paid for in advance at the most it can cost, and settled by what it did cost.

    Several runs in threads of their own may share one.
    """

    def __init__(self, limits: Limits, price: Price, flags: str = "--price-input and --price-output") -> None:
        """`flags`: what gives a price, for messages. Raises SettingsError."""
        if limits.usd is not None and limits.usd > 0 and price.cost(0, 0) is None:
            raise SettingsError(f"a budget in USD needs the model's price: give {flags}, or limit the number of requests")
        self.limits, self.price = limits, price
        self.requests = self.tokens = 0
        self.usd = 0.0
        self._held: dict[int, tuple[int, float]] = {}
        self._tickets = 0
        self._changing = threading.Lock()

    def reserve(self, input_tokens: int, output_tokens: int) -> int | None:
        """A ticket for one request, or None when it might pass a limit."""
        with self._changing:
            return self._reserve(input_tokens, output_tokens)

    def _reserve(self, input_tokens: int, output_tokens: int) -> int | None:
        tokens, usd = input_tokens + output_tokens, self.price.cost(input_tokens, output_tokens) or 0.0
        held_tokens = sum(held[0] for held in self._held.values()) if self.limits.tokens is not None else 0
        held_usd = sum(held[1] for held in self._held.values()) if self.limits.usd is not None else 0.0
        if self.limits.requests is not None and self.requests + 1 > self.limits.requests:
            return None
        if self.limits.tokens is not None and self.tokens + held_tokens + tokens > self.limits.tokens:
            return None
        if self.limits.usd is not None and (self.limits.usd == 0 or self.usd + held_usd + usd > self.limits.usd):
            return None
        self.requests += 1
        self._tickets += 1
        self._held[self._tickets] = tokens, usd
        return self._tickets

    def settle(self, ticket: int, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Replace a ticket's reserve by what the reply says was used; a request without a reply used nothing."""
        with self._changing:
            del self._held[ticket]
            self.tokens += input_tokens + output_tokens
            self.usd += self.price.cost(input_tokens, output_tokens) or 0.0

    def reason(self) -> str:
        """Which limit was reached, in words."""
        named = ((self.limits.requests, "requests"), (self.limits.tokens, "tokens"), (self.limits.usd, "USD"))
        limits = " and ".join(f"{value:g} {unit}" if unit == "USD" else f"{value} {unit}" for value, unit in named if value is not None)
        return f"the budget of {limits} is used up ({self.requests} requests, {self.tokens} tokens, {self.usd:.4f} USD)"

"""Who is shown what, and on which side: pure rules, no database.

Main screens. A study with k annotators per pair is laid out as k *slots* per pair when it starts. Slot j of pair p has the side order
(x_p + j) mod 2, with x_p half 0 and half 1 over the pairs: so the k screens of a pair differ by at most one between the two orders, and
so do the pairs of one slot number. Each slot is given to one annotator; a slot that comes back keeps its order.

Annotators. Which side order an annotator's screen number n has is fixed by (the study's order, annotator, n) alone: `Order.side_order`.
Numbers come in twos, one of each order. The free choice is which pair to show: one that still has an open slot with the order wanted.
Where the other order is wanted (the annotator's pairs would drift apart, or none is left), numbers are left out, at most three. An
annotator's two orders never differ by more than two; a slot that would break this waits for somebody else. Repeats and checks are
balanced among themselves, so that they do not use up the pairs' room.

Secrecy. All of this is drawn from a secret that the study gets when it starts and that leaves the server only after the study has
closed. No name or number that an annotator sees goes into a draw without it, and with the secret unknown the two side orders are equally
likely on every screen: layout and draws are the same under a swap of both.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from mre.errors import DataError, StudyError

SHUFFLE_PRIME = 2**31 - 1
MAX_IMBALANCE = 2
SECRET = re.compile(r"order-[0-9a-f]{32}")
COMMITMENT = re.compile(r"sha256:[0-9a-f]{64}")


def new_secret() -> str:
    """128 random bits, in the form that exports of a closed study show as `order_seed`."""
    return f"order-{secrets.token_hex(16)}"


def commitment(secret: str) -> str:
    """What may be shown of a secret while it is one: its SHA-256, which proves later that the order was drawn before the answers came."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


@dataclass(frozen=True)
class Order:
    """All draws of one study: from its secret, or, in studies begun before there were secrets and in simulated ones, from a public seed.

    An imported study whose file was exported before the study closed has the secret's `commitment` in its place: its order cannot be
    rebuilt.
    """

    secret: str | None = field(repr=False, default=None)
    seed: int = 0

    @classmethod
    def of_cell(cls, cell: str) -> Order:
        """The order behind a cell of an export's column `order_seed`. Raises DataError."""
        cell = cell.strip()
        if SECRET.fullmatch(cell) or COMMITMENT.fullmatch(cell):
            return cls(cell)
        if re.fullmatch(r"\d{1,16}(\.0*)?", cell):
            return cls(seed=int(cell.split(".")[0]))
        raise DataError(f"order_seed must be a whole number, order-... or sha256:..., got {cell!r}")

    @property
    def known(self) -> bool:
        """Whether draws can be made again: not from a commitment."""
        return self.secret is None or not COMMITMENT.fullmatch(self.secret)

    def cell(self, closed: bool) -> int | str:
        """What an export says of the order: the seed, the secret once the study has `closed`, its commitment before."""
        if self.secret is None:
            return self.seed
        return self.secret if closed or not self.known else commitment(self.secret)

    def number(self, what: str, *parts: object) -> int:
        """A whole number below 2**64 that depends on the order and these parts alone, and tells nothing of the secret."""
        if self.secret is None:
            return _number(what, self.seed, *parts)
        text = "/".join(map(str, (what, *parts)))
        return int.from_bytes(hmac.digest(self.secret.encode(), text.encode(), "sha256")[:8], "big")

    def side_order(self, annotator: str, screen: int) -> int:
        """0 when the pair's first method is Edited Image 1 on the annotator's screen (1, 2, ...), 1 when the sides are swapped."""
        block, second = divmod(screen - 1, 2)
        return (self.number("side", annotator, block) + second) % 2

    def next_screen_with(self, annotator: str, screen: int, order: int) -> int:
        """The first screen number from `screen` on whose side order is `order`; at most three away."""
        while self.side_order(annotator, screen) != order:
            screen += 1
        return screen

    def check_choice(self, annotator: str, screen: int) -> int:
        """Which of the pair's two edits (0 or 1) an attention check on this screen uses."""
        return self.number("check picture", annotator, screen) % 2

    def check_kind(self, annotator: str, given: int) -> int:
        """Which of the two kinds of check (0 or 1) comes after `given` checks; they come in twos, one of each."""
        if self.secret is None:
            return given % 2                                # as studies begun before have it
        block, second = divmod(given, 2)
        return (self.number("check kind", annotator, block) + second) % 2

    def lay_out(self, pairs: int, per_pair: int) -> list[tuple[int, int, int, int]]:
        """All main slots as (pair index, slot, side order, shuffle key), pair after pair."""
        rng = random.Random(self.number("layout"))
        spare = rng.randrange(2)                            # which order has one pair more when their number is odd
        turns = [(index + spare) % 2 for index in range(pairs)]
        rng.shuffle(turns)
        keys = [rng.randrange(1, SHUFFLE_PRIME) for _ in range(pairs)]
        return [(pair, slot, (turns[pair] + slot) % 2, keys[pair]) for pair in range(pairs) for slot in range(per_pair)]

    def multiplier(self, annotator: str) -> int:
        """The annotator's own item order: pairs sorted by shuffle key times this, modulo SHUFFLE_PRIME (plain enough for SQL)."""
        return 1 + self.number("items", annotator) % (SHUFFLE_PRIME - 1)

    def serves_informative(self, annotator: str, serving: str) -> bool:
        """Whether this annotator is given the pairs first that teach a judge most: in a `mixed` study half of them are, the others are the
        control."""
        return serving == "informative" or (serving == "mixed" and self.number("serving", annotator) % 2 == 1)

    def due(self, annotator: str, what: str, per_cent: float, pairs_seen: int, given: int, finished: bool = False) -> bool:
        """Whether the next extra screen (`what`: "repeat" or "check") is due after `pairs_seen` pairs, `given` extras already shown.

        One falls at a drawn place in every 100 / per_cent pairs; when the annotator is `finished`, what is still owed comes at once.
        """
        if per_cent <= 0:
            return False
        every = 100 / per_cent
        if finished:
            return given < int(pairs_seen / every)
        offset = self.number(what, annotator, given) % 10_000 / 10_000
        return pairs_seen >= (given + offset) * every


def _number(*parts: object) -> int:
    """The draws of a public seed."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def method_pairs(methods: Sequence[str], chosen: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Pairs to compare: the chosen ones, or all. Raises StudyError for an unknown method, a repeated pair, or fewer than two methods."""
    if len(methods) < 2:
        raise StudyError(f"a study compares two methods or more, got {', '.join(methods) or 'none'}")
    if not chosen:
        return list(combinations(methods, 2))
    seen = set()
    for pair in chosen:
        for method in pair:
            if method not in methods:
                raise StudyError(f"pairs name the method {method!r}; the study has {', '.join(methods)}")
        if frozenset(pair) in seen:
            raise StudyError(f"pairs name {pair[0]} and {pair[1]} twice")
        seen.add(frozenset(pair))
    return [(first, second) for first, second in chosen]


def allowed_orders(natural: int, balance: int, others: int, limit: int) -> list[int]:
    """Side orders that may come next, best first.

    natural: order of the next screen number, taken when nothing else decides
    balance: swapped minus plain orders so far among screens of this sort (pairs, or extras); stays within `limit`
    others:  the same among the annotator's other screens; the sum of both stays within MAX_IMBALANCE
    """
    after = {order: balance + (1 if order else -1) for order in (natural, 1 - natural)}
    allowed = [order for order, value in after.items() if abs(value) <= limit and abs(value + others) <= MAX_IMBALANCE]
    return sorted(allowed, key=lambda order: abs(after[order]))

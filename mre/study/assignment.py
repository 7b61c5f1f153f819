"""Who is shown what, and on which side: pure rules, no database.

Main screens. A study with k annotators per pair is laid out as k *slots* per pair when it starts. Slot j of pair p has the side order
(x_p + j) mod 2, with x_p half 0 and half 1 over the pairs: so the k screens of a pair differ by at most one between the two orders, and
so do the pairs of one slot number. Each slot is given to one annotator; a slot that comes back keeps its order.

Annotators. Which side order an annotator's screen number n has is fixed by (study seed, annotator, n) alone: `side_order`. Numbers come
in twos, one of each order. The free choice is which pair to show: one that still has an open slot with the order wanted. Where the other
order is wanted (the annotator's pairs would drift apart, or none is left), numbers are left out, at most three. An annotator's two orders
never differ by more than two; a slot that would break this waits for somebody else. Repeats and checks are balanced among themselves, so
that they do not use up the pairs' room.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from itertools import combinations

from mre.errors import StudyError

SHUFFLE_PRIME = 2**31 - 1
MAX_IMBALANCE = 2


def _number(*parts: object) -> int:
    """A whole number below 2**64 that depends on nothing but its parts."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def side_order(study_seed: int, annotator: str, screen: int) -> int:
    """0 when the pair's first method is Edited Image 1 on the annotator's screen (1, 2, ...), 1 when the sides are swapped."""
    block, second = divmod(screen - 1, 2)
    return (_number("side", study_seed, annotator, block) + second) % 2


def check_choice(study_seed: int, annotator: str, screen: int) -> int:
    """Which of the pair's two edits (0 or 1) an attention check on this screen uses."""
    return _number("check picture", study_seed, annotator, screen) % 2


def next_screen_with(study_seed: int, annotator: str, screen: int, order: int) -> int:
    """The first screen number from `screen` on whose side order is `order`; at most three away."""
    while side_order(study_seed, annotator, screen) != order:
        screen += 1
    return screen


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
    return [tuple(pair) for pair in chosen]


def lay_out(study_seed: int, pairs: int, per_pair: int) -> list[tuple[int, int, int, int]]:
    """All main slots as (pair index, slot, side order, shuffle key), pair after pair."""
    rng = random.Random(_number("layout", study_seed))
    turns = [index % 2 for index in range(pairs)]
    rng.shuffle(turns)
    keys = [rng.randrange(1, SHUFFLE_PRIME) for _ in range(pairs)]
    return [(pair, slot, (turns[pair] + slot) % 2, keys[pair]) for pair in range(pairs) for slot in range(per_pair)]


def order_multiplier(study_seed: int, annotator: str) -> int:
    """The annotator's own item order: pairs sorted by shuffle key times this, modulo SHUFFLE_PRIME (plain enough for SQL)."""
    return 1 + _number("items", study_seed, annotator) % (SHUFFLE_PRIME - 1)


def due(study_seed: int, annotator: str, what: str, per_cent: float, pairs_seen: int, given: int, finished: bool = False) -> bool:
    """Whether the next extra screen (`what`: "repeat" or "check") is due after `pairs_seen` pairs, `given` extras already shown.

    One falls at a drawn place in every 100 / per_cent pairs; when the annotator is `finished`, what is still owed comes at once.
    """
    if per_cent <= 0:
        return False
    every = 100 / per_cent
    if finished:
        return given < int(pairs_seen / every)
    offset = _number(what, study_seed, annotator, given) % 10_000 / 10_000
    return pairs_seen >= (given + offset) * every


def allowed_orders(natural: int, balance: int, others: int, limit: int) -> list[int]:
    """Side orders that may come next, best first.

    natural: order of the next screen number, taken when nothing else decides
    balance: swapped minus plain orders so far among screens of this sort (pairs, or extras); stays within `limit`
    others:  the same among the annotator's other screens; the sum of both stays within MAX_IMBALANCE
    """
    after = {order: balance + (1 if order else -1) for order in (natural, 1 - natural)}
    allowed = [order for order, value in after.items() if abs(value) <= limit and abs(value + others) <= MAX_IMBALANCE]
    return sorted(allowed, key=lambda order: abs(after[order]))

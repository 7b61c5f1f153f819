"""The order of a closed study drawn again from its secret, and compared with what its exported file says annotators were shown.

An export of a closed study has the secret as `order_seed`. With it, each row's `annotator` and `screen` give the side order anew, without
the database: a file whose order was drawn otherwise, or changed afterwards, does not agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mre.errors import DataError
from mre.files import read_table
from mre.study.assignment import Order, commitment
from mre.study.design import ORIGINAL

NEEDED = ("item", "annotator", "screen", "shown_as", "method", "is_check", "order_seed")


@dataclass(frozen=True)
class Screen:
    """One screen of one annotator: what stood on its two sides."""

    place: str                              # in the file
    item: str
    annotator: str
    number: int
    methods: tuple[str, str]                # as Edited Image 1 and 2
    is_check: bool


@dataclass(frozen=True)
class Rebuilt:
    """The sides of a file's screens, drawn again."""

    cell: str                               # its order_seed
    commitment: str                         # what exports said before the study had closed; empty for a public seed
    first_methods: dict[frozenset, str]     # of each pair of methods: the one that stands first at side order 0
    agree: int
    faults: tuple[str, ...]                 # screens that stand otherwise
    untold: int                             # checks that show one edit on both sides: these have no side order to see


def rebuild_sides(path: Path) -> Rebuilt:
    """Draw all sides of an exported file (long, wide or JSON lines) again. Raises DataError for a file that is none, or whose study had
    not closed when it was exported."""
    order, screens = _read(path)
    if not order.known:
        raise DataError(f"{path}: exported before the study had closed: {order.cell(closed=True)} proves the order later, but does not "
                        "tell it. Export again once the study has closed")
    firsts: dict[frozenset, str] = {}
    agree, untold, faults = 0, 0, []
    for screen in screens:
        pair = frozenset(screen.methods)
        if len(pair) == 1:
            untold += 1
            continue
        drawn = order.side_order(screen.annotator, screen.number)
        first = screen.methods[drawn]
        expected = ORIGINAL if screen.is_check else firsts.setdefault(pair, first)
        if first == expected:
            agree += 1
        else:
            faults.append(f"{screen.place}: {screen.annotator}, screen {screen.number}: {screen.methods[0]} stands first, the order says "
                          f"{screen.methods[1]}")
    told = commitment(order.secret) if order.secret else ""
    return Rebuilt(str(order.cell(closed=True)), told, firsts, agree, tuple(faults), untold)


def _read(path: Path) -> tuple[Order, Iterable[Screen]]:
    orders: set[Order] = set()
    sides: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}           # (annotator, screen) -> shown_as -> (method, item)
    first_rows: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
    for line, values in read_table(path, needed=NEEDED):
        place = f"{path}: row {line}"
        try:
            orders.add(Order.of_cell(values["order_seed"]))
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
        key = values["annotator"], values["screen"]
        first_rows.setdefault(key, (place, values))
        sides.setdefault(key, {})[values["shown_as"]] = values["method"], values["item"]
    if not orders:
        raise DataError(f"{path}: no rows below the header")
    if len(orders) > 1:
        raise DataError(f"{path}: order_seed differs between rows; a file holds one study")
    return orders.pop(), [_screen(key, *first_rows[key], shown) for key, shown in sides.items()]


def _screen(key: tuple[str, str], place: str, values: dict[str, str], shown: dict[str, tuple[str, str]]) -> Screen:
    annotator, number = key
    if set(shown) != {"1", "2"} or not number.isdigit():
        raise DataError(f"{place}: screen {number!r} of {annotator} does not show Edited Image 1 and 2")
    is_check = values["is_check"].strip().lower() in ("1", "true")
    return Screen(place, values["item"], annotator, int(number), (shown["1"][0], shown["2"][0]), is_check)

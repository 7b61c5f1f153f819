"""Answers from an exported file on their way into a study: checked row by row, and kept in a scratch database on disk, so that a file of
any size, its rows in any order, needs little memory."""

from __future__ import annotations

import math
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from mre.errors import DataError
from mre.rewards import PERSPECTIVES
from mre.study.assignment import Order
from mre.study.cells import time_of
from mre.study.design import MAX_INSTRUCTION_CHARS, ORIGINAL
from mre.study.schema import CHECKS, SKIP_REASONS

NEEDED = ("item", "annotator", "screen", "shown_as", "method", "revision", "is_repeat", "is_check", "submitted_at", "order_seed")
OF_SCREENS = ("item", "annotator", "screen", "revision", "is_repeat", "is_check", "submitted_at", "order_seed", "edit_type", "instruction",
              "skip_reason", "comment", "first_shown_at", "active_seconds", "app_version", "excluded")     # alike in all rows of an answer
LONGEST = {"item": 200, "annotator": 200, "method": 200, "edit_type": 40, "app_version": 40, "instruction": MAX_INSTRUCTION_CHARS}
LARGEST = 2**31 - 1             # what a database's whole numbers hold
LATEST = 253_402_300_799_999    # milliseconds: the end of the year 9999
MOST_OPEN = 2000                # answers whose rows are still coming in; those that wait longest go to disk
CACHE_KB = 65_536
ORIGINAL_NUMBER = -1
Pair = tuple[int, int, int]     # numbers of an item, its first method and its second


class RowFault(DataError):
    """What is wrong with a row, without its place."""


@dataclass
class StagedAnswer:
    """One answer (annotator, screen, revision), gathered from its rows. Items, methods and annotators go by their number in the file."""

    person: int
    screen: int
    revision: int
    line: int
    item: int
    kind: str                               # main, repeat or check
    sides: list[int | None]                 # methods of Edited Image 1 and 2; ORIGINAL_NUMBER: the original
    scores: list[int | None]                # of Edited Image 1, then 2, in the order of PERSPECTIVES
    skip_reason: str | None
    comment: str
    first_shown_at: int | None
    submitted_at: int
    active_ms: int | None
    app_version: str

    def row(self) -> tuple:
        return (self.person, self.screen, self.revision, self.line, self.item, self.kind, *self.sides, *self.scores, self.skip_reason,
                self.comment, self.first_shown_at, self.submitted_at, self.active_ms, self.app_version)

    @classmethod
    def of(cls, row: tuple) -> StagedAnswer:
        person, screen, revision, line, item, kind, *rest = row
        return cls(person, screen, revision, line, item, kind, rest[:2], rest[2:8], *rest[8:])

    @property
    def shown(self) -> tuple[int, int]:
        """The methods of both images, of an answer that has no `fault`."""
        first, second = self.sides
        assert first is not None, "told as a fault"
        assert second is not None, "told as a fault"
        return first, second

    @property
    def pair(self) -> Pair:
        """Item and methods of a screen that is no check."""
        return self.item, min(self.shown), max(self.shown)

    @property
    def screen_kind(self) -> str:
        """As the studio has it: a check shows one edit twice, or the original beside an edit."""
        return self.kind if self.kind != "check" else "original" if ORIGINAL_NUMBER in self.sides else "identical"

    def fault(self) -> str | None:
        """Why the answer is not whole, once all of its rows are there."""
        if None in self.sides:
            return "the screen has one shown image, not two"
        given = sum(score is not None for score in self.scores)
        if self.skip_reason is None and given != len(self.scores):
            return f"the screen has {given} scores, not six"
        if self.kind != "check" and (ORIGINAL_NUMBER in self.sides or self.sides[0] == self.sides[1]):
            return "the two shown images must be of two methods"
        if (self.screen_kind == "identical" and self.sides[0] != self.sides[1]) or self.sides == [ORIGINAL_NUMBER] * 2:
            return "a check shows one edit twice, or the original beside an edit"
        return None


class StagedAnswers:
    """All answers of a file. Rows come in by `add`, `check` says what is wrong across them, `screens` gives them back in order."""

    def __init__(self, columns: set[str]) -> None:
        self.wide = "perspective" not in columns
        missing = [column for column in (*NEEDED, *(PERSPECTIVES if self.wide else ("perspective", "score"))) if column not in columns]
        if missing:
            raise RowFault(f"no column {', '.join(missing)}; this reads exports of `study export`, `compare` reads other ratings")
        self._order: Order | None = None
        self.people: dict[str, int] = {}
        self.labels: list[str] = []                     # by person, and whether each is excluded
        self.excluded: list[bool] = []
        self.methods: dict[str, int] = {}
        self.pairs: dict[Pair, int] = {}                # numbered by `check`
        self._items: dict[str, tuple[int, int]] = {}    # name -> number, hash of what else is said of it
        self._checked: dict[tuple[int, int, int], list[Pair]] = {}      # (item, method, place of the method in its pair) -> pairs
        self._of_check: dict[tuple[int, int], Pair] = {}                # (person, screen) -> pair
        self._last: tuple[tuple, StagedAnswer] | None = None            # cells of the row before, and its answer
        self._cells = itemgetter(*(column for column in OF_SCREENS if column in columns))
        self._open: OrderedDict[tuple[int, int, int], StagedAnswer] = OrderedDict()
        self._scratch = sqlite3.connect("", isolation_level=None)      # a file that goes with the connection
        for statement in ("pragma journal_mode = off", f"pragma cache_size = -{CACHE_KB}",
                          "create table items (number integer primary key, name text, edit_type text, instruction text)",
                          "create table answers (person, screen, revision, line, item, kind, side1, side2, s1, s2, s3, s4, s5, s6, skip, "
                          "comment, first, submitted, active, app, primary key (person, screen, revision)) without rowid", "begin"):
            self._scratch.execute(statement)

    def close(self) -> None:
        self._scratch.close()

    # ------------------------------------------------------------------------------------------------------------ coming in

    def add(self, line: int, values: dict[str, str]) -> None:
        """One row of the file. Raises RowFault."""
        cells = self._cells(values)
        if self._last is None or cells != self._last[0]:
            self._last = cells, self._answer_of(line, values)
        answer, side, method = self._last[1], whole(values, "shown_as", 1, 2), self._method_number(values)
        if answer.sides[side - 1] not in (None, method):
            raise RowFault(f"shown_as {side} of screen {answer.screen} has two methods")
        answer.sides[side - 1] = method
        self._add_scores(answer, values, side)

    def _answer_of(self, line: int, values: dict[str, str]) -> StagedAnswer:
        """The answer that a row belongs to."""
        for column in LONGEST:
            _check_length(values, column)
        self._add_order(values["order_seed"])
        item = self._item_number(values)
        key = (self._person_number(values), whole(values, "screen", 1), whole(values, "revision", 1))
        repeat, check = flag(values, "is_repeat"), flag(values, "is_check")
        if repeat and check:
            raise RowFault("is_repeat and is_check cannot both be set")
        skip = values.get("skip_reason") or None
        if skip and skip not in SKIP_REASONS:
            raise RowFault(f"skip_reason must be one of {', '.join(SKIP_REASONS)}, got {skip!r}")
        shown_at, submitted_at = _time(values, "first_shown_at"), _time(values, "submitted_at")
        if submitted_at is None:
            raise RowFault("submitted_at is empty")
        facts = (skip, values.get("comment", ""), shown_at, submitted_at, _milliseconds(values.get("active_seconds", "")),
                 values.get("app_version", ""))
        kind = "repeat" if repeat else "check" if check else "main"
        answer = self._known_answer(key)
        if answer is None:
            answer = StagedAnswer(*key, line, item, kind, [None, None], [None] * 6, *facts)
        elif (answer.item, answer.kind, answer.skip_reason, answer.submitted_at) != (item, kind, skip, submitted_at):
            raise RowFault(f"annotator {values['annotator']!r}, screen {key[1]} says something else than at row {answer.line}")
        if len(self._open) >= MOST_OPEN:
            self._to_disk(MOST_OPEN // 2)
        self._open[key] = answer
        self._open.move_to_end(key)
        return answer

    def _add_scores(self, answer: StagedAnswer, values: dict[str, str], side: int) -> None:
        for perspective in PERSPECTIVES if self.wide else (values["perspective"],):
            if perspective not in PERSPECTIVES:
                raise RowFault(f"perspective must be one of {', '.join(PERSPECTIVES)}, got {perspective!r}")
            cell = values[perspective if self.wide else "score"]
            place = 3 * (side - 1) + PERSPECTIVES.index(perspective)
            if answer.scores[place] is not None:
                raise RowFault(f"a second score of {perspective} for annotator {values['annotator']!r}, screen {answer.screen}, shown_as "
                               f"{side}, revision {answer.revision}")
            if answer.skip_reason is None:
                answer.scores[place] = whole({"score": cell}, "score", 0, 5)
            elif cell:
                raise RowFault("a skipped screen has no scores")

    @property
    def order(self) -> Order:
        """What the sides were drawn from; every row says it."""
        assert self._order is not None, "asked for once rows are in"
        return self._order

    def _add_order(self, cell: str) -> None:
        order = Order.of_cell(cell)
        if self._order is None:
            self._order = order
        elif order != self._order:
            raise RowFault("order_seed differs from the rows above; a file holds one study")

    def _person_number(self, values: dict[str, str]) -> int:
        excluded, label = flag(values, "excluded"), values["annotator"]
        number = self.people.setdefault(label, len(self.people))
        if number == len(self.labels):
            self.labels.append(label)
            self.excluded.append(excluded)
        elif self.excluded[number] != excluded:
            raise RowFault(f"annotator {label!r} is excluded in some rows and not in others")
        return number

    def _method_number(self, values: dict[str, str]) -> int:
        name = values["method"]
        if name == ORIGINAL:
            return ORIGINAL_NUMBER
        if name not in self.methods:
            _check_length(values, "method")
            self.methods[name] = len(self.methods)
        return self.methods[name]

    def _item_number(self, values: dict[str, str]) -> int:
        said = (values.get("edit_type", ""), values.get("instruction", ""))
        number, known = self._items.get(values["item"], (len(self._items), None))
        if known is None:
            self._items[values["item"]] = (number, hash(said))
            self._scratch.execute("insert into items values (?, ?, ?, ?)", (number, values["item"], *said))
        elif known != hash(said):
            raise RowFault(f"item {values['item']!r} has another instruction or edit_type than above")
        return number

    def _known_answer(self, key: tuple[int, int, int]) -> StagedAnswer | None:
        if key in self._open:
            return self._open[key]
        row = self._scratch.execute("select * from answers where person = ? and screen = ? and revision = ?", key).fetchone()
        return StagedAnswer.of(row) if row else None

    def _to_disk(self, count: int) -> None:
        """Those that have waited longest; whatever comes to one of them later brings it back."""
        rows = [self._open.popitem(last=False)[1].row() for _ in range(min(count, len(self._open)))]
        self._scratch.executemany(f"insert or replace into answers values ({', '.join('?' * 20)})", rows)

    # ------------------------------------------------------------------------------------------------------------- checking

    def check(self) -> Iterator[tuple[int, str]]:
        """What is wrong across rows, each with the line of the answer, once all rows are in; and number the pairs."""
        self._to_disk(len(self._open))
        faulty = False
        for answer in self._answers():
            if fault := answer.fault():
                faulty = True
                yield answer.line, fault
            elif answer.screen_kind in CHECKS:
                self._checked.setdefault(self._check_key(answer), [])
            else:
                self.pairs.setdefault(answer.pair, len(self.pairs))
        if faulty:
            return
        for pair in self.pairs:
            for place in (1, 2):
                if (of_edit := self._checked.get((pair[0], pair[place], place))) is not None:
                    of_edit.append(pair)
        if faults := list(self._pairs_of_checks_alone()):       # without a pair for each check, no screen can be told from another
            yield from faults
            return
        self._give_checks_their_pairs()
        yield from self._screens_told_twice()

    def _pairs_of_checks_alone(self) -> Iterator[tuple[int, str]]:
        for (item, method, place), of_edit in self._checked.items():
            if not of_edit:
                other = next((number for number in self.methods.values() if number != method), None)
                if other is None:
                    yield 0, f"a study compares two methods or more, got {next(iter(self.methods))}"
                    return
                of_edit.append((item, method, other) if place == 1 else (item, other, method))
                self.pairs.setdefault(of_edit[0], len(self.pairs))

    def _give_checks_their_pairs(self) -> None:
        """An edit may be part of several pairs, and no annotator has a check of a kind twice of one pair: first among the pairs in which
        the study's draw would have taken the edit, then, where these do not go round, among all that have it."""
        with_edit: dict[tuple[int, int], list[Pair]] = {}
        for pair in self.pairs:
            for method in pair[1:]:
                with_edit.setdefault((pair[0], method), []).append(pair)
        checks: dict[tuple[int, str], dict[int, tuple[int, int, int]]] = {}
        for answer in self._answers():
            if answer.screen_kind in CHECKS:
                checks.setdefault((answer.person, answer.screen_kind), {}).setdefault(answer.screen, self._check_key(answer))
        for (person, _), screens in checks.items():
            drawn = [self._checked[key] for key in screens.values()]
            given = _one_each(drawn)
            if None in given:
                given = _one_each([with_edit[key[:2]] for key in screens.values()])
            for screen, pair, possible in zip(screens, given, drawn, strict=True):
                self._of_check[person, screen] = pair or possible[0]

    def _screens_told_twice(self) -> Iterator[tuple[int, str]]:
        for _, screens in groupby(self._answers(), key=lambda answer: answer.person):
            seen: dict[tuple, int] = {}
            for screen, revisions in groupby(screens, key=lambda answer: answer.screen):
                answers = list(revisions)
                what = {(self._check_key(answer) if answer.screen_kind in CHECKS else answer.pair, answer.screen_kind)
                        for answer in answers}
                if len(what) > 1:
                    yield answers[-1].line, f"screen {screen} shows something else than in an earlier revision"
                elif (first := seen.setdefault((self.pair_of(answers[0]), answers[0].screen_kind), screen)) != screen:
                    yield answers[0].line, f"the annotator has the same pair on screens {first} and {screen}, and neither is a repeat"

    # -------------------------------------------------------------------------------------------------------------- giving

    def pair_of(self, answer: StagedAnswer) -> Pair:
        """The pair that a screen belongs to; a check's is the one that the study's own draw would have taken its edit from."""
        if answer.screen_kind in CHECKS:
            return self._of_check[answer.person, answer.screen]         # `check` has found one for each
        return answer.pair

    def items(self) -> Iterator[tuple[str, str, str]]:
        """Name, edit type and instruction, in the order of their numbers."""
        yield from self._scratch.execute("select name, edit_type, instruction from items order by number")

    def answer_count(self) -> int:
        return self._scratch.execute("select count(*) from answers").fetchone()[0]

    def screens(self) -> Iterator[tuple[str, list[StagedAnswer]]]:
        """The annotator's label and all revisions of a screen, by label and screen."""
        for label, number in sorted(self.people.items()):
            for _, revisions in groupby(self._answers(number), key=lambda answer: answer.screen):
                yield label, list(revisions)

    def _answers(self, person: int | None = None) -> Iterator[StagedAnswer]:
        where, given = ("", ()) if person is None else (" where person = ?", (person,))
        rows = self._scratch.cursor().execute(f"select * from answers{where} order by person, screen, revision", given)
        return map(StagedAnswer.of, rows)

    def _check_key(self, answer: StagedAnswer) -> tuple[int, int, int]:
        method = next(side for side in answer.shown if side != ORIGINAL_NUMBER)
        return answer.item, method, 1 + self.order.check_choice(self.labels[answer.person], answer.screen)


def _one_each(possible: list[list[Pair]]) -> list[Pair | None]:
    """A pair of its own for as many as can have one, each of its list."""
    columns = {pair: number for number, pair in enumerate(dict.fromkeys(chain.from_iterable(possible)))}
    table = np.zeros((len(possible), len(columns)), dtype=bool)
    for row, some in enumerate(possible):
        table[row, [columns[pair] for pair in some]] = True
    pairs = list(columns)
    return [pairs[place] if place >= 0 else None for place in maximum_bipartite_matching(csr_matrix(table), perm_type="column")]


# ------------------------------------------------------------------------------------------------------------------ cells

def whole(values: dict[str, str], column: str, low: int = 0, high: int = LARGEST) -> int:
    """A whole number of a cell. Raises RowFault."""
    cell = values[column].strip()
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not low <= number <= high or number != int(number):
        raise RowFault(f"{column} must be a whole number from {low}{f' to {high}' if high != LARGEST else ''}, got {cell[:40]!r}")
    return int(number)


def flag(values: dict[str, str], column: str) -> bool:
    """0 or 1 of a cell, an absent one is 0. Raises RowFault."""
    known = {"0": False, "1": True, "false": False, "true": True, "": False}
    cell = values.get(column, "").strip().lower()
    if cell not in known:
        raise RowFault(f"{column} must be 0 or 1, got {values[column][:40]!r}")
    return known[cell]


def _check_length(values: dict[str, str], column: str) -> None:
    if len(cell := values.get(column, "")) > LONGEST[column]:
        raise RowFault(f"{column} has {len(cell)} characters, at most {LONGEST[column]} can be kept")
    if not cell and column in NEEDED:
        raise RowFault(f"{column} is empty")


def _time(values: dict[str, str], column: str) -> int | None:
    moment = time_of(values.get(column, ""))
    if moment is not None and not 0 <= moment <= LATEST:
        raise RowFault(f"{column} must lie between 1970 and 9999, got {values[column][:40]!r}")
    return moment


def _milliseconds(cell: str) -> int | None:
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e9:
        raise RowFault(f"active_seconds must be a number from 0, got {cell[:40]!r}")
    return round(seconds * 1000)

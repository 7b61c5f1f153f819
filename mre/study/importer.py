"""An export of ours (long, wide or JSONL) back into a store, as a closed study without pictures; exported again, the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import DataError, StudyError
from mre.rewards import PERSPECTIVES
from mre.study import assignment, events, studies
from mre.study.cells import SIMULATED, restored, time_of
from mre.study.design import ORIGINAL, StudyDesign, checked_name
from mre.study.intake import StudyFaults, read_table
from mre.study.schema import SKIP_REASONS, annotators, answers, assignments, items, pairs, ratings
from mre.study.schema import studies as study_rows
from mre.study.store import Store
from mre.study.studies import Study

NEEDED = ("item", "annotator", "screen", "shown_as", "method", "revision", "is_repeat", "is_check", "submitted_at", "order_seed")
MAX_FAULTS = 200


@dataclass
class _Answer:
    """One answer (annotator, screen, revision), gathered from its rows."""

    place: str
    item: str
    kind: str
    sides: dict[int, str]                       # shown_as -> method
    scores: dict[tuple[int, str], int]          # (shown_as, perspective) -> score
    skip_reason: str | None
    comment: str
    first_shown_at: int | None
    submitted_at: int
    active_ms: int | None
    app_version: str


class _Fault(DataError):
    pass


def import_file(store: Store, name: str, path: Path, by: str = "researcher") -> Study:
    """Make a closed study NAME from an exported file. Raises StudyFaults naming every row that is not as we write them."""
    checked_name(name)
    rows = read_table(path)
    if not rows:
        raise DataError(f"{path}: no rows below the header")
    lacking = [column for column in NEEDED if column not in rows[0][1]]
    wide = "perspective" not in rows[0][1]
    lacking += [column for column in (PERSPECTIVES if wide else ("perspective", "score")) if column not in rows[0][1]]
    if lacking:
        raise DataError(f"{path}: no column {', '.join(lacking)}; this reads exports of `study export`, `compare` reads other ratings")
    plain = path.suffix.lower() in (".jsonl", ".ndjson")
    orders, item_rows, found, faults = set(), {}, {}, []
    for place, cells in rows:
        try:
            values = cells if plain else {key: restored(value) for key, value in cells.items()}
            orders.add(assignment.Order.of_cell(values["order_seed"]))
            _gather(place, values, wide, item_rows, found)
        except DataError as error:
            faults.append(f"{place}: {error}")
            if len(faults) >= MAX_FAULTS:
                break
    faults += [f"{answer.place}: {fault}" for answer in found.values() if (fault := _incomplete(answer))] if not faults else []
    if len(orders) > 1:
        faults.append(f"{path}: order_seed differs between rows; a file holds one study")
    if faults:
        raise StudyFaults(str(path), faults)
    with store.write() as connection:
        studies._refuse_taken(connection, name)
        _Writer(store, connection, name, orders.pop(), item_rows, found, by).write()
        return studies._find(connection, name)


# ---------------------------------------------------------------------------------------------------------------- reading

def _gather(place: str, values: dict[str, str], wide: bool, item_rows: dict[str, tuple], found: dict[tuple, _Answer]) -> None:
    for column in ("item", "annotator", "method"):
        if not values[column]:
            raise _Fault(f"{column} is empty")
    item = (values.get("edit_type", ""), values.get("instruction", ""))
    if item_rows.setdefault(values["item"], item) != item:
        raise _Fault(f"item {values['item']!r} has another instruction or edit_type than above")
    screen, side, revision = _whole(values, "screen", 1), _whole(values, "shown_as", 1, 2), _whole(values, "revision", 1)
    repeat, check = _flag(values, "is_repeat"), _flag(values, "is_check")
    if repeat and check:
        raise _Fault("is_repeat and is_check cannot both be set")
    skip = values.get("skip_reason") or None
    if skip and skip not in SKIP_REASONS:
        raise _Fault(f"skip_reason must be one of {', '.join(SKIP_REASONS)}, got {skip!r}")
    key = (values["annotator"], screen, revision)
    facts = (skip, values.get("comment", ""), time_of(values.get("first_shown_at", "")), time_of(values["submitted_at"]),
             _milliseconds(values.get("active_seconds", "")), values.get("app_version", ""))
    if facts[3] is None:
        raise _Fault("submitted_at is empty")
    answer = found.get(key)
    if answer is None:
        answer = found[key] = _Answer(place, values["item"], "repeat" if repeat else "check" if check else "main", {}, {}, *facts)
    elif (answer.item, answer.skip_reason, answer.submitted_at) != (values["item"], skip, facts[3]):
        raise _Fault(f"annotator {key[0]!r}, screen {screen} says something else than at {answer.place}")
    if answer.sides.setdefault(side, values["method"]) != values["method"]:
        raise _Fault(f"shown_as {side} of screen {screen} has two methods")
    for perspective in PERSPECTIVES if wide else (values["perspective"],):
        if perspective not in PERSPECTIVES:
            raise _Fault(f"perspective must be one of {', '.join(PERSPECTIVES)}, got {perspective!r}")
        cell = values[perspective if wide else "score"]
        if (side, perspective) in answer.scores:
            raise _Fault(f"a second score of {perspective} for annotator {key[0]!r}, screen {screen}, shown_as {side}, revision {revision}")
        if skip:
            if cell:
                raise _Fault("a skipped screen has no scores")
        else:
            answer.scores[side, perspective] = _whole({"score": cell}, "score", 0, 5)


def _incomplete(answer: _Answer) -> str | None:
    if set(answer.sides) != {1, 2}:
        return "the screen has one shown image, not two"
    if answer.skip_reason is None and len(answer.scores) != 2 * len(PERSPECTIVES):
        return f"the screen has {len(answer.scores)} scores, not six"
    if answer.kind == "check":
        answer.kind = "original" if ORIGINAL in answer.sides.values() else "identical"
    elif ORIGINAL in answer.sides.values() or answer.sides[1] == answer.sides[2]:
        return "the two shown images must be of two methods"
    if answer.kind == "identical" and answer.sides[1] != answer.sides[2]:
        return "a check shows one edit twice, or the original beside an edit"
    return None


def _whole(values: dict[str, str], column: str, low: int = 0, high: int | None = None) -> int:
    cell = values[column].strip()
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not number >= low or (high is not None and number > high) or number != int(number):
        bound = f"from {low} to {high}" if high is not None else f"from {low}"
        raise _Fault(f"{column} must be a whole number {bound}, got {cell!r}")
    return int(cell) if cell.lstrip("+-").isdigit() else int(number)


def _flag(values: dict[str, str], column: str) -> bool:
    known = {"0": False, "1": True, "false": False, "true": True, "": False}
    cell = values[column].strip().lower()
    if cell not in known:
        raise _Fault(f"{column} must be 0 or 1, got {values[column]!r}")
    return known[cell]


def _milliseconds(cell: str) -> int | None:
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e9:
        raise _Fault(f"active_seconds must be a number from 0, got {cell!r}")
    return round(seconds * 1000)


# ---------------------------------------------------------------------------------------------------------------- writing

class _Writer:
    """Puts gathered answers into the tables of a new study."""

    def __init__(self, store: Store, connection: Connection, name: str, order: assignment.Order, item_rows: dict[str, tuple],
                 found: dict[tuple, _Answer], by: str) -> None:
        self.store, self.connection, self.name, self.order, self.by = store, connection, name, order, by
        self.item_rows, self.found = item_rows, found

    def write(self) -> None:
        names = list(dict.fromkeys(method for answer in self.found.values() for _side, method in sorted(answer.sides.items())
                                   if method != ORIGINAL))
        now = self.store.clock()
        design = StudyDesign(seed=self.order.seed, per_pair=1, repeats=0, checks=0)
        self.study_id = studies._insert_study(self.connection, self.name, 1, design, now)
        self.connection.execute(study_rows.update().where(study_rows.c.id == self.study_id).values(
            state="closed", closed_at=now, order_secret=self.order.secret))
        self.methods = studies._insert_methods(self.connection, self.study_id, names)
        self.items = self._named(items, "name", [
            {"position": position, "name": item, "edit_type": edit_type, "instruction": instruction}
            for position, (item, (edit_type, instruction)) in enumerate(self.item_rows.items())])
        people = sorted({label for label, _screen, _revision in self.found})
        simulated = [bool(SIMULATED.fullmatch(label)) for label in people]
        self.people = self._named(annotators, "label", [
            {"label": label, "language": "en", "joined_at": now, "consented_at": now, "simulated": drawn}
            for label, drawn in zip(people, simulated, strict=True)])
        self.connection.execute(study_rows.update().where(study_rows.c.id == self.study_id).values(simulated=all(simulated)))
        events.record(self.connection, self.study_id, now, self.by, "import", {"answers": len(self.found)})
        self.pairs = self._make_pairs(names)
        screens = self._make_screens()
        self._make_answers(screens)

    def _named(self, table: sa.Table, column: str, rows: Iterable[dict]) -> dict[str, int]:
        self.connection.execute(table.insert(), [{"study_id": self.study_id, **row} for row in rows])
        return dict(self.connection.execute(sa.select(table.c[column], table.c.id).where(table.c.study_id == self.study_id)).all())

    def _make_pairs(self, names: list[str]) -> dict[tuple, int]:
        """Pairs as (item, first, second), methods in order of appearance; a check needs one that holds its method."""
        rank = {name: place for place, name in enumerate(names)}
        wanted: dict[tuple, None] = {}
        for answer in self.found.values():
            shown = [method for method in answer.sides.values() if method != ORIGINAL]
            if len(set(shown)) == 2:
                wanted[answer.item, *sorted(shown, key=rank.__getitem__)] = None
        for (label, screen, _revision), answer in self.found.items():
            if answer.kind in ("identical", "original"):
                wanted.setdefault(self._pair_of_check(label, screen, answer, list(wanted), rank))
        self.connection.execute(pairs.insert(), [
            {"study_id": self.study_id, "item_id": self.items[item], "first_method": self.methods[first],
             "second_method": self.methods[second]} for item, first, second in wanted])
        by_id = {value: key for key, value in self.items.items()}
        method_of = {value: key for key, value in self.methods.items()}
        return {(by_id[row.item_id], method_of[row.first_method], method_of[row.second_method]): row.id for row in
                self.connection.execute(sa.select(pairs).where(pairs.c.study_id == self.study_id))}

    def _pair_of_check(self, label: str, screen: int, answer: _Answer, known: Iterable[tuple], rank: dict[str, int]) -> tuple:
        """The pair whose edit the check showed: the one that the study's own draw would have taken it from."""
        method = next(method for method in answer.sides.values() if method != ORIGINAL)
        place = 1 + self.order.check_choice(label, screen)
        for pair in known:
            if pair[0] == answer.item and pair[place] == method:
                return pair
        other = next((name for name in rank if name != method), None)
        if other is None:
            raise StudyError(f"{answer.place}: a study compares two methods or more, got {method}")
        return (answer.item, method, other) if place == 1 else (answer.item, other, method)

    def _pair_key(self, label: str, screen: int, answer: _Answer) -> tuple:
        shown = list(answer.sides.values())
        if answer.kind in ("identical", "original"):
            return self._pair_of_check(label, screen, answer, self.pairs, self.methods)
        return next(key for key in ((answer.item, *shown), (answer.item, *reversed(shown))) if key in self.pairs)

    def _make_screens(self) -> dict[tuple[str, int], int]:
        slots: dict[tuple, int] = {}
        rows: dict[tuple[str, int], dict] = {}
        for (label, screen, revision), answer in sorted(self.found.items()):
            pair = self._pair_key(label, screen, answer)
            if (label, screen) not in rows:
                slot = slots[pair] = slots.get(pair, -1) + 1 if answer.kind == "main" else slots.get(pair, -1)
                left = answer.sides[1]
                swapped = left == pair[2] if answer.kind in ("main", "repeat") else left != ORIGINAL if answer.kind == "original" else (
                    self.order.side_order(label, screen) == 1)
                rows[label, screen] = {
                    "study_id": self.study_id, "pair_id": self.pairs[pair], "kind": answer.kind,
                    "slot": slot if answer.kind == "main" else None, "side_order": int(swapped), "shuffle_key": 0,
                    "annotator_id": self.people[label], "screen": screen, "first_shown_at": answer.first_shown_at}
            rows[label, screen] |= {"state": "skipped" if answer.skip_reason else "done", "revision": revision}
        self.connection.execute(assignments.insert(), list(rows.values()))
        label_of = {value: key for key, value in self.people.items()}
        return {(label_of[row.annotator_id], row.screen): row.id for row in self.connection.execute(
            sa.select(assignments.c.id, assignments.c.annotator_id, assignments.c.screen).where(assignments.c.study_id == self.study_id))}

    def _make_answers(self, screens: dict[tuple[str, int], int]) -> None:
        last: dict[tuple[str, int], int] = {}
        for label, screen, revision in self.found:
            last[label, screen] = max(revision, last.get((label, screen), 0))
        self.connection.execute(answers.insert(), [
            {"study_id": self.study_id, "assignment_id": screens[label, screen], "revision": revision,
             "is_final": last[label, screen] == revision, "idempotency_key": f"import-{revision:06d}",
             "submitted_at": answer.submitted_at, "active_ms": answer.active_ms, "skip_reason": answer.skip_reason,
             "comment": answer.comment, "viewport": "", "app_version": answer.app_version}
            for (label, screen, revision), answer in self.found.items()])
        ids = {(row.assignment_id, row.revision): row.id for row in self.connection.execute(
            sa.select(answers.c.id, answers.c.assignment_id, answers.c.revision).where(answers.c.study_id == self.study_id))}
        rows = []
        for (label, screen, revision), answer in self.found.items():
            for side in (1, 2) if answer.scores else ():
                rows.append({
                    "study_id": self.study_id, "answer_id": ids[screens[label, screen], revision],
                    "assignment_id": screens[label, screen], "annotator_id": self.people[label], "item_id": self.items[answer.item],
                    "method_id": self.methods.get(answer.sides[side]), "kind": answer.kind, "shown_as": side,
                    "is_final": last[label, screen] == revision,
                    **{perspective: answer.scores[side, perspective] for perspective in PERSPECTIVES}})
            if revision == last[label, screen]:
                told = ({"reason": answer.skip_reason} if answer.skip_reason else
                        {"scores": [[answer.scores[side, name] for name in PERSPECTIVES] for side in (1, 2)]})
                events.record(self.connection, self.study_id, answer.submitted_at, label, "skip" if answer.skip_reason else "answer",
                              {"screen": screen, "revision": revision, "comment": "", **told})
        if rows:
            self.connection.execute(ratings.insert(), rows)

"""An export of ours (long, wide or JSONL) back into a store, as a closed study without pictures; exported again, the same bytes.

The file is read as a stream and written in short transactions, so that annotators go on working meanwhile and memory stays small. Until
the last of them the study goes by a name that nobody can ask for: it is there whole, or not at all. What a killed import leaves is taken
away by the next one, or when the studio starts. (On PostgreSQL, where a long transaction holds up nobody, it is all one transaction.)
"""

from __future__ import annotations

import secrets
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import DataError, StudyError
from mre.files import read_table
from mre.rewards import PERSPECTIVES
from mre.study import events, records, studies
from mre.study.cells import SIMULATED
from mre.study.design import StudyDesign, checked_name
from mre.study.intake import StudyFaults
from mre.study.schema import annotators, answers, assignments, exclusions, imports, items, methods, pairs, ratings
from mre.study.schema import studies as study_rows
from mre.study.staged_answers import ORIGINAL_NUMBER, StagedAnswer, StagedAnswers
from mre.study.store import Store, StoreUnavailable

if TYPE_CHECKING:
    from mre.study.records import Study

MAX_FAULTS = 200
BATCH = 300                     # rows, or screens with their answers, in one transaction
REST = 0.5                      # after it, of the time that it took, and while the file is read: others come in between
STALE_MS = 120_000              # an import that has written nothing for so long has been killed
OUT_OF_SIGHT = "~"              # begins no name that a study can be given
LOOK_EVERY = 500                # rows read between two looks at the file's place and at `should_stop`
OnProgress = Callable[[str, int, int], None]         # what is done ("reading", "checking", "writing"), how much of it, of how much


class ImportStopped(StudyError):
    """An import that was ended on request. Nothing of it is left."""


def import_file(store: Store, name: str, path: Path, by: str = "researcher", *, on_progress: OnProgress = lambda what, done, of: None,
                should_stop: Callable[[], bool] = lambda: False) -> Study:
    """Make a closed study NAME from an exported file. Raises StudyFaults naming every row that is not as we write them, ImportStopped."""
    checked_name(name)
    drop_unfinished(store)
    with store.read() as connection:
        studies._refuse_taken(connection, name)
    staged = _staged(path, on_progress, should_stop)
    try:
        _Writer(store, name, staged, by, on_progress, should_stop).write()
    finally:
        staged.close()
    return records.find_study(store, name)


def _staged(path: Path, on_progress: OnProgress, should_stop: Callable[[], bool]) -> StagedAnswers:
    """All answers of the file, checked. Raises StudyFaults."""
    staged, faults, size, began = None, [], path.stat().st_size if path.is_file() else 0, time.perf_counter()
    try:
        for number, (line, values, place) in enumerate(_rows_of(path)):
            try:
                if staged is None:
                    staged = StagedAnswers(set(values))
                staged.add(line, values)
            except DataError as error:
                if staged is None:
                    raise DataError(f"{path}: {error}") from error
                faults.append(f"{path}: row {line}: {error}")
                if len(faults) >= MAX_FAULTS:
                    break
            if number % LOOK_EVERY == 0:
                _go_on(should_stop)
                on_progress("reading", place(), size)
                time.sleep(REST * (time.perf_counter() - began))
                began = time.perf_counter()
        if staged is None:
            raise DataError(f"{path}: no rows below the header")
        if not faults:
            on_progress("checking", 0, 1)
            faults = [f"{path}: row {line}: {fault}" if line else f"{path}: {fault}" for line, fault in islice(staged.check(), MAX_FAULTS)]
        if faults:
            raise StudyFaults(str(path), faults)
        return staged
    except BaseException:
        if staged:
            staged.close()
        raise


def _rows_of(path: Path) -> Iterator[tuple[int, dict[str, str], Callable[[], int]]]:
    """Rows with their lines, and what tells how far the file has been read."""
    try:
        with path.open("rb") as file:
            for line, values in read_table(file, str(path)):
                yield line, values, file.tell
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _go_on(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise ImportStopped("the import was stopped; nothing of it is kept")


# ---------------------------------------------------------------------------------------------------------------- writing

class _Writer:
    """Puts checked answers into the tables of a new study."""

    def __init__(self, store: Store, name: str, staged: StagedAnswers, by: str, on_progress: OnProgress,
                 should_stop: Callable[[], bool]) -> None:
        self.store, self.name, self.staged, self.by = store, name, staged, by
        self.on_progress, self.should_stop = on_progress, should_stop
        self.study_id = 0
        self.digest = events.RatingsDigest()

    def write(self) -> None:
        """All of it, or nothing."""
        try:
            with self._transactions():
                self._begin()
                self._write_names()
                self._write_screens()
                self._end()
        except BaseException:
            if self.store.is_sqlite and self.study_id:
                _drop(self.store, self.study_id)
            raise

    @contextmanager
    def _transactions(self) -> Iterator[None]:
        """On PostgreSQL all that follows is one transaction; SQLite, where a change holds up all others, gets many short ones."""
        with nullcontext() if self.store.is_sqlite else self.store.write() as self._one:
            yield

    @contextmanager
    def _batch(self) -> Iterator[Connection]:
        _go_on(self.should_stop)
        if self._one is not None:
            yield self._one
            return
        began = time.perf_counter()
        with self.store.write() as connection:
            if self.study_id:
                seen = imports.update().where(imports.c.study_id == self.study_id).values(seen_at=self.store.clock())
                if not connection.execute(seen).rowcount:
                    raise StudyError(f"the import of {self.name} stood still for too long and was taken away; please start it again")
            yield connection
        time.sleep(REST * (time.perf_counter() - began))

    def _begin(self) -> None:
        now, order = self.store.clock(), self.staged.order
        design = StudyDesign(seed=order.seed, per_pair=1, repeats=0, checks=0)
        with self._batch() as connection:
            study_id = studies._insert_study(connection, OUT_OF_SIGHT + secrets.token_hex(16), 1, design, now)
            connection.execute(study_rows.update().where(study_rows.c.id == study_id).values(
                order_secret=order.secret, simulated=all(map(SIMULATED.fullmatch, self.staged.labels))))
            connection.execute(imports.insert().values(study_id=study_id, seen_at=now))
        self.study_id = study_id

    def _write_names(self) -> None:
        """Methods, items, annotators and pairs; their ids are kept by their numbers in the file."""
        now, staged = self.store.clock(), self.staged
        self.methods = self._write_rows(methods, ({"position": number, "name": name} for name, number in staged.methods.items()))
        self.items = self._write_rows(items, (
            {"position": number, "name": name, "edit_type": edit_type, "instruction": instruction}
            for number, (name, edit_type, instruction) in enumerate(staged.items())))
        self.people = self._write_rows(annotators, (
            {"label": label, "language": "en", "joined_at": now, "consented_at": now, "simulated": bool(SIMULATED.fullmatch(label))}
            for label in staged.labels))
        self.pairs = self._write_rows(pairs, (
            {"item_id": self.items[item], "first_method": self.methods[first], "second_method": self.methods[second]}
            for item, first, second in staged.pairs))

    def _write_rows(self, table: sa.Table, rows: Iterable[dict]) -> array:
        """The ids of the rows, in their order."""
        ids = array("q")
        for part in batched(rows, BATCH):
            with self._batch() as connection:
                new = self.store.new_ids(connection, table, len(part))
                connection.execute(table.insert(), [{"id": number, "study_id": self.study_id, **row}
                                                    for number, row in zip(new, part, strict=True)])
            ids.extend(new)
        return ids

    def _write_screens(self) -> None:
        done, total = 0, self.staged.answer_count()
        slots = array("i", bytes(4 * len(self.pairs)))
        for screens in batched(self.staged.screens(), BATCH):
            rows: dict[sa.Table, list[dict]] = {assignments: [], answers: [], ratings: []}
            with self._batch() as connection:
                screen_ids = self.store.new_ids(connection, assignments, len(screens))
                answer_ids = iter(self.store.new_ids(connection, answers, sum(len(revisions) for _, revisions in screens)))
                for screen_id, (label, revisions) in zip(screen_ids, screens, strict=True):
                    rows[assignments].append(self._screen_row(screen_id, label, revisions, slots))
                    for answer in revisions:
                        self._add_answer(rows, screen_id, next(answer_ids), answer, answer is revisions[-1])
                    last = revisions[-1]
                    if last.skip_reason is None:
                        self.digest.add(label, last.screen, (last.scores[:3], last.scores[3:]))
                    done += len(revisions)
                for table, part in rows.items():
                    if part:
                        connection.execute(table.insert(), part)
            self.on_progress("writing", done, total)

    def _screen_row(self, screen_id: int, label: str, revisions: list[StagedAnswer], slots: array) -> dict:
        first, last = revisions[0], revisions[-1]
        pair, kind = self.staged.pair_of(first), first.screen_kind
        number = self.staged.pairs[pair]
        slot = None                             # of screens that do not count
        if kind == "main" and last.skip_reason is None:
            slot = slots[number]
            slots[number] += 1
        left = first.sides[0]
        swapped = (left == pair[2] if kind in ("main", "repeat") else left != ORIGINAL_NUMBER if kind == "original" else
                   self.staged.order.side_order(label, first.screen) == 1)
        return {"id": screen_id, "study_id": self.study_id, "pair_id": self.pairs[number], "kind": kind, "slot": slot,
                "side_order": int(swapped), "shuffle_key": 0, "annotator_id": self.people[first.person], "screen": first.screen,
                "first_shown_at": first.first_shown_at, "state": "skipped" if last.skip_reason else "done", "revision": last.revision}

    def _add_answer(self, rows: dict[sa.Table, list[dict]], screen_id: int, answer_id: int, answer: StagedAnswer, final: bool) -> None:
        rows[answers].append({
            "id": answer_id, "study_id": self.study_id, "assignment_id": screen_id, "revision": answer.revision, "is_final": final,
            "idempotency_key": f"import-{answer.revision:06d}", "submitted_at": answer.submitted_at, "active_ms": answer.active_ms,
            "skip_reason": answer.skip_reason, "comment": answer.comment, "viewport": "", "app_version": answer.app_version})
        for side in (0, 1) if answer.skip_reason is None else ():
            method = answer.shown[side]
            rows[ratings].append({
                "study_id": self.study_id, "answer_id": answer_id, "assignment_id": screen_id, "annotator_id": self.people[answer.person],
                "item_id": self.items[answer.item], "method_id": None if method == ORIGINAL_NUMBER else self.methods[method],
                "kind": answer.screen_kind, "shown_as": side + 1, "is_final": final,
                **dict(zip(PERSPECTIVES, answer.scores[3 * side:3 * side + 3], strict=True))})

    def _end(self) -> None:
        """The study gets its name: from now on it is there."""
        now = self.store.clock()
        told = {"answers": self.staged.answer_count(), "ratings": self.digest.hexdigest()}
        with self._batch() as connection:
            studies._refuse_taken(connection, self.name)
            events.record(connection, self.study_id, now, self.by, "import", told)
            for label, excluded in sorted(zip(self.staged.labels, self.staged.excluded, strict=True)):
                if excluded:
                    reason = "excluded in the imported file"
                    connection.execute(exclusions.insert().values(
                        study_id=self.study_id, annotator_id=self.people[self.staged.people[label]], reason=reason, decided_by=self.by,
                        decided_at=now))
                    events.record(connection, self.study_id, now, self.by, "exclude", {"annotator": label, "reason": reason})
            connection.execute(study_rows.update().where(study_rows.c.id == self.study_id).values(
                name=self.name, state="closed", closed_at=now))
            connection.execute(imports.delete().where(imports.c.study_id == self.study_id))
        self.study_id = 0


# --------------------------------------------------------------------------------------------------------------- clearing

def drop_unfinished(store: Store) -> None:
    """Take away what killed imports have left, a little at a time. Nobody has ever seen it."""
    with suppress(StoreUnavailable):            # then the next one does
        with store.read() as connection:
            stale = connection.execute(sa.select(imports.c.study_id).where(imports.c.seen_at < store.clock() - STALE_MS)).scalars().all()
        for study_id in stale:
            _drop(store, study_id)


def _drop(store: Store, study_id: int) -> None:
    """Delete a study that is still out of sight, in short transactions; its notice in `imports` goes last."""
    def some(table: sa.Table) -> sa.Select:
        return sa.select(table.c.id).where(table.c.study_id == study_id).limit(4 * BATCH)

    def one_batch(connection: Connection) -> int:
        if connection.execute(sa.select(imports.c.study_id).where(imports.c.study_id == study_id)).first() is None:
            return 0                            # it has come into sight, or somebody else was quicker
        if ids := connection.execute(some(assignments)).scalars().all():
            given = sa.select(answers.c.id).where(answers.c.assignment_id.in_(ids))
            connection.execute(ratings.delete().where(ratings.c.answer_id.in_(given)))
            connection.execute(answers.delete().where(answers.c.assignment_id.in_(ids)))
            connection.execute(assignments.delete().where(assignments.c.id.in_(ids)))
            return len(ids)
        for table in (pairs, items, annotators, methods):
            if ids := connection.execute(some(table)).scalars().all():
                connection.execute(table.delete().where(table.c.id.in_(ids)))
                return len(ids)
        connection.execute(study_rows.delete().where(study_rows.c.id == study_id))
        connection.execute(imports.delete().where(imports.c.study_id == study_id))
        return 0

    while True:
        began = time.perf_counter()
        with store.write(check_references=False) as connection:
            if not one_batch(connection):
                return
        time.sleep(REST * (time.perf_counter() - began))


def batched(rows: Iterable, size: int) -> Iterator[list]:
    """The rows, so many at a time."""
    rows = iter(rows)
    while part := list(islice(rows, size)):
        yield part

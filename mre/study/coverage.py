"""How far a study is: pairs complete, scored, open and skipped screens, and which pairs annotators skip and why. Counted, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mre.study import slots
from mre.study.queries import standing_exclusions
from mre.study.records import find_study
from mre.study.schema import annotators, answers, assignments, items, methods, pairs, stops

if TYPE_CHECKING:
    from mre.study.store import Store


@dataclass(frozen=True)
class Coverage:
    """How far a study is. Each pair has `per_pair` slots, one for each score it is to get (`slots`)."""

    pairs: int
    per_pair: int
    pairs_complete: int         # all of their slots are scored
    pairs_set_aside: int        # of the others: skipped by too many, offered no more
    slots_done: int
    slots_held: int
    slots_open: int             # those of pairs that are set aside are not among them
    slots_set_aside: int
    slots_excluded: int         # of those done: scored by annotators who are left out of the analysis
    skipped: int                # screens of pairs that were skipped
    surplus: int                # scored screens beyond `per_pair`: of somebody taken in again after their pairs had been collected again
    annotators: int
    stopped: int                # annotators whose visit a rule has ended
    excluded: int


def coverage(store: Store, name: str) -> Coverage:
    study = find_study(store, name)
    main = sa.and_(assignments.c.study_id == study.id, assignments.c.kind == "main")
    in_slot = sa.and_(main, assignments.c.slot.is_not(None))
    aside, left_out = slots.set_aside(study.id), standing_exclusions(study)
    with store.read() as connection:
        def count(*where: sa.ColumnElement[bool]) -> int:
            return connection.execute(sa.select(sa.func.count()).select_from(assignments).where(*where)).scalar_one()

        total = connection.execute(sa.select(sa.func.count()).where(pairs.c.study_id == study.id)).scalar_one()
        states = dict(connection.execute(sa.select(assignments.c.state, sa.func.count()).where(in_slot)
                                         .group_by(assignments.c.state)).all())
        done = sa.select(assignments.c.pair_id).where(in_slot, assignments.c.state == "done").group_by(assignments.c.pair_id)
        complete = done.having(sa.func.count() >= study.design.per_pair)
        pairs_complete = connection.execute(sa.select(sa.func.count()).select_from(complete.subquery())).scalar_one()
        pairs_aside = connection.execute(sa.select(sa.func.count()).select_from(
            aside.where(pairs.c.id.not_in(complete)).subquery())).scalar_one()
        open_aside = count(in_slot, assignments.c.state == "open", assignments.c.pair_id.in_(aside))
        people = connection.execute(sa.select(sa.func.count()).where(annotators.c.study_id == study.id)).scalar_one()
        return Coverage(
            total, study.design.per_pair, pairs_complete, pairs_aside, states.get("done", 0), states.get("leased", 0),
            states.get("open", 0) - open_aside, open_aside,
            count(in_slot, assignments.c.state == "done", assignments.c.annotator_id.in_(left_out)),
            count(main, assignments.c.state == "skipped"),
            count(main, assignments.c.state == "done", assignments.c.slot.is_(None), assignments.c.annotator_id.not_in(left_out)), people,
            connection.execute(sa.select(sa.func.count()).where(stops.c.study_id == study.id, stops.c.lifted_at.is_(None))).scalar_one(),
            connection.execute(sa.select(sa.func.count()).select_from(left_out.subquery())).scalar_one())


@dataclass(frozen=True)
class SkippedPair:
    """A pair that annotators have skipped: who was shown what is in the export, here is why it was skipped."""

    item: str
    first_method: str
    second_method: str
    skips: int
    reasons: dict[str, int]
    scored: int
    set_aside: bool


def skipped_pairs(store: Store, name: str) -> list[SkippedPair]:
    """Pairs that were skipped, those that are set aside first, then by how many skipped them."""
    study = find_study(store, name)
    first, second = methods.alias("first"), methods.alias("second")
    skip = sa.and_(assignments.c.study_id == study.id, assignments.c.kind == "main", assignments.c.state == "skipped")
    with store.read() as connection:
        reasons: dict[int, dict[str, int]] = {}
        for pair, reason, count in connection.execute(
                sa.select(assignments.c.pair_id, answers.c.skip_reason, sa.func.count())
                .join(answers, sa.and_(answers.c.assignment_id == assignments.c.id, answers.c.is_final)).where(skip)
                .group_by(assignments.c.pair_id, answers.c.skip_reason)):
            reasons.setdefault(pair, {})[reason] = count
        scored = dict(connection.execute(
            sa.select(assignments.c.pair_id, sa.func.count()).where(
                assignments.c.kind == "main", assignments.c.state == "done", assignments.c.slot.is_not(None),
                assignments.c.pair_id.in_(sa.select(assignments.c.pair_id).where(skip)))
            .group_by(assignments.c.pair_id)).all())
        rows = connection.execute(
            sa.select(pairs.c.id, pairs.c.set_aside_at, items.c.name, first.c.name, second.c.name)
            .join(items, items.c.id == pairs.c.item_id).join(first, first.c.id == pairs.c.first_method)
            .join(second, second.c.id == pairs.c.second_method).where(pairs.c.study_id == study.id).order_by(pairs.c.id)).all()
    found = [SkippedPair(item, one, other, sum(reasons[pair].values()), dict(sorted(reasons[pair].items())), scored.get(pair, 0),
                         aside is not None)
             for pair, aside, item, one, other in rows if pair in reasons]
    return sorted(found, key=lambda pair: (not pair.set_aside, -pair.skips))

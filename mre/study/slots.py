"""Slots: what a pair still needs. Each of its k slots is filled by one screen that counts, or by an open one that waits for somebody.

A screen that does not count any more (skipped, or to be collected again) keeps its annotator and its answer and gives its slot to a new
open screen with the same side order: so a pair is complete only with k scored answers, and their two orders differ by at most one. All
functions run inside a transaction that holds the study's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.study import events
from mre.study.schema import assignments, exclusions, items, pairs, picture_tokens, stops

CHUNK = 500             # ids in one statement
_COPIED = ("study_id", "pair_id", "kind", "slot", "side_order", "shuffle_key")


def give_back(connection: Connection, ids: Sequence[int]) -> None:
    """Open the slots behind these screens for others; screens without a slot, which nobody waits for, go."""
    if not ids:
        return
    pair_ids = connection.execute(sa.select(assignments.c.pair_id).where(assignments.c.id.in_(ids), assignments.c.slot.is_not(None))
                                  .distinct()).scalars().all()
    connection.execute(picture_tokens.delete().where(picture_tokens.c.assignment_id.in_(ids)))
    connection.execute(assignments.delete().where(assignments.c.id.in_(ids), assignments.c.slot.is_(None)))
    connection.execute(assignments.update().where(assignments.c.id.in_(ids)).values(
        annotator_id=None, screen=None, state="open", token=None, leased_at=None, lease_expires_at=None, first_shown_at=None, revision=0,
        draft=None))
    _fill_from_surplus(connection, pair_ids, ())


def release(connection: Connection, ids: Iterable[int]) -> int:
    """Let open screens take the slots of these; returns how many had one."""
    freed = 0
    for part in _chunks(ids):
        rows = connection.execute(sa.select(assignments.c.id, *(assignments.c[name] for name in _COPIED))
                                  .where(assignments.c.id.in_(part), assignments.c.slot.is_not(None), assignments.c.state != "open")).all()
        if rows:
            connection.execute(assignments.update().where(assignments.c.id.in_([row.id for row in rows])).values(slot=None))
            connection.execute(assignments.insert(), [{**{name: getattr(row, name) for name in _COPIED}, "state": "open", "revision": 0}
                                                      for row in rows])
            _fill_from_surplus(connection, [row.pair_id for row in rows], part)
        freed += len(rows)
    return freed


def take_back(connection: Connection, assignment_id: int) -> bool:
    """Give a screen without a slot one of its pair's that is still open, with the same side order. False when there is none."""
    screen = connection.execute(sa.select(assignments.c.pair_id, assignments.c.side_order).where(assignments.c.id == assignment_id)).one()
    free = connection.execute(sa.select(assignments.c.id, assignments.c.slot).where(
        assignments.c.pair_id == screen.pair_id, assignments.c.state == "open", assignments.c.side_order == screen.side_order)
        .order_by(assignments.c.slot).limit(1)).first()
    if free is None:
        return False
    connection.execute(assignments.delete().where(assignments.c.id == free.id))
    connection.execute(assignments.update().where(assignments.c.id == assignment_id).values(slot=free.slot))
    return True


def _fill_from_surplus(connection: Connection, pair_ids: Sequence[int], but: Sequence[int]) -> None:
    """Let surplus screens of these pairs count where a slot has come free: scored ones without a slot (`but` some) of people in the
    analysis. There are any only after somebody was taken in again whose pairs others had scored meanwhile."""
    surplus = sa.select(assignments.c.id).where(
        assignments.c.pair_id.in_(pair_ids), assignments.c.kind == "main", assignments.c.state == "done", assignments.c.slot.is_(None),
        assignments.c.id.not_in(but),
        assignments.c.annotator_id.not_in(sa.select(exclusions.c.annotator_id).where(exclusions.c.lifted_at.is_(None))))
    for assignment_id in connection.execute(surplus.order_by(assignments.c.id)).scalars().all():
        take_back(connection, assignment_id)


# ---------------------------------------------------------------------------------------------------------------- setting aside

def set_aside(study_id: int) -> sa.Select:
    """Ids of the study's pairs that are offered no more."""
    return sa.select(pairs.c.id).where(pairs.c.study_id == study_id, pairs.c.set_aside_at.is_not(None))


def settle_pairs(connection: Connection, study_id: int, most_skips: int, pair_ids: Iterable[int], now: int) -> None:
    """Set aside those of these pairs that `most_skips` annotators or more have skipped, and offer the others; the log tells changes.

    Skips of people who are excluded, or whose visit was ended, do not count: whoever skips everything sets nothing aside.
    """
    if not most_skips:
        return
    for part in _chunks(pair_ids):
        skips = dict(connection.execute(
            sa.select(assignments.c.pair_id, sa.func.count()).where(assignments.c.pair_id.in_(part), _counted_skip())
            .group_by(assignments.c.pair_id)).all())
        rows = connection.execute(sa.select(pairs.c.id, pairs.c.set_aside_at, items.c.name).join(items, items.c.id == pairs.c.item_id)
                                  .where(pairs.c.id.in_(part)).order_by(pairs.c.id)).all()
        for row in rows:
            many = skips.get(row.id, 0) >= most_skips
            if many != (row.set_aside_at is not None):
                connection.execute(pairs.update().where(pairs.c.id == row.id).values(set_aside_at=now if many else None))
                events.record(connection, study_id, now, "rule", "set aside" if many else "offer again",
                              {"pair": row.id, "item": row.name, "skips": skips.get(row.id, 0)})


def skipped_pairs(connection: Connection, annotator_id: int) -> Sequence[int]:
    """Pairs that the annotator has skipped."""
    return connection.execute(sa.select(assignments.c.pair_id).where(
        assignments.c.annotator_id == annotator_id, assignments.c.kind == "main", assignments.c.state == "skipped")).scalars().all()


def _counted_skip() -> sa.ColumnElement[bool]:
    gone = sa.union_all(sa.select(stops.c.annotator_id).where(stops.c.lifted_at.is_(None)),
                        sa.select(exclusions.c.annotator_id).where(exclusions.c.lifted_at.is_(None)))
    return sa.and_(assignments.c.kind == "main", assignments.c.state == "skipped", assignments.c.annotator_id.not_in(gone))


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    ids = list(ids)
    for start in range(0, len(ids), CHUNK):
        yield ids[start:start + CHUNK]

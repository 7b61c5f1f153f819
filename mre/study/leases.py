"""Which screen an annotator gets next, and for how long: the rules of `assignment` over the rows of the store.

All functions run inside a transaction that holds the study's lock, so that no two annotators are given one slot.
"""

from __future__ import annotations

import hashlib
import secrets
import statistics
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.study import assignment, events, queries, slots
from mre.study.schema import CHECKS, annotators, answers, assignments, edits, images, insert_row, items, pairs, picture_tokens
from mre.study.schema import events as event_rows

if TYPE_CHECKING:
    from mre.study.records import Study
    from mre.study.visit import Annotator

CANDIDATES = 8          # looked at for one whose photo was not on the screen before


def lease_ms(study: Study) -> int:
    return int(study.design.lease_minutes * 60_000)


# ---------------------------------------------------------------------------------------------------------------- holding

def renew(connection: Connection, study: Study, annotator_id: int, now: int) -> list[int]:
    """Ids of the screens that the annotator holds, in their order; their leases begin anew."""
    mine = sa.and_(assignments.c.annotator_id == annotator_id, assignments.c.state == "leased")
    held = list(connection.execute(sa.select(assignments.c.id).where(mine).order_by(assignments.c.screen)).scalars())
    if held:
        connection.execute(assignments.update().where(mine).values(lease_expires_at=now + lease_ms(study)))
    return held


def take_expired(connection: Connection, study: Study, annotator_id: int, now: int) -> bool:
    """Free the screens that others have left alone for longer than a lease. True when there were any.

    A lease that ends later than one that begins now was given before the clock was set back: it begins anew.
    """
    ends = now + lease_ms(study)
    connection.execute(assignments.update().where(
        assignments.c.study_id == study.id, assignments.c.state == "leased", assignments.c.lease_expires_at > ends)
        .values(lease_expires_at=ends))
    rows = connection.execute(
        sa.select(assignments.c.id, assignments.c.token, assignments.c.screen, annotators.c.label)
        .join(annotators, annotators.c.id == assignments.c.annotator_id)
        .where(assignments.c.study_id == study.id, assignments.c.state == "leased", assignments.c.lease_expires_at <= now,
               assignments.c.annotator_id != annotator_id)).all()
    slots.give_back(connection, [row.id for row in rows])
    for row in rows:
        events.record(connection, study.id, now, row.label, "lease expired", {"screen": row.screen, "token": _token_digest(row.token)})
    return bool(rows)


def was_taken_from(connection: Connection, annotator: Annotator, token: str) -> bool:
    """Whether this screen token was the annotator's until its lease expired."""
    return connection.execute(sa.select(event_rows.c.id).where(
        event_rows.c.study_id == annotator.study.id, event_rows.c.actor == annotator.label, event_rows.c.kind == "lease expired",
        event_rows.c.details.contains(_token_digest(token)))).first() is not None


def _token_digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()[:32]


# --------------------------------------------------------------------------------------------------------------- claiming

def claim(connection: Connection, study: Study, annotator_id: int, label: str, now: int, *, pictures: bool = True) -> int | None:
    """Give the annotator their next screen, with tokens for its `pictures`, and return its id; None when nothing is left for them."""
    found = _claim(connection, study, annotator_id, label, now)
    if found is not None and pictures:
        mint_pictures(connection, study, label, found)
    return found


def _claim(connection: Connection, study: Study, annotator_id: int, label: str, now: int) -> int | None:
    if queries.ended(connection, annotator_id):
        return None
    seen = _seen(connection, annotator_id)
    design = study.design
    finished = bool(design.max_screens) and seen["main"] >= design.max_screens
    for what, give, given in (("repeat", _give_repeat, seen["repeat"]), ("check", _give_check, seen["identical"] + seen["original"])):
        per_cent = design.repeats if what == "repeat" else design.checks
        if study.order.due(label, what, per_cent, seen["main"], given) and (
                found := give(connection, study, annotator_id, label, seen, now)):
            return found
    if not finished:
        found = _give_main(connection, study, annotator_id, label, seen, now)
        if found is None and take_expired(connection, study, annotator_id, now):
            found = _give_main(connection, study, annotator_id, label, seen, now)
        if found is not None:
            return found
    if study.order.due(label, "repeat", design.repeats, seen["main"], seen["repeat"], finished=True):
        return _give_repeat(connection, study, annotator_id, label, seen, now)
    return None


def _seen(connection: Connection, annotator_id: int) -> dict[str, int]:
    """What the annotator has been shown: screens of each kind, their last number, swapped minus plain side orders of pairs and extras."""
    seen = {"main": 0, "repeat": 0, "identical": 0, "original": 0, "last": 0, "pairs balance": 0, "extras balance": 0}
    for kind, order, count, last in connection.execute(
            sa.select(assignments.c.kind, assignments.c.side_order, sa.func.count(), sa.func.max(assignments.c.screen))
            .where(assignments.c.annotator_id == annotator_id).group_by(assignments.c.kind, assignments.c.side_order)):
        seen[kind] += count
        seen["last"] = max(seen["last"], last)
        seen["pairs balance" if kind == "main" else "extras balance"] += count if order else -count
    return seen


def _give_main(connection: Connection, study: Study, annotator_id: int, label: str, seen: dict[str, int], now: int) -> int | None:
    """A pair that the annotator has not seen and that still wants somebody, with a side order that keeps them balanced."""
    natural = study.order.side_order(label, seen["last"] + 1)
    allowed = assignment.allowed_orders(natural, seen["pairs balance"], seen["extras balance"], limit=assignment.MAX_IMBALANCE)
    home = connection.execute(sa.select(annotators.c.home_slot).where(annotators.c.id == annotator_id)).scalar()
    free = {} if home is None else _free(connection, study, annotator_id, home)
    if home is None or not free:
        free = _free(connection, study, annotator_id)
        if not free:
            return None
        home = _new_home(connection, study, annotator_id, free, now)
    if seen["pairs balance"] == 0 and abs(free[home][0] - free[home][1]) >= assignment.MAX_IMBALANCE:
        allowed.sort(key=lambda order: -free[home][order])      # others have left more of one order behind
    for order in allowed:
        if free[home][order]:
            return _lease_open(connection, study, annotator_id, label, home, order, seen, now)
    free = _free(connection, study, annotator_id)
    for order in allowed:
        for slot in sorted(free, key=lambda slot: -sum(free[slot].values())):
            if free[slot][order]:
                return _lease_open(connection, study, annotator_id, label, slot, order, seen, now)
    return None


def _free(connection: Connection, study: Study, annotator_id: int, slot: int | None = None) -> dict[int, dict[int, int]]:
    """How many open slots the annotator could take, by slot number and side order; of one slot number, or of all."""
    which = _open_to(study, annotator_id) if slot is None else sa.and_(_open_to(study, annotator_id), assignments.c.slot == slot)
    free: dict[int, dict[int, int]] = {}
    for number, order, count in connection.execute(
            sa.select(assignments.c.slot, assignments.c.side_order, sa.func.count()).where(which)
            .group_by(assignments.c.slot, assignments.c.side_order)):
        free.setdefault(number, {0: 0, 1: 0})[order] = count
    return free


def _open_to(study: Study, annotator_id: int, states: tuple[str, ...] = ("open",)) -> sa.ColumnElement[bool]:
    """Screens in these states of pairs that are offered and that the annotator has not seen."""
    mine = sa.select(assignments.c.pair_id).where(assignments.c.annotator_id == annotator_id, assignments.c.kind == "main")
    return sa.and_(assignments.c.study_id == study.id, assignments.c.state.in_(states), assignments.c.slot.is_not(None),
                   assignments.c.pair_id.not_in(mine), assignments.c.pair_id.not_in(slots.set_aside(study.id)))


def _new_home(connection: Connection, study: Study, annotator_id: int, free: dict[int, dict[int, int]], now: int) -> int:
    """A slot number for the annotator to work through: one with much left and few others in it."""
    others = dict(connection.execute(
        sa.select(annotators.c.home_slot, sa.func.count(sa.distinct(annotators.c.id)))
        .join(assignments, sa.and_(assignments.c.annotator_id == annotators.c.id, assignments.c.state == "leased",
                                   assignments.c.lease_expires_at > now))
        .where(annotators.c.study_id == study.id, annotators.c.id != annotator_id).group_by(annotators.c.home_slot)).all())
    home = max(free, key=lambda slot: (sum(free[slot].values()) / (1 + others.get(slot, 0)), -slot))
    connection.execute(annotators.update().where(annotators.c.id == annotator_id).values(home_slot=home))
    return home


def _lease_open(connection: Connection, study: Study, annotator_id: int, label: str, slot: int, order: int, seen: dict[str, int],
                now: int) -> int:
    rank = _own_order(study, label)
    first = [pairs.c.priority.desc()] if study.order.serves_informative(label, study.design.serving) else []
    candidates = connection.execute(
        sa.select(assignments.c.id, items.c.original)
        .join(pairs, pairs.c.id == assignments.c.pair_id).join(items, items.c.id == pairs.c.item_id)
        .where(_open_to(study, annotator_id), assignments.c.slot == slot, assignments.c.side_order == order)
        .order_by(*first, rank, assignments.c.id).limit(CANDIDATES)).all()
    before = connection.execute(
        sa.select(items.c.original).join(pairs, pairs.c.item_id == items.c.id).join(assignments, assignments.c.pair_id == pairs.c.id)
        .where(assignments.c.annotator_id == annotator_id, assignments.c.screen == seen["last"])).scalar()
    chosen = next((row.id for row in candidates if row.original != before), candidates[0].id)
    connection.execute(assignments.update().where(assignments.c.id == chosen).values(
        **_lease_values(study, annotator_id, label, order, seen, now)))
    return chosen


def _give_repeat(connection: Connection, study: Study, annotator_id: int, label: str, seen: dict[str, int], now: int) -> int | None:
    """One of the annotator's earlier pairs with its sides swapped, at least `repeat_gap` screens after it."""
    repeated = sa.select(assignments.c.pair_id).where(assignments.c.annotator_id == annotator_id, assignments.c.kind == "repeat")
    for order in _extra_orders(study, label, seen):
        screen = study.order.next_screen_with(label, seen["last"] + 1, order)
        source = connection.execute(
            sa.select(assignments.c.pair_id, assignments.c.shuffle_key)
            .where(assignments.c.annotator_id == annotator_id, assignments.c.kind == "main", assignments.c.state == "done",
                   assignments.c.side_order == 1 - order, assignments.c.screen <= screen - study.design.repeat_gap,
                   assignments.c.pair_id.not_in(repeated))
            .order_by(_own_order(study, label + "/repeat"), assignments.c.id).limit(1)).first()
        if source:
            return _give_extra(connection, study, annotator_id, label, "repeat", source, order, seen, now)
    return None


def _give_check(connection: Connection, study: Study, annotator_id: int, label: str, seen: dict[str, int], now: int) -> int | None:
    """An attention check: one edit shown twice, or the original shown as an edit; not of a pair seen within `repeat_gap` screens."""
    order = next(iter(_extra_orders(study, label, seen)), None)
    if order is None:
        return None
    kind = CHECKS[study.order.check_kind(label, seen["identical"] + seen["original"])]
    recent = sa.select(assignments.c.pair_id).where(assignments.c.annotator_id == annotator_id, sa.or_(
        assignments.c.screen > seen["last"] - study.design.repeat_gap, assignments.c.kind == kind))
    source = connection.execute(
        sa.select(assignments.c.pair_id, assignments.c.shuffle_key)
        .where(assignments.c.study_id == study.id, assignments.c.slot == 0, assignments.c.pair_id.not_in(recent))
        .order_by(_own_order(study, label + "/check"), assignments.c.id).limit(1)).first()
    return _give_extra(connection, study, annotator_id, label, kind, source, order, seen, now) if source else None


def _extra_orders(study: Study, label: str, seen: dict[str, int]) -> list[int]:
    natural = study.order.side_order(label, seen["last"] + 1)
    return assignment.allowed_orders(natural, seen["extras balance"], seen["pairs balance"], limit=1)


def _give_extra(connection: Connection, study: Study, annotator_id: int, label: str, kind: str, source: sa.Row, order: int,
                seen: dict[str, int], now: int) -> int:
    return insert_row(
        connection, assignments, study_id=study.id, pair_id=source.pair_id, kind=kind, slot=None, side_order=order,
        shuffle_key=source.shuffle_key, revision=0, **_lease_values(study, annotator_id, label, order, seen, now))


def _lease_values(study: Study, annotator_id: int, label: str, order: int, seen: dict[str, int], now: int) -> dict:
    return {"annotator_id": annotator_id, "screen": study.order.next_screen_with(label, seen["last"] + 1, order),
            "state": "leased", "token": secrets.token_urlsafe(32), "leased_at": now, "lease_expires_at": now + lease_ms(study)}


def _own_order(study: Study, label: str) -> sa.ColumnElement[int]:
    return (assignments.c.shuffle_key * study.order.multiplier(label)) % assignment.SHUFFLE_PRIME


# ---------------------------------------------------------------------------------------------------------------- showing


def mint_pictures(connection: Connection, study: Study, label: str, assignment_id: int, expires_at: int | None = None) -> None:
    """New tokens for a screen's three pictures (original, 1, 2); older ones stop working. They live as long as the lease, or until
    `expires_at`."""
    row = screen_row(connection, assignment_id)
    by_method = dict(connection.execute(sa.select(edits.c.method_id, edits.c.image).where(edits.c.item_id == row.item_id)).all())
    sides = queries.shown_methods(study.order, label, row)
    shown = [row.original, *(row.original if method is None else by_method[method] for method in sides)]
    connection.execute(picture_tokens.delete().where(picture_tokens.c.assignment_id == assignment_id))
    connection.execute(picture_tokens.insert(), [
        {"token": secrets.token_urlsafe(32), "assignment_id": assignment_id, "annotator_id": row.annotator_id, "place": place,
         "image": digest, "expires_at": expires_at} for place, digest in enumerate(shown)])


def screen_row(connection: Connection, assignment_id: int) -> sa.Row:
    """A screen with its pair, item and picture size."""
    return connection.execute(
        sa.select(assignments, *queries.pair_columns, items.c.instruction, items.c.original, images.c.width, images.c.height)
        .join(pairs, pairs.c.id == assignments.c.pair_id).join(items, items.c.id == pairs.c.item_id)
        .join(images, images.c.digest == items.c.original).where(assignments.c.id == assignment_id)).one()


def progress(connection: Connection, study: Study, annotator_id: int, *, nothing_open: bool = False) -> dict:
    """Screens done (scored or skipped), screens in all as far as can be told now, and minutes left at the annotator's own pace (None:
    not known yet). Pairs that are on other people's screens are counted, as they may come back; those that are open are not when
    `nothing_open` can be given to this annotator."""
    counts = {(state, kind == "main"): 0 for state in ("done", "skipped", "leased") for kind in ("main", "other")}
    for state, kind, count in connection.execute(sa.select(assignments.c.state, assignments.c.kind, sa.func.count())
                                                 .where(assignments.c.annotator_id == annotator_id)
                                                 .group_by(assignments.c.state, assignments.c.kind)):
        counts[state, kind == "main"] += count
    scored, skipped, held = (counts[state, True] + counts[state, False] for state in ("done", "skipped", "leased"))
    done = scored + skipped
    there = ("leased",) if nothing_open else ("open", "leased")
    free = sa.select(sa.func.count(sa.distinct(assignments.c.pair_id))).where(_open_to(study, annotator_id, there))
    mains = sum(count for (_state, main), count in counts.items() if main) + connection.execute(free).scalar_one()
    if study.design.max_screens:
        mains = min(mains, study.design.max_screens)
    owed = 0 if nothing_open else int(mains * study.design.repeats / 100) + int(mains * study.design.checks / 100)
    extras = max(sum(count for (_state, main), count in counts.items() if not main), owed)
    total = max(done + held, mains + extras)
    paces = connection.execute(sa.select(answers.c.active_ms).select_from(assignments)
                               .join(answers, sa.and_(answers.c.assignment_id == assignments.c.id, answers.c.revision == 1))
                               .where(assignments.c.annotator_id == annotator_id, answers.c.active_ms.is_not(None))
                               .order_by(assignments.c.screen.desc()).limit(20)).scalars().all()
    minutes = round(statistics.median(paces) * (total - done) / 60_000, 1) if len(paces) >= 3 else None
    return {"done": done, "scored": scored, "skipped": skipped, "total": total, "minutes_left": minutes}



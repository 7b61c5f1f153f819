"""A study's life: created from edits, started (from then on frozen), paused, closed; a change makes a new version."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import StudyError
from mre.study import assignment, events, participation, slots
from mre.study.design import Item, Picture, StudyDesign, checked_name, content_digest
from mre.study.intake import read_items
from mre.study.records import Study, find, find_study
from mre.study.schema import annotators, assignments, edits, exclusions, images, insert_row, items, methods, pairs, stops, studies

if TYPE_CHECKING:
    from mre.study.store import Store

Priorities = Mapping[tuple[str, str, str], float]       # (item, first method, second method) -> nats

# -------------------------------------------------------------------------------------------------------------- creating

def add_picture(store: Store, picture: Picture) -> None:
    """Store a picture's pixels once, whoever shows them."""
    with store.write() as connection:
        if connection.execute(sa.select(images.c.digest).where(images.c.digest == picture.digest)).first() is None:
            connection.execute(images.insert().values(digest=picture.digest, width=picture.width, height=picture.height, png=picture.png))


def create_from_edits(store: Store, name: str, sources: list[Path], design: StudyDesign, *, methods: tuple[str, ...] = (),
                      fit: bool = False, inside: Path | None = None, by: str = "researcher",
                      on_item: Callable[[int, int], None] | None = None) -> Study:
    """A draft study from folders or tables of edits. Raises StudyFaults with every fault found, and makes nothing then."""
    checked_name(name)
    with store.read() as connection:
        _refuse_taken(connection, name)
    try:
        names, found = read_items(sources, methods=methods, fit=fit, inside=inside, keep=lambda picture: add_picture(store, picture),
                                  on_item=on_item)
        return create_study(store, name, design, found, names, by=by)
    except StudyError:
        drop_unused_pictures(store)
        raise


def create_study(store: Store, name: str, design: StudyDesign, found: Iterable[Item], method_names: list[str], *,
                 by: str = "researcher") -> Study:
    """A draft study from items. Their pictures come with them, or are in the store already (`add_picture`)."""
    checked_name(name)
    assignment.method_pairs(method_names, design.pairs)          # refuses what could not be laid out later
    found = list(found)
    if not found:
        raise StudyError("a study needs at least one item")
    for item in found:
        for picture in (item.original, *item.edits.values()):
            if picture.png:
                add_picture(store, picture)
    with store.write() as connection:
        _refuse_taken(connection, name)
        study_id = _insert_study(connection, name, 1, design, store.clock())
        method_ids = _insert_methods(connection, study_id, method_names)
        connection.execute(items.insert(), [
            {"study_id": study_id, "position": position, "name": item.name, "edit_type": item.edit_type, "instruction": item.instruction,
             "original": item.original.digest}
            for position, item in enumerate(found)])
        item_ids = dict(connection.execute(sa.select(items.c.name, items.c.id).where(items.c.study_id == study_id)).all())
        connection.execute(edits.insert(), [
            {"item_id": item_ids[item.name], "method_id": method_ids[method], "image": picture.digest, "source": picture.source,
             "source_digest": picture.source_digest, "details": json.dumps(item.details.get(method, {}), sort_keys=True)}
            for item in found for method, picture in item.edits.items()])
        events.record(connection, study_id, store.clock(), by, "create", {"items": len(found), "methods": method_names})
        return find(connection, name)


def revise(store: Store, name: str, by: str = "researcher", **changes: object) -> Study:
    """A new draft version of a study, NAME@2 and so on, with the same items and another design."""
    with store.write() as connection:
        old = find(connection, name)
        if old.simulated:
            raise StudyError(f"study {name} is simulated; revise the study that it was made from")
        base = old.name.rsplit("@", 1)[0]
        version = 1 + connection.execute(sa.select(sa.func.max(studies.c.version)).where(
            sa.or_(studies.c.name == base, studies.c.name.like(base.replace("_", r"\_") + "@%", escape="\\")))).scalar_one()
        stored = connection.execute(sa.select(studies.c.design).where(studies.c.id == old.id)).scalar_one()
        design = replace(StudyDesign.from_json(stored), **changes)       # a new version begins under the rules of today
        assignment.method_pairs(_method_names(connection, old.id), design.pairs)
        new_id = _copy(connection, old, f"{base}@{version}", version, design, store.clock())
        events.record(connection, new_id, store.clock(), by, "create", {"version_of": old.name})
        return find(connection, f"{base}@{version}")


def simulated_copy(store: Store, name: str, by: str = "researcher") -> Study:
    """A running copy of a study for simulated annotators: NAME-simulated, NAME-simulated-2 and so on. No person can join it."""
    with store.write() as connection:
        old = find(connection, name)
        if old.simulated:
            raise StudyError(f"study {name} is simulated already; simulate the study that it was made from")
        taken = set(connection.execute(sa.select(studies.c.name).where(studies.c.name.startswith(f"{name}-simulated", autoescape=True)))
                    .scalars())
        wanted = (f"{name}-simulated{number}" for number in ("", *(f"-{count}" for count in range(2, len(taken) + 2))))
        new_name, now = next(free for free in wanted if free not in taken), store.clock()
        new_id = _copy(connection, old, new_name, old.version, old.design, now, simulated=True)
        events.record(connection, new_id, now, by, "create", {"simulated_copy_of": old.name})
        _begin(connection, find(connection, new_name), now, by)
        return find(connection, new_name)


def _copy(connection: Connection, old: Study, name: str, version: int, design: StudyDesign, now: int, *, simulated: bool = False) -> int:
    """A draft with the methods, items and edits of another study. Returns its id."""
    new_id = _insert_study(connection, name, version, design, now, simulated=simulated)
    new_methods = _insert_methods(connection, new_id, _method_names(connection, old.id))
    kept = [dict(row._mapping) for row in connection.execute(sa.select(items).where(items.c.study_id == old.id))]
    connection.execute(items.insert(), [{**{k: v for k, v in row.items() if k != "id"}, "study_id": new_id} for row in kept])
    new_items = dict(connection.execute(sa.select(items.c.name, items.c.id).where(items.c.study_id == new_id)).all())
    query = (sa.select(edits, items.c.name.label("item"), methods.c.name.label("method"))
             .join(items, items.c.id == edits.c.item_id).join(methods, methods.c.id == edits.c.method_id)
             .where(items.c.study_id == old.id))
    rows = [{"item_id": new_items[row.item], "method_id": new_methods[row.method], "image": row.image, "source": row.source,
             "source_digest": row.source_digest, "details": row.details} for row in connection.execute(query)]
    if rows:
        connection.execute(edits.insert(), rows)
    return new_id


def drop_unused_pictures(store: Store) -> None:
    """Remove pictures that no study shows (left behind when a study's edits had faults)."""
    used = sa.union(sa.select(items.c.original).where(items.c.original.is_not(None)), sa.select(edits.c.image))
    with store.write() as connection:
        connection.execute(images.delete().where(images.c.digest.not_in(used)))


def _refuse_taken(connection: Connection, name: str) -> None:
    if connection.execute(sa.select(studies.c.id).where(studies.c.name == name)).first():
        raise StudyError(f"a study called {name!r} is there already; choose another name, or make a new version with `study revise {name}`")


def _insert_study(connection: Connection, name: str, version: int, design: StudyDesign, now: int, *, simulated: bool = False) -> int:
    return insert_row(
        connection, studies, name=name, public_id=secrets.token_urlsafe(9), version=version, state="draft", design=design.to_json(),
        created_at=now, simulated=simulated)


def _insert_methods(connection: Connection, study_id: int, names: list[str]) -> dict[str, int]:
    rows = [{"study_id": study_id, "position": position, "name": name} for position, name in enumerate(names)]
    connection.execute(methods.insert(), rows)
    return dict(connection.execute(sa.select(methods.c.name, methods.c.id).where(methods.c.study_id == study_id)).all())


# --------------------------------------------------------------------------------------------------------------- running

def start(store: Store, name: str, by: str = "researcher", *, priorities: Priorities | None = None, judge: str = "") -> Study:
    """Open a draft or paused study to annotators. The first start lays out its pairs and freezes it.

    priorities: by (item, first method, second method) how much a pair's ratings would teach `judge`; a study whose `serving` is not random
    needs them at its first start. Raises StudyError without.
    """
    with store.write() as connection:
        study = _locked(store, connection, name)
        if study.state == "running":
            return study
        if study.state == "closed":
            raise StudyError(f"study {name} is closed; `study revise {name}` makes a new version of it")
        if study.awaits_judge and priorities is None:
            raise StudyError(f"study {name} serves first what teaches a judge most; name the judge with `study start {name} "
                             "--serving-judge JUDGE`")
        _begin(connection, study, store.clock(), by, priorities, judge)
        return find(connection, name)


def _begin(connection: Connection, study: Study, now: int, by: str, priorities: Priorities | None = None, judge: str = "") -> None:
    """Let a draft or paused study run. A draft's order is drawn: from a secret made now, or from the design's seed when simulated."""
    values: dict[str, object] = {"state": "running"}
    told = {"serving_judge": judge} if judge and study.state == "draft" else {}
    if study.state == "draft":
        study = replace(study, order_secret=None if study.simulated else assignment.new_secret())
        values |= {"started_at": now, "order_secret": study.order_secret, "digest": _lay_out(connection, study, priorities or {})}
    connection.execute(studies.update().where(studies.c.id == study.id).values(**values))
    events.record(connection, study.id, now, by, "start", {"digest": values.get("digest", study.digest),
                                                           "order_seed": study.order.cell(closed=False)} | told)


def pause(store: Store, name: str, by: str = "researcher") -> Study:
    """Hand out nothing new; what is on annotators' screens can still be submitted."""
    return _move(store, name, "paused", ("running",), by)


def close(store: Store, name: str, by: str = "researcher") -> Study:
    """End a study for good."""
    return _move(store, name, "closed", ("running", "paused", "draft"), by)


def change_design(store: Store, name: str, by: str = "researcher", **changes: object) -> Study:
    """Another design for a draft. Raises StudyError once the study has started: from then on a change is a new version."""
    with store.write() as connection:
        study = _locked(store, connection, name)
        if study.state != "draft":
            raise StudyError(f"study {name} has started and is frozen; `study revise {name}` makes a new version of it")
        design = replace(study.design, **changes)
        assignment.method_pairs(_method_names(connection, study.id), design.pairs)
        connection.execute(studies.update().where(studies.c.id == study.id).values(design=design.to_json()))
        events.record(connection, study.id, store.clock(), by, "design", {name: str(value) for name, value in changes.items()})
        return find(connection, name)


def _move(store: Store, name: str, state: str, allowed: tuple[str, ...], by: str) -> Study:
    with store.write() as connection:
        study = _locked(store, connection, name)
        if study.state == state:
            return study
        if study.state not in allowed:
            raise StudyError(f"study {name} is {study.state}; only a {' or '.join(allowed)} study can be {state}")
        now = store.clock()
        connection.execute(studies.update().where(studies.c.id == study.id).values(
            state=state, **({"closed_at": now} if state == "closed" else {})))
        events.record(connection, study.id, now, by, {"paused": "pause", "closed": "close"}[state], {})
        return find(connection, name)


def _locked(store: Store, connection: Connection, name: str) -> Study:
    store.lock(connection, studies, find(connection, name).id)
    return find(connection, name)


def _method_names(connection: Connection, study_id: int) -> list[str]:
    return list(connection.execute(sa.select(methods.c.name).where(methods.c.study_id == study_id).order_by(methods.c.position)).scalars())


def _lay_out(connection: Connection, study: Study, priorities: Priorities) -> str:
    """Make the pairs and their slots. Returns the digest of all that annotators will see."""
    method_ids = dict(connection.execute(sa.select(methods.c.name, methods.c.id).where(methods.c.study_id == study.id)).all())
    chosen = assignment.method_pairs(_method_names(connection, study.id), study.design.pairs)
    found = connection.execute(sa.select(items).where(items.c.study_id == study.id).order_by(items.c.position)).all()
    shown = connection.execute(sa.select(items.c.name, methods.c.name, edits.c.image).join(items, items.c.id == edits.c.item_id)
                               .join(methods, methods.c.id == edits.c.method_id).where(items.c.study_id == study.id)).all()
    if not shown:
        raise StudyError(f"study {study.name} came from a CSV without pictures; it cannot be shown to annotators")
    connection.execute(pairs.insert(), [
        {"study_id": study.id, "item_id": item.id, "first_method": method_ids[first], "second_method": method_ids[second],
         "priority": priorities.get((item.name, first, second), 0.0)}
        for item in found for first, second in chosen])
    pair_ids = connection.execute(sa.select(pairs.c.id).where(pairs.c.study_id == study.id).order_by(pairs.c.id)).scalars().all()
    rows = [{"study_id": study.id, "pair_id": pair_ids[pair], "kind": "main", "slot": slot, "side_order": order, "shuffle_key": key,
             "state": "open", "revision": 0}
            for pair, slot, order, key in study.order.lay_out(len(pair_ids), study.design.per_pair)]
    connection.execute(assignments.insert(), rows)
    return content_digest(study.design, [(item.name, item.edit_type, item.instruction, item.original) for item in found],
                          [tuple(row) for row in shown])


# ---------------------------------------------------------------------------------------------------------------- people

def exclude(store: Store, name: str, label: str, reason: str, by: str = "researcher", *, recollect: bool = False) -> int:
    """Leave an annotator out of the analysis, with a reason, and give them no more screens. A recorded choice: nothing is deleted,
    `include` lifts it. With `recollect` the pairs they scored go to other people; returns how many.

    Raises StudyError without a reason, for somebody excluded already, and when a closed study should collect anything.
    """
    if not reason.strip():
        raise StudyError("an exclusion needs a reason")
    with store.write() as connection:
        study, annotator_id = _annotator(store, connection, name, label)
        if _standing_exclusion(connection, annotator_id):
            raise StudyError(f"annotator {label} is excluded already; `study recollect` collects their pairs again")
        now = store.clock()
        connection.execute(exclusions.insert().values(study_id=study.id, annotator_id=annotator_id, reason=reason, decided_by=by,
                                                      decided_at=now))
        events.record(connection, study.id, now, by, "exclude", {"annotator": label, "reason": reason})
        participation.hand_back(connection, annotator_id)
        _settle_skips(connection, study, annotator_id, now)
        return _recollect(connection, study, annotator_id, label, by, now) if recollect else 0


def recollect(store: Store, name: str, label: str, by: str = "researcher") -> int:
    """Let other people score the pairs of an excluded annotator again; nothing is deleted. Returns how many go out. Raises StudyError."""
    with store.write() as connection:
        study, annotator_id = _annotator(store, connection, name, label)
        if not _standing_exclusion(connection, annotator_id):
            raise StudyError(f"annotator {label} is not excluded; pairs are collected again of those who are")
        return _recollect(connection, study, annotator_id, label, by, store.clock())


def _recollect(connection: Connection, study: Study, annotator_id: int, label: str, by: str, now: int) -> int:
    if study.state == "closed":
        raise StudyError(f"study {study.name} is closed: nothing can be collected again")
    scored = connection.execute(sa.select(assignments.c.id).where(
        assignments.c.annotator_id == annotator_id, assignments.c.kind == "main", assignments.c.state == "done")).scalars().all()
    count = slots.release(connection, scored)
    events.record(connection, study.id, now, by, "recollect", {"annotator": label, "pairs": count})
    return count


@dataclass(frozen=True)
class TakenBack:
    """What came of an annotator's scored pairs when they were taken in again: `counted` fill their pairs' slots, `surplus` pairs have been
    scored (or are being scored) by somebody else meanwhile and so have one answer more than asked for."""

    counted: int
    surplus: int


def include(store: Store, name: str, label: str, by: str = "researcher") -> TakenBack:
    """Lift an exclusion. Pairs that were to be collected again and that nobody has taken up yet count as the annotator's again."""
    with store.write() as connection:
        study, annotator_id = _annotator(store, connection, name, label)
        now = store.clock()
        lifted = connection.execute(exclusions.update().where(exclusions.c.annotator_id == annotator_id, exclusions.c.lifted_at.is_(None))
                                    .values(lifted_at=now)).rowcount
        if not lifted:
            raise StudyError(f"annotator {label} is not excluded")
        scored = connection.execute(sa.select(assignments.c.id, assignments.c.slot).where(
            assignments.c.annotator_id == annotator_id, assignments.c.kind == "main", assignments.c.state == "done")
            .order_by(assignments.c.screen)).all()
        surplus = sum(row.slot is None and not slots.take_back(connection, row.id) for row in scored)
        events.record(connection, study.id, now, by, "include", {"annotator": label, "surplus": surplus})
        _settle_skips(connection, study, annotator_id, now)
        return TakenBack(len(scored) - surplus, surplus)


def let_continue(store: Store, name: str, label: str, by: str = "researcher") -> None:
    """Let an annotator go on whose visit a rule has ended; the rules then judge what comes after. Raises StudyError."""
    with store.write() as connection:
        study, annotator_id = _annotator(store, connection, name, label)
        now = store.clock()
        last = connection.execute(sa.select(sa.func.max(assignments.c.screen)).where(assignments.c.annotator_id == annotator_id)).scalar()
        lifted = connection.execute(stops.update().where(stops.c.annotator_id == annotator_id, stops.c.lifted_at.is_(None))
                                    .values(lifted_at=now, lifted_by=by, lifted_screen=last or 0)).rowcount
        if not lifted:
            raise StudyError(f"no rule has ended the visit of annotator {label}")
        events.record(connection, study.id, now, by, "let continue", {"annotator": label})
        _settle_skips(connection, study, annotator_id, now)


def _settle_skips(connection: Connection, study: Study, annotator_id: int, now: int) -> None:
    slots.settle_pairs(connection, study.id, study.design.max_pair_skips, slots.skipped_pairs(connection, annotator_id), now)


def _standing_exclusion(connection: Connection, annotator_id: int) -> bool:
    return connection.execute(sa.select(exclusions.c.id).where(
        exclusions.c.annotator_id == annotator_id, exclusions.c.lifted_at.is_(None))).first() is not None


def invitable(store: Store, name: str) -> Study:
    """The study, if people can take part in it. Raises StudyError."""
    study = find_study(store, name)
    if study.simulated:
        raise StudyError(f"study {name} is simulated; nobody can take part in it")
    return study


def _annotator(store: Store, connection: Connection, name: str, label: str) -> tuple[Study, int]:
    study = _locked(store, connection, name)
    query = sa.select(annotators.c.id).where(annotators.c.study_id == study.id, annotators.c.label == label)
    annotator_id = connection.execute(query).scalar()
    if annotator_id is None:
        raise StudyError(f"study {name} has no annotator {label!r}")
    return study, annotator_id

"""The append-only log of a study: what happened, by whom, when; each entry sealed with the digest of the one before.

Answers in the log carry their scores, so that the ratings can be rebuilt from it and compared with the tables (`verify`).
Comments are kept out of it (only their digest is in), so that withdrawing can remove what a person wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.rewards import PERSPECTIVES
from mre.study.assignment import commitment
from mre.study.schema import annotators, assignments, events, ratings, studies


def record(connection: Connection, study_id: int, at: int, actor: str, kind: str, details: dict) -> None:
    """Add one entry. The caller holds the study's lock, so that entries follow each other."""
    previous = connection.execute(sa.select(events.c.digest).where(events.c.study_id == study_id)
                                  .order_by(events.c.id.desc()).limit(1)).scalar()
    previous = previous or _first(connection, study_id)
    text = json.dumps(details, ensure_ascii=False, sort_keys=True)
    connection.execute(events.insert().values(study_id=study_id, at=at, actor=actor, kind=kind, details=text, previous=previous,
                                              digest=_seal(previous, at, actor, kind, text)))


class RatingsDigest:
    """SHA-256 over the final scores of a study, screen by screen in the order of label and number: how the log knows imported ones."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, label: str, screen: int, scores: Iterable[Iterable[int]]) -> None:
        """The scores of Edited Image 1 and 2."""
        self._sha.update(json.dumps([label, screen, [list(side) for side in scores]]).encode() + b"\n")

    def hexdigest(self) -> str:
        return self._sha.hexdigest()


def read_log(connection: Connection, study_id: int) -> Iterator[sa.Row]:
    """Entries from first to last, streamed."""
    query = sa.select(events).where(events.c.study_id == study_id).order_by(events.c.id)
    yield from connection.execution_options(yield_per=2000).execute(query)


def verify(connection: Connection, study_id: int) -> list[str]:
    """What is wrong with the log, or between log and ratings; an empty list when all is well."""
    faults = []
    previous = _first(connection, study_id)
    secret = connection.execute(sa.select(studies.c.order_secret).where(studies.c.id == study_id)).scalar()
    told = commitment(secret) if secret else None
    final: dict[tuple[str, int], tuple] = {}
    imported: str | None = None                             # digest of the ratings that came from a file
    for entry in read_log(connection, study_id):
        if entry.previous != previous or entry.digest != _seal(previous, entry.at, entry.actor, entry.kind, entry.details):
            faults.append(f"log entry {entry.id} ({entry.kind} by {entry.actor}) does not follow from the one before it")
        previous = entry.digest
        details = json.loads(entry.details)
        if entry.kind == "answer":
            final[entry.actor, details["screen"]] = tuple(map(tuple, details["scores"]))
        elif entry.kind == "start" and secret and details.get("order_seed", told) != told:
            faults.append(f"log entry {entry.id}: the study was started with another order ({details['order_seed']}) than it has now")
        elif entry.kind == "skip":
            final.pop((entry.actor, details["screen"]), None)
        elif entry.kind == "import":
            imported = details.get("ratings")               # before there were digests, each answer had an entry
        elif entry.kind == "withdraw":
            final = {key: value for key, value in final.items() if key[0] != entry.actor}
    query = (sa.select(annotators.c.label, assignments.c.screen, ratings.c.shown_as, *(ratings.c[name] for name in PERSPECTIVES))
             .join(assignments, assignments.c.id == ratings.c.assignment_id).join(annotators, annotators.c.id == ratings.c.annotator_id)
             .where(ratings.c.study_id == study_id, ratings.c.is_final).order_by(ratings.c.assignment_id, ratings.c.shown_as))
    stored: dict[tuple[str, int], tuple] = {}
    for label, screen, _shown_as, *scores in map(tuple, connection.execution_options(yield_per=2000).execute(query)):
        stored[label, screen] = (*stored.get((label, screen), ()), tuple(scores))
    if imported is not None:
        digest = RatingsDigest()
        for (label, screen), scores in sorted(stored.items()):
            digest.add(label, screen, scores)
        return faults + ([] if digest.hexdigest() == imported else ["the ratings are not those that were imported"])
    for key in sorted(final.keys() | stored.keys()):
        if final.get(key) != stored.get(key):
            faults.append(f"screen {key[1]} of {key[0]}: the log says {final.get(key)}, the ratings say {stored.get(key)}")
    return faults


def _first(connection: Connection, study_id: int) -> str:
    public_id = connection.execute(sa.select(studies.c.public_id).where(studies.c.id == study_id)).scalar_one()
    return hashlib.sha256(public_id.encode()).hexdigest()


def _seal(previous: str, at: int, actor: str, kind: str, details: str) -> str:
    return hashlib.sha256("\n".join((previous, str(at), actor, kind, details)).encode()).hexdigest()

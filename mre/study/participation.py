"""The rules of taking part that a study states to its annotators: what ends a visit, and what earns the completion code.

A visit ends when an annotator skips too large a share of their screens, fails too many attention checks, or is faster than anybody can
look. What they answered stays; a researcher sees who and why, and lets them go on (the rules then judge what comes after) or excludes
them. An annotator who is excluded gets no further screens either. Settings are fields of `StudyDesign`.
"""

from __future__ import annotations

import json
import secrets
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.study import events, queries, slots
from mre.study.schema import CHECKS, annotators, answers, assignments, ratings, stops

if TYPE_CHECKING:
    from mre.study.records import Study

PACE_SCREENS = 20           # latest scored screens of which the pace is the median
ROUNDING = 1e-9            # of a share times a count
CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True)
class Conduct:
    """What the rules judge: an annotator's answered screens since a researcher last let them go on."""

    screens: int
    skipped: int
    checks_failed: int
    median_seconds: float | None        # None: nothing scored yet

    def broken_rule(self, study: Study) -> str | None:
        """The first rule of the study that this breaks: `checks`, `skips` or `pace`."""
        design = study.design
        if design.max_failed_checks and self.checks_failed >= design.max_failed_checks:
            return "checks"
        if self.screens < design.rules_after:
            return None
        if self.skipped > design.max_skip_share * self.screens + ROUNDING:
            return "skips"
        return "pace" if self.median_seconds is not None and self.median_seconds < design.min_median_seconds else None


    def words(self, rule: str) -> str:
        """What broke the rule."""
        return {"skips": f"skips: {self.skipped} of {self.screens} screens", "checks": f"checks: {self.checks_failed} failed",
                "pace": f"pace: median of {self.median_seconds or 0:.1f} s a screen"}[rule]


# ------------------------------------------------------------------------------------------------------------ ending a visit


def judge(connection: Connection, study: Study, annotator_id: int, label: str, kind: str, now: int) -> str | None:
    """End the annotator's visit if a screen of this kind, just answered, breaks a rule: their unanswered screens go to others. Returns the
    rule, or None."""
    found = conduct(connection, study, annotator_id, with_checks=kind in CHECKS)
    rule = found.broken_rule(study)
    if rule:
        connection.execute(stops.insert().values(study_id=study.id, annotator_id=annotator_id, rule=rule, stopped_at=now,
                                                 measured=json.dumps(asdict(found))))
        events.record(connection, study.id, now, label, "stop", {"rule": rule, **asdict(found)})
        hand_back(connection, annotator_id)
        slots.settle_pairs(connection, study.id, study.design.max_pair_skips, slots.skipped_pairs(connection, annotator_id), now)
    return rule


def hand_back(connection: Connection, annotator_id: int) -> int:
    """Let others have the screens that the annotator holds unanswered; returns how many."""
    held = connection.execute(sa.select(assignments.c.id).where(
        assignments.c.annotator_id == annotator_id, assignments.c.state == "leased")).scalars().all()
    slots.give_back(connection, held)
    return len(held)


def conduct(connection: Connection, study: Study, annotator_id: int, *, with_checks: bool = True) -> Conduct:
    """What the annotator did since they were last let go on; failed checks are counted `with_checks` alone."""
    since = connection.execute(sa.select(sa.func.max(stops.c.lifted_screen)).where(stops.c.annotator_id == annotator_id)).scalar() or 0
    states = dict(connection.execute(
        sa.select(assignments.c.state, sa.func.count()).where(
            assignments.c.annotator_id == annotator_id, assignments.c.screen > since, assignments.c.state.in_(("done", "skipped")))
        .group_by(assignments.c.state)).all())
    failed = 0
    if with_checks:
        query = queries.check_results(study.id).where(ratings.c.annotator_id == annotator_id, assignments.c.screen > since)
        failed = next((bad for _annotator, _count, bad in connection.execute(query)), 0)
    return Conduct(sum(states.values()), states.get("skipped", 0), int(failed), median_seconds(connection, annotator_id, since))


def median_seconds(connection: Connection, annotator_id: int, since: int = 0) -> float | None:
    """Median of the annotator's latest scored screens after screen number `since`, each as first answered: seconds in view, or since it
    was shown where the page did not tell."""
    rows = connection.execute(
        sa.select(answers.c.active_ms, answers.c.submitted_at, assignments.c.first_shown_at, assignments.c.leased_at)
        .join(answers, sa.and_(answers.c.assignment_id == assignments.c.id, answers.c.revision == 1))
        .where(assignments.c.annotator_id == annotator_id, assignments.c.screen > since, assignments.c.state == "done")
        .order_by(assignments.c.screen.desc()).limit(PACE_SCREENS)).all()
    spent = [row.active_ms if row.active_ms is not None else row.submitted_at - (row.first_shown_at or row.leased_at) for row in rows]
    seconds = [value for value in spent if value >= 0]              # less only where the clock was set back
    return statistics.median(seconds) / 1000 if seconds else None


# ---------------------------------------------------------------------------------------------------------- completion code

def earned(study: Study, progress: dict) -> bool:
    """Whether this progress earns the completion code: scored screens are the share of all that the study asks for."""
    if not progress["done"]:
        return False
    if not study.design.completion_share:
        return progress["done"] >= progress["total"]
    return progress["scored"] > 0 and progress["scored"] >= study.design.completion_share * progress["total"] - ROUNDING


def completion_code(connection: Connection, study: Study, annotator_id: int, progress: dict, now: int) -> str | None:
    """The annotator's completion code, which stays theirs once it is earned; None before. The study's own, or one made for them."""
    row = connection.execute(sa.select(annotators.c.completed_at, annotators.c.completion_code)
                             .where(annotators.c.id == annotator_id)).one()
    if row.completed_at is None and not earned(study, progress):
        return None
    code = row.completion_code or study.design.completion_code or "".join(secrets.choice(CODE_LETTERS) for _ in range(8))
    if row.completed_at is None or row.completion_code is None:
        connection.execute(annotators.update().where(annotators.c.id == annotator_id).values(
            completed_at=row.completed_at or now, completion_code=code))
    return code

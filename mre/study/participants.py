"""Who took part: progress, checks, pace, completion code and, where the study keeps them, a recruiting service's ids. And who is paid.

A participant is paid who has earned the completion code and is neither excluded nor stopped by a rule. Nobody is rejected by a rule
alone: a rejection is a researcher's exclusion, with its reason, and is written only when asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mre.errors import StudyError
from mre.files import csv_text
from mre.private import write_private
from mre.study import events
from mre.study.cells import time_cell
from mre.study.participation import Conduct, median_seconds
from mre.study.queries import check_results
from mre.study.records import find_study
from mre.study.recruiting import RecruitingIds, unsealed
from mre.study.schema import annotators, answers, assignments, exclusions, stops, studies

if TYPE_CHECKING:
    from mre.study.store import Store

STATES = ("joined", "working", "completed", "stopped", "excluded", "withdrawn")
COLUMNS = ("study", "annotator", "state", "reason", "completion_code", "service", "participant_id", "turn_id", "task_id", "screens_given",
           "scored", "skipped", "checks", "checks_failed", "median_seconds", "language", "simulated", "joined_at", "consented_at",
           "last_answer_at", "completed_at")
FORMS = ("csv", "prolific", "mturk", "cloudresearch")
PAID_COLUMNS = ("study", "annotator", "service", "participant_id", "turn_id", "task_id", "completion_code", "decision", "amount", "reason",
                "scored", "screens_given")


@dataclass(frozen=True)
class Participant:
    """One annotator as whoever pays them sees them. Screens of all kinds are counted; those given include unanswered ones."""

    label: str
    state: str                          # one of STATES
    reason: str                         # of an exclusion; or which rule ended the visit and what broke it
    rule: str                           # that ended the visit, or empty
    measured: Conduct | None            # what broke the rule
    code: str | None                    # the completion code, once it is earned
    ids: RecruitingIds | None
    ids_lost: bool                      # kept, but encrypted under a key that is not here any more
    given: int
    scored: int
    skipped: int
    checks: int
    checks_failed: int
    median_seconds: float | None        # of the latest scored screens
    language: str
    simulated: bool
    joined_at: int
    consented_at: int | None
    last_answer_at: int | None
    completed_at: int | None


def participants(store: Store, name: str) -> list[Participant]:
    """Everybody who joined a study, in order of label."""
    study = find_study(store, name)
    with store.read() as connection:
        people = connection.execute(sa.select(annotators).where(annotators.c.study_id == study.id)).all()
        counts: dict[int, dict[str, int]] = {}
        for person, state, count in connection.execute(
                sa.select(assignments.c.annotator_id, assignments.c.state, sa.func.count())
                .where(assignments.c.study_id == study.id, assignments.c.annotator_id.is_not(None))
                .group_by(assignments.c.annotator_id, assignments.c.state)):
            counts.setdefault(person, {})[state] = count
        last = dict(connection.execute(
            sa.select(assignments.c.annotator_id, sa.func.max(answers.c.submitted_at))
            .join(assignments, assignments.c.id == answers.c.assignment_id).where(answers.c.study_id == study.id, answers.c.is_final)
            .group_by(assignments.c.annotator_id)).all())
        checks = {person: (count, int(failed)) for person, count, failed in connection.execute(check_results(study.id))}
        excluded = dict(connection.execute(sa.select(exclusions.c.annotator_id, exclusions.c.reason).where(
            exclusions.c.study_id == study.id, exclusions.c.lifted_at.is_(None))).all())
        standing = sa.select(stops).where(stops.c.study_id == study.id, stops.c.lifted_at.is_(None))
        stopped = {row.annotator_id: (row.rule, Conduct(**json.loads(row.measured))) for row in connection.execute(standing)}
        paces = {person.id: median_seconds(connection, person.id) for person in people}
    found = []
    for person in sorted(people, key=lambda row: row.label):
        states = counts.get(person.id, {})
        ids = unsealed(store, study.public_id, person.label, person.recruiting_ids) if person.recruiting_ids else None
        state = ("withdrawn" if person.withdrawn_at else "excluded" if person.id in excluded else "stopped" if person.id in stopped else
                 "completed" if person.completed_at else "working" if person.consented_at else "joined")
        rule, measured = stopped.get(person.id, ("", None))
        found.append(Participant(
            person.label, state, excluded.get(person.id) or (measured.words(rule) if measured else ""), rule, measured,
            person.completion_code, ids, bool(person.recruiting_ids) and ids is None, sum(states.values()), states.get("done", 0),
            states.get("skipped", 0),
            *checks.get(person.id, (0, 0)), paces[person.id], person.language, person.simulated, person.joined_at, person.consented_at,
            last.get(person.id), person.completed_at))
    return found


def participants_csv(store: Store, name: str) -> str:
    """The list of `participants` as CSV, with COLUMNS."""
    rows = [(name, found.label, found.state, _one_line(found.reason), found.code or "", *_id_cells(found), found.given, found.scored,
             found.skipped, found.checks, found.checks_failed, "" if found.median_seconds is None else f"{found.median_seconds:.3f}",
             found.language, int(found.simulated), *map(time_cell, (found.joined_at, found.consented_at, found.last_answer_at,
                                                                    found.completed_at)))
            for found in participants(store, name)]
    return csv_text(COLUMNS, rows)


def forget_ids(store: Store, name: str, label: str | None = None, by: str = "researcher") -> int:
    """Delete the recruiting service's ids of one annotator, or of all. Returns of how many there were any. Raises StudyError."""
    with store.write() as connection:
        study = find_study(store, name)
        store.lock(connection, studies, study.id)
        chosen = annotators.c.study_id == study.id
        if label is not None:
            chosen = sa.and_(chosen, annotators.c.label == label)
            if connection.execute(sa.select(annotators.c.id).where(chosen)).first() is None:
                raise StudyError(f"study {name} has no annotator {label!r}")
        if store.is_sqlite:
            connection.execute(sa.text("pragma secure_delete = on"))
        count = connection.execute(annotators.update().where(chosen, annotators.c.recruiting_ids.is_not(None))
                                   .values(recruiting_ids=None)).rowcount
        events.record(connection, study.id, store.clock(), by, "forget ids", {"annotator": label or "all", "count": count})
        return count


# ---------------------------------------------------------------------------------------------------------------- payments

@dataclass(frozen=True)
class Pay:
    """What work is worth, in the recruiting service's currency."""

    amount: Decimal = Decimal(0)        # for everybody who is approved
    per_screen: Decimal = Decimal(0)    # for each scored screen, of those approved
    reject_excluded: bool = False       # reject excluded annotators, with the exclusion's reason, instead of leaving them open

    def __post_init__(self) -> None:
        for field in ("amount", "per_screen"):
            value = getattr(self, field)
            if not value.is_finite() or not 0 <= value <= 100_000:
                raise StudyError(f"{field} must be a number from 0 to 100000, got {value}")

    @classmethod
    def of(cls, amount: str, per_screen: str, reject_excluded: bool = False) -> Pay:
        """From what people wrote. Raises StudyError for what is no number."""
        try:
            return cls(Decimal(amount), Decimal(per_screen), reject_excluded)
        except InvalidOperation as error:
            raise StudyError(f"amounts must be numbers such as 4.50, got {amount!r} and {per_screen!r}") from error

    def decision(self, found: Participant) -> str:
        """`approve`, `reject`, or empty: not decided."""
        if found.state == "excluded" and self.reject_excluded:
            return "reject"
        return "approve" if found.state == "completed" else ""

    def worth(self, found: Participant) -> Decimal:
        """What an approved participant gets, to the cent."""
        return (self.amount + self.per_screen * found.scored).quantize(Decimal("0.01"), ROUND_HALF_UP)


def payments(store: Store, name: str, form: str = "csv", pay: Pay | None = None) -> tuple[str, int]:
    """A payment file, and how many are approved in it.

    csv:            everybody, with decision, amount and reason: to be read by people
    prolific:       lines `participant id,amount` for bulk bonus payments; without an amount, ids alone, for bulk approval
    mturk:          columns HITId, AssignmentId, WorkerId, Approve, Reject of a batch's reviewed results
    cloudresearch:  columns ParticipantId, AssignmentId, Decision, Bonus, Message, to be copied into the template that Connect gives

    Raises StudyError when nobody in the study has an id of the service, and for amounts in a form that has none.
    """
    pay = pay or Pay()
    if form not in FORMS:
        raise StudyError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    people = [found for found in participants(store, name) if found.state != "withdrawn" and not found.simulated]
    decided = [(found, decision) for found in people if (decision := pay.decision(found)) or form == "csv"]
    if form == "csv":
        return csv_text(PAID_COLUMNS, [_paid_row(name, found, decision, pay) for found, decision in decided]), \
            sum(decision == "approve" for _, decision in decided)
    if not any(_ids_of_service(found, form) for found in people):
        raise StudyError(f"nobody in study {name} has an id of {form}; ids are kept when a study is made with keep_recruiting_id")
    known = [(found, ids, decision) for found, decision in decided if (ids := _ids_of_service(found, form))]
    approved = sum(decision == "approve" for *_, decision in known)
    if form == "mturk":
        if pay.amount or pay.per_screen:
            raise StudyError("MTurk's results file has no amounts: an approval pays the HIT's reward; the form csv has amounts")
        rows = [(ids.task, ids.turn, ids.participant, "X" if decision == "approve" else "",
                 _one_line(found.reason) if decision == "reject" else "") for found, ids, decision in known]
        return csv_text(("HITId", "AssignmentId", "WorkerId", "Approve", "Reject"), rows), approved
    if form == "cloudresearch":
        rows = [(ids.participant, ids.turn, decision, pay.worth(found) if decision == "approve" else "",
                 _one_line(found.reason) if decision == "reject" else "") for found, ids, decision in known]
        return csv_text(("ParticipantId", "AssignmentId", "Decision", "Bonus", "Message"), rows), approved
    paid = [(found, ids) for found, ids, decision in known if decision == "approve"]
    with_amount = pay.amount or pay.per_screen
    return "".join(f"{ids.participant}{f',{pay.worth(found)}' if with_amount else ''}\n" for found, ids in paid), approved


def write_file(path: Path, text: str) -> None:
    """Write a list of people, readable by its owner alone. Raises StudyError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text)
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({error.strerror})") from error


def _paid_row(name: str, found: Participant, decision: str, pay: Pay) -> tuple:
    why = _one_line(found.reason) or ("" if decision else "no completion code yet")
    return (name, found.label, *_id_cells(found), found.code or "", decision, pay.worth(found) if decision == "approve" else "", why,
            found.scored, found.given)


def _ids_of_service(found: Participant, service: str) -> RecruitingIds | None:
    return found.ids if found.ids is not None and found.ids.service in (service, "other") else None


def _id_cells(found: Participant) -> tuple[str, str, str, str]:
    ids = found.ids
    if ids is None:
        return "", "encrypted with a lost key" if found.ids_lost else "", "", ""
    return ids.service, ids.participant, ids.turn, ids.task


def _one_line(text: str) -> str:
    return " ".join(text.split())

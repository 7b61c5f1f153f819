"""What an annotator does: come in, consent, get screens, answer, go back, leave, withdraw. Nothing here names a method to them.

Every call is one transaction. An answer carries a key of the browser's making, so that sending it again changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import AlreadyAnswered, BadAnswer, NotYours, StudyError
from mre.rewards import PERSPECTIVES
from mre.study import events, leases, participation, queries, slots
from mre.study.answers import Answer, Draft
from mre.study.design import LANGUAGES
from mre.study.images import uncompressed
from mre.study.participation import CODE_LETTERS
from mre.study.records import Study
from mre.study.recruiting import RecruitingIds, sealed
from mre.study.schema import annotators, answers, assignments, images, insert_row, picture_tokens, ratings, studies, visits
from mre.version import __version__

if TYPE_CHECKING:
    from mre.study.store import Store

HELD_SCREENS = 2                # the one in front of the annotator and the next, which the browser decodes meanwhile


@dataclass(frozen=True)
class Annotator:
    """Whose visit it is. `label` is the pseudonym that exports show."""

    id: int
    study: Study
    label: str
    language: str
    consented: bool
    withdrawn: bool
    ended: str | None = None        # why they get no more screens (`queries.ended`)


# --------------------------------------------------------------------------------------------------------------- arriving

def enter(store: Store, public_id: str, language: str = "en", key: str | None = None,
          ids: RecruitingIds | None = None) -> tuple[str, Annotator]:
    """Begin a visit: a token for the browser's cookie, and whose visit it is. The same `key` (an account, an id from the recruiting
    service, an invitation) always finds the same annotator; without one, a new annotator is made, whose recruiting `ids` are kept if
    the study says so. Raises StudyError when closed."""
    language = language if language in LANGUAGES else LANGUAGES[0]
    with store.write() as connection:
        study = _open_study(store, connection, public_id)
        digest = _keyed(store, f"{study.id}/{key}") if key else None
        if study.simulated:
            raise NotYours("There is no study behind this link.")
        found = connection.execute(sa.select(annotators.c.id).where(annotators.c.study_id == study.id, annotators.c.key_digest == digest)
                                   ).scalar() if digest else None
        if found is None:
            if study.state != "running":
                raise StudyError({"draft": "This study has not started yet.", "paused": "This study is paused; please come back later.",
                                  "closed": "This study has ended. Thank you for your interest."}[study.state])
            found = _new_annotator(store, connection, study, language, digest, ids)
        return _new_visit(store, connection, found), annotator_of(connection, found)


def enter_by_code(store: Store, code: str) -> tuple[str, Annotator]:
    """Go on elsewhere with a personal code (`personal_code`). Raises NotYours for an unknown one."""
    with store.write() as connection:
        found = connection.execute(sa.select(annotators.c.id).where(annotators.c.code_digest == _keyed(store, _plain_code(code)))).scalar()
        if found is None:
            raise NotYours("This code is not known. Codes are 12 letters and digits; a newer code replaces an older one.")
        return _new_visit(store, connection, found), annotator_of(connection, found)


def personal_code(store: Store, annotator: Annotator) -> str:
    """A code with which the annotator can go on with another device; it replaces any earlier one. Only its digest is stored."""
    code = "".join(secrets.choice(CODE_LETTERS) for _ in range(12))
    with store.write() as connection:
        connection.execute(annotators.update().where(annotators.c.id == annotator.id).values(code_digest=_keyed(store, code)))
    return "-".join((code[:4], code[4:8], code[8:]))


def visitor(store: Store, token: str | None) -> Annotator | None:
    """Whose visit a cookie's token belongs to, or None."""
    if not token:
        return None
    with store.read() as connection:
        found = connection.execute(sa.select(visits.c.annotator_id).where(visits.c.token_digest == _plain_digest(token))).scalar()
        return None if found is None else annotator_of(connection, found)


def set_language(store: Store, annotator: Annotator, language: str) -> None:
    if language not in LANGUAGES:
        raise BadAnswer(f"language must be one of {', '.join(LANGUAGES)}")
    with store.write() as connection:
        connection.execute(annotators.update().where(annotators.c.id == annotator.id).values(language=language))


def consent(store: Store, annotator: Annotator) -> None:
    """Record that the annotator agrees to take part; before this nothing of theirs is asked or stored."""
    with store.write() as connection:
        store.lock(connection, studies, annotator.study.id)
        changed = connection.execute(annotators.update().where(annotators.c.id == annotator.id, annotators.c.consented_at.is_(None))
                                     .values(consented_at=store.clock())).rowcount
        if changed:
            events.record(connection, annotator.study.id, store.clock(), annotator.label, "consent", {})


# ---------------------------------------------------------------------------------------------------------------- screens

def work(store: Store, annotator: Annotator) -> dict:
    """The annotator's current screen and the next one (claimed where they are not held yet), their progress, why their visit `ended` if
    it did, and the completion code once it is earned."""
    with store.write() as connection:
        store.lock(connection, studies, annotator.study.id)
        return work_within(store, connection, annotator_of(connection, annotator.id))


def work_within(store: Store, connection: Connection, annotator: Annotator) -> dict:
    """`work`, inside a transaction that holds the study's lock."""
    _need_consent(annotator)
    now = store.clock()
    held = leases.renew(connection, annotator.study, annotator.id, now)
    if annotator.study.state == "running":
        while len(held) < HELD_SCREENS and (claimed := leases.claim(connection, annotator.study, annotator.id, annotator.label, now)):
            held.append(claimed)
    screens = [_screen(connection, assignment_id) for assignment_id in held]
    if held:
        connection.execute(assignments.update().where(assignments.c.id == held[0], assignments.c.first_shown_at.is_(None))
                           .values(first_shown_at=now))
    nothing_open = not held and annotator.study.state == "running"
    progress = leases.progress(connection, annotator.study, annotator.id, nothing_open=nothing_open)
    code = None if annotator.ended else participation.completion_code(connection, annotator.study, annotator.id, progress, now)
    return {"current": screens[0] if screens else None, "upcoming": screens[1] if len(screens) > 1 else None, "progress": progress,
            "state": annotator.study.state, "ended": annotator.ended, "completion_code": code,
            "completion_url": annotator.study.design.completion_address(code) if code else None}


def answer(store: Store, annotator: Annotator, token: str, given: Answer) -> dict:
    """Store an answer, whole, and hand out what comes next. The same key again stores nothing and says what came of the first.

    Raises NotYours (lease ended and somebody else has the screen, or never theirs), AlreadyAnswered (another answer came first),
    BadAnswer (too early for the study's minimum time).
    """
    late = False
    with store.write() as connection:
        store.lock(connection, studies, annotator.study.id)
        annotator = annotator_of(connection, annotator.id)
        _need_consent(annotator)
        try:
            revision = answer_within(store, connection, annotator, token, given)
            return {"saved": revision, **work_within(store, connection, annotator_of(connection, annotator.id))}
        except NotYours:
            if not (late := _keep_late(store, connection, annotator, token, given)):
                raise
    if late:
        raise NotYours("The time for this pair ran out and another person has it now. Your scores were put aside; "
                       "please go on with the next pair.")
    raise AssertionError("unreachable")


def answer_within(store: Store, connection: Connection, annotator: Annotator, token: str, given: Answer) -> int:
    """`answer` without what comes next, inside a transaction that holds the study's lock. Returns the revision."""
    row = connection.execute(sa.select(assignments, *queries.pair_columns).join(leases.pairs, leases.pairs.c.id == assignments.c.pair_id)
                             .where(assignments.c.token == token, assignments.c.annotator_id == annotator.id)).first()
    if row is None:
        raise NotYours("This screen is not yours, or no longer open. Please go on with the next one.")
    again = connection.execute(sa.select(answers.c.revision).where(
        answers.c.assignment_id == row.id, answers.c.idempotency_key == given.key)).scalar()
    if again is not None:
        return again
    if annotator.ended:
        raise NotYours("Your visit to this study has ended; nothing more can be stored.")
    if given.revision != row.revision:
        raise AlreadyAnswered("This screen has been answered already. Use Back to look at that answer and change it.")
    if annotator.study.state == "closed":
        raise StudyError("This study has ended; answers can no longer be stored. Thank you for your work.")
    now = store.clock()
    looked = _looked_at(annotator.study, row, given, now)
    least = annotator.study.design.min_seconds
    if row.revision == 0 and given.skip_reason is None and looked is not None and looked < least * 1000:
        raise BadAnswer(f"Please look at each pair for at least {least:g} second{'' if least == 1 else 's'}.")
    _settle_slot(connection, row, given)
    active = None if given.active_ms is None or looked is None else min(given.active_ms, looked)
    revision = row.revision + 1
    if row.revision:
        for table in (answers, ratings):
            connection.execute(table.update().where(table.c.assignment_id == row.id, table.c.is_final).values(is_final=False))
    answer_id = insert_row(
        connection, answers, study_id=annotator.study.id, assignment_id=row.id, revision=revision, is_final=True,
        idempotency_key=given.key, submitted_at=now, active_ms=active, skip_reason=given.skip_reason, comment=given.comment,
        viewport=given.viewport, app_version=__version__)
    if given.scores:
        shown = queries.shown_methods(annotator.study.order, annotator.label, row)
        connection.execute(ratings.insert(), [
            {"study_id": annotator.study.id, "answer_id": answer_id, "assignment_id": row.id, "annotator_id": annotator.id,
             "item_id": row.item_id, "method_id": method, "kind": row.kind, "shown_as": number, "is_final": True,
             **dict(zip(PERSPECTIVES, scores, strict=True))}
            for number, (method, scores) in enumerate(zip(shown, given.scores, strict=True), 1)])
    connection.execute(assignments.update().where(assignments.c.id == row.id).values(
        state="skipped" if given.skip_reason else "done", revision=revision, lease_expires_at=None, draft=None))
    connection.execute(picture_tokens.delete().where(picture_tokens.c.assignment_id == row.id))
    told = {"reason": given.skip_reason} if given.skip_reason else {"scores": given.scores}
    events.record(connection, annotator.study.id, now, annotator.label, "skip" if given.skip_reason else "answer",
                  {"screen": row.screen, "revision": revision, "comment": _plain_digest(given.comment) if given.comment else "", **told})
    if row.kind == "main" and "skipped" in (row.state, "skipped" if given.skip_reason else ""):
        slots.settle_pairs(connection, annotator.study.id, annotator.study.design.max_pair_skips, [row.pair_id], now)
    participation.judge(connection, annotator.study, annotator.id, annotator.label, row.kind, now)
    return revision


def _settle_slot(connection: Connection, row: sa.Row, given: Answer) -> None:
    """A skipped pair goes to somebody else; one that was skipped and is scored after all counts if nobody else has it yet. Raises NotYours
    when somebody does."""
    if row.kind != "main":
        return
    if given.skip_reason:
        slots.release(connection, [row.id])
    elif row.state == "skipped" and not slots.take_back(connection, row.id):
        raise NotYours("You skipped this pair, and another person has it now. Please go on with the next one.")


def _looked_at(study: Study, row: sa.Row, given: Answer, now: int) -> int | None:
    """Milliseconds since the screen was shown. Where the clock was set back meanwhile: as the page measured, up to a lease; None when it
    did not say."""
    passed = now - (row.first_shown_at or row.leased_at)
    if passed >= 0:
        return passed
    return None if given.active_ms is None else min(given.active_ms, leases.lease_ms(study))


def save_draft(store: Store, annotator: Annotator, token: str, draft: Draft, revision: int = 0) -> None:
    """Keep what is not yet sent of a screen that the annotator holds, or has answered and is changing.

    `revision` is that of the answer which the annotator sees: a draft that arrives after its own submit is refused (NotYours).
    """
    with store.write() as connection:
        kept = connection.execute(assignments.update().where(
            assignments.c.token == token, assignments.c.annotator_id == annotator.id, assignments.c.revision == revision,
            assignments.c.state.in_(("leased", "done", "skipped"))).values(draft=json.dumps(asdict(draft)))).rowcount
        if not kept:
            raise NotYours("This screen is not yours, or no longer open.")
        leases.renew(connection, annotator.study, annotator.id, store.clock())


def earlier(store: Store, annotator: Annotator, before: str | None) -> dict | None:
    """The annotator's answered screen before the one with token `before` (None: the last answered), with its answer; None at the start."""
    with store.write() as connection:
        store.lock(connection, studies, annotator.study.id)
        mine = sa.and_(assignments.c.annotator_id == annotator.id, assignments.c.state.in_(("done", "skipped")))
        query = sa.select(assignments.c.id).where(mine)
        if before:
            limit = connection.execute(sa.select(assignments.c.screen).where(
                assignments.c.token == before, assignments.c.annotator_id == annotator.id)).scalar()
            if limit is None:
                raise NotYours("This screen is not yours, or no longer open.")
            query = query.where(assignments.c.screen < limit)
        found = connection.execute(query.order_by(assignments.c.screen.desc()).limit(1)).scalar()
        if found is None:
            return None
        until = store.clock() + leases.lease_ms(annotator.study)
        leases.mint_pictures(connection, annotator.study, annotator.label, found, expires_at=until)
        return _screen(connection, found)


def picture(store: Store, annotator: Annotator, token: str) -> bytes:
    """The PNG behind one of the annotator's live picture tokens, uncompressed. Raises NotYours."""
    with store.read() as connection:
        png = connection.execute(
            sa.select(images.c.png).join(picture_tokens, picture_tokens.c.image == images.c.digest)
            .join(assignments, assignments.c.id == picture_tokens.c.assignment_id)
            .where(picture_tokens.c.token == token, picture_tokens.c.annotator_id == annotator.id,
                   sa.func.coalesce(picture_tokens.c.expires_at, assignments.c.lease_expires_at) > store.clock())).scalar()
    if png is None:
        raise NotYours("This picture is not yours, or no longer shown.")
    return uncompressed(png)


# ---------------------------------------------------------------------------------------------------------------- leaving

def leave(store: Store, annotator: Annotator) -> None:
    """Hand back the screens that the annotator holds unanswered."""
    with store.write() as connection:
        store.lock(connection, studies, annotator.study.id)
        if held := participation.hand_back(connection, annotator.id):
            events.record(connection, annotator.study.id, store.clock(), annotator.label, "leave", {"screens": held})


def withdraw(store: Store, annotator: Annotator) -> None:
    """Take back consent: the annotator's answers, comments and links go; their pairs go to other people. Only pseudonymous scores in
    the log stay."""
    with store.write() as connection:
        store.lock(connection, studies, annotator.study.id)
        mine = sa.select(assignments.c.id).where(assignments.c.annotator_id == annotator.id)
        skipped = slots.skipped_pairs(connection, annotator.id)
        connection.execute(ratings.delete().where(ratings.c.annotator_id == annotator.id))
        connection.execute(answers.delete().where(answers.c.assignment_id.in_(mine)))
        slots.give_back(connection, connection.execute(mine).scalars().all())
        connection.execute(visits.delete().where(visits.c.annotator_id == annotator.id))
        connection.execute(annotators.update().where(annotators.c.id == annotator.id).values(
            withdrawn_at=store.clock(), key_digest=None, code_digest=None, completion_code=None, completed_at=None, recruiting_ids=None))
        events.record(connection, annotator.study.id, store.clock(), annotator.label, "withdraw", {})
        slots.settle_pairs(connection, annotator.study.id, annotator.study.design.max_pair_skips, skipped, store.clock())


# ------------------------------------------------------------------------------------------------------------------ inside

def annotator_of(connection: Connection, annotator_id: int) -> Annotator:
    row = connection.execute(sa.select(annotators).where(annotators.c.id == annotator_id)).one()
    study = Study.of(connection.execute(sa.select(studies).where(studies.c.id == row.study_id)).one())
    return Annotator(row.id, study, row.label, row.language, row.consented_at is not None, row.withdrawn_at is not None,
                     queries.ended(connection, row.id))


def _open_study(store: Store, connection: Connection, public_id: str) -> Study:
    found = connection.execute(sa.select(studies.c.id).where(studies.c.public_id == public_id)).scalar()
    if found is None:
        raise NotYours("There is no study behind this link.")
    store.lock(connection, studies, found)
    return Study.of(connection.execute(sa.select(studies).where(studies.c.id == found)).one())


def _new_annotator(store: Store, connection: Connection, study: Study, language: str, key_digest: str | None,
                   ids: RecruitingIds | None) -> int:
    count = connection.execute(sa.select(sa.func.count()).where(annotators.c.study_id == study.id)).scalar_one()
    label = f"a{count + 1:03d}"
    kept = sealed(store, study.public_id, label, ids) if ids and study.design.keep_recruiting_id else None
    found = insert_row(connection, annotators, study_id=study.id, label=label, key_digest=key_digest, language=language,
                       recruiting_ids=kept, joined_at=store.clock())
    events.record(connection, study.id, store.clock(), label, "join", {})
    return found


def _new_visit(store: Store, connection: Connection, annotator_id: int) -> str:
    token = secrets.token_urlsafe(32)
    connection.execute(visits.insert().values(token_digest=_plain_digest(token), annotator_id=annotator_id, created_at=store.clock()))
    return token


def _need_consent(annotator: Annotator) -> None:
    if annotator.withdrawn:
        raise NotYours("You have withdrawn from this study.")
    if not annotator.consented:
        raise NotYours("Please read and accept the consent text first.")


def _screen(connection: Connection, assignment_id: int) -> dict:
    """All that the browser learns about a screen: no names, no numbers, no digests, only tokens and what is to be seen."""
    row = leases.screen_row(connection, assignment_id)
    tokens = connection.execute(sa.select(picture_tokens.c.token).where(picture_tokens.c.assignment_id == assignment_id)
                                .order_by(picture_tokens.c.place)).scalars().all()
    scores, comment, skip_reason = None, "", None
    if row.revision:
        final = connection.execute(sa.select(answers).where(answers.c.assignment_id == assignment_id, answers.c.is_final)).one()
        given = connection.execute(sa.select(*(ratings.c[name] for name in PERSPECTIVES)).where(ratings.c.answer_id == final.id)
                                   .order_by(ratings.c.shown_as)).all()
        scores, comment, skip_reason = [list(scores) for scores in given] or None, final.comment, final.skip_reason
    if row.draft:
        draft = Draft.from_json(row.draft)
        scores, comment, skip_reason = draft.scores, draft.comment, draft.skip_reason
    return {"screen": row.token, "instruction": row.instruction, "width": row.width, "height": row.height, "pictures": list(tokens),
            "revision": row.revision, "scores": scores, "comment": comment, "skip_reason": skip_reason, "unsent": row.draft is not None}


def _keep_late(store: Store, connection: Connection, annotator: Annotator, token: str, given: Answer) -> bool:
    """Put an answer aside in the log when its screen went to somebody else. False when the screen never was the annotator's."""
    if not leases.was_taken_from(connection, annotator, token):
        return False
    events.record(connection, annotator.study.id, store.clock(), annotator.label, "late answer",
                  {"scores": given.scores, "skip": given.skip_reason})
    return True


def _keyed(store: Store, text: str) -> str:
    return hmac.new(store.pseudonym_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _plain_digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _plain_code(code: str) -> str:
    return "".join(char for char in code.upper() if char in CODE_LETTERS)

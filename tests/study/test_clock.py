"""A clock that is set back or forward in the middle of a study stops nobody, loses nothing and holds no pair for good."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from mre.errors import BadAnswer
from mre.study import studies, visit
from mre.study.answers import Answer
from mre.study.coverage import coverage
from mre.study.design import StudyDesign
from mre.study.schema import answers
from tests.study.test_assignment import SCORES, answer_one, join

HOUR = 3600


def slow_study(store, edits, **design):
    studies.create_from_edits(store, "slow", [edits], StudyDesign(**{"per_pair": 1, "repeats": 0, "checks": 0} | design))
    return studies.start(store, "slow")


def seconds_kept(store) -> list[int | None]:
    with store.read() as connection:
        return list(connection.execute(sa.select(answers.c.active_ms).order_by(answers.c.id)).scalars())


def test_a_clock_set_back_asks_nobody_to_look_for_0_seconds(store, study, clock):
    person = join(store, study)
    shown = visit.work(store, person)["current"]
    clock.pass_seconds(20 - HOUR)
    assert visit.answer(store, person, shown["screen"], Answer("key-00001", 0, SCORES, active_ms=19_500))["saved"] == 1
    assert seconds_kept(store) == [19_500]                  # as the page measured: the server cannot tell
    while answer_one(store, person):
        pass
    assert visit.work(store, person)["progress"]["done"] == 6


def test_after_a_step_back_the_page_tells_how_long_a_pair_was_looked_at(store, edits, clock):
    person = join(store, study := slow_study(store, edits, min_seconds=5))
    shown = visit.work(store, person)["current"]
    clock.pass_seconds(-HOUR)
    with pytest.raises(BadAnswer, match="at least 5 seconds"):
        visit.answer(store, person, shown["screen"], Answer("key-00001", 0, SCORES, active_ms=2000))
    assert visit.answer(store, person, shown["screen"], Answer("key-00001", 0, SCORES, active_ms=10**30))["saved"] == 1
    assert seconds_kept(store) == [int(study.design.lease_minutes * 60_000)]        # no more than a lease
    shown = visit.work(store, person)["current"]                                    # handed out before the step, shown after it
    clock.pass_seconds(2)
    with pytest.raises(BadAnswer, match="at least 5 seconds"):
        visit.answer(store, person, shown["screen"], Answer("key-00002", 0, SCORES, active_ms=60_000))
    clock.pass_seconds(4)
    assert visit.answer(store, person, shown["screen"], Answer("key-00002", 0, SCORES))["saved"] == 1


def test_one_second_is_one(store, edits):
    person = join(store, slow_study(store, edits, min_seconds=1))
    with pytest.raises(BadAnswer, match=r"at least 1 second\."):
        visit.answer(store, person, visit.work(store, person)["current"]["screen"], Answer("key-00001", 0, SCORES))


def test_a_screen_left_before_a_step_back_goes_to_others_a_lease_later(store, edits, clock):
    study = slow_study(store, edits)
    gone, other = join(store, study), join(store, study)
    visit.work(store, gone)
    clock.pass_seconds(-365 * 24 * HOUR)
    while answer_one(store, other):
        pass
    assert coverage(store, "slow").slots_held == 2
    clock.pass_seconds(31 * 60)
    while answer_one(store, other):
        pass
    assert coverage(store, "slow").slots_done == 6


def test_somebody_at_work_keeps_their_screen_over_a_step_back(store, edits, clock):
    study = slow_study(store, edits)
    at_work, other = join(store, study), join(store, study)
    shown = visit.work(store, at_work)["current"]
    clock.pass_seconds(-HOUR)
    while answer_one(store, other):
        pass
    assert visit.answer(store, at_work, shown["screen"], Answer("key-00001", 0, SCORES))["saved"] == 1


def test_a_step_forward_costs_nobody_a_screen_that_nobody_else_has(store, study, clock):
    person = join(store, study)
    shown = visit.work(store, person)["current"]
    clock.pass_seconds(365 * 24 * HOUR)
    assert visit.answer(store, person, shown["screen"], Answer("key-00001", 0, SCORES, active_ms=8000))["saved"] == 1
    assert seconds_kept(store) == [8000]
    assert visit.work(store, person)["current"]

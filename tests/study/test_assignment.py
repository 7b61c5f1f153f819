"""Exactly k annotators per pair, both sides in balance, whoever comes and goes."""

import hashlib
import itertools
import shutil

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mre.errors import StudyError
from mre.study import assignment, studies, visit
from mre.study import events as log_of
from mre.study.answers import Answer
from mre.study.design import StudyDesign
from mre.study.schema import annotators, assignments, events, items, pairs
from mre.study.schema import studies as study_rows
from mre.study.store import Store
from tests.study.conftest import NO_RULES, Clock, draw_edits

SCORES = ((1, 2, 3), (4, 5, 0))


def join(store, study):
    _token, annotator = visit.enter(store, study.public_id)
    visit.consent(store, annotator)
    return visit.visitor(store, _token)


def answer_one(store, annotator, key="x" * 8):
    shown = visit.work(store, annotator)["current"]
    if shown:
        visit.answer(store, annotator, shown["screen"], Answer(key, 0, SCORES))
    return shown


def all_screens(store, study):
    with store.read() as connection:
        return connection.execute(sa.select(assignments, annotators.c.label).outerjoin(
            annotators, annotators.c.id == assignments.c.annotator_id).where(assignments.c.study_id == study.id)).all()


def check_balance(store, study):
    """What the issue asks, from the rows alone."""
    rows = all_screens(store, study)
    mains = [row for row in rows if row.kind == "main"]
    for _pair, group in itertools.groupby(sorted(mains, key=lambda row: row.pair_id), key=lambda row: row.pair_id):
        group = list(group)
        assert len(group) == study.design.per_pair
        assert abs(sum(1 if row.side_order else -1 for row in group)) <= 1
        holders = [row.annotator_id for row in group if row.annotator_id]
        assert len(holders) == len(set(holders))
    for label in {row.label for row in rows} - {None}:
        own = [row for row in rows if row.label == label]
        assert abs(sum(1 if row.side_order else -1 for row in own)) <= 2
        for row in own:
            assert row.side_order == study.order.side_order(label, row.screen)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.integers(3, 9), per_pair=st.integers(1, 5), seed=st.integers(0, 2**32), moves=st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(["answer", "answer", "answer", "leave", "away"])), min_size=20, max_size=150))
def test_every_pair_gets_k_annotators_and_sides_stay_balanced_whoever_comes_and_goes(tmp_path_factory, empty_database, items,
                                                                                     per_pair, seed, moves):
    folder = tmp_path_factory.mktemp("assignment")
    shutil.copy(empty_database, folder)
    clock = Clock()
    store = Store.open(folder, clock=clock)
    design = StudyDesign(per_pair=per_pair, repeats=20, repeat_gap=2, checks=10, seed=seed, lease_minutes=10, **NO_RULES)
    studies.create_from_edits(store, "s", [draw_edits(folder / "edits", items, size=(16, 16))], design)
    study = studies.start(store, "s")
    people = {}
    for who, move in moves:
        person = people.get(who) or people.setdefault(who, join(store, study))
        if move == "answer":
            answer_one(store, person)
        elif move == "leave":
            visit.leave(store, person)
        else:
            clock.pass_seconds(11 * 60)
        check_balance(store, study)
    clock.pass_seconds(11 * 60)
    for _newcomer in range(3 * per_pair + 6):          # whoever comes last finds everything that is left
        person = join(store, study)
        while answer_one(store, person):
            pass
    check_balance(store, study)
    assert all(row.state == "done" for row in all_screens(store, study) if row.kind == "main")
    store.close()


def test_k_annotators_who_stay_do_every_pair_once_each_with_sides_in_balance(store, study):
    people = [join(store, study) for _ in range(2)]
    for _turn in range(6):
        for person in people:
            assert answer_one(store, person)
    assert not any(answer_one(store, person) for person in people)
    check_balance(store, study)
    assert all(row.state == "done" for row in all_screens(store, study))


def test_an_expired_lease_goes_to_somebody_else_and_the_late_answer_is_put_aside(store, study, clock):
    late, *others = (join(store, study) for _ in range(4))
    shown = visit.work(store, late)["current"]
    clock.pass_seconds(31 * 60)
    for person in others:
        while answer_one(store, person):
            pass
    with pytest.raises(visit.NotYours, match="time for this pair ran out"):
        visit.answer(store, late, shown["screen"], Answer("late-key", 0, SCORES))
    check_balance(store, study)


def test_an_answer_after_the_lease_is_kept_while_nobody_else_has_the_screen(store, study, clock):
    person = join(store, study)
    shown = visit.work(store, person)["current"]
    clock.pass_seconds(31 * 60)
    assert visit.answer(store, person, shown["screen"], Answer("late-key", 0, SCORES))["saved"] == 1


def test_hidden_repeats_come_with_sides_swapped_and_far_enough_after_the_first(tmp_path, clock):
    store = Store.open(tmp_path / "data", clock=clock)
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 40, size=(16, 16))],
                              StudyDesign(per_pair=1, repeats=20, repeat_gap=7, checks=10, seed=3, **NO_RULES))
    study = studies.start(store, "s")
    person = join(store, study)
    while answer_one(store, person):
        pass
    rows = all_screens(store, study)
    first = {row.pair_id: row for row in rows if row.kind == "main"}
    repeats = [row for row in rows if row.kind == "repeat"]
    assert len(repeats) == 8
    for row in repeats:
        assert row.side_order == 1 - first[row.pair_id].side_order
        assert row.screen - first[row.pair_id].screen >= 7
    assert sorted(row.kind for row in rows if row.kind in ("identical", "original")) == ["identical"] * 2 + ["original"] * 2
    check_balance(store, study)
    store.close()


def drawn_order(store, edits, monkeypatch, secret, seed=3):
    """All screens of two annotators of a study whose order is drawn from `secret`, and each one's instructions as they came."""
    monkeypatch.setattr(assignment, "new_secret", lambda: secret)
    studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2, repeats=20, repeat_gap=2, checks=20, seed=seed))
    study = studies.start(store, "s")
    instructions = []
    for person in (join(store, study), join(store, study)):
        instructions.append([])
        while shown := answer_one(store, person):
            instructions[-1].append(shown["instruction"])
    with store.read() as connection:
        screens = connection.execute(
            sa.select(annotators.c.label, assignments.c.screen, assignments.c.kind, assignments.c.side_order, items.c.name)
            .join(annotators, annotators.c.id == assignments.c.annotator_id).join(pairs, pairs.c.id == assignments.c.pair_id)
            .join(items, items.c.id == pairs.c.item_id).order_by(annotators.c.label, assignments.c.screen)).all()
    return [tuple(row) for row in screens], instructions


def test_order_is_drawn_from_the_secret_alone_and_the_same_on_every_database(store, edits, monkeypatch, tmp_path, clock):
    secret, other = assignment.new_secret(), assignment.new_secret()
    screens, (first, second) = drawn_order(store, edits, monkeypatch, secret)
    assert first != second
    assert set(first) == set(second)
    sqlite = [Store.open(tmp_path / name, clock=clock) for name in ("again", "other")]
    assert drawn_order(sqlite[0], edits, monkeypatch, secret, seed=4)[0] == screens      # whatever the design's public seed
    assert drawn_order(sqlite[1], edits, monkeypatch, other)[0] != screens
    for opened in sqlite:
        opened.close()


def test_each_start_draws_a_secret_of_its_own_that_nothing_shows_before_the_study_has_closed(store, study, edits):
    studies.create_from_edits(store, "twin", [edits], study.design)
    twin, revised = studies.start(store, "twin"), studies.start(store, studies.revise(store, "demo").name)
    assert len({study.order_secret, twin.order_secret, revised.order_secret}) == 3
    assert study.digest == twin.digest                                         # of what annotators see: the secret is no part of it
    assert study.order_secret not in repr(study) + repr(study.order) + study.design.to_json()
    with store.read() as connection:
        log = str(connection.execute(sa.select(events.c.details)).all())
    assert study.order_secret not in log
    assert "sha256:" + hashlib.sha256(study.order_secret.encode()).hexdigest() in log
    assert study.order_cell == "sha256:" + hashlib.sha256(study.order_secret.encode()).hexdigest()
    assert studies.close(store, "demo").order_cell == study.order_secret
    with store.read() as connection:
        assert log_of.verify(connection, study.id) == []
    with store.write() as connection:
        connection.execute(study_rows.update().where(study_rows.c.id == study.id).values(order_secret=twin.order_secret))
    with store.read() as connection:
        assert "another order" in log_of.verify(connection, study.id)[0]


def test_of_an_odd_number_of_pairs_either_order_may_have_one_more():
    firsts = [assignment.Order(assignment.new_secret()).lay_out(1, 2)[0][2] for _ in range(200)]
    assert 60 < sum(firsts) < 140                                              # both, each with probability 1/2: p = 1e-8 outside


def test_three_methods_give_all_pairs_or_the_chosen_ones():
    assert assignment.method_pairs(["a", "b", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert assignment.method_pairs(["a", "b", "c"], [("c", "a")]) == [("c", "a")]
    with pytest.raises(StudyError, match="'d'"):
        assignment.method_pairs(["a", "b"], [("a", "d")])
    with pytest.raises(StudyError, match="twice"):
        assignment.method_pairs(["a", "b"], [("a", "b"), ("b", "a")])
    with pytest.raises(StudyError, match="two methods"):
        assignment.method_pairs(["a"])

"""Who did the work: skips and exclusions burn no slots, rules that the study states end a visit, work as stated earns a code."""

from __future__ import annotations

import collections

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mre.errors import StudyError
from mre.study import events, figures, records, studies, visit
from mre.study.answers import Answer
from mre.study.coverage import coverage, skipped_pairs
from mre.study.design import StudyDesign
from mre.study.schema import assignments
from mre.study.store import Store
from tests.study.conftest import NO_RULES, Clock, draw_edits

SCORES = ((1, 2, 3), (4, 5, 0))


class Person:
    """An annotator who scores, skips and goes back."""

    def __init__(self, store: Store, study: records.Study) -> None:
        self.store, self.keys = store, 0
        token, found = visit.enter(store, study.public_id)
        visit.consent(store, found)
        self.annotator = visit.visitor(store, token)
        self.label = self.annotator.label

    def work(self) -> dict:
        return visit.work(self.store, self.annotator)

    def send(self, shown: dict, scores=SCORES, skip: str | None = None, **more) -> dict:
        self.keys += 1
        given = Answer(f"key-{self.keys:08d}", shown["revision"], () if skip else scores, skip_reason=skip, **more)
        return visit.answer(self.store, self.annotator, shown["screen"], given)

    def do(self, screens: int = 10**6, skip: str | None = None, seconds: float = 20.0, scores=SCORES) -> int:
        """Answer that many screens, each after some seconds of the store's clock. Returns how many there were."""
        done = 0
        work = self.work()
        while done < screens and work["current"]:
            self.store.clock.pass_seconds(seconds)
            work = self.send(work["current"], scores, skip)
            done += 1
        return done

    def back(self, **more) -> dict:
        return self.send(visit.earlier(self.store, self.annotator, None), **more)


def started(store: Store, tmp_path, items: int = 6, **design) -> records.Study:
    folder = draw_edits(tmp_path / "edits", items, size=(16, 16))
    studies.create_from_edits(store, "s", [folder], StudyDesign(**{"repeats": 0, "checks": 0, "seed": 5} | design))
    return studies.start(store, "s")


def check_pairs(store: Store, study: records.Study) -> dict[str, int]:
    """What must hold of the rows whatever people do. Returns how many main screens are in which state."""
    with store.read() as connection:
        rows = connection.execute(sa.select(assignments).where(assignments.c.study_id == study.id, assignments.c.kind == "main")).all()
        assert events.verify(connection, study.id) == []
    by_pair = collections.defaultdict(list)
    for row in rows:
        by_pair[row.pair_id].append(row)
    for group in by_pair.values():
        counting = [row for row in group if row.slot is not None]
        assert sorted(row.slot for row in counting) == list(range(study.design.per_pair))
        assert not any(row.state == "skipped" for row in counting)
        assert abs(sum(1 if row.side_order else -1 for row in counting)) <= 1
        people = [row.annotator_id for row in group if row.annotator_id]
        assert len(people) == len(set(people))
    return collections.Counter(row.state for row in rows)


# ------------------------------------------------------------------------------------------------------------------ skips

def test_one_person_who_skips_everything_completes_nothing_and_leaves_all_to_the_next(store, tmp_path):
    study = started(store, tmp_path, per_pair=1, **NO_RULES)
    skipper, worker = Person(store, study), Person(store, study)
    assert skipper.do(skip="unclear") == 6
    found = coverage(store, "s")
    assert (found.pairs_complete, found.slots_done, found.skipped, found.slots_open) == (0, 0, 6, 6)
    assert skipper.work()["completion_code"] is None
    assert worker.do() == 6
    found = coverage(store, "s")
    assert (found.pairs_complete, found.slots_done, found.skipped, found.slots_open) == (6, 6, 6, 0)
    assert worker.work()["completion_code"]
    check_pairs(store, study)


def test_progress_tells_scored_and_skipped_screens_apart(store, tmp_path):
    study = started(store, tmp_path, per_pair=1)
    person = Person(store, study)
    person.do(2)
    person.do(1, skip="broken")
    found = person.work()["progress"]
    assert (found["done"], found["scored"], found["skipped"], found["total"]) == (3, 2, 1, 6)


def test_a_pair_that_many_skip_is_set_aside_with_the_reasons_and_offered_no_more(store, tmp_path):
    study = started(store, tmp_path, items=1, per_pair=2, max_pair_skips=2)
    first, second, late = (Person(store, study) for _ in range(3))
    first.do(skip="broken")
    assert coverage(store, "s").pairs_set_aside == 0
    second.do(skip="unclear")
    found = coverage(store, "s")
    assert (found.pairs_complete, found.pairs_set_aside, found.slots_set_aside, found.slots_open, found.skipped) == (0, 1, 2, 0, 2)
    assert late.do() == 0
    told, = skipped_pairs(store, "s")
    assert (told.item, told.skips, told.reasons, told.scored, told.set_aside) == ("item-000", 2, {"broken": 1, "unclear": 1}, 0, True)
    check_pairs(store, study)


def test_skips_of_people_whose_visit_was_ended_or_who_are_excluded_set_nothing_aside(store, tmp_path):
    study = started(store, tmp_path, items=3, per_pair=1, max_pair_skips=2, rules_after=3, max_skip_share=0.5)
    skippers = [Person(store, study) for _ in range(3)]
    for person in skippers:
        assert person.do(skip="other") == 3             # then the rule ends the visit
    assert coverage(store, "s").pairs_set_aside == 0
    for person in skippers[:2]:
        studies.let_continue(store, "s", person.label)
    assert coverage(store, "s").pairs_set_aside == 3
    studies.exclude(store, "s", skippers[0].label, "skipped everything")
    assert coverage(store, "s").pairs_set_aside == 0
    assert Person(store, study).do() == 3
    check_pairs(store, study)


def test_a_skipped_pair_that_is_scored_after_all_counts_unless_somebody_else_has_it(store, tmp_path):
    study = started(store, tmp_path, items=2, per_pair=1)
    person = Person(store, study)
    person.do(1, skip="unclear")
    person.back()
    assert coverage(store, "s").slots_done == 1
    person.back(skip="broken")
    assert coverage(store, "s").slots_done == 0
    other = Person(store, study)
    other.do()
    with pytest.raises(visit.NotYours, match="another person has it now"):
        person.back()
    check_pairs(store, study)
    assert coverage(store, "s").slots_done == 1


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.integers(2, 6), per_pair=st.integers(1, 4), most=st.integers(0, 3), moves=st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(["score", "score", "score", "skip", "back score", "back skip", "leave", "away", "withdraw",
                                                  "exclude", "recollect", "include"])), min_size=20, max_size=120))
def test_every_pair_keeps_k_slots_with_sides_in_balance_whatever_people_and_researchers_do(tmp_path_factory, items, per_pair, most, moves):
    folder, clock = tmp_path_factory.mktemp("slots"), Clock()
    store = Store.open(folder, clock=clock)
    study = started(store, folder, items, per_pair=per_pair, max_pair_skips=most, repeats=20, repeat_gap=2, checks=10, **NO_RULES)
    people: dict[int, Person] = {}
    for who, move in moves:
        person = people.get(who) or people.setdefault(who, Person(store, study))
        try:
            if move in ("score", "skip"):
                person.do(1, skip="other" if move == "skip" else None)
            elif move.startswith("back"):
                if visit.earlier(store, person.annotator, None):
                    person.back(skip="unclear" if move == "back skip" else None)
            elif move == "leave":
                visit.leave(store, person.annotator)
            elif move == "away":
                clock.pass_seconds(31 * 60)
            elif move == "withdraw":
                visit.withdraw(store, people.pop(who).annotator)
            elif move == "exclude":
                studies.exclude(store, "s", person.label, "test", recollect=True)
            else:
                getattr(studies, move)(store, "s", person.label)
        except StudyError:
            pass                    # somebody else has the pair, is excluded already, and the like: nothing may have changed
        check_pairs(store, study)
    clock.pass_seconds(31 * 60)
    for _ in range(3 * per_pair + 6):
        Person(store, study).do()
    found, states = coverage(store, "s"), check_pairs(store, study)
    assert found.pairs_complete + found.pairs_set_aside == items
    assert found.slots_open == found.slots_held == 0
    assert states["done"] >= found.slots_done
    store.close()


# ------------------------------------------------------------------------------------------------------------ rules of a visit

RULES = {"rules_after": 4, "max_skip_share": 0.25, "max_failed_checks": 2, "min_median_seconds": 5.0}


def test_too_many_skips_end_a_visit_and_a_researcher_sees_why_and_lets_it_go_on(store, tmp_path):
    study = started(store, tmp_path, items=12, per_pair=1, **RULES)
    person = Person(store, study)
    assert person.do(3, skip="unclear") == 3            # not judged before the fourth
    assert person.do(4) == 1
    work = person.work()
    assert (work["current"], work["ended"], work["completion_code"]) == (None, "skips", None)
    assert coverage(store, "s").stopped == 1
    assert coverage(store, "s").slots_held == 0             # what they held is free for others
    with pytest.raises(visit.NotYours, match="has ended"):
        person.back()
    studies.let_continue(store, "s", person.label)
    with pytest.raises(StudyError, match="no rule has ended"):
        studies.let_continue(store, "s", person.label)
    assert person.do(1, skip="unclear") == 1                        # judged by what comes after, from the fourth on again
    assert person.do() == 7
    assert person.work()["ended"] is None
    check_pairs(store, study)


def test_an_answer_sent_again_after_it_ended_the_visit_is_told_that_it_is_saved(store, tmp_path):
    study = started(store, tmp_path, per_pair=1, **RULES | {"rules_after": 1, "max_skip_share": 0.0})
    person = Person(store, study)
    shown = person.work()["current"]
    for _twice in range(2):
        told = visit.answer(store, person.annotator, shown["screen"], Answer("same-key-1", 0, skip_reason="other"))
        assert (told["saved"], told["ended"], told["current"]) == (1, "skips", None)


def test_haste_ends_a_visit_however_much_time_the_page_claims(store, tmp_path):
    study = started(store, tmp_path, items=12, per_pair=3, **RULES)
    hasty, claims, calm, slow_skipper = (Person(store, study) for _ in range(4))
    assert hasty.do(seconds=1) == 4
    assert hasty.work()["ended"] == "pace"
    for _ in range(4):
        shown = claims.work()["current"]
        store.clock.pass_seconds(1)
        claims.send(shown, active_ms=60_000)            # cannot have looked longer than it was shown
    assert claims.work()["ended"] == "pace"
    assert calm.do(seconds=5) == 12
    assert calm.work()["ended"] is None
    assert slow_skipper.do(6, seconds=60) == 6
    assert slow_skipper.do(2, skip="broken", seconds=0.1) == 2      # skipping may be quick


def test_failed_attention_checks_end_a_visit_and_passed_ones_do_not(store, tmp_path):
    study = started(store, tmp_path, items=20, per_pair=2, **RULES | {"checks": 30.0, "repeat_gap": 1})
    careless, careful = Person(store, study), Person(store, study)
    assert careless.do(scores=((0, 0, 0), (5, 0, 5))) < 20
    assert careless.work()["ended"] == "checks"
    assert careful.do(scores=((3, 5, 4), (3, 5, 4))) == 26
    assert careful.work()["ended"] is None
    row = next(row for row in figures.annotator_figures(store, "s") if row.annotator == careless.label)
    assert (row.checks_failed, coverage(store, "s").stopped) == (2, 1)


# ------------------------------------------------------------------------------------------------------------------- codes

def test_a_pause_gives_no_code_to_somebody_with_3_of_37_screens(store, tmp_path):
    study = started(store, tmp_path, items=37, per_pair=1)
    person = Person(store, study)
    person.do(3)
    studies.pause(store, "s")
    visit.leave(store, person.annotator)
    work = person.work()
    assert (work["current"], work["completion_code"], work["progress"]["total"]) == (None, None, 37)
    studies.close(store, "s")
    assert person.work()["completion_code"] is None


def test_the_code_is_earned_by_the_stated_share_of_scored_screens_and_stays_earned(store, tmp_path):
    study = started(store, tmp_path, items=20, per_pair=1, completion_share=0.75, completion_url="https://p.example/done?cc={code}&x=1",
                    **NO_RULES)
    person = Person(store, study)
    person.do(5, skip="unclear", seconds=30)
    person.do(14)
    assert person.work()["completion_code"] is None
    work = person.send(person.work()["current"])
    code = work["completion_code"]
    assert len(code) == 8
    assert work["completion_url"] == f"https://p.example/done?cc={code}&x=1"
    person.back(skip="other")
    studies.pause(store, "s")
    assert person.work()["completion_code"] == code


def test_pairs_that_others_hold_may_come_back_and_so_are_not_counted_as_done(store, tmp_path):
    study = started(store, tmp_path, items=3, per_pair=1)
    other, person = Person(store, study), Person(store, study)
    other.work()                                                    # holds two of the three
    person.do()
    work = person.work()
    assert (work["current"], work["progress"]["total"], work["completion_code"]) == (None, 3, None)
    other.do()
    assert person.work()["completion_code"]                         # nothing is left that could come back


def test_a_shared_code_is_quoted_into_the_address_and_only_https_addresses_are_taken():
    design = StudyDesign(completion_code="A B&c=1", completion_url="https://p.example/x?cc={code}")
    assert design.completion_address("A B&c=1") == "https://p.example/x?cc=A%20B%26c%3D1"
    for bad in ("http://p.example/{code}", "javascript:alert(1)", "https://user@p.example/", "https://", "https://p.example/{name}",
                "//p.example", "https://p.example/ x", "https://p.example/<x>", "https://{code}.example/",
                "https://p.example/" + "a" * 500, "https://p.example:x/"):
        with pytest.raises(StudyError, match="completion_url"):
            StudyDesign(completion_url=bad)


# ---------------------------------------------------------------------------------------------------------------- exclusion

def scored_rows(store: Store, label: str) -> int:
    return sum(row.screens - row.skipped for row in figures.annotator_figures(store, "s") if row.annotator == label)


def test_excluded_work_is_collected_again_on_request_and_nothing_is_deleted(store, tmp_path):
    study = started(store, tmp_path, per_pair=2)
    first, second, third = (Person(store, study) for _ in range(3))
    first.do()
    second.do()
    assert third.do() == 0
    studies.exclude(store, "s", first.label, "asleep")
    assert third.do() == 0                                          # not asked for yet
    assert coverage(store, "s").slots_excluded == 6
    assert studies.recollect(store, "s", first.label) == 6
    found = coverage(store, "s")
    assert (found.pairs_complete, found.slots_done, found.slots_open, found.slots_excluded) == (0, 6, 6, 0)
    assert first.work()["ended"] == "excluded"
    assert third.do() == 6
    assert coverage(store, "s").pairs_complete == 6
    assert scored_rows(store, first.label) == 6
    assert figures.method_means(store, "s")["n"].tolist() == [12] * 6
    check_pairs(store, study)


def test_taking_somebody_in_again_gives_back_free_slots_and_states_the_surplus(store, tmp_path):
    study = started(store, tmp_path, per_pair=1)
    first, second = Person(store, study), Person(store, study)
    first.do()
    assert studies.exclude(store, "s", first.label, "asleep", recollect=True) == 6
    second.do(2)                                                    # and two more are on their screen
    assert studies.include(store, "s", first.label) == studies.TakenBack(counted=2, surplus=4)
    visit.leave(store, second.annotator)                            # and the two count after all
    found = coverage(store, "s")
    assert (found.slots_done, found.slots_open, found.surplus) == (6, 0, 2)
    assert figures.method_means(store, "s")["n"].tolist() == [8] * 6
    visit.withdraw(store, second.annotator)
    found = coverage(store, "s")
    assert (found.slots_done, found.slots_open, found.surplus) == (6, 0, 0)
    check_pairs(store, study)


def test_only_excluded_work_of_an_open_study_is_collected_again(store, tmp_path):
    study = started(store, tmp_path, per_pair=1)
    person = Person(store, study)
    person.do(1)
    with pytest.raises(StudyError, match="not excluded"):
        studies.recollect(store, "s", person.label)
    studies.close(store, "s")
    with pytest.raises(StudyError, match="closed"):
        studies.exclude(store, "s", person.label, "asleep", recollect=True)
    assert coverage(store, "s").excluded == 0               # the whole choice was refused

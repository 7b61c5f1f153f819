"""Pairs that teach a judge most come first, where a study says so; which side is shown where stays as secret and as balanced as ever."""

import numpy as np
import pytest

from mre.__main__ import main
from mre.errors import StudyError
from mre.judge.reward_models.folder import Calibration
from mre.judge.trained import TrainedJudge, embedded_judge
from mre.study import assignment, studies
from mre.study.design import StudyDesign
from mre.study.records import find_study
from mre.study.store import Store
from mre.training.judges.serving import pair_entropies, start_serving
from tests.judge.tiny_judges import write_judge
from tests.study.conftest import draw_edits
from tests.study.test_assignment import all_screens, answer_one, join

PLAIN = {"per_pair": 1, "repeats": 0, "checks": 0}


def served(store, study):
    """The items of an annotator's screens, in the order in which they come."""
    person, found = join(store, study), []
    while shown := answer_one(store, person, f"key-{len(found):04d}"):
        found.append(shown["item"] if "item" in shown else shown["instruction"])
    return person, found


def order_of(store, study):
    rows = sorted((row for row in all_screens(store, study) if row.annotator_id), key=lambda row: row.screen)
    return [row.pair_id for row in rows], [row.side_order for row in rows]


def test_pairs_of_high_priority_are_served_first_within_a_side_order_and_sides_stay_balanced(store, tmp_path):
    edits = draw_edits(tmp_path / "edits", 12)
    studies.create_from_edits(store, "s", [edits], StudyDesign(**PLAIN, serving="informative"))
    with pytest.raises(StudyError, match="s serves first what teaches a judge most; name the judge"):
        studies.start(store, "s")
    names = [f"item-{number:03d}" for number in range(12)]
    methods = ("tiny", "tiny-baseline")
    priorities = {(name, *pair): float(rank) for rank, name in enumerate(names) for pair in (methods, methods[::-1])}
    study = studies.start(store, "s", priorities=priorities, judge="j-1")
    served(store, study)
    pairs, sides = order_of(store, study)
    first = min(row.pair_id for row in all_screens(store, study))
    for side in (0, 1):                                                     # of each side order, the highest priority first
        ranks = [pair - first for pair, one in zip(pairs, sides, strict=True) if one == side]
        assert ranks == sorted(ranks, reverse=True)
    assert abs(sum(sides) - 6) <= 1
    assert studies.pause(store, "s").state == "paused"
    assert studies.start(store, "s").state == "running"                     # a study that goes on needs no judge again


def test_half_of_a_mixed_studys_annotators_are_the_control():
    order = assignment.Order(assignment.new_secret())
    arms = [order.serves_informative(f"a{number:03d}", "mixed") for number in range(400)]
    assert 150 < sum(arms) < 250
    assert not any(order.serves_informative(f"a{number}", "random") for number in range(20))
    assert all(order.serves_informative(f"a{number}", "informative") for number in range(20))


def test_a_serving_that_there_is_not_is_refused():
    with pytest.raises(StudyError, match="serving must be one of random, informative, mixed, got 'best'"):
        StudyDesign(serving="best")


def test_a_study_started_with_a_judge_knows_of_each_pair_how_unsure_the_judge_is(tmp_path, capsys):
    edits = draw_edits(tmp_path / "edits", 4)
    arguments = ["--data", str(tmp_path / "data")]
    assert main(["study", "create", "s", "--edits", str(edits), "--serving", "informative", "--start", *arguments]) == 0
    assert "s: running" in capsys.readouterr().out
    store = Store.open(tmp_path / "data")
    try:
        study = find_study(store, "s")
        found = pair_entropies(store, study, embedded_judge())
        with store.read() as connection:
            kept = [row[0] for row in connection.exec_driver_sql("select priority from pairs order by id")]
        assert kept == pytest.approx(list(found.values()), rel=1e-6)
        assert all(0 < value <= 3 * np.log(3) for value in found.values())
        assert start_serving(store, "s").state == "running"                 # started already: nothing is scored again
        doubtful, sure = (TrainedJudge(write_judge(tmp_path / str(size), calibration=Calibration(deviation=size, win=1.3)))
                          for size in (3.0, 0.5))                           # of single scores, which says nothing of differences
        assert pair_entropies(store, study, doubtful) == pytest.approx(pair_entropies(store, study, sure))
    finally:
        store.close()

"""The loop from ratings to an editor, at the size of a toy: every stage runs, uses what it says, and goes on where it was cut."""

import numpy as np
import pytest

from mre.benchmark import rating_loop
from mre.benchmark.rating_loop import ARMS, Loop, LoopSize, plot_best_of
from mre.errors import SettingsError
from mre.training.loop import Run

SIZE = LoopSize(items=8, annotators=3, pool=24, keep=0.25, size=32, judge_steps=3, steps=2, trainings=1, scenes=2, chosen_scenes=1)
LAB = {"width": (16, 16, 16), "batch_size": 2, "mixed_precision": "no", "log_every": 100, "warmup_steps": 0}


def no_training(config, examples):
    raise AssertionError(f"{config.out} is trained again")


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    return Loop(tmp_path_factory.mktemp("loop"), SIZE, lambda config, examples: Run(config, examples).train(), **LAB)


def test_annotators_rate_what_is_true_with_noise_and_the_judge_scores_every_triplet_of_the_pool(loop):
    opinions = loop.opinions
    assert set(opinions["truth"]) == set(opinions["judge"]) == {str(number) for number in range(SIZE.pool)}
    for number in (0, 7):
        assert tuple(opinions["truth"][str(number)].means.values()) == loop.pool.triplet(number).reward.scores
    assert all(deviation > 0 for one in opinions["judge"].values() for deviation in one.deviations.values())


def test_filters_keep_equally_many_and_the_oracles_are_the_best(loop):
    kept = {name: loop.examples(ARMS[name], 0).numbers for name in ("filtered", "oracle filtered", "random", "all")}
    assert [len(kept[name]) for name in kept] == [6, 6, 6, 24]
    lowest = [min(loop.pool.triplet(number).reward.scores) for number in range(SIZE.pool)]
    assert sorted(lowest[number] for number in kept["oracle filtered"]) == sorted(lowest)[-6:]
    weights = loop.examples(ARMS["weighted"], 0).weights
    assert np.mean(list(weights.values())) == pytest.approx(1)


def test_a_table_says_what_the_data_of_each_editor_are_truly_worth(loop):
    rows = {row[0]: row for row in loop.data_table().rows}
    scores = np.array([loop.pool.triplet(number).reward.scores for number in range(SIZE.pool)])
    assert rows["all"][1:5] == ["24", *(f"{value:.3f}" for value in scores.mean(0))]
    assert rows["all"][5] == f"{(scores.min(1) > 3).mean():.1%}"
    assert float(rows["oracle filtered"][2]) > float(rows["all"][2])
    assert rows["all"][6] == "-" != rows["oracle conditioned"][6] == "100.0%"


def test_conditioned_editors_read_the_scores_of_whom_they_are_named_after(loop):
    for name, kind in (("reconditioned", "judge"), ("oracle conditioned", "truth")):
        examples = loop.examples(ARMS[name], 0)
        assert examples.example(3).reward.scores == tuple(loop.opinions[kind]["3"].means.values())
        assert examples.example(3).has_reward == (loop.opinions[kind]["3"].doubt <= 1)


def test_every_training_sees_each_kept_triplet_once_an_epoch(loop):
    examples = loop.examples(ARMS["filtered"], 0)
    assert sorted(examples.row(sample) for sample in range(6)) == sorted(examples.numbers)
    assert sorted(examples.row(sample) for sample in range(6, 12)) == sorted(examples.numbers)


def test_the_tables_and_the_best_of_many_come_of_real_trainings_and_are_not_made_twice(loop, monkeypatch):
    monkeypatch.setattr(rating_loop, "CHOSEN_OF", (1, 2))
    arms = ["filtered", "oracle conditioned"]
    table, chosen = loop.table(arms), loop.best_of(loop.judge)
    assert [row[0] for row in table.rows] == arms
    by_oracle = [row["oracle"] for row in chosen if row["chosen by"] == "oracle"]
    assert len(chosen) == 6
    assert by_oracle == sorted(by_oracle)                                   # who chooses by the truth can only gain by a longer list
    assert all(row["oracle"] <= best + 1e-9 for row in chosen for best in [by_oracle[-1]])
    plot_best_of(chosen, loop.out / "best.png")
    assert (loop.out / "best.png").stat().st_size > 1000
    again = Loop(loop.out, SIZE, no_training, **LAB)
    assert again.table(arms).csv() == table.csv()
    assert again.best_of(None) == chosen


def test_a_loop_of_another_size_or_none_is_refused(loop):
    with pytest.raises(SettingsError, match=r"holds a loop of .*another --out"):
        Loop(loop.out, LoopSize(), no_training)
    with pytest.raises(SettingsError, match="keep must be above 0"):
        LoopSize(keep=0)
    with pytest.raises(SettingsError, match="size must be one of 32, 64"):
        LoopSize(size=48)                       # which the editor could not be built for, after the study and the judge were made

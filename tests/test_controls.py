"""Controls of the method: arms that differ in one thing, trained by the same trainer; the laboratory is cut to seconds here."""

import csv
import dataclasses

import numpy as np
import pytest

from mre.__main__ import main
from mre.benchmark.controls import ARMS, MEASURES, SHARES, ControlExamples, Training, cells, run_cell, table_of_controls
from mre.benchmark.laboratory import Pool, crossed_cell
from mre.errors import SettingsError
from mre.rewards import PERSPECTIVES
from mre.training.loop import Run


def train(config, examples):
    return Run(config, examples).train()


POOL = Pool(0, SHARES["chance"], 60, 32)


def of(arm, numbers=range(12), pool=POOL):
    examples = ControlExamples(ARMS[arm], pool)
    return [examples.training(number) for number in numbers]


def test_a_pool_holds_the_share_of_flawless_triplets_that_was_asked_for():
    flawless = {name: np.mean([min(Pool(1, share, 300, 32).triplet(index).reward.scores) == 5 for index in range(150)])
                for name, share in SHARES.items()}
    assert flawless["none"] == 0
    assert flawless["chance"] < 0.1
    assert 0.15 < flawless["25 %"] < 0.40


def test_arms_differ_in_what_they_are_told_and_not_in_what_they_see():
    told = of("reward")
    for arm in ("blind", "shuffled", "weighted", "hive", *(f"{name} alone" for name in PERSPECTIVES)):
        assert all(np.array_equal(one.edited, other.edited) for one, other in zip(told, of(arm), strict=True)), arm
    assert [one.reward for one in of("shuffled")] == [one.reward for one in of("reward", range(1, 13))]
    for one, alone, without in zip(told, of("preserving alone"), of("no preserving"), strict=True):
        assert alone.reward.scores == (5, one.reward.preserving, 5)
        assert without.reward.scores == (one.reward.following, 5, one.reward.quality)
        assert without.reward.texts[1] == "None"
    hive = of("hive")[0]
    assert hive.instruction.startswith(told[0].instruction)
    assert f"{told[0].reward.following:g} for following" in hive.instruction
    weights = [one.weight for one in of("weighted", range(60))]
    assert np.corrcoef(weights, [sum(one.reward.scores) for one in of("reward", range(60))])[0, 1] > 0.999
    assert 0.8 < np.mean(weights) < 1.2


def test_a_filter_keeps_what_its_name_says():
    pool = Pool(2, SHARES["25 %"], 40, 32)
    assert all(one.reward.scores == (5, 5, 5) for one in of("filtered", range(20), pool))
    assert all(max(one.reward.scores) <= 3 for one in of("at most 3", range(20), Pool(2, SHARES["none"], 40, 32)))
    with pytest.raises(SettingsError, match="none of 1 triplets"):
        of("filtered", [0], Pool(2, SHARES["none"], 1, 32))


def test_an_interval_counts_trainings_and_scenes():
    rng = np.random.default_rng(0)
    scenes = rng.standard_normal((1, 400)) + np.array([[-1.0], [0.0], [1.0]])       # trainings far apart, many scenes
    cell = crossed_cell(scenes)
    assert abs(cell.value - scenes.mean()) < 1e-9
    assert cell.low < -0.5
    assert cell.high > 0.5
    alike = crossed_cell(rng.standard_normal((3, 400)))
    assert alike.high - alike.low < 0.25


def test_a_training_is_made_once_and_its_table_has_a_row_for_each_arm_and_share(tmp_path):
    found = {}
    for arm in ("reward", "blind"):
        cell = Training(arm, "chance", 0)
        found[cell] = run_cell(cell, tmp_path, train, steps=2, pool_size=20, scenes=3, resolution=32, width=(16, 16, 16), batch_size=2,
                               mixed_precision="no", log_every=1)
        scores = tmp_path / "cells" / cell.name / "scores.csv"
        first = scores.stat().st_mtime_ns
        assert run_cell(cell, tmp_path, train, steps=2) == found[cell]
        assert scores.stat().st_mtime_ns == first
        with scores.open() as lines:
            assert [*next(csv.reader(lines))] == ["scene", *MEASURES]
    table = table_of_controls(found, 2, 20)
    assert [row[:3] for row in table.rows] == [["reward", "chance", "1"], ["blind", "chance", "1"]]
    for row, (_, scenes) in zip(table.rows, found.items(), strict=True):
        for cell, measure in zip(row[3:], MEASURES, strict=True):
            assert cell.value == pytest.approx(sum(scene[measure] for scene in scenes) / 3)
            assert cell.n == 3


def test_every_arm_is_trained_at_its_shares_and_unknown_ones_are_refused(tmp_path, capsys):
    assert {(one.arm, one.share) for one in cells(None, 1)} == {(name, share) for name, arm in ARMS.items() for share in arm.shares}
    assert len(cells(["reward"], 3)) == 12
    for flags, says in ((["--only", "rewards"], "rewards"), (["--trainings", "0"], "--trainings"), (["--model", "tiny"], "--model")):
        assert main(["bench", "controls", "--out", str(tmp_path / "out"), *flags]) == 1
        assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert dataclasses.is_dataclass(ARMS["reward"])

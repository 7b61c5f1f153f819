"""Pairs of models, one that reads rewards and one that does not: which are compared, and what the first gains."""

import csv

import numpy as np
import pytest

from mre.benchmark.items import SceneSet
from mre.benchmark.runs import plan_runs
from mre.editors import pipeline_info
from mre.errors import SettingsError
from mre.models import zoo
from mre.rewards import PERSPECTIVES, Reward
from tests.benchmark.conftest import TINY, bench


def test_pairs_are_those_named_or_each_model_that_reads_rewards_with_each_that_does_not(smartedit_converted):
    smart, benchmark = str(smartedit_converted), SceneSet(1, size=64).benchmark()
    def pairs(models, *named):
        return plan_runs(benchmark, models, [Reward.best()], pipeline_info.describe, pairs=named).pairs
    name = smartedit_converted.name
    assert pairs([TINY, smart]) == ((f"{TINY}@5-5-5", name),)
    assert pairs([TINY, smart], (smart, TINY)) == ((name, f"{TINY}@5-5-5"),)
    assert pairs([smart]) == pairs([TINY]) == ()
    with pytest.raises(SettingsError, match="--pair names other, which is none of the models: "):
        pairs([TINY, smart], (TINY, "other"))


def test_smartedit_with_rewards_against_smartedit_is_one_command_from_weights_to_their_table(smartedit_converted, tmp_path, capsys):
    reward = zoo.load_starting_pipeline(str(smartedit_converted), variant="released", use_score=True, use_text=True, use_attention=True,
                                        use_addition=True, perspectives=PERSPECTIVES, reward_init="released")
    reward.save_pretrained(tmp_path / "reward-smart")
    assert bench("scenes", "--model", tmp_path / "reward-smart", smartedit_converted, "--judge", "oracle", "--out", tmp_path / "out",
                 "--per-type", 1, "--steps", 1, "--size", 64, "--tables", "scores", "--cache", tmp_path / "kept.sqlite", "--sheet", 0,
                 "--no-preserving") == 0
    assert "reward-smart@5-5-5 minus smart" in capsys.readouterr().out
    scores = {(row["method"], row["item"], row["perspective"]): float(row["score"])
              for row in csv.DictReader((tmp_path / "out" / "scores.csv").open(newline=""))}
    row = [*csv.DictReader((tmp_path / "out" / "tables" / "pairs.csv").open(newline=""))][2]
    for name in PERSPECTIVES:
        gains = [score - scores["smart", item, name] for (method, item, of), score in scores.items() if (method, of) == (
            "reward-smart@5-5-5", name)]
        assert len(gains) == 7
        assert float(row[f"{name} score"]) == pytest.approx(np.mean(gains), abs=1e-5)
    pictures = [[path.read_bytes() for path in sorted((tmp_path / "out" / name).glob("*.png"))] for name in ("smart", "reward-smart@5-5-5")]
    assert len(pictures[0]) == 7
    assert pictures[0] != pictures[1], "the new layers change the edits"

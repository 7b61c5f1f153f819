"""Training on what a judge's scores leave: kept, weighed, or with the judge's scores as rewards."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from scipy.stats import norm

from mre.__main__ import main
from mre.data.rewardedit import read_rewards
from mre.errors import DataError, SettingsError
from mre.files import csv_text
from mre.rewards import PERSPECTIVES
from mre.scoring.files import SCORES
from mre.scoring.keep import Keep
from mre.scoring.selection import Opinion, read_opinions, weights_of
from mre.training.config import TrainConfig
from mre.training.draws import Draws
from mre.training.examples import collate
from mre.training.objectives.noise import NoisePrediction
from mre.training.stored_examples import StoredExamples
from tests.training.conftest import COUNT
from tests.training.test_objective import _Answers, batch_and_draws


def opinion(*means: float, deviation: float | None = None) -> Opinion:
    deviations = {} if deviation is None else dict.fromkeys(PERSPECTIVES, deviation)
    return Opinion(dict(zip(PERSPECTIVES, means, strict=True)), deviations)


@pytest.fixture
def names(tree) -> list[str]:
    return sorted(read_rewards(tree / "scenes.jsonl"))


@pytest.fixture
def scores(tree, tmp_path, names):
    """Scores of all triplets, better from one to the next; every third is unsure."""
    path = tmp_path / "scores.jsonl"
    rows = []
    for number, name in enumerate(names):
        entry = {"score": 5 * number / (COUNT - 1), "text": "None", "deviation": 2.0 if number % 3 == 0 else 0.1}
        rows.append({"id": f"{name}/{seed_of(tree, name)}", "judge": "j", **dict.fromkeys(PERSPECTIVES, entry)})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def seed_of(tree, name: str) -> str:
    return next((tree / name).glob("*_0.*")).name.split("_")[0]


def folders(source: StoredExamples) -> set[str]:
    return {text.folder for text in source.texts}


def test_the_chance_of_being_good_on_all_is_the_product_of_normal_tails():
    one = Opinion({"following": 4.0, "quality": 2.5}, {"following": 0.5, "quality": 1.0})
    assert one.chance(3.0) == pytest.approx(norm.sf(3, 4, 0.5) * norm.sf(3, 2.5, 1), rel=1e-12)
    assert [opinion(4, 4, 3).chance(bar) for bar in (2.9, 3.0)] == [1, 0], "without a deviation it is certain, and 3 is not above 3"


def test_the_best_are_those_with_the_highest_lowest_bound():
    scored = {"a": opinion(5, 5, 1), "b": opinion(3, 3, 3), "c": opinion(3.5, 3.5, 3.5, deviation=1.0), "d": opinion(3, 3, 4)}
    assert Keep.parse("top:1").chosen(scored, 3) == ["d"]
    assert Keep.parse("top:3").chosen(scored, 3) == ["b", "c", "d"]


def test_weights_have_the_mean_1_and_the_proportions_of_the_chances():
    scored = {"a": opinion(4, 4, 4, deviation=0.8), "b": opinion(3, 3, 3, deviation=0.8)}
    weights = weights_of(scored, scored, 3)
    assert np.mean(list(weights.values())) == pytest.approx(1)
    assert weights["b"] / weights["a"] == pytest.approx((0.5 / norm.sf(3, 4, 0.8)) ** 3)


def test_only_what_is_kept_is_trained_on_with_its_own_rewards(config, scores, names, tree):
    source = StoredExamples(dataclasses.replace(config, scores=(str(scores),), keep="top:5"))
    assert folders(source) == {names[number] for number in (17, 19, 20, 22, 23)}, "18 and 21 are unsure"
    rewards = read_rewards(tree / "rewards.json")
    assert {text.folder: source.reward(text) for text in source.texts} == {name: rewards[name].reward for name in folders(source)}
    sure = StoredExamples(dataclasses.replace(config, scores=(str(scores),), keep="p > 0.9", keep_above=4.0))
    assert folders(sure) == {names[number] for number in (20, 22, 23)}, "19 has 4.13 ± 0.1 three times: 0.74"


def test_the_judges_scores_become_the_reward_and_unsure_ones_are_no_reward(config, scores, names):
    source = StoredExamples(dataclasses.replace(config, rewards="", scores=(str(scores),), recondition=True, weight=True))
    assert len(source.texts) == COUNT
    examples = [source.training(sample) for sample in range(COUNT)]
    for example, (index, _view) in zip(examples, map(source.draw, range(COUNT)), strict=True):
        number = names.index(source.texts[index].folder)
        assert example.reward.scores == pytest.approx((5 * number / (COUNT - 1),) * 3)
        assert example.has_reward == (number % 3 != 0)
    assert np.mean([example.weight for example in examples]) == pytest.approx(1)
    batch = collate(list(enumerate(examples)))
    assert batch.weight.tolist() == pytest.approx([example.weight for example in examples])
    assert batch.has_reward.sum() == COUNT - 8


def test_a_weight_multiplies_the_loss_of_its_triplet():
    batch, draws = batch_and_draws([100, 200])
    made = NoisePrediction(DDPMScheduler(prediction_type="sample"), TrainConfig())
    weighed = dataclasses.replace(batch, weight=torch.tensor([1.5, 0.5]))
    loss = made(_Answers(torch.zeros_like(batch.latents)), weighed, draws)["loss"].item()
    first, second = (batch.latents**2).mean(dim=(1, 2, 3)).tolist()
    assert loss == pytest.approx((1.5 * first + 0.5 * second) / 2, rel=1e-5)


def test_a_run_that_is_filtered_weighed_and_reconditioned_trains_and_an_unsure_reward_does_not_reach_the_model(config, scores, train):
    run = train(config, rewards="", scores=(str(scores),), keep="top:20", weight=True, recondition=True, max_steps=2)
    assert len(run.triplets.texts) == 20
    batch = collate([(sample, run.triplets.training(sample)) for sample in range(8)])
    conditions = run.learner.conditions(batch, Draws.of(run.config, range(8), (4, 4, 4)))
    assert conditions["reward_present"].tolist() == batch.has_reward.tolist()


def test_what_score_writes_is_what_training_reads(config, tree, tmp_path):
    """The oracle's scores of the tree, by the command, as rewards."""
    out = tmp_path / "oracle.jsonl"
    assert main(["score", str(tree), "--judge", "oracle", "--workers", "1", "--limit", "6", "--out", str(out), "--cache",
                 str(tmp_path / "a.sqlite")]) == 0
    source = StoredExamples(dataclasses.replace(config, rewards="", scores=(str(out),), recondition=True))
    judged = read_rewards(out)
    assert {text.id: source.reward(text) for text in source.texts} == {name: row.reward for name, row in judged.items()}


def test_csv_scores_and_shards_are_read_as_one(tmp_path):
    row = ("x", "edited", "j", "1", 0, "quality", 3.5, "", "blurry", "", 0.1, 0, 0.25)
    (tmp_path / "a.csv").write_text(csv_text(SCORES, [row]))
    (tmp_path / "b.csv").write_text(csv_text(SCORES, [("y", *row[1:])]))
    found = read_opinions([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert found["x"] == found["y"] == Opinion({"quality": 3.5}, {"quality": 0.25}, {"quality": "blurry"})


@pytest.mark.parametrize(("flags", "said"), [
    ({"keep": "best:5"}, 'keep must look like top:20000 or "p>0.8"'),
    ({"keep": "top:0"}, "keep must look like"),
    ({"keep": "p>1.5"}, "keep must look like"),
    ({"keep": "top:3", "scores": ()}, "keep needs scores"),
    ({}, "give one of them"),
    ({"keep": "top:3", "data": "scenes"}, "set data to pix2pix"),
    ({"recondition": True}, "leave out rewards"),
    ({"keep": "top:3", "keep_above": 6.0}, "keep_above must be at most 5"),
    ({"recondition": True, "rewards": "", "use_score": False, "use_text": False}, "to a model that reads none")])
def test_settings_that_cannot_be_used_are_named(config, scores, flags, said):
    with pytest.raises(SettingsError, match=said):
        dataclasses.replace(config, **{"scores": (str(scores),), **flags})


ONE = '{"id": "x", "judge": "j", "quality": {"score": 1}}'
OTHER = ONE.replace("x", "y").replace("j", "k").replace("kudge", "judge")


@pytest.mark.parametrize(("content", "flags", "said"), [
    ('{"id": "x", "judge": "j", "quality": {"score": 9}}', {}, "row 1: score of quality must be a number between 0 and 5, got '9'"),
    ('{"id": "x", "judge": "j", "quality": {"score": 1, "deviation": -1}}', {}, "deviation of quality must be a number, 0 or more"),
    ('{"id": "x", "judge": "j"}', {}, "'x' has no score"),
    ('{"judge": "j"}', {}, "must be a JSON object with an id"),
    ('{"id": "x", "judge": "j", "quality": 3}', {}, "must be an object with a score"),
    ("", {}, "no scores"),
    (f"{ONE}\n{ONE}", {}, "row 2: 'x' has scores already"),
    (f"{ONE}\n{OTHER}", {}, "scores of one judge are needed"),
    (ONE, {"keep": "top:2"}, "keep top:2: there are scores of 1 triplets only"),
    (ONE, {"keep": "p>0.5"}, "no one of 1 triplets is above 3"),
    (ONE, {"keep": "", "weight": True}, "none of 1 triplets can be above 3"),
    (ONE, {"keep": "", "recondition": True, "rewards": ""}, "has none on following, preserving"),
    (ONE, {"keep": "top:1"}, "no such triplet folder")])
def test_scores_that_cannot_be_used_are_named_in_one_line(config, tmp_path, content, flags, said):
    path = tmp_path / "s.jsonl"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        StoredExamples(dataclasses.replace(config, **{"scores": (str(path),), "keep": "top:1", **flags}))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)

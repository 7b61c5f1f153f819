"""Training of judges on labels whose truth is known: it learns, stops, resumes, and knows strict annotators from bad edits."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from mre.errors import DataError, MreError, SettingsError
from mre.judge.reward_models.folder import Calibration
from mre.judge.reward_models.heads import AnnotatorOffsets, Labels, RewardHeads, Scores, label_loss, pair_gaussians
from mre.judge.reward_models.tiny import TinyConfig, TinyJudge
from mre.training.judges.batches import WeightedSource, chosen_groups, collate, label_tensors
from mre.training.judges.config import JudgeTraining
from mre.training.judges.groups import GroupList, LabelledEdit, LabelledGroup, Preference, split
from mre.training.judges.loop import JudgeRun
from mre.training.judges.measure import Predictions, calibrate, calibration_error, figures, predict
from tests.judge.tiny_judges import SMALL, small_network

QUALITY = ("quality",)


def square(level):
    return Image.new("RGB", (16, 16), (level, level, level))


def grey_groups(count, seed=0):
    """Edits whose true quality is how bright they are: 0 for black, 5 for white."""
    rng = np.random.default_rng(seed)
    groups = []
    for number in range(count):
        levels = rng.integers(0, 256, 2)
        edits = tuple(LabelledEdit("make it white", square(90), square(int(level)), (None, None, float(round(level / 51))))
                      for level in levels)
        groups.append(LabelledGroup(f"{seed}-{number}", edits))
    return GroupList("greys", groups)


def network(size=16, seed=0, perspectives=QUALITY):
    torch.manual_seed(seed)
    return TinyJudge(TinyConfig(**{**SMALL, "size": size}, perspectives=perspectives))


def settings(**changes):
    return JudgeTraining(**{"steps": 60, "groups": 8, "validate_every": 20, "learning_rate": 1e-2, "ema": 0.8, "patience": 9} | changes)


def run_of(out, config, source=None, held=None, seed=0):
    train = [WeightedSource(source or grey_groups(60))]
    return JudgeRun(network(seed=seed), train, [held or grey_groups(20, 1)], [], config, out, ["greys"])


def test_a_judge_learns_what_its_labels_say_and_says_how_sure_it_is(tmp_path):
    run = run_of(tmp_path, settings())
    progress = run.train()
    found = predict(run.network, run.held)
    made = figures(found, calibrate(found))["quality"]
    assert made["pair_accuracy"] > 0.85
    assert made["mean_error"] < 0.8
    assert progress.losses[-1][1] < progress.losses[0][1] < 1.8          # log 6 = 1.79: any of six scores, at random


class CutShort(GroupList):
    """A source that is cut off, as by Ctrl-C, when so many groups were read."""

    def __init__(self, groups, after):
        super().__init__("greys", groups._groups)
        self.left = after

    def group(self, number, round=0):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().group(number, round)


def test_a_run_that_was_cut_ends_with_the_same_weights_as_one_that_was_not(tmp_path):
    config = settings(steps=6, validate_every=2)
    whole = run_of(tmp_path / "whole", config)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "cut", config, CutShort(grey_groups(60), 8 * 5 - 2)).train()
    resumed = run_of(tmp_path / "cut", config, seed=7)          # the first weights are read back, not drawn
    assert resumed.progress.step == 4
    resumed.train()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_run_with_other_settings_or_data_does_not_go_on_with_anothers(tmp_path):
    run_of(tmp_path, settings(steps=2, validate_every=2)).train()
    with pytest.raises(SettingsError, match="holds a training with other learning_rate"):
        run_of(tmp_path, settings(steps=2, validate_every=2, learning_rate=1e-3))
    with pytest.raises(SettingsError, match="other data"):
        JudgeRun(network(), [WeightedSource(grey_groups(9))], [grey_groups(3, 1)], [], settings(steps=2, validate_every=2), tmp_path, ["b"])


def test_training_stops_where_held_out_labels_grow_no_likelier_and_keeps_the_best(tmp_path):
    contrary = GroupList("contrary", [LabelledGroup(group.source, tuple(
        dataclasses.replace(edit, scores=(None, None, 5 - edit.scores[2])) for edit in group.edits))
        for group in grey_groups(20, 1)._groups])
    run = run_of(tmp_path, settings(steps=200, validate_every=10, patience=2), held=contrary)
    progress = run.train()
    assert progress.step < 200
    assert progress.best == min(loss for _, loss in progress.losses)
    assert progress.best_step == progress.step - 20


def test_a_training_whose_numbers_go_wrong_ends_with_a_word_and_not_with_the_network_it_began_with(tmp_path):
    run = run_of(tmp_path, settings(steps=2, validate_every=1, learning_rate=1e38))
    with pytest.raises(MreError, match=r"held-out loss is not a number after step [12]"):
        run.train()


def test_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing to train on"):
        JudgeRun(network(), [WeightedSource(GroupList("none", []))], [], [], settings(), tmp_path)


# -- labels ---------------------------------------------------------------------------------------------------------------------------

def random_scores(rows, columns=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Scores(torch.randn(rows, columns, generator=generator) + 2.5, torch.rand(rows, columns, generator=generator) + 0.5)


def mixed_groups():
    photo = square(0)
    scored = LabelledGroup("a", (LabelledEdit("x", photo, photo, (4.0, None, 5.0), annotator="ann"),
                                 LabelledEdit("x", photo, photo, (2.0, 1.0, 5.0), annotator="ann")))
    preferred = LabelledGroup("b", (LabelledEdit("y", photo, photo), LabelledEdit("y", photo, photo)),
                              (Preference(0, 1, (1.0, None, 0.0, -1.0)),))
    return [scored, preferred, LabelledGroup("c", (LabelledEdit("z", photo, photo, (None, 3.0, None), step=0.5),))]


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def test_one_batch_of_scores_and_preferences_weighs_what_each_says_and_no_more():
    """Worked out one by one with erfc: 6 scores, 3 + 3 preferences, an open end, a half-point grid."""
    scores, half = random_scores(5), torch.tensor([0.4, 0.5, 0.6, 0.3])
    groups = mixed_groups()
    total, amount = label_loss(scores, label_tensors(("following", "preserving", "quality"), groups, {"ann": 0}), half, pair_share=0.25)
    mean, deviation = scores.mean.double().tolist(), scores.deviation.double().tolist()

    def score(row, column, low, high):
        m, s = mean[row][column], deviation[row][column]
        return -math.log((1 if high is None else phi((high - m) / s)) - (0 if low is None else phi((low - m) / s)))

    def pair(first, second, column, label):
        if column == 3:
            m = sum(mean[first]) / 3 - sum(mean[second]) / 3
            s = math.sqrt(sum(d * d for d in deviation[first] + deviation[second]) / 9)
        else:
            m, s = mean[first][column] - mean[second][column], math.hypot(deviation[first][column], deviation[second][column])
        t = half[column].item()
        win, loss = phi((m - t) / s), phi((-m - t) / s)
        return -math.log({1: win, 0: 1 - win - loss, -1: loss}[label])
    said = [score(0, 0, 3.5, 4.5), score(0, 2, 4.5, None), score(1, 0, 1.5, 2.5), score(1, 1, 0.5, 1.5), score(1, 2, 4.5, None),
            score(4, 1, 2.75, 3.25)]
    pairs = [pair(0, 1, 0, 1), pair(0, 1, 2, 0), pair(2, 3, 0, 1), pair(2, 3, 2, 0), pair(2, 3, 3, -1)]
    assert total.item() == pytest.approx(sum(said) + 0.25 * sum(pairs), rel=1e-5)
    assert amount.item() == pytest.approx(len(said) + 0.25 * len(pairs))


def test_what_is_not_known_has_no_gradient_and_no_nan():
    scores = Scores(*(value.requires_grad_() for value in random_scores(5)))
    total, _ = label_loss(scores, label_tensors(("following", "preserving", "quality"), mixed_groups()[2:] * 5, {}), torch.full((4,), 0.5))
    total.backward()
    for gradient in (scores.mean.grad, scores.deviation.grad):
        assert (gradient[:, [0, 2]] == 0).all()
        assert (gradient[:, 1] != 0).all()


def test_swapping_all_pairs_and_their_labels_changes_nothing():
    labels = label_tensors(("following", "preserving", "quality"), mixed_groups(), {})
    other = labels._replace(first=labels.second, second=labels.first, preferred=-labels.preferred)
    scores, half = random_scores(5), torch.full((4,), 0.5)
    assert label_loss(scores, labels, half)[0].item() == pytest.approx(label_loss(scores, other, half)[0].item(), rel=1e-6)


def test_a_strict_annotator_is_not_taken_for_bad_edits():
    """Two people score the same 40 edits, one two points below the other: the judge ends between them, and knows who is strict."""
    truth = torch.linspace(1.5, 3.5, 40)
    mean, offsets = torch.full((40, 1), 2.5, requires_grad=True), AnnotatorOffsets(2, 1, prior=1.0)
    optimizer = torch.optim.Adam([mean, *offsets.parameters()], lr=0.05)
    marks = torch.cat([truth + 1, truth - 1])[:, None]
    labels = Labels(marks - 0.5, marks + 0.5, torch.ones(80), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long),
                    torch.zeros(0, 2), torch.zeros(0), torch.tensor([0] * 40 + [1] * 40))
    for _ in range(300):
        scores = Scores(torch.cat([mean, mean]), torch.full((80, 1), 0.5))
        total, _ = label_loss(scores, labels, torch.full((2,), 0.5), offsets(labels.annotator))
        optimizer.zero_grad()
        (total + offsets.prior_loss()).backward()
        optimizer.step()
    assert offsets.offsets.detach().flatten().tolist() == pytest.approx([1.0, -1.0], abs=0.05)
    assert torch.allclose(mean.detach()[:, 0], truth, atol=0.05)
    assert offsets(torch.tensor([-1])).item() == 0          # nobody in particular


def test_an_original_is_never_trained_on_and_held_out_whatever_the_data_set():
    first, second = grey_groups(200), GroupList("others", grey_groups(200)._groups[::-1])
    sides = [{part.source_of(n) for n in range(len(part))} for source in (first, second) for part in split(source, 0.2, 1000, 0)]
    assert not sides[0] & sides[1]
    assert sides[0] == sides[2]
    assert 20 < len(sides[1]) < 65


def test_processes_share_the_groups_and_a_resumed_stream_goes_on_where_it_was():
    sources = [WeightedSource(grey_groups(7)), WeightedSource(grey_groups(5, 1), 3.0)]
    def first(rank, world, skip, count):
        stream = chosen_groups(sources, 3, rank, world, skip)
        return [next(stream) for _ in range(count)]
    whole = first(0, 1, 0, 400)
    assert [first(rank, 2, 0, 3) for rank in (0, 1)] == [whole[0:6:2], whole[1:6:2]]
    assert first(1, 2, 2, 2) == whole[5:8:2]
    assert 0.68 < sum(place == 1 for place, _, _ in whole) / 400 < 0.82          # of weight 3 beside 1
    assert {number for place, number, rounds in whole if place == 0 and rounds == 0} == set(range(7))


# -- measures -------------------------------------------------------------------------------------------------------------------------

def drawn_predictions(count=4000, too_sure=2.0, seed=0):
    """A judge whose errors are Gaussian, `too_sure` times as large as it says; labels are points, ties differences within 0.4."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 4, (count, 1))
    said = rng.uniform(0.2, 0.5, (count, 1))
    mean = truth + rng.normal(size=(count, 1)) * said * too_sure
    first, second = np.arange(0, count, 2), np.arange(1, count, 2)
    difference = truth[first] - truth[second]
    preferred = np.where(np.abs(difference) <= 0.4, 0.0, np.sign(difference))
    groups = [LabelledGroup(str(number), (LabelledEdit("", square(0), square(0)),) * 2) for number in range(count // 2)]
    calibrates = np.repeat(rng.random(count // 2) < 0.5, 2)
    edits = [(number // 2, number % 2) for number in range(count)]
    return Predictions(QUALITY, groups, mean, said, truth, first, second, preferred, edits, calibrates, 0.0)


def test_deviations_that_are_too_small_are_widened_until_one_holds_what_it_should():
    found = drawn_predictions()
    raw, fitted = figures(found, {"quality": Calibration()})["quality"], figures(found, calibrate(found))["quality"]
    assert raw["coverage"] == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=0.04)          # half a deviation holds 38 %
    assert 0.65 < fitted["coverage"] < 0.72
    assert fitted["calibration_error"] < 0.03 < raw["calibration_error"]
    assert fitted["pair_accuracy"] == raw["pair_accuracy"]
    assert fitted["accuracy_with_ties"] <= fitted["oracle_threshold"] + 0.02


def test_the_error_of_a_probability_is_its_distance_from_what_happened():
    assert calibration_error(np.array([0.05, 0.05, 0.95, 0.95]), np.array([0, 1, 1, 1])) == pytest.approx((2 * 0.45 + 2 * 0.05) / 4)
    assert calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0


def test_the_whole_of_an_edit_is_the_mean_of_its_perspectives():
    scores = Scores(torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 1.0]]), torch.tensor([[0.3, 0.4, 0.5], [1.0, 2.0, 2.0]]))
    difference, deviation = pair_gaussians(scores, torch.tensor([0]), torch.tensor([1]))
    assert difference[0, 3].item() == pytest.approx(2 - 3)
    assert deviation[0, 3].item() == pytest.approx(math.sqrt(0.09 + 0.16 + 0.25 + 1 + 4 + 4) / 3)


def test_heads_begin_in_the_middle_of_the_scale_with_a_deviation_of_about_a_point():
    heads = RewardHeads(8, ("following", "quality"))
    made = heads(torch.randn(50, 8))
    assert made.mean.mean().item() == pytest.approx(2.5, abs=0.4)
    assert 0.7 < made.deviation.mean().item() < 1.5
    assert made.mean.shape == (50, 2)


def test_settings_are_checked_on_construction():
    with pytest.raises(SettingsError, match="ema must be below 1"):
        JudgeTraining(ema=1.0)
    with pytest.raises(SettingsError, match="pairs must be one of probit, logistic"):
        JudgeTraining(pairs="elo")
    assert json.loads(json.dumps(dataclasses.asdict(JudgeTraining())))["pairs"] == "probit"


def preferred_only(group):
    """The group without its scores: which of the two is better is all that is said."""
    first, second = (edit.scores[2] for edit in group.edits)
    edits = tuple(dataclasses.replace(edit, scores=(None,) * 3) for edit in group.edits)
    return LabelledGroup(group.source, edits, (Preference(0, 1, (None, None, float(np.sign(first - second)), None)),))


@pytest.mark.parametrize("pairs", ["logistic", "uncertainty", "bradley-terry"])
def test_other_pair_losses_teach_order_and_leave_the_scale_free(tmp_path, pairs):
    groups = [preferred_only(group) for group in grey_groups(40)._groups]
    source = GroupList("pairs", groups)
    config = settings(steps=25, pairs=pairs, validate_every=25)
    run = JudgeRun(small_network(QUALITY), [WeightedSource(source)], [source], [], config, tmp_path)
    run.train()
    inputs, labels = collate(run.network, groups, {})
    with torch.no_grad():
        difference, _ = pair_gaussians(run.network(**inputs), labels.first, labels.second)
    decided = labels.preferred[:, 0] != 0
    assert (difference[:, 0].sign() == labels.preferred[:, 0])[decided].float().mean() > 0.85

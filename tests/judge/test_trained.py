"""Trained judges behind the door of all judges: folders, batches, deviations, and folders that are none."""

import binascii
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import integrate, stats

from mre.errors import JudgeError
from mre.judge.kinds import make_judge
from mre.judge.reward_models.folder import Calibration
from mre.judge.reward_models.likelihood import reported_score
from mre.judge.reward_models.words import word_numbers
from mre.judge.trained import TrainedJudge
from mre.judge.verdicts import Ask, score_one
from mre.rewards import PERSPECTIVES
from tests.judge.tiny_judges import small_network, write_judge


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_judge(tmp_path_factory.mktemp("judges") / "mine")


def picture(seed, size=(48, 40)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def asks(count=3):
    words = ("make it red", "remove the tree on the left", "把它变成冬天")
    return [Ask(f"edit {n}", words[n % 3], picture(n), picture(n + 50)) for n in range(count)]


def heard(judge, some, task="reward"):
    found = []
    tally = judge.score_all(some, task, lambda ask, verdicts: found.append((ask.item, verdicts)))
    return found, tally


def test_a_folder_is_a_judge_that_scores_every_perspective_with_a_deviation(folder):
    judge = make_judge(str(folder))
    found, tally = heard(judge, asks(4))
    assert [item for item, _ in found] == ["edit 0", "edit 1", "edit 2", "edit 3"]
    assert tally.edits == 4
    for _, verdicts in found:
        assert [verdict.perspective for verdict in verdicts] == list(PERSPECTIVES)
        for verdict in verdicts:
            assert 0 <= verdict.score <= 5
            assert verdict.deviation > 0
            assert verdict.judge_version == judge.version
            assert verdict.accepted == (verdict.score >= 4)
    assert len({verdicts.scores for _, verdicts in found}) == 4
    assert judge.name == "mine"


def test_a_batch_of_three_says_what_three_batches_of_one_say(folder):
    judge, some = TrainedJudge(folder), asks()
    together = [verdicts.scores for _, verdicts in heard(judge, some)[0]]
    alone = [score_one(judge, ask, "evaluate").scores for ask in some]
    assert np.allclose(together, alone, atol=2e-4)


def test_a_picture_that_cannot_be_read_fails_its_edit_and_the_others_are_scored(folder, tmp_path):
    some = asks()
    some[1] = Ask("broken", "make it red", tmp_path / "none.png", picture(1))
    found, tally = heard(make_judge(str(folder)), some)
    assert tally.failed == len(PERSPECTIVES)
    assert [bool(verdicts.errors) for _, verdicts in found] == [False, True, False]
    assert "none.png" in found[1][1].errors["quality"]
    assert found[2][1].scores == heard(TrainedJudge(folder), [asks()[2]])[0][0][1].scores


def test_deviations_are_multiplied_by_what_was_calibrated_and_scores_are_not(tmp_path):
    plain = TrainedJudge(write_judge(tmp_path / "plain"))
    wide = TrainedJudge(write_judge(tmp_path / "wide", calibration=Calibration(deviation=2.0)))
    one, other = (score_one(judge, asks()[0], "reward") for judge in (plain, wide))
    assert one.scores == other.scores
    assert [v.deviation for v in other] == pytest.approx([2 * v.deviation for v in one], rel=1e-3)
    assert plain.version != wide.version


def test_an_answer_that_is_no_number_is_a_failed_answer_and_the_other_perspectives_stand(tmp_path):
    network = small_network()
    network.heads.heads["following"][-1].bias.data.fill_(math.nan)
    verdicts = score_one(make_judge(str(write_judge(tmp_path / "lost", network=network))), asks()[0], "reward")
    assert verdicts.errors == {"following": "the network's answer is no number"}
    assert [score is None for score in verdicts.scores] == [True, False, False]


def test_a_judge_that_knows_two_perspectives_leaves_the_third_out(tmp_path):
    verdicts = score_one(make_judge(str(write_judge(tmp_path / "two", ("following", "quality")))), asks()[0], "reward")
    assert verdicts.scores[1] is None
    with pytest.raises(JudgeError, match="two does not score preserving"):
        _ = verdicts["preserving"]


def test_answers_are_kept_until_the_judge_is_another(folder, tmp_path):
    first = heard(make_judge(str(folder), cache=tmp_path / "answers.sqlite"), asks())
    again = heard(make_judge(str(folder), cache=tmp_path / "answers.sqlite"), asks())
    assert again[1].cached == 9
    assert [v.scores for _, v in first[0]] == [v.scores for _, v in again[0]]
    other = write_judge(tmp_path / "mine", seed=1)
    assert heard(make_judge(str(other), cache=tmp_path / "answers.sqlite"), asks())[1].cached == 0


@pytest.mark.parametrize(("mean", "deviation"), [(2.5, 0.3), (-1.0, 0.8), (5.7, 0.5), (4.9, 2.0), (0.2, 7.0)])
def test_the_reported_score_is_that_of_a_gaussian_whose_scale_ends(mean, deviation):
    density = stats.norm(mean, deviation)
    def moment(power):
        inside = integrate.quad(lambda z: z**power * density.pdf(z), 0, 5, epsabs=1e-12, points=[min(max(mean, 0), 5)])[0]
        return inside + 5**power * density.sf(5)
    found = reported_score(torch.tensor([mean]), torch.tensor([deviation]))
    assert found[0].item() == pytest.approx(moment(1), abs=1e-6)
    assert found[1].item() == pytest.approx(math.sqrt(moment(2) - moment(1) ** 2), abs=1e-6)


def test_words_have_the_same_numbers_in_every_process_and_script():
    assert word_numbers("Make it red!", 3000) == [198, 6, 1151, 2226]          # weights rest on them
    assert word_numbers("Make it red!", 3000)[2] == 1 + binascii.crc32(b"red") % 2999
    assert word_numbers("变红", 3000) == word_numbers("变 红", 3000)
    assert word_numbers("café", 3000) == word_numbers("cafe", 3000)
    assert word_numbers("", 3000) == [0]


def damaged(folder, **changes):
    facts = json.loads((folder / "judge.json").read_text())
    (folder / "judge.json").write_text(json.dumps(facts | changes))


def test_folders_that_are_no_judges_are_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(JudgeError, match=r"empty is not the folder of a judge: it has no judge\.json"):
        make_judge(str(tmp_path / "empty"))
    for name, changes, words in (
            ("kind", {"kind": "huge"}, "knows no judge of the kind 'huge'"), ("form", {"format": 2}, "its format is 2"),
            ("order", {"perspectives": ["quality", "following"]}, "in this order"), ("sizes", {"network": {"size": 32, "wide": 1}}, "wide"),
            ("calibration", {"calibration": {name: {"deviation": -1} for name in PERSPECTIVES}}, "deviation must be a positive number")):
        folder = write_judge(tmp_path / name)
        damaged(folder, **changes)
        with pytest.raises(JudgeError, match=words) as caught:
            score_one(make_judge(str(folder)), asks()[0], "reward")
        assert "\n" not in str(caught.value)


def test_weights_of_another_layout_or_size_are_named(tmp_path):
    folder = write_judge(tmp_path / "weights")
    tensors = load_file(folder / "model.safetensors")
    head = "heads.heads.quality.2.weight"
    for changed, words in (
            ({name: value for name, value in tensors.items() if name != head}, f"missing tensor {head}"),
            (tensors | {"more": torch.zeros(1)}, "unexpected tensor more"),
            (tensors | {head: torch.zeros(3, 8)}, f"tensor {head} must be \\(2, 8\\), it is \\(3, 8\\)")):
        save_file(changed, folder / "model.safetensors")
        with pytest.raises(JudgeError, match=words):
            score_one(make_judge(str(folder)), asks()[0], "reward")
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(JudgeError, match="cannot be read"):
        score_one(make_judge(str(folder)), asks()[0], "reward")

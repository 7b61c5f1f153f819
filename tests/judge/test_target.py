"""The body that predicts the clean edit: it learns that prediction, and its scores hang on what the reader makes of the request."""

import dataclasses

import numpy as np
import pytest
import torch

from mre.judge.reward_models import bodies
from mre.judge.reward_models.folder import judge_version, load_network, read_facts
from mre.judge.reward_models.target import TargetConfig, TargetJudge, distances, drawn_loss, predicted, read_values
from mre.rewards import PERSPECTIVES
from mre.training.judges.batches import WeightedSource, collate
from mre.training.judges.config import JudgeTraining
from mre.training.judges.loop import JudgeRun
from mre.training.judges.scenes import SceneGroups
from tests.judge.tiny_judges import write_judge

SMALL = {"size": 32, "widths": (8, 8, 8, 8), "blocks": (1, 1), "word_buckets": 60, "word_width": 8, "told": 16, "queries": 2,
         "features": 16, "hidden": 8}


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return bodies.build("target", SMALL, PERSPECTIVES, "here")


@pytest.fixture(scope="module")
def scenes():
    source = SceneGroups(4, 5, size=32)
    return [source.group(number) for number in range(4)]


def truths(groups):
    return [edit.drawn for group in groups for edit in group.edits]


def test_every_drawn_edit_says_what_was_asked_and_how_far_it_was_followed(scenes):
    for group in scenes:
        for edit in group.edits:
            original, target = np.asarray(edit.original), edit.drawn.target
            away = np.abs(original.astype(int) - target.astype(int))[~edit.drawn.mask]
            assert away.size == 0 or away.max() <= 11                       # 0.04 of 255, and half a level of rounding
            if edit.scores == (0.0, 5.0, 5.0):
                assert np.array_equal(edit.drawn.followed, original)
            if edit.scores == (5.0, 5.0, 5.0):
                assert np.array_equal(np.asarray(edit.edited), target)
            assert [kind == "" for kind in edit.drawn.kinds] == [score == 5 for score in edit.scores]


def test_training_teaches_the_prediction_of_the_clean_edit(tmp_path, scenes):
    source = SceneGroups(2, 5, size=32)
    scenes = scenes[:2]
    made = network()
    inputs, _ = collate(made, scenes, {})
    drawn = made.drawn(truths(scenes))
    with torch.no_grad():
        before = drawn_loss(made.eval().features(**inputs)[1], drawn).item()
    config = JudgeTraining(steps=15, groups=2, validate_every=15, learning_rate=2e-2, ema=0.5)
    JudgeRun(made, [WeightedSource(source)], [source], [], config, tmp_path).train()
    with torch.no_grad():
        after = drawn_loss(made.eval().features(**inputs)[1], drawn).item()
    assert after < 0.8 * before


def test_edits_of_which_nothing_is_known_teach_by_their_scores_alone(scenes):
    made = network()
    half = [truth if place % 2 else None for place, truth in enumerate(truths(scenes))]
    assert made.drawn([None, None]) is None
    drawn = made.drawn(half)
    inputs, _ = collate(made, scenes, {})
    found = made.features(**inputs)[1]
    known = [place for place, truth in enumerate(half) if truth]
    alone = drawn_loss(type(found)(*(part[known] for part in found)), type(drawn)(*(part[known] for part in drawn)))
    assert drawn_loss(found, drawn).item() == pytest.approx(alone.item(), rel=1e-4)


def test_the_distance_of_a_perfect_edit_is_none_and_of_an_untouched_one_is_all():
    original, target = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)
    maps = torch.zeros(1, 8, 8, 8)
    maps[:, 0], maps[:, 7] = 30.0, 30.0                     # the target is the edited picture, and its place is everywhere
    perfect = distances(predicted(maps, original, target), original, target)
    maps[:, 0], maps[:, 1:4] = -30.0, 0.5                   # the same target, predicted off an original that stayed as it was
    untouched = distances(predicted(maps, original, original), original, original)
    assert perfect[0, 20].item() == pytest.approx(0, abs=1e-3)              # along the way: what is still to go
    assert untouched[0, 20].item() == pytest.approx(1, abs=0.05)


def test_the_reader_knows_a_synonym_that_the_words_alone_do_not(scenes):
    names = TargetConfig(read=("operation=remove", "operation=add", "slot=none")).read
    assert read_values("erase the ball", names)[0] > 0.5 > read_values("erase the ball", names)[1]
    assert read_values("erase the ball", names)[2] == 0.0                   # a value that the reader no longer has


def test_an_instruction_is_judged_as_it_was_understood_whatever_its_words_and_language():
    pictures = [np.zeros((32, 32, 3), np.uint8)]
    made = network()
    before = TargetJudge(dataclasses.replace(made.config, plain_words=False))           # a judge that was trained on words as typed

    def asked(judge, text):
        inputs = judge.inputs(pictures, pictures, [text])
        return inputs["words"].tolist(), inputs["read"].tolist()
    for text in ("plese could you mkae it foggy?", "加上雾"):
        assert asked(made, text) == asked(made, "make it foggy") != asked(before, text)
    assert asked(made, "asdf qwer") == asked(before, "asdf qwer") != asked(made, "make it foggy")       # what nobody understands stays


def test_a_judge_that_reads_requests_is_another_one_when_its_reader_is(tmp_path, monkeypatch):
    reader = tmp_path / "reader"
    reader.mkdir()
    (reader / "reader.json").write_text("{}")
    monkeypatch.setattr("mre.judge.reward_models.folder.RESTS_ON", {"target": reader})
    reads, plain = write_judge(tmp_path / "reads", network=network()), write_judge(tmp_path / "plain")
    before = judge_version(reads), judge_version(plain)
    (reader / "reader.json").write_text("{ }")
    assert judge_version(reads) != before[0]
    assert judge_version(plain) == before[1]


def test_a_saved_judge_scores_as_it_did(tmp_path, scenes):
    made = network().eval()
    folder = write_judge(tmp_path / "judge", network=made)
    again = load_network(folder, read_facts(folder))
    assert isinstance(again, TargetJudge)
    assert dataclasses.asdict(again.config) == dataclasses.asdict(made.config)
    inputs, _ = collate(made, scenes[:1], {})
    with torch.inference_mode():
        assert torch.allclose(again(**inputs).mean, made(**inputs).mean, atol=0.02)         # half precision

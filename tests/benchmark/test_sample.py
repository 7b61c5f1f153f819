"""The example of the Compare tab: what it says of itself is what it is."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from mre.benchmark import sample
from mre.rewards import PERSPECTIVES
from mre.study.simulate import Crowd
from mre.training.judges.scenes import SceneGroups


def test_the_example_rates_every_drawn_edit_around_its_true_score_and_says_that_nobody_is_a_person(monkeypatch):
    monkeypatch.setattr(sample, "SCENES", 4)
    monkeypatch.setattr(sample, "CROWD", Crowd(annotators=3, noise=0.0, bias=0.0, fatigue=0.0, careless=0.0, skip=0.0))
    drawn = sample.draw_sample()
    rated = drawn.human.frame.groupby(["item", "method", "perspective"], observed=True)["native"].mean()
    for number in range(4):
        group = SceneGroups(4, sample.SEED, "heldout", sample.SIZE).group(number)
        item = f"scene-{number + 1:02d}"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(drawn.pictures[item, None]))), np.asarray(group.edits[0].original))
        for method, edit in zip(sample.METHODS, group.edits[:2], strict=True):
            assert [rated[item, method, name] for name in PERSPECTIVES] == list(edit.scores)
    assert "3 of 3 annotators are simulated" in drawn.human.notices[0]
    judged = drawn.judge.frame
    assert len(judged) == 4 * 2 * 3
    assert set(judged["judge"]) == {"tiny-judge"}
    assert judged["native"].between(0, 5).all()

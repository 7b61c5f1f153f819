"""The judge that comes with the program: small, offline, and on scenes that training never shows as good as its card says."""

import json

import numpy as np
import pytest

from mre.judge.kinds import make_judge
from mre.judge.reward_models.folder import read_facts
from mre.judge.trained import EMBEDDED
from mre.judge.verdicts import Ask
from mre.rewards import PERSPECTIVES
from mre.training.judges.scenes import SceneGroups

SCENES = 16
# Of decided pairs; its card has what it reaches on many scenes. Of so few, less four standard errors; by chance it is a half.
RIGHT = {"following": 0.73, "preserving": 0.87, "quality": 0.85}


@pytest.fixture(scope="module")
def scored():
    """(Scores, deviations, true scores), each (64, 3), of held-out scenes that neither chose nor calibrated the weights."""
    source, judge = SceneGroups(SCENES, seed=77_000, split="heldout"), make_judge("tiny-judge")
    edits = [edit for number in range(SCENES) for edit in source.group(number).edits]
    found = []
    judge.score_all([Ask(f"{number}", edit.instruction, edit.original, edit.edited) for number, edit in enumerate(edits)], "reward",
                    lambda _ask, verdicts: found.append([(verdict.score, verdict.deviation) for verdict in verdicts]))
    made = np.array(found)
    return made[..., 0], made[..., 1], np.array([edit.scores for edit in edits])


def test_it_takes_no_more_than_three_megabytes():
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir() if path.suffix != ".png") <= 3_000_000
    assert read_facts(EMBEDDED).perspectives == PERSPECTIVES


def test_its_scores_go_with_the_true_ones_on_every_perspective(scored):
    """By chance half of the pairs are in the right order and the mean error is that of the middle of the scale."""
    mean, _, truth = scored
    for column, name in enumerate(PERSPECTIVES):
        by_scene = mean[:, column].reshape(SCENES, -1), truth[:, column].reshape(SCENES, -1)
        differences, true = (values[:, :, None] - values[:, None, :] for values in by_scene)
        right = np.equal(np.sign(differences), np.sign(true))[true != 0].mean()
        assert right > RIGHT[name], name
        assert np.abs(mean - truth)[:, column].mean() < np.abs(truth[:, column].mean() - truth[:, column]).mean() - 0.2, name


def test_its_deviations_hold_what_they_should(scored):
    mean, deviation, truth = scored
    held = (np.abs(mean - truth) <= deviation).mean(axis=0)
    assert ((held > 0.5) & (held < 0.85)).all(), held           # of 64 edits: 0.68 give or take three standard errors


def test_its_card_has_the_figures_that_its_report_measured():
    card, facts = (EMBEDDED / "README.md").read_text(encoding="utf-8"), json.loads((EMBEDDED / "judge.json").read_text())
    for name, values in facts["trained"]["report"].items():
        for figure in ("mean_error", "coverage", "pair_accuracy", "calibration_error"):
            assert f"{values[figure]:.3f}" in card, (name, figure)

"""What a run writes of its own edits of held-out scenes: scores and sheets, once for each validation."""

import csv
import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mre.rewards import Reward
from mre.training.config import TrainConfig
from mre.training.scene_examples import held_out_scene
from mre.training.validation import oracle_scores


@pytest.fixture
def drawn(tmp_path):
    """A short run on synthetic scenes."""
    return TrainConfig(out=tmp_path / "run", resolution=64, width=(32, 48, 64), batch_size=1, accumulation=1, max_steps=2, learning_rate=0,
                       train_text_encoder=True, validation_every=1, validation_samples=1, validation_scored=1, checkpoint_every=2)


def scored_steps(config):
    with (Path(config.out) / "validation.csv").open(newline="") as file:
        return [row["step"] for row in csv.DictReader(file)]


def test_each_validation_writes_one_line_of_scores_however_often_the_run_was_cut(drawn, train):
    train(drawn)
    assert scored_steps(drawn) == ["1", "2"]
    (Path(drawn.out) / "samples" / "step-000002.png").unlink()                      # as a run that was cut after its checkpoint left it
    lines = (Path(drawn.out) / "validation.csv").read_text().splitlines(keepends=True)
    (Path(drawn.out) / "validation.csv").write_text("".join(lines[:2]))
    train(drawn, max_steps=3)
    assert scored_steps(drawn) == ["1", "2", "3"]
    shutil.rmtree(Path(drawn.out) / "checkpoints" / "step-000003")                  # or before that checkpoint was whole
    train(drawn, max_steps=3)
    assert scored_steps(drawn) == ["1", "2", "3"]
    (Path(drawn.out) / "samples" / "step-000003.png").unlink()                      # or between the line and the sheet
    train(drawn, max_steps=3)
    assert scored_steps(drawn) == ["1", "2", "3"]


def test_a_line_of_scores_is_written_before_the_sheet_that_says_it_is_done(drawn, train):
    Path(drawn.out).mkdir(parents=True)
    (Path(drawn.out) / "samples").write_text("in the way of the folder")
    with pytest.raises(FileExistsError):
        train(drawn)
    assert scored_steps(drawn) == ["1"]


def test_the_scores_are_the_oracles_of_the_models_own_edits_at_the_best_reward(drawn):
    asked = []

    def editor(instruction, picture, reward, generator):
        """Does edits in turn as they should be, not at all, and as something else."""
        scene = held_out_scene(drawn, len(asked))
        assert (instruction, reward) == (scene.instruction, Reward.best())
        assert np.array_equal(np.asarray(picture), scene.original)
        asked.append(scene)
        return SimpleNamespace(images=[Image.fromarray((scene.target, scene.original, scene.wrong)[len(asked) % 3 - 1])])

    editor.device, editor.set_progress_bar_config = "cpu", lambda **_: None
    scores = oracle_scores(editor, dataclasses.replace(drawn, validation_scored=6))
    assert len(asked) == 6
    assert scores["following"] == pytest.approx((5 + 0 + 1) / 3, abs=0.2)
    assert scores["preserving"] > 4.5
    assert scores["quality"] > 4.5

"""Losses of training steps and pixels of edits are those recorded at an earlier version, before the code was rearranged."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.models.known import ASSETS
from mre.rewards import Reward
from mre.training.config import PRESETS, TrainConfig
from tests.training.conftest import log_of

# Pixels of the weights that ship are by commit 6c56537, of words as they are typed. Training is by f3ad27a, on the triplets that are kept
# from then; the vocabulary of fresh models has grown since, and with it their gradients.
RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
KEPT = Path(__file__).parent.parent / "training" / "kept"
SMALL = {"width": (32, 48, 64), "resolution": 64, "batch_size": 4, "max_steps": 3, "log_every": 1, "mixed_precision": "no",
         "validation_every": 0, "half": False}
SPOILED = Reward(0, 2, 1, texts=("wrong object", "None", "blurry"))
REWARDS = {"make it look like sunset": Reward.best(), "make it black and white": SPOILED}


@pytest.mark.parametrize("run", RECORDED["training"])
def test_three_steps_of_training_have_the_losses_and_gradients_that_were_recorded(run, train, tmp_path):
    changes = {**SMALL, "width": (), "init_from": "tiny", "resolution": 128} if run == "on tiny" else SMALL
    data = {"data": "pix2pix", "data_dir": KEPT / "tree", "rewards": KEPT / "tree" / "rewards.json"}
    config = TrainConfig(**{**PRESETS[run.removeprefix("on ")], **changes, **data, "out": tmp_path / "run"})
    train(config)
    for step, (row, recorded) in enumerate(zip(log_of(config.out), RECORDED["training"][run], strict=True), start=1):
        for name, value in recorded.items():
            assert float(row[name]) == pytest.approx(value, rel=1e-4), f"{name} of step {step}"


@pytest.mark.parametrize("model", ["tiny", "tiny-baseline"])
@pytest.mark.parametrize("instruction", REWARDS)
def test_an_edit_has_the_pixels_that_were_recorded(model, instruction):
    photo = Image.open(ASSETS / "photos" / "coffee.jpg").convert("RGB")
    edited = make_editor(model).edit(photo, EditSettings(instruction, reward=REWARDS[instruction], as_typed=True)).image
    assert np.abs(means_of_cells(edited) - RECORDED["edits"][f"{model}: {instruction}"]).max() < 0.2


def means_of_cells(picture: Image.Image) -> np.ndarray:
    """(16, 3): mean colours, 0 to 255, of a grid of 4 x 4 cells."""
    pixels = np.asarray(picture.convert("RGB"), np.float64)
    height, width = (side // 4 for side in pixels.shape[:2])
    return pixels[:4 * height, :4 * width].reshape(4, height, 4, width, 3).mean((1, 3)).reshape(16, 3)

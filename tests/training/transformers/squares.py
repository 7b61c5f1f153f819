"""Scored triplets whose good and bad edits are told apart at a glance, for transformers that learn them by heart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mre.data.rewardedit import write_released
from mre.rewards import Reward
from mre.training.config import TrainConfig

SIDE = 32
INSTRUCTION = "make it red"
GOOD = Reward()
BAD = Reward(0, 0, 0, ("it is blue", "the square is gone", "it is flat"))


def photo(number: int) -> np.ndarray:
    """(SIDE, SIDE, 3): a grey square somewhere on a ground of some brightness."""
    pixels = np.full((SIDE, SIDE, 3), 40 + 20 * number, np.uint8)
    row, column = divmod(number, 4)
    pixels[8 * row:8 * row + 16, 8 * column:8 * column + 8] = 255 - 20 * number
    return pixels


def edited(number: int, reward: Reward) -> np.ndarray:
    """The photo in red where the reward is the best, and a plain blue picture where it is not."""
    pixels = photo(number)
    if reward == GOOD:
        pixels[..., 1:] //= 4
    else:
        pixels[:] = (20, 20, 200)
    return pixels


def triplets(photos: int) -> Iterator[tuple[int, Reward]]:
    """Each photo twice: with its good edit, and with its bad one."""
    return ((number, reward) for number in range(photos) for reward in (GOOD, BAD))


def write(folder: Path, photos: int = 8) -> Path:
    """An InstructPix2Pix tree of 2 * photos triplets, with rewards.json."""
    rewards = {}
    for place, (number, reward) in enumerate(triplets(photos)):
        key = f"shard-00/{place:07d}"
        (folder / key).mkdir(parents=True)
        for name, pixels in (("1_0.jpg", photo(number)), ("1_1.jpg", edited(number, reward))):
            Image.fromarray(pixels).save(folder / key / name, quality=98, subsampling=0)
        (folder / key / "prompt.json").write_text(json.dumps({"edit": INSTRUCTION}))
        rewards[key] = reward
    write_released(folder / "rewards.json", rewards)
    return folder


def config(tree: Path, editor: Path, out: Path, **changes: object) -> TrainConfig:
    """A run on such a tree."""
    return TrainConfig(**{
        "out": str(out), "init_from": str(editor), "data": "pix2pix", "data_dir": str(tree), "rewards": str(tree / "rewards.json"),
        "resolution": SIDE, "flip": False, "objective": "flow", "variant": "paper", "batch_size": 2, "accumulation": 1, "max_steps": 2,
        "learning_rate": 1e-3, "log_every": 1, "checkpoint_every": 2, "validation_every": 0, **changes})

"""What trainings of laboratory size share: the settings of their editor, the pool of triplets they are trained on, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mre.benchmark.tables import LEVEL, RESAMPLES, Cell
from mre.data.scenes.concepts import canonical
from mre.data.scenes.triplets import draw_triplet

if TYPE_CHECKING:
    from mre.data.scenes.triplets import SceneTriplet
    from mre.rewards import Reward

TYPES = ("global", "style", "background")                 # what a training of this size can learn: single things take ten times as long
SIZE = 64                                                 # pixels
HIVE = " with a score of {:g} for following, {:g} for preserving and {:g} for quality"
BLIND = {"use_score": False, "use_text": False, "use_attention": False, "use_addition": False}
# The laboratory: the generic network, narrow, squared error, plain wordings.
LAB: dict[str, Any] = {
    "init_from": "embedded-generic", "width": (32, 48, 64), "resolution": SIZE, "flip": False, "batch_size": 32, "accumulation": 1,
    "train_text_encoder": True, "learning_rate": 1e-3, "adam_beta2": 0.99, "warmup_steps": 20, "schedule": "cosine", "ema_decay": 0.98,
    "timestep_terminal": 1.0, "condition_dropout": 0.0, "image_dropout": False, "reward_text_dropout": 0.5, "plain_attention": True,
    "mixed_precision": "bf16",
    "validation_every": 0, "checkpoint_every": 200, "checkpoint_limit": 1, "log_every": 50}


def is_flawless(triplet: SceneTriplet) -> bool:
    """Whether its edit has the best score on every perspective."""
    return min(triplet.reward.scores) == 5


class Pool:
    """A fixed number of drawn triplets, the same for all arms of a training; pictures are drawn when they are asked for."""

    def __init__(self, training: int, share: float, count: int, size: int = SIZE) -> None:
        self.seed, self.share, self.count, self.size = 900 + training, share, count, size

    def triplet(self, index: int) -> SceneTriplet:
        """The triplet of a number, which may be beyond the last one."""
        return self.drawn(index % self.count, self.size)

    def drawn(self, index: int, size: int) -> SceneTriplet:
        flawless = np.random.default_rng([self.seed, index]).random() < self.share
        for again in range(50):          # "none": another one in the place of each that is flawless by chance
            triplet = draw_triplet(self.seed, index + again * self.count, "train", size, edit_type=TYPES[index % len(TYPES)],
                                   spoiled=not flawless)
            if self.share >= 0 or not is_flawless(triplet):
                break
        return triplet

    def where(self, keep: Callable[[SceneTriplet], bool]) -> list[int]:
        """The numbers of those triplets; scores are the same at every size, so that small pictures tell."""
        return [index for index in range(self.count) if keep(self.drawn(index, 32))]


def asked(triplet: SceneTriplet, scores: Reward | None) -> str:
    """The plainest wording of what a scene asks for; with `scores`, these in words behind it."""
    return canonical(triplet.edit.request) + (HIVE.format(*scores.scores) if scores else "")


def crossed_cell(values: np.ndarray, seed: int = 0) -> Cell:
    """
    values: (trainings, scenes)
    Their mean, with a 95 % interval by drawing trainings and scenes again and again, each on its own.
    """
    rng = np.random.default_rng(seed)
    trainings, scenes = values.shape
    means = [values[np.ix_(rng.integers(0, trainings, trainings), rng.integers(0, scenes, scenes))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Cell(float(values.mean()), float(low), float(high), values.size)

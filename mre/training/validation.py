"""What the model does at this point of its training: a sheet of edited samples to look at, and the oracle's scores of synthetic scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw

from mre.data.scenes.oracle import Oracle
from mre.rewards import PERSPECTIVES, Reward
from mre.training.examples import ExampleSource
from mre.training.scene_examples import held_out_scene, instruction_of

if TYPE_CHECKING:
    from mre.training.config import TrainConfig

ASKED = (5.0, 3.0, 0.0)         # rewards asked for, one column each (Table 6)
CAPTION = 14                    # pixels above each row, for its instruction


@torch.no_grad()
def sample_sheet(pipeline, source: ExampleSource, config: TrainConfig) -> Image.Image:
    """One row per held-out triplet: original, edit in the data, and the model's edits at 5/5/5, 3/3/3 and 0/0/0."""
    examples = [source.held_out(index) for index in range(config.validation_samples)]
    asked = ASKED if config.conditioned else ASKED[:1]
    pairs = [(example.instruction, example.pictures[0]) for example in examples]
    columns = [edits(pipeline, pairs, Reward(score, score, score), config) for score in asked]
    side, scores = config.resolution, ", ".join(f"{score:g}/{score:g}/{score:g}" for score in asked)
    sheet = Image.new("RGB", (side * (2 + len(columns)), (side + CAPTION) * len(examples)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, example in enumerate(examples):
        top = row * (side + CAPTION)
        draw.text((2, top + 1), f"{example.instruction}   [original, data, {scores}]", fill="black", font_size=10)
        for column, picture in enumerate([*map(Image.fromarray, example.pictures), *(edited[row] for edited in columns)]):
            sheet.paste(picture, (column * side, top + CAPTION))
    return sheet


@torch.no_grad()
def oracle_scores(pipeline, config: TrainConfig) -> dict[str, float]:
    """Means of the oracle's scores, 0 to 5, over edits of held-out scenes, asked for the best reward."""
    scenes = [held_out_scene(config, index) for index in range(config.scored_scenes)]
    edited = edits(pipeline, [(instruction_of(scene, config), scene.original) for scene in scenes], Reward.best(), config)
    scores = [Oracle(scene).score(np.asarray(picture)).scores for scene, picture in zip(scenes, edited, strict=True)]
    return dict(zip(PERSPECTIVES, np.mean(scores, axis=0).tolist(), strict=True))


def edits(pipeline, pairs: Sequence[tuple[str, np.ndarray]], reward: Reward, config: TrainConfig) -> list[Image.Image]:
    """The model's edits, each of an instruction and an original, with its own default settings, all with the same seed."""
    pipeline.set_progress_bar_config(disable=True)
    return [pipeline(instruction, Image.fromarray(original), reward=reward,
                     generator=torch.Generator(pipeline.device).manual_seed(config.seed)).images[0] for instruction, original in pairs]

"""A sheet of edited samples: what the model does at this point, for people to look at."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw

from mre.rewards import Reward
from mre.training.config import TrainConfig
from mre.training.triplets import Example, TripletSource

ASKED = (5.0, 3.0, 0.0)         # rewards asked for, one column each (Table 6)
CAPTION = 14                    # pixels above each row, for its instruction


@torch.no_grad()
def sample_sheet(pipeline, source: TripletSource, config: TrainConfig) -> Image.Image:
    """One row per held-out triplet: original, edit in the data, and the model's edits at 5/5/5, 3/3/3 and 0/0/0."""
    examples = [source.held_out(index) for index in range(config.validation_samples)]
    asked = ASKED if config.conditioned else ASKED[:1]
    columns = [edits(pipeline, examples, Reward(score, score, score), config) for score in asked]
    side, scores = config.resolution, ", ".join(f"{score:g}/{score:g}/{score:g}" for score in asked)
    sheet = Image.new("RGB", (side * (2 + len(columns)), (side + CAPTION) * len(examples)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, example in enumerate(examples):
        top = row * (side + CAPTION)
        draw.text((2, top + 1), f"{example.instruction}   [original, data, {scores}]", fill="black", font_size=10)
        known = [example.original, example.edited]
        for column, picture in enumerate([*map(Image.fromarray, known), *(edited[row] for edited in columns)]):
            sheet.paste(picture, (column * side, top + CAPTION))
    return sheet


def edits(pipeline, examples: list[Example], reward: Reward, config: TrainConfig) -> list[Image.Image]:
    """The model's edits of some examples with its own default settings, all with the same seed."""
    pipeline.set_progress_bar_config(disable=True)
    return [pipeline(example.instruction, Image.fromarray(example.original), reward,
                     generator=torch.Generator(pipeline.device).manual_seed(config.seed)).images[0] for example in examples]

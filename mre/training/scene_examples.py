"""Training triplets that are drawn on the fly: synthetic scenes, and those whose instructions need looking."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mre.data.scenes.concepts import canonical
from mre.data.scenes.photos import read_photos
from mre.data.scenes.triplets import SceneTriplet, draw_triplet
from mre.families import later, named
from mre.rewards import EDIT_TYPES, WHOLE_PICTURE
from mre.training.examples import DATA_STREAM, ExampleSource, TrainingExample

if TYPE_CHECKING:
    from mre.training.config import TrainConfig

draw_looking = later("mre.data.scenes.looking:draw_looking")            # scenes that few trainings draw


class SyntheticExamples(ExampleSource):
    """TrainingBatch drawn on the fly; every sample is a new scene."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.photos = read_photos(Path(config.photos)) if config.photos else None
        weights = np.array(config.edit_type_weights or [1.0] * len(EDIT_TYPES))
        self._edges = np.cumsum(weights / weights.sum())

    def identity(self) -> tuple[int, str]:
        """Of the photographs behind the scenes; all else is drawn."""
        digest = hashlib.sha256()
        for photo in self.photos or ():
            digest.update(repr(photo.shape).encode() + photo.tobytes())
        return len(self.photos or ()), digest.hexdigest()

    def row(self, sample: int) -> int:
        """A sample's number decides all of it."""
        return sample

    def example(self, sample: int) -> TrainingExample:
        """A spoiled triplet with its oracle reward, or, for a `clean_share` of samples, the true edit with the best one."""
        config = self.config
        kind, clean = np.random.default_rng((config.seed, sample, DATA_STREAM)).random(2)
        edit_type = EDIT_TYPES[min(int(np.searchsorted(self._edges, kind, side="right")), len(EDIT_TYPES) - 1)]
        place, spoiled = (config.seed, sample, "train", config.resolution, self.photos), bool(clean >= config.clean_share)
        if config.data == "looking":
            triplet = draw_looking(*place, spoiled=spoiled)
        else:
            triplet = draw_triplet(*place, edit_type=edit_type, spoiled=spoiled, unanswerable=config.unanswerable_share)
        return self._example(triplet, triplet.edited)

    def held_out(self, index: int) -> TrainingExample:
        """Clean, as `held_out_scene` draws it."""
        triplet = held_out_scene(self.config, index)
        return self._example(triplet, triplet.target)

    def _example(self, triplet: SceneTriplet, edited: np.ndarray) -> TrainingExample:
        return TrainingExample(instruction_of(triplet, self.config), triplet.reward, triplet.original, edited, triplet.target,
                               everywhere=triplet.edit_type in WHOLE_PICTURE)


def instruction_of(triplet: SceneTriplet, config: TrainConfig) -> str:
    """The request of a scene as the network is asked."""
    return canonical(triplet.edit.request) if config.plain_wording else triplet.instruction


def held_out_scene(config: TrainConfig, index: int) -> SceneTriplet:
    """Unspoiled, of each edit type (or kind of need) in turn, with objects, wordings and backgrounds that training never draws."""
    if config.data == "looking":
        needs = list(named("mre.data.scenes.looking:NEEDS"))
        return draw_looking(config.seed, index, "heldout", config.resolution, need=needs[index % len(needs)], spoiled=False)
    return draw_triplet(config.seed, index, "heldout", config.resolution, edit_type=EDIT_TYPES[index % len(EDIT_TYPES)], spoiled=False)

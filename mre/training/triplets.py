"""Where training triplets come from, in which order, and how they reach the loop.

A run numbers its samples 0, 1, 2, ... over all processes, and a sample's number decides everything random about it. So the same samples
are seen in the same order by any number of processes, by a resumed run, and by a baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mre.rewards import EDIT_TYPES, Reward
from mre.training.config import TrainConfig
from mre.training.encoding import Triplets

DATA_STREAM = 1         # keeps the draws of data apart from those of noise, for the same sample


@dataclass(frozen=True)
class Example:
    """One triplet at training size. `target` is the edit as it should be, where that is known."""

    instruction: str
    original: np.ndarray            # (H, W, 3) uint8
    edited: np.ndarray              # (H, W, 3) uint8
    reward: Reward
    target: np.ndarray | None = None


class TripletSource(Protocol):
    """Anything that has a triplet for every sample number of a run."""

    def training(self, sample: int) -> Example:
        """The triplet of a sample, the same at every call."""

    def held_out(self, index: int) -> Example:
        """A triplet to look at, which training does not see where the data allow it."""


def open_triplets(config: TrainConfig) -> TripletSource:
    """The source that the config names. Raises DataError for data that are not right."""
    if config.data == "scenes":
        return DrawnTriplets(config)
    from mre.training.stored import StoredTriplets

    return StoredTriplets(config)


class DrawnTriplets:
    """Triplets drawn on the fly; every sample is a new scene."""

    def __init__(self, config: TrainConfig) -> None:
        from mre.data import scenes

        self._draw = scenes.draw_triplet
        self.config = config
        self.photos = scenes.load_photos(Path(config.photos)) if config.photos else None
        weights = np.array(config.edit_type_weights or [1.0] * len(EDIT_TYPES))
        self._edges = np.cumsum(weights / weights.sum())

    def training(self, sample: int) -> Example:
        """A spoiled triplet with its oracle reward, or, for a `clean_share` of samples, the true edit with the best one."""
        kind, clean = np.random.default_rng((self.config.seed, sample, DATA_STREAM)).random(2)
        edit_type = EDIT_TYPES[min(int(np.searchsorted(self._edges, kind, side="right")), len(EDIT_TYPES) - 1)]
        return self._example(sample, edit_type, "train", clean < self.config.clean_share)

    def held_out(self, index: int) -> Example:
        """Clean, of each edit type in turn, with objects, wordings and backgrounds that training never draws."""
        return self._example(index, EDIT_TYPES[index % len(EDIT_TYPES)], "heldout", True)

    def _example(self, index: int, edit_type: str, split: str, clean: bool) -> Example:
        triplet = self._draw(self.config.seed, index, split=split, size=self.config.resolution, photos=self.photos, edit_type=edit_type)
        edited, reward = (triplet.target, Reward.best()) if clean else (triplet.edited, triplet.reward)
        return Example(triplet.instruction, triplet.original, edited, reward, triplet.target)


class Numbers(Sampler[list[int]]):
    """Batches of sample numbers for one of `world` processes, without end: together the processes take every number once."""

    def __init__(self, first: int, batch_size: int, rank: int, world: int) -> None:
        self.first, self.batch_size, self.rank, self.world = first, batch_size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        start = self.first + self.rank * self.batch_size
        while True:
            yield list(range(start, start + self.batch_size))
            start += self.world * self.batch_size


class _Training(Dataset):
    def __init__(self, source: TripletSource) -> None:
        self.source = source

    def __getitem__(self, sample: int) -> tuple[int, Example]:
        return sample, self.source.training(sample)


def collate(items: list[tuple[int, Example]]) -> Triplets:
    """Examples as one batch of tensors."""
    samples, examples = zip(*items, strict=True)
    return Triplets(
        samples=samples,
        original=pictures([example.original for example in examples]),
        edited=pictures([example.edited for example in examples]),
        instructions=tuple(example.instruction for example in examples),
        scores=torch.tensor([example.reward.scores for example in examples], dtype=torch.float32),
        reward_texts=tuple(example.reward.text for example in examples))


def pictures(arrays: list[np.ndarray]) -> torch.Tensor:
    """(H, W, 3) pictures -> (B, 3, H, W)."""
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def batches(source: TripletSource, config: TrainConfig, first: int, rank: int, world: int, pin_memory: bool) -> Iterator[Triplets]:
    """Batches of one process, from sample number `first` on, without end."""
    workers = {"prefetch_factor": 4} if config.num_workers else {}
    return iter(DataLoader(_Training(source), batch_sampler=Numbers(first, config.batch_size, rank, world), collate_fn=collate,
                           num_workers=config.num_workers, pin_memory=pin_memory, **workers))

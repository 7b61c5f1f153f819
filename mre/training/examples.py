"""Where training triplets come from, in which order, and how they reach the loop.

A run numbers its samples 0, 1, 2, ... over all processes, and a sample's number decides everything random about it. So the same samples
are seen in the same order by any number of processes, by a resumed run, and by a baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mre.errors import MreError
from mre.models.instruction import EditCondition
from mre.rewards import Reward
from mre.training.encoding import Latents, TrainingBatch

if TYPE_CHECKING:
    from mre.training.config import TrainConfig

DATA_STREAM = 1         # keeps the draws of data apart from those of noise, for the same sample


@dataclass(frozen=True)
class TrainingExample:
    """One triplet at training size: as pictures, or as latents from a cache."""

    instruction: str
    reward: Reward
    original: np.ndarray | None = None      # (H, W, 3) uint8
    edited: np.ndarray | None = None        # (H, W, 3) uint8
    asked: np.ndarray | None = None         # (H, W, 3) uint8, what a flawless edit would be, where that is known of a spoiled one
    everywhere: bool = False                # whether the edit is known to be of the whole picture, as a look is
    latents: Latents | None = None          # of one
    weight: float = 1.0                     # of its loss
    has_reward: bool = True                 # false: its reward is too unsure to be read
    condition: EditCondition | None = None  # of one, where it was read before

    @property
    def pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Original and edited, of an example that has no latents."""
        if self.original is None or self.edited is None:
            raise ValueError("an example of latents has no pictures")
        return self.original, self.edited


class ExampleSource(Protocol):
    """Anything that has a triplet for every sample number of a run.

    Reading is apart from decoding: `row` is called in the training process, sample after sample, so that what lies together on disk is read
    once however many processes decode; `example` is called in those.
    """

    def row(self, sample: int) -> Any:
        """What `example` needs for a sample, the same at every call; bytes rather than pixels, since it may go to another process."""
        ...

    def example(self, row: Any) -> TrainingExample:
        """The triplet of a row at training size."""
        ...

    def training(self, sample: int) -> TrainingExample:
        """The triplet of a sample."""
        return self.example(self.row(sample))

    def held_out(self, index: int) -> TrainingExample:
        """A triplet to look at, which training does not see where the data allow it."""
        ...

    def identity(self) -> tuple[int, str]:
        """How many triplets are stored, and a digest of what they say: the same wherever a run sees the same data. Of data that are drawn
        from numbers, nothing is stored."""
        return 0, ""


class Numbers(Sampler[list[int]]):
    """Batches of sample numbers for one of `world` processes, without end: together the processes take every number once."""

    def __init__(self, first: int, batch_size: int, rank: int, world: int) -> None:
        self.first, self.batch_size, self.rank, self.world = first, batch_size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        start = self.first + self.rank * self.batch_size
        while True:
            yield list(range(start, start + self.batch_size))
            start += self.world * self.batch_size


class _Rows(Sampler[list[tuple[int, Any]]]):
    """Batches of (sample number, row): rows are read here, in the training process."""

    def __init__(self, source: ExampleSource, numbers: Numbers) -> None:
        self.source, self.numbers = source, numbers

    def __iter__(self) -> Iterator[list[tuple[int, Any]]]:
        for batch in self.numbers:
            yield [(sample, self.source.row(sample)) for sample in batch]


class _Examples(Dataset):
    """Examples of rows, as a loader's processes make them."""

    def __init__(self, source: ExampleSource) -> None:
        self.make = source.example

    def __getitem__(self, row: tuple[int, Any]) -> tuple[int, TrainingExample] | MreError:
        try:
            return row[0], self.make(row[1])
        except MreError as error:           # raised where it is read: a loader's process would add its own traceback to the message
            return error


def collate(items: list[tuple[int, TrainingExample] | MreError]) -> TrainingBatch | MreError:
    """Examples as one batch of tensors; or the first that could not be had."""
    for item in items:
        if isinstance(item, MreError):
            return item
    samples, examples = zip(*items, strict=True)
    texts = samples, tuple(one.instruction for one in examples), tuple(one.reward for one in examples)
    weight = torch.tensor([one.weight for one in examples]) if any(one.weight != 1 for one in examples) else None
    has_reward = None if all(one.has_reward for one in examples) else torch.tensor([one.has_reward for one in examples])
    if examples[0].latents is None:
        asked = [one.edited if one.asked is None else one.asked for one in examples]
        return TrainingBatch(*texts, pictures([one.original for one in examples]), pictures([one.edited for one in examples]),
                             pictures(asked), torch.tensor([one.everywhere for one in examples]), weight=weight, has_reward=has_reward)
    parts = ([getattr(one.latents, name) for one in examples] for name in ("original", "mean", "std"))
    return TrainingBatch(*texts, latents=Latents(*map(torch.stack, parts)), weight=weight, has_reward=has_reward,
                         condition=stacked([one.condition for one in examples]))


def stacked(conditions: list[EditCondition | None]) -> EditCondition | None:
    """Conditions of one as that of a batch; none where they were not read before."""
    read = [one for one in conditions if one is not None]
    if not read:
        return None
    residuals = [one.residual for one in read if one.residual is not None]
    return EditCondition(torch.stack([one.context for one in read]), read[0].null_context, torch.stack(residuals) if residuals else None)


def pictures(arrays: list[np.ndarray]) -> torch.Tensor:
    """(H, W, 3) pictures -> (B, 3, H, W)."""
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def batches(source: ExampleSource, config: TrainConfig, first: int, rank: int, world: int) -> Iterator[TrainingBatch]:
    """Batches of one process, from sample number `first` on, without end. Raises what the source raises."""
    ahead: dict[str, Any] = {"prefetch_factor": 4} if config.num_workers else {}
    rows = _Rows(source, Numbers(first, config.batch_size, rank, world))
    for batch in DataLoader(_Examples(source), batch_sampler=rows, collate_fn=collate, num_workers=config.num_workers, **ahead):
        if isinstance(batch, MreError):
            raise batch
        yield batch

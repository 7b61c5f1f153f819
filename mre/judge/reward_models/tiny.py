"""The embedded judge's body: a small convolutional network that compares two pictures under the words of an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mre.judge.reward_models.heads import RewardHeads, Scores
from mre.judge.reward_models.words import word_numbers
from mre.rewards import PERSPECTIVES


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of a TinyJudge."""

    size: int = 128                     # side in pixels at which pictures are compared
    widths: tuple[int, int, int, int] = (16, 48, 64, 96)       # channels at 1/2, 1/4, 1/8 and 1/16 of the side
    blocks: tuple[int, int] = (2, 2)    # residual blocks at 1/8 and 1/16
    word_buckets: int = 3000
    word_width: int = 64
    queries: int = 3                    # places that the words look at
    features: int = 192
    hidden: int = 64
    perspectives: tuple[str, ...] = PERSPECTIVES


class InstructionWords(nn.Module):
    """Words, each with its neighbours, pooled to one vector."""

    def __init__(self, buckets: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(buckets, width)
        nn.init.normal_(self.embedding.weight, std=0.1)         # a word that was never seen says little
        self.first = nn.Conv1d(width, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 3, padding=1)
        self.out = nn.Linear(2 * width, 2 * width)

    def forward(self, words: Tensor) -> Tensor:
        """words: (B, T), 0 where there is none; returns (B, 2 * width)"""
        there = (words > 0)[:, None].float()                    # (B, 1, T)
        x = self.embedding(words).transpose(1, 2) * there       # (B, C, T)
        x = (x + functional.silu(self.first(x))) * there
        x = (x + functional.silu(self.second(x))) * there
        mean = x.sum(-1) / there.sum(-1).clamp(min=1)
        most = (x - 1e4 * (1 - there)).amax(-1) * there.amax(-1)
        return functional.silu(self.out(torch.cat([mean, most], dim=-1)))


class ToldBlock(nn.Module):
    """A residual block whose channels the words scale and shift."""

    def __init__(self, channels: int, words: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.told = nn.Linear(words, 2 * channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.told.weight)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        scale, shift = self.told(words)[..., None, None].chunk(2, dim=1)        # (B, C, 1, 1) each
        h = self.first(functional.silu(self.norm(x)))
        return x + self.second(functional.silu(h * (1 + scale) + shift))


class TinyJudge(nn.Module):
    """Original, edited and their difference at one size, seen under the instruction: a Gaussian per perspective."""

    kind = "tiny"

    def __init__(self, config: TinyConfig | None = None) -> None:
        super().__init__()
        self.config = config or TinyConfig()
        c = self.config
        w1, w2, w3, w4 = c.widths
        told = 2 * c.word_width
        self.words = InstructionWords(c.word_buckets, c.word_width)
        self.stem1 = nn.Conv2d(9, w1, 5, stride=2, padding=2)
        self.stem2 = nn.Conv2d(w1, w2, 3, stride=2, padding=1)
        self.down3 = nn.Conv2d(w2, w3, 3, stride=2, padding=1)
        self.place = nn.Parameter(torch.zeros(1, w3, c.size // 8, c.size // 8))         # what is left and right, above and below
        self.blocks3 = nn.ModuleList(ToldBlock(w3, told) for _ in range(c.blocks[0]))
        self.down4 = nn.Conv2d(w3, w4, 3, stride=2, padding=1)
        self.blocks4 = nn.ModuleList(ToldBlock(w4, told) for _ in range(c.blocks[1]))
        self.ask = nn.Linear(told, c.queries * w3)
        self.key = nn.Conv2d(w3, w3, 1)
        pooled = 2 * w1 + 2 * w2 + 2 * w3 + 2 * w4 + c.queries * w3 + told
        self.join = nn.Sequential(nn.Linear(pooled, c.features), nn.SiLU())
        self.heads = RewardHeads(c.features, c.perspectives, c.hidden)

    def forward(self, original: Tensor, edited: Tensor, words: Tensor) -> Scores:
        """
        original, edited: (B, 3, size, size), in [-1, 1]
        words:            (B, T), numbers of words, 0 where there is none
        """
        told = self.words(words)                                                        # (B, 2W)
        x1 = functional.silu(self.stem1(torch.cat([original, edited, edited - original], dim=1)))       # (B, w1, S/2, S/2)
        x2 = functional.silu(self.stem2(x1))                                            # (B, w2, S/4, S/4)
        x3 = self.down3(x2) + self.place                                                # (B, w3, S/8, S/8)
        for block in self.blocks3:
            x3 = block(x3, told)
        x4 = self.down4(functional.silu(x3))                                            # (B, w4, S/16, S/16)
        for block in self.blocks4:
            x4 = block(x4, told)
        return self.heads(self.join(torch.cat([spread(x1), spread(x2), mean_and_most(x3), mean_and_most(x4), self.looked_at(x3, told),
                                               told], dim=-1)))

    def looked_at(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, queries * C): what is at the places that the words ask for."""
        values = x.flatten(2)                                                           # (B, C, N)
        asked = self.ask(told).unflatten(1, (self.config.queries, -1))                  # (B, Q, C)
        weights = (asked @ self.key(x).flatten(2) / x.shape[1] ** 0.5).softmax(-1)      # (B, Q, N)
        return (weights @ values.transpose(1, 2)).flatten(1)

    def inputs(self, originals: Sequence[np.ndarray], editeds: Sequence[np.ndarray], instructions: Sequence[str]) -> dict[str, Tensor]:
        """Pictures (size, size, 3) uint8 and instructions as `forward` takes them, on the network's device."""
        device = self.place.device
        return {"original": to_tensor(originals).to(device), "edited": to_tensor(editeds).to(device),
                "words": words_tensor(instructions, self.config.word_buckets).to(device)}

    def seen(self, picture: Image.Image) -> np.ndarray:
        """A picture at the size at which it is compared, (size, size, 3) uint8. Its aspect is lost, which both pictures share."""
        return seen_square(picture, self.config.size)


def build(sizes: dict[str, Any], perspectives: tuple[str, ...]) -> TinyJudge:
    """A network of these sizes. Raises TypeError for a size that there is not."""
    return TinyJudge(TinyConfig(**sizes, perspectives=perspectives))


def seen_square(picture: Image.Image, side: int) -> np.ndarray:
    """A picture at (side, side, 3) uint8."""
    picture = picture.convert("RGB")
    if picture.size == (side, side):
        return np.asarray(picture)
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0))


def words_tensor(instructions: Sequence[str], buckets: int) -> Tensor:
    """(B, T) numbers of words, 0 where there is none."""
    numbers = [word_numbers(text, buckets) for text in instructions]
    words = torch.zeros(len(numbers), max(map(len, numbers)), dtype=torch.long)
    for row, found in zip(words, numbers, strict=True):
        row[:len(found)] = torch.tensor(found)
    return words


def spread(x: Tensor) -> Tensor:
    """Mean and deviation over the places, (B, 2C): what is fine and everywhere, such as grain."""
    flat = x.flatten(2).float()
    mean = flat.mean(-1)
    return torch.cat([mean, (flat.square().mean(-1) - mean.square()).clamp(min=1e-6).sqrt()], dim=-1)


def mean_and_most(x: Tensor) -> Tensor:
    """Mean and greatest value over the places, (B, 2C)."""
    flat = x.flatten(2).float()
    return torch.cat([flat.mean(-1), flat.amax(-1)], dim=-1)


def to_tensor(pictures: Sequence[np.ndarray]) -> Tensor:
    """(B, 3, H, W) in [-1, 1], channels last in memory, of (H, W, 3) uint8."""
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)                    # as it lies in memory: channels last
    return batch.float().mul_(2 / 255).sub_(1)

"""What chance decides for a sample: its timestep, its noise, and which of its conditions are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.training.config import TrainConfig

PERSPECTIVE_STREAM = 2      # keeps the draws of single perspectives apart from the others, which are older
HIGH_NOISE_SHARE = 0.2      # `timestep_high` draws from the noisiest fifth of the timesteps


def stream(*key: int) -> torch.Generator:
    """A random stream of its own for every key, such as (seed, number of the sample), whatever the machine or the number of processes."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


@dataclass(frozen=True)
class Draws:
    """What chance decides for each of B samples. The three that decide what is dropped stay on the CPU, where texts are chosen."""

    timesteps: Tensor           # (B,) long
    condition: Tensor           # (B,) in [0, 1): the p of conditioning dropout
    reward: Tensor              # (B,) in [0, 1): decides whether the reward is dropped
    reward_text: Tensor         # (B,) in [0, 1): decides whether the reward text is replaced by None
    noise: Tensor               # (B, C, h, w)
    latent: Tensor              # (B, C, h, w): for the spread of a variational autoencoder
    perspectives: Tensor | None = None      # (B, 3) in [0, 1): decides which perspectives have no wish; none where all have

    @classmethod
    def of(cls, config: TrainConfig, samples: Sequence[int], shape: Sequence[int], num_timesteps: int = 1000,
           device: torch.device | str = "cpu") -> Draws:
        """The draws of the samples with these numbers: they depend on the seed and a sample's own number alone (and, since noise is
        drawn where it is used, on the kind of device)."""
        u = torch.empty(len(samples), 5)
        noise, latent = (torch.empty(len(samples), *shape, device=device) for _ in range(2))
        for row, sample in enumerate(samples):
            generator = stream(config.seed, sample)
            u[row].uniform_(generator=generator)
            if noise.device.type != "cpu":
                generator = torch.Generator(device).manual_seed(generator.initial_seed())
            noise[row].normal_(generator=generator)
            latent[row].normal_(generator=generator)
        steps = timesteps(u[:, 0], u[:, 1], config, num_timesteps)
        perspectives = None
        if config.perspective_dropout:
            rows = [torch.rand(len(PERSPECTIVES), generator=stream(config.seed, sample, PERSPECTIVE_STREAM)) for sample in samples]
            perspectives = torch.stack(rows)
        return cls(steps.to(device, non_blocking=True), u[:, 2], u[:, 3], u[:, 4], noise, latent, perspectives)


def timesteps(kind: Tensor, place: Tensor, config: TrainConfig, num_timesteps: int) -> Tensor:
    """Timesteps from two uniform numbers each: `kind` chooses the last one, the noisiest fifth or all, `place` where in it."""
    low = torch.where(kind < config.timestep_terminal + config.timestep_high, round(num_timesteps * (1 - HIGH_NOISE_SHARE)), 0)
    low = torch.where(kind < config.timestep_terminal, num_timesteps - 1, low)
    return (low + (place.double() * (num_timesteps - low)).long()).clamp(max=num_timesteps - 1)


def dropped(p: Tensor, d: float) -> tuple[Tensor, Tensor]:
    """Conditioning dropout of the released code. p: (B,) uniform, compared in float32. Returns (B,) bool: text dropped, image dropped."""
    p = p.float()
    return p < 2 * d, (p >= d) & (p < 3 * d)

"""What is minimised: random draws of a sample, dropout of its conditions, noise, prediction, loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mre.training.config import TrainConfig

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
        return cls(steps.to(device, non_blocking=True), u[:, 2], u[:, 3], u[:, 4], noise, latent)


def timesteps(kind: Tensor, place: Tensor, config: TrainConfig, num_timesteps: int) -> Tensor:
    """Timesteps from two uniform numbers each: `kind` chooses the last one, the noisiest fifth or all, `place` where in it."""
    low = torch.where(kind < config.timestep_terminal + config.timestep_high, round(num_timesteps * (1 - HIGH_NOISE_SHARE)), 0)
    low = torch.where(kind < config.timestep_terminal, num_timesteps - 1, low)
    return (low + (place.double() * (num_timesteps - low)).long()).clamp(max=num_timesteps - 1)


def dropped(p: Tensor, d: float) -> tuple[Tensor, Tensor]:
    """Conditioning dropout of the released code. p: (B,) uniform, compared in float32. Returns (B,) bool: text dropped, image dropped."""
    p = p.float()
    return p < 2 * d, (p >= d) & (p < 3 * d)


def changed_mask(original: Tensor, edited: Tensor, everywhere: Tensor | None = None, threshold: float = 0.04) -> Tensor:
    """(B, 3, H, W) pictures in [-1, 1] -> (B, 1, H, W), 1 where any channel differs by more than `threshold` of the value range.

    everywhere: (B,) bool, where the edit is of the whole picture: its mask is all of it, if anything differs at all. A grey wall does not
    change when a picture loses its colours; a model that must find such walls opens its gate half, and half of the colours stay.
    """
    mask = ((edited - original).abs().amax(dim=1, keepdim=True) > 2 * threshold).float()
    if everywhere is None:
        return mask
    anything = mask.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(everywhere.to(mask.device)[:, None, None, None], anything, mask)


SMALLEST_CHANGE = 1 / 64      # of a picture: a change smaller than this is weighed as if it were this large


@dataclass(frozen=True)
class Batch:
    """What the U-Net learns from, after the encoders and after dropout of the conditions."""

    latents: Tensor             # (B, C, h, w), edited image, scaled
    image_latents: Tensor       # (B, C, h, w), original image, not scaled
    text: Tensor                # (B, T, D)
    conditions: dict[str, Tensor]       # added_cond_kwargs of the U-Net
    mask: Tensor | None = None  # (B, 1, H, W), where original and edited image differ


class NoisePrediction:
    """The training loss of a diffusion model, for every kind of prediction that its scheduler may name."""

    def __init__(self, scheduler, config: TrainConfig) -> None:
        self.scheduler = scheduler
        self.prediction_type = scheduler.config.prediction_type
        self.num_timesteps = scheduler.config.num_train_timesteps
        self.config = config

    def __call__(self, unet: nn.Module, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch, each a scalar: `loss` is the one to minimise, the others are its parts."""
        noisy = self.scheduler.add_noise(batch.latents, draws.noise, draws.timesteps)
        model_input = torch.cat([noisy, batch.image_latents], dim=1)                                   # (B, 2C, h, w)
        output = unet(model_input, draws.timesteps, batch.text, added_cond_kwargs=batch.conditions)
        weight = self._weight(batch, draws.timesteps)
        error = (output.sample.float() - self._target(batch.latents, draws)).square()
        denoise = (error * weight).mean() if weight is not None else error.mean()
        losses = {"denoise": denoise}
        if self.config.mask_loss_weight and getattr(output, "mask_logits", None) is not None:
            losses["mask"] = F.binary_cross_entropy_with_logits(output.mask_logits.float(), batch.mask, self._emphasis(batch.mask))
        loss = denoise + self.config.mask_loss_weight * losses["mask"] if "mask" in losses else denoise
        return {"loss": loss, **losses}

    def _emphasis(self, mask: Tensor) -> Tensor:
        """Weights that give the changed part of each picture `mask_weight` times the weight of the whole, however small it is: else edits
        of the whole picture drown those of one object. What lies outside the change weighs `outside_weight` more for each pixel: else a
        model in doubt about a place paints in all of them. mask: (B, 1, h, w)."""
        share = mask.mean(dim=(1, 2, 3), keepdim=True).clamp(min=SMALLEST_CHANGE)
        return 1 + self.config.mask_weight * mask / share + self.config.outside_weight * (1 - mask)

    def _target(self, latents: Tensor, draws: Draws) -> Tensor:
        if self.prediction_type == "epsilon":
            return draws.noise
        if self.prediction_type == "sample":
            return latents
        return self.scheduler.get_velocity(latents, draws.noise, draws.timesteps)

    def _weight(self, batch: Batch, steps: Tensor) -> Tensor | None:
        """(B, 1, h, w) or (B, 1, 1, 1), or None for all equal."""
        weight = None
        if self.config.snr_cap:
            alpha = self.scheduler.alphas_cumprod.to(steps.device)[steps].float()
            weight = (1 / (1 - alpha)).clamp(max=self.config.snr_cap)[:, None, None, None]              # SNR + 1 = 1 / (1 - alpha)
        if self.config.mask_weight or self.config.outside_weight:
            changed = F.adaptive_max_pool2d(batch.mask, batch.latents.shape[-2:])      # a cell counts where any of its pixels does
            extra = self._emphasis(changed)
            weight = extra if weight is None else weight * extra
        return weight

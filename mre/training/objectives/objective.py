"""What all objectives share: a noisy picture, a prediction, the weighted squared distance to a target, and terms of families of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from mre.families import loss_terms

if TYPE_CHECKING:
    from mre.training.config import TrainConfig
    from mre.training.draws import Draws


FLOW = "flow_prediction"


def prediction_of(scheduler: Any) -> str:
    """What a sampler has the model predict. Those that were made for flows alone do not say it."""
    return getattr(scheduler.config, "prediction_type", FLOW)


@dataclass(frozen=True)
class Batch:
    """What the U-Net learns from, after the encoders and after dropout of the conditions."""

    latents: Tensor             # (B, C, h, w), edited image, scaled
    image_latents: Tensor       # (B, C, h, w), original image, not scaled
    text: Tensor                # (B, T, D)
    conditions: dict[str, Tensor]       # added_cond_kwargs of the U-Net
    extras: Mapping[str, Tensor] = field(default_factory=dict)      # what terms have read in the pictures, by the terms' names
    weight: Tensor | None = None        # (B,) of each triplet; none for all equal


class LossTerm(Protocol):
    """What a family of models adds to every objective. Made with the config of a run, whose settings say whether it is active."""

    name: str                   # of its loss in the log, and of what it reads in pictures
    active: bool
    loss_weight: float          # of its own loss

    def read(self, original: Tensor, edited: Tensor, asked: Tensor, everywhere: Tensor | None) -> Tensor:
        """What it needs of pictures (B, 3, H, W) in [-1, 1], `asked` the flawless edit where that is known, else `edited`; everywhere: (B,)
        bool, where the edit is known to be of the whole picture."""
        ...

    def weight(self, extra: Tensor, size: tuple[int, int]) -> Tensor | None:
        """(B, 1, h, w) weights of the squared distance, from what it has read; none for all equal."""
        ...

    def loss(self, output: Any, extra: Tensor) -> Tensor | None:
        """A loss of its own, from what the U-Net gave beside its prediction; none where it gave nothing."""
        ...


class Objective:
    """A training loss: `noisy` pictures at random times, a `target` for the U-Net's prediction, and weights.

    prediction      name of the main loss in the log
    num_timesteps   timesteps are drawn from 0 .. num_timesteps - 1
    """

    prediction = "denoise"
    num_timesteps: int = 1000

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.terms: list[LossTerm] = [term for kind in loss_terms() if (term := kind(config)).active]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the losses, with those of terms that are not active: the columns of a log."""
        return ("loss", self.prediction, *(kind.name for kind in loss_terms()))

    def sampler(self, scheduler: Any) -> Any:
        """The sampler that the trained model edits with, where the one it came with is `scheduler`."""
        return scheduler

    def noisy(self, latents: Tensor, draws: Draws) -> Tensor:
        """(B, C, h, w) at the drawn times."""
        raise NotImplementedError

    def times(self, draws: Draws) -> Tensor:
        """(B,): what the U-Net is told of the times."""
        return draws.timesteps

    def target(self, latents: Tensor, draws: Draws) -> Tensor:
        """(B, C, h, w): what the U-Net should predict."""
        raise NotImplementedError

    def weight(self, draws: Draws) -> Tensor | None:
        """(B, 1, 1, 1) weights of noise levels; none for all equal."""
        return None

    def read(self, original: Tensor, edited: Tensor, asked: Tensor, everywhere: Tensor | None) -> dict[str, Tensor]:
        """What the terms need of the pictures (B, 3, H, W) in [-1, 1]."""
        return {term.name: term.read(original, edited, asked, everywhere) for term in self.terms}

    def __call__(self, unet: nn.Module, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch, each a scalar: `loss` is the one to minimise, the others are its parts."""
        model_input = torch.cat([self.noisy(batch.latents, draws), batch.image_latents], dim=1)        # (B, 2C, h, w)
        output = unet(model_input, self.times(draws), batch.text, added_cond_kwargs=batch.conditions)
        weight = self._weight(batch, draws)
        error = (output.sample.float() - self.target(batch.latents, draws)).square()                   # (B, C, h, w)
        loss = (error * weight).mean() if weight is not None else error.mean()
        losses = {self.prediction: loss}
        for term in self.terms:
            own = term.loss(output, batch.extras[term.name]) if term.loss_weight else None
            if own is not None:
                losses[term.name] = own
                loss = loss + term.loss_weight * own
        return {"loss": loss, **losses}

    def _weight(self, batch: Batch, draws: Draws) -> Tensor | None:
        """(B, 1, h, w) or (B, 1, 1, 1), or None for all equal."""
        weight = self.weight(draws)
        if batch.weight is not None:
            own = batch.weight[:, None, None, None]
            weight = own if weight is None else weight * own
        height, width = batch.latents.shape[-2:]
        for term in self.terms:
            more = term.weight(batch.extras[term.name], (height, width))
            if more is not None:
                weight = more if weight is None else weight * more
        return weight

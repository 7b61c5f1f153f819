"""Distances between pictures by norms over windows, so that single things count; and the energy score made of them: two draws of the model,
each near the target and both apart from each other, so that what is learned is the spread of the targets and not their mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mre.training.draws import Draws
from mre.training.objectives.noise import NoisePrediction
from mre.training.objectives.objective import Batch

Weighed = Callable[[tuple[int, int]], Tensor | None]
WINDOW = 8              # pixels: the side of the windows whose norms are added, so that single things count
SMALLEST = 1e-3         # of a window's norm: below it the distance is smooth


class WindowNorms(NoisePrediction):
    """The distance d(x, y) of the model's draw to the target, a sum of norms over windows: for flawless triplets, which leave little to
    chance. For models that predict the picture from pure noise, with an autoencoder without weights: latents are pixels, a patch a cell."""

    prediction = "norms"
    draws_each = 1          # of a triplet, in one step

    def __call__(self, unet: nn.Module, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch."""
        each = self.draws_each
        given = torch.cat([self.noises(draws), batch.image_latents.repeat(each, 1, 1, 1)], dim=1)         # (D B, 2 C, h, w)
        conditions = {name: value.repeat(each, *[1] * (value.ndim - 1)) for name, value in batch.conditions.items()}
        output = unet(given, self.times(draws).repeat(each), batch.text.repeat(each, 1, 1), added_cond_kwargs=conditions)
        loss = self.score(_pixels(output.sample.float()), _pixels(batch.latents.float()), batch.extras)
        losses = {self.prediction: loss}
        for term in self.terms:
            own = term.loss(output, batch.extras[term.name].repeat(each, 1, 1, 1)) if term.loss_weight else None
            if own is not None:
                losses[term.name] = own
                loss = loss + term.loss_weight * own
        return {"loss": loss, **losses}

    def noises(self, draws: Draws) -> Tensor:
        """(D B, C, h, w): pure noise, since one step is all there is."""
        return draws.noise

    def score(self, drawn: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        """(D B, 3, H, W) draws and (B, 3, H, W) targets -> a scalar."""
        return distance(drawn, target, self.weighed(extras))

    def weighed(self, extras: Mapping[str, Tensor]) -> Weighed:
        """Windows are weighed as the terms weigh pixels."""
        def weights(size: tuple[int, int]) -> Tensor | None:
            found = [more for term in self.terms if (more := term.weight(extras[term.name], size)) is not None]
            return torch.stack(found).prod(dim=0) if found else None
        return weights


class EnergyScore(WindowNorms):
    """(d(x1, y) + d(x2, y)) / 2 - d(x1, x2) / 2, a strictly proper score: least on average where the draws x1, x2 are spread as the targets
    y are. What weighs windows must not depend on the drawn target, which would make it improper: it is what a flawless edit changes."""

    prediction = "energy"
    draws_each = 2

    def noises(self, draws: Draws) -> Tensor:
        """(2 B, C, h, w): the second draw has the noise of the first, its cells in reverse order: as random, and independent of it but
        for a cell in the middle."""
        return torch.cat([draws.noise, draws.noise.flip(-2, -1)])

    def score(self, drawn: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        first, second = drawn.chunk(2)
        weights = self.weighed(extras)
        return (distance(first, target, weights) + distance(second, target, weights) - distance(first, second, weights)) / 2


def _pixels(latents: Tensor) -> Tensor:
    """(B, 3 f^2, h, w) -> (B, 3, h f, w f)."""
    return F.pixel_shuffle(latents, math.isqrt(latents.shape[1] // 3))


def distance(first: Tensor, second: Tensor, weighed: Weighed = lambda size: None) -> Tensor:
    """The mean norm of the difference over windows, of the pictures, of both at half the size, and of their gradients. A scalar.

    weighed: windows (h, w) -> the weight of each, (B, 1, h, w); none for all equal
    """
    difference = first - second                                                                            # (B, 3, H, W)
    right, down = difference.diff(dim=-1), difference.diff(dim=-2)
    norms = (window_norms(part, weighed) for part in (difference, F.avg_pool2d(difference, 2), right, down))
    return next(norms) + next(norms) + (next(norms) + next(norms)) / 2


def window_norms(difference: Tensor, weighed: Weighed) -> Tensor:
    """The mean over windows of WINDOW x WINDOW pixels of the root of the mean square in each."""
    squares = F.avg_pool2d(difference.square().mean(dim=1, keepdim=True), WINDOW, ceil_mode=True, count_include_pad=False)
    norms = (squares + SMALLEST**2).sqrt()                                                                 # (B, 1, h, w)
    weight = weighed((norms.shape[-2], norms.shape[-1]))
    return norms.mean() if weight is None else (norms * weight).mean()

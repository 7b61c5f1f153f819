"""Heads that every trainable judge has: from features to a Gaussian per perspective, whatever body made the features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mre.judge.reward_models.likelihood import interval_loss, pair_loss
from mre.rewards import SCORE_MAX

LOG_DEVIATION = (-3.0, 2.0)         # bounds: a deviation of 0.05 to 7.4 points
HALF_WIDTH = 0.5                    # of a tie, in points, before anything is learnt


class Scores(NamedTuple):
    """Gaussians of a batch on the scale 0 to 5, each (B, P) in the order of the judge's perspectives."""

    mean: Tensor
    deviation: Tensor


class Labels(NamedTuple):
    """What is known of the edits of a batch. NaN is not known.

    low, high: (B, P), the interval in which each score lies; weight: (B,)
    first, second: (Q,), rows of the pairs; preferred: (Q, P + 1), WIN, TIE or LOSS of the first, the last column of the edit as a whole
    pair_weight: (Q,)
    annotator: (B,), number of who scored, -1 for nobody in particular
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    first: Tensor
    second: Tensor
    preferred: Tensor
    pair_weight: Tensor
    annotator: Tensor


class RewardHeads(nn.Module):
    """One small perceptron per perspective, and per perspective (and for the whole) the half width of a tie."""

    def __init__(self, width: int, perspectives: Sequence[str], hidden: int = 64) -> None:
        super().__init__()
        self.perspectives = tuple(perspectives)
        self.heads = nn.ModuleDict()
        self.log_half_width = nn.Parameter(torch.full((len(self.perspectives) + 1,), math.log(HALF_WIDTH)))
        for name in self.perspectives:
            last = nn.Linear(hidden, 2)
            with torch.no_grad():                           # starts near the middle of the scale, with a deviation of a point
                last.weight.mul_(0.1)
                last.bias.zero_()
            self.heads[name] = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), last)

    def forward(self, features: Tensor) -> Scores:
        """features: (B, width)"""
        made = torch.stack([self.heads[name](features) for name in self.perspectives], dim=1).float()       # (B, P, 2)
        return Scores(SCORE_MAX / 2 * (1 + made[..., 0]), made[..., 1].clamp(*LOG_DEVIATION).exp())


class AnnotatorOffsets(nn.Module):
    """How much milder than the judge each annotator scores, per perspective, with a Gaussian prior around 0.

    A strict annotator's edits are not bad edits. An offset of the pair's annotator moves both scores, so pairs know nothing of it.
    """

    def __init__(self, annotators: int, perspectives: int, prior: float = 0.5) -> None:
        """prior: standard deviation of the offsets, in points"""
        super().__init__()
        self.prior = prior
        self.offsets = nn.Parameter(torch.zeros(max(annotators, 1), perspectives))

    def forward(self, annotator: Tensor) -> Tensor:
        """(B, P), 0 for nobody in particular."""
        return self.offsets[annotator.clamp(min=0)] * (annotator >= 0)[:, None]

    def prior_loss(self) -> Tensor:
        """-log of the prior density of all offsets, without its constant: to be shared among all labels that there are."""
        return self.offsets.square().sum() / (2 * self.prior**2)


def label_loss(scores: Scores, labels: Labels, half_width: Tensor, offsets: Tensor | None = None, pair_share: float = 1.0,
               pair_losses=None) -> tuple[Tensor, Tensor]:
    """Weighted sums of the losses of scores and of pairs, with how much each weighs in total: (loss, weight).

    half_width: (P + 1,); offsets: (B, P), of the annotators; pair_share: how much a pair counts beside a score
    pair_losses: another loss than probit with ties, for decided pairs: (difference, deviation) -> loss, first better
    """
    mean = scores.mean if offsets is None else scores.mean + offsets
    known = ~torch.isnan(labels.low)
    low, high = (torch.where(known, bound, stand_in) for bound, stand_in in ((labels.low, -1.0), (labels.high, 1.0)))
    each = torch.where(known, interval_loss(mean, scores.deviation, low, high), 0.0)
    weight = known * labels.weight[:, None]
    total, amount = (each * weight).sum(), weight.sum()
    if len(labels.first):
        difference, deviation = pair_gaussians(scores, labels.first, labels.second)
        said = ~torch.isnan(labels.preferred)
        preferred = torch.where(said, labels.preferred, 0.0)
        if pair_losses is None:
            each = pair_loss(difference, deviation, half_width, preferred)
        else:                                           # these know no ties
            said &= preferred != 0
            each = pair_losses(difference * torch.where(preferred < 0, -1.0, 1.0), deviation)
        weight = said * labels.pair_weight[:, None] * pair_share
        total, amount = total + (torch.where(said, each, 0.0) * weight).sum(), amount + weight.sum()
    return total, amount


def pair_gaussians(scores: Scores, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (Q, P + 1) of first less second: per perspective, and of the mean of all perspectives in the last column."""
    difference = scores.mean[first] - scores.mean[second]
    variance = scores.deviation[first].square() + scores.deviation[second].square()
    difference = torch.cat([difference, difference.mean(-1, keepdim=True)], dim=-1)
    variance = torch.cat([variance, variance.mean(-1, keepdim=True) / variance.shape[-1]], dim=-1)
    return difference, variance.sqrt()

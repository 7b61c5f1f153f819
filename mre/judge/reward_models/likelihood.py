"""Likelihoods of labels under Gaussian scores: a score on a grid as an interval, a preference with ties by probit.

A judge says of each perspective N(mean, deviation^2) on the scale 0 to 5. What people say of an edit is a set of such numbers: "4" is
the interval 3.5 to 4.5, open where the scale ends; "the first is better" is that the first lies above the second by more than half a
tie. All is in closed form and stable in the tails; nothing is sampled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mre.rewards import SCORE_MAX, SCORE_MIN

WIN, TIE, LOSS = 1.0, 0.0, -1.0         # what is said of the first of a pair
FIRST_NODE, LAST_NODE, NODES = -10.0, 24.0, 1361     # of the quadrature: the sigmoid's mass in its tail lies up to one deviation further


def log_interval(low: Tensor, high: Tensor) -> Tensor:
    """log(Phi(high) - Phi(low)) of finite standard scores, low < high, without loss in either tail."""
    flip = low + high > 0                                                   # Phi is small on the left, where it is exact
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    upper = torch.special.log_ndtr(high)
    return upper + torch.log(-torch.expm1(torch.special.log_ndtr(low) - upper))


def score_interval(score: Tensor, step: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """What a score on a grid of `step` says of the score behind it: half a step to each side, open where the scale ends."""
    low = torch.where(score <= SCORE_MIN, -math.inf, score - step / 2)
    high = torch.where(score >= SCORE_MAX, math.inf, score + step / 2)
    return low, high


def interval_loss(mean: Tensor, deviation: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """-log P(low < z < high), z ~ N(mean, deviation^2), element by element; `low` may be -inf and `high` inf, not both."""
    from_below, from_above = torch.isinf(low), torch.isinf(high)
    inside = mean.detach()                                                  # stands in for an open end, whose gradient would be 0 * inf
    z_low = (torch.where(from_below, inside - 1, low) - mean) / deviation
    z_high = (torch.where(from_above, inside + 1, high) - mean) / deviation
    one_sided = torch.special.log_ndtr(torch.where(from_below, z_high, -z_low))
    closed = ~(from_below | from_above)
    two_sided = log_interval(torch.where(closed, z_low, -1.0), torch.where(closed, z_high, 1.0))
    return -torch.where(closed, two_sided, one_sided)


def pair_log_probabilities(difference: Tensor, deviation: Tensor, half_width: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of P(win), P(tie), P(loss) of the first of a pair; they add up to 1.

    difference: of the means, first less second; deviation: of the difference, sqrt(s1^2 + s2^2); half_width: what is still a tie, > 0
    """
    win = torch.special.log_ndtr((difference - half_width) / deviation)
    loss = torch.special.log_ndtr((-difference - half_width) / deviation)
    tie = log_interval((-half_width - difference) / deviation, (half_width - difference) / deviation)
    return win, tie, loss


def pair_loss(difference: Tensor, deviation: Tensor, half_width: Tensor | float, label: Tensor) -> Tensor:
    """-log P(label), element by element. label: WIN, TIE or LOSS."""
    win, tie, loss = pair_log_probabilities(difference, deviation, half_width)
    return -torch.where(label == TIE, tie, torch.where(label == WIN, win, loss))


# ------------------------------------------------------------------ what EditReward trains with, to repeat it: decided pairs, first better

def _nodes(difference: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Values of z ~ N(difference, deviation^2) at equally spaced nodes (..., N), and the logarithms of their weights.

    For functions that are analytic around the real axis, such as these, the trapezoidal rule converges as fast as any: exact to 1e-12 for
    deviations up to 12.
    """
    nodes = torch.linspace(FIRST_NODE, LAST_NODE, NODES, dtype=difference.dtype, device=difference.device)
    step = (LAST_NODE - FIRST_NODE) / (NODES - 1)
    log_weights = -nodes.square() / 2 + math.log(step / math.sqrt(2 * math.pi))
    return difference[..., None] + deviation[..., None] * nodes, log_weights


def logistic_loss(difference: Tensor, deviation: Tensor) -> Tensor:
    """-log E[sigmoid(z)]: the likelihood that EditReward's paper states."""
    z, log_weights = _nodes(difference, deviation)
    return -torch.logsumexp(torch.nn.functional.logsigmoid(z) + log_weights, dim=-1)


def expected_logistic_loss(difference: Tensor, deviation: Tensor) -> Tensor:
    """E[-log sigmoid(z)]: what EditReward's code trains with (`uncertainty`), its 1,000 random samples replaced by the integral.

    An upper bound of `logistic_loss` that pulls the deviation to 0 on every pair.
    """
    z, log_weights = _nodes(difference, deviation)
    return -(torch.nn.functional.logsigmoid(z) * log_weights.exp()).sum(-1)


def bradley_terry_loss(difference: Tensor, deviation: Tensor) -> Tensor:
    """-log sigmoid(difference): the means alone."""
    del deviation
    return -torch.nn.functional.logsigmoid(difference)


# -------------------------------------------------------------------------------------------------------------- what is reported of a score

def reported_score(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, in float64, of the score itself, which ends at 0 and 5: of min(max(z, 0), 5), z ~ N(mean, deviation^2)."""
    mean, deviation = mean.double(), deviation.double()
    a, b = (SCORE_MIN - mean) / deviation, (SCORE_MAX - mean) / deviation
    below_a, below_b = torch.special.ndtr(a), torch.special.ndtr(b)
    density_a, density_b = (torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) for x in (a, b))
    inside, above = below_b - below_a, torch.special.ndtr(-b)
    first = SCORE_MAX * above + mean * inside + deviation * (density_a - density_b)
    second = (SCORE_MAX**2 * above + (mean.square() + deviation.square()) * inside + 2 * mean * deviation * (density_a - density_b)
              + deviation.square() * (a * density_a - b * density_b))
    return first.clamp(SCORE_MIN, SCORE_MAX), (second - first.square()).clamp(min=0).sqrt()

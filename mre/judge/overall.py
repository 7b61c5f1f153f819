"""A judge's verdicts in one number: from 0 to 1, over the perspectives that it knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from mre.errors import JudgeError
from mre.judge.verdicts import Verdicts
from mre.rewards import SCORE_MAX

OVERALLS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "geometric": lambda values: math.prod(values) ** (1 / len(values)),
    "mean": lambda values: sum(values) / len(values),
    "min": min,
}


def shares_of(verdicts: Verdicts) -> dict[str, float]:
    """Perspective -> its score, 5 points as 1. Raises JudgeError where one has no answer: nothing stands in for it."""
    if verdicts.errors:
        raise JudgeError("; ".join(f"{name}: {error}" for name, error in verdicts.errors.items()))
    return {verdict.perspective: float(verdict.score or 0.0) / SCORE_MAX for verdict in verdicts}


def overall_of(verdicts: Verdicts, by: str = "geometric") -> float:
    """The scores as one number; the geometric mean is low where one is, so that an edit that does nothing is not good for preserving all.

    Raises JudgeError where a perspective has no answer.
    """
    return OVERALLS[by](list(shares_of(verdicts).values()))

"""What a statistic is: a value, or the reason why it has none; and intervals.

An undefined value is never 0. Scores are rounded to 9 decimals before they are ranked, compared or counted, so that 0.6 * 0.4 and 0.8 * 0.3
tie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

DECIMALS = 9                    # scores equal on paper must be equal here


@dataclass(frozen=True)
class Figure:
    """One statistic: its value, or None and in `note` the reason; `n` is what it was computed from (pairs, edits, cells)."""

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    note: str = ""

    def __float__(self) -> float:
        return math.nan if self.value is None else self.value

    @property
    def defined(self) -> bool:
        return self.value is not None


def undefined(n: int, reason: str) -> Figure:
    """A figure without a value."""
    return Figure(None, int(n), note=f"undefined: {reason}")


def rounded(scores: ArrayLike) -> np.ndarray:
    """Scores as floats, rounded so that values equal on paper are equal here. Minus zero becomes zero."""
    return np.round(np.asarray(scores, dtype=float), DECIMALS) + 0.0


def mean_figure(figures: Sequence[Figure], what: str) -> Figure:
    """Plain mean of the defined figures; n counts them, the note counts the rest."""
    defined = [figure.value for figure in figures if figure.value is not None]
    if not defined:
        return undefined(0, next((f.note.removeprefix("undefined: ") for f in figures), f"no {what}"))
    left_out = len(figures) - len(defined)
    return Figure(float(np.mean(defined)), len(defined), note=f"{left_out} of {len(figures)} undefined and left out" if left_out else "")


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """The middle `level` of bootstrap draws; nothing when more than one draw in ten is undefined."""
    draws = np.asarray(draws, dtype=float)
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(2, 0.9 * len(draws)):
        return None, None
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share of `n`, at least 1."""
    interval = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)

"""Two columns of scores of the same edits: which is higher, how surely, by how much; and how many edits it takes to see it.

Edits of one photo are not independent. Where the caller says which edits belong together, every p-value counts these units, the same that
intervals resample; where each edit is a unit of its own, the tests are the usual ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from mre.agreement.figures import Figure, rounded, undefined, wilson_interval


@dataclass(frozen=True)
class PairedTest:
    """First minus second, edit by edit. `ties` are differences of exactly 0 (after rounding).

    Counts, means, win rate, d_z are over edits; the tests are over `units`: the t-test is cluster-robust, the others take a unit's mean
    difference.
    """

    n: int
    units: int
    wins: int
    ties: int
    losses: int
    mean_first: Figure
    mean_second: Figure
    mean_difference: Figure             # with the 95 % t interval; p of the t-test
    sd_difference: Figure
    t: Figure
    wilcoxon: Figure                    # smaller rank sum; zeros dropped, normal approximation without continuity correction
    wilcoxon_pratt: Figure              # smaller rank sum; zeros ranked (Pratt)
    sign: Figure                        # share of units won among decided; p of the exact sign test, Wilson interval
    win_rate: Figure                    # ties count half
    rank_biserial: Figure               # matched rank-biserial correlation
    cohen_dz: Figure
    units_for_80_percent: Figure        # how many units the t-test needs for a difference like this


def paired_test(first: ArrayLike, second: ArrayLike, unit: ArrayLike | None = None) -> PairedTest:
    """All paired figures of two columns; edits that lack a side are left out. `unit`: what each edit belongs to, such as its photo; None:
    each edit is its own."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    unit = np.arange(len(first)) if unit is None else np.unique(np.asarray(unit, dtype=object).astype(str), return_inverse=True)[1]
    both = ~(np.isnan(first) | np.isnan(second))
    unit = np.unique(unit[both], return_inverse=True)[1]
    first, second = first[both], second[both]
    difference = rounded(first - second)            # not of rounded scores: 2/3 - 1/3 and 1/3 - 0 must tie
    n, sizes = len(difference), np.bincount(unit)
    units = len(sizes)
    of_units = rounded(np.bincount(unit, weights=difference) / sizes) if n else difference      # mean difference of each unit
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    decided = int((of_units != 0).sum())
    few = undefined(n, f"{n} edits that both sides have, at least 2 are needed")
    one_unit = undefined(units, f"all {n} edits belong together, at least 2 independent units are needed")
    same = undefined(n, "all differences are equal")
    none_decided = undefined(n, "all differences are 0")

    mean = few if n < 2 else Figure(float(difference.mean()), n)
    sd = few if n < 2 else Figure(float(difference.std(ddof=1)), n)
    t = dz = needed = few if n < 2 else one_unit if units < 2 else same
    if mean.value is not None and sd.value is not None and sd.value > 0:
        dz = Figure(mean.value / sd.value, n)
    if mean.value is not None and units >= 2 and (error := _standard_error(difference, unit)) > 0:
        freedom, value = units - 1, mean.value / error
        p, reach = float(2 * stats.t.sf(abs(value), freedom)), float(stats.t.ppf(0.975, freedom)) * error
        t = Figure(value, units, p=p, note=f"df {freedom}")
        mean = Figure(mean.value, n, mean.value - reach, mean.value + reach, p)
        needed = none_decided if value == 0 else Figure(paired_t_size(value / math.sqrt(units)), units)
    wilcoxon = pratt = biserial = sign = few if not n else one_unit if units < 2 and n > 1 else none_decided
    if decided and wilcoxon is none_decided:
        wilcoxon, pratt = (_wilcoxon(of_units, zeros) for zeros in ("wilcox", "pratt"))
        ranks = stats.rankdata(np.abs(of_units[of_units != 0]))
        signs = np.sign(of_units[of_units != 0])
        biserial = Figure(float((ranks * signs).sum() / ranks.sum()), decided)
        won = int((of_units > 0).sum())
        sign = Figure(won / decided, decided, *wilson_interval(won, decided), p=float(stats.binomtest(won, decided).pvalue))
    return PairedTest(
        n=n, units=units, wins=wins, ties=n - wins - losses, losses=losses,
        mean_first=Figure(float(first.mean()), n) if n else few, mean_second=Figure(float(second.mean()), n) if n else few,
        mean_difference=mean, sd_difference=sd, t=t, wilcoxon=wilcoxon, wilcoxon_pratt=pratt, sign=sign,
        win_rate=Figure((wins + (n - wins - losses) / 2) / n, n) if n else few, rank_biserial=biserial, cohen_dz=dz,
        units_for_80_percent=needed)


def _standard_error(difference: np.ndarray, unit: np.ndarray) -> float:
    """Cluster-robust standard error of the mean difference: s / sqrt(n) where each edit is its own unit."""
    residuals = np.bincount(unit, weights=difference - difference.mean())
    residuals = np.where(np.abs(residuals) < 1e-12, 0.0, residuals)
    return float(math.sqrt(len(residuals) / (len(residuals) - 1) * (residuals**2).sum()) / len(difference))


def _wilcoxon(difference: np.ndarray, zeros: str) -> Figure:
    test = stats.wilcoxon(difference, zero_method=zeros, correction=False, method="asymptotic")
    statistic, p = cast(Any, test)              # scipy has no annotations, and what is inferred is wrong
    used = int((difference != 0).sum()) if zeros == "wilcox" else len(difference)
    return Figure(float(statistic), used, p=float(p))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment of a family of p-values; missing ones stay missing and do not count."""
    given = [(p, i) for i, p in enumerate(p_values) if p is not None and not math.isnan(p)]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(sorted(given)):
        largest = max(largest, min(1.0, (len(given) - rank) * p))
        adjusted[i] = largest
    return adjusted


# Size and power ------------------------------------------------------------------------------------------------------------------------


def paired_t_power(dz: float, n: float, alpha: float = 0.05) -> float:
    """Chance that a two-sided paired t-test of `n` independent edits finds a true standardised mean difference `dz`."""
    freedom = n - 1
    critical = stats.t.isf(alpha / 2, freedom)
    shift = abs(dz) * math.sqrt(n)
    wrong_side = stats.nct.cdf(-critical, freedom, shift)
    return float(stats.nct.sf(critical, freedom, shift) + (0.0 if np.isnan(wrong_side) else wrong_side))     # NaN: too small to compute


def paired_t_size(dz: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """How many independent edits give a two-sided paired t-test this power; round up. 2 when even two suffice."""
    if dz == 0:
        raise ValueError("no number of edits finds a difference of 0")
    if paired_t_power(dz, 2, alpha) >= power:
        return 2.0
    highest = 10 + 20 / dz**2
    return _root(lambda n: paired_t_power(dz, n, alpha) - power, 2, highest)


def detectable_dz(n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest d_z that `n` independent edits find with this power."""
    return _root(lambda dz: paired_t_power(dz, n, alpha) - power, 1e-6, 20)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    root: Any = optimize.brentq(function, low, high, xtol=1e-10)            # a number, as `full_output` is not asked for
    return float(root)

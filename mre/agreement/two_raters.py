"""How far two columns of scores agree: a judge with people, one annotator with another.

Columns are equally long sequences (NaN = missing, such pairs are left out). Every function returns a `Figure`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mre.agreement.figures import DECIMALS, Figure, rounded, undefined, wilson_interval

CLIP = 1 - 1e-6                 # correlations of exactly 1 have no Fisher transform
Z95 = 1.96                      # of the Bland-Altman limits, as they are usually written
MOST_GRADES = 140               # more different scores than this are no grades that kappa could be asked about
KAPPA_WEIGHTS = {"nominal": 0, "linear": 1, "quadratic": 2}


def paired(human: ArrayLike, judge: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both columns, rounded, without the rows where either is missing."""
    human, judge = rounded(human), rounded(judge)
    if human.shape != judge.shape:
        raise ValueError(f"columns differ in length: {len(human)} and {len(judge)}")
    both = ~(np.isnan(human) | np.isnan(judge))
    return human[both], judge[both]


def _correlation(compute: Callable, human: ArrayLike, judge: ArrayLike, names: tuple[str, str]) -> Figure:
    human, judge = paired(human, judge)
    if len(human) < 3:
        return undefined(len(human), f"{len(human)} pairs, at least 3 are needed")
    for scores, name in zip((human, judge), names, strict=True):
        if scores.min() == scores.max():
            return undefined(len(human), f"all scores of {name} are {scores[0]:g}")
    value, p = compute(human, judge)
    return Figure(float(value), len(human), p=float(p))


def pearson(human: ArrayLike, judge: ArrayLike, names: tuple[str, str] = ("people", "the judge")) -> Figure:
    """Pearson's product-moment correlation."""
    return _correlation(stats.pearsonr, human, judge, names)


def spearman(human: ArrayLike, judge: ArrayLike, names: tuple[str, str] = ("people", "the judge")) -> Figure:
    """Spearman's rank correlation: Pearson of mid-ranks."""
    return _correlation(stats.spearmanr, human, judge, names)


def kendall_tau_b(human: ArrayLike, judge: ArrayLike, names: tuple[str, str] = ("people", "the judge")) -> Figure:
    """Kendall's tau-b: (C - D) / sqrt((C + D + Tx) (C + D + Ty))."""
    return _correlation(stats.kendalltau, human, judge, names)


def fisher_mean(correlations: Iterable[Figure | float | None]) -> Figure:
    """Mean of correlations by the Fisher transform, tanh(mean(atanh(rho))); undefined ones are left out and counted in the note."""
    given = [float(rho) if rho is not None else math.nan for rho in correlations]
    defined = np.array([rho for rho in given if not math.isnan(rho)])
    left_out = len(given) - len(defined)
    if not len(defined):
        return undefined(0, "no correlation to average is defined")
    notes = [f"{left_out} of {len(given)} undefined and left out"] * bool(left_out)
    if (np.abs(defined) > CLIP).any():
        notes.append(f"correlations of 1 taken as {CLIP}")
    return Figure(float(np.tanh(np.arctanh(np.clip(defined, -CLIP, CLIP)).mean())), len(defined), note="; ".join(notes))


def tanh_mean(correlations: Iterable[Figure | float | None]) -> Figure:
    """tanh(mean(rho)) without the arctanh: the "Fisher" average of older tables, which pulls toward 0. Only to match those tables."""
    given = [float(rho) if rho is not None else math.nan for rho in correlations]
    defined = [rho for rho in given if not math.isnan(rho)]
    if not defined:
        return undefined(0, "no correlation to average is defined")
    left_out = len(given) - len(defined)
    note = f"{left_out} of {len(given)} undefined and left out" if left_out else ""
    return Figure(math.tanh(float(np.mean(defined))), len(defined), note=note)


def lin_ccc(human: ArrayLike, judge: ArrayLike) -> Figure:
    """Lin's concordance: 2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2), moments with ddof 0."""
    human, judge = paired(human, judge)
    if len(human) < 2:
        return undefined(len(human), f"{len(human)} pairs, at least 2 are needed")
    spread = human.var() + judge.var() + (human.mean() - judge.mean()) ** 2
    if spread == 0:
        return undefined(len(human), "all scores of both sides are equal")
    return Figure(float(2 * ((human - human.mean()) * (judge - judge.mean())).mean() / spread), len(human))


def _of_differences(human: ArrayLike, judge: ArrayLike, compute: Callable[[np.ndarray], float], least: int = 1) -> Figure:
    human, judge = paired(human, judge)
    if len(human) < least:
        return undefined(len(human), f"{len(human)} pairs, at least {least} are needed")
    return Figure(float(compute(judge - human)), len(human))


def bias(human: ArrayLike, judge: ArrayLike) -> Figure:
    """Mean of judge minus human: above 0 the judge is milder than people."""
    return _of_differences(human, judge, np.mean)


def difference_sd(human: ArrayLike, judge: ArrayLike) -> Figure:
    """Standard deviation (ddof 1) of judge minus human."""
    return _of_differences(human, judge, lambda d: d.std(ddof=1), least=2)


def limits_of_agreement(human: ArrayLike, judge: ArrayLike) -> tuple[Figure, Figure]:
    """Bland-Altman limits: bias -+ 1.96 sd (ddof 1); about 95 % of single differences lie between them."""
    low, high = (_of_differences(human, judge, lambda d, s=s: d.mean() + s * Z95 * d.std(ddof=1), least=2) for s in (-1, 1))
    return low, high


def mae(human: ArrayLike, judge: ArrayLike) -> Figure:
    """Mean absolute difference."""
    return _of_differences(human, judge, lambda d: np.abs(d).mean())


def rmse(human: ArrayLike, judge: ArrayLike) -> Figure:
    """Root of the mean squared difference."""
    return _of_differences(human, judge, lambda d: math.sqrt((d**2).mean()))


def proportional_bias(human: ArrayLike, judge: ArrayLike) -> Figure:
    """Slope of the difference (judge minus human) on the mean of the two: not 0 when the bias depends on how good the edit is."""
    human, judge = paired(human, judge)
    means = (human + judge) / 2
    if len(human) < 3 or means.min() == means.max():
        return undefined(len(human), "fewer than 3 pairs" if len(human) < 3 else "the mean of both is the same for all pairs")
    line = cast(Any, stats.linregress(means, judge - human))            # scipy has no annotations, and what is inferred is wrong
    return Figure(float(line.slope), len(human), p=float(line.pvalue))


def to_grades(scores: ArrayLike, grades: ArrayLike) -> np.ndarray:
    """Each score as the nearest of `grades`; halfway goes up. So judges with decimals can be put on the annotators' grid."""
    grades = np.unique(rounded(grades))
    scores = rounded(scores)
    middles = rounded((grades[1:] + grades[:-1]) / 2)
    nearest = grades[np.searchsorted(middles, scores, side="right")]
    return np.where(np.isnan(scores), np.nan, nearest)


def agreement_within(human: ArrayLike, judge: ArrayLike, distance: float = 0.0) -> Figure:
    """Share of pairs that lie at most `distance` apart; 0: exactly equal."""
    return _of_differences(human, judge, lambda d: (np.abs(d) <= distance + 10.0**-DECIMALS).mean())


def weighted_kappa(first: ArrayLike, second: ArrayLike, weights: str = "quadratic") -> Figure:
    """Cohen's kappa of two raters. Weights (`nominal`, `linear`, `quadratic`) run over category ranks, not over numeric distance."""
    first, second = paired(first, second)
    if not len(first):
        return undefined(0, "no edit was rated by both")
    categories, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    size = len(categories)
    if size < 2:
        return undefined(len(first), f"all ratings are {categories[0]:g}")
    if size > MOST_GRADES:
        return undefined(len(first), f"{size} different scores; kappa is for grades")
    table = np.bincount(codes[: len(first)] * size + codes[len(first):], minlength=size * size).reshape(size, size)
    return Figure(float(kappa_of_table(table, kappa_costs(size, weights))), len(first))


def kappa_costs(size: int, weights: str) -> np.ndarray:
    """Cost of each pair of category ranks, (size, size)."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(float)
    power = KAPPA_WEIGHTS[weights]
    return distance**power if power else (distance > 0).astype(float)


def kappa_of_table(table: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """1 - observed / expected cost, for tables of counts (..., size, size); NaN where only one category occurs."""
    table = np.asarray(table, dtype=float)
    total = table.sum(axis=(-1, -2))
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    expected = np.einsum("...i,ij,...j->...", rows, costs, columns)
    observed = np.einsum("...ij,ij->...", table, costs) * total
    return 1 - np.divide(observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)


def vote_agreement(confusion: ArrayLike) -> dict[str, float]:
    """Accuracy, Cohen's kappa, macro and weighted F1 of a square table of counts: rows what people said, columns what the judge said. An
    answer that neither ever gave has no F1 and is no part of the macro mean."""
    table = np.asarray(confusion, dtype=float)
    right, rows, columns = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    f1 = np.divide(2 * right, rows + columns, out=np.zeros_like(right), where=rows + columns > 0)
    return {"n": int(table.sum()), "accuracy": float(right.sum() / table.sum()),
            "cohen_kappa": float(kappa_of_table(table, kappa_costs(len(table), "nominal"))),
            "f1_macro": float(f1[rows + columns > 0].mean()), "f1_weighted": float((f1 * rows).sum() / table.sum())}


def position_bias(first_preferred: int, second_preferred: int) -> Figure:
    """Share of decided pairs in which the edit shown first was scored higher, against 1/2 (exact binomial test, Wilson interval)."""
    decided = int(first_preferred) + int(second_preferred)
    if not decided:
        return undefined(0, "no pair was decided")
    low, high = wilson_interval(int(first_preferred), decided)
    return Figure(first_preferred / decided, decided, low, high, p=float(stats.binomtest(int(first_preferred), decided).pvalue))

"""How far annotators agree with each other: the ceiling that a judge can be held to.

Several annotators come as a table with one row per rated edit and one column per annotator (`ratings_table`), NaN where nobody rated. Every
function returns a `Figure`. ICC of ratings with gaps is in `variance_components`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal

import krippendorff
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from mre.agreement.figures import Figure, mean_figure, rounded, undefined
from mre.agreement.two_raters import MOST_GRADES, spearman, weighted_kappa

MOST_COINCIDENCES = 20_000_000  # numbers
Level = Literal["nominal", "ordinal", "interval"]


def ratings_table(scores: pd.DataFrame, index: Sequence[str] = ("item", "method"), annotator: str = "annotator",
                  score: str = "score") -> pd.DataFrame:
    """One row per rated edit, one column per annotator, from long rows; missing where an annotator did not score that edit."""
    return scores.pivot(index=list(index), columns=annotator, values=score).sort_index().sort_index(axis=1)


def _matrix(ratings: pd.DataFrame | np.ndarray) -> np.ndarray:
    """(edits, annotators), rounded."""
    matrix = rounded(ratings.to_numpy(dtype=float) if isinstance(ratings, pd.DataFrame) else ratings)
    if matrix.ndim != 2:
        raise ValueError(f"ratings must have one row per edit and one column per annotator, got shape {matrix.shape}")
    return matrix


def value_counts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, ascending (V,), and how many annotators gave each to each edit (N, V)."""
    present = ~np.isnan(matrix)
    domain, codes = np.unique(matrix[present], return_inverse=True)
    counts = np.zeros((len(matrix), len(domain)), dtype=np.int64)
    np.add.at(counts, (np.nonzero(present)[0], codes), 1)
    return domain, counts


def krippendorff_alpha(ratings: pd.DataFrame | np.ndarray, level: Level = "ordinal") -> Figure:
    """Krippendorff's alpha (`nominal`, `ordinal` or `interval`); missing ratings allowed, edits with one rating cannot be paired."""
    matrix = _matrix(ratings)
    matrix = matrix[(~np.isnan(matrix)).sum(axis=1) >= 2]
    n = len(matrix)
    if not n:
        return undefined(0, "no edit was rated by two annotators")
    domain = np.unique(matrix[~np.isnan(matrix)])
    if len(domain) < 2:
        return undefined(n, f"all ratings are {domain[0]:g}")
    if n * len(domain) ** 2 > MOST_COINCIDENCES:                            # the library holds a V x V table per edit
        return Figure(_alpha_of_many_values(matrix, level), n)
    _, counts = value_counts(matrix)
    return Figure(float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level)), n)


def _alpha_of_many_values(matrix: np.ndarray, level: str) -> float:
    """Krippendorff's alpha from sums of squares, for scores with very many values. Ordinal is interval on mid-ranks; nominal is
    interval on one column of zeros and ones per value, summed over the values."""
    present = ~np.isnan(matrix)
    edits, scores = np.nonzero(present)[0], matrix[present]
    ratings = np.bincount(edits).astype(float)
    total = len(scores)
    if level == "nominal":
        value = np.unique(scores, return_inverse=True)[1]
        alike = pd.Series(1, index=pd.MultiIndex.from_arrays([edits, value])).groupby(level=[0, 1]).sum()
        same = np.bincount(alike.index.get_level_values(0), weights=alike.to_numpy() ** 2)
        observed, expected = ((ratings**2 - same) / (ratings - 1)).sum(), total**2 - (np.bincount(value).astype(float) ** 2).sum()
    else:
        scores = stats.rankdata(scores) if level == "ordinal" else scores
        means = np.bincount(edits, weights=scores) / ratings
        squares = np.bincount(edits, weights=(scores - means[edits]) ** 2)
        observed, expected = (2 * ratings * squares / (ratings - 1)).sum(), 2 * total * ((scores - scores.mean()) ** 2).sum()
    return float(1 - (total - 1) * observed / expected)


def alpha_of_coincidences(table: np.ndarray, domain: np.ndarray, level: str) -> np.ndarray:
    """Krippendorff's alpha, 1 - D_o / D_e, of coincidence tables (..., V, V); NaN where only one value occurs."""
    table = np.asarray(table, dtype=float)
    totals = table.sum(axis=-1)                                             # (..., V)
    if level == "nominal":
        squared = 1 - np.eye(len(domain))
    elif level == "interval":
        squared = np.subtract.outer(domain, domain) ** 2
    elif level == "ordinal":                                                # ranks between two values, halves at the ends
        middles = np.cumsum(totals, axis=-1) - totals / 2
        squared = (middles[..., :, None] - middles[..., None, :]) ** 2
    else:
        raise ValueError(f"level must be nominal, ordinal or interval, got {level!r}")
    observed = (table * squared).sum(axis=(-1, -2)) * (totals.sum(axis=-1) - 1)
    expected = (totals[..., :, None] * totals[..., None, :] * squared).sum(axis=(-1, -2))
    return 1 - np.divide(observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)


def fleiss_kappa(ratings: pd.DataFrame | np.ndarray) -> Figure:
    """Fleiss' kappa: grades as unordered names, the same number of ratings for each edit. Prefer ordinal alpha for scores."""
    matrix = _matrix(ratings)
    grades = len(np.unique(matrix[~np.isnan(matrix)]))
    if grades > MOST_GRADES:
        return undefined(len(matrix), f"{grades} different scores; kappa is for grades")
    domain, counts = value_counts(matrix)
    counts = counts[counts.sum(axis=1) > 0]
    per_edit = counts.sum(axis=1)
    n = len(counts)
    if not n or per_edit.max() < 2:
        return undefined(n, "no edit was rated by two annotators")
    if per_edit.min() != per_edit.max():
        return undefined(n, f"edits have from {per_edit.min()} to {per_edit.max()} ratings, Fleiss' kappa needs the same number for all")
    if len(domain) < 2:
        return undefined(n, f"all ratings are {domain[0]:g}")
    k = per_edit[0]
    observed = ((counts * (counts - 1)).sum(axis=1) / (k * (k - 1))).mean()
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return Figure(float((observed - chance) / (1 - chance)), n)


def icc(ratings: pd.DataFrame | np.ndarray) -> dict[str, Figure]:
    """Intraclass correlations `1_1, 2_1, 3_1, 1_k, 2_k, 3_k` (Shrout and Fleiss) over the edits that all annotators rated.

    2_1: how well one annotator's score stands for the edit; 2_k: how well the mean of these k does (absolute agreement).
    """
    matrix = _matrix(ratings)
    complete = matrix[~np.isnan(matrix).any(axis=1)]
    n, k = complete.shape
    left_out = f"{len(matrix) - n} edits without a rating by all annotators left out" if n < len(matrix) else ""
    names = ("1_1", "2_1", "3_1", "1_k", "2_k", "3_k")
    if k < 2 or n < 2:
        reason = "one annotator" if k < 2 else f"{n} edits were rated by all {k} annotators, at least 2 are needed"
        return dict.fromkeys(names, undefined(n, reason))
    if complete.min() == complete.max():
        return dict.fromkeys(names, undefined(n, f"all ratings are {complete[0, 0]:g}"))
    values = icc_of_squares(*mean_squares(complete), n=n, k=k)
    return {name: Figure(float(values[name]), n, note=left_out) if np.isfinite(values[name])
            else undefined(n, "no variance between edits and within them") for name in names}


def mean_squares(complete: np.ndarray) -> tuple[float, float, float, float]:
    """Mean squares of a two-way layout: between edits, between annotators, residual, and within edits."""
    n, k = complete.shape
    grand = complete.mean()
    rows = k * ((complete.mean(axis=1) - grand) ** 2).sum()
    columns = n * ((complete.mean(axis=0) - grand) ** 2).sum()
    residual = ((complete - grand) ** 2).sum() - rows - columns
    return rows / (n - 1), columns / (k - 1), residual / ((n - 1) * (k - 1)), (columns + residual) / (n * (k - 1))


def icc_of_squares(msr, msc, mse, msw, n, k) -> dict[str, np.ndarray]:
    """The six intraclass correlations of mean squares; arrays work too."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"1_1": (msr - msw) / (msr + (k - 1) * msw), "1_k": (msr - msw) / msr,
                "2_1": (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n), "2_k": (msr - mse) / (msr + (msc - mse) / n),
                "3_1": (msr - mse) / (msr + (k - 1) * mse), "3_k": (msr - mse) / msr}


def pairwise_kappas(ratings: pd.DataFrame, weights: str = "quadratic") -> dict[tuple[str, str], Figure]:
    """Weighted kappa of each pair of annotators, over the edits that both rated."""
    columns = {name: ratings[name].to_numpy(dtype=float) for name in ratings.columns}
    return {(a, b): weighted_kappa(columns[a], columns[b], weights) for a, b in combinations(columns, 2)}


def mean_pairwise_kappa(ratings: pd.DataFrame, weights: str = "quadratic") -> Figure:
    """Mean of the pairs' kappas; n is the number of pairs of annotators that it is the mean of."""
    kappas = list(pairwise_kappas(ratings, weights).values())
    return mean_figure(kappas, "two annotators rated the same edits")


def annotator_means(ratings: pd.DataFrame) -> tuple[Figure, float, dict[str, float]]:
    """Mean of the annotators' means, their population standard deviation (how differently severe they are; no standard error), and each."""
    each = {str(name): float(mean) for name, mean in ratings.mean().dropna().items()}
    if not each:
        return undefined(0, "no rating"), math.nan, each
    return Figure(float(np.mean(list(each.values()))), len(each)), float(np.std(list(each.values()))), each


def others_mean(ratings: pd.DataFrame, annotator: str) -> np.ndarray:
    """Mean of all other annotators' scores per edit; NaN where nobody else rated it."""
    others = ratings.to_numpy(dtype=float)[:, ratings.columns != annotator]
    count = (~np.isnan(others)).sum(axis=1)
    return np.divide(np.nansum(others, axis=1), count, out=np.full(len(others), np.nan), where=count > 0)


def leave_one_out(ratings: pd.DataFrame, statistic: Callable[..., Figure] = spearman) -> dict[str, Figure]:
    """Each annotator against the mean of the others: the ceiling that a judge can be held to."""
    if len(ratings.columns) < 2:
        return {name: undefined(0, "one annotator") for name in ratings.columns}
    return {name: statistic(ratings[name], others_mean(ratings, name), names=(f"annotator {name}", "the others"))
            for name in ratings.columns}


def judge_as_annotator(ratings: pd.DataFrame, judge: ArrayLike, statistic: Callable[..., Figure] = spearman) -> pd.DataFrame:
    """Judge and annotator on the same footing, one row per annotator: both against the mean of the other annotators,
    over the edits that annotator, others and judge all scored; and the judge against that annotator alone."""
    judge = np.asarray(judge, dtype=float)
    rows = []
    for name in ratings.columns:
        others = others_mean(ratings, name) if len(ratings.columns) > 1 else np.full(len(ratings), np.nan)
        own = ratings[name].to_numpy(dtype=float)
        shared = ~(np.isnan(own) | np.isnan(others) | np.isnan(judge))
        rows.append({"annotator": name, "n": int(shared.sum()),
                     "human_vs_others": statistic(own[shared], others[shared], names=(f"annotator {name}", "the others")),
                     "judge_vs_others": statistic(others[shared], judge[shared], names=("the others", "the judge")),
                     "judge_vs_annotator": statistic(own, judge, names=(f"annotator {name}", "the judge"))})
    return pd.DataFrame(rows, columns=["annotator", "n", "human_vs_others", "judge_vs_others", "judge_vs_annotator"])

"""How far two sets of scores agree: a judge with people, people with each other.

Pure functions. Two columns of scores come as equally long sequences (NaN = missing, such pairs are left out); several annotators come
as a table with one row per rated edit and one column per annotator (`ratings_table`). Scores are rounded to 9 decimals before they are
ranked, compared or counted, so that 0.6 * 0.4 and 0.8 * 0.3 tie. Every function returns a `Figure`: a value, or the reason why it has none;
an undefined value is never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import krippendorff
import numpy as np
import pandas as pd
from scipy import stats

DECIMALS = 9                    # scores equal on paper must be equal here
CLIP = 1 - 1e-6                 # correlations of exactly 1 have no Fisher transform
Z95 = 1.96                      # of the Bland-Altman limits, as they are usually written
MOST_COINCIDENCES = 20_000_000  # numbers
MOST_GRADES = 140               # more different scores than this are no grades that kappa could be asked about
KAPPA_WEIGHTS = {"nominal": 0, "linear": 1, "quadratic": 2}


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


def rounded(scores: Iterable[float]) -> np.ndarray:
    """Scores as floats, rounded so that values equal on paper are equal here. Minus zero becomes zero."""
    return np.round(np.asarray(scores, dtype=float), DECIMALS) + 0.0


def paired(human: Sequence[float], judge: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Both columns, rounded, without the rows where either is missing."""
    human, judge = rounded(human), rounded(judge)
    if human.shape != judge.shape:
        raise ValueError(f"columns differ in length: {len(human)} and {len(judge)}")
    both = ~(np.isnan(human) | np.isnan(judge))
    return human[both], judge[both]


# Two columns ---------------------------------------------------------------------------------------------------------------------------


def _correlation(compute: Callable, human: Sequence[float], judge: Sequence[float], names: tuple[str, str]) -> Figure:
    human, judge = paired(human, judge)
    if len(human) < 3:
        return undefined(len(human), f"{len(human)} pairs, at least 3 are needed")
    for scores, name in zip((human, judge), names, strict=True):
        if scores.min() == scores.max():
            return undefined(len(human), f"all scores of {name} are {scores[0]:g}")
    value, p = compute(human, judge)
    return Figure(float(value), len(human), p=float(p))


def pearson(human: Sequence[float], judge: Sequence[float], names: tuple[str, str] = ("people", "the judge")) -> Figure:
    """Pearson's product-moment correlation."""
    return _correlation(stats.pearsonr, human, judge, names)


def spearman(human: Sequence[float], judge: Sequence[float], names: tuple[str, str] = ("people", "the judge")) -> Figure:
    """Spearman's rank correlation: Pearson of mid-ranks."""
    return _correlation(stats.spearmanr, human, judge, names)


def kendall_tau_b(human: Sequence[float], judge: Sequence[float], names: tuple[str, str] = ("people", "the judge")) -> Figure:
    """Kendall's tau-b: (C - D) / sqrt((C + D + Tx) (C + D + Ty))."""
    return _correlation(stats.kendalltau, human, judge, names)


def fisher_interval(rho: float, n: int, se_factor: float = 1.03) -> tuple[float, float] | None:
    """95 % interval of a correlation of `n` independent pairs: tanh(atanh(rho) -+ z f / sqrt(n - 3)), z the normal quantile.
    f = 1.03 for Spearman, 1 for Pearson."""
    if n <= 3 or abs(rho) >= 1:
        return None
    half = stats.norm.ppf(0.975) * se_factor / math.sqrt(n - 3)
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


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


def lin_ccc(human: Sequence[float], judge: Sequence[float]) -> Figure:
    """Lin's concordance: 2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2), moments with ddof 0."""
    human, judge = paired(human, judge)
    if len(human) < 2:
        return undefined(len(human), f"{len(human)} pairs, at least 2 are needed")
    spread = human.var() + judge.var() + (human.mean() - judge.mean()) ** 2
    if spread == 0:
        return undefined(len(human), "all scores of both sides are equal")
    return Figure(float(2 * ((human - human.mean()) * (judge - judge.mean())).mean() / spread), len(human))


def _of_differences(human: Sequence[float], judge: Sequence[float], compute: Callable[[np.ndarray], float], least: int = 1) -> Figure:
    human, judge = paired(human, judge)
    if len(human) < least:
        return undefined(len(human), f"{len(human)} pairs, at least {least} are needed")
    return Figure(float(compute(judge - human)), len(human))


def bias(human: Sequence[float], judge: Sequence[float]) -> Figure:
    """Mean of judge minus human: above 0 the judge is milder than people."""
    return _of_differences(human, judge, np.mean)


def difference_sd(human: Sequence[float], judge: Sequence[float]) -> Figure:
    """Standard deviation (ddof 1) of judge minus human."""
    return _of_differences(human, judge, lambda d: d.std(ddof=1), least=2)


def limits_of_agreement(human: Sequence[float], judge: Sequence[float]) -> tuple[Figure, Figure]:
    """Bland-Altman limits: bias -+ 1.96 sd (ddof 1); about 95 % of single differences lie between them."""
    low, high = (_of_differences(human, judge, lambda d, s=s: d.mean() + s * Z95 * d.std(ddof=1), least=2) for s in (-1, 1))
    return low, high


def mae(human: Sequence[float], judge: Sequence[float]) -> Figure:
    """Mean absolute difference."""
    return _of_differences(human, judge, lambda d: np.abs(d).mean())


def rmse(human: Sequence[float], judge: Sequence[float]) -> Figure:
    """Root of the mean squared difference."""
    return _of_differences(human, judge, lambda d: math.sqrt((d**2).mean()))


def proportional_bias(human: Sequence[float], judge: Sequence[float]) -> Figure:
    """Slope of the difference (judge minus human) on the mean of the two: not 0 when the bias depends on how good the edit is."""
    human, judge = paired(human, judge)
    means = (human + judge) / 2
    if len(human) < 3 or means.min() == means.max():
        return undefined(len(human), "fewer than 3 pairs" if len(human) < 3 else "the mean of both is the same for all pairs")
    line = stats.linregress(means, judge - human)
    return Figure(float(line.slope), len(human), p=float(line.pvalue))


def to_grades(scores: Sequence[float], grades: Sequence[float]) -> np.ndarray:
    """Each score as the nearest of `grades`; halfway goes up. So judges with decimals can be put on the annotators' grid."""
    grades = np.unique(rounded(grades))
    scores = rounded(scores)
    middles = rounded((grades[1:] + grades[:-1]) / 2)
    nearest = grades[np.searchsorted(middles, scores, side="right")]
    return np.where(np.isnan(scores), np.nan, nearest)


def agreement_within(human: Sequence[float], judge: Sequence[float], distance: float = 0.0) -> Figure:
    """Share of pairs that lie at most `distance` apart; 0: exactly equal."""
    return _of_differences(human, judge, lambda d: (np.abs(d) <= distance + 10.0**-DECIMALS).mean())


def weighted_kappa(first: Sequence[float], second: Sequence[float], weights: str = "quadratic") -> Figure:
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


def vote_agreement(confusion: Sequence[Sequence[float]]) -> dict[str, float]:
    """Accuracy, Cohen's kappa, macro and weighted F1 of a square table of counts: rows what people said, columns what the judge said."""
    table = np.asarray(confusion, dtype=float)
    right, rows, columns = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    f1 = np.divide(2 * right, rows + columns, out=np.zeros_like(right), where=rows + columns > 0)
    return {"n": int(table.sum()), "accuracy": float(right.sum() / table.sum()),
            "cohen_kappa": float(kappa_of_table(table, kappa_costs(len(table), "nominal"))),
            "f1_macro": float(f1.mean()), "f1_weighted": float((f1 * rows).sum() / table.sum())}


# Several annotators --------------------------------------------------------------------------------------------------------------------


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


def krippendorff_alpha(ratings: pd.DataFrame | np.ndarray, level: str = "ordinal") -> Figure:
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


def percent_agreement(ratings: pd.DataFrame) -> dict[tuple[str, str], Figure]:
    """Share of edits that each pair of annotators scored exactly alike."""
    return {(a, b): agreement_within(ratings[a], ratings[b]) for a, b in combinations(ratings.columns, 2)}


def mean_figure(figures: Sequence[Figure], what: str) -> Figure:
    """Plain mean of the defined figures; n counts them, the note counts the rest."""
    defined = [figure.value for figure in figures if figure.defined]
    if not defined:
        return undefined(0, next((f.note.removeprefix("undefined: ") for f in figures), f"no {what}"))
    left_out = len(figures) - len(defined)
    return Figure(float(np.mean(defined)), len(defined), note=f"{left_out} of {len(figures)} undefined and left out" if left_out else "")


def annotator_means(ratings: pd.DataFrame) -> tuple[Figure, float, dict[str, float]]:
    """Mean of the annotators' means, their population standard deviation (how differently severe they are; no standard error), and each."""
    each = {name: float(mean) for name, mean in ratings.mean().dropna().items()}
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


def judge_as_annotator(ratings: pd.DataFrame, judge: Sequence[float], statistic: Callable[..., Figure] = spearman) -> pd.DataFrame:
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


# Intervals and positions ---------------------------------------------------------------------------------------------------------------


def cluster_bootstrap(frame: pd.DataFrame, statistic: Callable[[pd.DataFrame], float | Figure], cluster: str, draws: int = 1000,
                      seed: int = 0) -> Figure:
    """A statistic of a frame with its 95 % percentile interval, resampling whole clusters (source images), not rows.

    The general form, for any function of a frame; `mre.study.resampling` has faster ones for the statistics here.
    """
    whole = statistic(frame)
    whole = whole if isinstance(whole, Figure) else Figure(None if math.isnan(whole) else float(whole), len(frame))
    groups = list(frame.groupby(cluster, sort=True, observed=True).indices.values())
    if len(groups) < 2:
        return replace(whole, note="; ".join(filter(None, [whole.note, f"no interval: one {cluster}"])))
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        drawn = generator.integers(0, len(groups), len(groups))
        values.append(float(statistic(frame.iloc[np.concatenate([groups[i] for i in drawn])])))
    low, high = percentile_interval(np.array(values))
    return replace(whole, low=low, high=high)


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """The middle `level` of bootstrap draws; nothing when more than one draw in ten is undefined."""
    draws = np.asarray(draws, dtype=float)
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(2, 0.9 * len(draws)):
        return None, None
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float] | None:
    """Wilson's interval of a share."""
    if not n:
        return None
    interval = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def position_bias(first_preferred: int, second_preferred: int) -> Figure:
    """Share of decided pairs in which the edit shown first was scored higher, against 1/2 (exact binomial test, Wilson interval)."""
    decided = int(first_preferred) + int(second_preferred)
    if not decided:
        return undefined(0, "no pair was decided")
    low, high = wilson_interval(int(first_preferred), decided)
    return Figure(first_preferred / decided, decided, low, high, p=float(stats.binomtest(int(first_preferred), decided).pvalue))

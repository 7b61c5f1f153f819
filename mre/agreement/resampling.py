"""Bootstrap draws of whole clusters (source images) for the statistics of `agreement` and `ranking`, all draws at once.

Every figure is computed from weighted sums or from a weighted joint table of scores, never by building resampled frames. One `Resampler`
serves a whole comparison, so that its figures share their draws: differences between methods, judges or perspectives keep their pairing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import csr_array

from mre.agreement.annotators import alpha_of_coincidences, icc_of_squares, others_mean
from mre.agreement.figures import rounded
from mre.agreement.two_raters import CLIP, MOST_GRADES, Z95, kappa_costs, kappa_of_table, to_grades

LEVELS = 64                     # finer scores are cut into this many ranks, for the intervals of rank correlations alone
BATCH = 4_000_000               # numbers in one batch of joint tables (32 MB)
Clusters = pd.Series | np.ndarray | range


class Resampler:
    """`draws` samples with replacement of all clusters, as how often each cluster occurs in each draw."""

    def __init__(self, clusters: Clusters, draws: int, seed: int = 0) -> None:
        self.clusters = pd.Index(sorted(set(clusters)))
        self.draws = draws if len(self.clusters) > 1 else 0
        size = len(self.clusters)
        generator = np.random.default_rng(seed)
        self.weights = np.empty((self.draws, size), dtype=np.uint8)             # nobody is drawn 256 times
        for draw in range(self.draws):
            self.weights[draw] = np.bincount(generator.integers(0, size, size), minlength=size)

    def codes(self, clusters: Clusters) -> np.ndarray:
        """Row numbers of these clusters in the weights."""
        return self.clusters.get_indexer(pd.Index(clusters))

    def sums(self, codes: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Weighted column sums (draws, k) of `columns` (n, k), whose rows lie in clusters `codes`."""
        columns = np.asarray(columns, dtype=float)
        used, codes = np.unique(codes, return_inverse=True)
        per_cluster = np.stack([np.bincount(codes, weights=column, minlength=len(used)) for column in columns.T], axis=1)
        batches = [weights[:, used].astype(float) @ per_cluster for weights in self._batches(len(used))]
        return np.concatenate(batches) if batches else np.empty((0, columns.shape[1]))

    def tables(self, codes: np.ndarray, cells: np.ndarray, size: int, amounts: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Weighted counts (b, size) of `cells`, in batches of draws, in order."""
        amounts = np.ones(len(cells)) if amounts is None else amounts
        used, codes = np.unique(codes, return_inverse=True)
        counts = csr_array((amounts, (cells, codes)), shape=(size, len(used)))
        counts.sum_duplicates()
        for weights in self._batches(max(size, len(used))):
            yield (counts @ weights[:, used].T.astype(float)).T

    def _batches(self, width: int) -> Iterator[np.ndarray]:
        step = max(1, min(BATCH // max(width, 1), 250))
        for start in range(0, self.draws, step):
            yield self.weights[start:start + step]


# Two columns ---------------------------------------------------------------------------------------------------------------------------


def pair_draws(resampler: Resampler, codes: np.ndarray, human: np.ndarray, judge: np.ndarray,
               grades: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Draws of every two-column statistic of `agreement`, by its name in the agreement table; NaN where a draw leaves it undefined."""
    human, judge = rounded(human), rounded(judge)
    draws = {**moment_draws(resampler, codes, human, judge), **rank_draws(resampler, codes, human, judge)}
    if grades is not None and len(grades) > 1:
        first, second = to_grades(human, grades), to_grades(judge, grades)
        draws.update(kappa_draws(resampler, codes, [(first, second)]))
    return draws


def moment_draws(resampler: Resampler, codes: np.ndarray, human: np.ndarray, judge: np.ndarray) -> dict[str, np.ndarray]:
    """Pearson, concordance, bias, limits, errors, means, effect size, win rate and ICC, from weighted sums."""
    h0, j0 = human.mean(), judge.mean()                                     # centred, so that no precision is lost in the squares
    h, j, d = human - h0, judge - j0, rounded(judge - human)
    n, sh, sj, shh, sjj, shj, sd, sdd, sabs, swins = resampler.sums(codes, np.stack(
        [np.ones_like(h), h, j, h * h, j * j, h * j, d, d * d, np.abs(d), (d > 0) + (d == 0) / 2], axis=1)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        mh, mj, bias = sh / n, sj / n, sd / n
        vh, vj, cov, vd = (_spread(total) for total in (shh / n - mh**2, sjj / n - mj**2, shj / n - mh * mj, sdd / n - bias**2))
        sd_difference = np.sqrt(vd * n / (n - 1))
        varies = (vh > 0) & (vj > 0)
        between = (2 * (vh + vj + 2 * cov) / 4) * n / (n - 1)               # mean squares of a layout with two raters
        residual, columns = vd / 2 * n / (n - 1), n * bias**2 / 2
        return {"pearson": np.where(varies, cov / np.sqrt(vh * vj), np.nan),
                "lin_ccc": 2 * cov / (vh + vj + bias**2), "bias": bias,
                "loa_low": bias - Z95 * sd_difference, "loa_high": bias + Z95 * sd_difference,
                "mae": sabs / n, "rmse": np.sqrt(sdd / n), "mean_human": h0 + mh, "mean_judge": j0 + mj,
                "cohen_dz": np.where(sd_difference > 0, bias / sd_difference, np.nan), "win_rate": swins / n,
                "icc_2_1": icc_of_squares(between, columns, residual, np.nan, n, 2)["2_1"]}


def _spread(variance: np.ndarray) -> np.ndarray:
    """Variances and covariances with rounding noise around 0 taken as 0."""
    return np.where(np.abs(variance) < 1e-12, 0.0, variance)


def rank_draws(resampler: Resampler, codes: np.ndarray, human: np.ndarray, judge: np.ndarray, tau: bool = True) -> dict[str, np.ndarray]:
    """Spearman and Kendall's tau-b from weighted joint tables. Where scores are finer than LEVELS ranks, the draws of the coarsened scores
    are moved by the difference that coarsening makes to the whole sample."""
    exact = (human, judge)
    (rows, first), (columns, second) = (_ranked(side) for side in exact)
    batches = [table_ranks(table.reshape(-1, rows, columns), tau)
               for table in resampler.tables(codes, first * columns + second, rows * columns)]
    names = ("spearman", "kendall_tau_b")[: 1 + tau]
    if not batches:
        return {name: np.empty(0) for name in names}
    draws = {name: np.concatenate([batch[i] for batch in batches]) for i, name in enumerate(names)}
    if max(len(np.unique(side)) for side in exact) > LEVELS:
        whole = np.bincount(first * columns + second, minlength=rows * columns).reshape(1, rows, columns).astype(float)
        coarse = table_ranks(whole, tau)
        finer = (stats.spearmanr(*exact)[0], stats.kendalltau(*exact)[0] if tau else 0)
        draws = {name: np.clip(draws[name] + finer[i] - coarse[i][0], -1, 1) for i, name in enumerate(names)}
    return draws


def _ranked(scores: np.ndarray) -> tuple[int, np.ndarray]:
    """Scores as ranks 0 .. size - 1, at most LEVELS of them."""
    values, codes = np.unique(scores, return_inverse=True)
    if len(values) > LEVELS:
        codes = np.minimum(((stats.rankdata(scores) - 0.5) * LEVELS / len(scores)).astype(int), LEVELS - 1)
    return min(len(values), LEVELS), codes


def table_ranks(table: np.ndarray, tau: bool = True) -> tuple[np.ndarray, ...]:
    """Spearman and tau-b of joint tables (b, rows, columns) of counts."""
    a, b = table.sum(axis=2), table.sum(axis=1)
    n = a.sum(axis=1, keepdims=True)
    x, y = (np.cumsum(margin, axis=1) - margin / 2 - n / 2 for margin in (a, b))            # mid-ranks, mean 0
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = (np.matmul(x[:, None, :], table)[:, 0] * y).sum(axis=1) / np.sqrt((a * x**2).sum(axis=1) * (b * y**2).sum(axis=1))
        if not tau:
            return (rho,)
        lower = np.cumsum(table, axis=1) - table                            # all rows below
        through = np.cumsum(lower, axis=2)
        order = (table * (2 * through - lower - through[:, :, -1:])).sum(axis=(1, 2))       # concordant minus discordant
        untied = (n[:, 0]**2 - (a**2).sum(axis=1)) * (n[:, 0]**2 - (b**2).sum(axis=1))
        return rho, 2 * order / np.sqrt(untied)


def kappa_draws(resampler: Resampler, codes: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Draws of linear and quadratic weighted kappa, averaged over the pairs of raters; categories are those of the whole sample."""
    cells, clusters, offset, sizes = [], [], 0, []
    for first, second in pairs:
        both = ~(np.isnan(first) | np.isnan(second))
        values, ranks = np.unique(np.concatenate([first[both], second[both]]), return_inverse=True)
        size, half = len(values), int(both.sum())
        if not 2 <= size <= MOST_GRADES:
            continue
        cells.append(offset + ranks[:half] * size + ranks[half:])
        clusters.append(codes[both])
        sizes.append((offset, size))
        offset += size * size
    names = {"weighted_kappa_linear": "linear", "weighted_kappa_quadratic": "quadratic"}
    if not cells or not resampler.draws:
        return {name: np.full(resampler.draws, np.nan) for name in names}
    kappas: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for table in resampler.tables(np.concatenate(clusters), np.concatenate(cells), offset):
        for name, weights in names.items():
            each = np.stack([kappa_of_table(table[:, at:at + size * size].reshape(-1, size, size), kappa_costs(size, weights))
                             for at, size in sizes])
            kappas[name].append(_mean_of_defined(each, axis=0))
    return {name: np.concatenate(batches) for name, batches in kappas.items()}


def _mean_of_defined(values: np.ndarray, axis: int) -> np.ndarray:
    defined = np.isfinite(values)
    count = defined.sum(axis=axis)
    return np.divide(np.where(defined, values, 0).sum(axis=axis), count, out=np.full(count.shape, np.nan), where=count > 0)


def fisher_draws(correlations: Sequence[np.ndarray], transform: bool = True) -> np.ndarray:
    """Draw by draw, the Fisher mean of several correlations (with `transform` False the squashed form of older tables).

    A correlation of 1 has no Fisher transform. In a draw it mostly comes from a handful of edits that are not all alike, and it is left out
    of that draw's mean, unless nothing else is there.
    """
    stacked = np.stack(list(correlations))
    if not transform:
        return np.tanh(_mean_of_defined(stacked, axis=0))
    transformed = np.arctanh(np.clip(stacked, -CLIP, CLIP))
    usual = _mean_of_defined(np.where(np.abs(stacked) < CLIP, transformed, np.nan), axis=0)
    return np.tanh(np.where(np.isnan(usual), _mean_of_defined(transformed, axis=0), usual))


# Several annotators --------------------------------------------------------------------------------------------------------------------


def annotator_draws(resampler: Resampler, codes: np.ndarray, ratings: pd.DataFrame) -> dict[str, np.ndarray]:
    """Draws of alpha, Fleiss' kappa, mean pairwise kappa and the leave-one-out ceiling; `codes` are the rows' clusters."""
    matrix = rounded(ratings.to_numpy(dtype=float))
    if matrix.shape[1] < 2:
        return {}
    pairs = [(matrix[:, a], matrix[:, b]) for a, b in combinations(range(matrix.shape[1]), 2)]
    return {**alpha_draws(resampler, codes, matrix), **fleiss_draws(resampler, codes, matrix),
            **kappa_draws(resampler, codes, pairs), "human_loo_spearman": fisher_draws(list(loo_draws(resampler, codes, ratings).values()))}


def alpha_draws(resampler: Resampler, codes: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Krippendorff's alpha at the three levels, from weighted coincidence tables. Each edit's is made from how often each grade was given,
    so that memory grows with the ratings, not with the pairs of them."""
    present = ~np.isnan(matrix)
    domain = np.unique(matrix[present])
    if not 2 <= len(domain) <= MOST_GRADES or not resampler.draws:
        return {}
    rated = present.sum(axis=1) >= 2
    size, step = len(domain), max(1, BATCH // len(domain) ** 2)
    matrix, codes = matrix[rated], np.asarray(codes)[rated]
    cells, clusters, amounts = [], [], []
    for start in range(0, len(matrix), step):
        given = np.stack([(matrix[start:start + step] == grade).sum(axis=1) for grade in domain], axis=1).astype(float)  # (edits, grades)
        pairs = given[:, :, None] * given[:, None, :]                                   # (edits, grades, grades) ordered pairs of ratings
        pairs[:, range(size), range(size)] -= given                                     # no rating is paired with itself
        pairs /= given.sum(axis=1)[:, None, None] - 1
        edit, first, second = np.nonzero(pairs)
        cells.append(first * size + second)
        clusters.append(codes[start:start + step][edit])
        amounts.append(pairs[edit, first, second])
    if not cells:
        return {}
    tables = [table.reshape(-1, size, size) for table in
              resampler.tables(np.concatenate(clusters), np.concatenate(cells), size * size, np.concatenate(amounts))]
    return {f"krippendorff_{level}": np.concatenate([alpha_of_coincidences(table, domain, level) for table in tables])
            for level in ("nominal", "ordinal", "interval")}


def fleiss_draws(resampler: Resampler, codes: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Fleiss' kappa; nothing where edits differ in their number of ratings."""
    present = ~np.isnan(matrix)
    per_edit = present.sum(axis=1)
    rated = per_edit > 0
    if not rated.any() or per_edit[rated].min() != per_edit[rated].max() or per_edit.max() < 2:
        return {}
    domain = np.unique(matrix[present])
    if len(domain) > MOST_GRADES:
        return {}
    k = per_edit.max()
    counts = np.stack([(matrix[rated] == value).sum(axis=1) for value in domain], axis=1).astype(float)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (k * (k - 1))
    sums = resampler.sums(codes[rated], np.column_stack([np.ones(len(counts)), agreeing, counts]))
    n, observed, totals = sums[:, 0], sums[:, 1], sums[:, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = ((totals / (n * k)[:, None]) ** 2).sum(axis=1)
        return {"fleiss_kappa": np.where(chance < 1 - 1e-12, (observed / n - chance) / (1 - chance), np.nan)}


def loo_draws(resampler: Resampler, codes: np.ndarray, ratings: pd.DataFrame) -> dict[str, np.ndarray]:
    """Draws of each annotator's Spearman against the mean of the others."""
    draws = {}
    for name in ratings.columns:
        own, others = rounded(ratings[name]), rounded(others_mean(ratings, name))
        both = ~(np.isnan(own) | np.isnan(others))
        if both.sum() >= 3 and len(np.unique(own[both])) > 1 and len(np.unique(others[both])) > 1:
            draws[name] = rank_draws(resampler, codes[both], own[both], others[both], tau=False)["spearman"]
        else:
            draws[name] = np.full(resampler.draws, np.nan)
    return draws


# Methods ---------------------------------------------------------------------------------------------------------------------------------


def order_draws(human: np.ndarray, judge: np.ndarray) -> dict[str, np.ndarray]:
    """From the methods' means (draws, methods): rank correlations over methods, and whether both sides order them alike."""
    human, judge = rounded(human), rounded(judge)
    x, y = (stats.rankdata(means, axis=1) for means in (human, judge))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    first, second = (np.sign(means[:, :, None] - means[:, None, :]) for means in (human, judge))
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        tau = (first * second).sum(axis=(1, 2)) / np.sqrt((first**2).sum(axis=(1, 2)) * (second**2).sum(axis=(1, 2)))
    incomplete = np.isnan(human).any(axis=1) | np.isnan(judge).any(axis=1)
    same = np.where(incomplete, np.nan, (first == second).all(axis=(1, 2)))
    return {"rank_spearman": np.where(incomplete, np.nan, rho), "rank_tau_b": np.where(incomplete, np.nan, tau), "same_order": same}

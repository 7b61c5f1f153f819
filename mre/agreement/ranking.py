"""Which method is better: do judge and people order methods alike, pair by pair and over all; ratings from votes (Bradley-Terry)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import stats

from mre.agreement.figures import Figure, rounded, undefined
from mre.agreement.two_raters import kendall_tau_b, spearman, vote_agreement

BASE, SCALE, OFFSET = 10.0, 400.0, 1000.0           # P(a beats b) = 1 / (1 + 10^((R_b - R_a) / 400)); mean rating 1000
Means = pd.Series | Mapping[str, float]              # of methods, by their names


# Order of methods by their means ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankConsistency:
    """Ranks by people's and by the judge's means (1 = best, ties share their middle), and how far they agree."""

    human_rank: pd.Series
    judge_rank: pd.Series
    spearman: Figure
    kendall_tau_b: Figure
    footrule: float                     # sum of rank differences
    same_order: bool | None             # None: fewer than two methods, or equal means
    judge_above: int                    # methods that the judge scores higher than people do


def rank_consistency(human_means: Means, judge_means: Means) -> RankConsistency:
    """Do both sides order the methods alike? Methods that lack a side are left out."""
    human = pd.Series(human_means, dtype=float)
    both = pd.DataFrame({"human": human, "judge": pd.Series(judge_means, dtype=float).reindex(human.index)}).dropna()
    human, judge = rounded(both["human"]), rounded(both["judge"])
    human_rank, judge_rank = stats.rankdata(-human), stats.rankdata(-judge)
    if len(both) < 2:
        rho = tau = undefined(len(both), "fewer than two methods have both sides")
    elif len(both) == 2:                        # 1 or -1 by definition; no correlation of two points
        agree = np.sign((human[0] - human[1]) * (judge[0] - judge[1]))
        rho = tau = (Figure(float(agree), 2, note="two methods: only 1 or -1 is possible") if agree
                     else undefined(2, "two methods with equal means"))
    else:
        rho, tau = (f(human, judge) for f in (spearman, kendall_tau_b))
    distinct = len(both) > 1 and len(set(human)) == len(both) == len(set(judge))
    return RankConsistency(pd.Series(human_rank, both.index), pd.Series(judge_rank, both.index), rho, tau,
                           float(np.abs(human_rank - judge_rank).sum()),
                           bool((human_rank == judge_rank).all()) if distinct else None, int((judge > human).sum()))


# Order of methods on one edit ------------------------------------------------------------------------------------------------------------


def method_pairs(scores: pd.DataFrame, methods: Sequence[str] | None = None) -> pd.DataFrame:
    """All pairs of methods on all items that both have, from rows `item, method, human, judge`.

    Returns `item, first, second, human_difference, judge_difference`; scores are rounded, and their differences again. Pairs come in the
    order of `methods`, then of items.
    """
    methods = sorted(scores["method"].unique()) if methods is None else list(methods)
    sides = [scores.pivot(index="item", columns="method", values=side).reindex(columns=methods) for side in ("human", "judge")]
    items, human, judge = sides[0].index.to_numpy(), *(rounded(side.to_numpy(dtype=float)) for side in sides)
    parts = []
    for a, b in combinations(range(len(methods)), 2):
        part = pd.DataFrame({"item": items, "first": methods[a], "second": methods[b], "human_difference": human[:, a] - human[:, b],
                             "judge_difference": judge[:, a] - judge[:, b]})
        parts.append(part.dropna())
    if not parts:
        return pd.DataFrame(columns=["item", "first", "second", "human_difference", "judge_difference"])
    pairs = pd.concat(parts, ignore_index=True)
    for column in ("human_difference", "judge_difference"):
        pairs[column] = rounded(pairs[column])
    return pairs


@dataclass(frozen=True)
class OrderCounts:
    """How the judge's order of two methods on one item compares with people's."""

    concordant: int
    discordant: int
    tie_judge_only: int
    tie_human_only: int
    tie_both: int

    @classmethod
    def of(cls, pairs: pd.DataFrame) -> OrderCounts:
        human, judge = np.sign(pairs["human_difference"].to_numpy()), np.sign(pairs["judge_difference"].to_numpy())
        decided = (human != 0) & (judge != 0)
        kinds = (decided & (human == judge), decided & (human != judge), (human != 0) & (judge == 0), (human == 0) & (judge != 0),
                 (human == 0) & (judge == 0))
        return cls(*(int(kind.sum()) for kind in kinds))

    @property
    def n(self) -> int:
        return self.concordant + self.discordant + self.tie_judge_only + self.tie_human_only + self.tie_both

    @property
    def three_way(self) -> Figure:
        """(C + both tied) / n: ties are an answer like the others."""
        return _share(self.concordant + self.tie_both, self.n, "no pair of methods on a common item")

    @property
    def no_human_ties(self) -> Figure:
        """C / (C + D + judge ties): pairs that people decided; a judge's tie is an error."""
        return _share(self.concordant, self.concordant + self.discordant + self.tie_judge_only, "people decided no pair")

    @property
    def half_judge_ties(self) -> Figure:
        """As `no_human_ties`, a judge's tie counting half."""
        return _share(self.concordant + self.tie_judge_only / 2, self.concordant + self.discordant + self.tie_judge_only,
                      "people decided no pair")

    @property
    def decided(self) -> Figure:
        """C / (C + D): pairs that both decided."""
        return _share(self.concordant, self.concordant + self.discordant, "no pair was decided by both")


def _share(part: float, whole: int, reason: str) -> Figure:
    return Figure(part / whole, int(whole)) if whole else undefined(0, reason)


def order_confusion(pairs: pd.DataFrame) -> np.ndarray:
    """Counts (3, 3): rows people, columns judge, each first better / second better / tie."""
    codes = [np.array([2, 0, 1])[np.sign(pairs[side].to_numpy()).astype(int)] for side in ("human_difference", "judge_difference")]
    return np.bincount(codes[0] * 3 + codes[1], minlength=9).reshape(3, 3)


def order_kappa(pairs: pd.DataFrame) -> Figure:
    """Cohen's kappa of the three-way answers."""
    if not len(pairs):
        return undefined(0, "no pair of methods on a common item")
    value = vote_agreement(order_confusion(pairs))["cohen_kappa"]
    return undefined(len(pairs), "only one answer occurs") if math.isnan(value) else Figure(value, len(pairs))


def calibrated_ties(pairs: pd.DataFrame) -> tuple[Figure, float]:
    """The best three-way accuracy when judge differences up to eps count as ties, and that eps (-1: only equal scores are ties).

    Every threshold that the data can tell apart is tried on whole groups of equal differences; of equally good ones the smallest is kept.
    It is tuned on the very pairs it is scored on: an upper bound, not a forecast.
    """
    if not len(pairs):
        return undefined(0, "no pair of methods on a common item"), -1.0
    size, right_if_tie, right_if_decided = _tie_columns(pairs)
    order = np.argsort(size, kind="stable")
    ends = np.append(np.nonzero(np.diff(size[order]))[0], len(size) - 1)                # last row of each group of equal differences
    gained = np.cumsum(right_if_tie[order]) + right_if_decided.sum() - np.cumsum(right_if_decided[order])
    right = np.append(right_if_decided.sum(), gained[ends])
    best = int(np.argmax(right))
    return Figure(float(right[best] / len(size)), len(size)), -1.0 if best == 0 else float(size[order][ends[best - 1]])


def swept_ties(pairs: pd.DataFrame, order: str = "file") -> Figure:
    """Tie calibration as older scripts do it: thresholds cut groups of equal differences, so that the answer depends on the order of rows.

    `order` of equal differences: `file`, `human ties first` (the highest answer possible) or `human ties last` (the lowest). Shown beside
    `calibrated_ties` to tell by how much such a figure can be off.
    """
    if not len(pairs):
        return undefined(0, "no pair of methods on a common item")
    size, right_if_tie, right_if_decided = _tie_columns(pairs)
    second = {"file": np.zeros(len(size)), "human ties first": 1 - right_if_tie, "human ties last": right_if_tie}[order]
    rows = np.lexsort((np.arange(len(size)), second, size))
    right = np.cumsum(right_if_tie[rows]) + right_if_decided.sum() - np.cumsum(right_if_decided[rows])
    return Figure(float(right.max() / len(size)), len(size))


def _tie_columns(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Size of the judge's difference; 1 where calling it a tie is right; 1 where deciding by its sign is right."""
    human, judge = pairs["human_difference"].to_numpy(), pairs["judge_difference"].to_numpy()
    return np.abs(judge), (human == 0).astype(float), (np.sign(human) == np.sign(judge)).astype(float)


# Ratings from votes ----------------------------------------------------------------------------------------------------------------------


def votes_of_pairs(pairs: pd.DataFrame, side: str = "human_difference") -> pd.DataFrame:
    """Each pair of methods on each item as a vote, counted: `model_a, model_b, wins_a, wins_b, ties`."""
    signs = np.sign(pairs[side])
    votes = pairs.assign(wins_a=signs > 0, wins_b=signs < 0, ties=signs == 0).rename(columns={"first": "model_a", "second": "model_b"})
    return votes.groupby(["model_a", "model_b"], sort=False)[["wins_a", "wins_b", "ties"]].sum().reset_index()


def vote_models(votes: pd.DataFrame) -> list[str]:
    """The models that occur, in order of first appearance."""
    return list(dict.fromkeys([*votes["model_a"], *votes["model_b"]]))


def battles(votes: pd.DataFrame) -> pd.Series:
    """Votes in which each model took part, ties included."""
    totals = votes["wins_a"] + votes["wins_b"] + votes["ties"]
    return pd.Series({model: int(totals[(votes["model_a"] == model) | (votes["model_b"] == model)].sum()) for model in vote_models(votes)})


def bradley_terry(votes: pd.DataFrame, penalty: float | None = None, models: Sequence[str] | None = None) -> pd.Series:
    """Bradley-Terry ratings with mean 1000; a tie is half a win for each.

    `penalty` None: maximum likelihood; NaN for all when a group of models never won against, or never met, the rest (no finite maximum).
    With a number: the ridge-penalised fit of public arenas (strength C = `penalty`, each vote entered twice), which shrinks small boards.
    """
    models = vote_models(votes) if models is None else list(models)
    wins = np.zeros((1, len(models), len(models)))
    for column, counts in _vote_cells(votes, models):
        np.add.at(wins[0], column, counts)
    return pd.Series(ratings_of_wins(wins, penalty)[0], index=models)


def _vote_cells(votes: pd.DataFrame, models: Sequence[str]) -> list[tuple[tuple[np.ndarray, np.ndarray], np.ndarray]]:
    """Where in a matrix of wins (row over column) each pair's votes go: wins of a, wins of b, and ties as half a win for each."""
    position = {model: i for i, model in enumerate(models)}
    a, b = votes["model_a"].map(position).to_numpy(), votes["model_b"].map(position).to_numpy()
    wins_a, wins_b, ties = (votes[name].to_numpy(dtype=float) for name in ("wins_a", "wins_b", "ties"))
    return [((a, b), wins_a + ties / 2), ((b, a), wins_b + ties / 2)]


def ratings_of_wins(wins: np.ndarray, penalty: float | None = None) -> np.ndarray:
    """Ratings (D, M) of D boards of wins (D, M, M), row over column, ties as half; NaN where a board has no finite maximum."""
    if penalty is not None:                                                             # a tie entered twice is one win each
        return SCALE / math.log(BASE) * _fit(2 * penalty * wins, ridge=1.0 / math.log(BASE) ** 2) + OFFSET
    reached = ((wins > 0) | np.eye(wins.shape[1], dtype=bool)).astype(float)
    for _ in range(wins.shape[1].bit_length()):                                         # who beat whom who beat whom ...
        reached = (reached @ reached > 0).astype(float)
    connected = reached.all(axis=(1, 2))
    ratings = np.full(wins.shape[:2], np.nan)
    if connected.any():
        ratings[connected] = SCALE / math.log(BASE) * _fit(wins[connected], ridge=0.0) + OFFSET
    return ratings


def _fit(wins: np.ndarray, ridge: float) -> np.ndarray:
    """Log-strengths (D, M) with mean 0, by Newton's method on each concave log-likelihood; steps are halved while they lose."""
    beta = np.zeros(wins.shape[:2])
    total, size = wins + wins.swapaxes(1, 2), wins.shape[1]

    def loss(strengths: np.ndarray) -> np.ndarray:
        gaps = strengths[:, None, :] - strengths[:, :, None]
        return (wins * np.logaddexp(0, gaps)).sum(axis=(1, 2)) + ridge / 2 * (strengths**2).sum(axis=1)

    for _ in range(200):
        expected = 1 / (1 + np.exp(beta[:, None, :] - beta[:, :, None]))                # P(row beats column)
        gradient = (wins - total * expected).sum(axis=2) - ridge * beta
        weight = total * expected * expected.swapaxes(1, 2)
        curvature = weight.sum(axis=2)[:, :, None] * np.eye(size) - weight + ridge * np.eye(size)
        curvature += np.full((size, size), 1 / size)                                    # fixes the mean, which nothing else does
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        now, factor = loss(beta), np.ones((len(beta), 1))
        while (losing := loss(beta + factor * step) > now + 1e-12).any() and factor.min() > 1e-6:
            factor[losing] /= 2
        beta = beta + factor * step
        beta -= beta.mean(axis=1, keepdims=True)
        if np.abs(step).max() < 1e-12:
            break
    return beta


def _boards(votes: pd.DataFrame, models: Sequence[str], counts: np.ndarray) -> np.ndarray:
    """Matrices of wins (D, M, M) from counts (D, pairs, 3) of wins of a, wins of b and ties."""
    wins = np.zeros((len(counts), len(models), len(models)))
    (forward, _), (backward, _) = _vote_cells(votes, models)               # cast: numpy's stub of `at` knows no slices
    np.add.at(wins, cast(Any, (slice(None), *forward)), counts[:, :, 0] + counts[:, :, 2] / 2)
    np.add.at(wins, cast(Any, (slice(None), *backward)), counts[:, :, 1] + counts[:, :, 2] / 2)
    return wins


def bradley_terry_of_pairs(pairs: pd.DataFrame, side: str, resampled: Callable[[pd.DataFrame], np.ndarray] | None = None) -> pd.DataFrame:
    """Ratings from `method_pairs`, each pair on one item a vote. `resampled` turns indicator columns into their sums in each bootstrap draw
    (draws, columns), so that whole source images are drawn: `rating, penalised, elo_in_file_order, battles, low, high`."""
    votes = votes_of_pairs(pairs, side)
    models = vote_models(votes)
    table = pd.DataFrame({"rating": bradley_terry(votes, None, models), "penalised": bradley_terry(votes, 1.0, models),
                          "elo_in_file_order": online_elo(votes), "battles": battles(votes)})
    if resampled is None:
        return table.assign(low=np.nan, high=np.nan)
    signs = np.sign(pairs[side].to_numpy())
    which = pd.MultiIndex.from_frame(votes[["model_a", "model_b"]]).get_indexer(pd.MultiIndex.from_frame(pairs[["first", "second"]]))
    columns = np.zeros((len(pairs), len(votes), 3), dtype=bool)
    columns[np.arange(len(pairs)), which, np.select([signs > 0, signs < 0], [0, 1], 2)] = True
    counts = resampled(pd.DataFrame(columns.reshape(len(pairs), -1))).reshape(-1, len(votes), 3)
    limits = rating_limits(pd.DataFrame(ratings_of_wins(_boards(votes, models, counts)), columns=models))
    return table.join(limits[["low", "high"]])


def rating_limits(draws: pd.DataFrame) -> pd.DataFrame:
    """Per column of bootstrap ratings: 2.5 % and 97.5 % percentiles (linear interpolation) and variance (ddof 1)."""
    usable = draws.dropna()
    if len(usable) < max(2, 0.9 * len(draws)):
        return pd.DataFrame({"low": np.nan, "high": np.nan, "variance": np.nan}, index=draws.columns)
    low, high = np.percentile(usable.to_numpy(), [2.5, 97.5], axis=0)
    return pd.DataFrame({"low": low, "high": high, "variance": usable.var(ddof=1).to_numpy()}, index=draws.columns)


def online_elo(votes: pd.DataFrame, k: float = 4.0, start: float = OFFSET) -> pd.Series:
    """Elo updated vote by vote, pairs in file order, in each wins of a, wins of b, ties. Another order gives other ratings:
    shown only beside Bradley-Terry, never as the result."""
    rating = dict.fromkeys(vote_models(votes), start)
    for a, b, wins_a, wins_b, ties in zip(*(votes[name] for name in ("model_a", "model_b", "wins_a", "wins_b", "ties")), strict=True):
        for outcome, count in ((1.0, wins_a), (0.0, wins_b), (0.5, ties)):
            for _ in range(int(count)):
                expected = 1 / (1 + BASE ** ((rating[b] - rating[a]) / SCALE))
                rating[a] += k * (outcome - expected)
                rating[b] -= k * (outcome - expected)
    return pd.Series(rating)

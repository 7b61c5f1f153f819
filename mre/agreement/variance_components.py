"""Intraclass correlation of ratings with gaps, by a mixed model: who rated what may differ from edit to edit.

The model is the two-way crossed one without interaction, score = mean + edit + annotator + residual, with all three random. Its variances
are estimated by restricted maximum likelihood (REML) from every rating that there is, so the result depends neither on the order of the
annotators nor on how many edits all of them rated. Where nothing is missing and no variance is estimated at 0, it is Shrout and Fleiss'
ICC(2,1) and ICC(2,k) to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import linalg, optimize
from scipy.sparse import bmat, csr_array
from scipy.sparse.csgraph import connected_components

from mre.agreement.annotators import mean_squares
from mre.agreement.figures import Figure, rounded, undefined

if TYPE_CHECKING:
    from mre.agreement.resampling import Resampler

NEGLIGIBLE = 1e-9               # a variance this small against the residual's is 0
MOST_ANNOTATORS = 60            # of whom intervals are drawn
LARGEST = 2000                  # annotators, or edits where they are fewer, that the model is fitted for: a matrix of this size is inverted
MOST_NUMBERS = 8_000_000        # kept for a fit (64 MB); where it would take more, sparse products are made again and again
MOST_STEPS = 30                 # of Newton's method; from an estimate of the whole it takes five or six
NAMES = ("icc_2_1", "icc_2_k")


@dataclass(frozen=True)
class Components:
    """Variances of edits, of annotators' severity and of what is left, in squared units of the scores."""

    edit: float
    annotator: float
    residual: float

    def single(self) -> float:
        """How well one annotator's score stands for the edit (absolute agreement): ICC(2,1)."""
        return self.edit / (self.edit + self.annotator + self.residual)

    def mean_of(self, ratings: float) -> float:
        """How well the mean of so many annotators' scores does: ICC(2,k)."""
        return self.edit / (self.edit + (self.annotator + self.residual) / ratings)


def icc_of_ratings(ratings: pd.DataFrame | np.ndarray) -> dict[str, Figure]:
    """ICC(2,1) and ICC(2,k) of a table with one row per edit and one column per annotator, NaN where nobody rated.

    k is the harmonic mean of the ratings per edit. The note states the model and what it was estimated from; n counts the ratings.
    """
    matrix = rounded(ratings.to_numpy(dtype=float) if isinstance(ratings, pd.DataFrame) else ratings)
    present = ~np.isnan(matrix)
    matrix = matrix[present.any(axis=1)][:, present.any(axis=0)]
    present = ~np.isnan(matrix)
    n, (edits, annotators) = int(present.sum()), matrix.shape
    reason = ""
    if annotators < 2:
        reason = "one annotator" if annotators else "no rating"
    elif edits < 2:
        reason = f"{edits} edit, at least 2 are needed"
    elif np.nanmin(matrix) == np.nanmax(matrix):
        reason = f"all ratings are {np.nanmin(matrix):g}"
    elif min(edits, annotators) > LARGEST:
        reason = f"{edits} edits and {annotators} annotators are too many for the mixed model; see alpha"
    elif n - edits - annotators + _blocks(present) < 1:
        reason = f"too few edits were rated by the same annotators ({n} ratings of {edits} edits by {annotators} annotators)"
    if reason:
        return dict.fromkeys(NAMES, undefined(n, reason))
    components = estimate(matrix)
    if components.edit + components.annotator + components.residual <= 0:
        return dict.fromkeys(NAMES, undefined(n, "no variance between edits and within them"))
    k = edits / (1 / present.sum(axis=1)).sum()
    model = f"two-way random effects by REML: {n} ratings of {edits} edits by {annotators} annotators"
    return {"icc_2_1": Figure(components.single(), n, note=model),
            "icc_2_k": Figure(components.mean_of(k), n, note=f"{model}; k = {k:.3g}")}


def estimate(matrix: np.ndarray) -> Components:
    """REML estimate of the three variances of (edits, annotators) ratings, NaN where missing."""
    if not np.isnan(matrix).any():
        n, k = matrix.shape
        rows, columns, residual, _ = mean_squares(matrix)
        if rows >= residual and columns >= residual:            # then REML is what the mean squares say
            return Components((rows - residual) / k, (columns - residual) / n, residual)
    if matrix.shape[1] > len(matrix):           # the model knows no difference between the two: fewer columns, smaller matrices
        turned = estimate(matrix.T)
        return Components(turned.annotator, turned.edit, turned.residual)
    return _Likelihood(matrix).maximum()


class _Likelihood:
    """The restricted likelihood of the ratios edit / residual and annotator / residual, of D samples of the edits at once; effects of
    edits are absorbed, which leaves matrices as large as there are annotators. D samples, A annotators, C different numbers of ratings
    of an edit."""

    def __init__(self, matrix: np.ndarray, weights: np.ndarray | None = None) -> None:
        """`weights`: (D, edits), how often each edit occurs in each sample; without them there is one sample, of every edit once."""
        whole = weights is None
        weights = np.ones((1, len(matrix))) if weights is None else weights.astype(float)
        present = ~np.isnan(matrix)
        scores = np.where(present, matrix - np.nanmean(matrix), 0.0)
        rated = present.astype(float)
        per_edit = present.sum(axis=1)
        self.counts = np.unique(per_edit)
        groups = [per_edit == count for count in self.counts]
        totals, own = scores.sum(axis=1), [weights[:, group] for group in groups]
        self.rated, self.group = csr_array(rated), np.searchsorted(self.counts, per_edit)

        def summed(columns: np.ndarray) -> np.ndarray:          # (edits, ...) -> (D, C, ...)
            return np.stack([weight @ columns[group] for weight, group in zip(own, groups, strict=True)], axis=1)
        self.n = weights @ per_edit                                                                 # (D,)
        self.edits, self.ones = summed(np.ones(len(matrix))), summed(rated)                         # (D, C), (D, C, A): edits of that count
        self.score_sums, self.total_sums, self.total_squares = summed(rated * totals[:, None]), summed(totals), summed(totals**2)
        fits = not whole or len(groups) * rated.shape[1] ** 2 <= MOST_NUMBERS
        self.together = np.stack([(rated[group].T * weight[:, None]) @ rated[group]
                                  for weight, group in zip(own, groups, strict=True)], axis=1) if fits else None   # (D, C, A, A)
        self.per_annotator, self.scores, self.squares = weights @ rated, weights @ scores, weights @ (scores**2).sum(axis=1)

    def maximum(self) -> Components:
        """Of the one sample: where the likelihood is largest, searched from two places."""
        best = min((optimize.minimize(lambda logs: self._terms(*np.exp(logs)[:, None])[0].item(), start, method="Nelder-Mead",
                                      bounds=[(-25, 20)] * 2, options={"initial_simplex": np.add(start, [(0, 0), (0.5, 0), (0, 0.5)]),
                                                                       "xatol": 1e-7, "fatol": 1e-14, "maxiter": 2000})
                    for start in ((0.0, -1.0), (-4.0, -4.0))), key=lambda found: found.fun)
        return self._components(best.x[None])[0]

    def maxima(self, near: Components) -> list[Components]:
        """Of every sample: where the likelihood is largest, by Newton's method from a place in its neighbourhood, to a thousandth."""
        start = np.log(np.maximum([near.edit, near.annotator], 1e-4 * near.residual) / near.residual)
        logs = np.tile(start, (len(self.n), 1))                                                     # (D, 2)
        value = self._value(logs)
        for _ in range(MOST_STEPS):
            step = self._newton_step(logs, value)
            for _ in range(6):                                  # halved where it does not lead down
                there = np.clip(logs + step, -25, 20)
                found = self._value(there)
                step = np.where((found <= value)[:, None], step, step / 2)
                if (found <= value).all():
                    break
            better = found < value
            change = np.where(better, value - found, 0.0).max()
            logs, value = np.where(better[:, None], there, logs), np.where(better, found, value)
            if change < 1e-7:
                break
        return self._components(logs)

    def _newton_step(self, logs: np.ndarray, value: np.ndarray) -> np.ndarray:
        """(D, 2): against the slope, by the curvature, each at most 2 long; slope and curvature from differences."""
        width = 1e-3
        x, y = np.array([width, 0.0]), np.array([0.0, width])
        right, left, up, down = (self._value(logs + move) for move in (x, -x, y, -y))
        corner = self._value(logs + x + y)
        slope = np.stack([right - left, up - down], axis=1) / (2 * width)
        curvature = np.empty((len(logs), 2, 2))
        curvature[:, 0, 0], curvature[:, 1, 1] = (right - 2 * value + left) / width**2, (up - 2 * value + down) / width**2
        curvature[:, 0, 1] = curvature[:, 1, 0] = (corner - right - up + value) / width**2
        sizes, ways = np.linalg.eigh(curvature)
        along = np.einsum("dij,di->dj", ways, slope) / np.maximum(np.abs(sizes), 1e-6)
        step = -np.einsum("dij,dj->di", ways, along)
        return step * np.minimum(1, 2 / np.maximum(np.linalg.norm(step, axis=1), 1e-9))[:, None]

    def _value(self, logs: np.ndarray) -> np.ndarray:
        return self._terms(*np.exp(logs).T)[0]

    def _components(self, logs: np.ndarray) -> list[Components]:
        ratios = np.where(np.exp(logs) > NEGLIGIBLE, np.exp(logs), 0.0)
        residual = self._terms(*np.maximum(ratios, 1e-300).T)[1]
        return [Components(*(float(value) for value in row)) for row in np.column_stack([ratios * residual[:, None], residual])]

    def _terms(self, edit: np.ndarray, annotator: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(D,) minus twice the restricted log-likelihood, up to a constant, and (D,) the residual variance at which it is reached."""
        shrunk = edit[:, None] / (1 + edit[:, None] * self.counts)                                  # (D, C)
        weighed = shrunk * self.counts
        absorbed = -self._shared(shrunk)                                                            # (D, A, A)
        places = np.arange(absorbed.shape[1])
        absorbed[:, places, places] += self.per_annotator
        of_scores = self.scores - np.einsum("dc,dca->da", shrunk, self.score_sums)                  # (D, A)
        of_ones = self.per_annotator - np.einsum("dc,dca->da", weighed, self.ones)
        yy = self.squares - (shrunk * self.total_squares).sum(axis=1)
        y1 = self.scores.sum(axis=1) - (weighed * self.total_sums).sum(axis=1)
        ones = self.n - (weighed * self.counts * self.edits).sum(axis=1)
        factor = np.linalg.cholesky(np.eye(len(places)) + annotator[:, None, None] * absorbed)
        left = _lower_solved(factor, np.stack([of_scores, of_ones], axis=2))                        # (D, A, 2)
        products = annotator[:, None, None] * (left.mT @ left)
        yy, y1, ones = yy - products[:, 0, 0], y1 - products[:, 0, 1], ones - products[:, 1, 1]
        squares = np.maximum(yy - y1**2 / ones, 1e-300)
        logs = (self.edits * np.log1p(edit[:, None] * self.counts)).sum(axis=1) + 2 * np.log(factor[:, places, places]).sum(axis=1)
        return (self.n - 1) * np.log(squares) + logs + np.log(ones), squares / (self.n - 1)

    def _shared(self, shrunk: np.ndarray) -> np.ndarray:
        """(D, A, A): the edits that two annotators both rated, each with the weight of its count."""
        if self.together is not None:
            return np.einsum("dc,dcij->dij", shrunk, self.together)
        return (self.rated.T @ self.rated.multiply(shrunk[0][self.group][:, None])).toarray()[None]


def _lower_solved(factor: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What the lower triangular matrices (D, A, A) make into the columns (D, A, k): one large one, or many small ones at once."""
    if len(factor) == 1:
        return linalg.solve_triangular(factor[0], columns[0], lower=True)[None]
    return np.linalg.solve(factor, columns)


def _blocks(present: np.ndarray) -> int:
    """Into how many groups edits and annotators fall that share no rating."""
    ratings = csr_array(present.astype(np.int8))
    return connected_components(bmat([[None, ratings], [ratings.T, None]]), directed=False)[0]


# Draws ---------------------------------------------------------------------------------------------------------------------------------


def icc_draws(resampler: Resampler, codes: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Bootstrap draws of `icc_of_ratings`, whose rows lie in clusters `codes`; nothing for more than MOST_ANNOTATORS annotators, where an
    estimate for each draw takes too long."""
    if matrix.shape[1] > MOST_ANNOTATORS or not icc_of_ratings(matrix)["icc_2_1"].defined:
        return {}
    rated = ~np.isnan(matrix).all(axis=1)
    matrix, codes = matrix[rated], codes[rated]
    whole = estimate(matrix)
    if whole.residual <= 0:
        return {}
    k = len(matrix) / (1 / (~np.isnan(matrix)).sum(axis=1)).sum()
    draws = {name: np.full(resampler.draws, np.nan) for name in NAMES}
    size = matrix.shape[1] * max(len(matrix), len(np.unique((~np.isnan(matrix)).sum(axis=1))) * matrix.shape[1])
    for start in range(0, resampler.draws, step := max(1, MOST_NUMBERS // size)):
        likelihood = _Likelihood(matrix, resampler.weights[start:start + step, codes])
        for draw, components in enumerate(likelihood.maxima(whole), start):
            if components.residual > NEGLIGIBLE * whole.residual:                       # else no two ratings of the draw differ
                draws["icc_2_1"][draw], draws["icc_2_k"][draw] = components.single(), components.mean_of(k)
    return draws

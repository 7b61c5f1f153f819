"""Intraclass correlation of ratings with gaps, by a mixed model: who rated what may differ from edit to edit.

The model is the two-way crossed one without interaction, score = mean + edit + annotator + residual, with all three random. Its variances
are estimated by restricted maximum likelihood (REML) from every rating that there is, so the result depends neither on the order of the
annotators nor on how many edits all of them rated. Where nothing is missing and no variance is estimated at 0, it is Shrout and Fleiss'
ICC(2,1) and ICC(2,k) to the last digit.
"""

from __future__ import annotations

import math
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


def estimate(matrix: np.ndarray, near: Components | None = None) -> Components:
    """REML estimate of the three variances of (edits, annotators) ratings, NaN where missing. `near`: where to search, to a thousandth."""
    if not np.isnan(matrix).any():
        n, k = matrix.shape
        rows, columns, residual, _ = mean_squares(matrix)
        if rows >= residual and columns >= residual:            # then REML is what the mean squares say
            return Components((rows - residual) / k, (columns - residual) / n, residual)
    if matrix.shape[1] > len(matrix):           # the model knows no difference between the two: fewer columns, smaller matrices
        turned = estimate(matrix.T, near and Components(near.annotator, near.edit, near.residual))
        return Components(turned.annotator, turned.edit, turned.residual)
    return _Likelihood(matrix).maximum(near)


class _Likelihood:
    """The restricted likelihood of the ratios edit / residual and annotator / residual; effects of edits are absorbed, which leaves
    matrices as large as there are annotators."""

    def __init__(self, matrix: np.ndarray) -> None:
        present = ~np.isnan(matrix)
        scores = np.where(present, matrix - np.nanmean(matrix), 0.0)
        rated = present.astype(float)
        self.n = present.sum()
        per_edit = present.sum(axis=1)
        self.counts = np.unique(per_edit)
        groups = [per_edit == count for count in self.counts]
        self.edits = np.array([group.sum() for group in groups])
        totals = scores.sum(axis=1)
        self.rated, self.group = csr_array(rated), np.searchsorted(self.counts, per_edit)
        self.ones = np.stack([rated[group].sum(axis=0) for group in groups])                        # (counts, A) edits of that count
        fits = len(groups) * rated.shape[1] ** 2 <= MOST_NUMBERS
        self.together = np.stack([rated[group].T @ rated[group] for group in groups]) if fits else None     # (counts, A, A)
        self.score_sums = np.stack([rated[group].T @ totals[group] for group in groups])            # (counts, A)
        self.total_sums = np.array([totals[group].sum() for group in groups])
        self.total_squares = np.array([(totals[group] ** 2).sum() for group in groups])
        self.per_annotator, self.scores, self.squares = rated.sum(axis=0), scores.sum(axis=0), (scores**2).sum()

    def maximum(self, near: Components | None = None) -> Components:
        """Where the likelihood is largest, searched from two places, or from a known one with less precision."""
        starts, precision = ((0.0, -1.0), (-4.0, -4.0)), 1e-7
        if near is not None and near.residual > 0:
            known = np.maximum([near.edit / near.residual, near.annotator / near.residual], 1e-4)
            starts, precision = (tuple(np.log(known)),), 1e-3
        best = min((optimize.minimize(lambda logs: self._terms(*np.exp(logs))[0], start, method="Nelder-Mead", bounds=[(-25, 20)] * 2,
                                      options={"initial_simplex": np.add(start, [(0, 0), (0.5, 0), (0, 0.5)]), "xatol": precision,
                                               "fatol": precision**2, "maxiter": 2000})
                    for start in starts), key=lambda found: found.fun)
        ratios = [ratio if ratio > NEGLIGIBLE else 0.0 for ratio in np.exp(best.x)]
        residual = self._terms(*np.maximum(ratios, 1e-300))[1]
        return Components(ratios[0] * residual, ratios[1] * residual, residual)

    def _terms(self, edit: float, annotator: float) -> tuple[float, float]:
        """Minus twice the restricted log-likelihood, up to a constant, and the residual variance at which it is reached."""
        shrunk = edit / (1 + edit * self.counts)                                                    # (counts,)
        absorbed = np.diag(self.per_annotator) - self._shared(shrunk)                               # (A, A)
        of_scores = self.scores - shrunk @ self.score_sums                                          # (A,)
        of_ones = self.per_annotator - (shrunk * self.counts) @ self.ones
        yy = self.squares - shrunk @ self.total_squares
        y1 = self.scores.sum() - (shrunk * self.counts) @ self.total_sums
        ones = self.n - (shrunk * self.counts**2) @ self.edits
        factor = linalg.cho_factor(np.eye(len(absorbed)) + annotator * absorbed, lower=True)
        solved = annotator * linalg.cho_solve(factor, np.stack([of_scores, of_ones], axis=1))       # (A, 2)
        yy, y1, ones = yy - of_scores @ solved[:, 0], y1 - of_scores @ solved[:, 1], ones - of_ones @ solved[:, 1]
        squares = max(yy - y1**2 / ones, 1e-300)
        logs = self.edits @ np.log1p(edit * self.counts) + 2 * np.log(np.diag(factor[0])).sum()
        return float((self.n - 1) * math.log(squares) + logs + math.log(ones)), float(squares / (self.n - 1))

    def _shared(self, shrunk: np.ndarray) -> np.ndarray:
        """(A, A): the edits that two annotators both rated, each with the weight of its count."""
        if self.together is not None:
            return np.einsum("c,cij->ij", shrunk, self.together)
        return (self.rated.T @ self.rated.multiply(shrunk[self.group][:, None])).toarray()


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
    k = len(matrix) / (1 / (~np.isnan(matrix)).sum(axis=1)).sum()
    draws = {name: np.full(resampler.draws, np.nan) for name in NAMES}
    for draw, weights in enumerate(resampler.weights):
        components = estimate(np.repeat(matrix, weights[codes], axis=0), near=whole)
        if components.edit + components.annotator + components.residual > 0:
            draws["icc_2_1"][draw], draws["icc_2_k"][draw] = components.single(), components.mean_of(k)
    return draws

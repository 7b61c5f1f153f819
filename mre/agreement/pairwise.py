"""Preferences with ties: how often a difference of scores says what people said of two edits.

Labels are 1 (the first is better), 0 (a tie) and -1; differences are the first score less the second. A difference is taken for a tie
where it is at most a threshold (Deutsch et al., arXiv 2305.14324); only 0 and the differences that occur change anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class TieAccuracy:
    """Counts of pairs at one threshold: in the right order, in the wrong one, ties of people alone, of the scores alone, and of both."""

    threshold: float
    concordant: int
    discordant: int
    human_ties: int
    score_ties: int
    both_ties: int

    @property
    def n(self) -> int:
        return self.concordant + self.discordant + self.human_ties + self.score_ties + self.both_ties

    @property
    def accuracy(self) -> float:
        """(C + both) / all."""
        return (self.concordant + self.both_ties) / self.n


def accuracy_with_ties(labels: ArrayLike, differences: ArrayLike, threshold: float) -> TieAccuracy:
    """The counts at a threshold; below 0 nothing is a tie of the scores, and equal scores are in no order. ValueError: no pairs."""
    labels, differences = np.asarray(labels, dtype=float), np.asarray(differences, dtype=float)
    if not len(labels) or labels.shape != differences.shape:
        raise ValueError(f"labels and differences must be equally many, and some: {labels.shape} and {differences.shape}")
    tied = np.abs(differences) <= threshold
    people = labels == 0
    right = ~people & ~tied & (np.sign(differences) == labels)
    return TieAccuracy(float(threshold), int(right.sum()), int((~people & ~tied & ~right).sum()), int((people & ~tied).sum()),
                       int((~people & tied).sum()), int((people & tied).sum()))


def best_threshold(labels: ArrayLike, differences: ArrayLike) -> TieAccuracy:
    """The counts at the smallest threshold of the best accuracy, among 0 and all differences that occur.

    Chosen on the pairs that it is reported of, it is an oracle's: say so, or choose it on others.
    """
    labels, differences = np.asarray(labels, dtype=float), np.asarray(differences, dtype=float)
    size = np.abs(differences)
    order = np.argsort(size, kind="stable")
    right = (labels != 0) & (np.sign(differences) == labels)
    # at a threshold t: ties of both are those with size <= t, pairs in the right order those with size > t
    gained = np.cumsum((labels[order] == 0).astype(int) - right[order].astype(int))
    candidates = np.unique(np.append(size, 0.0))
    last = np.searchsorted(size[order], candidates, side="right")
    correct = right.sum() + np.where(last > 0, gained[np.maximum(last - 1, 0)], 0)
    return accuracy_with_ties(labels, differences, float(candidates[int(np.argmax(correct))]))

"""How well a judge's scores agree with what people chose or rated: pairs with and without ties, whole rankings, correlations.

A score that is missing makes its choice missing: never guessed, never wrong, always counted. Thresholds exist: a tie is a difference of at
most e, for one of the differences that occur, or never.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from mre.agreement import two_raters
from mre.benchmark.formats.choices import GOOD, Choice, Rating
from mre.benchmark.tables import LEVEL, Cell, mean_cell

Scores = Mapping[str, float]        # by an edit's name
RHO_RESAMPLES = 300


@dataclass(frozen=True)
class Pair:
    """Two edits: what people said (1, 0, -1), and by how much the judge scores the first higher."""

    photo: str
    people: int
    difference: float
    level: float = 0.0          # mean score of the two
    tie: str = ""               # of a tie of people's: GOOD or BAD, where they were asked

    def verdict(self, threshold: float | None) -> int:
        """1, 0 or -1; a tie where the difference is at most the threshold, None: where there is no difference at all, as a wrong answer."""
        if threshold is not None and abs(self.difference) <= threshold:
            return 0
        return (self.difference > 0) - (self.difference < 0)

    def is_right(self, threshold: float | None) -> bool:
        """Whether the judge says what people said. Without a threshold it never says tie: equal scores are wrong."""
        return self.verdict(threshold) == self.people and not (threshold is None and self.people == 0)


def scored(choices: Sequence[Choice], scores: Scores) -> list[Choice]:
    """The choices whose edits all have a score, and whose pictures are there."""
    return [choice for choice in choices if not choice.lacks and all(edit.name in scores for edit in choice.edits)]


def pairs_of(choices: Sequence[Choice], scores: Scores) -> list[Pair]:
    """Every pair of choices that are scored."""
    return [Pair(choice.photo, people, one - other, (one + other) / 2, choice.tie) for choice in scored(choices, scores)
            for first, second, people in choice.pairs
            for one, other in [(scores[choice.edits[first].name], scores[choice.edits[second].name])]]


def best_threshold(pairs: Sequence[Pair]) -> float | None:
    """The threshold with the most right on these pairs, the smallest of several; None: never a tie."""
    candidates: list[float | None] = [None, *sorted({abs(pair.difference) for pair in pairs})]
    return max(candidates, key=lambda threshold: sum(pair.is_right(threshold) for pair in pairs))


def best_level(pairs: Sequence[Pair], threshold: float | None) -> float:
    """Of the pairs that are ties to people and judge, the mean score from which on most are rightly taken as both good."""
    ties = [pair for pair in pairs if pair.people == 0 and pair.verdict(threshold) == 0]
    candidates = [-math.inf, *sorted({pair.level for pair in ties}), math.inf]
    return max(candidates, key=lambda level: sum((pair.level >= level) == (pair.tie == GOOD) for pair in ties))


def split_right(pairs: Sequence[Pair]) -> list[bool]:
    """Right or wrong with ties, each pair by the threshold that is best on the other half of the photos."""
    half = [_half(pair.photo) for pair in pairs]
    thresholds = [best_threshold([pair for pair, side in zip(pairs, half, strict=True) if side != one]) for one in (0, 1)]
    return [pair.is_right(thresholds[side]) for pair, side in zip(pairs, half, strict=True)]


def split_right_of_four(pairs: Sequence[Pair]) -> list[bool]:
    """Right or wrong of the first better, the second better, both good, both bad; threshold and level are those of the other half."""
    half, chosen = [_half(pair.photo) for pair in pairs], []
    for one in (0, 1):
        others = [pair for pair, side in zip(pairs, half, strict=True) if side != one]
        threshold = best_threshold(others)
        chosen.append((threshold, best_level(others, threshold)))
    return [pair.is_right(threshold) and (pair.people != 0 or (pair.level >= level) == (pair.tie == GOOD))
            for pair, side in zip(pairs, half, strict=True) for threshold, level in [chosen[side]]]


def _half(photo: str) -> int:
    return hashlib.sha256(photo.encode()).digest()[0] & 1


def is_ranked_right(choice: Choice, scores: Scores, threshold: float | None) -> bool:
    """Whether a whole choice is ordered as people did: of two edits, with ties by the threshold; of more, on the pairs they ordered."""
    pairs = pairs_of([choice], scores)
    if len(choice.edits) == 2:
        return all(pair.is_right(threshold) for pair in pairs)
    return all(pair.is_right(None) for pair in pairs if pair.people)


def accuracy_without_ties(choices: Sequence[Choice], scores: Scores) -> Cell:
    """Share of the pairs that people ordered which the judge orders so; equal scores are wrong."""
    pairs = [pair for pair in pairs_of(choices, scores) if pair.people]
    return _share([pair.is_right(None) for pair in pairs], [pair.photo for pair in pairs], _missing(choices, scores))


def accuracy_with_ties(choices: Sequence[Choice], scores: Scores, fitted: bool = False) -> Cell:
    """Share of all pairs that the judge sees as people do; the threshold is chosen on the other half of the photos, or, `fitted`, on these
    very pairs, which is too good to be true."""
    pairs = pairs_of(choices, scores)
    threshold = best_threshold(pairs) if fitted and pairs else None
    right = [pair.is_right(threshold) for pair in pairs] if fitted else split_right(pairs)
    return _share(right, [pair.photo for pair in pairs], _missing(choices, scores))


def accuracy_of_four(choices: Sequence[Choice], scores: Scores) -> Cell:
    """Share of all pairs on which the judge says what people did: the first, the second, both good or both bad. Two edits are alike where
    their scores differ by at most a threshold, and both good from a mean score on; both numbers are chosen on the other half of the
    photos."""
    pairs = pairs_of(choices, scores)
    return _share(split_right_of_four(pairs), [pair.photo for pair in pairs], _missing(choices, scores))


def group_accuracy(choices: Sequence[Choice], scores: Scores, ways: int) -> Cell:
    """Share of the choices between `ways` edits that are ordered right as a whole."""
    several = [choice for choice in choices if len(choice.edits) == ways]
    threshold = best_threshold(pairs_of(several, scores)) if ways == 2 else None
    there = scored(several, scores)
    return _share([is_ranked_right(choice, scores, threshold) for choice in there], [choice.photo for choice in there],
                  len(several) - len(there))


def _missing(choices: Sequence[Choice], scores: Scores) -> int:
    return len(choices) - len(scored(choices, scores))


def _share(right: Sequence[bool], photos: Sequence[str], missing: int) -> Cell:
    cell = mean_cell([float(one) for one in right], photos, percent=True)
    return Cell(cell.value, cell.low, cell.high, cell.n, missing, True)


# -- correlations -----------------------------------------------------------------------------------------------------------------

def rho_by_method(ratings: Sequence[Rating], scores: Scores) -> dict[str, float]:
    """Spearman's rho between scores and people over the edits of each method; not a number for constant scores."""
    methods: dict[str, list[tuple[float, float]]] = {}
    for rating in ratings:
        if not rating.lacks and rating.edit.name in scores:
            methods.setdefault(rating.edit.method, []).append((scores[rating.edit.name], rating.score))
    return {method: _rho(values) for method, values in sorted(methods.items())}


def _rho(values: Sequence[tuple[float, float]]) -> float:
    ours, people = zip(*values, strict=True)
    if len(set(ours)) < 2 or len(set(people)) < 2:
        return math.nan
    return float(np.corrcoef(rankdata(ours), rankdata(people))[0, 1])


def fisher_mean(rhos: Sequence[float]) -> float:
    """`two_raters.fisher_mean` as a number: a correlation of 1, which has no transform, outweighs all others and does not replace them."""
    return float(two_raters.fisher_mean(rhos))


def plain_mean(rhos: Sequence[float]) -> float:
    """The mean over the correlations that are numbers."""
    known = [rho for rho in rhos if not math.isnan(rho)]
    return sum(known) / len(known) if known else math.nan


def correlation(ratings: Sequence[Rating], scores: Scores, fisher: bool = True, seed: int = 0) -> Cell:
    """The methods' mean correlation, by Fisher or plainly, with an interval over photos."""
    average = fisher_mean if fisher else plain_mean
    there = [rating for rating in ratings if not rating.lacks and rating.edit.name in scores]
    value = average(list(rho_by_method(there, scores).values()))
    photos: dict[str, list[Rating]] = {}
    for rating in there:
        photos.setdefault(rating.photo, []).append(rating)
    low = high = math.nan
    if len(photos) > 1 and not math.isnan(value):
        rng, names = np.random.default_rng(seed), list(photos)
        draws = []
        for _ in range(RHO_RESAMPLES):
            chosen = [rating for place in rng.integers(0, len(names), len(names)) for rating in photos[names[place]]]
            draws.append(average(list(rho_by_method(chosen, scores).values())))
        low, high = (float(np.nanquantile(draws, level)) for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Cell(value, low, high, len(there), len(ratings) - len(there))

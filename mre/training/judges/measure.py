"""How good a judge is on sources that it never saw, and the calibration of its deviations on half of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from scipy import optimize, stats
from torch import Tensor

from mre.agreement.pairwise import accuracy_with_ties, best_threshold
from mre.judge.reward_models.folder import Calibration
from mre.judge.reward_models.heads import Labels, Scores, label_loss
from mre.judge.reward_models.likelihood import TIE, WIN, pair_log_probabilities, reported_score
from mre.rewards import PERSPECTIVES
from mre.training.judges.batches import collate
from mre.training.judges.groups import GroupSource, LabelledGroup, share_of

if TYPE_CHECKING:
    from mre.judge.reward_models.bodies import Body

ONE_SIGMA = 0.6827          # what one deviation of a Gaussian holds
LEAST_DEVIATION = 0.02      # points; a deviation that rounds to nothing is no doubt at all
BINS = 10
ENOUGH = 20                 # labels, from which on a calibration is fitted


@dataclass(frozen=True)
class Predictions:
    """Scores of held-out edits beside their labels. Arrays have a row per edit (N) or per pair (Q), a column per perspective (P).

    mean, deviation: as reported, before calibration; scores: the labels, NaN where there is none
    first, second: rows of pairs; preferred: (Q, P), 1 first better, 0 tie, -1, NaN not said
    edits: (group, edit within it); folded: (N,), whether a row calibrates (True) or reports (False)
    """

    perspectives: tuple[str, ...]
    groups: list[LabelledGroup]
    mean: np.ndarray
    deviation: np.ndarray
    scores: np.ndarray
    first: np.ndarray
    second: np.ndarray
    preferred: np.ndarray
    edits: list[tuple[int, int]]
    calibrates: np.ndarray
    loss: float

    def edit_types(self) -> np.ndarray:
        return np.array([self.groups[group].edits[edit].edit_type for group, edit in self.edits])


def predict(network: Any, groups: Sequence[LabelledGroup], batch: int = 16) -> Predictions:
    """Score held-out groups. Half of the originals calibrate, the other half report."""
    body: Body = network
    means, deviations, labels_of = [], [], []
    total, amount = 0.0, 0.0
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(groups), batch):
            inputs, labels = collate(body, groups[start:start + batch], {})
            scores = network(**inputs)
            scores = Scores(scores.mean.float().cpu(), scores.deviation.float().cpu())
            loss, weight = label_loss(scores, labels, network.heads.log_half_width.exp().cpu())
            total, amount = total + loss.item(), amount + weight.item()
            mean, deviation = reported_score(*scores)
            means.append(mean)
            deviations.append(deviation.clamp(min=LEAST_DEVIATION))
            labels_of.append(labels)
    first, second, preferred = joined_pairs(labels_of)
    edits = [(number, place) for number, group in enumerate(groups) for place in range(len(group.edits))]
    columns = [PERSPECTIVES.index(name) for name in body.heads.perspectives]
    scores = np.array([[math.nan if (score := groups[g].edits[e].scores[column]) is None else score for column in columns]
                       for g, e in edits], dtype=float)
    calibrates = np.array([share_of(groups[g].source, "calibrates") < 0.5 for g, _ in edits])
    return Predictions(body.heads.perspectives, list(groups), torch.cat(means).numpy(), torch.cat(deviations).numpy(), scores,
                       first, second, preferred[:, :len(columns)], edits, calibrates, total / max(amount, 1e-9))


def joined_pairs(labels: Sequence[Labels]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of several batches as rows of all of them."""
    starts = np.cumsum([0, *(len(one.low) for one in labels)])
    first = np.concatenate([one.first.numpy() + start for one, start in zip(labels, starts, strict=False)])
    second = np.concatenate([one.second.numpy() + start for one, start in zip(labels, starts, strict=False)])
    return first, second, np.concatenate([one.preferred.numpy() for one in labels])


# -- calibration ----------------------------------------------------------------------------------------------------------------------

def calibrate(found: Predictions) -> dict[str, Calibration]:
    """Per perspective, from the half that calibrates: how far off scores are, in deviations, and how pairs come out.

    The multiplier of deviations is the one under which one of them holds 68 % of the scores; that of differences and the half width of a
    tie are those of the greatest likelihood of the preferences. Where there are too few labels it stays as it is learnt.
    """
    return {name: Calibration(**_calibrated(found, column)) for column, name in enumerate(found.perspectives)}


def _calibrated(found: Predictions, column: int) -> dict[str, float]:
    rows = found.calibrates & ~np.isnan(found.scores[:, column])
    fitted: dict[str, float] = {}
    if rows.sum() >= ENOUGH:
        off = np.abs(found.mean[rows, column] - found.scores[rows, column]) / found.deviation[rows, column]
        fitted["deviation"] = float(np.clip(np.quantile(off, ONE_SIGMA), 0.05, 20.0))
    pairs = found.calibrates[found.first] & ~np.isnan(found.preferred[:, column])
    if pairs.sum() >= ENOUGH:
        difference, deviation = (torch.from_numpy(value[pairs]) for value in pair_columns(found, column))
        label = torch.from_numpy(found.preferred[pairs, column]).double()
        fitted["win"], fitted["half_width"] = fit_pairs(difference, deviation, label)
    return fitted


def fit_pairs(difference: Tensor, deviation: Tensor, label: Tensor) -> tuple[float, float]:
    """The multiplier of deviations and the half width of a tie under which the labels are likeliest."""
    def loss(x: np.ndarray) -> float:
        scale, half_width = np.exp(x)
        logs = pair_log_probabilities(difference, deviation * scale, torch.tensor(half_width))
        log = torch.where(label == TIE, logs[1], torch.where(label == WIN, logs[0], logs[2]))
        return float(-log.clamp(min=-50).mean() + 1e-3 * np.square(x - start).sum())
    start = np.log([1.0, 0.3])
    best = optimize.minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-6})
    scale, half_width = np.exp(np.clip(best.x, np.log([0.05, 0.02]), np.log([20.0, 3.0])))
    return float(scale), float(half_width)


def pair_columns(found: Predictions, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Difference of the reported means of each pair, and the deviation of the difference."""
    difference = found.mean[found.first, column] - found.mean[found.second, column]
    return difference, np.hypot(found.deviation[found.first, column], found.deviation[found.second, column])


def win_probabilities(difference: np.ndarray, deviation: np.ndarray, calibration: Calibration) -> np.ndarray:
    """(Q, 3): P of win, tie and loss of the first, calibrated."""
    logs = pair_log_probabilities(torch.from_numpy(difference), torch.from_numpy(deviation * calibration.win), calibration.half_width)
    return torch.stack(logs, dim=1).exp().numpy()


# -- figures --------------------------------------------------------------------------------------------------------------------------

FIGURES = ("edits", "mean_error", "spearman", "coverage", "deviation", "pairs", "pair_accuracy", "accuracy_with_ties", "chosen_threshold",
           "oracle_threshold", "calibration_error")


def figures(found: Predictions, calibration: dict[str, Calibration], rows: np.ndarray | None = None) -> dict[str, dict[str, float]]:
    """Per perspective, FIGURES of the half that reports: `rows` (N,) of it.

    pair_accuracy: share of decided pairs in the right order; accuracy_with_ties: of all pairs, when the likeliest of win, tie and loss
    is said; chosen_threshold: the same with a tie below a difference that was chosen on the other half; oracle_threshold: chosen on these
    very pairs; calibration_error: of P(win), mean distance from how often the first won, over BINS equal bins; coverage: share of scores
    within one reported deviation; NaN where there is nothing to count.
    """
    rows = ~found.calibrates if rows is None else rows & ~found.calibrates
    return {name: _figures(found, column, calibration[name], rows) for column, name in enumerate(found.perspectives)}


def _figures(found: Predictions, column: int, calibration: Calibration, rows: np.ndarray) -> dict[str, float]:
    made: dict[str, float] = dict.fromkeys(FIGURES, math.nan)
    scored = rows & ~np.isnan(found.scores[:, column])
    made["edits"] = int(scored.sum())
    if scored.any():
        mean, truth = found.mean[scored, column], found.scores[scored, column]
        deviation = found.deviation[scored, column] * calibration.deviation
        made["mean_error"] = float(np.abs(mean - truth).mean())
        made["coverage"] = float((np.abs(mean - truth) <= deviation).mean())
        made["deviation"] = float(deviation.mean())
        if len(set(truth)) > 1 and len(set(mean)) > 1:
            made["spearman"] = float(cast(Any, stats.spearmanr(mean, truth)).statistic)
    said = ~np.isnan(found.preferred[:, column])
    pairs, others = said & rows[found.first], said & found.calibrates[found.first]
    made["pairs"] = int(pairs.sum())
    if pairs.any():
        difference, deviation = pair_columns(found, column)
        label = found.preferred[:, column]
        decided = pairs & (label != TIE)
        if decided.any():
            made["pair_accuracy"] = float((np.sign(difference[decided]) == label[decided]).mean())
        probabilities = win_probabilities(difference[pairs], deviation[pairs], calibration)
        made["accuracy_with_ties"] = float((1 - probabilities.argmax(1) == label[pairs]).mean())
        made["calibration_error"] = calibration_error(*both_ways(probabilities, label[pairs]))
        made["oracle_threshold"] = best_threshold(label[pairs], difference[pairs]).accuracy
        if others.any():
            threshold = best_threshold(label[others], difference[others]).threshold
            made["chosen_threshold"] = accuracy_with_ties(label[pairs], difference[pairs], threshold).accuracy
    return made


def both_ways(probabilities: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(win) and whether it was one, of each pair in both orders: which edit came first says nothing."""
    return np.concatenate([probabilities[:, 0], probabilities[:, 2]]), np.concatenate([label == WIN, label == -WIN]).astype(float)


def calibration_error(probability: np.ndarray, outcome: np.ndarray, bins: int = BINS) -> float:
    """Mean over equal bins of |mean probability - share of outcomes|, weighted by how many fall into each."""
    return float(sum(abs(p.mean() - o.mean()) * len(p) for p, o in binned(probability, outcome, bins)) / len(probability))


def binned(probability: np.ndarray, outcome: np.ndarray, bins: int = BINS) -> list[tuple[np.ndarray, np.ndarray]]:
    """Probabilities and outcomes of each bin that holds any."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [(probability[place == one], outcome[place == one]) for one in np.unique(place)]


def held_out_groups(sources: Sequence[GroupSource], most: int) -> list[LabelledGroup]:
    """The first groups of each held-out source, read once."""
    return [source.group(number) for source in sources for number in range(min(len(source), most))]

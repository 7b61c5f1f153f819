"""A judge's verdicts as the numbers that a training framework reads: named, from 0 to 1, with their deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mre.judge.overall import OVERALLS, shares_of
from mre.judge.verdicts import Verdicts
from mre.rewards import SCORE_MAX

EDIT, OVERALL = "edit", "overall"       # the reward with all numbers, and the one with their summary

def reward_names(perspectives: Sequence[str]) -> list[str]:
    """What can be asked for: everything, the summary, and each perspective that the judge knows."""
    return [EDIT, OVERALL, *perspectives]


def numbers_of(verdicts: Verdicts, overall: str) -> dict[str, float]:
    """Perspective -> its score, `PERSPECTIVE_deviation` -> its deviation where the judge gives one, and `overall`; 5 points are 1.

    Raises JudgeError where a perspective has no answer: nothing stands in for it.
    """
    scores = shares_of(verdicts)
    doubts = {f"{verdict.perspective}_deviation": verdict.deviation / SCORE_MAX for verdict in verdicts if verdict.deviation is not None}
    return {**scores, **doubts, OVERALL: OVERALLS[overall](list(scores.values()))}


def reward_of(numbers: Mapping[str, float], name: str) -> dict[str, float]:
    """The numbers of one reward by name."""
    return dict(numbers) if name == EDIT else {name: numbers[name]}

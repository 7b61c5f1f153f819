"""Preserving as it is measured, behind the same interface as a judge: it knows one perspective, costs nothing and works offline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from PIL import Image

from mre.judge.pictures import as_array
from mre.judge.verdicts import Ask, Tally, Verdict, Verdicts, one_by_one
from mre.metrics.preserving import Preserving, measure_preserving, measure_version
from mre.rewards import NOTHING_WRONG, SCORE_MAX

LEVELS_A_POINT = 10.7        # mean difference outside the edit that costs a point, as the oracle has it
SHIFT_A_POINT = 1 / 64       # of the longer side; this and the next for edits of the whole picture, where colours say nothing
ZOOM_A_POINT = math.log(1.05)
ACCEPTED_FROM = 4.0
SAID_FROM = 4.75             # a score from which on nothing is said to be wrong


class MeasuredJudge:
    """Scores preserving by the change outside the edit (`mre.metrics.preserving`), without a look at the instruction.

    5 is a picture that is the original outside what clearly changed; each 10.7 levels of mean difference there cost a point. Of an edit
    of the whole picture only shift and zoom count. An edit of which nothing can be measured is a failed answer.
    """

    name = "measured"
    perspectives = ("preserving",)

    def __init__(self) -> None:
        self.version = measure_version()

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """One after the other. A picture that cannot be read fails, and the rest goes on."""
        return one_by_one(self, asks, task, on_verdicts, lambda ask: [self._verdict(ask, task)])

    def _verdict(self, ask: Ask, task: str) -> Verdict:
        original, edited = (Image.fromarray(as_array(picture)) for picture in (ask.original, ask.edited))
        found = measure_preserving(original, edited)
        score = score_of(found, max(original.size))
        if score is None:
            return Verdict("preserving", None, error=f"{ask.item}: not measurable, the two pictures have too little in common")
        if task == "reward":                # whole numbers, as the reward prompts ask for
            score = float(round(score))
        return Verdict("preserving", score, accepted=score >= ACCEPTED_FROM, text=text_of(found) if score < SAID_FROM else NOTHING_WRONG)


def score_of(found: Preserving, side: int) -> float | None:
    """0 to 5, of pictures whose longer side has so many pixels; None where neither the outside nor the place could be measured."""
    if found.outside_size is not None:
        lost = found.outside_size / LEVELS_A_POINT
    elif found.alignment is not None:
        lost = found.alignment.shift / side / SHIFT_A_POINT + abs(math.log(found.alignment.zoom)) / ZOOM_A_POINT
    else:
        return None
    return max(0.0, SCORE_MAX - lost)


def text_of(found: Preserving) -> str:
    """What was not preserved, in words and numbers."""
    said = []
    if found.shift is not None and found.shift >= 0.5:
        said.append(f"everything moved by {found.shift:.1f} pixels")
    if found.zoom is not None and abs(found.zoom - 1) >= 0.002:
        said.append(f"the picture was {'enlarged' if found.zoom > 1 else 'reduced'} by {100 * abs(found.zoom - 1):.1f} %")
    if found.drift is not None and found.colour_drift is not None and found.colour_drift >= 1 and found.outside_size is not None:
        said.append("the colours drifted by " + ", ".join(f"{round(level):+d}" for level in found.drift) + " levels of red, green and blue")
    if not said and found.outside_size:
        return f"the rest of the picture differs by {found.outside_size:.0f} levels"
    return ", ".join(said) or NOTHING_WRONG

"""A judge that was trained: scores any edit, offline, each with its deviation. `tiny-judge` is one that comes with the program."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.device import best_device
from mre.judge.local import ACCEPTED_FROM, NO_NUMBER, LocalJudge, Numbers
from mre.judge.reward_models.folder import judge_version, load_network, read_facts
from mre.judge.verdicts import Verdict

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

EMBEDDED = Path(__file__).resolve().parent.parent / "assets" / "tiny-judge"


class TrainedJudge(LocalJudge):
    """Gaussians on the scale 0 to 5: a verdict's score is the mean, its deviation is calibrated on labels that were held out."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Raises JudgeError for a folder that is no judge."""
        self.folder = folder
        self.facts = read_facts(folder)
        self.perspectives = self.facts.perspectives
        name = name or folder.resolve().name
        super().__init__(name, f"{name}-{judge_version(folder)}")

    def load(self) -> Any:
        """On the accelerator if there is one."""
        return load_network(self.folder, self.facts).to(best_device())

    def seen(self, picture: Image.Image, item: str) -> np.ndarray:
        return self.network.seen(picture)

    def numbers(self, originals: list, editeds: list, instructions: list[str]) -> list[Numbers]:
        return self.score_arrays(originals, editeds, instructions)

    def verdicts(self, numbers: Numbers, seconds: float) -> Iterator[Verdict]:
        for name, pair in zip(self.perspectives, numbers, strict=True):
            if not all(map(math.isfinite, pair)):
                yield Verdict(name, None, judge_version=self.version, error=NO_NUMBER)
                continue
            score, deviation = (round(value, 4) for value in pair)
            yield Verdict(name, score, accepted=score >= ACCEPTED_FROM, deviation=deviation, judge_version=self.version, seconds=seconds,
                          cost_usd=0.0)

    def score_arrays(self, originals: list, editeds: list, instructions: list[str]) -> list[list[tuple[float, float]]]:
        """(score, calibrated deviation) per edit and perspective, of pictures as the network's `seen` gives them."""
        scales = [self.facts.calibration[name].deviation for name in self.perspectives]
        return [[(mean, deviation * scale) for (mean, deviation), scale in zip(edit, scales, strict=True)]
                for edit in self.reported(originals, editeds, instructions)]

    def reported(self, originals: list, editeds: list, instructions: list[str]) -> list[list[tuple[float, float]]]:
        """The same before calibration, as `mre.training.judges.measure` has them: a difference of two has a calibration of its own."""
        import torch

        from mre.judge.reward_models.likelihood import reported_score

        with torch.inference_mode():
            made = self.network(**self.network.inputs(originals, editeds, instructions))
            means, deviations = reported_score(made.mean.cpu(), made.deviation.cpu())
        return [list(zip(row, spread, strict=True)) for row, spread in zip(means.tolist(), deviations.tolist(), strict=True)]


def embedded_judge() -> TrainedJudge:
    """`tiny-judge`, which comes with the program."""
    return TrainedJudge(EMBEDDED, "tiny-judge")

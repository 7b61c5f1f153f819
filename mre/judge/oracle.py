"""The judge of drawn scenes: it knows what was drawn, costs nothing, and stands behind the same interface as a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mre.errors import ImageError, JudgeError
from mre.imaging import open_image
from mre.judge.verdicts import Ask, PictureSource, Tally, Verdict, Verdicts, checked_task
from mre.rewards import PERSPECTIVES

ACCEPTED_FROM = 4.0         # an oracle score that counts as "yes" in the tables of accuracy


class OracleJudge:
    """Scores an edit of a drawn scene by comparing it with the scene's known target, mask and defects."""

    name = "oracle"
    is_paid = False

    def __init__(self) -> None:
        self.version = _oracle_version()

    def score(self, original: PictureSource, edited: PictureSource, instruction: str, task: str = "evaluate",
              scene: Any = None) -> Verdicts:
        """Score an edit of `scene`. Raises JudgeError for a picture that is no drawn scene: the oracle knows nothing else."""
        from mre.data.scenes import oracle

        checked_task(task)
        if scene is None:
            raise JudgeError("the oracle judges drawn scenes only; for photos name a model, such as --judge gpt-4o-2024-08-06")
        started = time.perf_counter()
        reward = oracle.score(scene, _as_array(edited))
        seconds = (time.perf_counter() - started) / len(PERSPECTIVES)
        facts = {"judge_version": self.version, "seconds": seconds, "cost_usd": 0.0}
        verdicts = tuple(Verdict(name, score, accepted=score >= ACCEPTED_FROM, text=text, **facts)
                         for name, score, text in zip(PERSPECTIVES, reward.scores, reward.texts, strict=True))
        return Verdicts(self.name, task, verdicts)

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """Score many, one after the other. A picture that cannot be read fails, and the rest goes on."""
        checked_task(task)
        tally = Tally()
        for ask in asks:
            try:
                verdicts = self.score(ask.original, ask.edited, ask.instruction, task, ask.scene)
            except ImageError as error:
                verdicts = Verdicts(self.name, task, tuple(Verdict(name, None, error=f"{ask.item}: {error}") for name in PERSPECTIVES))
            tally.edits += 1
            tally.failed += len(verdicts.errors)
            tally.builds[self.version] += len(PERSPECTIVES) - len(verdicts.errors)
            on_verdicts(ask, verdicts)
        return tally


def _as_array(picture: PictureSource | np.ndarray) -> np.ndarray:
    """Pixels as (H, W, 3) uint8."""
    if isinstance(picture, np.ndarray):
        return picture
    if callable(picture):
        return _as_array(picture())
    image = picture.convert("RGB") if hasattr(picture, "convert") else open_image(picture)
    return np.asarray(image)


def _oracle_version() -> str:
    from mre.data.scenes import oracle
    return f"oracle-{getattr(oracle, 'VERSION', 1)}"

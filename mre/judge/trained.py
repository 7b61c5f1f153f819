"""A judge that was trained: scores any edit, offline, each with its deviation. `tiny-judge` is one that comes with the program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.errors import ImageError
from mre.judge.pictures import JudgePicture
from mre.judge.reward_models.folder import judge_version, load_network, read_facts
from mre.judge.verdicts import Ask, Tally, Verdict, Verdicts, checked_task

if TYPE_CHECKING:
    import numpy as np

EMBEDDED = Path(__file__).resolve().parent.parent / "assets" / "tiny-judge"
ACCEPTED_FROM = 4.0
BATCH = 32          # edits scored together


class TrainedJudge:
    """Gaussians on the scale 0 to 5: a verdict's score is the mean, its deviation is calibrated on labels that were held out.

    The network is read when the first edit is scored. Scores may be asked for from several threads.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Raises JudgeError for a folder that is no judge."""
        self.folder = folder
        self.facts = read_facts(folder)
        self.name = name or folder.resolve().name
        self.version = f"{self.name}-{judge_version(folder)}"
        self.perspectives = self.facts.perspectives
        self._lock = threading.Lock()
        self._network: Any = None

    @property
    def network(self) -> Any:
        """The network, on the accelerator if there is one. Raises JudgeError for weights that are not this judge's."""
        with self._lock:
            if self._network is None:
                import torch

                self._network = load_network(self.folder, self.facts).to("cuda" if torch.cuda.is_available() else "cpu")
            return self._network

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """In batches and in order; both tasks give the same numbers, with decimals. A picture that cannot be read fails its edit, and the
        rest goes on."""
        checked_task(task)
        tally = Tally()
        waiting = iter(asks)
        while batch := list(islice(waiting, BATCH)):
            started = time.perf_counter()
            answers = self._batch(batch)
            share = (time.perf_counter() - started) / (len(batch) * len(self.perspectives))
            for ask, answer in zip(batch, answers, strict=True):
                verdicts = tuple(self._verdicts(answer, share))
                tally.edits += 1
                tally.failed += sum(verdict.error is not None for verdict in verdicts)
                tally.builds[self.version] += sum(verdict.error is None for verdict in verdicts)
                on_verdicts(ask, Verdicts(self.name, task, verdicts))
        return tally

    def _verdicts(self, answer: list[tuple[float, float]] | str, seconds: float) -> Iterator[Verdict]:
        for number, name in enumerate(self.perspectives):
            if isinstance(answer, str):
                yield Verdict(name, None, judge_version=self.version, error=answer)
                continue
            score, deviation = (round(value, 4) for value in answer[number])
            yield Verdict(name, score, accepted=score >= ACCEPTED_FROM, deviation=deviation, judge_version=self.version, seconds=seconds,
                          cost_usd=0.0)

    def _batch(self, asks: list[Ask]) -> list[list[tuple[float, float]] | str]:
        """Per edit a (score, deviation) for each perspective, or why its pictures could not be read."""
        answers: list[list[tuple[float, float]] | str | None] = []
        read: list[tuple[np.ndarray, np.ndarray, str]] = []
        for ask in asks:
            try:
                original, edited = (self.network.seen(JudgePicture(picture, ask.item).decoded()) for picture in (ask.original, ask.edited))
                read.append((original, edited, ask.instruction))
                answers.append(None)
            except ImageError as error:
                answers.append(f"{ask.item}: {error}" if ask.item not in str(error) else str(error))
        scored = iter(self.score_arrays(*map(list, zip(*read, strict=True))) if read else [])
        return [next(scored) if answer is None else answer for answer in answers]

    def score_arrays(self, originals: list, editeds: list, instructions: list[str]) -> list[list[tuple[float, float]]]:
        """(score, deviation) per edit and perspective, of pictures as the network's `seen` gives them."""
        import torch

        from mre.judge.reward_models.likelihood import reported_score

        with torch.inference_mode():
            made = self.network(**self.network.inputs(originals, editeds, instructions))
            means, deviations = reported_score(made.mean.cpu(), made.deviation.cpu())
        scales = [self.facts.calibration[name].deviation for name in self.perspectives]
        return [[(mean, deviation * scale) for mean, deviation, scale in zip(row, spread, scales, strict=True)]
                for row, spread in zip(means.tolist(), deviations.tolist(), strict=True)]


def embedded_judge() -> TrainedJudge:
    """`tiny-judge`, which comes with the program."""
    return TrainedJudge(EMBEDDED, "tiny-judge")

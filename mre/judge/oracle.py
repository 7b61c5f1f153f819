"""The judge of synthetic scenes: it knows what was drawn, costs nothing, and stands behind the same interface as a model."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from mre.errors import ImageError, JudgeError
from mre.judge.pictures import as_array
from mre.judge.verdicts import Ask, PictureSource, Tally, Verdict, Verdicts, checked_task
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, SCORE_MAX

if TYPE_CHECKING:
    from mre.data.scenes.triplets import SceneTriplet

ACCEPTED_FROM = 4.0         # an oracle score that counts as "yes" in the tables of accuracy
FEW = 8                     # scenes; from there on other processes are worth their start
_Answer = tuple[list[float], list[str], float]      # scores, texts, seconds


class OracleJudge:
    """Scores an edit of a synthetic scene by finding which known faults explain it best."""

    name = "oracle"
    perspectives = PERSPECTIVES

    def __init__(self, workers: int = 1) -> None:
        self.workers = max(1, min(workers, os.cpu_count() or 1))
        self.version = oracle_version()

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """Score many, a scene's pictures together and scenes on `workers` processes; reported in order.

        A picture that cannot be read fails, and the rest goes on. Raises JudgeError for a picture of anything but a synthetic scene.
        """
        checked_task(task)
        asks, tally = list(asks), Tally()
        if any(ask.scene is None for ask in asks):
            raise JudgeError("the oracle judges synthetic scenes only; for photos name a model, such as --judge gpt-4o-2024-08-06")
        scenes: dict[str, list[int]] = {}
        for number, ask in enumerate(asks):
            scenes.setdefault(ask.item, []).append(number)
        jobs = [(asks[numbers[0]].scene, [asks[number].edited for number in numbers]) for numbers in scenes.values()]
        found: dict[int, _Answer | str] = {}
        reported = 0
        with self._map(jobs) as answers:
            for numbers, results in zip(scenes.values(), answers, strict=True):
                found |= zip(numbers, results, strict=True)
                while reported in found:
                    self._report(asks[reported], found.pop(reported), task, tally, on_verdicts)
                    reported += 1
        return tally

    @contextlib.contextmanager
    def _map(self, jobs: list[tuple[Any, list[PictureSource]]]) -> Iterator[Iterable[list[_Answer | str]]]:
        if self.workers == 1 or len(jobs) < FEW:
            yield map(score_scene, jobs)
            return
        with _one_thread_each(), ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                yield pool.map(score_scene, jobs, chunksize=1)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _report(self, ask: Ask, answer: _Answer | str, task: str, tally: Tally, on_verdicts: Callable[[Ask, Verdicts], None]) -> None:
        if isinstance(answer, str):
            verdicts = tuple(Verdict(name, None, judge_version=self.version, error=f"{ask.item}: {answer}") for name in PERSPECTIVES)
        else:
            scores, texts, seconds = answer
            if task == "reward":            # whole numbers, as the reward prompts ask for
                scores = [float(round(score)) for score in scores]
                texts = [NOTHING_WRONG if score == SCORE_MAX else text for score, text in zip(scores, texts, strict=True)]
            verdicts = tuple(Verdict(name, score, accepted=score >= ACCEPTED_FROM, text=text, judge_version=self.version,
                                     seconds=seconds / len(PERSPECTIVES), cost_usd=0.0)
                             for name, score, text in zip(PERSPECTIVES, scores, texts, strict=True))
            tally.builds[self.version] += len(PERSPECTIVES)
        tally.edits += 1
        tally.failed += len(PERSPECTIVES) * isinstance(answer, str)
        on_verdicts(ask, Verdicts(self.name, task, verdicts))


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that share the cores already gain nothing from threads of their own."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)


def score_scene(job: tuple[SceneTriplet | Callable[[], SceneTriplet], list[PictureSource]]) -> list[_Answer | str]:
    """Scores, texts and seconds of some pictures as edits of one scene; the reason for a picture that cannot be read."""
    from mre.data.scenes import oracle

    scene, pictures = job
    triplet = scene() if callable(scene) else scene
    knower = oracle.Oracle(triplet)
    answers: list[_Answer | str] = []
    for picture in pictures:
        started = time.perf_counter()
        try:
            reward = knower.score(as_array(picture))
        except ImageError as error:
            answers.append(str(error))
            continue
        answers.append((list(reward.scores), list(reward.texts), time.perf_counter() - started))
    return answers


def oracle_version() -> str:
    """The oracle's name for the tables: a digest of the code that draws and scores, so that another oracle is another build."""
    from pathlib import Path

    from mre.data import scenes

    digest = hashlib.sha256()
    for path in sorted(Path(scenes.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return f"oracle-{digest.hexdigest()[:8]}"

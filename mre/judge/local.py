"""What judges on this machine have in common: a network that is read when it is first used, and edits that are scored in batches."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from mre.errors import ImageError
from mre.judge.pictures import JudgePicture
from mre.judge.verdicts import Ask, Tally, Verdict, Verdicts, checked_task

if TYPE_CHECKING:
    from PIL import Image

ACCEPTED_FROM = 4.0
NO_NUMBER = "the network's answer is no number"
Numbers = list[tuple[float, float]]         # what a network says of one edit: a pair of numbers for each perspective


class LocalJudge(ABC):
    """A kind says how its network is read (`load`), how it sees a picture (`seen`), what it says of edits (`numbers`), and what verdicts
    that makes (`verdicts`). Scores may be asked for from several threads."""

    perspectives: tuple[str, ...]
    batch = 32                              # edits that are scored together

    def __init__(self, name: str, version: str) -> None:
        self.name, self.version = name, version
        self._lock = threading.Lock()
        self._network: Any = None

    @abstractmethod
    def load(self) -> Any:
        """The network. Raises JudgeError for weights that are not this judge's."""

    @abstractmethod
    def seen(self, picture: Image.Image, item: str) -> Any:
        """A picture as the network takes it. Raises ImageError for one that it cannot see."""

    @abstractmethod
    def numbers(self, originals: list, editeds: list, instructions: list[str]) -> Sequence[Numbers]:
        """What the network says of a batch of edits, whose pictures are as `seen` gives them."""

    @abstractmethod
    def verdicts(self, numbers: Numbers, seconds: float) -> Iterator[Verdict]:
        """One for each perspective; `seconds` is what it took."""

    @property
    def network(self) -> Any:
        """Read when it is first used. Raises JudgeError."""
        with self._lock:
            if self._network is None:
                self._network = self.load()
            return self._network

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """In batches and in order; both tasks give the same numbers. A picture that cannot be read fails its edit; the rest goes on."""
        checked_task(task)
        tally, waiting = Tally(), iter(asks)
        while batch := list(islice(waiting, self.batch)):
            started = time.perf_counter()
            answers = self.raw(batch)
            share = (time.perf_counter() - started) / (len(batch) * len(self.perspectives))
            for ask, answer in zip(batch, answers, strict=True):
                verdicts = tuple(self._failed(answer) if isinstance(answer, str) else self.verdicts(answer, share))
                tally.edits += 1
                tally.failed += sum(verdict.error is not None for verdict in verdicts)
                tally.builds[self.version] += sum(verdict.error is None for verdict in verdicts)
                on_verdicts(ask, Verdicts(self.name, task, verdicts))
        return tally

    def raw(self, asks: Sequence[Ask]) -> list[Numbers | str]:
        """Per edit what the network says, or why its pictures could not be read."""
        answers: list[Numbers | str | None] = []
        read: list[tuple[Any, ...]] = []
        for ask in asks:
            try:
                pair = [self.seen(JudgePicture(picture, ask.item).decoded(), ask.item) for picture in (ask.original, ask.edited)]
                read.append((*pair, ask.instruction))
                answers.append(None)
            except ImageError as error:
                answers.append(str(error) if ask.item in str(error) else f"{ask.item}: {error}")
        found = iter(self.numbers(*map(list, zip(*read, strict=True))) if read else ())
        return [next(found) if answer is None else answer for answer in answers]

    def _failed(self, why: str) -> Iterator[Verdict]:
        return (Verdict(name, None, judge_version=self.version, error=why) for name in self.perspectives)

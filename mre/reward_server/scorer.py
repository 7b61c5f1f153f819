"""Edits from many requests, scored together: one thread gives the judge whatever has come in."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from PIL.Image import Image

from mre.errors import JudgeError, MreError
from mre.judge.verdicts import Ask, Judge, Verdicts

TASK = "evaluate"
MOST_PIXELS = 256_000_000       # of pictures that wait: three bytes each


class Busy(MreError):
    """More edits are waiting than the server takes."""


class TooMany(MreError):
    """More edits in one request than may wait at all: coming again would not help."""


@dataclass
class _Job:
    """The edits of one request, and what is to come of them."""

    asks: Sequence[Ask]
    pixels: int
    answer: Future[list[Verdicts]]


class Scorer:
    """Scores the edits of requests in batches of about `batch`, in the order in which they came. At most `waiting` edits wait, with at
    most `MOST_PIXELS` decoded pixels.

    A batch begins at once when the judge is free: what comes in while it works makes the next one, so that batches grow with the load.
    """

    def __init__(self, judge: Judge, batch: int = 64, waiting: int = 1024) -> None:
        self.judge, self.batch, self.most = judge, batch, waiting
        self._jobs: deque[_Job] = deque()
        self._waiting, self._pixels = 0, 0
        self._changed = threading.Condition()
        self._closed = False
        self.scored, self.failed, self.batches, self.seconds = 0, 0, 0, 0.0
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)
        self._thread.start()

    def submit(self, asks: Sequence[Ask]) -> Future[list[Verdicts]]:
        """Verdicts on some edits, in their order. Raises Busy where too many wait already, TooMany for more than may ever wait."""
        if len(asks) > self.most:
            raise TooMany(f"{len(asks)} edits in one request; this server takes at most {self.most}")
        job = _Job(asks, sum(picture.width * picture.height for ask in asks for picture in (ask.original, ask.edited)
                             if isinstance(picture, Image)), Future())
        with self._changed:
            if self._closed or self._waiting + len(asks) > self.most or (self._pixels and self._pixels + job.pixels > MOST_PIXELS):
                raise Busy(f"{self._waiting} edits are waiting; try again")
            self._jobs.append(job)
            self._waiting += len(asks)
            self._pixels += job.pixels
            self._changed.notify()
        return job.answer

    @property
    def waiting(self) -> int:
        """Edits that are waiting or being scored."""
        return self._waiting

    def close(self) -> None:
        """Take no more, and fail what waits."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.answer.cancel()
            self._jobs.clear()
            self._changed.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                jobs = [self._jobs.popleft()]
                while self._jobs and sum(len(job.asks) for job in jobs) + len(self._jobs[0].asks) <= self.batch:
                    jobs.append(self._jobs.popleft())
            self._score([job for job in jobs if job.answer.set_running_or_notify_cancel()])
            with self._changed:
                self._waiting -= sum(len(job.asks) for job in jobs)
                self._pixels -= sum(job.pixels for job in jobs)

    def _score(self, jobs: Sequence[_Job]) -> None:
        asks = [replace(ask, item=str(number)) for number, ask in enumerate(ask for job in jobs for ask in job.asks)]
        heard: list[Verdicts] = []
        started = time.perf_counter()
        try:
            tally = self.judge.score_all(asks, TASK, lambda _ask, verdicts: heard.append(verdicts))
            if len(heard) < len(asks):
                raise JudgeError(tally.stopped or "the judge did not answer")
        except Exception as error:          # whatever goes wrong, the clients that wait are told, and the next batch is scored
            for job in jobs:
                job.answer.set_exception(error)
            return
        self.seconds += time.perf_counter() - started
        self.batches += 1
        self.scored += len(asks)
        self.failed += sum(bool(verdicts.errors) for verdicts in heard)
        for job in jobs:
            mine, heard = heard[:len(job.asks)], heard[len(job.asks):]
            job.answer.set_result(mine)

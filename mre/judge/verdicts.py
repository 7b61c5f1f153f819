"""What a judge is asked and what it answers: the values that every judge and every table share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL.Image import Image

from mre.errors import JudgeError
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, TEXT_SEPARATOR, Reward

TASKS = ("reward", "evaluate")          # Fig. 15: a score and what is wrong; Fig. 16: yes or no and a score
PictureSource = Path | str | bytes | Image | Callable[[], Image]


@dataclass(frozen=True)
class Ask:
    """One edit to be judged from the three perspectives. A picture is a file, bytes, an image, or a function that makes one."""

    item: str
    instruction: str
    original: PictureSource
    edited: PictureSource
    method: str = ""
    repeat: int = 0
    scene: Any = None               # the drawn triplet, which only the oracle may look at


@dataclass(frozen=True)
class Verdict:
    """A judge's answer on one perspective. Either `score` is a number in [0, 5] or `error` says why there is none."""

    perspective: str
    score: float | None
    accepted: bool | None = None    # the yes or no of the evaluation prompts
    text: str | None = None         # what is wrong, of the reward prompts; "None": nothing
    raw: str = ""                   # the reply as it came
    judge_version: str = ""         # the model build that the reply names
    seconds: float = 0.0
    cost_usd: float | None = None   # None: the price is not known
    cached: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Verdicts:
    """Three verdicts on one edit, in the order of PERSPECTIVES."""

    judge: str
    task: str
    verdicts: tuple[Verdict, Verdict, Verdict]

    def __iter__(self):
        return iter(self.verdicts)

    def __getitem__(self, perspective: str) -> Verdict:
        return self.verdicts[PERSPECTIVES.index(perspective)]

    @property
    def errors(self) -> dict[str, str]:
        """Perspective -> why it has no score. Empty when all three were answered."""
        return {verdict.perspective: verdict.error for verdict in self.verdicts if verdict.error is not None}

    @property
    def scores(self) -> tuple[float | None, ...]:
        """The three scores; None where the judge gave none."""
        return tuple(verdict.score for verdict in self.verdicts)

    @property
    def judge_version(self) -> str:
        """The model build; where the three answers came from several, all of them."""
        return ", ".join(sorted({verdict.judge_version for verdict in self.verdicts if verdict.judge_version}))

    @property
    def seconds(self) -> float:
        return sum(verdict.seconds for verdict in self.verdicts)

    def reward(self) -> Reward:
        """The verdicts as a training reward. Raises JudgeError when a perspective has no answer: a missing score is no score."""
        if self.errors:
            raise JudgeError("; ".join(f"{name}: {error}" for name, error in self.errors.items()))
        separator = TEXT_SEPARATOR.strip()           # it would shift the perspectives inside the joined reward text
        texts = [(verdict.text or NOTHING_WRONG).replace(separator, ",") for verdict in self.verdicts]
        return Reward.of(self.scores, texts)


@dataclass
class Tally:
    """What a run of questions came to: for the line printed at its end."""

    edits: int = 0
    calls: int = 0              # requests sent, retries included
    retries: int = 0
    cached: int = 0             # answers taken from the cache
    failed: int = 0             # perspectives without an answer
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    builds: Counter = field(default_factory=Counter)
    stopped: str | None = None  # why it ended early; None: everything was asked

    def __str__(self) -> str:
        cost = "price unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        builds = ", ".join(f"{build} x {count}" for build, count in self.builds.most_common()) or "none"
        return (f"{self.edits} edits judged, {self.calls} requests ({self.retries} of them retries), {self.cached} answers from the cache, "
                f"{self.failed} failed, {self.input_tokens} + {self.output_tokens} tokens, {cost}; model builds: {builds}")


class Judge(Protocol):
    """Anything that scores an edit from the three perspectives."""

    name: str
    is_paid: bool

    def score(self, original: PictureSource, edited: PictureSource, instruction: str, task: str = "evaluate",
              scene: Any = None) -> Verdicts:
        """Judge one edit. Raises JudgeError when the judge cannot be asked at all; a failed perspective is a Verdict with `error`."""

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """Judge many, as many at a time as the judge allows; `on_verdicts` hears of each edit once, in the order of `asks`."""


def checked_task(task: str) -> str:
    """`task`, or JudgeError."""
    if task not in TASKS:
        raise JudgeError(f"a judge's task is one of {', '.join(TASKS)}, got {task!r}")
    return task

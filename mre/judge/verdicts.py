"""What a judge is asked and what it answers: the values that every judge and every table share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from PIL.Image import Image

from mre.errors import ImageError, JudgeError, JudgeUsedUpError
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, TEXT_SEPARATOR, Reward
from mre.text import storable

if TYPE_CHECKING:
    from mre.paid.budget import Forecast, Limits
    from mre.paid.cache import AnswerCache
    from mre.paid.connection import Endpoint

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
    deviation: float | None = None  # standard deviation of the score, where the judge knows its own doubt
    raw: str = ""                   # the reply as it came
    judge_version: str = ""         # the model build that the reply names
    seconds: float = 0.0
    cost_usd: float | None = None   # None: the price is not known
    cached: bool = False
    error: str | None = None
    perhaps_paid: bool = False      # with an error: the judge was asked, no answer came, and it may charge for it

    def __post_init__(self) -> None:
        for name in ("text", "raw"):            # what a model writes may hold half a character; paid answers must be kept all the same
            if value := getattr(self, name):
                object.__setattr__(self, name, storable(value))


@dataclass(frozen=True)
class Verdicts:
    """A judge's verdicts on one edit, one for each perspective that it knows, in the order of PERSPECTIVES."""

    judge: str
    task: str
    verdicts: tuple[Verdict, ...]

    def __iter__(self):
        return iter(self.verdicts)

    def __getitem__(self, perspective: str) -> Verdict:
        for verdict in self.verdicts:
            if verdict.perspective == perspective:
                return verdict
        raise JudgeError(f"{self.judge} does not score {perspective}")

    @property
    def errors(self) -> dict[str, str]:
        """Perspective -> why it has no score. Empty when all were answered."""
        return {verdict.perspective: verdict.error for verdict in self.verdicts if verdict.error is not None}

    @property
    def scores(self) -> tuple[float | None, ...]:
        """Scores in the order of PERSPECTIVES; None where the judge gave none, or does not know the perspective."""
        given = {verdict.perspective: verdict.score for verdict in self.verdicts}
        return tuple(given.get(name) for name in PERSPECTIVES)

    @property
    def judge_version(self) -> str:
        """The model build; where the answers came from several, all of them."""
        return ", ".join(sorted({verdict.judge_version for verdict in self.verdicts if verdict.judge_version}))

    @property
    def seconds(self) -> float:
        return sum(verdict.seconds for verdict in self.verdicts)

    def reward(self) -> Reward:
        """The verdicts as a training reward. Raises JudgeError when a perspective has no answer: a missing score is no score."""
        if self.errors:
            raise JudgeError("; ".join(f"{name}: {error}" for name, error in self.errors.items()))
        separator = TEXT_SEPARATOR.strip()           # it would shift the perspectives inside the joined reward text
        texts = [(self[name].text or NOTHING_WRONG).replace(separator, ",") for name in PERSPECTIVES]
        return Reward.of(self.scores, texts)


@dataclass
class Tally:
    """What a run of questions came to: for the line printed at its end."""

    edits: int = 0
    calls: int = 0              # requests sent, retries included
    retries: int = 0
    cached: int = 0             # answers taken from the cache
    failed: int = 0             # perspectives without an answer
    perhaps_paid: int = 0       # of these, that the judge was asked without its answer arriving
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    builds: Counter = field(default_factory=Counter)
    stopped: str | None = None  # why it ended early; None: everything was asked

    def add(self, other: Tally) -> None:
        """Count another run's questions with these."""
        for name in ("edits", "calls", "retries", "cached", "failed", "perhaps_paid", "input_tokens", "output_tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost_usd = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        self.builds += other.builds
        self.stopped = self.stopped or other.stopped

    def __str__(self) -> str:
        cost = "price unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        builds = ", ".join(f"{build} x {count}" for build, count in self.builds.most_common()) or "none"
        unheard = f" ({self.perhaps_paid} of them perhaps paid: --ask-again asks again)" if self.perhaps_paid else ""
        return (f"{self.edits} edits judged, {self.calls} requests ({self.retries} of them retries), {self.cached} answers from the cache, "
                f"{self.failed} failed{unheard}, {self.input_tokens} + {self.output_tokens} tokens, {cost}; model builds: {builds}")


class Judge(Protocol):
    """Anything that scores an edit. `perspectives`: those that it scores, in the order of PERSPECTIVES; `version`: what tells its answers
    from those of another build under the same name."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def perspectives(self) -> tuple[str, ...]: ...

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """Judge many, as many at a time as the judge allows; `on_verdicts` hears of each edit once, in the order of `asks`.

        A failed perspective is a Verdict with `error`. Raises JudgeError when the judge cannot be asked at all.
        """
        ...


class OpenedJudge(Judge, Protocol):
    """A judge as `make_judge` gives it: its answers are kept in `cache`. One that `is_paid` is a PaidJudge."""

    is_paid: bool
    cache: AnswerCache


class PaidJudge(OpenedJudge, Protocol):
    """A judge whose answers cost money: what a run would cost can be known before, and limited."""

    limits: Limits
    endpoint: Endpoint

    def forecast(self, asks: Iterable[Ask], task: str) -> Forecast:
        """What judging would send and cost now."""
        ...


def costs_money(judge: OpenedJudge) -> TypeGuard[PaidJudge]:
    """Whether a judge is a PaidJudge."""
    return judge.is_paid


def score_one(judge: Judge, ask: Ask, task: str) -> Verdicts:
    """Judge one edit. Raises JudgeError when the judge cannot be asked, JudgeUsedUpError when its budget forbids it."""
    heard: list[Verdicts] = []
    tally = judge.score_all([ask], task, lambda _, verdicts: heard.append(verdicts))
    if not heard:
        raise JudgeUsedUpError(tally.stopped or "the judge was not asked")
    return heard[0]


def one_by_one(judge: Judge, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None],
               score: Callable[[Ask], Iterable[Verdict]]) -> Tally:
    """`score_all` of a judge that scores one edit at a time. A picture that cannot be read fails its edit, and the rest goes on."""
    checked_task(task)
    tally = Tally()
    for ask in asks:
        started = time.perf_counter()
        try:
            verdicts = tuple(score(ask))
            share = (time.perf_counter() - started) / max(1, len(verdicts))
            verdicts = tuple(replace(verdict, judge_version=judge.version, seconds=share, cost_usd=0.0) for verdict in verdicts)
        except ImageError as error:
            verdicts = tuple(Verdict(name, None, judge_version=judge.version, error=f"{ask.item}: {error}") for name in judge.perspectives)
        tally.edits += 1
        tally.failed += sum(verdict.error is not None for verdict in verdicts)
        tally.builds[judge.version] += sum(verdict.error is None for verdict in verdicts)
        on_verdicts(ask, Verdicts(judge.name, task, verdicts))
    return tally


def checked_task(task: str) -> str:
    """`task`, or JudgeError."""
    if task not in TASKS:
        raise JudgeError(f"a judge's task is one of {', '.join(TASKS)}, got {task!r}")
    return task

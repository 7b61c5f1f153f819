"""A judge's answers about the edits of a benchmark, and scores looked up in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mre.benchmark.tables import Cell, gain_cell, mean_cell

if TYPE_CHECKING:
    from mre.benchmark.items import Item

Key = tuple[str, int]       # item, repeat


@dataclass(frozen=True)
class Answer:
    """One judge's answer on one perspective of one edit. `score` None: there is no answer, and `error` says why."""

    item: str
    method: str
    judge: str
    judge_version: str
    repeat: int
    perspective: str
    score: float | None
    accepted: bool | None
    text: str | None
    raw: str
    seconds: float
    cost_usd: float | None
    error: str | None = None
    deviation: float | None = None


class Scores:
    """Answers by method and perspective. What was never asked (no edit, budget used up) is missing like what failed."""

    def __init__(self, answers: Sequence[Answer], items: Sequence[Item]) -> None:
        self.items = list(items)
        self.groups = {item.item: item.group for item in items}
        self.repeats = max((answer.repeat for answer in answers), default=0) + 1
        self.judges = Counter((answer.judge, answer.judge_version) for answer in answers if answer.score is not None)
        self._answers = {(answer.method, answer.perspective, answer.item, answer.repeat): answer for answer in answers}

    def keys(self, items: Sequence[Item] | None = None) -> list[Key]:
        return [(item.item, repeat) for item in (self.items if items is None else items) for repeat in range(self.repeats)]

    def answers(self, method: str, perspective: str, keys: Sequence[Key]) -> list[Answer | None]:
        return [self._answers.get((method, perspective, *key)) for key in keys]

    def values(self, method: str, perspective: str, keys: Sequence[Key]) -> list[float | None]:
        """Scores in the order of `keys`; None where there is none."""
        return [answer.score if answer else None for answer in self.answers(method, perspective, keys)]

    def accepted(self, method: str, perspective: str, keys: Sequence[Key]) -> list[float | None]:
        """Yes as 1, no as 0; None where the answer is missing, score and yes/no together or not at all."""
        return [None if answer is None or answer.score is None or answer.accepted is None else float(answer.accepted)
                for answer in self.answers(method, perspective, keys)]

    def of(self, keys: Sequence[Key]) -> list[str]:
        return [self.groups[item] for item, _ in keys]

    def mean(self, method: str, perspective: str, items: Sequence[Item] | None = None) -> Cell:
        """Mean score with its interval over pictures."""
        keys = self.keys(items)
        return mean_cell(self.values(method, perspective, keys), self.of(keys))

    def accuracy(self, method: str, perspective: str, items: Sequence[Item] | None = None) -> Cell:
        """Share of yes."""
        keys = self.keys(items)
        return mean_cell(self.accepted(method, perspective, keys), self.of(keys), percent=True)

    def gain(self, method: str, against: str, perspective: str, items: Sequence[Item] | None = None) -> Cell:
        """Mean difference of scores on the same items."""
        keys = self.keys(items)
        return gain_cell(self.values(method, perspective, keys), self.values(against, perspective, keys), self.of(keys))

    def accuracy_gain(self, method: str, against: str, perspective: str) -> Cell:
        """Mean difference of yes (1) and no (0) on the same items, in points of per cent."""
        keys = self.keys()
        gained = gain_cell(self.accepted(method, perspective, keys), self.accepted(against, perspective, keys), self.of(keys))
        return replace(gained, percent=True)

    def judge_note(self) -> str:
        """Who judged, in which builds."""
        builds = ", ".join(f"{version} x {count}" for (_, version), count in self.judges.most_common())
        return f"Judge: {', '.join(sorted({judge for judge, _ in self.judges})) or 'none'}; builds: {builds or 'none'}."

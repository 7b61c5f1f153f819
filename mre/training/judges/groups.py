"""What judges learn from: groups of edits of one original, with scores, preferences or both, from any source. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    import numpy as np

    from mre.judge.verdicts import PictureSource

Preferred = tuple[float | None, ...]            # per perspective and for the whole: 1 first better, 0 tie, -1 second better, None not said


@dataclass(frozen=True)
class DrawnEdit:
    """What is known of an edit that was drawn. Pictures (H, W, 3) uint8, mask (H, W) bool.

    target: the clean edit; followed: the edit before anything was spoiled; mask: where target and original differ
    kinds: of the defect in each perspective, "" for none
    """

    target: np.ndarray
    followed: np.ndarray
    mask: np.ndarray
    kinds: tuple[str, str, str]


@dataclass(frozen=True)
class LabelledEdit:
    """One edit, and what one annotator or judge scored. `step`: of the grid of scores; a score lies half a step around."""

    instruction: str
    original: PictureSource
    edited: PictureSource
    scores: tuple[float | None, ...] = (None,) * len(PERSPECTIVES)
    step: float = 1.0
    annotator: str = ""                 # empty: nobody in particular
    edit_type: str = ""
    item: str = ""
    method: str = ""
    drawn: DrawnEdit | None = None


@dataclass(frozen=True)
class Preference:
    """What was said of two edits of a group."""

    first: int
    second: int
    preferred: Preferred


@dataclass(frozen=True)
class LabelledGroup:
    """Edits of one original under one instruction. `source` names the original picture: a source is never both trained on and held out."""

    source: str
    edits: tuple[LabelledEdit, ...]
    preferences: tuple[Preference, ...] = ()

    def all_preferences(self) -> tuple[Preference, ...]:
        """Those that were said, or where none were, those that follow from the scores that one annotator gave."""
        if self.preferences:
            return self.preferences
        found = []
        for one, other in combinations(range(len(self.edits)), 2):
            a, b = self.edits[one], self.edits[other]
            if a.annotator == b.annotator and any(score is not None for score in a.scores):
                found.append(Preference(one, other, compared(a.scores, b.scores)))
        return tuple(found)


def compared(first: Sequence[float | None], second: Sequence[float | None]) -> Preferred:
    """Which of two has the higher score, per perspective, and in the sum where all are known."""
    each = [None if a is None or b is None else float((a > b) - (a < b)) for a, b in zip(first, second, strict=True)]
    if any(value is None for value in (*first, *second)):
        return (*each, None)
    a, b = sum(value for value in first if value is not None), sum(value for value in second if value is not None)
    return (*each, float((a > b) - (a < b)))


class GroupSource(Protocol):
    """Groups in a fixed order. Where each time round may show something else of a group, `round` says which time it is."""

    name: str

    def __len__(self) -> int: ...

    def source_of(self, number: int) -> str:
        """The original picture of a group, without drawing or reading it."""
        ...

    def group(self, number: int, round: int = 0) -> LabelledGroup: ...

    def held_out(self, most: int, seed: int) -> GroupSource | None:
        """Groups to hold out that are no part of this source, where it has such; None: some of its own originals are held out."""
        ...


class GroupList:
    """Groups that are all known."""

    def __init__(self, name: str, groups: Sequence[LabelledGroup]) -> None:
        self.name = name
        self._groups = list(groups)

    def __len__(self) -> int:
        return len(self._groups)

    def source_of(self, number: int) -> str:
        return self._groups[number].source

    def group(self, number: int, round: int = 0) -> LabelledGroup:
        del round
        return self._groups[number]

    def held_out(self, most: int, seed: int) -> GroupSource | None:
        return None


class ChosenGroups:
    """Some groups of a source."""

    def __init__(self, source: GroupSource, numbers: Sequence[int]) -> None:
        self.name, self._source, self._numbers = source.name, source, list(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def source_of(self, number: int) -> str:
        return self._source.source_of(self._numbers[number])

    def group(self, number: int, round: int = 0) -> LabelledGroup:
        return self._source.group(self._numbers[number], round)

    def held_out(self, most: int, seed: int) -> GroupSource | None:
        return None


def share_of(source: str, salt: str) -> float:
    """A number in [0, 1) that depends on the source alone: an original falls on the same side in every data set that names it alike, such
    as a study in a store and its export."""
    return int.from_bytes(hashlib.sha256(f"{salt} {source}".encode()).digest()[:8], "big") / 2**64


def split(source: GroupSource, share: float, most: int, seed: int) -> tuple[GroupSource, GroupSource]:
    """(To train on, held out), by original picture."""
    if (apart := source.held_out(most, seed)) is not None:
        return source, apart
    places = [share_of(source.source_of(number), "held out") for number in range(len(source))]
    held = [number for number, place in enumerate(places) if place < share]
    return ChosenGroups(source, [n for n, place in enumerate(places) if place >= share]), ChosenGroups(source, held[:most])

"""What people said of edits in a public set: which of some edits of one photo is better, or a number for each edit. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from mre.errors import DataError

Picture = Path | bytes
OVERALL = "overall"
GOOD, BAD = "good", "bad"                                   # both edits of a tie
_TIES = re.compile(r"=\s*(GOOD|BAD)\b", re.IGNORECASE)      # "A=B=Good": both are good
_RANKING = re.compile(r"[A-Z]([>=][A-Z])*|[A-Z]([<=][A-Z])*")


@dataclass(frozen=True)
class Edit:
    """One edit of a photo. `name` is its own in the set: what recorded scores call it."""

    name: str
    picture: Picture
    method: str = ""


@dataclass(frozen=True)
class Choice:
    """Edits of one photo under one instruction, and what people said of pairs of them."""

    id: str
    instruction: str
    original: Picture
    photo: str                                  # what choices of the same photo share: intervals are drawn over photos
    edits: tuple[Edit, ...]
    pairs: tuple[tuple[int, int, int], ...]     # places of two edits; 1: the first is better, -1: the second, 0: a tie
    aspect: str = OVERALL                       # a perspective, or all things together
    task: str = ""
    tie: str = ""                               # of two edits that are alike to people, where they were asked: GOOD or BAD

    @property
    def lacks(self) -> str:
        """Why it cannot be judged; empty where it can."""
        return _lacks([self.original, *(edit.picture for edit in self.edits)])


@dataclass(frozen=True)
class Rating:
    """One edit with people's mean score on the set's own scale."""

    instruction: str
    original: Picture
    photo: str
    edit: Edit
    score: float

    @property
    def lacks(self) -> str:
        """Why it cannot be judged; empty where it can."""
        return _lacks([self.original, self.edit.picture])


@dataclass(frozen=True)
class JudgeSet:
    """A public set by which judges are measured. `refused`: entries that say two things at once, or show what no judge here takes."""

    name: str
    choices: tuple[Choice, ...] = ()
    ratings: tuple[Rating, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)       # id -> reason

    def __post_init__(self) -> None:
        if not self.choices and not self.ratings:
            raise DataError(f"{self.name}: holds nothing that judges could be measured by")


def _lacks(pictures: Iterable[Picture]) -> str:
    return "missing_image" if any(not picture if isinstance(picture, bytes) else not picture.is_file() for picture in pictures) else ""


def once(name: str, choices: Iterable[Choice]) -> JudgeSet:
    """Each choice once: the same again is left out; one id with different orders, or a choice without any, is refused."""
    found: dict[str, Choice] = {}
    refused: dict[str, str] = {}
    for choice in choices:
        before = found.setdefault(choice.id, choice)
        if not choice.pairs or (before.pairs, before.tie, before.instruction) != (choice.pairs, choice.tie, choice.instruction):
            refused[choice.id] = "conflict"
    return JudgeSet(name, tuple(choice for key, choice in found.items() if key not in refused), refused=refused)


def pairs_of_ranks(ranks: Sequence[float]) -> tuple[tuple[int, int, int], ...]:
    """All pairs of edits whose ranks (larger is better) are given."""
    return tuple((first, second, (ranks[first] > ranks[second]) - (ranks[first] < ranks[second]))
                 for first, second in combinations(range(len(ranks)), 2))


def ranks_of(ranking: str, count: int, where: str) -> tuple[float, ...]:
    """The ranks of `A>B=C` or `B=C<A` for edits A, B, C; "A=B=Good" and "A=B=Bad" are ties. Raises DataError."""
    plain = _TIES.sub("", ranking.replace(" ", "")).upper()
    letters = [chr(ord("A") + place) for place in range(count)]
    levels = [level.split("=") for level in (plain.split("<")[::-1] if "<" in plain else plain.split(">"))]
    if not _RANKING.fullmatch(plain) or sorted(letter for level in levels for letter in level) != letters:
        raise DataError(f"{where}: a ranking of {', '.join(letters)} is needed, such as {'>'.join(letters)}, got {ranking!r}")
    rank = {letter: float(len(levels) - place) for place, level in enumerate(levels) for letter in level}
    return tuple(rank[letter] for letter in letters)


def questions_of(judge_set: JudgeSet) -> Iterator[tuple[str, str, Picture, Edit]]:
    """Every distinct edit that can be judged, once: photo, instruction, original, edit."""
    seen: set[str] = set()
    for choice in judge_set.choices:
        for edit in () if choice.lacks else choice.edits:
            if edit.name not in seen:
                seen.add(edit.name)
                yield choice.photo, choice.instruction, choice.original, edit
    for rating in judge_set.ratings:
        if not rating.lacks and rating.edit.name not in seen:
            seen.add(rating.edit.name)
            yield rating.photo, rating.instruction, rating.original, rating.edit



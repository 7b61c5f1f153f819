"""Reward data to look through: the data sets of a folder, rows filtered by score and word, and the pictures that rows name."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mre.data.reward_statistics import RewardStatistics, statistics
from mre.data.rewardedit import TripletReward, read_rewards
from mre.data.sources import SceneSource, named_picture
from mre.errors import DataError
from mre.rewards import PERSPECTIVES

DRAWN = "synthetic scenes"
DRAWN_COUNT = 140


@dataclass(frozen=True)
class RewardData:
    """One data set: its rows, and the folder that names of pictures are relative to."""

    name: str
    rows: tuple[TripletReward, ...]
    beside: Path

    @functools.cached_property
    def statistics(self) -> RewardStatistics:
        return statistics(row.reward for row in self.rows)

    def picture(self, name: str) -> Image.Image | None:
        """The picture of that name; None where a row names none. Raises DataError or ImageError when it cannot be found or read."""
        return named_picture(name, self.beside) if name else None


@dataclass(frozen=True)
class Filter:
    """Which rows to look at: a perspective's score between two values, and a word in what is wrong or in the instruction."""

    perspective: str | None = None      # None: on any perspective
    lowest: float = 0.0
    highest: float = 5.0
    word: str = ""

    def __post_init__(self) -> None:
        if self.perspective is not None and self.perspective not in PERSPECTIVES:
            raise DataError(f"perspective must be one of {', '.join(PERSPECTIVES)}, got {self.perspective!r}")
        for name in ("lowest", "highest"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 5:
                raise DataError(f"{name} score must be between 0 and 5, got {value!r}")

    def accepts(self, row: TripletReward) -> bool:
        """A row passes when one and the same perspective has the score, and the word stands in its text or in the instruction."""
        word = self.word.strip().casefold()
        in_instruction = bool(word) and word in row.instruction.casefold()
        for name, score, text in zip(PERSPECTIVES, row.reward.scores, row.reward.texts, strict=True):
            if self.perspective in (None, name) and self.lowest <= score <= self.highest and (
                    not word or in_instruction or word in text.casefold()):
                return True
        return False


def filtered(data: RewardData, wanted: Filter) -> list[TripletReward]:
    """The rows that pass, in their order."""
    return [row for row in data.rows if wanted.accepts(row)]


def frequent_words(data: RewardData, perspective: str | None, most: int = 40) -> list[tuple[str, int]]:
    """The words that say what is wrong, most frequent first."""
    counts: dict[str, int] = {}
    for name in PERSPECTIVES if perspective is None else (perspective,):
        for word, count in data.statistics.words[name].items():
            counts[word] = counts.get(word, 0) + count
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def names_of_data(folder: Path) -> list[str]:
    """Data sets that can be opened: synthetic scenes, and the reward files of a folder."""
    files = sorted(path.name for ending in ("jsonl", "json") for path in folder.glob(f"*.{ending}") if ".failed." not in path.name)
    return [DRAWN, *(name for name in files if name.endswith(".jsonl") or f"{name}l" not in files)]      # two forms, one name


def open_data(folder: Path, name: str) -> RewardData:
    """A data set by one of the names that `names_of_data` gives. Raises DataError for any other name, or a faulty file."""
    if name == DRAWN:
        return drawn_data()
    if name not in names_of_data(folder):
        raise DataError(f"there is no data set {name[:60]!r}")
    path = folder / name
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> RewardData:
    return RewardData(path.name, tuple(read_rewards(path).values()), path.parent)


@functools.lru_cache(maxsize=1)
def drawn_data() -> RewardData:
    """Some of the triplets that the embedded model was trained on, with their true rewards."""
    return RewardData(DRAWN, tuple(_drawn(SceneSource(DRAWN_COUNT))), Path())


def _drawn(triplets: Sequence) -> Iterator[TripletReward]:
    for triplet in triplets:
        yield TripletReward(triplet.id, triplet.scene().reward, triplet.instruction, triplet.original_name, triplet.edited_name)

"""Triplets (instruction, original, edited): one record, and what every source of them is. No torch here."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

from PIL import Image

from mre.errors import DataError, MreError
from mre.imaging import open_image

SIDES = ("original", "edited")
PictureSource = Path | bytes | Callable[[], Image.Image]


class TripletText(NamedTuple):
    """What can be known of a triplet without its pictures."""

    id: str
    instructions: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The id without its seed: what RewardEdit's released form uses as a key."""
        return self.id.rpartition("/")[0] or self.id


@dataclass(frozen=True)
class Triplet:
    """One triplet. An instruction may be worded in several ways; pictures are files, bytes, or drawn when they are asked for."""

    id: str                             # `FOLDER/SEED` of a tree, `FILE.parquet#ROW`, or what its source calls it
    instructions: tuple[str, ...]
    original: PictureSource
    edited: PictureSource
    key: str = ""                       # what the released form of RewardEdit calls it; empty: its id
    original_name: str = ""             # finds the picture again, relative to a folder that the source was opened for
    edited_name: str = ""
    scene: Callable | None = None       # draws the synthetic scene, for the oracle

    @property
    def instruction(self) -> str:
        """The first wording."""
        return self.instructions[0]

    @property
    def text(self) -> TripletText:
        return TripletText(self.id, self.instructions)

    def open(self) -> tuple[Image.Image, Image.Image]:
        """Original and edited picture, RGB. Raises ImageError for one that cannot be read, DataError where their shapes differ."""
        original, edited = (_opened(getattr(self, side), f"{self.id} ({side})") for side in SIDES)
        if original.size != edited.size:
            raise DataError(f"{self.id}: original is {original.width}x{original.height}, edited {edited.width}x{edited.height}")
        return original, edited


def row_name(file: Path, row: int, beside: Path | None) -> str:
    """What finds a row of a file again, relative to a folder; to the file's own where that is None."""
    return f"{file.name if beside is None else Path(os.path.relpath(file, beside)).as_posix()}#{row}"


def blocks_of(chosen: Sequence[int], starts: Sequence[int]) -> list[list[int]]:
    """Places in `chosen` of the rows that lie in one block, by the first row of each block, ascending."""
    blocks: dict[int, list[int]] = {}
    for place, row in enumerate(chosen):
        blocks.setdefault(bisect_right(starts, row), []).append(place)
    return list(blocks.values())


class TripletFault(NamedTuple):
    """A place of a source where no whole triplet is, and why."""

    id: str
    error: MreError


def _opened(source: PictureSource, name: str) -> Image.Image:
    if callable(source):
        return source()
    return open_image(source, name=name if isinstance(source, bytes) else None)


class TripletSource(Sequence[Triplet]):
    """Where triplets come from, in a fixed order. A source may read them when they are looked at."""

    def at(self, number: int) -> Triplet:
        """One triplet."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Triplet: ...

    @overload
    def __getitem__(self, index: slice) -> TripletSource: ...

    def __getitem__(self, index: int | slice) -> Triplet | TripletSource:
        return self.choose(range(*index.indices(len(self)))) if isinstance(index, slice) else self.at(index)

    def texts(self) -> list[TripletText]:
        """Ids and instructions of all, without their pictures where the source can."""
        return [triplet.text for triplet in self]

    @property
    def blocks(self) -> list[list[int]]:
        """Numbers of the triplets that are read together, where some are: who goes through them block by block reads everything once."""
        return []

    def choose(self, numbers: Sequence[int]) -> TripletSource:
        """Some of the triplets, in this order."""
        return TripletList(self[number] for number in numbers)


class TripletList(TripletSource):
    """Triplets that are all known."""

    def __init__(self, triplets: Iterable[Triplet]) -> None:
        self._triplets = list(triplets)

    def __len__(self) -> int:
        return len(self._triplets)

    def at(self, number: int) -> Triplet:
        return self._triplets[number]

"""What is scored: triplets of any source, the edits of a benchmark, or rows of JSONL, one at a time. No torch here."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mre.data.sources import is_row, named_picture, scene_of_picture, stream_triplets
from mre.data.triplets import PictureSource, TripletFault
from mre.errors import DataError
from mre.files import JSON_LINES, read_table
from mre.judge.verdicts import Ask
from mre.scoring.files import ScoredEdit

NEEDED = ("instruction", "original", "edited")
TRIPLETS = "edited"             # what the method is called where a manifest names none


class Question(NamedTuple):
    """One edit to be scored, and what the judge is shown."""

    edit: ScoredEdit
    ask: Ask


@dataclass(frozen=True)
class Shard:
    """Every `of`-th row, from row `number` on (1-based): several runs share a manifest."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/8`. Raises DataError."""
        number, slash, of = text.partition("/")
        if not slash or not number.isdecimal() or not of.isdecimal() or not 1 <= int(number) <= int(of):
            raise DataError(f"--shard must look like 2/8, the second of eight, got {text!r}")
        return cls(int(number), int(of))

    def __contains__(self, place: int) -> bool:
        return place % self.of == self.number - 1


class Manifest:
    """The edits that a name stands for, read from the beginning each time that they are asked for.

    source: a folder with edits.csv, an InstructPix2Pix tree, Parquet files, `scenes:N`; or a CSV or JSONL with the columns instruction,
    original and edited, and id, or item and method. Names of pictures that go into files are relative to the folder `beside`.
    """

    def __init__(self, source: str, beside: Path, shard: Shard | None = None, limit: int | None = None) -> None:
        """Raises DataError for a source that cannot be read."""
        self.source, self.beside, self.shard, self.limit = source, beside, shard or Shard(), limit
        path = Path(source)
        edits = path / "edits.csv"
        self._table = edits if edits.is_file() else path if path.suffix.lower() in (".csv", *JSON_LINES) else None
        if next(self._rows(), None) is None:
            raise DataError(f"{source}: holds nothing to score")

    def __iter__(self) -> Iterator[Question | TripletFault]:
        """Rows of this shard. A row that is not whole, or has the name of one before it, is a fault."""
        for place, row in enumerate(self._rows()):
            if place == self.limit:
                return
            if place in self.shard:
                yield row

    def _rows(self) -> Iterator[Question | TripletFault]:
        return _of_table(self._table, self.beside) if self._table else _of_triplets(self.source, self.beside)


def _of_triplets(source: str, beside: Path) -> Iterator[Question | TripletFault]:
    for triplet in stream_triplets(source, beside):
        if isinstance(triplet, TripletFault):
            yield triplet
            continue
        edit = ScoredEdit(triplet.id, triplet.id, TRIPLETS, triplet.instruction, triplet.original_name, triplet.edited_name, triplet.key)
        yield Question(edit, Ask(triplet.id, triplet.instruction, triplet.original, triplet.edited, TRIPLETS, scene=triplet.scene))


def _of_table(path: Path, beside: Path) -> Iterator[Question | TripletFault]:
    seen: set[str] = set()
    for number, (line, row) in enumerate(read_table(path, needed=NEEDED), 1):
        cells = {name: value.strip() for name, value in row.items()}
        item = cells.get("item") or cells.get("id") or str(number)
        method = cells.get("method") or TRIPLETS
        name = cells.get("id") or (f"{method}/{item}" if cells.get("method") else item)
        empty = next((column for column in NEEDED if not cells[column]), None)
        if empty or name in seen:
            yield TripletFault(name, DataError(f"{path}: row {line}: " + (f"{empty} is empty" if empty else f"duplicate id {name!r}")))
            continue
        seen.add(name)
        original, edited = (_picture(cells[side], path.parent) for side in ("original", "edited"))
        original_name, edited_name = (_renamed(cells[side], path.parent, beside) for side in ("original", "edited"))
        edit = ScoredEdit(name, item, method, cells["instruction"], original_name, edited_name, cells.get("key", ""))
        yield Question(edit, Ask(item, edit.instruction, original, edited, method, scene=scene_of_picture(cells["original"])))


def _picture(name: str, beside: Path) -> PictureSource:
    """A file as a path, which costs nothing before it is read; what has to be drawn or looked up as what does so."""
    return functools.partial(named_picture, name, beside) if _is_made(name) else beside / name


def _is_made(name: str) -> bool:
    return scene_of_picture(name) is not None or is_row(name)


def _renamed(name: str, beside: Path, to: Path) -> str:
    """The name of a picture, relative to another folder."""
    if scene_of_picture(name) is not None:
        return name
    return Path(os.path.relpath(beside / name, to)).as_posix()

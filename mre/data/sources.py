"""Triplets by the name of their source: an InstructPix2Pix tree, Parquet or tar files, a CSV, or synthetic scenes. No torch here.

Every picture of a source has a name that finds it again: a path, `FILE.parquet#ROW/original` (or `FILE.tar#ROW/original`), or
`scenes:heldout-7-12/edited?size=128`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

from PIL import Image

from mre.data.pix2pix import open_files, walk_tree
from mre.data.triplets import PictureSource, Triplet, TripletFault, TripletList, TripletSource
from mre.errors import DataError
from mre.files import read_json, read_table
from mre.imaging import open_image

SCENES = "scenes:"
SPLITS = ("train", "heldout")
_NEEDED = ("instruction", "original", "edited")
_SCENE_NAME = re.compile(r"scenes:(?P<split>[a-z]+)-(?P<seed>\d+)-(?P<index>\d+)/(?P<side>original|target|edited)\?size=(?P<size>\d+)")


def open_triplets(source: str, beside: Path) -> TripletSource:
    """The triplets of a source, in a fixed order. Names of pictures are relative to the folder `beside`.

    source: `scenes:N`, `scenes:N?seed=7&split=heldout&size=128`, a CSV with instruction, original, edited (and id), a Parquet or
    tar file, or a folder: an InstructPix2Pix tree, Parquet or tar files. Raises DataError naming what is wrong.
    """
    found = _by_number(source, beside)
    return TripletList(map(_whole, stream_triplets(source, beside))) if found is None else found


def stream_triplets(source: str, beside: Path) -> Iterator[Triplet | TripletFault]:
    """The same triplets one after another: what is not whole is a fault, and the next one follows.

    Raises DataError for a source that cannot be read at all.
    """
    found = _by_number(source, beside)
    path = Path(source)
    if found is not None:
        yield from _numbered(found, source)
    elif path.suffix.lower() == ".csv":
        yield from _from_csv(path, beside)
    else:
        yield from _from_tree(path, beside)


def _by_number(source: str, beside: Path) -> TripletSource | None:
    """A source whose triplets are made when they are looked at; None for one that is read from its beginning."""
    if source.startswith(SCENES):
        return SceneSource.parse(source)
    path = Path(source)
    if path.suffix.lower() == ".csv":
        return None
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"{path}: the folder is empty")
    return open_files(path, beside)


def _numbered(found: TripletSource, source: str) -> Iterator[Triplet | TripletFault]:
    for number in range(len(found)):
        try:
            yield found[number]
        except DataError as error:
            yield TripletFault(f"{source} {number}", error)


def _whole(triplet: Triplet | TripletFault) -> Triplet:
    if isinstance(triplet, TripletFault):
        raise triplet.error
    return triplet


def named_picture(name: str, beside: Path) -> Image.Image:
    """The picture that a name stands for; paths are relative to the folder `beside`. Names come from files that the operator made.

    Raises DataError or ImageError for a name that finds nothing.
    """
    if match := _SCENE_NAME.fullmatch(name):
        triplet = drawn(match["split"], int(match["seed"]), int(match["index"]), int(match["size"]))
        return Image.fromarray(getattr(triplet, match["side"]))
    if is_row(name):
        file, _, rest = name.partition("#")
        row, _, side = rest.partition("/")
        path = beside / file
        rows = _rows(path, path.stat().st_mtime_ns if path.is_file() else 0)
        if not row.isdigit() or int(row) >= len(rows) or side not in ("original", "edited"):
            raise DataError(f"{name}: no such row")
        return open_image(getattr(rows[int(row)], side), name=name)
    return open_image(beside / name, name=name)


def is_row(name: str) -> bool:
    """Whether the name of a picture is that of a row of a Parquet or tar file."""
    return ".parquet#" in name or ".tar#" in name


def scene_of_picture(name: str) -> Callable | None:
    """What draws the scene that the name of a picture speaks of; None for the name of a file."""
    match = _SCENE_NAME.fullmatch(name)
    return functools.partial(drawn, match["split"], int(match["seed"]), int(match["index"]), int(match["size"])) if match else None


@functools.lru_cache(maxsize=4)
def _rows(path: Path, _changed: int) -> TripletSource:
    rows = open_files(path)
    assert rows is not None, "asked of files with rows"
    return rows


@functools.lru_cache(maxsize=64)
def drawn(split: str, seed: int, index: int, size: int, edit_type: str | None = None):
    """One drawn triplet; the last few are remembered, as a triplet's pictures are asked for one by one."""
    from mre.data.scenes.triplets import draw_triplet

    return draw_triplet(seed, index, split, size, edit_type=edit_type)


# -- synthetic scenes -------------------------------------------------------------------------------------------------------------

class SceneSource(TripletSource):
    """The first `count` synthetic triplets of a seed: nothing is drawn before it is looked at."""

    def __init__(self, count: int, seed: int = 0, split: str = "train", size: int = 128) -> None:
        if not 1 <= count <= 10_000_000:
            raise DataError(f"scenes: their number must be between 1 and 10,000,000, got {count}")
        if split not in SPLITS:
            raise DataError(f"scenes: split must be one of {', '.join(SPLITS)}, got {split!r}")
        if not 32 <= size <= 1024:
            raise DataError(f"scenes: size must be between 32 and 1024, got {size}")
        self.total, self.seed, self.split, self.size = count, seed, split, size

    @classmethod
    def parse(cls, source: str) -> SceneSource:
        """From `scenes:560?seed=7&split=heldout&size=128`."""
        count, _, query = source.removeprefix(SCENES).partition("?")
        fields = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if unknown := fields.keys() - {"seed", "split", "size"}:
            raise DataError(f"{source}: knows seed, split and size, not {', '.join(sorted(unknown))}")
        try:
            return cls(int(count), int(fields.get("seed", 0)), fields.get("split", "train"), int(fields.get("size", 128)))
        except ValueError as error:
            raise DataError(f"{source}: must look like scenes:560?seed=7&split=heldout&size=128") from error

    def __len__(self) -> int:
        return self.total

    def at(self, number: int) -> Triplet:
        if not -self.total <= number < self.total:
            raise IndexError(number)
        index = number % self.total
        scene = functools.partial(drawn, self.split, self.seed, index, self.size)
        triplet = scene()
        name = f"{SCENES}{self.split}-{self.seed}-{index}"
        original, edited = f"{name}/original?size={self.size}", f"{name}/edited?size={self.size}"
        return Triplet(triplet.id, (triplet.instruction,), functools.partial(named_picture, original, Path()),
                       functools.partial(named_picture, edited, Path()), original_name=original, edited_name=edited, scene=scene)


# -- files ------------------------------------------------------------------------------------------------------------------------

def _scene_of(tree: Path) -> Callable[[str], Callable | None]:
    """Triplet id -> what draws its scene again, for a tree that `python -m mre scenes` wrote without photos; None for others."""
    try:
        settings = read_json(tree / "settings.json")
        drawing = {"split": settings["split"], "seed": settings["seed"], "size": settings["size"], "edit_type": settings["edit_type"]}
        is_drawn = (tree / "scenes.jsonl").exists() and not settings["photos"]
    except (DataError, KeyError, TypeError):
        is_drawn = False
    if not is_drawn:
        return lambda name: None
    return lambda name: functools.partial(drawn, index=int(name.rpartition("/")[2]), **drawing)


def _from_tree(root: Path, beside: Path) -> Iterator[Triplet | TripletFault]:
    """The triplets of a tree with names of their pictures, and with their scenes where these can be drawn again."""
    scene_of = _scene_of(root)
    for triplet in walk_tree(root):
        yield triplet if isinstance(triplet, TripletFault) else replace(
            triplet, original_name=_relative(triplet.original, beside), edited_name=_relative(triplet.edited, beside),
            scene=scene_of(triplet.id))


def _from_csv(path: Path, beside: Path) -> Iterator[Triplet | TripletFault]:
    seen: set[str] = set()
    for number, (line, row) in enumerate(read_table(path, needed=_NEEDED), 1):
        cells = {name: value.strip() for name, value in row.items()}
        name = cells.get("id") or str(number)
        empty = [column for column in _NEEDED if not cells[column]]
        if empty or name in seen:
            yield TripletFault(name, DataError(f"{path}: row {line}: " + (f"{empty[0]} is empty" if empty else f"duplicate id {name!r}")))
            continue
        seen.add(name)
        original, edited = (path.parent / cells[side] for side in ("original", "edited"))
        yield Triplet(name, (cells["instruction"],), original, edited, original_name=_relative(original, beside),
                      edited_name=_relative(edited, beside))
    if not seen:
        raise DataError(f"{path}: holds no triplets")


def _relative(path: PictureSource, beside: Path) -> str:
    assert isinstance(path, Path), "pictures of a tree or a table are files"
    return Path(os.path.relpath(path, beside)).as_posix()

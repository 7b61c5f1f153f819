"""Triplets by the name of their source: an InstructPix2Pix tree, Parquet, a CSV, or synthetic scenes. No torch here.

Every picture of a source has a name that finds it again: a path, `FILE.parquet#ROW/original`, or `scenes:heldout-7-12/edited?size=128`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

from PIL import Image

from mre.data.pix2pix import ParquetSource, open_pix2pix
from mre.data.triplets import PictureSource, Triplet, TripletList, TripletSource
from mre.errors import DataError
from mre.files import read_filled_table, read_json
from mre.imaging import open_image

SCENES = "scenes:"
SPLITS = ("train", "heldout")
_SCENE_NAME = re.compile(r"scenes:(?P<split>[a-z]+)-(?P<seed>\d+)-(?P<index>\d+)/(?P<side>original|target|edited)\?size=(?P<size>\d+)")


def open_triplets(source: str, beside: Path) -> TripletSource:
    """The triplets of a source, in a fixed order. Names of pictures are relative to the folder `beside`.

    source: `scenes:N`, `scenes:N?seed=7&split=heldout&size=128`, a CSV with instruction, original, edited (and id), a Parquet file,
    or a folder: an InstructPix2Pix tree or Parquet files. Raises DataError naming what is wrong.
    """
    if source.startswith(SCENES):
        return SceneSource.parse(source)
    path = Path(source)
    if path.suffix.lower() == ".csv":
        return _from_csv(path, beside)
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"{path}: the folder is empty")
    found = open_pix2pix(path)
    return found if isinstance(found, ParquetSource) else _named(found, beside, _scene_of(path))


def named_picture(name: str, beside: Path) -> Image.Image:
    """The picture that a name stands for; paths are relative to the folder `beside`. Names come from files that the operator made.

    Raises DataError or ImageError for a name that finds nothing.
    """
    if match := _SCENE_NAME.fullmatch(name):
        triplet = drawn(match["split"], int(match["seed"]), int(match["index"]), int(match["size"]))
        return Image.fromarray(getattr(triplet, match["side"]))
    if ".parquet#" in name:
        file, _, rest = name.partition("#")
        row, _, side = rest.partition("/")
        path = beside / file
        rows = _parquet(path, path.stat().st_mtime_ns if path.is_file() else 0)
        if not row.isdigit() or int(row) >= len(rows) or side not in ("original", "edited"):
            raise DataError(f"{name}: no such row")
        return open_image(getattr(rows[int(row)], side), name=name)
    return open_image(beside / name, name=name)


@functools.lru_cache(maxsize=4)
def _parquet(path: Path, _changed: int) -> ParquetSource:
    return ParquetSource([path])


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


def _named(found: TripletList, beside: Path, scene_of: Callable[[str], Callable | None]) -> TripletList:
    """The triplets of a tree with names of their pictures, and with their scenes where these can be drawn again."""
    return TripletList(replace(triplet, original_name=_relative(triplet.original, beside), edited_name=_relative(triplet.edited, beside),
                               scene=scene_of(triplet.id)) for triplet in found)


def _from_csv(path: Path, beside: Path) -> TripletList:
    triplets: list[Triplet] = []
    seen: set[str] = set()
    for number, (line, row) in enumerate(read_filled_table(path, ("instruction", "original", "edited")), 1):
        name = row.get("id") or str(number)
        if name in seen:
            raise DataError(f"{path}: row {line}: duplicate id {name!r}")
        seen.add(name)
        original, edited = (path.parent / row[side] for side in ("original", "edited"))
        triplets.append(Triplet(name, (row["instruction"],), original, edited, original_name=_relative(original, beside),
                                edited_name=_relative(edited, beside)))
    if not triplets:
        raise DataError(f"{path}: holds no triplets")
    return TripletList(triplets)


def _relative(path: PictureSource, beside: Path) -> str:
    assert isinstance(path, Path), "pictures of a tree or a table are files"
    return Path(os.path.relpath(path, beside)).as_posix()

"""What is edited in a benchmark: Real-Edit, MagicBrush, items of one's own, or synthetic scenes."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mre.data.magicbrush import read_magicbrush
from mre.data.realedit import PhotoEdit, file_safe, photos_in, read_items_csv, read_real_edit
from mre.errors import DataError
from mre.imaging import open_image
from mre.rewards import EDIT_TYPES


@dataclass(frozen=True)
class Item:
    """One picture with one instruction. Items of one `group` share a photo, so intervals are drawn over groups; `picture` names the picture
    where a group has several, such as the turns of MagicBrush."""

    item: str
    edit_type: str
    instruction: str
    group: str
    open: Callable[[], Image.Image]
    open_target: Callable[[], Image.Image] | None = None
    caption: str | None = None
    scene: Callable[[], Any] | None = None          # draws the scene, for the oracle
    picture: str = ""

    def drawn(self) -> Any:
        """The scene, of an item that is one."""
        assert self.scene is not None, f"{self.item} is no scene"
        return self.scene()


@dataclass(frozen=True)
class Benchmark:
    """Named items. `identity` is what must be equal for two results folders to be of the same benchmark."""

    kind: str
    items: tuple[Item, ...]
    identity: dict[str, Any]


@dataclass(frozen=True)
class SceneSet:
    """Held-out synthetic scenes, equally many of each edit type. More of them begin with the same ones."""

    per_type: int = 80
    seed: int = 0
    split: str = "heldout"
    size: int = 128
    photos: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.per_type <= 100_000:
            raise DataError(f"--per-type must be between 1 and 100000, got {self.per_type}")
        if self.photos is not None and not any(photos_in(self.photos)):
            raise DataError(f"{self.photos}: holds no photos")

    def draw(self, index: int):
        """Scene `index`; its edit type goes round the seven."""
        return _draw(self.seed, self.split, self.size, self.photos, index)

    def benchmark(self) -> Benchmark:
        """The items: pictures are drawn when they are asked for."""
        from tqdm import tqdm

        from mre.data.scenes.triplets import VERSION

        items = []
        for index in tqdm(range(self.per_type * len(EDIT_TYPES)), desc="drawing", unit="scene", delay=2, disable=None):
            scene = functools.partial(_draw, self.seed, self.split, self.size, self.photos, index)
            triplet = scene()
            items.append(Item(triplet.id, triplet.edit_type, triplet.instruction, triplet.id, functools.partial(_side, scene, "original"),
                              functools.partial(_side, scene, "target"), scene=scene))
        return Benchmark("scenes", tuple(items), {"seed": self.seed, "split": self.split, "size": self.size, "scenes": VERSION,
                                                  "photos": _digest_of(photos_in(self.photos)) if self.photos else None})


@functools.lru_cache(maxsize=32)
def _draw(seed: int, split: str, size: int, photos: Path | None, index: int):
    from mre.data.scenes.triplets import draw_triplet

    return draw_triplet(seed, index, split, size, _photos(photos), edit_type=EDIT_TYPES[index % len(EDIT_TYPES)])


@functools.cache
def _photos(folder: Path | None):
    import numpy as np

    return [np.asarray(open_image(path)) for path in photos_in(folder)] if folder else None


def _side(scene: Callable[[], Any], side: str) -> Image.Image:
    return Image.fromarray(getattr(scene(), side))


@dataclass(frozen=True)
class Layout:
    """One way in which a benchmark lies on disk. A new one is an entry in LAYOUTS; the first that matches reads."""

    form: str                               # what it looks like, as messages say it
    matches: Callable[[Path], bool]
    read: Callable[[Path], Benchmark]


def _items_csv(path: Path) -> Benchmark:
    return _of_photos("items", read_items_csv(path), path)


def _real_edit_listing(path: Path) -> Benchmark:
    return _of_photos("real-edit", read_real_edit(_photo_folder(path), path), path)


def _magicbrush(path: Path) -> Benchmark:
    items = tuple(Item(turn.item, "", turn.instruction, turn.item.split("-")[0], functools.partial(open_image, turn.original),
                       functools.partial(open_image, turn.target), turn.caption, picture=turn.original.stem)
                  for turn in read_magicbrush(path))
    return Benchmark("magicbrush", items, {"items": _digest([(item.item, item.instruction) for item in items])})


def _folder_of_one_csv(path: Path) -> Benchmark:
    return _items_csv(next(path.glob("*.csv")))


def _real_edit(path: Path) -> Benchmark:
    return _of_photos("real-edit", read_real_edit(path), path)


LAYOUTS = [
    Layout("a .csv of items", lambda path: path.suffix.lower() == ".csv", _items_csv),
    Layout("Real-Edit's .json", lambda path: path.suffix.lower() == ".json", _real_edit_listing),
    Layout("a MagicBrush folder", lambda path: (path / "edit_turns.json").exists(), _magicbrush),
    Layout("a folder with one .csv", lambda path: len(list(path.glob("*.csv"))) == 1 and not any(path.glob("*.json")), _folder_of_one_csv),
    Layout("a Real-Edit folder", Path.is_dir, _real_edit),
]


def open_benchmark(path: Path) -> Benchmark:
    """A benchmark on disk, by the first layout that it matches. Raises DataError for a path of no known layout."""
    for layout in LAYOUTS:
        if layout.matches(path):
            return layout.read(path)
    raise DataError(f"{path}: no such benchmark: scenes, {', '.join(layout.form for layout in LAYOUTS)}")


def _photo_folder(listing: Path) -> Path:
    """Where the photos of a listing lie: beside it, or in the one folder beside it that holds pictures."""
    if not listing.is_file():
        raise DataError(f"{listing}: no such file")
    folders = [path for path in (listing.parent, *sorted(listing.parent.iterdir())) if path.is_dir() and any(photos_in(path))]
    if not folders:
        raise DataError(f"{listing}: there are no photos beside it")
    return folders[0]


def _of_photos(kind: str, edits: list[PhotoEdit], source: Path) -> Benchmark:
    names = _photo_names({edit.photo for edit in edits})
    items = tuple(Item(edit.item, edit.edit_type, edit.instruction, names[edit.photo], functools.partial(open_image, edit.photo))
                  for edit in edits)
    return Benchmark(kind, items, {"items": _digest([(edit.item, edit.edit_type, edit.instruction) for edit in edits]),
                                   "photos": _digest_of(sorted({edit.photo for edit in edits}))})


def _photo_names(photos: set[Path]) -> dict[Path, str]:
    """Each photo's name without ending; with a digest of its bytes behind it where several photos would go by one file's name."""
    files = Counter(file_safe(photo.stem).lower() for photo in photos)
    return {photo: photo.stem if files[file_safe(photo.stem).lower()] == 1
            else f"{photo.stem}-{hashlib.sha256(photo.read_bytes()).hexdigest()[:8]}" for photo in photos}


def _digest(values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def _digest_of(paths) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]

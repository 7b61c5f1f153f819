"""Edits of a benchmark on disk, `OUT/METHOD/ITEM.png` and `OUT/edits.csv`: each whole, made once, by any number of processes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from mre.data.realedit import file_safe
from mre.editors.names import without_address
from mre.errors import DataError, EditRefused, SettingsError
from mre.files import EDITS, csv_text, png_bytes, read_json, read_table, write_whole
from mre.rewards import Reward

if TYPE_CHECKING:
    from mre.benchmark.items import Benchmark, Item
    from mre.editors.editor import Editor

ORIGINALS = "original"
RESERVED = {ORIGINALS, "tables", "sheets"}


@dataclass(frozen=True)
class Method:
    """One way to edit every item: a model with a reward, or pictures that are there already (`make`)."""

    name: str
    model: str
    reward: Reward | None = None                # None: the model reads none, or its default
    negative_reward: Reward | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    image_guidance_scale: float | None = None
    make: Callable[[Item], Image.Image] | None = None
    put_back: bool = False                      # what should not have changed, see mre.put_back
    reward_words: bool = False                  # the scores are said in the instruction, see mre.reward_words
    fast: bool = False                          # see mre.editors.settings.EditSettings.faster

    def __post_init__(self) -> None:
        if self.name != file_safe(self.name) or self.name.lower() in RESERVED:
            raise SettingsError(f"a method cannot be called {self.name!r}")

    def identity(self, weights: str, seed: int) -> dict[str, Any]:
        """What must be equal for its edits to be the same."""
        def plain(reward: Reward | None) -> list | None:
            return None if reward is None else [*reward.wishes, *reward.texts]
        later = ("put_back", "reward_words", "fast")                    # absent where they are off, as in folders of before
        kept = {name: True for name in later if getattr(self, name)}
        return {"model": self.model, "weights": weights, "reward": plain(self.reward), "negative_reward": plain(self.negative_reward),
                "steps": self.steps, "guidance_scale": self.guidance_scale, "image_guidance_scale": self.image_guidance_scale, "seed": seed,
                **kept}


def item_seed(seed: int, item: str) -> int:
    """An item's own seed: the same for every method, whatever was edited before it and by whichever process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {item}".encode()).digest()[:4], "big")


def method_name(model: str, reward: Reward | None) -> str:
    """`tiny@5-5-5`; a model that reads no reward goes by its name, a folder by its last part, a server by its model."""
    model = without_address(model)
    label = file_safe(Path(model).name if "/" in model or "\\" in model else model)
    return label if reward is None else f"{label}@{reward.shown('-')}"


class ResultsFolder:
    """The folder of one benchmark's results. Raises DataError when it holds another benchmark's, or a method with other settings."""

    def __init__(self, path: Path, benchmark: Benchmark) -> None:
        self.path, self.benchmark = path, benchmark
        if path.exists() and not path.is_dir():
            raise DataError(f"{path}: is a file; --out names a folder")
        path.mkdir(parents=True, exist_ok=True)
        self._check_or_write(path / "benchmark.json", {"benchmark": benchmark.kind, **benchmark.identity}, "benchmark")

    def claim(self, methods: Sequence[Method], weights: Callable[[str], str], seed: int) -> None:
        """Note what each method is, so that its edits are never mixed with those of other settings."""
        (self.path / "methods").mkdir(exist_ok=True)
        for method in methods:
            identity = method.identity(weights(method.model) if method.make is None else "", seed)
            self._check_or_write(self.path / "methods" / f"{method.name}.json", identity, f"method {method.name}")

    def _check_or_write(self, file: Path, identity: dict[str, Any], what: str) -> None:
        if file.exists():
            there = read_json(file)
            if there != identity:
                other = next(name for name in {**identity, **(there if isinstance(there, dict) else {})}
                             if not isinstance(there, dict) or there.get(name) != identity.get(name))
                raise DataError(f"{self.path}: holds another {what}: {other} is {there.get(other) if isinstance(there, dict) else there!r} "
                                f"there, {identity.get(other)!r} here; name another --out")
            return
        write_whole(file, json.dumps(identity, indent=1) + "\n")

    # -- pictures and rows

    def edited(self, method: str, item: str) -> Path:
        return self.path / method / f"{item}.png"

    def original(self, item: Item) -> Path:
        return self.path / ORIGINALS / f"{file_safe(item.picture or item.group)}.png"

    def keep_original(self, item: Item) -> str:
        """The picture that is edited, written once. Returns its path in the folder."""
        path = self.original(item)
        if not path.exists():
            write_whole(path, png_bytes(item.open()))
        return path.relative_to(self.path).as_posix()

    def add(self, method: Method, item: Item, image: Image.Image, row: dict[str, Any], rank: int) -> None:
        """One edit, picture first, then its row: an edit without a row is edited again."""
        write_whole(self.edited(method.name, item.item), png_bytes(image))
        with self._part(rank).open("a+b") as file:
            file.write(b"\n" * _ends_torn(file) + json.dumps(row).encode() + b"\n")

    def rows(self) -> dict[tuple[str, str], dict[str, str]]:
        """(method, item) -> row of every edit that is whole, from edits.csv and from parts that are not merged yet."""
        rows: dict[tuple[str, str], dict[str, str]] = {}
        if (self.path / "edits.csv").exists():
            rows |= {(row["method"], row["item"]): row for _, row in read_table(self.path / "edits.csv", needed=EDITS)}
        for part in sorted(self.path.glob("edits.part-*.jsonl")):
            for line in part.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:          # a line that a cut left unfinished
                    continue
                rows[row["method"], row["item"]] = {name: str(row[name]) for name in EDITS}
        return {key: row for key, row in rows.items() if self.edited(*key).is_file()}

    def merge(self) -> None:
        """All rows into edits.csv, in the order of methods and items; the parts go."""
        rows = self.rows()
        order = {item.item: number for number, item in enumerate(self.benchmark.items)}
        for row in rows.values():
            if row["item"] in order:            # folders of before had one original for all turns of a photo
                row["original"] = self.keep_original(self.benchmark.items[order[row["item"]]])
        ranked = sorted(rows.values(), key=lambda row: (row["method"], order.get(row["item"], len(order)), row["item"]))
        write_whole(self.path / "edits.csv", csv_text(EDITS, ([row[name] for name in EDITS] for row in ranked)))
        for part in self.path.glob("edits.part-*.jsonl"):
            part.unlink()

    def _part(self, rank: int) -> Path:
        return self.path / f"edits.part-{rank:04d}.jsonl"


def _ends_torn(file: BinaryIO) -> bool:
    """Whether the last line of a file was cut: what is added to it would be lost with it."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def write_edits(folder: ResultsFolder, methods: Sequence[Method], editor: Callable[[str], Editor], seed: int = 0, *, batch: int = 1,
                items: Sequence[Item] | None = None, rank: int = 0, processes: int = 1,
                on_progress: Callable[[int], object] = lambda done: None,
                on_refusal: Callable[[str, str, EditRefused], object] | None = None) -> int:
    """Edit what is missing of this process's share. Returns how many edits were made.

    Items go in fixed groups of `batch`, the same whatever is there already and however many processes share the work, so that a
    picture does not depend on either; an editor that takes one picture at once gets one. `items`: only these of the benchmark.
    `on_refusal(method, item, error)` hears of an edit that its editor will not make; without it EditRefused is raised.
    """
    items = list(folder.benchmark.items if items is None else items)
    groups = [items[start:start + batch] for start in range(0, len(items), batch)][rank::processes]
    done, made = folder.rows(), 0
    for method in methods:
        is_single = method.make is None and editor(method.model).capabilities.batch == 1
        for group in groups:
            missing = [item for item in group if (method.name, item.item) not in done]
            for together in [[item] for item in missing] if is_single else [group] if missing else []:
                started = time.perf_counter()
                try:
                    images = [method.make(item) for item in together] if method.make else edit_group(editor(method.model), method, together,
                                                                                                     seed)
                except EditRefused as error:
                    if on_refusal is None:
                        raise
                    for item in together:
                        on_refusal(method.name, item.item, error)
                    continue
                seconds = (time.perf_counter() - started) / len(together)
                for item, image in zip(together, images, strict=True):
                    if item in missing:
                        _keep(folder, method, item, image, seed, seconds, rank)
                        made += 1
            on_progress(len(group))
    return made


def _keep(folder: ResultsFolder, method: Method, item: Item, image: Image.Image, seed: int, seconds: float, rank: int) -> None:
    row = {"item": item.item, "edit_type": item.edit_type, "instruction": item.instruction,
           "original": folder.keep_original(item), "method": method.name,
           "edited": f"{method.name}/{item.item}.png", "seed": item_seed(seed, item.item), "model": method.model,
           "seconds": round(seconds, 3)}
    folder.add(method, item, image, row, rank)


def edit_group(editor: Editor, method: Method, group: Sequence[Item], seed: int) -> list[Image.Image]:
    """The edits of a group, each to its photo's size: in batches where the editor can."""
    from mre.editors.settings import EditSettings

    settings = [EditSettings(item.instruction, method.reward or Reward.best(), item_seed(seed, item.item), method.steps,
                             method.guidance_scale, method.image_guidance_scale, negative_reward=method.negative_reward,
                             put_back=method.put_back, reward_words=method.reward_words, fast=method.fast) for item in group]
    return [result.image for result in editor.edit_many([item.open() for item in group], settings)]

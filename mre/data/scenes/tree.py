"""Synthetic triplets as files: an InstructPix2Pix tree, and their true rewards as `scenes.jsonl` in RewardEdit's working form."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from mre.data.scenes.triplets import VERSION, SceneTriplet, draw_triplet
from mre.errors import DataError
from mre.files import png_bytes, read_json, write_whole
from mre.rewards import PERSPECTIVES

ROWS, SETTINGS, SEEDS, PROMPT = "scenes.jsonl", "settings.json", "seeds.json", "prompt.json"
PER_SHARD = 1000
SIDES = {"original": "0", "edited": "1", "target": "target"}     # file names SEED_0.png, SEED_1.png, SEED_target.png


@dataclass(frozen=True)
class TreeSettings:
    """What decides the content of a tree; a second run into the same folder must agree on it."""

    seed: int = 0
    split: str = "train"
    size: int = 128
    edit_type: str | None = None
    spoiled: bool = True
    photo_share: float = 0.4
    photos: str = ""            # digest of the photographs, "" without
    version: str = VERSION


def write_tree(folder: Path, count: int, settings: TreeSettings, photos: Sequence[np.ndarray] | None = None) -> int:
    """Write triplets 0..count-1, or those of them that are not there yet. Returns how many were drawn.

    Every file is whole or absent, and a row is written only after its pictures, so a run that was cut goes on where it stopped.
    Raises DataError where the folder holds other scenes, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settle(folder, settings)
        done = rows_there(folder / ROWS)
        missing = [index for index in range(count) if folder_of(index) not in done]
        with (folder / ROWS).open("a", encoding="utf-8") as rows:
            for index in tqdm(missing, desc="drawing", unit="triplet", delay=2, disable=None):
                started = time.perf_counter()
                triplet = draw_triplet(settings.seed, index, settings.split, settings.size, photos, edit_type=settings.edit_type,
                                       photo_share=settings.photo_share, spoiled=settings.spoiled)
                write_triplet(folder, index, triplet)
                row = reward_row(index, triplet, time.perf_counter() - started)
                rows.write(json.dumps(row, ensure_ascii=False) + "\n")
                rows.flush()
        indices = sorted(int(name.rpartition("/")[2]) for name in rows_there(folder / ROWS))
        write_whole(folder / SEEDS, json.dumps([[folder_of(index), [str(index)]] for index in indices]) + "\n")
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written: {error.strerror}") from error
    return len(missing)


def folder_of(index: int) -> str:
    """A triplet's folder in the tree, which is its id in RewardEdit data."""
    return f"shard-{index // PER_SHARD:02d}/{index:07d}"


def write_triplet(folder: Path, index: int, triplet: SceneTriplet) -> None:
    place = folder / folder_of(index)
    place.mkdir(parents=True, exist_ok=True)
    for side, name in SIDES.items():
        write_whole(place / f"{index}_{name}.png", png_bytes(Image.fromarray(getattr(triplet, side))))
    write_whole(place / PROMPT, json.dumps({"edit": triplet.instruction}, ensure_ascii=False) + "\n")


def reward_row(index: int, triplet: SceneTriplet, seconds: float) -> dict:
    """One line of scenes.jsonl: the working form, and beside it what only synthetic scenes know."""
    place = folder_of(index)
    files = {side: f"{place}/{index}_{name}.png" for side, name in SIDES.items()}
    rewards = {name: {"score": score, "text": text}
               for name, score, text in zip(PERSPECTIVES, triplet.reward.scores, triplet.reward.texts, strict=True)}
    known = {"scene": triplet.id, "operation": triplet.edit.operation, "defects": dict(zip(PERSPECTIVES, triplet.kinds, strict=True))}
    return {"id": place, "instruction": triplet.instruction, "original": files["original"], "edited": files["edited"], "judge": "oracle",
            "judge_version": VERSION, **rewards, "raw": json.dumps(known), "seconds": round(seconds, 4), "target": files["target"],
            "edit_type": triplet.edit_type}


def settle(folder: Path, settings: TreeSettings) -> None:
    """Note the settings in a new folder; refuse a folder that has others."""
    path = folder / SETTINGS
    if not path.exists():
        if (folder / ROWS).exists():
            raise DataError(f"{folder}: holds {ROWS} but no {SETTINGS}, so its scenes cannot be continued; choose another folder")
        write_whole(path, json.dumps(asdict(settings), indent=1) + "\n")
        return
    there = read_json(path)
    for name, value in asdict(settings).items():
        if not isinstance(there, dict) or there.get(name) != value:
            old = there.get(name) if isinstance(there, dict) else there
            raise DataError(f"{folder}: holds scenes with {name} {old!r}, not {value!r}; choose another folder")


def rows_there(path: Path) -> set[str]:
    """Ids of the whole rows of scenes.jsonl; a last line that was cut is taken away, so that its triplet is drawn again."""
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content[:content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_whole(path, whole)
    ids = set()
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            ids.add(json.loads(line)["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: line {number}: not a row of synthetic scenes") from error
    return ids


def digest_of(photos: Sequence[np.ndarray] | None) -> str:
    """A short name for exactly these photographs."""
    digest = hashlib.sha256()
    for photo in photos or ():
        digest.update(f"{photo.shape}:".encode() + photo.tobytes())
    return digest.hexdigest()[:16] if photos else ""

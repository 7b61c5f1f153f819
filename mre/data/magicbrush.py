"""The MagicBrush test set: single turns with a target picture and its caption. No torch here.

A folder with `edit_turns.json` (a list of {"input", "mask", "output", "instruction"}), `local_descriptions.json` (image id -> file name
-> caption, which CLIP-T compares with, as in the benchmark's own evaluation) and `images/ID/FILE.png`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mre.errors import DataError
from mre.files import read_json

CAPTIONS = "local_descriptions.json"        # what changed by the turn; global_descriptions.json tells of the whole picture


@dataclass(frozen=True)
class MagicBrushTurn:
    """One turn: edit `original` by `instruction`; `target` is what a person made of it, `caption` says what it shows."""

    item: str
    instruction: str
    original: Path
    target: Path
    caption: str | None


def read_magicbrush(folder: Path) -> list[MagicBrushTurn]:
    """All turns, each on its own (a turn's input is the person's picture of the turn before, as in the paper's table)."""
    listing = folder / "edit_turns.json"
    turns = read_json(listing)
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{listing}: must be a list of turns")
    captions_file = folder / CAPTIONS
    captions = read_json(captions_file) if captions_file.exists() else {}
    if not isinstance(captions, dict):
        raise DataError(f"{captions_file}: must be one JSON object, image id -> file -> caption")
    found: dict[str, MagicBrushTurn] = {}
    for number, turn in enumerate(turns):
        where = f"{listing}: turn {number}"
        fields = [turn.get(name) for name in ("input", "output", "instruction")] if isinstance(turn, dict) else [None]
        if not all(isinstance(field, str) and field.strip() for field in fields):
            raise DataError(f"{where}: must have input, output and instruction")
        image = turn["input"].split("-")[0]
        caption = captions.get(image, {}).get(turn["output"]) if isinstance(captions.get(image, {}), dict) else None
        item = Path(turn["output"]).stem
        if item in found:
            raise DataError(f"{where}: duplicate output {turn['output']!r}")
        found[item] = MagicBrushTurn(item, " ".join(turn["instruction"].split()), _picture(folder, image, turn["input"], where),
                                     _picture(folder, image, turn["output"], where), caption if isinstance(caption, str) else None)
    return list(found.values())


def _picture(folder: Path, image: str, name: str, where: str) -> Path:
    for path in (folder / "images" / image / name, folder / "images" / name):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return path
    raise DataError(f"{where}: no picture {name!r} in images/{image}")

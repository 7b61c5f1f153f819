"""Real-Edit (80 photos x 7 edit types) and benchmarks of one's own in CSV form. No torch here.

Real-Edit is a folder of photos and one JSON: photo name -> seven lines, each with its edit type and instruction, such as
`"1. Local: Change the colour of the car to red: a dark one"`. Everything after the first colon is the instruction, later colons included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mre.errors import DataError
from mre.files import read_filled_table, read_json
from mre.rewards import EDIT_TYPES

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_LINE = re.compile(r"\s*(?:(?P<number>\d+)\s*[.)]\s*)?(?:(?P<head>[^:]{1,60}):\s*)?(?P<instruction>.*\S)\s*", re.S)
_TYPE_WORDS = {name: name for name in EDIT_TYPES} | {"removal": "remove", "removing": "remove", "adding": "add", "addition": "add"}


@dataclass(frozen=True)
class PhotoEdit:
    """One instruction for one photo."""

    item: str
    edit_type: str
    instruction: str
    photo: Path


def read_real_edit(folder: Path, listing: Path | None = None) -> list[PhotoEdit]:
    """The items of a Real-Edit folder, photo by photo. Raises DataError naming the photo and the line."""
    listing = listing or find_listing(folder)
    content = read_json(listing)
    if not isinstance(content, dict) or not content:
        raise DataError(f"{listing}: must be one JSON object, photo name -> {len(EDIT_TYPES)} lines")
    edits = []
    for name, lines in content.items():
        if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
            raise DataError(f"{listing}: {name}: must be a list of lines")
        photo = _photo(folder, listing, name)
        for number, line in enumerate(lines, 1):
            edit_type, instruction = parse_line(line, number, len(lines), f"{listing}: {name}: line {number}")
            edits.append(PhotoEdit(f"{file_safe(Path(name).stem)}-{number}-{edit_type}", edit_type, instruction, photo))
    return _unique(edits, listing)


def parse_line(line: str, number: int, of: int, where: str) -> tuple[str, str]:
    """Edit type and instruction of a line. The type is its leading word; without one, its number or place among seven says it."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise DataError(f"{where}: is empty")
    words = re.findall(r"[a-z]+", (match["head"] or "").lower())
    named = [_TYPE_WORDS[word] for word in words if word in _TYPE_WORDS]
    if len(set(named)) == 1 and len(words) <= 4:
        return named[0], match["instruction"]
    instruction = match["instruction"] if match["head"] is None else f"{match['head']}: {match['instruction']}"
    if of == len(EDIT_TYPES):
        return EDIT_TYPES[int(match["number"] or number) - 1 if int(match["number"] or number) <= of else number - 1], instruction
    raise DataError(f"{where}: names no edit type ({', '.join(EDIT_TYPES)}), and {of} lines do not tell it by their order: {line!r:.80}")


def read_items_csv(path: Path) -> list[PhotoEdit]:
    """A benchmark of one's own: columns item, image, instruction, edit_type, images beside the CSV."""
    edits = []
    for line, row in read_filled_table(path, ("item", "image", "instruction", "edit_type")):
        if row["edit_type"] not in EDIT_TYPES:
            raise DataError(f"{path}: row {line}: edit_type must be one of {', '.join(EDIT_TYPES)}, got {row['edit_type']!r}")
        photo = path.parent / row["image"]
        if not photo.is_file():
            raise DataError(f"{path}: row {line}: no picture {row['image']!r}")
        edits.append(PhotoEdit(file_safe(row["item"]), row["edit_type"], row["instruction"], photo))
    if not edits:
        raise DataError(f"{path}: holds no items")
    return _unique(edits, path)


def find_listing(folder: Path) -> Path:
    """The JSON of a Real-Edit folder: in it, or beside it as in the released repository."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    for place in (folder, folder.parent):
        found = sorted(path for path in place.glob("*.json") if not path.name.startswith("."))
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise DataError(f"{place}: holds {len(found)} JSON files; name the one with the instructions")
    raise DataError(f"{folder}: holds no JSON with the instructions")


def file_safe(name: str) -> str:
    """A name that is a file's name everywhere: letters, digits, and . _ - @ only."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "_", name).strip("._") or "_"


def _photo(folder: Path, listing: Path, name: str) -> Path:
    for path in (folder / name, listing.parent / name, *((folder / f"{name}{ending}") for ending in PICTURES)):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve().parent):
            return path
    raise DataError(f"{listing}: {name}: no such photo in {folder}")


def _unique(edits: list[PhotoEdit], where: Path) -> list[PhotoEdit]:
    seen: dict[str, str] = {}
    for edit in edits:
        if edit.item.lower() in seen:
            raise DataError(f"{where}: two items would be called {edit.item!r}")
        seen[edit.item.lower()] = edit.item
    return edits


def photos_in(folder: Path) -> Iterator[Path]:
    """The photos of a folder, by name. Raises DataError when there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of photos")
    yield from (path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURES)

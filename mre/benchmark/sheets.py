"""Contact sheets: a row for each item (original, instruction, then each method's edit), to be looked at."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from mre.imaging import open_image
from mre.rewards import EDIT_TYPES, PERSPECTIVES

if TYPE_CHECKING:
    from mre.benchmark.edits import ResultsFolder
    from mre.benchmark.items import Item

CELL, GAP, LINE = 144, 8, 14
TEXT_WIDTH = 190


def contact_sheet(folder: ResultsFolder, items: Sequence[Item], methods: Sequence[str],
                  caption: Callable[[str, str], str] = lambda method, item: "") -> Image.Image:
    """One picture with a header line. `caption(method, item)` stands under an edit; a missing edit is an empty frame."""
    has_target = any(item.open_target for item in items)
    columns = ["original", *(["target"] if has_target else []), *methods]
    row_height = CELL + LINE + GAP
    font = ImageFont.load_default(11)
    sheet = Image.new("RGB", (TEXT_WIDTH + len(columns) * (CELL + GAP) + GAP, LINE * 2 + GAP + len(items) * row_height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, name in enumerate(columns):
        draw.text((TEXT_WIDTH + number * (CELL + GAP), GAP), name[:24], fill="black", font=font)
    for row, item in enumerate(items):
        top = LINE * 2 + row * row_height
        words = textwrap.wrap(item.instruction, 28)[:6]
        draw.multiline_text((GAP, top), "\n".join([item.edit_type.upper(), *words]), fill="black", font=font, spacing=3)
        for number, name in enumerate(columns):
            left = TEXT_WIDTH + number * (CELL + GAP)
            picture = _picture(folder, item, name)
            if picture is None:
                draw.rectangle((left, top, left + CELL, top + CELL), outline="#cccccc")
                continue
            scale = CELL / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), (left, top))
            if name in methods:
                draw.text((left, top + CELL), caption(name, item.item), fill="#555555", font=font)
    return sheet


def chosen_items(items: Sequence[Item], per_type: int) -> list[Item]:
    """The first few of each edit type."""
    return [item for name in (*EDIT_TYPES, "") for item in [item for item in items if item.edit_type == name][:per_type]]


def worst_items(items: Sequence[Item], score: Callable[[str, str], float | None], count: int) -> list[Item]:
    """The items with the lowest mean over the perspectives, for a look at how a method fails."""
    def mean(item: Item) -> float:
        scores = [given for name in PERSPECTIVES if (given := score(name, item.item)) is not None]
        return sum(scores) / len(scores) if len(scores) == len(PERSPECTIVES) else 9.0
    return sorted(items, key=mean)[:count]


def _picture(folder: ResultsFolder, item: Item, name: str) -> Image.Image | None:
    if name == "original":
        return item.open().convert("RGB")
    if name == "target":
        return item.open_target().convert("RGB") if item.open_target else None
    path: Path = folder.edited(name, item.item)
    return open_image(path) if path.is_file() else None

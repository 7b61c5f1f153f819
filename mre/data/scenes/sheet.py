"""A contact sheet of synthetic triplets: original, target and spoiled edit, with what was asked and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from mre.data.scenes.triplets import SceneTriplet

COLUMNS, GAP, LINE = 3, 12, 15
INK, FAINT, PAPER = (30, 32, 36), (105, 110, 118), (255, 255, 255)


def contact_sheet(triplets: Sequence[SceneTriplet]) -> Image.Image:
    """Three triplets a row, each with its instruction, its true scores and the texts of what is wrong."""
    size = len(triplets[0].original)
    wide, high = 3 * size + 4, size + 4 * LINE + GAP
    rows = -(-len(triplets) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (wide + GAP) + GAP, rows * high + GAP + LINE), PAPER)
    draw = ImageDraw.Draw(sheet)
    bold, plain = ImageFont.load_default(13), ImageFont.load_default(11)
    for number, triplet in enumerate(triplets):
        x, y = GAP + number % COLUMNS * (wide + GAP), GAP + LINE + number // COLUMNS * high
        for place, (name, picture) in enumerate((("original", triplet.original), ("target", triplet.target), ("edited", triplet.edited))):
            sheet.paste(Image.fromarray(picture), (x + place * (size + 2), y))
            if number < COLUMNS:
                draw.text((x + place * (size + 2), GAP / 2), name, FAINT, plain)
        draw.text((x, y + size + 2), shortened(triplet.instruction, wide, bold), INK, bold)
        scores = " / ".join(f"{score:g}" for score in triplet.reward.scores)
        draw.text((x, y + size + 2 + LINE), f"{scores}   ({triplet.edit_type})", FAINT, plain)
        faults = [text for text in triplet.reward.texts if text != "None"]
        draw.text((x, y + size + 1 + 2 * LINE), shortened("; ".join(faults) or "nothing wrong", wide, plain), FAINT, plain)
    return sheet


def shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut where it would not fit."""
    if font.getlength(text) <= width:
        return text
    while font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"

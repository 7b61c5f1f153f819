"""A sweep: one photo and instruction over a grid of settings, every cell from the same start noise (the paper's Table 6 in one go)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from mre.editors.capabilities import AXES as CONTROLS
from mre.editors.capabilities import Capabilities, can_vary, limited, why
from mre.errors import MreError, SettingsError
from mre.files import csv_text
from mre.rewards import NO_WISH, NOTHING_WRONG, PERSPECTIVES, Reward

if TYPE_CHECKING:
    from mre.editors.editor import Editor, EditResult
    from mre.editors.settings import EditSettings

RANGE = re.compile(r"(?<=\d)\s*-\s*(?=\d)")            # `0 - 5` is `0-5`
ASCII_SIGNS = str.maketrans("，、；｜－～–", ",,;|---")       # what a Chinese keyboard writes for the signs between values
AXES = ("scores", *PERSPECTIVES, "reward_text", "seed", "steps", "guidance_scale", "image_guidance_scale", "model")
MOST_CELLS = 100
MOST_VALUES = 40
MOST_LABEL = 320                     # pixels of the sheet beside its rows: a reward text may be as long as a page


class SweepError(MreError):
    """Axes that make no grid, or too large a one."""


@dataclass(frozen=True)
class Axis:
    """What varies along one side of the grid, and its values."""

    name: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, name: str, text: str) -> Axis:
        """An axis from what is typed: numbers with commas, semicolons or blanks between, or a range such as `0-5`; for texts and models one
        per `|` or line."""
        if name not in AXES:
            raise SweepError(f"an axis must be one of {', '.join(AXES)}, got {str(name)[:40]!r}")
        if len(text or "") > 4000:
            raise SweepError(f"the values of {name} are too long a text")
        if name in ("reward_text", "model"):
            values: list[Any] = [part.strip() for part in re.split(r"[|｜\r\n]", text or "") if part.strip()]
        else:
            typed = RANGE.sub("-", (text or "").translate(ASCII_SIGNS))
            values = [number for part in re.split(r"[,;\s]+", typed) if part for number in _numbers(part, name)]
        if not values:
            raise SweepError(f"give values for {name}, such as {'tiny | tiny-baseline' if name == 'model' else '0, 3, 5'}")
        if len(values) > MOST_VALUES:
            raise SweepError(f"{name} has {len(values)} values; at most {MOST_VALUES} are accepted on an axis")
        return cls(name, tuple(dict.fromkeys(values)))

    def label(self, value: Any) -> str:
        """How a value of this axis is named on the sheet."""
        shown = str(int(value)) if isinstance(value, float) and value == int(value) else str(value)
        return f"{self.name.replace('_', ' ')} {shown}" if self.name != "scores" else f"{shown} / {shown} / {shown}"

    def apply(self, settings: EditSettings, model: str, value: Any) -> tuple[EditSettings, str]:
        """The settings and model with this axis at `value`. Raises MreError naming the field."""
        if self.name == "model":
            return settings, value
        if self.name == "scores":
            return replace(settings, reward=Reward.of((value,) * 3, settings.reward.texts)), model
        if self.name == "reward_text":
            texts = [part.strip() or NOTHING_WRONG for part in re.split("[;；]", value)]
            texts = texts * 3 if texts == [NOTHING_WRONG] else texts
            if len(texts) != len(PERSPECTIVES):
                raise SweepError(f"reward text: {value[:60]!r} must be three texts with ; between ({'; '.join(PERSPECTIVES)}), "
                                 "such as: None; None; the picture is blurry")
            return replace(settings, reward=Reward.of(settings.reward.wishes, texts)), model
        if self.name in PERSPECTIVES:
            return replace(settings, reward=settings.reward.with_score(self.name, value)), model
        return replace(settings, **{self.name: value}), model


def _numbers(part: str, name: str) -> list[float]:
    """`3` or the whole numbers of `0-5`."""
    low, dash, high = part.partition("-")
    try:
        if not dash or not low:
            return [float(part)]
        first, last = int(low), int(high)
    except ValueError as error:
        raise SweepError(f"{name}: {part[:40]!r} is neither a number nor a range such as 0-5") from error
    if not 0 <= last - first < MOST_VALUES:
        raise SweepError(f"{name}: the range {part[:40]} has no values or too many")
    return [float(number) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Cell:
    """One edit of the grid: place on each axis, settings and model."""

    place: tuple[int, int, int]          # on x, y, z
    settings: EditSettings
    model: str
    labels: tuple[str, ...]              # one for each axis given


@dataclass(frozen=True)
class Sweep:
    """A checked grid. Raises SweepError, SettingsError or RewardError before anything is made."""

    cells: tuple[Cell, ...]
    axes: tuple[Axis, ...]               # x, then y, then z where given

    @classmethod
    def plan(cls, settings: EditSettings, model: str, axes: list[Axis], models: Mapping[str, Capabilities]) -> Sweep:
        """All combinations, z slowest and x fastest. `models` are those that may be named, with what they can use."""
        if not 1 <= len(axes) <= 3:
            raise SweepError("a sweep needs one, two or three axes")
        if len({axis.name for axis in axes}) < len(axes):
            raise SweepError(f"{axes[0].name if len(axes) == 2 else 'an axis'} is given twice; choose different axes")
        overlap = {"scores"} & {axis.name for axis in axes} and set(PERSPECTIVES) & {axis.name for axis in axes}
        if overlap:
            raise SweepError(f"scores moves all three scores, so {min(overlap)} cannot be an axis beside it")
        count = 1
        for axis in axes:
            count *= len(axis.values)
        if count > MOST_CELLS:
            raise SweepError(f"this sweep has {count:,} cells; at most {MOST_CELLS} are accepted")
        padded = [*axes, *[None] * (3 - len(axes))]
        cells = []
        for z, y, x in itertools.product(*(range(len(axis.values)) if axis else (0,) for axis in reversed(padded))):
            cell_settings, cell_model, labels = settings, model, []
            for axis, place in zip(padded, (x, y, z), strict=True):
                if axis:
                    cell_settings, cell_model = axis.apply(cell_settings, cell_model, axis.values[place])
                    labels.append(axis.label(axis.values[place]))
            if cell_model not in models:
                raise SettingsError(f"there is no model {str(cell_model)[:60]!r} here; choose from {', '.join(models)}")
            cells.append(Cell((x, y, z), cell_settings, cell_model, tuple(labels)))
        for axis in axes:
            _refuse_idle(axis, {cell.model: models[cell.model] for cell in cells})
        return cls(tuple(cells), tuple(axes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along x, y and z."""
        lengths = [len(axis.values) for axis in self.axes] + [1, 1]
        return lengths[0], lengths[1], lengths[2]

    def run(self, photo: Image.Image, editors: dict[str, Editor], **hooks: Callable) -> Iterator[tuple[Cell, EditResult]]:
        """Make the cells one after another; between two of them whoever else waits for the device has a turn.

        The start noise of a cell depends on its seed and the photo's size alone: it is the same in all cells that differ in other things.
        `hooks` are those of Editor.edit. Raises what Editor.edit raises; cells made before that are kept by whoever took them.
        """
        mixed = any(axis.name == "model" for axis in self.axes)      # then each gets of the common settings what it can use
        for cell in self.cells:
            editor = editors[cell.model]
            yield cell, editor.edit(photo, limited(cell.settings, editor.info) if mixed else cell.settings, **hooks)


def _refuse_idle(axis: Axis, models: Mapping[str, Capabilities]) -> None:
    """Raise SweepError for an axis that changes nothing, or would spoil pictures. A model that reads no reward may stand beside one that
    does: that is what it is compared for."""
    idle = [name for name, has in models.items() if not can_vary(axis.name, has)]
    if idle and (len(idle) == len(models) or CONTROLS[axis.name] not in ("scores", "reward_text")):
        control = CONTROLS[axis.name]
        raise SweepError(f"{axis.name.replace('_', ' ')} cannot vary: the model {idle[0]} {why(control, models[idle[0]])}")


# -------------------------------------------------------------------------------------------------------- to take away

def contact_sheet(sweep: Sweep, pictures: dict[tuple[int, int, int], Image.Image], title: str, *, side: int = 224) -> Image.Image:
    """The grid as one labelled picture; cells that were not made stay empty. One block of rows for each value of z."""
    columns, rows, layers = sweep.shape
    first = next(iter(pictures.values()), Image.new("RGB", (side, side)))
    scale = side / max(first.size)
    width, height = (max(1, round(length * scale)) for length in first.size)
    font, bold = ImageFont.load_default(13), ImageFont.load_default(15)
    labels = [[axis.label(value) for value in axis.values] for axis in sweep.axes]
    left = 12 + min(MOST_LABEL, max([0, *(int(font.getlength(label)) for names in labels[1:2] for label in names)])) + 10
    top, line, gap = 40, 26, 6
    block = line + rows * (height + gap) + (line if layers > 1 else 0)
    sheet = Image.new("RGB", (max(left + columns * (width + gap) + 12, 320), top + layers * block + 12), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((12, 12), _fitted(title, bold, sheet.width - 24), "black", bold)
    for z in range(layers):
        y0 = top + z * block
        if layers > 1:
            draw.text((12, y0 + 4), _fitted(labels[2][z], bold, sheet.width - 24), "black", bold)
            y0 += line
        for x in range(columns):
            label = _fitted(labels[0][x], font, width)
            draw.text((left + x * (width + gap), y0 + 5), label, "#333333", font)
        for y in range(rows):
            y1 = y0 + line + y * (height + gap)
            if len(labels) > 1:
                draw.text((12, y1 + height // 2 - 8), _fitted(labels[1][y], font, MOST_LABEL), "#333333", font)
            for x in range(columns):
                box = (left + x * (width + gap), y1)
                if (picture := pictures.get((x, y, z))) is not None:
                    sheet.paste(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), box)
                else:
                    draw.rectangle((*box, box[0] + width, box[1] + height), outline="#cccccc")
    return sheet


def _fitted(text: str, font: Any, width: int) -> str:
    text = text.encode("latin-1", "replace").decode("latin-1")      # what the built-in font has
    while text and font.getlength(text) > width:
        text = text[:-2] + "…" if len(text) > 2 else ""
        text = text.replace("……", "…")
    return text.replace("…", "...") if font.getlength(text.replace("…", "...")) <= width else text.rstrip("…")


CSV_COLUMNS = ("x", "y", "z", "model", "instruction", *PERSPECTIVES, *(f"text_{name}" for name in PERSPECTIVES), "seed", "steps",
               "guidance_scale", "image_guidance_scale", "scheduler", "guidance_interval", "seconds", "file")


def to_csv(rows: list[tuple[Cell, EditResult, str]]) -> str:
    """A row for each cell made: what was asked, how long it took, which file it is."""
    def values(cell: Cell, result: EditResult, name: str) -> list[object]:
        asked = result.settings
        scores = (NO_WISH if wish is None else wish for wish in asked.reward.wishes)
        return [*cell.place, cell.model, asked.instruction, *scores, *asked.reward.texts, asked.seed, asked.steps, asked.guidance_scale,
                asked.image_guidance_scale, asked.scheduler, "-".join(f"{level:g}" for level in asked.guidance_interval or ()),
                round(result.seconds, 3), name]
    return csv_text(CSV_COLUMNS, (values(*row) for row in rows))

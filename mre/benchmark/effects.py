"""What the sliders of the benchmarked models do, written beside their weights for the page to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mre.benchmark.tables import Cell
from mre.effects import Effects
from mre.errors import ModelError, SettingsError
from mre.models import known
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.benchmark.tables import Table


def folders_of(models: Sequence[str], digests: Mapping[str, str | None]) -> dict[str, Path]:
    """The folder of each model, to write into. Raises SettingsError for one without a folder on this machine."""
    from mre.models.hub import local_folder

    folders: dict[str, Path] = {}
    for model in models:
        try:
            folder = None if known.is_built(model) else local_folder(model)
        except ModelError:
            folder = None
        if folder is None or not digests.get(model):
            raise SettingsError(f"--write-effects: {model} has no folder of weights on this machine to write into")
        folders[model] = folder
    return folders


def effects_of(table: Table, judge: str, weights: str) -> Effects:
    """A table of sliders (`mre.benchmark.scene_tables.table_of_sliders`) as what is kept. Raises SettingsError where an answer is missing
    altogether."""
    changes = {slider: {name: _effect(cell) for name, cell in zip(PERSPECTIVES, row[1:], strict=True)}
               for slider, row in zip(PERSPECTIVES, table.rows, strict=True)}
    scenes = min(cell.n for row in table.rows for cell in row if isinstance(cell, Cell))
    if not scenes:
        raise SettingsError("--write-effects: the judge gave no score to compare, nothing was written")
    return Effects(judge, scenes, weights, changes)


def _effect(cell: object) -> tuple[float, float | None, float | None]:
    assert isinstance(cell, Cell), "changes of scores"
    low, high = (None if math.isnan(end) else round(end, 3) for end in (cell.low, cell.high))
    return round(cell.value, 3), low, high

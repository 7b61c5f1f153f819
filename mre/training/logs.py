"""Numbers of a run as it goes: CSV files that any program reads, and TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from mre.files import csv_text, read_table, write_whole
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.training.config import TrainConfig

PLACE = ("step", "samples", "seconds")          # where in the run a line was written
SCORES = (*PLACE, *PERSPECTIVES)


class Table:
    """A CSV file that grows by a line at a time; what a run that goes on from `step` has yet to do is cut off."""

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self.path, self.columns, kept = path, columns, []
        if step and path.exists():
            kept = [row for _, row in read_table(path) if row["step"].isdigit() and int(row["step"]) <= step]
        write_whole(path, csv_text(columns, ([row.get(name, "") for name in columns] for row in kept)))

    def append(self, row: dict[str, object]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(csv_text((), [[row.get(name, "") for name in self.columns]], floats=".8g"))


class RunLog:
    """`log.csv` with these losses, `validation.csv` where there are scores, and TensorBoard events of a run.

    A run that goes on has done `step` steps; `validated` tells whether the validation of that step was finished, if it was due.
    """

    def __init__(self, out: Path, config: TrainConfig, losses: Sequence[str], step: int, validated: bool = True) -> None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(config.as_yaml(), encoding="utf-8")
        self.losses = Table(out / "log.csv", (*PLACE, *losses, "grad_norm", "learning_rate"), step)
        self.scores = Table(out / "validation.csv", SCORES, step if validated else step - 1) if config.scored_scenes else None
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, step: int, samples: int, seconds: float, values: dict[str, float]) -> None:
        """One line of losses and such: means since the line before."""
        self._write(self.losses, "", (step, samples, round(seconds, 1)), values)

    def write_scores(self, step: int, samples: int, seconds: float, scores: dict[str, float]) -> None:
        """One line of mean scores, 0 to 5, by the names of the perspectives."""
        assert self.scores is not None, "the config asks for scores"
        self._write(self.scores, "score/", (step, samples, round(seconds, 1)), scores)

    def _write(self, table: Table, board: str, place: Sequence[float], values: dict[str, float]) -> None:
        table.append({**dict(zip(PLACE, place, strict=True)), **values})
        for name, value in values.items():
            self.board.add_scalar(board + name, value, place[0])

    def picture(self, step: int, sheet: Image.Image) -> None:
        """A sheet of samples, for TensorBoard."""
        self.board.add_image("samples", np.asarray(sheet), step, dataformats="HWC")
        self.board.flush()

"""Numbers of a run as it goes: a CSV file that any program reads, and TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

COLUMNS = ("step", "samples", "seconds", "loss", "denoise", "mask", "grad_norm", "learning_rate")


class RunLog:
    """`log.csv` and TensorBoard events of a run. A resumed run overwrites what lies after the checkpoint it goes on from."""

    def __init__(self, out: Path, config_text: str, step: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(config_text, encoding="utf-8")
        self.path = out / "log.csv"
        kept = []
        if step and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if row["step"].isdigit() and int(row["step"]) <= step]
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, step: int, samples: int, seconds: float, values: dict[str, float]) -> None:
        """One line: means since the line before."""
        row = {"step": step, "samples": samples, "seconds": round(seconds, 1), **{name: f"{value:.8g}" for name, value in values.items()}}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def picture(self, step: int, sheet: Image.Image) -> None:
        """A sheet of samples, for TensorBoard."""
        self.board.add_image("samples", np.asarray(sheet), step, dataformats="HWC")
        self.board.flush()

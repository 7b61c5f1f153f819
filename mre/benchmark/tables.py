"""Means with intervals, in tables as CSV, Markdown and LaTeX. Every number says over how many answers, and how many are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mre.files import csv_text, latex_table, markdown_escaped, markdown_table, write_whole

RESAMPLES = 2000
LEVEL = 0.95
MISSING = "-"
INTERVALS = "Intervals: 95 %, bootstrap over pictures."


@dataclass(frozen=True)
class Cell:
    """One number with its 95 % interval, how many answers it is over, and how many are missing."""

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    missing: int = 0
    percent: bool = False

    def text(self, digits: int = 2) -> str:
        """`3.45 [3.20, 3.70]`; a dash where there is no answer at all."""
        if math.isnan(self.value):
            return MISSING
        scale, digits, mark = (100, max(0, digits - 1), " %") if self.percent else (1, digits, "")
        shown = f"{self.value * scale:.{digits}f}{mark}"
        return shown if math.isnan(self.low) else f"{shown} [{self.low * scale:.{digits}f}, {self.high * scale:.{digits}f}]"


@dataclass
class Table:
    """Rows of text and cells under named columns."""

    name: str                   # of its files
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | Cell]]
    notes: list[str] = field(default_factory=list)
    digits: int = 2

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}: a row has {len(row)} cells, the table {len(self.columns)} columns")

    def csv(self) -> str:
        """A cell's value, low, high, n and missing each in a column of their own."""
        has_cells = [any(isinstance(row[number], Cell) for row in self.rows) for number in range(len(self.columns))]
        header: list[str] = []
        for name, wide in zip(self.columns, has_cells, strict=True):
            header += [name, f"{name} low", f"{name} high", f"{name} n", f"{name} missing"] if wide else [name]
        rows = []
        for row in self.rows:
            flat: list[object] = []
            for cell, wide in zip(row, has_cells, strict=True):
                if isinstance(cell, Cell):
                    flat += [cell.value, cell.low, cell.high, cell.n, cell.missing]
                else:
                    flat += [None if cell == MISSING else cell, *([None] * 4 if wide else [])]
            rows.append(flat)
        return csv_text(header, rows, floats=".6g")

    def markdown(self) -> str:
        rows = [[self._shown(cell) for cell in row] for row in self.rows]
        return "\n".join([f"**{markdown_escaped(self.title)}**", "", markdown_table(self.columns, rows), *self.foot(), ""])

    def latex(self) -> str:
        rows = [[self._shown(cell) for cell in row] for row in self.rows]
        return latex_table(self.columns, rows, self.title, "l" + "c" * (len(self.columns) - 1), self.foot())

    def foot(self) -> list[str]:
        """n and missing over all cells, then the notes."""
        cells = [cell for row in self.rows for cell in row if isinstance(cell, Cell)]
        if not cells:
            return list(self.notes)
        counts = sorted({cell.n for cell in cells})
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        missing = sorted({cell.missing for cell in cells})
        lost = str(missing[0]) if len(missing) == 1 else f"{missing[0]} to {missing[-1]}"
        return [f"n = {n} answers a cell, missing {lost}.", *self.notes]

    def write(self, folder: Path) -> list[Path]:
        """The three files."""
        paths = []
        for ending, text in (("csv", self.csv()), ("md", self.markdown()), ("tex", self.latex())):
            paths.append(folder / f"{self.name}.{ending}")
            write_whole(paths[-1], text)
        return paths

    def _shown(self, cell: str | int | Cell) -> str:
        return cell.text(self.digits) if isinstance(cell, Cell) else str(cell)


# -- numbers ----------------------------------------------------------------------------------------------------------------------

def mean_cell(values: Sequence[float | None], groups: Sequence[str], percent: bool = False, seed: int = 0) -> Cell:
    """The mean of what is there, with a bootstrap interval over whole groups (pictures), and a count of what is not."""
    kept = [(float(value), group) for value, group in zip(values, groups, strict=True) if value is not None and not math.isnan(value)]
    missing = len(values) - len(kept)
    if not kept:
        return Cell(math.nan, n=0, missing=missing, percent=percent)
    numbers = np.array([value for value, _ in kept])
    low, high = interval(numbers, [group for _, group in kept], seed)
    return Cell(float(numbers.mean()), low, high, len(kept), missing, percent)


def gain_cell(values: Sequence[float | None], against: Sequence[float | None], groups: Sequence[str], seed: int = 0) -> Cell:
    """The mean difference on the same items, with an interval of the differences; an item missing on either side is missing."""
    return mean_cell([None if a is None or b is None else a - b for a, b in zip(values, against, strict=True)], groups, seed=seed)


def interval(numbers: np.ndarray, groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by drawing whole groups again and again; not a number for a single group."""
    _, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    count = int(index.max()) + 1
    if count < 2:
        return math.nan, math.nan
    sums, sizes = np.bincount(index, numbers, count), np.bincount(index, minlength=count)
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 200):
        draws = rng.integers(0, count, (200, count))
        means[start:start + 200] = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)

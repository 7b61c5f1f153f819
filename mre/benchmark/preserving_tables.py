"""Preserving as it is measured, for every edit of a benchmark: `preserving.csv`, tables per method and edit type, and beside a judge."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from mre.benchmark.tables import INTERVALS, LEVEL, RESAMPLES, Cell, Table, mean_cell
from mre.errors import DataError, ImageError
from mre.files import csv_text, read_table, write_whole
from mre.imaging import open_image
from mre.metrics.preserving import Preserving, measure_preserving, measure_version
from mre.rewards import EDIT_TYPES

if TYPE_CHECKING:
    from mre.benchmark.answers import Scores
    from mre.benchmark.edits import ResultsFolder
    from mre.benchmark.items import Item

FILE = "preserving.csv"
NUMBERS = ("dx", "dy", "zoom", "drift_red", "drift_green", "drift_blue", "changed", "outside_share", "outside_size")
COLUMNS = ("item", "method", "masked", *NUMBERS, "version")
Row = dict[str, float | None]                       # NUMBERS -> value; None: not measurable
Measured = dict[tuple[str, str], Row]               # (method, item) -> row


def shift_of(row: Row) -> float | None:
    """Pixels."""
    dx, dy = row["dx"], row["dy"]
    return None if dx is None or dy is None else math.hypot(dx, dy)


def zoom_of(row: Row) -> float | None:
    """By how many percent the picture was enlarged or reduced."""
    zoom = row["zoom"]
    return None if zoom is None else 100 * abs(zoom - 1)


def drift_of(row: Row) -> float | None:
    """Levels of the channel that drifted most."""
    return max((abs(level) for name in NUMBERS[3:6] if (level := row[name]) is not None), default=None)


FIGURES: dict[str, Callable[[Row], float | None]] = {
    "shift, px": shift_of, "zoom, %": zoom_of, "drift, levels": drift_of, "changed outside": lambda row: row["outside_share"],
    "change outside, levels": lambda row: row["outside_size"]}
PERCENT = {"changed outside"}


# -- measuring --------------------------------------------------------------------------------------------------------------------

def measure_edits(folder: ResultsFolder, methods: Sequence[str], items: Sequence[Item],
                  on_progress: Callable[[int], object] = lambda done: None) -> Measured:
    """Every edit of the methods that is there, from `preserving.csv` where it was measured before and no picture of it was written since.
    What is new is written there, also when the work is cut. A picture that cannot be read is left out."""
    there, file = folder.rows(), folder.path / FILE
    wanted = {(method, item.item): item for method in methods for item in items if (method, item.item) in there}
    when = file.stat().st_mtime if file.exists() else 0.0

    def is_outdated(key: tuple[str, str]) -> bool:
        pictures = (folder.original(wanted[key]), folder.edited(*key)) if key in wanted else ()
        return any(path.exists() and path.stat().st_mtime > when for path in pictures)

    measured = {key: row for key, row in read_measured(file).items() if key in there and not is_outdated(key)}
    on_progress(sum(key in measured for key in wanted))

    def measure(key: tuple[str, str]) -> Row | None:
        item = wanted[key]
        try:
            original, edited = (open_image(path) for path in (folder.original(item), folder.edited(*key)))
        except ImageError:
            return None
        return row_of(measure_preserving(original, edited, true_edit(item)))

    missing = [key for key in wanted if key not in measured]
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for key, row in zip(missing, pool.map(measure, missing), strict=True):
                if row is not None:
                    measured[key] = row
                on_progress(1)
    finally:
        if missing:
            write_measured(file, measured, masked=any(item.scene for item in items))
    return {key: measured[key] for key in wanted if key in measured}


def true_edit(item: Item) -> np.ndarray | None:
    """(H, W) bool of where the edit of a scene belongs, to the oracle; None for a photo."""
    if item.scene is None:
        return None
    from mre.data.scenes.triplets import outside_of
    return outside_of(item.scene().target_mask) == 0


def row_of(found: Preserving) -> Row:
    """The figures, with as many digits as the file holds."""
    drift = found.drift or (None,) * 3
    values = (found.dx, found.dy, found.zoom, *drift, found.changed, found.outside_share, found.outside_size)
    return {name: None if value is None else float(f"{value:.6g}") for name, value in zip(NUMBERS, values, strict=True)}


def write_measured(path: Path, measured: Measured, masked: bool) -> None:
    """One row an edit, in order."""
    version = measure_version()
    rows = ([item, method, "yes" if masked else "no", *(row[name] for name in NUMBERS), version]
            for (method, item), row in sorted(measured.items()))
    write_whole(path, csv_text(COLUMNS, rows, floats=".6g"))


def read_measured(path: Path) -> Measured:
    """What was measured by this version of the program; nothing where there is no file. Raises DataError naming the row."""
    if not path.exists():
        return {}
    version, measured = measure_version(), {}
    for line, cells in read_table(path, needed=COLUMNS):
        if cells["version"] != version:
            continue
        try:
            measured[cells["method"], cells["item"]] = {name: float(cells[name]) if cells[name] else None for name in NUMBERS}
        except ValueError as error:
            raise DataError(f"{path}: row {line}: {error}") from error
    return measured


# -- tables -----------------------------------------------------------------------------------------------------------------------

def tables_of_preserving(measured: Measured, methods: Sequence[str], items: Sequence[Item], scores: Scores | None) -> list[Table]:
    """The table of figures and, where a judge scored preserving, how well these go along with its scores."""
    tables = [table_of_figures(measured, methods, items)]
    if scores is not None and any(value is not None for method in methods for value in scores.values(method, "preserving", scores.keys())):
        tables.append(table_of_agreement(measured, methods, items, scores))
    return tables


def table_of_figures(measured: Measured, methods: Sequence[str], items: Sequence[Item]) -> Table:
    """Means of what was measurable, per method and edit type."""
    rows = []
    for method in methods:
        for name, chosen in by_type(items):
            found = [measured.get((method, item.item)) for item in chosen]
            groups = [item.group for item in chosen]
            rows.append([method, name, *(mean_cell([row if row is None else figure(row) for row in found], groups,
                                                   percent=title in PERCENT) for title, figure in FIGURES.items())])
    masked = any(item.scene for item in items)
    outside = "beyond the true edit of the scene" if masked else "where nothing clearly changed"
    notes = [f"Outside the edit: {outside}. Missing: no picture, or not measurable (nothing in common, no texture, an edit of the whole "
             "picture). Changed outside: pixels that differ by more than 10 levels of 255.",
             "Of an edit of the whole picture the drift is the edit itself.", INTERVALS]
    return Table("preserving", "Preserving, measured", ["method", "edit type", *FIGURES], rows, notes)


def table_of_agreement(measured: Measured, methods: Sequence[str], items: Sequence[Item], scores: Scores) -> Table:
    """Spearman's correlation, over the edits of all methods, of each figure with the judge's score of preserving."""
    rows = []
    for name, chosen in by_type(items):
        cells = []
        for figure in FIGURES.values():
            pairs, groups = [], []
            for method in methods:
                for item in chosen:
                    row = measured.get((method, item.item))
                    for score in scores.values(method, "preserving", scores.keys([item])):
                        pairs.append((row and figure(row), score))
                        groups.append(item.group)
            cells.append(rank_correlation(pairs, groups))
        rows.append([name, *cells])
    notes = ["-1: the more the figure says was changed, the lower the score. Over the edits of all methods above.", INTERVALS,
             scores.judge_note()]
    return Table("preserving_agreement", "Preserving measured and judged: rank correlation of each figure with the score",
                 ["edit type", *FIGURES], rows, notes)


def by_type(items: Sequence[Item]) -> list[tuple[str, list[Item]]]:
    """Edit types that occur, each with its items, and all."""
    types = [(name, [item for item in items if item.edit_type == name]) for name in EDIT_TYPES]
    present = [(name, chosen) for name, chosen in types if chosen]
    return [*(present if len(present) > 1 else []), ("all", list(items))]


def rank_correlation(pairs: Sequence[tuple[float | None, float | None]], groups: Sequence[str], seed: int = 0) -> Cell:
    """Spearman's rho with an interval by drawing whole groups again and again, each with the ranks that it has among all."""
    kept = [(float(one), float(two), group) for (one, two), group in zip(pairs, groups, strict=True) if one is not None and two is not None]
    missing = len(pairs) - len(kept)
    one, two = (np.array([pair[side] for pair in kept]) for side in (0, 1))
    if len(kept) < 3 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return Cell(math.nan, n=len(kept), missing=missing)
    ranks = [stats.rankdata(values) for values in (one, two)]
    x, y = (values - values.mean() for values in ranks)
    _, index = np.unique([pair[2] for pair in kept], return_inverse=True)
    columns = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    sums = np.stack([np.bincount(index, column) for column in columns.T], axis=1)                     # (groups, 6)
    rng, count = np.random.default_rng(seed), len(sums)
    drawn = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) @ sums                       # (draws, 6)
    low, high = np.nanquantile(_rho(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if count > 1 else (math.nan, math.nan)
    return Cell(float(_rho(sums.sum(axis=0)[None])[0]), float(low), float(high), len(kept), missing)


def _rho(sums: np.ndarray) -> np.ndarray:
    """Pearson's correlation from (n, x, y, xx, yy, xy)."""
    n, x, y, xx, yy, xy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return (xy - x * y / n) / np.sqrt((xx - x * x / n) * (yy - y * y / n))

"""What a trained judge can and cannot do, as files beside its weights: tables, a calibration plot, and its worst mistakes with pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mre.files import csv_text, markdown_table, png_bytes, write_whole
from mre.judge.pictures import JudgePicture
from mre.judge.reward_models.folder import Calibration
from mre.rewards import EDIT_TYPES
from mre.training.judges.measure import FIGURES, Predictions, binned, both_ways, figures, pair_columns, win_probabilities

ALL = "all"
HEADS = {"edits": "edits", "mean_error": "mean error", "spearman": "rank correlation", "coverage": "within one deviation",
         "deviation": "mean deviation", "pairs": "pairs", "pair_accuracy": "decided pairs right", "accuracy_with_ties": "right with ties",
         "chosen_threshold": "same, chosen threshold", "oracle_threshold": "same, oracle threshold", "calibration_error": "error of P(win)"}
COUNTS = ("edits", "pairs")
WORST, TILE, LINE = 12, 128, 15


def report_rows(found: Predictions, calibration: dict[str, Calibration]) -> list[tuple[str, str, dict[str, float]]]:
    """(Edit type, perspective, FIGURES): of all edits, then of each type that occurs."""
    types = found.edit_types()
    known = [name for name in EDIT_TYPES if name in types] + sorted(set(types) - set(EDIT_TYPES) - {""})
    rows = [(ALL, name, values) for name, values in figures(found, calibration).items()]
    for kind in known if len(known) > 1 else ():
        rows += [(kind, name, values) for name, values in figures(found, calibration, types == kind).items()]
    return rows


def shown(name: str, value: float) -> str:
    """A figure as tables show it."""
    if isinstance(value, float) and math.isnan(value):
        return "-"
    return str(int(value)) if name in COUNTS else f"{value:.3f}"


def report_table(rows: Sequence[tuple[str, str, dict[str, float]]]) -> str:
    """The rows as a Markdown table."""
    return markdown_table(["edit type", "perspective", *HEADS.values()],
                          [[kind, perspective, *(shown(name, values[name]) for name in FIGURES)] for kind, perspective, values in rows])


def write_report(folder: Path, found: Predictions, calibration: dict[str, Calibration], about: str = "") -> list[Path]:
    """report.md, report.csv, predictions.csv, calibration.svg and worst.png into a folder."""
    rows = report_rows(found, calibration)
    paths = [folder / name for name in ("report.md", "report.csv", "predictions.csv", "calibration.svg", "worst.png")]
    said = (f"{len(found.groups)} held-out groups; half of their originals calibrated the deviations, the table is of the other half. A "
            "deviation should hold 0.68 of the scores. Of ties: the likeliest of win, tie and loss; a threshold chosen on the other half; "
            "and the best threshold on these very pairs, which only an oracle knows.")
    write_whole(paths[0], "\n\n".join(part for part in (about, said, report_table(rows)) if part) + "\n")
    write_whole(paths[1], csv_text(["edit_type", "perspective", *FIGURES],
                                   [[kind, name, *(values[f] for f in FIGURES)] for kind, name, values in rows]))
    write_whole(paths[2], csv_text(["source", "item", "method", "edit_type", "instruction", "annotator", "perspective", "score", "mean",
                                    "deviation", "calibrates"], _prediction_rows(found, calibration)))
    write_whole(paths[3], calibration_plot(found, calibration))
    write_whole(paths[4], png_bytes(worst_sheet(found)))
    return paths


def _prediction_rows(found: Predictions, calibration: dict[str, Calibration]):
    for row, (group, place) in enumerate(found.edits):
        edit = found.groups[group].edits[place]
        for column, name in enumerate(found.perspectives):
            yield [found.groups[group].source, edit.item, edit.method, edit.edit_type, edit.instruction, edit.annotator, name,
                   found.scores[row, column], found.mean[row, column], found.deviation[row, column] * calibration[name].deviation,
                   bool(found.calibrates[row])]


def calibration_plot(found: Predictions, calibration: dict[str, Calibration]) -> str:
    """P(win) against how often the first won, and shares of scores within a number of deviations, per perspective, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = ("#2563a8", "#c2571a", "#3a7d44")
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color="#555555", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.grid(color="#e6e6e6", linewidth=0.6)
    reports = ~found.calibrates
    for column, (name, colour) in enumerate(zip(found.perspectives, colours, strict=False)):
        pairs = reports[found.first] & ~np.isnan(found.preferred[:, column])
        if pairs.any():
            difference, deviation = (value[pairs] for value in pair_columns(found, column))
            probabilities = win_probabilities(difference, deviation, calibration[name])
            bins = binned(*both_ways(probabilities, found.preferred[pairs, column]))
            left.plot([p.mean() for p, _ in bins], [o.mean() for _, o in bins], "o-", color=colour, markersize=4, label=name)
        scored = reports & ~np.isnan(found.scores[:, column])
        if scored.any():
            off = np.abs(found.mean[scored, column] - found.scores[scored, column])
            off = off / (found.deviation[scored, column] * calibration[name].deviation)
            wide = np.linspace(0.05, 3, 40)
            held = [math.erf(width / math.sqrt(2)) for width in wide]
            right.plot(held, [(off <= width).mean() for width in wide], color=colour, label=name)
    left.set(xlabel="P(win) as said", ylabel="share that won", title="pairs")
    right.set(xlabel="share that an interval should hold", ylabel="share that it holds", title="deviations")
    if left.get_legend_handles_labels()[0]:
        left.legend(frameon=False, fontsize=8)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def worst_sheet(found: Predictions, count: int = WORST) -> Image.Image:
    """The edits whose scores are furthest off, in points: original, edit, instruction, and label against score with its deviation."""
    off = np.where(np.isnan(found.scores), -1.0, np.abs(found.mean - found.scores))
    off[found.calibrates] = -1.0
    order = np.argsort(-off.max(axis=1), kind="stable")[:count]
    width, height = 2 * TILE + 2, TILE + 3 * LINE + 6
    columns = 3
    sheet = Image.new("RGB", (columns * (width + 12) + 12, -(-max(len(order), 1) // columns) * (height + 12) + 12), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, row in enumerate(order):
        group, number = found.edits[row]
        edit = found.groups[group].edits[number]
        x, y = 12 + place % columns * (width + 12), 12 + place // columns * (height + 12)
        for side, picture in enumerate((edit.original, edit.edited)):
            seen = JudgePicture(picture, edit.item).decoded()
            seen.thumbnail((TILE, TILE))
            sheet.paste(seen, (x + side * (TILE + 2), y))
        column = int(off[row].argmax())
        said = f"{found.perspectives[column]}: label {found.scores[row, column]:g}, judge {found.mean[row, column]:.2f}"
        draw.text((x, y + TILE + 2), _cut(edit.instruction, font, width), (30, 32, 36), font)
        draw.text((x, y + TILE + 2 + LINE), said, (150, 40, 20), font)
        others = ", ".join(f"{name[0]} {found.scores[row, c]:g}/{found.mean[row, c]:.1f}" for c, name in enumerate(found.perspectives))
        draw.text((x, y + TILE + 2 + 2 * LINE), others, (105, 110, 118), font)
    return sheet


def _cut(text: str, font: Any, width: int) -> str:
    while font.getlength(text) > width and text:
        text = text[:-2].rstrip("…") + "…"
    return text


def summary(rows: Sequence[tuple[str, str, dict[str, float]]]) -> str:
    """A few lines for the screen."""
    lines = []
    for kind, name, values in rows:
        if kind == ALL:
            lines.append(f"  {name:<12}" + "  ".join(f"{HEADS[f]} {shown(f, values[f])}" for f in
                                                    ("edits", "mean_error", "coverage", "pair_accuracy", "accuracy_with_ties",
                                                     "calibration_error")))
    return "\n".join(lines)

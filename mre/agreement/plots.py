"""Plots of a comparison as SVG text. Axes are fixed to the scale, so that 0.2 never looks like a cliff; every text is taken literally."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mre.agreement.comparison import ALL, Comparison

matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "mre", "text.parse_math": False, "font.family": "sans-serif",
                            "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True})
PEOPLE, JUDGE, LINE, GRID_LINE = "#2563a8", "#c2571a", "#555555", "#e6e6e6"
INK, PAPER = "#000000", "#ffffff"                               # of texts and axes, and behind them
ON_PALE, ON_STRONG = "#111111", "#fdfdfd"                       # of texts on coloured cells
MOST_BUBBLES = 400
GRID = 20                       # bubbles lie on a grid of this many steps over the scale
WORDS = {
    "en": {"people": "people", "judge": "judge", "people_axis": "people's mean score", "judge_axis": "score of {judge}",
           "mean_axis": "mean of both scores", "difference_axis": "{judge} minus people", "bias": "bias", "limits": "95 % of edits",
           "edits": "edits", "score": "mean score", "bias_title": "{judge} minus people",
           "scatter": "judge against people's mean score", "difference": "difference against mean", "methods": "mean score of each method",
           "edit_types": "bias by edit type and perspective"},
    "zh": {"people": "人工", "judge": "评判模型", "people_axis": "人工平均分", "judge_axis": "{judge} 的分数", "mean_axis": "两者平均分",
           "difference_axis": "{judge} 减去人工", "bias": "偏差", "limits": "95 % 的编辑", "edits": "个编辑", "score": "平均分",
           "bias_title": "{judge} 减去人工", "scatter": "模型分数与人工平均分", "difference": "差值与均值", "methods": "各方法的平均分",
           "edit_types": "按编辑类型和维度的偏差"},
}


def all_plots(comparison: Comparison, edit_types: pd.DataFrame, language: str = "en",
              names: Mapping[str, str] | None = None) -> Iterator[tuple[str, str, str]]:
    """Name, description and SVG of every plot. `names`: what readers call perspectives and edit types; others stay as they are."""
    words = WORDS[language] | dict(names or {})
    for judge, name in comparison.edits:
        about = f"{judge}, {words.get(name, name)}"
        for kind, draw in (("scatter", scatter), ("difference", difference), ("methods", method_means)):
            yield f"{kind}_{judge}_{name}", f"{about}: {words[kind]}", draw(comparison, judge, name, words)
    for judge in comparison.sides.judges:
        if len(edit_types) and (edit_types["judge"] == judge).any():
            yield f"edit_types_{judge}", f"{judge}: {words['edit_types']}", heat(comparison, judge, edit_types, words)


def _svg(figure: Figure) -> str:
    """The figure as an SVG element, without a date, so that the same numbers give the same bytes."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)            # glyphs that the font used for measuring lacks; browsers have them
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg"):]


def _square(title: str, top: float):
    figure = Figure(figsize=(3.7, 3.5))
    axes = figure.add_axes((0.155, 0.13, 0.815, 0.79))
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.grid(color=GRID_LINE, linewidth=0.6)
    return figure, axes, np.linspace(0, top, 6)


def _bubbles(axes, x: np.ndarray, y: np.ndarray, step: float, color: str) -> int:
    """One circle per pair of scores, its area the number of edits there; scores that are too many to tell apart are put on a grid.
    Returns the largest number."""
    points, counts = np.unique(np.round(np.stack([x, y], axis=1), 6), axis=0, return_counts=True)
    if len(points) > MOST_BUBBLES:
        points, counts = np.unique(np.round(np.stack([x, y], axis=1) / step) * step, axis=0, return_counts=True)
    area = 8 + 190 * counts / counts.max()
    axes.scatter(*points.T, s=area, color=color, alpha=0.55, linewidths=0.4, edgecolors=PAPER, zorder=3, clip_on=False)
    return int(counts.max())


def scatter(comparison: Comparison, judge: str, perspective: str, words: Mapping[str, str]) -> str:
    """The judge's score against people's mean, circles as large as the number of edits, with the line of equal scores."""
    top, edits = comparison.sides.top, comparison.edits[judge, perspective]
    figure, axes, ticks = _square(words.get(perspective, perspective), top)
    axes.plot([0, top], [0, top], color=LINE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2)
    most = _bubbles(axes, edits["human"].to_numpy(), edits["judge"].to_numpy(), top / GRID, PEOPLE)
    axes.set(xlim=(-0.04 * top, 1.04 * top), ylim=(-0.04 * top, 1.04 * top), xticks=ticks, yticks=ticks,
             xlabel=words["people_axis"], ylabel=words["judge_axis"].format(judge=_short(judge)))
    axes.set_aspect("equal")
    axes.set_title(f"n = {len(edits)}, ● ≤ {most}", loc="right", fontsize=8, color=LINE)
    return _svg(figure)


def difference(comparison: Comparison, judge: str, perspective: str, words: Mapping[str, str]) -> str:
    """Judge minus people against the mean of both, with bias and 95 % limits of agreement."""
    top, edits = comparison.sides.top, comparison.edits[judge, perspective]
    figure, axes, ticks = _square(words.get(perspective, perspective), top)
    human, judged = edits["human"].to_numpy(), edits["judge"].to_numpy()
    _bubbles(axes, (human + judged) / 2, judged - human, top / GRID, JUDGE)
    axes.axhline(0, color=LINE, linewidth=0.6)
    for statistic, style, label in (("bias", "-", words["bias"]), ("loa_low", "--", words["limits"]), ("loa_high", "--", words["limits"])):
        row = comparison.row(judge, perspective, "item", ALL, statistic)
        if row is not None and row.value is not None:
            axes.axhline(row.value, color=PEOPLE, linewidth=1.1, linestyle=style)
            axes.text(1.03 * top, row.value, f"{label} {row.value:+.2f}", ha="right", va="bottom", fontsize=8, color=PEOPLE, zorder=5,
                      bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.6})
            if row.low is not None and row.high is not None:
                axes.axhspan(row.low, row.high, color=PEOPLE, alpha=0.13, linewidth=0)
    axes.set(xlim=(-0.04 * top, 1.04 * top), ylim=(-1.04 * top, 1.04 * top), xticks=ticks, yticks=np.linspace(-top, top, 11),
             xlabel=words["mean_axis"], ylabel=words["difference_axis"].format(judge=_short(judge)))
    return _svg(figure)


def method_means(comparison: Comparison, judge: str, perspective: str, words: Mapping[str, str]) -> str:
    """Each method's mean by people and by the judge with intervals, best by people first; ranks stand at the right."""
    top, consistency = comparison.sides.top, comparison.order[judge, perspective]
    methods = sorted(consistency.human_rank.index, key=lambda method: (consistency.human_rank[method], method))
    figure = Figure(figsize=(3.7, 1.3 + 0.28 * len(methods)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(words.get(perspective, perspective), loc="left", fontsize=10, fontweight="bold")
    axes.grid(axis="x", color=GRID_LINE, linewidth=0.6)
    for i, method in enumerate(methods):
        for who, color, shift in (("human", PEOPLE, -0.13), ("judge", JUDGE, 0.13)):
            row = comparison.rows[judge, perspective, "method", method, f"mean_{who}"]
            assert row.value is not None, "methods of the order have means by both sides"
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [i + shift] * 2, color=color, linewidth=1.4, solid_capstyle="butt")
            axes.plot([row.value], [i + shift], "o" if who == "human" else "D", color=color, markersize=4.5, zorder=3, clip_on=False,
                      label={"human": words["people"], "judge": words["judge"]}[who] if i == 0 else None)
        ranks = f"{consistency.human_rank[method]:g} | {consistency.judge_rank[method]:g}"
        axes.text(1.02, i, ranks, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=LINE)
    axes.set(xlim=(0, top), ylim=(len(methods) - 0.5, -0.5), yticks=range(len(methods)), yticklabels=[_short(name) for name in methods],
             xticks=np.linspace(0, top, 6), xlabel=words["score"])
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    return _svg(figure)


def heat(comparison: Comparison, judge: str, edit_types: pd.DataFrame, words: Mapping[str, str]) -> str:
    """Bias per edit type and perspective, with interval and n in each cell; colours run over half the scale, the same in every plot."""
    top, mine = comparison.sides.top, edit_types[edit_types["judge"] == judge]
    kinds, names = list(dict.fromkeys(mine["edit_type"])), list(dict.fromkeys(mine["perspective"]))
    figure = Figure(figsize=(1.6 + 1.35 * len(names), 1.0 + 0.52 * len(kinds)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(words["bias_title"].format(judge=_short(judge)), loc="left", fontsize=10, fontweight="bold")
    values = mine.pivot(index="edit_type", columns="perspective", values="bias").reindex(index=kinds, columns=names).to_numpy(dtype=float)
    axes.imshow(values, cmap="RdBu_r", vmin=-top / 2, vmax=top / 2, aspect="auto")
    for row in mine.to_dict("records"):
        i, j = kinds.index(row["edit_type"]), names.index(row["perspective"])
        low, high = row["bias_low"], row["bias_high"]
        limits = f"\n{low:+.2f} … {high:+.2f}" if low is not None and np.isfinite(low) else ""
        pale = abs(row["bias"]) < 0.3 * top
        axes.text(j, i, f"{row['bias']:+.2f} (n {row['edits']}){limits}", ha="center", va="center", fontsize=7.5,
                  color=ON_PALE if pale else ON_STRONG)
    axes.set(xticks=range(len(names)), xticklabels=[words.get(name, name) for name in names], yticks=range(len(kinds)),
             yticklabels=[words.get(kind, kind) for kind in kinds])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return _svg(figure)


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"

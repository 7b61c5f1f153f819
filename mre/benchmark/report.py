"""The tables of any benchmark: accuracy and score (the paper's Table 1), asked scores (Table 6), edit types, stability (D.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mre.benchmark.tables import INTERVALS, Table
from mre.rewards import EDIT_TYPES, PERSPECTIVES

if TYPE_CHECKING:
    from mre.benchmark.answers import Scores


def table_1(scores: Scores, methods: Sequence[str]) -> Table:
    """Accuracy and score of each method."""
    title = "Accuracy (yes) and score, 0-5, per perspective (form of Table 1)"
    columns = ["method", *(f"{name} {what}" for name in PERSPECTIVES for what in ("acc", "score"))]
    rows = [[method, *(cell for name in PERSPECTIVES for cell in (scores.accuracy(method, name), scores.mean(method, name)))]
            for method in methods]
    return Table("table_1", title, columns, rows, [INTERVALS, scores.judge_note()])


def table_6(scores: Scores, sweeps: dict[str, list[tuple[str, str]]]) -> Table:
    """Scores asked for against scores obtained; `sweeps`: model -> (asked, method) from the lowest."""
    columns = ["model", "asked", *(f"{name} {what}" for name in PERSPECTIVES for what in ("acc", "score"))]
    rows = []
    for model, sweep in sweeps.items():
        rows += [[model, asked, *(cell for name in PERSPECTIVES for cell in (scores.accuracy(method, name), scores.mean(method, name)))]
                 for asked, method in sweep]
        if len(sweep) > 1:
            low, high = sweep[0], sweep[-1]
            spread = [cell for name in PERSPECTIVES for cell in ("", scores.gain(high[1], low[1], name))]
            rows.append([model, f"{high[0]} minus {low[0]}", *spread])
    return Table("table_6", "Asked scores and what they give (form of Table 6)", columns, rows, [INTERVALS, scores.judge_note()])


def table_of_pairs(scores: Scores, pairs: Sequence[tuple[str, str]]) -> Table:
    """Two methods beside each other and what the first gains over the second on the items that both have, for each pair."""
    columns = ["method", *(f"{name} {what}" for name in PERSPECTIVES for what in ("acc", "score"))]
    rows: list[list] = []
    for method, against in pairs:
        rows += [[name, *(cell for of in PERSPECTIVES for cell in (scores.accuracy(name, of), scores.mean(name, of)))]
                 for name in (against, method)]
        rows.append([f"{method} minus {against}", *(cell for name in PERSPECTIVES for cell in (scores.accuracy_gain(method, against, name),
                                                                                             scores.gain(method, against, name)))])
    return Table("pairs", "Pairs of methods on the same items (forms of Tables 1, 3 and 13)", columns, rows,
                 ["Differences of accuracy are points of per cent; their intervals are those of the differences.", INTERVALS,
                  scores.judge_note()])


def table_of_types(scores: Scores, methods: Sequence[str], perspective: str = "following") -> Table:
    """One perspective's mean score per edit type."""
    types = [name for name in EDIT_TYPES if any(item.edit_type == name for item in scores.items)]
    of_type = {name: [item for item in scores.items if item.edit_type == name] for name in types}
    rows = [[method, *(scores.mean(method, perspective, of_type[name]) for name in types)] for method in methods]
    return Table(f"types_{perspective}", f"Score of {perspective} per edit type", ["method", *types], rows,
                 [INTERVALS, scores.judge_note()])


def table_of_stability(scores: Scores, methods: Sequence[str]) -> Table:
    """How much a judge's answers move between repeats, in the mean and item by item (form of Appendix D.3).

    flips: items whose yes/no is not the same in all repeats; moved: items whose score is not.
    """
    columns = ["method", "perspective", "acc range (points)", "score range", "items that flip", "items that move", "mean item range",
               "n", "missing"]
    rows = []
    for method in methods:
        for name in PERSPECTIVES:
            by_repeat = [[(item.item, repeat) for item in scores.items] for repeat in range(scores.repeats)]
            accuracies = [mean_of(scores.accepted(method, name, keys)) for keys in by_repeat]
            means = [mean_of(scores.values(method, name, keys)) for keys in by_repeat]
            yes = list(zip(*(scores.accepted(method, name, keys) for keys in by_repeat), strict=True))
            value = list(zip(*(scores.values(method, name, keys) for keys in by_repeat), strict=True))
            whole = [number for number, scored in enumerate(value) if None not in scored]
            flips = [len({*yes[number]}) > 1 for number in whole if None not in yes[number]]
            ranges = [max(value[number]) - min(value[number]) for number in whole]
            missing = sum(scored is None for item in value for scored in item)
            rows.append([method, name, range_text(accuracies, 100), range_text(means, 1), share_text(flips),
                         share_text([width > 0 for width in ranges]), f"{sum(ranges) / len(ranges):.3f}" if ranges else "-",
                         len(value) * scores.repeats - missing, missing])
    return Table("stability", f"Stability of the judge over {scores.repeats} repeats (form of Appendix D.3)", columns, rows,
                 ["Item-level shares are over items with an answer in every repeat.", scores.judge_note()])


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of what is there; None for nothing."""
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None


def range_text(values: Sequence[float | None], scale: float) -> str:
    """Largest minus smallest."""
    kept = [value * scale for value in values if value is not None]
    return f"{max(kept) - min(kept):.2f}" if kept else "-"


def share_text(flags: Sequence[bool]) -> str:
    """`12 of 560 (2.1 %)`."""
    return f"{sum(flags)} of {len(flags)} ({100 * sum(flags) / len(flags):.1f} %)" if flags else "-"



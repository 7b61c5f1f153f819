"""What a study could find: the power of its paired test, and the spreads of a pilot to plan with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mre.agreement.paired_tests import paired_t_power, paired_t_size
from mre.errors import StudyError
from mre.study.figures import score_frame

if TYPE_CHECKING:
    from mre.study.store import Store


@dataclass(frozen=True)
class Power:
    """What a design can find: the paired t-test over items of the mean difference of two methods, two-sided, 5 %."""

    items: int
    annotators: int
    gap: float
    sd: float               # of an item's mean difference, over `annotators` per pair
    power: float
    items_needed: int       # for 80 % at this many annotators


def power(gap: float, items: int, per_pair: int, *, between: float, within: float) -> Power:
    """Power to find a mean difference `gap` with `items` items and `per_pair` annotators each.

    between: standard deviation over items of the true difference of the two edits
    within:  standard deviation of one annotator's difference about it; the mean of k annotators has within / sqrt(k)
    """
    for name, value in (("gap", gap), ("within", within), ("between", between)):
        if not math.isfinite(value) or value < 0 or (name == "gap" and value == 0):
            raise StudyError(f"{name} must be a positive number, got {value}")
    if items < 2 or per_pair < 1:
        raise StudyError(f"power needs at least 2 items and 1 annotator, got {items} and {per_pair}")
    sd = math.sqrt(between**2 + within**2 / per_pair)
    if sd == 0:
        raise StudyError("between and within must not both be 0")
    return Power(items, per_pair, gap, sd, paired_t_power(gap / sd, items), math.ceil(paired_t_size(gap / sd)))


def spreads_of(store: Store, name: str, perspective: str) -> tuple[float, float]:
    """`between` and `within` of a pilot study for `power`: from one-way analysis of the annotators' differences, pair by pair."""
    frame = score_frame(store, name)
    wide = frame.pivot_table(index=["item", "annotator"], columns="method", values=perspective, aggfunc="mean")
    if wide.shape[1] < 2:
        raise StudyError(f"study {name} has no scores of two methods yet")
    gaps = (wide.iloc[:, -1] - wide.iloc[:, 0]).dropna()
    groups = [group.to_numpy() for _item, group in gaps.groupby(level="item")]
    n, total = len(groups), sum(len(group) for group in groups)
    if n < 2 or total - n < 1:
        raise StudyError(f"study {name} needs two items, and one item scored by two annotators, before spreads can be told")
    inside = sum(((group - group.mean()) ** 2).sum() for group in groups) / (total - n)
    size = (total - sum(len(group) ** 2 for group in groups) / total) / (n - 1)
    outside = sum(len(group) * (group.mean() - gaps.mean()) ** 2 for group in groups) / (n - 1)
    return math.sqrt(max(0.0, (outside - inside) / size)), math.sqrt(inside)

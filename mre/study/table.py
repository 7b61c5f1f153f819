"""The paper's Table 3 from a study: each method's mean score per perspective, and what the paper leaves out: how many, how sure, how large.

An item's score is the mean over its annotators (of its pairs, where there are several). The instructions of one photo are not independent:
intervals come from resampling whole photos, and the paired tests count photos too. p is Holm-adjusted over all tests of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mre.agreement.figures import Figure, percentile_interval
from mre.agreement.paired_tests import PairedTest, holm, paired_test
from mre.agreement.resampling import Resampler
from mre.errors import StudyError
from mre.files import Tex, csv_text, latex_table, markdown_table
from mre.rewards import PERSPECTIVES
from mre.study.export import simulated_labels
from mre.study.figures import score_frame
from mre.study.records import find_study

if TYPE_CHECKING:
    from mre.study.store import Store

DRAWS = 2000
FORMS = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}


@dataclass(frozen=True)
class Mean:
    """One method on one perspective."""

    method: str
    perspective: str
    mean: Figure            # over items; n = items
    ratings: int


@dataclass(frozen=True)
class Comparison:
    """`second` minus `first` on one perspective, item by item."""

    first: str
    second: str
    perspective: str
    difference: Figure      # with the interval from resampling photos; p of the t-test over photos
    holm_p: float | None
    test: PairedTest


@dataclass(frozen=True)
class Table:
    study: str
    methods: tuple[str, ...]
    items: int
    photos: int
    annotators: int
    simulated: int          # of the annotators
    means: tuple[Mean, ...]
    comparisons: tuple[Comparison, ...]

    def mean(self, method: str, perspective: str) -> Mean:
        return next(cell for cell in self.means if (cell.method, cell.perspective) == (method, perspective))

    def written(self, form: str) -> str:
        """The table as `csv`, `md` or `tex` text."""
        return {"csv": _csv, "md": _markdown, "tex": _latex}[form](self)


def study_table(store: Store, name: str, *, everyone: bool = False, draws: int = DRAWS, seed: int = 0) -> Table:
    """Table 3 of a study, from final scores of pairs; excluded annotators are left out unless `everyone`."""
    study = find_study(store, name)
    frame = score_frame(store, name, everyone=everyone)
    if not len(frame):
        raise StudyError(f"study {name} has no scores yet")
    methods = tuple(frame["method"].drop_duplicates())
    photos = frame.drop_duplicates("item").set_index("item")["original"]
    resampler = Resampler(photos.to_numpy(), draws, seed)
    means, comparisons = [], []
    for perspective in PERSPECTIVES:
        by_item = frame.pivot_table(index="item", columns="method", values=perspective, aggfunc="mean", sort=False)
        codes = resampler.codes(photos.loc[by_item.index].to_numpy())
        for method in methods:
            mean = _mean_with_interval(by_item[method], codes, resampler)
            means.append(Mean(method, perspective, mean, int((frame["method"] == method).sum())))
        for first, second in combinations(methods, 2):
            test = paired_test(by_item[second], by_item[first], photos.loc[by_item.index])
            difference = _mean_with_interval(by_item[second] - by_item[first], codes, resampler)
            comparisons.append((first, second, perspective, Figure(difference.value, difference.n, difference.low, difference.high,
                                                                   test.mean_difference.p), test))
    adjusted = holm([test.mean_difference.p for *_rest, test in comparisons])
    return Table(name, methods, frame["item"].nunique(), photos.nunique(), frame["annotator"].nunique(),
                 len(simulated_labels(store, study) & set(frame["annotator"])), tuple(means),
                 tuple(Comparison(first, second, perspective, difference, p, test)
                       for (first, second, perspective, difference, test), p in zip(comparisons, adjusted, strict=True)))


def _mean_with_interval(values: pd.Series, codes: np.ndarray, resampler: Resampler) -> Figure:
    there = values.notna().to_numpy()
    found = values.to_numpy(dtype=float)[there]
    if not len(found):
        return Figure(None, 0, note="undefined: no item has it")
    low = high = None
    if resampler.draws:
        count, total = resampler.sums(codes[there], np.column_stack([np.ones(len(found)), found])).T
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = percentile_interval(total / count)
    return Figure(float(found.mean()), len(found), low, high)


# ------------------------------------------------------------------------------------------------------------------ forms

def _csv(table: Table) -> str:
    columns = ["study", "kind", "perspective", "method", "minus", "value", "low", "high", "items", "photos", "annotators", "ratings", "sd",
               "t", "p", "p_holm", "wilcoxon_p", "cohen_dz", "wins", "ties", "losses", "simulated"]
    rows = [[table.study, "mean", cell.perspective, cell.method, "", *_three(cell.mean), cell.mean.n, table.photos, table.annotators,
             cell.ratings, *[None] * 9, table.simulated] for cell in table.means]
    for row in table.comparisons:
        test = row.test
        rows.append([table.study, "difference", row.perspective, row.second, row.first, *_three(row.difference), test.n, table.photos,
                     table.annotators, None, test.sd_difference.value, test.t.value, row.difference.p, row.holm_p, test.wilcoxon.p,
                     test.cohen_dz.value, test.wins, test.ties, test.losses, table.simulated])
    return csv_text(columns, rows)


def _three(figure: Figure) -> tuple[float | None, ...]:
    return figure.value, figure.low, figure.high


def _markdown(table: Table) -> str:
    means = [[method, *(_with_interval(table.mean(method, perspective).mean) for perspective in PERSPECTIVES),
              str(table.mean(method, PERSPECTIVES[0]).ratings)] for method in table.methods]
    tests = [[f"{row.second} − {row.first}", row.perspective, _with_interval(row.difference, sign=True), _p(row.difference.p),
              _p(row.holm_p), _p(row.test.wilcoxon.p), _number(row.test.cohen_dz.value),
              f"{row.test.wins} / {row.test.ties} / {row.test.losses}"] for row in table.comparisons]
    heads = ["difference", "perspective", "mean [95 %]", "p (t)", "p (Holm)", "p (Wilcoxon)", "d_z", "win / tie / loss"]
    return "\n".join([markdown_table(["method", *PERSPECTIVES, "ratings"], means), markdown_table(heads, tests), _caption(table), ""])


def _latex(table: Table) -> str:
    rows: list[list[str] | None] = [[method, *(_with_interval(table.mean(method, name).mean) for name in PERSPECTIVES)]
                                    for method in table.methods]
    rows.append(None)
    for first, second in dict.fromkeys((row.first, row.second) for row in table.comparisons):
        pair = [row for row in table.comparisons if (row.first, row.second) == (first, second)]
        rows.append([f"{second} − {first}", *(_with_interval(row.difference, sign=True) for row in pair)])
        rows.append([Tex(r"\quad $p$ (paired $t$, Holm)"), *(_p(row.holm_p) for row in pair)])
        rows.append([Tex(r"\quad $d_z$"), *(_number(row.test.cohen_dz.value) for row in pair)])
    return latex_table(["Method", *(name.capitalize() for name in PERSPECTIVES)], rows, _caption(table), "l" + "c" * len(PERSPECTIVES))


def _caption(table: Table) -> str:
    whose, people = "Human", f"{table.annotators} annotators"
    if table.simulated:
        whose = "Simulated" if table.simulated == table.annotators else "Human and simulated"
        people += ", all simulated" if table.simulated == table.annotators else f", {table.simulated} of them simulated"
    return (f"{whose} scores, 0 to 5: means over {table.items} items ({table.photos} photos), {people}; "
            "95 % intervals from resampling photos; p-values from paired tests over photos (t-test cluster-robust).")


def _with_interval(figure: Figure, sign: bool = False) -> str:
    if figure.value is None:
        return "–"
    form = "+.2f" if sign else ".2f"
    interval = "" if figure.low is None else f" [{figure.low:{form}}, {figure.high:{form}}]"
    return f"{figure.value:{form}}{interval}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"

"""People against judges: every figure of the comparison, one row each, first its value, then its interval.

Levels, never mixed:
`item`           the judge against the mean of people's scores, over all edits (`all`: methods pooled) or those of one method
`within_method`  the methods' correlations and their average, so that differences between methods do not count as agreement
`method`         the means of methods and their order
`annotators`     people among each other: the ceiling
`pair`           two methods on one item: is the better one the same? and tests of one method against another, by people's scores
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from itertools import combinations

import numpy as np
import pandas as pd

from mre.agreement import annotators as an
from mre.agreement import resampling as rs
from mre.agreement import two_raters as tr
from mre.agreement.figures import DECIMALS, Figure, percentile_interval, rounded, undefined
from mre.agreement.paired_tests import PairedTest, holm, paired_test
from mre.agreement.ranking import OrderCounts, RankConsistency, method_pairs, rank_consistency
from mre.agreement.sides import Options, Sides
from mre.agreement.variance_components import icc_draws, icc_of_ratings

STATISTICS = ("pearson", "spearman", "kendall_tau_b", "lin_ccc", "bias", "loa_low", "loa_high", "mae", "rmse",
              "weighted_kappa_linear", "weighted_kappa_quadratic", "krippendorff_nominal", "krippendorff_ordinal", "krippendorff_interval",
              "fleiss_kappa", "icc_2_1", "icc_2_k", "spearman_fisher_mean", "spearman_tanh_mean", "human_loo_spearman",
              "accuracy_three_way", "accuracy_no_human_ties", "accuracy_decided", "rank_spearman", "rank_tau_b", "mean_human", "mean_judge",
              "wilcoxon_p", "sign_p", "paired_t_p", "cohen_dz", "win_rate")
LEVELS = ("item", "within_method", "method", "annotators", "pair")
ALL = "all"
TIE_RULES = {"accuracy_three_way": "ties are an answer: (right order + both tied) / all pairs",
             "accuracy_no_human_ties": "pairs that people decided; a tie of the judge is an error",
             "accuracy_decided": "pairs that both decided"}
TANH_NOTE = "tanh of the mean without arctanh, as in older tables; pulls toward 0"


@dataclass
class Row:
    """One figure. `value` None is undefined, and `note` says why."""

    scheme: str
    judge: str
    perspective: str
    level: str
    group: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str


COLUMNS = tuple(field.name for field in fields(Row))


class Comparison:
    """All figures of both sides. Values are there at once; `intervals()` adds their limits block by block."""

    def __init__(self, sides: Sides) -> None:
        self.sides, self.options = sides, sides.options
        self.rows: dict[tuple[str, str, str, str, str], Row] = {}
        self.edits = {(judge, name): sides.edits(judge, name) for judge in sides.judges for name in sides.perspectives}
        self.edits = {key: edits for key, edits in self.edits.items() if len(edits)}
        self.ratings = {name: an.ratings_table(sides.human[sides.human["perspective"] == name]) for name in sides.perspectives}
        self.grades = {name: np.unique(rounded(table.to_numpy(dtype=float)[table.notna().to_numpy()]))
                       for name, table in self.ratings.items()}
        self.order: dict[tuple[str, str], RankConsistency] = {}
        self.pairs: dict[tuple[str, str], pd.DataFrame] = {}
        self.tests: dict[tuple[str, str, str, str], PairedTest] = {}            # (source, perspective, first, second)
        self.same_order: dict[tuple[str, str], float] = {}                      # share of draws in which both sides order methods alike
        self._footing: dict[tuple[str, str], pd.DataFrame] = {}
        self._annotators = {name: self._annotator_figures(name) for name in sides.perspectives}
        for judge, name in self.edits:
            self._item_level(judge, name)
            self._within_methods(judge, name)
            self._annotator_level(judge, name)
            self._method_level(judge, name)
            self._pair_level(judge, name)
        rated = sides.human["item"][sides.human["perspective"].isin(sides.perspectives)]
        self.images = sides.items["image"][sides.items.index.isin(rated)]       # of the items that any figure is of: what is resampled
        self.resampler: rs.Resampler | None = None            # once intervals are drawn

    # Values --------------------------------------------------------------------------------------------------------------------------

    def _put(self, judge: str, perspective: str, level: str, group: str, statistic: str, figure: Figure, note: str = "") -> None:
        notes = "; ".join(filter(None, [figure.note, note if figure.defined else ""]))
        self.rows[judge, perspective, level, group, statistic] = Row(
            self.options.scheme, judge, perspective, level, group, statistic, figure.value, figure.low, figure.high, figure.n, notes)

    def _groups(self, judge: str, perspective: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """All edits, then each method's."""
        edits = self.edits[judge, perspective]
        yield ALL, edits
        for method in self.sides.methods:
            if len(part := edits[edits["method"] == method]):
                yield method, part

    def _item_level(self, judge: str, perspective: str) -> None:
        grades = self.grades[perspective]
        on_grades = "both on the annotators' grades " + (f"{grades[0]:g} to {grades[-1]:g}" if len(grades) > 8
                                                         else ", ".join(f"{grade:g}" for grade in grades)) + ", halves up"
        for group, edits in self._groups(judge, perspective):
            human, scores = edits["human"].to_numpy(), edits["judge"].to_numpy()
            for statistic, figure in pair_figures(human, scores, grades).items():
                note = on_grades if statistic.startswith("weighted_kappa") else ""
                self._put(judge, perspective, "item", group, statistic, figure, note)
            test = paired_test(scores, human, edits["image"])
            for statistic, figure in (("wilcoxon_p", p_of(test.wilcoxon)), ("sign_p", p_of(test.sign)), ("paired_t_p", p_of(test.t)),
                                      ("cohen_dz", test.cohen_dz), ("win_rate", test.win_rate)):
                self._put(judge, perspective, "item", group, statistic, figure, f"judge minus people; counts {self.sides.cluster}s"
                          if statistic.endswith("_p") else "judge minus people" if statistic == "cohen_dz"
                          else "edits that the judge scores higher than people, ties half")

    def _within_methods(self, judge: str, perspective: str) -> None:
        rhos, loo = {}, {}
        for group, edits in self._groups(judge, perspective):
            if group == ALL:
                continue
            for statistic in ("pearson", "spearman", "kendall_tau_b"):
                row = self.rows[judge, perspective, "item", group, statistic]
                self._put(judge, perspective, "within_method", group, statistic, Figure(row.value, row.n, note=row.note))
            rhos[group] = self.rows[judge, perspective, "item", group, "spearman"].value
            loo[group] = self._loo_cells(perspective, edits)
            self._put(judge, perspective, "within_method", group, "human_loo_spearman", tr.fisher_mean(loo[group].values()),
                      "annotator against the mean of the others, Fisher mean over annotators")
        cells = [figure for figures in loo.values() for figure in figures.values()]
        self._put(judge, perspective, "within_method", ALL, "spearman_fisher_mean", tr.fisher_mean(rhos.values()),
                  "Fisher mean over methods")
        self._put(judge, perspective, "within_method", ALL, "spearman_tanh_mean", tr.tanh_mean(rhos.values()), TANH_NOTE)
        self._put(judge, perspective, "within_method", ALL, "human_loo_spearman", tr.fisher_mean(cells),
                  "annotator against the mean of the others, Fisher mean over annotators and methods")

    def _loo_cells(self, perspective: str, edits: pd.DataFrame) -> dict[str, Figure]:
        """Leave-one-out correlations over exactly these edits."""
        table = self.ratings[perspective].reindex(pd.MultiIndex.from_frame(edits[["item", "method"]]))
        return an.leave_one_out(table.dropna(axis=1, how="all"))

    def _annotator_tables(self, perspective: str) -> Iterator[tuple[str, pd.DataFrame]]:
        table = self.ratings[perspective]
        yield ALL, table
        for method, part in table.groupby(level="method", sort=True):
            yield str(method), part.dropna(axis=1, how="all")

    def _annotator_figures(self, perspective: str) -> list[tuple[str, str, Figure, str]]:
        """Group, statistic, figure, note: the same for all judges, since only people take part."""
        found = []
        for group, table in self._annotator_tables(perspective):
            for level in ("nominal", "ordinal", "interval"):
                found.append((group, f"krippendorff_{level}", an.krippendorff_alpha(table, level), ""))
            found.append((group, "fleiss_kappa", an.fleiss_kappa(table), "grades as unordered names"))
            for name, figure in icc_of_ratings(table).items():
                found.append((group, name, figure, ""))
            for weights in ("linear", "quadratic"):
                found.append((group, f"weighted_kappa_{weights}", an.mean_pairwise_kappa(table, weights),
                              "mean over pairs of annotators, weights over category ranks"))
            loo = an.leave_one_out(table)
            found.append((group, "human_loo_spearman", tr.fisher_mean(loo.values()),
                          "annotator against the mean of the others, Fisher mean over annotators"
                          + (", methods pooled" if group == ALL else "")))
        return found

    def _annotator_level(self, judge: str, perspective: str) -> None:
        for group, statistic, figure, note in self._annotators[perspective]:
            self._put(judge, perspective, "annotators", group, statistic, figure, note)

    def judge_as_annotator(self, judge: str, perspective: str) -> pd.DataFrame:
        """Per method and annotator: annotator and judge on the same footing, `method` before the columns of `an.judge_as_annotator`."""
        if (judge, perspective) in self._footing:
            return self._footing[judge, perspective]
        parts = []
        for group, edits in self._groups(judge, perspective):
            if group != ALL:
                table = self.ratings[perspective].reindex(pd.MultiIndex.from_frame(edits[["item", "method"]])).dropna(axis=1, how="all")
                part = an.judge_as_annotator(table, edits["judge"].to_numpy())
                part.insert(0, "method", group)
                parts.append(part)
        return self._footing.setdefault((judge, perspective), pd.concat(parts, ignore_index=True))

    def _method_level(self, judge: str, perspective: str) -> None:
        edits = self.edits[judge, perspective]
        means = edits.groupby("method")[["human", "judge"]].mean().round(DECIMALS)
        alone = self.ratings[perspective].mean(axis=1).groupby(level="method").agg(["mean", "count"])
        for method in self.sides.methods:
            if method in means.index:
                part = edits[edits["method"] == method]
                figures = {"mean_human": float(part["human"].mean()), "mean_judge": float(part["judge"].mean()),
                           "bias": float((part["judge"] - part["human"]).mean())}
                for statistic, value in figures.items():
                    self._put(judge, perspective, "method", method, statistic, Figure(value, len(part)))
            elif method in alone.index:
                self._put(judge, perspective, "method", method, "mean_human", Figure(float(alone["mean"].loc[method]),
                                                                                     int(alone["count"].loc[method])), "people alone")
                for statistic in ("mean_judge", "bias"):
                    self._put(judge, perspective, "method", method, statistic, undefined(0, "the judge did not score this method"))
        order = self.order[judge, perspective] = rank_consistency(means["human"], means["judge"])
        for statistic, figure in (("rank_spearman", order.spearman), ("rank_tau_b", order.kendall_tau_b)):
            self._put(judge, perspective, "method", ALL, statistic, figure)
        for statistic, value in (("mean_human", means["human"].mean()), ("mean_judge", means["judge"].mean()),
                                 ("bias", (means["judge"] - means["human"]).mean())):
            self._put(judge, perspective, "method", ALL, statistic, Figure(float(value), len(means)), "mean over methods")

    def _pair_level(self, judge: str, perspective: str) -> None:
        pairs = self.pairs[judge, perspective] = method_pairs(self.edits[judge, perspective], [
            method for method in self.sides.methods if (self.edits[judge, perspective]["method"] == method).any()])
        counts = OrderCounts.of(pairs)
        for statistic, figure in (("accuracy_three_way", counts.three_way), ("accuracy_no_human_ties", counts.no_human_ties),
                                  ("accuracy_decided", counts.decided)):
            self._put(judge, perspective, "pair", ALL, statistic, figure, TIE_RULES[statistic])

    def method_tests(self) -> None:
        """Tests of each method against each other, by people's and by the judges' scores; people's become rows of level `pair`."""
        for perspective in self.sides.perspectives:
            table = self.ratings[perspective].mean(axis=1).unstack("method")
            self._tests_of("people", perspective, table)
            for judge in self.sides.judges:
                if (judge, perspective) in self.edits:
                    scores = self.sides.judge
                    mine = scores[(scores["judge"] == judge) & (scores["perspective"] == perspective)]
                    self._tests_of(judge, perspective, mine.pivot(index="item", columns="method", values="score"))
                    self._test_rows(judge, perspective)

    def _tests_of(self, source: str, perspective: str, table: pd.DataFrame) -> None:
        methods = [method for method in self.sides.methods if method in table]
        for first, second in combinations(methods, 2):
            self.tests[source, perspective, first, second] = paired_test(table[first], table[second],
                                                                         self.sides.items["image"].reindex(table.index))

    def _test_rows(self, judge: str, perspective: str) -> None:
        for (source, name, first, second), test in self.tests.items():
            if source == "people" and name == perspective:
                for statistic, figure in (("wilcoxon_p", p_of(test.wilcoxon)), ("sign_p", p_of(test.sign)), ("paired_t_p", p_of(test.t)),
                                          ("cohen_dz", test.cohen_dz), ("win_rate", test.win_rate)):
                    self._put(judge, perspective, "pair", f"{first} vs {second}", statistic, figure,
                              "people's item means, first minus second" + (", ties half" if statistic == "win_rate" else "")
                              + (f"; counts {self.sides.cluster}s" if statistic.endswith("_p") else ""))

    def adjusted(self, source: str, perspective: str) -> dict[tuple[str, str], float | None]:
        """Wilcoxon p of all pairs of methods, adjusted by Holm over them and over the perspectives."""
        keys = [key for key in self.tests if key[0] == source]
        p_values = holm([self.tests[key].wilcoxon.p for key in keys])
        return {key[2:]: p for key, p in zip(keys, p_values, strict=True) if key[1] == perspective}

    # Intervals -----------------------------------------------------------------------------------------------------------------------

    @property
    def interval_rule(self) -> str:
        """How the intervals are drawn, in words."""
        if not self.options.bootstrap:
            return "no intervals asked for"
        count = self.images.nunique()
        if count < 2:
            return f"no intervals: one {self.sides.cluster}"
        return (f"95 % percentile intervals of {self.options.bootstrap} bootstrap draws of {count} {self.sides.cluster}s, "
                f"seed {self.options.seed}")

    def intervals(self) -> Iterator[tuple[int, int]]:
        """Fills in the limits; yields (blocks done, blocks in all) now and then. A second call does nothing."""
        if self.resampler is not None or not self.options.bootstrap:
            return
        resampler = self.resampler = rs.Resampler(self.images, self.options.bootstrap, self.options.seed)
        if not resampler.draws:
            return
        self.codes = pd.Series(resampler.codes(self.images), index=self.images.index)
        blocks = [*((self._draw_annotators, (name,)) for name in self.sides.perspectives), *((self._draw_judge, key) for key in self.edits)]
        for done, (block, key) in enumerate(blocks, 1):
            block(resampler, *key)
            yield done, len(blocks)

    def _limit(self, judge: str, perspective: str, level: str, group: str, draws: dict[str, np.ndarray]) -> None:
        for statistic, values in draws.items():
            row = self.rows.get((judge, perspective, level, group, statistic))
            if row is None or row.value is None or not len(values):
                continue
            row.low, row.high = percentile_interval(values)
            if row.low is None:
                row.note = "; ".join(filter(None, [row.note, "no interval: undefined in more than one draw of ten"]))

    def _no_interval(self, judge: str, perspective: str, group: str) -> None:
        for level in ("nominal", "ordinal", "interval"):
            row = self.rows[judge, perspective, "annotators", group, f"krippendorff_{level}"]
            if row.value is not None and row.low is None:
                row.note = "; ".join(filter(None, [row.note, f"no interval: more than {tr.MOST_GRADES} different scores"]))

    def _draw_annotators(self, resampler: rs.Resampler, perspective: str) -> None:
        for group, table in self._annotator_tables(perspective):
            codes = self.codes[table.index.get_level_values("item")].to_numpy()
            matrix = rounded(table.to_numpy(dtype=float))
            draws = rs.annotator_draws(resampler, codes, table)
            if group == ALL or not np.isnan(matrix).any():          # with gaps each draw takes a search: for all methods together alone
                draws |= icc_draws(resampler, codes, matrix)
            for judge in self.sides.judges:
                if (judge, perspective) in self.edits:
                    self._limit(judge, perspective, "annotators", group, draws)
                    if len(self.grades[perspective]) > tr.MOST_GRADES:
                        self._no_interval(judge, perspective, group)

    def _draw_judge(self, resampler: rs.Resampler, judge: str, perspective: str) -> None:
        grades = self.grades[perspective]
        rhos, loo, human_means, judge_means = [], [], [], []
        for group, edits in self._groups(judge, perspective):
            codes = self.codes[edits["item"]].to_numpy()
            draws = rs.pair_draws(resampler, codes, edits["human"].to_numpy(), edits["judge"].to_numpy(), grades)
            self._limit(judge, perspective, "item", group, draws)
            if group == ALL:
                continue
            self._limit(judge, perspective, "method", group, {name: draws[name] for name in ("mean_human", "mean_judge", "bias")})
            table = self.ratings[perspective].reindex(pd.MultiIndex.from_frame(edits[["item", "method"]])).dropna(axis=1, how="all")
            cells = list(rs.loo_draws(resampler, codes, table).values()) if table.shape[1] > 1 else []
            within = {name: draws[name] for name in ("pearson", "spearman", "kendall_tau_b")}
            if cells:
                within["human_loo_spearman"] = rs.fisher_draws(cells)
            self._limit(judge, perspective, "within_method", group, within)
            if self.rows[judge, perspective, "item", group, "spearman"].value is not None:
                rhos.append(draws["spearman"])
            loo += cells
            human_means.append(draws["mean_human"])
            judge_means.append(draws["mean_judge"])
        overall = {}
        if rhos:
            overall = {"spearman_fisher_mean": rs.fisher_draws(rhos), "spearman_tanh_mean": rs.fisher_draws(rhos, transform=False)}
        if loo:
            overall["human_loo_spearman"] = rs.fisher_draws(loo)
        self._limit(judge, perspective, "within_method", ALL, overall)
        human, scores = np.stack(human_means, axis=1), np.stack(judge_means, axis=1)
        with np.errstate(invalid="ignore"):
            order = rs.order_draws(human, scores) if human.shape[1] > 1 else {}
            self._limit(judge, perspective, "method", ALL, {**order, "mean_human": human.mean(axis=1), "mean_judge": scores.mean(axis=1),
                                                            "bias": (scores - human).mean(axis=1)})
        if order and np.isfinite(order["same_order"]).any():
            self.same_order[judge, perspective] = float(np.nanmean(order["same_order"]))
        self._draw_pairs(resampler, judge, perspective)

    def _draw_pairs(self, resampler: rs.Resampler, judge: str, perspective: str) -> None:
        pairs = self.pairs[judge, perspective]
        if not len(pairs):
            return
        human, judged = np.sign(pairs["human_difference"].to_numpy()), np.sign(pairs["judge_difference"].to_numpy())
        kinds = np.stack([(human == judged) & (human != 0), (human == judged), human != 0, (human != 0) & (judged != 0),
                          np.ones(len(pairs), dtype=bool)], axis=1)
        right, agreeing, decided, both, n = resampler.sums(self.codes[pairs["item"]].to_numpy(), kinds).T
        with np.errstate(divide="ignore", invalid="ignore"):
            self._limit(judge, perspective, "pair", ALL, {"accuracy_three_way": agreeing / n, "accuracy_no_human_ties": right / decided,
                                                          "accuracy_decided": right / both})
        if any(key[:2] == ("people", perspective) for key in self.tests):
            self._draw_tests(resampler, judge, perspective)

    def _draw_tests(self, resampler: rs.Resampler, judge: str, perspective: str) -> None:
        table = self.ratings[perspective].mean(axis=1).unstack("method")
        for source, name, first, second in self.tests:
            if source == "people" and name == perspective:
                both = table[[first, second]].dropna()
                if len(both) > 1:
                    codes = self.codes[both.index].to_numpy()
                    draws = rs.moment_draws(resampler, codes, rounded(both[second]), rounded(both[first]))
                    self._limit(judge, perspective, "pair", f"{first} vs {second}",
                                {name: draws[name] for name in ("cohen_dz", "win_rate")})

    # Reading -------------------------------------------------------------------------------------------------------------------------

    def agreement(self) -> pd.DataFrame:
        """All rows so far, in a stable order."""
        return pd.DataFrame([astuple(row) for row in self.rows.values()], columns=COLUMNS)

    def row(self, judge: str, perspective: str, level: str, group: str, statistic: str) -> Row | None:
        """One figure, or None where it does not exist."""
        return self.rows.get((judge, perspective, level, group, statistic))


def pair_figures(human: np.ndarray, judge: np.ndarray, grades: np.ndarray) -> dict[str, Figure]:
    """All two-column figures by their names in the table."""
    low, high = tr.limits_of_agreement(human, judge)
    first, second = tr.to_grades(human, grades), tr.to_grades(judge, grades)
    return {"pearson": tr.pearson(human, judge), "spearman": tr.spearman(human, judge), "kendall_tau_b": tr.kendall_tau_b(human, judge),
            "lin_ccc": tr.lin_ccc(human, judge), "bias": tr.bias(human, judge), "loa_low": low, "loa_high": high,
            "mae": tr.mae(human, judge), "rmse": tr.rmse(human, judge),
            "weighted_kappa_linear": tr.weighted_kappa(first, second, "linear"),
            "weighted_kappa_quadratic": tr.weighted_kappa(first, second, "quadratic"),
            "icc_2_1": an.icc(np.stack([human, judge], axis=1))["2_1"],
            "mean_human": Figure(float(np.mean(human)), len(human)), "mean_judge": Figure(float(np.mean(judge)), len(judge))}


def p_of(figure: Figure) -> Figure:
    """The p-value of a test as a figure of its own."""
    return Figure(figure.p, figure.n, note=figure.note) if figure.defined else figure


def compare(sides: Sides) -> Comparison:
    """The whole comparison, intervals included."""
    comparison = Comparison(sides)
    comparison.method_tests()
    for _ in comparison.intervals():
        pass
    return comparison


__all__ = ["COLUMNS", "LEVELS", "STATISTICS", "Comparison", "Options", "Row", "compare"]

"""The tables of a comparison beside `agreement.csv`: what a reader looks at first, each a plain frame with its own file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import optimize, stats

from mre.agreement import annotators as an
from mre.agreement import resampling as rs
from mre.agreement import two_raters as tr
from mre.agreement.comparison import ALL, Comparison, Row
from mre.agreement.figures import Figure, percentile_interval, rounded
from mre.agreement.paired_tests import detectable_dz
from mre.agreement.ranking import (
    OrderCounts,
    RankConsistency,
    bradley_terry_of_pairs,
    calibrated_ties,
    order_confusion,
    order_kappa,
    swept_ties,
    vote_agreement,
)
from mre.rewards import EDIT_TYPES

NARROW_N = 100                  # cells with fewer edits are flagged: their intervals are wide
FOLDS = 5                       # of the calibration, cut by source image
FEW_METHODS = 3                 # so many are named one by one
FEW_VOTES = 30                  # a method with fewer votes gets no rank
DISAGREEMENTS = 200             # rows of the written table


def all_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Every table by the name of its file; empty ones are left out."""
    tables = {"summary": summary(comparison), "coverage": coverage(comparison), "methods": methods(comparison),
              "edit_types": edit_types(comparison), "annotators": annotators(comparison), "order": order(comparison),
              "method_tests": method_tests(comparison), "closeness": closeness(comparison), "judges": judges(comparison),
              "stability": stability(comparison), "calls": calls(comparison), "missing": comparison.sides.missing,
              "missing_rules": missing_rules(comparison),
              "disagreements": pd.concat([disagreements(comparison, judge, name, limit=DISAGREEMENTS) for judge, name in comparison.edits])}
    return {name: table for name, table in tables.items() if len(table)}


def _cells(prefix: str, figure: Figure | Row | None) -> dict[str, float | None]:
    """A figure or row as three cells."""
    if figure is None:
        return {prefix: None, f"{prefix}_low": None, f"{prefix}_high": None}
    return {prefix: figure.value, f"{prefix}_low": figure.low, f"{prefix}_high": figure.high}


def summary(comparison: Comparison) -> pd.DataFrame:
    """One line per judge and perspective: bias, agreement within methods beside the human ceiling, order of methods."""
    rows = []
    for judge, name in comparison.edits:
        def get(level: str, statistic: str, group: str = ALL, judge: str = judge, name: str = name) -> Row | None:
            return comparison.row(judge, name, level, group, statistic)
        item = {statistic: comparison.rows[judge, name, "item", ALL, statistic] for statistic in ("bias", "mean_human", "mean_judge")}
        within = get("within_method", "spearman_fisher_mean")
        alike = replacement(comparison, judge, name)
        rows.append({"judge": judge, "perspective": name, "edits": item["bias"].n, "methods": within.n if within else 0,
                     "mean_human": item["mean_human"].value, "mean_judge": item["mean_judge"].value,
                     **_cells("bias", item["bias"]), **_cells("mae", get("item", "mae")),
                     **_cells("spearman_within", within), **_cells("human_ceiling", get("within_method", "human_loo_spearman")),
                     "judge_vs_others": alike["judge_vs_others"].value, "cells_judge_higher": alike["judge_higher"],
                     "cells": alike["cells"],
                     **_cells("spearman_pooled", get("item", "spearman")), **_cells("lin_ccc", get("item", "lin_ccc")),
                     **_cells("krippendorff_ordinal", get("annotators", "krippendorff_ordinal")),
                     **_cells("rank_tau_b", get("method", "rank_tau_b")), "same_order": _yes(comparison.order[judge, name].same_order),
                     "same_order_share_of_draws": comparison.same_order.get((judge, name)),
                     **_cells("accuracy_no_human_ties", get("pair", "accuracy_no_human_ties"))})
    return pd.DataFrame(rows)


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[value]


def verdict(comparison: Comparison, judge: str) -> str:
    """The paper's claim "people score lower, ranks agree" in one sentence: bias method by method where there are few, and the order."""
    orders = {name: consistency for (who, name), consistency in comparison.order.items() if who == judge}
    if not orders:
        return ""
    names = list(orders)
    methods = [method for method in comparison.sides.methods if any(method in order.human_rank.index for order in orders.values())]
    if len(methods) <= FEW_METHODS:
        bias = "; ".join(f"{method} {' / '.join(_signed(comparison, judge, name, method) for name in names)}" for method in methods)
        bias = f"({' / '.join(names)}): {bias}"
    else:
        bias = "mean over methods: " + ", ".join(f"{name} {_signed(comparison, judge, name, ALL)}" for name in names)
    alike = [order.same_order for order in orders.values()]
    if len(methods) < 2:
        ranks = "one method, so no order"
    elif all(alike):
        ranks = f"same order on all {_count(len(names))}" if len(names) > 1 else "same order of methods"
    else:
        ranks = "order of methods: " + ", ".join(f"{name} {_order(order)}" for name, order in orders.items())
    return f"{judge} minus people, {bias}; {ranks}."


def _signed(comparison: Comparison, judge: str, name: str, group: str) -> str:
    row = comparison.row(judge, name, "method", group, "bias")
    if row is None or row.value is None:
        return "–"
    return f"{row.value:+.2f}" + (f" ({row.low:+.2f} to {row.high:+.2f})" if group == ALL and row.low is not None else "")


def _order(order: RankConsistency) -> str:
    if order.same_order:
        return "the same"
    return f"tau-b {order.kendall_tau_b.value:.2f}" if order.kendall_tau_b.defined else "undefined"


def _count(number: int) -> str:
    return {2: "two", 3: "three", 4: "four", 5: "five"}.get(number, str(number))


def coverage(comparison: Comparison) -> pd.DataFrame:
    """What stands behind each perspective's figures."""
    sides, rows = comparison.sides, []
    for judge, name in comparison.edits:
        edits, human = comparison.edits[judge, name], sides.human[sides.human["perspective"] == name]
        judged = sides.judge[(sides.judge["judge"] == judge) & (sides.judge["perspective"] == name)]
        rows.append({"judge": judge, "perspective": name, "edits_both": len(edits), "items": edits["item"].nunique(),
                     "methods": edits["method"].nunique(), "annotators": human["annotator"].nunique(),
                     "ratings_per_edit_min": int(edits["ratings"].min()), "ratings_per_edit_max": int(edits["ratings"].max()),
                     "edits_people_only": len(comparison.ratings[name]) - len(edits), "edits_judge_only": len(judged) - len(edits),
                     "judge_runs_max": int(edits["repeats"].max()), "scale": f"0-{sides.top:g}", "resampled": sides.cluster,
                     "clusters": edits["image"].nunique(), "dz_found_with_80_percent": detectable_dz(max(2, edits["item"].nunique()))})
    return pd.DataFrame(rows)


def methods(comparison: Comparison) -> pd.DataFrame:
    """Means, ranks and Bradley-Terry ratings of methods by both sides. Ratings come from pairs on the same item; ranks by few votes are
    left out."""
    rows = []
    for (judge, name), consistency in comparison.order.items():
        pairs = comparison.pairs[judge, name]
        boards = {who: bradley_terry_of_pairs(pairs, f"{who}_difference", _resampled(comparison, pairs)).to_dict("index")
                  for who in ("human", "judge")} if len(pairs) else {}
        ratings = comparison.ratings[name]
        for method in comparison.sides.methods:
            human, mean = (comparison.row(judge, name, "method", method, f"mean_{who}") for who in ("human", "judge"))
            if human is None:
                continue
            row = {"judge": judge, "perspective": name, "method": method, "edits": human.n, **_cells("mean_human", human),
                   **_cells("mean_judge", mean), **_cells("bias", comparison.row(judge, name, "method", method, "bias")),
                   "sd_of_annotator_means": an.annotator_means(ratings[ratings.index.get_level_values("method") == method])[1],
                   "human_rank": consistency.human_rank.get(method), "judge_rank": consistency.judge_rank.get(method)}
            for who, board in boards.items():
                line = board.get(method)
                if line is not None and line["battles"] >= FEW_VOTES:
                    row |= {f"{who}_rating": line["rating"], f"{who}_rating_low": line["low"], f"{who}_rating_high": line["high"],
                            f"{who}_rating_penalised": line["penalised"], f"{who}_elo_in_file_order": line["elo_in_file_order"],
                            "votes": int(line["battles"])}
            rows.append(row)
    return pd.DataFrame(rows)


def _resampled(comparison: Comparison, pairs: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray] | None:
    """Sums of indicator columns of these pairs in each draw; None before intervals are drawn."""
    resampler = comparison.resampler
    if resampler is None or not resampler.draws:
        return None
    codes = comparison.codes[pairs["item"]].to_numpy()
    return lambda columns: resampler.sums(codes, columns.to_numpy())


def edit_types(comparison: Comparison) -> pd.DataFrame:
    """Bias, error and within-method agreement per edit type and perspective, with intervals; cells of few edits are flagged."""
    rows = []
    for (judge, name), edits in comparison.edits.items():
        kinds = [kind for kind in dict.fromkeys([*EDIT_TYPES, *sorted(edits["edit_type"].dropna().unique())])
                 if (edits["edit_type"] == kind).any()]
        for kind in kinds:
            part = edits[edits["edit_type"] == kind]
            figures = {"bias": tr.bias(part["human"], part["judge"]), "mae": tr.mae(part["human"], part["judge"])}
            by_method = [group for _, group in part.groupby("method", sort=True)]
            rho = tr.fisher_mean([tr.spearman(group["human"], group["judge"]) for group in by_method])
            if comparison.resampler is not None and comparison.resampler.draws:
                figures, rho = _with_limits(comparison, comparison.resampler, part, by_method, figures, rho)
            rows.append({"judge": judge, "perspective": name, "edit_type": kind, "edits": len(part), "mean_human": part["human"].mean(),
                         "mean_judge": part["judge"].mean(), **_cells("bias", figures["bias"]), **_cells("mae", figures["mae"]),
                         **_cells("spearman_within", rho), "note": "; ".join(filter(None, [
                             rho.note, f"wide: fewer than {NARROW_N} edits" if len(part) < NARROW_N else ""]))})
    return pd.DataFrame(rows)


def _with_limits(comparison: Comparison, resampler: rs.Resampler, part: pd.DataFrame, by_method: list[pd.DataFrame],
                 figures: dict[str, Figure], rho: Figure) -> tuple[dict[str, Figure], Figure]:
    codes = comparison.codes
    draws = rs.moment_draws(resampler, codes[part["item"]].to_numpy(), rounded(part["human"]), rounded(part["judge"]))
    limited = {name: replace(figure, **dict(zip(("low", "high"), percentile_interval(draws[name]), strict=True)))
               for name, figure in figures.items()}
    cells = [rs.rank_draws(resampler, codes[group["item"]].to_numpy(), rounded(group["human"]), rounded(group["judge"]), tau=False)
             for group in by_method if group["human"].nunique() > 1 and group["judge"].nunique() > 1 and len(group) > 2]
    if rho.defined and cells:
        low, high = percentile_interval(rs.fisher_draws([cell["spearman"] for cell in cells]))
        rho = replace(rho, low=low, high=high)
    return limited, rho


def replacement(comparison: Comparison, judge: str, name: str) -> dict:
    """The judge as an extra annotator: both against the mean of the other annotators, Fisher mean over methods and annotators."""
    table = comparison.judge_as_annotator(judge, name)
    humans, judged = list(table["human_vs_others"]), list(table["judge_vs_others"])
    higher = sum(mine.defined and theirs.defined and mine.value > theirs.value for mine, theirs in zip(judged, humans, strict=True))
    return {"judge_vs_others": tr.fisher_mean(judged), "human_vs_others": tr.fisher_mean(humans), "judge_higher": int(higher),
            "judge_vs_annotator": tr.fisher_mean(table["judge_vs_annotator"]), "cells": len(table)}


def annotators(comparison: Comparison) -> pd.DataFrame:
    """Per method and annotator: the annotator and the judge against the mean of the others, and against each other (Spearman)."""
    parts = []
    for judge, name in comparison.edits:
        table = comparison.judge_as_annotator(judge, name).copy()
        for column in ("human_vs_others", "judge_vs_others", "judge_vs_annotator"):
            table[column] = [figure.value for figure in table[column]]
        human = comparison.sides.human
        means = human[human["perspective"] == name].groupby(["method", "annotator"], observed=True)["score"].mean().rename("mean_score")
        parts.append(table.merge(means.reset_index(), how="left").assign(judge=judge, perspective=name))
    table = pd.concat(parts, ignore_index=True)
    return table[["judge", "perspective", "method", "annotator", "n", "mean_score", "human_vs_others", "judge_vs_others",
                  "judge_vs_annotator"]]


def order(comparison: Comparison) -> pd.DataFrame:
    """Pairs of methods on one item under each rule for ties, with the counts behind them."""
    rows = []
    for (judge, name), pairs in comparison.pairs.items():
        if not len(pairs):
            continue
        counts, (best, epsilon) = OrderCounts.of(pairs), calibrated_ties(pairs)
        votes = vote_agreement(order_confusion(pairs))
        rows.append({"judge": judge, "perspective": name, "pairs": counts.n,
                     "right_order": counts.concordant, "wrong_order": counts.discordant,
                     "tie_judge_only": counts.tie_judge_only, "tie_human_only": counts.tie_human_only, "tie_both": counts.tie_both,
                     "accuracy_three_way": counts.three_way.value, "accuracy_no_human_ties": counts.no_human_ties.value,
                     "accuracy_no_human_ties_judge_tie_half": counts.half_judge_ties.value, "accuracy_decided": counts.decided.value,
                     "accuracy_best_tie_threshold": best.value, "tie_threshold": epsilon,
                     "row_order_dependent_lowest": swept_ties(pairs, "human ties last").value,
                     "row_order_dependent_highest": swept_ties(pairs, "human ties first").value,
                     "cohen_kappa": order_kappa(pairs).value, "f1_macro": votes["f1_macro"], "f1_weighted": votes["f1_weighted"]})
    return pd.DataFrame(rows)


def method_tests(comparison: Comparison) -> pd.DataFrame:
    """Each method against each other by people's and by the judges' scores; Holm over pairs and perspectives of one source."""
    rows, adjusted = [], {}
    for (source, name, first, second), test in comparison.tests.items():
        if (source, name) not in adjusted:
            adjusted[source, name] = comparison.adjusted(source, name)
        rows.append({"source": source, "perspective": name, "first": first, "second": second, "items": test.n,
                     "units": test.units, "unit": comparison.sides.cluster,
                     "mean_first": test.mean_first.value, "mean_second": test.mean_second.value,
                     **_cells("mean_difference", test.mean_difference), "wins": test.wins, "ties": test.ties, "losses": test.losses,
                     "win_rate_ties_half": test.win_rate.value, "win_rate_decided": test.sign.value, "wilcoxon_w": test.wilcoxon.value,
                     "wilcoxon_p": test.wilcoxon.p, "wilcoxon_p_holm": adjusted[source, name].get((first, second)),
                     "wilcoxon_pratt_p": test.wilcoxon_pratt.p, "sign_p": test.sign.p, "paired_t_p": test.t.p,
                     "cohen_dz": test.cohen_dz.value, "rank_biserial": test.rank_biserial.value,
                     "units_for_80_percent": test.units_for_80_percent.value, "note": test.cohen_dz.note or test.wilcoxon.note})
    return pd.DataFrame(rows)


def closeness(comparison: Comparison) -> pd.DataFrame:
    """How near scores are, and what a calibration would make of the judge: cross-validated errors after a linear and an isotonic fit."""
    rows, step = [], comparison.sides.top / 5
    for (judge, name), edits in comparison.edits.items():
        human, judged, grades = edits["human"].to_numpy(), edits["judge"].to_numpy(), comparison.grades[name]
        slope = tr.proportional_bias(human, judged)
        fits = calibration(edits)
        rows.append({"judge": judge, "perspective": name, "edits": len(edits),
                     "exact": tr.agreement_within(tr.to_grades(human, grades), tr.to_grades(judged, grades)).value,
                     "within_a_fifth_of_the_scale": tr.agreement_within(human, judged, step).value, "fifth_of_the_scale": step,
                     "rmse": tr.rmse(human, judged).value, "difference_sd": tr.difference_sd(human, judged).value,
                     "proportional_bias_slope": slope.value, "proportional_bias_p": slope.p, "mae_as_it_is": tr.mae(human, judged).value,
                     "mae_linear": fits.get("linear"), "mae_isotonic": fits.get("isotonic"),
                     "note": f"exact: both on the annotators' grades; calibration cross-validated in {FOLDS} parts of the "
                             f"{comparison.sides.cluster}s"})
    return pd.DataFrame(rows)


def calibration(edits: pd.DataFrame) -> dict[str, float]:
    """Mean absolute error of people's score predicted from the judge's, fitted on other images than those it is tried on."""
    images = sorted(edits["image"].unique())
    if len(images) < FOLDS or edits["judge"].nunique() < 2:
        return {}
    part = edits["image"].map({image: i % FOLDS for i, image in enumerate(images)}).to_numpy()
    human, judged = edits["human"].to_numpy(), edits["judge"].to_numpy()
    errors = {"linear": np.empty(len(edits)), "isotonic": np.empty(len(edits))}
    for fold in range(FOLDS):
        train, test = part != fold, part == fold
        if len(np.unique(judged[train])) < 2:
            return {}
        slope, intercept, *_ = stats.linregress(judged[train], human[train])
        errors["linear"][test] = np.abs(intercept + slope * judged[test] - human[test])
        levels, code, weight = np.unique(judged[train], return_inverse=True, return_counts=True)
        means = np.bincount(code, weights=human[train]) / weight
        steps = optimize.isotonic_regression(means, weights=weight).x
        errors["isotonic"][test] = np.abs(np.interp(judged[test], levels, steps) - human[test])
    return {name: float(values.mean()) for name, values in errors.items()}


def judges(comparison: Comparison) -> pd.DataFrame:
    """Judges against each other on the edits that both scored: Spearman and bias (second minus first)."""
    rows, names = [], comparison.sides.judges
    for name in comparison.sides.perspectives:
        scores = comparison.sides.judge[comparison.sides.judge["perspective"] == name]
        wide = scores.pivot(index=["item", "method"], columns="judge", values="score")
        for i, first in enumerate(names):
            for second in names[i + 1:]:
                if first in wide and second in wide:
                    both = wide[[first, second]].dropna()
                    rho = tr.spearman(both[first], both[second], names=(first, second))
                    rows.append({"perspective": name, "first": first, "second": second, "edits": len(both), "spearman": rho.value,
                                 "bias": tr.bias(both[first], both[second]).value, "note": rho.note})
    return pd.DataFrame(rows)


def stability(comparison: Comparison) -> pd.DataFrame:
    """Judges that scored several times: how much the mean moves from run to run, and how many single edits change."""
    rows = []
    for (judge, name), runs in _by_judge(comparison):
        if runs["repeat"].nunique() < 2:
            continue
        wide = runs.pivot_table(index=["item", "method"], columns="repeat", values="score", observed=True)
        several = wide[wide.notna().sum(axis=1) >= 2]
        spread = several.max(axis=1) - several.min(axis=1)
        means = wide.mean()
        row = {"judge": judge, "perspective": name, "runs": wide.shape[1], "edits_with_several": len(several),
               "mean_lowest_run": means.min(), "mean_highest_run": means.max(), "mean_range": means.max() - means.min(),
               "edits_whose_score_changes": float((spread > 0).mean()), "mean_spread_of_an_edit": float(spread.mean())}
        accepted = _accepted(runs)
        if accepted is not None:
            said = runs.assign(accepted=accepted).pivot_table(index=["item", "method"], columns="repeat", values="accepted", observed=True)
            row |= {"accepted_range": said.mean().max() - said.mean().min(),
                    "edits_whose_verdict_flips": float((said.max(axis=1) != said.min(axis=1))[said.notna().sum(axis=1) >= 2].mean())}
        rows.append(row)
    return pd.DataFrame(rows)


def _accepted(runs: pd.DataFrame) -> pd.Series | None:
    """Yes/no verdicts as 1/0; None where there are none."""
    if "accepted" not in runs:
        return None
    said = runs["accepted"].astype(str).str.lower().map({"yes": 1.0, "true": 1.0, "1": 1.0, "no": 0.0, "false": 0.0, "0": 0.0})
    return said if said.notna().any() else None


def _by_judge(comparison: Comparison) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    for (judge, name), runs in comparison.sides.runs.groupby(["judge", "perspective"], observed=True, sort=True):
        if (judge, name) in comparison.edits:
            yield (str(judge), str(name)), runs


def calls(comparison: Comparison) -> pd.DataFrame:
    """What judging took, and how often a verdict contradicts its own score (accepted with 2 of 5 or less)."""
    rows = []
    for (judge, name), runs in _by_judge(comparison):
        row = {"judge": judge, "perspective": name, "scores": len(runs)}
        if "seconds" in runs and runs["seconds"].notna().any():
            row |= {"seconds_median": runs["seconds"].median(), "seconds_p95": runs["seconds"].quantile(0.95)}
        if "cost_usd" in runs and runs["cost_usd"].notna().any():
            row["cost_usd"] = runs["cost_usd"].sum()
        accepted = _accepted(runs)
        if accepted is not None:
            yes = runs[accepted == 1]
            low = yes["score"] <= 0.4 * comparison.sides.top
            row |= {"accepted": float(accepted.mean()), "accepted_with_low_score": float(low.mean()) if len(yes) else None}
        rows.append(row)
    table = pd.DataFrame(rows)
    return table if len(table.columns) > 3 else pd.DataFrame()


def missing_rules(comparison: Comparison) -> pd.DataFrame:
    """Edits that people scored and the judge did not, of methods that it knows: the figures under each way to treat them."""
    rows = []
    for (judge, name), edits in comparison.edits.items():
        people = comparison.ratings[name].mean(axis=1).rename("human").reset_index()
        people = people[people["method"].isin(edits["method"].unique())]
        joined = people.merge(edits[["item", "method", "judge"]], how="left")
        absent = joined["judge"].isna()
        if not absent.any():
            continue
        typical = joined.groupby("method")["judge"].transform("mean")
        for rule, filled in (("left out (used everywhere else)", joined["judge"]),
                             ("worst case: the judge's score is 0", joined["judge"].fillna(0)),
                             ("the judge's mean of that method", joined["judge"].fillna(typical))):
            rho = tr.spearman(joined["human"], filled)
            rows.append({"judge": judge, "perspective": name, "edits_without_judge": int(absent.sum()), "rule": rule, "edits": rho.n,
                         "bias": tr.bias(joined["human"], filled).value, "mae": tr.mae(joined["human"], filled).value,
                         "spearman_pooled": rho.value})
    return pd.DataFrame(rows)


def disagreements(comparison: Comparison, judge: str, perspective: str, limit: int = 20, sign: str = "both", method: str | None = None,
                  edit_type: str | None = None) -> pd.DataFrame:
    """Edits with the largest differences, the judge's words and people's spread beside them. `sign`: `both`, `judge higher` or
    `judge lower`."""
    edits = comparison.edits[judge, perspective]
    table = edits.assign(difference=rounded(edits["judge"] - edits["human"]), perspective=perspective, judge_name=judge)
    if sign != "both":
        table = table[table["difference"] > 0] if sign == "judge higher" else table[table["difference"] < 0]
    for column, wanted in (("method", method), ("edit_type", edit_type)):
        if wanted:
            table = table[table[column] == wanted]
    table = table.assign(size=table["difference"].abs()).sort_values(["size", "item", "method"], ascending=[False, True, True]).head(limit)
    table = table.join(comparison.sides.items["instruction"], on="item")
    runs = comparison.sides.runs
    if "text" in runs:
        words = runs[(runs["judge"] == judge) & (runs["perspective"] == perspective)].drop_duplicates(["item", "method"])
        table = table.merge(words[["item", "method", "text"]].astype({"item": object, "method": object}), how="left")
    else:
        table["text"] = ""
    return table[["judge_name", "perspective", "item", "method", "edit_type", "instruction", "human", "human_sd", "human_min", "human_max",
                  "ratings", "judge", "difference", "text"]].rename(columns={"judge_name": "judge", "judge": "judge_score"})

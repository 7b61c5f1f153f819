"""People's and judges' scores side by side on the same edits: the scale and perspectives of a scheme, the join, and unmatched rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mre.agreement.figures import rounded
from mre.errors import DataError, SettingsError
from mre.rewards import PERSPECTIVES, SCORE_MAX

if TYPE_CHECKING:
    from mre.agreement.score_files import Ratings

SCHEMES = ("mre", "viescore")
VIESCORE = {"SC": ("following", "preserving"), "PQ": ("quality", "naturalness", "artifacts")}
VIESCORE_SCALE = 10.0           # its judges grade in whole numbers of 0..10, and are floored to them
KNOWN_ORDER = (*PERSPECTIVES, "SC", "PQ", "O")


@dataclass(frozen=True)
class Options:
    """What to compare, and how intervals are drawn. Empty tuples mean all."""

    scheme: str = "mre"
    methods: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    edit_types: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise SettingsError(f"scheme must be {' or '.join(SCHEMES)}, got {self.scheme!r}")
        if not 0 <= self.bootstrap <= 100_000:
            raise SettingsError(f"bootstrap must be between 0 and 100000 draws, got {self.bootstrap}")
        if self.seed < 0:
            raise SettingsError(f"seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True)
class Sides:
    """Both sides in one scheme. Scores run from 0 to `top`."""

    options: Options
    top: float
    human: pd.DataFrame             # item, method, annotator, perspective, score; one row per annotator and edit
    judge: pd.DataFrame             # item, method, judge, perspective, score (mean of repeats), repeats
    runs: pd.DataFrame              # the judge's rows before repeats are averaged, with accepted, text, seconds, cost_usd where known
    items: pd.DataFrame             # index item; edit_type, instruction, image (cluster of the bootstrap)
    cluster: str                    # what the clusters are: "source image" or "item"
    perspectives: tuple[str, ...]   # with both sides
    methods: tuple[str, ...]        # with people's ratings or a judge's
    judges: tuple[str, ...]
    missing: pd.DataFrame           # kind, name, judge, lacks, scores
    notices: tuple[str, ...]
    scales: tuple[str, ...] = ()    # how each file's numbers were read

    def edits(self, judge: str, perspective: str) -> pd.DataFrame:
        """Edits that both sides scored: `item, method, human, ratings, human_sd, human_min, human_max, judge, repeats, edit_type,
        image`."""
        people = edit_means(self.human[self.human["perspective"] == perspective])
        scores = self.judge[(self.judge["judge"] == judge) & (self.judge["perspective"] == perspective)]
        joined = people.merge(scores[["item", "method", "score", "repeats"]].rename(columns={"score": "judge"}), on=["item", "method"])
        joined = joined.join(self.items[["edit_type", "image"]], on="item")
        return joined.sort_values(["method", "item"], kind="stable", ignore_index=True)


def edit_means(human: pd.DataFrame) -> pd.DataFrame:
    """Mean over annotators per edit, with how many there were and how far apart."""
    groups = human.groupby(["item", "method"], observed=True, sort=False)["score"]
    table = groups.agg(human="mean", ratings="count", human_sd="std", human_min="min", human_max="max").reset_index()
    return table.astype({"item": object, "method": object})


def sides_of(human: Ratings, judge: Ratings, options: Options | None = None, edits: pd.DataFrame | None = None) -> Sides:
    """Both files in one scheme. `edits`: rows `item` with `edit_type`, `instruction`, `original` (the edits.csv of a benchmark folder).

    Raises DataError where nothing can be compared: no common edit or perspective, an unknown method or judge asked for.
    """
    options = options or Options()
    notices = [*human.notices, *judge.notices]
    people, scores = human.frame, judge.frame
    items, cluster = _items(people, scores, edits)
    people, scores = _chosen(people, scores, items, options)
    top = SCORE_MAX if options.scheme == "mre" else 1.0
    if options.scheme == "mre":
        _say_unknown(people, scores, human.name, judge.name, notices)
        people, scores = (side.assign(score=rounded(side["score"] * top)) for side in (people, scores))
    else:
        people = _viescore(people, ["item", "method", "annotator"], floor=False)
        scores = _viescore(scores, ["item", "method", "judge", "repeat"])
    runs = scores
    ratings = people.groupby(["item", "method", "annotator", "perspective"], observed=True, sort=False)["score"].mean().reset_index()
    if len(ratings) < len(people):
        notices.append(f"{human.name}: {len(people) - len(ratings)} further scores of an edit by the same annotator, who saw it on several "
                       "screens: their mean counts")
    means = scores.groupby(["item", "method", "judge", "perspective"], observed=True, sort=False)["score"].agg(["mean", "count"])
    means = means.reset_index().rename(columns={"mean": "score", "count": "repeats"})
    ratings, means = (side.astype(dict.fromkeys(("item", "method", "perspective"), object)) for side in (ratings, means))
    judges = tuple(sorted(means["judge"].astype(str).unique()))
    missing = missing_sides(ratings, means)
    both = [name for name in means["perspective"].unique() if (ratings["perspective"] == name).any()]
    if not both:
        raise DataError(f"no perspective is in both files: {human.name} has {_listed(ratings['perspective'])}, "
                        f"{judge.name} has {_listed(means['perspective'])}")
    common = ratings[["item", "method", "perspective"]].drop_duplicates().merge(means[["item", "method", "perspective"]].drop_duplicates())
    if not len(common):
        raise DataError(f"no edit is in both files: {human.name} has {_example(ratings)}, {judge.name} has {_example(means)}")
    perspectives = tuple(sorted(common["perspective"].unique(), key=_place))
    for row in missing[(missing["kind"] == "perspective") & (missing["name"].isin(KNOWN_ORDER))].to_dict("records"):
        notices.append(f"{judge.name if row['lacks'] == 'people' else human.name}: {row['scores']} scores of {row['name']} have no "
                       f"counterpart from {row['judge'] if row['lacks'] == 'judge' else 'people'}; left out")
    methods = tuple(dict.fromkeys([*options.methods, *sorted({*ratings["method"], *means["method"]})]))
    _say_few(ratings, common, notices)
    return Sides(options, top, ratings, means, runs, items, cluster, perspectives, methods, judges, missing, tuple(notices),
                 (human.scale, judge.scale))


def _place(perspective: str) -> tuple[int, str]:
    return (KNOWN_ORDER.index(perspective) if perspective in KNOWN_ORDER else len(KNOWN_ORDER), perspective)


def _listed(values: pd.Series) -> str:
    return ", ".join(sorted(map(str, values.unique()), key=_place))


def _example(scores: pd.DataFrame) -> str:
    first = scores.iloc[0]
    return f"{scores.groupby(['item', 'method'], observed=True).ngroups} such as item {first['item']} by {first['method']}"


def _items(people: pd.DataFrame, scores: pd.DataFrame, edits: pd.DataFrame | None) -> tuple[pd.DataFrame, str]:
    """What is known about each item: edit type, instruction, source image; the first that any file says."""
    columns = ["edit_type", "instruction", "image"]
    parts = []
    for part in (edits, people, scores):
        if part is None or not len(part):
            continue
        part = part.rename(columns={"original": "image"}) if "original" in part and "image" not in part else part
        part = part[["item", *(c for c in columns if c in part)]].drop_duplicates().astype(object).replace("", None)
        parts.append(part)
    items = pd.concat(parts).groupby("item", sort=True).first().reindex(columns=columns)
    known = items["image"].notna().all()
    if not known:
        items["image"] = items.index
    return items.astype({"image": str}), "source image" if known else "item"


def _chosen(people: pd.DataFrame, scores: pd.DataFrame, items: pd.DataFrame, options: Options) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Only the methods, judges, annotators and edit types asked for. Raises DataError for a name that no file has."""
    judges = _matching(options.judges, scores["judge"])
    for wanted, sides, what in ((options.methods, (people["method"], scores["method"]), "method"),
                                (options.annotators, (people["annotator"],), "annotator"),
                                (options.edit_types, (items["edit_type"],), "edit type")):
        have = {str(name) for side in sides for name in side.dropna().unique()}
        for name in wanted:
            if name not in have:
                raise DataError(f"no {what} {name} in the files, which have {', '.join(sorted(have)) or 'none'}")
    if options.methods:
        people, scores = (side[side["method"].isin(options.methods)] for side in (people, scores))
    if judges:
        scores = scores[scores["judge"].isin(judges)]
    if options.annotators:
        people = people[people["annotator"].isin(options.annotators)]
    if options.edit_types:
        kept = items.index[items["edit_type"].isin(options.edit_types)]
        people, scores = (side[side["item"].isin(kept)] for side in (people, scores))
    for side, name in ((people, "people's ratings"), (scores, "judge scores")):
        if not len(side):
            raise DataError(f"no {name} are left with this choice of methods, judges and edit types")
    return people, scores


def _matching(wanted: Sequence[str], judges: pd.Series) -> list[str]:
    """Judges by full name or, where versions were told apart, by the name they share."""
    have = [str(name) for name in judges.unique()]
    found = []
    for name in wanted:
        alike = [judge for judge in have if judge == name] or [judge for judge in have if judge.startswith(name + " ")]
        if not alike:
            raise DataError(f"no judge {name} in the files, which have {', '.join(sorted(have))}")
        found += alike
    return found


def _say_unknown(people: pd.DataFrame, scores: pd.DataFrame, human_name: str, judge_name: str, notices: list[str]) -> None:
    """One line per perspective that the paper does not know: compared where both sides have it, else most likely a slip."""
    sides = ((people, human_name, scores, "the judge"), (scores, judge_name, people, "people"))
    for side, name, other, whose in sides:
        for perspective in sorted(set(side["perspective"].unique()) - set(PERSPECTIVES)):
            rows = side.loc[side["perspective"] == perspective, "row"]
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            both = (other["perspective"] == perspective).any()
            rule = "compared as it stands" if both else f"{whose} did not score it; left out"
            notices.append(f"{name} row {rows.iloc[0]}{more}: perspective {perspective!r} is none of {', '.join(PERSPECTIVES)}; {rule}")


def _say_few(ratings: pd.DataFrame, common: pd.DataFrame, notices: list[str]) -> None:
    if ratings["annotator"].nunique() == 1:
        notices.append(f"one annotator ({ratings['annotator'].iloc[0]}): how well people agree with each other cannot be said")
    if common["method"].nunique() == 1:
        notices.append(f"one method ({common['method'].iloc[0]}) has both sides: the order of methods cannot be compared")
    for perspective, scores in ratings.groupby("perspective", observed=True)["score"]:
        if scores.nunique() == 1:
            notices.append(f"all of people's scores of {perspective} are {scores.iloc[0]:g}: correlations are undefined")


def _viescore(side: pd.DataFrame, key: list[str], floor: bool = True) -> pd.DataFrame:
    """SC, PQ and O = sqrt(SC PQ) per rating (people) or edit (judge), on 0..1.

    SC is the smaller of following and preserving, PQ the smallest of quality, naturalness and artifacts; what is absent is left out of the
    minimum. Judges on 0..10 are floored to whole grades first.
    """
    if floor:
        graded = (side["high"] == VIESCORE_SCALE) & (side["low"] == 0)
        side = side.assign(score=side["score"].where(~graded, np.floor(rounded(side["native"])) / VIESCORE_SCALE))
    extra = [column for column in ("screen",) if column in side]
    wide = side.pivot_table(index=[*key, *extra], columns="perspective", values="score", aggfunc="mean", observed=True)
    parts = {name: wide[[c for c in columns if c in wide]].min(axis=1) for name, columns in VIESCORE.items() if set(columns) & set(wide)}
    table = pd.DataFrame(parts, index=wide.index)
    if not len(table.columns):
        needed = ", ".join(name for columns in VIESCORE.values() for name in columns)
        raise DataError(f"scheme viescore needs one of {needed}; the file has {_listed(side['perspective'])}")
    if {"SC", "PQ"} <= set(table):
        table["O"] = np.sqrt(table["SC"] * table["PQ"])
    if floor:
        table = table.apply(rounded)
    long = table.reset_index().melt([*key, *extra], var_name="perspective", value_name="score").dropna(subset="score")
    return long.reset_index(drop=True)


def missing_sides(ratings: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Perspectives, methods and items for which people or a judge have no score at all, and how many scores of the other side that leaves
    without a counterpart; then, per perspective and method, single edits that lack a side."""
    rows = []
    for judge, scores in means.groupby("judge", observed=True):
        left, right = ratings, scores
        for kind in ("perspective", "method", "item"):
            for lacks, have, other in (("judge", left, right), ("people", right, left)):
                alone = have[~have[kind].isin(other[kind].unique())]
                counts = alone.groupby(kind, observed=True).size()
                rows += [(kind, str(name), str(judge), lacks, int(count)) for name, count in counts.items()]
            shared = set(left[kind].unique()) & set(right[kind].unique())
            left, right = left[left[kind].isin(shared)], right[right[kind].isin(shared)]
        key = ["perspective", "method", "item"]
        edits = left[key].drop_duplicates().merge(right[key], how="outer", indicator="side")
        for side, lacks in (("left_only", "judge"), ("right_only", "people")):
            alone = edits[edits["side"] == side].groupby(key[:2]).size()
            rows += [("edit", f"{perspective}, {method}", str(judge), lacks, int(count))
                     for (perspective, method), count in zip(alone.index, alone, strict=True)]
    return pd.DataFrame(rows, columns=["kind", "name", "judge", "lacks", "scores"])

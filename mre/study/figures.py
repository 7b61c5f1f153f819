"""What a researcher watches while a study runs: coverage, annotators, methods, position bias, agreement. All computed, nothing stored.

Counts and means come from the database in a few grouped queries, so that a million scores are summed where they lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import sqlalchemy as sa
from scipy import stats
from sqlalchemy import Connection

from mre.agreement.annotators import krippendorff_alpha, mean_pairwise_kappa
from mre.agreement.figures import Figure, percentile_interval, undefined
from mre.agreement.resampling import Resampler, alpha_draws, kappa_draws
from mre.agreement.variance_components import icc_draws, icc_of_ratings
from mre.rewards import PERSPECTIVES
from mre.study.queries import check_results, standing_exclusions
from mre.study.records import find_study
from mre.study.schema import annotators, answers, assignments, exclusions, items, methods, ratings

if TYPE_CHECKING:
    from mre.study.store import Store

DRAWS = 500                 # bootstrap samples of whole photos
KAPPA_ANNOTATORS = 15       # more than this give too many pairs to resample
_SUMS = [column for name in PERSPECTIVES for column in (sa.func.sum(ratings.c[name]), sa.func.sum(ratings.c[name] * ratings.c[name]))]


@dataclass(frozen=True)
class AnnotatorFigures:
    """One annotator's work. Shares are 0 to 1, None where there is nothing to compute from."""

    annotator: str
    simulated: bool
    excluded: str               # the reason, or empty
    screens: int
    skipped: int
    mean_seconds: float | None
    means: tuple[float | None, ...]         # per perspective, of pairs (no repeats, no checks)
    spread: float | None                    # standard deviation of all those scores
    straight_lines: float | None            # share of pairs with all six scores equal
    repeats: int
    repeat_error: float | None              # mean absolute difference between a pair's first scores and its repeat's
    checks: int
    checks_failed: int


@dataclass(frozen=True)
class _Totals:
    """Sums over a study's final pairs, read once for all figures that need them."""

    scores: dict[tuple[int, int], tuple]        # (annotator, method) -> count, then sum and sum of squares per perspective
    pairs: dict[int, tuple]                     # annotator -> screens, straight lines, then sums and squares of image 1 minus 2


def totals(store: Store, name: str) -> _Totals:
    study = find_study(store, name)
    gaps = [column for perspective in PERSPECTIVES for gap in [ratings.c[perspective] - _SECOND.c[perspective]]
            for column in (sa.func.sum(gap), sa.func.sum(gap * gap))]
    with store.read() as connection:
        scores = {(person, method): tuple(sums) for person, method, *sums in map(tuple, connection.execute(
            sa.select(ratings.c.annotator_id, ratings.c.method_id, sa.func.count(), *_SUMS).where(_final(study.id))
            .group_by(ratings.c.annotator_id, ratings.c.method_id)))}
        pairs = {person: tuple(sums) for person, *sums in map(tuple, connection.execute(
            _sides(study.id, ratings.c.annotator_id, sa.func.count(), sa.func.sum(_all_equal()), *gaps).group_by(ratings.c.annotator_id)))}
    return _Totals(scores, pairs)


def annotator_figures(store: Store, name: str, known: _Totals | None = None) -> list[AnnotatorFigures]:
    """Figures of every annotator, in order of label."""
    study = find_study(store, name)
    known = known or totals(store, name)
    with store.read() as connection:
        people = connection.execute(
            sa.select(annotators.c.id, annotators.c.label, annotators.c.simulated, exclusions.c.reason)
            .outerjoin(exclusions, sa.and_(exclusions.c.annotator_id == annotators.c.id, exclusions.c.lifted_at.is_(None)))
            .where(annotators.c.study_id == study.id)).all()
        work = _grouped(connection.execute(
            sa.select(assignments.c.annotator_id, sa.func.count(), sa.func.sum(sa.case((answers.c.skip_reason.is_not(None), 1), else_=0)),
                      sa.func.avg(answers.c.active_ms))
            .join(assignments, assignments.c.id == answers.c.assignment_id).where(answers.c.study_id == study.id, answers.c.is_final)
            .group_by(assignments.c.annotator_id)))
        repeats = _repeat_errors(connection, study.id)
        checks = _checks(connection, study.id)
    found = []
    for person in sorted(people, key=lambda row: row.label):
        _, screens, skipped, active = work.get(person.id, (0, 0, 0, None))
        own = [sums for (annotator, _method), sums in known.scores.items() if annotator == person.id]
        shown, *sums = (sum(map(float, column)) for column in zip(*own, strict=True)) if own else (0,) * 7
        means = tuple(sums[2 * place] / shown if shown else None for place in range(3))
        pairs, straight, *_gaps = known.pairs.get(person.id, (0, 0))
        repeat_count, repeat_error = repeats.get(person.id, (0, None))
        done, failed = checks.get(person.id, (0, 0))
        found.append(AnnotatorFigures(
            person.label, person.simulated, person.reason or ("simulated" if person.simulated and not study.simulated else ""), screens,
            int(skipped or 0), None if active is None else float(active) / 1000, means,
            _spread(int(3 * shown), sum(sums[::2]), sum(sums[1::2])), float(straight) / pairs if pairs else None,
            repeat_count, repeat_error, done, failed))
    return found


def method_means(store: Store, name: str, *, everyone: bool = False) -> pd.DataFrame:
    """`method, perspective, items, n, mean, sd`: as in Table 3, means over items of each item's mean score; sd is between items, n counts
    scores. Excluded annotators are left out unless `everyone`."""
    study = find_study(store, name)
    query = (sa.select(methods.c.name, sa.func.count(), *(sa.func.avg(ratings.c[perspective]) for perspective in PERSPECTIVES))
             .join(methods, methods.c.id == ratings.c.method_id).where(_final(study.id))
             .group_by(methods.c.position, methods.c.name, ratings.c.item_id).order_by(methods.c.position, ratings.c.item_id))
    if not everyone:
        query = query.where(ratings.c.annotator_id.not_in(standing_exclusions(study)))
    with store.read() as connection:
        by_item = pd.DataFrame(connection.execute(query).all(), columns=["method", "n", *PERSPECTIVES])
    rows = []
    for method, part in by_item.groupby("method", sort=False):
        for perspective in PERSPECTIVES:
            scores = part[perspective].astype(float)
            rows.append({"method": method, "perspective": perspective, "items": len(part), "n": int(part["n"].sum()), "mean": scores.mean(),
                         "sd": scores.std(ddof=1) if len(part) > 1 else None})
    return pd.DataFrame(rows, columns=["method", "perspective", "items", "n", "mean", "sd"])


def position_bias(store: Store, name: str, known: _Totals | None = None, *, everyone: bool = False) -> dict[str, Figure]:
    """Mean of Edited Image 1 minus Edited Image 2 per perspective over all pairs, with its 95 % interval: 0 when sides play no part.
    Excluded annotators are left out unless `everyone`."""
    left_out = set()
    if not everyone:
        with store.read() as connection:
            left_out = set(connection.execute(standing_exclusions(find_study(store, name))).scalars())
    rows = [sums for annotator, sums in (known or totals(store, name)).pairs.items() if annotator not in left_out]
    n, _straight, *sums = (sum(map(float, column)) for column in zip(*rows, strict=True)) if rows else (0,) * 8
    n, figures = int(n), {}
    for place, perspective in enumerate(PERSPECTIVES):
        if n < 2:
            figures[perspective] = undefined(n, f"{n} pairs, at least 2 are needed")
            continue
        mean = float(sums[2 * place]) / n
        error = (_spread(n, float(sums[2 * place]), float(sums[2 * place + 1])) or 0.0) / math.sqrt(n)
        reach = float(stats.t.ppf(0.975, n - 1)) * error
        p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error else None
        figures[perspective] = Figure(mean, n, mean - reach, mean + reach, p)
    return figures


# -------------------------------------------------------------------------------------------------------------- agreement

def score_frame(store: Store, name: str, *, everyone: bool = False) -> pd.DataFrame:
    """Final scores of pairs: `item, original, method, annotator` and a column per perspective; one row per edit, pair and annotator."""
    study = find_study(store, name)
    query = (sa.select(items.c.name.label("item"), sa.func.coalesce(items.c.original, items.c.name).label("original"),
                       items.c.edit_type, methods.c.name.label("method"), annotators.c.label.label("annotator"),
                       *(ratings.c[perspective] for perspective in PERSPECTIVES))
             .join(items, items.c.id == ratings.c.item_id).join(methods, methods.c.id == ratings.c.method_id)
             .join(annotators, annotators.c.id == ratings.c.annotator_id).where(_final(study.id))
             .order_by(items.c.position, methods.c.position, annotators.c.id))
    if not everyone:
        query = query.where(ratings.c.annotator_id.not_in(standing_exclusions(study)))
    with store.read() as connection:
        rows = connection.execute(query).all()
    return pd.DataFrame(rows, columns=["item", "original", "edit_type", "method", "annotator", *PERSPECTIVES])


def agreement(store: Store, name: str, *, everyone: bool = False, draws: int = DRAWS, seed: int = 0) -> dict[str, dict[str, Figure]]:
    """Per perspective: Krippendorff's alpha (ordinal), mean pairwise kappa (quadratic weights) and ICC, with 95 % intervals from
    resampling whole photos. ICC(2,1) is of a two-way random-effects model, whoever scored what; its note says from which ratings."""
    frame = score_frame(store, name, everyone=everyone)
    return {perspective: _agreement_of(frame, perspective, draws, seed) for perspective in PERSPECTIVES}


def _agreement_of(frame: pd.DataFrame, perspective: str, draws: int, seed: int) -> dict[str, Figure]:
    means = frame.groupby(["item", "method", "annotator"], sort=False)[perspective].mean().unstack("annotator")
    if means.shape[1] < 2 or not len(means):
        nobody = undefined(len(means), "at least two annotators are needed")
        return {"krippendorff_alpha": nobody, "weighted_kappa": nobody, "icc": nobody}
    photos = frame.drop_duplicates("item").set_index("item")["original"]
    clusters = photos.loc[means.index.get_level_values("item")].to_numpy()
    resampler = Resampler(clusters, draws, seed)
    codes = resampler.codes(clusters)
    matrix = means.to_numpy(dtype=float)
    drawn = alpha_draws(resampler, codes, matrix)
    figures = {"krippendorff_alpha": _with_interval(krippendorff_alpha(means), drawn.get("krippendorff_ordinal"))}
    if matrix.shape[1] <= KAPPA_ANNOTATORS:
        pairs = [(matrix[:, a], matrix[:, b]) for a in range(matrix.shape[1]) for b in range(a)]
        pairs = [(a, b) for a, b in pairs if (~np.isnan(a + b)).sum() > 1]
        drawn = kappa_draws(resampler, codes, pairs) if pairs and draws else {}
        figures["weighted_kappa"] = _with_interval(mean_pairwise_kappa(means), drawn.get("weighted_kappa_quadratic"))
    else:
        figures["weighted_kappa"] = undefined(len(means), f"{matrix.shape[1]} annotators make too many pairs; see alpha")
    figures["icc"] = _with_interval(icc_of_ratings(matrix)["icc_2_1"], icc_draws(resampler, codes, matrix).get("icc_2_1"))
    return figures


def _with_interval(figure: Figure, drawn: np.ndarray | None) -> Figure:
    if not figure.defined or drawn is None or not len(drawn):
        return figure
    low, high = percentile_interval(drawn)
    return Figure(figure.value, figure.n, low, high, figure.p, figure.note)


# ---------------------------------------------------------------------------------------------------------------- queries

def _final(study_id: int, kind: str = "main") -> sa.ColumnElement[bool]:
    return sa.and_(ratings.c.study_id == study_id, ratings.c.is_final, ratings.c.kind == kind)


def _sides(study_id: int, *columns) -> sa.Select:
    """Final screens of pairs as one row: `ratings` is Edited Image 1, `_SECOND` Edited Image 2."""
    both = ratings.join(_SECOND, sa.and_(_SECOND.c.answer_id == ratings.c.answer_id, _SECOND.c.shown_as == 2))
    return sa.select(*columns).select_from(both).where(_final(study_id), ratings.c.shown_as == 1)


_SECOND = ratings.alias("second_side")


def _all_equal() -> sa.ColumnElement[int]:
    first = ratings.c[PERSPECTIVES[0]]
    others = [table.c[name] for table in (ratings, _SECOND) for name in PERSPECTIVES]
    return sa.case((sa.and_(*(first == other for other in others[1:])), 1), else_=0)


def _repeat_errors(connection: Connection, study_id: int) -> dict[int, tuple[int, float]]:
    """Repeats and mean absolute difference to the first time, per annotator; the same edit is compared, whichever side it was on."""
    screen, first, first_screen = assignments.alias("again"), ratings.alias("first"), assignments.alias("first_screen")
    gap = sum(sa.func.abs(ratings.c[name] - first.c[name]) for name in PERSPECTIVES)
    query = (sa.select(ratings.c.annotator_id, sa.func.count(sa.distinct(screen.c.id)), sa.func.avg(gap))
             .select_from(ratings.join(screen, screen.c.id == ratings.c.assignment_id)
                          .join(first_screen, sa.and_(first_screen.c.pair_id == screen.c.pair_id, first_screen.c.kind == "main",
                                                      first_screen.c.annotator_id == screen.c.annotator_id))
                          .join(first, sa.and_(first.c.assignment_id == first_screen.c.id, first.c.is_final,
                                               first.c.method_id == ratings.c.method_id)))
             .where(_final(study_id, "repeat")).group_by(ratings.c.annotator_id))
    return {annotator: (count, float(mean) / len(PERSPECTIVES)) for annotator, count, mean in connection.execute(query)}


def _checks(connection: Connection, study_id: int) -> dict[int, tuple[int, int]]:
    """Attention checks and failures per annotator."""
    return {annotator: (count, int(failed)) for annotator, count, failed in connection.execute(check_results(study_id))}


def _grouped(rows) -> dict[int, tuple]:
    return {row[0]: tuple(row) for row in rows}


def _spread(n: int, total: float, squares: float) -> float | None:
    """Standard deviation (ddof 1) from sums."""
    return None if n < 2 else math.sqrt(max(0.0, (squares - total * total / n) / (n - 1)))


# ----------------------------------------------------------------------------------------------------------------- all of it



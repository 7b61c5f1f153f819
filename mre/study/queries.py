"""Queries over a study's tables that several modules narrow and join."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.rewards import PERSPECTIVES
from mre.study.schema import CHECKS, annotators, assignments, exclusions, pairs, ratings, stops

if TYPE_CHECKING:
    from mre.study.assignment import Order
    from mre.study.records import Study

CHECK_TOLERANCE = 1         # scores of one picture shown twice may differ by this much
LOWEST_PRESERVING = 4       # of the original shown as an edit, which preserves everything
pair_columns = (pairs.c.item_id, pairs.c.first_method, pairs.c.second_method)


def shown_methods(order: Order, label: str, row: sa.Row) -> tuple[int | None, int | None]:
    """Method ids of Edited Image 1 and 2 (None: the original) on a screen; `row` has its kind, side order, number and pair."""
    first, second = row.first_method, row.second_method
    if row.kind in CHECKS:
        chosen = (first, second)[order.check_choice(label, row.screen)]
        first, second = (chosen, chosen) if row.kind == "identical" else (None, chosen)
    return (second, first) if row.side_order else (first, second)


def standing_exclusions(study: Study) -> sa.Select:
    """Ids of annotators who are left out of the analysis: the excluded ones, and simulated ones among people."""
    excluded = sa.select(exclusions.c.annotator_id).where(exclusions.c.study_id == study.id, exclusions.c.lifted_at.is_(None))
    left_out = annotators.c.id.in_(excluded)
    return sa.select(annotators.c.id).where(annotators.c.study_id == study.id,
                                            left_out if study.simulated else sa.or_(left_out, annotators.c.simulated))


def ended(connection: Connection, annotator_id: int) -> str | None:
    """Why the annotator gets no more screens: the rule that ended their visit, `excluded`, or None while they may go on."""
    if connection.execute(sa.select(exclusions.c.id).where(exclusions.c.annotator_id == annotator_id, exclusions.c.lifted_at.is_(None))
                          ).first():
        return "excluded"
    return connection.execute(sa.select(stops.c.rule).where(stops.c.annotator_id == annotator_id, stops.c.lifted_at.is_(None))).scalar()


def check_results(study_id: int) -> sa.Select:
    """Annotator, attention checks scored and checks failed, in a query that can be narrowed. Failed: one picture shown twice and scored
    more than CHECK_TOLERANCE apart; or the original shown as an edit and scored below LOWEST_PRESERVING for preserving."""
    second = ratings.alias("second")
    apart = sa.or_(*(sa.func.abs(ratings.c[name] - second.c[name]) > CHECK_TOLERANCE for name in PERSPECTIVES))
    spoiled = sa.or_(*(sa.and_(side.c.method_id.is_(None), side.c.preserving < LOWEST_PRESERVING) for side in (ratings, second)))
    failed = sa.case((sa.and_(ratings.c.kind == "identical", apart), 1), (sa.and_(ratings.c.kind == "original", spoiled), 1), else_=0)
    return (sa.select(ratings.c.annotator_id, sa.func.count(), sa.func.sum(failed))
            .select_from(ratings.join(second, sa.and_(second.c.answer_id == ratings.c.answer_id, second.c.shown_as == 2))
                         .join(assignments, assignments.c.id == ratings.c.assignment_id))
            .where(ratings.c.study_id == study_id, ratings.c.is_final, ratings.c.kind.in_(CHECKS), ratings.c.shown_as == 1)
            .group_by(ratings.c.annotator_id))

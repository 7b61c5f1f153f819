"""Who did the work: ended visits, pairs set aside, earned codes, ids of recruiting services; and skipped pairs are offered again.

Until now a skipped screen kept its pair's slot, so that nobody else was asked. In studies that still collect, each skipped screen
gives its slot to an open screen with the same side order; the skip itself stays. The log of each such study says so.
"""

import hashlib
import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("annotators", sa.Column("completed_at", sa.BigInteger(), nullable=True))
    op.add_column("annotators", sa.Column("recruiting_ids", sa.Text(), nullable=True))
    op.add_column("pairs", sa.Column("set_aside_at", sa.BigInteger(), nullable=True))
    op.create_index("ix_pairs_set_aside", "pairs", ["study_id"], sqlite_where=sa.text("set_aside_at is not null"),
                    postgresql_where=sa.text("set_aside_at is not null"))
    op.create_table("stops",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(length=10), nullable=False),
        sa.Column("measured", sa.Text(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.Column("lifted_by", sa.String(length=200), nullable=True),
        sa.Column("lifted_screen", sa.Integer(), nullable=True),
        sa.CheckConstraint("rule in ('skips', 'checks', 'pace')", name="ck_stops_rule"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_stops_study_id"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_stops_annotator_id"),
        sa.PrimaryKeyConstraint("id", name="pk_stops"))
    op.create_index("uq_stops_standing", "stops", ["annotator_id"], unique=True, sqlite_where=sa.text("lifted_at is null"),
                    postgresql_where=sa.text("lifted_at is null"))
    op.create_index("ix_stops_study", "stops", ["study_id"])
    connection = op.get_bind()
    connection.execute(sa.text("update annotators set completed_at = :now where completion_code is not null"), {"now": _now()})
    for study_id in connection.execute(sa.text("select id from studies where state in ('running', 'paused') order by id")).scalars().all():
        _offer_skipped_again(connection, study_id)


def _offer_skipped_again(connection: sa.Connection, study_id: int) -> None:
    codes = connection.execute(sa.text("select count(*) from annotators where study_id = :study and completion_code is not null"),
                               {"study": study_id}).scalar_one()
    skipped = connection.execute(sa.text(
        "select id, study_id, pair_id, slot, side_order, shuffle_key from assignments "
        "where study_id = :study and kind = 'main' and state = 'skipped' and slot is not null order by id"), {"study": study_id}).all()
    if skipped:
        connection.execute(sa.text("update assignments set slot = null where id = :id"), [{"id": row.id} for row in skipped])
        connection.execute(sa.text(
            "insert into assignments (study_id, pair_id, kind, slot, side_order, shuffle_key, state, revision) "
            "values (:study_id, :pair_id, 'main', :slot, :side_order, :shuffle_key, 'open', 0)"),
            [{name: value for name, value in row._mapping.items() if name != "id"} for row in skipped])
    _log(connection, study_id, {
        "offered again": len(skipped), "codes kept": codes,
        "rules": "this study goes on under the rules that its annotators were told: none ends a visit, and whoever has gone through all "
                 "screens has earned a completion code"})


def _log(connection: sa.Connection, study_id: int, details: dict) -> None:
    """One sealed entry in the study's log, as `mre.study.events.record` wrote it when this step was made."""
    previous = connection.execute(sa.text("select digest from events where study_id = :study order by id desc limit 1"),
                                  {"study": study_id}).scalar()
    if previous is None:
        public_id = connection.execute(sa.text("select public_id from studies where id = :study"), {"study": study_id}).scalar_one()
        previous = hashlib.sha256(public_id.encode()).hexdigest()
    now, text = _now(), json.dumps(details, ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256("\n".join((previous, str(now), "upgrade", "upgrade", text)).encode()).hexdigest()
    connection.execute(sa.text("insert into events (study_id, at, actor, kind, details, previous, digest) "
                               "values (:study_id, :at, 'upgrade', 'upgrade', :details, :previous, :digest)"),
                       {"study_id": study_id, "at": now, "details": text, "previous": previous, "digest": digest})


def _now() -> int:
    return time.time_ns() // 1_000_000

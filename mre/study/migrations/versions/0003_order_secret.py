"""Studies draw their order from a secret of their own; simulated annotators and studies are marked.

A study that has started keeps the order of its public seed (`order_secret` stays null, and status and exports say so); a draft gets its
secret when it starts. Annotators whom `study simulate` of before made are known by the entry it left in the log, in studies that came
from a file by their label. A study in which nobody else has taken part is marked as a whole: no person can join it any more.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("studies", sa.Column("order_secret", sa.Text(), nullable=True))
    for table in ("studies", "annotators"):
        op.add_column(table, sa.Column("simulated", sa.Boolean(), server_default=sa.false(), nullable=False))
    _mark_simulated(op.get_bind())


def _mark_simulated(connection: sa.Connection) -> None:
    studies, annotators = (sa.table(name, sa.column("id"), sa.column("simulated", sa.Boolean())) for name in ("studies", "annotators"))
    found = connection.execute(sa.text(
        "select annotators.id, annotators.study_id, annotators.label, events.kind from annotators "
        "join events on events.study_id = annotators.study_id and annotators.label like 'drawn-%' and "
        "((events.kind = 'join' and events.actor = annotators.label and events.details like '%\"drawn\": true%') or events.kind = 'import')"
    )).all()
    marked = {row.id: row.study_id for row in found if row.kind == "join" or re.fullmatch(r"drawn-\d{3,}", row.label)}
    people = {row.study_id for row in connection.execute(sa.text("select id, study_id from annotators")) if row.id not in marked}
    for annotator_id in marked:
        connection.execute(annotators.update().where(annotators.c.id == annotator_id).values(simulated=True))
    for study_id in set(marked.values()) - people:
        connection.execute(studies.update().where(studies.c.id == study_id).values(simulated=True))

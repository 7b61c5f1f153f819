"""Studies that are still being imported are known as such, so that nobody sees half of one and what a killed import leaves can go."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table("imports",
        sa.Column("study_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_imports_study_id"),
        sa.PrimaryKeyConstraint("study_id", name="pk_imports"))

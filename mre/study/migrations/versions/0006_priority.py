"""Pairs know how much their ratings would teach a judge, so that a study can serve those first."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("pairs", sa.Column("priority", sa.Float(), server_default="0", nullable=False))

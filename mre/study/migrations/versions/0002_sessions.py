"""Sessions that can be ended, in a table instead of in signed cookies; visits of people with an account end with theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table("sessions",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=100), nullable=True),
        sa.Column("mark", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_digest", name="pk_sessions"))
    op.create_index("ix_sessions_account", "sessions", ["account"], unique=False)
    op.add_column("visits", sa.Column("session_digest", sa.String(length=64), nullable=True))

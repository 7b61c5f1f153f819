"""The first shape of the study database, with its log made append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table("images",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_images"))
    op.create_table("store_settings",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_store_settings"))
    op.create_table("studies",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("public_id", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state in ('draft', 'running', 'paused', 'closed')", name="ck_studies_state"),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("name", name="uq_studies_name"),
        sa.UniqueConstraint("public_id", name="uq_studies_public_id"))
    op.create_table("annotators",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=True),
        sa.Column("code_digest", sa.String(length=64), nullable=True),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("home_slot", sa.Integer(), nullable=True),
        sa.Column("completion_code", sa.String(length=40), nullable=True),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("consented_at", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_annotators_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_annotators"),
        sa.UniqueConstraint("code_digest", name="uq_annotators_code_digest"),
        sa.UniqueConstraint("study_id", "key_digest", name="uq_annotators_study_id_key_digest"),
        sa.UniqueConstraint("study_id", "label", name="uq_annotators_study_id_label"))
    op.create_table("events",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_events_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("digest", name="uq_events_digest"))
    op.create_index("ix_events_study", "events", ["study_id", "id"], unique=False)
    op.create_table("items",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("edit_type", sa.String(length=40), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("original", sa.String(length=64), nullable=True),
        sa.Column("wire_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["original"], ["images.digest"], name="fk_items_original"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_items_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
        sa.UniqueConstraint("study_id", "name", name="uq_items_study_id_name"),
        sa.UniqueConstraint("study_id", "position", name="uq_items_study_id_position"))
    op.create_table("methods",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_methods_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_methods"),
        sa.UniqueConstraint("study_id", "name", name="uq_methods_study_id_name"),
        sa.UniqueConstraint("study_id", "position", name="uq_methods_study_id_position"))
    op.create_table("edits",
        sa.Column("id", ID, nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("method_id", sa.BigInteger(), nullable=False),
        sa.Column("image", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["image"], ["images.digest"], name="fk_edits_image"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_edits_item_id"),
        sa.ForeignKeyConstraint(["method_id"], ["methods.id"], name="fk_edits_method_id"),
        sa.PrimaryKeyConstraint("id", name="pk_edits"),
        sa.UniqueConstraint("item_id", "method_id", name="uq_edits_item_id_method_id"))
    op.create_table("exclusions",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.String(length=200), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_exclusions_annotator_id"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_exclusions_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_exclusions"))
    op.create_index("uq_exclusions_standing", "exclusions", ["annotator_id"], unique=True,
                    sqlite_where=sa.text("lifted_at is null"), postgresql_where=sa.text("lifted_at is null"))
    op.create_table("pairs",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("first_method", sa.BigInteger(), nullable=False),
        sa.Column("second_method", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("first_method <> second_method", name="ck_pairs_two_methods"),
        sa.ForeignKeyConstraint(["first_method"], ["methods.id"], name="fk_pairs_first_method"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_pairs_item_id"),
        sa.ForeignKeyConstraint(["second_method"], ["methods.id"], name="fk_pairs_second_method"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_pairs_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_pairs"),
        sa.UniqueConstraint("item_id", "first_method", "second_method", name="uq_pairs_item_id_first_method_second_method"))
    op.create_table("visits",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_visits_annotator_id"),
        sa.PrimaryKeyConstraint("token_digest", name="pk_visits"))
    op.create_table("assignments",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("side_order", sa.Integer(), nullable=False),
        sa.Column("shuffle_key", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=True),
        sa.Column("screen", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("token", sa.String(length=43), nullable=True),
        sa.Column("leased_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("first_shown_at", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'open') = (annotator_id is null)", name="ck_assignments_open_is_nobodys"),
        sa.CheckConstraint("kind in ('main', 'repeat', 'identical', 'original')", name="ck_assignments_kind"),
        sa.CheckConstraint("state in ('open', 'leased', 'done', 'skipped')", name="ck_assignments_state"),
        sa.CheckConstraint("(annotator_id is null) = (screen is null)", name="ck_assignments_screen_has_annotator"),
        sa.CheckConstraint("side_order in (0, 1)", name="ck_assignments_side_order"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_assignments_annotator_id"),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name="fk_assignments_pair_id"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_assignments_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_assignments"),
        sa.UniqueConstraint("annotator_id", "pair_id", "kind", name="uq_assignments_annotator_id_pair_id_kind"),
        sa.UniqueConstraint("annotator_id", "screen", name="uq_assignments_annotator_id_screen"),
        sa.UniqueConstraint("pair_id", "slot", name="uq_assignments_pair_id_slot"),
        sa.UniqueConstraint("token", name="uq_assignments_token"))
    op.create_index("ix_assignments_open", "assignments", ["study_id", "state", "slot"], unique=False)
    op.create_table("answers",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("assignment_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=80), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("active_ms", sa.BigInteger(), nullable=True),
        sa.Column("skip_reason", sa.String(length=20), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("viewport", sa.String(length=40), nullable=False),
        sa.Column("app_version", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignments.id"], name="fk_answers_assignment_id"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_answers_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_answers"),
        sa.UniqueConstraint("assignment_id", "idempotency_key", name="uq_answers_assignment_id_idempotency_key"),
        sa.UniqueConstraint("assignment_id", "revision", name="uq_answers_assignment_id_revision"))
    op.create_index("uq_answers_final", "answers", ["assignment_id"], unique=True,
                    sqlite_where=sa.text("is_final"), postgresql_where=sa.text("is_final"))
    op.create_table("picture_tokens",
        sa.Column("token", sa.String(length=43), nullable=False),
        sa.Column("assignment_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("image", sa.String(length=64), nullable=False),
        sa.Column("wire_bytes", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_picture_tokens_annotator_id"),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignments.id"], name="fk_picture_tokens_assignment_id"),
        sa.ForeignKeyConstraint(["image"], ["images.digest"], name="fk_picture_tokens_image"),
        sa.PrimaryKeyConstraint("token", name="pk_picture_tokens"))
    op.create_index("ix_picture_tokens_assignment", "picture_tokens", ["assignment_id"], unique=False)
    op.create_table("ratings",
        sa.Column("id", ID, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("answer_id", sa.BigInteger(), nullable=False),
        sa.Column("assignment_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("method_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("shown_as", sa.Integer(), nullable=False),
        sa.Column("following", sa.Integer(), nullable=False),
        sa.Column("preserving", sa.Integer(), nullable=False),
        sa.Column("quality", sa.Integer(), nullable=False),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.CheckConstraint("following between 0 and 5", name="ck_ratings_following"),
        sa.CheckConstraint("preserving between 0 and 5", name="ck_ratings_preserving"),
        sa.CheckConstraint("quality between 0 and 5", name="ck_ratings_quality"),
        sa.CheckConstraint("shown_as in (1, 2)", name="ck_ratings_shown_as"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_ratings_annotator_id"),
        sa.ForeignKeyConstraint(["answer_id"], ["answers.id"], name="fk_ratings_answer_id"),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignments.id"], name="fk_ratings_assignment_id"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_ratings_item_id"),
        sa.ForeignKeyConstraint(["method_id"], ["methods.id"], name="fk_ratings_method_id"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_ratings_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_ratings"),
        sa.UniqueConstraint("answer_id", "shown_as", name="uq_ratings_answer_id_shown_as"))
    op.create_index("ix_ratings_study", "ratings", ["study_id", "annotator_id"], unique=False)
    op.create_index("uq_ratings_final", "ratings", ["assignment_id", "shown_as"], unique=True,
                    sqlite_where=sa.text("is_final"), postgresql_where=sa.text("is_final"))
    _make_append_only("events")


def _make_append_only(table: str) -> None:
    """Let the database itself refuse a changed or removed row, whoever asks."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"create trigger {table}_no_{verb} before {verb} on {table} "
                       f"begin select raise(abort, 'the log is append-only'); end")
    else:
        op.execute(f"create function {table}_refuse() returns trigger language plpgsql as "
                   f"$$ begin raise exception 'the log is append-only'; end $$")
        op.execute(f"create trigger {table}_append_only before update or delete on {table} "
                   f"for each row execute function {table}_refuse()")

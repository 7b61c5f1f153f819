"""Tables of the study database. They hold facts (who saw what, when, and what they answered); every summary is computed.

What must never happen is forbidden here, not only avoided in code: a second final rating of one picture by one annotator, two
annotators on one slot, one annotator twice on one pair, a score outside the scale, a changed log. `migrations` builds these tables.
Times are whole milliseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

STUDY_STATES = ("draft", "running", "paused", "closed")
KINDS = ("main", "repeat", "identical", "original")     # a pair, the same pair again, and the two attention checks
CHECKS = ("identical", "original")
STOP_RULES = ("skips", "checks", "pace")                # what ends a visit (`participation`)
SKIP_REASONS = ("broken", "unclear", "unsafe", "other")

metadata = MetaData(naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"})


def _id() -> Column:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _ref(name: str, target: str, nullable: bool = False) -> Column:
    return Column(name, BigInteger, ForeignKey(f"{target}.id"), nullable=nullable)


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} in ({', '.join(repr(value) for value in values)})", name=column)


store_settings = Table(
    "store_settings", metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False))                       # of `mre.study.keys`; the keys themselves only when encrypted

sessions = Table(
    "sessions", metadata,
    Column("token_digest", String(64), primary_key=True),        # of the cookie; never the token itself
    Column("account", String(100)),                              # null: a visitor by invitation
    Column("mark", String(64)),                                  # of the account's password when the session began
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False))
Index("ix_sessions_account", sessions.c.account)

studies = Table(
    "studies", metadata, _id(),
    Column("name", String(120), nullable=False, unique=True),    # NAME, and NAME@2, NAME@3 for later versions
    Column("public_id", String(24), nullable=False, unique=True),   # what an annotator's address bar shows
    Column("version", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("design", Text, nullable=False),                      # StudyDesign as JSON
    Column("digest", String(64)),                                # of design, items and pictures; set by the start, then fixed
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("closed_at", BigInteger),
    Column("order_secret", Text),                                # what the order is drawn from; null: the design's public seed
    Column("simulated", Boolean, nullable=False, server_default=false()),    # all of its annotators are; no person can join
    _one_of("state", STUDY_STATES))

methods = Table(
    "methods", metadata, _id(), _ref("study_id", "studies"),
    Column("position", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    UniqueConstraint("study_id", "name"), UniqueConstraint("study_id", "position"))

images = Table(
    "images", metadata,
    Column("digest", String(64), primary_key=True),              # of size and pixels
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("png", LargeBinary, nullable=False))

items = Table(
    "items", metadata, _id(), _ref("study_id", "studies"),
    Column("position", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("edit_type", String(40), nullable=False),
    Column("instruction", Text, nullable=False),
    Column("original", String(64), ForeignKey("images.digest")),  # null in a study that came from a CSV without pictures
    Column("wire_bytes", Integer, nullable=False, default=0),     # of the version before, which padded pictures; not read
    UniqueConstraint("study_id", "name"), UniqueConstraint("study_id", "position"))

edits = Table(
    "edits", metadata, _id(), _ref("item_id", "items"), _ref("method_id", "methods"),
    Column("image", String(64), ForeignKey("images.digest"), nullable=False),
    Column("source", Text, nullable=False),
    Column("source_digest", String(64), nullable=False),
    Column("details", Text, nullable=False),                     # seed, model, seconds, as the edits' table said
    UniqueConstraint("item_id", "method_id"))

pairs = Table(
    "pairs", metadata, _id(), _ref("study_id", "studies"), _ref("item_id", "items"),
    _ref("first_method", "methods"), _ref("second_method", "methods"),
    Column("set_aside_at", BigInteger),                          # offered no more since then, because too many have skipped it
    Column("priority", Float, nullable=False, server_default="0"),   # how much its ratings teach a judge, in nats; 0: not known
    UniqueConstraint("item_id", "first_method", "second_method"),
    CheckConstraint("first_method <> second_method", name="two_methods"))
Index("ix_pairs_set_aside", pairs.c.study_id, sqlite_where=text("set_aside_at is not null"),
      postgresql_where=text("set_aside_at is not null"))

annotators = Table(
    "annotators", metadata, _id(), _ref("study_id", "studies"),
    Column("label", String(200), nullable=False),                # the pseudonym that exports show
    Column("key_digest", String(64)),                            # of an outside id (account, Prolific, invitation); never the id itself
    Column("code_digest", String(64), unique=True),              # of the personal code for going on elsewhere
    Column("language", String(8), nullable=False),
    Column("home_slot", Integer),                                # the slots this annotator works through first
    Column("completion_code", String(40)),
    Column("completed_at", BigInteger),                          # when the completion code was earned
    Column("recruiting_ids", Text),                              # what a recruiting service calls the person, encrypted (`recruiting`)
    Column("joined_at", BigInteger, nullable=False),
    Column("consented_at", BigInteger),
    Column("withdrawn_at", BigInteger),
    Column("simulated", Boolean, nullable=False, server_default=false()),    # made by `study simulate`, not a person
    UniqueConstraint("study_id", "label"), UniqueConstraint("study_id", "key_digest"))

visits = Table(
    "visits", metadata,
    Column("token_digest", String(64), primary_key=True), _ref("annotator_id", "annotators"),
    Column("session_digest", String(64)),                        # of the session that it ends with; null: entered without an account
    Column("created_at", BigInteger, nullable=False))

assignments = Table(
    "assignments", metadata, _id(), _ref("study_id", "studies"), _ref("pair_id", "pairs"),
    Column("kind", String(10), nullable=False),
    Column("slot", Integer),                                     # 0 .. k-1: the screen that counts for its pair (`slots`); null: none
    Column("side_order", Integer, nullable=False),               # 0: first method is Edited Image 1; 1: swapped
    Column("shuffle_key", BigInteger, nullable=False),
    _ref("annotator_id", "annotators", nullable=True),
    Column("screen", Integer),                                   # number within the annotator's screens, from 1
    Column("state", String(10), nullable=False),
    Column("token", String(43), unique=True),                    # what the annotator's browser calls the screen
    Column("leased_at", BigInteger),
    Column("lease_expires_at", BigInteger),
    Column("first_shown_at", BigInteger),
    Column("revision", Integer, nullable=False),                 # of the final answer; 0: none yet
    Column("draft", Text),                                       # half-filled scores
    UniqueConstraint("pair_id", "slot"), UniqueConstraint("annotator_id", "pair_id", "kind"), UniqueConstraint("annotator_id", "screen"),
    _one_of("kind", KINDS), _one_of("state", ("open", "leased", "done", "skipped")),
    CheckConstraint("(state = 'open') = (annotator_id is null)", name="open_is_nobodys"),
    CheckConstraint("(annotator_id is null) = (screen is null)", name="screen_has_annotator"),
    CheckConstraint("side_order in (0, 1)", name="side_order"))
Index("ix_assignments_open", assignments.c.study_id, assignments.c.state, assignments.c.slot)

answers = Table(
    "answers", metadata, _id(), _ref("study_id", "studies"), _ref("assignment_id", "assignments"),
    Column("revision", Integer, nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("idempotency_key", String(80), nullable=False),
    Column("submitted_at", BigInteger, nullable=False),
    Column("active_ms", BigInteger),
    Column("skip_reason", String(20)),
    Column("comment", Text, nullable=False),
    Column("viewport", String(40), nullable=False),
    Column("app_version", String(40), nullable=False),
    UniqueConstraint("assignment_id", "revision"), UniqueConstraint("assignment_id", "idempotency_key"))
Index("uq_answers_final", answers.c.assignment_id, unique=True, sqlite_where=text("is_final"), postgresql_where=text("is_final"))

ratings = Table(
    "ratings", metadata, _id(), _ref("study_id", "studies"), _ref("answer_id", "answers"), _ref("assignment_id", "assignments"),
    _ref("annotator_id", "annotators"), _ref("item_id", "items"), _ref("method_id", "methods", nullable=True),   # null: the original
    Column("kind", String(10), nullable=False),
    Column("shown_as", Integer, nullable=False),
    Column("following", Integer, nullable=False),
    Column("preserving", Integer, nullable=False),
    Column("quality", Integer, nullable=False),
    Column("is_final", Boolean, nullable=False),
    UniqueConstraint("answer_id", "shown_as"),
    CheckConstraint("shown_as in (1, 2)", name="shown_as"),
    *(CheckConstraint(f"{name} between 0 and 5", name=name) for name in ("following", "preserving", "quality")))
Index("uq_ratings_final", ratings.c.assignment_id, ratings.c.shown_as, unique=True,
      sqlite_where=text("is_final"), postgresql_where=text("is_final"))
Index("ix_ratings_study", ratings.c.study_id, ratings.c.annotator_id)

imports = Table(                # studies that are still being written, under a name that nobody can ask for (`importer`)
    "imports", metadata,
    Column("study_id", BigInteger, ForeignKey("studies.id"), primary_key=True, autoincrement=False),
    Column("seen_at", BigInteger, nullable=False))               # when something of it was last written

picture_tokens = Table(
    "picture_tokens", metadata,
    Column("token", String(43), primary_key=True), _ref("assignment_id", "assignments"), _ref("annotator_id", "annotators"),
    Column("place", Integer, nullable=False),                    # 0: original; 1, 2: the edited images
    Column("image", String(64), ForeignKey("images.digest"), nullable=False),
    Column("wire_bytes", Integer, nullable=False, default=0),    # of the version before; not read
    Column("expires_at", BigInteger))                            # null: lives as long as the screen's lease
Index("ix_picture_tokens_assignment", picture_tokens.c.assignment_id)

exclusions = Table(
    "exclusions", metadata, _id(), _ref("study_id", "studies"), _ref("annotator_id", "annotators"),
    Column("reason", Text, nullable=False),
    Column("decided_by", String(200), nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    Column("lifted_at", BigInteger))
Index("uq_exclusions_standing", exclusions.c.annotator_id, unique=True,
      sqlite_where=text("lifted_at is null"), postgresql_where=text("lifted_at is null"))

stops = Table(
    "stops", metadata, _id(), _ref("study_id", "studies"), _ref("annotator_id", "annotators"),
    Column("rule", String(10), nullable=False),
    Column("measured", Text, nullable=False),                    # what broke the rule, as JSON
    Column("stopped_at", BigInteger, nullable=False),
    Column("lifted_at", BigInteger),
    Column("lifted_by", String(200)),
    Column("lifted_screen", Integer),                            # the annotator's last screen then: rules judge what comes after it
    _one_of("rule", STOP_RULES))
Index("uq_stops_standing", stops.c.annotator_id, unique=True,
      sqlite_where=text("lifted_at is null"), postgresql_where=text("lifted_at is null"))
Index("ix_stops_study", stops.c.study_id)

events = Table(
    "events", metadata, _id(), _ref("study_id", "studies"),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True))
Index("ix_events_study", events.c.study_id, events.c.id)


def insert_row(connection: Connection, table: Table, **values: Any) -> int:
    """Insert a row of a table with ids. Returns its id."""
    key = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert key is not None, "one row was inserted"
    return key[0]

"""Handovers, legal holds, erasures, stays beside the rules, and what movers left and joined."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0018"
down_revision = "0017"

BYTES = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STANDS = sa.text("ended_at IS NULL")
TO_BE_ERASED = sa.text("erased_at IS NULL AND ended_at IS NULL")
TO_BE_DONE = sa.text("done_at IS NULL AND withdrawn_at IS NULL")


def upgrade() -> None:
    _handovers()
    _holds()
    _stays()
    _moves()


def _handovers() -> None:
    op.create_table(
        "heir",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("heir_id", BYTES, nullable=True),
        sa.Column("named_by", sa.Text(), nullable=False),
        sa.Column("named_at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "person_id", name=op.f("pk_heir")),
    )
    op.create_table(
        "handover",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("departure_id", sa.Text(), nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("heir_id", BYTES, nullable=True),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("begun_at", app.database.Instant(), nullable=False),
        sa.Column("journal_id", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "departure_id", name=op.f("pk_handover")),
    )
    op.create_index("ix_handover_person", "handover", ["organization_id", "person_id"])
    op.create_table(
        "handover_place",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("departure_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("begun_at", app.database.Instant(), nullable=False),
        sa.Column("upto", BYTES, nullable=False, server_default=""),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("done_at", app.database.Instant(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "departure_id", "workspace_id", name=op.f("pk_handover_place")),
    )
    op.create_table(
        "handed_channel",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("departure_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("channel", BYTES, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("to_person_id", BYTES, nullable=True),
        sa.Column("to_account", sa.Text(), nullable=True),
        sa.Column("arrival", sa.Text(), nullable=True),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "departure_id", "workspace_id", "channel", name=op.f("pk_handed_channel")),
    )


def _holds() -> None:
    op.create_table(
        "legal_hold",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ordered_by", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("placed_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_legal_hold")),
    )
    op.create_index("ix_legal_hold_standing", "legal_hold", ["organization_id", "person_id"], postgresql_where=STANDS, sqlite_where=STANDS)
    op.create_index("ix_legal_hold_person", "legal_hold", ["organization_id", "person_id"])
    op.create_table(
        "erasure",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("departure_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("left_at", app.database.Instant(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("due_at", app.database.Instant(), nullable=False),
        sa.Column("next_at", app.database.Instant(), nullable=False),
        sa.Column("lease_until", app.database.Instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("begun_at", app.database.Instant(), nullable=True),
        sa.Column("accounts", DOCUMENT, nullable=True),
        sa.Column("erased_at", app.database.Instant(), nullable=True),
        sa.Column("grade", sa.Text(), nullable=True),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("ended_why", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "departure_id", "workspace_id", name=op.f("pk_erasure")),
    )
    op.create_index("ix_erasure_next", "erasure", ["next_at"], postgresql_where=TO_BE_ERASED, sqlite_where=TO_BE_ERASED)
    op.create_index("ix_erasure_person", "erasure", ["organization_id", "person_id"])


def _stays() -> None:
    op.create_table(
        "stay",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel_id", BYTES, nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("owns", sa.Boolean(), nullable=False),
        sa.Column("approved_by", BYTES, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("departure_id", sa.Text(), nullable=True),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.Column("begins_at", app.database.Instant(), nullable=False),
        sa.Column("ends_at", app.database.Instant(), nullable=True),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("ended_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_stay")),
    )
    op.create_index(
        "uq_stay", "stay", ["organization_id", "person_id", "channel_id", "why"], unique=True, postgresql_where=STANDS, sqlite_where=STANDS
    )
    op.create_index("ix_stay_channel", "stay", ["organization_id", "channel_id"], postgresql_where=STANDS, sqlite_where=STANDS)
    op.create_index("ix_stay_ends", "stay", ["ends_at"], postgresql_where=STANDS, sqlite_where=STANDS)


def _moves() -> None:
    op.create_table(
        "move",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("journal_id", NUMBER, nullable=True),
        sa.Column("at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_move")),
    )
    op.create_index("ix_move_person", "move", ["organization_id", "person_id", "at"])
    op.create_table(
        "move_line",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("move_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("channel_id", BYTES, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("until", app.database.Instant(), nullable=True),
        sa.Column("done_at", app.database.Instant(), nullable=True),
        sa.Column("withdrawn_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "move_id", "workspace_id", "channel_id", "step", name=op.f("pk_move_line")),
    )
    op.create_index(
        "ix_move_line_open", "move_line", ["organization_id", "person_id", "workspace_id"], postgresql_where=TO_BE_DONE, sqlite_where=TO_BE_DONE
    )

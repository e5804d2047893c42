"""Engagements, sponsors, holds and handovers."""

import sqlalchemy as sa
from alembic import op

import app.database

revision = "0016"
down_revision = "0015"

BYTES = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
OPEN = sa.text("ended_at IS NULL")
TO_BE_POSTED = sa.text("posted_at IS NULL AND dropped_at IS NULL")


def upgrade() -> None:
    _engagements()


def _engagements() -> None:
    op.create_table(
        "engagement",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", BYTES, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("sponsor_id", BYTES, nullable=True),
        sa.Column("starts_at", app.database.Instant(), nullable=True),
        sa.Column("ends_at", app.database.Instant(), nullable=True),
        sa.Column("attested_at", app.database.Instant(), nullable=True),
        sa.Column("attested_by", sa.Text(), nullable=True),
        sa.Column("lapsed_at", app.database.Instant(), nullable=True),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("ended_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_engagement")),
    )
    op.create_index(
        "uq_engagement_person", "engagement", ["organization_id", "person_id"], unique=True, postgresql_where=OPEN, sqlite_where=OPEN
    )
    op.create_index("ix_engagement_sponsor", "engagement", ["organization_id", "sponsor_id"], postgresql_where=OPEN, sqlite_where=OPEN)
    op.create_index("ix_engagement_ends", "engagement", ["ends_at"], postgresql_where=OPEN, sqlite_where=OPEN)
    op.create_table(
        "sponsor_letter",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("engagement_id", sa.Text(), nullable=False),
        sa.Column("ends_at", app.database.Instant(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("due_at", app.database.Instant(), nullable=False),
        sa.Column("lease_until", app.database.Instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("posted_at", app.database.Instant(), nullable=True),
        sa.Column("dropped_at", app.database.Instant(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "engagement_id", "ends_at", "days", name=op.f("pk_sponsor_letter")),
    )
    op.create_index("ix_sponsor_letter_due", "sponsor_letter", ["due_at"], postgresql_where=TO_BE_POSTED, sqlite_where=TO_BE_POSTED)

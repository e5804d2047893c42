"""Sources that are pulled: how far they were read, their entries, runs, and questions for people."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0014"
down_revision = "0013"

BYTES = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _having(column: str) -> dict[str, Any]:
    where = sa.text(f"{column} IS NOT NULL")
    return {"postgresql_where": where, "sqlite_where": where}


def upgrade() -> None:
    op.add_column("source", sa.Column("settings", DOCUMENT, nullable=True))
    op.add_column("source", sa.Column("rank", sa.Integer(), server_default="100", nullable=False))
    op.add_column("record", sa.Column("starts_at", app.database.Instant(), nullable=True))
    op.add_column("record", sa.Column("ends_at", app.database.Instant(), nullable=True))
    op.add_column("held", sa.Column("seconded_by", sa.Text(), nullable=True))

    op.create_table(
        "awaited_member",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("member_key", BYTES, nullable=False),
        sa.Column("group_key", BYTES, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id", "member_key", "group_key", name=op.f("pk_awaited_member")),
    )
    with op.batch_alter_table("awaited_member", schema=None) as batch_op:
        batch_op.create_index("ix_awaited_member_group", ["organization_id", "source_id", "group_key"], unique=False)

    op.create_table(
        "pulled_entry",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", BYTES, nullable=False),
        sa.Column("subject_id", BYTES, nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("missing_since", app.database.Instant(), nullable=True),
        sa.Column("kept", sa.Text(), nullable=True),
        sa.Column("manager_key", BYTES, nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "source_id", "kind", "key", name=op.f("pk_pulled_entry")),
    )
    with op.batch_alter_table("pulled_entry", schema=None) as batch_op:
        batch_op.create_index(
            "ix_pulled_entry_manager", ["organization_id", "source_id", "kind", "key"], unique=False, **_having("manager_key")
        )
        batch_op.create_index(
            "ix_pulled_entry_missing", ["organization_id", "source_id", "kind", "key"], unique=False, **_having("missing_since")
        )
        batch_op.create_index("ix_pulled_entry_subject", ["organization_id", "subject_id"], unique=False, **_having("subject_id"))

    op.create_table(
        "question",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("source_key", BYTES, nullable=True),
        sa.Column("record_id", BYTES, nullable=True),
        sa.Column("draft", DOCUMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("candidates", DOCUMENT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_at", app.database.Instant(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("answered_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "number", name=op.f("pk_question")),
    )
    with op.batch_alter_table("question", schema=None) as batch_op:
        batch_op.create_index("ix_question_record", ["organization_id", "record_id"], unique=False)
        batch_op.create_index("ix_question_source_key", ["organization_id", "source_id", "source_key"], unique=False)
        batch_op.create_index("ix_question_state", ["organization_id", "state"], unique=False)

    op.create_table(
        "run",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("started_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("joined", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("held_id", sa.Text(), nullable=True),
        sa.Column("of_run", sa.Integer(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("notes", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "number", name=op.f("pk_run")),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index("ix_run_source", ["organization_id", "source_id", "started_at"], unique=False)

    op.create_table(
        "run_line",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("took", sa.Text(), nullable=False),
        sa.Column("subject_id", BYTES, nullable=False),
        sa.Column("group_id", BYTES, nullable=True),
        sa.Column("person_id", BYTES, nullable=True),
        sa.Column("journal_id", NUMBER, nullable=False),
        sa.Column("undone_by", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "run", "line", name=op.f("pk_run_line")),
    )
    op.create_table(
        "source_state",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("cursor_at", app.database.Instant(), nullable=True),
        sa.Column("tried_at", app.database.Instant(), nullable=True),
        sa.Column("pulled_at", app.database.Instant(), nullable=True),
        sa.Column("full_at", app.database.Instant(), nullable=True),
        sa.Column("next_at", app.database.Instant(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("people", sa.Integer(), nullable=True),
        sa.Column("groups", sa.Integer(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=True),
        sa.Column("woken_at", app.database.Instant(), nullable=True),
        sa.Column("subscriptions", DOCUMENT, nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "source_id", name=op.f("pk_source_state")),
    )
    with op.batch_alter_table("source_state", schema=None) as batch_op:
        batch_op.create_index("ix_source_state_next", ["next_at"], unique=False, **_having("next_at"))

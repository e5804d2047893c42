"""HR systems by description, and what they said."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "hr_system",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("variables", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("sealed_credential", sa.LargeBinary(), nullable=True),
        sa.Column("allow_private", sa.Boolean(), nullable=False),
        sa.Column("heard_at", app.database.Instant(), nullable=True),
        sa.Column("polled_at", app.database.Instant(), nullable=True),
        sa.Column("look_again_at", app.database.Instant(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("alarmed", sa.Boolean(), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id", name=op.f("pk_hr_system")),
    )
    with op.batch_alter_table("hr_system", schema=None) as batch_op:
        batch_op.create_index("ix_hr_system_look_again", ["look_again_at"], unique=False)
    op.create_table(
        "hr_person",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("said", sa.Text(), nullable=True),
        sa.Column("linked_at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id", "key", name=op.f("pk_hr_person")),
    )
    with op.batch_alter_table("hr_person", schema=None) as batch_op:
        batch_op.create_index("ix_hr_person_person", ["organization_id", "person_id"], unique=False)
    with op.batch_alter_table("hr_event", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sealed_body", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("person_key", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("due_at", app.database.Instant(), nullable=True))
        batch_op.add_column(sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
        batch_op.create_index(
            "ix_hr_event_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_hr_event_sealed", ["received_at"], unique=False,
            postgresql_where=sa.text("sealed_body IS NOT NULL"), sqlite_where=sa.text("sealed_body IS NOT NULL"),
        )  # fmt: skip

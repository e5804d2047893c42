"""Signing keys, and the tree over everything that was written down."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database
from migrations.triggers import keep_but_scrub

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    document = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("sealed_private", sa.LargeBinary(), nullable=False),
        sa.Column("public", document, nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("active_from", app.database.Instant(), nullable=False),
        sa.Column("retired_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    with op.batch_alter_table("signing_key", schema=None) as batch_op:
        batch_op.create_index("ix_signing_key_purpose", ["purpose", "algorithm", "active_from"], unique=False)

    op.create_table(
        "audit_tree",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", number, nullable=False),
        sa.Column("frontier", document, nullable=False),
        sa.Column("sequenced_at", app.database.Instant(), nullable=False),
        sa.Column("checkpoint_size", number, nullable=False),
        sa.Column("checkpoint_at", app.database.Instant(), nullable=True),
        sa.Column("pruned", number, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_audit_tree")),
    )
    op.create_table(
        "audit_leaf",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("number", number, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source_id", number, nullable=False),
        sa.Column("sequenced_at", app.database.Instant(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.Text(), nullable=True),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "number", name=op.f("pk_audit_leaf")),
    )
    with op.batch_alter_table("audit_leaf", schema=None) as batch_op:
        batch_op.create_index("uq_audit_leaf_source", ["organization_id", "kind", "source_id"], unique=True)
    op.create_table(
        "audit_node",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", number, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "level", "number", name=op.f("pk_audit_node")),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("size", number, autoincrement=False, nullable=False),
        sa.Column("at", app.database.Instant(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("published_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_sequencer",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("high", number, nullable=False),
        sa.Column("gaps", document, nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_audit_sequencer")),
    )
    op.create_table(
        "audit_delivery",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("next", number, nullable=False),
        sa.Column("delivered_at", app.database.Instant(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "receiver", name=op.f("pk_audit_delivery")),
    )

    # What was written down may lose its content, after years or on request; that it was written down stays.
    keep_but_scrub(
        "journal", fixed=("id", "organization_id", "at", "verb", "subject_kind", "subject_id"), emptied=("actor", "because"),
        nulled=("before", "after"),
    )  # fmt: skip
    keep_but_scrub(
        "deed", fixed=("id", "organization_id", "workspace_id", "at", "subject", "subject_id", "because"), emptied=("did", "ended")
    )

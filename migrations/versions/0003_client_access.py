"""Tokens that expire and say when they were last used; OAuth clients of directories."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("expires_at", "last_used_at"):
        op.add_column("bearer_token", sa.Column(name, app.database.Instant(), nullable=True))
    op.add_column("bearer_token", sa.Column("client_id", sa.Text(), nullable=True))

    op.create_table(
        "oauth_client",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("jwks", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=True),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("last_used_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_oauth_client")),
    )
    with op.batch_alter_table("oauth_client", schema=None) as batch_op:
        batch_op.create_index("ix_oauth_client_source", ["organization_id", "source_id"], unique=False)
        batch_op.create_index("uq_oauth_client_id", ["id"], unique=True)

    op.create_table(
        "spent_assertion",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "client_id", "digest", name=op.f("pk_spent_assertion")),
    )

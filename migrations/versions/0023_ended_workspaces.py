"""Workspaces that are kept in step no more, so that what was proved there keeps its name."""

import sqlalchemy as sa
from alembic import op

import app.database

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_table(
        "ended_workspace",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_ended_workspace")),
    )

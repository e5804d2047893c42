"""Schemas that organisations declare, and the entry that last changed them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "schema_extension",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("urn_key", sa.Text(), nullable=False),
        sa.Column("core", sa.Text(), nullable=False),
        sa.Column("described", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("declared_at", app.database.Instant(), nullable=False),
        sa.Column("journal_id", number, nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"]),
        sa.PrimaryKeyConstraint("organization_id", "urn_key", name=op.f("pk_schema_extension")),
    )
    op.add_column("organization", sa.Column("schemas_version", number, nullable=True))

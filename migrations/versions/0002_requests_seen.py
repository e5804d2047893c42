"""SCIM requests that were seen: their meaning, and their masked bodies."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0002"
down_revision = "0001"

_BYTE_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "request_seen",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", _BYTE_TEXT, nullable=False),
        sa.Column("at", app.database.Instant(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=True),
        sa.Column("resource_type", sa.Text(), nullable=True),
        sa.Column("resource_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", _BYTE_TEXT, nullable=True),
        sa.Column("person_id", _BYTE_TEXT, nullable=True),
        sa.Column("attributes", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=True),
        sa.Column("scim_type", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("found", sa.Integer(), nullable=True),
        sa.Column("took_us", sa.Integer(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("part_of", sa.Text(), nullable=True),
        sa.Column("part", sa.Integer(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_request_seen")),
    )
    for name, column in (("person", "person_id"), ("name", "name_key"), ("refused", "refused")):
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_request_seen_{name}", "request_seen", ["organization_id", column, "id"], unique=False,
            postgresql_where=there, sqlite_where=there,
        )  # fmt: skip

    op.create_table(
        "request_body",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", _BYTE_TEXT, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_request_body")),
    )

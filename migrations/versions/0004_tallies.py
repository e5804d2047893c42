"""Totals without counting, and indexes that hold all that pages, teams and a person's groups read."""

import sqlalchemy as sa
from alembic import op

from migrations.triggers import tally

revision = "0004"
down_revision = "0003"

_STANDS = sa.text("ended_at IS NULL")
_COUNTED = ("record", "directory_group")


def upgrade() -> None:
    op.create_table(
        "tally",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id", "kind", "shard", name=op.f("pk_tally")),
    )
    for table in _COUNTED:
        op.execute(
            "INSERT INTO tally (organization_id, source_id, kind, shard, number) "
            f"SELECT organization_id, source_id, '{table}', 0, count(*) FROM {table} WHERE ended_at IS NULL GROUP BY organization_id, source_id"
        )
        tally(table)
    for table, name, columns in (
        ("person", "ix_person_manager", ["organization_id", "manager_id", "standing", "id"]),
        ("membership", "ix_membership_record", ["organization_id", "record_id", "group_id"]),
    ):
        op.drop_index(name, table)
        op.create_index(name, table, columns)
    for table, name in (("record", "ix_record_source"), ("directory_group", "ix_group_source")):
        op.drop_index(name, table)
        op.create_index(
            name, table, ["organization_id", "source_id", "id", "ended_at"], postgresql_where=_STANDS, sqlite_where=_STANDS
        )

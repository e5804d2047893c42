"""Second factors and break-glass accounts."""

import sqlalchemy as sa
from alembic import op

import app.database

revision = "0013"
down_revision = "0012"

STANDS = sa.text("ended_at IS NULL")


def _person_id() -> sa.Column[str]:
    return sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "factor",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        _person_id(),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("credential_digest", sa.Text(), nullable=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("added_at", app.database.Instant(), nullable=False),
        sa.Column("last_used_at", app.database.Instant(), nullable=True),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_factor")),
    )
    with op.batch_alter_table("factor", schema=None) as batch_op:
        batch_op.create_index("ix_factor_person", ["organization_id", "person_id"], unique=False)
        batch_op.create_index("uq_factor_credential", ["credential_digest"], unique=True, postgresql_where=STANDS, sqlite_where=STANDS)

    op.create_table(
        "one_time_code",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        _person_id(),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=True),
        sa.Column("used_at", app.database.Instant(), nullable=True),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "digest", name=op.f("pk_one_time_code")),
    )
    with op.batch_alter_table("one_time_code", schema=None) as batch_op:
        batch_op.create_index("uq_one_time_code_digest", ["digest"], unique=True)
        batch_op.create_index("ix_one_time_code_person", ["organization_id", "person_id"], unique=False)

    op.create_table(
        "break_glass_account",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        _person_id(),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("added_at", app.database.Instant(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("blocked_until", app.database.Instant(), nullable=True),
        sa.Column("last_used_at", app.database.Instant(), nullable=True),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_break_glass_account")),
    )
    with op.batch_alter_table("break_glass_account", schema=None) as batch_op:
        batch_op.create_index(
            "uq_break_glass_account_person", ["organization_id", "person_id"], unique=True, postgresql_where=STANDS, sqlite_where=STANDS
        )

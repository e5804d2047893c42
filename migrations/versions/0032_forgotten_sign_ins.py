"""Sign-ins that are long over are found by when they ran out, and forgotten; when somebody last signed in is kept."""

import sqlalchemy as sa
from alembic import op

import app.database

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.create_table(
        "last_sign_in",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "person_id", name=op.f("pk_last_sign_in")),
    )
    op.create_index("ix_session_expires", "session", ["expires_at"])
    op.create_index("ix_grant_expires", "oauth_grant", ["expires_at"])

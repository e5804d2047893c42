"""Sign-ins are found by what the provider calls them, whoever's they are."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_OPEN = sa.text("upstream_session IS NOT NULL AND ended_at IS NULL")


def upgrade() -> None:
    op.create_index("ix_session_named", "session", ["organization_id", "upstream_session"], postgresql_where=_OPEN, sqlite_where=_OPEN)

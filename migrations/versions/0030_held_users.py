"""Users of a source whose *off* the brake holds are found in an index of these few, also where all of its users have ended."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


# As each database is asked: only by the same words does it know that the index has all that is looked for.
_HELD = sa.text("held IS TRUE")
_HELD_ON_SQLITE = sa.text("held IS 1")


def upgrade() -> None:
    op.create_index("ix_record_held", "record", ["organization_id", "source_id", "id"], postgresql_where=_HELD, sqlite_where=_HELD_ON_SQLITE)

"""What is asked of one person is found in an index: which engagement was over last and what is held of them."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

_OVER = sa.text("ended_at IS NOT NULL")
_OF_PERSON = sa.text("person_id IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_engagement_over", "engagement", ["organization_id", "person_id"], postgresql_where=_OVER, sqlite_where=_OVER)
    op.create_index("ix_held_line_person", "held_line", ["organization_id", "person_id"], postgresql_where=_OF_PERSON, sqlite_where=_OF_PERSON)

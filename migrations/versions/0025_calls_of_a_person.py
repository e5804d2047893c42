"""HR's calls are found by whom they were about, however many there were."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

_OF = {"ix_hr_event_person": ["organization_id", "person_id"], "ix_hr_event_key": ["organization_id", "source_id", "person_key"]}


def upgrade() -> None:
    for name, columns in _OF.items():
        having = sa.text(f"{columns[-1]} IS NOT NULL")
        op.create_index(name, "hr_event", columns, postgresql_where=having, sqlite_where=having)

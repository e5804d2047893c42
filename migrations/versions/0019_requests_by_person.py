"""Requests seen: look-ups by name stand in one index only, and names in a smaller one."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

PERSON = sa.text("person_id IS NOT NULL AND found IS NULL")
NAME = sa.text("name_key IS NOT NULL")


def upgrade() -> None:
    op.drop_index("ix_request_seen_person", "request_seen")
    op.drop_index("ix_request_seen_name", "request_seen")
    for name, columns, there in (("person", ["organization_id", "person_id", "id"], PERSON), ("name", ["name_key", "id"], NAME)):
        op.create_index(f"ix_request_seen_{name}", "request_seen", columns, unique=False, postgresql_where=there, sqlite_where=there)

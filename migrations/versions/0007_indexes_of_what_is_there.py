"""Indexes of attributes that many people do not have hold only those who have them, so that nobody else's change writes to them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_INDEXES = (
    ("record", "ix_record_employee_number", ["organization_id", "employee_number"], "employee_number"),
    ("person", "ix_person_employee_number", ["organization_id", "employee_number"], "employee_number"),
    ("person", "ix_person_department", ["organization_id", "department"], "department"),
    ("person", "ix_person_manager", ["organization_id", "manager_id", "standing", "id"], "manager_id"),
)


def upgrade() -> None:
    for table, name, columns, present in _INDEXES:
        where = sa.text(f"{present} IS NOT NULL")
        op.drop_index(name, table)
        op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)

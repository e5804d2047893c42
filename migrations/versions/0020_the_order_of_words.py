"""Statements and HR calls know the order in which they were said, and not only instants."""

import sqlalchemy as sa
from alembic import op

import app.database

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("statement", sa.Column("heard_at", app.database.Instant(), nullable=True))
    op.add_column("statement", sa.Column("heard_after", app.database.Number, nullable=True))
    op.add_column("statement", sa.Column("said_in", app.database.Number, nullable=True))
    op.add_column("hr_event", sa.Column("heard_after", app.database.Number, nullable=True))

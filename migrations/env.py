"""Alembic's entry: runs migrations over the connection that the caller hands in."""

from alembic import context
from sqlalchemy import Connection

from app.database import Base
from migrations import every_table  # noqa: F401  # importing it is what makes the tables known


def run(connection: Connection) -> None:
    # SQLite cannot alter most things in place; batch mode copies the table instead.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite")
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])

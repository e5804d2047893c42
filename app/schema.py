"""Bringing the database to the present schema, and telling whether it is there.

Alembic is loaded only by whoever needs it: with all migrations that takes longer than most verbs to run.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.database import db

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    # The default splits on spaces and commas, which a folder's name may hold.
    config.set_main_option("path_separator", "os")
    return config


def upgrade() -> None:
    """Run what is missing; may be called again. Needs an application context."""
    if is_current():
        return
    from alembic import command

    config = _config()
    with db.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current() -> bool:
    """Whether the database stands at the newest migration."""
    with db.engine.connect() as connection:
        return _standing(connection) == newest()


def _standing(connection: Connection) -> str | None:
    """The migration at which a database stands; None where it has none of ours."""
    try:
        # Every verb asks for it, and Alembic would look through the catalogue first.
        number: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    except DBAPIError:
        # There is no such table, or something else is wrong, which is said by this.
        from alembic.runtime.migration import MigrationContext

        connection.rollback()
        number = MigrationContext.configure(connection).get_current_revision()
    return number


@cache
def newest() -> str:
    """The number of the newest migration. It is what its file's name begins with, and none comes while the process runs."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))

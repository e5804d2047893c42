"""Bringing the database to the present schema, and telling whether it is there."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.database import db

_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    # The default splits on spaces and commas, which a folder's name may hold.
    config.set_main_option("path_separator", "os")
    return config


def upgrade() -> None:
    """Run what is missing; may be called again. Needs an application context."""
    if is_current():
        return
    config = _config()
    with db.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current() -> bool:
    """Whether the database stands at the newest migration."""
    with db.engine.connect() as connection:
        try:
            # Every verb asks for it, and Alembic would look through the catalogue first.
            found = connection.scalars(text("SELECT version_num FROM alembic_version")).all()
        except DBAPIError:
            # There is no such table, or something else is wrong, which is said by this.
            connection.rollback()
            return MigrationContext.configure(connection).get_current_revision() == _newest()
        return list(found) == [_newest()]


@cache
def _newest() -> str | None:
    # Each migration is loaded for it, and none comes while the process runs.
    return ScriptDirectory.from_config(_config()).get_current_head()

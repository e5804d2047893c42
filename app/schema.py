"""Bringing the database to the present schema, and telling whether it is there.

Alembic is loaded only by whoever needs it: with all migrations that takes longer than most verbs to run.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app import planning_hints
from app.database import db, reading_engine

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
_ONE_AT_A_TIME = 0x646C696E6974
"""PostgreSQL's advisory lock for whoever sets up a database."""


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    # The default splits on spaces and commas, which a folder's name may hold.
    config.set_main_option("path_separator", "os")
    return config


class UnknownSchema(Exception):
    """The database has a schema that this Doorlist does not know; nothing in it was touched."""


class NotInUTF8(Exception):
    """The new database is one that cannot hold every letter; nothing in it was touched."""


def upgrade() -> None:
    """Run what is missing; may be called again, also by several at once. Raises UnknownSchema, NotInUTF8. Needs an application context."""
    with reading_engine().connect() as connection:
        number = _standing(connection)
        if number is None:
            _refuse_other_encodings(connection)
    if number == newest():
        return
    if number is not None and number not in _known():
        raise UnknownSchema(_unknown(number))
    from alembic import command

    config = _config()
    with db.engine.begin() as connection:
        one_at_a_time(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        planning_hints.tell(connection)


def one_at_a_time(connection: Connection) -> None:
    """Let whoever sets up this database go on alone until the transaction ends: others wait, and then see what was done. On SQLite whoever writes is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ONE_AT_A_TIME})


def _refuse_other_encodings(connection: Connection) -> None:
    # PostgreSQL makes one of SQL_ASCII where its cluster was made without a locale.
    encoding = connection.scalar(text("SHOW server_encoding")) if connection.dialect.name == "postgresql" else "UTF8"
    if encoding != "UTF8":
        raise NotInUTF8(f"the database is in {encoding}, which cannot hold every name: make another with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0")


def why_unfit() -> str | None:
    """What keeps this Doorlist from working on the database, and what helps; None where it stands at the newest migration."""
    with reading_engine().connect() as connection:
        number = _standing(connection)
    if number == newest():
        return None
    if number is None or number in _known():
        return "the database has no schema, or an older one: run 'doorlist init'"
    return _unknown(number)


def damage() -> str | None:
    """What is wrong with the file of an SQLite database, which takes as long as reading all of it; None where nothing is. Others go on writing meanwhile.

    A backup that was copied over a database whose process was killed takes what that left in its `-wal` for its own, and is
    neither of the two. PostgreSQL looks after its files itself.
    """
    if db.engine.dialect.name != "sqlite":
        return None
    with reading_engine().connect() as connection:
        said = [str(line) for line in connection.scalars(text("PRAGMA integrity_check(1)"))]
    if said == ["ok"]:
        return None
    found = " ".join(said[0].splitlines()[-1:])
    return (
        f"the file of the database is damaged ({found}): stop every process, remove it with its -wal and -shm, and put a backup in its place; "
        "see 'Restoring a backup' in docs/operations.md"
    )


def takes_none(session: Session) -> str | None:
    """Why PostgreSQL, which answers, takes no changes just now; None where it takes them."""
    if session.get_bind().dialect.name != "postgresql":
        return None
    standby, refuses = session.execute(text("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean")).one()
    if standby:
        return "it takes no changes, as it is a standby: promote it, or let DATABASE_URL mean the server that takes them"
    return "it takes no changes, as it was told to take none (default_transaction_read_only)" if refuses else None


def _unknown(number: str) -> str:
    if number.isdigit():
        return f"the database has the schema {number} of a newer Doorlist, and this one knows none beyond {newest()}: install the newer one again"
    return f"the database has a schema that is none of Doorlist's ({number}): see whether DATABASE_URL means the right one"


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
    """The number of the newest migration."""
    return max(_known())


@cache
def _known() -> frozenset[str]:
    """The numbers of all migrations. Each is what its file's name begins with, and none comes while the process runs."""
    return frozenset(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))

"""The index by which part of a record's name is found, where the database can have one."""

import logging
import sqlite3

from alembic import op
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

_WITHOUT = "without an index of parts of names: %s (docs/operations.md#searching-for-part-of-a-name)"


def index_parts_of_names() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _by_pg_trgm()
    else:
        _by_fts5()


def _by_pg_trgm() -> None:
    bind = op.get_bind()
    if not bind.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'")):
        log.warning(_WITHOUT, "the extension pg_trgm is not installed on the server")
        return
    try:
        # Trusted since PostgreSQL 13: who may create in the database may add it. Others may not, and need not.
        with bind.begin_nested():
            bind.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            bind.execute(
                text("CREATE INDEX ix_record_name_part ON record USING gin (user_name_key gin_trgm_ops) WHERE ended_at IS NULL")
            )
    except DBAPIError as error:
        # 42501 insufficient_privilege; 42704 undefined_object: it is in a schema that we do not look into.
        if getattr(error.orig, "sqlstate", None) not in ("42501", "42704"):
            raise
        log.warning(_WITHOUT, str(error.orig).partition("\n")[0])


def _by_fts5() -> None:
    # `number` is a record's rowid. A new record costs nothing: it is known to be new by its rowid.
    op.execute("CREATE TABLE name_part_upto (number INTEGER NOT NULL)")
    op.execute("INSERT INTO name_part_upto VALUES (0)")
    op.execute("CREATE TABLE name_part_renamed (number INTEGER PRIMARY KEY, was TEXT NOT NULL)")
    op.execute(
        "CREATE TRIGGER record_renamed AFTER UPDATE OF user_name_key ON record "
        "WHEN NEW.user_name_key <> OLD.user_name_key AND OLD.rowid <= (SELECT number FROM name_part_upto) "
        # The first of several is the one that the index knows.
        "BEGIN INSERT INTO name_part_renamed VALUES (OLD.rowid, OLD.user_name_key) ON CONFLICT DO NOTHING; END"
    )
    try:
        op.execute("CREATE VIRTUAL TABLE name_part USING fts5(name, content='', columnsize=0, tokenize='trigram case_sensitive 1')")
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.OperationalError):
            raise
        log.warning(_WITHOUT, error.orig)
        op.execute("CREATE TABLE name_part (name TEXT)")

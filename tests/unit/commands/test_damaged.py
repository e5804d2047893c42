"""A damaged file of SQLite's, such as a backup makes that was copied over what a killed process had left, is said to be one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

from app.database import db
from tests.unit.commands.conftest import Desk


def _damage(desk: Desk) -> bool:
    """Put another page where an index begins. False on PostgreSQL, where it has no file of ours."""
    url = make_url(desk.environment["DATABASE_URL"])
    if url.get_backend_name() != "sqlite":
        return False
    with desk.app.app_context():
        db.engine.dispose()
    file = Path(str(url.database))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [size] = connection.execute("PRAGMA page_size").fetchone()
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_journal_subject'").fetchone()
    content = bytearray(file.read_bytes())
    content[(page - 1) * size : page * size] = b"\x5a" * size
    file.write_bytes(content)
    return True


def test_doctor_finds_it(desk: Desk) -> None:
    assert "the file of the database is damaged" not in desk.types("doctor").out
    if not _damage(desk):
        return

    said = desk.types("doctor", "--json")

    [found] = [one for one in said.json["findings"] if one["about"] == "database"]
    assert (said.exit, found["level"]) == (1, "fault")
    assert "the file of the database is damaged" in found["sentence"] and "-wal" in found["sentence"]


def test_init_goes_on_with_none(desk: Desk) -> None:
    assert desk.types("init").exit == 0
    if not _damage(desk):
        return

    said = desk.types("init", "--json")

    assert said.exit == 1 and "the file of the database is damaged" in said.json["error"]

"""What somebody else holds is not waited for without end: whoever asks is told to come again, and loses nothing."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import event, text

from app import database
from app.bare import sqlite
from app.database import db, wait_at_most
from tests.clients.directory import Directory


@contextmanager
def somebody_holds(record_id: str) -> Iterator[None]:
    """Somebody else's transaction, with this record in hand; on SQLite with all there is."""
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM record WHERE id = :id FOR UPDATE"), {"id": record_id})
            yield
            connection.rollback()
        return
    path = db.engine.url.database
    assert path is not None
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def impatient(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> Directory:
    """A door where each try waits for a moment, and after half a second there is none any more."""
    monkeypatch.setattr(database, "GIVES_UP_AFTER", 0.5)
    if db.engine.dialect.name == "postgresql":
        wait_at_most(db.engine, 0.2)
    else:
        for module in (database, sqlite):
            monkeypatch.setattr(module, "SQLITE_WAITS", 0.2)
        event.listen(db.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 200"))
        db.engine.dispose()
    return directory


def test_who_is_held_up_is_told_to_come_again(impatient: Directory) -> None:
    ada = impatient.add_user("ada")

    with somebody_holds(ada):
        answer = impatient.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "x"})

    assert (answer.status, answer.headers["Retry-After"], answer.document["status"]) == (503, "5", "503")
    assert impatient.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "x"}).document["title"] == "x"


def test_a_short_wait_is_waited_out(directory: Directory) -> None:
    ada = directory.add_user("ada")
    done = threading.Event()
    statuses: list[int] = []

    def put() -> None:
        statuses.append(directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "x"}).status)
        done.set()

    putting = threading.Thread(target=put)
    with somebody_holds(ada):
        putting.start()
        assert not done.wait(0.5)
    putting.join()

    assert statuses == [200]

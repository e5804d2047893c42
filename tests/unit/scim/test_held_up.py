"""What somebody else holds is not waited for without end: whoever asks is told to come again, and loses nothing."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.exc import InternalError

from app import database
from app.assembly import without_doors
from app.audit.requests import _engine
from app.bare import postgres, sqlite
from app.bare.connection import waited
from app.bare.lent import bare_of, lent_on_loop
from app.database import db, wait_at_most
from app.settings import from_environment
from tests.clients.directory import Directory

pytestmark = pytest.mark.slow


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


@pytest.fixture
def on_postgresql(directory: Directory) -> Directory:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("on SQLite there is no server that could take nothing")
    return directory


def test_a_database_that_takes_no_change_is_one_that_is_away(on_postgresql: Directory) -> None:
    ada = on_postgresql.add_user("ada")
    event.listen(db.engine, "begin", lambda connection: connection.exec_driver_sql("SET TRANSACTION READ ONLY"))

    answer = on_postgresql.send("PUT", f"/Users/{ada}", {"userName": "ada.k", "title": "x"})

    assert (answer.status, answer.headers["Retry-After"], answer.document["status"]) == (503, "5", "503")
    assert on_postgresql.send("GET", f"/Users/{ada}").status == 200


def test_a_transaction_that_the_database_ended_for_idling_is_to_be_sent_again(directory: Directory) -> None:
    ada = directory.add_user("ada")

    def end(_connection: Connection) -> None:
        event.remove(db.engine, "begin", end)
        raise InternalError("SELECT", {}, psycopg.errors.IdleInTransactionSessionTimeout("it stood still"))

    event.listen(db.engine, "begin", end)
    answer = directory.send("PUT", f"/Users/{ada}", {"userName": "ada.k", "title": "x"})

    assert (answer.status, answer.headers["Retry-After"], answer.document["status"]) == (503, "5", "503")
    assert directory.send("PUT", f"/Users/{ada}", {"userName": "ada.k", "title": "x"}).document["title"] == "x"


def test_a_server_that_says_nothing_more_is_given_up_by_an_event_loop(on_postgresql: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SILENT_FOR", 0.3)
    monkeypatch.setattr(postgres, "LOOKS_EVERY", 0.1)

    async def story() -> list[str]:
        async def asks() -> str:
            async with lent_on_loop(on_postgresql.app) as bare:
                try:
                    await bare.rows(text("SELECT pg_sleep(60)"), {})
                except psycopg.OperationalError as error:
                    return str(error)
                return "answered"

        async with asyncio.timeout(30):
            # More than there are connections: who waits for one is given another.
            said = await asyncio.gather(*(asks() for _ in range(6)))
            async with lent_on_loop(on_postgresql.app) as bare:
                assert await bare.rows(text("SELECT 1"), {}) == [(1,)]
        return said

    assert asyncio.run(story()) == ["the database says nothing any more"] * 6


def test_and_by_a_thread(on_postgresql: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SILENT_FOR", 0.3)
    bare = bare_of(on_postgresql.app)

    with pytest.raises(psycopg.OperationalError, match="says nothing any more"):
        waited(bare.rows(text("SELECT pg_sleep(60)"), {}))

    assert not bare.is_usable()
    assert waited(bare_of(on_postgresql.app).rows(text("SELECT 1"), {})) == [(1,)]


def test_a_host_that_is_gone_is_noticed_unless_the_address_says_otherwise(on_postgresql: Directory) -> None:
    with db.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.info.get_parameters()["tcp_user_timeout"] == "30000"
    assert "tcp_user_timeout" not in database.to_postgresql("postgresql+psycopg://db/x?tcp_user_timeout=5") and database.to_postgresql("postgresql+psycopg://db/x")


def test_a_host_that_is_gone_is_noticed_by_who_writes_requests_down_too(on_postgresql: Directory) -> None:
    engine = _engine(on_postgresql.app.config["DOORLIST"].database_url)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        parameters = driver.info.get_parameters()

    assert parameters["tcp_user_timeout"] == "30000"


def test_the_address_may_say_how_long_a_connection_may_take_to_open(on_postgresql: Directory, tmp_path: Path) -> None:
    address = make_url(on_postgresql.app.config["DOORLIST"].database_url).update_query_dict({"connect_timeout": "9"})
    said = address.render_as_string(hide_password=False)
    with without_doors(from_environment({"DATABASE_URL": said, "DOORLIST_HOME": str(tmp_path)})).app_context():
        engines = [db.engine, _engine(said)]
        for engine in engines:
            with engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                assert driver.info.get_parameters()["connect_timeout"] == "9"
            engine.dispose()


def test_a_plan_that_was_made_for_few_rows_is_good_for_many(on_postgresql: Directory) -> None:
    on_postgresql.add_user("ada")
    explained = text("EXPLAIN SELECT 1 FROM record WHERE organization_id = 'o' AND id = 'i'")
    with db.engine.connect() as connection:
        connection.execute(text("ANALYZE record"))
        connection.commit()
        ordinary = str(connection.execute(explained).all())

    quick = str(waited(bare_of(on_postgresql.app).rows(explained, {})))

    assert "Seq Scan" in ordinary and "Index" in quick and "Seq Scan" not in quick

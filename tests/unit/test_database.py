"""Reading rows past SQLAlchemy's own, and writing after others, on both databases."""

import fcntl
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from flask import Flask
from psycopg.pq import TransactionStatus
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app import database
from app.access.tables import Operator
from app.clock import now
from app.commands import housekeeping
from app.database import ROWS_AT_A_TIME, BeginAnew, Pen, asking, db, in_transaction, reading, transaction
from app.lifecycle.errors import Taken
from app.lifecycle.operators import Role, add_operator
from app.many_rows import plain_rows
from tests.company import ADMIN, new_company
from tests.two_at_once import meanwhile


@pytest.mark.parametrize("count", [0, 1, 2, ROWS_AT_A_TIME, ROWS_AT_A_TIME + 1, 2 * ROWS_AT_A_TIME + 2])
def test_plain_rows_are_all_rows_once_in_order_as_tuples(installed: Flask, count: int) -> None:
    rows = [
        {"organization_id": "o", "id": f"{number}", "name": f"{number:06}", "role": "auditor", "created_at": now()} for number in range(count)
    ]
    if rows:
        in_transaction(lambda session: session.execute(insert(Operator), rows))
    with reading() as session:
        found = list(plain_rows(session, select(Operator.name, Operator.role).order_by(Operator.name)))
    assert found == [(f"{number:06}", "auditor") for number in range(count)]
    assert all(type(row) is tuple for row in found)


def test_what_a_statement_would_have_written_of_somebody_is_not_in_its_error(installed: Flask) -> None:
    row = {"organization_id": "o", "id": "1", "name": "Ada Lovelace", "role": "auditor", "created_at": now()}
    in_transaction(lambda session: session.execute(insert(Operator), row))

    with pytest.raises(IntegrityError) as failed:
        in_transaction(lambda session: session.execute(insert(Operator), row))

    assert "INSERT INTO operator" in str(failed.value)
    assert "Lovelace" not in str(failed.value)


def test_a_database_that_goes_away_amid_plain_rows_is_told_as_it_is_elsewhere(installed: Flask) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("on SQLite there is no server that could go away")
    many = select(func.generate_series(1, 3 * ROWS_AT_A_TIME).label("number"))

    with pytest.raises(OperationalError, match="connection"), reading() as session:
        rows = plain_rows(session, many)
        next(rows)
        asked_of = session.scalar(select(func.pg_backend_pid()))
        with db.engine.connect() as another:
            another.execute(select(func.pg_terminate_backend(asked_of)))
        list(rows)


def test_a_writer_waits_for_another_process_and_is_on_as_soon_as_it_is_done(installed: Flask) -> None:
    path = db.engine.url.database
    if db.engine.dialect.name != "sqlite" or path is None:
        pytest.skip("PostgreSQL lets several write at once")
    done = threading.Event()

    def write() -> None:
        with installed.app_context():
            in_transaction(lambda session: session.execute(delete(Operator)))
        done.set()

    writer = threading.Thread(target=write)
    # A lock on a file belongs to whoever opened it, so one opened here is another process's.
    with Path(f"{path}-pen").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer.start()
        assert not done.wait(0.3)
        fcntl.flock(other, fcntl.LOCK_UN)
        assert done.wait(10)
    writer.join()


def test_for_single_questions_no_transaction_is_begun_on_postgresql_and_whoever_writes_next_has_one(installed: Flask) -> None:
    row = {"organization_id": "o", "id": "1", "name": "ada", "role": "auditor", "created_at": now()}
    with asking() as connection:
        assert connection.scalar(select(func.count()).select_from(Operator)) == 0
        driver = connection.connection.driver_connection
        assert driver is not None
        begun = driver.in_transaction if db.engine.dialect.name == "sqlite" else driver.info.transaction_status != TransactionStatus.IDLE
        assert begun == (db.engine.dialect.name == "sqlite")

    with pytest.raises(ZeroDivisionError), transaction() as session:
        session.execute(insert(Operator), [row])
        raise ZeroDivisionError

    with asking() as connection:
        assert connection.scalar(select(func.count()).select_from(Operator)) == 0


@pytest.mark.parametrize(("patience", "tries"), [(15, 6), (-1, 1)])
def test_what_somebody_holds_is_tried_for_again_as_long_as_nobody_has_waited_long(
    installed: Flask, monkeypatch: pytest.MonkeyPatch, patience: int, tries: int
) -> None:
    monkeypatch.setattr(database, "GIVES_UP_AFTER", patience)
    tried: list[object] = []

    def act(session: Session) -> None:
        tried.append(session)
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked"))

    with pytest.raises(OperationalError):
        in_transaction(act)

    assert len(tried) == tries


def test_whoever_takes_a_name_at_the_same_moment_is_told_so_in_words(installed: Flask) -> None:
    organization_id = new_company().organization_id

    def add(session: Session) -> None:
        add_operator(session, organization_id, "eve", Role.AUDITOR, actor=ADMIN, at=now())

    with pytest.raises(Taken, match="there is an operator named 'eve'"):
        meanwhile(installed, add, lambda: in_transaction(add))

    with reading() as session:
        assert session.scalars(select(Operator.name)).all() == ["eve"]


def test_a_name_that_cannot_be_seen_to_be_taken_is_tried_for_twice(installed: Flask) -> None:
    tried: list[object] = []

    def act(session: Session) -> None:
        tried.append(session)
        rows = [{"organization_id": "o", "id": id, "name": "eve", "role": "auditor", "created_at": now()} for id in ("1", "2")]
        session.execute(insert(Operator), rows)

    with pytest.raises(IntegrityError):
        in_transaction(act)

    assert len(tried) == (2 if db.engine.dialect.name == "postgresql" else 1)


def test_a_name_that_is_taken_is_tried_for_once_more_also_behind_another_try(installed: Flask) -> None:
    tried: list[object] = []

    def act(session: Session) -> None:
        tried.append(session)
        if len(tried) == 1:
            raise BeginAnew("the world has moved")
        rows = [{"organization_id": "o", "id": id, "name": "eve", "role": "auditor", "created_at": now()} for id in ("1", "2")]
        session.execute(insert(Operator), rows if len(tried) == 2 else rows[:1])

    if db.engine.dialect.name == "postgresql":
        in_transaction(act)
    else:
        with pytest.raises(IntegrityError):
            in_transaction(act)

    assert len(tried) == (3 if db.engine.dialect.name == "postgresql" else 2)


def test_a_process_that_writes_without_a_pause_lets_others_in_between(tmp_path: Path) -> None:
    # A pen of its own is another process's, as above.
    busy, other = Pen(str(tmp_path / "file")), Pen(str(tmp_path / "file"))
    turns, enough = 0, threading.Event()

    def write() -> None:
        nonlocal turns
        while not enough.is_set():
            assert busy.take(time.monotonic() + 10)
            turns += 1
            time.sleep(0.005)
            busy.give_back()

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    waited = []
    for _ in range(20):
        before = turns
        assert other.take(time.monotonic() + 10)
        waited.append(turns - before)
        other.give_back()
    enough.set()
    for writer in writers:
        writer.join()
    for one in (busy, other):
        one.close()

    # One that was in hand, and one more where somebody was quicker at the door.
    assert max(waited) <= 2, waited


def test_what_has_been_filled_meanwhile_is_looked_at_once(installed: Flask) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite plans without having looked")

    def rows_known(*tables: str) -> list[float]:
        with reading() as session:
            return [session.execute(text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)"), {"name": name}).scalar_one() for name in tables]

    def fill(session: Session, first: int, count: int) -> None:
        rows = range(first, first + count)
        session.execute(insert(Operator), [{"organization_id": "o", "id": f"{row}", "name": f"{row:0200}", "role": "auditor", "created_at": now()} for row in rows])

    # PostgreSQL may have looked at the empty ones, and does not look by itself from here on.
    in_transaction(lambda session: session.execute(text("TRUNCATE operator, record_email")))
    in_transaction(lambda session: session.execute(text("ALTER TABLE operator SET (autovacuum_enabled = false)")))
    in_transaction(lambda session: fill(session, 0, 10))
    housekeeping.beat(installed)
    few = rows_known("operator", "record_email")
    in_transaction(lambda session: fill(session, 10, 990))
    housekeeping.beat(installed)
    filled = rows_known("operator", "record_email")
    in_transaction(lambda session: fill(session, 1000, 1000))
    housekeeping.beat(installed)

    assert few == [-1, -1]
    assert filled == [1000, -1] and rows_known("operator") == [1000]

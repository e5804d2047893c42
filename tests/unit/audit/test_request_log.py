"""The queue of requests that were seen: bounded, written behind, pruned; nobody waits for it or is failed by it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import InternalError, OperationalError

from app.audit import requests
from app.audit.request_rows import Told
from app.audit.request_tables import RequestBody, RequestSeen
from app.audit.requests import Captured, RequestLog, first_id_at, prune
from app.clock import now
from app.commands import housekeeping
from app.database import in_transaction, new_id, reading
from app.directory.tables import Record
from app.journal.tables import Organization
from app.scim.seen import request_log
from tests.clients.directory import Directory
from tests.unit.audit.seeing import seen

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).parents[3]


def captured(source_id: str = "s", *, body: bytes | None = None, alike: bool = False, status: int = 200) -> Captured:
    return Captured(
        id=new_id(), at=time.time(), took=0.001, source_id=source_id, known=True, alike=alike, method="GET", path="/Users", query="",
        status=status, body=body, answer=None,
    )  # fmt: skip


class Teller:
    """Stands for the meaning of requests: remembers what it was asked, and may be stopped or fail."""

    def __init__(self, *, fails: Exception | None = None) -> None:
        self.may_go, self.called, self.batches = threading.Event(), threading.Event(), list[list[Captured]]()
        self.fails = fails

    def __call__(self, connection: Connection, batch: Sequence[Captured]) -> Sequence[Told]:
        self.called.set()
        assert self.may_go.wait(10)
        self.batches.append(list(batch))
        if self.fails is not None:
            raise self.fails
        return []


def test_the_oldest_gives_way_when_the_queue_is_full_and_is_counted(database_url: str) -> None:
    teller = Teller()
    log = RequestLog(database_url, teller, most=3, waits=0)
    first, *others = [captured() for _ in range(6)]
    log.put(first)
    assert teller.called.wait(10)

    for one in others:
        log.put(one)
    teller.may_go.set()

    assert log.flush()
    assert log.dropped == 2
    assert [one.id for batch in teller.batches for one in batch] == [first.id, *(one.id for one in others[2:])]


def test_the_queue_is_bounded_by_the_size_of_bodies_too(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_BYTES", 1000)
    teller = Teller()
    log = RequestLog(database_url, teller, waits=60)
    teller.may_go.set()

    for size in (400, 400, 400, 5000, 10):
        log.put(captured(body=b"x" * size))

    assert log.flush()
    assert (log.dropped, [len(one.body or b"") for batch in teller.batches for one in batch]) == (4, [10])


def test_refusals_alike_are_counted_and_push_nothing_out(database_url: str) -> None:
    teller = Teller()
    log = RequestLog(database_url, teller, most=2, waits=60)
    teller.may_go.set()
    log.put(captured())

    for _ in range(1000):
        log.put(captured(alike=True, status=401))

    assert log.flush()
    [batch] = teller.batches
    assert (log.dropped, [(one.status, one.times) for one in batch]) == (0, [(401, 1000), (200, 1)])


def test_at_most_five_hundred_are_written_at_a_time(database_url: str) -> None:
    teller = Teller()
    log = RequestLog(database_url, teller, waits=60)
    teller.may_go.set()

    for _ in range(1201):
        log.put(captured())

    assert log.flush()
    assert sum(len(batch) for batch in teller.batches) == 1201
    assert max(len(batch) for batch in teller.batches) == 500


def test_what_nobody_foresaw_costs_its_batch_and_neither_the_thread_nor_a_request(database_url: str) -> None:
    teller = Teller(fails=ZeroDivisionError("x"))
    log = RequestLog(database_url, teller, waits=0)
    teller.may_go.set()
    log.put(captured())
    assert log.flush()

    teller.fails = None
    log.put(captured())

    assert log.flush()
    assert (log.dropped, len(teller.batches)) == (1, 2)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT", {}, Exception("away")), psycopg.OperationalError("away"),
        InternalError("INSERT", {}, psycopg.errors.ReadOnlySqlTransaction("a standby")), psycopg.errors.ReadOnlySqlTransaction("a standby"),
        InternalError("INSERT", {}, psycopg.errors.IdleInTransactionSessionTimeout("it stood still")),
    ],
    ids=["sqlalchemy", "psycopg", "sqlalchemy, read-only", "read-only", "ended for idling"],
)  # fmt: skip
def test_while_the_database_is_away_requests_wait_and_are_written_once_it_is_back(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(requests, "TRIES_AGAIN", 0.01)
    kept = request_log(directory.app)
    assert kept is not None
    tell, times = kept._tell, iter(range(3))

    def away(connection: Connection, batch: Sequence[Captured]) -> Sequence[Told]:
        if next(times, None) is not None:
            raise error
        return tell(connection, batch)

    monkeypatch.setattr(kept, "_tell", away)
    directory.add_user("ada", title="x")

    assert [row.name for row in seen(directory)] == ["ada"]
    assert kept.dropped == 0


def test_a_request_is_answered_even_where_it_cannot_be_noted(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = request_log(directory.app)

    def broken(one: Captured) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(kept, "put", broken)

    assert directory.send("POST", "/Users", {"userName": "ada"}).status == 201


FORK = """
import os, sys, time
from app.assembly import create_app
from app.audit.requests import Captured
from app.database import new_id
from app.scim.seen import flush_requests, request_log
app = create_app()
source, base, token = sys.argv[1:]
log = request_log(app)
log.waits = 3600
log.put(Captured(id=new_id(), at=time.time(), took=0, source_id=source, known=True, alike=False, method="GET", path="/parent", query="",
    status=200, body=None, answer=None))
log._some.acquire()
child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
app.test_client().get(f"{base}/Users", headers={"Authorization": f"Bearer {token}"})
flush_requests(app)
os._exit(7)
"""


def test_a_forked_process_writes_its_own_requests_and_leaves_its_parents_alone(directory: Directory, database_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path)}
    arguments = [sys.executable, "-c", FORK, directory.source_id, directory.base, directory.token]

    ended = subprocess.run(arguments, cwd=HOUSE, env=environment, timeout=60, check=False)

    assert ended.returncode == 7
    assert [row.path for row in seen(directory)] == ["/Users"]


CRASH = """
import os, sys
from app.assembly import create_app
from app.scim.seen import flush_requests, request_log
app = create_app()
base, token = sys.argv[1:]
request_log(app).waits = 3600
def add(name):
    answer = app.test_client().post(f"{base}/Users", json={"userName": name}, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 201, answer.text
add("written")
flush_requests(app)
add("lost")
if os.environ.get("ENDS") == "at once":
    os._exit(1)
"""


@pytest.mark.parametrize(("ends", "found"), [("at once", ["written"]), ("in order", ["written", "lost"])])
def test_a_crash_loses_the_queue_and_nothing_else(directory: Directory, database_url: str, tmp_path: Path, ends: str, found: list[str]) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path), "ENDS": ends}

    subprocess.run([sys.executable, "-c", CRASH, directory.base, directory.token], cwd=HOUSE, env=environment, timeout=60, check=False)

    assert [row.name for row in seen(directory)] == found
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Record)) == 2


def test_old_requests_are_deleted_in_small_batches_and_bodies_sooner(directory: Directory) -> None:
    at = now()
    with reading() as session:
        organization_id = session.scalars(select(Organization.id)).one()
    directory.add_user("today", title="x")
    [today] = seen(directory)

    def keep_old(session: Any) -> None:
        row = {column.name: getattr(today, column.name) for column in RequestSeen.__table__.columns}
        for number, days in enumerate((500, 450, 401, 399, 8, 6)):
            request_id = f"{first_id_at(at - timedelta(days=days))}7000-8000-{number:012}"
            session.add(RequestSeen(**{**row, "id": request_id, "at": at - timedelta(days=days)}))
            session.add(RequestBody(organization_id=organization_id, id=request_id, body="{}"))

    def count(table: type[RequestSeen] | type[RequestBody]) -> int:
        with reading() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    in_transaction(keep_old)
    kept = {"requests_kept": timedelta(days=400), "bodies_kept": timedelta(days=7)}
    in_transaction(lambda session: prune(session, organization_id, at=at, most=2, **kept))
    first = count(RequestSeen), count(RequestBody)

    housekeeping.tick(directory.app)

    assert first == (5, 5)
    assert (count(RequestSeen), count(RequestBody)) == (4, 2)


def test_the_metric_counts_what_was_not_kept(directory: Directory) -> None:
    kept = request_log(directory.app)
    assert kept is not None
    kept.dropped = 3

    assert "doorlist_requests_not_kept_total 3.0" in directory.http.get("/metrics").text

"""What others ask with every request of theirs, against a bare Flask route that reads one indexed row; and a departure of somebody who holds much.

`BENCH_SECONDS` (4) is how long each of them is asked in a turn; they take turns, so that both meet the same machine.
`python -m tests.benchmarks.sessions URL PORT` serves the floor.
"""

import hashlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import psycopg
from flask import Flask, Response, request
from granian import Granian
from granian.constants import Interfaces
from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.access.session_tables import Grant, IssuedToken, TokenKind
from app.access.sessions import Authenticated, Limits, start
from app.access.tokens import digest_of
from app.clock import now
from app.commands.serving import WEB_THREADS_POSTGRESQL, WEB_THREADS_SQLITE
from app.database import in_transaction, new_id
from app.directory.tables import Person, StatementKind, Voice
from app.lifecycle import leaving
from app.lifecycle.records import RecordDraft, add_record
from tests.benchmarks.figures import Bound, Figure, Unit, middle
from tests.benchmarks.house import Bench
from tests.benchmarks.scim.served import NotServed, started
from tests.benchmarks.scim.wire import Check, Sent, drive
from tests.company import ADMIN, OKTA, document
from tests.journeys.racing import Racer, Track, _Client, track
from tests.ports import free_port
from tests.servers.postgres import PostgresMissing, running_postgres

SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "4"))
TURNS: Final = 3
AT_ONCE: Final = 8
HELD: Final = (1, 100, 10_000)
DEPARTURES: Final = 15
TOKEN: Final = "dl_s_the-floor-has-a-cookie-of-the-usual-length-as-well"
_FLOOR: Final = "bare Flask, one indexed row"


def run(bench: Bench) -> list[Figure]:
    with ExitStack() as leaving:
        figures = _on(bench.folder / "sessions-sqlite", "SQLite", None)
        try:
            postgres = leaving.enter_context(running_postgres())
        except PostgresMissing as missing:
            print(f"sessions: NOT MEASURED ON POSTGRESQL: {missing}", file=sys.stderr)
            return figures
        return figures + _on(bench.folder / "sessions-postgres", "PostgreSQL", postgres.database)


def _on(folder: Path, name: str, database: Callable[[], str] | None) -> list[Figure]:
    folder.mkdir()
    with track(folder, url=None if database is None else database(), processes=1) as on:
        bare = f"sqlite:///{folder / 'floor.sqlite'}" if database is None else database()
        with _floor(folder, bare) as port:
            figures = _asked(on, port, name)
        return figures + _departures(on, name)


# Asking


def _asked(on: Track, floor_port: int, name: str) -> list[Figure]:
    racer = _somebody(on)
    with _Client(on) as client:
        client.enters(racer)
    cookie = f"Cookie: doorlist_session={racer.cookie}\r\n"
    form = urlencode({"client_id": on.client_id, "client_secret": on.secret, "token": racer.access})
    asked = {
        "session check (/gate)": (on.port, _request("GET", "/gate", cookie), _is(b"")),
        "session check (/session)": (on.port, _request("GET", "/session", cookie), _is(racer.id.encode())),
        "introspection": (on.port, _request("POST", "/introspect", "Content-Type: application/x-www-form-urlencoded\r\n", form), _is(b'"active": true')),
        "floor": (floor_port, _request("GET", "/session", f"Cookie: doorlist_session={TOKEN}\r\n"), _is(b"ada")),
    }
    figures: list[Figure] = []
    for at_once in (1, AT_ONCE):
        times: dict[str, list[float]] = {what: [] for what in asked}
        for _ in range(TURNS):
            for what, (port, payload, check) in asked.items():
                times[what].append(_microseconds(port, payload, check, what, at_once=at_once))
        figures += [
            Figure(
                what=f"{name}: {what}, {at_once} at once, for each", unit=Unit.MICROSECONDS, measured=middle(times[what]),
                floor=middle(times["floor"]), floor_is=_FLOOR, bound=Bound(times=1.5),
            )
            for what in asked
            if what != "floor"
        ]  # fmt: skip
    return figures


def _microseconds(port: int, payload: bytes, check: Check, what: str, *, at_once: int) -> float:
    """What one answer takes of the time, with so many asked for at once."""
    driven = drive(("127.0.0.1", port), [repeat(Sent(what, payload, check)) for _ in range(at_once)], seconds=SECONDS, warm=0.3, least=2)
    counted = [answer for answer in driven.answers if answer.began >= driven.since]
    wrong = driven.broke or next((said for answer in counted if (said := check(answer.status, answer.body))), None)
    if wrong or not counted:
        raise NotServed(f"{what}: {wrong or 'nothing was answered'}")
    return 1e6 * (driven.until - driven.since) / len(counted)


def _request(method: str, path: str, headers: str, body: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n{headers}{length}\r\n{body}".encode()


def _is(part: bytes) -> Check:
    return lambda status, body: None if status == 200 and part in body else f"{status} {body[:200]!r}"


# Departing


def _departures(on: Track, name: str) -> list[Figure]:
    """Each of them in turn, so that a slow disk is slow to all."""
    times: dict[int, list[float]] = {held: [] for held in HELD}
    people = [{held: _somebody(on, tokens=held) for held in HELD} for _ in range(DEPARTURES)]
    for of_each in people:
        for held, racer in of_each.items():
            began = time.perf_counter()
            in_transaction(lambda session, racer=racer: _departs(session, on, racer))  # type: ignore[misc]  # defaults bind the loop's values
            times[held].append(1e6 * (time.perf_counter() - began))
    least = middle(times[HELD[0]])
    return [
        Figure(
            what=f"{name}: departure of who holds {held:,} tokens, p50", unit=Unit.MICROSECONDS, measured=middle(times[held]),
            floor=None if held == HELD[0] else least, floor_is="" if held == HELD[0] else "who holds one", bound=None if held == HELD[0] else Bound(times=1.2),
        )
        for held in HELD
    ]  # fmt: skip


def _departs(session: Session, on: Track, racer: Racer) -> None:
    at = now()
    leaving.say(
        session, on.organization_id, racer.id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=at, actor=ADMIN, at=at,
        because="benchmark",
    )  # fmt: skip


def _somebody(on: Track, *, tokens: int = 0) -> Racer:
    user_name = f"{new_id()}@northwind.example"

    def act(session: Session) -> Racer:
        draft = RecordDraft(external_id=user_name, user_name=user_name, active=True, document=document(user_name, None))
        record = add_record(session, on.organization_id, on.source_id, draft, actor=OKTA, at=now(), because="benchmark")
        person = session.get_one(Person, (on.organization_id, record.person_id))
        row, cookie = start(session, person, Authenticated(connection_id=None, at=now()), limits=Limits(), agent="bench", at=now())
        if tokens:
            _hold(session, on, person, row.id, tokens)
        return Racer(id=person.id, cookie=cookie)

    return in_transaction(act)


def _hold(session: Session, on: Track, person: Person, session_id: str, number: int) -> None:
    at = now()
    shared: dict[str, Any] = {
        "organization_id": on.organization_id, "person_id": person.id, "client_id": on.client_id, "epoch": person.access_epoch, "scope": "openid",
        "created_at": at, "expires_at": at + timedelta(hours=1),
    }  # fmt: skip
    grant = {"id": new_id(), "session_id": session_id, "sid": new_id(), "authenticated_at": at, "amr": []}
    session.execute(insert(Grant), [{**shared, **grant}])
    rows = [{**shared, "digest": digest_of(new_id()), "kind": TokenKind.ACCESS, "grant_id": grant["id"]} for _ in range(number)]
    session.execute(insert(IssuedToken), rows)


# The floor


@contextmanager
def _floor(folder: Path, url: str) -> Iterator[int]:
    """Granian with as many threads as `doorlist serve` has, and one row to be found among ten thousand."""
    rows = [(hashlib.sha256(str(number).encode()).hexdigest(), "somebody else") for number in range(10_000)]
    rows.append((hashlib.sha256(TOKEN.encode()).hexdigest(), "ada"))
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE session (digest TEXT PRIMARY KEY, person TEXT)")
            database.executemany("INSERT INTO session VALUES (?, ?)", rows)
        database.close()
    else:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE session (digest TEXT PRIMARY KEY, person TEXT)")
            connection.cursor().executemany("INSERT INTO session VALUES (%s, %s)", rows)
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.sessions", url, str(port)]
    with started(command, port=port, log=folder / "floor.log", core=None):
        yield port


def application(url: str) -> Flask:
    app, mine = Flask("floor", static_folder=None), threading.local()

    def row(digest: str) -> tuple[str] | None:
        if url.startswith("sqlite"):
            if not hasattr(mine, "connection"):
                mine.connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            found: tuple[str] | None = mine.connection.execute("SELECT person FROM session WHERE digest = ?", (digest,)).fetchone()
            return found
        if not hasattr(mine, "connection"):
            mine.connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        found = mine.connection.execute("SELECT person FROM session WHERE digest = %s", (digest,)).fetchone()
        return found

    @app.get("/session")
    def session() -> Response:
        found = row(hashlib.sha256(request.cookies["doorlist_session"].encode()).hexdigest())
        return Response(status=401) if found is None else Response(f'{{"person": "{found[0]}"}}', content_type="application/json")

    return app


def load(target: str) -> Flask:
    """The application of the web process, in that process."""
    return application(target)


def main(url: str, port: int) -> None:
    threads = WEB_THREADS_SQLITE if url.startswith("sqlite") else WEB_THREADS_POSTGRESQL
    server = Granian(
        url, address="127.0.0.1", port=port, interface=Interfaces.WSGI, workers=1, blocking_threads=threads, log_enabled=False, websockets=False
    )
    server.serve(target_loader=load)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""On an event loop requests share connections, and on SQLite a transaction; each is answered for itself all the same."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.bare.lent import _MOST
from app.bare.sqlite import SharedSQLite
from app.commands.buffered import Buffered
from app.database import db, pen, pen_of
from app.directory.vocabulary import ENTERPRISE_URN
from app.scim import hot_reads
from app.scim.hot import Early, HotDoor
from app.scim.seen import flush_requests, request_log
from tests.clients.directory import Directory
from tests.unit.audit.seeing import body_of, seen
from tests.unit.scim.choosing import OFF
from tests.unit.scim.looping import at_once, joining, names, status
from tests.unit.scim.twins import environ_of


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    made: list[float] = []
    commit = SharedSQLite._commit

    def counted(shared: SharedSQLite) -> None:
        made.append(shared._took)
        commit(shared)

    monkeypatch.setattr(SharedSQLite, "_commit", counted)
    yield made


def test_the_usual_requests_are_answered_on_the_loop(directory: Directory, door: HotDoor) -> None:
    ada = directory.add_user("ada", externalId="x-ada")
    group = directory.send("POST", "/Groups", {"displayName": "Research"}).document["id"]
    look_up = quote('userName eq "ada"')

    async def in_turn() -> list[int | None]:
        sent = [
            environ_of(directory, "GET", f"/Users/{ada}"), environ_of(directory, "GET", f"/Users?filter={look_up}"),
            environ_of(directory, "POST", "/Users", joining("bob")), environ_of(directory, "PATCH", f"/Users/{ada}", {"Operations": [OFF]}),
            environ_of(directory, "PATCH", f"/Groups/{group}", {"Operations": [{"op": "add", "path": "members", "value": [{"value": ada}]}]}),
        ]  # fmt: skip
        return [status(await door.soon(one)) for one in sent]

    assert asyncio.run(in_turn()) == [200, 200, 201, 200, 204]
    assert directory.send("GET", f"/Users/{ada}").document["active"] is False
    assert names(directory) == {"ada", "bob"}


@pytest.mark.parametrize("path", ["/Users", "/Users?startIndex=2&count=1", "/Users?filter=userName%20co%20%22ad%22"])
def test_on_sqlite_a_list_is_for_a_thread(directory: Directory, door: HotDoor, database_url: str, path: str) -> None:
    directory.add_user("ada")

    answered = at_once(door.soon(environ_of(directory, "GET", path)))

    assert (answered[0] is None) == database_url.startswith("sqlite")


def test_a_group_is_for_a_thread(directory: Directory, door: HotDoor) -> None:
    group = directory.send("POST", "/Groups", {"displayName": "Research"}).document["id"]

    assert at_once(door.soon(environ_of(directory, "GET", f"/Groups/{group}"))) == [None]


def test_many_at_once_are_each_answered(directory: Directory, door: HotDoor) -> None:
    many = [f"someone{number}" for number in range(3 * _MOST)]

    answered = at_once(*(door.soon(environ_of(directory, "POST", "/Users", joining(name))) for name in many))

    assert [status(one) for one in answered] == [201] * len(many)
    assert names(directory) == set(many)


def test_who_shares_a_transaction_on_sqlite_needs_no_file_for_what_could_be_taken_back(
    directory: Directory, door: HotDoor, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_then: list[set[str]] = []
    commit = SharedSQLite._commit

    def looking(shared: SharedSQLite) -> None:
        open_then.append(_open_files())
        commit(shared)

    monkeypatch.setattr(SharedSQLite, "_commit", looking)
    # SQLite tells where a savepoint began by the pages that were there then.
    for number in range(300):
        directory.add_user(f"old-{number}")
    sent = [door.soon(environ_of(directory, "POST", "/Users", joining(f"new-{number}"))) for number in range(60)]
    before = _open_files()

    assert {status(one) for one in at_once(*sent)} == {201}

    assert bool(open_then) is database_url.startswith("sqlite")
    # As SQLite calls its temporary files; each is deleted while it is open.
    assert not [name for then in open_then for name in then - before if "etilqs" in name]


def _open_files() -> set[str]:
    return {os.readlink(one) for one in Path("/proc/self/fd").glob("*") if one.is_symlink()}


def test_who_is_refused_takes_nobody_along(directory: Directory, door: HotDoor) -> None:
    directory.add_user("ada")
    before = directory.written()

    answered = at_once(*(door.soon(environ_of(directory, "POST", "/Users", joining(name))) for name in ("bob", "ada", "cy")))

    assert [status(one) for one in answered] == [201, None, 201]
    # The journal entry of who was refused went with them.
    assert directory.written() == before + 2
    assert names(directory) == {"ada", "bob", "cy"}


class TestOnSQLite:
    @pytest.fixture(autouse=True)
    def on_sqlite(self, database_url: str) -> None:
        if not database_url.startswith("sqlite"):
            pytest.skip("only SQLite's writers share a transaction")

    def test_those_of_one_turn_share_a_commit(self, directory: Directory, door: HotDoor, commits: list[float]) -> None:
        answered = at_once(*(door.soon(environ_of(directory, "POST", "/Users", joining(name))) for name in ("ada", "bob", "cy")))

        assert [status(one) for one in answered] == [201] * 3
        assert len(commits) == 1

    def test_so_do_those_of_the_next_turns_as_long_as_more_come(self, directory: Directory, door: HotDoor, commits: list[float]) -> None:
        async def story() -> list[int | None]:
            sent: list[asyncio.Future[Early | None]] = []
            for name in ("ada", "bob", "cy", "dee"):
                # Two in the first turn, and one in each of the next.
                sent.append(asyncio.ensure_future(door.soon(environ_of(directory, "POST", "/Users", joining(name)))))
                if len(sent) > 1:
                    await asyncio.sleep(0)
            return [status(one) for one in await asyncio.gather(*sent)]

        assert asyncio.run(story()) == [201] * 4
        assert len(commits) == 1

    def test_who_comes_alone_waits_for_nobody(self, directory: Directory, door: HotDoor, commits: list[float]) -> None:
        async def story() -> list[int | None]:
            first = asyncio.ensure_future(door.soon(environ_of(directory, "POST", "/Users", joining("ada"))))
            await asyncio.sleep(0)
            second = asyncio.ensure_future(door.soon(environ_of(directory, "POST", "/Users", joining("bob"))))
            return [status(one) for one in await asyncio.gather(first, second)]

        assert asyncio.run(story()) == [201] * 2
        assert len(commits) == 2

    def test_nobody_is_told_before_it_is_on_disk(self, directory: Directory, door: HotDoor, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: SharedSQLite) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as here:
            here.setattr(SharedSQLite, "_commit", full)
            answered = at_once(*(door.soon(environ_of(directory, "POST", "/Users", joining(name))) for name in ("ada", "bob")))

        assert answered == [None, None]

    def test_a_commit_that_failed_leaves_nothing(self, directory: Directory, door: HotDoor, monkeypatch: pytest.MonkeyPatch) -> None:
        full = sqlite3.OperationalError("database or disk is full")
        before = directory.written()
        ordinary = SharedSQLite._commit

        def failing(shared: SharedSQLite) -> None:
            with monkeypatch.context() as inside:
                inside.setattr(shared, "_cursor", _Refusing(shared._cursor, "COMMIT", full))
                ordinary(shared)

        with monkeypatch.context() as here:
            here.setattr(SharedSQLite, "_commit", failing)
            answered = at_once(*(door.soon(environ_of(directory, "POST", "/Users", joining(name))) for name in ("ada", "bob")))

        assert answered == [None, None]
        assert (names(directory), directory.written()) == (set(), before)
        assert status(at_once(door.soon(environ_of(directory, "POST", "/Users", joining("ada"))))[0]) == 201

    def test_a_slow_disk_is_waited_for_elsewhere(self, directory: Directory, door: HotDoor, monkeypatch: pytest.MonkeyPatch, commits: list[float]) -> None:
        monkeypatch.setattr("app.bare.sqlite._QUICK", -1.0)
        ada = directory.add_user("ada")

        async def story() -> list[int | None]:
            first = asyncio.ensure_future(door.soon(environ_of(directory, "POST", "/Users", joining("bob"))))
            await asyncio.sleep(0)
            later = [environ_of(directory, "POST", "/Users", joining("cy")), environ_of(directory, "PATCH", f"/Users/{ada}", {"Operations": [OFF]})]
            return [status(one) for one in await asyncio.gather(first, *(door.soon(one) for one in later))]

        assert asyncio.run(story()) == [201, 201, 200]
        assert names(directory) == {"ada", "bob", "cy"}
        assert len(commits) in (1, 2)

    def test_while_somebody_else_writes_a_thread_waits(self, directory: Directory, door: HotDoor) -> None:
        with directory.app.app_context(), pen(db.engine):
            answered = at_once(door.soon(environ_of(directory, "POST", "/Users", joining("ada"))))

        assert answered == [None]
        assert directory.send("POST", "/Users", joining("ada")).status == 201

    def test_a_transaction_that_cannot_begin_keeps_nobody_from_writing(
        self, directory: Directory, door: HotDoor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        malformed = sqlite3.DatabaseError("database disk image is malformed")
        begin = SharedSQLite._opened

        def opened(shared: SharedSQLite) -> bool:
            with monkeypatch.context() as inside:
                inside.setattr(shared, "_cursor", _Refusing(shared._cursor, "BEGIN IMMEDIATE", malformed))
                return begin(shared)

        with monkeypatch.context() as here:
            here.setattr(SharedSQLite, "_opened", opened)
            assert at_once(door.soon(environ_of(directory, "POST", "/Users", joining("ada")))) == [None]

        mine = pen_of(db.engine)
        assert mine is not None
        assert mine.take(0.0)
        mine.give_back()

    def test_a_turn_that_somebody_ends_is_taken_up(self, directory: Directory, door: HotDoor) -> None:
        async def story() -> int | None:
            with directory.app.app_context(), pen(db.engine):
                waiting = asyncio.ensure_future(door.soon(environ_of(directory, "POST", "/Users", joining("ada"))))
                await asyncio.sleep(0.005)
                assert not waiting.done()
            return status(await waiting)

        assert asyncio.run(story()) == 201

    def test_what_is_not_committed_is_not_read(self, directory: Directory, door: HotDoor) -> None:
        ada = directory.add_user("ada")

        async def story() -> tuple[Any, Any]:
            going = asyncio.ensure_future(door.soon(environ_of(directory, "PATCH", f"/Users/{ada}", {"Operations": [OFF]})))
            await asyncio.sleep(0)
            meanwhile = await door.soon(environ_of(directory, "GET", f"/Users/{ada}"))
            done = going.done()
            assert meanwhile is not None
            await going
            return done, json.loads(b"".join(meanwhile[2]))["active"]

        done, active = asyncio.run(story())

        assert active is not done


class _Refusing:
    """A cursor that refuses one statement."""

    def __init__(self, cursor: Any, statement: str, error: Exception) -> None:
        self._cursor, self._statement, self._error = cursor, statement, error

    def execute(self, statement: str, *given: Any) -> Any:
        if statement == self._statement:
            raise self._error
        return self._cursor.execute(statement, *given)


@pytest.mark.parametrize("count", [1, 3, 10, 100])
def test_pages_are_the_same_from_either_end(directory: Directory, door: HotDoor, counted_from: list[bool], count: int) -> None:
    ids = [directory.add_user(f"someone{number}") for number in range(9)]
    gone = ids.pop(4)
    assert directory.send("DELETE", f"/Users/{gone}").status == 204

    for start in range(1, 11):
        listed = directory.send("GET", f"/Users?startIndex={start}&count={count}").document
        assert [one["id"] for one in listed["Resources"]] == ids[start - 1 : start - 1 + count]
        assert (listed["totalResults"], listed["startIndex"]) == (8, start)

    assert set(counted_from) == {False, True}


@pytest.fixture
def counted_from(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each page was counted off from the end."""
    ends: list[bool] = []
    page = hot_reads._page

    def noted(dialect: str, from_end: bool, usual: int | None) -> Any:
        ends.append(from_end)
        return page(dialect, from_end, usual)

    monkeypatch.setattr(hot_reads, "_page", noted)
    return ends


def test_a_request_is_noted_once_its_answer_is_sent_with_the_body_that_was_read(directory: Directory, door: HotDoor) -> None:
    said = json.dumps({**joining("ada"), ENTERPRISE_URN: {"department": "Sea"}}).encode()
    headers = {b"authorization": f"Bearer {directory.token}".encode(), b"content-type": b"application/scim+json", b"content-length": str(len(said)).encode()}
    scope = {
        "type": "http", "method": "POST", "raw_path": f"{directory.base}/Users".encode(), "query_string": b"", "scheme": "http", "client": None,
        "server": ("127.0.0.1", 8484), "http_version": "1.1", "headers": list(headers.items()),
    }  # fmt: skip
    kept = request_log(directory.app)
    assert kept is not None
    flush_requests(directory.app)
    answered: list[tuple[Any, int]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": said, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        answered.append((message.get("status"), len(kept._queue)))

    asyncio.run(Buffered(door, threads=1, limit=10_000, soon=door.soon)(scope, receive, send))

    assert answered == [(201, 0), (None, 0)]
    noted = seen(directory)[-1]
    assert (noted.method, noted.path, noted.name) == ("POST", "/Users", "ada")
    assert '"department":"Sea"' in (body_of(noted) or "")

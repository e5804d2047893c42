"""On PostgreSQL an event loop has a few connections, which its requests share; each is answered for itself all the same."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import DataError
from sqlalchemy import Engine, select, text

from app.bare import gathered, lent, postgres
from app.bare.connection import waited
from app.bare.lent import bare_of, lent_on_loop
from app.bare.postgres import PostgresBare, PostgresOnLoop
from app.clock import now
from app.database import db, reading, transaction
from app.directory.tables import Membership, Record
from app.journal.tables import Entry
from app.lifecycle.records import end_record
from app.scim.hot import HotDoor
from tests.clients.directory import Directory
from tests.company import OKTA
from tests.unit.scim.choosing import OFF, person_of, set_brake
from tests.unit.scim.looping import at_once, joining, status
from tests.unit.scim.twins import environ_of, members
from tests.waiting import until


class TestOnPostgreSQL:
    @pytest.fixture(autouse=True)
    def on_postgresql(self, database_url: str) -> None:
        if database_url.startswith("sqlite"):
            pytest.skip("on SQLite there is no server that could go")

    def test_a_connection_that_was_ended_is_followed_by_another(self, directory: Directory, door: HotDoor) -> None:
        ada = directory.add_user("ada")

        async def story() -> list[int | None]:
            said = [status(await door.soon(environ_of(directory, "GET", f"/Users/{ada}")))]
            with directory.app.app_context(), reading() as session:
                others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                session.execute(text(others)).all()
            said.append(status(await door.soon(environ_of(directory, "GET", f"/Users/{ada}"))))
            said.append(status(await door.soon(environ_of(directory, "GET", f"/Users/{ada}"))))
            return said

        assert asyncio.run(story()) == [200, None, 200]

    def test_a_rule_that_was_broken_costs_no_connection(self, directory: Directory, door: HotDoor) -> None:
        directory.add_user("ada")
        number = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"

        def connections() -> int:
            with directory.app.app_context(), reading() as session:
                return int(session.execute(text(number)).scalar_one())

        async def story() -> tuple[int, int]:
            await door.soon(environ_of(directory, "POST", "/Users", joining("ada")))
            before = connections()
            for _ in range(3):
                assert await door.soon(environ_of(directory, "POST", "/Users", joining("ada"))) is None
            assert status(await door.soon(environ_of(directory, "POST", "/Users", joining("bob")))) == 201
            return before, connections()

        before, after = asyncio.run(story())

        assert before == after

    def test_who_asks_after_somebody_who_broke_off_gets_their_own_answer(
        self, directory: Directory, door: HotDoor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, bob = directory.add_user("ada"), directory.add_user("bob")

        async def breaks_off(*_: Any, **__: Any) -> Any:
            raise RuntimeError("a fault of ours between question and answer")

        async def story() -> list[Any]:
            assert status(await door.soon(environ_of(directory, "GET", f"/Users/{ada}"))) == 200
            with monkeypatch.context() as here:
                here.setattr(PostgresBare, "_next", breaks_off)
                with pytest.raises(RuntimeError):
                    await door.soon(environ_of(directory, "GET", f"/Users/{ada}"))
            answered = await door.soon(environ_of(directory, "GET", f"/Users/{bob}"))
            return [json.loads(b"".join(answered[2]))["id"] if answered else None]

        assert asyncio.run(story()) == [bob]

    def test_what_cannot_be_sent_leaves_nothing_half_sent(self, directory: Directory) -> None:
        with directory.app.app_context():
            bare = PostgresBare(db.engine)
        question = text("SELECT cast(:given AS text)")
        try:
            for given in ("ada\0, who is cut off there", "half a pair \ud800"):
                with pytest.raises((DataError, UnicodeEncodeError)):
                    waited(bare.ask((question, {"given": "first"}), (question, {"given": given})))
                assert waited(bare.rows(question, {"given": "next"})) == [("next",)]
        finally:
            bare.close()

    def test_a_thread_that_broke_off_gets_a_new_connection(self, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
        question = text("SELECT cast(:given AS text)")

        async def breaks_off(*_: Any, **__: Any) -> Any:
            raise RuntimeError("a fault of ours between question and answer")

        with monkeypatch.context() as here:
            here.setattr(PostgresBare, "_next", breaks_off)
            with pytest.raises(RuntimeError):
                waited(bare_of(directory.app).rows(question, {"given": "first"}))

        assert waited(bare_of(directory.app).rows(question, {"given": "second"})) == [("second",)]

    def test_a_body_that_fills_the_way_there_is_sent_all_the_same(self, directory: Directory) -> None:
        question, long = text("SELECT length(cast(:given AS text))"), "x" * 20_000_000

        async def story() -> list[Any]:
            async with lent_on_loop(directory.app) as bare:
                return await bare.rows(question, {"given": long})

        assert asyncio.run(story()) == [(len(long),)]
        assert waited(bare_of(directory.app).rows(question, {"given": long})) == [(len(long),)]

    def test_long_rows_come_one_by_one_and_are_the_same(self, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
        with directory.app.app_context():
            bare = PostgresBare(db.engine)
        question = text("SELECT number, repeat('x', number) FROM generate_series(1, cast(:most AS integer)) AS number ORDER BY 1")
        broken = text("SELECT 1 / (3 - number) FROM generate_series(1, 3) AS number")
        read, at_once = postgres._rows_of, list[int]()

        def counted(result: Any) -> Any:
            at_once.append(result.ntuples)
            return read(result)

        monkeypatch.setattr(postgres, "_rows_of", counted)
        try:
            for most in (0, 1, 30):
                long = waited(bare.long_rows(question, {"most": str(most)}))
                assert max(at_once) <= 1
                assert long == waited(bare.rows(question, {"most": str(most)})) == [(number, "x" * number) for number in range(1, most + 1)]
                del at_once[:]
            # What fails after the first rows fails as a whole, and is nobody else's afterwards.
            with pytest.raises(psycopg.errors.DivisionByZero):
                waited(bare.long_rows(broken, {}))
            assert waited(bare.rows(question, {"most": "1"})) == [(1, "x")]
        finally:
            bare.close()

    def test_who_is_only_becoming_a_member_is_held_by_nobody(self, directory: Directory, door: HotDoor) -> None:
        ada = directory.add_user("ada")

        with directory.app.app_context(), db.engine.connect() as adding:
            adding.execute(text("SELECT 1 FROM record WHERE id = :id FOR KEY SHARE"), {"id": ada})
            answered = at_once(door.soon(environ_of(directory, "PATCH", f"/Users/{ada}", {"Operations": [OFF]})))

        assert status(answered[0]) == 200

    def test_whom_somebody_else_holds_is_waited_for_in_a_thread(self, directory: Directory, door: HotDoor) -> None:
        ada = directory.add_user("ada")

        with directory.app.app_context(), db.engine.connect() as holder:
            holder.execute(text("SELECT 1 FROM record WHERE id = :id FOR UPDATE"), {"id": ada})
            answered = at_once(door.soon(environ_of(directory, "PATCH", f"/Users/{ada}", {"Operations": [OFF]})))

        assert answered == [None]
        assert directory.patch(f"/Users/{ada}", OFF).document["active"] is False

    def test_a_group_that_somebody_else_holds_keeps_no_reader_waiting_and_costs_no_connection(
        self, directory: Directory, door: HotDoor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those who come are more than there are connections, and wait in threads."""
        people = [directory.add_user(f"user{number}") for number in range(20)]
        group = str(directory.send("POST", "/Groups", {"displayName": "Team"}).document["id"])
        asked = [environ_of(directory, "PATCH", f"/Groups/{group}", members("add", one)) for one in people]
        reads = [environ_of(directory, "GET", f"/Users/{one}") for one in people]
        opened: list[PostgresOnLoop] = []

        def noted(engine: Engine) -> PostgresOnLoop:
            opened.append(PostgresOnLoop(engine))
            return opened[-1]

        async def story() -> tuple[list[int | None], list[bool]]:
            async with asyncio.timeout(30):
                said = await asyncio.gather(*(door.soon(one) for one in [*asked, *reads]))
                return [status(one) for one in said], [one.is_usable() for one in opened]

        monkeypatch.setattr(lent, "PostgresOnLoop", noted)
        with directory.app.app_context(), ThreadPoolExecutor(1) as elsewhere:
            with db.engine.connect() as holder:
                holder.execute(text("SELECT 1 FROM directory_group WHERE id = :id FOR UPDATE"), {"id": group})
                answered, usable = asyncio.run(story())
                waiting = elsewhere.submit(directory.send, "PATCH", f"/Groups/{group}", members("add", people[0]))
                assert until(lambda: holder.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
            assert waiting.result(timeout=30).status == 204

        assert answered == [None] * 20 + [200] * 20
        assert 1 <= len(usable) <= 4 and all(usable)
        # No hot path has given them up: a thread tries the same again.
        assert not any("doorlist.hot.declined" in one for one in asked)
        (taken,) = directory.send("GET", f"/Groups/{group}").document["members"]
        assert taken["value"] == people[0]

    @pytest.mark.parametrize("op", ["add", "remove"])
    def test_who_is_being_deleted_is_not_waited_for_and_is_taken_out_once(
        self, directory: Directory, door: HotDoor, op: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The loop's connection is for others; the ordinary way waits in a thread."""
        # However long the first is on the way: beside it, the others would wait for it to let go of the group.
        monkeypatch.setattr(gathered, "_PATIENCE", 30)
        ada, bob = directory.add_user("ada"), directory.add_user("bob")
        group = str(directory.send("POST", "/Groups", {"displayName": "Team", "members": [{"value": ada}]}).document["id"])
        asked = [environ_of(directory, "PATCH", f"/Groups/{group}", members(op, one)) for one in (bob, ada, bob)]

        with directory.app.app_context(), ThreadPoolExecutor(1) as elsewhere:
            with transaction() as session:
                record = session.scalars(select(Record).where(Record.id == ada)).one()
                end_record(session, record.organization_id, record.source_id, ada, actor=OKTA, at=now(), because="deleted")
                session.flush()
                # The first goes alone; Ada keeps the other one on her journey from nothing.
                assert [status(one) for one in at_once(*(door.soon(one) for one in asked))] == [204, None, 204]
                waiting = elsewhere.submit(directory.send, "PATCH", f"/Groups/{group}", members(op, ada))
                assert until(lambda: session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
            answered = waiting.result(timeout=30)

        # To take out somebody who is no member is already so; nobody can put them in.
        assert answered.status == (400 if op == "add" else 204)
        with directory.app.app_context(), reading() as session:
            (membership,) = session.scalars(select(Membership).where(Membership.record_id == ada)).all()
            assert membership.ended_at is not None
            assert session.get_one(Entry, membership.journal_id).verb == "ended"
            said = session.scalars(select(Entry.after).where(Entry.verb == "group changed")).all()
        assert not any(ada in [*one["added"], *one["removed"]] for one in said if one)

    @pytest.mark.parametrize("what", ["switches", "members"])
    def test_work_of_several_is_asked_for_in_the_order_of_people_whatever_order_they_came_in(
        self, directory: Directory, door: HotDoor, what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or one who holds the first and waits for the last would be waited for the other way round."""
        monkeypatch.setattr(postgres, "_PATIENCE", 30)
        set_brake("off")
        by_person = sorted((person_of(id).id, id) for id in (directory.add_user(name) for name in ("ada", "bob", "cy")))
        group = str(directory.send("POST", "/Groups", {"displayName": "Team"}).document["id"])
        # The last goes alone, the other two together after it.
        asked = [
            environ_of(directory, "PATCH", f"/Groups/{group}", members("add", id)) if what == "members"
            else environ_of(directory, "PATCH", f"/Users/{id}", {"Operations": [OFF]})
            for _, id in reversed(by_person)
        ]  # fmt: skip
        mine = "SELECT 1 FROM work WHERE subject_id = :id AND subject = 'person' FOR UPDATE"

        with directory.app.app_context(), ThreadPoolExecutor(1) as elsewhere:
            with db.engine.connect() as holder:
                holder.execute(text(mine), {"id": by_person[0][0]})
                waiting = elsewhere.submit(lambda: [status(one) for one in at_once(*(door.soon(one) for one in asked))])
                assert until(lambda: holder.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
                # Nobody holds the second, who waits for the first.
                assert holder.execute(text(f"{mine} NOWAIT"), {"id": by_person[1][0]}).all() == [(1,)]
            answered = waiting.result(timeout=30)

        assert answered == [204 if what == "members" else 200] * 3

    def test_a_connection_that_nobody_waits_for_any_more_is_closed_once_it_is_open(self, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
        go, opened = threading.Event(), list[PostgresOnLoop]()

        def slowly(engine: Engine) -> PostgresOnLoop:
            assert go.wait(30)
            opened.append(PostgresOnLoop(engine))
            return opened[-1]

        async def story() -> list[Any]:
            async with asyncio.timeout(30):
                waiting = asyncio.ensure_future(_asked(directory))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
                go.set()
                while not opened or opened[0].is_usable():
                    await asyncio.sleep(0.001)
                return [await _asked(directory) for _ in range(2)]

        monkeypatch.setattr(lent, "PostgresOnLoop", slowly)

        assert asyncio.run(story()) == [[("x",)]] * 2
        assert [one.is_usable() for one in opened] == [False, True]

    def test_whose_turn_it_was_and_who_has_gone_hands_it_on(self, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lent, "_MOST", 1)

        async def story() -> list[Any]:
            async with asyncio.timeout(30):
                async with lent_on_loop(directory.app):
                    waiting = [asyncio.ensure_future(_asked(directory)) for _ in range(2)]
                    await asyncio.sleep(0)
                # The first one's turn, who goes before they can take it.
                waiting[0].cancel()
                return [await waiting[1]]

        assert asyncio.run(story()) == [[("x",)]]


async def _asked(directory: Directory) -> Any:
    async with lent_on_loop(directory.app) as bare:
        return await bare.rows(text("SELECT cast(:given AS text)"), {"given": "x"})

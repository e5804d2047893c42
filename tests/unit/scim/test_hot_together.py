"""What several ask at once is done together on PostgreSQL, and is what it would be one after the other."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from app.access.tables import BearerToken
from app.bare.postgres import PostgresBare
from app.clock import now
from app.database import db, in_transaction
from app.directory.tables import Record, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.lifecycle import plain, plain_members, plain_seen, plain_switch
from app.lifecycle.plain_sql import one_of
from tests.clients.directory import Directory
from tests.unit.scim.choosing import OFF, ON, numbered, off, person_of, says, set_brake
from tests.unit.scim.twins import ADA, BARE, Twin, active, both_ways, environ_of, members, set_up

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def on_postgresql(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite's writers share a transaction instead")


@pytest.fixture
def journeys(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many each act was done for."""
    numbers: list[int] = []

    def counting(act: Any) -> Any:
        def counted(bare: Any, given: Sequence[Any]) -> Any:
            numbers.append(len(given))
            return act(bare, given)

        return counted

    monkeypatch.setattr(plain, "_join", counting(plain._join))
    monkeypatch.setattr(plain_switch, "_switch", counting(plain_switch._switch))
    monkeypatch.setattr(plain_members, "_change", counting(plain_members._change))
    return numbers


def worker(name: str, **more: Any) -> dict[str, Any]:
    return {"userName": f"{name}@northwind.example", "externalId": f"x-{name}", "emails": [{"value": f"{name}@northwind.example"}], **more}


def under(manager: str) -> dict[str, Any]:
    return {ENTERPRISE_URN: {"manager": {"value": f"<{manager}>"}}}


def test_several_join_and_leave_and_return_as_if_one_after_the_other(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journeys: list[int]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("boss", "POST", "/Users", worker("boss"))
        twin.tell("chief", "POST", "/Users", worker("chief", **under("boss")))
        twin.tell("dora", "POST", "/Users", worker("dora", **under("chief")))
        twin.tell("eve", "POST", "/Users", worker("eve", **under("chief")))
        twin.tell_together(("ada", "POST", "/Users", ADA), ("bob", "POST", "/Users", BARE), ("cy", "POST", "/Users", worker("cy")))
        twin.tell("", "PATCH", "/Users/{cy}", active(False))
        # A manager and who is below them; and somebody of whom nothing changes. Several are written in the order of their ids.
        away = ("chief", "dora", "eve", "ada", "bob", "cy")
        twin.tell_together(*(("", "PATCH", f"/Users/{{{one}}}", active(False)) for one in away))
        twin.tell_together(*(("", "PATCH", f"/Users/{{{one}}}", active(True)) for one in away))
        for one in away:
            twin.tell("", "GET", f"/Users/{{{one}}}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert [number for number in journeys if number > 1] == [2, 5, 5]


def test_members_of_one_group_come_and_go_together_as_if_one_after_the_other(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journeys: list[int]
) -> None:
    taken: list[list[int | None]] = []

    def story(twin: Twin) -> None:
        set_up(twin)
        for name in ("ada", "bob", "cy", "dora", "eve", "flo"):
            twin.tell(name, "POST", "/Users", worker(name))
        for name in ("gil", "gil2"):
            twin.tell(name, "POST", "/Users", {**worker("gil", **numbered("7")), "userName": name, "externalId": name})
        twin.tell("team", "POST", "/Groups", {"displayName": "Team", "externalId": "t-1", "members": [{"value": "<dora>"}, {"value": "<eve>"}]})
        twin.tell("", "PATCH", "/Users/{eve}", active(False))
        # The first goes alone. Of the others one says what is so, one names somebody twice, and the last names whom another names too.
        said: tuple[dict[str, Any], ...] = (members("add", "<ada>"), members("add", "<bob>", "<bob>"), members("remove", "<dora>", "<cy>"), members("add", "<eve>"))
        said = (*said, members("remove", "<bob>", "<ada>"), members("add", "<flo>"))
        taken.append(twin.tell_together(*(("", "PATCH", "/Groups/{team}", one) for one in said)))
        twin.tell("", "GET", "/Groups/{team}")
        # Who was a member once is one again; and two of these are one person.
        told = (("add", "flo"), ("add", "ada"), ("remove", "eve"), ("add", "dora"), ("add", "gil"), ("add", "gil2"))
        taken.append(twin.tell_together(*(("", "PATCH", "/Groups/{team}", members(op, f"<{one}>")) for op, one in told)))
        twin.tell("", "GET", "/Groups/{team}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert taken[:2] == [[204] * 6, [204] * 6]
    assert [number for number in journeys if number > 1] == [3, 2, 5]


def test_who_is_nobodys_member_keeps_no_other_out(directory: Directory, journeys: list[int]) -> None:
    ada, bob, cy = (directory.add_user(name) for name in ("ada", "bob", "cy"))
    group = _team(directory)
    assert directory.send("DELETE", f"/Users/{cy}").status == 204
    version = directory.send("GET", f"/Groups/{group}").headers["ETag"]
    del journeys[:]

    answered = _at_once(directory, *(("PATCH", f"/Groups/{group}", members("add", one)) for one in ("nobody", ada, cy, bob)))

    assert answered == [None, 204, None, 204]
    assert journeys == [1, 3]
    found = directory.send("GET", f"/Groups/{group}")
    assert {one["value"] for one in found.document["members"]} == {ada, bob}
    assert _number(found.headers["ETag"]) == _number(version) + 2


def test_members_of_two_groups_do_not_wait_for_each_other(directory: Directory, journeys: list[int]) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    groups = [_team(directory), _team(directory, "Crew")]
    del journeys[:]

    answered = _at_once(directory, *(("PATCH", f"/Groups/{group}", members("add", one)) for group in groups for one in (ada, bob)))

    assert answered == [204] * 4
    assert journeys == [1, 1, 1, 1]
    for group in groups:
        assert {one["value"] for one in directory.send("GET", f"/Groups/{group}").document["members"]} == {ada, bob}


def _team(directory: Directory, name: str = "Team") -> str:
    return str(directory.send("POST", "/Groups", {"displayName": name}).document["id"])


def _number(etag: str) -> int:
    return int(etag.strip('W/"'))


def test_of_two_with_one_name_one_is_refused_and_nobody_else(directory: Directory, journeys: list[int]) -> None:
    set_brake("off")
    directory.add_user("ada", externalId="x-1")
    before = directory.written()
    del journeys[:]

    answered = _at_once(
        directory, *(("POST", "/Users", {"userName": name, "externalId": key}) for name, key in (("bob", "x-2"), ("BOB", "x-3"), ("cy", "x-1"), ("dee", "x-4")))
    )

    assert answered == [201, None, None, 201]
    assert directory.written() == before + 2
    # The first went at once; of the others, whom Cy's key kept from going together, each was tried alone.
    assert journeys == [1, 3, 1, 1, 1]


def test_two_words_about_one_person_do_not_go_together(directory: Directory, journeys: list[int]) -> None:
    set_brake("off")
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    before = directory.written()
    del journeys[:]

    answered = _at_once(directory, *(("PATCH", f"/Users/{one}", {"Operations": [OFF]}) for one in (ada, bob, ada)))

    # The last says what is so already.
    assert answered == [200] * 3
    assert journeys == [1, 2]
    assert directory.written() == before + 2


def test_more_than_fit_go_on_several_journeys(directory: Directory, journeys: list[int]) -> None:
    set_brake("off")
    assert directory.send("GET", "/ServiceProviderConfig").status == 200

    answered = _at_once(directory, *(("POST", "/Users", {"userName": f"someone{number}"}) for number in range(40)))

    assert answered == [201] * 40
    assert sum(journeys) == 40
    assert max(journeys) == 16
    assert directory.send("GET", "/Users?count=0").document["totalResults"] == 40


def test_who_is_not_plain_takes_nobody_along(directory: Directory) -> None:
    set_brake("off")
    ada, bob, cy = (directory.add_user(name) for name in ("ada", "bob", "cy"))
    off(directory, bob)
    says(person_of(bob), Voice.HR, StatementKind.LEAVES)
    assert directory.send("DELETE", f"/Users/{cy}").status == 204

    answered = _at_once(directory, *(("PATCH", f"/Users/{one}", {"Operations": [OFF]}) for one in (ada, bob, cy, "nobody")))

    assert answered == [200, None, None, None]
    assert str(person_of(ada).standing) == "departed"


def test_several_wait_for_nobody_who_holds_one_of_them(directory: Directory) -> None:
    set_brake("off")
    people = [directory.add_user(name) for name in ("ada", "bob", "cy")]

    with db.engine.connect() as holder:
        holder.execute(text("SELECT 1 FROM record WHERE id = :id FOR UPDATE"), {"id": people[1]})
        answered = _at_once(directory, *(("PATCH", f"/Users/{one}", {"Operations": [OFF]}) for one in people))

    assert answered == [200, None, 200]
    # The ordinary way waits, one at a time.
    assert directory.patch(f"/Users/{people[1]}", OFF).document["active"] is False


def test_what_is_said_of_one_of_several_while_the_others_are_written_is_heard(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever said it had not committed when these were looked at, and has when they are written."""
    set_brake("off")
    people = [directory.add_user(name) for name in ("ada", "bob", "cy")]
    for one in people:
        off(directory, one)
    write = plain_switch._write

    async def says_before(bare: Any, acts: Sequence[Any], by: Any) -> Any:
        if len(acts) > 1:
            with directory.app.app_context():
                says(person_of(people[1]), Voice.HR, StatementKind.LEAVES)
        return await write(bare, acts, by)

    # Saying it would wait for the people who are held here, as it should: so it is said without asking for them.
    monkeypatch.setattr(plain_switch, "_write", says_before)
    monkeypatch.setattr(plain_switch, "seen_several", _without_a_lock)

    answered = _at_once(directory, *(("PATCH", f"/Users/{one}", {"Operations": [ON]}) for one in people))

    assert answered == [200, None, 200]
    assert [str(person_of(one).standing) for one in people] == ["active", "departed", "active"]


def _without_a_lock(beside: Any) -> Any:
    return plain_seen.standing_now(beside).where(one_of(Record.id, "records", "postgresql"))


@pytest.mark.parametrize(("person_id", "manager_id"), [("p-2", "p-1"), ("p-1", "p-2")])
def test_work_about_a_manager_is_asked_for_in_the_order_of_everybody_else(person_id: str, manager_id: str) -> None:
    """One who holds the work of a person and waits for that of their manager must not be waited for the other way round."""
    seen = plain_seen.Seen(
        record_id="r", organization_id="o", source_name="okta", active=True, plain=True, version=1, user_name="ada", external_id=None, document="{}",
        said_at=0, created_at=0, modified_at=0, person_id=person_id, person_modified_at=0, standing="active", manager_id=manager_id, settings='{"push_brake": "off"}', schemas_version=None, has_hr=False, beside=None,
    )  # fmt: skip
    asked = plain_switch._Switch(
        record_id="r", active=False, becomes=None, digest="d", source_id="s", now=now(), because="SCIM PATCH", beside=(Record.id.expression, {})
    )

    act = plain_switch._decided(asked, seen, moment=now())

    assert act is not None
    assert json.loads(act["touched"]) == ["p-1", "p-2"]


def test_a_token_that_ended_meanwhile_opens_nothing_for_several(directory: Directory) -> None:
    set_brake("off")
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    group = _team(directory)
    before = directory.written()
    in_transaction(lambda session: session.execute(update(BearerToken).values(revoked_at=now())))

    answered = _at_once(
        directory, ("POST", "/Users", {"userName": "cy"}), ("POST", "/Users", {"userName": "dee"}),
        *(("PATCH", f"/Users/{one}", {"Operations": [OFF]}) for one in (ada, bob)),
        *(("PATCH", f"/Groups/{group}", members("add", one)) for one in (ada, bob)),
    )  # fmt: skip

    assert answered == [None] * 6
    assert directory.written() == before


class TestWhoBreaksOff:
    """Of four who come at once the first goes alone, the second leads the other two, who wait for the first."""

    @pytest.fixture
    def held(self, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
        """Journeys wait for it."""
        set_brake("off")
        assert directory.send("GET", "/ServiceProviderConfig").status == 200
        go, sent = asyncio.Event(), PostgresBare._sent

        async def waits(*given: Any) -> Any:
            await go.wait()
            return await sent(*given)

        monkeypatch.setattr(PostgresBare, "_sent", waits)
        return go

    def story(self, directory: Directory, held: asyncio.Event, breaks_off: int, *, on_the_way: bool = False) -> list[Any]:
        async def told() -> list[Any]:
            async with asyncio.timeout(30):
                # With a connection that is open already.
                held.set()
                assert await _soon(directory, "POST", "/Users", {"userName": "first"}) == 201
                held.clear()
                waiting = [asyncio.ensure_future(_soon(directory, "POST", "/Users", {"userName": name})) for name in ("ada", "bob", "cy", "dee")]
                await _turns()
                if on_the_way:
                    held.set()
                    await waiting[0]
                    held.clear()
                waiting[breaks_off].cancel()
                await _turns()
                held.set()
                answered = await asyncio.gather(*waiting, return_exceptions=True)
                return [*answered, await _soon(directory, "POST", "/Users", {"userName": "next"})]

        return ["gone" if isinstance(one, asyncio.CancelledError) else one for one in asyncio.run(told())]

    def test_who_is_on_the_way_alone(self, directory: Directory, held: asyncio.Event) -> None:
        assert self.story(directory, held, 0) == ["gone", 201, 201, 201, 201]

    def test_who_waits_to_lead(self, directory: Directory, held: asyncio.Event) -> None:
        assert self.story(directory, held, 1) == [201, "gone", None, None, 201]

    def test_who_leads_on_the_way(self, directory: Directory, held: asyncio.Event) -> None:
        assert self.story(directory, held, 1, on_the_way=True) == [201, "gone", None, None, 201]

    def test_who_follows(self, directory: Directory, held: asyncio.Event) -> None:
        assert self.story(directory, held, 2) == [201, 201, "gone", 201, 201]
        # What nobody waits for any more is done all the same.
        assert directory.send("GET", '/Users?filter=userName eq "cy"').document["totalResults"] == 1


def test_who_waits_for_long_keeps_nobody_else_waiting(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    set_brake("off")
    assert directory.send("GET", "/ServiceProviderConfig").status == 200
    go, sent, journeys = asyncio.Event(), PostgresBare._sent, list[int]()

    async def first_waits(*given: Any) -> Any:
        journeys.append(1)
        if len(journeys) == 1:
            await go.wait()
        return await sent(*given)

    async def story() -> list[Any]:
        async with asyncio.timeout(30):
            first = asyncio.ensure_future(_soon(directory, "POST", "/Users", {"userName": "ada"}))
            others = await asyncio.gather(*(_soon(directory, "POST", "/Users", {"userName": name}) for name in ("bob", "cy")))
            assert not first.done()
            later = await _soon(directory, "POST", "/Users", {"userName": "dee"})
            go.set()
            return [await first, *others, later, await _soon(directory, "POST", "/Users", {"userName": "eve"})]

    monkeypatch.setattr(PostgresBare, "_sent", first_waits)

    assert asyncio.run(story()) == [201] * 5
    # Bob and Cy shared one.
    assert len(journeys) == 4


async def _turns() -> None:
    """Everybody gets as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


def _at_once(directory: Directory, *asked: tuple[str, str, Any]) -> list[int | None]:
    async def all_of_them() -> list[int | None]:
        return list(await asyncio.gather(*(_soon(directory, *one) for one in asked)))

    return asyncio.run(all_of_them())


async def _soon(directory: Directory, method: str, path: str, body: Any) -> int | None:
    answered = await directory.app.wsgi_app.soon(environ_of(directory, method, path, body))  # type: ignore[attr-defined]
    return None if answered is None else int(answered[0])

"""What a brake counts is weighed by the hot paths as by the ordinary way: the first so many are out, the others wait in one burst."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import db, in_transaction, reading, transaction
from app.directory import settings
from app.directory.tables import Source, Standing
from app.lifecycle import brake, leaving
from app.lifecycle.plain_switch import switch_plainly
from app.lifecycle.sources import expect_departures
from app.scim import hot, hot_writes
from tests.clients.directory import Directory
from tests.company import ADMIN
from tests.two_at_once import meanwhile
from tests.unit.scim.choosing import OFF, ON, approve_everything, off, organization_of, person_of, set_brake
from tests.unit.scim.looping import at_once
from tests.unit.scim.twins import ADA, BARE, Twin, active, both_ways, environ_of, set_up

pytestmark = pytest.mark.slow


def named(name: str) -> dict[str, Any]:
    return {"userName": name, "externalId": f"x-{name}"}


@pytest.mark.usefixtures("way")
def test_the_first_so_many_are_out_and_the_others_wait(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin, brake="2/60s")
        for name, body in (("ada", ADA), ("bob", BARE), *((name, named(name)) for name in ("cy", "dee", "eve"))):
            twin.tell(name, "POST", "/Users", body)
        twin.tell("team", "POST", "/Groups", {"displayName": "Team", "members": [{"value": "<dee>"}, {"value": "<ada>"}]})
        twin.tell("", "PATCH", "/Users/{ada}", active(False))
        twin.tell("", "PATCH", "/Users/{bob}", active("False", path=False))
        # This one opens the burst.
        twin.tell("", "PATCH", "/Users/{cy}", active(False))
        twin.tell("", "PATCH", "/Users/{dee}", active(False))
        twin.tell("", "PATCH", "/Users/{dee}", active(False))
        twin.tell("", "PATCH", "/Users/{eve}", active(False))
        twin.tell("", "GET", "/Users/{dee}")
        # Taken back, and said once more: the same line waits again.
        twin.tell("", "PATCH", "/Users/{dee}", active(True))
        twin.tell("", "PATCH", "/Users/{dee}", active(False))
        twin.tell("", "PATCH", "/Users/{ada}", active(True))
        # Those that counted are no more of this minute.
        twin.at += timedelta(minutes=1)
        twin.tell("", "PATCH", "/Users/{ada}", active(False))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [*["post_user"] * 5, *["patch_user"] * 4, "get_user", *["patch_user"] * 3]


def test_several_at_once_are_weighed_as_if_one_after_the_other(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered: list[list[int | None]] = []
    people = ("ada", "bob", "cy", "dee", "eve", "flo", "gil", "hal", "ida", "jon")

    def together(twin: Twin, *names: str, on: bool = False) -> None:
        answered.append(twin.tell_together(*(("", "PATCH", f"/Users/{{{name}}}", active(on)) for name in names)))

    def story(twin: Twin) -> None:
        set_up(twin, brake="3/60s")
        for name in people:
            twin.tell(name, "POST", "/Users", named(name))
        together(twin, "ada", "bob", "cy", "dee", "eve")
        together(twin, "flo", "gil", "hal")
        twin.at += timedelta(minutes=1)
        together(twin, "ada", "bob", on=True)
        # Three of them count, one is out already, and the last goes into the burst that is open, on PostgreSQL the ordinary way.
        together(twin, "ada", "bob", "cy", "ida", "jon")
        for name in people:
            twin.tell("", "GET", f"/Users/{{{name}}}")

    both_ways(urls, tmp_path, monkeypatch, story)

    hot_ones, ordinary = answered[:4], answered[4:]
    # Who is the first to wait opens the burst, on SQLite before those who come behind.
    assert [ordinary[0], ordinary[3]] == [[None] * 5, [None] * 5]
    assert hot_ones[0][:3] == [200] * 3
    assert None in hot_ones[0][3:]
    assert hot_ones[1:3] == [[200] * 3, [200] * 2]
    assert hot_ones[3] == [200] * 4 + [None if urls[0].startswith("postgresql") else 200]


def test_whoever_has_counted_already_takes_no_room_from_those_beside_them(directory: Directory) -> None:
    ada, bob, cy, dee, eve = (directory.add_user(name) for name in ("ada", "bob", "cy", "dee", "eve"))
    set_brake("1/60s")
    off(directory, ada)
    off(directory, bob)
    assert directory.patch(f"/Users/{ada}", ON).document["active"] is True
    set_brake("3/60s")
    door: hot.HotDoor = directory.app.wsgi_app  # type: ignore[assignment]

    # The first goes alone, and the others together meanwhile.
    together = (cy, ada, dee)
    answered = at_once(*(door.soon(environ_of(directory, "PATCH", f"/Users/{one}", active(False))) for one in together))
    for one, early in zip(together, answered, strict=True):
        if early is None:
            off(directory, one)
    off(directory, eve)

    assert [str(person_of(one).standing) for one in together] == ["departed"] * 3
    assert waiting() == [{person_of(one).id for one in (bob, eve)}]


def test_an_off_that_comes_while_its_burst_is_closed_waits_in_another(directory: Directory) -> None:
    ada, bob, cy = (directory.add_user(name) for name in ("ada", "bob", "cy"))
    set_brake("1/60s")
    off(directory, ada)
    off(directory, bob)

    def release(session: Session) -> None:
        [(held, lines)] = brake.waiting(session, organization_of(session).id)
        leaving.release(session, held, lines, actor=ADMIN, at=now())

    meanwhile(directory.app, release, lambda: off(directory, cy))

    assert [str(person_of(one).standing) for one in (ada, bob, cy)] == ["departed", "departed", "active"]
    assert waiting() == [{person_of(cy).id}]


def test_no_hot_path_waits_for_whoever_is_closing_its_burst(directory: Directory) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    set_brake("0/60s")
    off(directory, ada)
    door: hot.HotDoor = directory.app.wsgi_app  # type: ignore[assignment]
    asked = environ_of(directory, "PATCH", f"/Users/{bob}", active(False))

    with transaction() as session:
        [(held, _)] = brake.waiting(session, organization_of(session).id)
        brake.lock_open(session, held)
        [answered] = at_once(door.soon(asked))

    # Whoever waits in vain is tried once more in a thread, which would wait for longer.
    assert (answered, "doorlist.hot.declined" in asked) == (None, True)
    off(directory, bob)
    assert waiting() == [{person_of(one).id for one in (ada, bob)}]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_two_at_once_do_not_both_take_what_is_left(directory: Directory, monkeypatch: pytest.MonkeyPatch, isolation: str) -> None:
    # As a database may have it by default; connections of before know nothing of it.
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_isolation=" + isolation.replace(" ", "\\ "))
    db.engine.dispose()
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    set_brake("1/60s")

    def counts(session: Session) -> bool:
        return brake.lets_through(session, organization_of(session).id, directory.source_id, ada, at=now())

    let_through, _ = meanwhile(directory.app, counts, lambda: off(directory, bob))

    assert let_through
    assert person_of(bob).standing == Standing.ACTIVE
    assert waiting() == [{person_of(bob).id}]


def test_whom_the_brake_held_is_out_once_that_is_approved_and_back_when_switched_on(directory: Directory, counted: list[str]) -> None:
    people = [directory.add_user(f"p{number}") for number in range(4)]
    set_brake("0/60s")
    # A token that has just been good is the usual one.
    directory.send("GET", "/ServiceProviderConfig")
    del counted[:]
    for one in people:
        off(directory, one)
    assert counted == ["patch_user"] * 3
    assert waiting() == [{person_of(one).id for one in people}]

    approve_everything()

    assert {str(person_of(one).standing) for one in people} == {"departed"}
    assert directory.patch(f"/Users/{people[1]}", ON).document["active"] is True
    assert person_of(people[1]).standing == Standing.ACTIVE


@pytest.mark.parametrize(("believed", "tries"), [(60.0, 2), (0.0, 4)])
def test_a_layoff_that_was_announced_is_used_up_the_ordinary_way_and_not_looked_for_at_each_call(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, believed: float, tries: int
) -> None:
    people = [directory.add_user(f"p{number}") for number in range(5)]
    set_brake("1/60s")
    until = now() + timedelta(hours=1)
    in_transaction(lambda session: expect_departures(session, organization_of(session).id, 2, until=until, actor=ADMIN, at=now()))
    monkeypatch.setattr(hot_writes, "BELIEVED_FOR", believed)
    monkeypatch.setattr(hot_writes, "_announced", {})
    asked = list[str]()

    async def noted(bare: Any, record_id: str, active: bool, **said: Any) -> Any:
        asked.append(record_id)
        return await switch_plainly(bare, record_id, active, **said)

    monkeypatch.setattr(hot_writes, "switch_plainly", noted)

    for one in people[:4]:
        off(directory, one)

    assert asked == people[:tries]
    assert [str(person_of(one).standing) for one in people[:4]] == [*["departed"] * 3, "active"]
    with reading() as session:
        assert session.scalar(select(Source.expected_departures).where(Source.id == directory.source_id)) == 0
    # Whoever is believed to be announced, and is not any more, is weighed all the same.
    off(directory, people[4])
    assert waiting() == [{person_of(one).id for one in people[3:]}]


@pytest.mark.usefixtures("way")
def test_where_a_brake_cannot_be_read_the_default_counts(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    monkeypatch.setitem(settings.DEFAULTS, "push_brake", "1/60s")

    def story(twin: Twin) -> None:
        set_up(twin, brake="many")
        for name in ("ada", "bob", "cy"):
            twin.tell(name, "POST", "/Users", named(name))
        for name in ("ada", "bob", "cy"):
            twin.tell("", "PATCH", f"/Users/{{{name}}}", active(False))
        assert [str(person_of(twin.ids[name]).standing) for name in ("ada", "bob", "cy")] == ["departed", "active", "active"]

    both_ways(urls, tmp_path, monkeypatch, story)

    # Bob opens the burst.
    assert counted == [*["post_user"] * 3, "patch_user", "patch_user"]


def test_nothing_is_weighed_for_a_token_that_is_not_good(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    set_brake("1/60s")
    off(directory, ada)
    stranger = directory.beside("entra")
    before = directory.written()

    answer = Directory(app=directory.app, http=directory.http, source_id=directory.source_id, token=stranger.token).patch(f"/Users/{bob}", OFF)

    assert (answer.status, directory.written() == before) == (401, True)
    if db.engine.dialect.name == "postgresql":
        assert waiting() == []


def waiting() -> list[set[str | None]]:
    """The people of each open burst."""
    with reading() as session:
        return [{line.person_id for line in lines} for _, lines in brake.waiting(session, organization_of(session).id)]

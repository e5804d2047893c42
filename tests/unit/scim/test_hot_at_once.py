"""What several say at once of people's attributes is what it would be one after the other, on either database."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.access.tokens import digest_of
from app.clock import microseconds, now
from app.database import db, in_transaction, transaction
from app.directory.tables import Person
from app.directory.vocabulary import ENTERPRISE_URN
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.key_locks import hold_numbers
from app.lifecycle.one_person import become_one
from app.lifecycle.plain_change import Change, is_plain
from app.lifecycle.plain_related import whose
from app.lifecycle.plain_seen import Seen
from tests.clients.directory import Directory
from tests.company import ADMIN
from tests.two_at_once import meanwhile
from tests.unit.scim.choosing import OFF, organization_of, person_of, set_brake
from tests.unit.scim.twins import Twin, active, both_ways, change, environ_of, set_up

pytestmark = pytest.mark.slow


def worker(name: str, number: str | None = None, manager: str | None = None) -> dict[str, Any]:
    said = {"employeeNumber": number, "manager": None if manager is None else {"value": manager}}
    return {"userName": name, "emails": [{"value": f"{name}@x.example"}], ENTERPRISE_URN: said}


def test_several_join_by_numbers_and_under_managers_as_if_one_after_the_other(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[list[int | None]] = []

    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("boss", "POST", "/Users", worker("boss", "E-1"))
        told = [
            worker("ada", "E-2", "<boss>"), worker("bob"), worker("cy", None, "<boss>"), worker("dee", "E-4"), worker("again", "E-1"),
            worker("under", None, "nobody"), worker("eve", "E-4"),
        ]  # fmt: skip
        taken.append(twin.tell_together(*((str(body["userName"]), "POST", "/Users", body) for body in told)))
        for name in ("boss", "ada", "bob", "cy", "dee", "again", "under", "eve"):
            twin.tell("", "GET", f"/Users/{{{name}}}")

    both_ways(urls, tmp_path, monkeypatch, story)

    # The last has a number that somebody has by then.
    assert taken[0] == [201, 201, 201, 201, None, None, None]


def test_several_are_changed_together_as_if_one_after_the_other(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[int | None]] = []
    manager = f"{ENTERPRISE_URN}:manager"

    def story(twin: Twin) -> None:
        set_up(twin)
        names = ("boss", "chief", "ada", "bob", "cy", "dee")
        for name in names:
            twin.tell(name, "POST", "/Users", {"userName": name, "emails": [{"value": f"{name}@x.example"}]})
        twin.tell("", "PATCH", "/Users/{dee}", active(False))
        # Two under one manager, one who is their own, addresses that come and go; one says what is so, another is out and stays out.
        said = {
            "boss": change("replace", manager, "<boss>"), "chief": change("add", manager, "<boss>"), "ada": change("add", manager, "<boss>"),
            "bob": change("replace", "emails", [{"value": "b@x.example"}, {"value": "bob@x.example"}]), "cy": change("replace", "userName", "cy"),
            "dee": change("replace", "title", "Out"),
        }  # fmt: skip
        taken.append(twin.tell_together(*(("", "PATCH", f"/Users/{{{name}}}", body) for name, body in said.items())))
        # Where somebody is switched on the same journey, on PostgreSQL, whoever is only changed takes the ordinary way.
        put: list[dict[str, Any]] = [{"userName": name, "title": "All of it", "emails": []} for name in ("boss", "chief", "ada")]
        put.insert(1, {"userName": "bob", "emails": said["bob"]["Operations"][0]["value"], "active": False})
        taken.append(twin.tell_together(*(("", "PUT", f"/Users/{{{body['userName']}}}", body) for body in put)))
        for name in names:
            twin.tell("", "GET", f"/Users/{{{name}}}")

    both_ways(urls, tmp_path, monkeypatch, story)

    together = urls[0].startswith("postgresql")
    assert taken[:2] == [[200] * 6, [200, 200, None, None] if together else [200] * 4]


def test_whoever_looks_for_a_number_at_this_moment_is_waited_for_off_the_loop(directory: Directory) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer")
    set_brake("off")
    directory.send("GET", "/ServiceProviderConfig")

    async def story() -> list[Any]:
        return [await directory.app.wsgi_app.soon(environ_of(directory, "POST", "/Users", worker(name, number))) for name, number in said]  # type: ignore[attr-defined]

    said = [("ada", "E-1"), ("bob", "E-2")]
    with transaction() as session:
        hold_numbers(session, organization_of(session).id, ["E-1"])
        answered = asyncio.run(story())

    assert [early if early is None else early[0] for early in answered] == [None, 201]
    assert directory.send("POST", "/Users", worker(*said[0])).status == 201


def named_as_manager(session: Session, directory: Directory, record_id: str) -> Sequence[Any]:
    """As whoever joins under them names somebody, in a transaction that goes on."""
    by = {"digest": digest_of(directory.token), "source": directory.source_id, "at": microseconds(now())}
    statement, values = whose("postgresql", by, [record_id], held=True)
    return session.execute(statement, values).all()  # type: ignore[call-overload, no-any-return]  # it is a Select, as `Asked` does not say


def test_a_manager_is_switched_off_whoever_joins_under_them_at_this_moment(directory: Directory) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer")
    set_brake("off")
    boss = directory.add_user("boss")

    with transaction() as session:
        assert named_as_manager(session, directory, boss) == [(boss, person_of(boss).id)]
        answered = asyncio.run(directory.app.wsgi_app.soon(environ_of(directory, "PATCH", f"/Users/{boss}", {"Operations": [OFF]})))  # type: ignore[attr-defined]

    assert answered is not None
    assert str(person_of(boss).standing) == "departed"


def test_whoever_becomes_one_with_another_waits_for_who_joins_under_them(directory: Directory) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer")
    boss, chief = person_of(directory.add_user("boss")), person_of(chief_id := directory.add_user("chief"))

    def joins(session: Session) -> Person:
        return become_one(session, chief.organization_id, chief.id, boss.id, actor=ADMIN, at=now(), because="test")

    named, _ = meanwhile(directory.app, lambda session: named_as_manager(session, directory, chief_id), lambda: in_transaction(joins))

    # Who is named is whom the report is passed on from.
    assert (named, person_of(chief_id).id) == ([(chief_id, chief.id)], boss.id)


@pytest.mark.parametrize(
    ("on", "stands", "plain"),
    [(True, "active", True), (True, "expected", False), (True, "paused", False), (False, "departed", True), (False, "paused", True), (False, "active", False)],
)
def test_only_whoever_stands_as_their_directory_says_is_changed_plainly(on: bool, stands: str, plain: bool) -> None:
    there = Seen(
        record_id="r", organization_id="o", source_name="okta", active=on, plain=True, version=1, user_name="ada", external_id=None, document="{}",
        said_at=0, created_at=0, modified_at=0, person_id="p", person_modified_at=0, standing=stands, manager_id=None, settings="{}",
        schemas_version=None, has_hr=False, beside=None,
    )  # fmt: skip
    draft = RecordDraft(external_id=None, user_name="ada", active=None, document={"title": "x"})

    assert is_plain(Change(there=there, document={}, draft=draft)) is plain

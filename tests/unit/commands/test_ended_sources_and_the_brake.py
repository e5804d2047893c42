"""A source that is given up while the brake holds some of what it said: nobody is kept in by that for ever."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.clock import now
from app.database import reading
from app.directory.heard import is_in_group
from app.directory.tables import Membership, Record, Source, StatementKind, Voice
from app.lifecycle import leaving
from app.lifecycle.groups import GroupDraft, add_group
from app.lifecycle.records import end_record
from tests.unit.commands.conftest import OKTA, Desk
from tests.unit.commands.test_ended_sources import Firm

WORKDAY = Actor(kind=ActorKind.SOURCE, name="workday")
pytestmark = pytest.mark.slow


@pytest.fixture
def firm(desk: Desk) -> Firm:
    """Whatever a source says past its first *off* is held."""
    desk.asks("settings", "set", "push_brake", "1/900s")
    return Firm(desk)


def record_id(firm: Firm, name: str, directory: str) -> str:
    with firm.desk.app.app_context(), reading() as session:
        query = select(Record.id).where(Record.person_id == firm.ids[name], Record.source_id == firm.made[directory]["id"])
        return session.scalars(query).one()


def says_off(firm: Firm, name: str, directory: str, *, deletes: bool) -> None:
    source_id, organization_id = str(firm.made[directory]["id"]), firm.desk.organization_id
    if not deletes:
        firm.desk.switches_off(source_id, firm.ids[name])
        return
    ended = record_id(firm, name, directory)
    firm.desk.acts(lambda session: end_record(session, organization_id, source_id, ended, actor=OKTA, at=now(), because="push"))


def held(firm: Firm) -> list[str]:
    return [str(one["digest"]) for one in firm.desk.asks("held", "list")["held"]]


@pytest.mark.parametrize("rejected", [False, True])
@pytest.mark.parametrize("deletes", [False, True])
def test_whom_the_other_lets_go_later_is_out(firm: Firm, deletes: bool, rejected: bool) -> None:
    for name in ("ada", "bob"):
        firm.hires(name, "old", "new")
    for name in ("ada", "bob"):
        says_off(firm, name, "old", deletes=deletes)
    [digest] = held(firm)
    if rejected:
        firm.desk.asks("held", "reject", digest)

    firm.ends()

    assert (firm.standing(), held(firm)) == ({"ada": "active", "bob": "active"}, [])
    firm.desk.asks("settings", "set", "push_brake", "off")
    for name in ("ada", "bob"):
        says_off(firm, name, "new", deletes=False)
    assert firm.standing() == {"ada": "departed", "bob": "departed"}


def test_its_groups_are_over_with_it(firm: Firm) -> None:
    for name in ("ada", "bob"):
        firm.hires(name, "old", "new")
    organization_id, old = firm.desk.organization_id, str(firm.made["old"]["id"])
    draft = GroupDraft(external_id=None, display_name="Finance", members=(record_id(firm, "bob", "old"),))
    firm.desk.acts(lambda session: add_group(session, organization_id, old, draft, actor=OKTA, at=now(), because="push"))
    for name in ("ada", "bob"):
        says_off(firm, name, "old", deletes=True)

    firm.ends()

    shown = firm.desk.asks("person", "show", "bob@acme.example")
    assert [(one["source"], one["says"], one["held"]) for one in shown["records"]] == [("old", "ended", False), ("new", "on", False)]
    counting = select(Membership.group_id).join(Record, Record.id == Membership.record_id).where(Record.person_id == firm.ids["bob"], is_in_group())
    with firm.desk.app.app_context(), reading() as session:
        assert session.scalars(counting).all() == []


@pytest.mark.parametrize("rejected", [False, True])
def test_a_deletion_that_is_not_heard_is_access_as_well(firm: Firm, rejected: bool) -> None:
    for name in ("ada", "bob"):
        firm.hires(name, "old")
    for name in ("ada", "bob"):
        says_off(firm, name, "old", deletes=True)
    if rejected:
        firm.desk.asks("held", "reject", held(firm)[0])

    refused = firm.desk.types("source", "end", "old", "--reason", "moved")

    assert (refused.exit, "bob@acme.example would be out by it" in refused.err) == (1, True)
    assert (firm.standing(), len(held(firm))) == ({"ada": "departed", "bob": "active"}, 0 if rejected else 1)
    firm.desk.asks("depart", "bob@acme.example")
    firm.ends()
    assert firm.standing() == {"ada": "departed", "bob": "departed"}


@pytest.mark.parametrize(("decided", "standing"), [("approve", "departed"), ("reject", "active")])
def test_what_an_hr_system_said_is_decided_first(firm: Firm, decided: str, standing: str) -> None:
    desk, organization_id = firm.desk, firm.desk.organization_id
    workday = str(desk.asks("source", "add", "hr", "workday")["id"])
    for name in ("ada", "bob"):
        firm.hires(name, "new")

    def says(session: Session, name: str) -> None:
        source = session.get_one(Source, (organization_id, workday))
        leaving.say(
            session, organization_id, firm.ids[name], voice=Voice.HR, kind=StatementKind.LEAVES, said_by="workday", effective_at=now(), actor=WORKDAY,
            at=now(), because="terminated", source=source,
        )  # fmt: skip

    desk.acts(lambda session: says(session, "ada"))
    desk.acts(lambda session: says(session, "bob"))

    refused = desk.types("source", "end", "workday", "--reason", "another one")

    assert (refused.exit, "what it said of bob@acme.example" in refused.err) == (1, True)
    desk.asks("held", decided, held(firm)[0])
    desk.asks("source", "end", "workday", "--reason", "another one")
    assert firm.standing() == {"ada": "departed", "bob": standing}

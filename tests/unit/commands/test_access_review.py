"""Who can get in, on whose word and into what, as an access review asks for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.sessions import Authenticated, Limits
from app.access.tables import RESERVED, Account
from app.clock import iso, now
from app.directory.tables import Group, Membership, Person, Record
from app.rules.tables import BESIDE, MOVED, RULE, Channel, ChannelMember, Reach
from connectors.contract import AccountState
from tests.unit.commands.conftest import Desk
from tests.unit.commands.reporting import table

pytestmark = pytest.mark.slow

SINCE = now() - timedelta(days=3)


class Firm:
    """Ada (in chat and its channels) is the manager of Bob, who has no account yet; Cyd has left."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.directory = desk.directory()
        self.chat = desk.connects_chat()
        self.ids = {name: desk.hires(self.directory, name, number=f"E-{name}", department="Finance") for name in ("ada", "bob", "cyd")}
        self.has("ada")

    def has(self, name: str, state: str = AccountState.ACTIVE) -> None:
        organization_id, person_id = self.desk.organization_id, self.ids[name]
        self.desk.acts(
            lambda session: session.merge(
                Account(organization_id=organization_id, workspace_id=self.chat, person_id=person_id, account_id=f"@{name}:chat", state=state)
            )
        )

    def is_in(self, name: str, channel: str, *, why: str = RULE, rule: str | None = None, **more: Any) -> None:
        organization_id, person_id = self.desk.organization_id, self.ids[name]

        def act(session: Session) -> None:
            if session.get(Channel, (organization_id, channel)) is None:
                session.add(Channel(organization_id=organization_id, id=channel, name=channel, space=more.pop("space", False), created_at=now()))
                if rule is not None:
                    session.add(Reach(organization_id=organization_id, rule_id=rule, key="", channel_id=channel, created_at=now()))
            session.add(
                ChannelMember(organization_id=organization_id, workspace_id=self.chat, channel_id=channel, person_id=person_id, why=why, since=SINCE, **more)
            )

        self.desk.acts(act)

    def lines(self, report: str = "access") -> dict[str, dict[str, Any]]:
        return {str(line["user_name"]).partition("@")[0]: line for line in self.desk.asks("report", report)["lines"]}


@pytest.fixture
def firm(desk: Desk) -> Firm:
    return Firm(desk)


def test_everybody_who_has_access_is_told_with_what_they_can_get_into(firm: Firm) -> None:
    firm.is_in("ada", "finance")
    firm.desk.switches_off(firm.directory, firm.ids["cyd"])

    said = firm.desk.asks("report", "access")
    lines = firm.lines()

    assert set(lines) == {"ada", "bob"}
    ada, bob = lines["ada"], lines["bob"]
    assert (ada["workspace"], ada["account"], ada["account_state"], ada["channels"]) == ("chat", "@ada:chat", "active", 1)
    assert (ada["department"], ada["employee_number"], ada["vouched_by"], ada["standing"]) == ("Finance", "E-ada", ["okta"], "active")
    assert (bob["workspace"], bob["account"], bob["channels"]) == (None, None, 0)
    assert (said["people"], said["accounts"], said["without_access"]) == (2, 1, 0)


def test_whoever_has_left_with_an_account_that_was_not_shown_to_be_shut_is_in_it(firm: Firm) -> None:
    firm.has("cyd")
    firm.desk.switches_off(firm.directory, firm.ids["cyd"])

    said = firm.desk.asks("report", "access")

    assert (firm.lines()["cyd"]["standing"], firm.lines()["cyd"]["vouched_by"], said["without_access"]) == ("departed", [], 1)
    firm.has("cyd", state="departed")
    assert "cyd" not in firm.lines()


def test_an_id_that_is_only_kept_is_no_account(firm: Firm) -> None:
    firm.has("bob", state=RESERVED)

    assert firm.lines()["bob"]["account"] is None


def test_a_workspace_that_was_ended_is_none_that_anybody_gets_into(firm: Firm) -> None:
    firm.desk.asks("workspace", "end", "chat", "--reason", "given up")

    assert firm.lines()["ada"]["workspace"] is None
    assert firm.desk.asks("report", "memberships")["lines"] == []


def test_who_is_an_administrator_here_is_told(firm: Firm) -> None:
    organization_id, record_of = firm.desk.organization_id, firm.ids["ada"]

    def act(session: Session) -> None:
        record = session.scalars(select(Record).where(Record.person_id == record_of)).one()
        here = {"organization_id": organization_id, "journal_id": 1}
        session.add(
            Group(**here, id="g", source_id=firm.directory, display_name="IT", display_name_key="it", document={}, created_at=now(), modified_at=now())
        )
        session.add(Membership(**here, group_id="g", record_id=record.id))

    firm.desk.acts(act)
    firm.desk.asks("settings", "set", "role_groups", '{"admin": ["IT"]}')

    assert {name: line["role"] for name, line in firm.lines().items()} == {"ada": "admin", "bob": None, "cyd": None}


def test_when_somebody_signed_in_last_is_told(firm: Firm) -> None:
    organization_id, last = firm.desk.organization_id, now() - timedelta(days=9)

    def act(session: Session) -> None:
        person = session.get_one(Person, (organization_id, firm.ids["ada"]))
        for at in (last - timedelta(days=20), last):
            sessions.start(session, person, Authenticated(connection_id=None, at=at), limits=Limits(), agent="", at=at)

    firm.desk.acts(act)

    assert {name: line["last_signed_in"] for name, line in firm.lines().items()} == {"ada": iso(last), "bob": None, "cyd": None}


def test_a_manager_is_named(firm: Firm) -> None:
    bob = Person.id == firm.ids["bob"]
    firm.desk.acts(lambda session: session.execute(update(Person).where(bob).values(manager_id=firm.ids["ada"], journal_id=Person.journal_id + 1)))

    assert firm.lines()["bob"]["manager"] == "ada@acme.example"


def test_each_channel_is_told_with_why_and_since_when(firm: Firm) -> None:
    until = now() + timedelta(days=2)
    firm.is_in("ada", "all", rule="everyone")
    firm.is_in("ada", "board", why=BESIDE, keep_until=until)
    firm.is_in("ada", "old", why=MOVED, left_at=now())
    firm.is_in("ada", "house", space=True)

    said = firm.desk.asks("report", "memberships")

    assert [(line["workspace"], line["channel"], line["why"], line["since"], line["kept_until"]) for line in said["lines"]] == [
        ("chat", "all", "rule everyone", iso(SINCE), None),
        ("chat", "board", "beside the rules", iso(SINCE), iso(until)),
    ]
    assert (said["people"], said["count"]) == (1, 2)
    assert said["lines"][0]["account"] == "@ada:chat"


def test_a_spreadsheet_has_the_same_lines(firm: Firm) -> None:
    firm.is_in("ada", "all", rule="everyone")

    rows = table(firm.desk.types("report", "access", "--csv"))
    assert [(row["user_name"], row["vouched_by"], row["channels"]) for row in rows] == [
        ("ada@acme.example", "okta", "1"), ("bob@acme.example", "okta", "0"), ("cyd@acme.example", "okta", "0"),
    ]
    assert [row["why"] for row in table(firm.desk.types("report", "memberships", "--csv"))] == ["rule everyone"]


def test_more_people_than_are_read_at_once_are_told_once_each(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.rules.access_review.AT_A_TIME", 2)
    more = [firm.desk.hires(firm.directory, f"p{number}") for number in range(5)]

    said = firm.desk.asks("report", "access")

    ids = [line["person_id"] for line in said["lines"]]
    assert ids == sorted({*firm.ids.values(), *more})

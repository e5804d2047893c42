"""Why somebody could not sign in: found by the number that their page shows, or among the latest."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, ConnectionKind
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, new_id
from app.journal import entries
from app.sso import refused_sign_ins
from app.sso.refusals import Reason, Refused
from app.sso.refused_sign_ins import note_refusal
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow


def connects(desk: Desk, name: str) -> str:
    def act(session: Session) -> str:
        row = Connection(organization_id=desk_organization, id=new_id(), kind=ConnectionKind.OIDC, name=name, issuer=f"https://{name}.example", created_at=now())
        session.add(row)
        session.flush()
        return row.id

    desk_organization = desk.organization_id
    return desk.acts(act)


def refuses(desk: Desk, said: str, connection_id: str | None, *, person_id: str | None = None, at: datetime | None = None) -> str:
    error = Refused(Reason.NO_ACCESS, said, connection_id=connection_id, person_id=person_id)
    with desk.app.app_context():
        note_refusal(error, at=at or now())
    return error.reference


def test_the_number_on_somebodys_page_says_why(desk: Desk) -> None:
    okta = connects(desk, "okta")
    ada = desk.hires(desk.directory(), "ada")
    number = refuses(desk, "departed: by hr", okta, person_id=ada)
    refuses(desk, "another", okta)

    [found] = desk.asks("connection", "refusals", f" {number[:4].lower()} {number[4:]}")["refusals"]

    assert (found["number"], found["connection"], found["reason"], found["said"]) == (number, "okta", "no-access", "departed: by hr")
    assert found["person"]["userName"] == "ada@acme.example"
    assert "departed: by hr" in desk.types("connection", "refusals", number).out


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("departed: by hr", "departed"),
        ("expected: by the sponsor", "expected"),
        ("access ended at 2026-11-30T17:00:00+00:00", "access ended"),
        ("the connection demands a second factor", "the connection demands a second factor"),
    ],
)
def test_helpdesk_learns_that_somebody_has_no_access_and_not_why(desk: Desk, said: str, told: str) -> None:
    number = refuses(desk, said, connects(desk, "okta"))
    helpdesk = desk.asks("operator", "add", "grace", "--role", "helpdesk")["token"]

    listed = desk.types("connection", "refusals", "--json", token=helpdesk).json["refusals"]

    assert [one["said"] for one in listed] == [told]
    assert said == told or said not in desk.types("connection", "refusals", number, token=helpdesk).out


def test_a_number_that_was_never_given_is_said_to_be_none(desk: Desk) -> None:
    elsewhere = refuses(desk, "nobody's address", None)

    said = desk.types("connection", "refusals", elsewhere, "--json")

    assert said.exit == 1
    assert "log of 'doorlist serve'" in said.json["error"]


def test_the_latest_come_first_through_any_connection_or_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_sign_ins, "AT_A_TIME", 2)
    okta, entra = connects(desk, "okta"), connects(desk, "entra")
    for turn in range(5):
        refuses(desk, str(turn), okta if turn % 2 else entra)

    def said(*more: str) -> list[str]:
        return [one["said"] for one in desk.asks("connection", "refusals", *more)["refusals"]]

    assert said() == ["4", "3", "2", "1", "0"]
    assert said("--connection", "okta") == ["3", "1"]
    assert said("--limit", "2") == ["4", "3"]
    assert said("--since", (now() + timedelta(hours=1)).isoformat()) == []


def test_what_is_older_is_only_found_by_its_number(desk: Desk) -> None:
    number = refuses(desk, "long ago", connects(desk, "okta"), at=now() - timedelta(days=90))

    assert desk.asks("connection", "refusals")["refusals"] == []
    assert [one["said"] for one in desk.asks("connection", "refusals", number)["refusals"]] == ["long ago"]


def test_a_wrong_second_factor_at_break_glass_is_among_them(desk: Desk) -> None:
    ada = desk.hires(desk.directory(), "ada")
    desk.asks("break-glass", "add", "ada@acme.example")
    organization_id = desk.organization_id

    def act(session: Session) -> None:
        entries.write(
            session, organization_id, at=now(), actor=Actor(kind=ActorKind.PERSON, name=ada), verb="break-glass refused", because="not-known",
            subject_kind="person", subject_id=ada, after={"reference": "ABCD2345", "said": "the second factor is wrong", "from": "192.0.2.1"},
        )  # fmt: skip

    with desk.app.app_context():
        in_transaction(act)

    [found] = desk.asks("connection", "refusals", "abcd2345")["refusals"]
    assert (found["connection"], found["person"]["userName"]) == ("break-glass", "ada@acme.example")


def test_another_organisations_are_not_shown(desk: Desk) -> None:
    number = refuses(desk, "ours", connects(desk, "okta"))
    assert desk.types("init", "--organization", "Other").exit == 0

    assert desk.types("connection", "refusals", number, "--organization", "Other").exit == 1

"""Sessions: good while the person may enter and nothing ended them; one change of the epoch ends all of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.session_tables import Device, Grant, WebSession
from app.access.sessions import Authenticated, Limits, Present
from app.database import in_transaction, new_id, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.lifecycle import leaving
from app.lifecycle.people import reconsider
from app.lifecycle.signing_out import sign_out_everywhere
from tests.company import ADMIN, NOW, Company, later, new_company

DAY = Limits(absolute=timedelta(hours=12), idle=timedelta(hours=1))


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def signs_in(company: Company, record: Record, *, at: datetime = NOW, until: datetime | None = None) -> str:
    def act(session: Session) -> str:
        person = session.get_one(Person, (company.organization_id, record.person_id))
        return sessions.start(session, person, Authenticated(connection_id=None, at=at, until=until), limits=DAY, agent="Firefox", at=at)[1]

    return in_transaction(act)


def who(secret: str, *, at: datetime = NOW) -> Present | None:
    with reading() as session:
        return sessions.check(session, secret, at=at)


def says(company: Company, record: Record, kind: StatementKind, *, at: datetime, effective_at: datetime | None = None) -> None:
    in_transaction(
        lambda session: leaving.say(
            session, company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=effective_at or at,
            actor=ADMIN, at=at, because="test",
        )
    )  # fmt: skip


def test_a_session_says_who_is_there(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")

    here = who(signs_in(company, ada))

    assert here is not None
    assert (here.person_id, here.display_name, here.until) == (ada.person_id, "Ada", NOW + DAY.idle)


@pytest.mark.parametrize("secret", ["", "dl_s_", "dl_s_nobody", "\x00", "ß"])
def test_an_unknown_secret_lets_nobody_in(company: Company, secret: str) -> None:
    assert who(secret) is None


def departs(company: Company, ada: Record) -> None:
    says(company, ada, StatementKind.LEAVES, at=later(1))


def is_switched_off(company: Company, ada: Record) -> None:
    company.says(ada, active=False, at=later(1))


def pauses(company: Company, ada: Record) -> None:
    says(company, ada, StatementKind.PAUSES, at=later(1))


def is_signed_out_everywhere(company: Company, ada: Record) -> None:
    in_transaction(lambda session: sign_out_everywhere(session, company.organization_id, ada.person_id, actor=ADMIN, at=later(1), because="test"))


@pytest.mark.parametrize("ends", [departs, is_switched_off, pauses, is_signed_out_everywhere])
def test_nothing_issued_before_works_after(company: Company, ends: Callable[[Company, Record], None]) -> None:
    ada = company.joins("ada@x.example", "1")
    secret = signs_in(company, ada)

    ends(company, ada)

    assert who(secret, at=later(1)) is None


def test_another_person_stays_signed_in(company: Company) -> None:
    ada, bob = company.joins("ada@x.example", "1"), company.joins("bob@x.example", "2")
    secret = signs_in(company, bob)

    departs(company, ada)

    assert who(secret, at=later(1)) is not None


def test_a_return_brings_no_old_session_back(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    secret = signs_in(company, ada)
    departs(company, ada)

    says(company, ada, StatementKind.RETURNS, at=later(2))

    assert who(secret, at=later(3)) is None
    assert who(signs_in(company, ada, at=later(3)), at=later(3)) is not None


def test_access_ends_on_its_day_though_nothing_ticks(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    says(company, ada, StatementKind.LEAVES, at=NOW, effective_at=later(600))
    secret = signs_in(company, ada)

    assert who(secret, at=later(599)) is not None
    assert who(secret, at=later(600)) is None


def test_a_session_that_is_not_used_ends(company: Company) -> None:
    secret = signs_in(company, company.joins("ada@x.example", "1"))

    assert who(secret, at=NOW + DAY.idle) is None


def test_use_moves_the_idle_end_on_but_not_the_other(company: Company) -> None:
    secret = signs_in(company, company.joins("ada@x.example", "1"))
    for minutes in range(30, 12 * 60, 30):
        at = NOW + timedelta(minutes=minutes)
        here = who(secret, at=at)
        assert here is not None
        in_transaction(lambda session, here=here, at=at: sessions.note_use(session, here, idle=DAY.idle, at=at))  # type: ignore[misc]  # defaults bind the loop's values

    assert who(secret, at=NOW + DAY.absolute - timedelta(seconds=1)) is not None
    assert who(secret, at=NOW + DAY.absolute) is None


def test_use_wakes_no_session_that_has_ended(company: Company) -> None:
    secret = signs_in(company, company.joins("ada@x.example", "1"))
    here = who(secret)
    assert here is not None
    in_transaction(lambda session: sessions.end(session, company.organization_id, here.session_id, why="test", at=later(60)))

    in_transaction(lambda session: sessions.note_use(session, here, idle=DAY.idle, at=later(90)))

    assert who(secret, at=later(91)) is None


def test_a_session_is_no_longer_than_the_provider_vouches(company: Company) -> None:
    secret = signs_in(company, company.joins("ada@x.example", "1"), until=later(120))

    assert who(secret, at=later(119)) is not None
    assert who(secret, at=later(120)) is None


def test_an_ended_session_takes_its_own_grants_along_but_not_a_devices(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    here = who(signs_in(company, ada))
    assert here is not None

    def granted(session: Session, device_id: str | None) -> str:
        grant = Grant(
            organization_id=company.organization_id, id=new_id(), person_id=ada.person_id, client_id="c", session_id=here.session_id,
            device_id=device_id, epoch=here.epoch, scope="openid", sid=new_id(), authenticated_at=NOW, amr=[], created_at=NOW, expires_at=later(9999),
        )  # fmt: skip
        session.add(grant)
        return grant.id

    browsers, devices = (in_transaction(lambda session, one=one: granted(session, one)) for one in (None, "phone"))  # type: ignore[misc]  # defaults bind the loop's values

    in_transaction(lambda session: sessions.end(session, company.organization_id, here.session_id, why="signed out", at=later(1)))

    with reading() as session:
        assert session.get_one(Grant, (company.organization_id, browsers)).ended_why == "signed out"
        assert session.get_one(Grant, (company.organization_id, devices)).ended_at is None


def test_an_ended_device_loses_its_push_token(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    device = Device(
        organization_id=company.organization_id, id="phone", person_id=ada.person_id, epoch=1, name="Phone", platform="ios", push_kind="apns",
        sealed_push_token=b"sealed", push_digest="d", enrolled_at=NOW, seen_at=NOW,
    )  # fmt: skip
    in_transaction(lambda session: session.add(device))

    ended = [in_transaction(lambda session: sessions.end_device(session, company.organization_id, "phone", why="lost", at=later(1))) for _ in range(2)]

    with reading() as session:
        assert session.get_one(Device, (company.organization_id, "phone")).sealed_push_token is None
    assert ended == [True, False]


def test_signing_out_somebody_who_has_no_access_changes_nothing(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    departs(company, ada)
    before = company.person(ada).access_epoch

    is_signed_out_everywhere(company, ada)

    assert company.person(ada).access_epoch == before


def test_a_due_end_moves_the_epoch_when_it_is_looked_at(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    says(company, ada, StatementKind.LEAVES, at=NOW, effective_at=later(600))
    before = company.person(ada).access_epoch

    in_transaction(lambda session: reconsider(session, company.organization_id, ada.person_id, at=later(600)))

    assert company.person(ada).access_epoch == before + 1


@pytest.mark.parametrize("same", [True, False], ids=["the same person", "somebody else"])
def test_a_replaced_session_hands_its_grants_on_to_its_own_person_alone(company: Company, same: bool) -> None:
    ada, bob = company.joins("ada@x.example", "1"), company.joins("bob@x.example", "2")
    old = who(signs_in(company, ada))
    assert old is not None
    grant = Grant(
        organization_id=company.organization_id, id=new_id(), person_id=ada.person_id, client_id="c", session_id=old.session_id,
        epoch=old.epoch, scope="openid", sid=new_id(), authenticated_at=NOW, amr=[], created_at=NOW, expires_at=later(9999),
    )  # fmt: skip
    in_transaction(lambda session: session.add(grant))

    def act(session: Session) -> tuple[str, bool]:
        person = session.get_one(Person, (company.organization_id, (ada if same else bob).person_id))
        row, _ = sessions.start(session, person, Authenticated(connection_id=None, at=NOW), limits=DAY, agent="Firefox", at=NOW)
        before = session.get_one(WebSession, (company.organization_id, old.session_id))
        return row.id, sessions.replace(session, before, row, why="signed in anew", at=NOW)

    new, told = in_transaction(act)

    with reading() as session:
        kept = session.get_one(Grant, (company.organization_id, grant.id))
    assert (kept.session_id, kept.ended_at is None, told) == ((new, True, False) if same else (old.session_id, False, True))

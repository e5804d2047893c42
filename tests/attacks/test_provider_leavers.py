"""Attacks on Doorlist as an OpenID provider by somebody who has left, with what they still hold or have just asked for."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access import sessions
from app.access.closed import look_again, shut_doors
from app.access.issued import find_access_token, hold_grant, hold_session, issue
from app.access.session_tables import DeviceRequest, Grant, TokenKind
from app.clock import now
from app.database import db, in_transaction, reading, transaction
from app.directory.tables import Person
from app.journal import entries
from app.sso.provider.clients import DEVICE_CODE
from tests.company import ADMIN
from tests.unit.sso.providing import House, application_in, change, error_of, house_of, said_back


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


# O21, O22, D01, D12: of somebody who has left


def test_o21_o22_nothing_of_a_leaver_is_worth_anything(house: House) -> None:
    given = house.ada.tokens_for(house.application, scope="openid offline_access")
    code = house.ada.code_for(house.application)
    television = application_in(house.app, house.company, redirect_uris=(), device_flow=True, public=True)
    waiting, allowed = (dict(television.asks("/device_authorization", scope="openid").json or {}) for _ in range(2))
    house.ada.browses("/device", method="POST", user_code=allowed["user_code"], answer="yes")

    house.ada.departs()

    assert not house.application.is_good(given["access_token"])
    assert error_of(house.application.refreshes(given["refresh_token"])) == "invalid_grant"
    assert error_of(house.application.exchanges(code)) == "invalid_grant"
    assert error_of(television.asks("/token", grant_type=DEVICE_CODE, device_code=allowed["device_code"])) == "invalid_grant"
    assert house.ada.browses("/device", method="POST", user_code=waiting["user_code"], answer="yes").status_code == 303
    assert house.ada.enters(house.application).headers["Location"].startswith("/sign-in?")
    assert said_back(house.ada.enters(house.application, prompt="none"))["error"] == "login_required"
    for headers in ({"Authorization": f"Bearer {given['access_token']}"}, {}):
        assert house.ada.browses("/gate", headers=headers).status_code == 401
        assert house.ada.browses("/userinfo", headers=headers).status_code == 401
    assert house.ada.browses("/session").status_code == 401


def test_d12_who_comes_back_has_nothing_of_before(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    code = house.ada.code_for(house.application)
    house.ada.departs()
    house.ada.returns()

    assert not house.application.is_good(given["access_token"])
    assert error_of(house.application.refreshes(given["refresh_token"])) == "invalid_grant"
    assert error_of(house.application.exchanges(code)) == "invalid_grant"
    assert house.ada.browses("/gate").status_code == 401
    assert house.application.is_good(house.ada.signs_in_again().tokens_for(house.application)["access_token"])


def test_d01_the_date_on_which_access_ends_ends_it_while_nothing_ticks(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    with reading() as session:
        assert find_access_token(session, given["access_token"], at=now()) is not None
    in_transaction(lambda session: _access_ends(session, house))

    assert not house.application.is_good(given["access_token"])
    assert house.ada.browses("/gate").status_code == 401
    assert error_of(house.application.refreshes(given["refresh_token"])) == "invalid_grant"


def _access_ends(session: Session, house: House) -> None:
    entry = entries.write(
        session, house.company.organization_id, at=now(), actor=ADMIN, verb="test", because="test", subject_kind="person", subject_id=house.ada.id
    )
    person = session.get_one(Person, (house.company.organization_id, house.ada.id))
    person.access_until, person.journal_id = now(), entry


def test_o21_a_departure_waits_for_what_is_being_given_and_then_ends_it(house: House) -> None:
    """On PostgreSQL both would go on side by side: then the party would have tokens that nobody tells it of."""
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer at a time anyway")
    house.ada.tokens_for(house.application)
    with reading() as session:
        grant_id = session.scalars(select(Grant.id)).one()
    leaving = threading.Thread(target=lambda: _depart(house))

    with transaction() as session:
        held = hold_grant(session, house.company.organization_id, grant_id, at=now())
        assert held is not None
        leaving.start()
        leaving.join(0.5)
        assert leaving.is_alive(), "the departure went past what was being given"
        token = issue(session, held[0], TokenKind.ACCESS, at=now())
    leaving.join()

    assert not house.application.is_good(token)


def test_o21_whoever_asks_while_a_departure_is_being_committed_waits_for_it_and_gets_nothing(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    code = house.ada.code_for(house.application)
    answers: list[TestResponse] = []
    asking = [
        threading.Thread(target=lambda: answers.append(house.application.refreshes(given["refresh_token"]))),
        threading.Thread(target=lambda: answers.append(house.application.exchanges(code))),
    ]

    with transaction() as session:
        house.ada.departs_in(session)
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(0.5)
        assert answers == []
    for thread in asking:
        thread.join()

    assert [error_of(answer) for answer in answers] == ["invalid_grant", "invalid_grant"]


def _depart(house: House) -> None:
    with house.app.app_context():
        house.ada.departs()


def test_o21_a_grant_cannot_be_had_from_a_session_that_ends_at_that_moment(house: House) -> None:
    with reading() as session:
        here = sessions.check(session, house.ada.cookie, at=now())
    assert here is not None
    in_transaction(lambda session: sessions.end(session, here.organization_id, here.session_id, why="test", at=now()) and None)
    assert in_transaction(lambda session: hold_session(session, here, at=now())) is False


def test_a_database_that_may_be_an_old_one_lets_nobody_in(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    code = house.ada.code_for(house.application)
    _shut()
    look_again()
    house.app.wsgi_app._looked_at = -1e9  # type: ignore[attr-defined]  # a second has passed

    assert not house.application.is_good(given["access_token"])
    assert house.ada.browses("/gate").status_code == 401
    assert error_of(house.application.exchanges(code)) == "invalid_grant"
    assert error_of(house.application.refreshes(given["refresh_token"])) == "invalid_grant"


def _shut() -> None:
    def act(session: Session) -> None:
        shut_doors(session, because="restored", at=now())

    in_transaction(act)


def test_o22_a_pending_device_is_forgotten_after_its_time(house: House) -> None:
    television = application_in(house.app, house.company, redirect_uris=(), device_flow=True, public=True)
    television.asks("/device_authorization", scope="openid")
    change(update(DeviceRequest).values(expires_at=now() - timedelta(minutes=11)))

    television.asks("/device_authorization", scope="openid")

    with reading() as session:
        assert len(session.scalars(select(DeviceRequest)).all()) == 1

"""Devices without a browser: a code to type, a question, and an answer that the device waits for (RFC 8628)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from app.access.session_tables import DeviceRequest, Grant
from app.access.sessions import Authenticated
from app.clock import now
from app.database import reading
from app.sso.provider.clients import DEVICE_CODE
from tests.unit.sso.providing import ISSUER, Application, House, application_in, change, employee_of, house_of


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


@pytest.fixture
def television(house: House) -> Application:
    return application_in(house.app, house.company, name="television", redirect_uris=(), device_flow=True, public=True)


def begins(application: Application, scope: str = "openid profile") -> dict[str, Any]:
    answer = application.asks("/device_authorization", scope=scope)
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})


def polls(application: Application, begun: dict[str, Any]) -> TestResponse:
    return application.asks("/token", grant_type=DEVICE_CODE, device_code=begun["device_code"])


def error_of(answer: TestResponse) -> str:
    assert answer.status_code == 400, answer.text
    return str((answer.json or {})["error"])


def let_time_pass(seconds: int) -> None:
    """Since the last time that the device asked."""
    change(update(DeviceRequest).values(polled_at=now() - timedelta(seconds=seconds)))


def test_a_device_comes_in_once_somebody_said_yes(house: House, television: Application) -> None:
    begun = begins(television)
    assert begun["verification_uri"] == f"{ISSUER}/device" and begun["interval"] == 5 and begun["expires_in"] == 600
    assert error_of(polls(television, begun)) == "authorization_pending"

    asked = house.ada.browses("/device", method="POST", user_code=begun["user_code"].lower().replace("-", " "))
    assert "television" in asked.text
    house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")
    let_time_pass(5)
    given = polls(television, begun)

    assert given.status_code == 200
    assert television.reads((given.json or {})["id_token"])["sub"] == house.ada.id


def test_who_came_in_by_break_glass_is_told_that_it_lets_no_device_in(house: House, television: Application) -> None:
    begun = begins(television)
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now(), break_glass=True))

    answer = ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")

    assert (answer.status_code, "by break-glass" in answer.text) == (200, True)
    assert error_of(polls(television, begun)) == "authorization_pending"
    # Their own sign-in still may.
    house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")
    let_time_pass(5)
    assert polls(television, begun).status_code == 200


def test_it_stays_in_when_the_browser_that_let_it_in_signs_out(house: House, television: Application) -> None:
    begun = begins(television)
    house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")
    token = (polls(television, begun).json or {})["access_token"]

    house.ada.browses("/logout", method="POST", answer="yes")

    assert house.application.is_good(token)
    with reading() as session:
        assert session.scalars(select(Grant.session_id)).one() is None


def test_a_device_code_is_good_once(house: House, television: Application) -> None:
    begun = begins(television)
    house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")
    assert polls(television, begun).status_code == 200

    assert error_of(polls(television, begun)) == "invalid_grant"


def test_a_device_is_told_that_somebody_said_no(house: House, television: Application) -> None:
    begun = begins(television)
    house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="no")

    assert error_of(polls(television, begun)) == "access_denied"


def test_a_device_that_asks_too_fast_has_to_wait_longer_each_time(house: House, television: Application) -> None:
    begun = begins(television)
    polls(television, begun)

    assert [error_of(polls(television, begun)) for _ in range(2)] == ["slow_down", "slow_down"]
    # By now it has to wait for fifteen seconds, also for a yes.
    house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")
    let_time_pass(12)
    assert error_of(polls(television, begun)) == "slow_down"
    let_time_pass(21)
    assert polls(television, begun).status_code == 200


def test_a_code_that_ran_out_lets_nobody_in(house: House, television: Application) -> None:
    begun = begins(television)
    change(update(DeviceRequest).values(expires_at=now()))

    assert house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes").status_code == 404
    assert error_of(polls(television, begun)) == "expired_token"


def test_a_code_in_a_link_is_shown_and_never_used(house: House, television: Application) -> None:
    begun = begins(television)
    link = begun["verification_uri_complete"].removeprefix(ISSUER)

    page = house.ada.browses(link)

    assert page.status_code == 200 and begun["user_code"] in page.text
    assert error_of(polls(television, begun)) == "authorization_pending"


def test_a_form_from_elsewhere_lets_no_device_in(house: House, television: Application) -> None:
    begun = begins(television)

    answer = house.ada.browses("/device", method="POST", headers={"Sec-Fetch-Site": "cross-site"}, user_code=begun["user_code"], answer="yes")

    assert answer.status_code == 403 and error_of(polls(television, begun)) == "authorization_pending"


def test_whoever_is_not_signed_in_signs_in_first(house: House) -> None:
    answer = house.app.test_client().get("/device?user_code=BCDF-GHJK")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?to=%2Fdevice%3Fuser_code%3DBCDF-GHJK")


def test_who_guesses_codes_is_stopped_and_nobody_else(house: House, television: Application) -> None:
    begun = begins(television)
    grace = employee_of(house.app, house.company, "grace@northwind.example")

    guesses = [house.ada.browses("/device", method="POST", user_code=f"BCDFGHJ{letter}").status_code for letter in "BCDFGHJKLMNPQ"]

    assert guesses[:10] == [404] * 10 and set(guesses[10:]) == {429}
    assert house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes").status_code == 429
    assert grace.browses("/device", method="POST", user_code=begun["user_code"], answer="yes").status_code == 200


def test_only_clients_with_the_device_flow_may_begin(house: House) -> None:
    answer = house.application.asks("/device_authorization", scope="openid")

    assert error_of(answer) == "unauthorized_client"


def test_what_a_device_shows_is_kept_as_a_hash(house: House, television: Application) -> None:
    begun = begins(television)

    with reading() as session:
        row = session.scalars(select(DeviceRequest)).one()

    kept = f"{row.digest} {row.user_code_digest}"
    assert begun["device_code"] not in kept and begun["user_code"].replace("-", "") not in kept

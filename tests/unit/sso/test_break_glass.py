"""Coming in without the identity provider: by a security key, or by a code on paper and an authenticator app."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pyotp
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import factors
from app.access.factor_tables import Factor, OneTimeCode
from app.access.factors import step_of
from app.clock import now
from app.database import in_transaction, reading
from app.lifecycle.errors import Taken
from app.settings import from_environment
from app.sso import break_glass
from tests.break_glass import OURS, Holder, application, field_of, holder_of
from tests.company import ADMIN, Company, new_company
from tests.security_key import SecurityKey
from tests.vouching import caught_up, entries_of, is_in


@pytest.fixture
def installed(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    with application(database_url, tmp_path) as app:
        yield app


@pytest.fixture
def company(installed: Flask) -> Company:
    made = new_company()
    caught_up(now())
    return made


@pytest.fixture
def browser(installed: Flask) -> Iterator[FlaskClient]:
    with installed.test_client() as client:
        yield client


@pytest.fixture
def ada(company: Company, browser: FlaskClient) -> Holder:
    return holder_of(company, browser)


def test_there_is_no_such_door_where_nobody_was_given_a_key_to_it(browser: FlaskClient, company: Company) -> None:
    for path in ("/break-glass", "/break-glass/set-up"):
        assert browser.get(path).status_code == 404
        assert browser.post(path, headers=OURS).status_code == 404


def test_somebody_named_comes_in_with_paper_and_app(ada: Holder) -> None:
    assert ada.sets_up_app().status_code == 200
    assert len(ada.envelope) == break_glass.ENVELOPE

    assert ada.comes_in().status_code == 303

    said = ada.session.json or {}
    assert (said["person"]["userName"], said["break_glass"], said["second_factor"], said["connection"]) == ("ada", True, True, None)


def test_somebody_named_comes_in_with_a_security_key_alone(ada: Holder) -> None:
    key = SecurityKey()
    assert ada.sets_up(key).status_code == 200

    answer = ada.comes_in_with(key)

    assert (answer.status_code, urlsplit(answer.headers["Location"]).path) == (303, "/access")
    assert (ada.session.json or {})["amr"] == ["hwk", "user", "mfa"]


def test_every_use_raises_an_alarm_of_its_own(ada: Holder) -> None:
    key = SecurityKey()
    ada.sets_up(key)

    ada.comes_in_with(key)
    ada.comes_in_with(key)

    assert [said.startswith("Ada (ada) came in by break-glass from ") for said in ada.alarms()] == [True, True]
    assert [entry.because for entry in entries_of(ada.company.organization_id, "signed in")] == ["break-glass from 127.0.0.1"] * 2


def test_such_a_session_is_short(ada: Holder) -> None:
    ada.sets_up_app()
    ada.comes_in()

    said = ada.session.json or {}
    assert datetime.fromisoformat(said["expires_at"]) - datetime.fromisoformat(said["since"]) == timedelta(hours=1)
    assert datetime.fromisoformat(said["idle_until"]) - datetime.fromisoformat(said["since"]) == timedelta(minutes=15)


def test_ending_the_account_ends_its_sessions_and_its_door(ada: Holder) -> None:
    ada.sets_up_app()
    ada.comes_in()

    def act(session: Session) -> None:
        account = break_glass.find(session, ada.company.organization_id, ada.record.person_id)
        break_glass.end(session, account, actor=ADMIN, at=now())

    in_transaction(act)

    assert ada.session.status_code == 401
    assert ada.browser.get("/break-glass").status_code == 404


def test_there_is_one_account_for_each_person(ada: Holder) -> None:
    with pytest.raises(Taken):
        in_transaction(lambda session: break_glass.add(session, ada.company.organization_id, ada.record.person_id, actor=ADMIN, at=now()))


def test_a_wrong_code_of_the_app_sets_nothing_up(ada: Holder) -> None:
    page = ada.browser.post("/break-glass/set-up", data={"code": ada.code}, headers=OURS)

    wrong = ada.browser.post("/break-glass/set-up", data={"code": ada.code, "kept": field_of(page, "kept"), "totp": "12345"}, headers=OURS)

    assert wrong.status_code == 403
    with reading() as session:
        (listed,) = break_glass.accounts(session, ada.company.organization_id)
    assert listed.factors == ()
    assert ada.sets_up_app().status_code == 200


def test_what_is_kept_in_the_envelope_says_the_whole_address_to_come_in_at(ada: Holder) -> None:
    page = ada.sets_up_app()

    assert "You come in at: <code>http://localhost:8484/break-glass</code>" in page.text


def test_who_looked_for_their_app_too_long_is_told_that_there_is_another_picture(ada: Holder) -> None:
    page = ada.browser.post("/break-glass/set-up", data={"code": ada.code}, headers=OURS)
    # As where the page was open for too long: nothing of it fits any more.
    ada.browser.delete_cookie("doorlist_sign_in")

    late = ada.browser.post("/break-glass/set-up", data={"code": ada.code, "kept": field_of(page, "kept"), "totp": "123456"}, headers=OURS)

    assert late.status_code == 403
    assert "The picture below is a new one: read it with your app" in late.text
    assert "The picture below is a new one" not in page.text


def test_a_session_by_break_glass_replaces_the_one_before(ada: Holder) -> None:
    ada.sets_up_app()
    ada.comes_in()
    cookie = ada.browser.get_cookie("doorlist_session")
    assert cookie is not None

    ada.comes_in(totp=ada.digits(1))

    assert not is_in(cookie.value, at=now())


def test_the_secret_of_an_app_is_sealed(ada: Holder) -> None:
    ada.sets_up_app()

    with reading() as session:
        (factor,) = session.scalars(select(Factor))
        codes = session.scalars(select(OneTimeCode.digest)).all()
    assert factor.sealed_secret is not None and ada.secret.encode() not in factor.sealed_secret
    assert not set(codes) & {*ada.envelope, *(code.replace("-", "") for code in ada.envelope)}


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "12 34 5x"])
def test_what_is_no_code_of_an_app_fits_no_step(typed: str) -> None:
    assert step_of("A" * 32, typed, at=now()) is None


def test_a_code_fits_its_own_step_and_the_ones_beside_it() -> None:
    at = datetime.fromisoformat("2026-01-01T12:00:10+00:00")
    app = pyotp.TOTP("A" * 32)

    assert [step_of("A" * 32, app.at(at + timedelta(seconds=30 * offset)), at=at) is not None for offset in (-2, -1, 0, 1, 2)] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("known_as", "origin"),
    [
        ("https://sso.acme.example", "https://sso.acme.example"), ("https://SSO.Acme.example", "https://sso.acme.example"),
        ("https://sso.acme.example:443", "https://sso.acme.example"), ("https://sso.acme.example:8443/door", "https://sso.acme.example:8443"),
        ("http://sso.acme.example:80", "http://sso.acme.example"),
    ],
)  # fmt: skip
def test_a_security_key_fits_however_the_public_address_is_written(known_as: str, origin: str) -> None:
    settings = from_environment({"DOORLIST_PUBLIC_URL": known_as})
    key = SecurityKey(origin=origin, host="sso.acme.example")
    challenge = secrets.token_bytes(32)

    made = factors.new_key(
        settings, key.makes(factors.key_creation(settings, user_id="ada", name="ada", challenge=challenge)), challenge=challenge
    )

    assert made.sign_count == key.counter

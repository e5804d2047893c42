"""The gate before other services, and signing out at the wish of an application."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from app.access.sessions import Authenticated
from app.clock import now, parse_instant
from app.database import db, in_transaction
from app.sso.limits import BREAK_GLASS
from tests.unit.sso.providing import COOKIE, GOODBYE, ISSUER, House, house_of

FROM_ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


@pytest.fixture
def on_postgres(house: House) -> House:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has nobody who cuts connections")
    return house


# The gate


def test_the_gate_opens_to_a_session_and_to_a_token(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]

    by_cookie = house.ada.browses("/gate")
    by_token = house.app.test_client().get("/gate", headers={"Authorization": f"Bearer {token}"})

    for answer in (by_cookie, by_token):
        assert (answer.status_code, answer.headers["X-Doorlist-Person"]) == (200, house.ada.id)
        assert answer.headers["X-Doorlist-User"] == "ada@northwind.example"


def test_the_gate_is_shut_to_everybody_else_and_says_where_to_sign_in(house: House) -> None:
    headers = {"X-Forwarded-Host": "127.0.0.1:8484", "X-Forwarded-Uri": "/wiki?page=1"}

    answer = house.app.test_client().get("/gate", headers=headers)

    assert (answer.status_code, "X-Doorlist-Person" in answer.headers) == (401, False)
    assert answer.headers["Location"] == f"{ISSUER}/sign-in?to=%2Fwiki%3Fpage%3D1"


def cut_off() -> None:
    """End every connection to the database that lies idle, as a restart of it or a firewall does."""
    with db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")


@pytest.mark.parametrize("door", ["/gate", "/introspect"])
def test_who_may_pass_passes_though_the_connection_to_the_database_was_cut_meanwhile(on_postgres: House, door: str) -> None:
    wiki, browser = on_postgres.application, on_postgres.app.test_client()
    form = {"token": on_postgres.ada.tokens_for(wiki)["access_token"], "client_id": wiki.client_id, "client_secret": str(wiki.secret)}
    browser.set_cookie(COOKIE, on_postgres.ada.cookie)

    def asks() -> int:
        # The ordinary way, as where the quick one has nothing to say.
        return browser.post(door, data=form, environ_overrides={"doorlist.quick.declined": True}).status_code

    assert asks() == 200
    cut_off()
    assert asks() == 200


def test_while_the_database_is_away_the_gate_says_when_to_ask_again(house: House) -> None:
    assert house.ada.browses("/gate").status_code == 200
    in_transaction(lambda session: session.execute(text("ALTER TABLE session RENAME TO is_away")))

    answer = house.ada.browses("/gate")

    assert (answer.status_code, answer.headers.get("Retry-After"), answer.mimetype) == (503, "5", "application/problem+json")


def test_the_gate_sends_nobody_to_another_host(house: House) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Uri": "//evil.example"}

    assert house.app.test_client().get("/gate", headers=headers).headers["Location"] == f"{ISSUER}/sign-in"


@pytest.mark.parametrize("wanted", ["/wiki/" + "a" * 3900, "/wiki?q=" + "%C3%A4" * 600, "/wiki/" + "a" * 6000])
def test_who_wants_a_long_address_is_sent_to_sign_in_by_a_header_that_proxies_read(house: House, wanted: str) -> None:
    answer = house.app.test_client().get("/gate", headers={"X-Forwarded-Host": "127.0.0.1:8484", "X-Forwarded-Uri": wanted})

    assert answer.headers["Location"].startswith(f"{ISSUER}/sign-in")
    # With what the server itself adds.
    assert len(str(answer.headers)) + 200 < 4096


def test_a_long_address_is_come_back_to_where_it_can_be(house: House) -> None:
    headers = {"X-Forwarded-Host": "127.0.0.1:8484", "X-Forwarded-Uri": "/wiki/" + "a" * 2900}

    assert house.app.test_client().get("/gate", headers=headers).headers["Location"].endswith("a" * 2900)


def test_passing_the_gate_keeps_an_idle_session_alive(house: House) -> None:
    began = now() - timedelta(minutes=50)
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=began), at=began)
    assert ada.browses("/gate").status_code == 200

    until = (ada.browses("/session").json or {})["idle_until"]

    assert parse_instant(until) > now() + timedelta(minutes=50)


def test_passing_the_gate_keeps_a_break_glass_session_no_longer_than_break_glass_may_lie_idle(house: House) -> None:
    began = now() - timedelta(minutes=5)
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=began, break_glass=True), at=began)
    assert ada.browses("/gate").status_code == 200

    until = (ada.browses("/session").json or {})["idle_until"]

    assert parse_instant(until) <= now() + BREAK_GLASS.idle


# Signing out


def test_an_application_signs_its_user_out_and_gets_the_browser_back(house: House) -> None:
    given = house.ada.tokens_for(house.application)

    answer = house.ada.browses(
        f"/logout?id_token_hint={given['id_token']}&post_logout_redirect_uri=https%3A%2F%2Fchat.example%2Fgoodbye&state=done"
    )

    assert (answer.status_code, answer.headers["Location"]) == (303, "https://chat.example/goodbye?state=done")
    assert f"{COOKIE}=;" in answer.headers["Set-Cookie"]
    assert house.ada.browses("/gate").status_code == 401
    assert not house.application.is_good(given["access_token"])


def test_signing_out_without_a_good_hint_asks_first(house: House) -> None:
    asked = house.ada.browses("/logout")
    assert asked.status_code == 200 and house.ada.browses("/gate").status_code == 200

    done = house.ada.browses("/logout", method="POST", answer="yes")

    assert done.status_code == 200 and house.ada.browses("/gate").status_code == 401


def test_nobody_is_signed_out_by_a_form_from_elsewhere(house: House) -> None:
    answer = house.ada.browses("/logout", method="POST", headers=FROM_ELSEWHERE, answer="yes")

    assert answer.status_code == 403 and house.ada.browses("/gate").status_code == 200


def test_a_form_on_the_applications_own_page_signs_its_user_out_too(house: House) -> None:
    hint = house.ada.tokens_for(house.application)["id_token"]
    # Browsers send a cookie that says Lax along with no form of another site's (RFC 6265bis §5.6.7.1), and along with the GET that follows.
    form = {"id_token_hint": hint, "post_logout_redirect_uri": GOODBYE, "state": "done & gone"}
    sent_on = house.app.test_client().post("/logout", data=form, headers=FROM_ELSEWHERE)
    assert sent_on.status_code == 303 and sent_on.headers["Location"].startswith("/logout?")

    answer = house.ada.browses(sent_on.headers["Location"], headers=FROM_ELSEWHERE)

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{GOODBYE}?state=done+%26+gone")
    assert house.ada.browses("/gate").status_code == 401


def test_a_form_from_elsewhere_without_a_good_hint_has_the_user_asked(house: House) -> None:
    sent_on = house.app.test_client().post("/logout", data={"answer": "yes"}, headers=FROM_ELSEWHERE)

    asked = house.ada.browses(sent_on.headers["Location"], headers=FROM_ELSEWHERE)

    assert "Sign out?" in asked.text and house.ada.browses("/gate").status_code == 200


def test_a_hint_of_an_earlier_session_signs_nobody_out(house: House) -> None:
    hint = house.ada.tokens_for(house.application)["id_token"]
    later = house.ada.signs_in_again()

    assert later.browses(f"/logout?id_token_hint={hint}").status_code == 200

    assert later.browses("/gate").status_code == 200

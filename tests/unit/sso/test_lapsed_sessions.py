"""A browser that was idle for too long lets nobody in; what was entered from it goes on, and ends with the next sign-out there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.access.session_tables import Grant, WebSession
from app.clock import now
from app.database import reading
from tests.saml_arrangement import acme, browser_of
from tests.saml_provider import unpacked
from tests.unit.sso.providing import COOKIE, GOODBYE, Employee, House, application_in, change, employee_of, house_of

pytestmark = pytest.mark.slow

ALONE = "openid offline_access"


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


def goes_to_lunch(who: Employee) -> None:
    change(update(WebSession).where(WebSession.id == who.session_id).values(idle_until=now() - timedelta(minutes=5)))
    assert who.browses("/session").status_code == 401


def test_an_application_goes_on_while_the_browser_is_idle(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    goes_to_lunch(house.ada)
    assert house.application.refreshes(given["refresh_token"]).status_code == 200


@pytest.mark.parametrize("scope", ["openid", ALONE])
def test_who_signs_out_after_lunch_is_out_of_what_they_had_entered(house: House, scope: str) -> None:
    given = house.ada.tokens_for(house.application, scope=scope)
    goes_to_lunch(house.ada)

    asked = house.ada.browses("/sign-out").get_data(as_text=True)
    said = house.ada.browses("/sign-out", method="POST").get_data(as_text=True)

    assert "Applications that you opened from here may still let you in." in asked and "Ada" not in asked
    assert "You are signed out" in said
    assert house.application.refreshes(given["refresh_token"]).status_code == 400
    assert "You are signed out" in house.ada.browses("/sign-out").get_data(as_text=True)


def test_an_application_that_asks_after_lunch_is_heard(house: House) -> None:
    wiki = application_in(house.app, house.company)
    given, others = house.ada.tokens_for(house.application), house.ada.tokens_for(wiki)
    goes_to_lunch(house.ada)

    answer = house.ada.browses(f"/logout?id_token_hint={given['id_token']}&post_logout_redirect_uri={GOODBYE}")

    assert (answer.status_code, answer.location) == (303, GOODBYE)
    assert wiki.refreshes(others["refresh_token"]).status_code == 400


def test_a_link_ends_nothing_of_a_session_that_lapsed(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    goes_to_lunch(house.ada)

    asked = house.ada.browses("/logout").get_data(as_text=True)
    assert "An application asks to sign you out in everything that you entered from this browser." in asked and "Ada" not in asked
    assert house.application.refreshes(given["refresh_token"]).status_code == 200

    house.ada.browses("/logout", method="POST", answer="yes")
    assert house.ada.browses("/logout").get_data(as_text=True).count("You are signed out") == 1
    with reading() as session:
        (ended,) = session.scalars(select(Grant.ended_why)).all()
    assert ended == "signed out"


def test_who_comes_in_anew_by_saml_after_lunch_signs_out_of_what_they_had_entered(house: House) -> None:
    saml = acme(house.app, house.company, directory_id={"matches": "userName"})
    ada = employee_of(house.app, house.company, "im-ada-1001")
    given = ada.tokens_for(house.application, scope=ALONE)
    goes_to_lunch(ada)
    with browser_of(saml) as http:
        http.set_cookie(COOKIE, ada.cookie)
        asked = unpacked(http.get(f"/sign-in?connection={saml.connection_id}").location)

    # Along with a form of the provider's the cookie of the session does not come.
    with browser_of(saml) as http:
        saml.posts(http, saml.responds(at=now(), in_response_to=asked.get("ID")))
        assert house.application.is_good(given["access_token"])
        http.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"})

    assert not house.application.is_good(given["access_token"])
    assert house.application.refreshes(given["refresh_token"]).status_code == 400

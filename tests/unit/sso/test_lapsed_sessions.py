"""A browser that was idle for too long lets nobody in; what was entered from it goes on, and ends with the next sign-out there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.access.session_tables import Grant, WebSession
from app.clock import now
from app.database import reading
from tests.unit.sso.providing import GOODBYE, Employee, House, application_in, change, house_of

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

"""What an application says of whom it wants: kept while they sign in, and nobody else is let in for them."""

from __future__ import annotations

from unittest.mock import ANY
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.unit.sso.providing import ISSUER, House, employee_of, house_of, said_back, to_sign_in, wished


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


def test_a_request_too_long_to_come_back_to_is_answered_at_once(house: House) -> None:
    def asks(state: str) -> TestResponse:
        return house.app.test_client().get("/authorize", query_string=wished(house.application, state=state))

    assert len(parse_qs(urlsplit(to_sign_in(asks("s" * 3000).headers["Location"])["to"]).query)["state"][0]) == 3000
    assert said_back(asks("s" * 4000)) == {"error": "invalid_request", "error_description": ANY, "state": "s" * 4000, "iss": ISSUER}
    assert "code" in said_back(house.ada.enters(house.application, state="s" * 4000))


def test_who_hints_at_somebody_gets_nobody_else(house: House) -> None:
    bob = employee_of(house.app, house.company, "bob@northwind.example")
    hint = house.ada.tokens_for(house.application)["id_token"]

    silent = said_back(bob.enters(house.application, prompt="none", id_token_hint=hint))
    away = to_sign_in(bob.enters(house.application, id_token_hint=hint).headers["Location"])
    still_bob = said_back(bob.signs_in_again().browses(away["to"]))

    assert silent["error"] == still_bob["error"] == "login_required"
    assert away["again"] == "1" and hint not in away["to"]
    assert "code" in said_back(house.ada.signs_in_again().browses(away["to"]))
    assert "code" in said_back(house.ada.enters(house.application, prompt="none", id_token_hint=hint))


def test_a_hint_is_remembered_while_somebody_signs_in(house: House) -> None:
    bob = employee_of(house.app, house.company, "bob@northwind.example")
    hint = house.ada.tokens_for(house.application)["id_token"]

    away = to_sign_in(house.app.test_client().get("/authorize", query_string=wished(house.application, id_token_hint=hint)).headers["Location"])

    assert said_back(bob.signs_in_again().browses(away["to"]))["error"] == "login_required"
    assert "code" in said_back(house.ada.signs_in_again().browses(away["to"]))


def test_a_silent_question_by_another_sites_form_is_asked_again_with_the_cookie(house: House) -> None:
    bob = employee_of(house.app, house.company, "bob@northwind.example")
    hint = house.ada.tokens_for(house.application)["id_token"]
    # Browsers send a cookie that says Lax along with no form of another site's (RFC 6265bis §5.6.7.1), and along with the GET that follows.
    form = wished(house.application, prompt="none", id_token_hint=hint)
    location = house.app.test_client().post("/authorize", data=form, headers={"Sec-Fetch-Site": "cross-site"}).headers["Location"]

    hers, his, nobodys = (said_back(browses(location)) for browses in (house.ada.browses, bob.browses, house.app.test_client().get))

    assert "code" in hers and hint not in location
    assert his["error"] == nobodys["error"] == "login_required"


@pytest.mark.parametrize("wrong", [{"redirect_uri": "https://wiki.example/elsewhere"}, {"client_id": "nobody"}])
def test_who_is_sent_by_an_application_that_asks_wrongly_is_told_that_it_was_the_application(house: House, wrong: dict[str, str]) -> None:
    answer = house.ada.enters(house.application, **wrong)

    assert answer.status_code == 400
    assert "The application that sent you here asked in a way that we cannot accept." in answer.text
    assert "company’s sign-in" not in answer.text

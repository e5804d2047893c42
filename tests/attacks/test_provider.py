"""Attacks on Doorlist as an OpenID provider: addresses that are not the client's, and codes and tokens that are shown again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from app.access.session_tables import IssuedToken
from app.clock import now
from app.database import reading
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import Alarm
from tests.unit.sso.providing import (
    CALLBACK,
    GOODBYE,
    ISSUER,
    VERIFIER,
    House,
    application_in,
    challenge_of,
    change,
    error_of,
    gateway_in,
    house_of,
    said_back,
)


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


def alarms(house: House) -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Alarm.kind).where(Alarm.organization_id == house.company.organization_id)))


def is_sent_nowhere(answer: TestResponse) -> bool:
    return answer.status_code == 400 and "Location" not in answer.headers and "evil" not in answer.text


# O09, O10, O13: where people are sent


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback", "https://chat.example/callback/", "https://chat.example/Callback", "https://CHAT.example/callback",
        "https://chat.example:443/callback", "https://chat.example/callback?evil=1", "https://chat.example/callback#evil",
        "https://chat.example/x/../callback", "https://chat.example/callback/../evil", "https://chat.example.evil.example/callback",
        "https://chat.example@evil.example/callback", "http://chat.example/callback", "https://chat.example/callback%00", "//chat.example/callback",
        "javascript:alert(1)", 'https://chat.example/callback"', "https://chat.example/callbäck", "",
    ],
)  # fmt: skip
def test_o13_nobody_is_sent_to_an_address_that_is_not_the_clients_letter_by_letter(house: House, uri: str) -> None:
    for other in ({}, {"response_type": "token"}, {"prompt": "none"}, {"scope": "nothing"}, {"code_challenge": "x"}):
        assert is_sent_nowhere(house.ada.enters(house.application, redirect_uri=uri, **other))


def test_o13_an_unknown_client_sends_nobody_anywhere(house: House) -> None:
    for client_id in ("00000000-0000-7000-8000-000000000000", "evil", "\0", gateway_in(house.app, house.company).client_id):
        assert is_sent_nowhere(house.ada.browses(f"/authorize?response_type=code&redirect_uri={quote(CALLBACK)}&client_id={quote(client_id)}&scope=openid"))


def test_o13_an_address_after_signing_out_has_to_be_the_clients(house: House) -> None:
    hint = house.ada.tokens_for(house.application)["id_token"]

    for uri in ("https://evil.example/", f"{GOODBYE}/", f"{GOODBYE}?next=https://evil.example", CALLBACK):
        answer = house.ada.signs_in_again().browses(f"/logout?id_token_hint={hint}&post_logout_redirect_uri={quote(uri, safe='')}")
        assert "Location" not in answer.headers and "evil" not in answer.headers.get("Refresh", "")


def test_o09_o10_every_answer_says_whose_it_is_and_repeats_the_state(house: House) -> None:
    good = said_back(house.ada.enters(house.application))
    bad = [said_back(house.ada.enters(house.application, **wrong)) for wrong in ({"scope": "email"}, {"response_type": "token"}, {"request": "x"})]

    assert all((one["iss"], one["state"]) == (ISSUER, "a state") for one in (good, *bad))
    assert [one["error"] for one in bad] == ["invalid_scope", "unsupported_response_type", "request_not_supported"]


def test_o13_a_parameter_said_twice_is_refused(house: House) -> None:
    for name in ("redirect_uri", "client_id", "state", "code_challenge", "nonce"):
        answer = house.ada.browses(
            f"/authorize?response_type=code&client_id={house.application.client_id}&redirect_uri={quote(CALLBACK, safe='')}&scope=openid&state=a"
            f"&code_challenge={challenge_of(VERIFIER)}&code_challenge_method=S256&nonce=b&{name}=evil"
        )
        assert is_sent_nowhere(answer)


def test_a_browser_that_came_with_a_form_is_sent_on_with_a_get(house: House) -> None:
    """IPSIE SL1, RFC 9700 §4.12: never 307, which would hand the form on."""
    answer = house.ada.browses(
        "/authorize", method="POST", response_type="code", client_id=house.application.client_id, redirect_uri=CALLBACK, scope="openid", state="a",
        code_challenge=challenge_of(VERIFIER), code_challenge_method="S256",
    )  # fmt: skip

    assert answer.status_code == 303


# O11: PKCE


@pytest.mark.parametrize(
    "asked",
    [
        {"code_challenge": "", "code_challenge_method": ""}, {"code_challenge": ""}, {"code_challenge_method": ""}, {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"}, {"code_challenge": "short"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("public", [True, False])
def test_o11_no_code_is_given_without_a_challenge(house: House, asked: dict[str, str], public: bool) -> None:
    application = application_in(house.app, house.company, public=public)

    assert said_back(house.ada.enters(application, **asked))["error"] == "invalid_request"


@pytest.mark.parametrize("verifier", ["", "x" * 43, challenge_of(VERIFIER), VERIFIER + "\n", VERIFIER.upper()])
def test_o11_a_code_is_worth_nothing_without_its_verifier(house: House, verifier: str) -> None:
    code = house.ada.code_for(house.application)

    assert error_of(house.application.exchanges(code, code_verifier=verifier)) in ("invalid_grant", "invalid_request")
    # Who guesses does not take the code from its owner either.
    assert house.application.exchanges(code).status_code == 200


# O12, O20: what was used is shown again


def test_o12_a_code_shown_twice_ends_all_that_came_of_it(house: House) -> None:
    code = house.ada.code_for(house.application)
    given = dict(house.application.exchanges(code).json or {})

    assert error_of(house.application.exchanges(code)) == "invalid_grant"

    assert not house.application.is_good(given["access_token"])
    assert error_of(house.application.refreshes(given["refresh_token"])) == "invalid_grant"
    assert alarms(house) == [AlarmKind.CODE_REUSED]


def test_o12_a_code_is_good_for_a_minute(house: House) -> None:
    code = house.ada.code_for(house.application)
    with reading() as session:
        row = session.scalars(select(IssuedToken)).one()
        assert row.expires_at - row.created_at == timedelta(seconds=60)
    change(update(IssuedToken).values(expires_at=now()))

    assert error_of(house.application.exchanges(code)) == "invalid_grant"


def test_o12_a_code_is_for_the_client_that_it_was_given_to(house: House) -> None:
    """Another client that shows it neither gets anything nor ends anything."""
    other = application_in(house.app, house.company)
    code = house.ada.code_for(house.application)

    assert error_of(other.exchanges(code)) == "invalid_grant"
    given = dict(house.application.exchanges(code).json or {})
    assert error_of(other.exchanges(code)) == "invalid_grant"
    assert error_of(other.refreshes(given["refresh_token"])) == "invalid_grant"

    assert house.application.is_good(given["access_token"]) and alarms(house) == []


@pytest.mark.parametrize("uri", ["", "https://chat.example/other", CALLBACK + "/"])
def test_o12_a_code_is_for_the_address_that_it_was_sent_to(house: House, uri: str) -> None:
    assert error_of(house.application.exchanges(house.ada.code_for(house.application), redirect_uri=uri)) == "invalid_grant"


def test_o20_a_refresh_token_shown_twice_ends_its_family(house: House) -> None:
    first = house.ada.tokens_for(house.application)
    second = dict(house.application.refreshes(first["refresh_token"]).json or {})
    third = dict(house.application.refreshes(second["refresh_token"]).json or {})

    assert error_of(house.application.refreshes(first["refresh_token"])) == "invalid_grant"

    assert not any(house.application.is_good(one["access_token"]) for one in (first, second, third))
    assert error_of(house.application.refreshes(third["refresh_token"])) == "invalid_grant"
    assert alarms(house) == [AlarmKind.REFRESH_TOKEN_REUSED]


def test_o20_two_at_once_with_one_refresh_token_get_one_pair_at_most_and_keep_none(house: House) -> None:
    token = house.ada.tokens_for(house.application)["refresh_token"]
    answers: list[TestResponse] = []
    together = threading.Barrier(4)

    def refresh() -> None:
        together.wait()
        answers.append(house.application.refreshes(token))

    at_once(refresh, 4)

    assert sorted(one.status_code for one in answers) == [200, 400, 400, 400]
    [given] = [one.json or {} for one in answers if one.status_code == 200]
    assert not house.application.is_good(given["access_token"])


def test_o12_two_at_once_with_one_code_get_one_pair_at_most_and_keep_none(house: House) -> None:
    code = house.ada.code_for(house.application)
    answers: list[TestResponse] = []
    together = threading.Barrier(4)

    def exchange() -> None:
        together.wait()
        answers.append(house.application.exchanges(code))

    at_once(exchange, 4)

    assert sorted(one.status_code for one in answers) == [200, 400, 400, 400]
    [given] = [one.json or {} for one in answers if one.status_code == 200]
    assert not house.application.is_good(given["access_token"])


def at_once(act: Callable[[], None], number: int) -> None:
    threads = [threading.Thread(target=act) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

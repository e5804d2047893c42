"""Doors that answer more slowly whoever knocks in vain: behind a proxy of ours, that is one caller, and not all of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from itertools import count

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.access.callers import address_of_caller
from app.database import new_id
from tests.company import new_company
from tests.unit.sso.providing import application_in

Knock = Callable[[Flask, str], TestResponse]
MOST = 200


@pytest.fixture
def guesser() -> str:
    """Another address in each test: some doors count for as long as the process lives."""
    return str(ip_address(int(ip_address("10.0.0.0")) + secrets.randbelow(2**24)))


def scim(app: Flask, address: str) -> TestResponse:
    return app.test_client().get(f"/scim/v2/{new_id()}/Users", headers={"Authorization": "Bearer made-up", "X-Forwarded-For": address})


def scim_token(app: Flask, address: str) -> TestResponse:
    form = {"grant_type": "client_credentials", "client_id": new_id(), "client_secret": "made-up"}
    return app.test_client().post("/oauth2/token", data=form, headers={"X-Forwarded-For": address})


def client_proof(app: Flask, address: str) -> TestResponse:
    form = {"grant_type": "refresh_token", "refresh_token": "made-up", "client_id": new_id(), "client_secret": "made-up"}
    return app.test_client().post("/token", data=form, headers={"X-Forwarded-For": address})


def signal_push(app: Flask, address: str) -> TestResponse:
    return app.test_client().post(f"/signals/push/{new_id()}", headers={"X-Forwarded-For": address})


def signal_token(app: Flask, address: str) -> TestResponse:
    form = {"grant_type": "client_credentials", "client_id": new_id(), "client_secret": "made-up"}
    return app.test_client().post("/signals/token", data=form, headers={"X-Forwarded-For": address})


def universal_logout(app: Flask, address: str) -> TestResponse:
    return app.test_client().post(f"/signals/global-token-revocation/{new_id()}", headers={"X-Forwarded-For": address})


def until_slowed(knock: Knock, app: Flask, address: str) -> None:
    answers = (knock(app, address).status_code for _ in range(MOST))
    first = next(answers)
    assert first in (400, 401), first
    assert 429 in answers


@pytest.fixture
def behind_a_proxy(installed: Flask) -> Flask:
    installed.config["DOORLIST"] = replace(installed.config["DOORLIST"], proxies=1)
    return installed


@pytest.mark.parametrize("knock", [scim, scim_token, client_proof, signal_push, signal_token, universal_logout])
def test_who_knocks_in_vain_slows_down_nobody_behind_the_same_proxy(behind_a_proxy: Flask, guesser: str, knock: Knock) -> None:
    until_slowed(knock, behind_a_proxy, guesser)

    assert knock(behind_a_proxy, "203.0.113.9").status_code in (400, 401)
    # What the caller writes itself stands to the left of what the proxy says.
    assert knock(behind_a_proxy, f"203.0.113.10, {guesser}").status_code == 429


def test_who_knocks_by_another_connection_each_time_is_the_same_caller(behind_a_proxy: Flask, guesser: str) -> None:
    ports = count(50_000)

    def by_a_new_connection(app: Flask, address: str) -> TestResponse:
        return signal_push(app, f"{address}:{next(ports)}")

    until_slowed(by_a_new_connection, behind_a_proxy, guesser)

    assert signal_push(behind_a_proxy, guesser).status_code == 429
    assert by_a_new_connection(behind_a_proxy, "203.0.113.9").status_code == 401


@pytest.mark.parametrize(
    ("passed", "address"),
    [
        ("203.0.113.7", "203.0.113.7"), ("203.0.113.7:51234", "203.0.113.7"), ("::ffff:203.0.113.7", "203.0.113.7"), ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::"), ("[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::"),
        ("198.51.100.1:1, 203.0.113.7:51234", "203.0.113.7"), ("unknown", "unknown"), ("[made up]:1", "made up"),
    ],
)  # fmt: skip
def test_a_caller_is_an_address_however_the_proxy_writes_it(behind_a_proxy: Flask, passed: str, address: str) -> None:
    with behind_a_proxy.test_request_context(headers={"X-Forwarded-For": passed}):
        assert address_of_caller() == address


def test_dead_tokens_of_a_public_client_slow_down_the_address_they_come_from(behind_a_proxy: Flask, guesser: str) -> None:
    client = application_in(behind_a_proxy, new_company(), public=True).client_id

    def shows_a_dead_token(app: Flask, address: str) -> TestResponse:
        form = {"grant_type": "refresh_token", "refresh_token": "made-up", "client_id": client}
        return app.test_client().post("/token", data=form, headers={"X-Forwarded-For": address})

    until_slowed(shows_a_dead_token, behind_a_proxy, guesser)

    assert (shows_a_dead_token(behind_a_proxy, "203.0.113.9").json or {})["error"] == "invalid_grant"

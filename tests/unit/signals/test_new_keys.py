"""Keys that a sender has changed a moment ago: what it signs with the new one is neither lost nor believed unseen."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from werkzeug.test import TestResponse

from app.access.published_keys import ASKED_AGAIN_AFTER, KEYS
from app.clock import now
from app.database import new_id
from app.signals import polling
from tests.unit.signals.stage import PUBLIC_URL, SESSION_REVOKED, Hearing, Provider, Stage, email, iss_sub
from tests.unit.signals.waiting import POLL, Queue

IDP = "https://idp.example/clinic"
MARA = iss_sub(IDP, "u-mara")
Passing = Callable[[], None]


@pytest.fixture
def provider() -> Provider:
    return Provider(issuer=IDP)


@pytest.fixture
def half_a_minute_passes(monkeypatch: pytest.MonkeyPatch) -> Passing:
    def passes() -> None:
        monkeypatch.setattr(KEYS, "clock", lambda: time.monotonic() + ASKED_AGAIN_AFTER)

    return passes


def rotates(stage: Stage, provider: Provider, name: str = "k2") -> None:
    """From now on it signs with another key, which it has published."""
    provider.key_name = name
    stage.outside.replace("GET", provider.jwks_uri, json={"keys": [provider.key.as_dict(private=False)]})


def test_a_pushed_signal_of_a_new_key_is_asked_for_again_and_then_taken(
    stage: Stage, provider: Provider, half_a_minute_passes: Passing
) -> None:
    hearing = stage.hears(provider)
    mara = stage.joins("mara", issuer=IDP)
    hearing.pushes(SESSION_REVOKED, MARA)
    rotates(stage, provider)
    token = hearing.says(SESSION_REVOKED, MARA)

    early = hearing.push(token)
    half_a_minute_passes()
    late = hearing.push(token)

    assert (early.status_code, early.headers["Retry-After"]) == (503, "30")
    assert (late.status_code, stage.epoch(mara)) == (202, 3)


def test_a_signal_that_names_no_key_may_be_of_a_new_one_too(stage: Stage, provider: Provider, half_a_minute_passes: Passing) -> None:
    hearing = stage.hears(provider)
    stage.joins("mara", issuer=IDP)
    hearing.pushes(SESSION_REVOKED, MARA, header={"kid": None})
    rotates(stage, provider)
    token = hearing.says(SESSION_REVOKED, MARA, header={"kid": None})

    early = hearing.push(token)
    half_a_minute_passes()

    assert (early.status_code, hearing.push(token).status_code) == (503, 202)


def test_a_key_that_is_not_there_when_the_keys_are_read_anew_is_refused_for_good(
    stage: Stage, provider: Provider, half_a_minute_passes: Passing
) -> None:
    hearing = stage.hears(provider)
    stage.joins("mara", issuer=IDP)
    hearing.pushes(SESSION_REVOKED, MARA)
    made_up = hearing.says(SESSION_REVOKED, MARA, header={"kid": "made-up"})

    early = hearing.push(made_up)
    half_a_minute_passes()

    assert early.status_code == 503
    assert hearing.refused(made_up) == "invalid_key"


def test_a_key_that_the_very_first_reading_does_not_show_is_refused_at_once(stage: Stage, provider: Provider) -> None:
    hearing = stage.hears(provider)

    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, header={"kid": "made-up"})) == "invalid_key"


@pytest.fixture
def polled(stage: Stage, queue: Queue, provider: Provider) -> Hearing:
    return stage.hears(provider, poll_url=POLL, audience="doorlist", silent_after=timedelta(minutes=10))


def looks(stage: Stage, polled: Hearing) -> None:
    polling.look(stage.settings, polled.row, clock=now)


def test_a_polled_signal_of_a_new_key_stays_there_until_it_can_be_taken(
    stage: Stage, queue: Queue, polled: Hearing, provider: Provider, half_a_minute_passes: Passing
) -> None:
    mara, noor = stage.joins("mara", issuer=IDP), stage.joins("noor", issuer=IDP)
    queue.sets = {"first": polled.says(SESSION_REVOKED, iss_sub(IDP, "u-nobody"), jti="first")}
    old = polled.says(SESSION_REVOKED, MARA, jti="old")
    looks(stage, polled)
    rotates(stage, provider)
    queue.sets = {"new": polled.says(SESSION_REVOKED, iss_sub(IDP, "u-noor"), jti="new"), "old": old}

    looks(stage, polled)
    early = (set(queue.sets), stage.epoch(mara), stage.epoch(noor))
    half_a_minute_passes()
    looks(stage, polled)

    assert early == ({"new"}, 2, 1)
    assert (queue.sets, queue.faults, stage.epoch(noor)) == ({}, {}, 2)


def test_one_reading_of_the_keys_decides_on_all_that_was_fetched(
    stage: Stage, queue: Queue, polled: Hearing, provider: Provider, half_a_minute_passes: Passing
) -> None:
    queue.sets = {"first": polled.says(SESSION_REVOKED, iss_sub(IDP, "u-nobody"), jti="first")}
    looks(stage, polled)
    queue.sets = {f"j{number}": polled.says(SESSION_REVOKED, MARA, jti=f"j{number}", header={"kid": "made-up"}) for number in range(2)}

    looks(stage, polled)
    early = dict(queue.faults)
    half_a_minute_passes()
    looks(stage, polled)

    assert early == {}
    assert {jti: said["err"] for jti, said in queue.faults.items()} == {"j0": "invalid_key", "j1": "invalid_key"}


def test_a_revocation_signed_with_a_new_key_is_asked_for_again(stage: Stage, half_a_minute_passes: Passing) -> None:
    okta = Provider(issuer="https://clinic.okta.example", algorithm="RS256", key_name="okta-1")
    path = f"/signals/global-token-revocation/{stage.connects(okta)}"
    mara = stage.joins("mara")

    def asks() -> TestResponse:
        claims = {"jti": new_id(), "iss": okta.issuer, "sub": "0oa1clientid", "aud": PUBLIC_URL + path, "iat": timedelta(), "exp": timedelta(minutes=5)}
        token = okta.signs(claims, typ="global-token-revocation+jwt")
        return stage.http.post(path, headers={"Authorization": f"Bearer {token}"}, json={"sub_id": email("mara@clinic.example")})

    first = asks()
    rotates(stage, okta, "okta-2")
    early = asks()
    half_a_minute_passes()
    late = asks()

    assert [one.status_code for one in (first, early, late)] == [204, 503, 204]
    assert stage.epoch(mara) == 3

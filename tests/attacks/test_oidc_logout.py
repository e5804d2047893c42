"""Attacks with logout tokens of an OpenID provider."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.clock import now
from app.sso.refusals import Reason
from tests.company import new_company
from tests.oidc_arrangement import Arrangement, arranged, connect, forget_keys, is_in, signed_in
from tests.oidc_attempts import claims_for, shown
from tests.oidc_stand_in import CLIENT_ID, new_key, signed, unsigned


@pytest.fixture
def arrangement(installed: Flask) -> Iterator[Arrangement]:
    forget_keys()
    with arranged(installed, new_company()) as made:
        yield made
    forget_keys()


def test_o25_logout_tokens_that_are_none_end_nothing(arrangement: Arrangement) -> None:
    arrangement.company.joins("ada", at=now() - timedelta(minutes=5))
    arrangement.provider.subject = "00u-ada"
    http = signed_in(arrangement)
    provider = arrangement.provider
    stranger = new_key(kid=provider.signing.kid)
    event = "http://schemas.openid.net/event/backchannel-logout"

    def good(**changed: Any) -> str:
        return provider.logout_token(**changed)

    bad = {
        "with a nonce": good(nonce="n"), "with an empty nonce": good(nonce=""), "of nobody": good(sub=None, sid=None), "of an odd name": good(sub=7, sid=[]),
        "for another": good(aud="another"), "for several": good(aud=[CLIENT_ID, "another"]), "for nobody": good(aud=None),
        "of another issuer": good(iss="https://evil.example"), "of none": good(iss=None), "without jti": good(jti=None), "with an odd jti": good(jti=7),
        "without iat": good(iat=None), "old": good(iat=timedelta(minutes=-11), exp=timedelta(minutes=5)), "of tomorrow": good(iat=timedelta(days=1)),
        "over": good(exp=timedelta(minutes=-4)), "with an odd end": good(exp="never"),
        "without events": good(events=None), "with other events": good(events={"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}),
        "with odd events": good(events=[event]), "with an odd event": good(events={event: True}),
        "of another kind": good(header={"typ": "at+jwt"}), "an ID token": provider.last_token,
        "by a stranger": signed(json.loads(base64.urlsafe_b64decode(good().split(".")[1] + "==")), stranger),
        "unsigned": unsigned(json.loads(base64.urlsafe_b64decode(good().split(".")[1] + "=="))),
        "nothing": "", "no token": "a.b.c",
    }  # fmt: skip
    for what, token in bad.items():
        answer = arrangement.app.test_client().post(f"/oidc/{arrangement.connection_id}/logout", data={"logout_token": token})
        assert (answer.status_code, answer.headers["Cache-Control"]) == (400, "no-store"), what
        assert answer.json is not None and answer.json["error"] == "invalid_request", what
        assert is_in(http), what


def test_o25_a_logout_token_counts_once(arrangement: Arrangement) -> None:
    arrangement.company.joins("ada", at=now() - timedelta(minutes=5))
    arrangement.provider.subject = "00u-ada"
    signed_in(arrangement)
    token = arrangement.provider.logout_token()
    path = f"/oidc/{arrangement.connection_id}/logout"
    assert arrangement.app.test_client().post(path, data={"logout_token": token}).status_code == 200
    http = signed_in(arrangement)

    assert arrangement.app.test_client().post(path, data={"logout_token": token}).status_code == 400
    assert is_in(http)


def test_o25_one_organisations_provider_ends_nothing_of_anothers(arrangement: Arrangement) -> None:
    arrangement.company.joins("ada", at=now() - timedelta(minutes=5))
    arrangement.provider.subject = "00u-ada"
    http = signed_in(arrangement)
    theirs = connect(arrangement.app, new_company(), arrangement.provider, name="theirs")
    post = arrangement.app.test_client().post

    assert post(f"/oidc/{theirs.connection_id}/logout", data={"logout_token": arrangement.provider.logout_token()}).status_code == 200
    assert is_in(http)


def test_o05_an_id_token_is_no_logout_token_and_a_logout_token_no_id_token(arrangement: Arrangement) -> None:
    url = arrangement.begins()
    nonce = claims_for(arrangement, url)["nonce"]
    for header in ({}, {"typ": "JWT"}):
        refused = shown(arrangement, url, arrangement.provider.logout_token(header=header, nonce=nonce, exp=timedelta(minutes=5)))
        assert refused is not None and refused.reason is Reason.BAD_MESSAGE
        url = arrangement.begins()
        nonce = claims_for(arrangement, url)["nonce"]


def test_o25_a_logout_token_shown_several_times_at_once_counts_once(arrangement: Arrangement) -> None:
    path, token = f"/oidc/{arrangement.connection_id}/logout", arrangement.provider.logout_token()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: arrangement.app.test_client().post(path, data={"logout_token": token}).status_code, range(8)))

    assert sorted(answers) == [200] + [400] * 7

"""G01 and G03: tokens whose header is bent until a reader stumbles, keys as people really publish them, and repetitions after a long time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import responses
from flask import Flask
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, new_id
from app.revocation.stream_tables import Outcome
from app.signals import push_routes, receiving, universal_logout
from tests.company import new_company
from tests.oidc_stand_in import SigningKey
from tests.oidc_stand_in import signed as signed_anyhow
from tests.unit.signals.stage import PUBLIC_URL, SESSION_REVOKED, Hearing, Provider, Stage, iss_sub, seconds

IDP = "https://idp.example/clinic"
MARA = iss_sub(IDP, "u-mara")
BENT: dict[str, dict[str, Any]] = {
    "alg in a list": {"alg": ["ES256"]},
    "alg in an object": {"alg": {"ES256": True}},
    "alg as a number": {"alg": 256},
    "no alg": {"alg": None},
    "kid in a list": {"kid": ["k1"]},
    "kid as a number": {"kid": 1},
    "a kid without end": {"kid": "k" * 5000},
    "crit": {"crit": ["exp"]},
    "crit as a text": {"crit": "exp"},
    "b64": {"b64": False, "crit": ["b64"]},
    "typ in a list": {"typ": ["secevent+jwt"]},
}


@pytest.fixture
def stage(installed: Flask) -> Iterator[Stage]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as outside:
        yield Stage(app=installed, http=installed.test_client(), outside=outside, company=new_company())


@pytest.fixture
def hearing(stage: Stage) -> Hearing:
    return stage.hears(Provider(issuer=IDP))


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for door in (push_routes, universal_logout):
        monkeypatch.setattr(door.FAILURES, "rate", 0.0)


def bent(provider: Provider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Signed by the right key, under a header that says anything at all."""
    by = SigningKey(kid=provider.key_name, algorithm=provider.algorithm, key=provider.key)
    return signed_anyhow({name: seconds(value) for name, value in claims.items()}, by, **header)


def revoking(hearing: Hearing) -> dict[str, Any]:
    return {"iss": IDP, "jti": new_id(), "iat": timedelta(), "aud": hearing.row.audience, "sub_id": MARA, "events": {SESSION_REVOKED: {}}}


def test_g01_a_header_that_is_none_is_refused_at_the_door_for_events(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)

    answers = {
        name: hearing.push(bent(hearing.provider, {"typ": "secevent+jwt", **header}, revoking(hearing))).status_code for name, header in BENT.items()
    }
    straight = hearing.push(bent(hearing.provider, {"typ": "secevent+jwt"}, revoking(hearing))).status_code

    assert {name: status for name, status in answers.items() if status != 400} == {}
    assert (straight, stage.epoch(mara)) == (202, 2)


def test_g01_a_header_that_is_none_is_refused_at_the_door_for_revocations(stage: Stage) -> None:
    provider = Provider(issuer=IDP)
    path = f"/signals/global-token-revocation/{stage.connects(provider)}"
    mara = stage.joins("mara", issuer=IDP)

    def ask(header: dict[str, Any]) -> int:
        claims = {"jti": new_id(), "iss": IDP, "sub": "0oa1clientid", "aud": PUBLIC_URL + path, "iat": timedelta(), "exp": timedelta(minutes=5)}
        token = bent(provider, {"typ": "global-token-revocation+jwt", **header}, claims)
        return stage.http.post(path, headers={"Authorization": f"Bearer {token}"}, json={"sub_id": MARA}).status_code

    answers = {name: ask(header) for name, header in BENT.items()}

    assert {name: status for name, status in answers.items() if status != 401} == {}
    assert (ask({}), stage.epoch(mara)) == (204, 2)


def test_what_a_header_says_beside_is_nothing_to_us(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    attackers = {"jku": "https://attacker.example/jwks", "jwk": {"kty": "oct", "k": "AAAA"}, "x5u": "https://attacker.example/x5u"}
    beside = {"x5t": "abc", "nonce": "n", "iss": {"of": "nobody"}, "zip": "DEF", **attackers}

    answer = hearing.push(bent(hearing.provider, {"typ": "secevent+jwt", **beside}, revoking(hearing)))

    assert (answer.status_code, stage.epoch(mara)) == (202, 2)
    # Only the published keys were asked for.
    assert {call.request.url for call in stage.outside.calls} == {hearing.provider.jwks_uri}


@pytest.mark.parametrize("published", ["EdDSA", "Ed25519", None])
@pytest.mark.parametrize("signed", ["EdDSA", "Ed25519"])
def test_both_names_of_ed25519_prove_whichever_a_key_is_published_under(stage: Stage, published: str | None, signed: str) -> None:
    provider = Provider(issuer=IDP, algorithm="EdDSA", key_name="ed")
    hearing = stage.hears(provider)
    said = {**provider.key.as_dict(private=False), "use": "sig", **({} if published is None else {"alg": published})}
    stage.outside.replace("GET", provider.jwks_uri, json={"keys": [said]})
    mara = stage.joins("mara", issuer=IDP)

    answer = hearing.push(bent(provider, {"typ": "secevent+jwt", "alg": signed}, revoking(hearing)))

    assert (answer.status_code, stage.epoch(mara)) == (202, 2)


def test_g02_a_token_of_somebody_else_has_no_keys_fetched(stage: Stage, hearing: Hearing) -> None:
    theirs = (hearing.says(SESSION_REVOKED, MARA, iss="https://else.example"), hearing.says(SESSION_REVOKED, MARA, aud="https://else.example"))

    refused = [hearing.refused(token) for token in theirs]

    assert refused == ["invalid_issuer", "invalid_audience"]
    assert list(stage.outside.calls) == []


def test_g03_a_repetition_does_nothing_even_when_its_id_was_forgotten(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    keeps_nothing = replace(stage.settings, requests_kept_days=0)
    begun = now()
    token = hearing.says(SESSION_REVOKED, MARA)
    assert hearing.push(token).status_code == 202

    def forgets_after(days: float) -> int:
        def act(session: Session) -> int:
            return receiving.prune(session, keeps_nothing, stage.organization_id, at=begun + timedelta(days=days))

        return in_transaction(act)

    too_early, late = forgets_after(29), forgets_after(31)
    receiving.take(keeps_nothing, hearing.row, token, clock=lambda: begun + timedelta(days=31))

    assert (too_early, late) == (0, 1)
    assert (hearing.last().outcome, stage.epoch(mara)) == (Outcome.IGNORED, 2)

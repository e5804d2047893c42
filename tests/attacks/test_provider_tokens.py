"""Attacks on Doorlist as an OpenID provider: tokens of one kind as another, of another organisation, and clients that prove nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from sqlalchemy import text
from werkzeug.test import TestResponse

from app.access import keys
from app.access.keys import Purpose
from app.access.parties import end_party, party_named
from app.clock import now
from app.database import in_transaction, reading
from app.delivery.relying_parties import logout_token
from app.sso.provider.clients import JWT_BEARER
from tests.company import ADMIN
from tests.unit.access.signing import assertion_of, jwks_of, key_for
from tests.unit.sso.providing import (
    CALLBACK,
    ISSUER,
    VERIFIER,
    Application,
    House,
    application_in,
    error_of,
    gateway_in,
    house_of,
    said_back,
)


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


# O24: another organisation


def test_o24_another_organisations_token_is_as_one_that_never_was(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]
    other = house.another()

    assert other.application.introspects(token) == other.application.introspects("dl_pa_never") == {"active": False}
    assert gateway_in(house.app, other.company).introspects(token) == {"active": False}
    assert house.application.is_good(token)


def test_only_the_clients_own_organisation_gets_in(house: House) -> None:
    other = house.another()

    assert said_back(other.ada.enters(house.application))["error"] == "access_denied"


def test_a_device_of_another_organisation_is_let_in_by_nobody_here(house: House) -> None:
    other = house.another()
    television = application_in(house.app, other.company, redirect_uris=(), device_flow=True, public=True)
    begun = dict(television.asks("/device_authorization", scope="openid").json or {})

    assert house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes").status_code == 404


def test_the_gate_has_to_be_told_for_whom_it_stands_where_there_are_several_organisations(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]
    assert house.ada.browses("/gate").status_code == 200
    other = house.another()

    def passes(query: str, **headers: str) -> bool:
        return house.ada.browses(f"/gate{query}", headers=headers).status_code == 200

    assert not passes("")
    assert passes(f"?client={house.application.client_id}") and not passes(f"?client={other.application.client_id}")
    bearer = {"Authorization": f"Bearer {token}"}
    assert passes(f"?client={house.application.client_id}", **bearer)
    assert not passes(f"?client={application_in(house.app, house.company).client_id}", **bearer), "another client's token"
    assert not passes(f"?client={other.application.client_id}", **bearer)
    for nonsense in ("?client=", "?client=evil", "?client=%00", f"?client={house.application.client_id}&client={other.application.client_id}"):
        assert not passes(nonsense) or nonsense.count("client=") == 2


def test_a_bad_token_is_not_made_good_by_a_cookie(house: House) -> None:
    assert house.ada.browses("/gate", headers={"Authorization": "Bearer dl_pa_stolen"}).status_code == 401


# O05: one kind of token as another


def test_o05_no_token_passes_as_another_kind(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    code = house.ada.code_for(house.application)

    for wrong in (given["id_token"], given["refresh_token"], code, house.ada.cookie, str(house.application.secret)):
        assert house.application.introspects(wrong) == {"active": False}
        assert house.app.test_client().get("/userinfo", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        assert house.app.test_client().get("/gate", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
    for wrong in (given["access_token"], given["id_token"], code):
        assert error_of(house.application.refreshes(wrong)) == "invalid_grant"
    for wrong in (given["access_token"], given["refresh_token"], given["id_token"]):
        assert error_of(house.application.exchanges(wrong)) == "invalid_grant"
        assert house.ada.browses("/gate", headers={"Cookie": f"doorlist_session={wrong}"}).status_code == 200  # the real cookie stands beside it
        assert house.app.test_client().get("/gate", headers={"Cookie": f"doorlist_session={wrong}"}).status_code == 401


def test_o05_a_logout_token_is_no_hint_of_who_is_signed_in(house: House) -> None:
    sid = house.application.reads(house.ada.tokens_for(house.application)["id_token"])["sid"]
    settings = house.app.config["DOORLIST"]
    with reading() as session:
        token = logout_token(session, settings, house.application.party, person_id=house.ada.id, sid=sid, at=now())

    house.ada.browses(f"/logout?id_token_hint={token}")

    assert house.ada.browses("/gate").status_code == 200


@pytest.mark.parametrize("trick", ["none", "hmac", "own key", "changed"])
def test_o01_o02_o03_a_forged_hint_signs_nobody_out(house: House, trick: str) -> None:
    token = house.ada.tokens_for(house.application)["id_token"]

    house.ada.browses(f"/logout?id_token_hint={forged(house, token, trick)}")

    assert house.ada.browses("/gate").status_code == 200


@pytest.mark.parametrize("head", [b"[" * 2900, b'{"alg":' + b"[" * 2900, b'{"alg":"ES256","kid":' + b"[" * 2900], ids=["no object", "alg", "kid"])
def test_o04_a_hint_that_is_nested_too_deeply_is_none(house: House, head: bytes) -> None:
    _, body, signature = house.ada.tokens_for(house.application)["id_token"].split(".")
    hint = f"{base64.urlsafe_b64encode(head).rstrip(b'=').decode()}.{body}.{signature}"
    stranger = house.app.test_client()

    assert stranger.get(f"/logout?id_token_hint={hint}").status_code == 200
    assert "code" in said_back(house.ada.enters(house.application, id_token_hint=hint))


def forged(house: House, token: str, trick: str) -> str:
    head, body, signature = token.split(".")
    if trick == "none":
        return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{body}."
    if trick == "hmac":
        published = json.dumps((house.app.test_client().get("/jwks").json or {})["keys"][0]).encode()
        signed = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{body}"
        return f"{signed}.{base64.urlsafe_b64encode(hmac.new(published, signed.encode(), hashlib.sha256).digest()).rstrip(b'=').decode()}"
    if trick == "own key":
        key = key_for("ES256")
        return jwt.encode({"alg": "ES256", "typ": "JWT", "jwk": key.as_dict(private=False)}, json.loads(decoded(body)), key)
    return f"{head}.{encoded({**json.loads(decoded(body)), 'exp': 9_999_999_999})}.{signature}"


def encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


# O23: assertions of clients


@pytest.fixture
def signing(house: House) -> tuple[Application, Any]:
    key = key_for("ES256")
    return application_in(house.app, house.company, jwks=jwks_of(key)), key


def asks_with(application: Application, assertion: str, **form: str) -> TestResponse:
    return application.app.test_client().post(
        "/token", data={"client_assertion_type": JWT_BEARER, "client_assertion": assertion, "code_verifier": VERIFIER, "redirect_uri": CALLBACK, **form}
    )


def test_o23_a_client_may_sign_and_an_assertion_counts_once(house: House, signing: tuple[Application, Any]) -> None:
    application, key = signing
    assertion = assertion_of(application.client_id, key, "ES256", aud=f"{ISSUER}/token")
    first, second = house.ada.code_for(application), house.ada.code_for(application)

    assert asks_with(application, assertion, grant_type="authorization_code", code=first).status_code == 200
    assert error_of(asks_with(application, assertion, grant_type="authorization_code", code=second)) == "invalid_client"


@pytest.mark.parametrize("aud", ["https://evil.example/token", f"{ISSUER}/oauth2/token", [f"{ISSUER}/token", "https://evil.example"]])
def test_o23_an_assertion_for_somebody_else_proves_nothing_here(house: House, signing: tuple[Application, Any], aud: Any) -> None:
    application, key = signing
    assertion = assertion_of(application.client_id, key, "ES256", aud=aud)

    assert error_of(asks_with(application, assertion, grant_type="authorization_code", code=house.ada.code_for(application))) == "invalid_client"


def test_o23_a_client_with_keys_is_not_let_in_without_them(house: House, signing: tuple[Application, Any]) -> None:
    application, _ = signing
    code = house.ada.code_for(application)

    for proof in ({}, {"client_secret": "x"}, {"client_secret": ""}):
        answer = house.app.test_client().post(
            "/token",
            data={"client_id": application.client_id, "grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER, "redirect_uri": CALLBACK, **proof},
        )
        assert error_of(answer) == "invalid_client"


def test_a_confidential_client_has_to_prove_itself_everywhere(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    http = house.app.test_client()

    for path, form in (
        ("/token", {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}), ("/introspect", {"token": given["access_token"]}),
        ("/revoke", {"token": given["refresh_token"]}), ("/device_authorization", {"scope": "openid"}),
    ):  # fmt: skip
        for proof in ({}, {"client_secret": "wrong"}, {"client_secret": str(application_in(house.app, house.company).secret)}):
            assert error_of(http.post(path, data={"client_id": house.application.client_id, **form, **proof})) == "invalid_client"

    assert house.application.is_good(given["access_token"])


def test_a_secret_in_an_address_is_not_read(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    query = f"client_id={house.application.client_id}&client_secret={house.application.secret}"

    answer = house.app.test_client().post(f"/token?{query}", data={"grant_type": "refresh_token", "refresh_token": given["refresh_token"]})

    assert error_of(answer) == "invalid_client"
    assert house.app.test_client().get(f"/userinfo?access_token={given['access_token']}").status_code == 401
    assert house.app.test_client().get(f"/gate?access_token={given['access_token']}").status_code == 401


def test_who_guesses_secrets_is_slowed_down_and_the_client_itself_is_not(house: House) -> None:
    guesses = [
        house.app.test_client().post("/introspect", data={"client_id": house.application.client_id, "client_secret": f"guess {n}", "token": "x"}).status_code
        for n in range(30)
    ]

    assert guesses[0] == 401 and guesses[-1] == 429
    assert house.application.introspects("x") == {"active": False}


def test_who_guesses_tokens_is_slowed_down_and_a_good_one_is_not(house: House) -> None:
    good = house.ada.tokens_for(house.application)["refresh_token"]

    guesses = [house.application.refreshes(f"dl_pr_{number}").status_code for number in range(80)]

    assert guesses[0] == 400 and guesses[-1] == 429
    assert house.application.refreshes(good).status_code == 200


def test_an_ended_client_has_nothing_left(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    code = house.ada.code_for(house.application)
    beside = application_in(house.app, house.company)
    in_transaction(
        lambda session: end_party(
            session, party_named(session, house.company.organization_id, house.application.client_id), actor=ADMIN, at=now()
        )
    )

    assert not beside.is_good(given["access_token"])
    assert error_of(house.application.refreshes(given["refresh_token"])) == "invalid_client"
    assert error_of(house.application.exchanges(code)) == "invalid_client"
    assert house.ada.enters(house.application).status_code == 400


# What is kept, and what is written down


def test_no_secret_is_kept_and_none_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        code = house.ada.code_for(house.application)
        given = dict(house.application.exchanges(code).json or {})
        again = dict(house.application.refreshes(given["refresh_token"]).json or {})
        house.application.is_good(again["access_token"])
    secrets = [code, given["access_token"], given["refresh_token"], again["access_token"], again["refresh_token"], str(house.application.secret), house.ada.cookie]

    said = "\n".join(record.getMessage() for record in caplog.records)
    assert not [one for one in secrets if one in said]
    with reading() as session:
        kept = str([session.execute(text(f"SELECT * FROM {table}")).all() for table in ("issued_token", "oauth_grant", "relying_party", "session", "journal")])
    assert not [one for one in secrets if one in kept]


def test_keys_of_the_evidence_sign_no_token(house: House) -> None:
    settings = house.app.config["DOORLIST"]
    evidence = in_transaction(lambda session: keys.signer(session, settings, Purpose.EVIDENCE, at=now()))
    sid = house.application.reads(house.ada.tokens_for(house.application)["id_token"])["sid"]
    hint = evidence.sign_jwt({"iss": ISSUER, "aud": house.application.client_id, "sub": house.ada.id, "sid": sid})

    house.ada.browses(f"/logout?id_token_hint={hint}")

    assert house.ada.browses("/gate").status_code == 200

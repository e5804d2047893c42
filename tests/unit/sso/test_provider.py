"""The code flow: who is signed in here gets in there, once, with proof of how; and what the provider says of itself."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from flask import Flask
from sqlalchemy import select

from app.access import keys
from app.access.keys import Purpose
from app.access.session_tables import Grant
from app.access.sessions import Authenticated, Limits
from app.clock import now
from app.database import in_transaction, reading
from app.journal.tables import Entry
from tests.company import ADMIN
from tests.unit.sso.providing import CALLBACK, ISSUER, VERIFIER, House, application_in, header_of, house_of, said_back, to_sign_in, wished


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


# Entering


def test_who_is_signed_in_gets_a_code_and_is_told_whose_it_is(house: House) -> None:
    answer = house.ada.enters(house.application)

    assert answer.status_code == 303
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Referrer-Policy"] == "no-referrer"
    said = said_back(answer)
    assert said.pop("code").startswith("dl_pc_")
    assert said == {"state": "a state", "iss": ISSUER}


def test_a_code_gives_tokens_that_say_who_and_how(house: House) -> None:
    given = house.ada.tokens_for(house.application)

    assert (given["token_type"], given["expires_in"], given["scope"]) == ("Bearer", 900, "openid profile email")
    claims = house.application.reads(given["id_token"])
    assert (claims["iss"], claims["aud"], claims["sub"], claims["nonce"]) == (ISSUER, house.application.client_id, house.ada.id, "a nonce")
    assert claims["tenant"] == house.company.organization_id
    assert (claims["acr"], claims["amr"]) == ("urn:doorlist:acr:1", [])
    assert claims["auth_time"] <= now().timestamp() and claims["exp"] - claims["iat"] == 600
    assert claims["session_expiry"] - claims["auth_time"] == timedelta(hours=12).total_seconds()
    assert (claims["preferred_username"], claims["email"]) == ("ada@northwind.example", "ada@northwind.example")
    assert header_of(given["id_token"])["typ"] == "JWT"


def test_the_id_token_says_the_second_factor_that_was_used(house: House) -> None:
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now(), strong=True))

    claims = house.application.reads(ada.tokens_for(house.application)["id_token"])

    assert (claims["acr"], claims["amr"]) == ("urn:doorlist:acr:2", ["mfa"])


def test_what_the_identity_provider_said_of_it_is_handed_on(house: House) -> None:
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now(), acr="phr", amr=("hwk", "pin"), strong=True))

    claims = house.application.reads(ada.tokens_for(house.application)["id_token"])

    assert (claims["acr"], claims["amr"]) == ("phr", ["hwk", "pin"])


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_id_tokens_are_signed_as_the_client_wants_them(house: House, algorithm: str) -> None:
    application = application_in(house.app, house.company, algorithm=algorithm)

    token = house.ada.tokens_for(application)["id_token"]

    assert header_of(token)["alg"] == algorithm
    assert application.reads(token)["sub"] == house.ada.id


def test_a_rotated_key_signs_after_its_overlap_and_the_old_one_is_still_read(house: House) -> None:
    before = house.ada.tokens_for(house.application)["id_token"]
    settings = house.app.config["DOORLIST"]
    in_transaction(lambda session: keys.rotate(session, settings, Purpose.TOKENS, at=now(), actor=ADMIN, overlap=timedelta(microseconds=1)))

    after = house.ada.tokens_for(house.application)["id_token"]

    assert header_of(before)["kid"] != header_of(after)["kid"]
    assert house.application.reads(before)["sub"] == house.application.reads(after)["sub"] == house.ada.id


def test_an_id_token_of_a_key_that_was_withdrawn_says_nothing_to_us_either(house: House) -> None:
    hint = house.ada.tokens_for(house.application)["id_token"]
    settings = house.app.config["DOORLIST"]
    in_transaction(lambda session: keys.rotate(session, settings, Purpose.TOKENS, at=now(), actor=ADMIN, overlap=timedelta()))

    asked = house.ada.browses(f"/logout?id_token_hint={hint}")

    assert asked.status_code == 200 and 'name="answer" value="yes"' in asked.text, "signed out because of it"
    assert header_of(hint)["kid"] not in {key["kid"] for key in (house.app.test_client().get("/jwks").json or {})["keys"]}


def test_only_asked_for_claims_are_handed_out(house: House) -> None:
    claims = house.application.reads(house.ada.tokens_for(house.application, scope="openid")["id_token"])

    assert not {"name", "email", "preferred_username"} & claims.keys()


def test_one_session_has_one_name_with_one_client_and_another_with_the_next(house: House) -> None:
    other = application_in(house.app, house.company)

    first, again = (house.application.reads(house.ada.tokens_for(house.application)["id_token"])["sid"] for _ in range(2))
    elsewhere = other.reads(house.ada.tokens_for(other)["id_token"])["sid"]

    assert first == again != elsewhere


@pytest.mark.parametrize("in_header", [True, False])
def test_a_client_may_prove_itself_in_the_header_or_in_the_form(house: House, in_header: bool) -> None:
    form = {
        "grant_type": "authorization_code", "code": house.ada.code_for(house.application), "redirect_uri": CALLBACK, "code_verifier": VERIFIER,
    }  # fmt: skip

    answer = house.application.sends("/token", form, in_header=in_header)

    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"


def test_a_public_client_needs_no_secret(house: House) -> None:
    application = application_in(house.app, house.company, public=True)

    assert application.secret is None
    assert house.ada.tokens_for(application)["access_token"].startswith("dl_pa_")


def test_entering_an_application_is_written_down_once_for_each_session(house: House) -> None:
    for _ in range(3):
        house.ada.tokens_for(house.application)
    house.ada.signs_in_again().tokens_for(house.application)

    with reading() as session:
        written = session.scalars(select(Entry).where(Entry.verb == "entered an application")).all()

    assert {(one.subject_id, one.because, one.actor) for one in written} == {(house.ada.id, house.application.party.name, f"person:{house.ada.id}")}
    assert len(written) == 2


# Signing in first


def test_nobody_signed_in_is_sent_to_sign_in_and_comes_back_with_the_same_wishes(house: House) -> None:
    query = "&".join(f"{name}={value}" for name, value in wished(house.application, login_hint="ada%40northwind.example").items())

    answer = house.app.test_client().get(f"/authorize?{query}")

    assert answer.status_code == 303
    there = to_sign_in(answer.headers["Location"])
    assert there["email"] == "ada@northwind.example"
    back = {name: value for name, (value,) in parse_qs(urlsplit(there["to"]).query).items()}
    assert urlsplit(there["to"]).path == "/authorize"
    assert back == {**wished(house.application), "login_hint": "ada@northwind.example"}


def test_prompt_none_asks_nobody(house: House) -> None:
    query = "&".join(f"{name}={value}" for name, value in wished(house.application, prompt="none").items())

    answer = house.app.test_client().get(f"/authorize?{query}")

    said = said_back(answer)
    assert (said["error"], said["state"], said["iss"]) == ("login_required", "a state", ISSUER)


@pytest.mark.parametrize("asked", [{"prompt": "login"}, {"max_age": "60"}, {"max_age": "0"}, {"acr_values": "phr"}])
def test_who_is_asked_to_sign_in_anew_is_asked_once(house: House, asked: dict[str, str]) -> None:
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now() - timedelta(minutes=5), acr="pwd"))
    there = to_sign_in(ada.enters(house.application, **asked).headers["Location"])
    assert there["again"] == "1"

    # Going there again without having signed in anew is asked again; having done so is not.
    assert to_sign_in(ada.browses(there["to"]).headers["Location"])["again"] == "1"
    back = ada.signs_in_again(Authenticated(connection_id=None, at=now() + timedelta(seconds=1), acr="phr")).browses(there["to"])

    assert "code" in said_back(back)


def test_a_silent_request_for_something_newer_is_told_so(house: House) -> None:
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now() - timedelta(minutes=5)))

    assert said_back(ada.enters(house.application, prompt="none", max_age="60"))["error"] == "login_required"


def test_a_client_is_told_where_what_it_needs_was_not_met(house: House) -> None:
    there = to_sign_in(house.ada.enters(house.application, acr_values="phr").headers["Location"])

    back = house.ada.signs_in_again(Authenticated(connection_id=None, at=now() + timedelta(seconds=1), acr="pwd")).browses(there["to"])

    assert said_back(back)["error"] == "unmet_authentication_requirements"


# Refreshing


def test_a_refresh_gives_another_pair(house: House) -> None:
    first = house.ada.tokens_for(house.application)

    second = dict(house.application.refreshes(first["refresh_token"]).json or {})

    assert second["refresh_token"] != first["refresh_token"] and second["access_token"] != first["access_token"]
    assert house.application.is_good(second["access_token"])
    claims = house.application.reads(second["id_token"])
    assert "nonce" not in claims and claims["sub"] == house.ada.id


def test_a_refresh_may_ask_for_less_and_never_for_more(house: House) -> None:
    first = house.ada.tokens_for(house.application, scope="openid profile")

    less = dict(house.application.refreshes(first["refresh_token"], scope="openid").json or {})
    more = house.application.refreshes(less["refresh_token"], scope="openid profile email")

    assert less["scope"] == "openid" and "name" not in house.application.reads(less["id_token"])
    assert (more.status_code, (more.json or {})["error"]) == (400, "invalid_scope")


def test_tokens_end_with_the_session_unless_the_client_may_work_alone(house: House) -> None:
    ada = house.ada.signs_in_again(limits=Limits(absolute=timedelta(minutes=5)))
    ada.tokens_for(house.application)
    ada.tokens_for(house.application, scope="openid offline_access")

    with reading() as session:
        lives = sorted(grant.expires_at - grant.created_at for grant in session.scalars(select(Grant).where(Grant.session_id == ada.session_id)))

    assert lives[0] <= timedelta(minutes=5) and lives[-1] == timedelta(days=180)


def test_a_client_that_may_work_alone_is_told_the_end_of_its_users_session(house: House) -> None:
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now(), until=now() + timedelta(hours=1)))

    given = ada.tokens_for(house.application, scope="openid offline_access")
    again = (house.application.refreshes(given["refresh_token"]).json or {})["id_token"]

    for token in (given["id_token"], again):
        claims = house.application.reads(token)
        assert timedelta(minutes=59) < timedelta(seconds=claims["session_expiry"] - claims["auth_time"]) <= timedelta(hours=1)


def test_without_the_encryption_key_what_is_shown_at_the_token_endpoint_stays_good(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    given = house.ada.tokens_for(house.application)
    monkeypatch.setattr(keys, "_unsealed", {})
    file = house.app.config["DOORLIST"].home / "encryption.key"
    file.rename(file.with_suffix(".away"))

    refused = house.application.refreshes(given["refresh_token"])

    assert (refused.status_code, refused.headers["Retry-After"], (refused.json or {})["error"]) == (503, "30", "temporarily_unavailable")
    file.with_suffix(".away").rename(file)
    assert house.application.refreshes(given["refresh_token"]).status_code == 200


# Introspection, revocation, userinfo


def test_introspection_says_whose_a_token_is(house: House) -> None:
    given = house.ada.tokens_for(house.application)

    found = house.application.introspects(given["access_token"])

    assert (found["active"], found["sub"], found["client_id"], found["iss"]) == (True, house.ada.id, house.application.client_id, ISSUER)
    assert (found["scope"], found["username"], found["tenant"]) == ("openid profile email", "ada@northwind.example", house.company.organization_id)
    assert found["exp"] - found["iat"] == 900


@pytest.mark.parametrize("kind", ["refresh_token", "id_token"])
def test_nothing_but_an_access_token_is_active(house: House, kind: str) -> None:
    assert house.application.introspects(house.ada.tokens_for(house.application)[kind]) == {"active": False}


def test_another_client_of_the_organisation_may_introspect_but_no_public_one(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]

    assert application_in(house.app, house.company).is_good(token)
    assert application_in(house.app, house.company, public=True).asks("/introspect", token=token).status_code == 401


def test_a_revoked_access_token_is_good_no_more_and_its_brothers_are(house: House) -> None:
    given = house.ada.tokens_for(house.application)

    assert house.application.asks("/revoke", token=given["access_token"]).status_code == 200

    assert not house.application.is_good(given["access_token"])
    assert house.application.refreshes(given["refresh_token"]).status_code == 200


def test_a_revoked_refresh_token_takes_all_with_it(house: House) -> None:
    given = house.ada.tokens_for(house.application)

    assert house.application.asks("/revoke", token=given["refresh_token"], token_type_hint="refresh_token").status_code == 200

    assert not house.application.is_good(given["access_token"])
    assert house.application.refreshes(given["refresh_token"]).status_code == 400


def test_revoking_what_never_was_or_is_another_clients_changes_nothing(house: House) -> None:
    given = house.ada.tokens_for(house.application)
    other = application_in(house.app, house.company)

    assert other.asks("/revoke", token=given["access_token"]).status_code == 200
    assert other.asks("/revoke", token="never").status_code == 200

    assert house.application.is_good(given["access_token"])


def test_userinfo_says_who_it_is(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]

    answer = house.app.test_client().get("/userinfo", headers={"Authorization": f"Bearer {token}"})

    assert answer.json == {
        "sub": house.ada.id, "tenant": house.company.organization_id, "name": "Ada", "preferred_username": "ada@northwind.example",
        "email": "ada@northwind.example",
    }  # fmt: skip


@pytest.mark.parametrize("header", ["", "Basic x", "Bearer dl_pa_wrong"])
def test_userinfo_says_nothing_to_others(house: House, header: str) -> None:
    answer = house.app.test_client().get("/userinfo", headers={"Authorization": header} if header else {})

    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith('Bearer realm="doorlist"')


# What it says of itself


def test_the_metadata_is_whole_and_true(house: House) -> None:
    found = house.app.test_client().get("/.well-known/openid-configuration").json or {}

    # Authlib wants https everywhere, and RS256, which IPSIE forbids.
    read = {name: value.replace(ISSUER, "https://doorlist.example") if isinstance(value, str) else value for name, value in found.items()}
    OpenIDProviderMetadata({**read, "id_token_signing_alg_values_supported": ["RS256"]}).validate()
    assert found["issuer"] == ISSUER
    addresses = {value for name, value in found.items() if name.endswith(("_endpoint", "_uri"))}
    served = {f"{ISSUER}{rule.rule}" for rule in house.app.url_map.iter_rules()}
    assert addresses <= served
    assert (found["response_types_supported"], found["code_challenge_methods_supported"]) == (["code"], ["S256"])
    assert set(found["id_token_signing_alg_values_supported"]) == {"PS256", "ES256", "EdDSA"}
    assert found["introspection_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    assert found["introspection_endpoint_auth_signing_alg_values_supported"] == found["token_endpoint_auth_signing_alg_values_supported"]
    assert found["backchannel_logout_session_supported"] is found["authorization_response_iss_parameter_supported"] is True


def test_a_client_that_is_a_page_of_another_origin_may_read_what_it_is_told(house: House) -> None:
    page = application_in(house.app, house.company, public=True)
    asks = {"Origin": "https://app.example", "Access-Control-Request-Headers": "authorization"}
    http = house.app.test_client()

    given = page.exchanges(house.ada.code_for(page))
    read = http.get("/userinfo", headers={"Origin": "https://app.example", "Authorization": f"Bearer {(given.json or {})['access_token']}"})
    refused = page.exchanges("worthless")
    ahead = [http.options(path, headers=asks) for path in ("/token", "/userinfo", "/revoke")]

    assert [one.status_code for one in (given, read, refused)] == [200, 200, 400]
    assert {one.headers.get("Access-Control-Allow-Origin") for one in (given, read, refused, *ahead)} == {"*"}
    assert all("Authorization" in one.headers["Access-Control-Allow-Headers"] for one in ahead)
    # A cookie counts at these, so no other page may read what they answer.
    for path in ("/authorize", "/logout", "/gate", "/device", "/session"):
        for answer in (house.ada.browses(path, headers=asks), house.ada.browses(path, method="OPTIONS", headers=asks)):
            assert "Access-Control-Allow-Origin" not in answer.headers, path


def test_directories_find_their_own_token_endpoint_elsewhere(house: House) -> None:
    found = house.app.test_client().get("/.well-known/oauth-authorization-server").json or {}

    assert AuthorizationServerMetadata(found)["token_endpoint"] == f"{ISSUER}/oauth2/token"


def test_the_key_set_holds_no_private_part(house: House) -> None:
    answer = house.app.test_client().get("/jwks")

    published = (answer.json or {})["keys"]
    assert len(published) == 3 and all(not {"d", "p", "q"} & key.keys() for key in published)
    assert answer.headers["Cache-Control"] == "public, max-age=300"

"""Signing in through an OpenID provider that behaves, and through one whose keys, clock or network do not."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from flask import Flask

from app.access import keys
from app.access.published_keys import KEYS
from app.clock import now
from app.database import in_transaction
from app.sso import connections
from app.sso.oidc_setup import discover, rediscovered
from app.sso.refusals import Reason, Refused
from app.sso.verified import DirectoryIds
from tests.company import ADMIN, new_company
from tests.oidc_arrangement import Arrangement, arranged, forget_keys, signed_in, tries
from tests.oidc_stand_in import CLIENT_ID, CLIENT_SECRET
from tests.vouching import caught_up, entries_of


@pytest.fixture
def arrangement(installed: Flask) -> Iterator[Arrangement]:
    forget_keys()
    with arranged(installed, new_company()) as made:
        yield made
    forget_keys()


def asked_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def refused_for(arrangement: Arrangement, **begun: bool) -> Refused:
    with pytest.raises(Refused) as caught:
        arrangement.signs_in(**begun)
    assert caught.value.connection_id == arrangement.connection_id
    return caught.value


def test_a_sign_in_gives_whom_the_provider_vouches_for(arrangement: Arrangement) -> None:
    arrangement.provider.claims = {"acr": "urn:mfa", "amr": ["pwd", "otp"], "auth_time": timedelta(minutes=-20), "sid": "s-1"}

    verified = arrangement.signs_in(return_to="/devices-of-mine")

    assert (verified.issuer, verified.subject, verified.tenant) == (arrangement.provider.issuer, "im-ada", "")
    assert verified.organization_id == arrangement.company.organization_id
    assert (verified.acr, verified.amr, verified.upstream_session) == ("urn:mfa", ("pwd", "otp"), "s-1")
    assert timedelta(minutes=19) < now() - verified.authenticated_at < timedelta(minutes=21)
    assert now() - verified.issued_at < timedelta(seconds=5)
    assert (verified.return_to, verified.until, verified.id_token) == ("/devices-of-mine", None, arrangement.provider.last_token)


def test_what_is_asked_has_a_state_a_nonce_and_a_challenge_that_are_new_each_time(arrangement: Arrangement) -> None:
    first, second = (asked_of(arrangement.begins()) for _ in range(2))

    assert first["client_id"] == CLIENT_ID
    assert first["redirect_uri"] == f"http://127.0.0.1:8484/oidc/{arrangement.connection_id}/callback"
    assert (first["response_type"], first["code_challenge_method"]) == ("code", "S256")
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 43 and first[name] != second[name]
    assert "prompt" not in first and "max_age" not in first


def test_a_fresh_proof_is_asked_for_and_an_old_one_refused(arrangement: Arrangement) -> None:
    asked = asked_of(arrangement.begins(force=True, login_hint="ada@northwind.example"))
    assert (asked["prompt"], asked["max_age"], asked["login_hint"]) == ("login", "0", "ada@northwind.example")

    assert arrangement.signs_in(force=True).asked == {"force": True}

    arrangement.provider.claims = {"auth_time": timedelta(seconds=-30)}
    assert refused_for(arrangement, force=True).reason is Reason.NOT_ASKED_FOR
    arrangement.provider.claims = {"auth_time": None}
    assert "auth_time" in str(refused_for(arrangement, force=True))


def test_an_old_proof_is_no_fresher_for_a_provider_whose_clock_is_late(arrangement: Arrangement) -> None:
    arrangement.provider.claims = {"iat": timedelta(minutes=2), "auth_time": timedelta(0)}

    assert refused_for(arrangement, force=True).reason is Reason.NOT_ASKED_FOR


def test_a_provider_vouches_no_longer_than_it_says(arrangement: Arrangement) -> None:
    arrangement.provider.claims = {"session_expiry": timedelta(hours=2)}
    until = arrangement.signs_in().until
    assert until is not None and timedelta(hours=1, minutes=59) < until - now() <= timedelta(hours=2)

    arrangement.provider.claims = {"session_expiry": timedelta(seconds=-1)}
    assert refused_for(arrangement).reason is Reason.TOO_LATE


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA", "RS256"])
def test_each_algorithm_that_is_taken_is_read(arrangement: Arrangement, algorithm: str) -> None:
    arrangement.provider.roll(algorithm)

    assert arrangement.signs_in().subject == "im-ada"


def test_eddsa_is_read_by_its_newer_name_too(arrangement: Arrangement) -> None:
    """RFC 9864: `Ed25519` says what `EdDSA` leaves open."""
    arrangement.provider.roll("EdDSA")
    arrangement.provider.header = {"alg": "Ed25519"}

    assert arrangement.signs_in().subject == "im-ada"


def test_a_connection_may_do_without_rs256(arrangement: Arrangement) -> None:
    arrangement.set(algorithms=["ES256", "PS256", "EdDSA"])
    assert arrangement.signs_in().subject == "im-ada"

    arrangement.provider.roll("RS256")
    assert refused_for(arrangement).reason is Reason.WEAK_ALGORITHM


def test_keys_that_changed_overnight_are_fetched_again(arrangement: Arrangement) -> None:
    arrangement.signs_in()
    arrangement.provider.roll()
    later = KEYS.clock() + 31
    KEYS.clock = lambda: later

    assert arrangement.signs_in().subject == "im-ada"


def test_a_new_key_under_the_old_name_is_fetched_too(arrangement: Arrangement) -> None:
    arrangement.signs_in()
    arrangement.provider.roll(kid=arrangement.provider.signing.kid)
    later = KEYS.clock() + 31
    KEYS.clock = lambda: later

    assert arrangement.signs_in().subject == "im-ada"


def test_a_withdrawn_key_is_taken_for_some_minutes_and_no_longer(arrangement: Arrangement) -> None:
    arrangement.signs_in()
    old = arrangement.provider.signing
    arrangement.provider.roll()
    arrangement.provider.signing = old
    start = KEYS.clock()
    assert arrangement.signs_in().subject == "im-ada"

    KEYS.clock = lambda: start + 301
    assert refused_for(arrangement).reason is Reason.KEY_CHANGED


def test_a_provider_without_kids_is_understood(arrangement: Arrangement) -> None:
    key = arrangement.provider.signing
    arrangement.provider.header = {"kid": None}
    arrangement.provider.jwks = json.dumps({"keys": [{**key.key.as_dict(private=False)}]}).encode()

    assert arrangement.signs_in().subject == "im-ada"


def test_keys_for_other_uses_and_of_other_kinds_do_no_harm(arrangement: Arrangement) -> None:
    odd = [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny"}, {"kty": "oct", "k": "AAAA"}, {"kty": "??"}, 7, {"kty": "EC", "crv": "P-256"}]
    arrangement.provider.jwks = json.dumps({"keys": [*odd, {**arrangement.provider.signing.public(), "use": "enc"}]}).encode()
    assert refused_for(arrangement).reason is Reason.KEY_CHANGED

    forget_keys()
    arrangement.provider.jwks = json.dumps({"keys": [*odd, arrangement.provider.signing.public()]}).encode()
    assert arrangement.signs_in().subject == "im-ada"


def test_a_provider_that_is_down_is_told_apart_from_one_that_says_no(arrangement: Arrangement) -> None:
    answer = arrangement.provider.answers(arrangement.begins())
    arrangement.provider.fails = 503
    with pytest.raises(Refused) as down:
        arrangement.comes_back(answer)

    arrangement.provider.fails = None
    answer = arrangement.provider.answers(arrangement.begins())
    arrangement.provider.token_answer = (400, b'{"error": "invalid_grant", "error_description": "too late"}')
    with pytest.raises(Refused) as no:
        arrangement.comes_back(answer)

    assert down.value.reason is Reason.PROVIDER_DOWN and "503" in str(down.value)
    assert no.value.reason is Reason.PROVIDER_SAID_NO and "invalid_grant" in str(no.value)


def test_people_still_come_in_while_the_keys_cannot_be_read_again(arrangement: Arrangement) -> None:
    arrangement.signs_in()
    start = KEYS.clock()
    arrangement.provider.jwks = b"<html>out of order</html>"

    KEYS.clock = lambda: start + 1000
    assert arrangement.signs_in().subject == "im-ada"

    KEYS.clock = lambda: start + 3700
    assert refused_for(arrangement).reason is Reason.PROVIDER_DOWN


def test_a_changed_client_secret_is_named_to_the_administrator(arrangement: Arrangement) -> None:
    arrangement.provider.client_keys = None
    arrangement.set(client_id="another client")
    arrangement.provider.token_answer = (401, b'{"error": "invalid_client"}')

    refused = refused_for(arrangement)

    assert refused.reason is Reason.PROVIDER_SAID_NO and "client secret" in str(refused)


@pytest.mark.parametrize("written", [str, quote_plus, lambda secret: b64encode(f"{quote_plus(CLIENT_ID)}:{quote_plus(secret)}".encode()).decode()])
def test_a_client_secret_that_the_provider_repeats_is_told_to_nobody(arrangement: Arrangement, written: Callable[[str], str]) -> None:
    shown = written(CLIENT_SECRET)
    arrangement.provider.token_answer = (401, json.dumps({"error": "invalid_client", "error_description": f"what is {shown}?"}).encode())

    refused = refused_for(arrangement)

    assert "what is …?" in str(refused) and shown not in str(refused)


def test_what_the_provider_says_in_an_error_is_passed_on_calmly(arrangement: Arrangement) -> None:
    answer = arrangement.provider.answers(arrangement.begins(), code=None, error="access_denied", error_description="not\x1b[31m assigned")

    with pytest.raises(Refused, match="access_denied") as caught:
        arrangement.comes_back(answer)

    assert caught.value.reason is Reason.PROVIDER_SAID_NO and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "words", ["AADSTS65004: User declined to consent.\r\nTrace ID: 747c0cc1\r\nTimestamp: 2026-11-29 10:20:30Z", "accès\u00a0: refusé", "\0\x1b[31m" * 300]
)
def test_words_for_people_in_an_error_may_have_lines_and_are_written_down(arrangement: Arrangement, words: str) -> None:
    caught_up(now())
    browser = arrangement.app.test_client()
    begun = browser.get("/sign-in", query_string={"connection": arrangement.connection_id})
    answer = arrangement.provider.answers(begun.headers["Location"], code=None, error="access_denied", error_description=words)

    page = browser.get(f"/oidc/{arrangement.connection_id}/callback", query_string=answer)

    assert "Your company’s sign-in said no" in page.get_data(as_text=True)
    (entry,) = entries_of(arrangement.company.organization_id, "sign-in refused")
    assert entry.because == Reason.PROVIDER_SAID_NO
    said = str((entry.after or {})["said"])
    assert "access_denied" in said and repr(words[:10])[1:-1] in said and said.isprintable()


def test_a_parameter_that_is_no_word_for_people_has_no_lines(arrangement: Arrangement) -> None:
    browser = arrangement.app.test_client()

    page = browser.get(f"/oidc/{arrangement.connection_id}/callback", query_string={"state": "a\nb", "error": "access_denied"})

    assert page.status_code == 403
    (entry,) = entries_of(arrangement.company.organization_id, "sign-in refused")
    assert (entry.because, entry.subject_id) == (Reason.BAD_MESSAGE, arrangement.connection_id)


def test_an_answer_that_was_refused_is_used_up_all_the_same(arrangement: Arrangement) -> None:
    answer = arrangement.provider.answers(arrangement.begins())
    with pytest.raises(Refused):
        arrangement.comes_back({**answer, "iss": "https://elsewhere.example"})

    with pytest.raises(Refused) as again:
        arrangement.comes_back(answer)

    assert again.value.reason is Reason.USED_BEFORE


def test_clocks_that_differ_are_named_and_three_minutes_let_pass(arrangement: Arrangement) -> None:
    for claims in ({"iat": timedelta(minutes=2), "auth_time": None}, {"iat": timedelta(minutes=-2), "exp": timedelta(minutes=-2)}):
        arrangement.provider.claims = claims
        assert arrangement.signs_in().subject == "im-ada"

    for claims, words in (
        ({"iat": timedelta(minutes=5)}, "5 minutes ahead"), ({"iat": timedelta(minutes=-5)}, "before it was asked for"),
        ({"exp": timedelta(minutes=-4)}, "ran out 4 minutes ago"), ({"nbf": timedelta(minutes=9)}, "9 minutes ahead"),
    ):  # fmt: skip
        arrangement.provider.claims = {"auth_time": None, **claims}
        refused = refused_for(arrangement)
        assert refused.reason is Reason.CLOCK_SKEW and words in str(refused) and "clocks" in str(refused)


def test_the_directorys_own_id_is_read_from_the_claim_that_was_chosen(arrangement: Arrangement) -> None:
    arrangement.set_directory_key("employee_number", "employeeNumber")
    arrangement.provider.claims = {"employee_number": 1001}
    assert arrangement.signs_in().directory_ids.employee_number == "1001"
    assert not [line for line in arrangement.provider.asked if "userinfo" in line]

    arrangement.provider.claims = {}
    arrangement.provider.userinfo = {"employee_number": "1002"}
    assert arrangement.signs_in().directory_ids.employee_number == "1002"


def test_claims_of_somebody_else_beside_the_id_token_are_called_what_they_are(arrangement: Arrangement) -> None:
    arrangement.set_directory_key("employee_number", "employeeNumber")
    arrangement.provider.userinfo = {"employee_number": "1002", "sub": "somebody else"}

    refused = refused_for(arrangement)

    assert refused.reason is Reason.BAD_MESSAGE and "another subject" in str(refused)


def test_somebody_new_joins_by_an_address_that_only_the_userinfo_endpoint_says(arrangement: Arrangement) -> None:
    """OpenID Connect Core §5.4: with a code, what the scope `email` asks for may be answered there alone."""
    in_transaction(
        lambda session: connections.change(
            session, session.merge(arrangement.connection()), settings={"jit": True}, domains=("northwind.example",), actor=ADMIN, at=now()
        )
    )
    arrangement.provider.claims = {"email": None, "email_verified": None, "name": None}
    arrangement.provider.userinfo = {"email": "zoe@northwind.example", "email_verified": True, "name": "Zoe"}

    person = (signed_in(arrangement).get("/session").json or {})["person"]

    assert (person["email"], person["displayName"]) == ("zoe@northwind.example", "Zoe")


@pytest.mark.parametrize("verified", [False, "false"])
def test_nobody_is_looked_up_by_an_address_that_their_provider_has_not_verified(arrangement: Arrangement, verified: object) -> None:
    arrangement.set_directory_key("email", "userName")
    arrangement.provider.claims = {"email": "ada@northwind.example", "email_verified": verified}

    found = arrangement.signs_in()

    assert (found.email, found.directory_ids) == (None, DirectoryIds())


@pytest.mark.parametrize("verified", [True, "true", None])
def test_an_address_counts_where_nobody_says_that_it_is_not_verified(arrangement: Arrangement, verified: object) -> None:
    """Microsoft and many directories say nothing of it; what it may be used for is the connection's choice."""
    arrangement.set_directory_key("email", "userName")
    arrangement.provider.claims = {"email": "ada@northwind.example", "email_verified": verified}

    found = arrangement.signs_in()

    assert (found.email, found.directory_ids.user_name) == ("ada@northwind.example", "ada@northwind.example")


def test_an_address_of_the_userinfo_endpoint_is_not_verified_by_the_id_token_alone(arrangement: Arrangement) -> None:
    arrangement.set_directory_key("email", "userName")
    arrangement.provider.claims = {"email": None, "email_verified": None}
    arrangement.provider.userinfo = {"email": "ada@northwind.example", "email_verified": False}

    assert arrangement.signs_in().email is None


def test_we_prove_ourselves_with_a_key_where_the_provider_has_ours(arrangement: Arrangement) -> None:
    settings = arrangement.settings
    in_transaction(lambda session: keys.ensure_keys(session, settings, at=now()))
    arrangement.provider.client_keys = in_transaction(keys.jwks)
    arrangement.set(auth_method="private_key_jwt")

    assert arrangement.signs_in().subject == "im-ada"


def test_what_is_discovered_is_kept_and_not_asked_for_again(arrangement: Arrangement) -> None:
    before = len(arrangement.provider.asked)
    arrangement.provider.metadata = {"token_endpoint": "https://elsewhere.example/token"}

    arrangement.signs_in()

    assert sorted(arrangement.provider.asked[before:]) == ["GET /jwks", "POST /token"]
    found = discover(arrangement.provider.issuer, allow_private=True)
    assert found["token_endpoint"] == "https://elsewhere.example/token"


def test_metadata_read_again_leave_what_was_chosen(arrangement: Arrangement) -> None:
    arrangement.set(auth_method="private_key_jwt", tenant="northwind.example", acr_values="phr")
    arrangement.provider.metadata = {"end_session_endpoint": "https://elsewhere.example/out"}

    again = rediscovered(arrangement.connection())

    assert again["end_session_endpoint"] == "https://elsewhere.example/out"
    assert (again["client_id"], again["auth_method"], again["tenant"], again["acr_values"]) == (CLIENT_ID, "private_key_jwt", "northwind.example", "phr")


def test_what_comes_too_late_is_told_from_what_nobody_asked_for(arrangement: Arrangement) -> None:
    late = arrangement.provider.answers(arrangement.begins(at=now() - timedelta(minutes=20)))
    # Somebody else signs in meanwhile.
    arrangement.begins(browser="another browser's secret")

    with pytest.raises(Refused) as caught:
        arrangement.comes_back(late)

    assert caught.value.reason == Reason.TOO_LATE


def test_a_browser_that_keeps_no_cookies_is_told_what_would_help(arrangement: Arrangement) -> None:
    came = tries(arrangement, arrangement.app.test_client(use_cookies=False))

    assert came.status_code == 403 and "allow this page to keep cookies" in came.text

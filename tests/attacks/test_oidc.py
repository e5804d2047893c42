"""Attacks with the tokens of an OpenID provider: every bad one that the catalogue knows."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import ECKey, RSAKey

from app.access.published_keys import KEYS
from app.clock import now
from app.sso.refusals import Reason
from connectors.contract import ConnectorError
from tests.company import new_company
from tests.oidc_arrangement import Arrangement, arranged, forget_keys
from tests.oidc_attempts import claims_for, header_reason, reason_for, reason_of_answer, shown
from tests.oidc_stand_in import CLIENT_ID, CLIENT_SECRET, SigningKey, new_key, signed, signed_by_public_key, stand_in, unsigned


@pytest.fixture
def arrangement(installed: Flask) -> Iterator[Arrangement]:
    forget_keys()
    with arranged(installed, new_company()) as made:
        yield made
    forget_keys()


def test_a_good_token_is_taken(arrangement: Arrangement) -> None:
    assert reason_for(arrangement) is None
    assert header_reason(arrangement, typ=None) is None
    assert header_reason(arrangement, x5t="AAAA", nonce="something that is not understood") is None


def test_o01_an_unsigned_token_is_refused_however_it_says_so(arrangement: Arrangement) -> None:
    # The stand-in's metadata list "none", as those of real providers do.
    assert "none" in arrangement.provider.described()["id_token_signing_alg_values_supported"]
    for alg in ("none", "None", "nOnE", "NONE", "", " none", "none\0"):
        url = arrangement.begins()
        refused = shown(arrangement, url, unsigned(claims_for(arrangement, url), alg=alg))
        assert refused is not None and refused.reason is Reason.WEAK_ALGORITHM, alg
    for odd in (None, 7, ["ES256"], {"ES256": 1}):
        assert header_reason(arrangement, alg=odd) in (Reason.WEAK_ALGORITHM, Reason.BAD_MESSAGE), odd


def test_o02_the_public_key_is_no_secret(arrangement: Arrangement) -> None:
    key = arrangement.provider.roll("RS256")
    assert isinstance(key.key, RSAKey)
    for public in (key.key.as_pem(private=False), key.key.as_der(private=False), json.dumps(key.public()).encode()):
        url = arrangement.begins()
        refused = shown(arrangement, url, signed_by_public_key(claims_for(arrangement, url), public, kid=key.kid))
        assert refused is not None and refused.reason is Reason.WEAK_ALGORITHM
    # Nor is the client's own secret one to sign with.
    url = arrangement.begins()
    refused = shown(arrangement, url, signed_by_public_key(claims_for(arrangement, url), CLIENT_SECRET.encode(), kid=None))
    assert refused is not None and refused.reason is Reason.WEAK_ALGORITHM


def test_o03_a_key_that_a_token_brings_along_is_not_used(arrangement: Arrangement) -> None:
    arrangement.signs_in()
    theirs = new_key(kid=arrangement.provider.signing.kid)
    assert isinstance(theirs.key, ECKey)
    public = theirs.key.as_der(private=False)
    header: dict[str, Any]
    with stand_in() as elsewhere:
        elsewhere.keys = [theirs]
        for header in (
            {"jwk": theirs.key.as_dict(private=False)}, {"jku": f"{elsewhere.issuer}/jwks"}, {"x5u": f"{elsewhere.issuer}/cert"},
            {"x5c": [base64.b64encode(public).decode()]}, {"kid": f"{elsewhere.issuer}/jwks"},
        ):  # fmt: skip
            url = arrangement.begins()
            refused = shown(arrangement, url, signed(claims_for(arrangement, url), theirs, **header))
            assert refused is not None and refused.reason in (Reason.BAD_SIGNATURE, Reason.KEY_CHANGED), header
        assert elsewhere.asked == []


def test_o03_a_kid_is_a_name_and_nothing_else(arrangement: Arrangement) -> None:
    for kid in ("../../etc/passwd", "' OR 1=1 --", "\0", "x" * 2000, "http://169.254.169.254/"):
        assert header_reason(arrangement, kid=kid) in (Reason.KEY_CHANGED, Reason.BAD_MESSAGE), kid
    odd: Any
    for odd in (7, [], {}, True):
        assert header_reason(arrangement, kid=odd) is Reason.BAD_MESSAGE, odd


def test_o03_the_key_of_another_organisations_provider_proves_nothing_here(arrangement: Arrangement) -> None:
    with arranged(arrangement.app, new_company(), name="theirs") as theirs:
        theirs.signs_in()
        arrangement.signs_in()
        url = arrangement.begins()

        refused = shown(arrangement, url, signed(claims_for(arrangement, url), theirs.provider.signing))

        assert refused is not None and refused.reason is Reason.KEY_CHANGED


def test_o04_what_must_be_understood_and_is_not_is_refused(arrangement: Arrangement) -> None:
    header: dict[str, Any]
    for header in ({"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": True}, {"crit": []}, {"crit": ["http://x"]}):
        assert header_reason(arrangement, **header) is Reason.BAD_MESSAGE, header


def test_o05_another_kind_of_token_is_no_id_token(arrangement: Arrangement) -> None:
    for typ in ("at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "command+jwt", "global-token-revocation+jwt", "dpop+jwt", "JOSE"):
        assert header_reason(arrangement, typ=typ) is Reason.BAD_MESSAGE, typ
    assert reason_for(arrangement, events={"http://schemas.openid.net/event/backchannel-logout": {}}) is Reason.BAD_MESSAGE


def test_o06_the_issuer_is_compared_letter_by_letter(arrangement: Arrangement) -> None:
    issuer = arrangement.provider.issuer
    for other in (f"{issuer}/", issuer.upper(), issuer.replace("127.0.0.1", "localhost"), f"{issuer}/other", "", None, [issuer], {"iss": issuer}):
        assert reason_for(arrangement, iss=other) is Reason.OTHER_ISSUER, other


def test_o07_a_token_for_somebody_else_too_is_refused(arrangement: Arrangement) -> None:
    assert reason_for(arrangement, aud=[CLIENT_ID]) is None
    assert reason_for(arrangement, azp=CLIENT_ID) is None
    claims: dict[str, Any]
    for claims in (
        {"aud": "another"}, {"aud": []}, {"aud": ["another"]}, {"aud": [CLIENT_ID, "another"]}, {"aud": None}, {"aud": [[CLIENT_ID]]},
        {"aud": {CLIENT_ID: 1}}, {"aud": CLIENT_ID + " "}, {"aud": [CLIENT_ID, CLIENT_ID]}, {"azp": "another"}, {"azp": [CLIENT_ID]},
        {"aud": "another", "azp": CLIENT_ID}, {"aud": ["another", CLIENT_ID], "azp": CLIENT_ID},
    ):  # fmt: skip
        assert reason_for(arrangement, **claims) is Reason.OTHER_AUDIENCE, claims


def test_o08_a_token_of_another_sign_in_is_refused(arrangement: Arrangement) -> None:
    other = claims_for(arrangement, arrangement.begins())
    for nonce in (None, "", "wrong", other["nonce"], [other["nonce"]], True):
        assert reason_for(arrangement, nonce=nonce) is Reason.NOT_ASKED_FOR, nonce


@pytest.mark.parametrize("missing", [("exp",), ("aud",), ("exp", "aud")])
def test_o26_a_token_without_end_or_audience_is_refused(arrangement: Arrangement, missing: tuple[str, ...]) -> None:
    """What a library would let pass that was not told to require them."""
    assert reason_for(arrangement) is None

    assert reason_for(arrangement, **dict.fromkeys(missing)) in (Reason.BAD_MESSAGE, Reason.OTHER_AUDIENCE)


def test_o16_instants_that_are_none_are_refused(arrangement: Arrangement) -> None:
    value: Any
    for name in ("exp", "iat"):
        for value in (None, "tomorrow", str(int(now().timestamp()) + 60), True, -1, 1e12, float("inf"), float("nan"), [1], {}):
            assert reason_for(arrangement, **{name: value}) is Reason.BAD_MESSAGE, (name, value)
    for name in ("nbf", "auth_time", "session_expiry"):
        for value in ("tomorrow", True, -1, 1e12, float("inf"), [1]):
            assert reason_for(arrangement, **{name: value}) is Reason.BAD_MESSAGE, (name, value)
    url = arrangement.begins()
    huge = json.dumps(claims_for(arrangement, url)).replace('"exp": ', '"exp": 1e400, "was": ')
    refused = shown(arrangement, url, signed(huge, arrangement.provider.signing))
    assert refused is not None and refused.reason is Reason.BAD_MESSAGE
    for name, value in (("exp", timedelta(minutes=-4)), ("iat", timedelta(days=300)), ("iat", timedelta(days=-300)), ("nbf", timedelta(days=1))):
        assert reason_for(arrangement, **{name: value}) is Reason.CLOCK_SKEW, (name, value)


def test_the_access_token_beside_must_be_the_one_that_is_named(arrangement: Arrangement) -> None:
    arrangement.provider.more = {"access_token": "at-another"}

    assert reason_of_answer(arrangement, arrangement.provider.answers(arrangement.begins())) is Reason.BAD_MESSAGE


def test_o17_key_sets_that_are_too_much_are_not_read(arrangement: Arrangement) -> None:
    public = arrangement.provider.signing.public()
    for content in (
        json.dumps({"keys": [public] * 150}).encode(), json.dumps({"keys": [public, *[{}] * 10_000]}).encode(), json.dumps({"keys": [public], "pad": "x" * 2_000_000}).encode(),
        b"[" * 100_000, b'{"keys": ' + b"[" * 100_000, b'{"keys": {}}', b"<html>", b"",
    ):  # fmt: skip
        forget_keys()
        arrangement.provider.jwks = content
        assert reason_for(arrangement) is Reason.PROVIDER_DOWN, content[:30]


def test_o17_two_keys_of_one_name_are_both_tried_and_neither_is_anybodys(arrangement: Arrangement) -> None:
    mine, other = arrangement.provider.signing, new_key(kid=arrangement.provider.signing.kid)
    arrangement.provider.keys = [other, mine]
    assert reason_for(arrangement) is None

    url = arrangement.begins()
    forged = shown(arrangement, url, signed(claims_for(arrangement, url), new_key(kid=mine.kid)))
    assert forged is not None and forged.reason is Reason.BAD_SIGNATURE


def test_o17_made_up_kids_cause_no_storm_of_requests(arrangement: Arrangement) -> None:
    arrangement.signs_in()
    before = len([line for line in arrangement.provider.asked if line == "GET /jwks"])

    for number in range(20):
        assert header_reason(arrangement, kid=f"made-up-{number}") is Reason.KEY_CHANGED

    assert len([line for line in arrangement.provider.asked if line == "GET /jwks"]) - before <= 1


def test_o17_keys_are_not_fetched_in_the_clear_or_from_within(arrangement: Arrangement) -> None:
    arrangement.set(allow_private=None)
    assert reason_for(arrangement) is Reason.PROVIDER_DOWN

    for address in ("http://keys.example/jwks", "file:///etc/passwd", "gopher://x/", "https://user@keys.example/"):
        with pytest.raises(ConnectorError):
            KEYS.verify(signed({}, new_key()), address, algorithms=["ES256"])


def test_o18_an_encrypted_token_is_not_opened(arrangement: Arrangement) -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 10**9, "zip": "DEF"}).encode()).decode().rstrip("=")
    url = arrangement.begins()

    refused = shown(arrangement, url, f"{header}.AAAA.AAAA.AAAA.AAAA")

    assert refused is not None and refused.reason is Reason.BAD_MESSAGE


def test_tokens_that_are_none_are_refused(arrangement: Arrangement) -> None:
    for token in ("", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "x" * 100_000, "e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA"):
        url = arrangement.begins()
        refused = shown(arrangement, url, token)
        assert refused is not None and refused.reason in (Reason.BAD_MESSAGE, Reason.WEAK_ALGORITHM), token[:20]
    for payload in ("[]", "null", '"text"', "7", "{", "{" * 50_000, '{"a":' * 10_000):
        url = arrangement.begins()
        refused = shown(arrangement, url, signed(payload, arrangement.provider.signing))
        assert refused is not None and refused.reason is Reason.BAD_MESSAGE, payload[:20]


def test_a_key_that_is_too_short_is_no_key(arrangement: Arrangement) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = SigningKey(kid="weak", algorithm="RS256", key=RSAKey.generate_key(1024, auto_kid=False))
    arrangement.provider.keys.append(weak)
    url = arrangement.begins()

    refused = shown(arrangement, url, signed(claims_for(arrangement, url), weak))

    assert refused is not None and refused.reason is Reason.KEY_CHANGED

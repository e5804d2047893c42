"""Messages of others: taken apart to learn whose they should be, and believed only where a key of theirs has proved them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.access.signed_tokens import (
    ALGORITHMS,
    BadSignature,
    BadToken,
    KeySet,
    NoSuchKey,
    WeakAlgorithm,
    instant,
    key_set_of,
    prove,
    texts,
    unproved,
    verify,
)
from tests.oidc_stand_in import SigningKey, new_key, signed, unsigned


def published(*keys: SigningKey) -> KeySet:
    return key_set_of(json.dumps({"keys": [one.public() for one in keys]}).encode())


def test_what_is_taken_apart_says_whose_it_should_be_and_is_not_proved() -> None:
    mine, theirs = new_key(kid="k"), new_key(kid="k")

    shown = unproved(signed({"iss": "https://idp.example"}, theirs, typ="application/SecEvent+JWT"))

    assert (shown.claims["iss"], shown.header["kid"], shown.typ) == ("https://idp.example", "k", "secevent+jwt")
    with pytest.raises(BadSignature):
        prove(shown, published(mine), algorithms=ALGORITHMS)
    assert prove(shown, published(theirs), algorithms=ALGORITHMS).claims == shown.claims


def test_even_what_nobody_signed_can_be_taken_apart_and_never_proved() -> None:
    shown = unproved(unsigned({"iss": "https://idp.example"}))

    with pytest.raises(WeakAlgorithm):
        prove(shown, published(new_key()), algorithms=ALGORITHMS)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_proves_what_it_signed_with_an_algorithm_that_is_taken(algorithm: str) -> None:
    key = new_key(algorithm)
    token = signed({"a": 1}, key)

    assert verify(token, published(key), algorithms=[algorithm]).algorithm == algorithm
    with pytest.raises(WeakAlgorithm):
        verify(token, published(key), algorithms=[one for one in ALGORITHMS if one != algorithm])
    with pytest.raises(NoSuchKey):
        verify(token, published(new_key(algorithm)), algorithms=ALGORITHMS)


@pytest.mark.parametrize("header", ['["alg"]', '"alg"', "[]", "null", "{}", "5"])
def test_a_header_that_is_no_object_is_no_header(header: str) -> None:
    good = signed({}, new_key())
    bad = signed(header, new_key()).split(".")[1] + good[good.index(".") :]

    with pytest.raises(BadToken):
        unproved(bad)


@pytest.mark.parametrize("claims", ["[]", "null", "x", "", "[" * 30_000, '{"a":' + "1" * 5000 + "}"])
def test_claims_that_are_no_object_are_no_claims(claims: str) -> None:
    with pytest.raises(BadToken):
        unproved(signed(claims, new_key()))


def test_whoever_publishes_a_private_key_does_not_have_it_kept() -> None:
    key = new_key()

    found = key_set_of(json.dumps({"keys": [{**key.key.as_dict(private=True), "kid": key.kid}]}).encode())

    assert [one.key.is_private for one in found.keys] == [False]
    assert verify(signed({"a": 1}, key), found, algorithms=ALGORITHMS).claims == {"a": 1}


@pytest.mark.parametrize("value", ["1", True, -1, 1e12, float("nan"), float("inf"), 10**400, [], {}])
def test_what_is_no_instant_is_not_taken_for_one(value: Any) -> None:
    with pytest.raises(BadToken):
        instant({"iat": value}, "iat")


def test_an_instant_may_have_a_fraction_or_be_left_out() -> None:
    assert instant({"iat": 0.5}, "iat") == datetime(1970, 1, 1, microsecond=500_000, tzinfo=UTC)
    assert instant({}, "iat") is None


@pytest.mark.parametrize(("value", "found"), [("a", ("a",)), (["a", "b"], ("a", "b")), (["a", 1], ()), ([], ()), (None, ()), ({"a": 1}, ())])
def test_a_claim_of_one_or_several_texts_is_nothing_where_it_is_neither(value: Any, found: tuple[str, ...]) -> None:
    assert texts({"aud": value}, "aud") == found

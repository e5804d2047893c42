"""Signature schemes: parts in any order, encodings, timestamps, keys being changed over."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.intake.description_types import Encoding, Scheme, Signature
from app.intake.hr import BadSignature
from app.intake.schemes import Request, check_secret, verify
from tests.hr_vendor import CLOCK

BODY = b'{"id": 1}'
STAMP = str(int(CLOCK.timestamp()))
DIGEST = hmac.digest(b"key", BODY, "sha256")


def call(value: str, **headers: str) -> Request:
    return Request(
        method="POST", headers={"x-signature": value, **{name.replace("_", "-"): text for name, text in headers.items()}}, body=BODY
    )


def signature(
    over: tuple[str, ...] = ("body",), *, encoding: Encoding = Encoding.HEX, prefix: str = "", timestamp: str | None = None
) -> Signature:
    return Signature(scheme=Scheme.HMAC, header="X-Signature", over=over, encoding=encoding, prefix=prefix, timestamp=timestamp)


@pytest.mark.parametrize(
    ("over", "signed"),
    [
        (("body",), BODY),
        (("method", "body"), b"POST" + BODY),
        (("id", "'.'", "timestamp", "'.'", "body"), b"msg_1." + STAMP.encode() + b"." + BODY),
        (("body", "timestamp"), BODY + STAMP.encode()),
    ],
)
def test_parts_are_signed_in_the_order_that_is_described(over: tuple[str, ...], signed: bytes) -> None:
    described = signature(over, timestamp="X-Time" if "timestamp" in over else None)
    good = call(hmac.new(b"key", signed, hashlib.sha256).hexdigest(), x_time=STAMP)

    verify(described, good, ["key"], event_id="msg_1", at=CLOCK)
    with pytest.raises(BadSignature):
        verify(described, good, ["another"], event_id="msg_1", at=CLOCK)


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        (Encoding.HEX, DIGEST.hex()), (Encoding.HEX, DIGEST.hex().upper()), (Encoding.BASE64, base64.b64encode(DIGEST).decode()),
        (Encoding.BASE64URL, base64.urlsafe_b64encode(DIGEST).decode().rstrip("=")),
    ],
)  # fmt: skip
def test_a_signature_is_read_in_its_encoding(encoding: Encoding, value: str) -> None:
    verify(signature(encoding=encoding), call(value), ["key"], event_id=None, at=CLOCK)


def test_while_a_key_is_changed_over_either_is_good_and_one_of_several_signatures_has_to_fit() -> None:
    verify(signature(prefix="sha256="), call(f"sha256={'00' * 32}, sha256={DIGEST.hex()}"), ["newer", "key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize("value", ["", "zz", DIGEST.hex()[:-2], "ä", "sha256=", " ", "00" * 32])
def test_what_is_no_signature_is_refused(value: str) -> None:
    with pytest.raises(BadSignature):
        verify(signature(), call(value), ["key"], event_id=None, at=CLOCK)


def test_without_a_secret_nothing_is_good() -> None:
    with pytest.raises(BadSignature):
        verify(signature(), call(hmac.new(b"", BODY, hashlib.sha256).hexdigest()), [""], event_id=None, at=CLOCK)


@pytest.mark.parametrize(("seconds", "good"), [(-299, True), (299, True), (-301, False), (301, False)])
def test_a_timestamp_counts_for_five_minutes_each_way(seconds: int, good: bool) -> None:
    described = signature(("body", "timestamp"), timestamp="X-Time")
    request = call(hmac.new(b"key", BODY + STAMP.encode(), hashlib.sha256).hexdigest(), x_time=STAMP)

    if good:
        verify(described, request, ["key"], event_id=None, at=CLOCK + timedelta(seconds=seconds))
    else:
        with pytest.raises(BadSignature, match="seconds off"):
            verify(described, request, ["key"], event_id=None, at=CLOCK + timedelta(seconds=seconds))


@pytest.mark.parametrize("shown", ["Bearer good", "bearer good", "good"])
def test_a_bearer_token_is_known_with_and_without_its_word(shown: str) -> None:
    described = Signature(scheme=Scheme.BEARER)

    verify(described, Request(method="POST", headers={"authorization": shown}, body=BODY), ["good"], event_id=None, at=CLOCK)
    assert not described.proves


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer goo", "Bearer good good", "Basic good"])
def test_another_token_is_refused(shown: str) -> None:
    with pytest.raises(BadSignature):
        verify(
            Signature(scheme=Scheme.BEARER),
            Request(method="POST", headers={"authorization": shown}, body=BODY),
            ["good"],
            event_id=None,
            at=CLOCK,
        )


HMAC_OF_TIMED = hmac.digest(b"key", STAMP.encode() + b"." + BODY, "sha256").hex()
IN_HEADER = Signature(
    scheme=Scheme.HMAC, header="X-Signature", over=("timestamp", "'.'", "body"), timestamp="t=", prefix="v1="
)  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        f"t={STAMP},v1={HMAC_OF_TIMED}", f"v1={HMAC_OF_TIMED}, t={STAMP}", f"t={STAMP};v1={HMAC_OF_TIMED}",
        f"t={STAMP},v0=00,v1={'00' * 32},v1={HMAC_OF_TIMED}",
        # Two pairs stand there while a key is changed over.
        f"t={int(STAMP) - 1},v1={'00' * 32} t={STAMP},v1={HMAC_OF_TIMED}",
    ],
)  # fmt: skip
def test_a_time_may_stand_in_the_header_of_the_signature(value: str) -> None:
    verify(IN_HEADER, call(value), ["key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (f"v1={HMAC_OF_TIMED}", "no time behind 't='"), (f"t={int(STAMP) + 1},v1={HMAC_OF_TIMED}", "does not fit"), (f"t={STAMP}", "no signature in hex behind 'v1='"),
        (f"t={int(STAMP) - 400},v1={HMAC_OF_TIMED}", "seconds off"), (f"t=soon,v1={HMAC_OF_TIMED}", "no instant"), (f"xt={STAMP},v1={HMAC_OF_TIMED}", "no time behind"),
    ],
)  # fmt: skip
def test_another_time_in_that_header_is_refused(value: str, why: str) -> None:
    with pytest.raises(BadSignature, match=why):
        verify(IN_HEADER, call(value), ["key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize(
    "stamp",
    [STAMP, STAMP + "000", STAMP + "000000", "2026-11-25T09:46:40Z", "2026-11-25T10:46:40.123+01:00", "Wed, 25 Nov 2026 09:46:40 GMT"],
)
def test_a_time_is_read_however_the_vendor_writes_it_and_signed_as_it_is_written(stamp: str) -> None:
    described = signature(("timestamp", "body"), timestamp="X-Time")

    verify(described, call(hmac.new(b"key", stamp.encode() + BODY, hashlib.sha256).hexdigest(), x_time=stamp), ["key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize("stamp", ["2026-11-25T09:46:40", "yesterday", "1e9", "-5", "2026-11-25T09:46:40+99:00", "9" * 30, "Wed, 99 Nov 2026"])
def test_a_time_that_cannot_be_read_is_refused(stamp: str) -> None:
    described = signature(("timestamp", "body"), timestamp="X-Time")
    signed = hmac.new(b"key", stamp.encode() + BODY, hashlib.sha256).hexdigest()

    with pytest.raises(BadSignature):
        verify(described, call(signed, x_time=stamp), ["key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize("prefix", ["sha256=", "sha256 ", "v1,", "1/SHA256/", "signature="])
def test_what_stands_before_a_signature_may_hold_a_space_or_a_comma(prefix: str) -> None:
    described = signature(prefix=prefix)

    verify(described, call(f"{prefix}{DIGEST.hex()}"), ["key"], event_id=None, at=CLOCK)
    verify(described, call(f"{prefix}{'00' * 32} {prefix}{DIGEST.hex()}"), ["key"], event_id=None, at=CLOCK)
    with pytest.raises(BadSignature):
        verify(described, call(DIGEST.hex()), ["key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize(("value", "prefix"), [(f"sha256={DIGEST.hex()}", "sha256="), (f"sha256 {DIGEST.hex()[1:]}", "sha256 "), ("v1,=", "v1,")])
def test_what_stands_before_a_signature_and_is_not_described_is_named(value: str, prefix: str) -> None:
    with pytest.raises(BadSignature, match=f"it begins with '{prefix}', which would be its 'prefix'"):
        verify(signature(), call(value), ["key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_a_signature_is_made_with_the_hash_that_is_described(algorithm: str) -> None:
    described = Signature(scheme=Scheme.HMAC, header="X-Signature", algorithm=algorithm)

    verify(described, call(hmac.new(b"key", BODY, algorithm).hexdigest()), ["key"], event_id=None, at=CLOCK)


def _one_capital(text: str) -> str:
    at = next(at for at, sign in enumerate(text) if sign.isalpha())
    return text[:at] + text[at].upper() + text[at + 1 :]


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        (Encoding.HEX, _one_capital(DIGEST.hex())),
        (Encoding.BASE64, base64.b64encode(DIGEST).decode()[:-2] + chr(ord(base64.b64encode(DIGEST).decode()[-2]) ^ 1) + "="),
        (Encoding.BASE64, base64.urlsafe_b64encode(DIGEST).decode().rstrip("=")),
        (Encoding.BASE64URL, base64.b64encode(b"\xfb\xff" * 16).decode()),
    ],
)  # fmt: skip
def test_a_signature_that_is_written_otherwise_is_another(encoding: Encoding, value: str) -> None:
    """Decoders pass over the last bits of base64 and over the case of hex: a changed letter would be no change."""
    with pytest.raises(BadSignature):
        verify(signature(encoding=encoding), call(value), ["key"], event_id=None, at=CLOCK)


def test_headers_and_the_address_may_be_signed_as_well() -> None:
    described = signature(("url", "'|'", "header:X-Kind", "'|'", "body"))
    signed = hmac.new(b"key", b"https://here.example/hr/1?a=b|left|" + BODY, hashlib.sha256).hexdigest()
    good = Request(method="POST", headers={"x-signature": signed, "x-kind": "left"}, body=BODY, url="https://here.example/hr/1?a=b")

    verify(described, good, ["key"], event_id=None, at=CLOCK)
    changes: list[dict[str, Any]] = [{"headers": {"x-signature": signed, "x-kind": "back"}}, {"headers": {"x-signature": signed}}, {"url": "https://here.example/hr/1"}]
    for spoilt in changes:
        with pytest.raises(BadSignature):
            verify(described, replace(good, **spoilt), ["key"], event_id=None, at=CLOCK)


def test_an_id_that_is_signed_has_to_be_there() -> None:
    """A signature over nothing in its place would be good for every call without one."""
    described = signature(("id", "body"))

    with pytest.raises(BadSignature, match="id"):
        verify(described, call(hmac.new(b"key", BODY, hashlib.sha256).hexdigest()), ["key"], event_id=None, at=CLOCK)


@pytest.mark.parametrize("header", ["webhook-signature", "svix-signature", "Acme-Signature"])
def test_standard_webhooks_are_known_under_other_names_too(header: str) -> None:
    named, secret = header.lower().removesuffix("signature"), base64.b64encode(b"k" * 24).decode()
    signed = base64.b64encode(hmac.digest(b"k" * 24, f"msg_1.{STAMP}.".encode() + BODY, "sha256")).decode()
    headers = {f"{named}id": "msg_1", f"{named}timestamp": STAMP, f"{named}signature": f"v1,{signed}"}

    verify(Signature(scheme=Scheme.STANDARD_WEBHOOKS, header=header), Request(method="POST", headers=headers, body=BODY), [secret], event_id=None, at=CLOCK)


@pytest.mark.parametrize(
    ("shown", "secret", "good"),
    [
        ("Basic " + base64.b64encode(b"hr:p:w").decode(), "hr:p:w", True), ("basic " + base64.b64encode(b"doorlist:whsec_1").decode(), "whsec_1", True),
        ("Basic " + base64.b64encode(b"hr:p").decode(), "hr:p:w", False), ("Basic hr:p:w", "hr:p:w", False), ("Bearer " + base64.b64encode(b"hr:p:w").decode(), "hr:p:w", False),
        ("", "hr:p:w", False), ("Basic " + base64.b64encode(b"doorlist:").decode(), "", False),
    ],
)  # fmt: skip
def test_a_name_and_a_password_are_checked_and_prove_no_text(shown: str, secret: str, good: bool) -> None:
    described = Signature(scheme=Scheme.BASIC)
    request = Request(method="POST", headers={"authorization": shown}, body=BODY)

    assert not described.proves
    if good:
        verify(described, request, [secret], event_id=None, at=CLOCK)
    else:
        with pytest.raises(BadSignature):
            verify(described, request, [secret], event_id=None, at=CLOCK)


def test_a_token_may_stand_in_the_query() -> None:
    described = Signature(scheme=Scheme.TOKEN, header="query:token")

    verify(described, Request(method="POST", headers={}, body=BODY, query={"token": "good"}), ["good"], event_id=None, at=CLOCK)
    with pytest.raises(BadSignature, match="query:token is missing"):
        verify(described, Request(method="POST", headers={"token": "good"}, body=BODY), ["good"], event_id=None, at=CLOCK)


@pytest.mark.parametrize(
    ("described", "secret"),
    [
        (Signature(scheme=Scheme.HMAC, key="hex"), "not hex"), (Signature(scheme=Scheme.HMAC, key="base64"), "%%%"), (Signature(scheme=Scheme.HMAC, key="hex"), None),
        (Signature(scheme=Scheme.STANDARD_WEBHOOKS), "whsec_%%%"), (Signature(scheme=Scheme.PUBLIC_KEY), "no key"), (Signature(scheme=Scheme.PUBLIC_KEY), None),
    ],
)  # fmt: skip
def test_a_secret_that_no_call_could_be_checked_with_is_refused_when_it_is_given(described: Signature, secret: str | None) -> None:
    with pytest.raises(ValueError, match="secret"):
        check_secret(described, secret)

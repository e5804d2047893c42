"""A signed receipt is checked by a file and public keys alone, and says which member was altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.audit.public_keys import EvidenceKey
from app.audit.spelling import canonical
from app.revocation.receipt_page import page
from app.revocation.signed_receipts import members, sign, verify

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Key:
    """A key for evidence."""

    kid = "k1"

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)

    def sign_bytes(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def known(self, *, retired: datetime | None = None) -> dict[str, EvidenceKey]:
        public = self._private.public_key().public_bytes_raw()
        return {self.kid: EvidenceKey(kid=self.kid, public=public, active_from=AT - timedelta(days=1), retired=retired)}


KEY = Key()
RECEIPT: dict[str, Any] = {
    "schema": "doorlist.receipt/1",
    "organization": {"id": "o1", "name": "Acme"},
    "person": {"id": "p1", "userName": "ada@acme.example", "displayName": "Ada <script>alert(1)</script>", "employeeNumber": "7", "standing": "departed", "reason": "hr leaves"},
    "made": "2026-11-26T12:00:00.000Z",
    "departures": [
        {
            "id": "d1", "means": "departed", "reason": "hr leaves: HR call 1", "actor": "source:hr", "due": "2026-11-26T11:00:00.000Z",
            "received": "2026-11-26T11:00:00.000Z", "decided": "2026-11-26T11:00:00.001Z", "returned": None,
            "event": {"source": "hr", "id": "1", "received": "2026-11-26T11:00:00.000Z", "sha256": "ab" * 32},
            "entry": {"number": 3, "at": "2026-11-26T11:00:00.001Z", "verb": "hr says leaves", "because": "HR call 1"},
            "targets": [
                {"place": "doorlist", "kind": "doorlist", "sent": None, "acknowledged": None, "shut": "2026-11-26T11:00:00.100Z", "shut_known": "probed",
                 "gone": None, "gone_known": None, "ms_from_received_to_shut": 100, "ms_from_due_to_shut": 100, "ms_from_received_to_gone": None,
                 "ms_from_due_to_gone": None, "closed": {"sessions": 2, "refresh_tokens": 1}, "attempts": 1, "last_error": None},
            ],
            "open": ["chat: not shut yet"], "audit": None,
        }
    ],
}  # fmt: skip


def altered(change: Callable[[dict[str, Any]], object]) -> list[str]:
    """What is said of a receipt that somebody changed by hand and wrote down properly again."""
    file = json.loads(sign(RECEIPT, KEY, at=AT))
    change(file)
    return verify(canonical(file) + b"\n", KEY.known())


def test_a_receipt_that_nobody_touched_is_good() -> None:
    assert verify(sign(RECEIPT, KEY, at=AT), KEY.known()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file["receipt"]["person"].update(userName="bob"), "person/userName: was altered"),
        (lambda file: file["receipt"]["departures"][0]["targets"][0].update(shut=None), "departures/0/targets/0/shut: was altered"),
        (lambda file: file["receipt"]["departures"][0]["targets"][0]["closed"].update(sessions=3), "departures/0/targets/0/closed/sessions: was altered"),
        (lambda file: file["receipt"]["departures"][0]["targets"][0]["closed"].pop("sessions"), "departures/0/targets/0/closed/sessions: was taken out"),
        (lambda file: file["receipt"]["departures"][0].update(note="fine"), "departures/0/note: was added"),
        (lambda file: file["receipt"]["departures"][0]["open"].clear(), "departures/0/open/0: was taken out"),
        (lambda file: file["receipt"]["departures"].clear(), "departures/0/event/sha256: was taken out"),
    ],
    ids=["name", "instant", "count", "kind", "added", "open", "whole"],
)
def test_the_member_that_was_altered_is_named(change: Callable[[dict[str, Any]], object], said: str) -> None:
    assert said in altered(change)


def test_a_digest_that_was_made_to_fit_does_not_help() -> None:
    forged = json.loads(sign({**RECEIPT, "made": "2027-01-01T00:00:00.000Z"}, Key(), at=AT))

    def change(file: dict[str, Any]) -> None:
        file["receipt"], file["digests"] = forged["receipt"], forged["digests"]

    assert altered(change) == ["signature: does not fit; the receipt, the list of digests or the signature was altered"]


@given(st.data())
def test_one_flipped_bit_anywhere_is_found(data: st.DataObject) -> None:
    good = sign(RECEIPT, KEY, at=AT)
    place = data.draw(st.integers(min_value=0, max_value=len(good) - 1))
    changed = bytearray(good)
    changed[place] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))

    assert verify(bytes(changed), KEY.known()) != []


def test_one_flipped_byte_within_the_receipt_names_its_member() -> None:
    good = sign(RECEIPT, KEY, at=AT)
    place = good.index(b"2026-11-26T11:00:00.100Z") + 5

    said = verify(good[:place] + b"9" + good[place + 1 :], KEY.known())

    assert "departures/0/targets/0/shut: was altered" in said


def test_the_same_receipt_written_in_another_way_is_not_the_file_that_was_signed() -> None:
    good = sign(RECEIPT, KEY, at=AT)

    assert verify(json.dumps(json.loads(good)).encode() + b"\n", KEY.known()) != []
    assert verify(good + b"\n", KEY.known()) == [f"byte {len(good) + 1} is not written as it was signed"]


def test_a_key_that_is_not_among_those_given_proves_nothing() -> None:
    assert "signed: the key is not among those given" in verify(sign(RECEIPT, KEY, at=AT), {})


def test_a_key_that_was_retired_proves_nothing_of_what_came_after_it() -> None:
    good = sign(RECEIPT, KEY, at=AT)

    assert verify(good, KEY.known(retired=AT + timedelta(days=1))) == []
    assert verify(good, KEY.known(retired=AT - timedelta(hours=1))) == ["signed: the key was not in use at 2026-11-26T12:00:00.000Z"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"receipt":{},"digests":[],"signed":{},"signature":1}'])
def test_what_is_no_receipt_is_said_to_be_none(content: bytes) -> None:
    assert len(verify(content, KEY.known())) >= 1


def test_members_are_named_as_json_pointers_are() -> None:
    assert dict(members({"a/b": {"~": 1}, "c": [], "d": [{"e": None}]})) == {"/a~1b/~0": 1, "/c": [], "/d/0/e": None}


def test_the_page_shows_everything_and_runs_nothing() -> None:
    shown = page(json.loads(sign(RECEIPT, KEY, at=AT)))

    assert "Ada &lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script" not in shown
    for text in ("ada@acme.example", "ab" * 32, "2 sessions", "1 refresh tokens", "chat: not shut yet", "not in a signed checkpoint yet", "probed"):
        assert text in shown

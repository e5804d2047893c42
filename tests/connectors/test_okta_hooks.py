"""Okta's event hooks: whose they are, and whom they name."""

from __future__ import annotations

import json

import pytest

from connectors.contract import Refused, Secret, Unauthorised
from connectors.source_contract import (
    Kind,
)
from connectors.sources.okta_hooks import answer_challenge, read_events


def hook(*events: tuple[str, str, str]) -> bytes:
    told = [
        {
            "uuid": uuid,
            "eventType": "user.lifecycle.suspend",
            "published": published,
            "target": [{"type": "User", "id": key}, {"type": "AppUser", "id": "0ua1"}],
        }
        for uuid, published, key in events
    ]
    return json.dumps({"eventType": "com.okta.event_hook", "data": {"events": told}}).encode()


def test_a_hooks_challenge_is_said_back() -> None:
    assert answer_challenge("nl1f5rLcSZ") == {"verification": "nl1f5rLcSZ"}
    for wrong in ("", "x" * 513, "a\nb"):
        with pytest.raises(Refused):
            answer_challenge(wrong)


def test_events_are_read_in_order_and_each_once() -> None:
    late, early = ("b", "2026-03-01T09:00:02.000Z", "00u2"), ("a", "2026-03-01T09:00:01.000Z", "00u1")

    found = read_events(hook(late, early, late), authorization="word", secret=Secret("word"))

    assert [(one.uuid, one.kind, one.key) for one in found] == [("a", Kind.PERSON, "00u1"), ("b", Kind.PERSON, "00u2")]


@pytest.mark.parametrize("said", [None, "", "Word", "word ", "wörd"])
def test_an_event_without_the_secret_is_refused_before_it_is_read(said: str | None) -> None:
    with pytest.raises(Unauthorised):
        read_events(b"not even JSON", authorization=said, secret=Secret("word"))


def test_an_empty_secret_lets_no_event_in() -> None:
    with pytest.raises(Unauthorised):
        read_events(hook(), authorization="", secret=Secret(""))


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"data": {"events": {}}}', b'{"data": {"events": [{"uuid": 7}]}}', b"[" * 100_000])
def test_an_event_in_another_format_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        read_events(body, authorization="word", secret=Secret("word"))

"""Okta's event hooks: proving that the address is ours, and reading which people and groups something happened to.

A hook names whom to look at and never what became of them: Okta sends each at least once, in no order, gives up after one more try,
and signs nothing. What counts is read from its API afterwards.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from connectors.contract import Refused, Secret, Unauthorised, Unreachable
from connectors.documents import Document
from connectors.source_contract import Kind, SourceKey
from connectors.sources.okta_reading import TARGETS

CHALLENGE: Final = "X-Okta-Verification-Challenge"
EVENTS: Final = (
    "user.lifecycle.create", "user.lifecycle.activate", "user.lifecycle.reactivate", "user.lifecycle.suspend", "user.lifecycle.unsuspend",
    "user.lifecycle.deactivate", "user.lifecycle.delete.initiated", "user.account.update_profile", "group.user_membership.add",
    "group.user_membership.remove", "group.lifecycle.create", "group.profile.update", "group.lifecycle.delete",
)  # fmt: skip
"""What a hook should be subscribed to."""


@dataclass(frozen=True, kw_only=True)
class Happened:
    """To one person or group. `uuid` is the event's: the same one may come again."""

    uuid: str
    event: str
    published: str
    kind: Kind
    key: SourceKey


def answer_challenge(challenge: str) -> dict[str, str]:
    """The body of the answer to the one GET by which Okta asks whether the address is ours. Raises Refused for what cannot be one."""
    if not 0 < len(challenge) <= 512 or not challenge.isascii() or not challenge.isprintable():
        raise Refused("Okta's challenge is empty, too long or holds characters that none has")
    return {"verification": challenge}


def read_events(content: bytes, *, authorization: str | None, secret: Secret) -> tuple[Happened, ...]:
    """In the order in which they happened, each event once. Raises Unauthorised before anything is read, Refused for what cannot be read."""
    wanted = secret.reveal().encode()
    if not wanted or not hmac.compare_digest((authorization or "").encode(errors="replace"), wanted):
        raise Unauthorised("the Authorization header is not that of this event hook")
    try:
        found = {(one.uuid, one.key): one for one in _events(content)}
    except (ValueError, RecursionError, Unreachable) as error:
        raise Refused("the event hook's body is not Okta's format") from error
    return tuple(sorted(found.values(), key=lambda one: (one.published, one.uuid)))


def _events(content: bytes) -> Iterator[Happened]:
    read = json.loads(content)
    if not isinstance(read, dict):
        raise ValueError
    for event in Document(read, source="event hook").part("data").parts("events"):
        uuid, published = event.text("uuid"), event.text("published")
        if not uuid or not published:
            raise ValueError
        for target in event.parts("target"):
            kind = TARGETS.get(target.text("type"))
            if kind is not None and (key := target.text("id")):
                yield Happened(uuid=uuid, event=event.text("eventType"), published=published, kind=kind, key=SourceKey(key))
